"""Who is told of which alert, and that one outage tells of itself once, by a real Alertmanager."""

from __future__ import annotations

import json
import socket
import subprocess
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.request import Request, urlopen

import pytest
from ruamel.yaml import YAML

from harness.waiting import eventually
from tests.acceptance.deploy.prometheus_programs import UNPACKED, program, run

if TYPE_CHECKING:
    from collections.abc import Iterator

DEPLOYED = Path(__file__).parents[3] / "deploy"
SHIPPED = DEPLOYED / "alertmanager" / "alertmanager.yml"

# What one cause raises, its own alert first: whoever is told of that is told of nothing else.
# `@b` is the instance, where there is one.
OUTAGES = {
    "no worker is left": "NoWorker WorkerDown@a WorkerDown@b CrashLoop@a BuyersWait QueueGrows "
    "BuyerStuck Unready LedgerUnavailable BrokerUnavailable CallsStopped",
    "the database is down": "LedgerUnavailable Unready BuyerStuck BuyersWait ReplicaUnready@a "
    "ReplicaUnready@b QueueGrows RetentionStalled ObjectiveSlow",
    "the broker is down": "BrokerUnavailable Unready BuyerStuck BuyersWait ReplicaUnready@a "
    "ReplicaUnready@b QueueGrows EventsWait AnswersDropped RepliesUnroutable ObjectiveSlow",
    "AWS refuses all": "CallsStopped Unready BuyerStuck BuyersWait ReplicaUnready@a "
    "ReplicaRefused@b QueueGrows ObjectiveSlow",
    "a queue was deleted": "QueueLost BuyersWait ObjectiveSlow",
    "all clocks are off": "Unready BuyerStuck BuyersWait ReplicaUnready@a ReplicaUnready@b "
    "QueueGrows ObjectiveSlow",
    "a pause is forgotten": "PauseForgotten BuyerStuck BuyersWait QueueGrows ObjectiveSlow",
    "a call hangs": "BuyerStuck BuyersWait QueueGrows ObjectiveSlow",
    "the quota is too small": "BuyersWait QueueGrows ObjectiveSlow",
    "AWS answers with nonsense": "TokensLost DeadLettersRedeemable DeadLettersExpire ObjectiveSlow",
    "a dead letter is forgotten": "DeadLettersExpire DeadLettersRedeemable",
    "the seller account is wrong": "AllRejected Junk",
    "a replica starts again and again": "CrashLoop@b WorkerDown@b ReplicaUnready@b",
    "AWS refuses one replica": "ReplicaRefused@b ReplicaUnready@b",
}
# What has a cause of its own is told of, too: each word here.
APART = {
    "one replica loops, another is down": "CrashLoop@b WorkerDown@a",
    "one replica is refused, another unready": "ReplicaRefused@b ReplicaUnready@a",
    "a lost queue is not acknowledged, and the broker fails": "QueueLost BrokerUnavailable",
    "a lost queue is not acknowledged, and calls stop": "QueueLost CallsStopped",
    "the database is down, and a letter expires": "LedgerUnavailable DeadLettersExpire",
    "buyers are turned away, and others lost": "AllRejected TokensLost BuyersWait",
}


def severities() -> dict[str, str]:
    """The severity of each alert by name."""
    groups = YAML(typ="safe").load(DEPLOYED / "prometheus" / "alerts.yml")["groups"]
    rules = [rule for group in groups for rule in group["rules"] if "alert" in rule]
    return {rule["alert"]: rule["labels"]["severity"] for rule in rules}


def labels(word: str, cluster: str, environment: str = "production") -> dict[str, str]:
    """The labels of an alert that is written as above."""
    name, _, instance = word.partition("@")
    found = {
        "alertname": f"Resolution{name}",
        "severity": severities()[f"Resolution{name}"],
        "environment": environment,
        "cluster": cluster,
        "job": "resolution-worker",
    }
    return {**found, "instance": instance} if instance else found


@contextmanager
def alertmanager(home: Path) -> Iterator[str]:
    """An Alertmanager with the deployed configuration on loopback; its address."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = [
        program("alertmanager"),
        f"--config.file={SHIPPED}",
        f"--storage.path={home}",
        f"--web.listen-address=127.0.0.1:{port}",
        "--cluster.listen-address=",
    ]
    # Debian's finds its templates in the folder into which `make prometheus` has unpacked it.
    where = UNPACKED if UNPACKED.exists() else home
    with (
        (home / "log").open("wb") as log,
        subprocess.Popen(command, cwd=where, stderr=log) as process,
    ):
        try:
            yield f"http://127.0.0.1:{port}/api/v2"
        finally:
            process.terminate()


def ask(address: str, body: Any = None) -> Any:
    """What its API answers; None while it does not."""
    data = None if body is None else json.dumps(body).encode()
    request = Request(address, data, {"Content-Type": "application/json"})  # noqa: S310 - loopback
    try:
        with urlopen(request, timeout=5) as answer:  # noqa: S310
            return json.loads(answer.read() or b"true")
    except OSError:
        return None


async def told(home: Path, *posted: dict[str, str]) -> list[dict[str, str]]:
    """The labels of those of these alerts that are not left out."""
    with alertmanager(home) as address:

        async def is_up() -> bool:
            return ask(f"{address}/status") is not None

        await eventually(is_up, "Alertmanager answers")
        assert ask(f"{address}/alerts", [{"labels": each} for each in posted])
        found: list[Any] = []

        async def all_are_judged() -> bool:
            found[:] = ask(f"{address}/alerts") or []
            states = [alert["status"]["state"] for alert in found]
            return len(states) == len(posted) and "unprocessed" not in states

        await eventually(all_are_judged, "every alert is active or left out")
    return [alert["labels"] for alert in found if not alert["status"]["inhibitedBy"]]


def words_by_cluster(alerts: list[dict[str, str]]) -> dict[str, set[str]]:
    """The alerts of each cluster, written as above."""
    found: dict[str, set[str]] = {}
    for each in alerts:
        instance = f"@{each['instance']}" if "instance" in each else ""
        word = each["alertname"].removeprefix("Resolution") + instance
        found.setdefault(each["cluster"], set()).add(word)
    return found


async def test_one_outage_tells_of_itself_and_of_nothing_else(tmp_path: Path) -> None:
    """Of all that a cause raises only its own alert is told; what has another cause is too."""
    posted = [
        labels(word, cause) for cause, words in (OUTAGES | APART).items() for word in words.split()
    ]
    expected = {cause: {words.split()[0]} for cause, words in OUTAGES.items()}
    expected |= {causes: set(words.split()) for causes, words in APART.items()}
    assert words_by_cluster(await told(tmp_path, *posted)) == expected


async def test_an_outage_leaves_out_nothing_of_another_installation(tmp_path: Path) -> None:
    """Staging's outage does not hide production's, nor one cluster's another's."""
    posted = [
        labels("NoWorker", "eu", "staging"),
        labels("BuyersWait", "eu", "staging"),
        labels("BuyersWait", "eu", "production"),
        labels("BuyersWait", "us", "staging"),
    ]
    found = await told(tmp_path, *posted)
    assert sorted(found, key=str) == sorted((posted[0], *posted[2:]), key=str)


def test_every_alert_that_another_follows_from_is_known() -> None:
    """The rules name only alerts that there are, and each rule leaves out something."""
    names = severities()
    for rule in YAML(typ="safe").load(SHIPPED)["inhibit_rules"]:
        text = " ".join((*rule["source_matchers"], *rule["target_matchers"]))
        for start, several in _named(text):
            for name in several:
                assert f"{start}{name}" in names, rule
        assert rule["equal"][:2] == ["environment", "cluster"]


def _named(text: str) -> list[tuple[str, list[str]]]:
    found = []
    for quoted in text.split('"')[1::2]:
        start, _, several = quoted.partition("(")
        if "." not in quoted:
            found.append((start, several.rstrip(")").split("|")))
    return found


@pytest.mark.parametrize("name", severities())
def test_each_alert_goes_to_who_is_meant(name: str) -> None:
    """A page goes to `page` and a ticket to `ticket`."""
    tested = run(
        *("amtool", "config", "routes", "test", f"--config.file={SHIPPED}"),
        *(f"alertname={name}", f"severity={severities()[name]}", "environment=production"),
    )
    assert tested.stdout.split() == [severities()[name]], tested.stderr


def test_other_alerts_go_to_nobody() -> None:
    """What else a Prometheus sends is none of this configuration's business."""
    tested = run(
        *("amtool", "config", "routes", "test", f"--config.file={SHIPPED}"),
        *("alertname=DiskFull", "severity=page"),
    )
    assert tested.stdout.split() == ["nobody"], tested.stderr


def test_alertmanager_accepts_the_configuration_which_tells_nobody() -> None:
    """The shipped file is valid, and its receivers are placeholders that send nothing."""
    checked = run("amtool", "check-config", str(SHIPPED))
    assert checked.returncode == 0, checked.stdout + checked.stderr
    receivers = YAML(typ="safe").load(SHIPPED)["receivers"]
    assert receivers == [{"name": name} for name in ("page", "ticket", "nobody")]


def test_a_second_cause_is_a_notification_of_its_own() -> None:
    """Pagers that take a group for one incident are told anew of each cause, and soon again."""
    pages, tickets = YAML(typ="safe").load(SHIPPED)["route"]["routes"]
    for route in (pages, tickets):
        assert route["group_by"] == ["environment", "cluster", "alertname"]
    assert pages["repeat_interval"] == "1h"
