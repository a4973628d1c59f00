"""What is done with decoded entries: products with vectors and matrices, and writing them out.

Every codec decodes a few streams at a time to the same form, and every product reads that form:

    positions, uint32: position of each entry in its stream, increasing;
    symbols, uint16: index of its value in `values`;
    begins, counts, int64 (n_streams,): where the entries of each stream begin, and how many.

The decoders prove it on every call: positions are below the stream's number of weights and
symbols below the codebook's length. `values` is the codebook in the type of the arithmetic.
"""

import numpy as np

from cnnzip_native._jit import kernel
from cnnzip_native._vectors import gather_run, scatter_run


@kernel
def gather_vector(
    positions, symbols, begins, counts, first_line, lines_per_stream, width, values, x, y
):
    """Set ``y[line]`` to the sum of a line's entries times `x`, four partial sums a line.

    Parameters
    ----------
    positions, symbols, begins, counts : see the module
    first_line : int64
        First line of the first stream.
    lines_per_stream, width : int64
    values : float32 or float64 (n_symbols,)
    x : as values (width,)
    y : as values (n_lines,), written for the lines of these streams

    Source: MAT-3.
    """
    for s in range(begins.size):
        entry = np.uint64(begins[s])
        end = entry + np.uint64(counts[s])
        first = first_line + s * lines_per_stream
        base = np.uint64(0)
        for line in range(first, min(first + lines_per_stream, y.size)):
            stop = base + np.uint64(width)
            s0 = values.dtype.type(0)
            s1 = s0
            s2 = s0
            s3 = s0
            while entry + np.uint64(3) < end and np.uint64(positions[entry + np.uint64(3)]) < stop:
                s0 += values[symbols[entry]] * x[np.uint64(positions[entry]) - base]
                s1 += (
                    values[symbols[entry + np.uint64(1)]]
                    * x[np.uint64(positions[entry + np.uint64(1)]) - base]
                )
                s2 += (
                    values[symbols[entry + np.uint64(2)]]
                    * x[np.uint64(positions[entry + np.uint64(2)]) - base]
                )
                s3 += (
                    values[symbols[entry + np.uint64(3)]]
                    * x[np.uint64(positions[entry + np.uint64(3)]) - base]
                )
                entry += np.uint64(4)
            if entry < end and np.uint64(positions[entry]) < stop:
                s0 += values[symbols[entry]] * x[np.uint64(positions[entry]) - base]
                entry += np.uint64(1)
                if entry < end and np.uint64(positions[entry]) < stop:
                    s1 += values[symbols[entry]] * x[np.uint64(positions[entry]) - base]
                    entry += np.uint64(1)
                    if entry < end and np.uint64(positions[entry]) < stop:
                        s2 += values[symbols[entry]] * x[np.uint64(positions[entry]) - base]
                        entry += np.uint64(1)
            y[line] = (s0 + s1) + (s2 + s3)
            base = stop


@kernel
def scatter_vector(
    positions, symbols, begins, counts, first_line, lines_per_stream, width, values, x, y
):
    """Add each entry times its line's ``x[line]`` to ``y[place]``.

    Parameters
    ----------
    As of `gather_vector`, but x : (n_lines,) and y : (width,), updated.

    Source: MAT-4.
    """
    for s in range(begins.size):
        entry = np.uint64(begins[s])
        end = entry + np.uint64(counts[s])
        first = first_line + s * lines_per_stream
        base = np.uint64(0)
        for line in range(first, min(first + lines_per_stream, x.size)):
            stop = base + np.uint64(width)
            factor = x[line]
            while entry < end and np.uint64(positions[entry]) < stop:
                y[np.uint64(positions[entry]) - base] += values[symbols[entry]] * factor
                entry += np.uint64(1)
            base = stop


@kernel
def gather_panels(
    positions, symbols, begins, counts, first_line, lines_per_stream, width, values, x, y
):
    """Gather for panels of 16 columns: ``y[panel, line] = sum of entry * x[panel, place]``.

    Parameters
    ----------
    As of `gather_vector`, but x : (n_panels, width, 16) and y : (n_panels, n_lines, 16), written
        for the lines of these streams.

    Source: MAT-3, MAT-5.
    """
    flat_x = x.reshape(x.size)
    flat_y = y.reshape(y.size)
    for panel in range(x.shape[0]):
        y_at = np.uint64(panel * y.shape[1] * 16)
        for s in range(begins.size):
            entry = np.uint64(begins[s])
            end = entry + np.uint64(counts[s])
            first = first_line + s * lines_per_stream
            x_at = np.uint64(panel * width * 16)  # of position 0, if it were in this line
            stop = np.uint64(0)
            for line in range(first, min(first + lines_per_stream, y.shape[1])):
                run = entry
                stop += np.uint64(width)
                while entry < end and np.uint64(positions[entry]) < stop:
                    entry += np.uint64(1)
                line_at = y_at + np.uint64(line << 4)
                gather_run(positions, symbols, values, run, entry, flat_x, x_at, flat_y, line_at)
                x_at -= np.uint64(width << 4)


@kernel
def scatter_panels(
    positions, symbols, begins, counts, first_line, lines_per_stream, width, values, x, y
):
    """Scatter for panels of 16 columns: ``y[panel, place] += entry * x[panel, line]``.

    Parameters
    ----------
    As of `gather_vector`, but x : (n_panels, n_lines, 16) and y : (n_panels, width, 16), updated.

    Source: MAT-5.
    """
    flat_x = x.reshape(x.size)
    flat_y = y.reshape(y.size)
    for panel in range(x.shape[0]):
        x_at = np.uint64(panel * x.shape[1] * 16)
        for s in range(begins.size):
            entry = np.uint64(begins[s])
            end = entry + np.uint64(counts[s])
            first = first_line + s * lines_per_stream
            y_at = np.uint64(panel * width * 16)  # of position 0, if it were in this line
            stop = np.uint64(0)
            for line in range(first, min(first + lines_per_stream, x.shape[1])):
                run = entry
                stop += np.uint64(width)
                while entry < end and np.uint64(positions[entry]) < stop:
                    entry += np.uint64(1)
                line_at = x_at + np.uint64(line << 4)
                scatter_run(positions, symbols, values, run, entry, flat_x, line_at, flat_y, y_at)
                y_at -= np.uint64(width << 4)


@kernel
def write_entries(
    positions, symbols, begins, counts, first_line, lines_per_stream, width, patterns, scan,
    line_step, place_step, out
):  # fmt: skip
    """Write the patterns of the entries into a zeroed matrix.

    Parameters
    ----------
    positions, symbols, begins, counts, first_line, lines_per_stream, width : as of `gather_vector`
    patterns : uint8, uint16, uint32 or uint64 (n_symbols,)
    scan : uint32 (width,), or (0,)
        Places in the order of the scan; none for the natural one.
    line_step, place_step : int64
        Distance in `out` of neighbours across lines and along a line.
    out : as patterns (n_weights,), updated

    Source: DTY-2, LIN-1.
    """
    for s in range(begins.size):
        line = np.uint64(first_line + s * lines_per_stream)
        base = np.uint64(0)
        for entry in range(begins[s], begins[s] + counts[s]):
            position = np.uint64(positions[entry])
            while position - base >= np.uint64(width):
                base += np.uint64(width)
                line += np.uint64(1)
            place = position - base
            if scan.size > 0:
                place = np.uint64(scan[place])
            out[line * np.uint64(line_step) + place * np.uint64(place_step)] = patterns[
                symbols[entry]
            ]
