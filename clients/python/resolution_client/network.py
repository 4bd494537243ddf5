"""Where a token comes from, as an opaque word: the `source` of a submission."""

from __future__ import annotations

import hashlib
import ipaddress
import os
import secrets
from typing import Final
from urllib.parse import urlsplit

from resolution_client.address import URL_VARIABLE

KEY_VARIABLE: Final = "RESOLUTION_SOURCE_KEY"
_IPV4_PREFIX: Final = 24
_IPV6_PREFIX: Final = 56
_FOR_THIS_PROCESS: Final = secrets.token_bytes(32)


def network_of(address: str, *, key: bytes | None = None) -> str | None:
    """A keyed hash of the network of a client's address: its /24, or /56 of IPv6.

    Args:
        address: The client's, as your own proxies report it. A header that anybody can set, such as
            the first word of `X-Forwarded-For`, lets a flood name a new network for each token.
        key: A secret that all your web processes share. By default RESOLUTION_SOURCE_KEY, else one
            made of the password in RESOLUTION_AMQP__URL, else one of this process alone.

    Returns:
        32 hexadecimal digits; None for what is no address, which then shares the turns of all
        submissions without a source.
    """
    try:
        ip = ipaddress.ip_address(address.strip())
    except ValueError:
        return None
    if isinstance(ip, ipaddress.IPv6Address) and ip.ipv4_mapped is not None:
        ip = ip.ipv4_mapped
    prefix = _IPV4_PREFIX if ip.version == 4 else _IPV6_PREFIX  # noqa: PLR2004 - IP's versions
    network = ipaddress.ip_network((ip.packed, prefix), strict=False)
    secret = hashlib.sha256(key or _key()).digest()
    return hashlib.blake2b(network.network_address.packed, key=secret, digest_size=16).hexdigest()


def _key() -> bytes:
    if given := os.environ.get(KEY_VARIABLE):
        return given.encode()
    try:
        password = urlsplit(os.environ.get(URL_VARIABLE, "")).netloc.rpartition("@")[0]
    except ValueError:
        password = ""
    return f"resolution-client source {password}".encode() if password else _FOR_THIS_PROCESS
