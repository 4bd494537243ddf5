"""`python -m worker.lab.servers`: private servers in the foreground, until told to end."""

import argparse
import asyncio
import json
import shlex
import signal
import sys
import tempfile
import time
from collections.abc import Callable, Coroutine, Mapping
from pathlib import Path

from worker.lab.servers.broker import rabbitmq
from worker.lab.servers.errors import ServiceError, the_fault
from worker.lab.servers.postgresql import postgres
from worker.lab.servers.server import Server

_Facts = Mapping[str, str]
_Show = Callable[[_Facts], None]

_UNAVAILABLE = 69
_STOPPERS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


def main() -> int:
    """Run the servers and print the lines that point the worker at them.

    Returns:
        The exit code: 0 after a signal, 69 if a server can't be had or has ended by itself.
    """
    options = _options()
    try:
        asyncio.run(_serve(options.server, _as_json if options.json else _as_shell))
    except asyncio.CancelledError:
        return 0
    except ServiceError as fault:
        _tell(str(fault))
        return _UNAVAILABLE
    return 0


class _Options(argparse.Namespace):
    server: list[str]
    json: bool


def _options() -> _Options:
    parser = argparse.ArgumentParser(
        prog="python -m worker.lab.servers",
        description="Private servers in the foreground; prints the lines to export.",
    )
    parser.add_argument(
        "--only", action="append", dest="server", choices=list(_SERVERS), help="just this server"
    )
    parser.add_argument("--json", action="store_true", help="a JSON object a line, with more in it")
    options = parser.parse_args(namespace=_Options())
    options.server = options.server or list(_SERVERS)
    return options


async def _serve(chosen: list[str], show: _Show) -> None:
    """Run the chosen servers until a signal cancels this task or one of them ends."""
    _cancel_on_signals()
    with tempfile.TemporaryDirectory(prefix="resolution-services-") as folder:
        try:
            async with asyncio.TaskGroup() as group:
                for name in chosen:
                    group.create_task(_SERVERS[name](Path(folder) / name, show))
        except BaseExceptionGroup as faults:
            raise the_fault(faults) from None


def _cancel_on_signals() -> None:
    task = asyncio.current_task()
    assert task is not None
    for number in _STOPPERS:
        asyncio.get_running_loop().add_signal_handler(number, task.cancel)


async def _serve_postgresql(directory: Path, show: _Show) -> None:
    began = time.monotonic()
    async with postgres(directory) as running:
        show({"WORKER_POSTGRES__DSN": running.dsn, "log": str(running.log)})
        await _watch("PostgreSQL", running.server, began)


async def _serve_rabbitmq(directory: Path, show: _Show) -> None:
    began = time.monotonic()
    async with rabbitmq(directory) as running:
        also = {"management": running.management.url, "log": str(running.log)}
        show({"WORKER_AMQP__URL": running.amqp_url, **also})
        await _watch("RabbitMQ", running.server, began)


async def _watch(name: str, server: Server, began: float) -> None:
    took = time.monotonic() - began
    _tell(f"{name} is ready after {took:.1f} s; Ctrl-C ends it and removes its data.")
    await server.ended()
    raise ServiceError(f"{name} has ended by itself")


def _as_shell(facts: _Facts) -> None:
    """Lines for a shell; what it need not know is a comment, harmless when pasted."""
    for name, value in facts.items():
        line = f"export {name}={shlex.quote(value)}" if name.isupper() else f"# {name}: {value}"
        _print(line)


def _as_json(facts: _Facts) -> None:
    _print(json.dumps(facts))


def _print(line: str) -> None:
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()


def _tell(message: str) -> None:
    sys.stderr.write(f"{message}\n")
    sys.stderr.flush()


_SERVERS: dict[str, Callable[[Path, _Show], Coroutine[None, None, None]]] = {
    "postgresql": _serve_postgresql,
    "rabbitmq": _serve_rabbitmq,
}

if __name__ == "__main__":
    sys.exit(main())
