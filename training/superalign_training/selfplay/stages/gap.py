"""Stage gap: choose the level of a generation and start it from a fresh policy.

The controller sees what may be known of earlier generations without the truth. What people
approved since is done first: an accepted generation may have been taken back. Nothing is
trained here.
"""

from superalign_env.store import declare
from superalign_env.types import Metric
from superalign_training.gap.controller import GenerationStats
from superalign_training.selfplay.agents import keep_policy, level_policy
from superalign_training.selfplay.corrections import apply_decisions
from superalign_training.selfplay.driver import StageContext, StageResult
from superalign_training.selfplay.settings import Settings

declare("gap.steps", "Steps up the ladder")


def gap(context: StageContext, settings: Settings) -> StageResult:
    """Choose the level of the next generation and seat a fresh policy of it."""
    state = apply_decisions(context)
    level = settings.gap.choose(
        state.history, levels=len(settings.levels), generations=settings.generations
    )
    level_before = state.aligned[-1].level if state.aligned else -1
    state = state.begun(GenerationStats(generation=context.generation, level=level))
    policy = level_policy(level, settings, context.models)
    state = keep_policy(context, state, state.generation_role, policy, side="-", parent="")
    agent = state.current.agent
    metric = Metric(
        "gap.steps",
        float(level - level_before),
        agent=agent,
        tags={"controller": settings.gap.id, "level": str(level)},
        step=context.generation,
    )
    notes = {"level": level, "reference": policy.reference, "oracle": settings.gap.oracle}
    return StageResult(state, (metric,), notes)
