"""What is used of the AMQP libraries beyond their public interface is there, in a known version."""

from __future__ import annotations

from importlib.metadata import version

import pytest
from aiormq.channel import Channel
from aiormq.connection import Connection
from pamqp import decode

from worker.adapters.rabbitmq import library


@pytest.mark.parametrize("name", library.CHECKED)
def test_the_version_is_one_that_was_checked(name: str) -> None:
    """Another version is looked through before the bounds in pyproject.toml are moved."""
    assert version(name).startswith(f"{library.CHECKED[name]}.")


def test_a_channel_has_what_is_used_of_it() -> None:
    """Each attribute is set by the class or its constructor, under the name that is used."""
    names = {*dir(Channel), *Channel.__init__.__code__.co_names}
    assert set(library.CHANNEL_ATTRIBUTES) <= names


def test_a_connection_has_the_handlers_that_are_wrapped() -> None:
    """Without them an alarm of the broker's would be silence."""
    assert callable(getattr(Connection, library.BLOCKED))
    assert callable(getattr(Connection, library.UNBLOCKED))


def test_the_codec_has_the_decoders_that_are_replaced() -> None:
    """They are found by the names of AMQP's types."""
    assert {"shortstr", "timestamp", "table"} <= decode.METHODS.keys()
