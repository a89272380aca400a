"""Lineups and algorithms of a run by role: references, and presets of scenarios."""

from collections.abc import Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Any, TypeGuard

import msgspec
from pydantic import BaseModel

from superalign_env import registry
from superalign_env.errors import SuperalignError
from superalign_env.lookup import scenario_id
from superalign_env.types import Role
from superalign_training.algorithms.algorithm import Algorithm, experience_kinds
from superalign_training.algorithms.making import make_algorithm

AgentReference = str | dict[str, Any]
"""``micro/3``, a folder, ``keyword``, ``same:learner``, or ``{id: …, key: value}``."""

SAME = "same:"
"""``lineup.critic=same:learner`` seats one policy in several roles."""

FREE = ("lineup", "train")
"""Settings whose keys are a scenario's roles."""

OBJECT = "object:"
"""``object:module.Class``: an agent that was given as a Python object."""


def has_weights(reference: AgentReference) -> bool:
    """Whether a reference can name something that is trained.

    It is read, not followed: a rung, a folder and a name on the hub can be trained.
    """
    name = reference if isinstance(reference, str) else str(reference.get("id"))
    if ":" in name and not name.startswith("hf:"):
        return False  # an object, an endpoint, a class of somebody's
    return name == "transformer" or name not in registry.entries("agent")


def learns_by_pay(algorithm: Algorithm[Any]) -> bool:
    """Whether an algorithm learns from episodes, and not from lessons."""
    return "episodes" in experience_kinds(algorithm)


def plain_name(scenario: str) -> str:
    """Return the id of a scenario without its version; a class of somebody's as it is named.

    Raises:
        UnknownId: with the nearest ids.
    """
    if ":" in scenario:
        return scenario
    return registry.spell(scenario_id(scenario)).plain


@cache
def scenario_preset(scenario: str) -> Mapping[str, Any]:
    """Return the lineup and the algorithms that a scenario has unless it is told others.

    Raises:
        UnknownId: with the nearest ids.
    """
    path = Path(__file__).parent / "conf" / "scenarios" / f"{plain_name(scenario)}.yaml"
    if not path.is_file():
        return {}
    found: dict[str, Any] = msgspec.yaml.decode(path.read_bytes())
    return found


def filled(given: Mapping[str, Any]) -> dict[str, Any]:
    """Return what was given of lineup, algorithms and tasks, filled up from the preset.

    A preset's algorithm is left out where whoever was named instead has no weights.
    """
    preset = scenario_preset(str(given.get("scenario", "red-team")))
    named, wanted = given.get("lineup") or {}, given.get("train") or {}
    if not isinstance(named, Mapping) or not isinstance(wanted, Mapping):
        raise ValueError(
            "lineup and train are mappings: {learner: micro/3} and {learner: ppo}"
        )
    lineup = {**preset.get("lineup", {}), **named}
    train: dict[str, Any] = {}
    for role, algorithms in preset.get("train", {}).items():
        train[role] = _algorithms(algorithms, role) if _can_learn(role, lineup) else None
    for role, chosen in wanted.items():
        changes = isinstance(chosen, Mapping) and "id" not in chosen
        if changes and train.get(role, ()) is None:
            continue  # changes what was left out
        train[role] = _algorithms(chosen, role, default=train.get(role) or ())
    raised = preset.get("generations_of", "")
    found = {
        "lineup": lineup,
        "train": train,
        "generations_of": given.get("generations_of")
        or (raised if train.get(raised) else ""),
    }
    return found | _of_source(preset, given)


def _of_source(preset: Mapping[str, Any], given: Mapping[str, Any]) -> dict[str, Any]:
    """Return sections with what the preset says for the tasks that they are about.

    Only what was left open is filled in, and nothing where other tasks are named.
    """
    options = given.get("options") or {}
    asked = source_id(options.get("source", preset.get("source", "")))
    taught = _fields(given.get("competence")).get("source")
    values = preset.get("by_source", {}).get(source_id(taught or asked), {})
    found = {}
    for name, defaults in values.items():
        section = _fields(given.get(name))
        left = {key: v for key, v in defaults.items() if section.get(key) is None}
        found[name] = {**section, **left}
    return found


def _fields(section: Any) -> dict[str, Any]:
    """Return the keys of a section, made already or not."""
    if isinstance(section, BaseModel):
        return {name: getattr(section, name) for name in type(section).model_fields}
    return dict(section) if isinstance(section, Mapping) else {}


def source_id(source: Any) -> str:
    """Return the id of a source of tasks: ``rows``, ``{id: rows, …}``, or an object."""
    named = source.get("id", "") if isinstance(source, Mapping) else source
    return named if isinstance(named, str) else str(getattr(named, "id", ""))


def _can_learn(role: Role, lineup: Mapping[str, AgentReference]) -> bool:
    reference = lineup.get(role, OBJECT)
    if is_same(reference):
        reference = lineup.get(reference.removeprefix(SAME), OBJECT)
    return has_weights(reference)


def _algorithms(
    chosen: Any, role: Role, *, default: Sequence[Algorithm[Any]] = ()
) -> tuple[Algorithm[Any], ...] | None:
    """Return the algorithms that a setting names; a mapping without an id changes the preset's."""
    if chosen is None:
        return None
    several = chosen if isinstance(chosen, (list, tuple)) else [chosen]
    alone = default[0] if len(default) == 1 else None
    try:
        return tuple([make_algorithm(one, default=alone) for one in several])
    except SuperalignError as error:
        raise ValueError(f"train.{role}: {error}") from error


def require_raised(named: Role, learning: Sequence[Role]) -> None:
    """Raise unless one policy is named that generations are of.

    Args:
        named: by ``generations_of``; empty for the only one that learns.
        learning: the roles that learn.

    Raises:
        ValueError: says which there are.
    """
    known = ", ".join(learning)
    if named and named not in learning:
        raise ValueError(
            f"generations_of={named}: the role {named} does not learn; name one that does "
            f"({known}), or an algorithm for it: train.{named}=ppo"
        )
    if not named and len(learning) > 1:
        raise ValueError(
            "a chain of generations raises one policy, and several learn; say which: "
            f"generations_of={learning[0]} (there are {known})"
        )


def is_same(reference: AgentReference) -> TypeGuard[str]:
    """Whether a role uses the policy of another: ``same:learner``."""
    return isinstance(reference, str) and reference.startswith(SAME)
