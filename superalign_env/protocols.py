"""Protocols of plug-ins. Structural: nothing here needs to be inherited from."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from itertools import islice
from pathlib import Path
from typing import Any, Protocol, TypeGuard, TypeVar, runtime_checkable

import numpy as np

from superalign_env.errors import ProtocolError
from superalign_env.types import (
    AgentSpec,
    AnswerReading,
    Brief,
    Episode,
    Gold,
    Grade,
    Paid,
    Reply,
    Role,
    Seat,
    Split,
    Step,
    Task,
    Utterance,
    View,
)

S = TypeVar("S")


@runtime_checkable
class Agent(Protocol):
    """An agent that answers views in batches.

    A reply may depend on its view alone (and on state keyed by ``view.episode``), so
    that transcripts do not depend on how many episodes run at once.
    """

    @property
    def spec(self) -> AgentSpec:
        """The recorded form of this agent."""
        ...

    def act(self, views: Sequence[View]) -> Sequence[Reply]:
        """Return one reply per view, in order."""
        ...


def one_for_each(views: Sequence[View], answers: Any, name: str) -> list[Any]:
    """Return the answers of ``act`` as a list of one per view; entries are not checked.

    Args:
        views: what was shown.
        answers: what came back.
        name: of the agent, for messages.

    Raises:
        ProtocolError: it is no list of answers, or one of another length.
    """
    usual = isinstance(answers, (list, tuple))
    if not usual and (
        not isinstance(answers, Iterable) or isinstance(answers, (str, bytes, Mapping))
    ):
        raise ProtocolError(
            f"{name} returned a {type(answers).__name__} for all views; return a list with "
            "one reply per view, in order"
        )
    # An endless one is no answer.
    replies = list(answers) if usual else list(islice(answers, len(views) + 1))
    if len(replies) != len(views):
        raise ProtocolError(
            f"{name} gave {len(replies)} replies to {len(views)} views; return one reply per "
            "view, in order"
        )
    return replies


@runtime_checkable
class AsyncAgent(Protocol):
    """An asynchronous agent, asked for one view at a time: endpoints, people."""

    @property
    def spec(self) -> AgentSpec:
        """The recorded form of this agent."""
        ...

    async def reply(self, view: View) -> Reply:
        """Return the reply to one view."""
        ...


@runtime_checkable
class Stateful(Protocol):
    """An agent with memory that a resumed run must restore."""

    def state_dict(self) -> dict[str, Any]:
        """Return the memory as plain JSON values."""
        ...

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Restore the memory that `state_dict` returned."""
        ...


def remembers(agent: object) -> TypeGuard[Stateful]:
    """Return whether an agent has a memory that a resumed run must restore.

    The ``state_dict`` of a torch module is none: it holds weights, which are no JSON.
    """
    return isinstance(agent, Stateful) and not hasattr(agent, "named_parameters")


OnStep = Callable[[int, Mapping[str, float]], object]
"""Called with 1, 2, 3, … and the numbers of each update."""


@runtime_checkable
class Learner(Agent, Protocol):
    """An agent that improves itself: a table, a GRU, anything that learns from pay.

    ``superalign train`` plays episodes with it, pays them, and hands them to `improve`.
    `superalign_training.testing.check_learner` checks it; docs/your_policy.md shows two.

    * `act` draws all randomness from ``view.seed`` and changes nothing that it learned.
    * The same learner, episodes and seed give the same learner, to the byte.
    * It can be copied by `copy.deepcopy`, or is named by its class (``module:Class``) and
      begins the same whenever it is made.
    """

    def improve(
        self, episodes: Sequence[Paid], *, seed: int, on_step: OnStep
    ) -> Mapping[str, float]:
        """Learn from episodes that it has just played, once.

        Args:
            episodes: of every seat that it holds; ``episode.turns`` lists what each seat was
                shown, what it said and what that paid. Never empty.
            seed: of everything random in learning; another one for every call.
            on_step: may be called where there are several updates.

        Returns:
            Finite numbers by name, recorded as metrics of this step (``{"loss": 0.3}``).
        """
        ...

    def save(self, folder: Path) -> object:
        """Write weights and the state of training: always the same bytes."""
        ...

    def load(self, folder: Path) -> object:
        """Restore the learner that `save` wrote, in acting and in learning."""
        ...


class TaskSource(Protocol):
    """Source of tasks and of their gold: the microworld, or rows of a file."""

    @property
    def id(self) -> str:
        """Versioned id with the options that shape the draw; part of the record."""
        ...

    def draw(self, rng: np.random.Generator, split: Split) -> Task:
        """Draw one public task of the split."""
        ...

    def gold(self, task: Task) -> Gold:
        """Return the hidden truth of a task that was drawn, stored or parsed."""
        ...

    def grade(self, task: Task, text: str, group: str = "") -> tuple[Grade, ...]:
        """Grade an answer to the task by the truth, for one group of people."""
        ...

    def parse(self, text: str, split: Split) -> Task | None:
        """Read a text that an attacker wrote as a task of the split.

        None when it is not a valid task of this source, or belongs to another split
        (held-out compositions are invalid in training, even when an attacker writes
        them).
        """
        ...

    def menu(self, task: Task) -> tuple[str, ...]:
        """Return public candidate rewritings of the task's prompt, for search."""
        ...

    def answers(self, task: Task) -> tuple[str, ...]:
        """Return public candidate answers to the task, good and bad alike."""
        ...


class ReadsAnswers(Protocol):
    """A source that says what a whole answer does, and whether two come to the same.

    Nobody needs the truth for it, so trainers may ask. `superalign_env.final_answers` asks
    any source.
    """

    def read_answer(self, task: Task, text: str) -> AnswerReading:
        """Return whether an answer refuses, complies, does a part of it, or says nothing."""
        ...

    def same_meaning(self, task: Task, first: str, second: str) -> bool:
        """Return whether two answers to a task come to the same."""
        ...


class Scenario(Protocol[S]):
    """Pure rules of one text game: no model call, no I/O, no clock.

    States hold plain values, are never changed in place and copy cheaply.
    """

    @property
    def id(self) -> str:
        """Versioned id, ``red-team-v0``."""
        ...

    @property
    def seats(self) -> tuple[Seat, ...]:
        """All seats, in a fixed order."""
        ...

    @property
    def options(self) -> dict[str, Any]:
        """Constructor arguments as plain JSON values: enough to rebuild the rules."""
        ...

    @property
    def weights(self) -> Mapping[Role, Mapping[str, float]]:
        """Weight of every reward part that is paid, by role. Others are recorded only."""
        ...

    @property
    def source(self) -> TaskSource:
        """Where tasks come from."""
        ...

    @property
    def renderer_id(self) -> str:
        """Name, version and hash of the templates that views are made with."""
        ...

    @property
    def max_utterance(self) -> int:
        """Longest allowed utterance, in characters."""
        ...

    def draw(self, rng: np.random.Generator) -> Task:
        """Draw a task from the source."""
        ...

    def reset(self, task: Task, rng: np.random.Generator) -> S:
        """Return the first state. All randomness of the rules is drawn here."""
        ...

    def arm(self, state: S) -> str:
        """Return the public experimental arm that was drawn, or an empty string."""
        ...

    def to_move(self, state: S) -> tuple[Seat, ...]:
        """Return the seats that speak now, at once; empty at the end."""
        ...

    def view(self, state: S, seat: Seat) -> Brief:
        """Return the brief of a seat of the group."""
        ...

    def apply(self, state: S, utterances: tuple[Utterance, ...]) -> Step:
        """Apply the group's utterances, in group order."""
        ...


@runtime_checkable
class HasGold(Protocol):
    """Access to gold, for simulated annotators and evaluation only."""

    def gold(self, episode: Episode, turn: int, group: str = "") -> float:
        """Return an ideal group member's label of a turn, in [0, 1]."""
        ...


@runtime_checkable
class HidesText(Protocol):
    """A scenario that declares texts hidden from each seat: another's cards, a secret word.

    It is declared for checks alone; nobody plays by it. `superalign_env.testing.check_scenario`
    exchanges the texts in the state for markers, and finds them in views and messages, or
    views that change with them.
    """

    def hidden(self, state: Any, seat: Seat) -> Iterable[str]:
        """Return the texts of a state that a seat must not be shown, as the state holds them.

        What the seat may know by now (it was said aloud, the case is over) is not among
        them.
        """
        ...


class EpisodeSink(Protocol):
    """Sink of finished episodes. Keyed by index: completion order is no contract."""

    def write(self, episodes: Sequence[Episode]) -> None:
        """Take a batch of finished episodes."""
        ...


@runtime_checkable
class PreparingSink(EpisodeSink, Protocol):
    """A sink whose preparation runs in the process that plays."""

    def preparing(self) -> Callable[[Sequence[Episode]], Any]:
        """Return a picklable function from a batch to the input of `write_prepared`."""
        ...

    def write_prepared(self, batch: Any) -> None:
        """Take a batch of finished episodes as it was prepared."""
        ...
