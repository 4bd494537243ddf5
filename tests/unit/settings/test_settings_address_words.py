"""The words of addresses: what has a meaning is understood, all else is refused by its name."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from typer.testing import CliRunner

from worker.cli.main import app
from worker.core.addresses import amqp, postgres
from worker.settings import Settings, SettingsError, load

if TYPE_CHECKING:
    from collections.abc import Mapping

    from worker.core.addresses.words import Word

BROKER, DATABASE = "WORKER_AMQP__URL", "WORKER_POSTGRES__DSN"
BASES = {
    "amqp": (BROKER, "amqp://u:hunter2@127.0.0.1/"),
    "amqps": (BROKER, "amqps://u:hunter2@127.0.0.1/"),
    "postgres": (DATABASE, "postgresql://u:hunter2@127.0.0.1/x"),
}
# The kind of address, its query, and what the fault must name.
REFUSED = [
    ("amqp", "frame_max=131072", "frame_max"),
    ("amqp", "channel_max=16", "channel_max"),
    ("amqp", "heartbeat=0", "heartbeat"),
    ("amqp", "heartbeat=soon", "heartbeat"),
    ("amqp", "hearbeat=10", "hearbeat, which does not exist; did you mean heartbeat?"),
    ("amqp", "connection_timeout=30", "connection_timeout"),
    ("amqp", "timeout=5", "timeout, which can't be used here: write connection_timeout"),
    ("amqp", "auth_mechanism=gssapi", "auth_mechanism"),
    ("amqp", "auth_mechanism=external", "certfile"),
    ("amqp", "cafile=/etc/hostname", "cafile, which means something only with amqps://"),
    ("amqp", "verify=verify_peer", "verify, which means something only with amqps://"),
    ("amqps", "verify=peer", "verify"),
    ("amqps", "keyfile=/etc/hostname", "keyfile without certfile"),
    ("amqps", "cadata=%21", "cadata"),
    ("amqps", "cadata=AAAA", "cadata"),
    ("amqps", "server_name_indication=disable", "server_name_indication"),
    ("amqps", "cafile=/none/ca.pem", "cafile /none/ca.pem"),
    ("amqps", "cacertfile=/etc/passwd", "cacertfile /etc/passwd, which holds no certificate"),
    ("amqps", "capath=/none", "capath /none"),
    ("amqps", "certfile=/none/c.pem", "certfile /none/c.pem"),
    ("amqps", "auth_mechanism=external&certfile=/none/c.pem&keyfile=/none/k.pem", "keyfile /none"),
    ("postgres", "channel_binding=require", "channel_binding"),
    ("postgres", "gssencmode=require", "gssencmode"),
    ("postgres", "connect_timeout=0", "connect_timeout"),
    ("postgres", "connect_timeout=5s", "connect_timeout"),
    ("postgres", "keepalive_idle=30", "keepalive_idle, which does not exist; did you mean keep"),
    ("postgres", "keepalives_idle=-1", "keepalives_idle"),
    ("postgres", "load_balance_hosts=round-robin", "load_balance_hosts"),
    ("postgres", "service=main", "service"),
    ("postgres", "hostaddr=127.0.0.1", "hostaddr"),
    ("postgres", "requirepeer=postgres", "requirepeer"),
    ("postgres", "client_encoding=LATIN1", "client_encoding"),
    ("postgres", "statement_timeout=5s", "statement_timeout, which does not exist; a setting of"),
    ("postgres", "pgbouncer=true", "pgbouncer"),
    ("postgres", "schema=public", "schema"),
    ("postgres", "ssl=true", "ssl"),
    ("postgres", "sslmode=verify-ca&sslrootcert=system", "sslrootcert=system"),
    ("postgres", "sslmode=require&sslrootcert=system", "sslrootcert=system"),
    ("postgres", "sslnegotiation=direct", "sslnegotiation=direct"),
    ("postgres", "sslmode=verify-full&sslrootcert=/none/b.pem", "sslrootcert /none/b.pem"),
    ("postgres", "sslrootcert=/etc", "sslrootcert /etc, which can't be read: Is a directory"),
    ("postgres", "sslrootcert=/etc/passwd", "sslrootcert /etc/passwd, which holds no certificate"),
    ("postgres", "sslcrl=/etc/passwd", "sslcrl /etc/passwd, which holds no list"),
    ("postgres", "sslcert=/none/c.pem&sslkey=/none/k.pem", "sslkey /none/k.pem"),
    ("postgres", "passfile=/none/pgpass", "passfile /none/pgpass"),
    ("postgres", "passfile=/etc/passwd", "passfile /etc/passwd, which others may read"),
    ("postgres", "replication=database", "replication"),
    ("postgres", "port=1,2", "as many ports as hosts"),
]
UNDERSTOOD = [
    ("amqp", "heartbeat=30&connection_timeout=10000&auth_mechanism=plain"),
    ("amqps", "verify=verify_none&server_name_indication=broker.example"),
    ("amqps", "cacertfile=/etc/ssl/certs/ca-certificates.crt&capath=/etc/ssl/certs"),
    ("postgres", "connect_timeout=10&channel_binding=prefer&gssencmode=disable"),
    ("postgres", "keepalives=1&keepalives_idle=30&keepalives_interval=5&keepalives_count=3"),
    ("postgres", "tcp_user_timeout=20000&load_balance_hosts=random&fallback_application_name=x"),
    ("postgres", "application_name=web&options=-c%20statement_timeout%3D5s&client_encoding=utf8"),
    ("postgres", "sslrootcert=system"),
    ("postgres", "sslmode=&sslrootcert="),
    ("postgres", "port=5433&target_session_attrs=read-write"),
]
# What is written in a password without being encoded; nothing of it may be shown.
RAW = [
    "{scheme}://user:hun@ter2@127.0.0.1/x",
    "{scheme}://user:hun/ter2@127.0.0.1/x",
    "{scheme}://user:hun#ter2@127.0.0.1/x",
    "{scheme}://user:hun?ter2=1@127.0.0.1/x",
    "{scheme}://user:/hun@ter2@127.0.0.1/x",
    "{scheme}://user:hun?ter2&@127.0.0.1,127.0.0.2/x",
    "{scheme}://127.0.0.1/x?password=hun#ter2",
]
COMMANDS = [
    ["run"],
    ["migrate"],
    ["check"],
    ["status"],
    ["publish"],
    ["topology", "show"],
    ["topology", "declare"],
    ["dead-letters", "list"],
    ["rate"],
    ["pause", "--reason", "test"],
]


def told(environ: dict[str, str]) -> str:
    """The one fault of these settings."""
    with pytest.raises(SettingsError) as caught:
        load(environ=environ)
    (fault,) = caught.value.faults
    return fault


def environ_of(kind: str, query: str) -> dict[str, str]:
    """The setting for an address of this kind."""
    setting, base = BASES[kind]
    return {setting: f"{base}?{query}"}


@pytest.mark.parametrize(("kind", "query"), UNDERSTOOD)
def test_a_word_with_a_meaning_is_understood(kind: str, query: str) -> None:
    """Addresses as providers hand them out are taken as they are."""
    assert isinstance(load(environ=environ_of(kind, query)), Settings)


@pytest.mark.parametrize(("kind", "query", "names"), REFUSED)
def test_a_word_that_can_not_be_used_is_refused_by_name(
    kind: str, query: str, names: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With 78, before any connection: the fault names the setting and the word, no password."""
    for name, value in environ_of(kind, query).items():
        monkeypatch.setenv(name, value)
    ended = CliRunner().invoke(app, ["status"])
    assert ended.exit_code == 78
    (fault,) = ended.output.splitlines()
    assert fault.startswith(f"{BASES[kind][0]}: ")
    assert names in fault
    assert "hunter2" not in fault


@pytest.mark.parametrize("command", COMMANDS, ids=" ".join)
def test_all_commands_tell_the_same(command: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    """Whichever command meets it first, and whether it uses that address or not."""
    environ = environ_of("amqps", "cafile=/none/ca.pem&frame_maxx=1")
    environ |= environ_of("postgres", "sslrootcert=/none/b.pem&channel_binding=prefer")
    for name, value in environ.items():
        monkeypatch.setenv(name, value)
    ended = CliRunner().invoke(app, command)
    assert ended.exit_code == 78
    assert "frame_maxx, which does not exist; did you mean frame_max?" in ended.output
    assert "sslrootcert /none/b.pem" in ended.output


@pytest.mark.parametrize(("kind", "query", "names"), [REFUSED[0], REFUSED[16], REFUSED[39]])
def test_the_real_command_line_tells_it(kind: str, query: str, names: str) -> None:
    """No traceback, one line, exit code 78."""
    ended = subprocess.run(
        [sys.executable, "-m", "worker", "migrate"],
        env={**os.environ, **environ_of(kind, query)},
        capture_output=True,
        text=True,
        check=False,
        timeout=30,
    )
    assert ended.returncode == 78
    (line,) = ended.stderr.splitlines()
    assert names in line


@pytest.mark.parametrize("address", RAW)
@pytest.mark.parametrize(
    ("setting", "scheme"),
    [(BROKER, "amqp"), (DATABASE, "postgresql"), ("WORKER_AMQP__MANAGEMENT_URL", "http")],
)
def test_an_unencoded_password_is_refused_unseen(setting: str, scheme: str, address: str) -> None:
    """A character that ends the password early is refused; neither half of it is shown."""
    fault = told({setting: address.format(scheme=scheme)})
    assert "percent-encoded" in fault
    assert "hun" not in fault
    assert "ter2" not in fault


def test_a_word_beside_a_password_in_the_query_is_not_shown() -> None:
    """An unencoded & makes a word of half a password."""
    fault = told(environ_of("postgres", "password=hun&ter2=1"))
    assert "has a word in its query that does not exist" in fault
    assert "ter2" not in fault.replace("hunter2", "")


def test_all_faults_of_the_words_are_told_at_once() -> None:
    """Nobody corrects an address word by word."""
    fault = told(environ_of("postgres", "service=x&schema=y&channel_binding=require"))
    assert all(word in fault for word in ("service", "schema", "channel_binding"))


def test_a_private_key_that_belongs_to_another_certificate(tmp_path: Path) -> None:
    """Files are looked at together where they belong together."""
    for name in ("a", "b"):
        subprocess.run(
            [
                *("openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt"),
                *("ec_paramgen_curve:P-256", "-nodes", "-subj", f"/CN={name}"),
                *("-keyout", str(tmp_path / f"{name}.key"), "-out", str(tmp_path / f"{name}.pem")),
            ],
            check=True,
            capture_output=True,
        )
    files = f"certfile={tmp_path}/a.pem&keyfile={tmp_path}/{{}}.key"
    assert "does not belong" in told(environ_of("amqps", files.format("b")))
    settings = load(environ=environ_of("amqps", files.format("a") + "&auth_mechanism=external"))
    assert amqp.read(settings.current_amqp_url()).external


def test_words_mean_what_they_say() -> None:
    """What is read of an address is what its words say."""
    broker = amqp.read(
        "amqps://b%40b:p%2Fw@a:1,[::1],c/v%2Fh?heartbeat=7&connection_timeout=1500&verify=verify_none"
    )
    assert broker.place == "a:1,[::1]:5671,c:5671"
    assert (broker.user, broker.password, broker.vhost) == ("b@b", "p/w", "v/h")
    assert (broker.heartbeat, broker.seconds, broker.verified) == (7, 1.5, False)
    assert "p/w" not in repr(broker)
    database = postgres.read(
        "postgresql:///?host=a,/run/x&port=1,2&dbname=d&user=u&password=hunter2&connect_timeout=9"
        "&sslrootcert=system"
    )
    assert [*database.hosts] == [("a", 1), ("/run/x", 2)]
    assert (database.user, database.password, database.database) == ("u", "hunter2", "d")
    assert (database.seconds, database.sslmode) == (9, "verify-full")
    assert "hunter2" not in repr(database)


@pytest.mark.parametrize(
    ("table", "meant_as_in_libpq"),
    [
        (amqp.WORDS, set()),
        (
            postgres.WORDS,
            {name for name in postgres.WORDS if name.startswith(("ssl", "min_", "max_", "gss"))}
            | {"database", "krbsrvname", "fallback_application_name", "client_encoding"}
            | {"replication"},
        ),
    ],
)
def test_the_words_are_documented(table: Mapping[str, Word], meant_as_in_libpq: set[str]) -> None:
    """Every word that has a meaning is in the documentation, or means what it means to libpq."""
    page = (Path(__file__).parents[3] / "docs" / "addresses.md").read_text(encoding="utf-8")
    usable = {name for name, word in table.items() if word.accepts}
    assert not [name for name in usable - meant_as_in_libpq if f"`{name}" not in page]
