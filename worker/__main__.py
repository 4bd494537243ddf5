"""`python -m worker`, and the console script."""

from worker.cli.main import app


def main() -> None:
    """Run the command line."""
    app()


if __name__ == "__main__":
    main()
