-- In `discard` and `count_discardable`: dead letters that are not closed, and that nobody replays.
state IN ('open', 'replaying') AND (state = 'open' OR published_at IS NULL AND NOT {held})
