"""Merges layers into settings, and finds what is wrong with them."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

from pydantic import ValidationError
from pydantic_core import ErrorDetails
from pydantic_settings import InitSettingsSource

from worker.settings import named_files, transport
from worker.settings.layers import Layer, label_of
from worker.settings.leaves import LEAVES, Location
from worker.settings.model import Settings


@dataclass(frozen=True, slots=True)
class Fault:
    """What is wrong with a setting, or with several that conflict.

    Attributes:
        concerns: The settings it concerns.
        text: Names the setting as it was written, what is wrong, and what is accepted.
    """

    concerns: tuple[Location, ...]
    text: str


def merged(layers: Sequence[Layer]) -> tuple[Settings, list[Fault]]:
    """The settings, with defaults in place of invalid values, and the faults found.

    Args:
        layers: The one with the highest precedence first.
    """
    settings, bad = _validated(layers)
    faults = [Fault((path,), text) for path, text in bad.items()]
    faults += _labelled(named_files.faults(settings), layers)
    # Without a valid allow_plaintext it is not known whether plaintext is allowed.
    if ("allow_plaintext",) not in bad:
        faults += _labelled(transport.faults(settings), layers)
        faults += _labelled(_swapped_keys(settings), layers)
    return settings, faults


def _labelled(
    found: Iterable[tuple[tuple[Location, ...], str]], layers: Sequence[Layer]
) -> list[Fault]:
    return [Fault(concerns, f"{label_of(concerns[0], layers)}: {what}") for concerns, what in found]


def _validated(layers: Sequence[Layer]) -> tuple[Settings, dict[Location, str]]:
    asked = tuple(InitSettingsSource(Settings, layer.tree()) for layer in layers)
    try:
        return Settings(_build_sources=(asked, {})), {}  # type: ignore[call-arg]  # hidden by BaseModel
    except ValidationError as error:
        details = error.errors(include_url=False, include_input=False)
    bad = dict(_worded(details, layers))
    settings, _ = _validated([layer.without(bad) for layer in layers])
    return settings, bad


def _worded(
    details: Sequence[ErrorDetails], layers: Sequence[Layer]
) -> Iterator[tuple[Location, str]]:
    for detail in details:
        # A setting whose default is another setting's value is not at fault if that one is invalid.
        if detail["type"] != "default_factory_not_called":
            leaf = LEAVES[tuple(str(part) for part in detail["loc"])]
            what = detail["ctx"]["error"]
            label = label_of(leaf.path, layers)
            yield leaf.path, f"{label}: {what} (accepted: {leaf.accepts})"


def _swapped_keys(settings: Settings) -> Iterator[tuple[tuple[Location, ...], str]]:
    private = [key.get_secret_value() for key in settings.dead_letters.open_keys]
    if settings.dead_letters.seal_key in private:
        concerns = (("dead_letters", "seal_key"), ("dead_letters", "open_keys"))
        yield concerns, "is a private key, one of the open keys"
