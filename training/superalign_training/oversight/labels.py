"""Statements of sources, and their aggregation to labels."""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

from superalign_env.canonical import content_hash
from superalign_env.errors import InvalidOption
from superalign_env.final_answers import final_answer
from superalign_env.measures.aggregation import (
    Combined,
    majority,
    recency_weighted,
    weighted,
)
from superalign_env.measures.agreement import mean_disagreement
from superalign_env.measures.latent_truth import dawid_skene
from superalign_env.seeding import generator, label, mix
from superalign_training.oversight.settings import Rule, SignalSettings


class Statement(NamedTuple):
    """One source's answer to one item."""

    item: str
    """Name of the item, such as the id of its episode."""
    source: str
    """Hash of an agent, name of a person."""
    answer: str
    confidence: float = 1.0
    """Probability, in its own eyes, of its answer, in [0, 1]."""


class Consensus(NamedTuple):
    """The aggregated label of one item."""

    item: str
    answer: str
    """In the words of the most trusted source that gave it."""
    confidence: float
    """In [0, 1], by the lights of the rule that combined."""
    sources: tuple[str, ...]
    """Who gave this answer, oldest first."""


_UNKNOWN = 0.5
"""Reliability of a source of which nothing is known: its vote counts, but little."""


def combine(
    statements: Sequence[Statement],
    rule: Rule,
    *,
    order: Sequence[str] = (),
    reliability: Mapping[str, float] | None = None,
    choices: int | None = None,
) -> list[Consensus]:
    """Aggregate statements to one label per item, in order of appearance.

    Args:
        statements: at most one of each source about each item.
        rule: how votes are counted.
        order: sources from the oldest to the youngest; those left out are youngest, in
            order of appearance.
        reliability: source → probability of being right, for ``weighted``; see
            `superalign_training.oversight.reliability`.
        choices: how many answers an item can have, for ``weighted``; None: as many as were
            given.

    Raises:
        InvalidOption: Dawid–Skene without three sources that overlap.
    """
    if not statements:
        return []
    table = tabled(statements, order)
    combined = _counted(table, rule, reliability or {}, choices)
    trust = dict(zip(table.sources, combined.reliability, strict=True))
    trust |= dict(reliability or {})
    return [
        _worded(item, answer, confidence, table, trust)
        for item, answer, confidence in zip(
            table.items, combined.answers, combined.confidence, strict=True
        )
        if answer is not None
    ]


class VoteTable:
    """Statements as items × sources.

    Args:
        sources: the columns.
        said: item → source → statement: the rows.
    """

    def __init__(
        self, sources: Sequence[str], statements: Mapping[str, Mapping[str, Statement]]
    ) -> None:
        self.sources = tuple(sources)
        self.items = tuple(statements)
        self._said = statements
        self.votes = [
            [final_answer(row[s].answer) if s in row else None for s in sources]
            for row in statements.values()
        ]
        self.sureness = [
            [row[s].confidence if s in row else None for s in sources]
            for row in statements.values()
        ]

    def agreeing(self, item: str, key: str) -> list[Statement]:
        """Return the statements with an answer to an item, oldest source first."""
        row = self._said[item]
        return [
            row[s] for s in self.sources if s in row and final_answer(row[s].answer) == key
        ]


def without_some(
    statements: Sequence[Statement], share: float, *, key: int, exempt: Sequence[str] = ()
) -> list[Statement]:
    """Drop a share of the sources of each item, drawn by key.

    Which ones depends on the key and the item's name alone. Somebody is always left.

    Args:
        statements: of any items.
        share: of the sources of an item that is left out, in [0, 1]; rounded by a draw.
        key: of the draw.
        exempt: sources that are never left out.
    """
    if not share:
        return list(statements)
    by_item: dict[str, list[str]] = {}
    for statement in statements:
        by_item.setdefault(statement.item, []).append(statement.source)
    dropped: set[tuple[str, str]] = set()
    for item, sources in by_item.items():
        droppable = sorted(set(sources) - set(exempt))
        rng = generator(mix(key, label(item)))
        limit = len(droppable) if len(droppable) < len(sources) else len(droppable) - 1
        count = min(limit, int(len(droppable) * share + rng.random()))
        order = rng.permutation(len(droppable)).tolist()
        dropped.update((item, droppable[place]) for place in order[:count])
    return [
        statement
        for statement in statements
        if (statement.item, statement.source) not in dropped
    ]


def disagreement(statements: Sequence[Statement]) -> float:
    """Return the mean disagreement rate of pairs of sources on shared items.

    0 for a single source.
    """
    return mean_disagreement(tabled(statements).votes)


def tabled(statements: Sequence[Statement], order: Sequence[str] = ()) -> "VoteTable":
    """Return statements as a table, items in order of appearance.

    Args:
        statements: at most one of each source about each item.
        order: sources from the oldest to the youngest; those left out come last.
    """
    present = {statement.source for statement in statements}
    ranked = dict.fromkeys([*order, *(statement.source for statement in statements)])
    rows: dict[str, dict[str, Statement]] = {}
    for statement in statements:
        rows.setdefault(statement.item, {})[statement.source] = statement
    return VoteTable([source for source in ranked if source in present], rows)


def _counted(
    table: VoteTable, rule: Rule, reliability: Mapping[str, float], choices: int | None
) -> Combined:
    if rule == "majority":
        return majority(table.votes, items=table.items)
    if rule == "ancestors":
        return recency_weighted(table.votes, sureness=table.sureness, items=table.items)
    if rule == "dawid-skene":
        return dawid_skene(table.votes, items=table.items).combined
    weights = [reliability.get(source, _UNKNOWN) for source in table.sources]
    return weighted(table.votes, weights, categories=choices, items=table.items)


def _worded(
    item: str,
    key: str,
    confidence: float,
    table: VoteTable,
    trust: Mapping[str, float | None],
) -> Consensus:
    agreeing = table.agreeing(item, key)
    best = max(agreeing, key=lambda one: trust.get(one.source) or 0.0)
    return Consensus(
        item, best.answer, confidence, tuple(statement.source for statement in agreeing)
    )


LEAST_FOR_DAWID_SKENE = 3
"""Two sources that disagree cannot be told apart by agreement alone."""


def check(signals: SignalSettings, *, generations: int) -> None:
    """Raise for signals that cannot supervise a chain.

    Args:
        signals: the settings.
        generations: length of the chain; 0 supervises nobody, and everything is fine.

    Raises:
        InvalidOption: says what to change.
    """
    if not generations:
        return
    _check_people(signals)
    _check_twice(signals)
    sources = len(signals.models) + len(signals.personas)
    if not sources and not signals.labels:
        raise InvalidOption(
            "nobody supervises generation 1: it has no ancestors, and signals.labels=0 asks "
            "no people; set signals.labels to at least 2, or name signals.models or "
            "signals.personas"
        )
    if not sources and not labels_taught(signals):
        raise InvalidOption(
            f"of signals.labels={signals.labels} none is left to teach generation 1 from: "
            f"control_share={signals.control_share:g} and "
            f"random_share={signals.random_share:g} take them all; raise signals.labels or "
            "lower the shares"
        )
    if signals.combine == "dawid-skene" and sources < LEAST_FOR_DAWID_SKENE:
        raise InvalidOption(
            "signals.combine=dawid-skene needs three sources that answer the same tasks, and "
            f"generation 1 has {sources} (people answer too few, ancestors are none yet); name "
            f"{LEAST_FOR_DAWID_SKENE - sources} more in signals.models or signals.personas, or "
            "set signals.combine=weighted"
        )
    if signals.combine == "ancestors" and not signals.ancestors:
        raise InvalidOption(
            "signals.combine=ancestors is the vote of all ancestors, and "
            "signals.ancestors=false leaves them out; set one of them otherwise"
        )


def labels_on_control(signals: SignalSettings) -> int:
    """Return how many of people's answers go to control tasks."""
    return round(signals.labels * signals.control_share)


def labels_taught(signals: SignalSettings) -> int:
    """Return how many of people's answers are trained on, on average."""
    for_training = signals.labels - labels_on_control(signals)
    return for_training - round(for_training * signals.random_share)


def _check_people(signals: SignalSettings) -> None:
    names = [person.name for person in signals.people]
    if signals.labels and not names:
        raise InvalidOption(
            f"signals.labels={signals.labels} asks people, and signals.people names nobody; "
            "name somebody ({name: ann, accuracy: 0.9}), or set signals.labels=0"
        )
    if len(set(names)) < len(names):
        raise InvalidOption(
            f"signals.people has the same name twice ({', '.join(names)}); names are what "
            "their answers are recorded under: give each another"
        )


def _check_twice(signals: SignalSettings) -> None:
    names = [content_hash(reference) for reference in (*signals.models, *signals.personas)]
    for place, reference in enumerate((*signals.models, *signals.personas)):
        if names[place] in names[:place]:
            raise InvalidOption(
                f"signals.models and signals.personas name {reference!r} twice; the same source "
                "twice adds no information: name another, or another seed of it"
            )
