"""Reads grid.toml: which matrices, by which measures, under which conditions."""

import tomllib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from importlib import import_module
from pathlib import Path
from typing import Any

from .matrices.base import Case
from .measures.products import Condition

GRID = Path(__file__).with_name("grid.toml")
MEASURES = ("sizes", "coding", "multiply", "memory")


@dataclass(frozen=True, slots=True)
class Settings:
    """What is measured of a matrix, and how.

    Attributes
    ----------
    measures : tuple of str
        Of `MEASURES`, in their order.
    conditions : list of Condition
        Of products.
    rounds : int
        At most so many of each time.
    budget : float
        Seconds for all rounds of one time or condition; three are done in any case.
    encode_budget : float
        Contenders that would encode a matrix for more seconds are left out there.
    forward : bool
        Whether whole networks run, too.
    """

    measures: tuple[str, ...]
    conditions: list[Condition]
    rounds: int
    budget: float
    encode_budget: float
    forward: bool = False

    @classmethod
    def of(cls, about: Mapping[str, Any]) -> "Settings":
        """Settings of a profile's table."""
        hot = [Condition(c, t) for t in about["threads"] for c in about["columns"]]
        cold = [Condition(c, 1, "cold") for c in about["cold_columns"]]
        unknown = set(about["measures"]) - set(MEASURES)
        if unknown:
            raise SystemExit(f"{GRID}: no measure {', '.join(unknown)}; {', '.join(MEASURES)}")
        return cls(
            tuple(measure for measure in MEASURES if measure in about["measures"]),
            hot + cold,
            about["rounds"],
            about["budget"],
            about["encode_budget"],
            about["forward"],
        )

    def only(self, measures: Sequence[str]) -> "Settings":
        """The same with no other measures than these."""
        kept = tuple(measure for measure in self.measures if measure in measures)
        return replace(self, measures=kept, forward=False)

    @property
    def is_cold(self) -> bool:
        """Whether any product is taken with cold caches."""
        return "multiply" in self.measures and any(c.cache == "cold" for c in self.conditions)


@dataclass(frozen=True)
class Plan:
    """Cases, each with what is measured of it; `settings` for whole networks."""

    cases: Sequence[tuple[Case, Settings]]
    settings: Settings

    def only(self, measures: Sequence[str]) -> "Plan":
        """The plan with no other measures than these."""
        cases = [(case, settings.only(measures)) for case, settings in self.cases]
        return Plan(cases, self.settings.only(measures))


def plan(profile: str, groups: Sequence[str] | None = None) -> Plan:
    """A profile of grid.toml, or some groups. Of two matrices with one name the first is taken."""
    grid = tomllib.loads(GRID.read_text())
    about = grid["profiles"][profile]
    unknown = set(groups or ()) - set(grid["groups"])
    if unknown:
        raise SystemExit(f"no group {', '.join(unknown)}; there are {', '.join(grid['groups'])}")
    cases: dict[str, tuple[Case, Settings]] = {}
    for name in groups or about["groups"]:
        for case, settings in _group(name, grid["groups"][name], about):
            cases.setdefault(case.name, (case, settings))
    settings = Settings.of({**about, "forward": about["forward"] and groups is None})
    return Plan(list(cases.values()), settings)


def plan_of_files(paths: Sequence[Path], profile: str) -> Plan:
    """The matrices of files and folders, measured as a profile says."""
    from .matrices import files

    settings = Settings.of(
        {**tomllib.loads(GRID.read_text())["profiles"][profile], "forward": False}
    )
    cases = [case for path in paths for case in files.cases("files", path)]
    return Plan([(case, settings) for case in cases], settings)


def _group(
    name: str, about: Mapping[str, Any], profile: Mapping[str, Any]
) -> Iterator[tuple[Case, Settings]]:
    settings = Settings.of({**profile, **{key: about[key] for key in about if key in profile}})
    arguments = {key: about[key] for key in about if key not in profile and key != "kind"}
    module = import_module(f"..matrices.{about['kind']}", __name__)
    for case in module.cases(name, **arguments):
        yield case, settings
