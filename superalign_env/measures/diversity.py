"""Diversity of texts: distinct shares, entropy, Vendi score."""

from collections import Counter
from collections.abc import Iterable, Sequence
from math import fsum, log

import numpy as np
from numpy.typing import ArrayLike


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
        ngrams = [tuple(words[i : i + n]) for i in range(len(words) - n + 1)]
        grams.update(ngrams)
        total += len(ngrams)
    return len(grams) / total if total else 0.0


def entropy(weights: Iterable[float]) -> float:
    """Return the Shannon entropy of a distribution, in nats: 0 when one thing has it all.

    Args:
        weights: probabilities, or counts; they are brought to a sum of 1.

    Raises:
        ValueError: none above zero, or one below it.
    """
    outcomes = list(weights)
    total = fsum(outcomes)
    if not total > 0 or min(outcomes) < 0:
        raise ValueError("weights must not be below zero, and one must be above it")
    return max(0.0, -fsum(w / total * log(w / total) for w in outcomes if w > 0))


def answer_entropy(texts: Iterable[str]) -> float:
    """Return the entropy of texts, in nats: log of their number at most.

    Raises:
        ValueError: no texts.
    """
    return entropy(Counter(texts).values())


def vendi_score(similarity: ArrayLike) -> float:
    """Return the Vendi score: the effective number of different items.

    The exponential of the entropy of the eigenvalues of similarity/n (Friedman and Dieng
    2023): 1 when all are alike, n when none has anything in common.

    Args:
        similarity: [n, n], symmetric, positive semi-definite, 1 on the diagonal.

    Raises:
        ValueError: no such matrix.
    """
    kernel = np.asarray(similarity, np.float64)
    if kernel.ndim != 2 or kernel.shape[0] != kernel.shape[1] or not len(kernel):
        raise ValueError(f"a similarity of shape {kernel.shape} is no square matrix")
    if not np.allclose(kernel, kernel.T) or not np.allclose(np.diag(kernel), 1.0):
        raise ValueError("a similarity is symmetric and 1 on its diagonal")
    values = np.linalg.eigvalsh(kernel / len(kernel))
    if values.min() < -1e-8:
        raise ValueError("a similarity has no negative eigenvalues; take a kernel")
    return float(np.exp(entropy(np.maximum(values, 0.0).tolist())))


def vendi(texts: Sequence[str], n: int = 1) -> float:
    """Return the Vendi score of texts that are alike as far as they share n-grams of words.

    Similarity is the cosine of the counts of n-grams, up to n words each.

    Raises:
        ValueError: no texts, or n below 1.
    """
    if not texts or n < 1:
        raise ValueError("give at least one text, and n-grams of at least one word")
    counts = [_grams(text, n) for text in texts]
    columns = {
        gram: place
        for place, gram in enumerate(dict.fromkeys(g for c in counts for g in c))
    }
    rows = np.zeros((len(texts), len(columns)))
    for row, count in enumerate(counts):
        for gram, times in count.items():
            rows[row, columns[gram]] = times
    rows /= np.linalg.norm(rows, axis=1, keepdims=True)
    kernel = rows @ rows.T
    np.fill_diagonal(kernel, 1.0)
    return vendi_score(kernel)


def _grams(text: str, n: int) -> Counter[tuple[str, ...]]:
    words = text.split() or [""]
    return Counter(
        tuple(words[start : start + size])
        for size in range(1, n + 1)
        for start in range(len(words) - size + 1)
    )
