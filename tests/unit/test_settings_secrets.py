"""The secrets directory: what is read there, and read again."""

from pathlib import Path

import pytest
import structlog
from hypothesis import given
from hypothesis import strategies as st

from worker.adapters import logs
from worker.app import parts
from worker.settings import Settings, SettingsError, load, reload
from worker.settings.addresses import passwords

FIRST, SECOND = "amqp://u:hunter1@127.0.0.1/", "amqp://u:hunter2@127.0.0.1/"


def loaded(directory: Path, **environ: str) -> Settings:
    """Settings that take secrets from a directory."""
    return load(environ={"WORKER_SECRETS_DIR": str(directory), **environ})


@pytest.mark.parametrize("name", ["WORKER_AMQP__URL", "AMQP__URL", "amqp__url", "worker_amqp__url"])
def test_a_file_is_named_like_its_variable(tmp_path: Path, name: str) -> None:
    """Case and the prefix make no difference, and one line end is no part of the value."""
    (tmp_path / name).write_text(FIRST + "\n")
    assert loaded(tmp_path).current_amqp_url() == FIRST


def test_the_layout_of_kubernetes_is_understood(tmp_path: Path) -> None:
    """Links into `..data` are read; hidden names and directories are passed over."""
    version = tmp_path / "..2026_11_22"
    version.mkdir()
    (version / "WORKER_AMQP__URL").write_text(FIRST)
    (tmp_path / "..data").symlink_to(version.name)
    (tmp_path / "WORKER_AMQP__URL").symlink_to("..data/WORKER_AMQP__URL")
    (tmp_path / "kubernetes.io").mkdir()
    assert loaded(tmp_path).current_amqp_url() == FIRST


@pytest.mark.parametrize(
    ("name", "content", "fault"),
    [
        ("amqp_url", b"x", "no such setting; did you mean WORKER_AMQP__URL?"),
        ("WORKER_CONFIG", b"x", "no such setting"),
        ("amqp__url", b"\xff", "can't be read: it is not UTF-8"),
        ("amqp__url", b"hunter2", "does not begin with amqp:// or amqps://"),
        ("http__port", b"http", "is not a whole number"),
    ],
)
def test_a_faulty_secret_is_refused_by_its_file(
    tmp_path: Path, name: str, content: bytes, fault: str
) -> None:
    """The fault names the file, and not what is in it."""
    (tmp_path / name).write_bytes(content)
    with pytest.raises(SettingsError) as caught:
        loaded(tmp_path)
    (found,) = caught.value.faults
    assert found.startswith(f"{tmp_path / name}: {fault}")
    assert "hunter2" not in found


def test_two_files_for_one_setting_are_refused(tmp_path: Path) -> None:
    """Which of them counts must not depend on their order."""
    for name in ("WORKER_AMQP__URL", "amqp__url"):
        (tmp_path / name).write_text(FIRST)
    with pytest.raises(SettingsError, match="amqp__url: sets the same as"):
        loaded(tmp_path)


def test_a_secret_is_read_again(tmp_path: Path) -> None:
    """A rotated password counts from the next connection on, for the admin address too."""
    file = tmp_path / "amqp__url"
    file.write_text(FIRST)
    settings = loaded(tmp_path)
    file.write_text(SECOND)
    assert settings.current_amqp_url() == SECOND
    assert settings.current_amqp_admin_url() == SECOND
    assert settings.amqp.url.get_secret_value() == FIRST


def test_the_environment_still_wins_when_a_secret_is_read_again(tmp_path: Path) -> None:
    """Reading again changes no precedence."""
    (tmp_path / "amqp__url").write_text(FIRST)
    settings = loaded(tmp_path, WORKER_AMQP__URL=SECOND)
    (tmp_path / "amqp__url").write_text(FIRST + "x")
    assert settings.current_amqp_url() == SECOND


@pytest.mark.parametrize("broken", ["", "hunter2", "amqp://u:hunter2@broker.example/", None])
def test_the_last_good_secret_is_kept_and_the_fault_told_once(
    tmp_path: Path, broken: str | None
) -> None:
    """An absent, invalid or unsafe secret replaces nothing; it is logged without its value."""
    file = tmp_path / "amqp__url"
    file.write_text(FIRST)
    settings = loaded(tmp_path)
    file.write_text(SECOND)
    assert settings.current_amqp_url() == SECOND
    if broken is None:
        file.unlink()
    else:
        file.write_text(broken)
    with structlog.testing.capture_logs() as logs:
        assert settings.current_amqp_url() == SECOND
        assert settings.current_amqp_url() == SECOND
    (line,) = logs
    assert (line["event"], line["log_level"]) == ("secrets_kept", "warning")
    assert line["faults"][0].startswith(str(file))
    assert "hunter" not in str(line)
    file.write_text(FIRST)
    assert settings.current_amqp_url() == FIRST


def test_reload_asks_the_same_sources(tmp_path: Path) -> None:
    """Options and the file are those of the first load; a fault leaves the old settings as good."""
    config = tmp_path / "worker.toml"
    config.write_text("[rate]\nceiling = 5\n")
    before = load({"log": {"level": "debug"}}, {}, config)
    config.write_text("[rate]\nceiling = 6\n")
    after = reload(before)
    assert (after.rate.ceiling, after.log.level) == (6.0, "debug")
    config.write_text("[rate]\nceiling = 0\n")
    with pytest.raises(SettingsError, match=r"rate\.ceiling in .*: is out of range"):
        reload(after)
    assert after.rate.ceiling == 6.0
    config.write_text("[rate]\nceiling = 7\n")
    assert reload(after).rate.ceiling == 7.0


PASSWORDS = [
    ("amqp://u:hunter1@127.0.0.1/", {"hunter1"}),
    ("amqp://u@127.0.0.1/", set()),
    ("postgresql://u:hunter1@127.0.0.1:5432,127.0.0.1:5433/x", {"hunter1"}),
    ("postgresql://u:hunt%40r%2B1@127.0.0.1,[::1]:5433/x", {"hunt%40r%2B1", "hunt@r+1"}),
    ("postgresql://u:hun:ter1@127.0.0.1/x", {"hun:ter1"}),
    ("postgresql://127.0.0.1/x?user=u&password=hunter1", {"hunter1"}),
    ("postgresql:///x?host=127.0.0.1&pass%77ord=hunt%40r+1", {"hunt%40r+1", "hunt@r 1"}),
    (
        "postgresql://u:hunter1@127.0.0.1/x?password=hunter2&sslpassword=hunter3",
        {"hunter1", "hunter2", "hunter3"},
    ),
]


@pytest.mark.parametrize(("address", "secret"), PASSWORDS)
def test_every_password_of_an_accepted_address_is_hidden(address: str, secret: set[str]) -> None:
    """Of one host or several, before the host or in the query, as written and as meant."""
    name = "AMQP__URL" if address.startswith("amqp") else "POSTGRES__DSN"
    load(environ={f"WORKER_{name}": address})
    assert passwords(address) == secret
    ask = parts._hidden(lambda: address)
    assert ask() == address
    for each in secret:
        assert each not in logs.secrets.hide(f"words {each} words")


@given(st.text() | st.text("postgresql:/?#@&=%[]password,1").map("postgresql://".__add__))
def test_whatever_an_address_is_asking_for_its_passwords_does_not_fail(address: str) -> None:
    """What can't be read has no password, and ends no process."""
    assert "" not in passwords(address)


def test_a_directory_named_like_a_setting(tmp_path: Path) -> None:
    """A directory in place of a setting's file is refused by name, not passed over."""
    (tmp_path / "amqp__url").mkdir()
    (tmp_path / "other").mkdir()
    with pytest.raises(SettingsError) as refused:
        loaded(tmp_path)
    assert refused.value.faults == [f"{tmp_path / 'amqp__url'}: can't be read: Is a directory"]
