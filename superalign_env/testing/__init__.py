"""Checks for those who write agents, scenarios and environments.

::

    from superalign_env.testing import check_agent, check_scenario, check_env

    check_agent(MyAgent())
    check_scenario(MyScenario())
    check_env("red-team")

Each returns nothing when all is well, and else raises a `ProtocolError` (or its special
case `NotReproducible`) that says what is wrong and what to do.
"""

from superalign_env.testing.agents import check_agent, example_views
from superalign_env.testing.environments import check_env
from superalign_env.testing.scenarios import check_scenario

__all__ = ["check_agent", "check_env", "check_scenario", "example_views"]
