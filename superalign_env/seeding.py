"""Every random number comes from here.

A key (run, generation, round, case, member, seat, turn) is mixed into one 63-bit
integer, a splitmix64 step for each component, so that neighbouring keys share nothing.
"""

import zlib

import numpy as np

from superalign_env.types import EpisodeKey, Seat

_MASK = (1 << 64) - 1


def mix(seed: int, *components: int) -> int:
    """Return 63 bits that depend on every component and on their order."""
    for component in components:
        seed = (seed + 0x9E3779B97F4A7C15 + component * 0xD1B54A32D192ED03) & _MASK
        seed = ((seed ^ (seed >> 30)) * 0xBF58476D1CE4E5B9) & _MASK
        seed = ((seed ^ (seed >> 27)) * 0x94D049BB133111EB) & _MASK
        seed ^= seed >> 31
    return seed >> 1


def label(text: str) -> int:
    """Return a stable number for a name, to be mixed in (never Python's `hash`)."""
    return zlib.crc32(text.encode())


def case_seed(key: EpisodeKey) -> int:
    """Return the seed of the rules: all members of a case share it."""
    return mix(key.run & _MASK, key.generation, key.round, key.case)


def turn_seed(key: EpisodeKey, seat: Seat, turn: int, member: int | None = None) -> int:
    """Return the seed of one reply.

    Args:
        key: the episode.
        seat: who speaks.
        turn: index of the utterance.
        member: overrides the key's member; forked groups share a prefix by passing 0
            for the turns before the fork.
    """
    return mix(case_seed(key), key.member if member is None else member, label(seat), turn)


def generator(seed: int) -> np.random.Generator:
    """Return the generator of one episode's rules (Philox: counter based, fast to make)."""
    return np.random.Generator(np.random.Philox(key=seed))
