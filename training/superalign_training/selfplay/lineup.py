"""Lineups and algorithms of a run by role: references, and presets of scenarios."""

from collections.abc import Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Any, TypeGuard

import msgspec
from pydantic import BaseModel

from superalign_env import registry
from superalign_env.errors import InvalidOption, SuperalignError, UnknownId, hint, nearest
from superalign_env.lookup import named_object, scenario_id
from superalign_env.types import Role, role_of
from superalign_training.algorithms.algorithm import (
    Algorithm,
    experience_kinds,
    make_algorithm,
)
from superalign_training.algorithms.own import Own

AgentReference = str | dict[str, Any]
"""``micro/3``, a folder, ``keyword``, ``same:learner``, or ``{id: …, key: value}``."""

SAME = "same:"
"""``lineup.critic=same:learner`` seats one policy in several roles."""

FREE = ("lineup", "train")
"""Settings whose keys are a scenario's roles."""

PRESET = (*FREE, "budget", "people")
"""Settings whose defaults are a scenario's: None stands for these."""

PERSON = "human"
"""``lineup.critic=human``: a person takes the turns of a seat."""

BY_SCENARIO = "by_scenario"
"""Key of a preset: scenario → what it changes of lineup and algorithms there."""

OBJECT = "object:"
"""``object:module.Class``: an agent that was given as a Python object."""

LEARNER = "learner:"
"""``learner:module.Class``: a `Learner` that was given as a Python object."""


def has_weights(reference: AgentReference) -> bool:
    """Whether a reference can name something that is trained.

    It is read, not followed: a rung, a folder and a name on the hub can be trained.
    """
    name = reference if isinstance(reference, str) else str(reference.get("id"))
    if ":" in name and not name.startswith("hf:"):
        return False  # an object, an endpoint, a class of somebody's
    return name == "transformer" or name not in registry.entries("agent")


def is_person(reference: AgentReference) -> bool:
    """Whether a person holds the seat, who is asked through the run's queue."""
    name = reference if isinstance(reference, str) else reference.get("id")
    return name == PERSON


def is_somebodys(reference: AgentReference) -> bool:
    """Whether a reference names a class, a function or an object of somebody's."""
    name = reference if isinstance(reference, str) else str(reference.get("id"))
    kind, _, rest = name.partition(":")
    dotted = all(part.isidentifier() for part in kind.split("."))
    return bool(rest) and dotted and kind not in ("hf", "endpoint", "same")


def is_learner(reference: AgentReference) -> bool:
    """Whether a reference names a `Learner`: an agent that improves itself.

    Raises:
        InvalidOption: ``module:attribute`` that cannot be imported.
    """
    name = reference if isinstance(reference, str) else str(reference.get("id"))
    if name.startswith(LEARNER):
        return True
    known = registry.entries("agent").get(name)
    if known is not None:
        if known.package.startswith("superalign_"):
            return False  # none of ours; looking would import torch
        named: Any = registry.load("agent", name)
    elif is_somebodys(reference) and not name.startswith(OBJECT):
        named = named_object(name, what="agent")
    else:
        return False
    return all(callable(getattr(named, do, None)) for do in ("improve", "save", "load"))


def learns_by_pay(algorithm: Algorithm[Any]) -> bool:
    """Whether an algorithm learns from episodes, and not from lessons."""
    return not experience_kinds(algorithm).isdisjoint(("episodes", "paid"))


def require_able(
    role: Role,
    lineup: Mapping[Role, AgentReference],
    reference: AgentReference,
    algorithms: Sequence[Algorithm[Any]],
) -> None:
    """Raise unless who holds a role can learn by its algorithms.

    Args:
        role: that shall learn.
        lineup: that names its holder.
        reference: who that is: of ``same:learner``, the learner's.
        algorithms: of the role.

    Raises:
        ValueError: says why not, and what to do.
    """
    flaw = _inability(f"lineup.{role}={lineup[role]}", reference, algorithms)
    if flaw:
        raise ValueError(f"train.{role}: {flaw}, or freeze it with train.{role}=null")


def _inability(
    named: str, reference: AgentReference, algorithms: Sequence[Algorithm[Any]]
) -> str:
    """Return why an agent cannot learn by algorithms, and what to do; empty if it can."""
    ids = ", ".join(one.id for one in algorithms)
    chosen: Sequence[object] = algorithms
    own = [one for one in chosen if isinstance(one, Own)]
    improves = is_learner(reference)
    if own and len(algorithms) > 1:
        return f"[{ids}]: {own[0].id} has its learner to itself; name it alone"
    if improves and not own:
        return (
            f"{named} improves itself, {ids} cannot; leave the algorithm out (or say own)"
        )
    if own and not own[0].agent and not improves:
        return (
            f"{named} does not improve itself; name a Learner (my_package:MyLearner, "
            "docs/your_policy.md), or an algorithm for a policy (ppo, grpo, rloo, reinforce)"
        )
    if own or has_weights(reference):
        return ""
    cure = "give it a policy (micro/3, a folder, hf:org/name)"
    if is_somebodys(reference):
        return (
            f"{named} has no weights that {ids} can train: implement Learner (act, improve, "
            f"save, load: docs/your_policy.md), {cure}"
        )
    return f"{named} has no weights to train; {cure}"


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
    path = Path(__file__).parents[1] / "conf" / "scenarios" / f"{plain_name(scenario)}.yaml"
    if not path.is_file():
        return {}
    found: dict[str, Any] = msgspec.yaml.decode(path.read_bytes())
    return found


def preset_settings(name: str, scenario: str = "") -> dict[str, Any]:
    """Return what a preset sets, with what it sets for a scenario alone.

    Args:
        name: of a file in ``conf/preset``.
        scenario: id; the part by scenario is left as it is when empty.

    Raises:
        InvalidOption: there is no such preset.
        UnknownId: there is no such scenario.
    """
    path = Path(__file__).parents[1] / "conf" / "preset" / f"{name}.yaml"
    if not path.is_file():
        known = sorted(p.stem for p in path.parent.glob("*.yaml"))
        said = hint(nearest(name, known), known)
        raise InvalidOption(f"there is no preset {name}; {said}")
    found: dict[str, Any] = msgspec.yaml.decode(path.read_bytes()) or {}
    if scenario:
        chosen = found.pop(BY_SCENARIO, {}).get(plain_name(scenario), {})
        found = merged(found, chosen)
    return found


def merged(settings: Mapping[str, Any], changes: Mapping[str, Any]) -> dict[str, Any]:
    """Return settings with changes: sections key by key, all else as a whole."""
    both = {key: settings[key] for key in changes if key in settings}
    return {
        **settings,
        **{
            key: merged(both[key], value)
            if isinstance(both.get(key), Mapping) and isinstance(value, Mapping)
            else value
            for key, value in changes.items()
        },
    }


def filled(given: Mapping[str, Any]) -> dict[str, Any]:
    """Return what was given of lineup, algorithms, tasks and people, filled up from the preset.

    A preset's algorithm is left out where whoever was named instead has no weights. A
    `Learner` improves itself unless it is frozen. An algorithm that trains one kind of agent
    alone names it, for roles that hold whatever the preset says.
    """
    _require_mappings(given)
    preset, absent = _preset(given)
    named, wanted = given.get("lineup") or {}, given.get("train") or {}
    lineup = {**preset.get("lineup", {}), **named}
    train: dict[str, Any] = {}
    for role, algorithms in preset.get("train", {}).items():
        train[role] = _algorithms(algorithms, role) if _can_learn(role, lineup) else None
    for role, holder in lineup.items():
        if role not in wanted and role_of(role) == role and is_learner(holder):
            train[role] = (Own(),)
    for role, chosen in wanted.items():
        if isinstance(chosen, Mapping) and is_learner(lineup.get(role, "")):
            train[role] = train.get(role) or (Own(),)
        changes = isinstance(chosen, Mapping) and "id" not in chosen
        if changes and train.get(role, ()) is None:
            continue  # changes what was left out
        train[role] = _algorithms(chosen, role, default=train.get(role) or ())
        for algorithm in train[role] or ():
            if isinstance(algorithm, Own) and algorithm.agent and role not in named:
                lineup[role] = algorithm.agent
    raised = preset.get("generations_of", "")
    whole = {
        "lineup": lineup,
        "train": {r: chosen for r, chosen in train.items() if chosen or r not in absent},
        "generations_of": given.get("generations_of")
        or (raised if train.get(raised) else ""),
    }
    return whole | _of_source(preset, given) | _asked(given, preset)


def _require_mappings(given: Mapping[str, Any]) -> None:
    """Raise a ValueError where presets cannot be filled into lineup, algorithms or options."""
    for name in (*FREE, "options"):
        if not isinstance(given.get(name) or {}, Mapping):
            raise ValueError(f"{name}={given[name]!r}: write a mapping, {{key: value}}")
    for role, holder in (given.get("lineup") or {}).items():
        if not isinstance(holder, (str, Mapping)):
            raise ValueError(f"lineup.{role}={holder!r}: write lineup.{role}=micro/3")


def _preset(given: Mapping[str, Any]) -> tuple[Mapping[str, Any], list[Role]]:
    """Return the scenario's preset, and its roles that options leave without a seat."""
    preset = scenario_preset(str(given.get("scenario", "red-team")))
    options, counted = given.get("options") or {}, preset.get("counted", {})
    absent = [role for role, option in counted.items() if options.get(option, 1) == 0]
    lineup = {r: held for r, held in preset.get("lineup", {}).items() if r not in absent}
    frozen = dict.fromkeys(absent)
    return {**preset, "lineup": lineup, "train": preset.get("train", {}) | frozen}, absent


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


def _asked(given: Mapping[str, Any], preset: Mapping[str, Any]) -> dict[str, Any]:
    """Return what people are asked: as given, else as the preset has it."""
    budget = given.get("budget")
    people = given.get("people") or {}
    if isinstance(people, Mapping):
        people = {**preset.get("people", {}), **_set(people)}
    return {
        "budget": preset.get("budget", 0.0) if budget is None else budget,
        "people": people,
    }


def _set(people: Mapping[str, Any]) -> dict[str, Any]:
    """Return the settings of people without kinds of questions that nobody set."""
    kinds = people.get("kinds")
    if not isinstance(kinds, Mapping):
        return dict(people)
    named = {kind: share for kind, share in kinds.items() if share is not None}
    rest = {key: value for key, value in people.items() if key != "kinds"}
    return {**rest, "kinds": named} if named else rest


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
    except UnknownId as error:
        freezes = f"train.{role}=null freezes its policy"
        raise ValueError(f"train.{role}: {error}; {freezes}") from error
    except SuperalignError as error:
        raise ValueError(f"train.{role}: {error}") from error


def is_same(reference: AgentReference) -> TypeGuard[str]:
    """Whether a role uses the policy of another: ``same:learner``."""
    return isinstance(reference, str) and reference.startswith(SAME)
