"""The way of a token through one process, from its delivery to its ack.

A delivery is a message that RabbitMQ has handed to this process and keeps until it is acked. From
there it passes, in this order:

`intake`
    Reads deliveries in batches (`core.token.submissions.parse`). What can't be read is recorded and
    answered as malformed. What can is looked up in the ledger, a batch at a time, and
    `core.token.verdict.before_call` decides: answer it from the ledger, settle it as too old, or
    call AWS. Copies of a token that is under way already join it.

`in_flight`
    Owns the tokens under way, by key. An `InFlightToken` is one token and its *waiters*: every
    submission that wants to know, each with its delivery. Concurrent copies share one call (the
    field calls it singleflight).

`waiting`
    Owns the lines, one for each lane. In the live lane callers have turns, and so have the sources
    of each. `demotion` moves tokens out of that line while the quota is the limit: to the backlog
    those past a buyer's patience, to the crowd's lane what one source has too many of.

`pool`
    Makes the calls, as many at once as are configured, each with a permit of the pacer's
    (`runtime.rate`) and only while the `gate` is open. The lane is chosen after the permit, so a
    buyer who has just come is not behind a decision made earlier. `core.token.verdict.after_call`
    says what becomes of the token: `Store`, `TryAgain`, `RetryIn` or `Halt`. `Halt` opens the
    `breaker`: the fault is ours, calls stop, and probes look whether it is over.

`settlement`
    Carries decisions out. Outcomes go to the `writer`, which commits them in batches, with their
    dead letters in the same transaction. Another replica may have settled the token first, and
    *resolved* is never overwritten: what the ledger has afterwards is what is answered.

`acks`
    The only place that acks. Each delivery has messages that must be on their way first: a reply
    and an event, or the copy that goes into a retry queue or back into a lane. It is acked once
    each of them is confirmed, or taken care of: a refused reply is tried for some seconds and then
    dropped, a refused event goes into the `event_outbox`, a refused move is tried until it works.

So at any instant a submission is in exactly one place that survives a crash: in the broker,
unacked, until everything that follows from it is in the database and in the broker. Whoever is
killed loses nothing; what was done twice is done once in effect.

`pipeline` runs all of it, and drains it at the end. `give_back` returns to the lanes what was held
too long, what only other replicas can call for, and what did not finish in time.
"""
