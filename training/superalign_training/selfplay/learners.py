"""Self-improving learners, untrained and from the run state."""

from superalign_env.errors import RecordDamaged
from superalign_env.seeding import label, mix
from superalign_env.types import Role
from superalign_training.policy.learner_policy import LearnerPolicy
from superalign_training.selfplay.driver import StageContext
from superalign_training.selfplay.model_cache import ModelCache
from superalign_training.selfplay.settings import Settings


def learner_of(context: StageContext, role: Role, settings: Settings) -> LearnerPolicy:
    """Return the learner of a role from the run state.

    Raises:
        RecordDamaged: its checkpoint is missing or was altered, or it begins otherwise now.
    """
    checkpoint = context.state.policies[role]
    untrained = first_learner(role, settings, context.models)
    if checkpoint.path:
        return LearnerPolicy.load(
            context.run.path / checkpoint.path, checkpoint, untrained.learner
        )
    if untrained.hash != checkpoint.weights:
        raise RecordDamaged(changed_start_message(untrained))
    return untrained


def first_learner(role: Role, settings: Settings, models: ModelCache) -> LearnerPolicy:
    """Return the untrained learner of a role.

    Raises:
        InvalidOption: whoever holds the role does not improve itself.
    """
    reference, algorithm = (
        settings.reference(role),
        settings.own(trained_role(role, settings)),
    )
    assert algorithm is not None
    learner = algorithm.learner(
        {"id": reference} if isinstance(reference, str) else reference,
        lambda: models.fresh(reference, device=settings.device),
        seed=mix(settings.seed, label(f"learner-{settings.holder(role)}")),
    )
    name = reference if isinstance(reference, str) else str(reference.get("id"))
    return LearnerPolicy(learner, reference=name)


def trained_role(role: Role, settings: Settings) -> Role:
    """Return the role whose algorithms train the policy of a role."""
    holder = settings.holder(role)
    sharing = [name for name in settings.learning if settings.holder(name) == holder]
    return sharing[0] if sharing else role


def changed_start_message(learner: LearnerPolicy) -> str:
    """Return the error message for a learner that starts otherwise than before."""
    return (
        f"{learner.name} begins otherwise than when this run began; let it begin the same "
        "whenever it is made (seed its random numbers), or start a new run"
    )
