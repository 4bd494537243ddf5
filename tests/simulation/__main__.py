"""Prints the tables of docs/pacing.md; takes some ten seconds."""

import sys

from tests.simulation import tables

for line in (*tables.schemes(), "", *tables.scenarios()):
    sys.stdout.write(f"{line}\n")
