"""How fast all replicas together may call, found from what AWS throttles.

AWS does not tell its quota. What is assumed of it is a token bucket, which other programs may draw
from too: it fills at the quota, and a call that finds it empty is throttled. All replicas of a
seller account share one rate, kept in one row of the database (`state`). About each second a
replica reports its calls and throttles (`usage`) and gets a *lease* (`fleet`): the rate, and its
share of it (`shares`). Each report goes through `quota.advance`, which is the whole law; its
constants stand in one table there.

**What is measured.** One window of counts, whose weight decays: calls, successes, throttled calls
and how many tokens those were. A window is enough, for there are two cases only:

- While the bucket is empty, a rate `e` above the quota is throttled for `e/(1+e)` of its calls: the
  throttled share is the error of the logarithm of the rate; the successes a second are the quota.
- While it is not, nothing is throttled, and nothing is known but that there is room.

**How the rate moves.** It is stochastic approximation (Robbins and Monro, 1951) on the logarithm:

- *Nothing throttled*: it grows, slowly at first; the growth itself doubles every few seconds, so
  that a quota that has risen is found in time. Few calls tell little, so where they are few the
  growth goes by calls and not by seconds.
- *Some throttled*: it falls by `GAIN` times the share, and the growth begins anew. Growth between
  two throttles and the fall at one of them balance at a throttled share below a hundredth. The gain
  is above one, for replicas that slow themselves down (`slowing`) hide two thirds of the excess.
- *A quarter throttled*: the bucket is empty throughout, and the rate jumps to the successes a
  second. That measure is absolute, so repeating it can't cut twice. Then reports of earlier calls
  are waited out, and the rate returns to a peak a little above, for slowed replicas use too little.

**Searching.** Where nothing is known the rate doubles every two seconds, and smaller shares pass:
the next step shows within a second whether they were the quota's. A search ends with a jump; or
where calls no longer follow the rate, if one token in 25 calls is throttled.

**What is not the quota's.** It can't be told from a quota at one rate, only by trying another:

- Some tokens may be throttled whatever the rate. So a rate that was corrected in vain, down to two
  fifths of what AWS let through before and without any jump, is searched anew.
- AWS may let nothing through for a while. Then there is no measure: the rate falls to an eighth of
  what was let through before and no further, and is searched anew as soon as calls pass again.

**Between leases** each replica works on its own: `pacing` spaces its permits, and after a throttle
it slows down at once (`slowing`), before anybody else knows. A rate too low to be shared out in
seconds is given out in single permits. `docs/pacing.md` has the figures.
"""
