"""Settings put together from their sources, all faults at once."""

import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import structlog
from pydantic import ValidationError
from pydantic_core import ErrorDetails
from pydantic_settings import InitSettingsSource

from worker.settings import sources, transport
from worker.settings.layers import Layer, label_of
from worker.settings.leaves import LEAVES, Location
from worker.settings.model import Settings

_log = structlog.get_logger(__name__)


class SettingsError(Exception):
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

    Raises:
        SettingsError: Anything can't be accepted now; the previous settings are still good.
    """
    latest = previous._latest  # noqa: SLF001 - the loader's own mark on what it has loaded
    return _load(latest.request if isinstance(latest, _Latest) else _Request())


def _load(request: _Request) -> Settings:
    environ = os.environ if request.environ is None else request.environ
    directory = _path(environ.get(sources.SECRETS_DIR))
    layers = (
        sources.options(request.options or {}),
        sources.environment(environ),
        sources.secrets(directory),
        sources.toml(request.config or _path(environ.get(sources.CONFIG))),
    )
    settings = _build(layers)
    settings._latest = _Latest(request, directory, layers, settings)  # noqa: SLF001 - see reload
    return settings


def _path(text: str | None) -> Path | None:
    return Path(text) if text else None


def _build(layers: Sequence[Layer]) -> Settings:
    settings, bad = _validated(layers)
    faults = [fault for layer in layers for fault in layer.faults] + list(bad.values())
    across = [*transport.faults(settings), *_swapped_keys(settings)]
    # Whether plaintext is allowed can't be known if that very setting is bad.
    if ("allow_plaintext",) not in bad:
        faults += [f"{label_of(path, layers)}: {what}" for path, what in across]
    if faults:
        raise SettingsError(faults)
    return settings


def _validated(layers: Sequence[Layer]) -> tuple[Settings, dict[Location, str]]:
    """The settings, with defaults in place of what is bad, and the faults of that."""
    asked = tuple(InitSettingsSource(Settings, layer.tree()) for layer in layers)
    try:
        return Settings(_build_sources=(asked, {})), {}  # type: ignore[call-arg]  # hidden by BaseModel
    except ValidationError as error:
        details = error.errors(include_url=False, include_input=False)
    bad = dict(_worded(details, layers))
    settings, _ = _validated([layer.without(bad) for layer in layers])
    return settings, bad


def _worded(
    details: Sequence[ErrorDetails], layers: Sequence[Layer]
) -> Iterator[tuple[Location, str]]:
    for detail in details:
        # A setting whose default is another one has no fault of its own when that one has.
        if detail["type"] != "default_factory_not_called":
            leaf = LEAVES[tuple(str(part) for part in detail["loc"])]
            what = detail["ctx"]["error"]
            label = label_of(leaf.path, layers)
            yield leaf.path, f"{label}: {what} (accepted: {leaf.accepts})"


def _swapped_keys(settings: Settings) -> Iterator[tuple[Location, str]]:
    private = [key.get_secret_value() for key in settings.dead_letters.open_keys]
    if settings.dead_letters.seal_key in private:
        yield ("dead_letters", "seal_key"), "is a private key, one of the open keys"


class _Latest:
    """The settings with the secrets as they are now; the last good ones if those are at fault."""

    def __init__(
        self, request: _Request, directory: Path | None, layers: Sequence[Layer], good: Settings
    ) -> None:
        self.request = request
        self._directory = directory
        self._layers = tuple(layers)
        self._good = good
        self._told: list[str] = []

    def __call__(self) -> Settings:
        if self._directory is None:
            return self._good
        try:
            self._good = self._read()
        except SettingsError as error:
            self._tell(error.faults)
        else:
            self._told = []
        return self._good

    def _read(self) -> Settings:
        before, secrets = self._layers[2], sources.secrets(self._directory)
        gone = [given.label for path, given in before.values.items() if path not in secrets.values]
        if gone and not secrets.faults:
            # Else a lower source would take its place: a default, say, with another database.
            raise SettingsError([f"{label}: is gone" for label in gone])
        return _build((*self._layers[:2], secrets, self._layers[3]))

    def _tell(self, faults: list[str]) -> None:
        if faults != self._told:
            self._told = faults
            _log.warning("secrets_kept", faults=faults)
