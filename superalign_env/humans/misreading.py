"""What somebody reads who cannot tell some words apart.

The same mistake every time, on every task that looks the same: errors of this kind do not
average out, and a student learns them as if they were rules.
"""

from collections.abc import Collection

import msgspec

from superalign_env.canonical import text_hash
from superalign_env.protocols import TaskSource
from superalign_env.types import Episode, Split, Task

_ANYTHING = "_"


def misread(source: TaskSource, task: Task, blind: Collection[str]) -> Task:
    """Return the task that somebody takes a task for.

    Tasks that differ in one blind word alone are taken for one and the same, which a hash
    of what they have in common chooses; a task without blind words is read as it is.

    Args:
        source: knows which tasks are one word away (`TaskSource.menu`).
        task: as it is.
        blind: words that look the same.
    """
    alike = _masked(task.prompt, blind)
    if alike == task.prompt:
        return task
    twins = [text for text in source.menu(task) if _masked(text, blind) == alike]
    likeliest = min(
        {task.prompt, *twins}, key=lambda text: (text_hash(f"{alike}\0{text}"), text)
    )
    gold = source.parse(likeliest, task.split)
    return task if gold is None else gold


def misread_episode(
    source: TaskSource, episode: Episode, split: Split, blind: Collection[str]
) -> Episode:
    """Return an episode as somebody reads it: its task, and every task said in it."""
    utterances = []
    for utterance in episode.utterances:
        task = source.parse(utterance.text, split)
        text = utterance.text if task is None else misread(source, task, blind).prompt
        utterances.append(msgspec.structs.replace(utterance, text=text))
    return msgspec.structs.replace(
        episode,
        task=misread(source, episode.task, blind),
        utterances=tuple(utterances),
    )


def _masked(text: str, blind: Collection[str]) -> str:
    return " ".join(_ANYTHING if word in blind else word for word in text.split(" "))
