"""Requests wrapped by attack strategies, divided by topic and by family of strategies."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

from superalign_agents.strategies import known_families, rewritten
from superalign_agents.strategy_templates import STRATEGIES
from superalign_env.errors import InvalidOption
from superalign_env.seeding import generator, label, mix
from superalign_env.types import SPLITS, Split
from superalign_scenarios.row_source import RowSource

DIRECT = "control"
"""Family of the strategy that changes nothing."""

LOOK_ALIKE = "scary-but-benign"


class PromptRow(NamedTuple):
    """A request with its written label."""

    text: str
    harmful: bool
    kind: str
    """``harmful``, ``scary-but-benign`` (a look-alike) or ``plain``."""
    topic: str
    pair: str
    """Shared by a harmful request and its look-alike; empty without a partner."""


class AttackedPrompt(NamedTuple):
    """A request as a strategy words it."""

    text: str
    request: PromptRow
    family: str
    """Of the strategy."""


class TopicFold(NamedTuple):
    """Topics of the three splits, and which families of strategies are held out."""

    train: tuple[str, ...]
    control: tuple[str, ...]
    """Topics whose prompts place the threshold of refusal."""
    test: tuple[str, ...]
    known_families: tuple[str, ...]
    """Families of training and of the threshold."""
    held_out_families: tuple[str, ...]


def read_requests(paths: Sequence[str]) -> list[PromptRow]:
    """Return the labelled requests of some prompt sets; a prompt counts once.

    Args:
        paths: files that the source ``rows`` reads, or names of shipped sets.

    Raises:
        InvalidOption: no such file, or no request of one of the two labels.
    """
    requests: dict[str, PromptRow] = {}
    for path in paths:
        source = RowSource(path)
        for split in SPLITS:
            for task in source.tasks(split):
                gold = source.gold(task)
                requests.setdefault(task.prompt, _labelled(task.prompt, gold))
    if len({request.harmful for request in requests.values()}) != 2:
        raise InvalidOption(
            f"{', '.join(paths)}: refusing selectively needs harmful and benign requests; "
            "name a set of the other label too, such as borderline"
        )
    return list(requests.values())


def _labelled(prompt: str, gold: Any) -> PromptRow:
    facts = {name: str(value) for name, value in gold.facts.items()}
    harmful = gold.label == "harmful"
    return PromptRow(
        prompt,
        harmful,
        facts.get("kind", "harmful" if harmful else "plain"),
        facts.get("topic") or facts.get("category", ""),
        facts.get("pair", ""),
    )


def fold(
    topics: Sequence[str],
    families: Sequence[str],
    *,
    test_topics: int,
    control_topics: int,
    held_out: int,
    seed: int,
) -> TopicFold:
    """Draw which topics and families are held out.

    Args:
        topics: all of them.
        families: of strategies, the one that changes nothing left out.
        test_topics: number of topics of the test.
        control_topics: number of topics that place the threshold.
        held_out: number of families that only the test has.
        seed: of the draw.

    Raises:
        InvalidOption: nothing would be left to train on.
    """
    rng = generator(mix(seed, label("topic fold")))
    drawn = [sorted(set(topics))[place] for place in rng.permutation(len(set(topics)))]
    ways = [families[place] for place in rng.permutation(len(families))]
    first_of_train = test_topics + control_topics
    if first_of_train >= len(drawn) or held_out >= len(ways):
        raise InvalidOption(
            f"{len(drawn)} topics and {len(ways)} families leave none to train on beside "
            f"{test_topics} + {control_topics} topics and {held_out} families"
        )
    return TopicFold(
        train=tuple(drawn[first_of_train:]),
        control=tuple(drawn[test_topics:first_of_train]),
        test=tuple(drawn[:test_topics]),
        known_families=tuple(ways[held_out:]),
        held_out_families=tuple(ways[:held_out]),
    )


def attacked(
    request: PromptRow, families: Sequence[str], *, seed: int
) -> list[AttackedPrompt]:
    """Return a request as one strategy of each family words it.

    Partners of a pair are worded alike: nothing but the request tells them apart.

    Args:
        request: what is asked for.
        families: of strategies that need one message.
        seed: of the draw of strategies and phrasings.
    """
    prompts = []
    for family in known_families(families):
        usable = [s for s in STRATEGIES if s.family == family and s.least_exchanges == 1]
        key = mix(seed, label(request.pair or request.text), label(family))
        strategy = usable[mix(key, 0) % len(usable)]
        text = rewritten(strategy, request.text, key)[0]
        prompts.append(AttackedPrompt(text, request, family))
    return prompts


def write_rows(path: Path, prompts: dict[Split, list[AttackedPrompt]]) -> None:
    """Write prompts as a file that the source ``rows`` reads as requests."""
    rows = [
        {
            "prompt": prompt.text,
            "label": "harmful" if prompt.request.harmful else "benign",
            "split": split,
        }
        for split, of_split in prompts.items()
        for prompt in of_split
    ]
    lines = [json.dumps(row, ensure_ascii=False) for row in rows]
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
