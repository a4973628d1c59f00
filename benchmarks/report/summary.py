"""The results in one table, for a terminal: a line for each contender."""

from statistics import median

from tabulate import tabulate

from .findings import PAPER, Results, geometric_mean, share

HEADERS = ("contender", "bytes", "of H0", "W x: / dense", "/ CSR", "/ MKL", "encode MB/s", "decode")
LEGEND = """\
{n} {matrices}, {weights:,} weights. bytes: of all of them, everything counted; of H0: over the
order-0 entropy, geometric mean; W x: times faster than each rival's product, geometric mean, one
thread; MB (10^6 bytes) of float32 a second, median. Where a contender has fewer matrices, the line
says how many, and does not compare."""


def summary(results: Results) -> str:
    """Lay out all contenders, means over all matrices."""
    if not results.cases:
        return "nothing was measured"
    lines = [_line(results, name) for name in results.families]
    table = tabulate(lines, HEADERS, disable_numparse=True, colalign=("left", *("right",) * 7))
    weights = sum(row.n_weights for row in results.cases.values())
    n = len(results.cases)
    legend = LEGEND.format(n=n, matrices="matrix" if n == 1 else "matrices", weights=weights)
    return f"{table}\n{legend}"


def _line(results: Results, name: str) -> tuple[str, ...]:
    rows = [row for row in results.sizes if row.contender == name]
    fewer = f" ({len(rows)} of {len(results.cases)})" if len(rows) < len(results.cases) else ""
    note = fewer + ", charged" * (results.families[name] == PAPER)
    shares = [part for row in rows if (part := share(row)) is not None]
    products = [
        of_all[name]
        for (_, condition), of_all in results.products.items()
        if condition == results.conditions[0] and name in of_all
    ]
    ratios = ([getattr(row, rival) for row in products] for rival in ("dense", "csr", "mkl"))
    means = (geometric_mean(ratio for ratio in of if ratio is not None) for of in ratios)
    return (
        name + note,
        f"{sum(-(-row.bits // 8) for row in rows):,}",
        _short(geometric_mean(shares), 3),
        *(_short(mean, 2) for mean in means),
        *(_speed(results, name, measure) for measure in ("encode", "decode")),
    )


def _speed(results: Results, name: str, measure: str) -> str:
    speeds = (results.megabytes_per_second(case, name, measure) for case in results.cases)
    known = [speed for speed in speeds if speed is not None]
    return f"{median(known):,.0f}" if known else ""


def _short(value: float | None, digits: int) -> str:
    return "" if value is None else f"{value:.{digits}f}"
