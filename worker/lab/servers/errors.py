"""The errors of private servers, worded for the person who has to mend them."""

from pathlib import Path

_TAIL_LINES = 15


class ServiceError(Exception):
    """A private server can't be had; the text names the fault and the remedy."""


class StartError(ServiceError):
    """A server was started and did not become ready.

    Attributes:
        port_taken: Whether it failed because another process took its port meanwhile.
    """

    def __init__(self, name: str, fault: str, log: Path) -> None:
        tail = _tail(log)
        super().__init__(f"{name} {fault}. The last lines of its log:\n{tail}")
        self.port_taken = any(sign in tail.lower() for sign in ("eaddrinuse", "in use"))


def the_fault(faults: BaseExceptionGroup[BaseException]) -> BaseException:
    """The error to report of a failed start: one server's fault, or all where none is known."""
    known = faults.subgroup(ServiceError)
    if known is None:
        return faults
    leaf: BaseException = known
    while isinstance(leaf, BaseExceptionGroup):
        leaf = leaf.exceptions[0]
    return leaf


def _tail(log: Path) -> str:
    """The end of a server's log; empty where there is none."""
    if not log.exists():
        return ""
    lines = log.read_text(errors="replace").splitlines()
    return "\n".join(lines[-_TAIL_LINES:])
