"""The settings: read from all sources, validated once, then frozen.

Precedence: option > environment `WORKER_…` > secrets directory > TOML file > default.
"""

from worker.settings.loading import SettingsError, load, reload
from worker.settings.model import Settings

__all__ = ["Settings", "SettingsError", "load", "reload"]
