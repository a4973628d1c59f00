"""Operations that Numba has no words for: windows on bit strings, and rows of 16 sums in registers.

Each is an LLVM intrinsic with a twin in plain Python for `NUMBA_DISABLE_JIT`. Numba runs no SLP
vectorizer, and its loop vectorizer cannot prove that arrays do not overlap; so the inner loops of
products with matrices are written here. Every operation is rounded by itself: none is fused.
"""

import sys

import numpy as np
from llvmlite import ir
from numba import config
from numba.core import cgutils, types
from numba.extending import intrinsic

LANES = 16
SUMS = 4  # partial sums of a gather; MAT-3


def _pointer(context, builder, signature, args, i):
    return context.make_array(signature.args[i])(context, builder, args[i]).data


class _Run:
    """The parts of a loop over a run of entries: what both products compute for each.

    Arguments of the intrinsics: positions, symbols, values, first, stop, x, x_at, y, y_at.
    """

    def __init__(self, context, builder, signature, args):
        self.context, self.builder, self.signature, self.args = context, builder, signature, args
        scalar = context.get_value_type(signature.args[2].dtype)
        self.vector = ir.VectorType(scalar, LANES)
        self.align = context.get_abi_sizeof(scalar)
        self.pointers = {i: _pointer(context, builder, signature, args, i) for i in (0, 1, 2, 5, 7)}

    def entries(self):
        """Loop over the entries; yields with an index."""
        _, _, _, first, stop, *_ = self.args
        return cgutils.for_range(self.builder, stop, start=first, intp=first.type)

    def element(self, array, index):
        return self.builder.load(self.builder.gep(self.pointers[array], [index]))

    def address(self, array, at):
        row = self.builder.gep(self.pointers[array], [at])
        return self.builder.bitcast(row, self.vector.as_pointer())

    def load(self, address):
        value = self.builder.load(address)
        value.align = self.align
        return value

    def store(self, value, address):
        self.builder.store(value, address).align = self.align

    def row(self, base, index):
        """Offset of the row of 16 that entry `index` means, from `base`."""
        position = self.builder.zext(self.element(0, index), base.type)
        return self.builder.add(base, self.builder.shl(position, ir.Constant(base.type, 4)))

    def factor(self, index):
        """The entry's value in all lanes."""
        symbol = self.builder.zext(self.element(1, index), ir.IntType(64))
        value = self.element(2, symbol)
        lane = ir.Constant(ir.IntType(32), 0)
        one = self.builder.insert_element(ir.Constant(self.vector, ir.Undefined), value, lane)
        mask = ir.Constant(ir.VectorType(ir.IntType(32), LANES), [0] * LANES)
        return self.builder.shuffle_vector(one, one, mask)


if config.DISABLE_JIT:

    def window(buffer, bit):
        """At least 57 bits from `bit` on, left-aligned; zeros past the end of the buffer."""
        byte = int(bit) >> 3
        word = int.from_bytes(buffer[byte : byte + 8].tobytes().ljust(8, b"\0"), "big")
        return np.uint64((word << (int(bit) & 7)) % 2**64)

    def gather_run(positions, symbols, values, first, stop, x, x_at, y, y_at):
        """Set one row of `y` to the sum of the run's entries times their rows of `x`."""
        sums = np.zeros((SUMS, LANES), x.dtype)
        for entry in range(first, stop):
            at = (int(x_at) + LANES * int(positions[entry])) % 2**64
            sums[(entry - first) % SUMS] += values[symbols[entry]] * x[at : at + LANES]
        y[int(y_at) : int(y_at) + LANES] = (sums[0] + sums[1]) + (sums[2] + sums[3])

    def scatter_run(positions, symbols, values, first, stop, x, x_at, y, y_at):
        """Add the run's entries times one row of `x` to their rows of `y`."""
        row = x[int(x_at) : int(x_at) + LANES]
        for entry in range(first, stop):
            at = (int(y_at) + LANES * int(positions[entry])) % 2**64
            y[at : at + LANES] += values[symbols[entry]] * row

else:

    @intrinsic
    def window(typingctx, buffer, bit):
        """At least 57 bits from `bit` on, left-aligned; zeros past the end of the buffer.

        buffer : uint8 (n,); bit : uint64. Reads inside the buffer only, whatever `bit` is.

        One unaligned load where eight bytes are left, else byte by byte. It is written here because
        an inlined function that takes an array costs two reference counts a call.

        Source: NUM-3.
        """

        def codegen(context, builder, signature, args):
            array = context.make_array(signature.args[0])(context, builder, args[0])
            word = ir.IntType(64)
            n_bytes = builder.zext(cgutils.unpack_tuple(builder, array.shape)[0], word)
            byte = builder.lshr(args[1], ir.Constant(word, 3))
            found = cgutils.alloca_once_value(builder, ir.Constant(word, 0))
            end = builder.add(byte, ir.Constant(word, 8))
            inside = builder.icmp_unsigned("<=", end, n_bytes)
            with builder.if_else(inside, likely=True) as (fast, slow):
                with fast:
                    address = builder.gep(array.data, [byte])
                    value = builder.load(builder.bitcast(address, word.as_pointer()))
                    value.align = 1
                    ordered = builder.bswap(value) if sys.byteorder == "little" else value
                    builder.store(ordered, found)
                with slow, cgutils.for_range(builder, ir.Constant(word, 8)) as loop:
                    at = builder.add(byte, loop.index)
                    shifted = builder.shl(builder.load(found), ir.Constant(word, 8))
                    builder.store(shifted, found)
                    with builder.if_then(builder.icmp_unsigned("<", at, n_bytes)):
                        one = builder.zext(builder.load(builder.gep(array.data, [at])), word)
                        builder.store(builder.or_(builder.load(found), one), found)
            skipped = builder.and_(args[1], ir.Constant(word, 7))
            return builder.shl(builder.load(found), skipped)

        return types.uint64(buffer, types.uint64), codegen

    @intrinsic
    def gather_run(typingctx, positions, symbols, values, first, stop, x, x_at, y, y_at):
        """Set one row of `y` to the sum of entries ``first`` to ``stop`` times their rows of `x`.

        The row of an entry is ``x[x_at + 16 * position:][:16]``, modulo 2**64. Four partial sums,
        so that additions need not wait for each other (MAT-3).

        Trusts: all rows lie inside, which the products' shapes and the decoders prove.
        """

        def codegen(context, builder, sig, args):
            run = _Run(context, builder, sig, args)
            nothing = ir.Constant(run.vector, None)
            sums = [cgutils.alloca_once_value(builder, nothing) for _ in range(SUMS)]

            def add(entry, total):
                row = run.load(run.address(5, run.row(args[6], entry)))
                term = builder.fmul(run.factor(entry), row)
                builder.store(builder.fadd(builder.load(total), term), total)

            def number(n):
                return ir.Constant(args[3].type, n)

            n_entries = builder.sub(args[4], args[3])
            n_groups = builder.udiv(n_entries, number(SUMS))
            with cgutils.for_range(builder, n_groups, intp=args[3].type) as loop:
                group = builder.add(args[3], builder.mul(loop.index, number(SUMS)))
                for i, total in enumerate(sums):
                    add(builder.add(group, number(i)), total)
            rest = builder.add(args[3], builder.mul(n_groups, number(SUMS)))
            for i, total in enumerate(sums[:-1]):
                entry = builder.add(rest, number(i))
                with builder.if_then(builder.icmp_unsigned("<", entry, args[4])):
                    add(entry, total)
            s0, s1, s2, s3 = (builder.load(total) for total in sums)
            run.store(
                builder.fadd(builder.fadd(s0, s1), builder.fadd(s2, s3)), run.address(7, args[8])
            )
            return context.get_dummy_value()

        signature = types.void(positions, symbols, values, first, first, x, x_at, y, y_at)
        return signature, codegen

    @intrinsic
    def scatter_run(typingctx, positions, symbols, values, first, stop, x, x_at, y, y_at):
        """Add entries ``first`` to ``stop`` times one row of `x` to their rows of `y`, in order.

        The row of an entry is ``y[y_at + 16 * position:][:16]``, modulo 2**64.

        Trusts: all rows lie inside, which the products' shapes and the decoders prove.
        """

        def codegen(context, builder, signature, args):
            run = _Run(context, builder, signature, args)
            row = run.load(run.address(5, args[6]))
            with run.entries() as loop:
                target = run.address(7, run.row(args[8], loop.index))
                term = builder.fmul(run.factor(loop.index), row)
                run.store(builder.fadd(run.load(target), term), target)
            return context.get_dummy_value()

        signature = types.void(positions, symbols, values, first, first, x, x_at, y, y_at)
        return signature, codegen
