"""The compose file, run: from empty volumes, through kills and restarts, and replaced in turn."""

from __future__ import annotations

import asyncio
import json
import re
import time
from itertools import count
from typing import Any
from urllib.parse import quote

import pytest

from harness.compose import DEPLOYED, IMAGE, WORKERS, Compose, run
from harness.system import tell
from harness.waiting import eventually
from tests.acceptance.deploy.test_deploy_dashboards import queries

pytestmark = [pytest.mark.compose, pytest.mark.timeout(900)]

TOKENS = 600
JOBS = {"database-roles", "migrate", "database-grants", "broker-users", "topology"}
UNLESS_LOST = "resolution_dead_letters_first_expiry_seconds"  # absent while no token is lost
PRICE = """
import json, resource, subprocess, sys
check, times = json.loads(sys.argv[1]), 20
for _ in range(times):
    subprocess.run(check, check=True)
used = resource.getrusage(resource.RUSAGE_CHILDREN)
print((used.ru_utime + used.ru_stime) / times * 1000)
"""

_tokens = count()


def report(line: str) -> None:
    """A line of what `make test-compose` prints."""
    tell(line, "COMPOSE_REPORT")


async def start(compose: Compose) -> float:
    """Start everything, as README.md says; the seconds until everything is healthy."""
    began = time.monotonic()
    compose("up", "--detach")
    await healthy(compose)
    return time.monotonic() - began


async def healthy(compose: Compose, workers: int = WORKERS) -> None:
    """Wait until all that runs is healthy, among it so many workers."""
    ends = time.monotonic() + 120
    while unhealthy := compose.unhealthy():
        assert time.monotonic() < ends, f"{unhealthy}: {compose('logs', '--tail=20')}"
        await asyncio.sleep(0.5)
    assert len(compose.containers("worker")) == workers


def publish(compose: Compose, tokens: int, lane: str = "live") -> None:
    """Publish tokens that the simulator resolves, none of them twice."""
    lines = "".join(f"ok-{next(_tokens)}\n" for _ in range(tokens))
    compose("run", "--rm", "-T", "publish", "publish", f"--lane={lane}", given=lines)


def settled(compose: Compose) -> int:
    """How many tokens have an outcome."""
    return int(compose.sql("SELECT count(*) FROM resolution.outcomes"))


async def at_least(compose: Compose, tokens: int) -> None:
    """Wait until so many tokens are settled."""

    async def enough() -> bool:
        await asyncio.sleep(0.5)
        return settled(compose) >= tokens

    await eventually(enough, f"{tokens} tokens are settled", 180)


async def all_resolved(compose: Compose, tokens: int) -> None:
    """Wait until all are settled: each is resolved, with an agreement of its own."""
    await at_least(compose, tokens)
    outcomes = compose.sql("SELECT status, count(*) FROM resolution.outcomes GROUP BY status")
    assert outcomes == f"resolved|{tokens}"
    assert compose.sql("SELECT count(*) FROM resolution.agreements") == str(tokens)
    await eventually(lambda: sum(queues(compose, "messages").values()) == 0, "no message is left")


def queues(compose: Compose, what: str) -> dict[str, int]:
    """Of each queue how many `messages` or `consumers` it has."""
    listing = ("rabbitmqctl", "-q", "list_queues", "--no-table-headers", "name", what)
    listed = compose("exec", "-T", "rabbitmq", *listing)
    return {name: int(number) for name, number in map(str.split, listed.splitlines())}


async def all_scraped(compose: Compose, workers: int) -> None:
    """Wait until Prometheus scrapes these workers, itself and Alertmanager, all of which are up."""

    async def up() -> bool:
        await asyncio.sleep(0.5)
        targets = compose.prometheus("targets")["activeTargets"]
        jobs = sorted(target["labels"]["job"] for target in targets)
        wanted = sorted(["alertmanager", "prometheus", *["resolution-worker"] * workers])
        return jobs == wanted and all(target["health"] == "up" for target in targets)

    await eventually(up, "every target is up", 120)


def series(compose: Compose, query: str) -> list[dict[str, Any]]:
    """The labels of what a query returns."""
    found = compose.prometheus(f"query?query={quote(query)}")["result"]
    return [result["metric"] for result in found]


async def nothing_alarms(compose: Compose) -> None:
    """Every rule can be evaluated; no alert has fired, and once all is quiet none is pending."""
    ends = time.monotonic() + 180
    while (found := (rules(compose), series(compose, "ALERTS"))) != ({"ok"}, []):
        assert time.monotonic() < ends, found
        await asyncio.sleep(0.5)
    assert series(compose, "count_over_time(ALERTS{alertstate='firing'}[1h])") == []


def rules(compose: Compose) -> set[str]:
    """How Prometheus's rules are: `ok`, `unknown` until they are evaluated, or `err`."""
    groups = compose.prometheus("rules")["groups"]
    return {rule["health"] for group in groups for rule in group["rules"]}


def empty_panels(compose: Compose, since: float) -> list[str]:
    """The dashboards' queries that have returned nothing since a time in seconds of the epoch."""
    shown = f"start={since}&end={time.time()}&step=15"
    return [
        query.where
        for query in queries()
        if UNLESS_LOST not in query.text
        and not compose.prometheus(f"query_range?query={quote(query.text)}&{shown}")["result"]
    ]


@pytest.mark.parametrize("number", range(1, 6))
async def test_everything_comes_up_from_empty_volumes(compose: Compose, number: int) -> None:
    """Every job ends well, every server and worker becomes healthy without a second start."""
    seconds = await start(compose)
    ended = [each for each in compose.containers(everything=True) if not each["State"]["Running"]]
    jobs = {each["Config"]["Labels"]["com.docker.compose.service"] for each in ended}
    assert jobs == JOBS
    assert {each["State"]["ExitCode"] for each in ended} == {0}
    assert {each["RestartCount"] for each in compose.containers()} == {0}
    cookie = ("stat", "--format=%U", "/var/lib/rabbitmq/.erlang.cookie")
    assert compose("exec", "-T", "rabbitmq", *cookie).strip() == "rabbitmq"
    compose("exec", "-T", "worker", "resolution-worker", "check")
    assert '"url":"http://simulator:8085"' in compose("logs", "worker")  # no key hides a word of it
    report(f"start {number} from empty volumes: everything healthy in {seconds:.0f} s")


async def test_tokens_settle_through_a_kill_and_a_restart_of_everything(compose: Compose) -> None:
    """Of 600 tokens none is lost, whatever is killed, restarted, added or taken away meanwhile."""
    await start(compose)
    compose("up", "--detach", "--scale", "worker=4")
    await healthy(compose, 4)
    await all_scraped(compose, 4)
    since, began = time.time(), time.monotonic()
    publish(compose, 100)
    await at_least(compose, 10)
    run("docker", "kill", "--signal", "KILL", compose.containers("worker")[0]["Id"])
    publish(compose, 400, "backlog")  # where no buyer waits: those would rightly raise an alert
    await at_least(compose, 200)
    compose("restart")
    await healthy(compose, 4)
    publish(compose, 100)
    compose("up", "--detach", "--scale", "worker=2")
    await all_resolved(compose, TOKENS)
    report(f"{TOKENS} tokens, one worker killed, all restarted: {time.monotonic() - began:.0f} s")
    await healthy(compose)
    await all_scraped(compose, WORKERS)
    await nothing_alarms(compose)
    assert empty_panels(compose, since) == []


async def test_publishing_runs_no_job_again(compose: Compose) -> None:
    """`publish` starts its own container alone."""
    await start(compose)
    before = ended_at(compose)
    publish(compose, 3)
    assert ended_at(compose) == before
    await all_resolved(compose, 3)


def ended_at(compose: Compose) -> dict[str, str]:
    """When each container that is not running has ended."""
    return {
        each["Name"]: each["State"]["FinishedAt"]
        for each in compose.containers(everything=True)
        if not each["State"]["Running"]
    }


async def test_workers_are_replaced_one_after_the_other(compose: Compose) -> None:
    """README.md's update while tokens come in: never fewer workers, and no token called twice."""
    await start(compose)
    old = {each["Id"] for each in compose.containers("worker")}
    compose.of_version("next")
    began = time.monotonic()
    updating = asyncio.create_task(asyncio.to_thread(run, "bash", "-euc", update(compose)))
    sent, fewest = 0, WORKERS
    while not updating.done():
        await asyncio.to_thread(publish, compose, 20)
        sent += 20
        fewest = min(fewest, queues(compose, "consumers")["resolution.tokens"])
    await updating
    seconds = time.monotonic() - began
    assert fewest == WORKERS
    new = compose.containers("worker")
    assert len(new) == WORKERS
    assert old.isdisjoint(each["Id"] for each in new)
    assert {each["Config"]["Labels"]["version"] for each in new} == {"next"}
    await all_resolved(compose, sent)
    assert resolved_calls(compose) == sent
    report(f"both workers replaced in {seconds:.0f} s, with {sent} tokens meanwhile")


def update(compose: Compose) -> str:
    """The commands of an update, as README.md gives them."""
    text = (DEPLOYED / "README.md").read_text(encoding="utf-8")
    found = re.search(r"^### Update[^\n]*\n.*?^```sh\n(.*?)^```", text, re.DOTALL | re.MULTILINE)
    assert found
    return found[1].replace("--file deploy/compose.yaml", " ".join(compose.options))


def resolved_calls(compose: Compose) -> int:
    """How many calls the simulator has answered with a customer."""
    asked = "from urllib.request import urlopen as u; "
    asked += "print(u('http://127.0.0.1:8085/_simulator/stats').read().decode())"
    stats = json.loads(compose("exec", "-T", "simulator", "python", "-c", asked))
    return int(stats["calls"]["ok"])


async def test_a_health_check_compiles_nothing(compose: Compose) -> None:
    """The image has the bytecode that its health check imports; what a check costs is printed."""
    await start(compose)
    inside = ("exec", "-T", "worker", "python", "-c")
    cached = "import http.client as c, pathlib; print(pathlib.Path(c.__cached__).exists())"
    assert compose(*inside, cached).strip() == "True"
    (image,) = json.loads(run("docker", "image", "inspect", IMAGE))
    for name, check in {
        "image": image["Config"]["Healthcheck"]["Test"][1:],
        "compose.yaml": compose.containers("worker")[0]["Config"]["Healthcheck"]["Test"][1:],
    }.items():
        cost = float(compose(*inside, PRICE, json.dumps(check)))
        report(f"health check of {name}: {cost:.0f} ms of CPU")
