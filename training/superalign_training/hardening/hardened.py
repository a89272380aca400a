"""The whole course: critics to school, the learner to the critics, then into the ring."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

from superalign_env.lookup import make_scenario
from superalign_env.seeding import generator, label, mix
from superalign_env.types import View
from superalign_training.algorithms.fit_settings import FitSettings
from superalign_training.algorithms.updates.fitting import Rows, fit, loss_on
from superalign_training.attackers import Attacker, openings
from superalign_training.experience import Example
from superalign_training.hardening.council import Council, Judged
from superalign_training.hardening.ring import Ring
from superalign_training.hardening.school import planted_examples
from superalign_training.hardening.settings import Hardening
from superalign_training.policy import Policy

WAVE = 128

_SOURCE = ("council",)


class Hardened(NamedTuple):
    """What hardening leaves beside the learner itself."""

    critics: tuple[Policy, ...]
    success: tuple[float, ...]
    """Share of valid queries of the co-trained attackers that succeeded, by round, as the
    council says; the last one is the co-trained success."""
    valid: tuple[float, ...]
    """Share of their queries that were valid, by round."""
    asked: tuple[str, ...]
    """Valid queries of the last round, in order."""
    lessons: int
    """Different requests that the learner was taught on."""


def harden(
    learner: Policy,
    *,
    new_critic: Callable[[], Policy],
    attackers: Sequence[Attacker],
    settings: Hardening,
    seed: int,
    options: Mapping[str, Any] | None = None,
) -> Hardened:
    """Harden a learner in place.

    Args:
        learner: changed in place.
        new_critic: makes an untaught critic.
        attackers: learn along; paid by the council.
        settings: of everything.
        seed: of the run.
        options: of the red-team scenario, such as its source; the split is ``train``.
    """
    given = {**(options or {}), "split": "train"}
    scenario = make_scenario("red-team", vanilla=0.0, plant=0.0, **given)
    critics = tuple(
        _schooled(
            new_critic(), settings, seed=mix(seed, label("critic"), number), given=given
        )
        for number in range(settings.critics)
    )
    council = Council(scenario, [critic.agent for critic in critics])
    seeds = openings(scenario, settings.seeds, run=mix(seed, label("seeds")))
    replay = [one for one in council.judge([_shown(view) for view in seeds]) if one]
    pupil = _Pupil(learner, settings, seed=mix(seed, label("learner")))
    pupil.study(pupil.examples(replay), settings.first_course, 0)
    success, valid = [], []
    ring = Ring(seeds, learner, council)
    archive: list[tuple[Judged, bool]] = []
    for number, fitting in enumerate(settings.rounds):
        ring.met.clear()
        asked = _attacked(
            ring, attackers, settings.queries, first=number * settings.queries
        )
        success.append(sum(won for _, won in ring.met) / max(1, len(ring.met)))
        valid.append(len(ring.met) / max(1, asked))
        archive += ring.met
        lessons = pupil.round(archive, replay, fitting.steps * fitting.batch_size, number)
        pupil.study(lessons, fitting, 1 + number)
    known = {one.query for one in replay} | {one.query for one, _ in archive}
    last = tuple(one.query for one, _ in ring.met)
    return Hardened(critics, tuple(success), tuple(valid), last, len(known))


def _schooled(
    critic: Policy, settings: Hardening, *, seed: int, given: Mapping[str, Any]
) -> Policy:
    """Teach a critic on planted answers: about one answer first, then about all."""
    scenario = make_scenario("red-team", vanilla=0.0, plant=1.0, **given)
    one, every = planted_examples(scenario, critic, settings.planted, run=seed)
    fit(critic, Rows(one), settings.one_answer_first, seed=mix(seed, 1))
    kept = max(1, len(every) // 10)
    known, unknown = Rows(every[:-kept]), Rows(every[-kept:])
    for time in range(settings.courses):
        fit(critic, known, settings.school, seed=mix(seed, 2, time))
        if loss_on(critic, unknown) <= settings.until:
            break
    return critic


def _attacked(
    ring: Ring, attackers: Sequence[Attacker], queries: int, *, first: int
) -> int:
    """Let every attacker spend its queries; return how many were asked in all."""
    for attacker in attackers:
        for start in range(0, queries, WAVE):
            views = ring.views(first + start, min(WAVE, queries - start))
            said = attacker.explore(views)
            attacker.learn(views, said, ring.ask(said))
    return queries * len(attackers)


def _shown(view: View) -> str:
    """Return the seed request that an attacker is shown."""
    return next(turn.text for turn in view.turns if turn.author == "seed")


class _Pupil:
    """Turns what the council thinks into lessons of one learner."""

    def __init__(self, learner: Policy, settings: Hardening, *, seed: int) -> None:
        self._learner = learner
        self._settings = settings
        self._seed = seed
        self._known: dict[str, Example] = {}

    def study(self, lessons: Sequence[Example], settings: FitSettings, number: int) -> None:
        """Fit the learner to lessons."""
        decode = self._learner.tokenizer.decode
        logit_bias = {
            token: self._settings.favour.get(str(decode([token])).strip(), 0.0)
            for token in {lesson.completion_ids[0] for lesson in lessons}
        }
        seed = mix(self._seed, number)
        fit(self._learner, Rows(lessons), settings, seed=seed, logit_bias=logit_bias)

    def examples(self, judged: Sequence[Judged]) -> list[Example]:
        """Return what the learner should say, as the council and the caution have it."""
        return [self._example(one) for one in judged]

    def _example(self, one: Judged) -> Example:
        known = self._known.get(one.query)
        if known is None:
            known = self._known[one.query] = Example(
                self._learner.prompt_ids(one.view),
                self._learner.reply_ids(one.view, one.best(self._settings.caution)),
                _SOURCE,
            )
        return known

    def round(
        self,
        archive: Sequence[tuple[Judged, bool]],
        replay: Sequence[Judged],
        rows: int,
        number: int,
    ) -> list[Example]:
        """Return the lessons of one round: attackers' queries, and replay.

        Queries that ever met a bad answer weigh more than those that did not.
        """
        rng = generator(mix(self._seed, label("rows"), number))
        hard = round(rows * self._settings.hard) if archive else 0
        weights = [1.0 + self._settings.doubt * won for _, won in archive]
        chosen: list[Judged] = []
        if hard:
            shares = [weight / sum(weights) for weight in weights]
            chosen += [archive[i][0] for i in rng.choice(len(archive), hard, p=shares)]
        chosen += [replay[i] for i in rng.integers(len(replay), size=rows - hard)]
        return self.examples(chosen)
