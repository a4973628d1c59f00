"""Lossless, source-coded storage of pruned and quantized network weights.

    packed = cnnzip.compress(model)         # layers that compute from the coded form
    cnnzip.save(packed, "model.cnnz")       # a file many times smaller, checked before it is there
    model = cnnzip.load("model.cnnz", Net())
    plain = cnnzip.decompress(packed)       # every weight equal

`cnnzip.prune`, `cnnzip.quantize` and `cnnzip.tuning` make a network sparse and of few values, so that
its file is small.

Importing this module loads neither numba nor torch.
"""

import importlib
from typing import TYPE_CHECKING, Any

from cnnzip.errors import (
    ArgumentError,
    ChecksumError,
    CnnzipError,
    CorruptError,
    FormatError,
    LimitError,
    TruncatedError,
    VersionError,
)

if TYPE_CHECKING:
    from cnnzip import bounds, prune, quantize, tuning
    from cnnzip.api import compress, decompress, load, report, save
    from cnnzip.api import open_file as open
    from cnnzip.codecs.threads import get_num_threads, set_num_threads
    from cnnzip.container.reader import CodedFile
    from cnnzip.sizes import Report
    from cnnzip.tensor import CodedTensor, encode

__version__ = "0.1.0"

__all__ = [
    "ArgumentError",
    "ChecksumError",
    "CnnzipError",
    "CodedFile",
    "CodedTensor",
    "CorruptError",
    "FormatError",
    "LimitError",
    "Report",
    "TruncatedError",
    "VersionError",
    "bounds",
    "compress",
    "decompress",
    "encode",
    "get_num_threads",
    "load",
    "open",
    "prune",
    "quantize",
    "report",
    "save",
    "set_num_threads",
    "tuning",
]

_MODULES = ("bounds", "prune", "quantize", "tuning")  # all but the first import torch
_HOMES = {
    "CodedFile": ("cnnzip.container.reader", "CodedFile"),
    "CodedTensor": ("cnnzip.tensor", "CodedTensor"),
    "Report": ("cnnzip.sizes", "Report"),
    "compress": ("cnnzip.api", "compress"),
    "decompress": ("cnnzip.api", "decompress"),
    "encode": ("cnnzip.tensor", "encode"),
    "get_num_threads": ("cnnzip.codecs.threads", "get_num_threads"),
    "load": ("cnnzip.api", "load"),
    "open": ("cnnzip.api", "open_file"),
    "report": ("cnnzip.api", "report"),
    "save": ("cnnzip.api", "save"),
    "set_num_threads": ("cnnzip.codecs.threads", "set_num_threads"),
}


def __getattr__(name: str) -> Any:
    if name in _MODULES:
        return importlib.import_module(f"cnnzip.{name}")
    if name not in _HOMES:
        raise AttributeError(f"module 'cnnzip' has no attribute {name!r}")
    module, attribute = _HOMES[name]
    value = getattr(importlib.import_module(module), attribute)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted([*globals(), *__all__])
