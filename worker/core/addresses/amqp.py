"""The address of a broker of one or several hosts."""

from __future__ import annotations

import base64
import binascii
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final
from urllib.parse import unquote

from worker.core.addresses.files import Files
from worker.core.addresses.host_names import ENCODE, check_host_name
from worker.core.addresses.text import Host, Parts, is_local, read_host, take_apart
from worker.core.addresses.words import Word, anything, one_of, read_words, unusable, whole

if TYPE_CHECKING:
    from collections.abc import Mapping

_PORTS: Final = {"amqp": 5672, "amqps": 5671}
_MOST_VHOST_BYTES: Final = 127


def _is_base64(value: str) -> bool:
    try:
        return bool(base64.b64decode(value, validate=True))
    except (binascii.Error, ValueError):
        return False


def _is_host_name(value: str) -> bool:
    try:
        check_host_name(value)
    except ValueError:
        return False
    return value != "disable"


_LOGIN: Final = one_of("plain", "PLAIN", "external", "EXTERNAL")
_BROKERS: Final = "the broker's own is used; leave it out"
_OURS: Final = "the worker has a value of its own; leave it out"

WORDS: Final[Mapping[str, Word]] = {
    "auth": _LOGIN,
    "auth_mechanism": _LOGIN,
    "heartbeat": whole(1, 300, "in seconds; without heartbeats a silent peer is never noticed"),
    "connection_timeout": whole(500, 60_000, "in milliseconds"),
    "cafile": anything(),
    "cacertfile": anything(),
    "capath": anything(),
    "cadata": Word("a certificate in base64", _is_base64),
    "certfile": anything(),
    "keyfile": anything(),
    "password": anything(),
    "verify": one_of("verify_peer", "verify_none"),
    "no_verify_ssl": Word("0 or 1", lambda _: True, blank=True),
    "server_name_indication": Word("a host name", _is_host_name),
    "timeout": unusable("write connection_timeout, in milliseconds"),
    "name": unusable(_OURS),
    "frame_max": unusable(_BROKERS),
    "channel_max": unusable(_BROKERS),
    "depth": unusable("the depth of certificate chains is not limited; leave it out"),
    "fail_if_no_peer_cert": unusable("it is a server's word; leave it out"),
    "happy_eyeballs_delay": unusable(_OURS),
    "interleave": unusable(_OURS),
    "reconnect_interval": unusable(_OURS),
    "fail_fast": unusable(_OURS),
    "ssl": unusable("write amqps:// for an encrypted connection"),
    "ssl_options": unusable("write cafile, certfile and keyfile"),
    "retry_delay": unusable(_OURS),
    "connection_attempts": unusable(_OURS),
    "socket_timeout": unusable("write connection_timeout, in milliseconds"),
    "stack_timeout": unusable("write connection_timeout, in milliseconds"),
    "blocked_connection_timeout": unusable(_OURS),
    "client_properties": unusable(_OURS),
    "locale": unusable("leave it out"),
    "backpressure_detection": unusable("leave it out"),
}
"""All words of a broker's address: RabbitMQ's own, and those of the client libraries."""

_OTHERS: Final = "leave it out, or see https://www.rabbitmq.com/docs/uri-query-parameters"
_TLS_WORDS: Final = (
    *("cafile", "cacertfile", "capath", "cadata", "certfile", "keyfile", "password"),
    *("verify", "server_name_indication"),
)


@dataclass(frozen=True, slots=True)
class BrokerAddress:
    """Where a broker is, and how to log in there.

    Attributes:
        encrypted: Whether TLS is used.
        hosts: Its hosts, of which any will do.
        user: None if the address names none.
        password: None if the address has none.
        vhost: The virtual host.
        external: Whether the login is the client's certificate, not a password.
        verified: Whether the broker's certificate is verified.
        server_name: The name that its certificate is for, where it is not the host's.
        heartbeat: Seconds; None if the address does not say.
        seconds: Time limit of connecting; None likewise.
        files: The files that it names.
        authority: A certificate of an authority, in DER.
    """

    encrypted: bool
    hosts: tuple[Host, ...]
    user: str | None
    password: str | None = field(repr=False)
    vhost: str
    external: bool
    verified: bool
    server_name: str | None
    heartbeat: int | None
    seconds: float | None
    files: Files
    authority: bytes | None = field(repr=False)

    @property
    def place(self) -> str:
        """Its hosts and ports, to be shown."""
        return ",".join(map(str, self.hosts))

    @property
    def is_safe(self) -> bool:
        """Whether nobody beyond this machine can read or change what is sent."""
        return all(is_local(host.name) for host in self.hosts) or (self.encrypted and self.verified)


def read(url: str) -> BrokerAddress:
    """The broker that a URL names.

    Raises:
        ValueError: It can't be used as it is; the message shows at most the names of its words.
    """
    parts = take_apart(url, _PORTS)
    hosts = tuple(read_host(unquote(spec), _PORTS[parts.scheme]) for spec in parts.hosts.split(","))
    if any(host.name.startswith("/") for host in hosts):
        raise ValueError("has no host" + ENCODE)
    vhost = unquote(parts.path[1:]) or "/"
    if len(vhost.encode(errors="replace")) > _MOST_VHOST_BYTES:
        raise ValueError(f"names a virtual host of more than {_MOST_VHOST_BYTES} bytes")
    words = read_words(parts.words, WORDS, _OTHERS)
    return _address(parts, hosts, vhost, words)


def _address(
    parts: Parts, hosts: tuple[Host, ...], vhost: str, words: Mapping[str, str]
) -> BrokerAddress:
    encrypted = parts.scheme == "amqps"
    external = words.get("auth_mechanism", words.get("auth", "")).lower() == "external"
    _check_together(words, encrypted=encrypted, external=external)
    unverified = words.get("no_verify_ssl", "0") != "0" or words.get("verify") == "verify_none"
    milliseconds = words.get("connection_timeout")
    return BrokerAddress(
        encrypted=encrypted,
        hosts=hosts,
        user=parts.user,
        password=parts.password,
        vhost=vhost,
        external=external,
        verified=not unverified,
        server_name=words.get("server_name_indication"),
        heartbeat=int(words["heartbeat"]) if "heartbeat" in words else None,
        seconds=int(milliseconds) / 1_000 if milliseconds else None,
        files=Files(
            authorities=tuple((w, words[w]) for w in ("cafile", "cacertfile") if w in words),
            authority_folders=(("capath", words["capath"]),) if "capath" in words else (),
            certificate=("certfile", words["certfile"]) if "certfile" in words else None,
            key=("keyfile", words["keyfile"]) if "keyfile" in words else None,
            key_password=words.get("password", ""),
        ),
        authority=base64.b64decode(words["cadata"]) if "cadata" in words else None,
    )


def _check_together(words: Mapping[str, str], *, encrypted: bool, external: bool) -> None:
    idle = [word for word in _TLS_WORDS if word in words]
    if idle and not encrypted:
        raise ValueError(f"has the word {idle[0]}, which means something only with amqps://")
    if external and "certfile" not in words:
        raise ValueError(
            "has a login by certificate (auth_mechanism=external), but no certificate: write "
            "amqps:// and certfile, and keyfile where the key is in a file of its own"
        )
    for word in ("keyfile", "password"):
        if word in words and "certfile" not in words:
            raise ValueError(f"has the word {word} without certfile")
