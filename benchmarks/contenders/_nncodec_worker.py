"""Serves NNCodec over pipes; started by `nncodec.py`, with the Python of NNCodec's environment.

Reads jobs from stdin: a byte, "e" (encode an int32 array) or "d" (decode a stream of bytes); 8 bytes,
the length of what follows, little-endian; an array in NumPy's .npy format. Writes to stdout in the
same way: "k" (done), the length, the .npy of a stream or an array; or "x", the length, a message.
Runs in a temporary folder: NNCodec leaves a file of each stream.
"""

import io
import os
import sys
from unittest.mock import MagicMock

import numpy as np

MESSAGE = 200  # characters, at most: some of its messages hold the stream

# What NNCodec imports to train and to evaluate networks; its coder needs none of it.
for unused in ("cv2", "h5py", "pandas", "sklearn", "sklearn.metrics", "torchvision"):
    sys.modules[unused] = MagicMock()


def main():
    """Do jobs until stdin ends."""
    answers = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)  # NNCodec's prints go to stderr

    import torch
    from nncodec import tensor

    torch.set_num_threads(1)
    while kind := sys.stdin.buffer.read(1):
        n_bytes = int.from_bytes(sys.stdin.buffer.read(8), "little")
        array = np.load(io.BytesIO(sys.stdin.buffer.read(n_bytes)), allow_pickle=False)
        try:
            if kind == b"e":
                stream = tensor.encode(array, {"results": "."})
                found = np.frombuffer(stream, np.uint8)
            else:
                found = tensor.decode(bytearray(array))  # it takes bytes for a path
            file = io.BytesIO()
            np.save(file, found, allow_pickle=False)
            answer = b"k", file.getbuffer()
        except (Exception, SystemExit) as error:  # noqa: BLE001  NNCodec exits, the caller tells
            answer = b"x", f"{type(error).__name__}: {error}"[:MESSAGE].encode()
        answers.write(answer[0] + len(answer[1]).to_bytes(8, "little"))
        answers.write(answer[1])
        answers.flush()


main()
