"""Plain model files as mappings from names to arrays, read when they are needed."""

import json
import os
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cnnzip.dtypes import DType, dtype_by_name
from cnnzip.errors import ArgumentError, CorruptError, TruncatedError, located

SUFFIXES = (".safetensors", ".pt", ".pth", ".bin", ".npz")
MAX_HEADER_BYTES = 100_000_000
#: Names of types in safetensors, and ours.
SAFETENSORS_DTYPES = {
    "BOOL": "bool",
    "U8": "uint8",
    "I8": "int8",
    "U16": "uint16",
    "I16": "int16",
    "U32": "uint32",
    "I32": "int32",
    "U64": "uint64",
    "I64": "int64",
    "F16": "float16",
    "BF16": "bfloat16",
    "F32": "float32",
    "F64": "float64",
    "F8_E4M3": "float8_e4m3fn",
    "F8_E4M3FNUZ": "float8_e4m3fnuz",
    "F8_E5M2": "float8_e5m2",
    "F8_E5M2FNUZ": "float8_e5m2fnuz",
    "F8_E8M0": "float8_e8m0fnu",
    "C64": "complex64",
}


@dataclass(frozen=True)
class LazyArray:
    """An array that lies in a file."""

    path: str
    at: int
    nbytes: int
    dtype: DType
    dims: tuple[int, ...]

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> NDArray[Any]:
        with open(self.path, "rb") as file:
            file.seek(self.at)
            data = np.fromfile(file, np.uint8, self.nbytes)
        if data.size != self.nbytes:
            raise TruncatedError("safetensors", self.path, f"{data.size} bytes of {self.nbytes}")
        return data.view(self.dtype.numpy).reshape(self.dims)


def open_source(path: str | os.PathLike[str]) -> tuple[Mapping[str, Any], dict[str, str]]:
    """The tensors of a plain model file, and its metadata.

    Raises
    ------
    OSError, ArgumentError, FormatError
    """
    path = os.fspath(path)
    suffix = Path(path).suffix.lower()
    if suffix not in SUFFIXES:
        raise ArgumentError(f"{path}: not one of {', '.join(SUFFIXES)}; convert it to one of them")
    if not os.path.getsize(path):
        raise TruncatedError(suffix, path, "the file is empty")
    if suffix == ".safetensors":
        with located(path):
            return _open_safetensors(path)
    return (_open_npz(path) if suffix == ".npz" else _open_torch(path)), {}


def _open_safetensors(path: str) -> tuple[dict[str, LazyArray], dict[str, str]]:
    file_bytes = os.path.getsize(path)
    with open(path, "rb") as file:
        n_bytes = int.from_bytes(file.read(8), "little")
        if n_bytes > min(MAX_HEADER_BYTES, file_bytes - 8):
            raise TruncatedError("safetensors", "header", f"{n_bytes} bytes in {file_bytes}")
        try:
            header = json.loads(file.read(n_bytes))
            metadata = {str(k): str(v) for k, v in header.pop("__metadata__", {}).items()}
            tensors = {name: _lazy(path, 8 + n_bytes, entry) for name, entry in header.items()}
        except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
            if isinstance(error, ArgumentError):
                raise
            raise CorruptError("safetensors", "header", f"not one: {error!r}") from None
    if "cnnzip" in metadata:
        raise ArgumentError(f"{path}: is coded already; `cnnzip decompress` gives the plain file")
    for name, tensor in tensors.items():
        if tensor.at + tensor.nbytes > file_bytes:
            raise TruncatedError("safetensors", f"tensor {name!r}", "lies past the end of the file")
    return tensors, metadata


def _lazy(path: str, data_at: int, entry: dict[str, Any]) -> LazyArray:
    if entry["dtype"] not in SAFETENSORS_DTYPES:
        raise ArgumentError(f"{path}: dtype {entry['dtype']} cannot be stored [DTY-1]")
    dtype = dtype_by_name(SAFETENSORS_DTYPES[entry["dtype"]])
    dims = tuple(int(dim) for dim in entry["shape"])
    first, stop = (int(offset) for offset in entry["data_offsets"])
    n_weights = 1
    for dim in dims:
        n_weights *= dim
    if min((first, *dims), default=0) < 0 or stop - first != n_weights * dtype.itemsize:
        raise ValueError(f"offsets {first}, {stop} for shape {dims} of {dtype.name}")
    return LazyArray(path, data_at + first, stop - first, dtype, dims)


def _open_npz(path: str) -> dict[str, NDArray[Any]]:
    with open(path, "rb") as file:
        try:
            with np.load(file, allow_pickle=False) as archive:
                return dict(archive)
        except Exception as error:  # noqa: BLE001  zipfile, zlib, tokenize: damage raises any
            raise CorruptError("npz", path, f"not an archive of plain arrays: {error}") from None


def _open_torch(path: str) -> Mapping[str, Any]:
    try:
        import torch
    except ImportError:
        raise ArgumentError(f"{path}: reading it needs torch; pip install cnnzip[torch]") from None
    with open(path, "rb") as file:
        try:
            loaded = torch.load(file, map_location="cpu", weights_only=True)
        except Exception as error:  # noqa: BLE001  pickle, struct, torch: damage raises any
            why = _reason(error)
            raise CorruptError(
                "pt",
                path,
                f"torch.load(weights_only=True) refuses it: {why}; save model.state_dict()",
            ) from None
    for key in ("state_dict", "model_state_dict", "model"):
        if isinstance(loaded, Mapping) and isinstance(loaded.get(key), Mapping):
            loaded = loaded[key]
    if not isinstance(loaded, Mapping):
        raise ArgumentError(
            f"{path}: holds a {type(loaded).__name__}, not a state dict; save model.state_dict()"
        )
    return loaded


def _reason(error: Exception) -> str:
    """The first line of what torch says, without its colours and its advice."""
    if len(str(error)) <= 20:
        return "it is no torch archive"
    line = re.sub("\x1b\\[[0-9;]*m", "", str(error).splitlines()[0])
    return line.partition(" Re-running")[0]
