"""Code integer arrays by NNCodec: `python -m benchmarks.nncodec_encode IN.npz OUT.npz`.

`benchmarks.nncodec` calls this with the Python of NNCodec's own environment. OUT holds the bytes of
each array's stream, which is decoded and compared first.
"""

import sys
import tempfile
from unittest.mock import MagicMock

import numpy as np

# What NNCodec imports to train and to evaluate networks; its coder needs none of it.
for unused in ("cv2", "h5py", "pandas", "sklearn", "sklearn.metrics", "torchvision"):
    sys.modules[unused] = MagicMock()

from nncodec import tensor

with np.load(sys.argv[1]) as arrays, tempfile.TemporaryDirectory() as folder:
    streams = {}
    for name, array in arrays.items():
        stream = tensor.encode(array, {"results": folder})  # it leaves a file there
        if not np.array_equal(tensor.decode(stream), array):
            raise SystemExit(f"{name}: NNCodec does not give it back")
        streams[name] = np.frombuffer(stream, np.uint8)
np.savez(sys.argv[2], **streams)
