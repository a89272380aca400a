"""One episode: played through the public interface, or once more from its record.

A replay asks no agents: their words come from the record, repairs included. Everything that
the rules make of them (whose turn it is, views, rewards, grades, events, facts, the ending)
is computed afresh. Where a hash differs, the record or the rules were changed since.
"""

from collections.abc import Iterable, Mapping, Sequence
from itertools import groupby
from typing import Any, NamedTuple

from superalign_env.admission import failure, objection
from superalign_env.aec import OrderedEnv, RawAECEnv
from superalign_env.asking import TIMEOUT, ask, require_timeout
from superalign_env.errors import InvalidUtterance
from superalign_env.game import Game
from superalign_env.protocols import EpisodeSink, Scenario
from superalign_env.recording import view_hash
from superalign_env.replies import encode
from superalign_env.seating import AgentLike, seated
from superalign_env.types import Ending, Episode, Reply, Seat


def play(
    env: OrderedEnv | RawAECEnv,
    agents: Mapping[Seat, AgentLike],
    sinks: Sequence[EpisodeSink] = (),
    *,
    timeout: float | None = TIMEOUT,
) -> Episode:
    """Play the environment's next case to its end and return the record.

    An agent that fails ends the episode as failed; it raises nothing here.

    Args:
        env: what `superalign_env.env` makes.
        agents: who sits in which seat: agents, functions from text to text, or references
            such as ``search`` and ``micro/3``.
        sinks: get the episode.
        timeout: seconds that an agent may take for a reply; None waits for ever.

    Raises:
        InvalidOption: an empty seat, or an agent for a seat that does not exist.
    """
    require_timeout(timeout)
    players = seated(env.scenario, agents)
    env.reset()
    env.game.seats = {seat: player.spec for seat, player in players.items()}
    for seat in env.agent_iter(max_iter=1 << 62):
        _, _, terminated, truncated, info = env.last()
        if terminated or truncated:
            env.step(None)
            continue
        reply = ask(players[seat], [info["view"]], timeout=timeout)[0]
        try:
            env.step(encode(reply))
        except InvalidUtterance:
            env.step(
                encode(
                    failure(
                        f"InvalidUtterance: {objection(reply.text, env.scenario.max_utterance)}"
                    )
                )
            )
    episode = env.game.episode()
    for sink in sinks:
        sink.write([episode])
    return episode


_STAMPED = ("rewards", "grades", "events", "judged", "queries")
"""Fields of an episode whose entries name a turn."""


class TurnCheck(NamedTuple):
    """Comparison of one turn."""

    turn: int
    seat: Seat
    view: bool
    """Whether the seat was shown the same, by hash."""
    rewards: bool
    grades: bool
    events: bool
    facts: bool
    """What was judged and asked."""

    @property
    def same(self) -> bool:
        """Whether nothing differs."""
        return all(self[2:])


class Comparison(NamedTuple):
    """Result of a replay."""

    episode: str
    turns: tuple[TurnCheck, ...]
    differences: tuple[str, ...]
    """In words; empty when the episode was reproduced."""

    @property
    def same(self) -> bool:
        """Whether the episode was reproduced to the byte."""
        return not self.differences


def replay(episode: Episode, scenario: Scenario[Any]) -> Comparison:
    """Feed recorded utterances through the rules and compare the outcome.

    Args:
        episode: the record.
        scenario: the rules, made with ``episode.options``.
    """
    game = Game(
        scenario,
        episode.key,
        task=episode.task,
        seats=episode.seats,
        fork_at=episode.fork_at or None,
        max_turns=_limit(episode),
        parent=episode.parent,
    )
    stopped = _play(game, episode)
    again = game.episode()
    shown = [view_hash(view) for view in game.view_log]
    turns = tuple(
        [_check(episode, again, shown, turn) for turn in range(len(episode.utterances))]
    )
    differences = [
        *_of_rules(episode, again),
        *(line for check in turns for line in _in_words(check)),
        *([stopped] if stopped else []),
        *_of_ending(episode, again),
    ]
    return Comparison(episode.id, turns, tuple(differences))


def _limit(episode: Episode) -> int:
    """Return the limit of turns that ended the episode, or one that never does."""
    count = len(episode.utterances)
    return count if episode.ending == Ending.truncated(f"{count} turns") else count + 1


def _play(game: Game, episode: Episode) -> str:
    """Play all recorded groups; return why that was not possible, if it was not."""
    for _, members in groupby(episode.utterances, key=lambda u: u.group):
        utterances = list(members)
        seats = tuple([u.seat for u in utterances])
        if seats != game.group:
            asked = ", ".join(game.group) or "nobody"
            return f"turn {utterances[0].turn}: the rules ask {asked}, the record has {', '.join(seats)}"
        try:
            game.step_recorded(utterances)
        except Exception as error:  # altered words can break any rule; say how
            return f"turn {utterances[0].turn}: the rules raise {type(error).__name__}: {error}"
    if episode.failed:
        _fail(game, episode)
    return ""


def _fail(game: Game, episode: Episode) -> None:
    """End the game as the episode ended: by an agent's error, or from outside."""
    failed = [event for event in episode.events if event.kind == "agent.failed"]
    if failed and failed[-1].seat in game.group:
        before = game.group.index(failed[-1].seat)
        for _ in range(before):
            game.say(Reply(""))
        game.say(Reply("", error=str(failed[-1].evidence.get("error") or "failed")))
    else:
        game.abort(episode.ending.reason)


def _check(then: Episode, now: Episode, shown: Sequence[str], turn: int) -> TurnCheck:
    """Compare one turn; ``shown`` are the hashes of all views, as the record has them."""
    utterance = then.utterances[turn]
    return TurnCheck(
        utterance.turn,
        utterance.seat,
        turn < len(shown) and shown[turn] == utterance.view,
        _at(then.rewards, utterance.turn) == _at(now.rewards, utterance.turn),
        _at(then.grades, utterance.turn) == _at(now.grades, utterance.turn),
        _at(then.events, utterance.turn) == _at(now.events, utterance.turn),
        _at(then.judged, utterance.turn) == _at(now.judged, utterance.turn)
        and _at(then.queries, utterance.turn) == _at(now.queries, utterance.turn),
    )


def _at(things: Iterable[Any], turn: int) -> list[Any]:
    return [thing for thing in things if thing.turn == turn]


def _in_words(check: TurnCheck) -> list[str]:
    parts = zip(check._fields[2:], check[2:], strict=True)
    return [
        f"turn {check.turn}: {name} of {check.seat} differ"
        for name, same in parts
        if not same
    ]


def _of_rules(then: Episode, now: Episode) -> list[str]:
    """Return the differences of the rules themselves."""
    names: Sequence[str] = ("scenario", "options", "renderer", "source", "weights", "arm")
    pairs = [(name, getattr(then, name), getattr(now, name)) for name in names]
    return [f"{name}: {old!r} then, {new!r} now" for name, old, new in pairs if old != new]


def _of_ending(then: Episode, now: Episode) -> list[str]:
    """Return the differences outside any turn."""
    lines = []
    if then.ending != now.ending:
        lines.append(f"ending: {_ending(then)} then, {_ending(now)} now")
    last = len(then.utterances)
    for name in _STAMPED:
        old, new = getattr(then, name), getattr(now, name)
        if [x for x in old if not 0 <= x.turn < last] != [
            x for x in new if not 0 <= x.turn < last
        ]:
            lines.append(f"{name} outside the recorded turns differ")
    if then.planted != now.planted:
        lines.append("planted answers differ")
    return lines


def _ending(episode: Episode) -> str:
    return f"{episode.ending.kind} ({episode.ending.reason})".replace(" ()", "")
