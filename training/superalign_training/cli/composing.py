"""From the words of a command line to plain settings: the only file that knows Hydra.

What registry kinds offer is a group: ``gap=adaptive gap.max_noise=0.3``. Lineup and algorithms
are mappings whose keys are roles, ``train.learner=ppo train.learner.clip_range=0.1``: no schema
lists them beforehand, so they are put in afterwards. Nothing below sees more than plain
values.
"""

import itertools
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import cache
from typing import Any

from hydra import compose, initialize_config_module
from hydra.core.config_store import ConfigStore
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import Glob, Override
from hydra.errors import HydraException
from omegaconf import OmegaConf
from omegaconf.errors import InterpolationResolutionError, OmegaConfBaseException

from superalign_env.errors import InvalidOption
from superalign_training.cli.spelling import (
    Choice,
    choice_of,
    groups,
    misfit,
    severally,
    spelled,
    unreadable,
)
from superalign_training.sections import keys_in, unknown_key
from superalign_training.selfplay.lineup import (
    BY_SCENARIO,
    FREE,
    plain_name,
    preset_settings,
)
from superalign_training.selfplay.settings import Settings, read_settings

ROOT = "train"
MODULE = "superalign_training.conf"
OPTIONS = "options"
"""The setting whose keys are not ours: scenarios say themselves which ones they know."""

OPEN = (OPTIONS, "alarms", "hardening")
"""Settings that take keys which no schema lists: of scenarios, of plug-ins, of what is off."""

_EXAMPLE = {"lineup": "micro/3", "train": "ppo"}

_EXEMPT = ("run_dir", "preset", "threads", "failures", "timeout")
"""Keys that may differ between a run and its continuation."""


def composed(words: Sequence[str]) -> dict[str, Any]:
    """Return the plain settings that ``KEY=VALUE`` words describe, defaults included.

    Raises:
        InvalidOption: a key that does not exist, a value that does not fit, no sense.
    """
    words = spelled(words)
    overrides = _parsed(words)
    for word, override in zip(words, overrides, strict=True):
        if override.is_sweep_override():
            raise InvalidOption(severally(word))
    in_schema = [p for p in zip(words, overrides, strict=True) if not _is_free(p[1])]
    choices = [choice for _, override in in_schema if (choice := _choice(override))]
    named = [f"{choice.group}={choice.name}" for choice in choices if choice.name]
    others = [_freed(*pair) for pair in in_schema if _choice(pair[1]) is None]
    try:
        plain = _composed([*named, *others])
    except ValueError as error:  # an InvalidOption, or one of Hydra's own
        message = _misnamed([override for _, override in in_schema]) or str(error)
        raise InvalidOption(message) from error
    for group, _, values in choices:
        plain[group] = {**plain[group], **values}
    return _with_roles(plain, words, overrides)


def combinations(words: Sequence[str]) -> list[list[str]]:
    """Return the words of every run of a sweep: ``seed=0,1 gap=direct,adaptive`` are four.

    Raises:
        InvalidOption: words that cannot be read, or nothing to sweep over.
    """
    choices: list[list[str]] = []
    words = spelled(words)
    for word, override in zip(words, _parsed(words), strict=True):
        if not override.is_sweep_override():
            choices.append([word])
        elif override.is_discrete_sweep() and not isinstance(override.value(), Glob):
            key = override.get_key_element()
            choices.append([f"{key}={value}" for value in override.sweep_string_iterator()])
        else:
            raise InvalidOption(f"{word} is no list of values; write a,b,c or 'range(0,5)'")
    if all(len(choice) == 1 for choice in choices):
        raise InvalidOption(
            "nothing to sweep over: give a key several values, as in seed=0,1,2"
        )
    return [list(combination) for combination in itertools.product(*choices)]


def swept(words: Sequence[str]) -> list[str]:
    """Return the keys that have several values."""
    return [
        override.get_key_element()
        for override in _parsed(spelled(words))
        if override.is_sweep_override()
    ]


def resumed(recorded: Mapping[str, Any], words: Sequence[str]) -> dict[str, Any]:
    """Return what a run was made with, if the words do not contradict it.

    Raises:
        InvalidOption: they do.
    """
    words = spelled(words)
    config = OmegaConf.create(dict(recorded))
    overrides = OmegaConf.create(composed(words))
    for word, override in zip(words, _parsed(words), strict=True):
        key = override.key_or_group
        # A group's choice is in the record as the id that it leads to.
        by_name = key in groups() and isinstance(override.value(), str)
        place = f"{key}.id" if by_name else key
        if _is_free(override):
            before, value = _of_role(recorded, override), override.value()
            differs = before != value and _changes(recorded, word, override)
        else:
            before, value = (
                OmegaConf.select(config, place),
                OmegaConf.select(overrides, place),
            )
            differs = before != value
        if key not in _EXEMPT and differs:
            raise InvalidOption(
                f"{recorded['run_dir']} was made with {key}={before}, and a resumed run keeps "
                f"its settings; drop {key}={value}, choose another run_dir, or go on with "
                "other settings in a fork (superalign fork)"
            )
    return _plain(config)


def changed(recorded: Mapping[str, Any], words: Sequence[str]) -> dict[str, Any]:
    """Return the settings of a run with some of them changed.

    A section is changed key by key; what a group offers takes its place as a whole.

    Raises:
        InvalidOption: words that cannot be read, or that name what does not exist.
    """
    words = spelled(words)
    config = OmegaConf.create(dict(recorded))
    overrides = _parsed(words)
    for word, override in zip(words, overrides, strict=True):
        key, value = override.key_or_group, override.value()
        if override.is_sweep_override() or override.is_delete():
            raise InvalidOption(f"{word}: a fork is one run; give the key one value")
        if _is_free(override):
            continue
        with _our_errors():
            if key == "preset":
                config.merge_with(_preset(str(value)))
            elif (choice := _choice(override)) is not None:
                group, name, values = choice
                chosen = groups()[group][name] if name else config[group]
                OmegaConf.update(config, group, {**chosen, **values}, merge=False)
            else:
                place = key.replace("/", ".")
                OmegaConf.update(config, place, value, merge=True, force_add=True)
    return _with_roles(_plain(config), words, overrides)


def _composed(words: Sequence[str]) -> dict[str, Any]:
    _register()
    with _our_errors(), initialize_config_module(MODULE, version_base="1.3"):
        return _plain(compose(ROOT, overrides=list(words)))


def _choice(override: Override) -> Choice | None:
    deletes = override.is_delete()
    return None if deletes else choice_of(override.key_or_group, override.value())


def _freed(word: str, override: Override) -> str:
    """Return a word as Hydra wants it: what scenarios know, no schema lists beforehand."""
    free = override.key_or_group.partition(".")[0] in OPEN
    changes = not (override.is_add() or override.is_force_add() or override.is_delete())
    return f"++{word}" if free and changes else word


def _is_free(override: Override) -> bool:
    return override.key_or_group.partition(".")[0] in FREE


def _with_roles(
    plain: dict[str, Any], words: Sequence[str], overrides: Sequence[Override]
) -> dict[str, Any]:
    """Return plain settings with what words say of lineup and algorithms.

    A role's value takes the place of the one before it; keys below it change that.

    Raises:
        InvalidOption: a word that names no role, or puts a key below what has none.
    """
    by_role = plain.pop(BY_SCENARIO, {}).get(plain_name(str(plain["scenario"])), {})
    for top, changes in by_role.items():
        plain[top] = {**(plain.get(top) or {}), **changes}
    for word, override in zip(words, overrides, strict=True):
        if not _is_free(override):
            continue
        top, *path = override.key_or_group.split(".")
        if not path:
            raise InvalidOption(f"{word}: name a role, as in {top}.learner={_EXAMPLE[top]}")
        role, *below = path
        value = None if override.is_delete() else override.value()
        place = plain[top] = dict(plain.get(top) or {})
        place[role] = (
            _changed_below(place.get(role), below, value, word) if below else value
        )
    return plain


def _changed_below(
    current: Any, below: Sequence[str], value: Any, word: str
) -> dict[str, Any]:
    """Return what a role has, with a key below it changed.

    Raises:
        InvalidOption: the role has several algorithms.
    """
    if isinstance(current, (list, tuple)) and len(current) == 1:
        current = current[0]
    if isinstance(current, (list, tuple)):
        role = word.partition("=")[0].removesuffix(f".{'.'.join(below)}")
        raise InvalidOption(
            f"{word}: {role} holds several; write all of them anew, "
            f"{role}=[{{id: …, {below[-1]}: …}}, …]"
        )
    *sections, last = below
    changed: dict[str, Any] = (
        {"id": current} if isinstance(current, str) else dict(current or {})
    )
    inner = changed
    for name in sections:
        inner[name] = dict(inner.get(name) or {})
        inner = inner[name]
    inner[last] = value
    return changed


def _of_role(recorded: Mapping[str, Any], override: Override) -> Any:
    """Return what a record has in the place of a word about a role.

    Of the only algorithm of a role, or of an agent with options, it is the id.
    """
    value: Any = recorded
    for name in override.key_or_group.split("."):
        value = value.get(name) if isinstance(value, Mapping) else None
        if isinstance(value, (list, tuple)) and len(value) == 1:
            value = value[0]
    return value.get("id") if isinstance(value, Mapping) else value


def _changes(recorded: Mapping[str, Any], word: str, override: Override) -> bool:
    """Return whether a word about a role leads to other settings than the recorded ones."""
    changed = _with_roles(dict(recorded), [word], [override])
    return read_settings(changed) != read_settings(recorded)


def _misnamed(overrides: Sequence[Override]) -> str:
    """Return what to say of the first word that names no setting; nothing if all do."""
    chosen = []
    for override in overrides:
        choice = _choice(override)
        if choice is not None and choice.name:
            chosen.append(f"{choice.group}={choice.name}")
        elif override.key_or_group == "preset":
            _preset(str(override.value()))
    plain = _composed(chosen)
    keys = list(keys_in(plain))
    for override in overrides:
        key = override.key_or_group.replace("/", ".")
        free = key.partition(".")[0] in OPEN or override.key_or_group in groups()
        if not (free or key == "preset" or key in keys):
            return unknown_key(key, keys)
        if override.is_delete():
            if key not in keys:
                return f"{override.input_line}: {key} is not set; leave this word out"
        elif _choice(override) is None:
            default = OmegaConf.select(OmegaConf.create(plain), key)
            if instead := misfit(key, default, override.value()):
                return f"{override.input_line}: write {instead}"
    return ""


@cache
def _register() -> None:
    """Tell Hydra every key and default, read from the settings class, and every group."""
    # Of no scenario: presets are filled in where settings are read.
    defaults = Settings.model_construct().model_dump(mode="json")
    defaults |= {**{name: {} for name in FREE}, "budget": None}
    defaults["people"]["kinds"] = dict.fromkeys(defaults["people"]["kinds"])
    store = ConfigStore.instance()
    for group, choices in groups().items():
        del defaults[group]
        for name, node in choices.items():
            store.store(group=group, name=name, node=OmegaConf.create(node), package=group)
    store.store(name="settings", node=OmegaConf.create(defaults))


def _preset(name: str) -> Any:
    return OmegaConf.create(preset_settings(name))


def _parsed(words: Sequence[str]) -> list[Override]:
    parser = OverridesParser.create()
    overrides: list[Override] = []
    for word in words:
        try:
            (override,) = parser.parse_overrides([word])
        except HydraException as error:
            raise InvalidOption(unreadable(word)) from error
        if not override.key_or_group or override.package is not None:  # =3, a@b=3
            raise InvalidOption(unreadable(word))
        overrides.append(override)
    return overrides


def _plain(config: Any) -> dict[str, Any]:
    values: Any = OmegaConf.to_container(config, resolve=True)
    return {str(key): value for key, value in values.items()}


@contextmanager
def _our_errors() -> Iterator[None]:
    try:
        yield
    except InterpolationResolutionError as error:
        raise InvalidOption(
            f"{error.full_key}: nothing is called what stands in ${{…}}; the shell puts in "
            "variables outside single quotes, and ${oc.env:HOME} is one within"
        ) from error
    except (HydraException, OmegaConfBaseException) as error:
        message = str(error).partition("Config search path")[0]
        line = " ".join(message.split())
        raise InvalidOption(f"{line} (all keys: docs/training.md, Settings)") from error
