"""The progress bar of long work: on standard error, off where that is no terminal."""

import os
import threading

from tqdm import tqdm


class Progress(tqdm):  # type: ignore[misc]  # tqdm has no types
    """tqdm whose lock stays in one process.

    tqdm's own lock is a semaphore that forked processes share: a worker that is killed while it
    holds it would block every other one in `save`.
    """

    monitor_interval = 0  # no thread of its own


def _renew_lock() -> None:
    Progress.set_lock(threading.RLock())


_renew_lock()
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_renew_lock)
