"""The page of log events."""

from __future__ import annotations

from harness import log_events_page


def test_every_event_is_on_the_page() -> None:
    """docs/log-events.md is what the code logs: an event without an explanation fails."""
    events = log_events_page.events()
    assert len(events) > 50
    assert "warning" in events["broker_link_down"].levels
    assert list(events["broker_link_down"].keys) == ["link", "reason", "again_in_seconds"]
    said = log_events_page.PAGE.read_text(encoding="utf-8")
    assert said == log_events_page.text(), "run `make pages`"
