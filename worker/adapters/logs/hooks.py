"""Logs the exceptions that Python would print itself."""

import asyncio
import sys
import threading
from types import TracebackType
from typing import Any

from worker.adapters.logs.output import Output


def install(output: Output, loop: asyncio.AbstractEventLoop | None) -> None:
    """Logs uncaught exceptions: those of threads, finalizers and the event loop too."""

    def uncaught(
        kind: type[BaseException], error: BaseException, trace: TracebackType | None
    ) -> None:
        if issubclass(kind, KeyboardInterrupt):
            sys.__excepthook__(kind, error, trace)
        else:
            output.foreign("critical", {"event": "uncaught_exception"}, error)

    def thread(args: threading.ExceptHookArgs) -> None:
        if not issubclass(args.exc_type, SystemExit):
            output.foreign("critical", {"event": "uncaught_exception"}, args.exc_value)

    def unraisable(args: Any) -> None:
        event = {"event": "unraisable_exception", "object": type(args.object).__qualname__}
        output.foreign("error", event, args.exc_value)

    def fault(_loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
        event = {"event": "loop_fault", "problem": context.get("message", "")}
        output.foreign("error", event, context.get("exception"))

    sys.excepthook = uncaught
    threading.excepthook = thread
    sys.unraisablehook = unraisable
    if loop is not None:
        loop.set_exception_handler(fault)
