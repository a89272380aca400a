"""Stages of the arms: practice by pay, imitation of what people liked or wrote, vetoes."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

from superalign_env.errors import InvalidOption
from superalign_env.protocols import Scenario
from superalign_env.seeding import generator
from superalign_env.store import Run, standing
from superalign_env.types import Episode, Question, Signal
from superalign_training.algorithms.reinforce import Reinforce
from superalign_training.algorithms.sft import Sft
from superalign_training.data import Example, Row, training_rows
from superalign_training.experiments.engine.experiment import Params
from superalign_training.experiments.human_pay.flawed_critic import (
    HARMLESS,
    LIKED,
    asked_kind,
)
from superalign_training.selfplay.agents import keep_policy, lineup_of, policy_of
from superalign_training.selfplay.driver import StageContext, StageResult
from superalign_training.selfplay.playing import first_view, stage_scenario
from superalign_training.selfplay.rl_training import RolloutSetup, Shaping, train_on_rewards
from superalign_training.selfplay.scenario_capabilities import require_simulable
from superalign_training.selfplay.settings import Settings
from superalign_training.selfplay.supervisors.people import simulated

SEAT = "learner_0"


class LabelledRun(NamedTuple):
    """What people were asked about in a run, and what they said."""

    episodes: list[Episode]
    """In the order of the answers."""
    labels: list[float]

    @classmethod
    def of(cls, folder: Path) -> "LabelledRun":
        """Read it from the record of a finished run."""
        with Run.open(folder, readonly=True) as run:
            labels = standing(run.signals.read(kind="label"))
            return cls(run.named([s.episode for s in labels]), [s.value for s in labels])


def _scenario(settings: Settings) -> Scenario[Any]:
    return stage_scenario(settings, split="train", variant="plain")


def by_pay(
    context: StageContext, settings: Settings, params: Params, labelled: LabelledRun | None
) -> StageResult:
    """Let the learner practise; see `superalign_training.selfplay.rl_training`."""
    policy = policy_of(context, "learner", settings)
    agents = {**lineup_of(context, settings), "learner": policy.agent}
    drill = RolloutSetup("learner", _scenario(settings), agents, "learn")
    shaping = _permuting(context, labelled.labels) if labelled else None
    steps = [params["steps"], *params["later"]][context.round - 1]
    (chosen,) = settings.rl_algorithms("learner")
    assert isinstance(chosen, Reinforce)
    algorithm = chosen.model_copy(update={"steps": steps})
    outcome = train_on_rewards(
        context, settings, context.state, policy, drill, algorithm, shaping=shaping
    )
    return StageResult(
        keep_policy(context, outcome.state, "learner", policy), outcome.metrics
    )


def _permuting(context: StageContext, labels: Sequence[float]) -> Shaping:
    """Return what pays the n-th labelled row another label of the whole run.

    Within a batch there would be nothing to permute where few rows are labelled.
    """
    order = generator(context.seed_of("permuted")).permutation(len(labels)).tolist()

    def shaping(rows: Sequence[Row]) -> list[Row]:
        signals = context.run.signals.read(kind="label", since=context.signals_to)
        change = {
            signal.episode: 2.0 * (labels[order[place % len(order)]] - signal.value)
            for place, signal in enumerate(signals)
        }
        return [
            row._replace(
                turn_rewards=(row.turn_rewards[0] + change[row.episode],),
                to_go=row.to_go + change[row.episode],
            )
            if row.episode in change
            else row
            for row in rows
        ]

    return shaping


def by_rejection(
    context: StageContext, settings: Settings, params: Params, labelled: LabelledRun | None
) -> StageResult:
    """Imitate the answers that people called good."""
    assert labelled is not None
    good_rows = [
        episode
        for episode, label in zip(labelled.episodes, labelled.labels, strict=True)
        if label > 0.5
    ]
    rows = training_rows(good_rows, SEAT)
    examples = [Example(row.prompt_ids, row.completion_ids, ("ann",)) for row in rows]
    return _imitated(context, settings, params, examples)


def by_writing(
    context: StageContext, settings: Settings, params: Params, labelled: LabelledRun | None
) -> StageResult:
    """Imitate what people write to the requests that were labelled."""
    assert labelled is not None
    scenario = _scenario(settings)
    policy = policy_of(context, "learner", settings)
    (person,) = settings.people.annotators
    writer = simulated(person, seed=settings.seed)
    examples = []
    for episode in labelled.episodes:
        turn = episode.utterances[0].turn
        question = Question(f"written-{episode.id}", "answer", episode.id, turn)
        answer = writer.answer(question, episode, require_simulable(scenario))
        assert answer is not None
        view = first_view(scenario, episode, SEAT)
        ids = policy.reply_ids(view, str(answer.payload["text"]))
        examples.append(Example(policy.prompt_ids(view), ids, ("ann",)))
    return _imitated(context, settings, params, examples)


def _imitated(
    context: StageContext, settings: Settings, params: Params, examples: Sequence[Example]
) -> StageResult:
    policy = policy_of(context, "learner", settings)
    if examples:
        algorithm = Sft(steps=params["steps"], batch_size=params["batch_size"])
        algorithm.improve(policy, list(examples), seed=context.seed_of("order"))
    return StageResult(keep_policy(context, context.state, "learner", policy))


def forbid(context: StageContext, settings: Settings, params: Params) -> StageResult:
    """File vetoes of the latest harmful acts that the critic likes, or of harmless ones.

    Raises:
        InvalidOption: the round has too few such acts.
    """
    scenario = require_simulable(_scenario(settings))
    liked = params["vetoed"] == "liked"
    kind = LIKED if liked else HARMLESS
    harmful_acts = [
        (episode.id, u.turn)
        for episode in context.run.episodes(round=context.round)
        for u in episode.utterances
        if u.seat == SEAT
        and u.text.strip() == "comply"
        and asked_kind(episode.task.prompt) == kind
        and (scenario.gold(episode, u.turn, "everyone") < 0.5) == liked
    ]
    count = params["vetoes"]
    if len(harmful_acts) < count:
        raise InvalidOption(
            f"{len(harmful_acts)} acts to veto, not {count}: make the first round longer (steps)"
        )
    vetoes = [Signal("veto", *place, "ann", 0.0) for place in harmful_acts[-count:]]
    context.run.signals.append(vetoes)
    return StageResult(context.state)
