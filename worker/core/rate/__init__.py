"""How fast all replicas together may call, found from what AWS throttles.

AWS does not tell its quota. All replicas of a seller account share one rate, kept in one row of the
database (`state`). About each second a replica reports what it has seen since its last report
(`usage`) and gets a *lease* (`fleet`): the rate, and its share of it (`shares`).

With each report `quota.advance` goes on with an *epoch* (`epoch`): some seconds in which calls are
counted. Nothing throttled: the rate grows, doubling at first, and later back towards what was let
through before (`regrowth`, `recall`). Throttled: it is cut below what AWS has let through, and
settles. Throttles that do not follow the rate are learnt and left out of account (`background`).

Between leases each replica works on its own: its permits are spaced by `pacing`, and after a
throttle it slows down at once (`slowing`), before anybody else knows. A rate too low to be shared
out in seconds is given out in single permits. `docs/pacing.md` has the derivation and the figures.
"""
