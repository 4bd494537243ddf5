"""Every setting by its path, with its name in each source."""

import difflib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from pydantic import BaseModel
from pydantic.fields import FieldInfo

from worker.settings.kinds import Kind
from worker.settings.model import Settings

Location = tuple[str, ...]
PREFIX = "WORKER_"


@dataclass(frozen=True, slots=True)
class Leaf:
    """One setting.

    Attributes:
        path: Its section and name.
        accepts: The accepted values, as a phrase.
    """

    path: Location
    accepts: str

    @property
    def dotted(self) -> str:
        """Its name in TOML: `pool.drain`."""
        return ".".join(self.path)

    @property
    def env(self) -> str:
        """Its name in the environment: `WORKER_POOL__DRAIN`."""
        return PREFIX + "__".join(self.path).upper()


def _walk(fields: dict[str, FieldInfo], above: Location = ()) -> Iterator[Leaf]:
    for name, field in fields.items():
        kind = field.annotation
        if isinstance(kind, type) and issubclass(kind, BaseModel):
            yield from _walk(kind.model_fields, (*above, name))
        else:
            accepts = next(each.accepts for each in field.metadata if isinstance(each, Kind))
            yield Leaf((*above, name), accepts)


LEAVES: dict[Location, Leaf] = {leaf.path: leaf for leaf in _walk(Settings.model_fields)}


def unknown(name: str, known: Iterable[str]) -> str:
    """The message for a name that is not a setting."""
    meant = closest(name, known, 0.6)
    return "no such setting" + (f"; did you mean {meant}?" if meant else "")


def closest(name: str, known: Iterable[str], likeness: float) -> str | None:
    """The known name most similar to a name; None if none reaches this similarity (0 to 1)."""
    return next(iter(difflib.get_close_matches(name, known, n=1, cutoff=likeness)), None)
