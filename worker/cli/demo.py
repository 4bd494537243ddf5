"""`demo`: the main job on one machine, with an account at the end."""

from __future__ import annotations

import asyncio
import os
import secrets
import signal
import time
from contextlib import contextmanager
from typing import TYPE_CHECKING, Annotated, Final

import typer

from worker.cli.exits import BAD_CONFIGURATION, PARTLY_FAILED, UNAVAILABLE, failure
from worker.cli.options import JsonOption
from worker.cli.printing import print_json
from worker.core.exceptions import BrokerUnavailable
from worker.lab.demo.processes import ProcessFailed
from worker.lab.demo.progress import reporting
from worker.lab.demo.report import as_json, print_report
from worker.lab.demo.run import Options, Result, run_demo
from worker.lab.servers import ServiceError
from worker.settings import SettingsError

if TYPE_CHECKING:
    from collections.abc import Iterator


_FEWEST_TOKENS: Final = 100
_MOST_TOKENS: Final = 1_000_000
_SIGNALS: Final = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
_OF_A_SIGNAL: Final = 128


def demo(
    *,
    tokens: Annotated[
        int, typer.Option(min=_FEWEST_TOKENS, max=_MOST_TOKENS, help="How many different tokens.")
    ] = 5000,
    seed: Annotated[
        int | None,
        typer.Option(
            help="Seed for order and lanes, and which worker is killed.", show_default="by chance"
        ),
    ] = None,
    json: JsonOption = False,
) -> None:
    """Shows the main job on this machine, and closes with an account of every token.

    Starts a private PostgreSQL and RabbitMQ, the simulator and two workers, publishes tokens of
    every kind of the simulator's grammar through both lanes, kills one worker with SIGKILL half
    way, and compares what it finds with what each kind demands. Nothing of it is left at the end.

    A server that WORKER_POSTGRES__DSN or WORKER_AMQP__URL names is used instead of a private one:
    the database is brought up to date and keeps this run's rows; the broker must be idle, and loses
    again whatever this run has added. Other settings of the worker, and AWS's, are ignored.

    Exits with 1 if the account does not balance.
    """
    began = time.monotonic()
    chosen = secrets.randbelow(1 << 31) if seed is None else seed
    result = _run(Options(tokens, chosen, os.environ))
    seconds = time.monotonic() - began
    _print(result, seconds, chosen, json=json)
    if not result.balances:
        raise typer.Exit(PARTLY_FAILED)


def _run(options: Options) -> Result:
    """Run it; a foreseen fault ends the command in words."""
    caught: list[signal.Signals] = []
    try:
        return asyncio.run(_run_until_signalled(options, caught))
    except (asyncio.CancelledError, Exception) as error:
        if caught:  # whatever else went wrong then is of no interest any more
            raise _interrupted(caught[0]) from error
        match error:
            case SettingsError():
                raise failure(str(error), BAD_CONFIGURATION) from error
            case ServiceError() | BrokerUnavailable():
                raise failure(str(error), UNAVAILABLE) from error
            case ProcessFailed():
                raise failure(str(error), PARTLY_FAILED) from error
        raise


async def _run_until_signalled(options: Options, caught: list[signal.Signals]) -> Result:
    with _cancelling(caught), reporting() as progress:
        return await run_demo(options, progress)


@contextmanager
def _cancelling(caught: list[signal.Signals]) -> Iterator[None]:
    """Let a signal cancel this task, so that everything is taken down in order."""
    task = asyncio.current_task()
    assert task is not None
    loop = asyncio.get_running_loop()

    def on_signal(number: signal.Signals) -> None:
        if not caught:  # a second one must not cut the taking down short
            task.cancel()
        caught.append(number)

    for number in _SIGNALS:
        loop.add_signal_handler(number, on_signal, number)
    try:
        yield
    finally:
        for number in _SIGNALS:
            loop.remove_signal_handler(number)


def _interrupted(number: signal.Signals) -> typer.Exit:
    words = f"Interrupted by {number.name}; everything was taken down."
    return failure(words, _OF_A_SIGNAL + number)


def _print(result: Result, seconds: float, seed: int, *, json: bool) -> None:
    if json:
        print_json(as_json(result, seconds, seed))
    else:
        print_report(result, seconds, seed)
