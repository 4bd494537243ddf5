"""What `resolve-customer` does beyond the AWS CLI, and where it means to differ."""

from __future__ import annotations

import json
from contextlib import contextmanager
from typing import TYPE_CHECKING, Final

import pytest

from harness.installation import simulating
from harness.programs import Program
from harness.waiting import eventually
from tests.acceptance.aws_cli import AWS, OURS, UNSET, Tool, encrypting, version_two

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.acceptance.aws_cli import Encrypted

_TOKEN: Final = "ok-a-token-that-nobody-may-see-+/="
_TO: Final = ("--endpoint-url", "{url}")


@pytest.fixture(scope="module")
def tool(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Tool]:
    """Our command, and a simulator for it."""
    home = tmp_path_factory.mktemp("own")
    with simulating(home) as simulator:
        yield Tool(OURS, simulator.url, home)


@pytest.fixture(scope="module")
def encrypted(tool: Tool) -> Iterator[Encrypted]:
    """The simulator behind TLS, with a certificate of its own."""
    with encrypting(tool.url, tool.home) as front:
        yield front


@contextmanager
def written(path: Path, text: str) -> Iterator[str]:
    """A file as an option names it, until the block ends."""
    path.write_text(text, encoding="utf-8")
    yield f"file://{path}"
    path.unlink()


def test_a_token_on_standard_input_is_resolved_without_a_warning(tool: Tool) -> None:
    """`-` reads the token from standard input, and takes off the line end."""
    ended = tool.run("--registration-token", "-", *_TO, stdin=f"{_TOKEN}\n")

    assert (ended.code, ended.err) == (0, "")
    assert json.loads(ended.out)["LicenseArn"]


def test_a_token_in_a_file_is_resolved_without_a_warning(tool: Tool, tmp_path: Path) -> None:
    """`file://` reads the token from a file, and takes off the line end."""
    with written(tmp_path / "token", f"{_TOKEN}\n") as place:
        ended = tool.run("--registration-token", place, *_TO)

    assert (ended.code, ended.err) == (0, "")


@pytest.mark.parametrize(
    "arguments",
    [
        ("--registration-token", _TOKEN),
        ("--cli-input-json", json.dumps({"RegistrationToken": _TOKEN})),
        ("--cli-input-yaml", f"RegistrationToken: {_TOKEN}"),
    ],
    ids=lambda given: given[0],
)
def test_a_token_on_the_command_line_is_warned_of(tool: Tool, arguments: tuple[str, ...]) -> None:
    """Whoever types the token is told that others can see it, and what hides it."""
    ended = tool.run(*arguments, *_TO)

    assert ended.code == 0
    assert ended.err.startswith(f"resolve-customer: warning: {arguments[0]} exposes the token in ")
    assert "file://" in ended.err
    assert _TOKEN not in ended.err


async def test_a_token_on_standard_input_is_in_no_list_of_processes(
    tool: Tool, tmp_path: Path
) -> None:
    """While a call is under way, the process shows nothing of a token that was not typed."""
    with written(tmp_path / "token", "slow-5000-unseen") as place:
        program = Program(
            *("resolve-customer", "--registration-token", place, "--endpoint-url", tool.url),
            environment=tool.environment,
        )
        try:
            line = f"/proc/{program.process.pid}/cmdline"

            def shown() -> bytes:
                with open(line, "rb") as file:  # noqa: PTH123 - a pseudo file
                    return file.read()

            await eventually(lambda: b"resolve-customer" in shown(), "the command is under way")
            assert b"slow-5000-unseen" not in shown()
        finally:
            program.kill()


@pytest.mark.parametrize(
    "arguments",
    [
        ("--registration-token", "-"),
        ("--registration-token", "-", "--cli-input-json", "{}"),
    ],
)
@pytest.mark.sampled(2)
def test_debug_shows_no_token_and_no_secret(tool: Tool, arguments: tuple[str, ...]) -> None:
    """`--debug` tells much of a call, and hides the token, the key and the session's token."""
    environment = {
        "AWS_SECRET_ACCESS_KEY": "simulator-secret-key-0123456789",
        "AWS_SESSION_TOKEN": "session-token-0123456789+/abc",
    }
    ended = tool.run(*arguments, *_TO, "--debug", stdin=_TOKEN, environment=environment)

    assert ended.code == 254
    assert "InvalidSignatureException" in ended.err
    assert "Making request for OperationModel(name=ResolveCustomer)" in ended.err
    assert "[redacted]" in ended.err
    for secret in (_TOKEN, json.dumps(_TOKEN)[1:-1], *environment.values()):
        assert secret not in ended.err


def test_the_aws_cli_shows_the_token_when_it_debugs(tool: Tool) -> None:
    """The reference does show it: so the test above looks at something."""
    reference = Tool((str(version_two()), *AWS), tool.url, tool.home)

    assert _TOKEN in reference.run("--registration-token", _TOKEN, *_TO, "--debug").err


@pytest.mark.parametrize(
    ("token", "environment", "words"),
    [
        ("invalid-1", {}, ("another seller account", "--profile", "%XX")),
        ("seller-another-1", {}, ("another seller account",)),
        ("expired-1", {}, ("four hours", "resolution.outcomes")),
        ("denied-1", {}, ("aws-marketplace:ResolveCustomer",)),
        ("throttle-9-1", {}, ("quota",)),
        ("fail-9-1", {}, ("AWS's side",)),
        ("empty-1", {}, ("says nothing about the token",)),
        ("garbage-1", {}, ("says nothing about the token",)),
        ("", {}, ("empty",)),
        ("ok-1", {"AWS_SECRET_ACCESS_KEY": "wrong"}, ("does not belong to the access key",)),
        (
            "ok-1",
            {"AWS_ACCESS_KEY_ID": UNSET, "AWS_SECRET_ACCESS_KEY": UNSET},
            ("No AWS credentials", "aws sso login"),
        ),
        ("ok-1", {"AWS_SECRET_ACCESS_KEY": UNSET}, ("Half of a pair",)),
        ("ok-1", {"AWS_REGION": UNSET, "AWS_DEFAULT_REGION": UNSET}, ("WORKER_AWS__REGION",)),
        ("ok-1", {"AWS_PROFILE": "nope"}, ("no such profile",)),
    ],
)
@pytest.mark.sampled(5)
def test_explain_says_what_an_error_means_and_what_to_do(
    tool: Tool, token: str, environment: dict[str, str], words: tuple[str, ...]
) -> None:
    """`--explain` adds words for each error to those of the AWS CLI."""
    ended = tool.run("--registration-token", token, *_TO, "--explain", environment=environment)

    assert all(word in ended.err for word in words), ended.err
    plain = tool.run("--registration-token", token, *_TO, environment=environment)
    assert ended.err.startswith(plain.err)
    assert len(ended.err) > len(plain.err)
    assert (ended.code, ended.out) == (plain.code, plain.out)


async def test_explain_tells_expired_credentials_from_an_expired_token(tmp_path: Path) -> None:
    """AWS gives both one code: the words and the status tell them apart."""
    with simulating(tmp_path) as simulator:
        await simulator.order(
            "PUT",
            "fault",
            {
                "code": "ExpiredTokenException",
                "status": 400,
                "message": "The security token included in the request is expired",
            },
        )
        ended = Tool(OURS, simulator.url, tmp_path).run(
            "--registration-token", "ok-1", *_TO, "--explain"
        )

    assert ended.code == 254
    assert "The AWS credentials have expired" in ended.err


async def test_a_service_that_repeats_the_token_is_not_repeated(tmp_path: Path) -> None:
    """An error whose words hold the token is shown without it."""
    with simulating(tmp_path) as simulator:
        message = f"cannot read {_TOKEN}"
        fault = {"code": "ValidationException", "status": 400, "message": message}
        await simulator.order("PUT", "fault", fault)
        tool = Tool(OURS, simulator.url, tmp_path)
        ended = tool.run("--registration-token", "-", *_TO, "--debug", stdin=_TOKEN)

    assert "cannot read [token]" in ended.err
    assert _TOKEN not in ended.err


def test_an_unusable_answer_is_warned_of(tool: Tool) -> None:
    """Where the AWS CLI prints nothing and says that all is well, ours says what happened."""
    ended = tool.run("--registration-token", "-", *_TO, stdin="garbage-1")

    assert (ended.code, ended.out) == (0, b"")
    assert "is empty or can't be used" in ended.err


def test_off_prints_nothing_and_tells_by_its_exit_code(tool: Tool) -> None:
    """`--output off`, which our version 2 is too old to know, leaves the exit code."""
    done = tool.run("--registration-token", "-", *_TO, "--output", "off", stdin="ok-1")
    refused = tool.run("--registration-token", "-", *_TO, "--output", "off", stdin="invalid-1")

    assert (done.code, done.out, done.err) == (0, b"", "")
    assert (refused.code, refused.out) == (254, b"")


@pytest.mark.parametrize("asked", [("help",), ("--help",)])
def test_help_is_printed_without_the_network(tool: Tool, asked: tuple[str, ...]) -> None:
    """`help` and `--help` list every option on standard output."""
    ended = tool.run(*asked)

    assert (ended.code, ended.err) == (0, "")
    assert all(option in ended.out.decode() for option in ("--store", "--explain", "--query"))


def test_the_version_names_the_product_and_botocore(tool: Tool) -> None:
    """`--version` has the AWS CLI's form and our name."""
    ended = tool.run("--version")

    assert ended.code == 0
    assert ended.out.startswith(b"resolution-worker/")
    assert b" botocore/" in ended.out


def test_the_region_falls_back_to_the_workers_setting(tool: Tool) -> None:
    """A region that was set for the worker is used where AWS's own chain has none."""
    none = {"AWS_REGION": UNSET, "AWS_DEFAULT_REGION": UNSET}
    call = ("--registration-token", "-", *_TO, "--debug")
    worker = tool.run(*call, stdin="ok-1", environment=none | {"WORKER_AWS__REGION": "eu-west-3"})
    own = tool.run(*call, stdin="ok-1", environment={"WORKER_AWS__REGION": "eu-west-3"})

    assert worker.code == own.code == 0
    assert "/eu-west-3/aws-marketplace/" in worker.err
    assert "/eu-west-3/aws-marketplace/" not in own.err


def test_a_region_in_the_workers_file_counts_and_its_default_does_not(
    tool: Tool, tmp_path: Path
) -> None:
    """A file that sets no region leaves the command without one."""
    none = {"AWS_REGION": UNSET, "AWS_DEFAULT_REGION": UNSET}
    codes = []
    for text in (
        '[aws]\nregion = "eu-west-3"\n',
        '[aws]\ntimeout = "3s"\n',
        "[aws]\nnonsense = 1\n",
    ):
        with written(tmp_path / "worker.toml", text):
            given = none | {"WORKER_CONFIG": str(tmp_path / "worker.toml")}
            codes.append(
                tool.run("--registration-token", "-", *_TO, stdin="ok-1", environment=given)
            )

    assert [each.code for each in codes] == [0, 253, 253]
    assert "You must specify a region" in codes[1].err
    assert "nonsense" in codes[2].err


def test_the_workers_endpoint_is_called_where_aws_names_none(tool: Tool) -> None:
    """WORKER_AWS__ENDPOINT_URL comes last: an option or AWS's own variables win."""
    call = ("--registration-token", "-")
    alone = tool.run(*call, stdin="ok-1", environment={"WORKER_AWS__ENDPOINT_URL": "{url}"})
    after = tool.run(
        *call,
        stdin="ok-1",
        environment={"WORKER_AWS__ENDPOINT_URL": "http://127.0.0.1:1", "AWS_ENDPOINT_URL": "{url}"},
    )

    assert (alone.code, alone.err) == (after.code, after.err) == (0, "")


@pytest.mark.parametrize(
    ("endpoint", "more", "fault"),
    [
        ("http://192.0.2.1", (), "unencrypted"),
        ("https://192.0.2.1", ("--no-verify-ssl",), "unverified"),
    ],
)
def test_a_token_is_told_to_nobody_on_the_way(
    tool: Tool, endpoint: str, more: tuple[str, ...], fault: str
) -> None:
    """Beyond loopback, plaintext and unverified TLS are refused unless they are allowed."""
    call = ("--registration-token", "-", "--endpoint-url", endpoint, *more)
    timeouts = ("--cli-connect-timeout", "1")
    refused = tool.run(*call, stdin="ok-1")
    allowed = tool.run(
        *call, *timeouts, stdin="ok-1", environment={"WORKER_ALLOW_PLAINTEXT": "true"}
    )

    assert refused.code == 253
    assert fault in refused.err
    assert "WORKER_ALLOW_PLAINTEXT" in refused.err
    assert allowed.code == 255  # it has tried, and nobody is there


@pytest.mark.long
def test_a_certificate_is_verified_against_the_bundle(tool: Tool, encrypted: Encrypted) -> None:
    """TLS fails with the reference's code unless the bundle, or nobody's word, is asked for."""
    reference = Tool((str(version_two()), *AWS), tool.url, tool.home)
    call = ("--registration-token", "ok-1", "--endpoint-url", encrypted.url)
    for more, code in (
        ((), 255),
        (("--ca-bundle", str(encrypted.authority)), 0),
        (("--ca-bundle", str(tool.home / "nope.pem")), 255),
        (("--no-verify-ssl",), 0),
    ):
        ours, theirs = tool.run(*call, *more), reference.run(*call, *more)
        assert (ours.code, theirs.code) == (code, code), (more, ours.err, theirs.err)


def test_a_bundle_that_cannot_be_read_is_named(tool: Tool, encrypted: Encrypted) -> None:
    """The message says which file, and why."""
    bundle = str(tool.home / "nope.pem")
    call = ("--registration-token", "-", "--endpoint-url", encrypted.url)
    option = tool.run(*call, "--ca-bundle", bundle, stdin="ok-1")
    variable = tool.run(*call, stdin="ok-1", environment={"AWS_CA_BUNDLE": bundle})

    assert option.err == variable.err
    assert f"the CA bundle {bundle} can't be used: [Errno 2]" in option.err


def test_neither_broker_nor_database_is_needed(tool: Tool) -> None:
    """Without `--store` the worker's broker and database may be anything."""
    nowhere = {
        "WORKER_POSTGRES__DSN": "postgresql://nobody@127.0.0.1:1/none",
        "WORKER_AMQP__URL": "amqp://127.0.0.1:1/",
    }
    assert tool.run("--registration-token", "-", *_TO, stdin="ok-1", environment=nowhere).code == 0


def test_a_reader_that_leaves_ends_the_command_quietly(tool: Tool) -> None:
    """Output into a closed pipe leaves no traceback."""
    shell = Tool(("/bin/sh", "-c"), tool.url, tool.home)
    ended = shell.run(
        f'{OURS[0]} {OURS[1]} --cli-input-json \'{{"RegistrationToken": "ok-1"}}\' '
        "--endpoint-url {url} | true"
    )

    assert "Traceback" not in ended.err
    assert "Exception ignored" not in ended.err


@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        (("--registration-token", "-", "--auto-prompt"), 252, "--auto-prompt"),
        (("--registration-token", "-", "--stor"), 252, "--stor"),
        (("--cli-input-json", "{bad"), 252, "line 1 column 2"),
        (("--cli-input-yaml", "a: ["), 252, "line 1 column 5"),
        (("--cli-input-json", '{"RegistrationToken": ["ok-1-hidden"]}'), 252, "(hidden)"),
        (("ok-1-hidden",), 252, "--registration-token"),
        (("--registration-token", "-", "--registratoin-token=ok-1-hidden"), 252, "--registratoin"),
        (
            ("--registration-token", "-", "--registratoin-token", "ok-1-hidden"),
            252,
            "--registratoin",
        ),
    ],
)
def test_bad_input_is_named_without_repeating_a_token(
    tool: Tool, arguments: tuple[str, ...], code: int, words: str
) -> None:
    """Each message names the fault; what may be a token is not in it."""
    ended = tool.run(*arguments, *_TO, stdin="ok-1")

    assert ended.code == code
    assert words in ended.err
    assert "ok-1-hidden" not in ended.err
    assert "Traceback" not in ended.err


@pytest.mark.parametrize(
    ("content", "settings"),
    [
        (b"\xef\xbb\xbf" + _TOKEN.encode() + b"\r\n", {}),
        (_TOKEN.encode("utf-16"), {"AWS_CLI_FILE_ENCODING": "UTF-16"}),
        (b"\xff\xfe" + _TOKEN.encode("utf-16-le"), {"AWS_CLI_FILE_ENCODING": "utf-16-le"}),
    ],
    ids=["UTF-8 with a mark", "UTF-16", "UTF-16 of one order"],
)
def test_a_byte_order_mark_is_no_part_of_a_token(
    tool: Tool, tmp_path: Path, content: bytes, settings: dict[str, str]
) -> None:
    """What editors put before a text is taken off, in the encoding that is named."""
    (tmp_path / "token").write_bytes(content)
    place = f"file://{tmp_path / 'token'}"
    ended = tool.run("--registration-token", place, *_TO, environment=settings)

    assert (ended.code, ended.err) == (0, "")
    assert _TOKEN not in ended.out.decode()


def test_a_file_in_another_encoding_is_named(tool: Tool, tmp_path: Path) -> None:
    """UTF-16 is recognised, and what to do is said."""
    (tmp_path / "token").write_bytes(_TOKEN.encode("utf-16"))
    ended = tool.run("--registration-token", f"file://{tmp_path / 'token'}", *_TO)

    assert ended.code == 252
    assert "It is UTF-16: save it as UTF-8, or set AWS_CLI_FILE_ENCODING=UTF-16." in ended.err


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        (f'"{_TOKEN}"', "has quotation marks around it"),
        (f"x-amzn-marketplace-token={_TOKEN}", "has a form field's name in it"),
    ],
)
def test_what_is_pasted_with_a_token_is_named_before_a_call(
    tool: Tool, text: str, reason: str
) -> None:
    """The buyer must not be sent away for what a person has pasted."""
    ended = tool.run("--registration-token", "-", *_TO, stdin=f"{text}\n")

    assert ended.code == 252
    assert reason in ended.err
    assert _TOKEN not in ended.err


@pytest.mark.parametrize(
    ("form", "begins"),
    [
        ("legacy", "\nAn error occurred (InvalidTokenException) when calling"),
        ("enhanced", "\naws: [ERROR]: An error occurred (InvalidTokenException) when calling"),
        ("json", '{\n    "Code": "InvalidTokenException",\n    "Message": "An error occurred ('),
        ("yaml", "Code: InvalidTokenException\nMessage: "),
        ("text", "InvalidTokenException\tAn error occurred ("),
        ("table", "-----"),
    ],
)
@pytest.mark.parametrize("by", ["option", "variable"])
def test_errors_are_printed_in_the_form_asked_for(
    tool: Tool, form: str, begins: str, by: str
) -> None:
    """By the option or by the environment, with the same exit code."""
    option = ("--cli-error-format", form) if by == "option" else ()
    settings = {"AWS_CLI_ERROR_FORMAT": form} if by == "variable" else {}
    ended = tool.run(
        "--registration-token", "-", *_TO, *option, stdin="none-1", environment=settings
    )

    assert (ended.code, ended.out) == (254, b"")
    assert ended.err.startswith(begins)


@pytest.mark.parametrize(
    "option", [("--cli-of-tomorrow", "value"), ("--cli-of-tomorrow=1",), ("--no-cli-of-tomorrow",)]
)
def test_a_later_option_of_form_keeps_no_token_from_being_resolved(
    tool: Tool, option: tuple[str, ...]
) -> None:
    """It is named, and passed over."""
    ended = tool.run(*option, "--registration-token", "-", *_TO, stdin=_TOKEN)

    assert ended.code == 0
    assert ended.err == (
        f"resolve-customer: warning: {option[0].partition('=')[0]} is not known here, and is"
        " ignored\n"
    )
