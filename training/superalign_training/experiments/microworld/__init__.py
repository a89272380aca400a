"""Evaluations and probes of the microworld: all its requests, and its words varied.

`coverage.Survey` and `critic_report.CriticProbes` are evaluations (``evaluate.also=``),
`ladder` is the world that the micro rungs were pre-trained in, and the experiments use the
rest.
"""

from superalign_env.errors import InvalidOption
from superalign_env.protocols import Scenario

MICROWORLD = "microworld"


def require_microworld(scenario: Scenario[object], subject: str) -> None:
    """Raise unless the tasks of a scenario are of the microworld.

    Args:
        scenario: of the run.
        subject: cannot be done elsewhere, for the message.

    Raises:
        InvalidOption: they are not.
    """
    if not scenario.source.id.startswith(MICROWORLD):
        raise InvalidOption(
            f"{subject} is possible in the microworld only, and the tasks of {scenario.id} are "
            f"of {scenario.source.id}; leave it out"
        )
