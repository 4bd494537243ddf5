"""AWS set-ups that are wrong: nothing is lost, and `/readyz` and `check` give one diagnosis."""

from __future__ import annotations

import asyncio
import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import pytest

from harness import network_faults
from harness.network_faults import LOGIN, PASSWORD, NetworkFaults
from tests.acceptance.check_setups import serving_sts
from tests.acceptance.outcomes import tokens

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from harness.installation import Installation
    from harness.web_tier import WebTier

# A name that nobody has. AWS's own STS is never asked.
FAR: Final = {
    "WORKER_AWS__ENDPOINT_URL": "https://metering.invalid",
    "AWS_ENDPOINT_URL_STS": "http://127.0.0.1:9",
}
ROLE: Final = {"WORKER_AWS__ROLE_ARN": "arn:aws:iam::123456789012:role/seller"}
NO_KEYS: Final = {"AWS_ACCESS_KEY_ID": "", "AWS_SECRET_ACCESS_KEY": ""}


@dataclass(frozen=True, slots=True)
class Wrong:
    """One set-up that is wrong.

    Attributes:
        name: What is wrong.
        settings: What the environment says.
        words: What is named.
    """

    name: str
    settings: Callable[[NetworkFaults], dict[str, str]]
    words: tuple[str, ...]


def _proxy(port: int) -> dict[str, str]:
    return FAR | {"HTTPS_PROXY": f"http://{LOGIN}@127.0.0.1:{port}"}


def _endpoint(url: str) -> dict[str, str]:
    return FAR | {"WORKER_AWS__ENDPOINT_URL": url}


def _tls(way: NetworkFaults, name: str, *, trusted: bool) -> dict[str, str]:
    certificate = way.certificate(name)
    trust = {"AWS_CA_BUNDLE": certificate} if trusted else {}
    return _endpoint(f"https://127.0.0.1:{way.tls(certificate)}") | trust


WRONG = (
    Wrong("no name", lambda _: FAR, ("NameNotResolved", "WORKER_AWS__ENDPOINT_URL")),
    Wrong(
        "a port that refuses",
        lambda way: _endpoint(f"http://127.0.0.1:{way.closed()}"),
        ("NotConnected", "WORKER_AWS__ENDPOINT_URL"),
    ),
    Wrong(
        "a port that is silent",
        lambda way: _endpoint(f"https://127.0.0.1:{way.silent()}"),
        ("NotConnected", "WORKER_AWS__ENDPOINT_URL"),
    ),
    Wrong(
        "a certificate of nobody",
        lambda way: _tls(way, "IP:127.0.0.1", trusted=False),
        ("CertificateNotTrusted", "AWS_CA_BUNDLE"),
    ),
    Wrong(
        "a certificate of another host",
        lambda way: _tls(way, "DNS:other.example", trusted=True),
        ("CertificateOfAnotherHost", "another authority would not help"),
    ),
    Wrong(
        "a proxy with another password",
        lambda way: _proxy(way.saying(network_faults.LOGIN_REFUSED)),
        ("ProxyLoginRefused", "HTTPS_PROXY", "NO_PROXY"),
    ),
    Wrong(
        "a proxy that forbids",
        lambda way: _proxy(way.saying(network_faults.FORBIDDEN)),
        ("ProxyRefuses", "HTTPS_PROXY", "NO_PROXY"),
    ),
    Wrong(
        "a SOCKS proxy",
        lambda way: _proxy(way.saying(network_faults.SOCKS)),
        ("NoHttpProxy", "HTTPS_PROXY", "SOCKS"),
    ),
    Wrong(
        "a proxy that is away",
        lambda way: _proxy(way.closed()),
        ("NotConnected", "the proxy 127.0.0.1", "HTTPS_PROXY"),
    ),
    Wrong(
        "a region with a typing error",
        lambda way: (
            _proxy(way.saying(network_faults.BAD_GATEWAY))
            | {"WORKER_AWS__ENDPOINT_URL": "", "WORKER_AWS__REGION": "us-est-1"}
        ),
        ("metering.marketplace.us-est-1.amazonaws.com", "WORKER_AWS__REGION (us-est-1)"),
    ),
    Wrong("no credentials", lambda _: NO_KEYS, ("NoCredentialsError", "AWS_ACCESS_KEY_ID")),
    Wrong(
        "a key with a line break",
        lambda _: {"AWS_SECRET_ACCESS_KEY": "simulator\n"},
        ("MalformedCredentials", "(AWS_SECRET_ACCESS_KEY) ends with a line break"),
    ),
    Wrong(
        "a role that wants an external ID",
        lambda way: ROLE | {"AWS_ENDPOINT_URL_STS": way.enter_context(serving_sts())},
        ("AssumeRole was refused", "trust policy", "WORKER_AWS__EXTERNAL_ID"),
    ),
    Wrong(
        "a role, and STS is away",
        lambda way: ROLE | {"AWS_ENDPOINT_URL_STS": f"http://127.0.0.1:{way.closed()}"},
        ("NotConnected", "AWS_ENDPOINT_URL_STS"),
    ),
    Wrong(
        "a web identity without its file",
        lambda _: (
            NO_KEYS
            | {
                "AWS_ROLE_ARN": ROLE["WORKER_AWS__ROLE_ARN"],
                "AWS_WEB_IDENTITY_TOKEN_FILE": "/nosuch/token",
            }
        ),
        ("FileNotRead", "correct AWS_WEB_IDENTITY_TOKEN_FILE"),
    ),
    Wrong(
        "another account",
        lambda way: {
            "WORKER_AWS__EXPECTED_ACCOUNT": "999999999999",
            "AWS_ENDPOINT_URL_STS": way.enter_context(serving_sts()),
        },
        ("WrongAccount", "WORKER_AWS__EXPECTED_ACCOUNT"),
    ),
    Wrong(
        "an unknown key",
        lambda _: {"AWS_ACCESS_KEY_ID": "AKIDOFNOBODY"},
        ("UnrecognizedClientException", "correct the credentials"),
    ),
    Wrong(
        "a wrong secret",
        lambda _: {"AWS_SECRET_ACCESS_KEY": "another"},
        ("InvalidSignatureException", "correct AWS_SECRET_ACCESS_KEY"),
    ),
)


@pytest.fixture
def way(stage: Installation) -> Iterator[NetworkFaults]:
    """NetworkFaults for one test."""
    with NetworkFaults(stage.home) as made:
        yield made


@pytest.mark.parametrize("wrong", WRONG, ids=lambda wrong: wrong.name)
@pytest.mark.sampled(9)
async def test_one_diagnosis(
    stage: Installation, web: WebTier, way: NetworkFaults, wrong: Wrong
) -> None:
    """Three buyers lose nothing; `/readyz`, the log and `check` name what is wrong alike."""
    settings = wrong.settings(way) | {"WORKER_AWS__TIMEOUT": "1s"}
    ids = [await web.submit(token) for token in tokens("ok", 3)]
    worker = stage.start(**settings)
    told = json.loads(await worker.unready(*wrong.words))["faults"]["aws"]
    done = await asyncio.to_thread(stage.command, "check", "--json", **settings)
    failed = [each for each in json.loads(done.stdout) if each["state"] == "failed"]

    assert told in {f"{each['detail']}; {each['remedy']}" for each in failed}, failed
    assert [each["code"] for each in worker.logged("calls_stopped")] == [told.split(":")[0]]
    assert "defect" not in done.stdout
    for said in (told, worker.said, done.stdout):
        assert PASSWORD not in said
    assert not any(web.events[message_id] for message_id in ids)
    assert await stage.schema.rows("SELECT FROM resolution.dead_letter") == []
    worker.kill()

    await stage.run()
    assert [(await web.event(message_id)).status for message_id in ids] == ["resolved"] * 3
    attempts = await stage.schema.rows("SELECT DISTINCT attempts FROM resolution.outcomes")
    assert [row["attempts"] for row in attempts] == [1]


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"HTTPS_PROXY": "socks5://svc:hidden-one@127.0.0.1:9"}, "HTTPS_PROXY names a proxy of"),
        ({"https_proxy": "socks5h://127.0.0.1:9"}, "https_proxy names a proxy of another kind"),
        ({"HTTPS_PROXY": "http://svc:hidden-one/x@127.0.0.1:9"}, "HTTPS_PROXY can't be read"),
        ({"HTTPS_PROXY": "http://svc:hidden-one#x@127.0.0.1:9"}, "HTTPS_PROXY can't be read"),
        ({"HTTPS_PROXY": "http://svc:hidden-one@x@127.0.0.1:9"}, "HTTPS_PROXY can't be read"),
        ({"HTTPS_PROXY": "http://127.0.0.1:99999"}, "HTTPS_PROXY can't be read"),
        ({"HTTPS_PROXY": "http://"}, "HTTPS_PROXY can't be read"),
    ],
)
@pytest.mark.sampled(7)
async def test_a_proxy_that_can_not_be_used_is_refused_at_start(
    stage: Installation, settings: dict[str, str], words: str
) -> None:
    """`run` and `check` exit with 78, `resolve-customer` with 253; none quotes the address."""
    ended = {}
    for command in ("run", "check", "resolve-customer"):
        options = ("--registration-token", "x") if command == "resolve-customer" else ()
        given = FAR | settings | {"WORKER_AWS__REGION": "us-east-1"}
        done = await asyncio.to_thread(stage.command, command, *options, **given)
        said = done.stdout + done.stderr
        assert words in said
        assert "hidden-one" not in said
        ended[command] = done.returncode
    assert ended == {"run": 78, "check": 78, "resolve-customer": 253}


async def test_an_unknown_region_is_told_at_start(stage: Installation, way: NetworkFaults) -> None:
    """A region that the SDK does not know with this service is warned of, with what was meant."""
    settings = _proxy(way.saying(network_faults.BAD_GATEWAY)) | {
        "WORKER_AWS__ENDPOINT_URL": "",
        "WORKER_AWS__REGION": "us-est-1",
    }
    worker = stage.start(**settings)
    await worker.port()
    (warned,) = worker.logged("aws_region_unknown")
    assert "knows no region us-est-1 with this service; did you mean us-" in warned["reason"]
    assert "us-east-1" in warned["reason"]
    worker.kill()
    done = await asyncio.to_thread(stage.command, "check", "--json", **settings)
    (found,) = [each for each in json.loads(done.stdout) if each["check"] == "aws endpoint"]
    assert found["notes"] == [warned["reason"]]


async def test_loopback_and_metadata_services_need_no_proxy(
    stage: Installation, web: WebTier, way: NetworkFaults
) -> None:
    """What only this machine can answer is asked directly, whatever proxy the environment names."""
    worker = await stage.run(
        HTTP_PROXY=f"http://127.0.0.1:{way.saying(network_faults.FORBIDDEN)}",
        **NO_KEYS,
        AWS_CONTAINER_CREDENTIALS_FULL_URI=way.enter_context(serving_sts()) + "/container",
        NO_PROXY="intranet.example",
    )
    assert (await web.settled(*tokens("ok", 1))).status == "resolved"
    assert way.received == []
    worker.kill()


async def test_empty_variables_are_unset_ones(stage: Installation, web: WebTier) -> None:
    """As container tools leave them: `run`, `check` and `resolve-customer` pass them over."""
    empty = dict.fromkeys(
        (
            "AWS_PROFILE",
            "AWS_DEFAULT_PROFILE",
            "AWS_CA_BUNDLE",
            "AWS_MAX_ATTEMPTS",
            "AWS_RETRY_MODE",
            "AWS_DEFAULTS_MODE",
            "AWS_STS_REGIONAL_ENDPOINTS",
            "AWS_SESSION_TOKEN",
            "AWS_ENDPOINT_URL",
            "AWS_REGION",
            "AWS_WEB_IDENTITY_TOKEN_FILE",
            "AWS_METADATA_SERVICE_TIMEOUT",
            "AWS_CONFIG_FILE",
            "HTTPS_PROXY",
        ),
        "",
    )
    empty["WORKER_AWS__REGION"] = "us-east-1"
    await stage.run(**empty)
    assert (await web.settled(*tokens("ok", 1))).status == "resolved"
    (token,) = tokens("ok", 1)
    for command in (("check",), ("resolve-customer", "--registration-token", token)):
        done = await asyncio.to_thread(stage.command, *command, **empty)
        assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize(
    ("variable", "value"),
    [
        ("AWS_CA_BUNDLE", "/"),
        ("AWS_CA_BUNDLE", "{file}"),
        ("AWS_CONFIG_FILE", "{file}"),
        ("AWS_SHARED_CREDENTIALS_FILE", "{file}"),
        ("AWS_RETRY_MODE", "fast"),
        ("AWS_MAX_ATTEMPTS", "many"),
        ("AWS_DEFAULTS_MODE", "mine"),
        ("AWS_USE_FIPS_ENDPOINT", "maybe"),
        ("AWS_STS_REGIONAL_ENDPOINTS", "all"),
        ("AWS_METADATA_SERVICE_TIMEOUT", "soon"),
        ("AWS_ENDPOINT_URL_STS", "nowhere"),
        ("AWS_PROFILE", "nobody"),
        ("NO_PROXY", "[::1"),
    ],
)
@pytest.mark.sampled(13)
async def test_nothing_of_the_environment_is_a_defect(
    stage: Installation, variable: str, value: str
) -> None:
    """Whatever AWS's variables hold, `check` gives a finding with a remedy."""
    file = stage.home / "garbage"
    file.write_text("garbage\n[x")
    settings = {variable: value.format(file=file)}
    done = await asyncio.to_thread(stage.command, "check", "--json", **settings)
    failed = [each for each in json.loads(done.stdout) if each["state"] == "failed"]
    assert done.returncode in {0, 1, 69, 78}
    assert "defect" not in done.stdout
    assert all(each["remedy"] for each in failed)


async def test_an_external_id_is_passed_on(stage: Installation, web: WebTier) -> None:
    """A role whose trust policy asks for it is assumed by `run` and `resolve-customer`."""
    with serving_sts(external_id="tenant-7") as sts:
        settings = ROLE | {"AWS_ENDPOINT_URL_STS": sts, "WORKER_AWS__EXTERNAL_ID": "tenant-7"}
        settings |= {"WORKER_AWS__REGION": "us-east-1"}
        await stage.run(**settings)
        assert (await web.settled(*tokens("ok", 1))).status == "resolved"
        (token,) = tokens("ok", 1)
        done = await asyncio.to_thread(
            stage.command, "resolve-customer", "--registration-token", token, **settings
        )
        assert done.returncode == 0, done.stderr
