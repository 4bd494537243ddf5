"""All commands, in one place: where each is, and its line in the list of commands."""

from __future__ import annotations

from typing import Annotated, Any, Final

import typer

from worker import __version__
from worker.cli.clean_output import clean_output
from worker.cli.lazy import Lazy, lazy_group
from worker.cli.output import output_guarded

_TOPOLOGY: Final = {
    "declare": Lazy("worker.cli.topology:declare", "Declares what is missing; deletes nothing."),
    "show": Lazy("worker.cli.topology:show", "Shows each exchange and queue, and what differs."),
    "users": Lazy("worker.cli.topology:users", "Makes the broker's users with their rights."),
    "acknowledge": Lazy(
        "worker.cli.lost_queues:acknowledge", "Ends the message that queues went missing."
    ),
}
_DEAD_LETTERS: Final = {
    "groups": Lazy("worker.cli.dead_letters.groups:groups", "Groups failures by their cause."),
    "list": Lazy("worker.cli.dead_letters.list:list_letters", "Lists dead letters, newest first."),
    "show": Lazy("worker.cli.dead_letters.show:show", "Shows everything about one dead letter."),
    "replay": Lazy("worker.cli.dead_letters.replay:replay", "Publishes dead letters again."),
    "discard": Lazy("worker.cli.dead_letters.discard:discard", "Closes what nobody will replay."),
    "reseal": Lazy("worker.cli.dead_letters.reseal:reseal", "Seals payloads to a new key."),
}
COMMANDS: Final = {
    "run": Lazy("worker.cli.run:run", "Resolves tokens until SIGTERM: the worker itself."),
    "demo": Lazy("worker.cli.demo:demo", "Shows the main job on this machine."),
    "publish": Lazy("worker.cli.publish:publish", "Publishes tokens from a file or stdin."),
    "migrate": Lazy("worker.cli.migrate:migrate", "Brings the database schema up to date."),
    "check": Lazy("worker.cli.check:check", "Checks a set-up, and explains each failure."),
    "status": Lazy("worker.cli.status:status", "Shows queues, replicas, rate and dead letters."),
    "lookup": Lazy("worker.cli.lookup:lookup", "Finds one buyer's token, and what to do about it."),
    "pause": Lazy(
        "worker.cli.control:pause", "Stops the calls of all replicas, for a time if so told."
    ),
    "resume": Lazy("worker.cli.control:resume", "Lets the calls of all replicas go on."),
    "rate": Lazy("worker.cli.rate:rate", "Shows or changes the rate that all replicas share."),
    "erase": Lazy("worker.cli.erase:erase", "Removes what is stored of one customer."),
    "keygen": Lazy("worker.cli.keygen:keygen", "Prints a new pair of sealing keys."),
    "simulator": Lazy(
        "worker.lab.simulator.command:app", "Stands in for AWS Marketplace on this machine."
    ),
    "resolve-customer": Lazy(
        "worker.cli.main:resolve_customer", "Resolves one token by hand, as the AWS CLI does."
    ),
    "topology": Lazy(_TOPOLOGY, "Declares and shows exchanges and queues; makes users."),
    "dead-letters": Lazy(_DEAD_LETTERS, "Shows, replays, discards and reseals dead letters."),
}


class _Commands(typer.Typer):
    """The commands, each of which may lose its standard output while it runs."""

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """Run the command line."""
        with output_guarded(), clean_output():
            return super().__call__(*args, **kwargs)


app = _Commands(
    name="resolution-worker",
    cls=lazy_group(COMMANDS),
    help="Resolves AWS Marketplace registration tokens from RabbitMQ into PostgreSQL.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)


def _show_version(wanted: bool) -> None:  # noqa: FBT001 - typer calls it so
    if wanted:
        typer.echo(f"resolution-worker {__version__}")
        raise typer.Exit


@app.callback()
def _main(
    *,
    version: Annotated[
        bool,
        typer.Option(
            "--version", callback=_show_version, is_eager=True, help="Show the version and exit."
        ),
    ] = False,
) -> None:
    """Resolves AWS Marketplace registration tokens from RabbitMQ into PostgreSQL."""


resolve_customer = typer.Typer(add_completion=False, rich_markup_mode=None)


@resolve_customer.command(
    "resolve-customer",
    add_help_option=False,
    context_settings={"allow_extra_args": True, "ignore_unknown_options": True},
)
def _resolve_customer(context: typer.Context) -> None:
    """Resolves one token by hand, with the options and output of the AWS CLI's command."""
    # `worker.__main__` runs it without all this; here it is for those who call `app` alone.
    from worker.cli.resolve_customer import main  # noqa: PLC0415 - nothing of it for other commands

    raise typer.Exit(main(context.args))
