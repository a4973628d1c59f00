"""Sizes, tensor by tensor, beside their entropy and other formats."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass, field, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cnnzip.bounds import Matrix, entropy
from cnnzip.codecs.banded import Banded, Grid
from cnnzip.codecs.base import Codec
from cnnzip.codecs.lines import LineCodec
from cnnzip.codecs.masked import Masked
from cnnzip.codecs.mixed import Mixed
from cnnzip.codecs.source import MatrixShape, Source

UNSHRUNK = (
    "{share:.0%} of the weights' bytes stand in tensors that are neither sparse nor shared ({names}):"
    " a lossless code saves little on them. Prune them (set weights to 0) or quantize them (let"
    " weights share a few values), then compress again."
)


def total_line(n_bytes: int, dense_bytes: int) -> str:
    """Say how much smaller a file is than its plain tensors, or that it is not."""
    times = dense_bytes / max(n_bytes, 1)
    how = f"{times:.1f}x smaller than" if times >= 1 else "no smaller than"
    return f"{n_bytes:,} bytes, {how} the plain {dense_bytes:,}"


@dataclass(frozen=True)
class Row:
    """One tensor.

    Attributes
    ----------
    name, shape, dtype, codec
    n_weights : int
    n_entries : int
        Weights whose pattern is not zero.
    k : int
        Distinct values among the entries.
    h0_bits : float
        Order-0 entropy, zero as a symbol; bits per weight.
    bits_per_weight : float
        Of the whole frame.
    nbytes : int
        Of the whole frame.
    dense_bytes : int
        Of the plain tensor.
    csr_bytes : int
        Of CSR with int32 indices and the plain type's values.
    grid : Grid, str or None
        Of banded and masked, what chooses the tables; of mixed, its model in words.
    parts : dict of str to float, or None
        Of banded, masked and mixed, the frame's bits by what they are for; they add up to it. As
        `Banded.parts` and `Mixed.parts`; masked's values are its planes. The frame's own header
        and padding are in "header".
    """

    name: str
    shape: tuple[int, ...]
    dtype: str
    codec: str
    n_weights: int
    n_entries: int
    k: int
    h0_bits: float
    bits_per_weight: float
    nbytes: int
    dense_bytes: int
    csr_bytes: int
    grid: Grid | str | None = None
    parts: dict[str, float] | None = None

    @property
    def share_of_h0(self) -> float | None:
        """Bits of the frame over those of the order-0 entropy; None where that is 0."""
        return self.bits_per_weight / self.h0_bits if self.h0_bits else None

    @property
    def details(self) -> list[str]:
        """Lines that say where the bits go; none for a codec that does not tell."""
        if self.parts is None:
            return []
        total = sum(self.parts.values())
        shares = ", ".join(f"{part} {bits / total:.1%}" for part, bits in self.parts.items())
        return [*([f"grid: {self.grid}"] if self.grid else []), f"bits: {shares}"]

    def to_dict(self) -> dict[str, Any]:
        """Everything, for JSON."""
        return {**asdict(self), "share_of_h0": self.share_of_h0}

    @classmethod
    def of_codec(cls, name: str, coded: Codec, nbytes: int, source: Source | None = None) -> "Row":
        """Count the values of a coded tensor; without its source it is decoded for that."""
        shape = coded.shape
        if source is not None:
            per_value = Matrix.of_source(source).entry_counts
        elif isinstance(coded, LineCodec):
            per_value = coded.value_counts()
        else:
            per_value = Matrix.of_source(Source(shape, coded.decode())).entry_counts
        row = cls.of_counts(name, shape, coded.name, per_value, nbytes)
        if isinstance(coded, Mixed):
            parts = coded.parts
            parts["header"] = 8 * (nbytes - sum(map(len, coded.sections)))
            return replace(row, grid=str(coded.model or "no entries"), parts=parts)
        mask = coded.mask if isinstance(coded, Masked) else coded
        if not isinstance(mask, Banded):
            return row
        parts = mask.parts()
        if isinstance(coded, Masked):
            parts["values"] += 8 * len(coded.planes)
        parts["header"] += 8 * (nbytes - sum(map(len, coded.sections)))
        return replace(row, grid=mask.grid, parts=parts)

    @classmethod
    def of_counts(
        cls,
        name: str,
        shape: MatrixShape,
        codec: str,
        entry_counts: NDArray[np.int64],
        nbytes: int,
    ) -> "Row":
        """The row of a tensor whose entries have these counts."""
        n_entries = int(entry_counts.sum())
        counts = np.append(entry_counts, shape.n_weights - n_entries)
        n_weights = shape.n_weights
        return cls(
            name=name,
            shape=shape.dims,
            dtype=shape.dtype.name,
            codec=codec,
            n_weights=n_weights,
            n_entries=n_entries,
            k=int(np.count_nonzero(entry_counts)),
            h0_bits=entropy(counts),
            bits_per_weight=8 * nbytes / max(n_weights, 1),
            nbytes=nbytes,
            dense_bytes=shape.n_bytes,
            csr_bytes=n_entries * (4 + shape.dtype.itemsize) + 4 * (shape.n_rows + 1),
        )


@dataclass(frozen=True)
class Report:
    """Sizes of a model or a file.

    Attributes
    ----------
    rows : sequence of Row
        One a tensor, in the order of the model.
    file_bytes : int or None
        Of the whole file, where there is one.
    notes : list of str
        What a user should know: weights that did not shrink and why, zeros that lost their sign.
    """

    rows: Sequence[Row]
    file_bytes: int | None = None
    notes: list[str] = field(default_factory=list)

    @property
    def dense_bytes(self) -> int:
        """Bytes of the plain tensors."""
        return sum(row.dense_bytes for row in self.rows)

    @property
    def nbytes(self) -> int:
        """Bytes of the file, or of the frames where there is none."""
        return self.file_bytes if self.file_bytes is not None else sum(r.nbytes for r in self.rows)

    def advice(self) -> list[str]:
        """The notes, and why the model did not shrink where it did not."""
        # Worth a word: what takes over 6 bits of 8 and is not small.
        poor = [
            r for r in self.rows if r.codec == "raw" and r.nbytes > 0.75 * max(r.dense_bytes, 4096)
        ]
        share = sum(r.dense_bytes for r in poor) / max(self.dense_bytes, 1)
        if share < 0.25:
            return self.notes
        names = ", ".join(r.name for r in poor[:3]) + (", ..." if len(poor) > 3 else "")
        return [*self.notes, UNSHRUNK.format(share=share, names=names)]

    def to_dict(self) -> dict[str, Any]:
        """Everything, for JSON."""
        return {
            "rows": [row.to_dict() for row in self.rows],
            "file_bytes": self.file_bytes,
            "nbytes": self.nbytes,
            "dense_bytes": self.dense_bytes,
            "notes": self.advice(),
        }

    def __str__(self) -> str:
        from tabulate import tabulate

        table = [
            (
                row.name,
                "x".join(map(str, row.shape)) or "scalar",
                row.dtype,
                f"{row.n_entries:,}",
                f"{row.k:,}",
                f"{row.h0_bits:.3f}",
                f"{row.bits_per_weight:.3f}",
                "" if row.share_of_h0 is None else f"{row.share_of_h0:.3f}",
                row.codec,
                f"{row.nbytes:,}",
                f"{row.dense_bytes / max(row.nbytes, 1):.1f}x",
                f"{row.csr_bytes / max(row.nbytes, 1):.1f}x",
            )
            for row in self.rows
        ]
        headers = ["tensor", "shape", "dtype", "entries", "k", "H0", "bits/w", "of H0"]
        text = (
            tabulate(
                table,
                [*headers, "codec", "bytes", "vs plain", "vs CSR"],
                disable_numparse=True,
                colalign=("left",) * 3 + ("right",) * 5 + ("left",) + ("right",) * 3,
            )
            if table
            else "no tensors"
        )
        what = "file" if self.file_bytes is not None else "frames"
        total = f"{what}: {total_line(self.nbytes, self.dense_bytes)}"
        details = self.rows[0].details if len(self.rows) == 1 else []
        return "\n".join([text, *details, total, *(f"note: {note}" for note in self.advice())])
