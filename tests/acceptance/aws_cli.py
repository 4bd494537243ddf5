"""The AWS CLI in both versions beside our own command, each with a simulator of its own."""

from __future__ import annotations

import gzip
import json
import os
import socket
import ssl
import subprocess
import threading
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Final

import botocore

from harness.installation import bare_environment
from harness.programs import COMMAND

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

ROOT: Final = Path(__file__).resolve().parents[2]
# What a model of the service that is older than ours does not know yet.
UNKNOWN: Final = {"v1": ("Metadata",), "v2": ("LicenseArn", "Metadata")}
REGION: Final = "us-east-1"
_PATIENCE_SECONDS: Final = 150


@dataclass(frozen=True, slots=True)
class Ended:
    """A command that has ended: what it printed, byte for byte."""

    code: int
    out: bytes
    err: str


@dataclass(frozen=True, slots=True)
class Tool:
    """A command that resolves a token, and the simulator that it alone calls.

    Attributes:
        data_path: Directories with models that it is to use instead of its own.
    """

    command: Sequence[str]
    url: str
    home: Path
    data_path: Path | None = None
    more: Mapping[str, str] = field(default_factory=dict)

    def run(
        self,
        *arguments: str,
        stdin: str | None = None,
        environment: Mapping[str, str] | None = None,
    ) -> Ended:
        """Run it, with `{url}` and `{home}` filled in; `UNSET` takes a variable away."""
        given = self.environment | {
            name: self._filled(value) for name, value in (environment or {}).items()
        }
        done = subprocess.run(
            [*self.command, *map(self._filled, arguments)],
            env={name: value for name, value in given.items() if value != UNSET},
            input=None if stdin is None else stdin.encode(),
            stdin=subprocess.DEVNULL if stdin is None else None,
            capture_output=True,
            timeout=_PATIENCE_SECONDS,
            check=False,
        )
        return Ended(done.returncode, done.stdout, done.stderr.decode())

    def _filled(self, text: str) -> str:
        return text.replace("{url}", self.url).replace("{home}", str(self.home))

    @property
    def environment(self) -> dict[str, str]:
        """Credentials that the simulator knows, and nothing of the machine's own."""
        models = {} if self.data_path is None else {"AWS_DATA_PATH": str(self.data_path)}
        return bare_environment(self.home) | {
            "AWS_ACCESS_KEY_ID": "simulator",
            "AWS_SECRET_ACCESS_KEY": "simulator",
            "AWS_REGION": REGION,
            "AWS_DEFAULT_REGION": REGION,
            "AWS_MAX_ATTEMPTS": "1",
            "AWS_PAGER": "",
            "LANG": "C.UTF-8",
            **models,
            **self.more,
        }


UNSET: Final = "(unset)"


def version_one() -> Path:
    """The AWS CLI v1, in a virtual environment of its own."""
    command = ROOT / os.environ.get("AWSCLI_VENV", ".venv-awscli") / "bin" / "aws"
    assert command.exists(), f"there is no {command}: run `make awscli` first"
    return command


def version_two() -> Path:
    """The AWS CLI v2, as Debian packages it."""
    command = Path(os.environ.get("AWSCLI_V2", "/usr/bin/aws"))
    remedy = "run `make awscli-v2` first, or name another one in AWSCLI_V2"
    assert command.exists(), f"there is no {command}: {remedy}"
    said = subprocess.run([command, "--version"], capture_output=True, text=True, check=True)
    assert said.stdout.startswith("aws-cli/2."), f"{command} is {said.stdout}: {remedy}"
    return command


AWS: Final = ("meteringmarketplace", "resolve-customer")
OURS: Final = (COMMAND, "resolve-customer")
# Ours must give no warning of Python's; those of the references are not our business.
QUIET: Final = {"PYTHONWARNINGS": "ignore"}


def model_without(members: Sequence[str], directory: Path) -> Path:
    """A data path whose model of the service lacks these members of the answer."""
    known = Path(botocore.__file__).parent / "data/meteringmarketplace/2016-01-14"
    model = json.loads(gzip.decompress((known / "service-2.json.gz").read_bytes()))
    for member in members:
        del model["shapes"]["ResolveCustomerResult"]["members"][member]
    place = directory / "meteringmarketplace/2016-01-14"
    place.mkdir(parents=True)
    (place / "service-2.json").write_text(json.dumps(model), encoding="utf-8")
    return directory


@dataclass(frozen=True, slots=True)
class Encrypted:
    """A server that ends TLS before a simulator: its address and its authority."""

    url: str
    authority: Path


def self_signed(home: Path) -> tuple[ssl.SSLContext, Path]:
    """A server's TLS context with a new certificate for `localhost`, and the certificate's file."""
    certificate, key = home / "front.crt", home / "front.key"
    subprocess.run(
        [
            *("openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256"),
            *("-nodes", "-days", "2", "-subj", "/CN=localhost"),
            *("-addext", "subjectAltName=DNS:localhost"),
            *("-keyout", str(key), "-out", str(certificate)),
        ],
        capture_output=True,
        check=True,
    )
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, key)
    return context, certificate


@contextmanager
def encrypting(url: str, home: Path) -> Iterator[Encrypted]:
    """A TLS front before an address, with a certificate of its own for `localhost`."""
    context, certificate = self_signed(home)
    behind = int(url.rpartition(":")[2])
    with socket.create_server(("127.0.0.1", 0)) as server:
        thread = threading.Thread(target=_serve, args=(server, context, behind))
        thread.start()
        try:
            yield Encrypted(f"https://localhost:{server.getsockname()[1]}", certificate)
        finally:
            server.shutdown(socket.SHUT_RDWR)
            thread.join()


def _serve(server: socket.socket, context: ssl.SSLContext, behind: int) -> None:
    """One connection after the other; each is one request and its answer."""
    while True:
        try:
            plain, _ = server.accept()
        except OSError:
            return  # the test is over
        with plain:
            plain.settimeout(10)
            try:
                _exchange(context.wrap_socket(plain, server_side=True), behind)
            except OSError:
                continue  # the client did not trust the certificate


def _exchange(client: ssl.SSLSocket, behind: int) -> None:
    with client, socket.create_connection(("127.0.0.1", behind), timeout=10) as server:
        request = b""
        while not _is_whole(request):
            request += client.recv(65_536)
        server.sendall(request)
        answer = b""
        while not _is_whole(answer):
            answer += server.recv(65_536)
        client.sendall(answer)


def _is_whole(message: bytes) -> bool:
    head, end, body = message.partition(b"\r\n\r\n")
    lengths = [
        int(line.partition(b":")[2])
        for line in head.splitlines()
        if line.lower().startswith(b"content-length:")
    ]
    return bool(end) and len(body) >= sum(lengths)
