"""`python -m worker.lab.simulator`: the simulator by itself."""

from __future__ import annotations

import typer

from worker.lab.simulator.command import simulator

if __name__ == "__main__":
    typer.run(simulator)
