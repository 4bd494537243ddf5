"""What Prometheus sees."""

from worker.adapters.metrics.telemetry import Metrics

__all__ = ["Metrics"]
