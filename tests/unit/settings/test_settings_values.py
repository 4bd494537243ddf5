"""What each setting accepts, and what is said of the rest."""

import base64

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError
from yarl import URL

from worker.core.addresses.host_names import check_host_name
from worker.settings import Settings, SettingsError, load

KEY = base64.b64encode(bytes(range(32))).decode()
OTHER_KEY = base64.b64encode(bytes(32)).decode()

BAD = {
    "AMQP__URL": [
        "hunter2",
        "http://127.0.0.1/",
        '"amqp://127.0.0.1/"',
        "amqp:127.0.0.1",
        "amqp://",
        "amqp://:5672/",
        "amqp://127.0.0.1:0/",
        "amqp://127.0.0.1:65536/",
        "amqp://guest:p#ss@127.0.0.1/",
        "amqp://guest:p ss@127.0.0.1/",
        "amqp://127.0.0.1/?heartbeat",
        "amqp://broker..internal/",
        "amqp://u:hunter2@.internal/",
        "amqp://.:5672/",
        f"amqp://{'x' * 64}.internal/",
        f"amqp://{'xyz.' * 64}internal/",
        "amqp://bro%20ker.internal/",
        "amqp://br*ker.internal/",
        "amqp://bücher..internal/",
        f"amqp://{'ü' * 63}.internal/",
        "amqp://xn--/",
        "amqp://256.0.0.1/",
        "amqp://127.0.0.1,/",
        "amqp://127.0.0.1:5672,127.0.0.2:0/",
        "amqp://[::1::]/",
        "amqp://[127.0.0.1]/",
    ],
    "POSTGRES__DSN": [
        "hunter2",
        "mysql://127.0.0.1/x",
        "host=127.0.0.1 dbname=x",
        "jdbc:postgresql://127.0.0.1/x",
        "'postgresql://127.0.0.1/x'",
        "postgresql:///x",
        "postgresql://127.0.0.1,/x",
        "postgresql://127.0.0.1:port/x",
        "postgresql://127.0.0.1:5432,127.0.0.2:99999/x",
        "postgresql://u:p@ss@127.0.0.1/x",
        "postgresql://127.0.0.1/x?sslmode=yes",
        "postgresql://127.0.0.1/x?sslmode",
        "postgresql:///x?host=127.0.0.1&port=none",
        "postgresql:///x?host=127.0.0.1&port=5432,",
        "postgresql:///x?host=127.0.0.1,127.0.0.2&port=1,2,3",
        "postgresql://u:hunter2@db..internal:5432/x",
        "postgresql://127.0.0.1,db..internal/x",
        "postgresql:///x?host=db..internal",
        f"postgresql://{'x' * 64}.internal/x",
        f"postgresql://{'xyz.' * 64}internal/x",
        "postgresql://d%2Fb.internal/x",
        "postgresql://d%2Cb.internal/x",
        "postgresql:///x?host=@abstract",
        "postgresql://[127.0.0.1]/x",
        "postgresql://127.0.0.1,[::1::]/x",
        "postgresql://127.0.0.1/x?target_session_attrs=writable",
        "postgresql://127.0.0.1/x?sslnegotiation=none",
        "postgresql://127.0.0.1/x?host=127.0.0.1",
        "postgresql://127.0.0.1/x?sslmode=verify-ca&sslrootcert=system",
    ],
    "ALLOW_PLAINTEXT": ["maybe", "2"],
    "AWS__REGION": ["US-EAST-1", "us_east_1", "us-east-1.evil.example/"],
    "AWS__ENDPOINT_URL": [
        "127.0.0.1:8085",
        "ftp://127.0.0.1",
        "http://",
        "http://u:p@127.0.0.1",
        "http://127.0.0.1?x=1",
        "https://vpce..internal",
        "https://vpce.in*ternal",
    ],
    "AWS__ROLE_ARN": ["role", "arn:aws:iam::1:role/x", "arn:aws:iam::123456789012:user/x"],
    "AWS__EXTERNAL_ID": ["x", "two words", "x" * 1225, "t\u00e9nant"],
    "AWS__EXPECTED_ACCOUNT": ["1234", "12345678901x", "1234567890123"],
    "AWS__TIMEOUT": ["0s", "5", "9ms", "121s", "soon"],
    "AWS__CLIENT": ["boto3", "direct plain", "1"],
    "POOL__CONCURRENCY": ["0", "10001", "-1", "many", "1.5"],
    "POOL__DRAIN": ["0s", "11m", "25"],
    "RETRY__ATTEMPTS": ["0", "101", "x"],
    "RETRY__DELAYS": [
        ",",
        "5s,",
        "0s",
        "2m,120s",
        "5h",
        ",".join(f"{n}s" for n in range(1, 18)),
    ],
    "RATE__CEILING": ["0", "-1", "nan", "inf", "100001", "x"],
    "RATE__INITIAL": ["0"],
    "TOKEN__LIFETIME": ["0s", "241m", "4"],
    "TOKEN__PATIENCE": ["0ms", "5h"],
    "DEAD_LETTERS__SEAL_KEY": ["hunter2", "AAAA", KEY[:-4]],
    "DEAD_LETTERS__OPEN_KEYS": ["hunter2", f"{KEY},", f"{KEY},AAAA", f"{KEY},{KEY}"],
    "RETENTION__LEDGER": ["0s", "23h", "36501d", "30", "always"],
    "RETENTION__DEAD_LETTERS": ["1h", "30"],
    "RETENTION__AUDIT": ["29d", "400", "no"],
    "HTTP__HOST": ["a b", "http://x", "256.1.1.1", "[::1]", "x/y", "a..b", "a" * 64],
    "HTTP__PORT": ["-1", "65536", "http"],
    "LOG__LEVEL": ["loud", "critical"],
    "LOG__FORMAT": ["xml"],
}
GOOD = {
    "AMQP__URL": [
        "amqps://user:p%40ss@broker.example:5671/vhost?heartbeat=10",
        "amqp://localhost",
        "amqp://guest:p[ss@127.0.0.1/",
        "amqp://127.0.0.1,127.0.0.2/",
        "amqps://user:pw@a.example:5671,b.example:5672,[::1]:5671/vhost",
        "amqp://[::1]:5672/",
        "amqps://my_broker.internal./",
        "amqps://bücher.example/",
        "amqps://xn--bcher-kva.example/",
        "amqps://[fe80::1%25eth0]/",
    ],
    "POSTGRES__DSN": [
        "postgres://u:p@127.0.0.1/x",
        "postgresql:///x?host=/var/run/postgresql",
        "postgresql://%2Fvar%2Frun%2Fpostgresql/x",
        "postgresql://u@a.example:5432,b.example:5433/x?sslmode=verify-full",
        "postgresql://[::1]:5432/x",
        "postgresql://d%62_1.internal.,bücher.example/x?sslmode=verify-full",
        "postgresql:///x?host=127.0.0.1,127.0.0.2&port=5432,5433&target_session_attrs=read-write",
        "postgresql:///x?host=127.0.0.1,127.0.0.2&port=5432",
    ],
    "ALLOW_PLAINTEXT": ["true", "True", "1", "no"],
    "AWS__REGION": ["us-gov-west-1", "cn-northwest-1", "ap-southeast-2", "eusc-de-east-1"],
    "AWS__ENDPOINT_URL": ["https://vpce.example", "http://127.0.0.1:8085", "http://[::1]:1/"],
    "AWS__EXTERNAL_ID": ["tenant-7", "a/b:c=d,e.f@g+h_i", "x" * 1224],
    "AWS__ROLE_ARN": [
        "arn:aws:iam::123456789012:role/path/name",
        "arn:aws-cn:iam::123456789012:role/x",
    ],
    "AWS__EXPECTED_ACCOUNT": ["012345678901"],
    "AWS__TIMEOUT": ["10ms", "2m"],
    "AWS__CLIENT": ["direct", "plain"],
    "POOL__CONCURRENCY": ["1", "10000", " 64 "],
    "RETRY__ATTEMPTS": ["1", "100"],
    "RATE__CEILING": ["0.01", "25", "100000"],
    "TOKEN__LIFETIME": ["4h", "240m", "1ms"],
    "DEAD_LETTERS__SEAL_KEY": [KEY],
    "DEAD_LETTERS__OPEN_KEYS": [KEY, f" {KEY} , {OTHER_KEY} "],
    "RETENTION__LEDGER": ["never", " Never ", "1d", "36500d"],
    "RETENTION__DEAD_LETTERS": ["24h", "1d12h", "never"],
    "RETENTION__AUDIT": ["30d", "720h", "never"],
    "HTTP__HOST": ["0.0.0.0", "::", "localhost", "a.example"],  # noqa: S104 - only read
    "HTTP__PORT": ["0", "65535"],
    "LOG__LEVEL": ["debug", "info", "warning", "error", "INFO", " Warning "],
    "LOG__FORMAT": ["auto", "json", "console", "JSON"],
}


@pytest.mark.parametrize(
    ("name", "value"), [(f"WORKER_{name}", value) for name in BAD for value in BAD[name]]
)
def test_a_bad_value_is_refused_by_name_with_what_is_accepted(name: str, value: str) -> None:
    """One fault: the name, what is wrong, what is accepted; never the value."""
    with pytest.raises(SettingsError) as caught:
        load(environ={name: value})
    (fault,) = caught.value.faults
    assert fault.startswith(
        (f"{name}: is ", f"{name}: has ", f"{name}: names ", f"{name}: does ", f"{name}: contains ")
    )
    assert "(accepted: " in fault
    assert len(value) < 8 or value not in fault
    assert caught.value.__cause__ is None
    assert caught.value.__suppress_context__ or caught.value.__context__ is None


@pytest.mark.parametrize(
    ("name", "value"), [(f"WORKER_{name}", value) for name in GOOD for value in GOOD[name]]
)
def test_a_good_value_is_accepted(name: str, value: str) -> None:
    """Bounds included, what is documented works."""
    assert isinstance(load(environ={name: value}), Settings)


@given(
    st.text("abzäßЖ中\u3002\u00ad.-_%@[]*~,/ 019", max_size=12) | st.text(max_size=8),
)
def test_whatever_is_accepted_as_a_host_can_be_looked_up(host: str) -> None:
    """No accepted host makes a driver raise anything but that it is unknown."""
    try:
        check_host_name(host)
    except ValueError:
        return
    host.encode("idna")
    assert URL(f"amqp://{host}/" if ":" not in host else f"amqp://[{host}]/").host


def test_accepted_values_are_named() -> None:
    """Ranges and choices are told in full."""
    environ = {
        "WORKER_POOL__CONCURRENCY": "0",
        "WORKER_LOG__LEVEL": "x",
        "WORKER_AWS__TIMEOUT": "x",
    }
    with pytest.raises(SettingsError) as caught:
        load(environ=environ)
    text = str(caught.value)
    assert "is out of range (accepted: a whole number from 1 to 10,000)" in text
    assert "(accepted: debug, info, warning or error)" in text
    assert "(accepted: a duration from 10ms to 2m, such as 500ms, 5s, 2m or 1h30m)" in text


def test_values_are_read_as_what_they_are() -> None:
    """Durations become seconds, lists tuples, and delays keep their canonical text."""
    settings = load(
        environ={
            "WORKER_AWS__TIMEOUT": "1500ms",
            "WORKER_RETRY__DELAYS": "5000ms, 90s,120s",
            "WORKER_DEAD_LETTERS__OPEN_KEYS": f" {KEY} ,{OTHER_KEY}",
        }
    )
    assert settings.aws.timeout == 1.5
    assert [delay.text for delay in settings.retry.delays] == ["5s", "90s", "2m"]
    keys = [key.get_secret_value() for key in settings.dead_letters.open_keys]
    assert keys == [KEY, OTHER_KEY]


def test_an_admin_address_defaults_to_its_base() -> None:
    """Without one of their own, `topology` and `migrate` use the worker's addresses."""
    url, dsn = "amqp://a:b@127.0.0.1/", "postgresql://c@127.0.0.1/d"
    both = {"WORKER_AMQP__URL": url, "WORKER_POSTGRES__DSN": dsn}
    settings = load(environ=both)
    assert settings.current_amqp_admin_url() == url
    assert settings.current_postgres_admin_dsn() == dsn
    settings = load(environ=both | {"WORKER_AMQP__ADMIN_URL": "amqp://x:y@127.0.0.1/"})
    assert settings.current_amqp_admin_url() == "amqp://x:y@127.0.0.1/"


def test_secrets_are_hidden_wherever_settings_are_shown() -> None:
    """Neither repr nor str nor a JSON dump of the settings holds a password or private key."""
    settings = load(
        environ={
            "WORKER_AMQP__URL": "amqp://u:hunter2@127.0.0.1/",
            "WORKER_POSTGRES__DSN": "postgresql://u:hunter2@127.0.0.1/x",
            "WORKER_DEAD_LETTERS__OPEN_KEYS": KEY,
        }
    )
    for shown in (repr(settings), str(settings), settings.model_dump_json()):
        assert "hunter2" not in shown
        assert KEY not in shown


def test_settings_are_frozen() -> None:
    """Nobody changes a setting on the way."""
    settings = load(environ={})
    with pytest.raises(ValidationError, match="frozen"):
        settings.pool.concurrency = 1


def test_run_needs_a_seal_key() -> None:
    """Without one the fault names the command that prints a pair; with one there is none."""
    (fault,) = load(environ={}).faults_for_run()
    assert fault.startswith("WORKER_DEAD_LETTERS__SEAL_KEY is not set; ")
    assert "`resolution-worker keygen`" in fault
    assert load(environ={"WORKER_DEAD_LETTERS__SEAL_KEY": KEY}).faults_for_run() == []


def test_a_private_key_in_the_public_keys_place_is_refused() -> None:
    """Sealing to what only looks like a public key would lose everything sealed."""
    environ = {"WORKER_DEAD_LETTERS__SEAL_KEY": KEY, "WORKER_DEAD_LETTERS__OPEN_KEYS": KEY}
    with pytest.raises(SettingsError, match="SEAL_KEY: is a private key") as caught:
        load(environ=environ)
    assert KEY not in str(caught.value)


@given(st.sampled_from(sorted(BAD)), st.text(st.characters(codec="utf-8", exclude_characters="\0")))
def test_any_text_is_accepted_or_refused_by_name(name: str, value: str) -> None:
    """No value makes loading fail in any other way."""
    faults = []
    try:
        load(environ={f"WORKER_{name}": value})
    except SettingsError as error:
        faults = error.faults
    assert all(fault.startswith(f"WORKER_{name}: ") for fault in faults)
