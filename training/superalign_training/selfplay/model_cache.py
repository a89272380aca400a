"""Cache of loaded models: bases of adapters, and agents of checkpoints."""

import copy
from collections import OrderedDict
from collections.abc import Callable, Mapping
from typing import Any, TypeVar

import msgspec

from superalign_agents.references import make_agent
from superalign_env.asking import Anyone
from superalign_env.canonical import to_json
from superalign_env.errors import InvalidOption
from superalign_env.humans.turns import SeatedPerson
from superalign_env.protocols import Agent
from superalign_env.store import Run
from superalign_training import policy  # its names import torch when they are asked for
from superalign_training.policy.checkpoint import Checkpoint
from superalign_training.selfplay.lineup import (
    LEARNER,
    OBJECT,
    AgentReference,
    has_weights,
    is_person,
)

Speaker = TypeVar("Speaker", bound=Agent)

_MOST = 12
_LARGEST = 64 * 2**20
"""Bytes of a policy that is kept: of large ones, memory is dearer than reading them."""


class ModelCache:
    """Loaded models of a run. All of it can be loaded again from the record.

    Args:
        objects: agents that were given as Python objects, by their references.
    """

    def __init__(self, objects: Mapping[str, Anyone] | None = None) -> None:
        self._objects = dict(objects or {})
        self._frozen: dict[str, Anyone] = {}
        self._people: list[SeatedPerson] = []
        self._queue: tuple[Run, Callable[[str], object]] | None = None
        self._bases: dict[tuple[str, ...], policy.SharedBase] = {}
        self._speakers: OrderedDict[tuple[str, bytes], Any] = OrderedDict()

    def attach(self, run: Run, tell: Callable[[str], object]) -> None:
        """Set the run whose queue asks people in seats; see `SeatedPerson`."""
        self._queue = (run, tell)
        for person in self._people:
            person.attach(run, tell)

    def base(self, reference: str, *, device: str, **options: Any) -> "policy.SharedBase":
        """Return the base of a reference, shared by the adapters of all roles.

        Args:
            reference: ``micro/3``, a folder or ``hf:org/name``.
            device: where it shall live.
            **options: dtype, attention.

        Raises:
            UnknownId: nothing is called so.
            InvalidOption: what is called so is no model.
        """
        key = (reference, device, *(f"{k}={v}" for k, v in sorted(options.items())))
        if key not in self._bases:
            self._bases[key] = policy.shared_base(reference, device=device, **options)
        return self._bases[key]

    def frozen(self, reference: AgentReference, *, device: str) -> Anyone:
        """Return the agent of a reference that does not learn in this run.

        Args:
            reference: of any agent; one agent for all roles that name it alike.
            device: where a model shall live that is loaded here.

        Raises:
            UnknownId: nobody is called so.
            InvalidOption: options that it does not take.
        """
        key = to_json(reference).decode()
        if key not in self._frozen:
            self._frozen[key] = self._made(reference, device)
        return self._frozen[key]

    def fresh(self, reference: AgentReference, *, device: str) -> Anyone:
        """Return a new, untrained agent that nothing else shares.

        Raises:
            UnknownId: nobody is called so.
            InvalidOption: options that it does not take, or an object that cannot be copied.
        """
        agent = self._made(reference, device)
        if not isinstance(reference, str) or not reference.startswith((OBJECT, LEARNER)):
            return agent
        try:
            return copy.deepcopy(agent)
        except Exception as error:  # an open connection, a lock; whatever copying it raises
            raise InvalidOption(
                f"{type(agent).__name__} cannot be copied ({error}), and a run trains a copy; "
                "give it __deepcopy__, or name its class: lineup.ROLE=my_package:MyLearner"
            ) from error

    def _made(self, reference: AgentReference, device: str) -> Anyone:
        if isinstance(reference, str) and reference.startswith((OBJECT, LEARNER)):
            try:
                return self._objects[reference]
            except KeyError:
                raise InvalidOption(
                    f"{reference.partition(':')[2]} was given as a Python object and is "
                    "not here; pass the same lineup again: SelfPlay(lineup={…}).run(resume=True)"
                ) from None
        if is_person(reference):
            person = SeatedPerson()
            if self._queue is not None:
                person.attach(*self._queue)
            self._people.append(person)
            return person
        plain = {"id": reference} if isinstance(reference, str) else dict(reference)
        if has_weights(reference):
            plain = {"device": device, **plain}
        return make_agent(plain)

    def speaker(
        self, part: str, checkpoint: Checkpoint, read: Callable[[], Speaker]
    ) -> Speaker:
        """Return the cached agent of a checkpoint; it must not be trained.

        Args:
            part: what it is wanted for. Two parts never share an agent: the engine would
                ask them as one, in other batches.
            checkpoint: its place in the run state.
            read: reads and checks it.

        Raises:
            RecordDamaged: it is missing or was altered.
        """
        key = (part, msgspec.json.encode(checkpoint))
        agent: Speaker = self._speakers.pop(key, None) or read()
        if _size(agent) <= _LARGEST:
            self._speakers[key] = agent
            while len(self._speakers) > _MOST:
                self._speakers.popitem(last=False)
        return agent


def _size(agent: Agent) -> int:
    """Return the bytes of an agent's weights, base included; 0 for other agents."""
    model = getattr(agent, "model", None)
    return sum(w.numel() * w.element_size() for w in model.parameters()) if model else 0
