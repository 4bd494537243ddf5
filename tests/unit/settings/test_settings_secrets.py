"""The secrets directory: what is read there, and read again."""

from collections.abc import Callable, Iterator, MutableMapping
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pytest
import structlog
from hypothesis import given, settings
from hypothesis import strategies as st

from worker.adapters import logs
from worker.adapters.sealing import generate
from worker.app.hidden import hidden
from worker.core.addresses.passwords import passwords
from worker.settings import Settings, SettingsError, load, reload

FIRST, SECOND = "amqp://u:hunter1@127.0.0.1/", "amqp://u:hunter2@127.0.0.1/"
DSN = "postgresql://u:hunter1@127.0.0.1/x"


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
        ("WORKER_AMQP__ULR", b"x", "no such setting; did you mean WORKER_AMQP__URL?"),
        ("amqp__ulr", b"x", "no such setting; did you mean WORKER_AMQP__URL?"),
        ("worker_amqp_url", b"x", "no such setting; did you mean WORKER_AMQP__URL?"),
        ("http__zzzzzzzzzzzz", b"x", "no such setting"),
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


FOREIGN = ["redhat.repo", "ca.crt", "token", "namespace", "db_password", "tls__key", "amqp", "__"]


def test_files_of_others_are_passed_over(tmp_path: Path) -> None:
    """What does not claim to be a setting stops nothing, and all of it is told in one sentence."""
    (tmp_path / "amqp__url").write_text(FIRST)
    assert loaded(tmp_path).passed_over is None
    for name in FOREIGN:
        (tmp_path / name).write_bytes(b"\xff")
    settings = loaded(tmp_path)
    assert settings.current_amqp_url() == FIRST
    names = ", ".join(sorted(FOREIGN))
    told = "WORKER_SECRETS_DIR: files that are not named like settings are ignored: "
    assert settings.passed_over == told + names


def test_a_file_that_is_all_but_a_setting_is_told_so(tmp_path: Path) -> None:
    """One underscore where there should be two is passed over, with what was meant."""
    (tmp_path / "amqp_url").write_text(FIRST)
    assert (loaded(tmp_path).passed_over or "").endswith(
        "amqp_url (did you mean WORKER_AMQP__URL?)"
    )


def test_a_crowd_of_foreign_files_is_told_in_short(tmp_path: Path) -> None:
    """Nobody wants to read a hundred names."""
    for number in range(100):
        (tmp_path / f"{number}.pem").touch()
    assert (loaded(tmp_path).passed_over or "").endswith("25.pem, 26.pem and 80 more")


def test_two_files_for_one_setting_are_refused(tmp_path: Path) -> None:
    """Which of them counts must not depend on their order."""
    for name in ("WORKER_AMQP__URL", "amqp__url"):
        (tmp_path / name).write_text(FIRST)
    with pytest.raises(SettingsError, match="amqp__url: is for the same setting as"):
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


@contextmanager
def told() -> Iterator[list[MutableMapping[str, Any]]]:
    """The warnings of a block, all but what was taken up."""
    warnings: list[MutableMapping[str, Any]] = []
    with structlog.testing.capture_logs() as logs:
        yield warnings
    warnings += [line for line in logs if line["log_level"] == "warning"]


class Clock:
    """A clock that is set by hand."""

    def __init__(self, settings: Settings) -> None:
        self.now = 0.0
        rotation = getattr(settings._latest, "rotation")  # noqa: B009 - a callable to mypy
        rotation._clock = lambda: self.now


@pytest.mark.parametrize("broken", ["", "hunter2", "amqp://u:hunter2@broker.example/", None])
def test_the_last_good_secret_is_kept_and_the_fault_told(
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
    with told() as warnings:
        assert settings.current_amqp_url() == SECOND
        assert settings.current_amqp_url() == SECOND
    (line,) = warnings
    assert line["event"] == "secrets_kept"
    assert line["faults"][0].startswith(str(file))
    assert "hunter" not in str(line)
    file.write_text(FIRST)
    assert settings.current_amqp_url() == FIRST


def test_a_fault_is_told_each_minute_while_it_lasts(tmp_path: Path) -> None:
    """However often it is met, it is one line a minute; a new one is told at once."""
    file = tmp_path / "amqp__url"
    file.write_text(FIRST)
    settings = loaded(tmp_path)
    clock = Clock(settings)
    file.write_text("hunter2")
    with told() as warnings:
        for clock.now in range(0, 181, 15):
            settings.current()
    assert len(warnings) == 4
    with told() as warnings:
        (tmp_path / "http__port").write_text("none")
        settings.current()
    assert [len(line["faults"]) for line in warnings] == [2]
    with told() as warnings:
        file.write_text(SECOND)
        (tmp_path / "http__port").unlink()
        for clock.now in range(181, 400, 15):
            settings.current()
    assert warnings == []


STRAYS = {
    "WORKER_AMQP__ULR": "x",
    "amqp__ulr": "x",
    "http__port": "none",
    "pool__drain": "0s",
    "postgres__admin_dsn": "postgresql://u:hunter3@db..internal/x",
    "dead_letters__seal_key": "hunter3",
    "allow_plaintext": "perhaps",
    "WORKER_AMQP__ADMIN_URL": "amqp://u:hunter3@broker.example/",
}


@pytest.mark.parametrize("name", STRAYS)
def test_a_bad_neighbour_keeps_no_other_setting_from_rotating(tmp_path: Path, name: str) -> None:
    """A stray file or a bad value beside it is told by its file, and the good one is taken up."""
    (tmp_path / "amqp__url").write_text(FIRST)
    settings = loaded(tmp_path)
    (tmp_path / "amqp__url").write_text(SECOND)
    (tmp_path / name).write_text(STRAYS[name])
    with told() as warnings:
        assert settings.current_amqp_url() == SECOND
    (line,) = warnings
    assert line["event"] == "secrets_kept"
    (fault,) = line["faults"]
    assert fault.startswith(f"{tmp_path / name}: ")
    assert "hunter" not in str(line)


def test_a_file_of_others_at_a_rotation_changes_nothing(tmp_path: Path) -> None:
    """It is passed over, which is told once; what rotates beside it is taken up."""
    (tmp_path / "amqp__url").write_text(FIRST)
    settings = loaded(tmp_path)
    clock = Clock(settings)
    (tmp_path / "ca.crt").write_text("x")
    (tmp_path / "amqp__url").write_text(SECOND)
    with told() as warnings:
        for clock.now in range(0, 181, 15):
            assert settings.current_amqp_url() == SECOND
    (line,) = warnings
    assert line["event"] == "secrets_ignored"
    assert line["reason"].endswith(": ca.crt")


def aside(file: Path) -> Path:
    """The place of a file that has made room for something else."""
    file.unlink()
    return file


BROKEN: dict[str, Callable[[Path], object]] = {
    "gone": lambda file: file.unlink(),
    "no text": lambda file: file.write_bytes(b"\xff"),
    "a directory": lambda file: aside(file).mkdir(),
    "a link to nowhere": lambda file: aside(file).symlink_to("nowhere"),
    "there twice": lambda file: file.with_name("WORKER_AMQP__URL").write_text(SECOND),
}


@pytest.mark.parametrize("how", BROKEN)
def test_a_file_that_cannot_be_read_concerns_its_own_setting(tmp_path: Path, how: str) -> None:
    """That one keeps its last good value, and the others go on rotating."""
    (tmp_path / "amqp__url").write_text(FIRST)
    (tmp_path / "postgres__dsn").write_text(DSN)
    settings = loaded(tmp_path)
    BROKEN[how](tmp_path / "amqp__url")
    (tmp_path / "postgres__dsn").write_text(f"{DSN}2")
    with told() as warnings:
        assert settings.current_amqp_url() == FIRST
    assert settings.current_postgres_dsn() == f"{DSN}2"
    assert len(warnings) == 1


def test_a_directory_that_is_away_for_a_while_keeps_all(tmp_path: Path) -> None:
    """Unmounted, empty or not there yet, it takes nothing with it, and is told."""
    directory = tmp_path / "secrets"
    directory.mkdir()
    (directory / "amqp__url").write_text(FIRST)
    (directory / "postgres__dsn").write_text(DSN)
    settings = loaded(directory)
    directory.rename(tmp_path / "aside")
    with told() as warnings:
        assert (settings.current_amqp_url(), settings.current_postgres_dsn()) == (FIRST, DSN)
    assert [line["faults"] for line in warnings] == [
        [f"WORKER_SECRETS_DIR: {directory} can't be read: No such file or directory"]
    ]
    directory.mkdir()
    with told() as warnings:
        assert (settings.current_amqp_url(), settings.current_postgres_dsn()) == (FIRST, DSN)
    assert [len(line["faults"]) for line in warnings] == [2]
    directory.rmdir()
    (tmp_path / "aside").rename(directory)
    (directory / "amqp__url").write_text(SECOND)
    assert (settings.current_amqp_url(), settings.current_postgres_dsn()) == (SECOND, DSN)


def test_the_swap_of_kubernetes_is_taken_up_as_it_is(tmp_path: Path) -> None:
    """While `..data` points nowhere all stays; once it points to the new ones they count."""
    for version, url in (("..1", FIRST), ("..2", SECOND)):
        (tmp_path / version).mkdir()
        (tmp_path / version / "WORKER_AMQP__URL").write_text(url)
    (tmp_path / "..data").symlink_to("..1")
    (tmp_path / "WORKER_AMQP__URL").symlink_to("..data/WORKER_AMQP__URL")
    settings = loaded(tmp_path)
    (tmp_path / "..data").unlink()
    assert settings.current_amqp_url() == FIRST
    (tmp_path / "..tmp").symlink_to("..2")
    (tmp_path / "..tmp").rename(tmp_path / "..data")
    assert settings.current_amqp_url() == SECOND


def test_settings_that_do_not_go_together_are_held_back_together(tmp_path: Path) -> None:
    """Only those that the fault is about, and only as far as they are new."""
    private, other = generate()[1], generate()[0]
    (tmp_path / "dead_letters__seal_key").write_text(other)
    (tmp_path / "amqp__url").write_text("amqp://broker.example/")
    (tmp_path / "allow_plaintext").write_text("true")
    settings = loaded(tmp_path)
    (tmp_path / "dead_letters__seal_key").write_text(private)
    (tmp_path / "dead_letters__open_keys").write_text(private)
    (tmp_path / "allow_plaintext").write_text("false")
    (tmp_path / "postgres__dsn").write_text(DSN)
    with told() as warnings:
        now = settings.current()
    assert (now.dead_letters.seal_key, now.dead_letters.open_keys) == (other, ())
    assert now.allow_plaintext
    assert now.postgres.dsn.get_secret_value() == DSN
    (line,) = warnings
    assert len(line["faults"]) == 2
    assert private not in str(line)
    (tmp_path / "amqp__url").write_text("amqps://broker.example/")
    assert not settings.current().allow_plaintext


def test_a_setting_that_comes_later_is_taken_up_and_kept(tmp_path: Path) -> None:
    """A file that was not there at the start counts from when it is good."""
    (tmp_path / "amqp__url").write_text(FIRST)
    settings = loaded(tmp_path)
    file = tmp_path / "amqp__admin_url"
    file.write_text("hunter2")
    assert settings.current_amqp_admin_url() == FIRST
    file.write_text(SECOND)
    assert settings.current_amqp_admin_url() == SECOND
    file.unlink()
    assert settings.current_amqp_admin_url() == SECOND


@settings(max_examples=25)
@given(
    st.lists(
        st.dictionaries(
            st.sampled_from(["amqp__url", "postgres__dsn", "http__port", "rate__ceiling"]),
            st.sampled_from(["good", "better", "bad"]),
        ),
        max_size=5,
    )
)
def test_each_setting_has_its_last_good_value_whatever_the_others_have(
    steps: list[dict[str, str]],
) -> None:
    """Over any sequence of rotations, each setting goes its own way."""
    values = {
        "amqp__url": {"good": FIRST, "better": SECOND, "bad": "amqp://a..b/"},
        "postgres__dsn": {"good": DSN, "better": f"{DSN}2", "bad": "postgresql://a..b/"},
        "http__port": {"good": "1", "better": "2", "bad": "none"},
        "rate__ceiling": {"good": "1", "better": "2", "bad": "-1"},
    }
    expected = dict.fromkeys(values, "good")
    with TemporaryDirectory() as name, structlog.testing.capture_logs():
        directory = Path(name)
        for setting, spelt in values.items():
            (directory / setting).write_text(spelt["good"])
        rotating = loaded(directory)
        for step in steps:
            for setting, how in step.items():
                (directory / setting).write_text(values[setting][how])
                expected[setting] = expected[setting] if how == "bad" else how
            now = rotating.current()
            assert [
                now.amqp.url.get_secret_value(),
                now.postgres.dsn.get_secret_value(),
                str(now.http.port),
                f"{now.rate.ceiling:g}",
            ] == [values[setting][how] for setting, how in expected.items()]


def test_reload_takes_the_last_good_secret(tmp_path: Path) -> None:
    """A bad secret does not keep a new ceiling from being taken up, nor is it taken up itself."""
    config, secrets = tmp_path / "worker.toml", tmp_path / "secrets"
    secrets.mkdir()
    config.write_text("[rate]\nceiling = 5\n")
    (secrets / "amqp__url").write_text(FIRST)
    settings = loaded(secrets, WORKER_CONFIG=str(config))
    config.write_text("[rate]\nceiling = 6\n")
    (secrets / "amqp__url").write_text("hunter2")
    (secrets / "amqp__ulr").write_text("hunter2")
    after = reload(settings)
    assert (after.rate.ceiling, after.current_amqp_url()) == (6.0, FIRST)
    (secrets / "amqp__url").write_text(SECOND)
    assert after.current_amqp_url() == SECOND


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
    ask = hidden(lambda: address)
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
