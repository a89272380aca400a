"""A generation begins: a controller says from which level, and a fresh policy of it enters.

The controller sees what may be known of earlier generations without the truth. What people
approved since is done first: an accepted generation may have been taken back. Nothing is
trained here.
"""

from superalign_env.store import declare
from superalign_env.types import Metric
from superalign_training.gap.controller import GenerationStats
from superalign_training.loop.cast import keep_policy, level_policy
from superalign_training.loop.driver import Bench, Outcome
from superalign_training.loop.weighing.corrections import settled
from superalign_training.settings import Settings

declare("gap.steps", "Steps up the ladder")


def gap(bench: Bench, settings: Settings) -> Outcome:
    """Choose the level of the next generation and seat a fresh policy of it."""
    chain = settled(bench)
    level = settings.gap.choose(
        chain.sights, levels=len(settings.levels), generations=settings.generations
    )
    last = chain.aligned[-1].level if chain.aligned else -1
    chain = chain.begun(GenerationStats(generation=bench.generation, level=level))
    policy = level_policy(level, settings, bench.residents)
    chain = keep_policy(bench, chain, chain.raised, policy, side="-", parent="")
    agent = chain.current.agent
    metric = Metric(
        "gap.steps",
        float(level - last),
        agent=agent,
        tags={"controller": settings.gap.id, "level": str(level)},
        step=bench.generation,
    )
    notes = {"level": level, "reference": policy.reference, "oracle": settings.gap.oracle}
    return Outcome(chain, (metric,), notes)
