"""A long list is published as somebody whom the broker knows."""

from __future__ import annotations

from typing import TYPE_CHECKING

from worker.adapters.rabbitmq import publisher_link
from worker.adapters.rabbitmq.bulk import Bulk, Item
from worker.adapters.rabbitmq.connection import connected
from worker.adapters.rabbitmq.declaration import declare
from worker.adapters.rabbitmq.topology import topology
from worker.core.token.outgoing import Outgoing

if TYPE_CHECKING:
    from collections.abc import Sequence

    import pytest

    from harness.servers import Broker

COUNT = 500


class Accounts:
    """Remembers what became of each message."""

    def __init__(self) -> None:
        self.published: list[int] = []
        self.reasons: list[str] = []

    def confirmed(self, item: Item) -> None:
        """The broker has it."""
        self.published.append(item.number)

    def failed(self, item: Item, reason: str) -> None:
        """It is given up."""
        self.reasons.append(f"{item.number}: {reason}")


async def test_whoever_has_another_name_on_the_broker_publishes_without_it(
    broker: Broker, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where the address does not say who one is on the broker, messages bear nobody's name.

    So it is where a certificate or an access token signs in; here the address is misread.
    """
    await declare(broker.url, topology({"5s": 5.0}))
    monkeypatch.setattr(publisher_link, "user_of", lambda _: "somebody else")
    accounts = Accounts()
    batches = [[item(number) for number in range(at, at + 50)] for at in range(0, COUNT, 50)]

    async def next_batch() -> Sequence[Item]:
        return batches.pop() if batches else ()

    publishing = Bulk(lambda: broker.url, accounts, 10.0)
    await publishing.run(next_batch)
    assert publishing.gave_up is None
    assert (sorted(accounts.published), accounts.reasons) == (list(range(COUNT)), [])
    async with connected(broker.url, name="reader") as connection:
        channel = await connection.channel()
        queue = await channel.get_queue("resolution.tokens")
        assert (await queue.get(no_ack=True)).user_id is None


def item(number: int) -> Item:
    """A message of the list."""
    return Item(number, Outgoing("resolution", "token", b"{}", f"m-{number}", mandatory=True))
