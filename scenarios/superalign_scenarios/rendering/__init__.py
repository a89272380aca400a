"""How a scenario's turns become a prompt: in microworld words, or in chat English.

A scenario says *what* a seat is told, as turns; a renderer says it in a language. It
fences every author's text and owns the context budget.
"""

from typing import Any, Protocol

from superalign_env import registry
from superalign_env.errors import InvalidOption
from superalign_env.types import Brief, Seat, Turn


class Renderer(Protocol):
    """Turns → the prompt of one seat."""

    @property
    def id(self) -> str:
        """Name, version and hash of the templates."""
        ...

    @property
    def json_verdicts(self) -> bool:
        """Whether critics are asked for the JSON form of a verdict."""
        ...

    def brief(
        self,
        scenario: str,
        seat: Seat,
        turns: tuple[Turn, ...],
        *,
        menu: tuple[str, ...] = (),
        max_new_tokens: int = 64,
    ) -> Brief:
        """Return what a seat is shown; earlier turns of its own become its replies."""
        ...

    def continued(self, brief: Brief, seat: Seat, turns: tuple[Turn, ...]) -> Brief:
        """Return what a seat is shown next: the same as all turns anew, but cheaper.

        Args:
            brief: what it was shown when it spoke last.
            seat: whose brief it is.
            turns: its reply, and what others said since.
        """
        ...


def make_renderer(name: str) -> Renderer:
    """Return a renderer by id.

    Raises:
        UnknownId: with the nearest ids.
        InvalidOption: not a name.
    """
    if not isinstance(name, str):
        raise InvalidOption(
            f"renderer must be an id such as 'micro' or 'english', not {name!r}"
        )
    made: Any = registry.make("renderer", name)
    renderer: Renderer = made
    return renderer


def clip(text: str, limit: int) -> str:
    """Keep the beginning and the end of a long text and say how much is left out."""
    if len(text) <= limit:
        return text
    half = limit // 2
    return f"{text[:half]} […{len(text) - 2 * half} characters left out…] {text[-half:]}"
