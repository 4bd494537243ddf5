"""Set-ups that are wrong in one way each: `check` and a worker name that one in the same words."""

from __future__ import annotations

import asyncio
import base64
import json
import re
from contextlib import ExitStack
from dataclasses import dataclass
from enum import Enum, auto
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import pytest

from harness.network_faults import NetworkFaults
from harness.programs import Worker
from harness.servers import Permissions
from harness.waiting import eventually
from tests.acceptance.check_setups import ACCESS_KEY, ACCOUNT, SECRETS, dsn, sound_setup
from worker.adapters.rabbitmq.declaration import declare
from worker.adapters.rabbitmq.topology import topology
from worker.adapters.sealing import generate

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from harness.servers import BrokerServer, PostgresServer
    from tests.acceptance.check_setups import Done, Setup

_WRITE = r"^resolution\.(internal|retry\..+|answers|replies|events|state)$"
_READ = r"^resolution\.(tokens|backlog|crowd|parked|retry\..+)$"
_NAMED_SECONDS = 20.0
"""A dependency that hangs is named within five seconds; the rest is room for a busy machine."""


@pytest.fixture(scope="module")
def sound(
    broker_server: BrokerServer,
    postgres_server: PostgresServer,
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[Setup]:
    """A set-up that is well; a test breaks a part of it and mends that again."""
    home = tmp_path_factory.mktemp("check")
    with sound_setup(broker_server, postgres_server, home) as setup:
        yield setup


@pytest.fixture
def setup(sound: Setup) -> Iterator[Setup]:
    """The same, with what this test breaks mended at its end."""
    with ExitStack() as breaking:
        sound.breaking = breaking
        yield sound


class Told(Enum):
    """How a worker tells what is wrong.

    Attributes:
        READYZ: At `/readyz`.
        CALL: Likewise, once there is a token to be called for.
        EXIT: It refuses to start.
        NOT: It does not: it works all the same, or needs other rights to see it.
    """

    READYZ = auto()
    CALL = auto()
    EXIT = auto()
    NOT = auto()


@dataclass(frozen=True, slots=True)
class Broken:
    """One broken set-up.

    Attributes:
        name: What is broken.
        settings: Breaks it; returns the settings that differ from those of the sound set-up.
        check: The one check that must fail.
        detail: Words of what it says.
        remedy: Words of what it says to do.
        code: The exit code of `check`.
        told: How a worker tells it.
    """

    name: str
    settings: Callable[[Setup], Mapping[str, str]]
    check: str
    detail: str
    remedy: str
    code: int = 69
    told: Told = Told.READYZ


def _amqp(setup: Setup, **parts: str) -> Mapping[str, str]:
    where = urlsplit(setup.worker_url)
    given = {
        "user": where.username,
        "password": where.password,
        "host": where.hostname,
        "port": where.port,
        "vhost": where.path[1:],
    } | parts
    scheme = "amqps" if given["host"] != "127.0.0.1" else "amqp"
    return {
        "WORKER_AMQP__URL": scheme + "://{user}:{password}@{host}:{port}/{vhost}".format(**given)
    }


def _rights(setup: Setup, rights: Permissions | None) -> Mapping[str, str]:
    return {"WORKER_AMQP__URL": setup.user(setup.broker, rights)}


def _empty_vhost(setup: Setup) -> Mapping[str, str]:
    url = setup.other_broker().url
    return {"WORKER_AMQP__URL": url, "WORKER_AMQP__ADMIN_URL": url}


def _classic_queue(setup: Setup) -> Mapping[str, str]:
    broker = setup.other_broker()
    broker.management.call(
        "PUT", "queues", broker.vhost, "resolution.tokens", body={"durable": True}
    )
    wanted = topology({"5s": 5.0, "30s": 30.0, "2m": 120.0})
    with pytest.raises(Exception, match=r"resolution\.tokens"):
        asyncio.run(declare(broker.url, wanted))
    return {"WORKER_AMQP__URL": broker.url, "WORKER_AMQP__ADMIN_URL": broker.url}


def _dsn(setup: Setup, **parts: str) -> Mapping[str, str]:
    where = urlsplit(setup.environment()["WORKER_POSTGRES__DSN"])
    given = {
        "user": where.username,
        "password": where.password,
        "host": where.hostname,
        "port": where.port,
        "database": where.path[1:],
    } | parts
    return {
        "WORKER_POSTGRES__DSN": (
            "postgresql://{user}:{password}@{host}:{port}/{database}?sslmode={mode}".format(
                **given, mode="verify-full" if given["host"] != "127.0.0.1" else "prefer"
            )
        )
    }


def _network_faults(setup: Setup) -> NetworkFaults:
    return setup.breaking.enter_context(NetworkFaults(setup.home))


def _tls_broker(setup: Setup, scheme: str, name: str, query: str = "") -> Mapping[str, str]:
    """The address of a port that speaks TLS, with a certificate for a name."""
    way = _network_faults(setup)
    certificate = way.certificate(name)
    url = f"{scheme}://u:hidden-one@127.0.0.1:{way.tls(certificate)}/"
    return {"WORKER_AMQP__URL": url + query.format(file=certificate)}


def _latin(setup: Setup) -> Mapping[str, str]:
    latin = setup.postgres_server.database("template0", "LATIN1")
    return {"WORKER_POSTGRES__DSN": dsn(setup.breaking.enter_context(latin))}


def _after(setup: Setup, *statements: str) -> Mapping[str, str]:
    return {"WORKER_POSTGRES__DSN": setup.database_after(*statements)}


def _answering(setup: Setup, code: str, message: str, status: int = 400) -> Mapping[str, str]:
    setup.fault(code, message, status)
    return {}


def _calling(url: str) -> Mapping[str, str]:
    # AWS's own STS is never asked.
    return {"WORKER_AWS__ENDPOINT_URL": url, "AWS_ENDPOINT_URL_STS": "http://127.0.0.1:9"}


def _management(setup: Setup) -> str:
    return setup.broker.management.base


def _port_of(url: str) -> str:
    return str(urlsplit(url).port)


_BROKER = (
    Broken(
        "broker: unknown host",
        lambda s: _amqp(s, host="broker.invalid"),
        "broker",
        r"host name broker\.invalid can't be resolved",
        "WORKER_AMQP__URL",
    ),
    Broken(
        "broker: nothing listens",
        lambda s: _amqp(s, port=str(s.closed_port())),
        "broker",
        "connection refused",
        "is the broker running there",
    ),
    Broken(
        "broker: hangs",
        lambda s: _amqp(s, port=str(s.silent_port())),
        "broker",
        "no answer in time",
        "firewall",
    ),
    Broken(
        "broker: another protocol",
        lambda s: _amqp(s, port=_port_of(s.database.dsn)),
        "broker",
        r"broker at 127\.0\.0\.1:\d+: .",
        "is this its AMQP port",
    ),
    Broken(
        "broker: TLS to a port without it",
        lambda s: {"WORKER_AMQP__URL": s.worker_url.replace("amqp:", "amqps:")},
        "broker",
        "TLS failed",
        "is this its TLS port",
    ),
    Broken(
        "broker: no TLS to a port with it",
        lambda s: _tls_broker(s, "amqp", "IP:127.0.0.1"),
        "broker",
        r"broker at 127\.0\.0\.1:\d+: .",
        "is this its AMQP port",
    ),
    Broken(
        "broker: an authority that is not trusted",
        lambda s: _tls_broker(s, "amqps", "IP:127.0.0.1"),
        "broker",
        "its certificate is not trusted",
        "cafile",
    ),
    Broken(
        "broker: a certificate of another host",
        lambda s: _tls_broker(s, "amqps", "DNS:other.example", "?cafile={file}"),
        "broker",
        "its certificate is not trusted",
        "a host name that the certificate",
    ),
    Broken(
        "broker: wrong password",
        lambda s: _amqp(s, password="another"),
        "broker",
        "login refused",
        "check user and password",
    ),
    Broken(
        "broker: missing virtual host",
        lambda s: _amqp(s, vhost="nowhere"),
        "broker",
        "virtual host is refused",
        "create the virtual host",
    ),
    Broken(
        "broker: a user without any right",
        lambda s: _rights(s, None),
        "broker",
        "virtual host is refused",
        "grant the user permissions on it",
    ),
    Broken(
        "topology: missing",
        _empty_vhost,
        "topology",
        r"missing on the broker: exchange resolution, .+, queue resolution\.tokens$",
        "resolution-worker topology declare",
        1,
    ),
    Broken(
        "topology: a retry queue is missing",
        lambda _: {"WORKER_RETRY__DELAYS": "5s,7s"},
        "topology",
        r"missing on the broker: exchange resolution\.retry\.7s, queue resolution\.retry\.7s$",
        "topology declare` with the same WORKER_RETRY__DELAYS",
        1,
    ),
    Broken(
        "topology: a queue of another type",
        _classic_queue,
        "topology",
        r"made otherwise than wanted: queue resolution\.tokens$",
        r"rabbitmqctl delete_queue -p test-\w+ NAME`; then run `resolution-worker topology declare",
        1,
        told=Told.NOT,
    ),
    Broken(
        "topology: the other user's password is wrong",
        lambda s: {
            "WORKER_AMQP__ADMIN_URL": _amqp(s, password="another")["WORKER_AMQP__URL"],
        },
        "topology",
        "login refused",
        "WORKER_AMQP__ADMIN_URL",
        told=Told.NOT,
    ),
    Broken(
        "permissions: a queue can't be read",
        lambda s: _rights(
            s, Permissions("^$", _WRITE, r"^resolution\.(tokens|crowd|parked|retry\..+)$")
        ),
        "permissions",
        r"may not read resolution\.backlog$",
        r"rabbitmqctl set_permissions -p test-\w+ test-\w+-\w+ '\^\$' '\^resolution",
        1,
    ),
    Broken(
        "permissions: an exchange can't be written",
        lambda s: _rights(s, Permissions("^$", r"^resolution\.(internal|retry\..+)$", _READ)),
        "permissions",
        r"may not write resolution\.events, write resolution\.state, write resolution\.answers",
        "rabbitmqctl set_permissions",
        1,
        told=Told.CALL,
    ),
    Broken(
        "permissions: a retry exchange can't be written",
        lambda s: _rights(
            s,
            Permissions(
                "^$", r"^resolution\.(internal|retry\.(30s|2m)|answers|events|state)$", _READ
            ),
        ),
        "permissions",
        r"may not write resolution\.retry\.5s$",
        "rabbitmqctl set_permissions",
        1,
        told=Told.CALL,
    ),
)

_DATABASE = (
    Broken(
        "database: unknown host",
        lambda s: _dsn(s, host="database.invalid"),
        "database",
        r"host name database\.invalid can't be resolved",
        "WORKER_POSTGRES__DSN",
    ),
    Broken(
        "database: nothing listens",
        lambda s: _dsn(s, port=str(s.closed_port())),
        "database",
        r"database at 127\.0\.0\.1:\d+: no server listens there",
        "start PostgreSQL",
    ),
    Broken(
        "database: hangs",
        lambda s: _dsn(s, port=str(s.silent_port())),
        "database",
        "did not answer in time",
        "firewall or a pooler",
    ),
    Broken(
        "database: another protocol",
        lambda s: _dsn(s, port=_port_of(s.simulator.url)),
        "database",
        r"database at 127\.0\.0\.1",
        "server's log|WORKER_POSTGRES__DSN",
    ),
    Broken(
        "database: wrong password",
        lambda s: _dsn(s, user="postgres", password="another"),
        "database",
        "refused the password",
        "set the role's password",
    ),
    Broken(
        "database: no such role",
        lambda s: _dsn(s, user="nobody_of_that_name"),
        "database",
        "nobody_of_that_name",
        "WORKER_POSTGRES__DSN",
    ),
    Broken(
        "database: no such database",
        lambda s: _dsn(s, database="nowhere"),
        "database",
        "does not exist",
        "create it",
    ),
    Broken(
        "database: no TLS there",
        lambda s: {"WORKER_POSTGRES__DSN": dsn(s.database) + "?sslmode=require"},
        "database",
        "does not support TLS",
        "ssl = on",
    ),
    Broken(
        "database: a standby is wanted",
        lambda s: {"WORKER_POSTGRES__DSN": dsn(s.database) + "?target_session_attrs=standby"},
        "database",
        "no server of the address fulfils target_session_attrs",
        "WORKER_POSTGRES__DSN",
    ),
    Broken(
        "database: an encoding that is no Unicode",
        _latin,
        "database",
        "encoding is LATIN1",
        "ENCODING 'UTF8'",
        1,
    ),
    Broken(
        "database: not marked for a stand-in",
        lambda s: _after(s, "DELETE FROM resolution.stand_in"),
        "stand-in",
        "is unencrypted, and the database is not marked as a playground",
        "correct WORKER_AWS__ENDPOINT_URL",
        78,
        told=Told.EXIT,
    ),
    Broken(
        "database: no free connection",
        lambda s: _after(s, "ALTER DATABASE {name} CONNECTION LIMIT 0"),
        "database",
        "the server has no free connection",
        "max_connections",
    ),
    Broken(
        "database: read-only",
        lambda s: _after(s, "ALTER DATABASE {name} SET default_transaction_read_only = on"),
        "database",
        "read-only",
        "default_transaction_read_only",
        1,
    ),
    Broken(
        "migrator: can't log in",
        lambda s: {
            "WORKER_POSTGRES__ADMIN_DSN": _dsn(s, user="postgres", password="another")[
                "WORKER_POSTGRES__DSN"
            ]
        },
        "migrator",
        "refused the password",
        "WORKER_POSTGRES__ADMIN_DSN",
        told=Told.NOT,
    ),
    Broken(
        "schema: missing",
        lambda s: {"WORKER_POSTGRES__DSN": s.empty_database()},
        "schema",
        "no schema of this program",
        "resolution-worker migrate",
        1,
    ),
    Broken(
        "schema: old",
        lambda s: _after(s, "DELETE FROM resolution.schema_migration"),
        "schema",
        r"version 0, this program needs \d+",
        "resolution-worker migrate",
        1,
    ),
    Broken(
        "schema: a table is gone",
        lambda s: _after(s, "DROP TABLE resolution.customer"),
        "schema",
        r"resolution\.customer",
        "backup",
        1,
    ),
    Broken(
        "schema: a view is gone",
        lambda s: _after(s, "DROP VIEW resolution.outcomes"),
        "schema",
        r"lacks view resolution\.outcomes$",
        "from a backup, .+`resolution-worker migrate` runs no file twice",
        1,
        told=Told.NOT,
    ),
    Broken(
        "schema: a function and a trigger are gone",
        lambda s: _after(
            s,
            "DROP FUNCTION resolution.prune_ledger(interval, integer)",
            "DROP TRIGGER audit_only_grows ON resolution.audit",
        ),
        "schema",
        r"lacks function resolution\.prune_ledger\(interval, integer\); "
        r"trigger audit_only_grows on resolution\.audit$",
        "from a backup, .+`resolution-worker migrate` runs no file twice",
        1,
    ),
    Broken(
        "schema: made by another text",
        lambda s: _after(
            s, "UPDATE resolution.schema_migration SET checksum = 'other' WHERE version = 2"
        ),
        "schema",
        r"0002_audit\.sql was changed after it had been applied",
        "as it was released",
        1,
        told=Told.NOT,
    ),
    Broken(
        "grants: several",
        lambda s: _after(
            s,
            "REVOKE INSERT ON resolution.ledger FROM resolution_worker",
            "REVOKE DELETE ON resolution.event_outbox FROM resolution_worker",
        ),
        "grants",
        r"lacks DELETE ON resolution\.event_outbox; INSERT ON resolution\.ledger$",
        r"or: GRANT DELETE ON resolution\.event_outbox TO resolution_worker; "
        r"GRANT INSERT ON resolution\.ledger TO resolution_worker$",
        1,
    ),
    Broken(
        "grants: a table",
        lambda s: _after(s, "REVOKE INSERT ON resolution.ledger FROM resolution_worker"),
        "grants",
        r"resolution_worker lacks INSERT ON resolution\.ledger$",
        r"deploy/postgres/grants\.sql as the schema's owner, or: GRANT INSERT ON "
        r"resolution\.ledger TO resolution_worker",
        1,
    ),
    Broken(
        "grants: a column",
        lambda s: _after(s, "REVOKE UPDATE (advice) ON resolution.ledger FROM resolution_worker"),
        "grants",
        r"lacks UPDATE \(advice\) ON resolution\.ledger$",
        r"GRANT UPDATE \(advice\) ON resolution\.ledger",
        1,
    ),
    Broken(
        "grants: the whole schema",
        lambda s: _after(s, "REVOKE USAGE ON SCHEMA resolution FROM resolution_worker"),
        "grants",
        "lacks USAGE ON SCHEMA resolution$",
        "GRANT USAGE ON SCHEMA resolution TO resolution_worker",
        1,
    ),
)

_AWS = (
    Broken(
        "aws: no credentials",
        lambda _: {"AWS_ACCESS_KEY_ID": "", "AWS_SECRET_ACCESS_KEY": ""},
        "aws credentials",
        "no AWS credentials are found",
        "AWS_ACCESS_KEY_ID",
        1,
    ),
    Broken(
        "aws: half of the credentials",
        lambda _: {"AWS_SECRET_ACCESS_KEY": ""},
        "aws credentials",
        "(?i)partial credentials",
        "together",
        1,
    ),
    Broken(
        "aws: a line break in the access key",
        lambda _: {"AWS_ACCESS_KEY_ID": f"{ACCESS_KEY}\n"},
        "aws credentials",
        r"the access key \(AWS_ACCESS_KEY_ID\) ends with a line break",
        "remove the line break",
        1,
    ),
    Broken(
        "aws: a line break in the secret key",
        lambda s: {"AWS_SECRET_ACCESS_KEY": f"{s.environment()['AWS_SECRET_ACCESS_KEY']}\n"},
        "aws credentials",
        r"the secret key \(AWS_SECRET_ACCESS_KEY\) ends with a line break",
        "remove the line break",
        1,
    ),
    Broken(
        "aws: no such profile",
        lambda _: {"AWS_PROFILE": "nowhere"},
        "aws credentials",
        "nowhere",
        "correct AWS_PROFILE",
        1,
        told=Told.EXIT,
    ),
    Broken(
        "aws: the role can't be assumed",
        lambda s: {
            "WORKER_AWS__ROLE_ARN": f"arn:aws:iam::{ACCOUNT}:role/seller",
            "AWS_ENDPOINT_URL_STS": s.sts(),
        },
        "aws credentials",
        "AssumeRole was refused: AccessDenied",
        "sts:AssumeRole",
        1,
    ),
    Broken(
        "aws: another account",
        lambda s: {
            "WORKER_AWS__EXPECTED_ACCOUNT": "999999999999",
            "AWS_ENDPOINT_URL_STS": s.sts(),
        },
        "aws account",
        f"belong to account {ACCOUNT}, not to 999999999999",
        "WORKER_AWS__EXPECTED_ACCOUNT",
        1,
    ),
    Broken(
        "aws: STS hangs",
        lambda s: {
            "WORKER_AWS__EXPECTED_ACCOUNT": ACCOUNT,
            "AWS_ENDPOINT_URL_STS": f"http://127.0.0.1:{s.silent_port()}",
        },
        "aws account",
        "STS can't be reached|does not answer",
        "VPC endpoint",
        told=Told.NOT,  # it waits for a minute before it says so
    ),
    Broken(
        "aws: STS is away, and a role to assume",
        lambda s: {
            "WORKER_AWS__ROLE_ARN": f"arn:aws:iam::{ACCOUNT}:role/seller",
            "AWS_ENDPOINT_URL_STS": f"http://127.0.0.1:{s.closed_port()}",
        },
        "aws credentials",
        r"there is no connection to 127\.0\.0\.1:\d+ .+ comes from AWS_ENDPOINT_URL_STS",
        "open outgoing connections",
    ),
    Broken(
        "aws: the container's credentials are away",
        lambda s: {
            "AWS_ACCESS_KEY_ID": "",
            "AWS_SECRET_ACCESS_KEY": "",
            "AWS_CONTAINER_CREDENTIALS_FULL_URI": f"http://127.0.0.1:{s.closed_port()}/role",
        },
        "aws credentials",
        "no connection to 127.+ comes from AWS_CONTAINER_CREDENTIALS_FULL_URI",
        "open outgoing connections",
    ),
    Broken(
        "aws: the web identity's token is not there",
        lambda _: {
            "AWS_ACCESS_KEY_ID": "",
            "AWS_SECRET_ACCESS_KEY": "",
            "AWS_ROLE_ARN": f"arn:aws:iam::{ACCOUNT}:role/seller",
            "AWS_WEB_IDENTITY_TOKEN_FILE": "/nosuch/token",
        },
        "aws credentials",
        "/nosuch/token that AWS_WEB_IDENTITY_TOKEN_FILE names can't be read: No such file",
        "correct AWS_WEB_IDENTITY_TOKEN_FILE",
        1,
    ),
    Broken(
        "aws: the bundle of authorities is not there",
        lambda _: {"AWS_CA_BUNDLE": "/nosuch/bundle.pem"},
        "aws endpoint",
        "/nosuch/bundle.pem that AWS_CA_BUNDLE names can't be read: No such file",
        "correct AWS_CA_BUNDLE",
        1,
        told=Told.EXIT,
    ),
    Broken(
        "aws: an unknown access key",
        lambda _: {"AWS_ACCESS_KEY_ID": "AKIDOFNOBODY"},
        "aws call",
        "UnrecognizedClientException",
        "correct the credentials, AWS_ACCESS_KEY_ID",
        1,
        told=Told.CALL,
    ),
    Broken(
        "aws: a wrong secret key",
        lambda _: {"AWS_SECRET_ACCESS_KEY": "another-secret"},
        "aws call",
        "InvalidSignatureException",
        "correct AWS_SECRET_ACCESS_KEY",
        1,
        told=Told.CALL,
    ),
    Broken(
        "aws: permission missing",
        lambda s: _answering(s, "AccessDeniedException", "User is not authorized"),
        "aws call",
        "AccessDeniedException",
        "IAM action `aws-marketplace:ResolveCustomer`",
        1,
        told=Told.CALL,
    ),
    Broken(
        "aws: credentials expired",
        lambda s: _answering(s, "ExpiredTokenException", "", 403),
        "aws call",
        "ExpiredTokenException",
        "renew the credentials",
        1,
        told=Told.CALL,
    ),
    Broken(
        "aws: credentials expired, told with status 400",
        lambda s: _answering(
            s, "ExpiredTokenException", "The security token included in the request is expired"
        ),
        "aws call",
        "security token",
        "renew the credentials",
        1,
        told=Told.CALL,
    ),
    Broken(
        "aws: the clock is wrong",
        lambda s: _answering(
            s, "InvalidSignatureException", "Signature expired: 1 is now earlier than 2", 403
        ),
        "aws call",
        "Signature expired",
        "set this machine's clock",
        1,
        told=Told.CALL,
    ),
    Broken(
        "aws: the region is wrong",
        lambda s: _answering(
            s, "InvalidSignatureException", "Credential should be scoped to a valid region.", 403
        ),
        "aws call",
        "valid region",
        "WORKER_AWS__REGION",
        1,
        told=Told.CALL,
    ),
    Broken(
        "aws: disabled in the region",
        lambda s: _answering(s, "DisabledApiException", "The API is disabled in the Region."),
        "aws call",
        "DisabledApiException",
        "WORKER_AWS__REGION",
        1,
        told=Told.CALL,
    ),
    Broken(
        "aws: no seller",
        lambda s: _answering(s, "OptInRequired", "not subscribed", 403),
        "aws call",
        "OptInRequired",
        "registered as a seller",
        1,
        told=Told.CALL,
    ),
    Broken(
        "aws: unknown host",
        lambda _: _calling("https://metering.invalid"),
        "aws endpoint",
        r"host name metering\.invalid can't be resolved.+ from WORKER_AWS__ENDPOINT_URL",
        "check DNS",
        told=Told.CALL,
    ),
    Broken(
        "aws: nothing listens",
        lambda s: _calling(f"http://127.0.0.1:{s.closed_port()}"),
        "aws endpoint",
        r"connection refused.+ comes from WORKER_AWS__ENDPOINT_URL",
        "open outgoing connections",
        told=Told.CALL,
    ),
    Broken(
        "aws: hangs before TLS",
        lambda s: _calling(f"https://127.0.0.1:{s.silent_port()}"),
        "aws endpoint",
        "it did not answer in time, or not with TLS",
        "open outgoing connections",
        told=Told.CALL,
    ),
    Broken(
        "aws: no TLS there",
        lambda s: _calling(s.simulator.url.replace("http:", "https:")),
        "aws endpoint",
        "the TLS handshake with .+ comes from WORKER_AWS__ENDPOINT_URL",
        "is this the port for TLS",
        told=Told.CALL,
    ),
    Broken(
        "aws: hangs",
        lambda s: _calling(f"http://127.0.0.1:{s.silent_port()}"),
        "aws call",
        "Timeout: no answer within",
        "firewall",
        told=Told.NOT,
    ),
    Broken(
        "aws: another service",
        lambda s: _calling(_management(s)),
        "aws call",
        "Http40",
        "not the AWS Marketplace Metering Service",
        1,
        told=Told.NOT,  # answers, so it counts as an outage
    ),
    Broken(
        "aws: a proxy that is not there",
        lambda s: {
            "HTTPS_PROXY": f"http://127.0.0.1:{s.closed_port()}",
            **_calling("https://metering.invalid"),
        },
        "aws endpoint",
        "the proxy .+connection refused.+ comes from HTTPS_PROXY",
        "HTTPS_PROXY",
        told=Told.CALL,
    ),
    Broken(
        "aws: a SOCKS proxy",
        lambda _: {
            "HTTPS_PROXY": "socks5://svc:hidden-one@127.0.0.1:9",
            **_calling("https://metering.invalid"),
        },
        "aws endpoint",
        "HTTPS_PROXY names a proxy of another kind than HTTP",
        "accepted: http://host:port",
        78,
        told=Told.EXIT,
    ),
    Broken(
        "aws: a proxy whose password is not encoded",
        lambda _: {
            "HTTPS_PROXY": "http://svc:hidden-one/x@127.0.0.1:9",
            **_calling("https://metering.invalid"),
        },
        "aws endpoint",
        "HTTPS_PROXY can't be read as a proxy's address",
        "percent-encoded",
        78,
        told=Told.EXIT,
    ),
)

_SETTINGS = (
    Broken(
        "settings: unknown",
        lambda _: {"WORKER_POOL__CONCURENCY": "5"},
        "configuration",
        "1 setting can't be accepted",
        "correct the settings named here",
        78,
        told=Told.EXIT,
    ),
    Broken(
        "settings: several at once",
        lambda s: {
            "WORKER_AWS__TIMEOUT": "soon",
            "WORKER_CONFIG": s.file("worker.toml", "[rate]\nceiling = 'much'\n"),
        },
        "configuration",
        "2 settings can't be accepted",
        "annotated example",
        78,
        told=Told.EXIT,
    ),
    Broken(
        "settings: plaintext beyond loopback",
        lambda _: {"WORKER_AMQP__URL": "amqp://u:hidden-one@broker.example.com/"},
        "configuration",
        "can't be accepted",
        "correct the settings named here",
        78,
        told=Told.EXIT,
    ),
    Broken(
        "settings: no secrets directory",
        lambda s: {"WORKER_SECRETS_DIR": str(s.home / "nowhere")},
        "configuration",
        "can't be accepted",
        "correct the settings named here",
        78,
        told=Told.EXIT,
    ),
    Broken(
        "seal key: is none",
        lambda _: {"WORKER_DEAD_LETTERS__SEAL_KEY": "short"},
        "configuration",
        "can't be accepted",
        "correct the settings named here",
        78,
        told=Told.EXIT,
    ),
    Broken(
        "seal key: missing",
        lambda _: {"WORKER_DEAD_LETTERS__SEAL_KEY": ""},
        "seal key",
        "is not set",
        "resolution-worker keygen",
        78,
        told=Told.EXIT,
    ),
    Broken(
        "seal key: unusable",
        lambda _: {"WORKER_DEAD_LETTERS__SEAL_KEY": base64.b64encode(bytes(32)).decode()},
        "seal key",
        "unusable",
        "resolution-worker keygen",
        78,
        told=Told.EXIT,
    ),
    Broken(
        "seal key: the open keys belong to another",
        lambda _: {"WORKER_DEAD_LETTERS__OPEN_KEYS": generate()[1]},
        "seal key",
        "no key of WORKER_DEAD_LETTERS__OPEN_KEYS opens",
        "private key",
        78,
        told=Told.NOT,
    ),
    Broken(
        "http port: taken by another program",
        lambda s: {"WORKER_HTTP__PORT": str(s.silent_port())},
        "http port",
        r"can't listen on 127\.0\.0\.1:\d+: Address already in use$",
        "WORKER_HTTP__PORT",
        told=Told.EXIT,
    ),
    Broken(
        "http port: an address of another machine",
        lambda _: {"WORKER_HTTP__HOST": "192.0.2.1", "WORKER_HTTP__PORT": "9108"},
        "http port",
        r"can't listen on 192\.0\.2\.1:9108: Cannot assign requested address",
        "set WORKER_HTTP__HOST to an address of this machine",
        told=Told.EXIT,
    ),
)

_ALL = (*_BROKER, *_DATABASE, *_AWS, *_SETTINGS)


@pytest.mark.parametrize("broken", _ALL, ids=lambda broken: broken.name)
@pytest.mark.sampled(9)
async def test_the_fault_is_named(setup: Setup, broken: Broken) -> None:
    """`check` fails in one point, with its remedy; a worker says the same of the same settings."""
    settings = await asyncio.to_thread(broken.settings, setup)
    worker = _worker(setup, broken, settings)
    done = await asyncio.to_thread(setup.check, **settings)
    _judge(broken, done)
    if worker is not None:
        await _same(worker, broken, done.findings[broken.check])
    for said in (done.said, worker.said if worker else ""):
        for secret in (*SECRETS.values(), "hidden-one", "another-secret", ACCESS_KEY):
            assert secret not in said


def _worker(setup: Setup, broken: Broken, settings: Mapping[str, str]) -> Worker | None:
    """A worker with these settings until the end of the test, if it tells what is wrong."""
    if broken.told is Told.NOT:
        return None
    if broken.told is Told.CALL:
        setup.submit("fail-9-check", "invalid-check")
    worker = Worker(setup.environment(**settings))
    setup.breaking.callback(worker.kill)
    return worker


async def _same(worker: Worker, broken: Broken, found: Mapping[str, Any]) -> None:
    """Wait until the worker says of what is wrong what `check` has found."""
    if broken.told is Told.EXIT:
        assert await worker.exit_code() == (69 if broken.check == "http port" else 78)
        for line in found["notes"] or [f"{found['detail']}; {found['remedy']}"]:
            assert line in worker.said
        return
    wanted, told = f"{found['detail']}; {found['remedy']}", dict[str, str]()

    async def is_told() -> bool:
        status, text = await worker.get("/readyz")
        if status == 503:
            told.update(json.loads(text)["faults"])
        return wanted in told.values()

    try:
        await eventually(is_told, "/readyz", 20)
    except AssertionError:
        assert list(told.values()) == [wanted]  # shows both
        raise


def _judge(broken: Broken, done: Done) -> None:
    assert done.names("failed") == {broken.check}, done.said
    found = done.findings[broken.check]
    assert re.search(broken.detail, found["detail"]), found
    assert re.search(broken.remedy, found["remedy"]), found
    assert done.code == broken.code
    for name in done.names("skipped"):
        assert re.search(_WAITS.format(check=broken.check), done.findings[name]["detail"]), name
    assert done.seconds < _NAMED_SECONDS


_WAITS = (
    "^because {check} failed|a stand-in is called|see (grants|aws credentials)$|STS does not tell"
    "|MANAGEMENT_URL is not set"
)


def test_there_are_many() -> None:
    """No two set-ups are wrong alike, each check fails in one, and workers tell of most."""
    assert len({broken.name for broken in _ALL}) == len(_ALL)
    assert sum(broken.told is not Told.NOT for broken in _ALL) >= 60
    assert {broken.check for broken in _ALL} == {
        "configuration",
        "seal key",
        "http port",
        "broker",
        "topology",
        "permissions",
        "database",
        "migrator",
        "schema",
        "stand-in",
        "grants",
        "aws credentials",
        "aws account",
        "aws endpoint",
        "aws call",
    }
