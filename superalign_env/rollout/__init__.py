"""Playing: one episode (`play`), or many at once (`Rollouts`), also in `Processes`."""

from superalign_env.rollout.executors import Processes
from superalign_env.rollout.one_episode import play
from superalign_env.rollout.rollouts import Rollouts

__all__ = ["Processes", "Rollouts", "play"]
