"""The values from one source, each with the name under which the source sets it."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from worker.settings.leaves import LEAVES, Location, unknown


@dataclass(frozen=True, slots=True)
class Given:
    """One value of one source.

    Attributes:
        value: As in the source; it may be a secret, so it is not shown.
        label: The setting's name as written in the source, and where.
    """

    value: object = field(repr=False)
    label: str


@dataclass(frozen=True, slots=True)
class Layer:
    """One source: its values, and what is wrong with it."""

    values: dict[Location, Given] = field(default_factory=dict)
    faults: list[str] = field(default_factory=list)

    def without(self, locations: Iterable[Location]) -> "Layer":
        """This layer without some of its values."""
        left = set(locations)
        kept = {path: given for path, given in self.values.items() if path not in left}
        return Layer(kept, self.faults)

    def tree(self) -> dict[str, Any]:
        """The values, nested as the sections are."""
        tree: dict[str, Any] = {}
        for path, given in self.values.items():
            section = tree
            for name in path[:-1]:
                section = section.setdefault(name, {})
            section[path[-1]] = given.value
        return tree


def from_tables(tables: Mapping[str, Any], where: str) -> Layer:
    """A layer from nested tables.

    Args:
        tables: Sections by name, values within.
        where: Format string of a label, with `{}` for the dotted name.
    """
    layer = Layer()
    _read_table(tables, (), where, layer)
    return layer


def label_of(path: Location, layers: Iterable[Layer]) -> str:
    """The label of a setting's effective value; its variable's name if no layer sets it."""
    for layer in layers:
        if path in layer.values:
            return layer.values[path].label
    return LEAVES[path].env


def _read_table(table: Mapping[str, Any], above: Location, where: str, layer: Layer) -> None:
    for name, value in table.items():
        path = (*above, str(name))
        label = where.format(".".join(path))
        if path in LEAVES:
            layer.values[path] = Given(value, label)
        elif not _is_section(path):
            known = [leaf.dotted for leaf in LEAVES.values()]
            layer.faults.append(f"{label}: {unknown('.'.join(path), known)}")
        elif isinstance(value, Mapping):
            _read_table(value, path, where, layer)
        else:
            layer.faults.append(f"{label}: is a section, not a setting (accepted: a table)")


def _is_section(path: Location) -> bool:
    return any(leaf[: len(path)] == path for leaf in LEAVES)
