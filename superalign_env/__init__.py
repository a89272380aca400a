"""A laboratory for superalignment: text games, hidden truth, recorded words.

::

    import superalign_env

    env = superalign_env.env("red-team")
    episode = superalign_env.play(env, {"attacker_0": …, "learner_0": …, "critic_0": …})
"""

from superalign_env import ctrl_c as _ctrl_c  # noqa: F401 - before all others  # isort: split
from superalign_env.envs import (
    agents,
    env,
    one_seat_env,
    parallel_env,
    raw_env,
    scenarios,
)
from superalign_env.envs import (
    register_everywhere as _register_everywhere,
)
from superalign_env.lookup import make_scenario
from superalign_env.rollout import Processes, Rollouts, play
from superalign_env.seating import as_agent

__version__ = "0.1.0"

__all__ = [
    "Processes",
    "Rollouts",
    "agents",
    "as_agent",
    "env",
    "make_scenario",
    "one_seat_env",
    "parallel_env",
    "play",
    "raw_env",
    "scenarios",
]

_register_everywhere()
