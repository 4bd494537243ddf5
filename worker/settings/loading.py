"""Settings put together from their sources, all faults at once."""

import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from worker.core.exceptions import SetupFault
from worker.settings import sources
from worker.settings.merging import merged
from worker.settings.model import Settings
from worker.settings.rotation import Rotation
from worker.settings.sources import Secrets


class SettingsError(SetupFault):
    """The settings can't be accepted.

    Attributes:
        faults: Each names a setting as it was written, what is wrong, and what is accepted.
    """

    def __init__(self, faults: list[str]) -> None:
        self.faults = faults
        super().__init__("\n".join(faults))


@dataclass(frozen=True, slots=True)
class _Request:
    """What `load` was asked, so that it can be asked again."""

    options: Mapping[str, Any] | None = None
    environ: Mapping[str, str] | None = field(default=None, repr=False)
    config: Path | None = None


def load(
    options: Mapping[str, Any] | None = None,
    environ: Mapping[str, str] | None = None,
    config: Path | None = None,
) -> Settings:
    """Puts the settings together: option > environment > secrets directory > TOML > default.

    Args:
        options: Explicit options, nested like the sections; `None` stands for "not given".
        environ: The environment; that of the process by default.
        config: The TOML file; the one `WORKER_CONFIG` names by default.

    Raises:
        SettingsError: Anything can't be accepted.
    """
    return _load(_Request(options, environ, config))


def reload(previous: Settings) -> Settings:
    """Loads settings again, asking the same sources as before.

    Of a secret that is not good now its last good value counts, as it does for `current`.

    Raises:
        SettingsError: Anything else can't be accepted now; the previous settings are still good.
    """
    latest = previous._latest  # noqa: SLF001 - the loader's own mark on what it has loaded
    if not isinstance(latest, _Latest):
        return _load(_Request())
    return _load(latest.request, latest.rotation.good())


def _load(request: _Request, secrets: Secrets | None = None) -> Settings:
    environ = os.environ if request.environ is None else request.environ
    directory = _path(environ.get(sources.SECRETS_DIR))
    secrets = secrets or sources.secrets(directory)
    above = (sources.options(request.options or {}), sources.environment(environ))
    below = (sources.toml(request.config or _path(environ.get(sources.CONFIG))),)
    layers = (*above, secrets.layer, *below)
    settings, found = merged(layers)
    if faults := [text for layer in layers for text in layer.faults] + [
        each.text for each in found
    ]:
        raise SettingsError(faults)
    rotation = Rotation(directory, secrets, settings, above=above, below=below)
    settings._latest = _Latest(request, rotation)  # noqa: SLF001 - see reload
    settings._passed_over = secrets.passed_over  # noqa: SLF001 - the loader's own note
    return settings


def _path(text: str | None) -> Path | None:
    return Path(text) if text else None


@dataclass(frozen=True, slots=True)
class _Latest:
    """The settings as they are now, and how they can be loaded again."""

    request: _Request
    rotation: Rotation

    def __call__(self) -> Settings:
        return self.rotation()
