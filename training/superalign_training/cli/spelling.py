"""Spelling and quotation marks of the words on a command line, and what to write instead."""

import re
import shlex
from collections.abc import Sequence
from pathlib import Path

from superalign_env.errors import InvalidOption


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
