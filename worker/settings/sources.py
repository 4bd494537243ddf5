"""The environment, the secrets directory and the TOML file, each read into a layer."""

import re
import tomllib
from collections.abc import Iterator, Mapping
from pathlib import Path

from worker.settings.layers import Given, Layer, from_tables
from worker.settings.leaves import LEAVES, PREFIX, unknown

CONFIG = "WORKER_CONFIG"
SECRETS_DIR = "WORKER_SECRETS_DIR"
MAX_BYTES = 1 << 20

_BY_ENV = {leaf.env: leaf for leaf in LEAVES.values()}
_SERVICE = (
    r"SERVICE_HOST|SERVICE_PORT(_[A-Z0-9_]+)?|PORT(_[0-9]+_(TCP|UDP|SCTP)(_(ADDR|PORT|PROTO))?)?"
)
_OUR_SERVICE = re.compile(rf"{PREFIX}({_SERVICE})", re.ASCII)
_OTHER_SERVICE = re.compile(rf"{PREFIX}[A-Z0-9_]+_({_SERVICE})", re.ASCII)


def environment(environ: Mapping[str, str]) -> Layer:
    """Reads the `WORKER_…` variables, but for those Kubernetes injects for a Service `worker`."""
    layer = Layer()
    for name in sorted(name for name in environ if name.startswith(PREFIX)):
        if name in {CONFIG, SECRETS_DIR} or _OUR_SERVICE.fullmatch(name):
            continue
        if (leaf := _BY_ENV.get(name)) is None:
            layer.faults.append(f"{name}: {_unknown_variable(name)}")
        else:
            layer.values[leaf.path] = Given(environ[name], name)
    return layer


def secrets(directory: Path | None) -> Layer:
    """Reads a directory with a file a setting, named like its variable in any case.

    The prefix `WORKER_` may be left out. Hidden names and directories are passed over (Kubernetes
    keeps its own there), but for a directory that is named like a setting, such as container
    engines make where the file to be mounted is not there; one trailing line end is no part of a
    value.
    """
    layer = Layer()
    if directory is None:
        return layer
    try:
        files = sorted(path for path in directory.iterdir() if _counts(path))
    except OSError as error:
        layer.faults.append(f"{SECRETS_DIR}: {directory} can't be read: {error.strerror}")
        return layer
    for file in files:
        _read_secret(file, layer)
    return layer


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
    """Reads explicit options, nested like the sections; `None` stands for "not given"."""
    return from_tables(_without_none(given), "option {}")


def _unknown_variable(name: str) -> str:
    if _OTHER_SERVICE.fullmatch(name):
        return "no such setting; if Kubernetes injects it, set enableServiceLinks: false on the pod"
    return unknown(name, _BY_ENV)


def _counts(path: Path) -> bool:
    if path.name.startswith("."):
        return False
    return not path.is_dir() or _variable(path) in _BY_ENV


def _variable(path: Path) -> str:
    return PREFIX + path.name.upper().removeprefix(PREFIX)


def _read_secret(file: Path, layer: Layer) -> None:
    name = _variable(file)
    if (leaf := _BY_ENV.get(name)) is None:
        layer.faults.append(f"{file}: {unknown(name, _BY_ENV)}")
        return
    if leaf.path in layer.values:
        layer.faults.append(f"{file}: sets the same as {layer.values[leaf.path].label}")
        return
    try:
        value = _text(file).removesuffix("\n").removesuffix("\r")
    except (OSError, ValueError) as error:
        layer.faults.append(f"{file}: can't be read: {_reason(error)}")
    else:
        layer.values[leaf.path] = Given(value, str(file))


def _text(file: Path) -> str:
    with file.open("rb") as opened:
        content = opened.read(MAX_BYTES + 1)
    if len(content) > MAX_BYTES:
        raise ValueError(f"holds more than {MAX_BYTES:,} bytes")
    return content.decode()


def _reason(error: OSError | ValueError) -> str:
    if isinstance(error, UnicodeDecodeError):
        return "it is not UTF-8"
    return (error.strerror if isinstance(error, OSError) else None) or str(error)


def _position(error: tomllib.TOMLDecodeError) -> str:
    # Some of its messages quote the file; the position says enough.
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
