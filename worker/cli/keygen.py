"""`keygen`: a new sealing pair."""

import typer

from worker.adapters.sealing import generate


def keygen() -> None:
    """Prints a new sealing pair: the public key for workers, the private one for reprocessing."""
    seal_key, open_key = generate()
    typer.echo(f"WORKER_DEAD_LETTERS__SEAL_KEY={seal_key}")
    typer.echo(f"WORKER_DEAD_LETTERS__OPEN_KEYS={open_key}")
