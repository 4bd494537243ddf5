"""The files that an address names: whether they can be used, and the TLS context made of them."""

from __future__ import annotations

import os
import ssl
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from worker.core.addresses.files import Files

_SHARED_MODE = 0o077


class UnusableFile(ValueError):
    """A file that an address names can't be used; the message names it and its word."""


def check_files(files: Files, authority: bytes | None = None) -> None:
    """Look at all files that an address names.

    Args:
        files: What it names.
        authority: A certificate in the address itself.

    Raises:
        UnusableFile: With everything that is wrong with them.
    """
    if faults := list(_faults(files, authority)):
        raise UnusableFile(", and ".join(faults))


def trusting(files: Files, authority: bytes | None, *, verified: bool) -> ssl.SSLContext:
    """A client's TLS context; without authorities of its own it trusts those of the system.

    Raises:
        UnusableFile: A file can't be used.
    """
    check_files(files, authority)
    named = [path for _, path in files.authorities]
    folders = [path for _, path in files.authority_folders]
    context = ssl.create_default_context(
        cafile=next(iter(named), None), capath=next(iter(folders), None), cadata=authority
    )
    for path in named[1:]:
        context.load_verify_locations(path)
    for _, path in files.lists:
        context.load_verify_locations(path)
        context.verify_flags |= ssl.VERIFY_CRL_CHECK_CHAIN
    if files.certificate:
        _load_certificate(context, files)
    if not verified:
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    return context


def _faults(files: Files, authority: bytes | None) -> Iterator[str]:
    for word, path in (*files.authorities, *files.lists):
        what = "list" if (word, path) in files.lists else "certificate"
        yield from _fault(word, path, _read) or _fault(
            word, path, _scratch().load_verify_locations, f"which holds no {what}"
        )
    for word, path in files.authority_folders:
        yield from _fault(word, path, os.listdir)
    for word, path in files.passwords:
        yield from _fault(word, path, _read) or _shared(word, path)
    if authority is not None:
        try:
            _scratch().load_verify_locations(cadata=authority)
        except ssl.SSLError:
            yield "has a value of cadata that is not a certificate"
    yield from _certificate_faults(files)


def _certificate_faults(files: Files) -> Iterator[str]:
    if files.certificate is None:
        return
    pair = [each for each in (files.certificate, files.key) if each]
    unread = [fault for word, path in pair for fault in _fault(word, path, _read)]
    yield from unread
    if not unread:
        word, path = files.certificate
        try:
            _load_certificate(_scratch(), files)
        except (ssl.SSLError, OSError) as error:
            yield f"names {_named(word, path)}, {_pair_fault(error, pair)}"


def _pair_fault(error: OSError, pair: list[tuple[str, str]]) -> str:
    key = " ".join(pair[-1])
    reason = getattr(error, "reason", None) or ""
    if reason == "KEY_VALUES_MISMATCH":
        return f"to which the key of {key} does not belong"
    if "DECRYPT" in reason or "PASSWORD" in reason:
        return f"and the key of {key} does not open with the password given, or with none"
    if len(pair) == 1:
        return "which does not hold a certificate and its key"
    return f"which holds no certificate, or {key} holds no key"


def _load_certificate(context: ssl.SSLContext, files: Files) -> None:
    assert files.certificate is not None
    # Without a password of ours OpenSSL would ask for one on the terminal.
    context.load_cert_chain(
        files.certificate[1], files.key[1] if files.key else None, lambda: files.key_password
    )


def _scratch() -> ssl.SSLContext:
    return ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)


def _fault(
    word: str, path: str, use: Callable[[str], object], otherwise: str = "which can't be read"
) -> list[str]:
    """What is wrong with a file, as a list of one or none."""
    try:
        use(path)
    except ssl.SSLError:
        return [f"names {_named(word, path)}, {otherwise}"]
    except (OSError, ValueError) as error:
        why = (error.strerror if isinstance(error, OSError) else None) or "it is not a path"
        return [f"names {_named(word, path)}, which can't be read: {why}"]
    return []


def _read(path: str) -> None:
    with open(path, "rb") as file:  # noqa: PTH123 - a text that may be no path
        file.read(1)


def _shared(word: str, path: str) -> list[str]:
    if os.stat(path).st_mode & _SHARED_MODE:  # noqa: PTH116 - as above
        what = "which others may read: the driver ignores it unless its mode is 0600"
        return [f"names {_named(word, path)}, {what}"]
    return []


def _named(word: str, path: str) -> str:
    return f"{word} {path if path.isprintable() else ascii(path)}"
