"""Lineups and algorithms of a run by role: references, and presets of scenarios."""

from collections.abc import Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Any, TypeGuard

import msgspec
from pydantic import BaseModel

from superalign_agents.references import is_classifier
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
    """Whether a reference can name an agent with weights to train.

    It is read, not followed: a rung, a folder and a name on the hub can be trained.
    """
    name = reference if isinstance(reference, str) else str(reference.get("id"))
    if (":" in name and not name.startswith("hf:")) or is_classifier(name):
        return False  # an object, an endpoint, a class of somebody's, a critic
    return name == "transformer" or name not in registry.entries("agent")


def is_person(reference: AgentReference) -> bool:
    """Whether a person holds the seat, through the run's queue."""
    name = reference if isinstance(reference, str) else reference.get("id")
    return name == PERSON


def is_user_object(reference: AgentReference) -> bool:
    """Whether a reference names a user's class, function or object."""
    name = reference if isinstance(reference, str) else str(reference.get("id"))
    kind, _, attribute = name.partition(":")
    dotted = all(part.isidentifier() for part in kind.split("."))
    return bool(attribute) and dotted and kind not in ("hf", "endpoint", "same")


def is_learner(reference: AgentReference) -> bool:
    """Whether a reference names a `Learner`, an agent with its own `improve`.

    Raises:
        InvalidOption: ``module:attribute`` that cannot be imported.
    """
    name = reference if isinstance(reference, str) else str(reference.get("id"))
    if name.startswith(LEARNER):
        return True
    entry = registry.entries("agent").get(name)
    if entry is not None:
        if entry.package.startswith("superalign_"):
            return False  # none of ours; looking would import torch
        loaded: Any = registry.load("agent", name)
    elif is_user_object(reference) and not name.startswith(OBJECT):
        loaded = named_object(name, kind="agent")
    else:
        return False
    return all(callable(getattr(loaded, do, None)) for do in ("improve", "save", "load"))


def learns_from_rewards(algorithm: Algorithm[Any]) -> bool:
    """Whether an algorithm learns from episodes instead of examples."""
    return not experience_kinds(algorithm).isdisjoint(("episodes", "paid"))


def require_trainable(
    role: Role,
    lineup: Mapping[Role, AgentReference],
    reference: AgentReference,
    algorithms: Sequence[Algorithm[Any]],
) -> None:
    """Raise unless a role's agent can be trained by its algorithms.

    Args:
        role: that shall learn.
        lineup: that names its holder.
        reference: who that is: of ``same:learner``, the learner's.
        algorithms: of the role.

    Raises:
        ValueError: says why not, and what to do.
    """
    flaw = _reason_not_trainable(f"lineup.{role}={lineup[role]}", reference, algorithms)
    if flaw:
        raise ValueError(f"train.{role}: {flaw}, or freeze it with train.{role}=null")


def _reason_not_trainable(
    holder: str, reference: AgentReference, algorithms: Sequence[Algorithm[Any]]
) -> str:
    """Return why an agent cannot be trained by algorithms, and a remedy; empty if it can."""
    ids = ", ".join(algorithm.id for algorithm in algorithms)
    candidates: Sequence[object] = algorithms
    owns = [algorithm for algorithm in candidates if isinstance(algorithm, Own)]
    improves = is_learner(reference)
    if owns and len(algorithms) > 1:
        return f"[{ids}]: {owns[0].id} has its learner to itself; name it alone"
    if improves and not owns:
        return (
            f"{holder} improves itself, {ids} cannot; leave the algorithm out (or say own)"
        )
    if owns and not owns[0].agent and not improves:
        return (
            f"{holder} does not improve itself; name a Learner (my_package:MyLearner, "
            "docs/your_policy.md), or an algorithm for a policy (ppo, grpo, rloo, reinforce)"
        )
    if owns or has_weights(reference):
        return ""
    cure = "give it a policy (micro/3, a folder, hf:org/name)"
    if is_user_object(reference):
        return (
            f"{holder} has no weights that {ids} can train: implement Learner (act, improve, "
            f"save, load: docs/your_policy.md), {cure}"
        )
    return f"{holder} has no weights to train; {cure}"


def plain_name(scenario: str) -> str:
    """Return the id of a scenario without its version; a user's class by its name.

    Raises:
        UnknownId: with the nearest ids.
    """
    if ":" in scenario:
        return scenario
    return registry.spell(scenario_id(scenario)).plain


@cache
def scenario_preset(scenario: str) -> Mapping[str, Any]:
    """Return a scenario's default lineup, algorithms and options.

    Raises:
        UnknownId: with the nearest ids.
    """
    path = Path(__file__).parents[1] / "conf" / "scenarios" / f"{plain_name(scenario)}.yaml"
    if not path.is_file():
        return {}
    preset: dict[str, Any] = msgspec.yaml.decode(path.read_bytes())
    return preset


def preset_settings(name: str, scenario: str = "") -> dict[str, Any]:
    """Return the settings of a preset, with those for one scenario.

    Args:
        name: of a file in ``conf/preset``.
        scenario: id; the part by scenario is left as it is when empty.

    Raises:
        InvalidOption: there is no such preset.
        UnknownId: there is no such scenario.
    """
    path = Path(__file__).parents[1] / "conf" / "preset" / f"{name}.yaml"
    if not path.is_file():
        presets = sorted(p.stem for p in path.parent.glob("*.yaml"))
        suggestion = hint(nearest(name, presets), presets)
        raise InvalidOption(f"there is no preset {name}; {suggestion}")
    preset: dict[str, Any] = msgspec.yaml.decode(path.read_bytes()) or {}
    if scenario:
        changes = preset.pop(BY_SCENARIO, {}).get(plain_name(scenario), {})
        preset = merged(preset, changes)
    return preset


def merged(settings: Mapping[str, Any], changes: Mapping[str, Any]) -> dict[str, Any]:
    """Return settings with changes: sections merged key by key, all else replaced."""
    shared = {key: settings[key] for key in changes if key in settings}
    return {
        **settings,
        **{
            key: merged(shared[key], value)
            if isinstance(shared.get(key), Mapping) and isinstance(value, Mapping)
            else value
            for key, value in changes.items()
        },
    }


def with_preset(settings: Mapping[str, Any]) -> dict[str, Any]:
    """Return lineup, algorithms, tasks and people, completed from the scenario's preset.

    A preset's algorithm is left out where whoever was named instead has no weights. A
    `Learner` improves itself unless it is frozen. An algorithm that trains one kind of agent
    alone names it, for roles that hold whatever the preset says.
    """
    _require_mappings(settings)
    preset, absent = _preset(settings)
    lineups, trained = settings.get("lineup") or {}, settings.get("train") or {}
    lineup = {**preset.get("lineup", {}), **lineups}
    train: dict[str, Any] = {}
    for role, algorithms in preset.get("train", {}).items():
        train[role] = _algorithms(algorithms, role) if _can_learn(role, lineup) else None
    for role, holder in lineup.items():
        if role not in trained and role_of(role) == role and is_learner(holder):
            train[role] = (Own(),)
    for role, setting in trained.items():
        if isinstance(setting, Mapping) and is_learner(lineup.get(role, "")):
            train[role] = train.get(role) or (Own(),)
        changes = isinstance(setting, Mapping) and "id" not in setting
        if changes and train.get(role, ()) is None:
            continue  # changes what was left out
        train[role] = _algorithms(setting, role, default=train.get(role) or ())
        for algorithm in train[role] or ():
            if isinstance(algorithm, Own) and algorithm.agent and role not in lineups:
                lineup[role] = algorithm.agent
    raised_role = preset.get("generations_of", "")
    sections = {
        "lineup": lineup,
        "train": {r: value for r, value in train.items() if value or r not in absent},
        "generations_of": settings.get("generations_of")
        or (raised_role if train.get(raised_role) else ""),
    }
    return sections | _of_source(preset, settings) | _asked(settings, preset)


def _require_mappings(settings: Mapping[str, Any]) -> None:
    """Raise a ValueError where presets cannot be filled into lineup, algorithms or options."""
    for name in (*FREE, "options"):
        if not isinstance(settings.get(name) or {}, Mapping):
            raise ValueError(f"{name}={settings[name]!r}: write a mapping, {{key: value}}")
    for role, holder in (settings.get("lineup") or {}).items():
        if not isinstance(holder, (str, Mapping)):
            raise ValueError(f"lineup.{role}={holder!r}: write lineup.{role}=micro/3")


def _preset(settings: Mapping[str, Any]) -> tuple[Mapping[str, Any], list[Role]]:
    """Return the scenario's preset, and its roles without a seat under these options."""
    preset = scenario_preset(str(settings.get("scenario", "red-team")))
    options, counted = settings.get("options") or {}, preset.get("counted", {})
    absent = [role for role, option in counted.items() if options.get(option, 1) == 0]
    lineup = {r: a for r, a in preset.get("lineup", {}).items() if r not in absent}
    frozen = dict.fromkeys(absent)
    return {**preset, "lineup": lineup, "train": preset.get("train", {}) | frozen}, absent


def _of_source(preset: Mapping[str, Any], settings: Mapping[str, Any]) -> dict[str, Any]:
    """Return sections completed from the preset for their tasks.

    Only what was left open is filled in, and nothing where other tasks are named.
    """
    options = settings.get("options") or {}
    source = source_id(options.get("source", preset.get("source", "")))
    taught = _fields(settings.get("competence")).get("source")
    values = preset.get("by_source", {}).get(source_id(taught or source), {})
    sections = {}
    for name, defaults in values.items():
        section = _fields(settings.get(name))
        defaults_left = {key: v for key, v in defaults.items() if section.get(key) is None}
        sections[name] = {**section, **defaults_left}
    return sections


def _fields(section: Any) -> dict[str, Any]:
    """Return the keys of a section, made already or not."""
    if isinstance(section, BaseModel):
        return {name: getattr(section, name) for name in type(section).model_fields}
    return dict(section) if isinstance(section, Mapping) else {}


def source_id(source: Any) -> str:
    """Return the id of a source of tasks: ``rows``, ``{id: rows, …}``, or an object."""
    source_name = source.get("id", "") if isinstance(source, Mapping) else source
    return (
        source_name if isinstance(source_name, str) else str(getattr(source_name, "id", ""))
    )


def _asked(settings: Mapping[str, Any], preset: Mapping[str, Any]) -> dict[str, Any]:
    """Return the settings of people, completed from the preset."""
    budget = settings.get("budget")
    people = settings.get("people") or {}
    if isinstance(people, Mapping):
        people = {**preset.get("people", {}), **_set(people)}
    return {
        "budget": preset.get("budget", 0.0) if budget is None else budget,
        "people": people,
    }


def _set(people: Mapping[str, Any]) -> dict[str, Any]:
    """Return the settings of people without unset kinds of questions."""
    kinds = people.get("kinds")
    if not isinstance(kinds, Mapping):
        return dict(people)
    set_kinds = {kind: share for kind, share in kinds.items() if share is not None}
    others = {key: value for key, value in people.items() if key != "kinds"}
    return {**others, "kinds": set_kinds} if set_kinds else others


def _can_learn(role: Role, lineup: Mapping[str, AgentReference]) -> bool:
    reference = lineup.get(role, OBJECT)
    if is_same(reference):
        reference = lineup.get(reference.removeprefix(SAME), OBJECT)
    return has_weights(reference)


def _algorithms(
    setting: Any, role: Role, *, default: Sequence[Algorithm[Any]] = ()
) -> tuple[Algorithm[Any], ...] | None:
    """Return the algorithms of a setting; a mapping without an id changes the preset's."""
    if setting is None:
        return None
    several = setting if isinstance(setting, (list, tuple)) else [setting]
    alone = default[0] if len(default) == 1 else None
    try:
        return tuple([make_algorithm(choice, default=alone) for choice in several])
    except UnknownId as error:
        freezes = f"train.{role}=null freezes its policy"
        raise ValueError(f"train.{role}: {error}; {freezes}") from error
    except SuperalignError as error:
        raise ValueError(f"train.{role}: {error}") from error


def is_same(reference: AgentReference) -> TypeGuard[str]:
    """Whether a role uses the policy of another: ``same:learner``."""
    return isinstance(reference, str) and reference.startswith(SAME)
