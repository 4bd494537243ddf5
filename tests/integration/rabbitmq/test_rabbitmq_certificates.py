"""Login by a client's certificate, on a real broker that asks for one."""

from __future__ import annotations

import subprocess
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

import pytest

from worker.adapters.rabbitmq import probing
from worker.adapters.rabbitmq.connection import connected, open_connection, user_of
from worker.core.exceptions import BrokerUnavailable
from worker.lab.servers import node as laying_out
from worker.lab.servers import rabbitmq
from worker.lab.servers.ports import free_ports
from worker.lab.servers.program import output

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from worker.lab.servers.broker import RabbitMQ

pytestmark = pytest.mark.long


def openssl(*words: str) -> None:
    """Run openssl."""
    subprocess.run(["openssl", *words], check=True, capture_output=True)


def certificates(folder: Path) -> None:
    """An authority, and certificates of it for the broker, for `bob` and for `eve`."""
    folder.mkdir()
    new = ("-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "2")
    ca, ca_key = str(folder / "ca.pem"), str(folder / "ca.key")
    openssl("req", "-x509", *new, "-subj", "/CN=authority", "-keyout", ca_key, "-out", ca)
    for name in ("broker", "bob", "eve"):
        openssl(
            *("req", "-x509", *new, "-subj", f"/CN={name}", "-CA", ca, "-CAkey", ca_key),
            *("-addext", "basicConstraints=critical,CA:FALSE"),
            *("-addext", "subjectAltName=IP:127.0.0.1"),
            *("-keyout", str(folder / f"{name}.key"), "-out", str(folder / f"{name}.pem")),
        )


@asynccontextmanager
async def asking_for_certificates(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> AsyncIterator[tuple[str, RabbitMQ]]:
    """Host and port of a broker that knows `bob`, but not yet by his certificate."""
    tls = tmp_path / "tls"
    certificates(tls)
    (port,) = free_ports(1)
    plain = laying_out._configuration
    more = "\n".join(
        [
            f"listeners.ssl.default = 127.0.0.1:{port}",
            f"ssl_options.cacertfile = {tls}/ca.pem",
            f"ssl_options.certfile = {tls}/broker.pem",
            f"ssl_options.keyfile = {tls}/broker.key",
            "ssl_options.verify = verify_peer",
            "ssl_options.fail_if_no_peer_cert = true",
            "ssl_cert_login_from = common_name",
            "auth_mechanisms.1 = PLAIN",
            "auth_mechanisms.2 = EXTERNAL",
            "",
        ]
    )
    monkeypatch.setattr(laying_out, "_configuration", lambda node: plain(node) + more)
    async with rabbitmq(tmp_path / "broker") as server:
        await server.ctl("add_user", "bob", "unused")
        await server.ctl("set_permissions", "bob", "^$", "^$", ".*")
        yield f"127.0.0.1:{port}", server


async def enable_external(server: RabbitMQ) -> None:
    """Let certificates log in."""
    words = [str(server.programs / "rabbitmq-plugins"), "enable", "rabbitmq_auth_mechanism_ssl"]
    await output("rabbitmq-plugins", words, server.environment, server.log.parent)


async def fault_of(url: str) -> str:
    """Why a connection can't be opened."""
    with pytest.raises(BrokerUnavailable) as caught:
        await open_connection(url, name="test")
    return str(caught.value)


async def test_login_by_certificate(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The certificate's name is the user; each thing that is missing is told as what it is."""
    async with asking_for_certificates(tmp_path, monkeypatch) as (where, server):
        tls = tmp_path / "tls"
        query = f"?auth_mechanism=external&cacertfile={tls}/ca.pem"
        pair = f"&certfile={tls}/{{0}}.pem&keyfile={tls}/{{0}}.key"
        url = f"amqps://{where}/{query}{pair.format('bob')}"
        assert user_of(url) is None
        assert "enable its plug-in rabbitmq_auth_mechanism_ssl" in await fault_of(url)
        await enable_external(server)
        async with connected(url, name="test") as opened:
            assert probing.server(opened).product == "RabbitMQ"
            assert not await probing.may_write(opened, "amq.topic")
        eve = f"amqps://{where}/{query}{pair.format('eve')}"
        assert "create the user that the certificate of certfile names" in await fault_of(eve)
        plain = f"amqps://bob:wrong@{where}/?cafile={tls}/ca.pem"
        assert "Does it ask for a client's certificate (certfile)?" in await fault_of(plain)
        with_password = plain.replace("wrong", "unused") + pair.format("eve")
        async with connected(with_password, name="test") as opened:
            assert not opened.is_closed
