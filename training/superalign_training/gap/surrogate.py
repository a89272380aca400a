"""Surrogate model of a chain, for fast training and testing of controllers.

The effects were measured in the microworld, their strengths are drawn anew for each chain;
``docs/gap.md`` has the equations.
"""

import math
from collections.abc import Iterable, Sequence
from typing import NamedTuple

import numpy as np

from superalign_env.seeding import generator, label, mix
from superalign_training.gap.controller import GapController, GenerationStats
from superalign_training.gap.learned import ChainModel

HARDNESS = (0.0, 0.5, 1.0)
"""Where errors are kept; between them they are interpolated."""

_WORST = 0.9

Errors = tuple[float, float, float]
"""Of one kind, on queries of each `HARDNESS`."""


class Nature(NamedTuple):
    """The hidden parameters of one chain, drawn once."""

    levels: int
    generations: int
    following: bool
    """Whether the hardness of queries is the student's level, or the same for all."""
    hardness: float
    """Of queries that do not follow."""
    slip: float
    """Error rate of people that nothing can learn."""
    blind: tuple[float, float]
    """Error rate of people that can be learned: on the easiest queries, and how much more
    on the hardest."""
    limit: tuple[float, float, float]
    """Own errors: of the top level, of a level at the bottom, and the shape between."""
    copy: tuple[float, float]
    """Share of learnable errors that a student copies: at no gap, and how much more from
    the bottom to the top at once."""
    ambiguous: float
    """How far easy queries, on which people are right, teach their errors all the same."""
    inherit: float
    """Share of a supervisor's own errors that a student copies."""
    overfit: float
    """Share of unlearnable errors that a student learns by heart."""
    unsalient: float
    """What a student that is not above its supervisor fails to show."""
    voting: float
    """How much better many sources are than one: 0 not at all, 1 as independent ones."""
    labels: int
    """People's labels on control tasks; 0 where nobody is asked."""
    margin: float
    """Loss of human agreement, beyond one standard error, at which the gate says no."""


def draw_nature(rng: np.random.Generator) -> Nature:
    """Draw the parameters of a chain; the ranges are wide on purpose."""

    def between(low: float, high: float) -> float:
        return float(rng.uniform(low, high))

    generations = int(rng.integers(3, 8))
    return Nature(
        levels=int(rng.integers(generations, 12)),
        generations=generations,
        following=bool(rng.random() < 0.5),
        hardness=between(0.2, 1.0),
        slip=between(0.0, 0.15),
        blind=(between(0.0, 0.1), between(0.0, 0.7)),
        limit=(between(0.0, 0.03), between(0.05, 0.4), between(0.5, 3.0)),
        copy=(between(0.2, 1.0), between(0.0, 0.8)),
        ambiguous=between(0.0, 0.7),
        inherit=between(0.2, 0.95),
        overfit=between(0.0, 0.3),
        unsalient=between(0.0, 0.1),
        voting=between(0.0, 1.0),
        labels=int(rng.choice((0, 10, 20, 40, 80))),
        margin=between(0.05, 0.2),
    )


class Source(NamedTuple):
    """A supervisor: people, or an accepted generation."""

    place: float
    """On the ladder, from 0 (people) to 1 (the top)."""
    blind: float
    """Share of people's learnable errors that it makes."""
    own: Errors
    slip: float


class Surrogate:
    """A chain of `Source`s; see `superalign_training.gap.learned.ChainModel`.

    Args:
        nature: of every chain; None draws another one at each reset.
    """

    def __init__(self, nature: Nature | None = None) -> None:
        self._given = nature
        self.reset(0)

    def reset(self, seed: int) -> None:
        """Begin another chain."""
        self._rng = generator(mix(seed, label("surrogate")))
        self.nature = self._given or draw_nature(self._rng)
        self.sources = [Source(0.0, 1.0, (0.0, 0.0, 0.0), self.nature.slip)]
        self._agreed: float | None = None
        self._number = 0

    @property
    def levels(self) -> int:
        """Number of levels on the ladder."""
        return self.nature.levels

    @property
    def generations(self) -> int:
        """Number of generations."""
        return self.nature.generations

    def worth(self) -> float:
        """Return the newest accepted generation's utility, averaged over hardness."""
        newest, rates = self.sources[-1], _blind_rates(self.nature)
        errors = [
            newest.blind * rate + own_errors + newest.slip
            for rate, own_errors in zip(rates, newest.own, strict=True)
        ]
        if self.nature.following:
            return 1.0 - min(sum(errors) / len(errors), _WORST)
        return 1.0 - min(_at(self.nature.hardness, errors), _WORST)

    def play(self, level: int) -> GenerationStats:
        """Raise one generation from a level and return its statistics."""
        self._number += 1
        place = (level + 1) / self.nature.levels
        hard = place if self.nature.following else self.nature.hardness
        taught = _vote(self.sources, self.nature)
        student = _student(place, hard, taught, self.sources[-1], nature=self.nature)
        stats = self._seen(student, taught, hard, level)
        if stats.accepted:
            self.sources.append(student)
            self._agreed = stats.human_agreement
        return stats

    def _seen(
        self, student: Source, taught: Source, hard: float, level: int
    ) -> GenerationStats:
        rate = _at(hard, _blind_rates(self.nature))
        own_errors = _at(hard, student.own)
        label_errors = _at(hard, taught.own)
        shared = self.nature.inherit * min(own_errors, label_errors)
        misfit = (
            abs(taught.blind - student.blind) * rate
            + own_errors
            + label_errors
            - 2 * shared
        )
        misfit += (1 - self.nature.overfit) * taught.slip
        agrees, dropped = None, False
        n = self.nature.labels
        if n:
            expected = (
                (1 - student.blind) * rate + own_errors + self.nature.slip + student.slip
            )
            agrees = int(self._rng.binomial(n, 1 - min(expected, _WORST))) / n
            least = (self._agreed or 0.0) - self.nature.margin - 0.5 / math.sqrt(n)
            dropped = agrees < least
        return GenerationStats(
            self._number,
            level,
            accepted=not (dropped or misfit > 0.5),
            disagreement=self._noisy(self._disagreement(hard, rate)),
            misfit=self._noisy(misfit),
            confidence=self._noisy(1 - own_errors - 0.5 * taught.slip),
            human_agreement=agrees,
            human_labels=n,
        )

    def _disagreement(self, hard: float, rate: float) -> float:
        """Return the mean share of tasks on which two sources differ."""
        if len(self.sources) < 2:
            return 0.0
        total, pairs = 0.0, 0
        for number, first in enumerate(self.sources):
            for second in self.sources[:number]:
                a, b = _at(hard, first.own), _at(hard, second.own)
                total += abs(first.blind - second.blind) * rate + first.slip + second.slip
                total += a + b - 2 * self.nature.inherit * min(a, b)
                pairs += 1
        return total / pairs

    def _noisy(self, share: float) -> float:
        """Add the sampling noise of two hundred control tasks to a share."""
        p = min(max(share, 0.0), 1.0)
        noisy = p + math.sqrt(p * (1 - p) / 200) * float(self._rng.standard_normal())
        return min(max(noisy, 0.0), 1.0)


def _vote(sources: Sequence[Source], nature: Nature) -> Source:
    """Return the weighted mean of all sources; each counts twice as much as the last."""
    weights = [2.0**number for number in range(len(sources))]
    total = sum(weights)
    pairs = list(zip(weights, sources, strict=True))
    blind = sum(w * source.blind for w, source in pairs) / total
    power = 1 + nature.voting * (len(sources) - 1)
    sharp = blind**power / (blind**power + (1 - blind) ** power)
    fewer = len(sources) ** (-0.5 * nature.voting)
    own_errors = _each(
        fewer * sum(w * source.own[k] for w, source in pairs) / total for k in range(3)
    )
    slip = fewer * sum(w * source.slip for w, source in pairs) / total
    return Source(sources[-1].place, sharp, own_errors, slip)


def _student(
    place: float, hard: float, taught: Source, newest: Source, *, nature: Nature
) -> Source:
    """Return the student at a level after training on these labels."""
    gap = max(place - newest.place, 0.0)
    rates = _blind_rates(nature)
    met = _at(hard, rates) / rates[-1] if rates[-1] > 0 else 0.0
    met = nature.ambiguous + (1 - nature.ambiguous) * met
    copied = min(nature.copy[0] + nature.copy[1] * gap, 1.0) * met
    hidden = nature.unsalient * math.exp(-10 * gap) + nature.overfit * taught.slip
    least, span, shape = nature.limit
    own_errors = _each(
        hidden + limit + nature.inherit * max(label_errors - limit, 0.0)
        for label_errors, limit in zip(
            taught.own,
            (least + span * (1 - place) ** shape * (0.5 + h) for h in HARDNESS),
            strict=True,
        )
    )
    return Source(place, copied * taught.blind, own_errors, 0.0)


def _blind_rates(nature: Nature) -> Errors:
    low, slope = nature.blind
    return _each(low + slope * h for h in HARDNESS)


def _each(values: Iterable[float]) -> Errors:
    first, second, third = values
    return first, second, third


def _at(hard: float, errors: Sequence[float]) -> float:
    """Return errors at a hardness, between the two nearest that are kept."""
    low, middle, high = errors
    if hard <= 0.5:
        return low + (middle - low) * hard * 2
    return middle + (high - middle) * (hard - 0.5) * 2


class Rehearsed(NamedTuple):
    """One chain under one controller."""

    worth: float
    """Final; see `ChainModel.worth`."""
    history: tuple[GenerationStats, ...]


def raise_chain(controller: GapController, model: ChainModel, *, seed: int) -> Rehearsed:
    """Raise one whole chain.

    Args:
        controller: chooses every gap.
        model: begins another chain.
        seed: of the chain.
    """
    model.reset(seed)
    history: list[GenerationStats] = []
    for _ in range(model.generations):
        level = controller.choose(
            history, levels=model.levels, generations=model.generations
        )
        history.append(model.play(level))
    return Rehearsed(model.worth(), tuple(history))


class Score(NamedTuple):
    """Mean results of a controller over many chains."""

    following: float
    """Mean worth where queries follow the student."""
    fixed: float
    """Mean worth where they do not."""
    rolled_back: float
    """Share of generations that the gate refused."""


def rehearse(controller: GapController, seeds: Sequence[int]) -> Score:
    """Return the score of a controller on the surrogate; the same seeds, the same chains."""
    model, refused, raised = Surrogate(), 0, 0
    worth: dict[bool, list[float]] = {True: [], False: []}
    for seed in seeds:
        chain = raise_chain(controller, model, seed=seed)
        worth[model.nature.following].append(chain.worth)
        refused += sum(not stats.accepted for stats in chain.history)
        raised += len(chain.history)
    return Score(_mean(worth[True]), _mean(worth[False]), refused / max(raised, 1))


def _mean(values: Sequence[float]) -> float:
    return sum(values) / len(values) if values else float("nan")
