"""`python -m worker.lab.simulator`: the simulator by itself."""

from __future__ import annotations

from worker.lab.simulator.command import app

if __name__ == "__main__":
    app()
