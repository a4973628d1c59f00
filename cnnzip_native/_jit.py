"""The JIT policy. No other module may call `numba.njit`.

First use compiles; Numba keeps the result on disk. The cache lives where Numba looks for it
(`NUMBA_CACHE_DIR`, beside the sources, or the user's cache folder); where none of these can be
written, kernels are compiled in memory in each process.
"""

import os
import sys
import warnings

from numba import config, njit
from numba.core import event


def kernel(function):
    """Compile a bit-exact kernel: without the GIL, without fastmath, cached where possible.

    `boundscheck` is left unset, so `NUMBA_BOUNDSCHECK=1` turns it on in the tests.
    """
    try:
        return njit(nogil=True, cache=True, error_model="numpy")(function)
    except RuntimeError as error:  # "cannot cache function ...: no locator available"
        if "cache" not in str(error):
            raise
        return njit(nogil=True, error_model="numpy")(function)


#: A few lines that a kernel repeats. A call costs ten times what they do, and LLVM will not
#: inline what takes an array; so Numba does.
inlined = njit(nogil=True, inline="always", error_model="numpy")


if config.DISABLE_JIT:
    # Wrap-around is what the bit arithmetic wants; NumPy warns of it for scalars.
    warnings.filterwarnings("ignore", "overflow encountered in scalar", RuntimeWarning)


class _Announcer(event.Listener):
    """Say once, on standard error, that a first use takes longer."""

    said = False

    def on_start(self, compiling):
        """Hear of a compilation; kernels that come from the cache cause none."""
        function = compiling.data["dispatcher"].py_func
        if not self.said and function.__module__.startswith("cnnzip_native"):
            self.said = True
            print("cnnzip: compiling kernels (once) ...", file=sys.stderr, flush=True)

    def on_end(self, compiling):
        """Nothing: the next line of output says it."""


event.register("numba:compile", _Announcer())


def cache_folder() -> str | None:
    """Folder where compiled kernels are kept, or None where none can be written."""
    from cnnzip_native import bits

    cache = getattr(bits.encode_streams, "_cache", None)
    path = getattr(cache, "cache_path", None)
    return path if path and os.access(os.path.dirname(path) or ".", os.W_OK) else None
