"""A matrix, stored by every contender that can; each encodes it once, when it is first needed."""

from collections.abc import Sequence
from dataclasses import replace
from functools import cached_property

import numpy as np

from ..contenders.base import PAPER, Contender, Parts, Stored
from ..matrices.base import Case
from .timing import seconds


def anew(case: Case) -> Case:
    """The case with its weight, and without what has been counted of it."""
    fresh = replace(case)
    vars(fresh)["weight"] = case.weight  # where cached_property keeps it
    return fresh


class StoredCase:
    """A case, and what the contenders make of it.

    Parameters
    ----------
    case : Case
    contenders : those that are installed
    rates : weights a second at which each contender encoded last; *updated*
    budget : seconds that encoding may take, by that rate

    Attributes
    ----------
    skipped : dict of str to str
        Why a contender is left out here, by name.
    faults : list of str
        Why the matrix cannot be made, or what contenders did wrong, which are left out then.
    """

    def __init__(
        self,
        case: Case,
        contenders: Sequence[Contender],
        rates: dict[str, float],
        budget: float,
    ) -> None:
        self.case = case
        self.skipped: dict[str, str] = {}
        self.faults: list[str] = []
        self._all = contenders
        self._rates = rates
        self._budget = budget
        self._parts: dict[str, Parts] = {}
        self._open: dict[str, Stored] = {}
        self._seconds: dict[str, float] = {}

    @cached_property
    def is_readable(self) -> bool:
        """Whether the matrix can be made; if not, why is a fault."""
        try:
            _ = self.case.weight
        except Exception as error:  # noqa: BLE001  # whatever a reader says of a bad file
            self.faults.append(f"{self.case.name}: {error}")
            return False
        return True

    @cached_property
    def contenders(self) -> list[Contender]:
        """Those that store this matrix within the budget, and give it back."""
        found = []
        for contender in self._all:
            if why := contender.refuses(self.case) or self._too_slow(contender):
                self.skipped[contender.name] = why
            elif why := self._wrong(contender):
                self.faults.append(f"{self.case.name}: {contender.name} {why}")
            else:
                found.append(contender)
        return found

    def drop(self, contender: Contender, why: str) -> None:
        """Leave a contender out of what follows: it is wrong."""
        self.faults.append(f"{self.case.name}: {contender.name} {why}")
        self.contenders.remove(contender)

    def parts(self, contender: Contender) -> Parts:
        """The matrix, encoded."""
        name = contender.name
        if name not in self._parts:

            def encode() -> None:
                self._parts[name] = contender.encode(anew(self.case))

            self._seconds[name] = seconds(encode)
            if self.case.weight.size >= 1 << 16:  # below, overheads dominate
                self._rates[name] = self.case.weight.size / self._seconds[name]
        return self._parts[name]

    def seconds(self, contender: Contender) -> float:
        """How long it took to encode the matrix here."""
        self.parts(contender)
        return self._seconds[contender.name]

    def open(self, contender: Contender) -> Stored:
        """The matrix, ready to be decoded and multiplied with."""
        if contender.name not in self._open:
            self._open[contender.name] = contender.open(self.parts(contender), self.case.shape)
        return self._open[contender.name]

    @property
    def multiplying(self) -> list[Contender]:
        """Those that multiply from the stored form."""
        return [contender for contender in self.contenders if contender.multiplies]

    def _wrong(self, contender: Contender) -> str | None:
        try:
            if contender.family == PAPER:
                return None
            if np.array_equal(self.open(contender).decode(), self.case.matrix):
                return None
        except Exception as error:  # noqa: BLE001  # whatever a library raises
            return f"fails: {type(error).__name__}: {error}"
        return "does not give it back"

    def _too_slow(self, contender: Contender) -> str | None:
        rate = self._rates.get(contender.name)
        if rate is None or self.case.weight.size <= rate * self._budget:
            return None
        return f"would encode for {self.case.weight.size / rate:.0f} s, over {self._budget:.0f}"
