"""One episode through the public interface."""

from collections.abc import Mapping, Sequence

from superalign_env.admission import objection
from superalign_env.aec import OrderedEnv, RawAECEnv
from superalign_env.asking import ask, failure
from superalign_env.codec import encode
from superalign_env.errors import InvalidUtterance
from superalign_env.protocols import EpisodeSink
from superalign_env.rollout.seating import Sitter, seated
from superalign_env.types import Episode, Seat


def play(
    env: OrderedEnv | RawAECEnv,
    agents: Mapping[Seat, Sitter],
    sinks: Sequence[EpisodeSink] = (),
) -> Episode:
    """Play the environment's next case to its end and return the record.

    An agent that fails ends the episode as failed; it raises nothing here.

    Args:
        env: what `superalign_env.env` makes.
        agents: who sits in which seat: agents, functions from text to text, or references
            such as ``search`` and ``micro/3``.
        sinks: get the episode.

    Raises:
        InvalidOption: an empty seat, or an agent for a seat that does not exist.
    """
    players = seated(env.scenario, agents)
    env.reset()
    env.game.seats = {seat: player.spec for seat, player in players.items()}
    for seat in env.agent_iter(max_iter=1 << 62):
        _, _, terminated, truncated, info = env.last()
        if terminated or truncated:
            env.step(None)
            continue
        reply = ask(players[seat], [info["view"]])[0]
        try:
            env.step(encode(reply))
        except InvalidUtterance:
            env.step(
                encode(
                    failure(
                        f"InvalidUtterance: {objection(reply.text, env.scenario.max_utterance)}"
                    )
                )
            )
    episode = env.game.episode()
    for sink in sinks:
        sink.write([episode])
    return episode
