"""The contract in machine form: `docs/asyncapi.yaml`, its examples, and the README's."""

from __future__ import annotations

import json
import re
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING, Any

import aio_pika
import jsonschema_rs
import pytest
from ruamel.yaml import YAML

from harness import contract
from harness.waiting import eventually

if TYPE_CHECKING:
    from aio_pika.abc import AbstractIncomingMessage

    from harness.installation import Installation
    from harness.web_tier import WebTier

ROOT = Path(__file__).parents[3]
DOCUMENT = ROOT / "docs" / "asyncapi.yaml"
PARSER = ROOT / "requirements" / "asyncapi"
CODE_BLOCK = re.compile(r"```json\n(.*?)```", re.DOTALL)


def document() -> Any:
    """The AsyncAPI document."""
    return YAML(typ="safe").load(DOCUMENT)


def examples() -> list[tuple[str, str, Any]]:
    """Kind of message, name and payload of each example in the document."""
    return [
        (kind, example["name"], example["payload"])
        for kind, message in document()["components"]["messages"].items()
        for example in message["examples"]
    ]


def property_faults(kind: str, properties: dict[str, Any]) -> list[str]:
    """What is wrong with the AMQP properties of a message."""
    wanted = document()["components"]["messages"][kind]["x-amqp-properties"]
    validator = jsonschema_rs.Draft7Validator(wanted)
    return [fault.message for fault in validator.iter_errors(properties)]


def properties_of(message: AbstractIncomingMessage) -> dict[str, Any]:
    """The AMQP properties of a message, without those that it does not have."""
    return {
        "content_type": message.content_type,
        "delivery_mode": message.delivery_mode,
        "message_id": message.message_id,
    } | ({"correlation_id": message.correlation_id} if message.correlation_id else {})


def checked(path: Path) -> list[dict[str, str]]:
    """The errors and warnings of AsyncAPI's own parser."""
    done = subprocess.run(
        ["node", PARSER / "check.mjs", path],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.stdout, done.stderr
    found: list[dict[str, str]] = json.loads(done.stdout)
    return found


def test_asyncapis_own_parser_finds_nothing_wrong() -> None:
    """The document is AsyncAPI, its references lead to the schemas, and its bindings are AMQP's."""
    assert checked(DOCUMENT) == []


def test_asyncapis_own_parser_finds_what_is_wrong(tmp_path: Path) -> None:
    """A document that is wrong is told: the check above checks something."""
    wrong = tmp_path / "asyncapi.yaml"
    wrong.write_text(DOCUMENT.read_text().replace("deliveryMode: 2}", "deliveryMode: 3}"))
    assert {"asyncapi-document-resolved", "invalid-ref"} <= {
        each["code"] for each in checked(wrong)
    }


@pytest.mark.parametrize(("kind", "name", "payload"), examples())
def test_the_examples_keep_their_schemas(kind: str, name: str, payload: object) -> None:
    """Each example in the document is a message of its kind."""
    assert contract.faults(kind, payload) == [], name


@pytest.mark.parametrize("path", ["README.md", "docs/protocol.md"])
def test_the_json_in_prose_keeps_the_schemas(path: str) -> None:
    """What the documents show as JSON is a message of the kind that its members tell."""
    shown = [json.loads(block) for block in CODE_BLOCK.findall((ROOT / path).read_text())]
    assert shown
    for body in shown:
        kind = {"registration_token": "submission", "status": "outcome", "calls": "state"}
        (told,) = [kind[name] for name in body if name in kind]
        assert contract.faults(told, body) == []


async def test_a_worker_speaks_as_the_document_says(
    shop: WebTier, shared_stage: Installation
) -> None:
    """The examples of submissions are taken, and the answers have the documented properties."""
    heard: list[AbstractIncomingMessage] = []

    async def hear(message: AbstractIncomingMessage) -> None:
        heard.append(message)

    async with await aio_pika.connect(shared_stage.broker.url, timeout=30) as owner:
        queue = await (await owner.channel()).declare_queue(exclusive=True)
        await queue.bind("resolution.events", "token.#")
        await queue.bind("resolution.answers", shop.reply_to)
        await queue.consume(hear, no_ack=True)
        for kind, name, payload in examples():
            if kind == "submission":
                properties = {"message_id": f"example-{name}", "reply_to": shop.reply_to}
                told = properties | {"content_type": "application/json", "delivery_mode": 2}
                assert property_faults("submission", told) == []
                await shop.publish(
                    json.dumps(payload).encode(), correlation_id=f"c-{name}", **properties
                )
        await eventually(lambda: len(heard) >= 4, "a reply and an event for each example")
    for message in heard:
        assert contract.faults("outcome", json.loads(message.body)) == []
        assert property_faults("outcome", properties_of(message)) == []
    assert {message.correlation_id for message in heard} == {"c-least", "c-full"}


@pytest.mark.parametrize(
    "folder",
    [
        "requirements/asyncapi",
        "requirements/axe",
        "requirements/grafana",
        "docs/examples/node",
    ],
)
def test_the_locks_name_no_registry(folder: str) -> None:
    """What is installed for Node is pinned by hash, wherever it comes from."""
    lock = json.loads((ROOT / folder / "package-lock.json").read_text())
    packages = [package for name, package in lock["packages"].items() if name]
    assert packages
    assert all("integrity" in package and "resolved" not in package for package in packages)
