"""Who waits for which answer: nobody gets another's, and what nobody waits for is dropped."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Literal, TypeAlias

from resolution_client import answers

if TYPE_CHECKING:
    from resolution_client.submission import Submission

Delivered: TypeAlias = Literal["answered", "late", "foreign", "unreadable"]


@dataclass(eq=False, slots=True)
class Call:
    """One caller's wait.

    Attributes:
        submission: What it submitted.
        answer: Once it is there.
        news: Set when there is an answer, or something else to look at.
    """

    submission: Submission
    answer: answers.Outcome | None = None
    news: asyncio.Event = field(default_factory=asyncio.Event)


class Calls:
    """All callers who wait."""

    def __init__(self) -> None:
        self._waiting: dict[str, Call] = {}

    def __len__(self) -> int:
        return len(self._waiting)

    def begin(self, submission: Submission) -> Call:
        """Somebody waits for the answer to this submission; to be ended in any case."""
        call = self._waiting[submission.message_id] = Call(submission)
        return call

    def end(self, call: Call) -> None:
        """Nobody waits any more."""
        self._waiting.pop(call.submission.message_id, None)

    def tell_all(self) -> None:
        """There is something for everybody to look at."""
        for call in self._waiting.values():
            call.news.set()

    def deliver(self, body: bytes) -> Delivered:
        """Give a reply to whom it belongs.

        Returns:
            `answered`, or why it was dropped: nobody waits for it (any more), it is about another
            token than was submitted, or it can't be read.
        """
        try:
            answer = answers.read(body)
        except answers.Unreadable:
            return "unreadable"
        call = self._waiting.get(answer.message_id)
        if call is None or call.answer is not None:
            return "late"
        if answer.token_sha256 not in (call.submission.token_sha256, None):
            return "foreign"
        if answer.token_sha256 is None and not isinstance(answer, answers.Failed):
            return "foreign"
        if isinstance(answer, answers.Resolved):
            answer = replace(answer, seller=call.submission.seller)  # replies do not say
        call.answer = answer
        call.news.set()
        return "answered"
