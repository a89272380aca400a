"""Playing: one episode (`play`), or many at once (`Rollouts`)."""

from superalign_env.rollout.play import play
from superalign_env.rollout.rollouts import Rollouts

__all__ = ["Rollouts", "play"]
