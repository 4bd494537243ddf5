"""What the demo's processes find in their environment."""

from __future__ import annotations

from worker.lab.demo import servers
from worker.lab.demo.shared_broker import DELAYS
from worker.settings import load

THEIRS = {
    "PATH": "/usr/bin",
    "WORKER_AWS__REGION": "eu-west-1",
    "WORKER_CONFIG": "/etc/worker.toml",
    "WORKER_SECRETS_DIR": "/run/secrets",
    "AWS_ACCESS_KEY_ID": "AKIDREAL",
    "AWS_PROFILE": "production",
    "https_proxy": "http://proxy:3128",
    "HTTP_PROXY": "http://proxy:3128",
}


def test_nothing_of_the_persons_own_settings_gets_through() -> None:
    """Settings of the worker, AWS's and proxies stay outside; the rest of the environment stays."""
    assert servers.plain(THEIRS) == {"PATH": "/usr/bin"}


def test_only_servers_that_are_named_are_used() -> None:
    """An address that is absent, blank, or only an administrator's names no server."""
    found = servers.named(
        {"WORKER_AMQP__URL": " ", "WORKER_POSTGRES__ADMIN_DSN": "postgresql://a@b/c"}
    )

    assert found == {}


def test_named_servers_keep_their_administrators() -> None:
    """A named server is used with all the addresses that name it."""
    broker = {"WORKER_AMQP__URL": "amqp://a@b/", "WORKER_AMQP__ADMIN_URL": "amqp://c@b/"}
    database = {"WORKER_POSTGRES__DSN": "postgresql://a@b/c"}
    named = {**broker, **database, "WORKER_ALLOW_PLAINTEXT": "true"}

    assert servers.named({**THEIRS, **named}) == named


def test_the_settings_are_ones_that_the_worker_accepts() -> None:
    """A worker accepts what the demo sets, and calls the simulator with a key of its own."""
    seal_key = "A" * 43 + "="
    found = servers.settings(seal_key) | {servers.ENDPOINT: "http://127.0.0.1:8085"}
    settings = load(environ=found)

    assert settings.aws.endpoint_url == "http://127.0.0.1:8085"
    assert {delay.text for delay in settings.retry.delays} == set(DELAYS)
    assert settings.faults_for_run() == []
