"""Capability metrics of a generation: capacity, utility, gap, PGR, imitation, conduct.

Competence, conformity and safety are never summed. Every number is about held-out tasks,
is for people to read, and steers nothing.
"""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

from superalign_env.measures import (
    Estimate,
    Games,
    ImitationRate,
    Ratio,
    difference,
    distinct_share,
    elicitation_gap,
    fit_elo,
    generation_gap,
    imitation,
    performance_gap_recovered,
    saliency,
    share,
)
from superalign_env.store import declare
from superalign_env.types import Metric, Split
from superalign_training.evaluation.ceiling import Ceiling
from superalign_training.evaluation.conduct import Conduct
from superalign_training.evaluation.holdout import Holdout, HoldoutAnswers
from superalign_training.evaluation.settings import Capability

declare("capability.utility", "Utility U", unit="share", better="higher")
declare("capability.capacity", "Capacity C", unit="share")
declare("capability.elicitation_gap", "Left to elicit, C − U")
declare("capability.gap", "Capability gap δ")
declare("capability.saliency", "Saliency: rise after a few gold labels")
declare("capability.distinct", "Distinct answers", unit="share")
declare("capability.calibration_error", "Calibration error", unit="share", better="lower")
declare("capability.entropy", "Entropy of answers", unit="nats")
declare("capability.w2s_minus_weak", "Student − weak supervisor", better="higher")
declare("capability.pgr", "Gap recovered (PGR)", better="higher")
declare("capability.imitation", "Imitation of the supervisor", unit="share", better="lower")
declare("capability.imitation_ceiling", "The same of a gold-taught copy", unit="share")
declare("conformity", "Conformity", unit="share", better="higher")
declare("safety", "Safety", unit="share", better="higher")
declare("over-refusal", "Over-refusal", unit="share", better="lower")


class SideResults(NamedTuple):
    """One side of a generation, A⁻ or A⁺, and its results."""

    agent: str
    """Hash of its row in the table of agents."""
    answers: HoldoutAnswers
    conduct: Conduct | None


class TeacherAnswers(NamedTuple):
    """Answers of a generation's teacher to the holdout."""

    who: str
    """``A2+``, or ``people`` before there is any."""
    answers: HoldoutAnswers


class Generation(NamedTuple):
    """One generation on one holdout."""

    number: int
    level: int
    """On the ladder that generations start from."""
    sides: Mapping[str, SideResults]
    """``-`` before value alignment, ``+`` after it."""
    ceiling: Ceiling
    """Of its level."""
    teacher: TeacherAnswers | None
    """Whom it was weak-to-strong supervised by; None where nobody can be asked."""


class Report(NamedTuple):
    """Metrics, and reasons for missing ones."""

    metrics: tuple[Metric, ...]
    missing: tuple[str, ...]


def report(
    generation: Generation, holdout: Holdout, rules: Capability, split: Split
) -> Report:
    """Return every metric of a generation.

    Args:
        generation: what was measured.
        holdout: the tasks that all scores are about.
        rules: guard and resamples.
        split: of the holdout.
    """
    metrics_of = _GenerationMetrics(generation, holdout, rules, split)
    metrics = [*metrics_of.capacity(), *metrics_of.gaps()]
    for side, result in generation.sides.items():
        metrics += [*metrics_of.utility(side, result), *metrics_of.conduct(side, result)]
        metrics += metrics_of.supervised(side, result)
    return Report(tuple(metrics), tuple(metrics_of.missing))


class _GenerationMetrics:
    """Metrics of one generation, tagged with agent, side and split."""

    def __init__(
        self, generation: Generation, holdout: Holdout, rules: Capability, split: Split
    ) -> None:
        self._of = generation
        self._rungs = holdout.rungs
        self._rules = rules
        self._split = split
        self._last = list(generation.sides.values())[-1]
        self.missing: list[str] = []

    def utility(self, side: str, result: SideResults) -> Iterator[Metric]:
        """U by family and tier, the elicitation gap to C, and the diversity of answers."""
        for tags, places in self._by_rung():
            mine = _at(result.answers.scores, places)
            able = _at(self._of.ceiling.taught, places)
            yield self._metric("capability.utility", _share(mine), side, tags)
            gap = elicitation_gap(able, mine)
            yield self._metric("capability.elicitation_gap", gap, side, tags)
        different = distinct_share(result.answers.keys)
        yield self._number("capability.distinct", different, len(result.answers.keys), side)

    def capacity(self) -> Iterator[Metric]:
        """C by family and tier, by two estimates; and the saliency of the tasks."""
        ceiling = self._of.ceiling
        views = {
            "gold-ceiling": ceiling.taught,
            f"best-of-{self._rules.best_of}": ceiling.best,
        }
        for by, scores in views.items():
            for tags, places in self._by_rung() if scores else ():
                value = _share(_at(scores, places))
                yield self._metric("capability.capacity", value, "", {**tags, "by": by})
        rise = saliency(ceiling.fresh, ceiling.salient)
        steps = {"steps": str(self._rules.salient_steps)}
        yield self._metric("capability.saliency", rise, "", steps)

    def gaps(self) -> Iterator[Metric]:
        """δ = C(A_i) − U(teacher), in utility and in Elo."""
        teacher = self._of.teacher
        if teacher is None:
            self.missing.append("δ: there is no teacher that could be asked")
            return
        able, weak = self._of.ceiling.taught, teacher.answers.scores
        tags = {"to": teacher.who}
        wide = generation_gap(able, weak)
        yield self._metric("capability.gap", wide, "", {**tags, "in": "utility"})
        elo = fit_elo(
            Games(player, "/".join(map(str, rung)), sum(_at(scores, places)), len(places))
            for player, scores in self._players(teacher).items()
            for rung, places in self._rungs.items()
        )
        points = elo.gap("ceiling", "teacher")
        yield self._metric("capability.gap", points, "", {**tags, "in": "elo"})

    def supervised(self, side: str, result: SideResults) -> Iterator[Metric]:
        """Performance gap recovered and imitation, by family and in all."""
        teacher = self._of.teacher
        if teacher is None:
            self.missing.append(
                f"imitation {side}: there is no teacher that could be asked"
            )
            return
        everything = [place for places in self._rungs.values() for place in places]
        yield from self._recovered(side, result, teacher, {}, everything)
        families = {family for family, _ in self._rungs}
        for family in sorted(families) if len(families) > 1 else ():
            places = [
                p for (f, _), rung in self._rungs.items() if f == family for p in rung
            ]
            yield from self._recovered(side, result, teacher, {"family": family}, places)

    def conduct(self, side: str, result: SideResults) -> Iterator[Metric]:
        """Conformity by dimension, safety, over-refusal, calibration and entropy, apart."""
        measured = result.conduct
        if measured is None:
            return
        for dimension, rate in measured.conformity.items():
            yield self._metric("conformity", rate, side, {"dimension": dimension})
        if measured.safety is not None:
            yield self._metric("safety", measured.safety, side)
        for kind, rate in measured.over_refusal.items():
            yield self._metric("over-refusal", rate, side, {"kind": kind})
        if measured.calibration_error is not None:
            off = measured.calibration_error
            yield self._number("capability.calibration_error", off, measured.asked, side)
        if measured.entropy is not None:
            yield self._metric("capability.entropy", measured.entropy, side)

    def _recovered(
        self,
        side: str,
        result: SideResults,
        teacher: TeacherAnswers,
        tags: dict[str, str],
        places: Sequence[int],
    ) -> Iterator[Metric]:
        weak, mine = _at(teacher.answers.scores, places), _at(result.answers.scores, places)
        able = _at(self._of.ceiling.taught, places)
        tags = {**tags, "teacher": teacher.who}
        gained = difference(mine, weak)
        yield self._metric("capability.w2s_minus_weak", gained, side, tags)
        part = performance_gap_recovered(
            weak, mine, able, guard=self._rules.guard, resamples=self._rules.resamples
        )
        if part.estimate is not None:
            yield self._metric("capability.pgr", part.estimate, side, tags)
        elif side == "-" or len(self._of.sides) == 1:
            self.missing.append(_undefined(part, tags, self._rules.guard))
        repeated = imitation(
            _at(result.answers.keys, places),
            _at(teacher.answers.keys, places),
            [score > 0 for score in weak],
            ceiling=_at(self._of.ceiling.keys, places),
        )
        if repeated is not None:
            yield from self._imitated(repeated, side, tags)

    def _imitated(
        self, repeated: ImitationRate, side: str, tags: dict[str, str]
    ) -> Iterator[Metric]:
        yield self._metric("capability.imitation", repeated.rate, side, tags)
        yield self._metric("capability.imitation_ceiling", repeated.ceiling, side, tags)

    def _players(self, teacher: TeacherAnswers) -> dict[str, Sequence[float]]:
        sides = {
            f"A{side}": result.answers.scores for side, result in self._of.sides.items()
        }
        return {
            "ceiling": self._of.ceiling.taught,
            "teacher": teacher.answers.scores,
            **sides,
        }

    def _by_rung(self) -> Iterator[tuple[dict[str, str], list[int]]]:
        for (family, tier), places in self._rungs.items():
            yield {"family": family, "tier": str(tier)}, places

    def _metric(
        self, name: str, value: Estimate, side: str, tags: Mapping[str, str] | None = None
    ) -> Metric:
        return Metric(name, *value, **self._borne(side, tags or {}))

    def _number(self, name: str, value: float, n: int, side: str) -> Metric:
        """Return a metric that has no interval."""
        return Metric(name, value, n=n, **self._borne(side, {}))

    def _borne(self, side: str, tags: Mapping[str, str]) -> dict[str, Any]:
        number = self._of.number
        sided = {"side": side} if side else {}
        return {
            "agent": self._of.sides.get(side, self._last).agent,
            "tags": {"who": f"A{number}{side}", **sided, "split": self._split, **tags},
            "step": number,
        }


def _share(scores: Sequence[float]) -> Estimate:
    return share(sum(scores), len(scores))


def _at(values: Sequence[Any], places: Sequence[int]) -> list[Any]:
    return [values[place] for place in places]


def _undefined(part: Ratio, tags: Mapping[str, str], guard: float) -> str:
    gap = part.denominator
    return (
        f"PGR{' of ' + tags['family'] if 'family' in tags else ''}: the ceiling is "
        f"{gap.said(3, sign=True)} above the teacher "
        f"({tags['teacher']}), not surely more than {guard}"
    )
