"""Numba does not notice edits in other files, so key its cache by all kernel sources."""

import hashlib
import os
import pathlib

ROOT = pathlib.Path(__file__).parents[1]
SOURCES = sorted((ROOT / "cnnzip_native").rglob("*.py"))
DIGEST = hashlib.sha256(b"".join(path.read_bytes() for path in SOURCES)).hexdigest()[:16]
os.environ.setdefault("NUMBA_CACHE_DIR", str(ROOT / ".cache" / "numba" / DIGEST))
