"""Loads the settings from all sources, and reports all faults at once."""

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
    """The settings are not valid.

    Attributes:
        faults: Each names a setting as it was written, what is wrong, and what is accepted.
    """

    def __init__(self, faults: list[str]) -> None:
        self.faults = faults
        super().__init__("\n".join(faults))


@dataclass(frozen=True, slots=True)
class _Request:
    """The arguments of `load`, kept for `reload`."""

    options: Mapping[str, Any] | None = None
    environ: Mapping[str, str] | None = field(default=None, repr=False)
    config: Path | None = None


def load(
    options: Mapping[str, Any] | None = None,
    environ: Mapping[str, str] | None = None,
    config: Path | None = None,
) -> Settings:
    """Loads the settings; precedence: option > environment > secrets directory > TOML > default.

    Args:
        options: Explicit options, nested like the sections; None means "not given".
        environ: The environment; that of the process by default.
        config: The TOML file; the one `WORKER_CONFIG` names by default.

    Raises:
        SettingsError: A setting is not valid, or a source can't be read.
    """
    return _load(_Request(options, environ, config))


def reload(previous: Settings) -> Settings:
    """Loads settings again from the same sources.

    For a secret that is not valid now the last valid value is used, as in `current`.

    Raises:
        SettingsError: Any other setting is not valid now; the previous settings remain usable.
    """
    latest = previous._latest  # noqa: SLF001 - set by _load
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
    settings._kept = rotation.kept  # noqa: SLF001 - as above
    settings._passed_over = secrets.passed_over  # noqa: SLF001 - as above
    return settings


def _path(text: str | None) -> Path | None:
    return Path(text) if text else None


@dataclass(frozen=True, slots=True)
class _Latest:
    """Returns the settings with the current secrets; keeps what `reload` needs."""

    request: _Request
    rotation: Rotation

    def __call__(self) -> Settings:
        return self.rotation()
