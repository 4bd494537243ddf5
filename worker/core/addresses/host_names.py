"""Whether a host name can be looked up; for other names drivers raise arbitrary exceptions."""

from __future__ import annotations

import ipaddress
import re
import stringprep
import unicodedata

ENCODE = "; special characters in a user or password are percent-encoded"
"""The usual remedy where an address is parsed at the wrong place."""

_MOST_NAME_BYTES = 253
_MOST_LABEL_BYTES = 63
_FILLERS = "\u115f\u1160\u17b4\u17b5\u3164\uffa0"
_IDNA_DOTS = re.compile("[.\u3002\uff0e\uff61]")


def check_host_name(host: str) -> None:
    """Validates an IP address or a host name that can be looked up.

    Raises:
        ValueError: It is neither; the message does not repeat it: it may be part of a password.
    """
    try:
        ipaddress.ip_address(host)
    except ValueError:
        pass
    else:
        return
    if re.fullmatch("[0-9.]+", host) and not _is_short_ipv4(host):
        raise ValueError("names a host that is neither a name nor an IP address" + ENCODE)
    labels = _IDNA_DOTS.split(host)
    if not labels[-1]:
        labels.pop()  # an absolute name
    if not labels or not all(labels):
        raise ValueError("names a host with an empty part, such as two dots in a row" + ENCODE)
    encoded = [_encoded_label(label) for label in labels]
    if len(".".join(encoded)) > _MOST_NAME_BYTES:
        raise ValueError(f"names a host of more than {_MOST_NAME_BYTES} bytes" + ENCODE)


def check_ipv6(host: str) -> None:
    """Validates a host written in brackets.

    Raises:
        ValueError: It is not an IPv6 address.
    """
    try:
        ipaddress.IPv6Address(host)
    except ValueError:
        raise ValueError("has something in brackets that is not an IPv6 address") from None


def _encoded_label(label: str) -> str:
    if label.isascii() and len(label) > _MOST_LABEL_BYTES:
        what = f"names a host with a part of more than {_MOST_LABEL_BYTES} bytes"
        raise ValueError(what + ENCODE)
    try:
        encoded = label.encode("idna")
        encoded.decode("idna")
    except UnicodeError:
        encoded = b""
    if any(map(_is_unseen, label)):
        encoded = b""
    if not re.fullmatch(rb"[A-Za-z0-9_-]+", encoded):
        raise ValueError("names a host with a character that no host name can have" + ENCODE)
    return encoded.decode("ascii")


def _is_unseen(character: str) -> bool:
    """Whether an encoding drops the character, so that a different host would be looked up.

    Libraries disagree about what is no character of Unicode.
    """
    unassigned = unicodedata.category(character) == "Cn"
    return unassigned or stringprep.in_table_b1(character) or character in _FILLERS


def _is_short_ipv4(host: str) -> bool:
    """Whether it is a short form such as `127.1`, which resolvers accept too."""
    *bytes_, rest = host.split(".")
    try:
        numbers = [int(part, 8 if part.startswith("0") else 10) for part in (*bytes_, rest)]
    except ValueError:
        return False
    most = 256 ** (4 - len(bytes_))
    return len(bytes_) < 4 and max([*numbers[:-1], 0]) < 256 and numbers[-1] < most  # noqa: PLR2004
