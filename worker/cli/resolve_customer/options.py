"""Parses the options as the AWS CLI v2 does: global ones first, then the operation's."""

from __future__ import annotations

import argparse
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final, NoReturn

from worker.cli.resolve_customer import error_formats, notices
from worker.cli.resolve_customer.faults import CommandFault, UsageFault
from worker.cli.resolve_customer.help import HELP, USAGE, version

if TYPE_CHECKING:
    from collections.abc import Sequence

OUTPUTS: Final = ("json", "text", "table", "yaml", "yaml-stream", "off")
_SKELETONS: Final = ("input", "output", "yaml-input")
_DEFAULT_TIMEOUT_SECONDS: Final = 60
_CHOICES_A_LINE: Final = 2


class Finished(Exception):
    """The command only has to print a text."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.text = text


@dataclass(frozen=True, slots=True)
class Options:
    """All parsed options.

    Attributes:
        token: `--registration-token` as given: the token, `-`, or where to read it.
        query: The compiled JMESPath expression, or None.
        read_timeout: Seconds; None for no limit.
        connect_timeout: Seconds; None for no limit.
        secrets: Texts that must not be printed; added as soon as they are known.
    """

    token: str | None = field(repr=False)
    input_json: str | None = field(repr=False)
    input_yaml: str | None = field(repr=False)
    skeleton: str | None
    debug: bool
    endpoint_url: str | None
    verify_ssl: bool
    output: str | None
    query: Any
    profile: str | None
    region: str | None
    color: str
    sign_request: bool
    ca_bundle: str | None
    read_timeout: int | None
    connect_timeout: int | None
    store: bool
    actor: str | None
    reason: str | None
    explain: bool
    secrets: set[str] = field(default_factory=set, repr=False)


class _Parser(argparse.ArgumentParser):
    """Raises faults with the AWS CLI's messages, instead of printing them."""

    def __init__(self, *, allow_abbrev: bool = True) -> None:
        super().__init__(prog="resolution-worker", add_help=False, allow_abbrev=allow_abbrev)

    def names(self) -> list[str]:
        """All options, unabbreviated."""
        return list(self._option_string_actions)

    def error(self, message: str) -> NoReturn:
        raise UsageFault(f"usage: {USAGE}\n{self.prog}: error: {message}\n")

    def _check_value(self, action: argparse.Action, value: Any) -> None:
        if action.choices is not None and value not in action.choices:
            raise argparse.ArgumentError(action, _choices([str(each) for each in action.choices]))


def _choices(choices: Sequence[str]) -> str:
    lines = [
        " | ".join(f"{choice:<40}" for choice in choices[at : at + _CHOICES_A_LINE])
        for at in range(0, len(choices), _CHOICES_A_LINE)
    ]
    return "\n".join(["Invalid choice, valid choices are:\n", *lines])


def parse(arguments: Sequence[str]) -> Options:
    """Parse the arguments after `resolve-customer`.

    Raises:
        Finished: Help or the version was requested.
        UsageFault: The arguments are not valid.
    """
    # Our own options first and unabbreviated, so that they do not change the AWS CLI's.
    own, rest = _own().parse_known_args(list(arguments))
    if own.help:
        raise Finished(HELP)
    general, rest = _general().parse_known_args(_without_later_options(rest))
    if general.version:
        raise Finished(version())
    query = _query(general.query)
    _check_endpoint(general.endpoint_url)
    read_timeout, connect_timeout = map(_timeout, (general.read_timeout, general.connect_timeout))
    operation = _parse_operation(rest)
    return Options(
        token=operation.token,
        input_json=operation.input_json,
        input_yaml=operation.input_yaml,
        skeleton=operation.skeleton,
        debug=general.debug,
        endpoint_url=general.endpoint_url,
        verify_ssl=general.verify_ssl,
        output=general.output,
        query=query,
        profile=general.profile,
        region=general.region,
        color=general.color,
        sign_request=general.sign_request,
        ca_bundle=general.ca_bundle,
        read_timeout=read_timeout,
        connect_timeout=connect_timeout,
        store=own.store,
        actor=own.actor,
        reason=own.reason,
        explain=own.explain,
    )


def _own() -> _Parser:
    parser = _Parser(allow_abbrev=False)
    parser.add_argument("--store", action="store_true")
    parser.add_argument("--actor")
    parser.add_argument("--reason")
    parser.add_argument("--explain", action="store_true")
    parser.add_argument("--help", action="store_true")
    return parser


def _general() -> _Parser:
    parser = _Parser()
    parser.add_argument("--debug", action="store_true")
    parser.add_argument("--endpoint-url")
    parser.add_argument("--no-verify-ssl", dest="verify_ssl", action="store_false")
    parser.add_argument("--no-paginate", dest="paginate", action="store_false")
    parser.add_argument("--output", choices=OUTPUTS)
    parser.add_argument("--query")
    parser.add_argument("--profile")
    parser.add_argument("--region")
    parser.add_argument("--version", action="store_true")
    parser.add_argument("--color", choices=("on", "off", "auto"), default="auto")
    parser.add_argument("--no-sign-request", dest="sign_request", action="store_false")
    parser.add_argument("--ca-bundle")
    parser.add_argument("--cli-read-timeout", dest="read_timeout")
    parser.add_argument("--cli-connect-timeout", dest="connect_timeout")
    parser.add_argument(
        "--cli-binary-format", dest="binary_format", choices=("base64", "raw-in-base64-out")
    )
    parser.add_argument(error_formats.OPTION, dest="error_format", choices=error_formats.FORMATS)
    parser.add_argument("--no-cli-pager", dest="no_pager", action="store_true")
    parser.add_argument("--no-cli-auto-prompt", dest="no_prompt", action="store_true")
    return parser


def _without_later_options(arguments: list[str]) -> list[str]:
    """The arguments without options that later versions of the AWS CLI have.

    Those that begin with `--cli-` or `--no-cli-` change how it prints and asks, not what it calls:
    one that is not known must not keep a token from being resolved.
    """
    known = [name for parser in (_general(), _operation()) for name in parser.names()]
    kept: list[str] = []
    rest = iter(arguments)
    for argument in rest:
        name, equals, _ = argument.partition("=")
        later = name.startswith(_OF_FORM) and not any(each.startswith(name) for each in known)
        if not later:
            kept.append(argument)
            continue
        notices.warn(f"{name} is not known here, and is ignored")
        if not equals and name.startswith("--cli-"):
            value = next(rest, None)
            if value is not None and value.startswith("--"):
                return [*kept, *_without_later_options([value, *rest])]
    return kept


_OF_FORM: Final = ("--cli-", "--no-cli-")


def _operation(*, token_is_required: bool = False) -> _Parser:
    parser = _Parser()
    parser.add_argument("--registration-token", dest="token", required=token_is_required)
    parser.add_argument("--cli-input-json", dest="input_json")
    parser.add_argument("--cli-input-yaml", dest="input_yaml")
    parser.add_argument(
        "--generate-cli-skeleton", dest="skeleton", nargs="?", const="input", choices=_SKELETONS
    )
    parser.add_argument("help", nargs="?")
    return parser


def _parse_operation(arguments: list[str]) -> argparse.Namespace:
    if arguments == ["help"]:
        raise Finished(HELP)
    parser = _operation(token_is_required=_token_is_required(arguments))
    parsed, unknown = parser.parse_known_args(arguments)
    unknown += [parsed.help] if parsed.help else []
    if unknown:
        # An argument that is not an option's name may be a token after a mistyped option.
        named = (each.split("=")[0] if each.startswith("--") else _HIDDEN for each in unknown)
        raise UsageFault(f"usage: {USAGE}\nUnknown options: {', '.join(named)}\n")
    return parsed


_HIDDEN: Final = "(an argument without an option)"


def _token_is_required(arguments: list[str]) -> bool:
    """Whether the token is required: not with an input document or a skeleton of the input."""
    if "--cli-input-json" in arguments or "--cli-input-yaml" in arguments:
        return False
    if "--generate-cli-skeleton" not in arguments:
        return True
    after = arguments.index("--generate-cli-skeleton") + 1
    return arguments[after : after + 1] == ["output"]


def _query(text: str | None) -> Any:
    if text is None:
        return None
    import jmespath  # noqa: PLC0415 - start-up

    try:
        return jmespath.compile(text)
    except jmespath.exceptions.JMESPathError as error:
        raise UsageFault(f"Bad value for --query {text}: {error}") from None


def _check_endpoint(url: str | None) -> None:
    from urllib.parse import urlsplit  # noqa: PLC0415 - start-up

    if url is None or urlsplit(url).scheme:
        return
    raise UsageFault(
        f'Bad value for --endpoint-url "{url}": scheme is missing.  Must be of the form '
        "http://<hostname>/ or https://<hostname>/"
    )


def _timeout(text: str | None) -> int | None:
    """Seconds; 0 means no limit, as None."""
    try:
        return int(_DEFAULT_TIMEOUT_SECONDS if text is None else text) or None
    except ValueError as error:
        raise CommandFault(str(error)) from None
