"""Secrets that do not show themselves."""

from __future__ import annotations

from typing import Generic, TypeVar

_T = TypeVar("_T")


class Hidden(Generic[_T]):
    """Holds a secret, so that whatever shows the variables of a traceback does not show it.

    Attributes:
        value: It.
    """

    __slots__ = ("value",)

    def __init__(self, value: _T) -> None:
        self.value = value
