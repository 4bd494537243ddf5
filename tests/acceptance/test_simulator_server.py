"""The simulator as a command and as a server: options, sockets, signals, orders over HTTP."""

from __future__ import annotations

import asyncio
import json
import re
import signal
import socket
import subprocess
import sys
import time
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import aiohttp
import pytest
from botocore.auth import SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials

if TYPE_CHECKING:
    from collections.abc import Iterator

COMMAND = [sys.executable, "-m", "worker.lab.simulator"]
READY = re.compile(r"simulator listening on (http://[^ ]+:[0-9]+)\n")


class Simulator:
    """A running simulator."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        assert process.stdout is not None
        self.process = process
        line = process.stdout.readline()
        found = READY.fullmatch(line)
        assert found, f"expected where it listens, got {line!r}"
        self.url = found[1]

    def signed(self, token: str, access_key: str = "simulator") -> dict[str, Any]:
        """Body and headers of a call for a token, as the SDK signs it."""
        body = json.dumps({"RegistrationToken": token}).encode()
        headers = {
            "X-Amz-Target": "AWSMPMeteringService.ResolveCustomer",
            "Content-Type": "application/x-amz-json-1.1",
        }
        request = AWSRequest("POST", f"{self.url}/", headers=headers, data=body)
        # Secret and access key are alike in these tests.
        signer = SigV4Auth(Credentials(access_key, access_key), "aws-marketplace", "us-east-1")
        signer.add_auth(request)
        return {"data": body, "headers": dict(request.headers.items())}


@contextmanager
def running(*options: str) -> Iterator[Simulator]:
    """A simulator on a free port, ended afterwards."""
    with subprocess.Popen(
        [*COMMAND, "--port", "0", *options], stdout=subprocess.PIPE, text=True
    ) as process:
        try:
            yield Simulator(process)
        finally:
            process.kill()


def refused(*options: str) -> subprocess.CompletedProcess[str]:
    """What a simulator says that should not start."""
    return subprocess.run(
        [*COMMAND, *options], capture_output=True, text=True, timeout=60, check=False
    )


async def test_it_speaks_the_protocol() -> None:
    """A signed call gets JSON 1.1, a request id of its own and the members; an error its type."""
    with running() as simulator:
        async with aiohttp.ClientSession(simulator.url) as http:
            async with http.post("/", **simulator.signed("ok-1")) as resolved:
                members = await resolved.json(content_type="application/x-amz-json-1.1")
            async with http.post("/", **simulator.signed("invalid-1")) as invalid:
                error = await invalid.json(content_type="application/x-amz-json-1.1")

    assert (resolved.status, len(members)) == (200, 5)
    assert (invalid.status, error["__type"]) == (400, "InvalidTokenException")
    ids = {answer.headers["x-amzn-RequestId"] for answer in (resolved, invalid)}
    assert len(ids) == 2


async def test_each_access_key_goes_with_the_secret_in_its_place() -> None:
    """Keys given by repeated options all may call, and a seller's token knows its own."""
    keys = ("--access-key", "one", "--access-key", "two", "--secret-key", "one")
    with running(*keys, "--secret-key", "two") as simulator:
        async with aiohttp.ClientSession(simulator.url) as http:
            statuses = []
            for key in ("one", "two", "simulator"):
                async with http.post("/", **simulator.signed("seller-two-1", key)) as answer:
                    statuses.append((answer.status, (await answer.text())[:40]))

    assert [status for status, _ in statuses] == [400, 200, 400]
    assert "InvalidTokenException" in statuses[0][1]
    assert "UnrecognizedClientException" in statuses[2][1]


async def test_its_behaviour_changes_live_and_is_counted() -> None:
    """Orders change quota and fault while it runs, and the counts tell what was answered."""
    with running("--rate", "0", "--burst", "1") as simulator:
        async with aiohttp.ClientSession(simulator.url) as http:

            async def call() -> int:
                async with http.post("/", **simulator.signed("ok-1")) as answer:
                    return answer.status

            async def order(method: str, path: str, body: object = None) -> int:
                async with http.request(method, f"/_simulator/{path}", json=body) as reply:
                    return reply.status

            statuses = [await call(), await call()]
            assert await order("PUT", "quota", {"rate": 40, "burst": 40}) == 200
            await asyncio.sleep(0.1)
            statuses += [await call()]
            assert await order("PUT", "fault", {"code": "ServiceUnavailable", "status": 503}) == 200
            statuses += [await call()]
            assert await order("DELETE", "fault") == 200
            statuses += [await call()]
            assert await order("PUT", "quota", {"rate": "lots"}) == 400
            assert await order("POST", "stats") == 405
            async with http.get("/_simulator/stats") as reply:
                stats = await reply.json()

    assert statuses == [200, 400, 200, 503, 200]
    assert stats["calls"] == {"ok": 3, "token": 0, "throttled": 1, "transient": 1, "systemic": 0}
    assert sum(second["ok"] for second in stats["seconds"].values()) == 3
    assert stats["tokens"] == 1


async def test_answers_take_their_time() -> None:
    """The latency delays every answer, and a slow token its own."""
    with running("--latency", "200ms±20ms") as simulator:
        async with aiohttp.ClientSession(simulator.url) as http:
            begun = time.monotonic()
            async with http.post("/", **simulator.signed("invalid-1")):
                plain_s = time.monotonic() - begun
            async with http.post("/", **simulator.signed("slow-300-1")):
                slow_s = time.monotonic() - begun - plain_s

    assert plain_s >= 0.175
    assert slow_s >= 0.475


async def test_the_error_rate_makes_calls_fail() -> None:
    """With an error rate of 1 every call is an internal error."""
    with running("--error-rate", "1") as simulator:
        async with (
            aiohttp.ClientSession(simulator.url) as http,
            http.post("/", **simulator.signed("ok-1")) as answer,
        ):
            body = await answer.text()

    assert answer.status == 500
    assert "InternalServiceErrorException" in body


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
async def test_a_signal_ends_it_cleanly_even_while_a_call_hangs(number: signal.Signals) -> None:
    """`hang-*` gets no answer, and SIGTERM or SIGINT still ends the simulator with exit code 0."""
    with running() as simulator:
        async with aiohttp.ClientSession(simulator.url) as http:
            with pytest.raises(TimeoutError):
                async with asyncio.timeout(0.5), http.post("/", **simulator.signed("hang-1")):
                    pass
            hanging = asyncio.create_task(_fails(http, simulator.signed("hang-2")))
            await asyncio.sleep(0.2)
            simulator.process.send_signal(number)
            code = await asyncio.to_thread(simulator.process.wait, 5)
            await hanging

    assert code == 0


async def _fails(http: aiohttp.ClientSession, call: dict[str, Any]) -> None:
    with pytest.raises(aiohttp.ClientConnectionError):
        await http.post("/", **call)


def test_a_taken_port_is_named_and_exits_69() -> None:
    """A port that another program holds ends the command with 69 and says what to do."""
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
        ended = refused("--port", str(port))

    assert ended.returncode == 69
    assert f"127.0.0.1:{port}" in ended.stderr
    assert "--port" in ended.stderr
    assert "Traceback" not in ended.stderr
    assert not ended.stdout


@pytest.mark.parametrize(
    ("options", "named"),
    [
        (["--latency", "fast"], "latency"),
        (["--rate", "-1"], "rate"),
        (["--burst", "5"], "rate"),
        (["--rate", "1", "--burst", "0.5"], "burst"),
        (["--error-rate", "2"], "error-rate"),
        (["--error-rate", "nan"], "error-rate"),
        (["--port", "70000"], "port"),
        (["--access-key", "a", "--access-key", "b"], "secret-key"),
        (["--access-key", "a b"], "access-key"),
        (["--access-key", "", "--secret-key", "s"], "access-key"),
        (["--access-key", "a", "--access-key", "a"] + ["--secret-key", "s"] * 2, "twice"),
        (["--frobnicate"], "frobnicate"),
    ],
)
@pytest.mark.sampled(6)
def test_a_bad_option_is_named_and_exits_2(options: list[str], named: str) -> None:
    """An option that makes no sense ends the command with 2 and a sentence, not a traceback."""
    ended = refused("--port", "0", *options)

    assert ended.returncode == 2
    assert named in ended.stderr
    assert "Traceback" not in ended.stderr
    assert not ended.stdout


def test_help_tells_the_grammar_the_orders_and_the_results() -> None:
    """`--help` is the simulator's manual: words, paths and result names are all in it."""
    told = refused("--help").stdout

    for word in ("ok-*", "same-<customer>-*", "hang-*", "seller-<access key>-*", "fail-<n>-*"):
        assert word in told
    for path in ("/_simulator/quota", "/_simulator/fault", "/_simulator/stats"):
        assert path in told
    for result in ("ok", "token", "throttled", "transient", "systemic"):
        assert re.search(rf"^ *{result} ", told, re.MULTILINE)
