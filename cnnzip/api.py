"""The functions that users call; `cnnzip` itself only names them, so that importing it is fast."""

import os
import sys
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cnnzip.arrays import is_torch
from cnnzip.bounds import Matrix
from cnnzip.codecs.choose import encode_source
from cnnzip.codecs.names import CODEC_NAMES, PACK_ID
from cnnzip.codecs.source import MatrixShape, Source, source_of
from cnnzip.container.envelope import envelope_of
from cnnzip.container.limits import DEFAULT_LIMITS, Limits
from cnnzip.container.reader import CodedFile
from cnnzip.container.structure import STRUCTURE, Structure
from cnnzip.container.writer import write_file
from cnnzip.errors import ArgumentError, CorruptError
from cnnzip.sizes import Report, Row
from cnnzip.tensor import CodedTensor

NO_LIMITS = Limits(1 << 62, float("inf"))  # for bytes that this process has just made
Path = str | os.PathLike[str]


def open_file(
    path: Path,
    *,
    max_decoded_bytes: int = DEFAULT_LIMITS.max_decoded_bytes,
    allow_ratio: float = DEFAULT_LIMITS.allow_ratio,
) -> CodedFile:
    """Open a `.cnnz` or coded `.safetensors` file as a mapping from names to `CodedTensor`.

    Checksums are checked as the tensors are read, and nothing is decoded before it is asked for.
    Needs no torch. The same function as `cnnzip.open`.

    Parameters
    ----------
    max_decoded_bytes : int
        Refuse a tensor that decodes to more.
    allow_ratio : float
        Refuse one above 256 MiB that decodes to more than so many times its coded bytes.

    Raises
    ------
    OSError, FormatError, LimitError
    """
    return CodedFile(path, Limits(max_decoded_bytes, allow_ratio))


class _Job:
    """A tensor on its way into a file."""

    def __init__(
        self,
        name: str,
        tensor: Any,
        codec: str,
        signed_zeros: str,
        verify: bool,
        recode: bool = False,
    ) -> None:
        self.name = name
        self.n_bytes = (
            tensor.coded.shape.n_bytes if isinstance(tensor, CodedTensor) else tensor.nbytes
        )
        self.row: Row | None = None
        self.n_dropped = 0
        self._tensor = tensor
        self._codec = codec
        self._signed_zeros = signed_zeros
        self._verify = verify
        self._recode = recode

    def _source(self) -> Source:
        if isinstance(self._tensor, CodedTensor):
            return Source(self._tensor.coded.shape, self._tensor.coded.decode())
        try:
            source, self.n_dropped, _ = source_of(self._tensor, self._signed_zeros)
        except ArgumentError as error:
            raise ArgumentError(f"tensor {self.name!r}: {error}") from None
        return source

    def frame(self) -> bytes:
        source = None
        if isinstance(self._tensor, CodedTensor) and not self._recode:
            coded = self._tensor
            plain = coded.coded.decode() if self._verify else None
        else:
            source = self._source()
            coded, plain = CodedTensor(encode_source(source, self._codec)), source.data
        frame = coded.to_frame(self.name)
        if self._verify:
            again = CodedTensor.from_frame(frame, NO_LIMITS).coded.decode()
            if plain is None or not np.array_equal(again, plain):
                raise CorruptError("FRM-5", f"tensor {self.name!r}", "does not decode to itself")
        self.row = coded.report(self.name, source)
        return frame

    def plain(self) -> tuple[MatrixShape, NDArray[np.uint8]]:
        source = self._source()
        counts = Matrix.of_source(source).entry_counts
        pack = CODEC_NAMES[PACK_ID]
        self.row = Row.of_counts(self.name, source.shape, pack, counts, nbytes=0)  # see `_share`
        return source.shape, source.data


def save(
    obj: Any,
    path: Path,
    verify: bool = True,
    *,
    codec: str = "auto",
    recode: bool = False,
    signed_zeros: str = "drop",
    metadata: Mapping[str, str] | None = None,
    durable: bool = True,
) -> Report:
    """Write a model or a state dict to a file, losslessly. Returns a report of its sizes.

    The file at `path` is replaced as a whole, when everything is written and checked, or not at
    all. A name that ends in `.safetensors` makes a file of that format, any other a `.cnnz` file.

    Parameters
    ----------
    obj : nn.Module, or mapping from names to torch tensors, NumPy arrays or `CodedTensor`
        Coded layers keep their codec; what is still plain is coded now.
    verify : bool
        Decode each frame and compare it with the tensor, and read the file back, before it takes
        the place of the old one.
    codec, signed_zeros : str
        As of `encode`, for tensors that are still plain. "smallest" takes some ten times as long
        to write and to load, and is for files that are stored or sent.
    recode : bool
        Whether what is coded already is coded anew, too; its -0.0 are kept.
    metadata : dict of str to str
        Kept in the file. What a model lost by `cnnzip.prune` is told there, too (ENV-14), so that
        `load` fills the original class.
    durable : bool
        Force the file to the disk before it takes the place of the old one.

    Raises
    ------
    ArgumentError
        The object or an option cannot be used.
    OSError
        The file cannot be written; the old one is unchanged. (Where only the folder could not be
        forced to the disk, the new one is in place.)
    """
    from cnnzip.progress import Progress

    path = os.fsdecode(path)
    metadata = _with_structure(obj, metadata or {})
    tensors, aliases, notes = named_tensors(obj)
    jobs = [_Job(name, t, codec, signed_zeros, verify, recode) for name, t in tensors.items()]
    total = sum(job.n_bytes for job in jobs)
    shown = {"unit": "B", "unit_scale": True, "disable": None, "delay": 1}
    with Progress(total=total, desc="coding", **shown) as bar:
        n_bytes = write_file(
            path,
            jobs,
            aliases,
            metadata,
            envelope=envelope_of(path),
            verify=verify,
            durable=durable,
            done=lambda job: bar.update(job.n_bytes),
        )
    rows = [job.row for job in jobs if job.row is not None]
    with CodedFile(path) as file:
        rows = [_share(row, file) for row in rows]
    n_dropped = sum(job.n_dropped for job in jobs)
    if n_dropped:
        notes = [
            *notes,
            f"{n_dropped:,} weights of -0.0 are stored as 0.0; signed_zeros='keep' keeps them",
        ]
    return Report(rows, n_bytes, notes)


def _with_structure(obj: Any, metadata: Mapping[str, str]) -> dict[str, str]:
    """Metadata, and what is known of layers and channels that were lost (ENV-14)."""
    Structure.parse(metadata)  # or it is refused
    torch = sys.modules.get("torch")
    if torch is not None and isinstance(obj, torch.nn.Module):
        from cnnzip.torch.structure import structure_of

        if STRUCTURE in metadata:
            raise ArgumentError(
                f"metadata: {STRUCTURE!r} is told by the model itself; leave it out"
            )
        return {**metadata, **structure_of(obj).metadata()}
    if isinstance(obj, CodedFile):
        return {**Structure.parse(obj.metadata).metadata(), **metadata}
    return dict(metadata)


def _share(row: Row, file: CodedFile) -> Row:
    """A packed tensor's row with its share of the pack."""
    if not file.is_packed(row.name):
        return row
    n_bytes = file.frame_bytes(row.name)
    return replace(row, nbytes=n_bytes, bits_per_weight=8 * n_bytes / max(row.n_weights, 1))


def named_tensors(obj: Any) -> tuple[dict[str, Any], dict[str, str], list[str]]:
    """The tensors of a model or state dict by name, further names of tied ones, and notes."""
    torch = sys.modules.get("torch")
    if torch is not None and (
        isinstance(obj, torch.nn.Module)
        or (isinstance(obj, Mapping) and any(is_torch(value) for value in obj.values()))
    ):
        from cnnzip.torch.checkpoint import named_tensors

        return named_tensors(obj)
    if isinstance(obj, CodedFile):
        owners = {name: obj[name] for name in obj if name not in obj.aliases}
        return owners, obj.aliases, []
    if isinstance(obj, CodedTensor):
        raise ArgumentError('a tensor has no name of its own; give {"name": tensor}')
    if not isinstance(obj, Mapping):
        raise ArgumentError(
            f"{type(obj).__name__}: give a model, or a mapping from names to tensors"
        )
    for name, value in obj.items():
        is_tensor = isinstance(value, CodedTensor) or hasattr(value, "__array__")
        if not (isinstance(name, str) and is_tensor):
            raise ArgumentError(
                f"{name!r} is a {type(value).__name__}; a state dict maps names to arrays: leave it out"
            )
    return dict(obj), {}, []


def load(
    path: Path,
    model: Any = None,
    keep: str = "coded",
    *,
    max_decoded_bytes: int = DEFAULT_LIMITS.max_decoded_bytes,
    allow_ratio: float = DEFAULT_LIMITS.allow_ratio,
) -> Any:
    """Fill a model from a file, or give its tensors as a dense state dict.

    Parameters
    ----------
    model : nn.Module, optional
        Is filled and returned; what `cnnzip.prune` removed from the network in the file is removed
        from it first. Without one: a dict of plain torch tensors.
    keep : str
        "coded": layers whose codec multiplies compute from the coded form; those of less than 1
        KiB, which share a frame, come back plain; those by "mixed" are coded anew by a codec that
        multiplies. "fast": as "coded", but these layers' weights are
        coded anew by "fast", which multiplies several times faster than what makes the smallest
        files, in about one byte an entry of memory. "dense": all weights are decoded.
    max_decoded_bytes, allow_ratio
        As of `open`, for all tensors together.

    Raises
    ------
    OSError, LimitError
    ArgumentError
        The file's tensors are not the model's; the model is unchanged.
    FormatError
        The file is damaged; tensors before the damage may have been filled.
    """
    from cnnzip.torch.checkpoint import check_keep, fill, state_dict_of

    check_keep(keep)

    with CodedFile(path, Limits(max_decoded_bytes, allow_ratio)) as file:
        file.check_limits()
        return state_dict_of(file) if model is None else fill(model, file, keep)


def compress(model: Any, codec: str = "auto", layers: Any = None, inplace: bool = False) -> Any:
    """Give a model whose layers hold their weights coded and compute from the coded form.

    See `cnnzip.torch.model.compress`.
    """
    from cnnzip.torch.model import compress

    return compress(model, codec, layers, inplace)


def decompress(packed: Any, inplace: bool = False) -> Any:
    """Give the plain model back, every weight equal. See `cnnzip.torch.model.decompress`."""
    from cnnzip.torch.model import decompress

    return decompress(packed, inplace)


def report(obj: Any) -> Report:
    """Sizes of a `CodedTensor`, a file, a model or a state dict, tensor by tensor.

    What is still plain is coded to find its size. A file is decoded to count its values.
    """
    if isinstance(obj, CodedTensor):
        return Report([obj.report()])
    if isinstance(obj, str | os.PathLike):
        with CodedFile(obj) as file:
            return report(file)
    if isinstance(obj, CodedFile):
        owners = [name for name in obj if name not in obj.aliases]
        rows = [_share(obj[name].report(name), obj) for name in owners]
        rows = [replace(r, codec=obj.header(r.name).codec) for r in rows]
        return Report(rows, obj.file_bytes)
    tensors, _, notes = named_tensors(obj)
    jobs = [_Job(name, tensor, "auto", "drop", verify=False) for name, tensor in tensors.items()]
    for job in jobs:
        job.frame()
    return Report([job.row for job in jobs if job.row is not None], None, notes)
