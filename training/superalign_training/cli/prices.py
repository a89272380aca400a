"""Prices of stages, in counts: upper bounds where a stage may stop early."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, NamedTuple

from superalign_env.types import Role
from superalign_training.oversight.alarms import PROBES
from superalign_training.oversight.settings import Hardening
from superalign_training.selfplay.scenario_capabilities import (
    ATTACKED,
    PLANTED,
    ScenarioCapabilities,
    rated_pairings,
)
from superalign_training.selfplay.settings import Settings


class Spent(NamedTuple):
    """Episodes, replies, trained rows and labels of one stage."""

    episodes: float = 0.0
    """Played and recorded."""
    replies: float = 0.0
    """Given by models."""
    rows: float = 0.0
    """Trained on, each as often as it is."""
    courses: float = 0.0
    """Trainings that begin: building a trainer takes a moment."""
    labels: float = 0.0
    """Answers of people."""
    planted: float = 0.0
    """Episodes whose answer the environment planted: it tells critics whether it is at fault."""
    comparisons: float = 0.0
    """Answers of people that compare two members of a case; `labels` counts them, too."""

    def plus(self, other: "Spent") -> "Spent":
        """Return the sum."""
        return Spent(*(a + b for a, b in zip(self, other, strict=True)))

    def times(self, factor: float) -> "Spent":
        """Return a multiple."""
        return Spent(*(a * factor for a in self))


class When(NamedTuple):
    """The stage that is estimated."""

    settings: Settings
    generation: int
    round: int
    effort: int
    """How many times as much as usual."""
    played: float
    """Episodes of this round on the training split so far."""
    turns: float
    """Replies of an episode, as they were counted in a few."""
    role: Role
    """That is improved; empty where a stage is not about one."""
    parts: ScenarioCapabilities
    """Of the scenario."""

    @property
    def critics(self) -> int:
        """Verdicts on one answer."""
        return int(self.settings.options.get("critics", 1))

    @property
    def judged(self) -> float:
        """Replies of an episode that nobody attacks."""
        if not self.parts.can(PLANTED):
            return self.turns
        refine = int(self.settings.options.get("refine", 0))
        return (1 + self.critics) * (1 + refine)

    def labels(self, episodes: float) -> float:
        """Return the answers of people about so many episodes that are learned from."""
        settings = self.settings
        return settings.budget * (1 + settings.people.evaluation_share) * episodes

    def comparisons(self, episodes: float) -> float:
        """Return the answers about so many episodes that compare two members of a case."""
        settings = self.settings
        return settings.budget * settings.people.kinds.share("member_preference") * episodes

    @property
    def members(self) -> int:
        """Models that supervise a generation."""
        signals = self.settings.signals
        own = len(signals.models) + len(signals.personas)
        return own + (max(0, self.generation - 1) if signals.ancestors else 0)


def nothing(when: When) -> Spent:
    """Return the price of a stage that neither plays nor trains."""
    return Spent()


def _judge(when: When) -> Spent:
    rules = when.settings.judge
    if when.settings.hardening is not None:
        return _taught_critic(when.settings.hardening, rules.check_cases)
    if not rules.cases:
        return Spent()
    episodes = rules.cases + rules.max_fits * rules.check_cases
    rows = float(rules.single_answer_steps * rules.imitation.batch_size)
    rows += rules.max_fits * _rows(rules.imitation, rules.cases)
    return Spent(episodes, episodes * when.critics, rows, rules.max_fits + 1, 0, episodes)


def _taught_critic(rules: Hardening, checked: int) -> Spent:
    courses = rules.max_critic_fits * rules.critic_fit.steps * rules.critic_fit.batch_size
    rows = float(rules.critic_warmup.steps * rules.critic_warmup.batch_size + courses)
    planted = rules.planted_cases + checked
    return Spent(checked, checked, rows, rules.max_critic_fits + 1, planted=planted)


def _imitate(when: When) -> Spent:
    rules = when.settings.hardening
    assert rules is not None
    rows = float(rules.learner_warmup.steps * rules.learner_warmup.batch_size)
    return Spent(0, 2 * rules.seed_cases, rows, 1)


def _harden(when: When) -> Spent:
    rules = when.settings.hardening
    assert rules is not None
    course = rules.learner_fits[min(when.round, len(rules.learner_fits)) - 1]
    asked = rules.queries * (1 + (when.parts.asks in when.settings.learning))
    return Spent(0, 4 * asked, float(course.steps * course.batch_size), 1)


def _calibrate(when: When) -> Spent:
    rules, checks = when.settings.calibrate, when.settings.judge.check_cases
    courses, drills = _learnt(when, when.parts.judges)
    if not (rules.cases or when.settings.budget or drills):
        return Spent()
    episodes = rules.cases + checks
    rows = sum(_rows(course, rules.cases) for course in courses)
    found = Spent(episodes, episodes * when.critics, rows, len(courses))
    for drill in drills:
        found = found.plus(_paid(drill, when.critics))
    return found._replace(planted=found.episodes)


def _attack(when: When) -> Spent:
    rules = when.settings.attack
    replies = rules.cases * (0.5 + when.judged) + rules.cases  # probed afterwards
    courses = when.settings.by_examples(when.parts.asks)
    rows = sum(_rows(course, rules.cases) for course in courses)
    found = Spent(rules.cases, replies, rows, len(courses))
    for drill in when.settings.by_pay(when.parts.asks):
        found = found.plus(_paid(drill, 1 + when.judged)).plus(Spent(64, 64 * when.judged))
    return found


def _improve(when: When) -> Spent:
    attacked = when.parts.can(ATTACKED) and when.parts.asks in when.settings.learning
    asked = 1 - when.settings.attack.search_share if attacked else 0
    found = Spent()
    drills = when.settings.by_pay(when.role)
    for drill in drills:
        found = found.plus(_paid(drill, max(when.turns, when.judged) + asked))
    several = _learned_from(drill for drill in drills if drill.num_generations > 1)
    labels, compared = when.labels(_learned_from(drills)), when.comparisons(several)
    return found._replace(labels=labels, comparisons=compared)


def _learnt(when: When, role: Role) -> tuple[Sequence[Any], Sequence[Any]]:
    """Return the courses and the drills of a role."""
    return when.settings.by_examples(role), when.settings.by_pay(role)


def _supervise(when: When) -> Spent:
    rules = when.settings.supervise
    assert rules is not None
    episodes = rules.cases * rules.num_generations
    replies = episodes * (1 + when.critics) * (1 + rules.revised)
    found = Spent(episodes, replies, _rows(rules.algorithm, episodes), rules.alternations)
    return found.plus(_replayed(rules.replay, rules.alternations))


def _annotate(when: When) -> Spent:
    rules = when.settings.supervise
    several = when.played if rules is not None and rules.num_generations > 1 else 0.0
    return Spent(labels=when.labels(when.played), comparisons=when.comparisons(several))


def _evaluate(when: When) -> Spent:
    rules = when.settings.evaluate
    attacked = when.parts.can(ATTACKED)
    known = rules.attack_cases if when.round and attacked else 0
    episodes = rules.cases + known + (rules.fresh_queries if attacked else 0)
    return Spent(episodes, episodes * when.judged + known / 2)


def _test(when: When) -> Spent:
    rules = when.settings.evaluate
    if when.settings.generations:
        of_one = _measured(when, when.settings.capability.test_factor, sides=1)
        return of_one.times(when.settings.generations)
    families = rules.families or ()
    sat = rules.family_cases * len(families) if when.parts.answers else 0
    attacked = when.parts.can(ATTACKED)
    known = rules.attack_cases if attacked else 0
    asked = (2 + when.parts.baselines) * rules.cases + known
    asked += 2 * rules.fresh_queries if attacked else 0
    return Spent(asked + 2 * sat, asked * when.judged + 2 * sat + known / 2)


def _league(when: When) -> Spent:
    pairs = len(rated_pairings(when.settings, when.parts))
    return _new_cells(when, pairs)


def _trial(when: When) -> Spent:
    return _new_cells(when, 1)


def _new_cells(when: When, pairs: int) -> Spent:
    episodes = pairs * (2 * when.round + 1) * when.settings.league.cases
    return Spent(episodes, episodes * (max(when.turns, when.judged) + 0.5))


def _competence(when: When) -> Spent:
    rules, signals = when.settings.competence, when.settings.signals
    taught = rules.cases * when.effort
    episodes = taught + 2 * rules.control_cases
    replies = (taught + rules.control_cases) * (when.members + 1) + rules.control_cases
    labels = min(signals.labels, taught + rules.control_cases) if signals.people else 0
    rows = _rows(rules.algorithm, taught, times=when.effort)
    return Spent(episodes, replies, rows, 1, labels)


def _discover(when: When) -> Spent:
    rules = when.settings.discover
    old = min(rules.max_replayed, (when.generation - 1) * rules.max_hazards)
    judged = 1 + when.critics + len(rules.critics)
    attackers = rules.cases * (1 - rules.plain_share) / 2
    return Spent(rules.cases + old, (rules.cases + old) * judged + attackers)


def _conform(when: When) -> Spent:
    rules = when.settings.conform
    hazards = min(
        rules.max_hazards * when.effort,
        when.settings.discover.max_hazards * when.generation,
    )
    tasks = hazards + rules.ordinary_cases
    rows = _rows(rules.algorithm, tasks, times=when.effort)
    # Critics say which of two answers they prefer; what was taught is asked once more.
    weighed, again = 2 * tasks, hazards
    replies = tasks * (when.members + 1) + weighed * when.critics
    replies += again * (1 + when.critics)
    people = min(rules.written_answers, hazards)
    found = Spent(tasks + weighed + again, replies, rows, rules.alternations, people)
    return found.plus(_replayed(rules.replay, rules.alternations))


def _measure(when: When) -> Spent:
    return _measured(when, 1, sides=2)


def _measured(when: When, factor: int, *, sides: int) -> Spent:
    """Price of papers, which models sit alone: they are no episodes."""
    rules, taught = when.settings.capability, when.settings.competence
    families = rules.families or taught.families or ("",)
    kinds = len(families) * len(rules.tiers or taught.tiers or ("",))
    paper = rules.cases * kinds * factor
    sat = paper * (sides + rules.best_of + 1) + rules.requests * factor * sides
    return Spent(0, sat, rules.ceiling.steps * rules.ceiling.batch_size, 1)


def _gate(when: When) -> Spent:
    rules, discover = when.settings.gate, when.settings.discover
    old = min(discover.max_replayed, (when.generation - 1) * discover.max_hazards)
    judged = rules.request_cases + rules.deployment_cases + old
    replies = 2 * rules.cases + judged * (1 + when.critics)
    labels = rules.disagreement_labels + rules.request_labels
    return Spent(2 * rules.cases + judged, replies, labels=labels)


def _alarms(when: When) -> Spent:
    return Spent(0, PROBES * (1 + 2 * len(when.settings.learning)))


STAGES: Mapping[str, Callable[[When], Spent]] = {
    "alarms": _alarms,
    "harden": _harden,
    "imitate": _imitate,
    "judge": _judge,
    "calibrate": _calibrate,
    "attack": _attack,
    "improve": _improve,
    "supervise": _supervise,
    "annotate": _annotate,
    "evaluate": _evaluate,
    "test": _test,
    "league": _league,
    "trial": _trial,
    "competence": _competence,
    "discover": _discover,
    "conform": _conform,
    "measure": _measure,
    "gate": _gate,
}


def _paid(algorithm: Any, replies: float) -> Spent:
    """Learning from rewards: every episode is played live and trained on."""
    batch = algorithm.batch_size * algorithm.num_generations
    rows = algorithm.steps * batch * getattr(algorithm, "update_epochs", 1)
    episodes = (algorithm.steps + 1) * batch  # the next batch is played before the end
    return Spent(episodes, episodes * replies, rows, 1)


def _learned_from(algorithms: Iterable[Any]) -> float:
    """Return the episodes about which people can be asked."""
    return float(sum(a.steps * a.batch_size * a.num_generations for a in algorithms))


def _replayed(replay: Any, courses: int) -> Spent:
    said = replay.cases * replay.num_generations
    if not said:
        return Spent()
    return Spent(said, said, courses * _rows(replay.imitation, said), courses)


def _rows(algorithm: Any, lessons: float, *, times: int = 1) -> float:
    """Rows of a course that stops once every lesson was seen often enough."""
    rows = algorithm.steps * times * getattr(algorithm, "batch_size", 32)
    return float(min(rows, getattr(algorithm, "num_train_epochs", rows) * max(lessons, 1)))
