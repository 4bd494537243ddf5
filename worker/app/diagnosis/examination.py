"""Checks run side by side, each after those it needs, each within a bound."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from worker.app.diagnosis.finding import Cause, Failed, Finding, Passed, Skipped, State

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Sequence

STEP_SECONDS: Final = 4.0
"""Bound of one exchange with a dependency: it expires before the check does, and says more."""
CHECK_SECONDS: Final = 5.0
PATIENT_SECONDS: Final = 15.0
"""For many exchanges with a dependency that has just answered."""


@dataclass(frozen=True, slots=True)
class Check:
    """One thing to look at.

    Attributes:
        name: Unique, for people.
        look: Returns what was found; raises `Failed` or `Skipped`.
        needs: Checks that must have passed before this one makes sense.
        seconds: The bound.
    """

    name: str
    look: Callable[[], Awaitable[Passed]] = field(repr=False)
    needs: tuple[str, ...] = ()
    seconds: float = CHECK_SECONDS


async def run(checks: Sequence[Check], tell: Callable[[Finding], None]) -> list[Finding]:
    """Run all checks and tell of them in their order, each as soon as it and those before end.

    Args:
        checks: Each comes after those it needs.
        tell: Told of each finding.

    Raises:
        OSError: From `tell`, which has nowhere to write; what is still looked at is given up.
    """
    findings = []
    unheard: OSError | None = None
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
            except OSError as error:  # not in a group: whoever called knows what to do about it
                unheard = error
                break
        if unheard is not None:
            for task in tasks.values():
                task.cancel()
    if unheard is not None:
        raise unheard
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
        remedy = "look whether it is overloaded or frozen, or a firewall swallows the traffic"
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
        # The AMQP libraries cancel what waits on a connection that is lost: nobody asked for it.
        if task.cancelling() > cancelled_before:
            raise
        raise Failed(
            "the connection was lost", "look into the server's log", Cause.UNREACHABLE
        ) from None
    except (Failed, Skipped, TimeoutError):
        raise
    except Exception as error:
        # One check that meets what nobody foresaw must not hide what the others find.
        raise Failed(
            f"the check itself failed with {type(error).__name__}",
            "this is a defect of the check: please report it",
        ) from error
