"""Saves over a good file, again and again; is killed at it. Run by test_saving.py.

`python -m tests.hostile.saver kill FOLDER N` kills N children while they save, and checks each
time what is left; `limit FOLDER END` saves where no file may grow beyond some size; `locked FOLDER`
saves after a child was killed at its progress bar.
"""

import json
import os
import random
import resource
import signal
import sys
import time

import numpy as np
from tqdm import tqdm

import cnnzip
from cnnzip.progress import Progress


def weights(number):
    """A state dict that can be told from every other."""
    rng = np.random.default_rng(0)
    noise = rng.integers(0, 256, (500, 1000), np.uint8)
    return {"noise": noise, "number": np.full((40, 40), number, np.int32)}


def number_in(path):
    """Which state dict a file holds; whole, or this raises."""
    with cnnzip.open(path) as file:
        file.verify()
        return int(file["number"].decode()[0, 0])


def temporaries(folder):
    return [name for name in os.listdir(folder) if name.endswith(".cnnzip-tmp")]


def save_for_ever(path):
    number = number_in(path)
    while True:
        number += 1
        cnnzip.save(weights(number), path, codec="raw", verify=number % 2 == 0)


def kill(folder, n_kills):
    """Numbers found after each kill, and the most temporary files at any time."""
    path = os.path.join(folder, "model.cnnz")
    cnnzip.save(weights(0), path, codec="raw")
    rng = random.Random(1)
    numbers, most, n_stale = [], 0, 0
    for _ in range(n_kills):
        child = os.fork()
        if not child:
            try:
                save_for_ever(path)
            finally:
                os._exit(1)
        time.sleep(rng.uniform(0.005, 0.08))
        os.kill(child, signal.SIGKILL)
        _, status = os.waitpid(child, 0)
        assert os.WIFSIGNALED(status), "the child failed by itself"
        numbers.append(number_in(path))
        stale = len(temporaries(folder))
        n_stale += stale
        most = max(most, stale)
    cnnzip.save(weights(-1), path, codec="raw")
    print(json.dumps([numbers, most, n_stale, os.listdir(folder)]))


def locked(folder):
    """Save after a child was killed that held the lock of the progress bar."""
    cnnzip.save(weights(0), os.path.join(folder, "model.cnnz"))
    read, write = os.pipe()
    child = os.fork()
    if not child:
        tqdm.get_lock().acquire()
        Progress.get_lock().acquire()
        os.write(write, b"!")
        signal.pause()
    os.read(read, 1)
    os.kill(child, signal.SIGKILL)
    os.waitpid(child, 0)
    cnnzip.save(weights(1), os.path.join(folder, "model.cnnz"))
    print(json.dumps("saved"))


def limit(folder, end):
    """Each size limit at which saving failed, with the error and what was left."""
    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    path = os.path.join(folder, "model" + end)
    cnnzip.save(weights(0), path, codec="raw")
    n_bytes = os.path.getsize(path)
    failures = []
    for size in range(0, n_bytes, 4096):
        resource.setrlimit(resource.RLIMIT_FSIZE, (size, resource.RLIM_INFINITY))
        try:
            cnnzip.save(weights(1), path, codec="raw")
            error = "none"
        except OSError as caught:
            error = caught.errno
        resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY,) * 2)
        failures.append([error, number_in(path), temporaries(folder)])
    print(json.dumps(failures))


if __name__ == "__main__":
    folder = sys.argv[2]
    if sys.argv[1] == "kill":
        kill(folder, int(sys.argv[3]))
    elif sys.argv[1] == "locked":
        locked(folder)
    elif sys.argv[1] == "limit":
        limit(folder, sys.argv[3])
    else:
        cnnzip.save(weights(2), os.path.join(folder, "model.cnnz"), durable=sys.argv[1] == "save")
