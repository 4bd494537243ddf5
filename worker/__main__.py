"""`python -m worker`, and the console script."""

import sys

from worker.adapters import environment


def main() -> None:
    """Run the command line."""
    environment.prepare()
    if sys.argv[1:2] == ["resolve-customer"]:
        # Not through typer, whose import alone takes half as long as the whole command.
        from worker.cli.resolve_customer import main as resolve_customer  # noqa: PLC0415 - as said

        sys.exit(resolve_customer(sys.argv[2:]))
    from worker.cli.main import app  # noqa: PLC0415 - not for the command above

    app()


if __name__ == "__main__":
    main()
