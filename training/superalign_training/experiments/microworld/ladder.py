"""The world ``microworld`` of the ladder: its text, words and tasks."""

from superalign_env.canonical import content_hash
from superalign_scenarios.microworld import pretraining, words
from superalign_scenarios.microworld.family import TIERS
from superalign_scenarios.microworld.source import FAMILIES, MicroWorld
from superalign_training.ladder.worlds import World

MIXTURE = pretraining.DocumentMixture(
    stories=0.34,
    answers=0.12,
    transcripts=0.09,
    attacks=0.07,
    facts=0.07,
    arithmetic=0.13,
    strings=0.10,
    writing=0.06,
    debates=0.015,
    commands=0.005,
)
"""More facts and exercises than the default: facts give the hidden levels of words a name
and halve the time to the phase change of requests."""

_SAMPLE = 2000


def micro_world(focus: str = "", *, tasks: int = 300) -> World:
    """Return the embedded microworld.

    Args:
        focus: a kind of document, mostly a task family, that more than half of the text
            shall be; empty for the usual mixture.
        tasks: how many held-out tasks measure each family and tier.

    Raises:
        InvalidOption: no such kind.
    """
    mixture = pretraining.focused(focus) if focus else MIXTURE

    def documents(seed: int, n: int) -> list[str]:
        return pretraining.corpus(seed, n, mixture)

    return World(
        version=words.WORLD_VERSION,
        words=words.VOCABULARY,
        special=words.SPECIAL_TOKENS,
        good=words.GOOD_OUTCOMES,
        bad=words.BAD_OUTCOMES,
        documents=documents,
        source=MicroWorld(families=FAMILIES, tiers=TIERS),
        settings=content_hash(documents(0, _SAMPLE)),
        tasks=tasks,
    )
