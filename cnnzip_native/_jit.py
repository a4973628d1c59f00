"""The JIT policy. No other module may call `numba.njit` or `numba.extending.intrinsic`.

First use compiles; Numba keeps the result on disk. The cache lives where Numba looks for it
(`NUMBA_CACHE_DIR`, beside the sources, or the user's cache folder); where none of these can be
written, kernels are compiled in memory in each process.
"""

import os
import sys
import warnings

import numpy as np
from numba import config, njit
from numba.core import event, types
from numba.extending import intrinsic


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

    def load_be64(buffer, byte):
        """Eight bytes as one big-endian number; the form for plain Python."""
        return np.uint64(int.from_bytes(buffer[int(byte) : int(byte) + 8].tobytes(), "big"))

    def add_scaled(y, y_at, factor, x, x_at):
        """``y[y_at + j] += factor * x[x_at + j]`` for j < 16; the form for plain Python."""
        y[int(y_at) : int(y_at) + 16] += factor * x[int(x_at) : int(x_at) + 16]

else:

    @intrinsic
    def load_be64(typingctx, buffer, byte):
        """Eight bytes of a uint8 array as one big-endian uint64, at any alignment.

        Trusts: ``byte + 8 <= buffer.size``, which `bits.window` proves.
        """
        from llvmlite import ir

        def codegen(context, builder, signature, args):
            array = context.make_array(signature.args[0])(context, builder, args[0])
            address = builder.gep(array.data, [args[1]])
            word = ir.IntType(64)
            value = builder.load(builder.bitcast(address, word.as_pointer()))
            value.align = 1
            return builder.bswap(value) if sys.byteorder == "little" else value

        return types.uint64(buffer, byte), codegen

    @intrinsic
    def add_scaled(typingctx, y, y_at, factor, x, x_at):
        """``y[y_at + j] += factor * x[x_at + j]`` for j < 16, rounded after each operation.

        One vector operation each; Numba runs no SLP vectorizer, and its loop vectorizer cannot
        prove that `y` and `x` are apart.

        Trusts: both have 16 elements from there on, which the products' shapes prove.
        """
        from llvmlite import ir

        def codegen(context, builder, signature, args):
            vector = ir.VectorType(context.get_value_type(signature.args[2]), 16)

            def row(i):
                array = context.make_array(signature.args[i])(context, builder, args[i])
                address = builder.gep(array.data, [args[i + 1]])
                return builder.bitcast(address, vector.as_pointer())

            def load(address):
                value = builder.load(address)
                value.align = array_align
                return value

            array_align = context.get_abi_sizeof(context.get_value_type(signature.args[2]))
            lane = ir.Constant(ir.IntType(32), 0)
            one = builder.insert_element(ir.Constant(vector, ir.Undefined), args[2], lane)
            mask = ir.Constant(ir.VectorType(ir.IntType(32), 16), [0] * 16)
            factors = builder.shuffle_vector(one, one, mask)
            target = row(0)
            total = builder.fadd(load(target), builder.fmul(factors, load(row(3))))
            builder.store(total, target).align = array_align
            return context.get_dummy_value()

        return types.void(y, y_at, factor, x, x_at), codegen


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
