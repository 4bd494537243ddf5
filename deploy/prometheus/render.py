#!/usr/bin/env python3
"""Prints the alerts of alerts.template.yml as rules for Prometheus.

    deploy/prometheus/render.py >deploy/prometheus/alerts.yml
    deploy/prometheus/render.py --runbooks https://wiki.example.com/runbooks >alerts.yml

In the template `${5m}` is a duration, `${2m:seconds}` its number of seconds, `${30s:le}` the value
of the label `le` that a histogram has for it, and `${runbooks}` where the runbooks are. The lines
between `# for each WINDOW: 5m 1h` and `# end` are repeated with each of these words in its place.
`--faster 60` divides all durations by 60, for tests that can't wait; names stay as they are.

Python's standard library is all it needs.
"""

from __future__ import annotations

import argparse
import re
import sys
from pathlib import Path

TEMPLATE = Path(__file__).with_name("alerts.template.yml")
RUNBOOKS = "https://example.com/resolution-worker/docs/runbooks"
HEADER = "# Made by render.py of alerts.template.yml: edit that.\n#\n"
UNITS = {"d": 86_400_000, "h": 3_600_000, "m": 60_000, "s": 1000, "ms": 1}
EACH = re.compile(r"^ *# for each (\w+): (.+)\n((?:.*\n)*?) *# end\n", re.MULTILINE)
DURATION = re.compile(r"\$\{(\d+)(ms|s|m|h|d)(?::(seconds|le))?\}")


def duration(milliseconds: int) -> str:
    """A duration as Prometheus writes it, in the largest unit that gives a whole number."""
    unit, size = next(item for item in UNITS.items() if milliseconds % item[1] == 0)
    return f"{milliseconds // size}{unit}"


def repeated(match: re.Match[str]) -> str:
    """Lines that stand for several, once for each word."""
    name, words, lines = match.groups()
    return "".join(lines.replace(name, word) for word in words.split())


def render(template: str, *, faster: float = 1, runbooks: str = RUNBOOKS) -> str:
    """The rules, with all durations divided by `faster`."""

    def replaced(match: re.Match[str]) -> str:
        count, unit, form = match.groups()
        milliseconds = max(1, round(int(count) * UNITS[unit] / faster))
        if form == "seconds":
            return f"{milliseconds / 1000:g}"
        if form == "le":
            return str(milliseconds / 1000)
        return duration(milliseconds)

    rules = DURATION.sub(replaced, EACH.sub(repeated, template)).replace(
        "${runbooks}", runbooks.rstrip("/")
    )
    if "${" in rules:
        _, _, rest = rules.partition("${")
        raise ValueError("unknown in the template: ${" + rest.partition("\n")[0])
    return HEADER + rules


def main() -> None:
    """Read the template beside this file, and print the rules."""
    parser = argparse.ArgumentParser(description="Prints the alerts as rules for Prometheus.")
    parser.add_argument("--faster", type=float, default=1, help="divides all durations")
    parser.add_argument("--runbooks", default=RUNBOOKS, help="URL of the folder of the runbooks")
    options = parser.parse_args()
    sys.stdout.write(
        render(
            TEMPLATE.read_text(encoding="utf-8"), faster=options.faster, runbooks=options.runbooks
        )
    )


if __name__ == "__main__":
    main()
