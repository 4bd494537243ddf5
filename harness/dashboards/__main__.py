"""Writes the dashboards; `--runbooks URL` sets where their links to runbooks lead."""

from __future__ import annotations

import argparse

from harness.dashboards.boards import FOLDER, files
from harness.dashboards.grafana import RUNBOOKS

if __name__ == "__main__":
    parser = argparse.ArgumentParser(prog="python -m harness.dashboards", description=__doc__)
    parser.add_argument("--runbooks", metavar="URL", default=RUNBOOKS)
    for name, text in files(parser.parse_args().runbooks).items():
        (FOLDER / name).write_text(text, encoding="utf-8")
