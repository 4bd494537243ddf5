"""Runs checks concurrently, each after those it needs, and with a time limit."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from worker.app.diagnosis.finding import Cause, Failed, Finding, Passed, Skipped, State

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Sequence

STEP_SECONDS: Final = 4.0
"""Time limit of one exchange with a dependency: shorter than the check's, so that the failure is
specific."""
CHECK_SECONDS: Final = 5.0
PATIENT_SECONDS: Final = 15.0
"""For many exchanges with a dependency that has just answered."""


@dataclass(frozen=True, slots=True)
class Check:
    """One check.

    Attributes:
        name: Unique; shown to people.
        look: Returns the result; raises `Failed` or `Skipped`.
        needs: Checks without whose success this one makes no sense.
        seconds: Time limit.
    """

    name: str
    look: Callable[[], Awaitable[Passed]] = field(repr=False)
    needs: tuple[str, ...] = ()
    seconds: float = CHECK_SECONDS


async def run(checks: Sequence[Check], tell: Callable[[Finding], None]) -> list[Finding]:
    """Run all checks and report them in order, each as soon as it and those before it have ended.

    Args:
        checks: Each comes after those it needs.
        tell: Called with each finding.

    Raises:
        OSError: `tell` could not write; unfinished checks are cancelled.
    """
    findings = []
    unwritten: OSError | None = None
    tasks: dict[str, asyncio.Task[Finding]] = {}
    async with asyncio.TaskGroup() as group:
        for check in checks:
            needed = [tasks[name] for name in check.needs]
            tasks[check.name] = group.create_task(_find(check, needed), name=check.name)
        for task in tasks.values():
            finding = await task
            findings.append(finding)
            try:
                tell(finding)
            except OSError as error:  # not in the group, which would wrap it
                unwritten = error
                break
        if unwritten is not None:
            for task in tasks.values():
                task.cancel()
    if unwritten is not None:
        raise unwritten
    return findings


async def _find(check: Check, needed: Sequence[asyncio.Task[Finding]]) -> Finding:
    for task in needed:
        before = await task
        if before.state is not State.OK:
            return Finding(check.name, State.SKIPPED, _because(before))
    try:
        async with asyncio.timeout(check.seconds):
            passed = await _look(check)
    except Skipped as skipped:
        return Finding(check.name, State.SKIPPED, str(skipped))
    except Failed as failed:
        return Finding(
            check.name, State.FAILED, failed.detail, failed.remedy, failed.notes, failed.cause
        )
    except TimeoutError:
        detail = f"no answer within {check.seconds:g} s"
        remedy = "check whether it is overloaded or frozen, or a firewall drops the traffic"
        return Finding(check.name, State.FAILED, detail, remedy, (), Cause.UNREACHABLE)
    return Finding(check.name, State.OK, passed.detail, notes=passed.notes)


def _because(before: Finding) -> str:
    return f"because {before.check} failed" if before.state is State.FAILED else before.detail


async def _look(check: Check) -> Passed:
    task = asyncio.current_task()
    assert task is not None
    cancelled_before = task.cancelling()
    try:
        return await check.look()
    except asyncio.CancelledError:
        # The AMQP libraries cancel tasks that wait on a lost connection.
        if task.cancelling() > cancelled_before:
            raise
        raise Failed(
            "the connection was lost", "check the server's log", Cause.UNREACHABLE
        ) from None
    except (Failed, Skipped, TimeoutError):
        raise
    except Exception as error:
        # An unexpected error in one check must not hide the findings of the others.
        raise Failed(
            f"the check itself failed with {type(error).__name__}",
            "this is a defect of the check: please report it",
        ) from error
