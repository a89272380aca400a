"""A person at the terminal, in any seat."""

import sys
from collections.abc import Sequence
from typing import TextIO

from superalign_env.errors import InvalidUtterance
from superalign_env.humans.keyboard import typed_line
from superalign_env.plain_text import MARK, inline, marked, screen_width
from superalign_env.types import AgentSpec, Reply, View

QUIT = "/quit"


class Human:
    """A person at the terminal: views are printed, replies are read from the input.

    Every line of a view is marked, and hidden characters are shown: no text can look like
    this program. ``/quit`` or the end of the input ends the episode; ``/3`` says the third
    entry of the menu; a line that shall begin with a slash begins with two. A line that
    cannot be recorded is refused, with the reason, and asked for again.

    Args:
        multiline: read until a blank line instead of one line.
        source: where lines are read from; standard input when absent.
        screen: where views are shown; standard output when absent.
    """

    takes_any_time = True

    def __init__(
        self,
        *,
        multiline: bool = False,
        source: TextIO | None = None,
        screen: TextIO | None = None,
    ) -> None:
        self._multiline = multiline
        self._source = source
        self._screen = screen
        self._spec = AgentSpec("human", {"multiline": multiline})

    @property
    def spec(self) -> AgentSpec:
        """How lines are read; who sat there is not recorded."""
        return self._spec

    def __reduce__(self) -> str:
        raise TypeError("a person sits at this terminal; no other process can ask them")

    def act(self, views: Sequence[View]) -> list[Reply]:
        """Ask for one reply after another."""
        return [self._ask(view) for view in views]

    def _ask(self, view: View) -> Reply:
        self._show(view)
        while True:
            text = self._read()
            if text is None or text.strip() == QUIT:
                return Reply("", finish="error", error="the person left")
            if not _is_command(text):
                words = text[1:] if text.startswith("//") else text
                return Reply(words, finish="stop")
            number = text[1:].strip()
            if number.isascii() and number.isdigit() and 1 <= int(number) <= len(view.menu):
                return Reply(view.menu[int(number) - 1], finish="stop")
            self._print(
                f"{QUIT} leaves; /1 to /{len(view.menu)} take the menu; // says a slash"
            )

    def _show(self, view: View) -> None:
        width = screen_width()
        place = inline(f"{view.seat}, {view.episode}, turn {view.turn}")
        self._print("", *marked(place, width=width))
        self._print(*marked(view.text, head=MARK, width=width))
        for number, entry in enumerate(view.menu, start=1):
            self._print(*marked(entry, head=f"  /{number} ", width=width))
        end = "a blank line ends it" if self._multiline else "one line"
        self._print(f"Your words ({end}, {QUIT} leaves):")

    def _print(self, *lines: str) -> None:
        print(*lines, sep="\n", file=self._screen or sys.stdout, flush=True)

    def _read(self) -> str | None:
        """Return what was typed, or None at the end of the input."""
        source = self._source or sys.stdin
        lines: list[str] = []
        while True:
            try:
                line = typed_line(source)
            except InvalidUtterance as refused:
                self._print(str(refused))
                continue
            if line is None:
                return "\n".join(lines) if lines else None
            if not self._multiline or (not lines and _is_command(line)):
                return line
            if not line.strip():
                return "\n".join(lines)
            lines.append(line)


def _is_command(line: str) -> bool:
    return line.startswith("/") and not line.startswith("//")
