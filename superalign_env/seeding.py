"""Seeds and generators of all random numbers.

A key (run, generation, round, case, member, seat, turn) is mixed into one 63-bit
integer, a step for each component, so that neighbouring keys share nothing.
"""

import operator
import threading
import zlib
from collections.abc import Sequence
from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from superalign_env.errors import InvalidOption
from superalign_env.types import EpisodeKey, Seat

_MASK = (1 << 64) - 1
_SEED_MASK = (1 << 63) - 1


def _stir(seed: int, component: int) -> int:
    """One splitmix64 step (Steele, Lea and Flood 2014) that takes a component in."""
    seed = (seed + 0x9E3779B97F4A7C15 + component * 0xD1B54A32D192ED03) & _MASK
    seed = ((seed ^ (seed >> 30)) * 0xBF58476D1CE4E5B9) & _MASK
    seed = ((seed ^ (seed >> 27)) * 0x94D049BB133111EB) & _MASK
    return seed ^ (seed >> 31)


def whole_seed(seed: object) -> int:
    """Return the seed of a run as a Python integer; NumPy's are taken, too.

    Raises:
        InvalidOption: it is no integer.
    """
    if type(seed).__name__ in ("bool", "bool_") or not hasattr(seed, "__index__"):
        raise InvalidOption(f"a seed is an integer, not {seed!r}")
    try:
        return operator.index(seed)
    except TypeError as error:  # an array of several
        raise InvalidOption(f"a seed is an integer, not {seed!r}") from error


def whole_number(name: str, value: object, *, least: int = 0) -> int:
    """Return a number of an option as a Python integer; NumPy's are taken, too.

    Raises:
        InvalidOption: it is no integer from `least` on that the record can hold.
    """
    # An integer of NumPy has `__index__`, and so has its bool, which is none.
    number = getattr(value, "__index__", None)
    if number is None or type(value).__name__ in ("bool", "bool_"):
        raise InvalidOption(f"{name} must be an integer ≥ {least}, not {value!r}")
    try:
        whole = operator.index(value)  # type: ignore[arg-type]  # it has `__index__`
    except TypeError:  # an array of several
        whole = -1
    if not least <= whole < 1 << 62:
        raise InvalidOption(f"{name} must be an integer ≥ {least}, not {value!r}")
    return whole


def mix(seed: int, *components: int) -> int:
    """Return 63 bits that depend on every component and on their order."""
    for component in components:
        seed = _stir(seed, component)
    return seed >> 1


@lru_cache(maxsize=4096)
def label(text: str) -> int:
    """Return a stable number for a name, to be mixed in (never Python's `hash`)."""
    return zlib.crc32(text.encode())


@lru_cache(maxsize=256)
def _round(run: int, generation: int, round: int) -> int:
    return _stir(_stir(run & _MASK, generation), round)


def case_seed(key: EpisodeKey) -> int:
    """Return the seed of the rules: all members of a case share it."""
    return _stir(_round(key.run, key.generation, key.round), key.case) >> 1


def seat_seed(case: int, member: int, seat: Seat) -> int:
    """Return the seed of a seat in one episode, from which its turns' seeds are made.

    Args:
        case: the `case_seed`.
        member: forked groups share a prefix by passing 0 for the turns before the fork.
        seat: who speaks.
    """
    return _stir(case ^ label(seat), member) >> 1


def turn_seed(seat: int, turn: int) -> int:
    """Return the seed of one reply: 63 bits.

    A multiply and a fold (wyrand): half the price of `mix`, paid for every turn.

    Args:
        seat: the `seat_seed`.
        turn: index of the utterance.
    """
    seat = (seat + turn * 0x9E3779B97F4A7C15) & _MASK
    product = seat * (seat ^ 0xE7037ED1A0B428DB)
    return (product ^ (product >> 64)) & _SEED_MASK


def generator(seed: int) -> np.random.Generator:
    """Return the generator of one episode's rules (Philox: counter based, fast to make)."""
    return np.random.Generator(np.random.Philox(key=seed))


def uniforms(seeds: Sequence[int], n: int) -> NDArray[np.float32]:
    """Return uniform numbers in [0, 1), [B, n], one stream for each seed.

    A splitmix64 generator a row, all of them at once: row b depends on ``seeds[b]`` alone.
    The numbers have 23 bits, so that one times a float32 total stays below that total.

    Args:
        seeds: B seeds of 63 bits.
        n: numbers of each row.
    """
    keys = np.array(seeds, dtype=np.uint64)[:, None]
    steps = np.arange(1, n + 1, dtype=np.uint64)[None, :]
    mixed = keys + steps * np.uint64(0x9E3779B97F4A7C15)  # wraps around, as it should
    mixed = (mixed ^ (mixed >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    mixed = (mixed ^ (mixed >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    mixed ^= mixed >> np.uint64(31)
    numbers: NDArray[np.float32] = (mixed >> np.uint64(41)).astype(np.float32)
    return numbers * np.float32(2.0**-23)


class _Reused(threading.local):
    """One generator per thread, set to another key instead of being made anew."""

    def __init__(self) -> None:
        self.bits = np.random.Philox(key=0)
        self.rng = np.random.Generator(self.bits)
        self.key = [0, 0]
        # Lists, though numpy itself gives arrays: reading those takes twice as long.
        self.start: Any = {
            **self.bits.state,
            "state": {"counter": [0] * 4, "key": self.key},
            "buffer": [0] * 4,
        }


_reused = _Reused()


def rules_generator(seed: int) -> np.random.Generator:
    """Return `generator(seed)` at a tenth of its cost, valid until the thread's next call.

    For the rules of one episode, which draw everything at reset and keep nothing of it.
    """
    reused = _reused
    reused.key[0] = seed
    reused.bits.state = reused.start
    return reused.rng
