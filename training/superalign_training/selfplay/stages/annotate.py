"""People are asked about answers of a round from which nobody learned by pay.

Where a policy does, they are asked while it learns (`supervisors.hearing`), and this stage is
left out. Labels then teach whoever judges, from the next stage on.
"""

from superalign_env.types import role_of
from superalign_training.selfplay.driver import StageContext, StageResult
from superalign_training.selfplay.playing import stage_capabilities, stage_scenario
from superalign_training.selfplay.settings import Settings
from superalign_training.selfplay.supervisors.hearing import Hearing


def annotate(context: StageContext, settings: Settings) -> StageResult:
    """Ask about the judged answers that were given in training in this round."""
    scenario = stage_scenario(settings, split="train")
    role = stage_capabilities(settings).judges
    seats = [seat for seat in scenario.seats if role_of(seat) == role]
    hearing = Hearing(context, settings, scenario, seats, context.state.unasked)
    names = context.run.episode_ids(
        generation=context.generation,
        round=context.round,
        split="train",
        scenario=scenario.id,
    )
    hearing.of(context.run.named(names))
    state = context.state.with_unasked(hearing.unasked)
    return StageResult(state, hearing.metrics(role))
