"""Reads the call's parameters: the token, from wherever it is given, and the input document."""

from __future__ import annotations

import os
import sys
from codecs import BOM_UTF16_BE, BOM_UTF16_LE
from typing import TYPE_CHECKING, Any, Final

from worker.cli.resolve_customer import notices
from worker.cli.resolve_customer.faults import UsageFault
from worker.core.encodings import without_mark
from worker.core.token.token_rules import mispasted

if TYPE_CHECKING:
    from worker.cli.resolve_customer.options import Options

TOKEN: Final = "RegistrationToken"  # noqa: S105 - the member's name
_FILES: Final = ("file://", "fileb://")
_ENCODING: Final = "AWS_CLI_FILE_ENCODING"
_MAX_BYTES: Final = 1 << 20


def parameters(options: Options) -> dict[str, Any]:
    """The members of the request; an option takes precedence over the input document.

    Raises:
        UsageFault: The document or the token can't be read.
    """
    given: dict[str, Any] = {}
    if options.token is not None:
        given[TOKEN] = _token(options.token)
    document = _document(options)
    given = {**document, **given}
    _check_token(given, options)
    return given


def _token(typed: str) -> str | bytes:
    if typed == "-":
        return _from_standard_input()
    if typed.startswith(_FILES):
        content = _file(typed, "--registration-token")
        # Most files end with a line end, which the AWS CLI would send as part of the token.
        return (
            content.removesuffix("\n").removesuffix("\r") if isinstance(content, str) else content
        )
    _warn_exposed("--registration-token")
    return typed


def _warn_exposed(option: str) -> None:
    notices.warn(
        f"{option} exposes the token in the list of processes and the shell's history; "
        f"{'--registration-token - or ' if 'token' in option else ''}file://PATH does not"
    )


def _from_standard_input() -> str:
    if sys.stdin is None:
        raise UsageFault("Error parsing parameter '--registration-token': no standard input")
    if sys.stdin.isatty():
        import getpass  # noqa: PLC0415 - start-up

        return getpass.getpass("Registration token: ", stream=sys.stderr)
    content = sys.stdin.buffer.read(_MAX_BYTES + 1)
    return _decoded(content, "standard input", "--registration-token").rstrip("\r\n")


def _file(location: str, option: str) -> str | bytes:
    """The file's content: text, or bytes for `fileb://`."""
    prefix, path = location.split("://", 1)
    path = os.path.expandvars(os.path.expanduser(path))  # noqa: PTH111 - as the AWS CLI does
    try:
        with open(path, "rb") as file:  # noqa: PTH123 - pathlib would be imported for this alone
            content = file.read(_MAX_BYTES + 1)
    except OSError as error:
        raise _unreadable(option, f"Unable to load paramfile {location}: {error}") from None
    return content if prefix == "fileb" else _decoded(content, path, option)


def _decoded(content: bytes, name: str, option: str) -> str:
    if len(content) > _MAX_BYTES:
        raise _unreadable(option, f"{name} is larger than {_MAX_BYTES:,} bytes")
    encoding = os.environ.get(_ENCODING) or "utf-8"
    try:
        return without_mark(content.decode(encoding))
    except LookupError:
        raise UsageFault(f"{_ENCODING} names no encoding that is known: {encoding}") from None
    except UnicodeDecodeError:
        raise _unreadable(
            option,
            f"Unable to load paramfile ({name}), text contents could not be decoded.  If this is "
            "a binary file, please use the fileb:// prefix instead of the file:// prefix."
            f"{_WIDE if content.startswith((BOM_UTF16_LE, BOM_UTF16_BE)) else ''}",
        ) from None


_WIDE: Final = f" It is UTF-16: save it as UTF-8, or set {_ENCODING}=UTF-16."


def _unreadable(option: str, why: str) -> UsageFault:
    return UsageFault(f"Error parsing parameter '{option}': {why}")


def _document(options: Options) -> dict[str, Any]:
    if options.input_json is not None and options.input_yaml is not None:
        raise UsageFault("Only one --cli-input- parameter may be specified.")
    if options.input_json is not None:
        return _mapping(_json(_source(options.input_json, "json")), "json")
    if options.input_yaml is not None:
        return _mapping(_yaml(_source(options.input_yaml, "yaml")), "yaml")
    return {}


def _source(value: str, kind: str) -> str | bytes:
    if value.startswith(_FILES):
        return _file(value, f"--cli-input-{kind}")
    if TOKEN in value:
        _warn_exposed(f"--cli-input-{kind}")
    return value


def _json(text: str | bytes) -> Any:
    import json  # noqa: PLC0415 - start-up

    try:
        return json.loads(text)
    except (ValueError, RecursionError) as error:
        # Its message gives the position and quotes nothing.
        where = f" {error}" if isinstance(error, json.JSONDecodeError) else ""
        raise _unreadable("cli-input-json", f"Invalid JSON received.{where}") from None


def _yaml(text: str | bytes) -> Any:
    from ruamel.yaml import YAML  # noqa: PLC0415 - start-up
    from ruamel.yaml.error import MarkedYAMLError, YAMLError  # noqa: PLC0415 - start-up

    try:
        return YAML(typ="safe", pure=True).load(text)
    except (YAMLError, RecursionError) as error:
        mark = error.problem_mark if isinstance(error, MarkedYAMLError) else None
        where = f" line {mark.line + 1} column {mark.column + 1}" if mark else ""
        raise _unreadable("cli-input-yaml", f"Invalid YAML received.{where}") from None


def _mapping(document: Any, kind: str) -> dict[str, Any]:
    if isinstance(document, dict):
        return document
    raise _unreadable(
        f"--cli-input-{kind}", f"Invalid type: expecting map, received {type(document)}"
    )


def _check_token(given: dict[str, Any], options: Options) -> None:
    """Record the token as a secret, and refuse a token of another type without repeating it."""
    if TOKEN not in given:
        return
    token = given[TOKEN]
    if not isinstance(token, str):
        raise UsageFault(
            "Parameter validation failed:\n"
            f"Invalid type for parameter {TOKEN}, value: (hidden), type: {type(token)}, "
            "valid types: <class 'str'>"
        )
    token = given[TOKEN] = without_mark(token)
    options.secrets.add(token)
    if why := token and mispasted(token):
        raise UsageFault(f"Parameter validation failed:\n{why.reason}")
