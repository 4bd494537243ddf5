"""`run`: the worker itself."""

from __future__ import annotations

from pathlib import Path  # noqa: TC003 - typer reads the annotation at run time
from typing import Annotated

import typer

from worker.cli.exits import BAD_CONFIGURATION, UNAVAILABLE, failure, settings_of


def run(
    config: Annotated[
        Path | None, typer.Option(help="TOML file of settings; else WORKER_CONFIG.")
    ] = None,
) -> None:
    """Consumes, resolves, stores and answers; drains on SIGTERM, reloads on SIGHUP."""
    settings = settings_of(config)
    if faults := settings.faults_for_run():
        raise failure("\n".join(faults), BAD_CONFIGURATION)

    import uvloop  # noqa: PLC0415 - keeps --help fast

    from worker import app  # noqa: PLC0415 - as above
    from worker.adapters import logs  # noqa: PLC0415 - as above
    from worker.adapters.http import PortTaken  # noqa: PLC0415 - as above
    from worker.adapters.marketplace import BadAwsSetup  # noqa: PLC0415 - as above
    from worker.adapters.sealing import BadKey  # noqa: PLC0415 - as above

    logs.configure(settings.log.level, settings.log.format)
    try:
        uvloop.run(app.run(settings))
    except PortTaken as error:
        raise failure(str(error), UNAVAILABLE) from error
    except BadAwsSetup as error:
        raise failure(str(error), BAD_CONFIGURATION) from error
    except BadKey as error:
        raise failure(f"WORKER_DEAD_LETTERS__SEAL_KEY: {error}", BAD_CONFIGURATION) from error
