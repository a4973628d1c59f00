"""Torch: layers that compute from coded weights, and models and state dicts in and out of files.

Importing it registers the operators ``torch.ops.cnnzip``, which exported programs need.
"""

from cnnzip.torch import ops  # noqa: F401 - registers the operators
from cnnzip.torch.checkpoint import fill, named_tensors, state_dict_of
from cnnzip.torch.layers import (
    CodedConv1d,
    CodedConv2d,
    CodedConv3d,
    CodedConvTranspose1d,
    CodedConvTranspose2d,
    CodedConvTranspose3d,
    CodedEmbedding,
    CodedLayer,
    CodedLinear,
)
from cnnzip.torch.model import compress, decompress

__all__ = [
    "CodedConv1d",
    "CodedConv2d",
    "CodedConv3d",
    "CodedConvTranspose1d",
    "CodedConvTranspose2d",
    "CodedConvTranspose3d",
    "CodedEmbedding",
    "CodedLayer",
    "CodedLinear",
    "compress",
    "decompress",
    "fill",
    "named_tensors",
    "state_dict_of",
]
