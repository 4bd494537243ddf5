"""The checks of `check`: what is wrong with a set-up, and what to do about it."""

from worker.app.diagnosis.checks import NAMES, examine
from worker.app.diagnosis.finding import Cause, Finding, State

__all__ = ["NAMES", "Cause", "Finding", "State", "examine"]
