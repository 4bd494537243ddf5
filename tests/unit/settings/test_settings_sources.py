"""Where settings come from, and which source wins."""

import os
import re
import tomllib
from pathlib import Path

import pytest

from worker.settings import SettingsError, load, reload
from worker.settings.leaves import LEAVES

EXAMPLE = Path(__file__).parents[3] / "config" / "worker.toml"


def faults_of(environ: dict[str, str], config: Path | None = None) -> list[str]:
    """The faults of settings that must be refused."""
    with pytest.raises(SettingsError) as caught:
        load(environ=environ, config=config)
    return caught.value.faults


def test_the_default_addresses_are_those_of_this_machine() -> None:
    """With no source at all, broker and database are the ones here; the file has other defaults."""
    settings = load(environ={})
    assert settings.current_amqp_url() == "amqp://guest:guest@127.0.0.1:5672/"
    assert settings.current_amqp_admin_url() == "amqp://guest:guest@127.0.0.1:5672/"
    assert settings.current_postgres_dsn() == "postgresql://postgres@127.0.0.1:5432/postgres"
    assert settings.current_postgres_admin_dsn() == settings.current_postgres_dsn()


def test_the_example_file_is_the_defaults() -> None:
    """The file config/worker.toml, which documents the defaults, changes nothing."""
    assert load(environ={}, config=EXAMPLE).model_dump() == load(environ={}).model_dump()


def test_the_example_file_names_every_setting_once() -> None:
    """A setting is there with its default, or commented out if it has none."""
    section, named = "", []
    for line in EXAMPLE.read_text().splitlines():
        if table := re.fullmatch(r"\[(\w+)\]", line):
            section = f"{table.group(1)}."
        elif key := re.match(r"(?:# )?(\w+) = ", line):
            named.append(section + key.group(1))
    assert sorted(named) == sorted(leaf.dotted for leaf in LEAVES.values())


def test_what_the_example_file_comments_out_is_accepted(tmp_path: Path) -> None:
    """Its commented-out examples are valid values, but for the keys, which are elided."""
    text = re.sub(r"(?m)^# (\w+ = (?!.*…))", r"\1", EXAMPLE.read_text())
    config = tmp_path / "all.toml"
    config.write_text(text.replace("amqps://admin:password@host", "amqp://127.0.0.1"))
    assert len(tomllib.loads(text)["aws"]) == 7
    assert load(environ={}, config=config).rate.ceiling == 25.0


def test_option_beats_environment_beats_secret_beats_file(tmp_path: Path) -> None:
    """Each source gives way to the one above it, setting by setting."""
    config = tmp_path / "worker.toml"
    config.write_text("[pool]\nconcurrency = 1\n[retry]\nattempts = 1\n[http]\nport = 1\n")
    secrets = tmp_path / "secrets"
    secrets.mkdir()
    (secrets / "pool__concurrency").write_text("2")
    (secrets / "retry__attempts").write_text("2")
    (secrets / "http__port").write_text("2")
    environ = {"WORKER_SECRETS_DIR": str(secrets), "WORKER_CONFIG": str(config)}
    environ |= {"WORKER_POOL__CONCURRENCY": "3", "WORKER_RETRY__ATTEMPTS": "3"}
    options = {"pool": {"concurrency": 4}, "retry": {"attempts": None}}
    settings = load(options, environ)
    assert (settings.pool.concurrency, settings.retry.attempts, settings.http.port) == (4, 3, 2)
    (secrets / "http__port").unlink()
    assert load(options, environ).http.port == 1


def test_the_config_option_beats_the_variable(tmp_path: Path) -> None:
    """A file given by option is read instead of the one WORKER_CONFIG names."""
    config = tmp_path / "worker.toml"
    config.write_text("allow_plaintext = true\n")
    environ = {"WORKER_CONFIG": str(tmp_path / "absent.toml")}
    assert load(environ=environ, config=config).allow_plaintext


def test_the_process_environment_is_the_default(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without an explicit environment that of the process counts, and again at reload."""
    for name in [name for name in os.environ if name.startswith("WORKER_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("WORKER_RATE__CEILING", "7.5")
    settings = load()
    assert settings.rate.ceiling == 7.5
    monkeypatch.setenv("WORKER_RATE__CEILING", "8")
    assert reload(settings).rate.ceiling == 8.0


def test_what_kubernetes_injects_for_our_service_is_ignored() -> None:
    """Variables of a Service called `worker` are no settings."""
    names = ["SERVICE_HOST", "SERVICE_PORT", "SERVICE_PORT_HTTP", "SERVICE_PORT_HTTP_METRICS"]
    names += ["PORT", "PORT_9108_TCP", "PORT_53_UDP", "PORT_9_SCTP"]
    names += [f"PORT_9108_TCP_{part}" for part in ("ADDR", "PORT", "PROTO")]
    environ = {f"WORKER_{name}": "tcp://10.0.0.1:9108" for name in names}
    assert load(environ=environ).model_dump() == load(environ={}).model_dump()


@pytest.mark.parametrize("name", ["WORKER_PORTS", "WORKER_PORT_9108", "WORKER_PORT_1_TCP_X"])
def test_what_only_looks_injected_is_refused(name: str) -> None:
    """A name next to an injected one is still an unknown setting."""
    assert faults_of({name: "1"})[0].startswith(f"{name}: no such setting")


def test_what_kubernetes_injects_for_another_service_is_told_apart() -> None:
    """For a Service called `worker-db` the fault says how to stop the injection."""
    (fault,) = faults_of({"WORKER_DB_SERVICE_HOST": "10.0.0.1"})
    assert "enableServiceLinks: false" in fault


@pytest.mark.parametrize(
    ("name", "meant"),
    [
        ("WORKER_AMQP_URL", "WORKER_AMQP__URL"),
        ("WORKER_POOL__CONCURENCY", "WORKER_POOL__CONCURRENCY"),
        ("WORKER_amqp__url", ""),
        ("WORKER_ZZZ", ""),
        ("WORKER_AMQP__URL__MORE", "WORKER_AMQP__URL"),
    ],
)
def test_an_unknown_variable_is_refused_with_what_was_meant(name: str, meant: str) -> None:
    """The fault names the variable, suggests the closest, and keeps its value to itself."""
    (fault,) = faults_of({name: "hunter2"})
    assert fault == f"{name}: no such setting" + (f"; did you mean {meant}?" if meant else "")


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        ("[pool]\ndrian = '1s'\n", "pool.drian in {}: no such setting; did you mean pool.drain?"),
        ("[zzzzz]\nx = 1\n", "zzzzz in {}: no such setting"),
        ("pool = 5\n", "pool in {}: is a section, not a setting (accepted: a table)"),
        ("[pool.drain]\nx = 1\n", "pool.drain in {}: is not text (accepted: a duration"),
        ("[pool]\ndrain = 5\n", "pool.drain in {}: has no unit: write 5s for five seconds"),
        ("[pool]\nconcurrency = true\n", "pool.concurrency in {}: is not a whole number"),
        ("[pool]\nconcurrency = 1.5\n", "pool.concurrency in {}: is not a whole number"),
        ("[retry]\ndelays = [5]\n", "retry.delays in {}: has no unit"),
        ("[retry]\ndelays = []\n", "retry.delays in {}: is empty"),
        ("[aws]\nexpected_account = 123456789012\n", "aws.expected_account in {}: is not text"),
        ("url = hunter2\n", "{}: is not valid TOML: see line 1, column 7"),
        ("a = 1\na = 2\n", "{}: is not valid TOML: see line 2"),
    ],
)
def test_a_faulty_file_is_refused_by_key_and_name(tmp_path: Path, text: str, fault: str) -> None:
    """The fault names the key as the file has it, and the file."""
    config = tmp_path / "worker{0}.toml"
    config.write_text(text)
    (found,) = faults_of({}, config)
    assert found.startswith(fault.replace("{}", str(config)))
    assert "hunter2" not in found


def test_a_file_nested_without_end_is_refused(tmp_path: Path) -> None:
    """Depth is a fault like any other."""
    config = tmp_path / "deep.toml"
    config.write_text("a = " + "[" * 100_000)
    assert faults_of({}, config)[0].startswith(f"{config}: is not valid TOML")


def test_files_that_cannot_be_read_are_named(tmp_path: Path) -> None:
    """A file that is absent, a directory, no UTF-8 or huge, and an absent secrets directory."""
    odd = tmp_path / "odd.toml"
    odd.write_bytes(b"\xff\xff")
    huge = tmp_path / "huge.toml"
    huge.write_bytes(b"#" * (1 << 21))
    absent = tmp_path / "absent"
    assert faults_of({}, absent) == [f"{absent}: can't be read: No such file or directory"]
    assert faults_of({}, tmp_path) == [f"{tmp_path}: can't be read: Is a directory"]
    assert faults_of({}, odd) == [f"{odd}: can't be read: it is not UTF-8"]
    assert faults_of({}, huge) == [f"{huge}: can't be read: is larger than 1,048,576 bytes"]
    assert faults_of({"WORKER_SECRETS_DIR": str(absent)}) == [
        f"WORKER_SECRETS_DIR: {absent} can't be read: No such file or directory"
    ]


def test_an_unknown_option_is_refused() -> None:
    """Options go by the same names as the file."""
    with pytest.raises(SettingsError, match=r"^option pool.drian: no such setting; did you mean"):
        load({"pool": {"drian": "1s"}}, {})


@pytest.mark.parametrize("blank", ["", " "])
def test_an_empty_variable_is_an_unset_one(tmp_path: Path, blank: str) -> None:
    """Container tools empty variables that nobody has set; what is below them counts then."""
    environ = {leaf.env: blank for leaf in LEAVES.values()}
    environ |= {"WORKER_CONFIG": "", "WORKER_SECRETS_DIR": "", "WORKER_OF_YESTERDAY": blank}
    assert load(environ=environ).model_dump() == load(environ={}).model_dump()
    (tmp_path / "http__port").write_text("7")
    settings = load(environ={**environ, "WORKER_SECRETS_DIR": str(tmp_path)})
    assert settings.http.port == 7


def test_an_empty_text_elsewhere_stands_for_none_where_there_is_none(tmp_path: Path) -> None:
    """An optional setting is not set by it; one that needs a value refuses it."""
    config = tmp_path / "worker.toml"
    config.write_text("[amqp]\nadmin_url = ' '\n[aws]\nrole_arn = ''\n")
    assert load(environ={}, config=config).model_dump() == load(environ={}).model_dump()
    config.write_text("[amqp]\nurl = ''\n")
    assert faults_of({}, config)[0].startswith(f"amqp.url in {config}: does not begin")


MARK = "\ufeff"


def test_a_byte_order_mark_means_nothing(tmp_path: Path) -> None:
    """Before a secret, the file, or a value that was pasted, it is passed over."""
    url, key = "amqp://u:p@127.0.0.1/", "A" * 43 + "="
    config = tmp_path / "worker.toml"
    config.write_bytes(f"{MARK}[pool]\r\nconcurrency = 3\r\n".encode())
    secrets = tmp_path / "secrets"
    secrets.mkdir()
    (secrets / "WORKER_AMQP__URL").write_bytes(f"{MARK}{url}\r\n".encode())
    (secrets / "WORKER_DEAD_LETTERS__SEAL_KEY").write_bytes(f"{MARK}{key}".encode())
    environ = {"WORKER_SECRETS_DIR": str(secrets), "WORKER_HTTP__PORT": f"{MARK}7"}
    settings = load(environ=environ, config=config)
    assert settings.current_amqp_url() == url
    assert settings.dead_letters.seal_key == key
    assert (settings.pool.concurrency, settings.http.port) == (3, 7)
    (secrets / "WORKER_AMQP__URL").write_bytes(f"{MARK}{url}x".encode())
    assert settings.current_amqp_url() == f"{url}x"


@pytest.mark.parametrize("encoding", ["utf-16", "utf-16-le", "utf-16-be"])
def test_utf_16_is_told_in_words(tmp_path: Path, encoding: str) -> None:
    """What a shell on Windows writes is called what it is, and nothing of it is shown."""
    config = tmp_path / "worker.toml"
    config.write_bytes("[pool]\nconcurrency = 3\n".encode(encoding))
    (tmp_path / "amqp__url").write_bytes("amqp://u:hunter2@127.0.0.1/".encode(encoding))
    (tmp_path / "http__port").write_bytes(b"\xe4\xf6")
    faults = faults_of({"WORKER_SECRETS_DIR": str(tmp_path)}, config)
    assert sorted(faults) == [
        f"{tmp_path}/amqp__url: can't be read: it is UTF-16: save it as UTF-8",
        f"{tmp_path}/http__port: can't be read: it is not UTF-8",
        f"{config}: can't be read: it is UTF-16: save it as UTF-8",
    ]


def test_all_faults_come_at_once(tmp_path: Path) -> None:
    """Faults of every source and kind are listed together."""
    config = tmp_path / "worker.toml"
    config.write_text("[pool]\nconcurrency = 0\n[log]\nlevel = 'loud'\n")
    secrets = tmp_path / "secrets"
    secrets.mkdir()
    (secrets / "aws__regoin").write_text("x")
    faults = faults_of(
        {
            "WORKER_AMQP_URL": "x",
            "WORKER_HTTP__PORT": "65536",
            "WORKER_POSTGRES__DSN": "postgresql://db.example/x",
            "WORKER_SECRETS_DIR": str(secrets),
        },
        config,
    )
    named = [fault.partition(":")[0] for fault in faults]
    assert sorted(named) == sorted(
        [
            "WORKER_AMQP_URL",
            str(secrets / "aws__regoin"),
            f"pool.concurrency in {config}",
            "WORKER_HTTP__PORT",
            f"log.level in {config}",
            "WORKER_POSTGRES__DSN",
        ]
    )
    assert "must" not in "".join(faults)
