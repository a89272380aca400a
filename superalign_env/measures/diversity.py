"""How many different things are said."""

from collections.abc import Iterable, Sequence


def distinct_share(texts: Sequence[str]) -> float:
    """Return the share of texts that are different: 1 when no two are alike.

    Raises:
        ValueError: no texts.
    """
    if not texts:
        raise ValueError("no texts, no diversity")
    return len(set(texts)) / len(texts)


def distinct_n(texts: Iterable[str], n: int = 2) -> float:
    """Return the share of different n-grams of words among all (Li et al. 2016).

    Texts shorter than n words have none; 0 where there is none at all.

    Raises:
        ValueError: n below 1.
    """
    if n < 1:
        raise ValueError(f"n-grams have at least one word, not {n}")
    grams: set[tuple[str, ...]] = set()
    total = 0
    for text in texts:
        words = text.split()
        found = [tuple(words[i : i + n]) for i in range(len(words) - n + 1)]
        grams.update(found)
        total += len(found)
    return len(grams) / total if total else 0.0
