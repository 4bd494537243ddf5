"""`keygen`: a new sealing pair."""

import typer


def keygen() -> None:
    """Prints a new sealing pair: the public key for workers, the private one for reprocessing."""
    from worker.adapters.sealing import generate  # noqa: PLC0415 - keeps --help fast

    seal_key, open_key = generate()
    typer.echo(f"WORKER_DEAD_LETTERS__SEAL_KEY={seal_key}")
    typer.echo(f"WORKER_DEAD_LETTERS__OPEN_KEYS={open_key}")
