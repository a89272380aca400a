"""Learners that improve themselves: as they begin, and as the run state has them."""

from superalign_env.errors import RecordDamaged
from superalign_env.seeding import label, mix
from superalign_env.types import Role
from superalign_training.policy.learner_policy import LearnerPolicy
from superalign_training.selfplay.driver import StageContext
from superalign_training.selfplay.model_cache import ModelCache
from superalign_training.selfplay.settings import Settings


def learner_of(context: StageContext, role: Role, settings: Settings) -> LearnerPolicy:
    """Return the learner of a role as the run state has it.

    Raises:
        RecordDamaged: its checkpoint is missing or was altered, or it begins otherwise now.
    """
    found = context.state.policies[role]
    fresh = first_learner(role, settings, context.models)
    if found.path:
        return LearnerPolicy.load(context.run.path / found.path, found, fresh.learner)
    if fresh.hash != found.weights:
        raise RecordDamaged(other_start(fresh))
    return fresh


def first_learner(role: Role, settings: Settings, models: ModelCache) -> LearnerPolicy:
    """Return the learner of a role as it is before any training.

    Raises:
        InvalidOption: whoever holds the role does not improve itself.
    """
    given, own = settings.reference(role), settings.own(trained_role(role, settings))
    assert own is not None
    learner = own.learner(
        {"id": given} if isinstance(given, str) else given,
        lambda: models.fresh(given, device=settings.device),
        seed=mix(settings.seed, label(f"learner-{settings.holder(role)}")),
    )
    name = given if isinstance(given, str) else str(given.get("id"))
    return LearnerPolicy(learner, reference=name)


def trained_role(role: Role, settings: Settings) -> Role:
    """Return the role by whose algorithms the holder of a role learns."""
    holder = settings.holder(role)
    sharing = [name for name in settings.learning if settings.holder(name) == holder]
    return sharing[0] if sharing else role


def other_start(fresh: LearnerPolicy) -> str:
    """Return what to say of a learner that is not the one that a run began with."""
    return (
        f"{fresh.name} begins otherwise than when this run began; let it begin the same "
        "whenever it is made (seed its random numbers), or start a new run"
    )
