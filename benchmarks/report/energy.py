"""The energy that models of memory and arithmetic predict for a product, beside the time it takes.

Such models charge each stored bit that is read, and each addition and multiplication. They charge
nothing for finding out what the bits mean.
"""

from collections.abc import Iterator

from ..results import SizeRow
from .cells import Cell, Table, number
from .findings import PAPER, Results, geometric_mean

#: pJ of reading 32 bits from a memory of at most so many bytes; of DRAM beyond.
#: Source: Horowitz, "Computing's energy problem" (ISSCC 2014), 45 nm.
READS = ((1 << 13, 5.0), (1 << 15, 10.0), (1 << 20, 50.0))
DRAM_READ = 1000.0
MULTIPLY_ADD = 3.7 + 0.9  # pJ, float32


def picojoules(row: SizeRow) -> float:
    """Energy of one W x: all bits read once, x once for each entry, a multiplication and an addition.

    Index map and dense visit zeros, too. Of x only its first read comes from where it lies; it is
    taken to stay in 8 KiB.
    """
    n_bytes = row.bits / 8
    visits_all = row.contender in ("dense", "index map", "index-map", "ham")
    n_visited = row.n_weights if visits_all else row.density * row.n_weights
    read = next((cost for size, cost in READS if n_bytes <= size), DRAM_READ)
    return row.bits / 32 * read + n_visited * (READS[0][1] + MULTIPLY_ADD)


def energy_tables(results: Results) -> Iterator[Table]:
    """For each group with products: how many times less than dense, by the model and by the clock."""
    if not results.conditions:
        return
    for group, cases in results.groups.items():
        rows = []
        for name in results.families:
            saved, faster = [], []
            for case in cases:
                timed = results.products.get((case, results.conditions[0]), {}).get(name)
                own, dense = (results.size.get((case, of)) for of in (name, "dense"))
                if timed and timed.dense and own and dense and own.family != PAPER:
                    saved.append(picojoules(dense) / picojoules(own))
                    faster.append(timed.dense)
            if saved:
                means = geometric_mean(saved), geometric_mean(faster)
                assert means[0] is not None
                assert means[1] is not None
                rows.append([Cell(name), *map(number, means), number(means[0] / means[1])])
        if rows:
            headers = ["contender", "energy, modelled", "time, measured", "model over clock"]
            yield Table(f"{group}: how many times less than dense", headers, rows)
