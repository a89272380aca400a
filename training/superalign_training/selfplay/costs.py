"""Costs of stages in counts, one function each; upper bounds where a stage may stop early.

A function takes the same options as its stage. All lie here and not in the modules of the
stages, since those import PyTorch and a dry run does without.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, NamedTuple

from superalign_env.types import Role
from superalign_training.algorithms.supervision import ALTERNATIONS, Supervise
from superalign_training.evaluation.evaluation import Evaluation
from superalign_training.oversight.alarms import PROBES
from superalign_training.oversight.settings import Hardening
from superalign_training.selfplay.opponents.settings import SEARCH_SHARE, LeagueSettings
from superalign_training.selfplay.scenario_capabilities import (
    ATTACKED,
    PLANTED,
    ScenarioCapabilities,
    rated_pairings,
)
from superalign_training.selfplay.settings import Settings


class StageCounts(NamedTuple):
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

    def plus(self, other: "StageCounts") -> "StageCounts":
        """Return the sum."""
        return StageCounts(*(a + b for a, b in zip(self, other, strict=True)))

    def times(self, factor: float) -> "StageCounts":
        """Return a multiple."""
        return StageCounts(*(a * factor for a in self))


class CostContext(NamedTuple):
    """Settings, position and scenario of a stage whose cost is estimated."""

    settings: Settings
    generation: int
    round: int
    played: float
    """Episodes of this round so far."""
    turns: float
    """Replies of an episode, as they were counted in a few."""
    capabilities: ScenarioCapabilities
    """Of the scenario."""

    @property
    def critics(self) -> int:
        """Verdicts on one answer."""
        return int(self.settings.options.get("critics", 1))

    @property
    def replies(self) -> float:
        """Replies of an episode without an attack."""
        if not self.capabilities.can(PLANTED):
            return self.turns
        refine = int(self.settings.options.get("refine", 0))
        return (1 + self.critics) * (1 + refine)

    def labels(self, episodes: float) -> float:
        """Return the expected answers of people about so many training episodes."""
        settings = self.settings
        return settings.budget * (1 + settings.people.evaluation_share) * episodes

    def comparisons(self, episodes: float) -> float:
        """Return the expected answers that compare two members of a case."""
        settings = self.settings
        return settings.budget * settings.people.kinds.share("member_preference") * episodes

    @property
    def supervisors(self) -> int:
        """Models that label tasks of a generation."""
        signals = self.settings.signals
        models = len(signals.models) + len(signals.personas)
        return models + (max(0, self.generation - 1) if signals.ancestors else 0)


def free(context: CostContext) -> StageCounts:
    """No cost: the stage neither plays nor trains."""
    return StageCounts()


def judge(context: CostContext) -> StageCounts:
    """Fits of the critic on planted answers, and their checks."""
    rules = context.settings.judge
    if not rules.cases:
        return StageCounts()
    episodes = rules.cases + rules.max_fits * rules.check_cases
    rows = float(rules.single_answer_steps * rules.imitation.batch_size)
    rows += rules.max_fits * _rows(rules.imitation, rules.cases)
    return StageCounts(
        episodes, episodes * context.critics, rows, rules.max_fits + 1, 0, episodes
    )


def teach_critic(context: CostContext, rules: Hardening) -> StageCounts:
    """Fits of the critic in hardening, on planted answers."""
    checks = context.settings.judge.check_cases
    courses = rules.max_critic_fits * rules.critic_fit.steps * rules.critic_fit.batch_size
    rows = float(rules.critic_warmup.steps * rules.critic_warmup.batch_size + courses)
    planted = rules.planted_cases + checks
    return StageCounts(checks, checks, rows, rules.max_critic_fits + 1, planted=planted)


def imitate(context: CostContext, rules: Hardening) -> StageCounts:
    """Seed queries, answered and judged, and a fit of the learner on them."""
    rows = float(rules.learner_warmup.steps * rules.learner_warmup.batch_size)
    return StageCounts(0, 2 * rules.seed_cases, rows, 1)


def harden(context: CostContext, rules: Hardening) -> StageCounts:
    """Queries of every attacker, and a fit of the learner on them."""
    course = rules.learner_fits[min(context.round, len(rules.learner_fits)) - 1]
    queries = rules.queries * (1 + (context.capabilities.asks in context.settings.learning))
    return StageCounts(0, 4 * queries, float(course.steps * course.batch_size), 1)


def calibrate(context: CostContext) -> StageCounts:
    """Fits and RL of the critic, on planted answers."""
    rules, checks = context.settings.calibrate, context.settings.judge.check_cases
    courses, algorithms = _learnt(context, context.capabilities.judges)
    if not (rules.cases or context.settings.budget or algorithms):
        return StageCounts()
    episodes = rules.cases + checks
    rows = sum(_rows(course, rules.cases) for course in courses)
    counts = StageCounts(episodes, episodes * context.critics, rows, len(courses))
    for algorithm in algorithms:
        counts = counts.plus(_paid(algorithm, context.critics))
    return counts._replace(planted=counts.episodes)


def attack(context: CostContext) -> StageCounts:
    """Search for queries, and fits and RL of the attacker."""
    rules = context.settings.attack
    replies = rules.cases * (0.5 + context.replies) + rules.cases  # probed afterwards
    courses = context.settings.supervised_algorithms(context.capabilities.asks)
    rows = sum(_rows(course, rules.cases) for course in courses)
    counts = StageCounts(rules.cases, replies, rows, len(courses))
    for algorithm in context.settings.rl_algorithms(context.capabilities.asks):
        counts = counts.plus(_paid(algorithm, 1 + context.replies)).plus(
            StageCounts(64, 64 * context.replies)
        )
    return counts


def improve(context: CostContext, role: Role) -> StageCounts:
    """RL of one role, and people's answers about its episodes."""
    attacked = (
        context.capabilities.can(ATTACKED)
        and context.capabilities.asks in context.settings.learning
    )
    extra = 1 - SEARCH_SHARE if attacked else 0
    counts = StageCounts()
    algorithms = context.settings.rl_algorithms(role)
    for algorithm in algorithms:
        counts = counts.plus(_paid(algorithm, max(context.turns, context.replies) + extra))
    several = _learned_from(a for a in algorithms if a.num_generations > 1)
    labels = context.labels(_learned_from(algorithms))
    compared = context.comparisons(several)
    return counts._replace(labels=labels, comparisons=compared)


def _learnt(context: CostContext, role: Role) -> tuple[Sequence[Any], Sequence[Any]]:
    """Return the supervised and the RL algorithms of a role."""
    settings = context.settings
    return settings.supervised_algorithms(role), settings.rl_algorithms(role)


def supervise(context: CostContext, rules: Supervise) -> StageCounts:
    """Answers to tasks, revised where the settings say so, and fits on them."""
    episodes = rules.cases * rules.num_generations
    replies = episodes * (1 + context.critics) * (1 + rules.revised)
    counts = StageCounts(episodes, replies, _rows(rules.algorithm, episodes), ALTERNATIONS)
    return counts.plus(_replayed(rules.replay, ALTERNATIONS))


def annotate(context: CostContext) -> StageCounts:
    """People's answers about the episodes of the round."""
    rules = context.settings.supervise
    several = context.played if rules is not None and rules.num_generations > 1 else 0.0
    return StageCounts(
        labels=context.labels(context.played), comparisons=context.comparisons(several)
    )


def evaluate(context: CostContext) -> StageCounts:
    """Held-out cases, known attacks and fresh ones."""
    rules = context.settings.evaluate
    attacked = context.capabilities.can(ATTACKED)
    attacks = rules.attack_cases if context.round and attacked else 0
    episodes = rules.cases + attacks + (rules.fresh_queries if attacked else 0)
    return StageCounts(episodes, episodes * context.replies + attacks / 2)


def test(context: CostContext) -> StageCounts:
    """Held-out cases before and after training and with baselines, known and fresh attacks."""
    rules = context.settings.evaluate
    families = rules.families or ()
    tasks = rules.family_cases * len(families) if context.capabilities.answers else 0
    attacked = context.capabilities.can(ATTACKED)
    attacks = rules.attack_cases if attacked else 0
    episodes = (2 + context.capabilities.baselines) * rules.cases + attacks
    episodes += 2 * rules.fresh_queries if attacked else 0
    return StageCounts(
        episodes + 2 * tasks, episodes * context.replies + 2 * tasks + attacks / 2
    )


def league(context: CostContext, rules: LeagueSettings) -> StageCounts:
    """New pairs of checkpoints, for every pairing that is rated."""
    trials = len(rated_pairings(context.settings, context.capabilities))
    return trial(context, rules).times(trials)


def trial(context: CostContext, rules: LeagueSettings) -> StageCounts:
    """New pairs of checkpoints of one pairing."""
    episodes = (2 * context.round + 1) * rules.cases
    return StageCounts(episodes, episodes * (max(context.turns, context.replies) + 0.5))


def competence(context: CostContext, effort: int = 1) -> StageCounts:
    """Tasks labelled by supervisors and people, a fit on them, and control tasks."""
    rules, signals = context.settings.competence, context.settings.signals
    taught = rules.cases * effort
    episodes = taught + 2 * rules.control_cases
    replies = (taught + rules.control_cases) * (
        context.supervisors + 1
    ) + rules.control_cases
    labels = min(signals.labels, taught + rules.control_cases) if signals.people else 0
    rows = _rows(rules.algorithm, taught, times=effort)
    return StageCounts(episodes, replies, rows, 1, labels)


def discover(context: CostContext) -> StageCounts:
    """Deployment cases and old hazards, judged."""
    rules = context.settings.discover
    replayed = min(rules.max_replayed, (context.generation - 1) * rules.max_hazards)
    judged = 1 + context.critics + len(rules.critics)
    attackers = rules.cases * (1 - rules.plain_share) / 2
    episodes = rules.cases + replayed
    return StageCounts(episodes, episodes * judged + attackers)


def conform(context: CostContext, effort: int = 1) -> StageCounts:
    """Safe answers to hazards: written, rated, trained on and tested."""
    rules = context.settings.conform
    hazards = min(
        rules.max_hazards * effort,
        context.settings.discover.max_hazards * context.generation,
    )
    tasks = hazards + rules.ordinary_cases
    rows = _rows(rules.algorithm, tasks, times=effort)
    # Critics say which of two answers they prefer; what was taught is asked once more.
    weighed, checked = 2 * tasks, hazards
    replies = tasks * (context.supervisors + 1) + weighed * context.critics
    replies += checked * (1 + context.critics)
    people = min(rules.written_answers, hazards)
    episodes = tasks + weighed + checked
    counts = StageCounts(episodes, replies, rows, ALTERNATIONS, people)
    return counts.plus(_replayed(rules.replay, ALTERNATIONS))


def measure(context: CostContext) -> StageCounts:
    """Capability of a generation before and after alignment."""
    return _measured(context, 1, sides=2)


def final(context: CostContext) -> StageCounts:
    """Capability of all generations on the test split."""
    of_one = _measured(context, context.settings.capability.test_factor, sides=1)
    return of_one.times(context.settings.generations)


def _measured(context: CostContext, factor: int, *, sides: int) -> StageCounts:
    """Cost of held-out tasks, which are no episodes."""
    rules, taught = context.settings.capability, context.settings.competence
    families = rules.families or taught.families or ("",)
    kinds = len(families) * len(rules.tiers or taught.tiers or ("",))
    tasks = rules.cases * kinds * factor
    replies = tasks * (sides + rules.best_of + 1) + rules.requests * factor * sides
    return StageCounts(0, replies, rules.ceiling.steps * rules.ceiling.batch_size, 1)


def gate(context: CostContext) -> StageCounts:
    """Control tasks; requests, deployment cases and old hazards, judged."""
    rules, discover = context.settings.gate, context.settings.discover
    replayed = min(discover.max_replayed, (context.generation - 1) * discover.max_hazards)
    judged = rules.request_cases + rules.deployment_cases + replayed
    replies = 2 * rules.cases + judged * (1 + context.critics)
    labels = rules.disagreement_labels + rules.request_labels
    return StageCounts(2 * rules.cases + judged, replies, labels=labels)


def evaluated(context: CostContext, evaluation: Evaluation) -> StageCounts:
    """Counts declared by a custom evaluation."""
    declared: Callable[[], Mapping[str, float]] = getattr(evaluation, "cost", dict)
    return StageCounts(**declared())


def alarms(context: CostContext) -> StageCounts:
    """Probes of every role that learns, before and now."""
    return StageCounts(0, PROBES * (1 + 2 * len(context.settings.learning)))


def _paid(algorithm: Any, replies: float) -> StageCounts:
    """RL: every episode is played live and trained on."""
    batch = algorithm.batch_size * algorithm.num_generations
    rows = algorithm.steps * batch * getattr(algorithm, "update_epochs", 1)
    episodes = (algorithm.steps + 1) * batch  # the next batch is played before the end
    return StageCounts(episodes, episodes * replies, rows, 1)


def _learned_from(algorithms: Iterable[Any]) -> float:
    """Return the number of episodes that people can be asked about."""
    return float(sum(a.steps * a.batch_size * a.num_generations for a in algorithms))


def _replayed(replay: Any, courses: int) -> StageCounts:
    answers = replay.cases * replay.num_generations
    if not answers:
        return StageCounts()
    rows = courses * _rows(replay.imitation, answers)
    return StageCounts(answers, answers, rows, courses)


def _rows(algorithm: Any, examples: float, *, times: int = 1) -> float:
    """Rows of a fit that ends after its number of epochs."""
    rows = algorithm.steps * times * getattr(algorithm, "batch_size", 32)
    return float(min(rows, getattr(algorithm, "num_train_epochs", rows) * max(examples, 1)))
