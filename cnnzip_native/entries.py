"""What is done with decoded entries: products with vectors and matrices, and writing them out.

Every codec decodes a few streams at a time to the same form, and every product reads that form:

    positions, uint32: position of each entry in its stream, increasing;
    symbols, uint16: index of its value in `values`;
    begins, counts, int64 (n_streams,): where the entries of each stream begin, and how many.

The decoders prove it on every call: positions are below the stream's number of weights and
symbols below the codebook's length. `values` is the codebook in the type of the arithmetic.
"""

import numpy as np

from cnnzip_native._jit import add_scaled, kernel


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
        entry = begins[s]
        end = entry + counts[s]
        first = first_line + s * lines_per_stream
        base = np.uint64(0)
        for line in range(first, min(first + lines_per_stream, y.size)):
            stop = base + np.uint64(width)
            s0 = values.dtype.type(0)
            s1 = s0
            s2 = s0
            s3 = s0
            while entry + 3 < end and np.uint64(positions[entry + 3]) < stop:
                s0 += values[symbols[entry]] * x[np.uint64(positions[entry]) - base]
                s1 += values[symbols[entry + 1]] * x[np.uint64(positions[entry + 1]) - base]
                s2 += values[symbols[entry + 2]] * x[np.uint64(positions[entry + 2]) - base]
                s3 += values[symbols[entry + 3]] * x[np.uint64(positions[entry + 3]) - base]
                entry += 4
            if entry < end and np.uint64(positions[entry]) < stop:
                s0 += values[symbols[entry]] * x[np.uint64(positions[entry]) - base]
                entry += 1
                if entry < end and np.uint64(positions[entry]) < stop:
                    s1 += values[symbols[entry]] * x[np.uint64(positions[entry]) - base]
                    entry += 1
                    if entry < end and np.uint64(positions[entry]) < stop:
                        s2 += values[symbols[entry]] * x[np.uint64(positions[entry]) - base]
                        entry += 1
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
        entry = begins[s]
        end = entry + counts[s]
        first = first_line + s * lines_per_stream
        base = np.uint64(0)
        for line in range(first, min(first + lines_per_stream, x.size)):
            stop = base + np.uint64(width)
            factor = x[line]
            while entry < end and np.uint64(positions[entry]) < stop:
                y[np.uint64(positions[entry]) - base] += values[symbols[entry]] * factor
                entry += 1
            base = stop


@kernel
def gather_panels(
    positions, symbols, begins, counts, first_line, lines_per_stream, width, values, x, y
):
    """Gather for panels of 16 columns: ``y[panel, line] += entry * x[panel, place]``.

    Parameters
    ----------
    As of `gather_vector`, but x : (n_panels, width, 16) and y : (n_panels, n_lines, 16), updated.

    Source: MAT-5.
    """
    flat_x = x.reshape(x.size)
    flat_y = y.reshape(y.size)
    for panel in range(x.shape[0]):
        x_panel = np.uint64(panel * width * 16)
        y_panel = np.uint64(panel * y.shape[1] * 16)
        for s in range(begins.size):
            entry = begins[s]
            end = entry + counts[s]
            first = first_line + s * lines_per_stream
            base = np.uint64(0)
            for line in range(first, min(first + lines_per_stream, y.shape[1])):
                stop = base + np.uint64(width)
                line_at = y_panel + np.uint64(line << 4)
                while entry < end and np.uint64(positions[entry]) < stop:
                    place_at = x_panel + ((np.uint64(positions[entry]) - base) << np.uint64(4))
                    add_scaled(flat_y, line_at, values[symbols[entry]], flat_x, place_at)
                    entry += 1
                base = stop


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
        x_panel = np.uint64(panel * x.shape[1] * 16)
        y_panel = np.uint64(panel * width * 16)
        for s in range(begins.size):
            entry = begins[s]
            end = entry + counts[s]
            first = first_line + s * lines_per_stream
            base = np.uint64(0)
            for line in range(first, min(first + lines_per_stream, x.shape[1])):
                stop = base + np.uint64(width)
                line_at = x_panel + np.uint64(line << 4)
                while entry < end and np.uint64(positions[entry]) < stop:
                    place_at = y_panel + ((np.uint64(positions[entry]) - base) << np.uint64(4))
                    add_scaled(flat_y, place_at, values[symbols[entry]], flat_x, line_at)
                    entry += 1
                base = stop


@kernel
def write_entries(
    positions, symbols, begins, counts, first_line, lines_per_stream, width, patterns, line_step,
    place_step, out
):  # fmt: skip
    """Write the patterns of the entries into a zeroed matrix.

    Parameters
    ----------
    positions, symbols, begins, counts, first_line, lines_per_stream, width : as of `gather_vector`
    patterns : uint8, uint16, uint32 or uint64 (n_symbols,)
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
            out[line * np.uint64(line_step) + place * np.uint64(place_step)] = patterns[
                symbols[entry]
            ]
