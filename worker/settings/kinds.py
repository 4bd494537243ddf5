"""The kinds of values that settings have: how each is read, and how it is described in messages.

A reader gets the value as its source has it (text, or a TOML value) and raises `ValueError` if it
is not valid. The message never repeats the value: it might be a secret, pasted into the wrong
place.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from pydantic import GetCoreSchemaHandler, SecretStr
from pydantic_core import CoreSchema, core_schema

from worker.core import durations
from worker.core.encodings import without_mark


@dataclass(frozen=True, slots=True)
class Kind:
    """One kind of value.

    Attributes:
        accepts: The accepted values, as a phrase.
        read: Converts the source's value, or raises `ValueError`.
    """

    accepts: str
    read: Callable[[Any], Any]

    def __get_pydantic_core_schema__(
        self, source: object, handler: GetCoreSchemaHandler
    ) -> CoreSchema:
        """Makes pydantic read the annotated field with this kind."""
        return core_schema.no_info_plain_validator_function(self.read)


def as_text(value: object) -> str:
    """The value as text without surrounding spaces and a byte order mark before it.

    Raises:
        ValueError: It is anything but text.
    """
    if isinstance(value, SecretStr):
        return value.get_secret_value()
    if not isinstance(value, str):
        raise ValueError("is not text")  # noqa: TRY004 - pydantic gathers ValueError only
    return without_mark(value.strip()).strip()


def text(accepts: str, check: Callable[[str], str]) -> Kind:
    """Text; `check` validates it, and returns its final form."""
    return Kind(accepts, lambda value: check(as_text(value)))


def secret(accepts: str, check: Callable[[str], str]) -> Kind:
    """Text that is hidden wherever the settings are shown."""
    return Kind(accepts, lambda value: SecretStr(check(as_text(value))))


def switch() -> Kind:
    """True or false."""
    names = {"true": True, "1": True, "yes": True, "on": True}
    names |= {"false": False, "0": False, "no": False, "off": False}

    def read(value: object) -> bool:
        known = value if isinstance(value, bool) else names.get(as_text(value).lower())
        if known is None:
            raise ValueError("is neither true nor false")
        return known

    return Kind("true or false", read)


def choice(*names: str) -> Kind:
    """One of a few names, in any letter case."""

    def read(value: object) -> str:
        if (name := as_text(value).lower()) not in names:
            raise ValueError("is not one of the accepted names")
        return name

    return Kind(f"{', '.join(names[:-1])} or {names[-1]}", read)


def whole(low: int, high: int) -> Kind:
    """A whole number between two bounds, both accepted."""

    def read(value: object) -> int:
        return int(_within(_number(value, int, "a whole number"), low, high))

    return Kind(f"a whole number from {low:,} to {high:,}", read)


def per_second(low: float, high: float) -> Kind:
    """A number of calls a second between two bounds, both accepted."""

    def read(value: object) -> float:
        return _within(_number(value, float, "a number"), low, high)

    return Kind(f"a number of calls a second from {low:,} to {high:,}", read)


def span(low: str, high: str) -> Kind:
    """A duration between two bounds, both accepted, in seconds."""
    least, most = durations.parse(low), durations.parse(high)

    def read(value: object) -> float:
        duration = durations.parse(_duration_text(value))
        return _within(duration.seconds, least.seconds, most.seconds)

    return Kind(f"a duration from {low} to {high}, such as 500ms, 5s, 2m or 1h30m", read)


def period(low: str, high: str) -> Kind:
    """A duration between two bounds, both accepted, in seconds; None for `never`."""
    bounded = span(low, high)

    def read(value: object) -> float | None:
        if isinstance(value, str) and value.strip().lower() == "never":
            return None
        return float(bounded.read(value))

    return Kind(f"a duration from {low} to {high}, such as 30d, or never", read)


def schedule(high: str, longest: int) -> Kind:
    """A list of delays, each up to `high`: a TOML array, or text separated by commas."""
    most = durations.parse(high)

    def read(value: object) -> tuple[durations.Duration, ...]:
        parts = value if isinstance(value, list) else _split(_duration_text(value))
        delays = durations.parse_schedule([_duration_text(part) for part in parts])
        if len(delays) > longest:
            raise ValueError("has too many delays")
        if max(delays) > most:
            raise ValueError("has a delay that is too long")
        return delays

    return Kind(f"1 to {longest} different delays up to {high}, such as 5s,30s,2m", read)


def _split(listed: str) -> list[str]:
    return [part.strip() for part in listed.split(",")] if listed.strip() else []


def _duration_text(value: object) -> str:
    if isinstance(value, int | float):
        raise ValueError("has no unit: write 5s for five seconds")  # noqa: TRY004 - as above
    return as_text(value)


def _number(value: object, type_: type[int] | type[float], name: str) -> float:
    # A TOML boolean is an int in Python, but `concurrency = true` is a mistake.
    if isinstance(value, int | float) and not isinstance(value, bool):
        if type_ is float or isinstance(value, int):
            return value
        raise ValueError(f"is not {name}")
    try:
        return type_(as_text(value))
    except ValueError:
        raise ValueError(f"is not {name}") from None


def _within(value: float, low: float, high: float) -> float:
    if math.isnan(value) or not low <= value <= high:
        raise ValueError("is out of range")
    return value
