"""Threads over blocks of a tensor. Kernels hold no GIL, so plain threads are enough.

No `parallel=True` in kernels: Numba's layers abort when two threads enter them, and a fork after
their first use kills the child. The pool here is made on first use and forgotten after a fork.
"""

import os
import threading
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

T = TypeVar("T")

_n_threads = (
    len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
)
_pool: ThreadPoolExecutor | None = None
_lock = threading.Lock()


def get_num_threads() -> int:
    """Threads that a product or a decoding may use."""
    return _n_threads


def set_num_threads(n_threads: int) -> None:
    """Set the number of threads; results do not depend on it (spec/40-products.md)."""
    global _n_threads
    if n_threads < 1:
        from cnnzip.errors import ArgumentError

        raise ArgumentError(f"{n_threads} threads, at least 1")
    with _lock:
        _n_threads = n_threads
        _forget()


def _forget() -> None:
    global _pool
    _pool = None


def _after_fork() -> None:
    global _lock
    _lock = threading.Lock()
    _forget()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)


def run(function: Callable[[T], None], blocks: Iterable[T]) -> None:
    """Call `function` on every block, on several threads where there are several blocks."""
    global _pool
    todo = list(blocks)
    if len(todo) < 2 or _n_threads == 1:
        for block in todo:
            function(block)
        return
    with _lock:
        if _pool is None:
            _pool = ThreadPoolExecutor(_n_threads, thread_name_prefix="cnnzip")
        pool = _pool
    for future in [pool.submit(function, block) for block in todo]:
        future.result()
