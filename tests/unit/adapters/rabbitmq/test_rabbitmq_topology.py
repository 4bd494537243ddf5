"""The topology as data: what others rely on, name by name."""

from worker.adapters.rabbitmq.topology import Binding, Exchange, Topology, topology

DELAYS = {"5s": 5.0, "500ms": 0.5}
LANE = {
    "x-queue-type": "quorum",
    "x-max-length": 2_000_000,
    "x-overflow": "reject-publish",
    "x-delivery-limit": 100,
    "x-dead-letter-exchange": "resolution.internal",
    "x-dead-letter-routing-key": "parked",
    "x-dead-letter-strategy": "at-least-once",
}


def arguments(wanted: Topology) -> dict[str, dict[str, str | int]]:
    """Each queue's arguments by its name."""
    return {queue.name: dict(queue.arguments) for queue in wanted.queues}


def test_exchanges() -> None:
    """The exchanges are those others publish to and listen on, and one for each delay."""
    assert topology(DELAYS).exchanges == (
        Exchange("resolution", "direct"),
        Exchange("resolution.internal", "direct"),
        Exchange("resolution.answers", "topic"),
        Exchange("resolution.events", "topic"),
        Exchange("resolution.state", "fanout"),
        Exchange("resolution.retry.5s", "fanout"),
        Exchange("resolution.retry.500ms", "fanout"),
    )


def test_lanes_are_quorum_queues_that_refuse_and_park() -> None:
    """All lanes refuse publishers when full and park a message after 100 returns."""
    queues = arguments(topology(DELAYS))
    lanes = ("resolution.tokens", "resolution.backlog", "resolution.crowd")
    assert [queues[lane] for lane in lanes] == [LANE] * 3


def test_parked_is_the_end_of_the_line() -> None:
    """The parked queue hands nothing on, and its delivery limit is out of reach."""
    parked = arguments(topology(DELAYS))["resolution.parked"]
    assert not [name for name in parked if name.startswith("x-dead-letter")]
    assert int(parked["x-delivery-limit"]) >= 1_000_000
    assert parked["x-queue-type"] == "quorum"
    assert parked["x-overflow"] == "reject-publish"


def test_retry_queues_wait_and_give_back_under_the_own_key() -> None:
    """A retry queue holds a message for its delay and hands it back without naming a key."""
    queues = arguments(topology(DELAYS))
    assert queues["resolution.retry.500ms"] == {
        "x-queue-type": "quorum",
        "x-max-length": 2_000_000,
        "x-overflow": "reject-publish",
        "x-message-ttl": 500,
        "x-dead-letter-exchange": "resolution.internal",
        "x-dead-letter-strategy": "at-least-once",
    }
    assert queues["resolution.retry.5s"]["x-message-ttl"] == 5_000


def test_bindings() -> None:
    """Both doors lead into two lanes; only the inner one to the crowd and the parked queue."""
    assert set(topology({"5s": 5.0}).bindings) == {
        Binding("resolution", "resolution.tokens", "token"),
        Binding("resolution", "resolution.backlog", "backlog"),
        Binding("resolution.internal", "resolution.tokens", "token"),
        Binding("resolution.internal", "resolution.backlog", "backlog"),
        Binding("resolution.internal", "resolution.crowd", "crowd"),
        Binding("resolution.internal", "resolution.parked", "parked"),
        Binding("resolution.retry.5s", "resolution.retry.5s", ""),
    }
