"""The broker's management interface, for what AMQP can't tell or do: users, rights, policies."""

from __future__ import annotations

import base64
import ssl
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import quote

import aiohttp
import orjson
from yarl import URL

from worker.adapters.certificate_errors import certificate_remedy
from worker.core.addresses.text import take_apart
from worker.core.exceptions import SetupFault, Unavailable

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Mapping

_SECONDS: Final = aiohttp.ClientTimeout(total=10.0)
_MOST_WORDS: Final = 200


class ManagementUnavailable(Unavailable):
    """It can't be reached. The message says why and what to do, and holds no password."""


class ManagementRefused(SetupFault):
    """It does not do what was asked. The message says why and what to do."""


class Management:
    """Calls under `/api/`; made by `management`."""

    def __init__(self, session: aiohttp.ClientSession, base: str) -> None:
        self._session = session
        self._base = base

    async def get(self, *path: str) -> Any:
        """What is there, decoded; None if nothing is.

        Args:
            path: What follows `/api/`, in parts: `/` names the virtual host.

        Raises:
            ManagementUnavailable: It can't be reached.
            ManagementRefused: The user may not see it, or what answers is no management interface.
        """
        return await self._call("GET", path)

    async def put(self, *path: str, body: Mapping[str, object] | None = None) -> None:
        """Create or replace something.

        Raises:
            ManagementUnavailable: It can't be reached.
            ManagementRefused: The user may not do that, or it makes no sense to the broker.
        """
        await self._call("PUT", path, body or {})

    async def _call(
        self, method: str, path: tuple[str, ...], body: Mapping[str, object] | None = None
    ) -> Any:
        where = "/".join(quote(part, safe="") for part in path)
        url = URL(f"{self._base}/api/{where}", encoded=True)
        try:
            async with self._session.request(
                method, url, json=body, allow_redirects=False
            ) as answer:
                content = await answer.read()
                return _read(answer.status, content)
        except aiohttp.ClientConnectorCertificateError as error:
            raise ManagementUnavailable(_untrusted(error.certificate_error)) from None
        except (aiohttp.ClientError, OSError) as error:
            why = error.strerror if isinstance(error, OSError) else None
            raise ManagementUnavailable(
                f"can't be reached ({why or type(error).__name__}); is rabbitmq_management "
                "enabled, and is this its port (15672, or 15671 with TLS)?"
            ) from None


def _untrusted(error: Exception) -> str:
    remedy = "name the authority with `?cafile=/path/ca.pem`"
    if isinstance(error, ssl.SSLCertVerificationError):
        remedy = certificate_remedy(error, "the URL", remedy)
        return f"its certificate is not trusted ({error.verify_message}); {remedy}"
    return f"its certificate is not trusted; {remedy}"


def _read(status: int, content: bytes) -> Any:
    if status == _NOT_FOUND:
        return None
    if status == _UNAUTHORISED:
        raise ManagementRefused("login refused; check user and password, and the user's tags")
    if status >= _BAD:
        raise ManagementRefused(f"it answered {status}{_reason(content)}")
    if not content:
        return None
    try:
        return orjson.loads(content)
    except orjson.JSONDecodeError:
        raise ManagementRefused(
            "what answers is not the management interface; is this its port?"
        ) from None


_UNAUTHORISED: Final = 401
_NOT_FOUND: Final = 404
_BAD: Final = 300


def _reason(content: bytes) -> str:
    try:
        told = orjson.loads(content)
        return f" ({str(told['reason'])[:_MOST_WORDS]})"
    except (orjson.JSONDecodeError, KeyError, TypeError):
        return ""


@asynccontextmanager
async def management(url: str) -> AsyncIterator[Management]:
    """The interface that an address names, as `WORKER_AMQP__MANAGEMENT_URL` does.

    Proxies of the environment are not asked.

    Raises:
        ManagementUnavailable: A file that the address names can't be used.
    """
    parts = take_apart(url, ("http", "https"))
    base = f"{parts.scheme}://{parts.hosts}{parts.path.rstrip('/')}"
    login = f"{parts.user or ''}:{parts.password or ''}"
    headers = {"Authorization": f"Basic {base64.b64encode(login.encode()).decode()}"}
    connector = aiohttp.TCPConnector(ssl=_tls(dict(parts.words).get("cafile") or None))
    async with aiohttp.ClientSession(
        headers=headers, connector=connector, timeout=_SECONDS
    ) as session:
        yield Management(session, base)


def _tls(cafile: str | None) -> ssl.SSLContext:
    try:
        return ssl.create_default_context(cafile=cafile)
    except OSError as error:  # ssl.SSLError is one
        raise ManagementUnavailable(
            f"the file of `cafile` can't be used ({error.strerror or 'no certificate in it'})"
        ) from None
