"""The composition root: the only place where settings, adapters and the pipeline meet."""

from worker.app.service import run

__all__ = ["run"]
