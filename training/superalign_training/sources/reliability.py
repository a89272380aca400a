"""How far to trust a source when nobody knows the truth."""

from collections import Counter
from collections.abc import Mapping, Sequence

from superalign_env.final_answers import final_answer
from superalign_training.sources.statements import Statement

LEAST = 5
"""Labels of people that a source must have met to be weighed by them."""


def reliability(
    statements: Sequence[Statement], people: Sequence[Statement] = ()
) -> dict[str, float]:
    """Return source → how often it is right, as far as that can be known without gold.

    It is the share of (other) people's labels that a source agrees with; for one that met
    fewer than `LEAST` of them, the share of items on which it says what most of the others
    say. One agreement and one disagreement are added, so that few items say little; a
    source that shares no item with anybody is at 0.5.

    Agreement with people falls short of accuracy by what people get wrong, for all sources
    alike, and agreement with peers flatters those who err together.

    Args:
        statements: of all sources, about any items.
        people: what people said of items that were drawn at random; of disputed ones, all
            sources would look worse than they are.
    """
    said: dict[str, dict[str, str]] = {}
    for one in statements:
        said.setdefault(one.source, {})[one.item] = final_answer(one.answer)
    votes = _votes(said)
    found: dict[str, float] = {}
    for source, answers in said.items():
        met = [
            answers[label.item] == final_answer(label.answer)
            for label in people
            if label.source != source and label.item in answers
        ]
        if len(met) >= LEAST:
            found[source] = _smoothed(sum(met), len(met))
        else:
            found[source] = _among_peers(answers, votes)
    return found


def _votes(said: Mapping[str, Mapping[str, str]]) -> dict[str, Counter[str]]:
    votes: dict[str, Counter[str]] = {}
    for answers in said.values():
        for item, answer in answers.items():
            votes.setdefault(item, Counter())[answer] += 1
    return votes


def _among_peers(answers: Mapping[str, str], votes: Mapping[str, Counter[str]]) -> float:
    """Return how often a source says what most others say; ties among them count in part."""
    agreed, met = 0.0, 0
    for item, answer in answers.items():
        others = votes[item].copy()
        others[answer] -= 1
        most = max(others.values())
        if most <= 0:
            continue
        leading = [other for other, count in others.items() if count == most]
        met += 1
        agreed += (answer in leading) / len(leading)
    return _smoothed(agreed, met)


def _smoothed(agreed: float, met: int) -> float:
    return (agreed + 1.0) / (met + 2.0)
