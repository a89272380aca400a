"""One live episode: the only caller of a scenario's rules.

AEC, Parallel, the one-seat view, the rollout engine and replay drive a Game and
contain no rule. A Game checks and repairs text, stamps seeds and turns, and keeps the
record.
"""

from collections.abc import Mapping, Sequence
from typing import Any, Literal

from msgspec.structs import replace

from superalign_env.admission import admitted, is_plain
from superalign_env.errors import EpisodeOver, InvalidUtterance, ProtocolError
from superalign_env.plain_values import read_only
from superalign_env.protocols import Scenario
from superalign_env.recording import (
    Stamp,
    episode_id,
    payable,
    repairs_of,
    rules_of,
    shared_tools,
    stamped,
    with_hashes,
)
from superalign_env.seeding import case_seed, rules_generator, seat_seed, turn_seed
from superalign_env.types import (
    AgentSpec,
    Ending,
    Episode,
    EpisodeKey,
    Event,
    Grade,
    Judged,
    Planted,
    Query,
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
        self._case_seed = seed = case_seed(key)
        rng = rules_generator(seed)
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
        self.judged: list[Judged] = []
        self.planted: list[Planted] = []
        self.queries: list[Query] = []
        self._limit = scenario.max_utterance
        self._heard: list[Utterance] = []
        self._repaired = False
        self._stamps: dict[Seat, Stamp] = {}
        self._member = 0 if fork_at is not None else key.member
        self._forked = fork_at is None
        self._turn = self._group_index = 0
        self.group: tuple[Seat, ...] = ()
        self.asked: dict[Seat, View] = {}
        """What the seats of the group are shown, in group order."""
        self._advance()

    @property
    def over(self) -> bool:
        """Whether the episode has ended."""
        return self.ending is not None

    def view(self, seat: Seat) -> View:
        """Return the view of a seat of the group."""
        try:
            return self.asked[seat]
        except KeyError:
            raise ProtocolError(
                f"{seat} is not asked now; the group is {self.group}"
            ) from None

    def views(self) -> tuple[View, ...]:
        """Return the views of the whole group, in group order."""
        return tuple(self.asked.values())

    def say(self, reply: Reply) -> Step | None:
        """Add the reply of the group's next seat; apply the rules after the last one.

        A reply with an error ends the episode as failed; nothing is lost.

        Returns:
            The rules' step, with turns stamped and penalties added; None while others of
            the group are still to speak.

        Raises:
            EpisodeOver: the game has ended.
            InvalidUtterance: a text that is none, with ``on_invalid="raise"``; the seat may
                try again.
        """
        if self.ending is not None:
            raise EpisodeOver("the episode is over; reset or make a new Game")
        heard, group, repair = self._heard, self.group, ""
        place = len(heard)
        seat = group[place]
        if not is_plain(reply, self._limit):
            strict = self.on_invalid == "raise"
            reply, repair = admitted(reply, self._limit, refused=seat if strict else "")
            if reply.error:
                return self._fail(seat, reply.error)
            self._repaired |= bool(repair or reply.notes)
        turn = self._turn + place
        heard.append(Utterance(seat, turn, self._group_index, reply.text, reply, repair))
        return self._apply() if seat == group[-1] else None

    def say_ascii(self, text: str) -> Step | None:
        """Equal `say` for a reply of nothing but a text that is known to be ASCII."""
        if self.ending is not None or len(text) > self._limit or "\x00" in text:
            return self.say(Reply(text))
        heard, group = self._heard, self.group
        place = len(heard)
        seat = group[place]
        turn = self._turn + place
        heard.append(Utterance(seat, turn, self._group_index, text, Reply(text)))
        return self._apply() if seat == group[-1] else None

    def step(self, replies: Sequence[Reply], *, plain: bool = False) -> Step:
        """Add the replies of the whole group, in group order, and apply the rules.

        Args:
            replies: what the agents gave.
            plain: whether all are known to be (`superalign_env.admission.is_plain`).

        Raises:
            EpisodeOver: the game has ended.
            ProtocolError: not one reply per seat of the group.
            InvalidUtterance: as `say`; nobody of the group was heard then.
        """
        if self.ending is None:
            if len(replies) != len(self.group) - len(self._heard):
                raise ProtocolError(
                    f"{len(self.group)} seats {self.group} were asked, {len(replies)} replied"
                )
            if plain and not self._heard:
                turn, index, heard = self._turn, self._group_index, self._heard
                for seat, said in zip(self.group, replies, strict=True):
                    heard.append(Utterance(seat, turn, index, said.text, said))
                    turn += 1
                return self._apply()
        try:
            for reply in replies:
                step = self.say(reply)
                if step is not None:
                    return step
        except InvalidUtterance:
            self._heard.clear()
            raise
        raise EpisodeOver("the episode is over; reset or make a new Game")

    def step_recorded(self, utterances: Sequence[Utterance]) -> Step:
        """Add recorded utterances of one group, repairs included, without checking."""
        self._heard = [
            Utterance(
                u.seat,
                self._turn + i,
                self._group_index,
                u.text,
                u.reply or Reply(u.text),
                u.repair,
            )
            for i, u in enumerate(utterances)
        ]
        self._repaired = any([u.repair or u.reply.notes for u in self._heard if u.reply])
        return self._apply()

    def abort(self, reason: str) -> None:
        """End the episode as failed from outside: an interrupt, a lost worker."""
        if self.ending is None:
            self._end(Ending.failed(reason))

    def fork(self, key: EpisodeKey) -> "Game":
        """Return a copy with another key (another member) that continues from here."""
        twin = object.__new__(Game)
        for name, value in vars(self).items():
            setattr(twin, name, value.copy() if isinstance(value, (list, dict)) else value)
        twin.key = key
        twin.parent = self.episode_id
        twin.episode_id = episode_id(key)
        # As if it had been played from the start under its own name.
        twin.view_log = [replace(view, episode=twin.episode_id) for view in self.view_log]
        twin._member = key.member if self._forked else 0
        twin._stamps = {}
        if twin.group:
            twin._advance()
        return twin

    def episode(self) -> Episode:
        """Return the record of what was played; complete only after the end."""
        return Episode(
            id=self.episode_id,
            task=self.task,
            key=self.key,
            seats={seat: self.seats.get(seat, _UNKNOWN) for seat in self.scenario.seats},
            utterances=with_hashes(self.utterances, self.view_log),
            rewards=payable(self.rewards, self.scenario),
            ending=self.ending or Ending.truncated("not played to the end"),
            grades=tuple(self.grades),
            events=tuple(self.events),
            judged=tuple(self.judged),
            planted=tuple(self.planted),
            queries=tuple(self.queries),
            arm=self.arm,
            parent=self.parent,
            fork_at=self.fork_at or "",
            **rules_of(self.scenario),
        )

    def _stamp(self, seat: Seat) -> Stamp:
        """Return the stamp of a seat's views, valid until the fork."""
        member = self._member
        if seat == self.fork_at and seat in self.group:
            member = self.key.member
        seed = seat_seed(self._case_seed, member, seat)
        turns = sum([u.seat == seat for u in self.utterances])
        stamp = self._stamps[seat] = Stamp(seed, role_of(seat), turns)
        return stamp

    def _apply(self) -> Step:
        utterances = tuple(self._heard)
        self._heard = []
        self.utterances += utterances
        self.view_log += self.asked.values()
        step = stamped(self.scenario.apply(self.state, utterances), self.utterances)
        self.state = step.state
        self._turn += len(utterances)
        self._group_index += 1
        rewards = step.rewards
        if self._repaired:
            self._repaired = False
            repairs, penalties = repairs_of(utterances)
            self.events += repairs
            rewards += penalties
        self.rewards += rewards
        if step.grades or step.events or step.judged or step.planted or step.queries:
            self.grades += step.grades
            self.events += step.events
            self.judged += step.judged
            self.planted += step.planted
            self.queries += step.queries
        if not self._forked and self.fork_at in self.group:
            self._forked = True
            self._member = self.key.member
            self._stamps.clear()
        if step.ending is not None:
            self._end(step.ending)
        elif self._turn >= self.max_turns:
            self._end(Ending.truncated(f"{self.max_turns} turns"))
        else:
            self._advance()
        if rewards is step.rewards and self.ending is step.ending:
            return step
        return replace(step, rewards=rewards, ending=self.ending)

    def _advance(self) -> None:
        """Ask the next group: make its views, which are the rules' briefs, stamped."""
        scenario, state, stamps = self.scenario, self.state, self._stamps
        self.group = group = scenario.to_move(state)
        if not group:
            self._end(Ending.terminated())
            return
        name, case, turn = self.episode_id, self.key.case, self._turn
        self.asked = views = {}
        for seat in group:
            brief = scenario.view(state, seat)
            stamp = stamps.get(seat) or self._stamp(seat)
            tools, schema = brief.tools, brief.schema
            views[seat] = View(
                name,
                case,
                seat,
                stamp.role,
                stamp.turns,
                turn_seed(stamp.seed, turn),
                brief.text,
                brief.messages,
                brief.turns,
                tools and shared_tools(tools),
                brief.form,
                schema if schema is None else read_only(schema),
                brief.menu,
                brief.max_new_tokens,
            )
            stamp.turns += 1
            turn += 1

    def _end(self, ending: Ending) -> None:
        self.ending, self.group, self.asked = ending, (), {}

    def _fail(self, seat: Seat, error: str) -> Step:
        self.events.append(Event("agent.failed", seat, self._turn, {"error": error}))
        self._end(Ending.failed(f"{seat}: {error}"))
        return Step(self.state, ending=self.ending)
