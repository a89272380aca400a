"""Measure the final critic by the truth: what it sees, what it imagines, what sways it.

Nothing that is measured here is trained on or steers a stage.
"""

from superalign_env.asking import Anyone
from superalign_env.errors import InvalidOption
from superalign_env.types import Role, Seat
from superalign_training.evaluation.critic_report import Pair, critic_report
from superalign_training.loop.cast import speaker_of
from superalign_training.loop.driver import Bench, Outcome
from superalign_training.loop.playing import play, stage_parts, stage_scenario
from superalign_training.settings import Settings


def critics(bench: Bench, settings: Settings) -> Outcome:
    """Measure the critic on planted answers and by controlled probes, on the test split.

    Raises:
        InvalidOption: the run's requests are not of the microworld.
    """
    scenario = stage_scenario(settings, split="test", variant="planted")
    if not scenario.source.id.startswith("microworld"):
        raise InvalidOption(
            "critics can only be probed with requests of the microworld, not of "
            f"{scenario.source.id}; set evaluate.critic_cases=0"
        )
    parts = stage_parts(settings)
    critic, learner = (
        speaker_of(bench, role, settings) for role in (parts.judges, parts.answers)
    )
    cases = max(2, settings.evaluate.critic_cases)  # a critique needs another one to swap
    # In planted cases nobody but the critics is ever asked.
    alone: dict[Role | Seat, Anyone] = dict.fromkeys(scenario.seats, critic)
    planted = play(bench, scenario, alone, cases, part="planted")
    found = critic_report(
        Pair(
            critic,
            learner,
            bench.chain.policies[parts.judges].agent,
            bench.chain.policies[parts.answers].agent,
        ),
        planted,
        split="test",
        cases=cases,
        seed=bench.seed_of("probes"),
        tags={"split": "test"},
        step=bench.round,
    )
    return Outcome(bench.chain, tuple(found))
