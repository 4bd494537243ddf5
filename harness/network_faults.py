"""What may stand between a worker and AWS: closed ports, silence, odd proxies, bad certificates."""

from __future__ import annotations

import socket
import ssl
import subprocess
import threading
from contextlib import ExitStack, suppress
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

LOGIN: Final = "svc-proxy:pr0xy-pass"
"""User and password in the addresses of proxies; no output may contain the password."""
PASSWORD: Final = LOGIN.partition(":")[2]

# As who hangs up afterwards says: else the next request may be sent on the same connection.
_ENDS: Final = b"Content-Length: 0\r\nConnection: close\r\n\r\n"
LOGIN_REFUSED: Final = b"HTTP/1.1 407 Proxy Authentication Required\r\n" + _ENDS
FORBIDDEN: Final = b"HTTP/1.1 403 Forbidden\r\n" + _ENDS
BAD_GATEWAY: Final = b"HTTP/1.1 503 Service Unavailable\r\n" + _ENDS
SOCKS: Final = b"\x05\xff"
NOTHING: Final = b""

_HANG_UP_SECONDS: Final = 1.0


class NetworkFaults(ExitStack):
    """Listeners on loopback for as long as the block lasts.

    Attributes:
        received: The first bytes that each connection of `saying` has sent.
    """

    def __init__(self, home: Path) -> None:
        super().__init__()
        self._home = home
        self.received: list[bytes] = []

    def closed(self) -> int:
        """A port on which nobody listens, and which nobody else is given meanwhile."""
        held = self.enter_context(socket.socket())
        held.bind(("127.0.0.1", 0))
        return int(held.getsockname()[1])

    def silent(self) -> int:
        """A port whose connections the kernel takes, and nobody ever reads."""
        return int(self._listener().getsockname()[1])

    def saying(self, answer: bytes) -> int:
        """A port that answers whatever comes with these bytes, and hangs up."""

        def serve(connection: socket.socket) -> None:
            self.received.append(connection.recv(65_536))
            connection.sendall(answer)
            # Closed with something unread, the connection would be reset, and the answer lost.
            connection.shutdown(socket.SHUT_WR)
            connection.settimeout(_HANG_UP_SECONDS)
            while connection.recv(65_536):
                pass

        return self._serving(serve)

    def tunnel(self, port: int) -> int:
        """An HTTP proxy that connects everybody with this port of loopback."""

        def serve(connection: socket.socket) -> None:
            connection.recv(65_536)
            connection.sendall(b"HTTP/1.1 200 Connection established\r\n\r\n")
            with socket.create_connection(("127.0.0.1", port)) as beyond:
                back = threading.Thread(target=_copy, args=(beyond, connection), daemon=True)
                back.start()
                _copy(connection, beyond)

        return self._serving(serve)

    def tls(self, certificate: str) -> int:
        """A port that speaks TLS with a certificate, and never answers a request."""
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(certificate)

        def serve(connection: socket.socket) -> None:
            with context.wrap_socket(connection, server_side=True) as secured:
                secured.recv(65_536)

        return self._serving(serve)

    def certificate(self, name: str, *, days: int = 1) -> str:
        """A file with a key and a certificate for a name (`DNS:…` or `IP:…`), signed by itself."""
        file = self._home / f"{name.replace(':', '-')}-{days}.pem"
        key, request, names = (file.with_suffix(each) for each in (".key", ".csr", ".ext"))
        names.write_text(f"subjectAltName={name}\n")
        _openssl(
            "req", "-new", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes",
            "-keyout", str(key), "-out", str(request), "-subj", "/CN=test",
        )  # fmt: skip
        _openssl(
            "x509", "-req", "-in", str(request), "-signkey", str(key), "-days", str(days),
            "-extfile", str(names), "-out", str(file),
        )  # fmt: skip
        file.write_text(file.read_text() + key.read_text())
        return str(file)

    def _listener(self) -> socket.socket:
        return self.enter_context(socket.create_server(("127.0.0.1", 0), backlog=64))

    def _serving(self, serve: Callable[[socket.socket], None]) -> int:
        listener = self._listener()

        def work(connection: socket.socket) -> None:
            with connection, suppress(OSError):
                serve(connection)

        def accept() -> None:
            while True:
                try:
                    connection, _ = listener.accept()
                except OSError:
                    return
                threading.Thread(target=work, args=(connection,), daemon=True).start()

        threading.Thread(target=accept, daemon=True).start()
        # Closing alone would leave `accept` waiting.
        self.callback(lambda: _shut(listener))
        return int(listener.getsockname()[1])


def _shut(listener: socket.socket) -> None:
    with suppress(OSError):
        listener.shutdown(socket.SHUT_RDWR)


def _copy(source: socket.socket, target: socket.socket) -> None:
    with suppress(OSError):
        while data := source.recv(65_536):
            target.sendall(data)
        target.shutdown(socket.SHUT_WR)


def _openssl(*words: str) -> None:
    subprocess.run(["openssl", *words], check=True, capture_output=True, timeout=60)
