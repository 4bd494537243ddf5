"""All settings with their defaults, bounds and meanings."""

from collections.abc import Callable, Iterator
from typing import Annotated, Any, Literal, Self

from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    PrivateAttr,
    SecretStr,
    ValidationInfo,
    field_validator,
)
from pydantic_core import PydanticUseDefault
from pydantic_settings import BaseSettings, SettingsConfigDict

from worker.core.durations import Duration
from worker.settings import addresses, identities, kinds

_AMQP = kinds.secret(
    "amqps://user:password@host:port/vhost, or amqp://…; several hosts as a:5671,b:5671",
    addresses.check_amqp,
)
_POSTGRES = kinds.secret(
    "postgresql://user:password@host:port/database?sslmode=verify-full", addresses.check_postgres
)
_MANAGEMENT = kinds.secret("https://user:password@host:15671", addresses.check_management)
_ENDPOINT = kinds.text("https://host, or http://host:port", addresses.check_http)
_ROLE = kinds.text("such as arn:aws:iam::123456789012:role/name", identities.check_role)
KEYGEN = "run `resolution-worker keygen`: set the first line it prints, keep the second one safe"
_KEY = "32 bytes in base64; `resolution-worker keygen` prints a pair"


def _read(default: str | float) -> Any:
    """A default in the form a person writes it, read like any other value."""
    return Field(default=default, validate_default=True)


def _like(name: str) -> Any:
    """The default is the value of another setting of the section."""

    def other(data: dict[str, Any]) -> object:
        return data[name]

    return Field(default_factory=other)


class Section(BaseModel):
    """Settings that belong together."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    @field_validator("*", mode="before")
    @classmethod
    def _blank_is_unset(cls, value: object, info: ValidationInfo) -> object:
        """An empty text counts as not set where that means something."""
        field = cls.model_fields[str(info.field_name)]
        optional = field.default is None or field.default_factory is not None
        if optional and isinstance(value, str) and not value.strip():
            raise PydanticUseDefault
        return value


class Amqp(Section):
    """The broker: `url` is the worker's, `admin_url` is for `topology`.

    `management_url` is for users, rights and policies, and never needed by `run`.
    """

    url: Annotated[SecretStr, _AMQP] = _read("amqp://guest:guest@127.0.0.1:5672/")
    admin_url: Annotated[SecretStr, _AMQP] = _like("url")
    management_url: Annotated[SecretStr | None, _MANAGEMENT] = None


class Postgres(Section):
    """The database. `dsn` is used by the worker, `admin_dsn` by `migrate`."""

    dsn: Annotated[SecretStr, _POSTGRES] = _read("postgresql://postgres@127.0.0.1:5432/postgres")
    admin_dsn: Annotated[SecretStr, _POSTGRES] = _like("dsn")


class Aws(Section):
    """The metering service. `timeout` bounds one whole call, in seconds; `client` makes it."""

    region: Annotated[str, kinds.text("such as us-east-1", identities.check_region)] = "us-east-1"
    endpoint_url: Annotated[str | None, _ENDPOINT] = None
    role_arn: Annotated[str | None, _ROLE] = None
    external_id: Annotated[
        str | None, kinds.text("2 to 1,224 of A-Z a-z 0-9 _+=,.@:/-", identities.check_external_id)
    ] = None
    expected_account: Annotated[
        str | None, kinds.text("12 digits, as text", identities.check_account)
    ] = None
    timeout: Annotated[float, kinds.span("10ms", "2m")] = _read("5s")
    client: Annotated[Literal["direct", "plain"], kinds.choice("direct", "plain")] = "direct"


class Pool(Section):
    """Calls in flight in one process; `drain` bounds the drain, in seconds."""

    concurrency: Annotated[int, kinds.whole(1, 10_000)] = 64
    drain: Annotated[float, kinds.span("1ms", "10m")] = _read("25s")


class Retry(Section):
    """Counted calls before a token is dead, and the delays between them; the last one repeats."""

    attempts: Annotated[int, kinds.whole(1, 100)] = 6
    delays: Annotated[tuple[Duration, ...], kinds.schedule("4h", 16)] = _read("5s,30s,2m")


class Rate(Section):
    """Calls a second of all replicas together: the maximum, and where the search starts."""

    ceiling: Annotated[float | None, kinds.per_second(0.01, 100_000)] = None
    initial: Annotated[float, kinds.per_second(0.01, 100_000)] = 10.0


class Token(Section):
    """How long a token is valid, and how long its buyer is assumed to wait, in seconds."""

    lifetime: Annotated[float, kinds.span("1ms", "4h")] = _read("4h")
    patience: Annotated[float, kinds.span("1ms", "4h")] = _read("30s")


class DeadLetters(Section):
    """The public key that seals payloads, and the private keys that open them, newest first."""

    seal_key: Annotated[str | None, kinds.text(_KEY, identities.check_key)] = Field(
        default=None, repr=False
    )
    open_keys: Annotated[
        tuple[SecretStr, ...],
        kinds.Kind(f"keys separated by commas, each {_KEY}", identities.read_keys),
    ] = Field(default_factory=tuple)


class Retention(Section):
    """How long rows are kept, in seconds; None for ever.

    `migrate` writes the ones that are set into the database, which enforces them: a worker can keep
    rows for longer, but not for a shorter time. The defaults are those of a new schema.
    """

    ledger: Annotated[float | None, kinds.period("1d", "36500d")] = _read("never")
    unresolved: Annotated[float | None, kinds.period("1d", "36500d")] = _read("7d")
    dead_letters: Annotated[float | None, kinds.period("1d", "36500d")] = _read("30d")
    audit: Annotated[float | None, kinds.period("30d", "36500d")] = _read("400d")


class Http(Section):
    """Where `/metrics`, `/healthz` and `/readyz` are served; port 0 means any free port."""

    host: Annotated[str, kinds.text("an IP address or host name", addresses.check_listen_host)] = (
        "127.0.0.1"
    )
    port: Annotated[int, kinds.whole(0, addresses.MAX_PORT)] = 9108


class Log(Section):
    """How much is logged, and in which format."""

    level: Annotated[
        Literal["debug", "info", "warning", "error"],
        kinds.choice("debug", "info", "warning", "error"),
    ] = "info"
    format: Annotated[
        Literal["auto", "json", "console"], kinds.choice("auto", "json", "console")
    ] = "auto"


class Settings(BaseSettings):
    """All settings, validated and frozen. Durations are in seconds."""

    model_config = SettingsConfigDict(frozen=True, extra="forbid")

    amqp: Amqp = Field(default_factory=Amqp)
    postgres: Postgres = Field(default_factory=Postgres)
    allow_plaintext: Annotated[bool, kinds.switch()] = False
    aws: Aws = Field(default_factory=Aws)
    pool: Pool = Field(default_factory=Pool)
    retry: Retry = Field(default_factory=Retry)
    rate: Rate = Field(default_factory=Rate)
    token: Token = Field(default_factory=Token)
    dead_letters: DeadLetters = Field(default_factory=DeadLetters)
    retention: Retention = Field(default_factory=Retention)
    http: Http = Field(default_factory=Http)
    log: Log = Field(default_factory=Log)

    _latest: Callable[[], Self] | None = PrivateAttr(default=None)
    _kept: Callable[[], int] | None = PrivateAttr(default=None)
    _passed_over: str | None = PrivateAttr(default=None)

    @property
    def passed_over(self) -> str | None:
        """A message that names the ignored files of the secrets directory; None without any."""
        return self._passed_over

    def current(self) -> Self:
        """These settings with the current contents of the secrets directory.

        For a secret that has become unreadable or invalid the last valid value is kept, and a
        warning logged; the others are updated.
        """
        return self if self._latest is None else self._latest()

    def secrets_kept(self) -> int:
        """How many secrets are used though their file can't be: it is gone, unreadable or invalid.

        Reads the secrets directory again.
        """
        return 0 if self._kept is None else self._kept()

    def broker_addresses(self) -> Iterator[tuple[tuple[str, str], str]]:
        """The broker's addresses, each with the path of its setting."""
        yield ("amqp", "url"), self.amqp.url.get_secret_value()
        if self.amqp.admin_url != self.amqp.url:
            yield ("amqp", "admin_url"), self.amqp.admin_url.get_secret_value()

    def database_addresses(self) -> Iterator[tuple[tuple[str, str], str]]:
        """The database's addresses, each with the path of its setting."""
        yield ("postgres", "dsn"), self.postgres.dsn.get_secret_value()
        if self.postgres.admin_dsn != self.postgres.dsn:
            yield ("postgres", "admin_dsn"), self.postgres.admin_dsn.get_secret_value()

    def current_amqp_url(self) -> str:
        """The broker's address; read it again for each new connection."""
        return self.current().amqp.url.get_secret_value()

    def current_amqp_admin_url(self) -> str:
        """The broker's address for `topology`."""
        return self.current().amqp.admin_url.get_secret_value()

    def current_amqp_management_url(self) -> str | None:
        """The address of the broker's management interface, if it is set."""
        url = self.current().amqp.management_url
        return None if url is None else url.get_secret_value()

    def current_postgres_dsn(self) -> str:
        """The database's address; read it again for each new connection."""
        return self.current().postgres.dsn.get_secret_value()

    def current_postgres_admin_dsn(self) -> str:
        """The database's address for `migrate`."""
        return self.current().postgres.admin_dsn.get_secret_value()

    def faults_for_run(self) -> list[str]:
        """Settings that only `run` requires, and that are missing."""
        if self.dead_letters.seal_key is not None:
            return []
        return [f"WORKER_DEAD_LETTERS__SEAL_KEY is not set; {KEYGEN}"]
