"""The composition root: the only place that connects settings, adapters and the pipeline."""

from worker.app.service import run

__all__ = ["run"]
