"""The address of a database on one or several servers."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final
from urllib.parse import unquote

from worker.core.addresses.files import Files
from worker.core.addresses.host_names import ENCODE
from worker.core.addresses.text import Host, Parts, is_local, read_host, read_port, take_apart
from worker.core.addresses.words import Word, anything, one_of, read_words, unusable, whole

if TYPE_CHECKING:
    from collections.abc import Mapping

SCHEMES: Final = ("postgresql", "postgres")
DEFAULT_PORT: Final = 5432
_SYSTEM: Final = "system"
_TLS: Final = one_of("TLSv1", "TLSv1.1", "TLSv1.2", "TLSv1.3")
_NO_SERVICE: Final = "no service file is read; write what it holds into the address"
_NO_GSS: Final = "the driver does not encrypt with GSSAPI; use sslmode"
_LEAVE: Final = "leave it out"
_KEEPALIVE: Final = whole(0, 100_000)

WORDS: Final[Mapping[str, Word]] = {
    # --- where, as whom ---
    "host": anything(),
    "port": anything(),
    "user": anything(),
    "password": anything(),
    "passfile": anything(),
    "dbname": anything(),
    "database": anything(),
    "hostaddr": unusable("write it as the host"),
    "service": unusable(_NO_SERVICE),
    "servicefile": unusable(_NO_SERVICE),
    "target_session_attrs": one_of(
        *("any", "primary", "standby", "prefer-standby", "read-write", "read-only")
    ),
    "load_balance_hosts": one_of("disable", "random"),
    "connect_timeout": whole(1, 60, "in seconds"),
    # --- TLS ---
    "sslmode": one_of("disable", "allow", "prefer", "require", "verify-ca", "verify-full"),
    "sslnegotiation": one_of("postgres", "direct"),
    "sslrootcert": anything(),
    "sslcert": anything(),
    "sslkey": anything(),
    "sslpassword": anything(),
    "sslcrl": anything(),
    "sslcrldir": unusable("name one list in sslcrl"),
    "ssl_min_protocol_version": _TLS,
    "ssl_max_protocol_version": _TLS,
    "sslcompression": one_of("0", otherwise="TLS does not compress any more"),
    "sslsni": one_of("1", otherwise="the host name is always sent"),
    "sslcertmode": one_of("allow", otherwise="a certificate is sent where sslcert names one"),
    "sslkeylogfile": unusable(_LEAVE),
    "requiressl": unusable("write sslmode=require or better"),
    # --- login ---
    "channel_binding": one_of(
        *("disable", "prefer"),
        otherwise="the driver does not bind channels; sslmode=verify-full keeps others out as well",
    ),
    "require_auth": unusable("what the server asks for is what is done; leave it out"),
    "requirepeer": unusable("it is not checked; leave it out"),
    "gssencmode": one_of("disable", "prefer", otherwise=_NO_GSS),
    "krbsrvname": anything(),
    "gsslib": one_of("gssapi"),
    "gssdelegation": one_of("0", otherwise="credentials are not delegated"),
    "scram_client_key": unusable("write a password"),
    "scram_server_key": unusable("write a password"),
    "oauth_issuer": unusable("the driver does not log in by OAuth; write a password"),
    "oauth_client_id": unusable("the driver does not log in by OAuth; write a password"),
    "oauth_client_secret": unusable("the driver does not log in by OAuth; write a password"),
    "oauth_scope": unusable("the driver does not log in by OAuth; write a password"),
    # --- the connection ---
    "keepalives": one_of("0", "1"),
    "keepalives_idle": _KEEPALIVE,
    "keepalives_interval": _KEEPALIVE,
    "keepalives_count": _KEEPALIVE,
    "tcp_user_timeout": whole(0, 100_000_000, "in milliseconds"),
    "min_protocol_version": one_of("3.0", otherwise="the driver speaks 3.0"),
    "max_protocol_version": one_of("3.0", "3.2", "latest"),
    # --- the session ---
    "application_name": anything(),
    "fallback_application_name": anything(),
    "options": anything(),
    "client_encoding": one_of(
        *("utf8", "UTF8", "utf-8", "UTF-8", "auto"), otherwise="the driver speaks UTF-8 only"
    ),
    "replication": one_of("false", "0", "off", "no", otherwise="the worker needs a plain session"),
}
"""All words of a database's address: those of libpq and of the driver."""

_OTHERS: Final = (
    "a setting of the server is written options=-c%20name=value, or set for the role with ALTER "
    "ROLE; what another driver's word says is left out"
)
_UNVERIFIED: Final = frozenset({"disable", "allow", "prefer", "require"})


@dataclass(frozen=True, slots=True)
class DatabaseAddress:
    """Where a database is, and how to log in there.

    Attributes:
        hosts: Its servers, in the order in which they are tried.
        user: None if the address names none.
        password: None if the address has none.
        database: None if the address names none.
        words: The other words, with their values.
        files: The files that it names.
    """

    hosts: tuple[Host, ...]
    user: str | None
    password: str | None = field(repr=False)
    database: str | None
    words: Mapping[str, str] = field(repr=False)
    files: Files

    @property
    def place(self) -> str:
        """Its hosts and ports, to be shown."""
        return ",".join(map(str, self.hosts))

    @property
    def sslmode(self) -> str | None:
        """How it is encrypted and verified; None if the address does not say."""
        return "verify-full" if self.trusts_system else self.words.get("sslmode")

    @property
    def trusts_system(self) -> bool:
        """Whether the server's certificate is verified with the authorities of this system."""
        return self.words.get("sslrootcert") == _SYSTEM

    @property
    def is_random(self) -> bool:
        """Whether its servers are tried in random order."""
        return self.words.get("load_balance_hosts") == "random"

    @property
    def seconds(self) -> int | None:
        """Time limit of connecting; None if the address does not say."""
        seconds = self.words.get("connect_timeout")
        return int(seconds) if seconds else None

    @property
    def is_safe(self) -> bool:
        """Whether nobody beyond this machine can read or change what is sent.

        `verify-ca` does not compare the host name, so any certificate of a public authority would
        pass: it counts only with an authority that the address names.
        """
        if all(is_local(host.name) for host in self.hosts):
            return True
        named = bool(self.words.get("sslrootcert"))
        return self.sslmode == "verify-full" or (self.sslmode == "verify-ca" and named)


def read(dsn: str, default_port: int = DEFAULT_PORT) -> DatabaseAddress:
    """The database that a DSN names.

    Raises:
        ValueError: It can't be used as it is; the message shows at most the names of its words.
    """
    parts = take_apart(dsn, SCHEMES)
    words = read_words(parts.words, WORDS, _OTHERS)
    hosts = _hosts(parts, words, default_port)
    _check_together(words)
    path = unquote(parts.path[1:])
    return DatabaseAddress(
        hosts=hosts,
        user=parts.user or words.get("user"),
        password=words.get("password") if parts.password is None else parts.password,
        database=path or words.get("dbname") or words.get("database"),
        words={name: value for name, value in words.items() if name not in _PLACED},
        files=_files(words),
    )


_PLACED: Final = frozenset({"host", "port", "user", "password", "dbname", "database"})


def _hosts(parts: Parts, words: Mapping[str, str], default_port: int) -> tuple[Host, ...]:
    if parts.hosts and "host" in words:
        raise ValueError("has hosts in two places: before its path, and in the word host")
    listed = (parts.hosts or words.get("host", "")).split(",")
    ports = [read_port(port) for port in words.get("port", str(default_port)).split(",")]
    if len(ports) > 1 and len(ports) != len(listed):
        raise ValueError("does not name as many ports as hosts")
    ports = ports * len(listed) if len(ports) == 1 else ports
    if not all(listed):
        raise ValueError("has no host" + ENCODE)
    decoded = map(unquote, listed) if parts.hosts else listed
    return tuple(read_host(spec, port) for spec, port in zip(decoded, ports, strict=True))


def _check_together(words: Mapping[str, str]) -> None:
    mode = words.get("sslmode")
    if words.get("sslrootcert") == _SYSTEM and mode in (_UNVERIFIED | {"verify-ca"}):
        raise ValueError("has sslrootcert=system, which needs sslmode=verify-full")
    if words.get("sslnegotiation") == "direct" and (mode or "prefer") in (
        _UNVERIFIED - {"require"}
    ):
        raise ValueError("has sslnegotiation=direct, which needs sslmode=require or better")


def _files(words: Mapping[str, str]) -> Files:
    def named(word: str) -> tuple[tuple[str, str], ...]:
        return ((word, words[word]),) if word in words else ()

    return Files(
        authorities=() if words.get("sslrootcert") == _SYSTEM else named("sslrootcert"),
        lists=named("sslcrl"),
        certificate=next(iter(named("sslcert")), None),
        key=next(iter(named("sslkey")), None),
        key_password=words.get("sslpassword", ""),
        passwords=named("passfile"),
    )
