"""People are asked about answers of a round from which nobody learned by pay.

Where a policy does, they are asked while it learns (`supervisors.hearing`), and this stage is
left out. Labels then teach whoever judges, from the next stage on.
"""

from superalign_env.types import role_of
from superalign_training.loop.driver import Bench, Outcome
from superalign_training.loop.playing import stage_parts, stage_scenario
from superalign_training.loop.supervisors.hearing import Hearing
from superalign_training.settings import Settings


def annotate(bench: Bench, settings: Settings) -> Outcome:
    """Ask about the judged answers that were given in training in this round."""
    scenario = stage_scenario(settings, split="train")
    role = stage_parts(settings).judges
    seats = [seat for seat in scenario.seats if role_of(seat) == role]
    hearing = Hearing(bench, settings, scenario, seats, bench.chain.unasked)
    names = bench.run.episode_ids(
        generation=bench.generation, round=bench.round, split="train", scenario=scenario.id
    )
    hearing.of(bench.run.named(names))
    chain = bench.chain.with_unasked(hearing.unasked)
    return Outcome(chain, hearing.metrics(role))
