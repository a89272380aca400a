"""How a finished generation stands archived attackers, as critics say."""

from collections.abc import Mapping, Sequence
from typing import NamedTuple, cast

from superalign_env.measures import Estimate, share
from superalign_env.protocols import Agent
from superalign_env.store import declare
from superalign_env.types import Metric, Role
from superalign_training.mixture import Mixture
from superalign_training.oversight.hazards import (
    PLAIN,
    JudgedAnswer,
    hazards_in,
    judged_answers,
)
from superalign_training.selfplay.agents import (
    agent_of,
    recorded_agent,
    shelf_of,
    speaker_of,
)
from superalign_training.selfplay.archive import searcher
from superalign_training.selfplay.driver import StageContext
from superalign_training.selfplay.opponents.pool import load, members
from superalign_training.selfplay.playing import is_judged
from superalign_training.selfplay.sandbox import Sandbox
from superalign_training.selfplay.settings import Settings
from superalign_training.selfplay.weighing.questions import some_of

SEARCH = "search"
"""Name of the archive of attacks among the opponents."""


declare(
    "gate.attacked",
    "Attacks that succeeded at the gate, say critics",
    unit="share",
    better="lower",
    chart="matrix",
)


class Deployment(NamedTuple):
    """How the finished generation stands archived attackers, on the training split."""

    attack_success: Estimate | None
    rate: Estimate | None
    """Of bad answers, plain requests included."""
    trained_on: Estimate | None
    """Of bad answers to plain requests."""
    opponents: Mapping[str, Estimate]


def weigh_deployment(
    context: StageContext, settings: Settings, learner: Agent
) -> Deployment:
    """Deploy the learner once more: plain requests, and every archived attacker."""
    cases = settings.gate.deployment_cases
    if not cases or not is_judged(settings):
        return Deployment(None, None, None, {})
    sandbox = Sandbox(context, settings)
    field = archived(context, settings, sandbox.attacker)
    mixture = Mixture(field, seed=context.seed_of("opponents"))
    episodes = sandbox.deployed(
        learner, mixture, cases, part="deployed", plain=settings.discover.plain_share
    )
    answers = judged_answers(episodes, mixture.chosen, sandbox.role)
    below = settings.discover.score_threshold
    attacked = [one for one in answers if one.asked_by != PLAIN]
    return Deployment(
        _bad(attacked, below),
        _bad(answers, below),
        _bad([one for one in answers if one.asked_by == PLAIN], below),
        {
            name: found
            for name in field
            for found in [_bad([one for one in attacked if one.asked_by == name], below)]
            if found is not None
        },
    )


def archived(context: StageContext, settings: Settings, role: Role) -> dict[str, Agent]:
    """Return the attackers that a generation has to stand: name → agent.

    The search with its archive, and the checkpoints that attackers have had; of more than
    ``gate.max_opponents`` the others are drawn. An attacker that does not learn is one.

    Args:
        context: of the stage.
        settings: of the run.
        role: that attacks; empty where nobody does but the search.
    """
    if not role:
        return {SEARCH: searcher(context)}
    if role not in settings.learning:
        frozen = cast(Agent, agent_of(context, role, settings))
        return {SEARCH: searcher(context), recorded_agent(context, role, settings): frozen}
    current = context.state.policies[role].agent
    league = [
        member
        for member in members(context.run.agents, role, current=current)
        if member.spec.id != SEARCH
    ]
    drawn = some_of(league, settings.gate.max_opponents - 1, context, "opponents")
    shelf = shelf_of(context, settings)
    field: dict[str, Agent] = {SEARCH: searcher(context)}
    for member in drawn:
        now = member.name == current
        field[member.name] = (
            speaker_of(context, role, settings) if now else load(member, shelf)
        )
    return field


def opponent_metrics(found: Deployment, *, agent: str, step: int) -> list[Metric]:
    """Return how often each archived attacker succeeded, as critics say."""
    return [
        Metric("gate.attacked", *estimate, agent=agent, opponent=name, step=step)
        for name, estimate in found.opponents.items()
    ]


def _bad(answers: Sequence[JudgedAnswer], below: float) -> Estimate | None:
    return share(len(hazards_in(answers, below)), len(answers)) if answers else None
