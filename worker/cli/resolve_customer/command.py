"""Runs the command, from its arguments to its exit code."""

from __future__ import annotations

import gc
import sys
from typing import TYPE_CHECKING, Any, Final

from worker.cli.resolve_customer import error_formats, errors, formats, notices
from worker.cli.resolve_customer.options import Finished, parse

if TYPE_CHECKING:
    from collections.abc import Sequence

    from worker.cli.resolve_customer.client import Opened
    from worker.cli.resolve_customer.options import Options

_OPERATION: Final = "ResolveCustomer"


def main(arguments: Sequence[str]) -> int:
    """Run the command in a process of its own; returns the AWS CLI v2's exit code.

    Garbage collection is off: it would take a fifth of the time of this short process.
    """
    gc.disable()
    try:
        return run(arguments)
    finally:
        gc.freeze()  # so that the interpreter does not collect at exit either


def run(arguments: Sequence[str]) -> int:
    """Run the command; every fault becomes a message on standard error and an exit code."""
    options: Options | None = None
    try:
        options = parse(arguments)
        return _run(options)
    except Finished as finished:
        sys.stdout.write(finished.text)
        return errors.DONE
    except (Exception, KeyboardInterrupt) as error:  # noqa: BLE001 - the command's outermost edge
        form = error_formats.chosen(arguments)
        if options is None:
            return errors.report(error, form=form)
        debug, explain = options.debug, options.explain
        return errors.report(error, options.secrets, form=form, debug=debug, explain=explain)


def _run(options: Options) -> int:
    if options.debug:
        from worker.cli.resolve_customer import debug  # noqa: PLC0415 - start-up

        debug.start(options.secrets)
    from worker.cli.resolve_customer import documents  # noqa: PLC0415 - start-up

    parameters = documents.parameters(options)
    if options.skeleton in {"input", "yaml-input"}:
        _print_input_skeleton(options.skeleton)
        return errors.DONE
    from worker.cli.resolve_customer import client as clients  # noqa: PLC0415 - start-up

    opened = clients.open_client(options)
    formats.check(opened.output)
    if options.skeleton == "output":
        from worker.cli.resolve_customer import skeleton  # noqa: PLC0415 - start-up

        answer = skeleton.output(opened.client, parameters)
        _write(answer, opened, options)
    else:
        _resolve(opened, parameters, options)
    return errors.DONE


def _print_input_skeleton(kind: str) -> None:
    from worker.cli.resolve_customer import skeleton  # noqa: PLC0415 - start-up

    printer = skeleton.print_yaml_input if kind == "yaml-input" else skeleton.print_input
    printer(sys.stdout)


def _resolve(opened: Opened, parameters: dict[str, Any], options: Options) -> None:
    shelf = None
    if options.store:
        from worker.cli.resolve_customer import store  # noqa: PLC0415 - start-up

        shelf = store.open_shelf(opened, options)
    answer = opened.client.resolve_customer(**parameters)
    answer.pop("ResponseMetadata", None)
    if not answer:
        notices.warn_unusable(explain=options.explain)
    _write(answer, opened, options)
    if shelf is not None:
        shelf.keep(parameters["RegistrationToken"], answer)


def _write(answer: dict[str, Any], opened: Opened, options: Options) -> None:
    query, color = options.query, options.color
    formats.write(_OPERATION, answer, opened.output, query=query, color=color)
