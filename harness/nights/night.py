"""A night: what breaks, whom it wakes, and the play of it from a calm evening to the end."""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

from harness.nights.monitoring import monitoring
from harness.nights.runbook import Command, runbook
from harness.nights.site import site
from harness.waiting import GENEROUS_SECONDS, eventually

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Coroutine, Mapping
    from contextlib import AbstractAsyncContextManager
    from pathlib import Path

    from harness.nights.hosts import Hosts
    from harness.nights.monitoring import Monitoring, Notification
    from harness.nights.runbook import Step
    from harness.nights.site import Site

_LATE: Final = (
    3  # how many times its bound an alert is waited for, so that the report says how late
)
_CLEAR_SECONDS: Final = 9000  # of real time
_AFTER_SECONDS: Final = 330  # of real time; Alertmanager sends what is new in a group after 300


@dataclass(slots=True)
class Scene:
    """What a night has around it.

    Attributes:
        sites: All of them, by environment.
        monitoring: What watches over them.
        folder: For whatever it writes.
    """

    sites: dict[str, Site]
    monitoring: Monitoring
    folder: Path

    @property
    def site(self) -> Site:
        """The one that breaks."""
        return next(iter(self.sites.values()))

    async def until(self, query: str, seconds: float = GENEROUS_SECONDS) -> None:
        """Wait until a query of Prometheus's returns something."""

        async def found() -> bool:
            return bool((await self.monitoring.ask("query", query=query) or {}).get("result"))

        await eventually(found, query, seconds)


@dataclass(frozen=True, slots=True)
class Night:
    """One thing that breaks.

    Attributes:
        name: What breaks, in a few words.
        alert: The alert that is to say so.
        breaks: Breaks it; when its block ends, it has mended what the page says that somebody mends
            without a command.
        bound: The most seconds of real time from then to the notification.
        pages: How many pages it sends: one, or none if the alert is a ticket.
        workers: How many workers there are.
        environments: The sites; it is the first that breaks.
        settings: The workers', besides the defaults.
        case: The heading in the alert's page that is this case's, if it has several.
        faster: How many times faster than in reality.
        quick: Whether `make test` plays it.
    """

    name: str
    alert: str
    breaks: Callable[[Scene], AbstractAsyncContextManager[None]]
    bound: float
    pages: int = 1
    workers: int = 2
    environments: tuple[str, ...] = ("production",)
    settings: Mapping[str, str] = field(default_factory=dict)
    case: str = ""
    faster: int = 60
    quick: bool = False


NIGHTS: Final[list[Night]] = []


Story = Callable[["Scene"], "AsyncIterator[None]"]


def night(name: str, alert: str, bound: float, **more: Any) -> Callable[[Story], Story]:
    """Add a night: decorates a generator that breaks, yields, and mends what no command does.

    Args:
        name: As for `Night`.
        alert: As for `Night`.
        bound: As for `Night`.
        more: Other attributes of `Night`.
    """

    def add(story: Story) -> Story:
        NIGHTS.append(Night(name, alert, asynccontextmanager(story), bound, **more))
        return story

    return add


@dataclass(slots=True)
class Played:
    """What a night was like.

    Attributes:
        told: Seconds, as run, to the first notification of the alert; None if there was none.
        cleared: Seconds, as run, from when it was mended to the notification that it is over.
        pages: The alerts of each page that was sent.
        tickets: The alerts of each other notification that was sent.
        commands: How many of the page's commands were run.
        faults: Everything that was not as it should be.
    """

    night: Night
    told: float | None = None
    cleared: float | None = None
    pages: list[str] = field(default_factory=list)
    tickets: list[str] = field(default_factory=list)
    commands: int = 0
    faults: list[str] = field(default_factory=list)


@asynccontextmanager
async def scene(night: Night, hosts: Hosts, folder: Path) -> AsyncIterator[Scene]:
    """The sites of a night, all well, until the block ends."""
    async with AsyncExitStack() as stack:
        sites = {
            name: await stack.enter_async_context(
                site(hosts, folder / name, name, night.workers, night.settings)
            )
            for name in night.environments
        }
        watching = monitoring(list(sites.values()), folder / "monitoring", night.faster)
        watch = await stack.enter_async_context(watching)
        await watch.calm(night.workers * len(sites))
        yield Scene(sites, watch, folder)


async def play(night: Night, hosts: Hosts, folder: Path) -> Played:
    """Play a night to its end."""
    played = Played(night)
    async with scene(night, hosts, folder) as on, AsyncExitStack() as broken:
        watch, page = on.monitoring, runbook(night.alert)
        await broken.enter_async_context(night.breaks(on))
        began = time.monotonic()
        said = await _told(watch, night, played)
        if said is not None:
            played.told = max(0.0, said.at - began)
            await _mend(page.steps(night.case), on.site, broken, played)
        await broken.aclose()
        mended = time.monotonic()
        ended = await _over(watch, said, played) if said is not None else None
        if ended is not None:
            played.cleared = max(0.0, ended - mended)
            for check in page.checks:
                await _run(check.converge(on.site), played)
            await _quiet(watch, played)
        _judge(watch.notifications, played)
    return played


async def _told(watch: Monitoring, night: Night, played: Played) -> Notification | None:
    """The notification of the night's alert; None, and a fault, if it does not come."""

    def first() -> Notification | None:
        return next((each for each in watch.notifications if night.alert in each.new), None)

    try:
        return await eventually(first, "the notification", _LATE * night.bound / night.faster)
    except AssertionError:
        played.faults.append(f"{night.alert} was not notified; firing: {await watch.alerts()}")
        return None


async def _mend(steps: list[Step], site: Site, broken: AsyncExitStack, played: Played) -> None:
    """Do what a page says."""
    for step in steps:
        if isinstance(step, Command):
            await _run(step.run(site), played)
        else:
            await broken.aclose()


async def _run(command: Coroutine[Any, Any, None], played: Played) -> None:
    played.commands += 1
    try:
        await command
    except AssertionError as error:
        played.faults.append(str(error))


async def _over(watch: Monitoring, said: Notification, played: Played) -> float | None:
    """When it was notified that the alert is over; None, and a fault, if it is not."""

    def over() -> float | None:
        last = [each for each in watch.notifications if each.group == said.group][-1]
        return None if played.night.alert in last.firing else last.at

    faster = played.night.faster
    try:
        return await eventually(over, "the alert is over", _CLEAR_SECONDS / faster)
    except AssertionError:
        played.faults.append(f"{played.night.alert} does not end; firing: {await watch.alerts()}")
        return None


async def _quiet(watch: Monitoring, played: Played) -> None:
    """Wait until nothing that wakes people fires, and for as long as belated notifications take."""

    async def nothing_fires() -> bool:
        return "page" not in {labels["severity"] for labels in await watch.alerts()}

    since, faster = time.monotonic(), played.night.faster
    try:
        await eventually(nothing_fires, "no page fires", _CLEAR_SECONDS / faster)
    except AssertionError:
        played.faults.append(f"something fires for ever: {await watch.alerts()}")
    after = _AFTER_SECONDS / faster
    await eventually(lambda: time.monotonic() - since > after, "nothing is under way", 2 * after)


def _judge(notifications: list[Notification], played: Played) -> None:
    """Compare what was sent with what should have been."""
    night = played.night
    for each in notifications:
        if each.new:
            (played.pages if each.is_page else played.tickets).append(" ".join(sorted(each.new)))
    if len(played.pages) != night.pages:
        played.faults.append(f"{len(played.pages)} pages instead of {night.pages}: {played.pages}")
    environments = {labels["environment"] for each in notifications for labels in each.labels}
    if environments - {night.environments[0]}:
        played.faults.append(f"alerts of {environments}, where {night.environments[0]} is broken")
    if played.told is not None and played.told * night.faster > night.bound:
        seconds = played.told * night.faster
        played.faults.append(f"told after {seconds:.0f} s of real time, bound {night.bound:.0f} s")
