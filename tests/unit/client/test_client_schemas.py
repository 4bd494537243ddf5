"""The client writes and reads what `docs/asyncapi.yaml` documents."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from ruamel.yaml import YAML

from harness import contract
from resolution_client import answers, state
from resolution_client.errors import BadToken
from resolution_client.hidden import Hidden
from resolution_client.submission import submission

DOCUMENT = Path(__file__).parents[3] / "docs" / "asyncapi.yaml"
TEXTS = st.text(st.characters(exclude_categories=["Cs", "Cc"]), max_size=30)


def examples(kind: str) -> list[dict[str, Any]]:
    """The documented examples of a kind of message."""
    message = YAML(typ="safe").load(DOCUMENT)["components"]["messages"][kind]
    return [example["payload"] for example in message["examples"]]


@pytest.mark.parametrize("body", examples("outcome"), ids=lambda body: str(body["status"]))
def test_documented_outcomes_are_read(body: dict[str, Any]) -> None:
    """Each is an answer of the class that its status says."""
    kinds = {
        "resolved": answers.Resolved,
        "rejected": answers.Rejected,
        "malformed": answers.Failed,
    }
    read = answers.read(json.dumps(body).encode())
    assert isinstance(read, kinds[body["status"]])
    assert (read.message_id, read.token_sha256) == (body["message_id"], body["token_sha256"])


@pytest.mark.parametrize("body", examples("state"), ids=lambda body: str(body["calls"]))
def test_documented_states_are_read(body: dict[str, Any]) -> None:
    """Each says how calls stand."""
    assert state.read(json.dumps(body).encode()).calls == body["calls"]


@given(
    token=TEXTS | TEXTS.map("ok-{}".format),
    source=st.none() | TEXTS,
    offer_type=st.none() | TEXTS,
    metadata=st.none() | st.dictionaries(TEXTS, TEXTS, max_size=3),
)
def test_what_is_submitted_keeps_the_schema(
    token: str, source: str | None, offer_type: str | None, metadata: dict[str, str] | None
) -> None:
    """Whatever it is given, the client publishes a submission by the schema, or refuses."""
    try:
        made = submission(
            Hidden(token), source=source, offer_type=offer_type, seller="default", metadata=metadata
        )
    except (BadToken, ValueError):
        return
    assert contract.faults("submission", json.loads(made.body)) == []
