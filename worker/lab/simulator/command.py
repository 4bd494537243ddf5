"""The command `simulator`, as an app for typer."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Annotated, Final

import typer

if TYPE_CHECKING:
    from collections.abc import Mapping

    from worker.lab.simulator.endpoint import Options

UNAVAILABLE: Final = 69
_DEFAULT_KEY: Final = ["simulator"]
_NOT_IN_A_KEY: Final = frozenset(",/= \t\r\n")


# \b is click's mark for lines to be left as they are.
_HELP: Final = """Stand in for the AWS Marketplace metering endpoint (ResolveCustomer), on this
machine.

A registration token's first word says what happens to it:

\b
ok-*                    resolved: a customer and a licence of its own
same-<customer>-*       resolved: that customer, a licence of its own
new-*                   resolved, without CustomerIdentifier
old-*                   resolved, without LicenseArn and Metadata
seller-<access key>-*   resolved if signed by that key, else invalid
slow-<ms>-*             resolved after so many milliseconds
throttle-<n>-*          throttled the first n times, then resolved
fail-<n>-*              500 the first n times, then resolved
expired-*               ExpiredTokenException
denied-*                AccessDeniedException
garbage-*, empty-*      200 with a body that is no JSON, or {}
hang-*                  never answered
anything else           InvalidTokenException

n counts every call for the token since the simulator started.

\b
PUT /_simulator/quota      {"rate": 40, "burst": 40}; "rate": null lifts it
PUT /_simulator/fault      {"code": "…", "status": 400, "message": "…"}
                           answers every call so, whatever its signature
DELETE /_simulator/fault   ends that
GET /_simulator/stats      {"calls": {result: n}, "tokens": n,
                           "seconds": {epoch second: {result: n}}}

A result is one of:

\b
ok          resolved
token       InvalidTokenException, ExpiredTokenException about the token
throttled   ThrottlingException, by quota, token or fault
transient   5xx, an answer that can't be used (garbage, empty), none (hang)
systemic    the rest: signature, key, permission, operation, bad request
"""
app = typer.Typer(add_completion=False, rich_markup_mode=None)


@app.command("simulator", help=_HELP)
def simulator(  # noqa: PLR0917 - typer calls it by name; each is an option
    host: Annotated[str, typer.Option(help="Address to listen on.")] = "127.0.0.1",
    port: Annotated[
        int, typer.Option(min=0, max=65535, help="Port; 0 takes a free one and prints it.")
    ] = 8085,
    access_key: Annotated[
        list[str] | None,
        typer.Option(help="Access key that may call; repeatable.", show_default="simulator"),
    ] = None,
    secret_key: Annotated[
        list[str] | None,
        typer.Option(help="Its secret key; the nth is the nth's.", show_default="simulator"),
    ] = None,
    rate: Annotated[
        float | None,
        typer.Option(help="Hidden quota, calls a second.", show_default="no limit"),
    ] = None,
    burst: Annotated[
        float | None,
        typer.Option(help="Calls let through at once.", show_default="one second's worth"),
    ] = None,
    latency: Annotated[
        str, typer.Option(help="How long every answer takes: '50ms', or evenly '50ms±20ms'.")
    ] = "0ms",
    error_rate: Annotated[
        float, typer.Option(min=0.0, max=1.0, help="Share of calls answered with a 500.")
    ] = 0.0,
) -> None:
    """Serve the simulator until it is signalled."""
    serve_until_signalled(
        _options(
            secrets=_pairs(access_key or _DEFAULT_KEY, secret_key or _DEFAULT_KEY),
            quota=(rate, burst),
            latency=latency,
            error_rate=error_rate,
        ),
        host,
        port,
    )


def serve_until_signalled(options: Options, host: str, port: int) -> None:
    """Listen, say where on standard output, and serve until SIGTERM or SIGINT."""
    from worker.lab.simulator import server  # noqa: PLC0415 - heavy, and not needed for `--help`

    try:
        listener = server.bind(host, port)
    except (OSError, UnicodeError) as error:
        reason = getattr(error, "strerror", None) or error
        typer.echo(
            f"simulator: can't listen on {host}:{port}: {reason}. "
            "Give another --port (0 takes a free one) or --host.",
            err=True,
        )
        raise typer.Exit(UNAVAILABLE) from None
    line = f"simulator listening on {server.url_of(listener)}"
    with listener:
        server.serve(options, listener, ready=lambda: print(line, flush=True))  # noqa: T201 - its data


def _pairs(access_keys: list[str], secret_keys: list[str]) -> dict[str, str]:
    if len(access_keys) != len(secret_keys):
        raise typer.BadParameter(
            f"{len(access_keys)} --access-key but {len(secret_keys)} --secret-key: "
            "give one --secret-key for each --access-key, in the same order"
        )
    for key in access_keys:
        if not key or not key.isascii() or not _NOT_IN_A_KEY.isdisjoint(key):
            raise typer.BadParameter(
                "an --access-key is ASCII without blanks, ',', '/' and '=', and not empty"
            )
    if len(set(access_keys)) < len(access_keys):
        raise typer.BadParameter("an --access-key is given twice: each has one --secret-key")
    return dict(zip(access_keys, secret_keys, strict=True))


def _options(
    *,
    secrets: Mapping[str, str],
    quota: tuple[float | None, float | None],
    latency: str,
    error_rate: float,
) -> Options:
    from worker.lab.simulator.endpoint import Options  # noqa: PLC0415 - not needed for `--help`
    from worker.lab.simulator.latency import Latency  # noqa: PLC0415 - likewise
    from worker.lab.simulator.quota import Quota  # noqa: PLC0415 - likewise

    if math.isnan(error_rate):
        raise typer.BadParameter("--error-rate is a share from 0 to 1")
    try:
        return Options(secrets, Quota.of(*quota), Latency.parse(latency), error_rate)
    except ValueError as error:
        raise typer.BadParameter(str(error)) from None
