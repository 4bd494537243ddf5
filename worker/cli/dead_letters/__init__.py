"""`dead-letters`: what was given up, why, what can still be saved, and what to do about it."""

import typer

from worker.cli.dead_letters.discard import discard
from worker.cli.dead_letters.groups import groups
from worker.cli.dead_letters.list import list_letters
from worker.cli.dead_letters.replay import replay
from worker.cli.dead_letters.reseal import reseal
from worker.cli.dead_letters.show import show

app = typer.Typer(
    no_args_is_help=True,
    help="Shows what was given up and what can still be saved; replays, discards, reseals.",
)

app.command()(groups)
app.command("list")(list_letters)
app.command()(show)
app.command()(replay)
app.command()(discard)
app.command()(reseal)
