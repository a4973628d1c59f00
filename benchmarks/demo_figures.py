"""The figures and tables that both demonstrations show."""

import gzip
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar

import safetensors.torch
import tabulate
import torch
import zstandard
from torch import Tensor, nn

from cnnzip.sizes import Report

StateDict = Mapping[str, Tensor]
T = TypeVar("T")


def timed(act: Callable[[], T]) -> tuple[T, float]:
    """Call `act`; return its result and the seconds it took."""
    start = time.perf_counter()
    result = act()
    return result, time.perf_counter() - start


def unequal_tensors(plain: StateDict, found: StateDict) -> list[str]:
    """List the names whose tensors differ, or that only one side has."""
    return sorted(
        name
        for name in plain.keys() | found.keys()
        if name not in plain or name not in found or not torch.equal(plain[name], found[name])
    )


def coded_layers(model: nn.Module) -> list[str]:
    """List the layers of `model` that run from the coded form."""
    layers = model.named_modules()
    return [name for name, layer in layers if type(layer).__module__.startswith("cnnzip.")]


def layer_table(report: Report) -> str:
    """Lay out one line per weight; biases and other 1-D tensors are summed up in one line."""
    weights = [row for row in report.rows if len(row.shape) > 1]
    others = [row for row in report.rows if len(row.shape) <= 1]
    lines = [
        [
            row.name,
            " x ".join(map(str, row.shape)),
            row.n_entries,
            row.k,
            row.h0_bits,
            row.bits_per_weight,
            row.codec,
            row.nbytes,
            row.dense_bytes / row.nbytes,
            row.csr_bytes / row.nbytes,
        ]
        for row in weights
    ]
    if others:
        lines.append(_sum_line(f"{len(others)} others (1-D)", others))
    lines.append(_sum_line("all", report.rows))
    headers = [
        "layer",
        "shape",
        "entries",
        "distinct\nvalues",
        "H0, bits\nper weight",
        "bits per\nweight",
        "codec",
        "bytes",
    ]
    headers += ["x smaller\nthan float32", "x smaller\nthan CSR"]
    formats = ("", "", "", "", ".3f", ".3f", "", "", ".1f", ".1f")
    return tabulate.tabulate(lines, headers, floatfmt=formats)


def size_table(sizes: Mapping[str, int], file_bytes: int) -> str:
    """Lay out the bytes of every way to store a model, and how much smaller the file is."""
    lines = [["cnnzip", file_bytes, 1.0]]
    lines += [[name, nbytes, nbytes / file_bytes] for name, nbytes in sizes.items()]
    headers = ["stored by", "bytes", "x cnnzip"]
    return tabulate.tabulate(lines, headers, floatfmt=("", "", ".1f"))


def rival_sizes(
    state: StateDict, stem: Path, zstd_level: int = 19, tick: Callable[[], object] = lambda: None
) -> dict[str, int]:
    """Store `state` in other ways; return the bytes of each.

    Parameters
    ----------
    stem : path without suffix; `.pt` and `.safetensors` are *written*
    tick : called after every way
    """
    plain, checkpoint = stem.with_suffix(".safetensors"), stem.with_suffix(".pt")
    sizes = {"float32, no header": sum(t.numel() * t.element_size() for t in state.values())}
    torch.save(dict(state), checkpoint)
    sizes["torch.save"] = checkpoint.stat().st_size
    tick()
    safetensors.torch.save_file({name: t.contiguous() for name, t in state.items()}, plain)
    sizes["safetensors"] = plain.stat().st_size
    tick()
    sizes["torch.save + gzip -9"] = len(gzip.compress(checkpoint.read_bytes(), 9, mtime=0))
    tick()
    compressor = zstandard.ZstdCompressor(level=zstd_level)
    sizes[f"safetensors + zstd -{zstd_level}"] = len(compressor.compress(plain.read_bytes()))
    tick()
    return sizes


def _sum_line(name: str, rows: Sequence[Any]) -> list[object]:
    """Sum up `rows`; H0 and distinct values mean nothing over several tensors and stay blank."""
    n_weights = sum(row.n_weights for row in rows)
    nbytes = sum(row.nbytes for row in rows)
    return [
        name,
        None,
        sum(row.n_entries for row in rows),
        None,
        None,
        8 * nbytes / n_weights,
        None,
        nbytes,
        sum(row.dense_bytes for row in rows) / nbytes,
        sum(row.csr_bytes for row in rows) / nbytes,
    ]
