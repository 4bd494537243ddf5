"""Users through the management interface, and what `check` says of who may hear answers."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from harness.installation import bare_environment
from harness.programs import COMMAND
from harness.servers import Permissions, shipped
from tests.acceptance.check_setups import sound_setup
from worker.adapters.rabbitmq.permissions import POLICY_BODY, ROLES, Rights, of_caller

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from harness.servers import Broker, BrokerServer, PostgresServer
    from tests.acceptance.check_setups import Setup

DEPLOYED = Path(__file__).parents[2] / "deploy" / "rabbitmq"


class Users:
    """The command, and a folder of passwords."""

    def __init__(self, broker: Broker, folder: Path) -> None:
        self.broker = broker
        self.passwords = folder / "passwords"
        self.passwords.mkdir()
        self._home = folder

    def password(self, user: str, text: str = "a secret word") -> None:
        """Put a user's password there."""
        (self.passwords / user).write_text(f"{text}\n")

    def make(self, *words: str, **settings: str) -> subprocess.CompletedProcess[str]:
        """Run `topology users`."""
        environment = {
            "WORKER_AMQP__URL": self.broker.url,
            "WORKER_AMQP__MANAGEMENT_URL": self.broker.management.url,
            **settings,
        }
        return subprocess.run(
            [COMMAND, "topology", "users", self.passwords, *words],
            env=bare_environment(self._home) | environment,
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )

    def call(self, *path: str) -> Any:
        """What the management interface says."""
        return self.broker.management.call("GET", *path)


@pytest.fixture
def users(broker: Broker, tmp_path: Path) -> Users:
    """No users yet."""
    return Users(broker, tmp_path)


def test_users_are_made_with_their_rights(users: Users) -> None:
    """Who has a file is made with the listed rights, topics and policy; the rest is left out."""
    vhost = users.broker.vhost
    shop, suffix = "shop", f"-{vhost}"  # users are the whole broker's, which other tests use too
    for user in (f"resolution_worker{suffix}", f"{shop}{suffix}"):
        users.password(user)
    done = users.make("--caller", shop, "--caller", "club", "--suffix", suffix)
    assert done.returncode == 0, done.stderr
    assert f"created    shop{suffix}" in done.stderr
    assert f"left out   club{suffix}: there is no file" in done.stderr
    assert "secret" not in done.stdout + done.stderr
    expected = of_caller(f"{shop}{suffix}")
    found = users.call("permissions", vhost, f"{shop}{suffix}")
    assert {name: found[name] for name in ("configure", "write", "read")} == {
        "configure": expected.configure,
        "write": expected.write,
        "read": expected.read,
    }
    (topic,) = users.call("topic-permissions", vhost, f"{shop}{suffix}")
    assert (topic["write"], topic["read"]) == (expected.publish, expected.bind)
    (policy,) = users.call("policies", vhost)
    assert {name: policy[name] for name in POLICY_BODY} == POLICY_BODY
    again = users.make("--caller", shop, "--suffix", suffix)
    assert again.returncode == 0, again.stderr
    assert f"updated    shop{suffix}" in again.stderr


@pytest.mark.long
def test_neither_a_password_nor_another_hosts_user_is_taken_over(users: Users) -> None:
    """Another password, rights elsewhere and an empty file are told, and nothing is changed."""
    vhost = users.broker.vhost
    name = f"shop-{vhost}"
    users.password(name)
    assert users.make("--caller", name).returncode == 0
    users.password(name, "another")
    done = users.make("--caller", name)
    assert done.returncode == 1
    assert f"refused    {name}: its password differs" in done.stderr
    users.password(name)
    users.broker.management.call("PUT", "vhosts", f"{vhost}-staging")
    try:
        url = users.broker.url + "-staging"
        done = users.make("--caller", name, WORKER_AMQP__URL=url)
        assert done.returncode == 1
        assert f"refused    {name}: it has rights in another virtual host" in done.stderr
        found = users.call("vhosts", f"{vhost}-staging", "permissions")
        assert name not in {each["user"] for each in found}
    finally:
        users.broker.management.call("DELETE", "vhosts", f"{vhost}-staging")
    users.password(name, "")
    done = users.make("--caller", name)
    assert done.returncode == 1
    assert "is empty" in done.stderr


@pytest.mark.long
def test_what_can_not_be_done_is_told(users: Users) -> None:
    """A bad name, no address, a wrong password and no server each end in words."""
    done = users.make("--caller", "a.*")
    assert (done.returncode, "a caller's name may contain" in done.stderr) == (2, True)
    done = users.make(WORKER_AMQP__MANAGEMENT_URL="")
    assert (done.returncode, "MANAGEMENT_URL is not set" in done.stderr) == (78, True)
    url = users.broker.management.base.replace("://", "://owner:wrong-word@")
    done = users.make(WORKER_AMQP__MANAGEMENT_URL=url)
    assert (done.returncode, "login refused" in done.stderr) == (1, True)
    assert "wrong-word" not in done.stderr
    done = users.make(WORKER_AMQP__MANAGEMENT_URL="http://owner:word@127.0.0.1:1")
    assert (done.returncode, "can't be reached" in done.stderr) == (69, True)


def rights_of(permissions: Permissions) -> Rights:
    """The shipped lists' rights in the program's form."""
    (topic,) = permissions.topics.values() if permissions.topics else ((None, None),)
    return Rights(permissions.configure, permissions.write, permissions.read, *topic)


def test_the_lists_and_the_program_agree() -> None:
    """`deploy/rabbitmq` and the program give each user the same."""
    for role, rights in ROLES.items():
        assert rights_of(shipped(role, role)) == rights
    assert rights_of(shipped("CALLER", "shop")) == of_caller("shop")


def test_the_definitions_agree(users: Users) -> None:
    """`definitions.json` has the same, with users who can't log in before they get a password."""
    told = json.loads((DEPLOYED / "definitions.json").read_text())
    named = {**ROLES, "resolution_web": of_caller("resolution_web")}
    assert {each["name"] for each in told["users"]} == set(named)
    assert all(each["password_hash"] == "" and each["tags"] == [] for each in told["users"])
    topics = {each["user"]: (each["write"], each["read"]) for each in told["topic_permissions"]}
    for each in told["permissions"]:
        rights = named[each["user"]]
        assert Rights(each["configure"], each["write"], each["read"]) == Rights(
            rights.configure, rights.write, rights.read
        )
        assert topics.get(each["user"]) == (
            None if rights.bind is None else (rights.publish, rights.bind)
        )
    (policy,) = told["policies"]
    assert {name: policy[name] for name in POLICY_BODY} == POLICY_BODY
    # A virtual host of its own takes all that is not the whole broker's.
    vhost = users.broker.vhost
    users.broker.management.call("POST", "definitions", vhost, body={"policies": [policy]})
    assert users.call("policies", vhost)[0]["name"] == "resolution"


# --- check ---


@pytest.fixture
def sound(
    broker_server: BrokerServer, postgres_server: PostgresServer, tmp_path: Path
) -> Iterator[Setup]:
    """A set-up that is well, and this test's own."""
    with sound_setup(broker_server, postgres_server, tmp_path) as setup:
        yield setup


def _user(setup: Setup, rights: Permissions) -> str:
    setup.broker.user(rights)
    return setup.broker.management.url


@pytest.mark.parametrize(
    ("rights", "fault"),
    [
        (Permissions(".*", ".*", ".*"), True),
        (Permissions("^$", "^mine$", r"^resolution\."), True),
        (Permissions(".*", ".*", ".*", {"resolution.events": (".*", ".*")}), True),
        (Permissions(".*", ".*", ".*", {"resolution.answers": ("^$", "^mine")}), False),
        (Permissions("^$", "^$", ".*"), False),
        (Permissions(".*", ".*", r"^resolution\.events$"), False),
    ],
)
@pytest.mark.sampled(3)
def test_who_may_bind_everything_is_told(sound: Setup, rights: Permissions, *, fault: bool) -> None:
    """A user who may bind and has no topic permission is a fault; one who has, or can't, is not."""
    url = _user(sound, rights)
    done = sound.check(WORKER_AMQP__MANAGEMENT_URL=url)
    found = done.findings["answers"]
    assert (found["state"] == "failed") is fault, found
    if fault:
        assert f"{sound.broker.vhost}-" in found["detail"]
        assert "topology users" in found["remedy"]
        assert done.code == 1


@pytest.mark.long
def test_the_exchange_of_before_is_noted(sound: Setup) -> None:
    """Where `resolution.replies` is still there, so is the hole in it."""
    management = sound.broker.management
    body = {"type": "direct", "durable": True}
    management.call("PUT", "exchanges", sound.broker.vhost, "resolution.replies", body=body)
    done = sound.check(WORKER_AMQP__MANAGEMENT_URL=management.url)
    assert done.code == 0, done.said
    assert "resolution.replies is there" in done.findings["answers"]["notes"][0]


@pytest.mark.parametrize("kind", ["policies", "operator-policies"])
def test_a_policy_that_loses_messages_is_told(sound: Setup, kind: str) -> None:
    """A catch-all that lets queues expire: ours above it shuts it out, but no operator policy."""
    management, vhost = sound.broker.management, sound.broker.vhost
    catch_all = {"pattern": ".*", "apply-to": "queues", "priority": 5}
    body = catch_all | {"definition": {"expires": 3_600_000}}
    management.call("PUT", kind, vhost, "catch-all", body=body)
    failed = _found(sound)
    assert failed["state"] == "failed"
    assert "catch-all (expires 3600000) deletes a queue that no worker uses" in failed["detail"]
    assert ("operator polic" in failed["remedy"]) is (kind == "operator-policies")
    management.call("PUT", "policies", vhost, "resolution", body=dict(POLICY_BODY))
    after = _found(sound)
    if kind == "policies":
        assert (after["state"], after["notes"]) == ("ok", [])
    else:
        assert (after["state"], after["remedy"]) == ("failed", failed["remedy"])


def test_policies_that_can_not_be_looked_at_are_no_good_news(sound: Setup) -> None:
    """Without the management interface that line is skipped, and says what is not known."""
    found = sound.check().findings["policies"]
    assert found["state"] == "skipped"
    assert "WORKER_AMQP__MANAGEMENT_URL is not set" in found["detail"]


def _found(sound: Setup) -> Mapping[str, Any]:
    url = sound.broker.management.url
    found: Mapping[str, Any] = sound.check(WORKER_AMQP__MANAGEMENT_URL=url).findings["policies"]
    return found
