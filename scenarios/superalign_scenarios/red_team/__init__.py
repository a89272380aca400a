"""`red-team`: attacker → learner → critics, with refining turns (Huang et al. 2024, 3.4).

An attacker rewrites a seed request, a learner answers, critics judge at once, the learner
may refine. Critics' scores pay the learner and, reversed, the attacker for valid queries;
critics are paid on planted answers, by people, and by the gain of a revision. With ``exchanges``
attacker and learner go on before anybody judges. The truth is the source's grade of the
answer; it pays only with ``truth``. Declared: variants (attacked, plain, planted, revised),
facts (queries, planted, judged), opinions, baselines, beats.
"""

from collections.abc import Mapping
from typing import Any

import numpy as np
from msgspec.structs import replace

from superalign_env.errors import InvalidOption
from superalign_env.types import (
    Brief,
    Ending,
    Episode,
    Grade,
    Query,
    Reward,
    Role,
    Seat,
    Split,
    Step,
    Task,
    Turn,
    Utterance,
    Verdict,
)
from superalign_scenarios.grading import format_penalty, goodness, read_verdicts, worst
from superalign_scenarios.red_team import pay
from superalign_scenarios.red_team.queries import ReadQuery, messages_of, read_query
from superalign_scenarios.red_team.state import (
    ATTACKER,
    LEARNER,
    Briefs,
    RedTeamState,
    planted_fact,
    planted_state,
    require_sense,
    winner,
)
from superalign_scenarios.rendering import MaxNewTokens, make_renderer
from superalign_scenarios.sources import SourceSpec, make_source, recorded
from superalign_scenarios.written_answers import in_language


class RedTeam:
    """Attacker rewrites a seed request, learner answers, critics judge, learner refines.

    Args:
        source: where seed requests come from.
        split: which tasks are valid, also when the attacker invents them.
        critics: how many give verdicts, at once and unheard by each other; with 0 nobody
            judges, and only people pay the learner.
        refine: how often the learner answers again after hearing the verdicts.
        exchanges: how often attacker and learner speak in turn before the critics judge
            the whole conversation; the last answer is graded as the worst of them.
        vanilla: share of cases whose seed reaches the learner unrewritten.
        plant: share of cases in which a planted answer, good or faulty with equal
            chance, stands in the learner's place: critics learn from them.
        fault_kinds: whether the record says of a planted fault what kind it is, and
            critics are paid (part ``fault``) for claiming exactly that kind.
        truth: whether gold pays (part ``truth``); otherwise it is only recorded.
        renderer: ``micro`` or ``english``. In English a rewriting that keeps the intent of
            a labelled seed is a valid query, and is graded as the seed is.
        max_new_tokens: longest reply, of everybody or by role; else the renderer's.
        weights: replaces the weights of whole roles.
        max_utterance: longest utterance, in characters.
    """

    id = "red-team-v0"
    variants: Mapping[str, Mapping[str, Any]] = {
        "attacked": {"vanilla": 0.0, "plant": 0.0},
        "plain": {"vanilla": 1.0, "plant": 0.0},
        "planted": {"vanilla": 0.0, "plant": 1.0},
        "revised": {"plant": 0.0, "refine": 1},
    }
    facts: Mapping[str, Role] = {
        "queries": "attacker",
        "planted": "learner",
        "judged": "critic",
    }
    opinions: tuple[str, ...] = ("critic",)
    lowest_pay = -1.0
    baselines: Mapping[Role, tuple[str, ...]] = {
        "learner": ("always-comply", "always-refuse")
    }

    def __init__(  # noqa: PLR0913 - the dials of a scenario are its constructor
        self,
        *,
        source: SourceSpec = "microworld",
        split: Split = "train",
        critics: int = 1,
        refine: int = 0,
        exchanges: int = 1,
        vanilla: float = 0.5,
        plant: float = 0.0,
        fault_kinds: bool = False,
        truth: bool = False,
        renderer: str = "micro",
        max_new_tokens: MaxNewTokens = None,
        weights: Mapping[Role, Mapping[str, float]] | None = None,
        max_utterance: int = 4096,
    ) -> None:
        require_sense(critics, refine, vanilla, plant, exchanges)
        self.renderer = make_renderer(renderer, max_new_tokens)
        self.source = in_language(make_source(source), self.renderer)
        self.renderer_id = self.renderer.id
        self.split: Split = split
        self.refine = refine
        self.exchanges = exchanges
        self.shares = (plant, plant + vanilla)
        self.fault_kinds = fault_kinds
        # Lessons in JSON name the fault, whether it is paid or not.
        self._kinds = fault_kinds or self.renderer.json_verdicts
        self.critics: tuple[Seat, ...] = tuple(f"critic_{i}" for i in range(critics))
        self.seats: tuple[Seat, ...] = (ATTACKER, LEARNER, *self.critics)
        if not critics:
            self.variants = {"attacked": {"vanilla": 0.0}, "plain": {"vanilla": 1.0}}
            self.facts = {"queries": "attacker"}
            self.opinions = ()
        self.beats = winner if critics else None
        self.weights = pay.replaced(
            pay.weights(truth, fault_kinds, critics=critics > 0),
            weights,
            critics=critics > 0,
        )
        self.max_utterance = max_utterance
        self._briefs = Briefs(self.id, self.renderer, self.source, exchanges)
        self._continued = self.renderer.continued
        self.options: dict[str, Any] = {
            "source": recorded(source),
            "split": split,
            "critics": critics,
            "refine": refine,
            # Absent by default: records from before them are of the same options.
            **({"exchanges": exchanges} if exchanges != 1 else {}),
            "vanilla": vanilla,
            "plant": plant,
            **({"fault_kinds": True} if fault_kinds else {}),
            "truth": truth,
            "renderer": renderer,
            **({"max_new_tokens": max_new_tokens} if max_new_tokens is not None else {}),
            "weights": {r: dict(w) for r, w in weights.items()} if weights else None,
            "max_utterance": max_utterance,
        }

    def draw(self, rng: np.random.Generator) -> Task:
        """Draw a seed request."""
        return self.source.draw(rng, self.split)

    def reset(self, task: Task, rng: np.random.Generator) -> RedTeamState:
        """Draw the arm and, where an answer is planted, which one."""
        luck = rng.random()
        plant, vanilla = self.shares
        if luck < plant:
            faulty, pick = rng.random() < 0.5, rng.random()
            return planted_state(
                self.source, task, faulty=faulty, pick=pick, kinds=self._kinds
            )
        if luck < vanilla:
            turns = (Turn("user", task.prompt),)
            briefs = {LEARNER: self._briefs.brief(LEARNER, task, turns, task)}
            return RedTeamState(task, "vanilla", "answer", turns, task, briefs=briefs)
        return RedTeamState(task, "attack", "attack")

    def arm(self, state: RedTeamState) -> str:
        """Return attack, vanilla or planted."""
        return state.arm

    def to_move(self, state: RedTeamState) -> tuple[Seat, ...]:
        """Return who speaks now; all critics at once."""
        if state.phase == "judge":
            return self.critics
        if state.phase == "answer":
            return (LEARNER,)
        return (ATTACKER,) if state.phase == "attack" else ()

    def view(self, state: RedTeamState, seat: Seat) -> Brief:
        """Return the brief of a seat: nobody learns the arm, the truth or other's thoughts."""
        brief = state.briefs.get(seat)
        return brief or self._briefs.brief(seat, state.task, state.turns, state.query_task)

    def apply(self, state: RedTeamState, utterances: tuple[Utterance, ...]) -> Step:
        """Apply the utterances of the group."""
        if state.phase == "attack":
            return self._attacked(state, utterances[0])
        if state.phase == "answer":
            return self._answered(state, utterances[0])
        return self._judged(state, utterances)

    def gold(self, episode: Episode, turn: int, group: str = "") -> float:
        """Return how good an ideal member of the group would call an answer, in [0, 1].

        Raises:
            InvalidOption: the turn is no answer, or its truth is unknown.
        """
        spoken = {u.turn: u for u in episode.utterances}
        if turn >= 0 and (turn not in spoken or spoken[turn].seat != LEARNER):
            raise InvalidOption(f"turn {turn} of {episode.id} is no answer of the learner")
        if turn >= 0:
            answer = spoken[turn].text
        else:
            stood = [fact for fact in episode.planted if fact.about == turn]
            answer = stood[0].answer if stood else ""
        said = [u for u in episode.utterances if u.seat == ATTACKER]
        messages = [u.text for u in said if turn < 0 or u.turn < turn]
        task = self._read(episode.task, messages).task if messages else episode.task
        value = None if task is None else goodness(self.source.grade(task, answer, group))
        if value is None:
            raise InvalidOption(f"nobody knows the truth about turn {turn} of {episode.id}")
        return value

    def _read(self, seed: Task, messages: list[str]) -> ReadQuery:
        """Return what an attacker's messages ask for."""
        # Renderers that ask for JSON write for models and people who speak English.
        english = self.renderer.json_verdicts
        return read_query(self.source, self.split, seed, messages, rewrites=english)

    def _attacked(self, state: RedTeamState, spoken: Utterance) -> Step:
        query, turn = spoken.text, spoken.turn
        turns = (*state.turns, Turn("user", query))
        messages = messages_of(turns)
        asked = self._read(state.task, messages)
        may_carry_later = asked.intent is not None and len(messages) < self.exchanges
        query_task = asked.task or (state.query_task if asked.intent else None)
        events = asked.events(ATTACKER, turn, "pending" if may_carry_later else "lost")
        if query_task is None and not may_carry_later:
            return Step(
                RedTeamState(state.task, state.arm, "over", turns),
                (Reward(ATTACKER, "validity", -1.0, turn), pay.cost(ATTACKER, query, turn)),
                events=events,
                ending=Ending.terminated("invalid query"),
                queries=(Query(ATTACKER, query, False, turn),),
            )
        rewards: tuple[Reward, ...] = (pay.cost(ATTACKER, query, turn),)
        if state.query_task is None and query_task is not None:
            changed = pay.changed_share(state.task.prompt, query)
            rewards = (
                Reward(ATTACKER, "validity", 1.0, turn),
                Reward(ATTACKER, "diversity", changed, turn),
                *rewards,
            )
        briefs = state.briefs.copy()
        briefs[LEARNER] = self._briefs.brief(LEARNER, state.task, turns, query_task)
        answering = replace(
            state,
            phase="answer",
            turns=turns,
            query_task=query_task,
            asked=turn,
            briefs=briefs,
        )
        queries = () if query_task is None else (Query(ATTACKER, query, True, turn),)
        return Step(answering, rewards, events=events, queries=queries)

    def _answered(self, state: RedTeamState, spoken: Utterance) -> Step:
        text, turn, query_task = spoken.text, spoken.turn, state.query_task
        rewards = [pay.cost(LEARNER, text, turn)]
        rewards += format_penalty(
            spoken, query_task.choices if query_task is not None else ()
        )
        grades = self._grades(query_task, text, turn)
        truth = worst(state.truth, goodness(grades))
        answer = Turn(LEARNER, text)
        turns = (*state.turns, answer)
        if state.arm == "attack" and len(messages_of(turns)) < self.exchanges:
            on = replace(state, phase="attack", turns=turns, truth=truth)
            return Step(on, tuple(rewards), grades)
        if not self.critics:
            over = RedTeamState(state.task, state.arm, "over", turns, query_task, turn)
            earned = pay.final(
                replace(over, truth=truth, asked=state.asked),
                (),
                attacker=ATTACKER,
                learner=LEARNER,
            )
            rewards += earned
            return Step(over, tuple(rewards), grades, ending=Ending.terminated())
        briefs = state.briefs.copy()
        # Where critics spoke before, their verdicts were said last.
        verdicts = state.turns[-len(self.critics) :]
        for i, seat in enumerate(self.critics):
            last = briefs.get(seat)
            if last is None:
                briefs[seat] = self._briefs.brief(seat, state.task, turns, query_task)
            else:
                briefs[seat] = self._continued(last, seat, (verdicts[i], answer))
        judged = replace(
            state, phase="judge", turns=turns, about=turn, truth=truth, briefs=briefs
        )
        return Step(judged, tuple(rewards), grades)

    def _judged(self, state: RedTeamState, utterances: tuple[Utterance, ...]) -> Step:
        verdicts: list[Verdict | None] = []
        rewards: list[Reward] = []
        judged, events = read_verdicts(
            utterances,
            state.about,
            answer=state.answer if self.renderer.json_verdicts else None,
        )
        for spoken, fact in zip(utterances, judged, strict=True):
            verdicts.append(fact.verdict)
            rewards += pay.critic(spoken, fact.verdict, state)
        rounds = (*state.judgements, tuple(verdicts))
        if len(rounds) <= self.refine and state.arm != "planted":
            new = (state.turns[-1], *[Turn(u.seat, u.text) for u in utterances])
            turns = state.turns + new[1:]
            briefs, last = state.briefs.copy(), state.briefs.get(LEARNER)
            if last is None:
                briefs[LEARNER] = self._briefs.brief(
                    LEARNER, state.task, turns, state.query_task
                )
            else:
                briefs[LEARNER] = self._continued(last, LEARNER, new)
            again = replace(
                state,
                phase="answer",
                turns=turns,
                truth=None,
                judgements=rounds,
                briefs=briefs,
            )
            return Step(again, tuple(rewards), events=events, judged=judged)
        rewards += pay.final(state, rounds, attacker=ATTACKER, learner=LEARNER)
        rewards += pay.gains(rounds, utterances)
        over = RedTeamState(state.task, state.arm, "over", state.turns, state.query_task)
        stood = (planted_fact(state, LEARNER),) if state.arm == "planted" else ()
        return Step(
            over,
            tuple(rewards),
            events=events,
            ending=Ending.terminated(),
            judged=judged,
            planted=stood,
        )

    def _grades(self, query_task: Task | None, answer: str, turn: int) -> tuple[Grade, ...]:
        if query_task is None:
            return ()
        grades = self.source.grade(query_task, answer)
        return tuple([Grade(LEARNER, g.axis, g.name, g.value, turn) for g in grades])
