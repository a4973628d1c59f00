"""Quantizers: shared values by four scalar methods."""

from cnnzip.quantize.sharing import codebooks, share

__all__ = ["codebooks", "share"]
