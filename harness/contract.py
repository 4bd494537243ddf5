"""Reads messages as their receivers do, and notes each that breaks its schema.

A receiver's callback is no place to fail in: the tests look afterwards whether `breaches` is empty.
"""

from __future__ import annotations

import json
from functools import cache
from typing import Any, Final

import jsonschema_rs

from harness.schemas import path

breaches: Final[list[str]] = []
"""What was wrong with the messages received so far; whoever looks at it clears it."""


def outcome(raw: bytes) -> dict[str, Any]:
    """The body of a reply or an event."""
    return _read("outcome", raw)


def state(raw: bytes) -> dict[str, Any]:
    """The body of a message of `resolution.state`."""
    return _read("state", raw)


def faults(name: str, body: object) -> list[str]:
    """What is wrong with a message of a kind: `submission`, `outcome` or `state`."""
    return [
        f"{'/'.join(map(str, fault.instance_path))}: {fault.message}"
        for fault in _schema(name).iter_errors(body)
    ]


def _read(name: str, raw: bytes) -> dict[str, Any]:
    body: dict[str, Any] = json.loads(raw)
    if not _schema(name).is_valid(body):
        breaches.extend(f"{name}: {fault}" for fault in faults(name, body))
    return body


@cache
def _schema(name: str) -> jsonschema_rs.Draft7Validator:
    content = json.loads(path(name).read_text(encoding="utf-8"))
    return jsonschema_rs.Draft7Validator(content, validate_formats=True)
