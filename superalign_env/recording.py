"""How a live game becomes a record: names, hashes, and what the rules were."""

from collections.abc import Sequence
from typing import Any

from superalign_env.canonical import content_hash
from superalign_env.protocols import Scenario
from superalign_env.types import EpisodeKey, Utterance, View


def episode_id(key: EpisodeKey) -> str:
    """Return the name of an episode, unique within a run."""
    run = key.run & 0xFFFFFFFF
    return f"g{key.generation}-r{key.round}-c{key.case}-m{key.member}-{run:08x}"


def view_hash(view: View) -> str:
    """Return the content hash of what a seat was shown."""
    return content_hash(view, floats=bool(view.schema or view.tools))


def with_hashes(
    utterances: Sequence[Utterance], views: Sequence[View]
) -> tuple[Utterance, ...]:
    """Return utterances that name the views which they answer."""
    return tuple(
        [
            Utterance(u.seat, u.turn, u.group, u.text, u.reply, u.repair, view_hash(view))
            for u, view in zip(utterances, views, strict=True)
        ]
    )


def rules_of(scenario: Scenario[Any]) -> dict[str, Any]:
    """Return the fields of an `Episode` that say which rules it was played by."""
    return {
        "scenario": scenario.id,
        "options": scenario.options,
        "renderer": scenario.renderer_id,
        "source": scenario.source.id,
        "weights": {role: dict(parts) for role, parts in scenario.weights.items()},
    }
