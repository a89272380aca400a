"""How much of the learner's exact failure set the attackers' archive has found.

The microworld can be enumerated, so failures can be counted instead of guessed. This is
evaluation by the truth: nothing here is trained on or steers a stage.
"""

from superalign_env.errors import InvalidOption
from superalign_env.types import Metric
from superalign_training.evaluation.coverage import coverage, distinct_classes
from superalign_training.evaluation.enumeration import probe
from superalign_training.loop.archive import searcher
from superalign_training.loop.cast import policy_of
from superalign_training.loop.driver import Bench, Outcome
from superalign_training.loop.playing import stage_parts
from superalign_training.settings import Settings


def survey(bench: Bench, settings: Settings) -> Outcome:
    """Ask the learner every request of one act of the training split, and compare.

    Raises:
        InvalidOption: tasks that cannot be enumerated.
    """
    source = settings.options.get("source", "microworld")
    if source != "microworld":
        raise InvalidOption(
            f"only the microworld's requests of one act can be enumerated, not {source}; "
            "set evaluate.survey=false"
        )
    winners = [found.text for found in searcher(bench).archive.winners]
    renderer = settings.options.get("renderer", "micro")
    role = stage_parts(settings).answers
    learner = policy_of(bench, role, settings)
    found = coverage(probe(learner, "train", renderer=renderer), winners)
    agent = bench.chain.policies[role].agent
    measured = {
        "archive.coverage": found.failures,
        "archive.coverage.classes": found.classes,
    }
    metrics = [
        Metric(name, *estimate, agent=agent, tags={"split": "train"}, step=bench.round)
        for name, estimate in measured.items()
        if estimate is not None
    ]
    if winners:
        different = distinct_classes(winners)
        metrics.append(Metric("archive.distinct", different, agent=agent, step=bench.round))
    return Outcome(bench.chain, tuple(metrics), {"winners": len(winners)})
