"""An agent that says again what was said in recorded episodes."""

import re
from collections import Counter
from collections.abc import Iterable, Sequence
from pathlib import Path

from superalign_env.canonical import from_json
from superalign_env.errors import InvalidOption, RecordDamaged
from superalign_env.types import AgentSpec, Episode, Reply, Seat, View

_MEMBER = re.compile(r"-m(\d+)(?:-|$)")
"""Where an episode's id says which member of its case it is."""

_Place = tuple[int, int, Seat, int]
"""(case, member, seat, turn)."""


class Replay:
    """Plays recorded replies, exactly, ids and log-probs included.

    A view is first looked up by its episode's id, then by (case, member, seat, turn): so
    a record can be replayed under its own key or against other agents in a new run.
    What was not recorded becomes a reply with an error, which ends that episode as
    failed and no other.

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
        """Return what was recorded for every view."""
        return [self._reply(view) for view in views]

    def _remember(self, episode: Episode) -> None:
        key = episode.key
        turns: Counter[Seat] = Counter()
        for said in episode.utterances:
            reply = said.reply if said.reply is not None else Reply(said.text)
            turn = turns[said.seat]
            turns[said.seat] += 1
            self._by_id[(episode.id, said.seat, turn)] = reply
            place = (key.case, key.member, said.seat, turn)
            known = self._by_place.setdefault(place, reply)
            if known != reply:
                self._by_place[place] = None  # rounds differ: only the id can tell

    def _reply(self, view: View) -> Reply:
        reply = self._by_id.get((view.episode, view.seat, view.turn))
        if reply is not None:
            return reply
        match = _MEMBER.search(view.episode)
        member = int(match[1]) if match else 0
        place = (view.case, member, view.seat, view.turn)
        wanted = f"{view.seat} at its turn {view.turn} of case {view.case}, member {member}"
        if place not in self._by_place:
            turns = [p[3] for p in self._by_place if p[:3] == place[:3]]
            known = (
                f"turns {sorted(turns)} of this seat are" if turns else "nothing of it is"
            )
            return _missing(f"no reply is recorded for {wanted}; {known} on record")
        reply = self._by_place[place]
        if reply is None:
            return _missing(
                f"several different replies are recorded for {wanted}, none of them under the "
                f"episode id {view.episode!r}; replay the episodes of one round"
            )
        return reply


def _missing(why: str) -> Reply:
    return Reply("", finish="error", error=why)


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
