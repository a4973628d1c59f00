"""raw, codec 1 (RAW), written to be read."""

from spec.reference.numbers import check_patterns
from spec.reference.planes import read_planes

SECTIONS = 1  # RAW-1


def decode(frame):
    (data,) = read_planes(frame.sections[0], [(frame.dtype.size, frame.n_weights)])  # RAW-1
    check_patterns(frame.dtype, data)
    return data


def axis(frame):
    return 0  # RAW-2: as we like
