"""What is published for a token, in the form that each worker reads."""

from __future__ import annotations

import uuid
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import orjson

if TYPE_CHECKING:
    from collections.abc import Mapping


@dataclass(frozen=True, slots=True)
class Message:
    """A message's content, all of it JSON."""

    body: bytes
    message_id: str
    headers: Mapping[str, Any] = field(default_factory=dict)
    correlation_id: str | None = None


def submission(token: str) -> Message:
    """As the product reads it, and workers without a format of their own."""
    return Message(orjson.dumps({"version": 1, "registration_token": token}), uuid.uuid4().hex)


def taskiq(token: str) -> Message:
    """A call of the task `resolve`.

    The body is as in https://taskiq-python.github.io/guide/message-format.html; the headers are
    what `taskiq_aio_pika.AioPikaBroker.kick` adds.
    """
    call_id = uuid.uuid4().hex
    call = {
        "task_id": call_id,
        "task_name": "resolve",
        "labels": {},
        "labels_types": {},
        "args": [token],
        "kwargs": {},
    }
    headers = {"task_id": call_id, "task_name": "resolve"}
    return Message(orjson.dumps(call), call_id, headers)


def celery(token: str) -> Message:
    """A call of the task `resolve`.

    Version 2 of https://docs.celeryq.dev/en/stable/internals/protocol.html, with those optional
    headers that Celery's own client sends and a worker looks at.
    """
    call_id = str(uuid.uuid4())
    embedded = {"callbacks": None, "errbacks": None, "chain": None, "chord": None}
    headers = {
        "lang": "py",
        "task": "resolve",
        "id": call_id,
        "root_id": call_id,
        "parent_id": None,
        "group": None,
        "eta": None,
        "expires": None,
        "retries": 0,
        "timelimit": [None, None],
        "argsrepr": repr([token]),
        "kwargsrepr": "{}",
        "origin": "bench",
        "ignore_result": True,
    }
    return Message(orjson.dumps([[token], {}, embedded]), call_id, headers, correlation_id=call_id)
