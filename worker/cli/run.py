"""`run`: the worker itself."""

from __future__ import annotations

import resource
from contextlib import suppress
from typing import Final

import structlog
import uvloop

from worker.adapters import logs
from worker.adapters.aws import BadAwsSetup
from worker.adapters.http import PortTaken
from worker.adapters.postgres.stand_in import NotAStandIn
from worker.adapters.sealing import BadKey
from worker.app import service
from worker.cli.exits import BAD_CONFIGURATION, UNAVAILABLE, failure
from worker.cli.options import ConfigOption
from worker.cli.settings import loaded
from worker.core.shortage import DESCRIPTORS
from worker.settings.model import KEYGEN

_SPARE_DESCRIPTORS: Final = 100  # beside calls: database, broker, HTTP, files, credentials
_MOST_DESCRIPTORS: Final = 2**20  # what Linux allows a process, where "unlimited" is asked for


def run(
    config: ConfigOption = None,
) -> None:
    """Consumes, resolves, stores and answers; drains on SIGTERM, reloads on SIGHUP."""
    settings = loaded(config)
    if faults := settings.faults_for_run():
        raise failure("\n".join(faults), BAD_CONFIGURATION)

    # A dump of the memory would hold tokens and passwords.
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    logs.configure(settings.log.level, settings.log.format)
    log = structlog.get_logger()
    if settings.passed_over:
        log.warning("secrets_ignored", reason=settings.passed_over)
    limit, needed = _descriptors(), settings.pool.concurrency + _SPARE_DESCRIPTORS
    if limit < needed:
        log.warning("few_descriptors", limit=limit, wanted=needed, remedy=DESCRIPTORS.remedy)
    try:
        uvloop.run(service.run(settings))
    except PortTaken as error:
        raise failure(str(error), UNAVAILABLE) from error
    except (BadAwsSetup, NotAStandIn) as error:
        raise failure(str(error), BAD_CONFIGURATION) from error
    except BadKey as error:
        raise failure(
            f"WORKER_DEAD_LETTERS__SEAL_KEY: {error}; {KEYGEN}", BAD_CONFIGURATION
        ) from error


def _descriptors() -> int:
    """Raise the soft limit of open files to the hard one, and return what it is then."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    unlimited = resource.RLIM_INFINITY
    most = _MOST_DESCRIPTORS if hard == unlimited else min(hard, _MOST_DESCRIPTORS)
    if soft != unlimited and soft < most:
        with suppress(ValueError, OSError):
            resource.setrlimit(resource.RLIMIT_NOFILE, (most, hard))
    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    return _MOST_DESCRIPTORS if soft == unlimited else soft
