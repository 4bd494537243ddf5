"""What a replay takes for published, for unpublished, and for in doubt."""

from __future__ import annotations

import pytest

from worker.adapters.rabbitmq.connection import ChannelRefused
from worker.app.dead_letters.publisher import Sent, _sorted
from worker.core.exceptions import (
    BrokerLost,
    BrokerUnavailable,
    Refused,
    Unroutable,
    Unsendable,
)


@pytest.mark.parametrize(
    ("fault", "sent", "again"),
    [
        (None, Sent(confirmed={7}), []),
        (Unsendable("no text"), Sent(unpublished={7}), []),
        (Refused("full"), Sent(fault="full"), [7]),
        (Unroutable("no queue"), Sent(fault="no queue"), [7]),
        (ChannelRefused(403, "no right"), Sent(fault=str(ChannelRefused(403, "no right"))), [7]),
        (BrokerUnavailable("nobody there"), Sent(), [7]),
        (BrokerLost("lost while it waited"), Sent(doubtful={7}), [7]),
        (RuntimeError("odd"), Sent(doubtful={7}), [7]),
    ],
)
def test_only_a_message_that_may_have_been_sent_is_in_doubt(
    fault: Exception | None, sent: Sent, again: list[int]
) -> None:
    """Without a connection nothing was sent; on one that was lost the broker may have it."""
    found = Sent()
    assert _sorted(found, [7], [fault]) == again
    assert found == sent
