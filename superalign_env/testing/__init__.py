"""Checks for those who write agents, scenarios and environments.

::

    from superalign_env.testing import check_agent, check_scenario, check_env

    check_agent(MyAgent())
    check_scenario(MyScenario())
    check_env("red-team")

Each raises nothing when all is well (`check_scenario` returns what a trainer can do with the
scenario), and else a `ProtocolError` (or its special case `NotReproducible`) that says what
is wrong and what to do.
"""

from superalign_env.testing.agent_check import check_agent, example_views
from superalign_env.testing.declarations import ScenarioCheck
from superalign_env.testing.env_check import check_env
from superalign_env.testing.scenario_check import check_scenario

__all__ = ["ScenarioCheck", "check_agent", "check_env", "check_scenario", "example_views"]
