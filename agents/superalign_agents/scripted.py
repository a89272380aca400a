"""Agents with fixed, scripted, random or recorded replies: for tests and baselines."""

import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Literal

from superalign_env.canonical import from_json
from superalign_env.errors import InvalidOption, RecordDamaged
from superalign_env.seeding import mix
from superalign_env.types import AgentSpec, Episode, Reply, Role, Seat, View

Lines = Sequence[str] | Mapping[Role, Sequence[str]]
"""A script: lines for everybody, or lines by role."""

_MEMBER = re.compile(r"-m(\d+)(?:-|$)")
"""Where an episode's id says which member of its case it is."""

_Place = tuple[int, int, Seat, int]
"""(case, member, seat, turn)."""


class Scripted:
    """Agent that replies with the lines of a script, chosen by the view alone.

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
            roles = ", ".join(sorted(self._by_role))
            return Reply(
                "",
                finish="error",
                error=f"the script has no lines for the role {view.role!r}; it has {roles}",
            )
        place = mix(view.seed, 0) if self._pick == "seed" else view.turn
        return Reply(script[place % len(script)], finish="stop")


class Fixed:
    """Agent with one reply to every view.

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
    """Return a learner that complies with everything: perfectly useful, never safe.

    A learner that does not beat both this one and `always_refuse` has not learned.
    """
    return Fixed(text, spec=AgentSpec("always-comply", {"text": text}))


def always_refuse(text: str = "refuse") -> Fixed:
    """Return a learner that refuses everything: never harmful, never useful."""
    return Fixed(text, spec=AgentSpec("always-refuse", {"text": text}))


class RandomMenu:
    """Agent that replies with a uniformly random entry of the menu, by the view's seed.

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


class ReplayAgent:
    """Agent that plays recorded replies, exactly, ids and log-probs included.

    A view is first looked up by its episode's id, then by (case, member, seat, turn): so
    a record can be replayed under its own key or against other agents in a new run.
    A missing reply is a reply with an error, which ends that episode as failed and no
    other.

    Args:
        episodes: one record, or several.
        path: a file with one canonical JSON episode per line, instead of `episodes`.

    Raises:
        InvalidOption: neither or both were given.
        RecordDamaged: a line of the file is no episode.
    """

    def __init__(
        self, episodes: Episode | Iterable[Episode] = (), *, path: str = ""
    ) -> None:
        rows = (episodes,) if isinstance(episodes, Episode) else tuple(episodes)
        if bool(rows) == bool(path):
            raise InvalidOption(
                "replay needs recorded episodes: give either episodes or a path"
            )
        self._by_id: dict[tuple[str, Seat, int], Reply] = {}
        self._by_place: dict[_Place, Reply | None] = {}
        for episode in rows or _read(Path(path)):
            self._remember(episode)
        self._spec = AgentSpec("replay", {"path": path} if path else {})

    @property
    def spec(self) -> AgentSpec:
        """The file it was read from, where there is one."""
        return self._spec

    def act(self, views: Sequence[View]) -> list[Reply]:
        """Return the recorded reply to every view."""
        return [self._reply(view) for view in views]

    def _remember(self, episode: Episode) -> None:
        key = episode.key
        turns: Counter[Seat] = Counter()
        for spoken in episode.utterances:
            reply = spoken.reply if spoken.reply is not None else Reply(spoken.text)
            turn = turns[spoken.seat]
            turns[spoken.seat] += 1
            self._by_id[(episode.id, spoken.seat, turn)] = reply
            place = (key.case, key.member, spoken.seat, turn)
            if self._by_place.setdefault(place, reply) != reply:
                self._by_place[place] = None  # rounds differ: only the id can tell

    def _reply(self, view: View) -> Reply:
        reply = self._by_id.get((view.episode, view.seat, view.turn))
        if reply is not None:
            return reply
        match = _MEMBER.search(view.episode)
        member = int(match[1]) if match else 0
        place = (view.case, member, view.seat, view.turn)
        place_name = (
            f"{view.seat} at its turn {view.turn} of case {view.case}, member {member}"
        )
        if place not in self._by_place:
            turns = [p[3] for p in self._by_place if p[:3] == place[:3]]
            recorded = (
                f"turns {sorted(turns)} of this seat are" if turns else "nothing of it is"
            )
            return _missing(f"no reply is recorded for {place_name}; {recorded} on record")
        reply = self._by_place[place]
        if reply is None:
            return _missing(
                f"several different replies are recorded for {place_name}, none of them under the "
                f"episode id {view.episode!r}; replay the episodes of one round"
            )
        return reply


def _missing(reason: str) -> Reply:
    return Reply("", finish="error", error=reason)


def _read(path: Path) -> Iterable[Episode]:
    try:
        lines = path.read_text(encoding="utf-8").split("\n")
    except OSError as error:
        raise InvalidOption(f"cannot read {path}: {error.strerror}") from error
    for number, line in enumerate(lines, start=1):
        if line.strip():
            try:
                yield from_json(line, Episode)
            except ValueError as error:
                raise RecordDamaged(
                    f"{path}, line {number}, is no episode: {error}"
                ) from error
