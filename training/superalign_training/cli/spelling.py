"""Spelling of the words on a command line: quotation marks, choices, what to write instead."""

import re
import shlex
from collections.abc import Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

from superalign_env import registry
from superalign_env.errors import InvalidOption, hint, nearest
from superalign_training.gap.controller import make_controller
from superalign_training.registered import plain_registered


def spelled(words: Sequence[str]) -> list[str]:
    """Return words as Hydra and the registry spell them.

    Alarms have dashes. A run folder is what it says, whatever signs it has, so that a command
    can be pasted that names one: ``run_dir=runs/seed=0,gap=direct``.

    Raises:
        InvalidOption: no run folder.
    """
    return [_spelled(word) for word in words]


def _spelled(word: str) -> str:
    key, _, value = word.partition("=")
    if word == "run_dir=":
        raise InvalidOption("run_dir= names no folder; write one, as in run_dir=runs/mine")
    if key == "run_dir" and value[:1] not in ("'", '"', ""):
        # A shell may leave the home folder to whoever reads the word.
        return quoted(key, str(Path(value).expanduser()) if value[:2] == "~/" else value)
    return re.sub(r"^(\+*alarms\.)(\w+)", lambda m: m[1] + m[2].replace("_", "-"), word)


def quoted(key: str, text: str) -> str:
    """Return the word that sets a key to a text."""
    # Backslashes are special before a quotation mark only.
    escaped = re.sub(r'(\\*)("|$)', lambda m: m[1] * 2 + (m[2] and '\\"'), text)
    return f'{key}="{escaped}"'


def with_run_dir(words: Sequence[str], folder: Path) -> list[str]:
    """Return words whose run lies in another folder."""
    remaining = [word for word in words if not word.startswith("run_dir=")]
    return [*remaining, quoted("run_dir", str(folder))]


def unreadable(word: str) -> str:
    """Return what to write instead of a word that the grammar does not read."""
    key, equals, value = word.partition("=")
    if not equals or not re.fullmatch(r"[+~]*\w[\w./-]*", key):
        return (
            f"{word!r} is no setting; write KEY=VALUE, as in rounds=3 or train.learner=ppo, "
            "without spaces around ="
        )
    value = value.strip()
    if value[:1] not in tuple("{[('\""):
        odd = " ".join(dict.fromkeys(re.sub(r"[\w/+.$%*@?|:,\\-]", "", value, flags=re.A)))
        return (
            f"{word!r} cannot be read: a text with {odd or 'such signs'} needs quotation marks "
            f"within those for the shell; write {shlex.quote(quoted(key, value))}"
        )
    why = "a text within needs quotation marks"
    if any(value.count(a) != value.count(b) for a, b in ("{}", "[]", "()")):
        why = "a bracket is not closed"
    elif value.count("'") % 2 or value.count('"') % 2:
        why = "a quotation mark is not closed"
    return (
        f"{word!r} cannot be read: {why}; write a mapping as '{key}={{id: fixed, text: ok}}', a "
        f"list as '{key}=[a, b]', a text as '{key}=\"a: b\"', all with the quotation marks"
    )


def severally(word: str) -> str:
    """Return what to write instead of several values, where a run takes one."""
    key, _, values = word.partition("=")
    decimal = re.fullmatch(r"(\d+),(\d+)", values)
    number = (
        f"a decimal number has a point ({key}={decimal[1]}.{decimal[2]}), "
        if decimal
        else ""
    )
    return (
        f"{word} gives {key} several values: {number}a list has brackets ('{key}=[{values}]'), "
        f"a text quotation marks ({shlex.quote(quoted(key, values))}), and --multirun makes one "
        "run of each value"
    )


@cache
def groups() -> dict[str, dict[str, dict[str, Any]]]:
    """Return every group of choices: group → id → its settings and their defaults."""
    controllers = {
        name: plain_registered(make_controller(name)) for name in registry.entries("gap")
    }
    return {"gap": controllers}


class Choice(NamedTuple):
    """What a word chooses in a group: ``gap=NAME``, ``gap.id=NAME``, ``gap={id: NAME, …}``."""

    group: str
    name: str
    """Empty where only settings are given."""
    values: dict[str, Any]
    """Settings that are given with it."""


def choice_of(key: str, value: Any) -> Choice | None:
    """Return what a word chooses; None for words that choose nothing.

    Args:
        key: of the word.
        value: that it gives the key.

    Raises:
        InvalidOption: a name that names nothing.
    """
    group = key.removesuffix(".id")
    if group not in groups():
        return None
    values = dict(value) if key == group and isinstance(value, Mapping) else {"id": value}
    name, choices = values.pop("id", ""), groups()[group]
    if name != "" and (not isinstance(name, str) or name not in choices):
        near = nearest(str(name), choices)
        raise InvalidOption(f"{group}={name} names nothing; {hint(near, choices)}")
    return Choice(group, name, values)


def misfit(key: str, default: Any, value: Any) -> str:
    """Return what to write instead of a value of another kind than the default."""
    if isinstance(default, Mapping) and not isinstance(value, Mapping):
        return f"its keys one by one, as in {key}.KEY=VALUE"
    if isinstance(default, Sequence) and isinstance(value, Mapping):
        return f"a list, as in '{key}=[a, b]'" if not isinstance(default, str) else "a text"
    return ""
