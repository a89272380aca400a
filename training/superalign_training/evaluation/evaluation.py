"""Custom evaluations: further measurements of a run.

``evaluate.also=[microworld-survey]`` names one by its id, ``{id: microworld-critics, cases:
200}`` gives settings, ``my_package.probes:Probe`` one that is not registered. Each is a stage
after every round, or at the end. Nothing that it measures is trained on.
"""

from collections.abc import Mapping, Sequence
from typing import Annotated, Any, Literal, Protocol

from pydantic import PlainSerializer, PlainValidator

from superalign_env.asking import Anyone
from superalign_env.errors import InvalidOption, SuperalignError
from superalign_env.protocols import Scenario
from superalign_env.types import Episode, Metric, Role, Seat, Split, Task
from superalign_training.registered import make_registered, plain_registered

KIND = "evaluation"

PREFIX = "evaluation-"
"""Before the id of an evaluation: the name of its stage."""


class EvaluationContext(Protocol):
    """Interface of an evaluation to the run: state, scenario, rollouts."""

    @property
    def split(self) -> Split:
        """Of the tasks that are played: `gate` after a round, `test` at the end."""
        ...

    @property
    def generation(self) -> int:
        """Of a chain; 0 in a run of rounds."""
        ...

    @property
    def round(self) -> int:
        """Rounds that were played."""
        ...

    @property
    def lineup(self) -> Mapping[Role | Seat, Anyone]:
        """Role or seat → its agent now, to be queried or seated; never to be trained."""
        ...

    @property
    def winners(self) -> Sequence[str]:
        """Queries in the attackers' archive that succeeded, as critics say."""
        ...

    def recorded(self, role: Role) -> str:
        """Return the recorded hash of a role's agent."""
        ...

    def scenario(self, variant: str = "", **options: Any) -> Scenario[Any]:
        """Return the run's scenario on the split, or one of its variants."""
        ...

    def play(
        self,
        scenario: Scenario[Any],
        agents: Mapping[Role | Seat, Anyone],
        cases: int,
        *,
        tasks: Sequence[Task] | None = None,
    ) -> list[Episode]:
        """Play and record cases; a restarted stage plays the same ones."""
        ...

    def seed(self, part: str) -> int:
        """Return the seed of one part: the only source of randomness."""
        ...


class Evaluation(Protocol):
    """A custom measurement: a class whose constructor takes the settings and checks them.

    Two more methods may be there: ``check(scenario)`` raises `InvalidOption` where the run's
    scenario is none that it can measure, before anything starts; ``cost()`` returns
    ``episodes`` and ``replies`` at most, for the estimate.
    """

    @property
    def id(self) -> str:
        """As the registry knows it."""
        ...

    @property
    def when(self) -> Literal["round", "end"]:
        """After every round (in a chain: generation), or once at the end."""
        ...

    def __call__(self, context: EvaluationContext) -> Sequence[Metric]:
        """Return what was measured. Evaluation, split and step are added where missing."""
        ...


def make_evaluation(reference: str | Mapping[str, Any] | Evaluation) -> Evaluation:
    """Return a checked evaluation.

    Args:
        reference: an id, ``module:Class``, a mapping with an id and settings, or an
            evaluation, which is returned as is.

    Raises:
        UnknownId: nothing is called so; names the nearest ids.
        InvalidOption: a wrong setting, or what is no evaluation.
    """
    evaluation = reference
    if isinstance(reference, (str, Mapping)):
        settings = {"id": reference} if isinstance(reference, str) else reference
        evaluation = make_registered(
            KIND, settings, noun="evaluation", example="microworld-survey"
        )
    moment = getattr(evaluation, "when", None)
    if (
        not callable(evaluation)
        or moment not in ("round", "end")
        or not hasattr(evaluation, "id")
    ):
        raise InvalidOption(
            f"{reference!r} is no evaluation: it needs id, when ('round' or 'end') and "
            "__call__(context)"
        )
    found: Evaluation = evaluation
    return found


def check_fits(evaluation: Evaluation, scenario: Scenario[Any]) -> None:
    """Raise unless a scenario has what an evaluation declares to need.

    Raises:
        InvalidOption: it cannot.
    """
    check = getattr(evaluation, "check", None)
    if check is None:
        return
    try:
        check(scenario)
    except InvalidOption as error:
        raise InvalidOption(f"evaluate.also: {evaluation.id}: {error}") from error


def _read(reference: Any) -> Evaluation:
    try:
        return make_evaluation(reference)
    except SuperalignError as error:
        raise ValueError(str(error)) from error  # pydantic names the key then


def _plain(evaluation: Evaluation) -> dict[str, Any]:
    return plain_registered(evaluation, KIND)


EvaluationRule = Annotated[
    Evaluation,
    PlainValidator(_read),
    PlainSerializer(_plain, return_type=dict[str, Any]),
]
"""An evaluation, as a field of settings."""
