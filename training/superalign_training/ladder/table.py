"""The ladder as numbers: one row per rung, one column per family and tier."""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import msgspec

from superalign_agents.ladders import RungReference, read_card
from superalign_env.types import Metric


class Card(NamedTuple):
    """One rung and what was measured of it."""

    reference: RungReference
    parameters: int
    world: str
    metrics: tuple[Metric, ...]


class Cell(NamedTuple):
    """One rung on one family and tier, over seeds."""

    mean: float
    low: float
    """Smallest seed."""
    high: float
    """Largest seed."""
    seeds: int


Column = tuple[str, int]
"""Family and tier."""


def read_cards(folders: Mapping[RungReference, Path]) -> list[Card]:
    """Return the cards of finished rungs, in the order given.

    Raises:
        RecordDamaged: a card cannot be read.
    """
    return [_card(reference, read_card(folder)) for reference, folder in folders.items()]


def _card(reference: RungReference, facts: Mapping[str, Any]) -> Card:
    metrics = msgspec.convert(facts["measures"], tuple[Metric, ...])
    return Card(reference, facts["parameters"]["total"], facts["world"], metrics)


def columns(cards: Sequence[Card]) -> list[Column]:
    """Return every family and tier in which something was measured."""
    tags = [metric.tags for card in cards for metric in card.metrics]
    return sorted({(tag["family"], int(tag["tier"])) for tag in tags if "family" in tag})


def tabulate(cards: Sequence[Card], name: str) -> dict[int, dict[Column, Cell]]:
    """Return rung → (family, tier) → mean and range over seeds.

    Args:
        cards: of one ladder.
        name: ``capacity`` or ``utility``.
    """
    values: dict[int, dict[Column, list[float]]] = defaultdict(lambda: defaultdict(list))
    for card in cards:
        for metric in card.metrics:
            if metric.name == name:
                column = (metric.tags["family"], int(metric.tags["tier"]))
                values[card.reference.rung][column].append(metric.value)
    return {
        rung: {column: _cell(seen) for column, seen in row.items()}
        for rung, row in sorted(values.items())
    }


def tabulate_moves(cards: Sequence[Card]) -> dict[int, dict[str, Cell]]:
    """Return rung → role → share of moves that the rules understand, over seeds."""
    values: dict[int, dict[str, list[float]]] = defaultdict(lambda: defaultdict(list))
    for card in cards:
        for metric in card.metrics:
            if metric.name == "moves":
                values[card.reference.rung][metric.tags["role"]].append(metric.value)
    return {
        rung: {role: _cell(seen) for role, seen in row.items()}
        for rung, row in sorted(values.items())
    }


def _cell(seen: Sequence[float]) -> Cell:
    return Cell(sum(seen) / len(seen), min(seen), max(seen), len(seen))


def sizes(cards: Sequence[Card]) -> dict[int, int]:
    """Return rung → number of parameters."""
    return {card.reference.rung: card.parameters for card in cards}
