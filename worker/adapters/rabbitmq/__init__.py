"""RabbitMQ: what is declared, how messages are consumed, and published with confirms.

**Two connections.** `ConsumingLink` (`consuming`) and `PublishingLink` (`publishing`) have one
each. A broker under a memory or disk alarm stops reading from connections that publish: acks that
went over the same connection would be stuck behind it.

**Why not `connect_robust`.** aio-pika's robust connections restore channels and consumers behind
the application's back. A delivery then outlives its channel, and its ack goes to a channel that
knows nothing of it, which closes that channel too. Here a connection is plain.
`reconnecting.supervise` runs one *epoch* after another, with a jittered wait between them; an epoch
is the life of one connection, and ends by raising `BrokerLost`. A delivery belongs to the epoch in
which it came. When that ends, the delivery is dead (`alive` is false), its ack does nothing, and
the broker hands the message out anew.

**Consuming is proved.** A connection may be open and yet hand out nothing. `consuming` measures the
queues: where messages wait, there is room, and none comes for fifteen seconds, the consumer is
built anew, and after three times in a row `/healthz` fails. How many messages are taken ahead
(`core.token.prefetch`) changes while consuming; `consumer` is one queue's consumer from the opening
of its channel to its end. After a process has died, messages that come again and again are handled
one at a time (`core.token.poison`), for one of them may be the reason.

**Publishing is confirmed.** `publisher` writes the frames of a batch at once and counts what the
broker confirms. What is refused or returned is told apart in `publish_results` and `returns`; one
sick queue does not hold up the others (`late_confirms`); an alarm is waited through (`blocked`).
`window` bounds what is on its way, in messages and in bytes. `bulk` is for long lists from a
command.

**What strangers write.** `lenient_decoding` keeps properties that can't be read from ending a
connection, and with it every other message in hand.

**Errors.** `connection.bounded` is the one place where the libraries' errors become ours
(`core.exceptions`). What is used of the libraries beyond their public interface is in `library`.

`topology` is what there has to be, as data; `declaration` brings it about and compares; `probing`
and `management` look, and change nothing but users.
"""
