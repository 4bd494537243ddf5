"""Seeds of tests that leave things to chance: named in the environment, or drawn anew."""

import os
import random


def seeds(what: str) -> list[int]:
    """The seed that `<what>_SEED` names, or as many new ones as `<what>_SEEDS` asks for.

    The processes that share out one run of the tests must all draw the same.
    """
    if named := os.environ.get(f"{what}_SEED"):
        return [int(named)]
    run = os.environ.get("PYTEST_XDIST_TESTRUNUID")
    chance = random.Random(f"{run}{what}") if run else random.SystemRandom()
    return [chance.randrange(2**32) for _ in range(int(os.environ.get(f"{what}_SEEDS", "1")))]
