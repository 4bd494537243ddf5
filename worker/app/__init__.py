"""The composition root: the only place that connects settings, adapters and the pipeline."""
