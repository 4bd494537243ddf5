"""Unencrypted or unverified connections beyond loopback."""

import pytest

from worker.settings import SettingsError, load

BUNDLE = "/etc/ssl/certs/ca-certificates.crt"

REFUSED = [
    ("AMQP__URL", "amqp://broker.example/"),
    ("AMQP__URL", "amqp://10.0.0.1/"),
    ("AMQP__URL", "amqp://localhost.example/"),
    ("AMQP__URL", "amqp://127.0.0.1.example/"),
    ("AMQP__URL", "amqp://127.0.0.1@broker.example/"),
    ("AMQP__URL", "amqps://broker.example/?no_verify_ssl=1"),
    ("AMQP__URL", "amqps://broker.example/?no_verify_ssl="),
    ("AMQP__MANAGEMENT_URL", "http://ada:pw@broker.example:15672"),
    ("AMQP__URL", "amqps://broker.example/?no_verify_ssl=true"),
    ("AMQP__URL", "amqps://broker.example/?no_verify_ssl=0&no_verify_ssl=1"),
    ("AMQP__ADMIN_URL", "amqp://broker.example/"),
    ("AMQP__URL", "amqp://127.0.0.1,broker.example/"),
    ("AMQP__URL", "amqps://a.example,b.example/?verify=verify_none"),
    ("POSTGRES__DSN", "postgresql://db.example/x"),
    ("POSTGRES__DSN", "postgresql://db.example/x?sslmode=prefer"),
    ("POSTGRES__DSN", "postgresql://db.example/x?sslmode=require"),
    ("POSTGRES__DSN", "postgresql://db.example/x?sslmode=verify-ca"),
    ("POSTGRES__DSN", "postgresql://db.example/x?sslmode=verify-full&sslmode=disable"),
    ("POSTGRES__DSN", "postgresql://127.0.0.1,db.example/x"),
    ("POSTGRES__DSN", "postgresql:///x?host=db.example"),
    ("POSTGRES__ADMIN_DSN", "postgresql://db.example/x"),
    ("AWS__ENDPOINT_URL", "http://10.0.0.1:8085"),
    ("AWS__ENDPOINT_URL", "http://metering.example"),
]
ACCEPTED = [
    ("AMQP__URL", "amqps://broker.example/"),
    ("AMQP__URL", "amqps://broker.example/?no_verify_ssl=0"),
    ("AMQP__URL", "amqp://127.8.9.10/"),
    ("AMQP__URL", "amqp://LOCALHOST/"),
    ("AMQP__URL", "amqp://[::1]/"),
    ("AMQP__URL", "amqps://127.0.0.1/?no_verify_ssl=1"),
    ("POSTGRES__DSN", "postgresql://db.example/x?sslmode=verify-full"),
    ("POSTGRES__DSN", "postgresql://db.example/x?sslrootcert=system"),
    ("AMQP__URL", "amqps://a.example,b.example/"),
    ("AMQP__URL", "amqp://127.0.0.1,[::1]:5673/"),
    ("POSTGRES__DSN", f"postgresql://db.example/x?sslmode=verify-ca&sslrootcert={BUNDLE}"),
    ("AMQP__MANAGEMENT_URL", f"https://ada:pw@broker.example:15671/prefix?cafile={BUNDLE}"),
    ("AMQP__MANAGEMENT_URL", "http://ada:pw@127.0.0.1:15672"),
    ("POSTGRES__DSN", "postgresql://127.0.0.1,[::1]:5433/x?sslmode=disable"),
    ("POSTGRES__DSN", "postgresql:///x?host=/var/run/postgresql"),
    ("POSTGRES__DSN", "postgresql://%2Ftmp/x"),
    ("AWS__ENDPOINT_URL", "https://metering.example"),
    ("AWS__ENDPOINT_URL", "HTTPS://metering.example"),
    ("AWS__ENDPOINT_URL", "http://localhost:8085"),
]


@pytest.mark.parametrize(("name", "value"), REFUSED)
def test_an_open_connection_beyond_loopback_is_refused(name: str, value: str) -> None:
    """The one fault names the setting, the safe form and the way to allow it all the same."""
    with pytest.raises(SettingsError) as caught:
        load(environ={f"WORKER_{name}": value})
    (fault,) = caught.value.faults
    assert fault.startswith(f"WORKER_{name}: connects beyond loopback unencrypted")
    assert "WORKER_ALLOW_PLAINTEXT=true" in fault
    assert "example" not in fault


@pytest.mark.parametrize(("name", "value"), REFUSED)
def test_plaintext_can_be_allowed(name: str, value: str) -> None:
    """With WORKER_ALLOW_PLAINTEXT the same setting is accepted."""
    assert load(environ={f"WORKER_{name}": value, "WORKER_ALLOW_PLAINTEXT": "true"}).allow_plaintext


@pytest.mark.parametrize(("name", "value"), ACCEPTED)
def test_a_safe_or_local_connection_is_accepted(name: str, value: str) -> None:
    """Verified encryption, loopback and Unix sockets need no permission."""
    assert not load(environ={f"WORKER_{name}": value}).allow_plaintext


def test_nothing_is_guessed_while_the_permission_itself_is_bad() -> None:
    """A bad WORKER_ALLOW_PLAINTEXT is the one fault, whatever it would have allowed."""
    environ = {"WORKER_ALLOW_PLAINTEXT": "maybe", "WORKER_AMQP__URL": "amqp://broker.example/"}
    with pytest.raises(SettingsError) as caught:
        load(environ=environ)
    assert len(caught.value.faults) == 1
