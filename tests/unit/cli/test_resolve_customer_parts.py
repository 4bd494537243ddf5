"""The parts of `resolve-customer` that need no process and no server."""

from __future__ import annotations

import io
import logging
from typing import TYPE_CHECKING, Final

import pytest
from hypothesis import given
from hypothesis import strategies as st

from worker.cli.resolve_customer import debug, drawing, explain, protections, table, text
from worker.cli.resolve_customer.faults import UsageFault
from worker.cli.resolve_customer.options import Finished, parse

if TYPE_CHECKING:
    from collections.abc import Iterator

_JSON: Final = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=9), inner),
    max_leaves=12,
)
_RECORDS: Final = st.dictionaries(st.text(min_size=1, max_size=9), st.text(max_size=40), max_size=5)


@pytest.mark.parametrize(
    "url",
    [
        "https://metering.marketplace.us-east-1.amazonaws.com",
        "https://metering.marketplace.us-east-1.amazonaws.com:443/",
        "https://metering.marketplace-fips.us-gov-west-1.amazonaws.com",
        "https://metering-marketplace.eu-central-1.api.aws",
        "https://metering-marketplace.eusc-de-east-1.amazonaws.eu",
        "https://metering.marketplace.cn-north-1.amazonaws.com.cn",
        "https://vpce-0a1b-2c3d.metering-marketplace.us-east-1.vpce.amazonaws.com",
    ],
)
def test_endpoints_of_the_service_are_awss(url: str) -> None:
    """Every form that the service's endpoint rules know counts as AWS's."""
    assert protections.is_aws(url)


@pytest.mark.parametrize(
    "url",
    [
        "http://metering.marketplace.us-east-1.amazonaws.com",
        "https://metering.marketplace.us-east-1.amazonaws.com:8443",
        "https://metering.marketplace.us-east-1.amazonaws.com.example.org",
        "https://metering.marketplace.us-east-1.amazonaws.com@example.org",
        "https://evil.execute-api.us-east-1.amazonaws.com",
        "https://metering.marketplace.evil.us-east-1.elb.amazonaws.com",
        "https://bucket.s3.us-east-1.amazonaws.com",
        "https://127.0.0.1",
        "https://localhost",
    ],
)
def test_whatever_else_is_not_awss(url: str) -> None:
    """A host that a customer of AWS's may own, or another port or scheme, does not count."""
    assert not protections.is_aws(url)


@pytest.mark.parametrize(
    ("url", "local"),
    [
        ("http://127.0.0.1:8085", True),
        ("http://127.8.9.1", True),
        ("http://[::1]:80", True),
        ("http://localhost:1", True),
        ("http://localhost.example.org", False),
        ("http://10.0.0.1", False),
        ("http://", False),
    ],
)
def test_loopback_is_told_from_everything_else(url: str, local: bool) -> None:  # noqa: FBT001
    """Only addresses of this machine are local."""
    assert protections.is_local(url) is local


@given(_JSON)
def test_any_value_is_written_as_text_or_refused(value: object) -> None:
    """The form `text` never ends within a line."""
    stream = io.StringIO()
    try:
        text.write(value, stream)
    except AttributeError:
        return  # a list of records and scalars, which the AWS CLI does not write either
    assert not stream.getvalue() or stream.getvalue().endswith("\n")


@given(_RECORDS, st.booleans())
def test_every_line_of_a_table_is_equally_wide(record: dict[str, str], coloured: bool) -> None:  # noqa: FBT001
    """Whatever the cells hold, the right edge is straight; colours take no width."""
    record = {name: value for name, value in record.items() if _plain(name) and _plain(value)}
    stream = io.StringIO()
    table.write("Title", record, stream, coloured=coloured)

    lines = stream.getvalue()
    for code in (drawing._RESET, drawing._VALUE, drawing._EDGE):
        lines = lines.replace(code, "")
    widths = {drawing._length(line) for line in lines.splitlines()}
    assert len(widths) == (1 if record else 0)


def _plain(cell: str) -> bool:
    return cell.isprintable()


@given(st.lists(st.integers(0, 60), min_size=1, max_size=6), st.integers(0, 200))
def test_widths_add_up_to_the_whole(cells: list[int], more: int) -> None:
    """Stretching columns to a width leaves nothing over."""
    section = drawing.Section("", 0)
    section.add_row(["x" * each for each in cells])
    total = section.width - 2 + more

    assert sum(section.widths(total)) == total


@pytest.fixture
def log() -> Iterator[tuple[logging.Logger, io.StringIO, set[str]]]:
    """A logger that writes as `--debug` does, and the tokens it must hide."""
    stream, tokens = io.StringIO(), set[str]()
    handler = logging.StreamHandler(stream)
    handler.setFormatter(debug._Formatter(tokens))
    logger = logging.getLogger("test-resolve-customer-debug")
    logger.setLevel(logging.DEBUG)
    logger.propagate = False
    logger.addHandler(handler)
    yield logger, stream, tokens
    logger.removeHandler(handler)


@pytest.mark.parametrize(
    "line",
    [
        '{"RegistrationToken": "a-secret-value"}',
        'b\'{"roleCredentials": {"secretAccessKey": "a-secret-value"}}\'',
        '{"accessToken": "a-secret-value", "expiresIn": 1}',
        '{"Token" : "a-secret-value"}',
        "<SecretAccessKey>a-secret-value</SecretAccessKey>",
        "<SessionToken>a-secret-value</SessionToken>",
        "x-amz-security-token:a-secret-value",
        "{'X-Amz-Security-Token': 'a-secret-value'}",
        "Action=AssumeRoleWithWebIdentity&WebIdentityToken=a-secret-value&Version=1",
        "Authorization: AWS4-HMAC-SHA256 Credential=x, Signature=a-secret-value",
        "the token a-secret-value, and once more: a-secret-value",
        "http://proxy-user:a-secret-value@proxy.example.org",
    ],
)
def test_no_secret_reaches_the_debug_log(
    log: tuple[logging.Logger, io.StringIO, set[str]], line: str
) -> None:
    """Whatever botocore logs of a token or of credentials is written without it."""
    logger, stream, tokens = log
    if line.startswith("the token"):
        tokens.add("a-secret-value")
    logger.debug("%s", line)

    assert "a-secret-value" not in stream.getvalue()
    assert "[redacted]" in stream.getvalue()


def test_a_traceback_in_the_debug_log_hides_the_token(
    log: tuple[logging.Logger, io.StringIO, set[str]],
) -> None:
    """What an exception says is hidden like what a line says."""
    logger, stream, tokens = log
    tokens.add("ok-a-token-in-a-traceback")
    logger.debug("failed", exc_info=ValueError("it was ok-a-token-in-a-traceback"))

    assert "ValueError" in stream.getvalue()
    assert "ok-a-token-in-a-traceback" not in stream.getvalue()


def test_options_do_not_show_the_token_in_their_repr() -> None:
    """The record of the options hides the token and the documents."""
    options = parse(["--registration-token", "ok-hidden", "--cli-input-json", '{"a": "ok-hidden"}'])

    assert options.token == "ok-hidden"
    assert "ok-hidden" not in repr(options)


def test_our_own_options_are_not_abbreviated() -> None:
    """No abbreviation that the AWS CLI refuses becomes one of ours."""
    with pytest.raises(UsageFault, match="Unknown options: --stor"):
        parse(["--registration-token", "-", "--stor"])


def test_the_aws_clis_options_may_be_abbreviated() -> None:
    """As with argparse everywhere, the beginning of a name is enough."""
    assert parse(["--registration", "-", "--prof", "x"]).profile == "x"


@pytest.mark.parametrize("arguments", [["help"], ["--help"], ["--version"]])
def test_help_and_version_end_the_command(arguments: list[str]) -> None:
    """Nothing but a text is left to do."""
    with pytest.raises(Finished) as finished:
        parse(arguments)
    assert finished.value.text.endswith("\n")


def test_an_error_that_says_all_itself_is_not_explained() -> None:
    """`--explain` adds nothing to what is not in its tables."""
    assert explain.of(UsageFault("the option --x is unknown")) == ""
