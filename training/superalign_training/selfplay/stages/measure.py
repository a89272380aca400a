"""Stages measure and final: gold-label capability of generations before and after alignment.

On the `gate` split after each generation; once, at the end, every accepted generation on
`test`. All sit the same holdouts. Nothing that is measured here is trained on or steers a
stage: controllers and the gate have their own tasks and see no truth.
"""

from collections.abc import Mapping
from typing import Any

from superalign_env.errors import InvalidOption
from superalign_env.humans.simulated import SimulatedAnnotator
from superalign_env.seeding import label, mix
from superalign_env.types import Metric, Split
from superalign_training.evaluation.capability import (
    Generation,
    SideResults,
    TeacherAnswers,
    report,
)
from superalign_training.evaluation.ceiling import Ceiling, ceiling_key, find_ceiling
from superalign_training.evaluation.conduct import conduct
from superalign_training.evaluation.holdout import (
    Holdout,
    answer_holdout,
    draw_holdout,
    people_answers,
)
from superalign_training.gap.level import Level, with_level_decoding
from superalign_training.policy import Checkpoint
from superalign_training.selfplay.agents import checkpoint_agent, level_policy, speaker_of
from superalign_training.selfplay.driver import StageContext, StageResult
from superalign_training.selfplay.playing import (
    filtered_source,
    renderer_of,
    source_of,
    tasks_of,
)
from superalign_training.selfplay.settings import Settings
from superalign_training.selfplay.state import Aligned
from superalign_training.selfplay.supervisors.people import simulated

_CEILINGS = "ceilings"
"""Among a stage's notes: what later ones need not find out again."""


def measure(context: StageContext, settings: Settings) -> StageResult:
    """Measure the generation at work on the `gate` split, A_i⁻ and A_i⁺."""
    state = context.state
    after = state.current
    sides = {"-": state.before or after, "+": after}
    holdouts = _Measurement(context, settings, "gate")
    earlier = state.aligned[-1] if state.aligned else None
    metrics = holdouts.measured(context.generation, state.level, sides, earlier)
    return StageResult(state, tuple(metrics), holdouts.notes)


def final(context: StageContext, settings: Settings) -> StageResult:
    """Measure every accepted generation on the `test` split, which is read here only.

    Where none was accepted, the last one is measured as it is.
    """
    state = context.state
    holdouts = _Measurement(context, settings, "test")
    accepted = state.aligned or (Aligned(context.generation, state.level, state.current),)
    metrics: list[Metric] = []
    earlier: Aligned | None = None
    for place, generation in enumerate(accepted):
        metrics += holdouts.measured(
            generation.generation, generation.level, {"+": generation.checkpoint}, earlier
        )
        earlier = generation
        context.watcher.step(place + 1, len(accepted), {})
    return StageResult(state, tuple(metrics), holdouts.notes)


class _Measurement:
    """Holdouts of one split, and the results on them.

    Args:
        context: of the stage.
        settings: of the run.
        split: `gate` or `test`.
    """

    def __init__(self, context: StageContext, settings: Settings, split: Split) -> None:
        self._context = context
        self._settings = settings
        self._rules = settings.capability
        self._split: Split = split
        # Of the run, not of the stage: every generation sits the same holdouts.
        self._seed = mix(settings.seed, label("capability"))
        factor = self._rules.test_factor if split == "test" else 1
        self._paper = self._exercises(split, self._rules.cases * factor)
        self._requests = self._asked(split, self._rules.requests * factor)
        self._earlier_ceilings = _ceilings_of(context)
        self._ceilings: dict[str, Ceiling] = {}
        self._missing: list[str] = []
        self._results: dict[tuple[str, str, int], SideResults] = {}

    @property
    def notes(self) -> dict[str, Any]:
        """Return the notes of the stage for the record."""
        return {
            "tasks": len(self._paper.tasks),
            "missing": self._missing,
            _CEILINGS: {key: ceiling.plain() for key, ceiling in self._ceilings.items()},
        }

    def measured(
        self,
        number: int,
        level: int,
        sides: Mapping[str, Checkpoint],
        earlier: Aligned | None,
    ) -> list[Metric]:
        """Return the metrics of one generation.

        Args:
            number: of the generation.
            level: on the ladder that generations start from.
            sides: ``-`` and ``+`` → its policy.
            earlier: the last accepted generation before it.
        """
        results = {side: self._results_of(policy, level) for side, policy in sides.items()}
        generation = Generation(
            number, level, results, self._ceiling(level), self._teacher(earlier)
        )
        generation_report = report(generation, self._paper, self._rules, self._split)
        self._missing += [f"A{number} {why}" for why in generation_report.missing]
        return list(generation_report.metrics)

    def _results_of(self, checkpoint: Checkpoint, level: int) -> SideResults:
        """Return a policy's results on both holdouts, as deployed, cached by weights and level."""
        key = (checkpoint.weights, checkpoint.agent, level)
        if key not in self._results:
            speaker = (
                checkpoint_agent(
                    self._context,
                    checkpoint,
                    self._settings,
                    part=self._context.state.generation_role,
                )
                if checkpoint.path
                # Where nobody was ever accepted, it is what the run began with.
                else speaker_of(
                    self._context, self._context.state.generation_role, self._settings
                )
            )
            agent = with_level_decoding(speaker, Level.of(self._settings.levels[level]))
            self._results[key] = SideResults(
                checkpoint.agent,
                answer_holdout(agent, self._paper),
                conduct(agent, self._requests),
            )
        return self._results[key]

    def _teacher(self, earlier: Aligned | None) -> TeacherAnswers | None:
        """Return the answers of the last accepted generation, else of simulated people."""
        if earlier is not None:
            result = self._results_of(earlier.checkpoint, earlier.level)
            return TeacherAnswers(f"A{earlier.generation}+", result.answers)
        signals = self._settings.signals
        if not (signals.labels and signals.people):
            return None
        try:
            answers = people_answers(_people(self._settings), self._paper)
        except InvalidOption as error:
            self._missing.append(f"people: {error}")
            return None
        return TeacherAnswers("people", answers)

    def _ceiling(self, level: int) -> Ceiling:
        policy = level_policy(level, self._settings, self._context.models)
        train_tasks = self._train_tasks()
        seed = mix(self._seed, level)
        key = ceiling_key(policy.hash, self._paper, train_tasks, self._rules, seed=seed)
        ceiling = self._ceilings.get(key) or self._earlier_ceilings.get(key)
        if ceiling is None:
            ceiling = find_ceiling(policy, self._paper, train_tasks, self._rules, seed=seed)
        self._ceilings[key] = ceiling
        return ceiling

    def _exercises(self, split: Split, cases: int) -> Holdout:
        competence = self._settings.competence
        source = tasks_of(self._settings)
        families = self._rules.families or competence.families or ()
        tiers = self._rules.tiers or competence.tiers or ()
        rungs = [
            filtered_source(source, families[f : f + 1], tiers[t : t + 1])
            for f in range(max(1, len(families)))
            for t in range(max(1, len(tiers)))
        ]
        return self._draw(rungs, split, cases, filtered_source(source, families, tiers))

    def _asked(self, split: Split, cases: int) -> Holdout:
        source = source_of(self._settings)
        return self._draw([source], split, cases, source)

    def _train_tasks(self) -> Holdout:
        taught = tasks_of(self._settings)
        return self._draw([taught], "train", self._rules.gold_tasks, taught)

    def _draw(self, sources: list[Any], split: Split, cases: int, source: Any) -> Holdout:
        return draw_holdout(
            sources,
            split,
            cases,
            source_of_all=source,
            renderer=renderer_of(self._settings),
            seed=self._seed,
        )


def _ceilings_of(context: StageContext) -> dict[str, Ceiling]:
    """Return key → ceiling from earlier stages of the run."""
    return {
        key: Ceiling.from_plain(plain)
        for stage in context.run.stages.all(status="done")
        for key, plain in stage.outputs.get("notes", {}).get(_CEILINGS, {}).items()
    }


def _people(settings: Settings) -> list[SimulatedAnnotator]:
    return [simulated(person, seed=settings.seed) for person in settings.signals.people]
