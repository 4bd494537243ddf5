"""JSON Schemas of the messages, made from their types; `python -m harness.schemas` writes them.

They are of draft 7, which AsyncAPI's own schemas are too.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, Final

import msgspec

from worker.core.records import ADVICE, Status
from worker.core.token.wire import OutcomeBody, StateBody, SubmissionBody

FOLDER: Final = Path(__file__).parents[1] / "docs" / "schemas"
DRAFT: Final = "http://json-schema.org/draft-07/schema#"

_MESSAGES: Final = {"submission": SubmissionBody, "outcome": OutcomeBody, "state": StateBody}
_OF_AWS: Final = (
    "product_code",
    "customer_aws_account_id",
    "customer_identifier",
    "license_arn",
    "agreement_id",
)


def schema(name: str) -> dict[str, Any]:
    """The schema of a kind of message: `submission`, `outcome` or `state`."""
    body = _inlined(msgspec.json.schema(_MESSAGES[name]))
    if name == "outcome":
        body["allOf"] = [_of_status(status) for status in Status]
    return {"$schema": DRAFT, **body, "title": name}


def _inlined(found: Any, among: dict[str, Any] | None = None) -> Any:
    """The same without references: it can be included anywhere."""
    if isinstance(found, list):
        return [_inlined(each, among) for each in found]
    if not isinstance(found, dict):
        return found
    among = found.pop("$defs", among or {})
    if "$ref" in found:
        found = among[found.pop("$ref").rpartition("/")[2]] | found
        found.pop("title")
    if "description" in found:
        found["description"] = " ".join(found["description"].split())
    return {name: _inlined(value, among) for name, value in found.items()}


def _of_status(status: Status) -> dict[str, Any]:
    """What more holds for the outcomes of one status."""
    nothing = {"type": "null"}
    members: dict[str, Any] = {"advice": {"const": ADVICE[status]}}
    then: dict[str, Any] = {"properties": members}
    if status is Status.RESOLVED:
        members |= {"error": nothing, "product_code": {"type": "string"}}
        keys = ("customer_aws_account_id", "customer_identifier")
        then["anyOf"] = [{"properties": {key: {"type": "string"}}} for key in keys]
    else:
        members |= {"error": {"type": "object"}} | dict.fromkeys(_OF_AWS, nothing)
    if status is Status.MALFORMED:
        members["repeated"] = {"const": False}
    else:
        members["token_sha256"] = {"type": "string"}
    return {"if": {"properties": {"status": {"const": status}}}, "then": then}


def text(name: str) -> str:
    """The schema as its file holds it."""
    return json.dumps(schema(name), indent=2) + "\n"


def path(name: str) -> Path:
    """Its file."""
    return FOLDER / f"{name}.json"


if __name__ == "__main__":
    FOLDER.mkdir(exist_ok=True)
    for each in _MESSAGES:
        path(each).write_text(text(each), encoding="utf-8")
