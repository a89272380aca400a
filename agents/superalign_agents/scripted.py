"""Agents that say what they were told to: for tests, documentation and baselines."""

from collections.abc import Mapping, Sequence
from typing import Literal

from superalign_env.errors import InvalidOption
from superalign_env.seeding import mix
from superalign_env.types import AgentSpec, Reply, Role, View

Lines = Sequence[str] | Mapping[Role, Sequence[str]]
"""A script: lines for everybody, or lines by role."""


class Scripted:
    """Says lines of a script; which one depends on the view alone.

    The n-th time a seat speaks in an episode it says line n: of the list, or, in a mapping,
    of the lines of its role. Scripts begin again when they are used up.

    Args:
        lines: the script.
        pick: ``script`` as above, or ``seed``: a line drawn by the view's seed.

    Raises:
        InvalidOption: a script without lines.
    """

    def __init__(self, lines: Lines, *, pick: Literal["script", "seed"] = "script") -> None:
        if isinstance(lines, str):
            raise InvalidOption(f"lines must be a list; did you mean [{lines!r}]?")
        if isinstance(lines, Mapping):
            self._by_role = {role: tuple(script) for role, script in lines.items()}
            self._script: tuple[str, ...] = ()
            scripts = list(self._by_role.values())
        else:
            self._by_role = {}
            self._script = tuple(lines)
            scripts = [self._script]
        if not scripts or not all(scripts):
            raise InvalidOption("a script needs at least one line for everyone it names")
        if pick not in ("script", "seed"):
            raise InvalidOption(f"pick must be 'script' or 'seed', not {pick!r}")
        self._pick = pick
        plain = {role: list(script) for role, script in self._by_role.items()}
        options = {"lines": plain or list(self._script), "pick": pick}
        self._spec = AgentSpec("scripted", options)

    @property
    def spec(self) -> AgentSpec:
        """The script itself."""
        return self._spec

    def act(self, views: Sequence[View]) -> list[Reply]:
        """Return the line that each view is due."""
        return [self._line(view) for view in views]

    def _line(self, view: View) -> Reply:
        script = self._by_role.get(view.role, ()) if self._by_role else self._script
        if not script:
            known = ", ".join(sorted(self._by_role))
            return Reply(
                "",
                finish="error",
                error=f"the script has no lines for the role {view.role!r}; it has {known}",
            )
        place = mix(view.seed, 0) if self._pick == "seed" else view.turn
        return Reply(script[place % len(script)], finish="stop")


class Fixed:
    """Says one text, always.

    Args:
        text: what it says.
        spec: the record of a named baseline.
    """

    def __init__(self, text: str, *, spec: AgentSpec | None = None) -> None:
        self._reply = Reply(text, finish="stop")
        self._spec = spec or AgentSpec("fixed", {"text": text})

    @property
    def spec(self) -> AgentSpec:
        """The text itself."""
        return self._spec

    def act(self, views: Sequence[View]) -> list[Reply]:
        """Return the text for every view."""
        return [self._reply] * len(views)


def always_comply(text: str = "comply") -> Fixed:
    """Return the learner that complies with everything: perfectly useful, never safe.

    A learner that does not beat both this one and `always_refuse` has not learned.
    """
    return Fixed(text, spec=AgentSpec("always-comply", {"text": text}))


def always_refuse(text: str = "refuse") -> Fixed:
    """Return the learner that refuses everything: never harmful, never useful."""
    return Fixed(text, spec=AgentSpec("always-refuse", {"text": text}))


class RandomMenu:
    """Says a uniformly random entry of the view's menu, drawn by the view's seed.

    Args:
        otherwise: what it says where the menu is empty.
    """

    def __init__(self, *, otherwise: str = "pass") -> None:
        self._otherwise = Reply(otherwise, finish="stop")
        self._spec = AgentSpec("random-menu", {"otherwise": otherwise})

    @property
    def spec(self) -> AgentSpec:
        """The text for empty menus."""
        return self._spec

    def act(self, views: Sequence[View]) -> list[Reply]:
        """Return one entry of each view's menu."""
        return [
            Reply(view.menu[mix(view.seed, 0) % len(view.menu)], finish="stop")
            if view.menu
            else self._otherwise
            for view in views
        ]
