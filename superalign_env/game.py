"""One live episode: the only caller of a scenario's rules.

AEC, Parallel, the one-seat view, the rollout engine and replay drive a Game and
contain no rule. A Game checks and repairs text, stamps seeds and turns, and keeps the
record.
"""

from collections.abc import Mapping, Sequence
from math import isfinite
from typing import Any, Literal

from msgspec.structs import replace

from superalign_env.canonical import content_hash, to_json
from superalign_env.errors import EpisodeOver, InvalidUtterance, ProtocolError
from superalign_env.plain_text import without_surrogates
from superalign_env.protocols import Scenario
from superalign_env.seeding import case_seed, generator, label, mix
from superalign_env.spaces import flaw
from superalign_env.types import (
    AgentSpec,
    Ending,
    Episode,
    EpisodeKey,
    Event,
    Grade,
    Reply,
    Reward,
    Seat,
    Step,
    Task,
    Utterance,
    View,
    role_of,
)

OnInvalid = Literal["raise", "penalise"]

_UNKNOWN = AgentSpec("unknown")


def episode_id(key: EpisodeKey) -> str:
    """Return the name of an episode, unique within a run."""
    return f"g{key.generation}-r{key.round}-c{key.case}-m{key.member}-{key.run & 0xFFFFFFFF:08x}"


class Game:
    """One live play of a scenario.

    Args:
        scenario: the rules.
        key: names the episode and seeds everything in it.
        task: what it is about; drawn from the scenario's source when absent.
        seats: who plays, for the record only.
        on_invalid: what becomes of a text that is no utterance: an error, or a repaired
            text, an event and a ``format`` penalty.
        fork_at: only this seat's first turn and what follows depend on ``key.member``;
            members of one case then share the prefix before it.
        max_turns: after so many utterances the episode is truncated.
        parent: the episode that this one was forked from, for the record.
    """

    __slots__ = (
        "_bases",
        "_forked",
        "_group_index",
        "_last_turn",
        "_member",
        "_views",
        "arm",
        "ending",
        "episode_id",
        "events",
        "fork_at",
        "grades",
        "group",
        "key",
        "max_turns",
        "on_invalid",
        "parent",
        "rewards",
        "scenario",
        "seats",
        "state",
        "task",
        "utterances",
        "view_log",
    )

    def __init__(
        self,
        scenario: Scenario[Any],
        key: EpisodeKey,
        *,
        task: Task | None = None,
        seats: Mapping[Seat, AgentSpec] | None = None,
        on_invalid: OnInvalid = "penalise",
        fork_at: Seat | None = None,
        max_turns: int = 1000,
        parent: str = "",
    ) -> None:
        rng = generator(case_seed(key))
        # Drawn even when a task is given, so that `reset` finds the same random state.
        drawn = scenario.draw(rng)
        self.scenario = scenario
        self.key = key
        self.task = task if task is not None else drawn
        self.seats = seats or {}
        self.on_invalid = on_invalid
        self.fork_at = fork_at
        self.max_turns = max_turns
        self.parent = parent
        self.episode_id = episode_id(key)
        self.state: Any = scenario.reset(self.task, rng)
        self.arm = scenario.arm(self.state)
        self.ending: Ending | None = None
        self.utterances: list[Utterance] = []
        self.view_log: list[View] = []
        self.rewards: list[Reward] = []
        self.grades: list[Grade] = []
        self.events: list[Event] = []
        self._last_turn: dict[Seat, int] = {}
        self._bases: dict[Seat, int] = {}
        self._member = 0 if fork_at is not None else key.member
        self._forked = fork_at is None
        self._group_index = 0
        self.group: tuple[Seat, ...] = ()
        self._views: dict[Seat, View] = {}
        self._advance()

    @property
    def over(self) -> bool:
        """Whether the episode has ended."""
        return self.ending is not None

    def view(self, seat: Seat) -> View:
        """Return what a seat of the group is shown; made once."""
        view = self._views.get(seat)
        if view is None:
            if seat not in self.group:
                raise ProtocolError(f"{seat} is not asked now; the group is {self.group}")
            view = self._views[seat] = self._make_view(seat)
        return view

    def views(self) -> tuple[View, ...]:
        """Return the views of the whole group, in group order."""
        return tuple([self.view(seat) for seat in self.group])

    def step(self, replies: Sequence[Reply]) -> Step:
        """Take what the whole group says, in group order, and apply the rules.

        A reply with an error ends the episode as failed; nothing is lost.

        Returns:
            The rules' step, with turns stamped and penalties added.

        Raises:
            EpisodeOver: the game has ended.
            ProtocolError: not one reply per seat of the group.
            InvalidUtterance: a text that is none, with ``on_invalid="raise"``.
        """
        group = self.group
        if self.ending is not None:
            raise EpisodeOver("the episode is over; reset or make a new Game")
        if len(replies) != len(group):
            raise ProtocolError(
                f"{len(group)} seats {group} were asked, {len(replies)} replied"
            )
        for seat, reply in zip(group, replies, strict=True):
            if reply.error:
                return self._fail(seat, reply.error)
        spoken: list[tuple[Reply, str, str]] = []
        for seat, reply in zip(group, replies, strict=True):
            spoken.append(self._check(seat, reply))
        return self._apply(spoken)

    def step_recorded(self, utterances: Sequence[Utterance]) -> Step:
        """Take recorded utterances of one group, repairs included, without checking."""
        return self._apply(
            [(u.reply or Reply(u.text), u.text, u.repair) for u in utterances]
        )

    def abort(self, reason: str) -> None:
        """End the episode as failed from outside: an interrupt, a lost worker."""
        if self.ending is None:
            self._end(Ending.failed(reason))

    def fork(self, key: EpisodeKey) -> "Game":
        """Return a copy with another key (another member) that continues from here."""
        twin = object.__new__(Game)
        for name in self.__slots__:
            value = getattr(self, name)
            setattr(twin, name, value.copy() if isinstance(value, (list, dict)) else value)
        twin.key = key
        twin.parent = self.episode_id
        twin.episode_id = episode_id(key)
        # As if it had been played from the start under its own name.
        twin.view_log = [replace(view, episode=twin.episode_id) for view in self.view_log]
        twin._member = key.member if self._forked else 0
        twin._bases = {}
        twin._views = {}
        return twin

    def episode(self) -> Episode:
        """Return the record of what was played; complete only after the end."""
        scenario = self.scenario
        views = self.view_log
        return Episode(
            id=self.episode_id,
            scenario=scenario.id,
            task=self.task,
            key=self.key,
            seats={seat: self.seats.get(seat, _UNKNOWN) for seat in scenario.seats},
            utterances=tuple(
                [
                    Utterance(
                        u.seat, u.turn, u.group, u.text, u.reply, u.repair, view_hash(v)
                    )
                    for u, v in zip(self.utterances, views, strict=True)
                ]
            ),
            rewards=tuple(self.rewards),
            ending=self.ending or Ending.truncated("not played to the end"),
            options=scenario.options,
            renderer=scenario.renderer_id,
            source=scenario.source.id,
            grades=tuple(self.grades),
            events=tuple(self.events),
            arm=self.arm,
            parent=self.parent,
            weights={role: dict(parts) for role, parts in scenario.weights.items()},
        )

    def _make_view(self, seat: Seat) -> View:
        base = self._bases.get(seat)
        if base is None:
            # Only the forking seat's own first turn sees the member before the fork.
            member = self.key.member if seat == self.fork_at else self._member
            base = self._bases[seat] = mix(case_seed(self.key), member, label(seat))
        turn = len(self.utterances) + self.group.index(seat)
        brief = self.scenario.view(self.state, seat)
        return View(
            self.episode_id,
            self.key.case,
            seat,
            role_of(seat),
            turn,
            mix(base, turn),
            brief.text,
            brief.messages,
            brief.turns,
            brief.tools,
            brief.form,
            brief.schema,
            brief.menu,
            brief.max_new_tokens,
        )

    def objection(self, text: object) -> str:
        """Return what is wrong with a text as an utterance, and what to do; empty if nothing."""
        reason = flaw(text, self.scenario.max_utterance)
        if not reason:
            return ""
        return (
            f"the text {reason}; say any text without NUL and lone surrogates, "
            f"up to {self.scenario.max_utterance} characters"
        )

    def _check(self, seat: Seat, reply: Reply) -> tuple[Reply, str, str]:
        """Return the reply as it is recorded, its text, and why it was repaired."""
        text = reply.text
        limit = self.scenario.max_utterance
        reason = flaw(text, limit)
        if reason:
            if self.on_invalid == "raise":
                raise InvalidUtterance(f"{seat}: {self.objection(text)}")
            if isinstance(text, str):
                text = without_surrogates(str.__str__(text)[:limit])
            else:
                text = ""
            reply = replace(reply, text=text)
        elif not (reply.thought or reply.tool_calls) and isfinite(sum(reply.logprobs)):
            return reply, text, ""
        proper = recordable(reply)
        if proper is not reply and not reason:
            reason = (
                "carries what has no JSON form: surrogates, or numbers that are not finite"
            )
        return proper, text, reason

    def _apply(self, spoken: Sequence[tuple[Reply, str, str]]) -> Step:
        turn = len(self.utterances)
        said: list[Utterance] = []
        penalties: list[Reward] = []
        repairs: list[Event] = []
        for seat, (reply, text, repair) in zip(self.group, spoken, strict=True):
            self.view_log.append(self.view(seat))
            said.append(Utterance(seat, turn, self._group_index, text, reply, repair))
            if repair:
                penalties.append(Reward(seat, "format", -1.0, turn))
                repairs.append(Event("text.repaired", seat, turn, {"reason": repair}))
            self._last_turn[seat] = turn
            turn += 1
        self.utterances.extend(said)
        step = self.scenario.apply(self.state, tuple(said))
        last = self._last_turn
        rewards = tuple(
            [
                r if r.turn >= 0 else Reward(r.seat, r.part, r.value, last.get(r.seat, -1))
                for r in step.rewards
            ]
        )
        if penalties:
            rewards += tuple(penalties)
        if step.grades:
            self.grades.extend(
                [
                    g
                    if g.turn >= 0
                    else Grade(g.seat, g.axis, g.name, g.value, last[g.seat])
                    for g in step.grades
                ]
            )
        self.rewards.extend(rewards)
        if repairs or step.events:
            self.events.extend(repairs)
            self.events.extend(step.events)
        self.state = step.state
        self._group_index += 1
        if not self._forked and self.fork_at in self.group:
            self._forked = True
            self._member = self.key.member
            self._bases.clear()
        if step.ending is not None:
            self._end(step.ending)
        elif turn >= self.max_turns:
            self._end(Ending.truncated(f"{self.max_turns} turns"))
        else:
            self._advance()
        return Step(step.state, rewards, step.grades, step.events, self.ending)

    def _advance(self) -> None:
        self.group = self.scenario.to_move(self.state)
        self._views = {}
        if not self.group:
            self._end(Ending.terminated())

    def _end(self, ending: Ending) -> None:
        self.ending = ending
        self.group = ()
        self._views = {}

    def _fail(self, seat: Seat, error: str) -> Step:
        self.events.append(
            Event("agent.failed", seat, len(self.utterances), {"error": error})
        )
        self._end(Ending.failed(f"{seat}: {error}"))
        return Step(self.state, ending=self.ending)


def recordable(reply: Reply) -> Reply:
    """Return a reply that has a JSON form: the same one, unless something in it has none."""
    try:
        to_json(reply)
    except (ValueError, TypeError):
        return replace(
            reply,
            thought=without_surrogates(reply.thought)
            if isinstance(reply.thought, str)
            else "",
            tool_calls=(),
            prompt_ids=(),
            token_ids=(),
            logprobs=(),
            usage=None,
            policy="",
        )
    return reply


def view_hash(view: View) -> str:
    """Return the content hash of what a seat was shown."""
    return content_hash(view)


__all__ = ["Game", "OnInvalid", "episode_id", "view_hash"]
