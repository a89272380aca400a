"""Contract check of evaluations."""

import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pydantic import BaseModel
from transformers.utils.logging import disable_progress_bar

from superalign_agents.checkpoints import weights_hash
from superalign_env.canonical import from_json, to_json
from superalign_env.errors import InvalidOption, NotReproducible, ProtocolError
from superalign_env.store import Run
from superalign_env.types import Metric, Role
from superalign_training.evaluation.evaluation import (
    Evaluation,
    check_fits,
    make_evaluation,
)
from superalign_training.selfplay.agents import first_policies, lineup_of
from superalign_training.selfplay.driver import (
    PlannedStage,
    StageContext,
    StageResult,
    drive,
)
from superalign_training.selfplay.lineup import AgentReference
from superalign_training.selfplay.model_cache import ModelCache
from superalign_training.selfplay.playing import stage_scenario
from superalign_training.selfplay.settings import Settings, read_settings
from superalign_training.selfplay.stages.own_evaluations import evaluated
from superalign_training.selfplay.state import first_state
from superalign_training.selfplay.watching import Silent

_TINY = {"lineup": dict.fromkeys(("attacker", "learner", "critic"), "micro/0")}


def check_evaluation(
    evaluation: Evaluation,
    *,
    scenario: str = "red-team",
    options: Mapping[str, Any] | None = None,
    lineup: Mapping[Role, AgentReference] | None = None,
    train: Mapping[Role, Any] | None = None,
) -> None:
    """Check that an evaluation keeps the contract of `Evaluation`, on tiny policies.

    It is called twice, in two runs alike: it measures something, the numbers are finite and
    the same both times, and no weight of the lineup has changed. Its settings are made
    again from the record.

    Args:
        evaluation: with few cases.
        scenario: of the runs, in which it can measure.
        options: of the scenario.
        lineup: role → who holds it; three tiny policies in red-team when absent.
        train: role → algorithm; the scenario's preset when absent.

    Raises:
        ProtocolError: it breaks its contract.
        NotReproducible: two runs alike gave other numbers.
    """
    try:
        checked = make_evaluation(evaluation)
        plain = {"scenario": scenario, "options": dict(options or {}), "rounds": 1}
        plain |= {"lineup": dict(lineup)} if lineup else _TINY
        settings = read_settings({**plain, "train": dict(train or {})})
        check_fits(checked, stage_scenario(settings, split="gate"))
    except InvalidOption as error:
        raise ProtocolError(str(error)) from error
    _check_settings(checked)
    # Writing weights takes milliseconds and would draw a bar each time.
    disable_progress_bar()  # type: ignore[no-untyped-call] # theirs
    with tempfile.TemporaryDirectory() as folder:
        measured, again = (
            _measured(checked, settings, Path(folder) / n) for n in ("1", "2")
        )
    if not measured:
        raise ProtocolError(f"{checked.id} measured nothing; return at least one Metric")
    if measured != again:
        raise NotReproducible(
            f"{checked.id} gave other numbers in a second run alike; draw all randomness from "
            "context.seed(part), and keep nothing from one call to the next"
        )


def _check_settings(evaluation: Evaluation) -> None:
    """Check that the recorded settings make the same evaluation again."""
    untyped: Any = evaluation
    if not isinstance(untyped, BaseModel):
        if vars(evaluation):
            raise ProtocolError(
                f"the settings of {evaluation.id} ({', '.join(vars(evaluation))}) would not "
                "be recorded; derive it from superalign_training.sections.Section"
            )
        return
    plain = untyped.model_dump(mode="json")
    if type(untyped).model_validate(from_json(to_json(plain), dict[str, Any])) != untyped:
        raise ProtocolError(
            f"the settings of {evaluation.id} change on a trip through JSON: {plain}"
        )


def _measured(evaluation: Evaluation, settings: Settings, folder: Path) -> list[Metric]:
    models = ModelCache()
    policies = first_policies(settings, models)
    metrics: list[Metric] = []

    def stage(context: StageContext) -> StageResult:
        before = _weights(context, settings)
        try:
            outcome = evaluated(context, settings, evaluation)
        except InvalidOption as error:
            raise ProtocolError(str(error)) from error
        if _weights(context, settings) != before:
            raise ProtocolError(
                f"{evaluation.id} changed the weights of who is measured; an evaluation only "
                "asks and counts"
            )
        metrics.extend(outcome.metrics)
        return outcome

    config = settings.model_dump(mode="json")
    with Run.create(folder, kind="train", config=config, seed=1) as run:
        drive(
            run,
            [PlannedStage("evaluation", stage, 1)],
            first_state=lambda: first_state(run, policies),
            watcher=Silent(),
            models=models,
        )
    return metrics


def _weights(context: StageContext, settings: Settings) -> dict[str, str]:
    """Return the content hash of every model of the lineup."""
    models = {
        name: getattr(agent, "model", None)
        for name, agent in lineup_of(context, settings).items()
    }
    return {
        name: weights_hash(model) for name, model in models.items() if model is not None
    }
