"""Quantizers: shared values by four scalar methods, and rate against distortion with the codec."""

from cnnzip.quantize.sequential import rate_distortion
from cnnzip.quantize.sharing import codebooks, share
from cnnzip.quantize.side import shorten

__all__ = ["codebooks", "rate_distortion", "share", "shorten"]
