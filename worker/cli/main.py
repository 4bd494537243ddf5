"""All commands, in one place."""

from typing import Annotated, Any

import typer

from worker import __version__
from worker.cli.check import check
from worker.cli.control import pause, resume
from worker.cli.dead_letters import app as dead_letters
from worker.cli.demo import demo
from worker.cli.erase import erase
from worker.cli.keygen import keygen
from worker.cli.migrate import migrate
from worker.cli.output import output_guarded
from worker.cli.publish import publish
from worker.cli.rate import rate
from worker.cli.run import run
from worker.cli.simulator import simulator
from worker.cli.status import status
from worker.cli.topology import app as topology


class _Commands(typer.Typer):
    """The commands, each of which may lose its standard output on the way."""

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """Run the command line."""
        with output_guarded():
            return super().__call__(*args, **kwargs)


app = _Commands(
    name="resolution-worker",
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


app.command()(run)
app.command()(demo)
app.command()(publish)
app.command()(migrate)
app.command()(check)
app.command()(status)
app.command()(pause)
app.command()(resume)
app.command()(rate)
app.command()(erase)
app.command()(keygen)
app.command()(simulator)
app.add_typer(topology, name="topology")
app.add_typer(dead_letters, name="dead-letters")


@app.command(
    "resolve-customer",
    add_help_option=False,
    context_settings={"allow_extra_args": True, "ignore_unknown_options": True},
)
def _resolve_customer(context: typer.Context) -> None:
    """Resolves one token by hand, with the options and output of the AWS CLI's command."""
    # `worker.__main__` comes before, so as not to import all this; here it is listed.
    from worker.cli.resolve_customer import main  # noqa: PLC0415 - keeps --help fast

    raise typer.Exit(main(context.args))
