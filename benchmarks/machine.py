"""What the times were taken on."""

import os
import platform
import re
from datetime import date
from importlib import metadata
from pathlib import Path
from typing import Any

import torch

PACKAGES = ("cnnzip", "numpy", "scipy", "torch", "numba", "llvmlite", "zstandard")


def describe() -> dict[str, Any]:
    """The machine: name, CPU, memory, caches, versions, date."""
    cpu, cores = _cpu(), len(os.sched_getaffinity(0))
    return {
        "machine": f"{_slug(cpu)}-{cores}cpu",
        "cpu": cpu,
        "cores": cores,
        "memory_gib": round(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30, 1),
        "caches": _caches(),
        "system": f"{platform.system()} {platform.release()}",
        "python": platform.python_version(),
        "versions": {name: metadata.version(name) for name in PACKAGES},
        "blas": re.findall(r"mkl|openblas", torch.__config__.show().lower())[:1],
        "date": date.today().isoformat(),
    }


def last_cache_bytes() -> int:
    """Bytes of the largest cache; 32 MiB where the system does not tell."""
    return max((_bytes(size) for size in _caches().values()), default=32 << 20)


def _cpu() -> str:
    try:
        found = re.search(r"model name\s*: (.*)", Path("/proc/cpuinfo").read_text())
    except OSError:
        found = None
    return found[1] if found else platform.processor() or platform.machine()


def _caches() -> dict[str, str]:
    found = {}
    for folder in sorted(Path("/sys/devices/system/cpu/cpu0/cache").glob("index*")):
        level, kind, size = (
            (folder / name).read_text().strip() for name in ("level", "type", "size")
        )
        found[f"L{level} {kind.lower()}"] = size
    return found


def _bytes(size: str) -> int:
    units = {"K": 1 << 10, "M": 1 << 20, "G": 1 << 30}
    return int(size[:-1]) * units[size[-1]]


def _slug(text: str) -> str:
    return re.sub(r"[^a-z0-9]+", "-", re.sub(r"\(.*?\)", "", text).lower()).strip("-")
