"""The scenarios in which the shared rate is judged: what each comes to, and its bounds."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from tests.simulation.bounds import Scenario, at_least, at_most
from tests.simulation.runs import Run

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from tests.simulation.bounds import Measure


def steady(rate: float, replicas: int, **options: Any) -> Measure:
    """A quota that stays, all replicas busy."""

    def measure(seed: int) -> Mapping[str, float]:
        market = Run(rate=rate, replicas=replicas, seed=seed, **options).until(150).market
        return {
            "used": market.used(30, 150),
            "throttled": market.throttled_share(30, 150),
            "fairness": market.fairness(30, 150),
        }

    return measure


def drop(high: float, low: float, **options: Any) -> Measure:
    """A quota that falls after a minute."""

    def measure(seed: int) -> Mapping[str, float]:
        run = Run(rate=high, seed=seed, **options).until(60)
        burst = options.get("burst")
        market = run.change(low, burst).until(120).market
        return {
            "first 10 s": market.throttled_share(60, 70),
            "from 20 s on": market.throttled_share(80, 120),
            "used": market.successes(70, 100) / (30 * low),
        }

    return measure


def rise(seed: int) -> Mapping[str, float]:
    """A quota of 40/s, 10/s for 40 s, and 40/s again."""
    run = Run(seed=seed).until(60).change(10).until(100).change(40).until(150)
    return {"seconds": reached(run, 100, 150, 0.85 * 40)}


def reached(run: Run, start: int, end: int, rate: float, over: int = 2) -> float:
    """Seconds from `start` until so many calls a second get through, over two seconds."""
    market = run.market
    for at in range(start, end - over + 1):
        if market.successes(at, at + over) >= rate * over:
            return float(at + over - start)
    return float(end - start)


def outage(seconds: int) -> Measure:
    """Hardly a call is let through for so long."""

    def measure(seed: int) -> Mapping[str, float]:
        end = 60 + seconds
        run = Run(seed=seed).until(60).change(0.02).until(end).change(40).until(end + 120)
        return {"seconds": reached(run, end, end + 120, 0.85 * 40)}

    return measure


def demand(rate: float, workers: int = 3) -> Measure:
    """Replicas that can make 240 calls a second at most, at a quota near that."""

    def measure(seed: int) -> Mapping[str, float]:
        market = Run(rate=rate, seed=seed, workers=workers).until(150).market
        return {"throttled": market.throttled_share(60, 150), "used": market.used(60, 150)}

    return measure


def outsider(seed: int) -> Mapping[str, float]:
    """From the second minute on somebody else takes half of a quota of 40/s."""
    market = Run(seed=seed).until(60).outsider(20.0, until=120.0).until(120).market
    return {
        "used": market.successes(80, 120) / (20 * 40),
        "throttled": market.throttled_share(80, 120),
    }


def killed(seed: int) -> Mapping[str, float]:
    """One of four replicas ends without a word."""
    market = Run(seed=seed).until(60).kill(seed % 4).until(75).market
    return {"used": market.used(65, 75)}


def comes_and_goes(seed: int) -> Mapping[str, float]:
    """Half a minute busy, half a minute idle."""
    market = Run(seed=seed, busy=lambda _replica, now: now % 60 < 30).until(90).market
    return {"used": market.used(62, 90), "throttled": market.throttled_share(60, 90)}


def idle(seed: int) -> Mapping[str, float]:
    """Three of four replicas have nothing to do from the second minute on."""
    run = Run(seed=seed, busy=lambda replica, now: replica == 0 or now < 60).until(90)
    return {"used": run.market.used(65, 90)}


def generous(seed: int) -> Mapping[str, float]:
    """A quota of 400/s, found from 10/s."""
    return {"used": Run(rate=400.0, seed=seed).until(22).market.successes(17, 22) / 2000}


def no_quota(seed: int) -> Mapping[str, float]:
    """A high initial rate and no quota, against no pacing at all."""
    made = [
        Run(scheme, 2, rate=None, workers=4, seed=seed, initial=10_000.0)
        .until(10)
        .market.successes(1, 10)
        for scheme in ("shared", "jitter")
    ]
    return {"of no pacing": made[0] / made[1]}


def short_fall(quota: float, seconds: int, share: float = 0.0) -> Measure:
    """No quota but for some seconds of hardly any."""

    def measure(seed: int) -> Mapping[str, float]:
        end = 40 + seconds
        run = Run(replicas=3, rate=None, seed=seed, workers=3, mix=unlucky(share)).until(40)
        market = run.change(quota).until(end).change(1e6).until(end + 30).market
        best = max(market.successes(at, at + 3) / 3 for at in range(end, end + 28))
        return {"best 3 s": best, "seconds": reached(run, end, end + 30, 75, 3)}

    return measure


def unlucky(share: float, times: int = 1) -> Callable[[float], int]:
    """A share of the tokens is throttled so many times each, whatever the rate."""
    return lambda draw: times if draw < share else 0


def first_start(replicas: int, buyers: int = 300) -> Measure:
    """A quota of 200/s, nothing known, and so many buyers at once."""

    def measure(seed: int) -> Mapping[str, float]:
        left = buyers

        def busy(_replica: int, _now: float) -> bool:
            nonlocal left
            left -= 1
            return left >= 0

        run = Run(rate=200.0, replicas=replicas, seed=seed, workers=64, busy=busy)
        while run.market.successes(0, 10_000) < buyers and run.agenda.now < 60:
            run.until(run.agenda.now + 0.25)
        return {"seconds": run.agenda.now}

    return measure


PACE: Final = 240.0  # of four replicas with three workers each, at 50 ms a call


def any_rate(share: float, times: int = 1, *, initial: float = 10.0, fall: bool = True) -> Measure:
    """No quota; a share of tokens is throttled at any rate till 240 s; a short fall at 40 s."""

    def measure(seed: int) -> Mapping[str, float]:
        run = Run(rate=None, seed=seed, workers=3, initial=initial, mix=unlucky(share, times))
        run.until(40)
        if fall:
            run.change(5.0).until(44).change(1e6)
        run.until(240)
        run.mix = unlucky(0.0)
        run.until(310)
        got = [run.market.successes(at, at + 30) / 30 / PACE for at in range(90, 211, 30)]
        return {
            "kept": run.market.successes(90, 240) / 150 / PACE,
            "least 30 s": min(got),
            "back seconds": reached(run, 240, 310, 0.8 * PACE),
        }

    return measure


SCENARIOS: Final[dict[str, Scenario]] = {
    "40/s, 4 replicas": Scenario(
        steady(40, 4),
        {
            "used": at_least(0.99, 0.98),
            "throttled": at_most(0.010, 0.013),
            "fairness": at_least(0.99, 0.99),
        },
    ),
    "2/s, 8 replicas": Scenario(
        steady(2, 8),
        {
            "used": at_least(0.95, 0.90),
            "throttled": at_most(0.015, 0.025),
            "fairness": at_least(0.97, 0.97),
        },
    ),
    **{
        f"25/s, {n} replicas": Scenario(steady(25, n), {"throttled": at_most(0.02, 0.02)})
        for n in (1, 4, 16)
    },
    **{
        f"{quota}/s, {n} replicas": Scenario(
            steady(quota, n), {"throttled": at_most(0.03, 0.05), "used": at_least(0.95, 0.9)}
        )
        for quota in (3, 5, 8)
        for n in (1, 4)
    },
    "40/s, burst of 5": Scenario(
        steady(40, 4, burst=5), {"used": at_least(0.9, 0.85), "throttled": at_most(0.02, 0.03)}
    ),
    "40 to 10": Scenario(
        drop(40, 10),
        {
            "first 10 s": at_most(0.24, 0.27),
            "from 20 s on": at_most(0.015, 0.03),
            "used": at_least(0.95, 0.9),
        },
    ),
    "40 to 10, 16 replicas": Scenario(
        drop(40, 10, replicas=16), {"from 20 s on": at_most(0.03, 0.06)}
    ),
    "40 to 10, 0.1 to 0.5 s a call": Scenario(
        drop(40, 10, latency=(0.1, 0.5)), {"from 20 s on": at_most(0.03, 0.06)}
    ),
    "40 to 10, burst of 5": Scenario(drop(40, 10, burst=5), {"from 20 s on": at_most(0.015, 0.03)}),
    **{
        f"40 to {low}": Scenario(
            drop(40, low), {"from 20 s on": at_most(0.015, 0.03), "used": at_least(0.95, 0.9)}
        )
        for low in (20, 30)
    },
    "10 to 40": Scenario(rise, {"seconds": at_most(22, 30)}),
    **{
        f"nothing let through for {n} s": Scenario(outage(n), {"seconds": at_most(55, 75)})
        for n in (10, 60, 300)
    },
    "demand 1.2 times 200/s": Scenario(demand(200), {"throttled": at_most(0.015, 0.03)}),
    "demand 2.4 times 100/s": Scenario(demand(100), {"throttled": at_most(0.015, 0.03)}),
    "another user takes half": Scenario(
        outsider, {"used": at_least(0.95, 0.9), "throttled": at_most(0.02, 0.04)}
    ),
    "one of 4 killed": Scenario(killed, {"used": at_least(0.95, 0.95)}),
    "demand comes and goes": Scenario(
        comes_and_goes, {"used": at_least(0.95, 0.95), "throttled": at_most(0.03, 0.03)}
    ),
    "3 of 4 idle": Scenario(idle, {"used": at_least(0.95, 0.95)}),
    "400/s from 10/s": Scenario(generous, {"used": at_least(0.85, 0.85)}),
    "no quota, 10,000/s at first": Scenario(no_quota, {"of no pacing": at_least(0.97, 0.97)}),
    **{
        f"{quota:g}/s for {n} s": Scenario(short_fall(quota, n), {"best 3 s": at_least(75, 75)})
        for quota, n in ((5.0, 2), (5.0, 4), (20.0, 3))
    },
    **{
        f"first start, {n} replicas": Scenario(first_start(n), {"seconds": at_most(10, 10)})
        for n in (1, 2, 4)
    },
}

# What no quota of AWS's does: for these there are no bounds but the cheap ones.
UNLUCKY: Final[dict[str, Scenario]] = {
    f"{share:.0%} throttled {times} times, {initial:,.0f}/s at first": Scenario(
        any_rate(share, times, initial=initial, fall=False),
        {"kept": kept, "back seconds": at_most(60, 70)},
    )
    for share, times, initial, kept in (
        (0.02, 1, 10, at_least(0.8, 0.4)),
        (0.02, 1, 10_000, at_least(0.8, 0.4)),
        (0.05, 1, 10, at_least(0.3, 0.2)),
        (0.10, 1, 10, at_least(0.1, 0.0)),
    )
}
