"""A state machine over all that can befall submissions that are waited for.

Virtual time; the decisions are the client's own (`Progress`, `Calls`, `Watch`), the world around
them is the machine: lives of the connection, confirms that come or not, answers that come, come
late, twice, or are another's, callers who give up, workers who pause and fall silent.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import Any

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import Bundle, RuleBasedStateMachine, consumes, invariant, rule

from resolution_client import answers, submission
from resolution_client.calls import Call, Calls
from resolution_client.hidden import Hidden
from resolution_client.progress import GiveUp, Progress, Publish, Step, Wait
from resolution_client.state import Watch, WorkerState

WAIT = 10.0


@dataclass(eq=False)
class Caller:
    """One who waits.

    Attributes:
        began: When.
        lives: The lives of the connection in which its submission was confirmed.
    """

    call: Call
    progress: Progress
    began: float
    lives: list[int] = field(default_factory=list)
    ended: bool = False


def reply(call: Call, **members: Any) -> bytes:
    """An answer to a submission."""
    given = {
        "version": 1,
        "message_id": call.submission.message_id,
        "status": "resolved",
        "repeated": False,
        "token_sha256": call.submission.token_sha256,
        "product_code": call.submission.message_id,  # tells whose answer it is
        "customer_aws_account_id": "1",
        "customer_identifier": None,
        "license_arn": None,
        "agreement_id": None,
        "offer_type": None,
        "error": None,
        "metadata": {},
        "received_at": "2026-11-22T03:28:00Z",
        "settled_at": "2026-11-22T03:28:00Z",
    }
    return json.dumps({**given, **members}).encode()


class Waiting(RuleBasedStateMachine):
    """Callers, a connection and workers."""

    callers = Bundle("callers")

    def __init__(self) -> None:
        super().__init__()
        self.now = 1000.0
        self.life = 0
        self.lives = 0
        self.calls = Calls()
        self.watch = Watch()
        self.all: list[Caller] = []

    # --- what befalls them ---

    @rule(target=callers, word=st.text("abc", min_size=1, max_size=2))
    def submit(self, word: str) -> Caller:
        """Somebody submits a token; several may submit the same."""
        made = submission.submission(
            Hidden(f"ok-{word}"), source=None, offer_type=None, seller="default", metadata=None
        )
        caller = Caller(self.calls.begin(made), Progress.begin(self.now, WAIT), self.now)
        self.all.append(caller)
        return caller

    @rule(seconds=st.sampled_from([0.01, 0.1, 0.5, 1.0, 3.0, 9.0]))
    def wait(self, seconds: float) -> None:
        """Time passes, and everybody acts whenever he must."""
        ends = self.now + seconds
        while True:
            due = [self.act(caller) for caller in self.all if not caller.ended]
            until = min((step.until for step in due if isinstance(step, Wait)), default=ends)
            assert all(step.until > self.now for step in due if isinstance(step, Wait))
            if until >= ends:
                break
            self.now = until
        self.now = ends
        for caller in self.all:
            self.act(caller)

    @rule()
    def connect(self) -> None:
        """A new life of the connection begins."""
        if not self.life:
            self.lives += 1
            self.life = self.lives
            self.watch.listen(self.now)

    @rule()
    def disconnect(self) -> None:
        """It ends."""
        self.life = 0
        self.watch.deaf()

    @rule(calls=st.sampled_from(["running", "paused", "stopped"]), name=st.sampled_from("ab"))
    def speak(self, calls: Any, name: str) -> None:
        """A worker says what it does."""
        if self.life:
            self.watch.heard(name, WorkerState(calls, "why", 1.0, 0, 0.0), self.now)

    @rule(caller=callers)
    def answer(self, caller: Caller) -> None:
        """An answer comes, for the first time or again."""
        late = caller.ended or caller.call.answer is not None
        assert self.calls.deliver(reply(caller.call)) == ("late" if late else "answered")

    @rule(caller=callers, sha=st.sampled_from(["00" * 32, None]))
    def forge(self, caller: Caller, sha: str | None) -> None:
        """Somebody sends an answer about another token under one's message id."""
        before = caller.call.answer
        assert self.calls.deliver(reply(caller.call, token_sha256=sha)) in ("foreign", "late")
        assert caller.call.answer is before

    @rule(junk=st.binary(max_size=20))
    def junk(self, junk: bytes) -> None:
        """Junk comes."""
        assert self.calls.deliver(junk) == "unreadable"

    @rule(caller=consumes(callers))
    def cancel(self, caller: Caller) -> None:
        """A caller goes away."""
        if not caller.ended:
            self.end(caller)

    # --- what they do ---

    def act(self, caller: Caller) -> Step | None:
        """What a caller does at this instant, until he waits or is gone."""
        while not caller.ended:
            if caller.call.answer is not None:
                self.end(caller)
                return None
            silent = self.watch.silence_at() or 0.0
            idle = self.watch.idle_from(self.now)
            step = caller.progress.next(self.now, self.life, idle, silent)
            match step:
                case Publish(life):
                    assert life == self.life != 0
                    caller.lives.append(life)
                    caller.progress.confirmed(life, self.now)
                case Wait():
                    assert step.until <= caller.began + WAIT
                    assert not self.life or self.life in caller.lives
                    return step
                case GiveUp(published):
                    self.judge(caller, published=published)
                    self.end(caller)
        return None

    def judge(self, caller: Caller, *, published: bool) -> None:
        """Nobody is told that it was not published if it was; nobody gives up without reason."""
        assert published == bool(caller.lives)
        told = self.watch.state(self.now)
        idle = told is not None and told.calls != "running"
        assert idle or self.now >= caller.began + WAIT

    def end(self, caller: Caller) -> None:
        """Nobody waits any more."""
        self.calls.end(caller.call)
        caller.ended = True

    # --- what always holds ---

    @invariant()
    def nobody_has_anothers_answer(self) -> None:
        """An answer belongs to the submission, by message id and by token."""
        for caller in self.all:
            given = caller.call.answer
            if given is not None:
                assert isinstance(given, answers.Resolved)
                assert given.product_code == caller.call.submission.message_id
                assert given.token_sha256 == caller.call.submission.token_sha256

    @invariant()
    def nobody_waits_too_long(self) -> None:
        """Who still waits has time left; none is kept who does not wait."""
        waiting = [caller for caller in self.all if not caller.ended]
        assert len(self.calls) == len(waiting)
        assert all(self.now <= caller.began + WAIT for caller in waiting)

    @invariant()
    def published_again_in_each_life_and_before_the_end(self) -> None:
        """Once in each life, and once more before the deadline: never more often."""
        for caller in self.all:
            assert len(caller.lives) <= len(set(caller.lives)) + 1


TestWaiting = Waiting.TestCase
TestWaiting.settings = settings(max_examples=60, stateful_step_count=40, deadline=None)
