"""What the HAM and sHAM papers charge for their formats, by their own formulas (`cnnzip.bounds`).

Nothing is stored: what they leave out (where columns begin) would have to be added. Our codecs
"ham", "sham" and "index-map" are the same formats as files.
"""

from collections.abc import Callable

from cnnzip import bounds
from cnnzip.bounds import Matrix
from cnnzip.errors import ArgumentError

from ..matrices.base import Case
from .base import Contender, Parts, Size, Stored

Formula = Callable[[Matrix], float]  # bits per weight


class Charged(Contender):
    """A format as charged by its authors' psi, beside an upper bound of it."""

    family = "paper"
    multiplies = False

    def __init__(self, name: str, setting: str, psi: Formula, bound: Formula) -> None:
        self.name, self.setting = name, setting
        self._psi, self._bound = psi, bound

    def refuses(self, case: Case) -> str | None:
        try:
            self._psi(case.counts)
        except ArgumentError as error:
            return str(error)
        return None

    def encode(self, case: Case) -> Parts:
        """Nothing."""
        return {}

    def open(self, parts: Parts, shape: tuple[int, ...]) -> Stored:
        raise TypeError(f"{self.name} is a formula: it stores nothing that could be opened")

    def size(self, case: Case, parts: Parts) -> Size:
        bits = _bits(case.counts, self._psi)
        return Size(bits, {"charged": bits}, _bits(case.counts, self._bound))


def _bits(matrix: Matrix, formula: Formula) -> float:
    """Bits of the whole matrix, without the error of having divided by its size."""
    return round(formula(matrix) * max(matrix.size, 1), 3)


CHARGED = (
    Charged("HAM psi", "bound by the entropy", bounds.psi_ham, bounds.ham_bound),
    Charged("sHAM psi", "bound by the entropy", bounds.psi_sham, bounds.sham_bound),
    Charged(
        "sHAM psi, ICPR bound",
        "the bound of ICPR 2020: wrong",
        bounds.psi_sham,
        bounds.sham_bound_icpr,
    ),
    Charged("CSC psi", "its own bound", bounds.psi_csc, bounds.psi_csc),
    Charged("index map psi", "its own bound", bounds.psi_index_map, bounds.psi_index_map),
)
