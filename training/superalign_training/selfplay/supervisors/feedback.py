"""Human feedback on training episodes, during the update of a policy.

After each batch of rollouts the budget is spent on questions about these episodes. Answers
that are there in time are settled into the pay before advantages are computed.
"""

import shlex
import time
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from superalign_env.capabilities import lowest_pay_of, opinions_of
from superalign_env.humans.selection import choose
from superalign_env.humans.simulated import work_through
from superalign_env.measures import share
from superalign_env.protocols import Scenario
from superalign_env.rewards import Correction, HumanPay, in_range, score_of
from superalign_env.seeding import mix
from superalign_env.store import declare
from superalign_env.types import (
    Episode,
    Metric,
    Question,
    Reward,
    Role,
    Seat,
    Signal,
    role_of,
)
from superalign_training.oversight.settings import AskedKind
from superalign_training.selfplay.agents import recorded_agent
from superalign_training.selfplay.driver import StageContext
from superalign_training.selfplay.scenario_capabilities import require_simulable
from superalign_training.selfplay.settings import Settings
from superalign_training.selfplay.state import NO_PAID_ANSWERS, PaidAnswers
from superalign_training.selfplay.supervisors.candidates import (
    QuestionCandidates,
    question_candidates,
)
from superalign_training.selfplay.supervisors.people import enroll

POLL_SECONDS = 0.5
"""Interval of polling the queue while waiting for people."""

EVALUATION = "evaluation"
"""Key of the evaluation slice in `RunState.question_remainders`."""

_KINDS: Mapping[AskedKind, int] = {
    "preference": 1,
    "member_preference": 4,
    "veto": 2,
    "label": 3,
}
"""Kind → place in the key of its draw. Pairs are rarest, so they are taken first."""

declare("people.asked", "Questions to people about a stage's episodes")
declare("people.answered", "Answers to them before the update")
declare("people.paid", "Answers that entered the pay before the update")
declare("people.clipped", "Opinions outside −1 to 1, which debias cuts off")
declare("people.short", "Questions of the budget that had no turn left to be about")
declare("people.compared", "Questions that compared two members of a case")
declare("people.unpaired", "Turns that no other member's turn could be compared with")


declare("verdicts.agreement", "Critic agrees with people", unit="share", better="higher")


class HumanFeedback:
    """Questions to people about each batch of a stage, and the reward rules of their answers.

    Args:
        context: of the stage.
        settings: of the run.
        scenario: that is played.
        seats: that learn.
        question_remainders: fractions of questions left by earlier stages, by kind.
        paid_answers: answers already in the policy's reward.
    """

    def __init__(
        self,
        context: StageContext,
        settings: Settings,
        scenario: Scenario[Any],
        seats: Sequence[Seat],
        question_remainders: Mapping[str, float],
        paid_answers: PaidAnswers = NO_PAID_ANSWERS,
    ) -> None:
        self.question_remainders = dict(question_remainders)
        # After another algorithm of the same stage.
        same = paid_answers.upto == context.signals_to
        self._paid = (
            [n for a, b in paid_answers.paid for n in range(a, b + 1)] if same else []
        )
        self._context, self._settings = context, settings
        self._scenario, self._seats = scenario, seats
        self._budget, self._people = settings.budget, settings.people
        asks = bool(settings.budget) and self._people.mode == "simulated"
        self._simulated = enroll(context, self._people.annotators) if asks else []
        self._batches = self._asked = 0
        self._counts: Counter[str] = Counter()
        self._agreed: dict[Role, list[bool]] = {}
        self._labelled = (
            self._earlier_labels() if self._people.label_use == "debias" else []
        )

    @property
    def rules(self) -> HumanPay:
        """Rules by which answers enter rewards, with the current correction of critic scores."""
        return HumanPay(
            self._people.label_use,
            opinions_of(self._scenario),
            lowest_pay_of(self._scenario),
            Correction(self._labelled),
        )

    def of(self, episodes: Sequence[Episode]) -> list[Signal]:
        """Ask people about a batch, and return the answers that enter its rewards.

        Raises:
            InvalidOption: people cannot be simulated in this scenario.
        """
        if not self._budget:
            return []
        self._counts["clipped"] += self._clipped(episodes)
        members = self._people.kinds.member_preference > 0
        questions = self._questions(
            question_candidates(episodes, self._seats, members=members)
        )
        if not questions:
            return []
        run = self._context.run
        self._context.writer.flush()
        run.questions.ask(questions)
        before, self._asked = self._asked, self._asked + len(questions)
        if self._people.mode == "continue":
            return []
        if self._people.mode == "wait":
            self._wait(questions)
        else:
            self._simulate(episodes, questions, before)
        by_id = {question.id: question for question in questions}
        signals = run.signals.standing(since=self._context.signals_to)
        answers = [s for s in signals if s.question in by_id and s.kind != "skip"]
        self._counts["answered"] += len(answers)
        by_name = {episode.id: episode for episode in episodes}
        paying = []
        for signal in answers:
            episode, slice = by_name[signal.episode], by_id[signal.question].slice
            if slice == "random":
                self._compare(signal, episode)
                continue
            paying.append(signal)
            if slice == "training" and signal.kind == "label":
                self._labelled += self._scored_labels(signal, episode)
        self._counts["paid"] += len(paying)
        self._paid += [signal.id for signal in paying]
        return paying

    def paid_answers(self, unpaid: Sequence[int] = ()) -> PaidAnswers:
        """Return the answers in the reward at the stage's end, without `unpaid` late ones."""
        return PaidAnswers(self._context.signals_to, as_ranges(self._paid), tuple(unpaid))

    def metrics(self, role: Role) -> tuple[Metric, ...]:
        """Return counts of questions and answers; empty without questions."""
        if not self._asked and not self._counts["unpaired"]:
            return ()
        step, tags = self._context.round, {"role": role}
        names = _COUNTED + (_COMPARED if self._people.kinds.member_preference else ())
        counts = {"asked": self._asked, **{name: self._counts[name] for name in names}}
        if self._counts["clipped"]:
            counts["clipped"] = self._counts["clipped"]
        rows = [
            Metric(f"people.{name}", float(count), tags=tags, step=step)
            for name, count in counts.items()
        ]
        rows += [
            Metric(
                "verdicts.agreement",
                *share(sum(agreed), len(agreed)),
                agent=self._agent_of(judges),
                tags={"with": "human", "role": judges},
                step=step,
            )
            for judges, agreed in self._agreed.items()
        ]
        return tuple(rows)

    def _agent_of(self, role: Role) -> str:
        """Return the agent of a judging role, if one agent holds the whole role."""
        if role not in self._settings.lineup:
            return ""
        return recorded_agent(self._context, role, self._settings)

    def _questions(self, candidates: QuestionCandidates) -> list[Question]:
        """Choose questions within a batch's budget; fractions carry over to the next batch."""
        context = self._context
        due = self._due(candidates)
        questions: list[Question] = []
        key = mix(context.seed_of("people"), self._batches)
        self._batches += 1
        if evaluation := due.pop(EVALUATION, 0):
            questions += choose(
                candidates.turns, key, drawn=evaluation, round=context.round
            )
        for kind, place in _KINDS.items():
            remaining = candidates.without(questions)
            pairs = {"preference": remaining.pairs, "member_preference": remaining.members}
            random = kind == "label" and self._people.label_use == "debias"
            slice = "training" if random else "selected"
            selected = choose(
                pairs.get(kind, remaining.turns),
                mix(key, place),
                **{slice: due.get(kind, 0)},
                kind="preference" if kind == "member_preference" else kind,
                round=context.round,
            )
            self._counts["short"] += due.get(kind, 0) - len(selected)
            questions += selected
        if self._people.kinds.member_preference:
            self._counts["compared"] += sum(bool(q.versus_episode) for q in questions)
            self._counts["unpaired"] += candidates.unpaired
        return questions

    def _due(self, candidates: QuestionCandidates) -> dict[str, int]:
        """Return the number of due questions of each kind after a batch."""
        shares: dict[str, float] = {k: self._people.kinds.share(k) for k in _KINDS}
        if not candidates.pairs:
            shares["label"] += shares.pop("preference")
        if not (candidates.members and shares["member_preference"]):
            shares["label"] += shares.pop("member_preference")
        shares[EVALUATION] = self._people.evaluation_share
        due = {}
        for kind, part in shares.items():
            quota = (
                self.question_remainders.get(kind, 0.0)
                + self._budget * part * candidates.episodes
            )
            due[kind] = int(quota + 1e-9)
            self.question_remainders[kind] = max(0.0, quota - due[kind])
        return due

    def _simulate(
        self, episodes: Sequence[Episode], questions: Sequence[Question], before: int
    ) -> None:
        scenario = require_simulable(self._scenario)
        by_id = {episode.id: episode for episode in episodes}
        work_through(
            self._context.run.questions,
            questions,
            self._simulated,
            episode_of=by_id.__getitem__,
            scenario=scenario,
            before=before,
        )

    def _wait(self, questions: Sequence[Question]) -> None:
        """Wait until people have answered, or skipped, every question."""
        run = self._context.run
        names = {question.id for question in questions}
        while True:
            signals = run.signals.standing(since=self._context.signals_to)
            open_questions = len(names - {signal.question for signal in signals})
            if not open_questions:
                return
            command = f"superalign label {shlex.quote(str(run.path))} --as NAME"
            self._context.watcher.wait(
                f"{open_questions} questions wait for people: {command}"
            )
            time.sleep(POLL_SECONDS)

    def _compare(self, label: Signal, episode: Episode) -> None:
        """Count the agreement of critics with a person on a turn drawn at random."""
        for fact in episode.judged:
            if fact.about == label.turn and fact.score is not None:
                agreed = (fact.score > 0.5) == (label.value > 0.5)
                self._agreed.setdefault(role_of(fact.seat), []).append(agreed)

    def _scored_labels(
        self, label: Signal, episode: Episode
    ) -> list[tuple[str, float, float]]:
        """Return (reward part, critic score, label) for a labelled turn."""
        parts = opinions_of(self._scenario)
        author = next((u.seat for u in episode.utterances if u.turn == label.turn), "")

        def fits(reward: Reward) -> bool:
            mine = (reward.seat, reward.turn) == (author, label.turn)
            return mine and reward.part in parts

        return [(r.part, score_of(r), label.value) for r in episode.rewards if fits(r)]

    def _clipped(self, episodes: Sequence[Episode]) -> int:
        """Return the number of critic scores clipped by `Correction`."""
        if self._people.label_use != "debias":
            return 0
        parts = opinions_of(self._scenario)
        return sum(
            reward.part in parts and not in_range(reward)
            for episode in episodes
            for reward in episode.rewards
        )

    def _earlier_labels(self) -> list[tuple[str, float, float]]:
        """Return (reward part, critic score, label) of earlier rounds within `people.staleness`."""
        run, oldest = self._context.run, self._context.round - self._people.staleness
        by_id = {
            q.id: q
            for q in run.questions.all(answered=True)
            if q.slice == "training" and q.round >= oldest
        }
        signals = [
            signal
            for signal in run.signals.standing(kind="label", upto=self._context.signals_to)
            if signal.question in by_id
        ]
        episodes = run.named([signal.episode for signal in signals])
        return [
            opinion
            for signal, episode in zip(signals, episodes, strict=True)
            for opinion in self._scored_labels(signal, episode)
        ]


_COUNTED = ("answered", "paid", "short")
_COMPARED = ("compared", "unpaired")


def as_ranges(ids: Iterable[int]) -> tuple[tuple[int, int], ...]:
    """Return ids as ranges: first and last of each run of consecutive numbers."""
    rows: list[tuple[int, int]] = []
    for number in sorted(ids):
        if rows and number == rows[-1][1] + 1:
            rows[-1] = (rows[-1][0], number)
        else:
            rows.append((number, number))
    return tuple(rows)
