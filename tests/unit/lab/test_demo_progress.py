"""How the demo reports its progress where there is no terminal."""

from __future__ import annotations

import io

from worker.lab.demo.progress import reporting


def test_progress_is_reported_at_most_once_a_second_and_at_the_end() -> None:
    """Of many reports within a second the first is printed, and the last of all in any case."""
    stream = io.StringIO()
    with reporting(stream) as progress:
        for settled in range(11):
            progress.counts(10, settled, 10)
    lines = stream.getvalue().splitlines()

    assert len(lines) == 2
    assert lines[0].endswith("published 10  settled 0  of 10")
    assert lines[1].endswith("published 10  settled 10  of 10")


def test_what_does_not_change_is_reported_once() -> None:
    """The same report twice gives one line."""
    stream = io.StringIO()
    with reporting(stream) as progress:
        progress.counts(10, 10, 10)
        progress.counts(10, 10, 10)

    assert len(stream.getvalue().splitlines()) == 1


def test_events_are_plain_lines_with_their_time() -> None:
    """What happens is printed at once, without any control character."""
    stream = io.StringIO()
    with reporting(stream) as progress:
        progress.event("something happened")

    assert stream.getvalue() == "   0.0 s  something happened\n"
