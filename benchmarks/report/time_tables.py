"""Tables of times: products, coding, whole networks."""

from collections.abc import Iterable, Iterator
from statistics import median

from ..results import TimeRow
from .cells import Cell, Table, best_of, condition_cells, number, seconds, times_faster
from .findings import Condition, Results


def product_tables(results: Results) -> Iterator[Table]:
    """A table for each matrix: conditions by contenders, the fastest first."""
    for case in dict.fromkeys(case for case, _ in results.products):
        rows: list[list[Cell]] = []
        for condition in results.conditions:
            rows += _product_lines(results, case, condition)
        headers = [
            "contender",
            "columns",
            "threads",
            "cache",
            "median",
            "x dense",
            "x CSR",
            "x MKL CSR",
        ]
        yield Table(case, headers, rows, folded=True)


def _product_lines(results: Results, case: str, condition: Condition) -> list[list[Cell]]:
    timed = results.products.get((case, condition), {})
    best = best_of(row.median for row in timed.values())
    lines = [
        (
            row.median,
            Cell(name),
            [
                Cell(seconds(row.median), row.median, row.median == best),
                *(times_faster(row, rival) for rival in ("dense", "csr", "mkl")),
            ],
        )
        for name, row in timed.items()
    ]
    rivals = {rival: _rival_seconds(timed.values(), rival) for rival in ("dense", "csr", "mkl")}
    for name, value in results.derived(case, condition).items():
        cells = [number(rival and rival / value) for rival in rivals.values()]
        label = Cell(f"{name}: decode + dense product (derived)")
        lines.append((value, label, [Cell(seconds(value), value), *cells]))
    lines.sort(key=lambda line: line[0])
    return [[name, *condition_cells(condition), *cells] for _, name, cells in lines]


def _rival_seconds(rows: Iterable[TimeRow], rival: str) -> float | None:
    """Seconds of the contender that ratios are against: the one of ratio 1, or by the ratios."""
    found = [row.median * ratio for row in rows if (ratio := getattr(row, rival)) is not None]
    return median(found) if found else None


def coding(results: Results) -> Iterator[Table]:
    """A table for each group: matrices and contenders down."""
    groups = dict(results.groups)
    strays = dict.fromkeys(case for case, _, m in results.once if m != "forward")
    groups["others"] = [case for case in strays if case not in results.cases]
    for group, cases in groups.items():
        rows = [line for case in cases for line in _coding_lines(results, case)]
        if rows:
            headers = [
                "matrix",
                "contender",
                "encode, MB/s",
                "decode, MB/s",
                "first use",
                "peak memory, MB",
            ]
            yield Table(group, headers, rows, folded=True)


def _coding_lines(results: Results, case: str) -> list[list[Cell]]:
    names = dict.fromkeys(n for c, n, m in results.once if c == case and m != "forward")
    speeds = {
        m: {n: results.megabytes_per_second(case, n, m) for n in names}
        for m in ("encode", "decode")
    }
    first = {n: row.median for n in names if (row := results.once.get((case, n, "first use")))}
    memory = {
        n: row.median / 1e6 for n in names if (row := results.once.get((case, n, "peak memory")))
    }
    most = {m: best_of(speed.values(), least=False) for m, speed in speeds.items()}
    soonest, least = best_of(first.values()), best_of(memory.values())
    return [
        [
            Cell(case),
            Cell(n),
            *(number(speed[n], speed[n] == most[m]) for m, speed in speeds.items()),
            Cell(seconds(first[n]), first[n], first[n] == soonest) if n in first else Cell(),
            number(memory.get(n), memory.get(n) == least),
        ]
        for n in names
    ]


def networks(results: Results) -> Iterator[Table]:
    """Forward passes."""
    forward = [row for row in results.times if row.measure == "forward"]
    if forward:
        headers = [
            "network",
            "layers stored as",
            "columns",
            "threads",
            "cache",
            "median",
            "best",
            "x dense",
        ]
        yield Table(
            "Forward",
            headers,
            [
                [
                    Cell(row.case),
                    Cell(row.contender),
                    *condition_cells(Condition(row.columns, row.threads, row.cache)),
                    Cell(seconds(row.median), row.median),
                    Cell(seconds(row.best), row.best),
                    times_faster(row, "dense"),
                ]
                for row in forward
            ],
        )
