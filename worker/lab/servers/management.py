"""RabbitMQ's HTTP interface: virtual hosts and users in milliseconds, at no start-up cost."""

import base64
import json
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

_SECONDS = 30.0


@dataclass(frozen=True, slots=True)
class Management:
    """The management interface of one broker, for whoever may administer it.

    Attributes:
        base: Its address without a path, such as `http://127.0.0.1:15672`.
        user: An administrator's name.
    """

    base: str
    user: str
    _password: str = field(repr=False)

    @classmethod
    def at(cls, url: str) -> "Management":
        """The interface that an address with a user and a password names."""
        parts = urllib.parse.urlsplit(url)
        return cls(
            f"http://{parts.hostname}:{parts.port}", parts.username or "", parts.password or ""
        )

    @property
    def url(self) -> str:
        """Its address with the user and the password, as `at` takes it."""
        return self.base.replace("://", f"://{self.user}:{self._password}@")

    def call(
        self, method: str, *path: str, body: object = None, query: Mapping[str, str] | None = None
    ) -> Any:
        """Make one call and wait for its answer; blocking.

        Args:
            method: `GET`, `PUT`, `POST` or `DELETE`.
            path: What follows `/api/`, in parts; each is quoted, so `/` names the virtual host.
            body: What to send as JSON.
            query: What follows the path.

        Returns:
            The decoded answer; None if it is empty.

        Raises:
            OSError: The broker can't be reached, or (`urllib.error.HTTPError`) refused.
        """
        quoted = "/".join(urllib.parse.quote(part, safe="") for part in path)
        asked = f"?{urllib.parse.urlencode(query)}" if query else ""
        request = urllib.request.Request(  # noqa: S310 - http by construction
            f"{self.base}/api/{quoted}{asked}",
            data=None if body is None else json.dumps(body).encode(),
            headers={"Authorization": self._credentials(), "Content-Type": "application/json"},
            method=method,
        )
        with _DIRECT.open(request, timeout=_SECONDS) as answer:
            content = answer.read()
        return json.loads(content) if content else None

    def _credentials(self) -> str:
        return "Basic " + base64.b64encode(f"{self.user}:{self._password}".encode()).decode()


# A proxy named in the environment is not asked for what is on this machine.
_DIRECT = urllib.request.build_opener(urllib.request.ProxyHandler({}))
