"""Log lines: their form, their levels, and what can't break them."""

import asyncio
import gc
import io
import logging
import sys
import threading
import warnings
from collections.abc import Iterator
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any, NoReturn
from uuid import UUID

import orjson
import pytest
import structlog

from harness.log_events_page import events
from worker.adapters import logs
from worker.adapters.logs.repeats import Repeats

log = structlog.get_logger()


class Terminal(io.StringIO):
    """A stream that says it is a terminal."""

    def isatty(self) -> bool:
        """Always."""
        return True


class Broken:
    """An object that can't show itself."""

    def __repr__(self) -> str:
        raise RuntimeError

    __str__ = __repr__


class BrokenError(Exception):
    """An exception that can't show itself."""

    def __str__(self) -> str:
        raise RuntimeError


def fail(error: Exception) -> NoReturn:
    """Raises an error, with a variable beside it."""
    value = "local-" + "value"
    raise error if value else AssertionError


@pytest.fixture(autouse=True)
def untouched(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Leaves the logging of the test run as it was."""
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    for owner, name in ((sys, "excepthook"), (sys, "unraisablehook"), (threading, "excepthook")):
        monkeypatch.setattr(owner, name, getattr(owner, name))
    monkeypatch.setattr(warnings, "showwarning", warnings.showwarning)
    yield
    logs.configure("debug", "json", io.StringIO())
    logging.captureWarnings(capture=False)
    root.handlers[:] = handlers
    root.setLevel(level)


@pytest.fixture
def stream() -> io.StringIO:
    """Receives JSON lines from debug on."""
    stream = io.StringIO()
    logs.configure("debug", "json", stream)
    return stream


def lines(stream: io.StringIO) -> list[dict[str, Any]]:
    """What was logged."""
    return [orjson.loads(line) for line in stream.getvalue().splitlines()]


def only(stream: io.StringIO) -> dict[str, Any]:
    """The one line that was logged."""
    (line,) = lines(stream)
    return line


def test_a_line_is_timestamp_level_event_then_context(stream: io.StringIO) -> None:
    """The keys come in that order, and the time is now in UTC."""
    log.bind(message_id="m").info("token_settled", attempts=1, lane=None, seconds=0.5)
    line = only(stream)
    assert list(line) == [
        "timestamp", "level", "event", "message_id", "attempts", "lane", "seconds",
    ]  # fmt: skip
    assert (line["level"], line["event"], line["attempts"]) == ("info", "token_settled", 1)
    assert line["timestamp"].endswith("Z")
    then = datetime.fromisoformat(line["timestamp"])
    assert abs((datetime.now(UTC) - then).total_seconds()) < 60


def test_context_cannot_pose_as_a_key_of_the_line(stream: io.StringIO) -> None:
    """A context called `level` or `timestamp` does not replace the line's own."""
    log.warning("event", level="debug", timestamp="never")
    assert only(stream)["level"] == "warning"
    assert only(stream)["timestamp"] != "never"


def test_context_of_the_task_is_there(stream: io.StringIO) -> None:
    """What is bound to the context variables stands in each line."""
    with structlog.contextvars.bound_contextvars(message_id="m"):
        log.info("event")
    assert only(stream)["message_id"] == "m"


def test_records_of_libraries_come_out_the_same_way(stream: io.StringIO) -> None:
    """A record of the standard library's logging has the same keys, and its logger's name."""
    logging.getLogger("some.library").warning("slow by %d s", 3)
    line = only(stream)
    assert list(line) == ["timestamp", "level", "event", "logger"]
    assert (line["level"], line["event"], line["logger"]) == (
        "warning",
        "slow by 3 s",
        "some.library",
    )


def test_a_terminal_gets_colours_and_everything_else_json() -> None:
    """`auto` looks at the stream."""
    terminal, file = Terminal(), io.StringIO()
    logs.configure("info", "auto", terminal)
    log.info("event", key="value")
    logs.configure("info", "auto", file)
    log.info("event", key="value")
    assert "\x1b[" in terminal.getvalue()
    assert "event" in terminal.getvalue()
    assert only(file)["key"] == "value"


def test_a_console_line_is_plain_where_there_is_no_terminal() -> None:
    """`console` into a file has no colours, and shows the traceback."""
    stream = io.StringIO()
    logs.configure("info", "console", stream)
    try:
        fail(ValueError("no good"))
    except ValueError:
        log.exception("failed", key="value")
    assert "\x1b" not in stream.getvalue()
    assert "failed" in stream.getvalue()
    assert "key=value" in stream.getvalue()
    assert "ValueError: no good" in stream.getvalue()


def test_a_console_line_cannot_steer_the_terminal() -> None:
    """Control characters of a message are shown, not sent."""
    stream = io.StringIO()
    logs.configure("info", "console", stream)
    logging.getLogger("peer").warning("\x1b]0;owned\x07\x9b2J")
    log.warning("event", nested={"a": "\x1b[2J"})
    assert not {"\x1b", "\x07", "\x9b"} & set(stream.getvalue())
    assert "owned" in stream.getvalue()


@pytest.mark.parametrize("level", ["debug", "info", "warning", "error"])
def test_nothing_below_the_level_is_written(level: logs.Level) -> None:
    """Our events and libraries' records are held to the same level."""
    names = ["debug", "info", "warning", "error"]
    stream = io.StringIO()
    logs.configure(level, "json", stream)
    for name in names:
        getattr(log, name)("own")
        getattr(logging.getLogger("some.library"), name)("foreign")
    expected = names[names.index(level) :]
    for event in ("own", "foreign"):
        assert [line["level"] for line in lines(stream) if line["event"] == event] == expected


def test_a_new_level_reaches_loggers_that_are_bound_already(stream: io.StringIO) -> None:
    """The level changes while the process runs, in both directions."""
    bound = structlog.get_logger().bind(message_id="m")
    logs.set_level("warning")
    bound.info("hidden")
    log.info("hidden")
    logs.set_level("debug")
    bound.debug("shown")
    assert [line["event"] for line in lines(stream)] == ["shown"]


def test_a_new_configuration_reaches_loggers_that_are_bound_already(stream: io.StringIO) -> None:
    """A logger follows when stream and form change."""
    bound = structlog.get_logger().bind(message_id="m")
    bound.info("first")
    later = io.StringIO()
    logs.configure("info", "json", later)
    bound.info("second")
    assert only(stream)["event"] == "first"
    assert only(later)["event"] == "second"


@pytest.mark.parametrize(
    "name", ["botocore", "aiobotocore", "aiormq", "aio_pika", "asyncio", "aiohttp", "urllib3"]
)
def test_libraries_that_print_messages_are_clamped(stream: io.StringIO, name: str) -> None:
    """They never write below INFO, at debug and even if somebody sets their level lower."""
    child = logging.getLogger(f"{name}.some.part")
    logging.getLogger(name).debug("hidden")
    child.setLevel(logging.DEBUG)
    try:
        child.debug("hidden")
        child.info("shown")
    finally:
        child.setLevel(logging.NOTSET)
    assert only(stream)["event"] == "shown"


def test_odd_values_are_written_somehow(stream: io.StringIO) -> None:
    """No value makes logging fail; what JSON knows stays what it is."""
    loop: list[object] = []
    loop.append(loop)
    log.info(
        "odd", bytes=b"\xffab", broken=Broken(), error=BrokenError(), huge=1 << 70, lone="\ud800",
        nan=float("nan"), loop=loop, keys={1: {2, 3}, Broken(): "x"}, kind=ValueError("no"),
        time=datetime(2026, 11, 22, tzinfo=UTC), number=Decimal("1.5"), id=UUID(int=0),
        inner=["\ud800", 1, None, True],
    )  # fmt: skip
    line = only(stream)
    assert line["bytes"] == "\\xffab"
    assert line["broken"] == "<unprintable Broken>"
    assert line["error"] == "<unprintable BrokenError>"
    assert line["lone"] == "\\ud800"
    assert line["nan"] is None
    assert line["keys"] == {"1": [2, 3], "<unprintable Broken>": "x"}
    assert line["kind"] == "ValueError: no"
    assert line["time"] == "2026-11-22 00:00:00+00:00"
    assert (line["number"], line["id"]) == ("1.5", "00000000-0000-0000-0000-000000000000")
    assert line["inner"] == ["\\ud800", 1, None, True]


def test_odd_records_are_written_somehow(stream: io.StringIO) -> None:
    """A library's mistake in its arguments costs no line and raises nothing."""
    # Again, now that pytest's own handlers are in place: they would stumble.
    logs.configure("debug", "json", stream)
    library = logging.getLogger("some.library")
    library.warning("%d items", "many")
    library.warning("%s", Broken())
    library.warning(Broken())
    library.warning("lone \ud800")
    assert [line["event"] for line in lines(stream)] == [
        "%d items <arguments don't fit>",
        "%s <arguments don't fit>",
        "<unprintable>",
        "lone \\ud800",
    ]


@pytest.mark.parametrize("form", ["json", "console"])
def test_a_stream_that_is_gone_stops_nothing(form: logs.Format) -> None:
    """Work goes on when nobody reads the log any more."""
    stream = io.StringIO()
    logs.configure("info", form, stream)
    stream.close()
    log.info("event")
    logging.getLogger("some.library").warning("event")


def test_bytes_go_to_the_buffer_of_a_file(tmp_path: Any) -> None:
    """A real file gets whole lines at once."""
    with (tmp_path / "log").open("w") as file:
        logs.configure("info", "json", file)
        log.info("event", text="ü")
        assert orjson.loads((tmp_path / "log").read_bytes())["text"] == "ü"


def test_a_traceback_shows_no_local_variables(stream: io.StringIO) -> None:
    """Causes and groups are there; values of variables are not."""
    try:
        try:
            fail(KeyError("inner"))
        except KeyError as error:
            raise ExceptionGroup("outer", [ValueError("a"), BrokenError()]) from error
    except ExceptionGroup:
        log.exception("failed")
    line = only(stream)
    assert line["level"] == "error"
    for part in ("KeyError: 'inner'", "ExceptionGroup: outer", "ValueError: a", "BrokenError"):
        assert part in line["exception"]
    assert "local-value" not in line["exception"]


def test_uncaught_exceptions_are_logged(stream: io.StringIO) -> None:
    """Those of the main thread, of other threads, and of finalizers."""

    class Finalized:
        def __del__(self) -> None:
            raise ValueError("in a finalizer")

    def fail() -> None:
        raise ValueError("in a thread")

    logs.install_hooks()
    error = ValueError("in main")
    sys.excepthook(ValueError, error, None)
    thread = threading.Thread(target=fail)
    thread.start()
    thread.join()
    Finalized()
    gc.collect()
    main, threaded, finalizer = lines(stream)
    assert (main["event"], main["level"]) == ("uncaught_exception", "critical")
    assert "ValueError: in main" in main["exception"]
    assert "ValueError: in a thread" in threaded["exception"]
    assert (finalizer["event"], finalizer["level"]) == ("unraisable_exception", "error")
    assert "ValueError: in a finalizer" in finalizer["exception"]


async def test_faults_of_the_loop_are_logged(stream: io.StringIO) -> None:
    """An exception in a callback comes out as a line."""

    def fail() -> None:
        raise ValueError("in a callback")

    loop = asyncio.get_running_loop()
    logs.install_hooks(loop)
    try:
        loop.call_soon(fail)
        await asyncio.sleep(0)
        await asyncio.sleep(0)
    finally:
        loop.set_exception_handler(None)
    line = only(stream)
    assert line["event"] == "loop_fault"
    assert "ValueError: in a callback" in line["exception"]


def test_warnings_are_logged(stream: io.StringIO) -> None:
    """What the warnings module would print is a line."""
    warnings.showwarning("old", UserWarning, "file.py", 1)
    line = only(stream)
    assert line["logger"] == "py.warnings"
    assert "UserWarning: old" in line["event"]


def test_a_fact_that_repeats_is_bounded(stream: io.StringIO) -> None:
    """Five lines at once and then one a minute; another link, another reason is another fact."""
    for number in range(30):
        log.warning("broker_link_down", link="consume", reason="refused", again_in_seconds=number)
        log.warning("broker_link_down", link="publish", reason="refused", again_in_seconds=number)
        log.info("settled", resolved=number)
    log.warning("broker_link_down", link="publish", reason="access refused")
    library = logging.getLogger("somebody")
    for _ in range(30):
        library.error("a connection is lost")

    found = [line.get("logger", line["event"]) for line in lines(stream)]
    assert found.count("broker_link_down") == 5 + 5 + 1
    assert found.count("settled") == 30
    assert found.count("somebody") == 5


@pytest.mark.parametrize(
    "told",
    [
        [{"event": "messages_may_be_lost", "queue": f"resolution.retry.{n}s"} for n in range(6)],
        [{"event": "row_refused", "reason": f"SQLSTATE 2350{n}"} for n in range(6)],
        [{"event": "row_refused", "left_out": ["offer_type"] * n} for n in range(6)],
        [{"event": "calls_stopped", "code": f"E{n}"} for n in range(6)],
        [{"event": "reload_refused", "faults": ["the same"]} for _ in range(40)],
        [{"event": "call_failed", "exc_info": each("x")} for each in (KeyError, ValueError)] * 5,
    ],
    ids=lambda told: str(told[0]["event"]),
)
def test_other_facts_are_told(told: list[dict[str, Any]]) -> None:
    """Whatever tells two lines apart but a number or a message is another fact."""
    repeats = Repeats(lambda: 0.0)
    assert [repeats.left_out_before(each) for each in told] == [0] * len(told)


def test_an_event_of_ever_new_facts_is_bounded_too() -> None:
    """Twenty lines at once, and then four a minute."""
    now = 0.0
    repeats = Repeats(lambda: now)
    told = [{"event": "e", "reason": f"{n} messages wait"} for n in range(100)]
    assert [repeats.left_out_before(each) for each in told].count(0) == 20
    now = 60.0
    assert [repeats.left_out_before(each) for each in told[50:]].count(None) == 50 - 4


def test_what_was_left_out_is_counted() -> None:
    """The line after a minute says how many like it were left out."""
    now = 0.0
    repeats = Repeats(lambda: now)
    said = {"event": "ledger_unavailable", "reason": "it is down"}
    assert [repeats.left_out_before(said) for _ in range(8)] == [0] * 5 + [None] * 3
    now = 60.0
    assert [repeats.left_out_before(said) for _ in range(2)] == [3, None]
    now = 3_600.0
    assert [repeats.left_out_before(said) for _ in range(6)] == [1, 0, 0, 0, 0, None]


def test_facts_without_end_take_no_memory_without_end() -> None:
    """Of many facts the oldest are forgotten."""
    repeats = Repeats()
    for number in range(5_000):
        assert repeats.left_out_before({"event": f"e{number}"}) == 0
    assert len(repeats._kept) == 1_000


def test_another_exception_is_another_fact(stream: io.StringIO) -> None:
    """Of our own lines, of libraries' and of what Python would print itself."""
    library = logging.getLogger("somebody")
    for error in [KeyError("k")] * 9 + [OSError("o")]:
        try:
            raise error
        except (KeyError, OSError):
            log.exception("call_failed_unforeseen")
            library.exception("it failed")

    found = [line for line in lines(stream) if "exception" in line]
    told = [(line["event"], line["exception"].splitlines()[-1]) for line in found]
    for event in ("call_failed_unforeseen", "it failed"):
        kinds = [words.partition(":")[0] for name, words in told if name == event]
        assert kinds == ["KeyError"] * 5 + ["OSError"]


def test_what_is_counted_has_a_name_of_its_own(stream: io.StringIO) -> None:
    """An event's own keys are not overwritten."""
    for _ in range(30):
        log.error("row_refused", left_out=["license_arn"])
    assert {tuple(line["left_out"]) for line in lines(stream)} == {("license_arn",)}
    assert "lines_left_out" not in {key for each in events().values() for key in each.keys}
