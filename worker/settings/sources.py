"""Reads the options, the environment, the secrets directory and the TOML file into layers.

The layers are merged and validated by pydantic-settings (`merging`). Its own readers of these
sources are not used, for they would cost what people are told: they do not keep under which name
and in which file a value stands, pass over variables and files of unknown names, stop at the first
source that can't be read, take `5s,30s` for broken JSON, and know nothing of a value that is bad
now and was good at the last connection (`rotation`). Each would need a reader of ours around it.
"""

import re
import tomllib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from worker.core.encodings import decoded
from worker.settings.layers import Given, Layer, from_tables
from worker.settings.leaves import LEAVES, PREFIX, Location, closest, unknown

CONFIG = "WORKER_CONFIG"
SECRETS_DIR = "WORKER_SECRETS_DIR"
MAX_BYTES = 1 << 20

_BY_ENV = {leaf.env: leaf for leaf in LEAVES.values()}
_SECTIONS = {leaf.path[0].upper() for leaf in LEAVES.values() if len(leaf.path) > 1}
_MOST_NAMES = 20
_ALL_BUT = 0.9
_SERVICE = (
    r"SERVICE_HOST|SERVICE_PORT(_[A-Z0-9_]+)?|PORT(_[0-9]+_(TCP|UDP|SCTP)(_(ADDR|PORT|PROTO))?)?"
)
_OUR_SERVICE = re.compile(rf"{PREFIX}({_SERVICE})", re.ASCII)
_OTHER_SERVICE = re.compile(rf"{PREFIX}[A-Z0-9_]+_({_SERVICE})", re.ASCII)


def environment(environ: Mapping[str, str]) -> Layer:
    """Reads the `WORKER_…` variables, except those Kubernetes injects for a Service `worker`.

    An empty one counts as not set: container tools can empty a variable, not unset it.
    """
    layer = Layer()
    for name in sorted(name for name in environ if name.startswith(PREFIX)):
        if not environ[name].strip():
            continue
        if name in {CONFIG, SECRETS_DIR} or _OUR_SERVICE.fullmatch(name):
            continue
        if (leaf := _BY_ENV.get(name)) is None:
            layer.faults.append(f"{name}: {_unknown_variable(name)}")
        else:
            layer.values[leaf.path] = Given(environ[name], name)
    return layer


@dataclass(frozen=True, slots=True)
class Secrets:
    """The contents of a secrets directory.

    Attributes:
        values: The content of each readable file that is named like a setting.
        faults: Why a setting's file can't be used, by setting.
        strays: Faults of files that are named as if for a setting that does not exist.
        foreign: Names of the other files, which are ignored.
        unreadable: Why the directory itself can't be read; the other members are then empty.
    """

    values: dict[Location, Given] = field(default_factory=dict)
    faults: dict[Location, str] = field(default_factory=dict)
    strays: tuple[str, ...] = ()
    foreign: tuple[str, ...] = ()
    unreadable: str | None = None

    @property
    def layer(self) -> Layer:
        """The values and all faults as a layer."""
        unreadable = [self.unreadable] if self.unreadable else []
        return Layer(self.values, [*unreadable, *self.faults.values(), *self.strays])

    @property
    def passed_over(self) -> str | None:
        """A message that names the ignored files; None if there are none."""
        if not self.foreign:
            return None
        more = len(self.foreign) - _MOST_NAMES
        names = ", ".join(self.foreign[:_MOST_NAMES]) + (f" and {more} more" if more > 0 else "")
        return f"{SECRETS_DIR}: files that are not named like settings are ignored: {names}"


def secrets(directory: Path | None) -> Secrets:
    """Reads a directory with one file per setting, named like its variable in any letter case.

    The prefix `WORKER_` may be omitted. The directory may be shared with other programs, so an
    unknown name is a fault only if it begins with that prefix, or with an existing section and two
    underscores. Hidden names and directories are ignored (Kubernetes keeps its own there), except a
    directory that is named like a setting: container engines create one if the file to mount does
    not exist. One trailing line end is not part of a value.
    """
    if directory is None:
        return Secrets()
    try:
        files = sorted(path for path in directory.iterdir() if not path.name.startswith("."))
    except OSError as error:
        what = f"{SECRETS_DIR}: {directory} can't be read: {error.strerror}"
        return Secrets(unreadable=what)
    values: dict[Location, Given] = {}
    faults: dict[Location, str] = {}
    for file in files:
        if leaf := _BY_ENV.get(_variable(file)):
            _read_secret(file, leaf.path, values, faults)
    others = [file for file in files if _variable(file) not in _BY_ENV and not _is_directory(file)]
    strays = tuple(
        f"{file}: {unknown(_variable(file), _BY_ENV)}" for file in others if _claims(file)
    )
    foreign = tuple(_foreign_label(file) for file in others if not _claims(file))
    return Secrets(values, faults, strays, foreign)


def toml(file: Path | None) -> Layer:
    """Reads the TOML file."""
    if file is None:
        return Layer()
    try:
        tables = tomllib.loads(_text(file))
    except tomllib.TOMLDecodeError as error:
        return Layer(faults=[f"{file}: is not valid TOML: {_position(error)}"])
    except RecursionError:
        return Layer(faults=[f"{file}: is not valid TOML: nested too deep"])
    except (OSError, ValueError) as error:
        return Layer(faults=[f"{file}: can't be read: {_reason(error)}"])
    return from_tables(tables, "{} in " + str(file).replace("{", "{{").replace("}", "}}"))


def options(given: Mapping[str, object]) -> Layer:
    """Reads explicit options, nested like the sections; None means "not given"."""
    return from_tables(_without_none(given), "option {}")


def _unknown_variable(name: str) -> str:
    if _OTHER_SERVICE.fullmatch(name):
        return "no such setting; if Kubernetes injects it, set enableServiceLinks: false on the pod"
    return unknown(name, _BY_ENV)


def _variable(path: Path) -> str:
    return PREFIX + path.name.upper().removeprefix(PREFIX)


def _claims(path: Path) -> bool:
    """Whether a file's name begins like a setting's: with the prefix, or a section."""
    name = path.name.upper()
    section, separator, _ = name.partition("__")
    return name.startswith(PREFIX) or (bool(separator) and section in _SECTIONS)


def _foreign_label(path: Path) -> str:
    """The name of an ignored file, with the setting it closely resembles, if any."""
    meant = closest(_variable(path), _BY_ENV, _ALL_BUT)
    return path.name + (f" (did you mean {meant}?)" if meant else "")


def _is_directory(path: Path) -> bool:
    try:
        return path.is_dir()
    except OSError:  # such as on an unavailable file system: then the name decides
        return False


def _read_secret(
    file: Path, path: Location, values: dict[Location, Given], faults: dict[Location, str]
) -> None:
    try:
        value = _text(file).removesuffix("\n").removesuffix("\r")
    except (OSError, ValueError) as error:
        faults[path] = f"{file}: can't be read: {_reason(error)}"
        values.pop(path, None)
        return
    if path in values:
        # The result must not depend on the files' order, so neither is used.
        faults[path] = f"{file}: is for the same setting as {values.pop(path).label}"
    elif path not in faults:
        values[path] = Given(value, str(file))


def _text(file: Path) -> str:
    with file.open("rb") as opened:
        content = opened.read(MAX_BYTES + 1)
    if len(content) > MAX_BYTES:
        raise ValueError(f"is larger than {MAX_BYTES:,} bytes")
    return decoded(content)


def _reason(error: OSError | ValueError) -> str:
    return (error.strerror if isinstance(error, OSError) else None) or str(error)


def _position(error: tomllib.TOMLDecodeError) -> str:
    # Some of its messages quote the file, which may hold secrets; the position is enough.
    found = re.search(r"\(at (line \d+, column \d+|end of document)\)", str(error))
    return f"see {found.group(1)}" if found else "it can't be parsed"


def _without_none(given: Mapping[str, object]) -> dict[str, object]:
    return dict(_kept(given))


def _kept(given: Mapping[str, object]) -> Iterator[tuple[str, object]]:
    for name, value in given.items():
        if isinstance(value, Mapping):
            yield name, _without_none(value)
        elif value is not None:
            yield name, value
