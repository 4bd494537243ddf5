"""A page of `docs/runbooks`, read and carried out as it stands there.

Its commands are its blocks of `sh`; the block of `text` after each is the output to expect, and the
last "As `…`" before them names who runs them. In an output `…` stands for whatever differs, on a
line of its own for any number of lines, and `(nothing)` for no output. A paragraph that begins with
"By hand:" is what no command does. Below a heading of the third rank stands what to do in one case.
"""

from __future__ import annotations

import difflib
import re
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final

from harness.waiting import eventually

if TYPE_CHECKING:
    from harness.nights.site import Site

FOLDER: Final = Path(__file__).parents[2] / "docs" / "runbooks"
SECTIONS: Final = ("What it means", "What buyers notice", "What to do", "Mended", "Do not")
_SECTION: Final = re.compile(r"^## (.+)$", re.MULTILINE)
_CASE: Final = re.compile(r"^### (.+)$", re.MULTILINE)
_PIECE: Final = re.compile(
    r"\bAs\s+`(?P<who>[a-z-]+)`|^(?P<hand>By hand:)|^```(?P<kind>sh|text)\n(?P<block>.*?)^```$",
    re.MULTILINE | re.DOTALL,
)
_GAP: Final = "…"
_NOTHING: Final = "(nothing)"
_CONVERGE_SECONDS: Final = 30.0


@dataclass(frozen=True, slots=True)
class Command:
    """One command of a page.

    Attributes:
        who: The identity that runs it.
        text: What `sh` is given.
        output: What it is to print.
    """

    who: str
    text: str
    output: str

    async def run(self, site: Site) -> None:
        """Run it as whoever the page says.

        Raises:
            AssertionError: It printed something else.
        """
        said = await site.identity(self.who).run(self.text)
        assert matches(self.output, said), self._difference(said)

    async def converge(self, site: Site) -> None:
        """Run it again and again until it prints what it should, as a person would."""

        async def printed() -> bool:
            try:
                await self.run(site)
            except AssertionError as error:
                last[:] = [str(error)]
                return False
            return True

        last: list[str] = []
        try:
            await eventually(printed, self.text, _CONVERGE_SECONDS)
        except AssertionError:
            raise AssertionError(last[0]) from None

    def _difference(self, said: str) -> str:
        lines = difflib.unified_diff(
            self.output.splitlines(), said.splitlines(), "the page", "printed", lineterm=""
        )
        return "\n".join((f"`{self.text}` as {self.who} prints something else:", *lines))


class ByHand:
    """A step that no command does."""


Step = Command | ByHand


@dataclass(frozen=True, slots=True)
class Runbook:
    """A page.

    Attributes:
        alert: The alert that it is for.
        sections: The text of each, by heading.
    """

    alert: str
    sections: dict[str, str]

    @property
    def cases(self) -> list[str]:
        """What may be the case, where it is not always the same."""
        return _CASE.findall(self.sections["What to do"])

    def steps(self, case: str = "") -> list[Step]:
        """What finds out and mends; in one case only, if one is named."""
        words = _CASE.split(self.sections["What to do"])
        of_cases = dict(zip(words[1::2], words[2::2], strict=True))
        return steps(words[0] + (of_cases[case] if case else ""))

    @property
    def checks(self) -> list[Command]:
        """The commands that show that it is mended."""
        return [step for step in steps(self.sections["Mended"]) if isinstance(step, Command)]

    def commands(self, case: str = "") -> list[Command]:
        """All commands."""
        done = [step for step in self.steps(case) if isinstance(step, Command)]
        return [*done, *self.checks]


def runbook(alert: str) -> Runbook:
    """The page of an alert."""
    text = (FOLDER / f"{alert}.md").read_text(encoding="utf-8")
    words = _SECTION.split(text)
    return Runbook(alert, dict(zip(words[1::2], words[2::2], strict=True)))


def steps(text: str) -> list[Step]:
    """The steps of a part of a page, in their order."""
    found: list[Step] = []
    who = command = ""
    for piece in _PIECE.finditer(text):
        if piece["who"]:
            who = piece["who"]
        elif piece["hand"]:
            found.append(ByHand())
        elif piece["kind"] == "sh":
            assert not command, f"no output is said for {command}"
            command = piece["block"].strip()
        else:
            found.append(Command(who, command, piece["block"]))
            command = ""
    assert not command, f"no output is said for {command}"
    return found


def matches(expected: str, said: str) -> bool:
    """Whether an output is what a page says, whatever its placeholders stand for."""
    if expected.strip() == _NOTHING:
        return not said.strip()
    pattern = ""
    for line in expected.strip().splitlines():
        if line.strip() == _GAP:
            pattern += r"(?:.*\n)*?"
        else:
            pattern += ".*?".join(map(re.escape, line.rstrip().split(_GAP))) + r"[ \t]*\n"
    return re.fullmatch(pattern, said.rstrip() + "\n") is not None
