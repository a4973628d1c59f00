"""Sixteen lanes in one register: the words that Numba lacks for vector code.

A kernel that uses them reads like scalar code: `place + gap` adds sixteen numbers. There are lanes
of integers (32 bits, modulo 2**32), of booleans, and of float32 or float64. LLVM makes of them what
the processor has: one AVX-512 register, two of AVX2, four of NEON, or scalars. With
`NUMBA_DISABLE_JIT` lanes are NumPy arrays of 16. Every operation on floats is rounded by itself.

Every read here stays inside its array for lanes that a mask allows; the kernel computes the mask.
"""

import operator
import sys

import numpy as np
from llvmlite import ir
from llvmlite.binding import get_host_cpu_features
from numba import config
from numba.core import cgutils, types
from numba.core.imputils import lower_builtin
from numba.core.typing.templates import AbstractTemplate, infer_global, signature
from numba.extending import intrinsic, models, register_model

from cnnzip_native._vectors import window

LANES = 16
#: Whether code may use AVX-512; not where Numba is told of another machine.
HAS_AVX512 = bool(
    not (config.DISABLE_JIT or config.CPU_NAME or config.CPU_FEATURES)
    and get_host_cpu_features().get("avx512f")
)
I1, I16, I32, I64 = (ir.IntType(n) for n in (1, 16, 32, 64))


class Lanes(types.Type):
    """Sixteen numbers of one type."""

    def __init__(self, of):
        self.of = of
        super().__init__(name=f"Lanes({of})")


@register_model(Lanes)
class LanesModel(models.PrimitiveModel):
    """One LLVM vector."""

    def __init__(self, manager, lanes):
        super().__init__(manager, lanes, _vector(ELEMENTS[lanes.of]))


ELEMENTS = {types.boolean: I1, types.uint32: I32, types.float32: ir.FloatType()}
ELEMENTS[types.float64] = ir.DoubleType()
WHOLE, CHOICE = Lanes(types.uint32), Lanes(types.boolean)


def _vector(element):
    return ir.VectorType(element, LANES)


def _constant(numbers, element=I32):
    return ir.Constant(_vector(element), [element(n) for n in numbers])


def _splat(builder, value):
    one = builder.insert_element(ir.Constant(_vector(value.type), ir.Undefined), value, I32(0))
    return builder.shuffle_vector(one, one, _constant([0] * LANES))


def _call(builder, name, result, arguments):
    kind = ir.FunctionType(result, [a.type for a in arguments])
    return builder.call(cgutils.get_or_insert_function(builder.module, kind, name), arguments)


def _shifted(builder, lanes, n):
    """Lane i from lane i - n, zeros from below."""
    zeros = ir.Constant(lanes.type, None)
    return builder.shuffle_vector(zeros, lanes, _constant(range(16 - n, 32 - n)))


def _pointer(context, builder, sig, args, i):
    return context.make_array(sig.args[i])(context, builder, args[i]).data


def _row(builder, pointer, at, lanes):
    """Address of sixteen elements from element `at` on."""
    return builder.bitcast(builder.gep(pointer, [at]), lanes.as_pointer())


def _gather(context, builder, sig, args):
    of = sig.return_type.of
    lanes = _vector(ELEMENTS[of])
    pointer = _pointer(context, builder, sig, args, 0)
    rows = builder.gep(pointer, [args[1]], source_etype=lanes.element)
    rows.type = ir.VectorType(ir.PointerType(), LANES)  # llvmlite has no words for it
    align, nothing = I32(of.bitwidth // 8), ir.Constant(lanes, None)
    name = f"llvm.masked.gather.v16{'i' if of == types.uint32 else 'f'}{of.bitwidth}.v16p0"
    return _call(builder, name, lanes, [rows, align, args[2], nothing])


def _operator(function, instructions):
    """Give an operator on lanes; `instructions` are those for integers and for floats."""

    @infer_global(function)
    class Template(AbstractTemplate):
        def generic(self, args, kws):
            if len(args) == 2 and isinstance(args[0], Lanes) and args[0] == args[1]:
                return signature(args[0], *args)
            return None

    @lower_builtin(function, Lanes, Lanes)
    def lower(context, builder, sig, args):
        is_float = isinstance(sig.args[0].of, types.Float)
        return getattr(builder, instructions[is_float])(*args)


def _comparison(function, predicate):
    @infer_global(function)
    class Template(AbstractTemplate):
        def generic(self, args, kws):
            return signature(CHOICE, *args) if args == (WHOLE, WHOLE) else None

    @lower_builtin(function, Lanes, Lanes)
    def lower(context, builder, sig, args):
        return builder.icmp_unsigned(predicate, *args)


if config.DISABLE_JIT:

    def spread(number):
        """The number in all lanes."""
        return np.full(LANES, int(number) % 2**32, np.uint32)

    def zeros(values):
        """Zeros of the array's type."""
        return np.zeros(LANES, values.dtype)

    def first_lanes(n):
        """Choose the first `n` lanes."""
        return np.arange(LANES) < n

    def load(array, at, chosen):
        """Elements ``at`` to ``at + 15``, as integers, of the lanes chosen; zeros elsewhere."""
        return gather(array, np.arange(at, at + LANES), chosen).astype(np.uint32)

    def gather(array, index, chosen):
        """Elements of `array` by the lanes' indices, of the lanes chosen; zeros elsewhere."""
        found = np.zeros(LANES, array.dtype)
        found[chosen] = array[index[chosen]]
        return found.astype(np.uint32) if array.dtype.kind == "u" else found

    def lookup(values, index):
        """Elements of `values`, 32 or more, by indices below 32; they may come from registers."""
        return values[index]

    def store(array, at, lanes):
        """Write all lanes to elements ``at`` to ``at + 15``."""
        array[at : at + LANES] = lanes

    def select(chosen, lanes, others):
        """Lanes where chosen, others elsewhere."""
        return np.where(chosen, lanes, others)

    def least(lanes, others):
        """The lesser of each two, as unsigned numbers."""
        return np.minimum(lanes, others)

    def store_first(array, at, lanes, n):
        """Write the first `n` lanes, to elements ``at`` to ``at + n - 1``."""
        array[at : at + n] = lanes[:n]

    def windows(buffer, bit):
        """The 32 bits from each lane's `bit` on, and the 25 or more after these.

        Bits past the end of the buffer, of 8 bytes at least, are any bits.
        """
        words = [int(window(buffer, b)) for b in bit]
        high, low = zip(*(divmod(word, 2**32) for word in words), strict=True)
        return np.array(high, np.uint32), np.array(low, np.uint32)

    def shift_in(lanes, others, n):
        """Lanes shifted left by `n`, below 32, the highest bits of the others behind."""
        wide = lanes.astype(np.uint64) << np.uint64(32) | others
        return (wide << n.astype(np.uint64) >> np.uint64(32)).astype(np.uint32)

    def bits_of(chosen):
        """The lanes chosen as bits of a number, the first lane's the lowest."""
        return sum(1 << i for i in range(LANES) if chosen[i])

    def lane_of(lanes, i):
        """The number in lane `i`."""
        return np.int64(lanes[i])

    def with_lane(lanes, i, number):
        """Lanes, but for `number` in lane `i`."""
        lanes = lanes.copy()
        lanes[i] = int(number) % 2**32
        return lanes

    def squeeze(lanes, chosen):
        """The lanes chosen, moved to the front; any numbers behind them."""
        return np.concatenate([lanes[chosen], lanes[~chosen]])

    def count(chosen):
        """How many lanes are chosen."""
        return np.int64(np.count_nonzero(chosen))

    def prefix_sum(lanes):
        """Each lane plus all before it."""
        return np.cumsum(lanes, dtype=np.uint32)

    def last(lanes):
        """The last lane in all lanes."""
        return np.full(LANES, lanes[-1])

    def total(lanes):
        """The sum of all lanes: halves are added until one is left."""
        while lanes.size > 1:
            lanes = lanes[: lanes.size // 2] + lanes[lanes.size // 2 :]
        return lanes[0]

else:
    _operator(operator.add, ("add", "fadd"))
    _operator(operator.sub, ("sub", "fsub"))
    _operator(operator.mul, ("mul", "fmul"))
    _operator(operator.and_, ("and_", "and_"))
    _operator(operator.or_, ("or_", "or_"))
    _operator(operator.rshift, ("lshr", "lshr"))
    _operator(operator.lshift, ("shl", "shl"))
    _comparison(operator.lt, "<")
    _comparison(operator.eq, "==")
    _comparison(operator.ge, ">=")

    @intrinsic
    def spread(typingctx, number):
        """The number in all lanes."""

        def codegen(context, builder, sig, args):
            return _splat(builder, context.cast(builder, args[0], sig.args[0], types.uint32))

        return WHOLE(number), codegen

    @intrinsic
    def zeros(typingctx, values):
        """Zeros of the array's type."""

        def codegen(context, builder, sig, args):
            return ir.Constant(_vector(ELEMENTS[sig.return_type.of]), None)

        return Lanes(values.dtype)(values), codegen

    @intrinsic
    def first_lanes(typingctx, n):
        """Choose the first `n` lanes."""

        def codegen(context, builder, sig, args):
            n = _splat(builder, context.cast(builder, args[0], sig.args[0], types.int32))
            return builder.icmp_signed("<", _constant(range(LANES)), n)

        return CHOICE(n), codegen

    @intrinsic
    def load(typingctx, array, at, chosen):
        """Elements ``at`` to ``at + 15``, as integers, of the lanes chosen; zeros elsewhere."""

        def codegen(context, builder, sig, args):
            n_bits = sig.args[0].dtype.bitwidth
            lanes = _vector(ir.IntType(n_bits))
            row = _row(builder, _pointer(context, builder, sig, args, 0), args[1], lanes)
            align, nothing = I32(n_bits // 8), ir.Constant(lanes, None)
            name = f"llvm.masked.load.v16i{n_bits}.p0"
            found = _call(builder, name, lanes, [row, align, args[2], nothing])
            return builder.zext(found, _vector(I32)) if n_bits < 32 else found

        return WHOLE(array, at, chosen), codegen

    @intrinsic
    def gather(typingctx, array, index, chosen):
        """Elements of `array` by the lanes' indices, of the lanes chosen; zeros elsewhere."""
        return Lanes(array.dtype)(array, index, chosen), _gather

    @intrinsic
    def lookup(typingctx, values, index):
        """Elements of `values`, 32 or more, by indices below 32; they may come from registers."""

        def codegen(context, builder, sig, args):
            of = sig.args[0].dtype
            lanes = _vector(ELEMENTS[of])
            if of != types.float32 or not HAS_AVX512:
                whole = signature(Lanes(of), sig.args[0], WHOLE, CHOICE)
                every = _constant([1] * LANES, I1)
                return _gather(context, builder, whole, (*args, every))
            pointer = _pointer(context, builder, sig, args, 0)
            low, high = (builder.load(_row(builder, pointer, I64(at), lanes)) for at in (0, 16))
            low.align = high.align = 4
            name = "llvm.x86.avx512.vpermi2var.ps.512"
            return _call(builder, name, lanes, [low, args[1], high])

        return Lanes(values.dtype)(values, index), codegen

    @intrinsic
    def store(typingctx, array, at, lanes):
        """Write all lanes to elements ``at`` to ``at + 15``."""

        def codegen(context, builder, sig, args):
            n_bits = sig.args[0].dtype.bitwidth
            row = _row(
                builder,
                _pointer(context, builder, sig, args, 0),
                args[1],
                _vector(ir.IntType(n_bits)),
            )
            whole = args[2]
            if n_bits < 32:
                whole = builder.trunc(whole, _vector(ir.IntType(n_bits)))
            builder.store(whole, row).align = n_bits // 8
            return context.get_dummy_value()

        return types.void(array, at, lanes), codegen

    @intrinsic
    def select(typingctx, chosen, lanes, others):
        """Lanes where chosen, others elsewhere."""

        def codegen(context, builder, sig, args):
            return builder.select(*args)

        return lanes(chosen, lanes, others), codegen

    @intrinsic
    def least(typingctx, lanes, others):
        """The lesser of each two, as unsigned numbers."""

        def codegen(context, builder, sig, args):
            return _call(builder, "llvm.umin.v16i32", args[0].type, args)

        return lanes(lanes, others), codegen

    @intrinsic
    def store_first(typingctx, array, at, lanes, n):
        """Write the first `n` lanes, to elements ``at`` to ``at + n - 1``."""

        def codegen(context, builder, sig, args):
            n_bits = sig.args[0].dtype.bitwidth
            whole = _vector(ir.IntType(n_bits))
            row = _row(builder, _pointer(context, builder, sig, args, 0), args[1], whole)
            count = _splat(builder, context.cast(builder, args[3], sig.args[3], types.int32))
            chosen = builder.icmp_signed("<", _constant(range(LANES)), count)
            numbers = builder.trunc(args[2], whole) if n_bits < 32 else args[2]
            name = f"llvm.masked.store.v16i{n_bits}.p0"
            _call(builder, name, ir.VoidType(), [numbers, row, I32(n_bits // 8), chosen])
            return context.get_dummy_value()

        return types.void(array, at, lanes, n), codegen

    @intrinsic
    def windows(typingctx, buffer, bit):
        """The 32 bits from each lane's `bit` on, and the 25 or more after these.

        Bits past the end of the buffer, of 8 bytes at least, are any bits.

        Source: NUM-3.
        """

        def codegen(context, builder, sig, args):
            array = context.make_array(sig.args[0])(context, builder, args[0])
            n_bytes = builder.trunc(cgutils.unpack_tuple(builder, array.shape)[0], I32)
            last = _splat(builder, builder.sub(n_bytes, I32(8)))
            byte = builder.lshr(args[1], _constant([3] * LANES))
            inside = _call(builder, "llvm.umin.v16i32", byte.type, [byte, last])
            rows = builder.gep(array.data, [inside], source_etype=ir.IntType(8))
            rows.type = ir.VectorType(ir.PointerType(), LANES)
            words = _vector(I64)
            every, nothing = _constant([1] * LANES, I1), ir.Constant(words, None)
            name = "llvm.masked.gather.v16i64.v16p0"
            found = _call(builder, name, words, [rows, I32(1), every, nothing])
            if sys.byteorder == "little":
                found = _call(builder, "llvm.bswap.v16i64", words, [found])
            skipped = builder.sub(args[1], builder.shl(inside, _constant([3] * LANES)))
            most = _constant([63] * LANES)
            skipped = _call(builder, "llvm.umin.v16i32", byte.type, [skipped, most])
            found = builder.shl(found, builder.zext(skipped, words))
            high = builder.lshr(found, _constant([32] * LANES, I64))
            parts = [builder.trunc(part, byte.type) for part in (high, found)]
            return context.make_tuple(builder, sig.return_type, parts)

        return types.UniTuple(WHOLE, 2)(buffer, bit), codegen

    @intrinsic
    def shift_in(typingctx, lanes, others, n):
        """Lanes shifted left by `n`, below 32, the highest bits of the others behind."""

        def codegen(context, builder, sig, args):
            return _call(builder, "llvm.fshl.v16i32", args[0].type, args)

        return lanes(lanes, others, n), codegen

    @intrinsic
    def bits_of(typingctx, chosen):
        """The lanes chosen as bits of a number, the first lane's the lowest."""

        def codegen(context, builder, sig, args):
            order = range(LANES) if sys.byteorder == "little" else range(LANES)[::-1]
            whole = builder.shuffle_vector(args[0], args[0], _constant(order))
            return builder.zext(builder.bitcast(whole, I16), I64)

        return types.int64(chosen), codegen

    @intrinsic
    def lane_of(typingctx, lanes, i):
        """The number in lane `i`."""

        def codegen(context, builder, sig, args):
            return builder.zext(builder.extract_element(*args), I64)

        return types.int64(lanes, i), codegen

    @intrinsic
    def with_lane(typingctx, lanes, i, number):
        """Lanes, but for `number` in lane `i`."""

        def codegen(context, builder, sig, args):
            number = context.cast(builder, args[2], sig.args[2], types.uint32)
            return builder.insert_element(args[0], number, args[1])

        return lanes(lanes, i, number), codegen

    @intrinsic
    def squeeze(typingctx, lanes, chosen):
        """The lanes chosen, moved to the front; any numbers behind them."""

        def codegen(context, builder, sig, args):
            nothing = ir.Constant(args[0].type, ir.Undefined)
            name = "llvm.experimental.vector.compress.v16i32"
            return _call(builder, name, args[0].type, [*args, nothing])

        return lanes(lanes, chosen), codegen

    @intrinsic
    def count(typingctx, chosen):
        """How many lanes are chosen."""

        def codegen(context, builder, sig, args):
            return builder.zext(builder.ctpop(builder.bitcast(args[0], I16)), I64)

        return types.int64(chosen), codegen

    @intrinsic
    def prefix_sum(typingctx, lanes):
        """Each lane plus all before it."""

        def codegen(context, builder, sig, args):
            whole = args[0]
            for n in (1, 2, 4, 8):
                whole = builder.add(whole, _shifted(builder, whole, n))
            return whole

        return lanes(lanes), codegen

    @intrinsic
    def last(typingctx, lanes):
        """The last lane in all lanes."""

        def codegen(context, builder, sig, args):
            return builder.shuffle_vector(args[0], args[0], _constant([LANES - 1] * LANES))

        return lanes(lanes), codegen

    @intrinsic
    def total(typingctx, lanes):
        """The sum of all lanes: halves are added until one is left."""

        def codegen(context, builder, sig, args):
            whole = args[0]
            n = LANES
            while n > 1:
                n //= 2
                low, high = (
                    ir.Constant(ir.VectorType(I32, n), [I32(i) for i in range(start, start + n)])
                    for start in (0, n)
                )
                whole = builder.fadd(
                    builder.shuffle_vector(whole, whole, low),
                    builder.shuffle_vector(whole, whole, high),
                )
            return builder.extract_element(whole, I32(0))

        return lanes.of(lanes), codegen
