"""What a network lost since it was built, as a file's metadata tells it (ENV-14)."""

import json
from collections.abc import Mapping
from dataclasses import dataclass

from cnnzip.container.directory import name_fault
from cnnzip.container.limits import MAX_ITEMS
from cnnzip.errors import CorruptError

STRUCTURE = "cnnzip.structure"  # the key


@dataclass(frozen=True, slots=True)
class Structure:
    """What is to be done to a freshly built network, so that a file's tensors fit it (ENV-14).

    Attributes
    ----------
    removed : tuple of str
        Modules that pass on what they take.
    resized : int
        Layers with fewer channels, or with a bias that they were built without.
    """

    removed: tuple[str, ...] = ()
    resized: int = 0

    def __post_init__(self) -> None:
        if not 0 <= self.resized <= MAX_ITEMS:
            raise _fault(f"{self.resized} layers resized, at most {MAX_ITEMS:,}")
        if len(set(self.removed)) < len(self.removed):
            raise _fault("a name that is there twice")
        for name in self.removed:
            if fault := name_fault(name):
                raise _fault(f"name {name[:64]!r} {fault}")

    def metadata(self) -> dict[str, str]:
        """The record under its key; nothing where nothing was lost."""
        members = {"removed": list(self.removed), "resized": self.resized}
        told = {key: value for key, value in members.items() if value}
        return {STRUCTURE: json.dumps(told, separators=(",", ":"))} if told else {}

    @classmethod
    def parse(cls, metadata: Mapping[str, str]) -> "Structure":
        """Invert `metadata`; any other keys are skipped."""
        text = metadata.get(STRUCTURE, "{}")
        try:
            told = json.loads(text)
        except (ValueError, TypeError, RecursionError) as error:
            raise _fault(f"no JSON: {error}") from None
        if not isinstance(told, dict) or not told.keys() <= {"removed", "resized"}:
            raise _fault("not an object of removed and resized alone")
        removed, resized = told.get("removed", []), told.get("resized", 0)
        if not isinstance(removed, list) or not all(isinstance(name, str) for name in removed):
            raise _fault("removed is no list of names")
        if type(resized) is not int:
            raise _fault("resized is no integer")
        return cls(tuple(removed), resized)


def _fault(found: str) -> CorruptError:
    return CorruptError("ENV-14", f"metadata {STRUCTURE!r}", found)
