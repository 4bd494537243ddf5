"""Whether a systemic answer is one token's or ours, by this process's own calls alone.

A token that AWS answers so three times, while others succeed in between, is itself the fault. What
other replicas meet says nothing about it; neither does a probe that is accepted. And two things
show that the fault is ours after all, so that all counts begin anew: a probe was refused too, or a
token that had been answered so was accepted later.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(slots=True)
class SystemicAnswers:
    """The systemic answers to one token.

    Attributes:
        count: Those with others succeeding in between.
        successes: How many calls of this process had succeeded at the last of them.
        era: The era in which they were counted.
    """

    count: int = 0
    successes: int = -1
    era: int = 0


@dataclass(slots=True)
class OwnCalls:
    """Calls of this process for tokens.

    Attributes:
        successes: How many AWS has answered, whatever it said about the token.
        era: Rises when the fault is found to be ours: earlier counts are void.
    """

    successes: int = 0
    era: int = 0

    def answered(self, token: SystemicAnswers) -> None:
        """AWS answered for a token."""
        self.successes += 1
        if token.count:
            self.ours()

    def systemic(self, token: SystemicAnswers) -> None:
        """AWS gave a token an answer that is about us, or claims to be."""
        if token.era != self.era:
            token.count, token.successes, token.era = 0, -1, self.era
        if self.successes > token.successes:
            token.count += 1
            token.successes = self.successes

    def ours(self) -> None:
        """The fault is ours: it follows no token."""
        self.era += 1
