"""The peer: TextArena's LLM-wrapped Kuhn poker, a fresh environment for every episode.

That is how it is used: an environment that is reset instead slows down from episode to
episode.
"""

import textarena


def kuhn_poker(turns: int) -> int:
    """Drive it until at least so many turns are played: both players check to the end."""
    played = 0
    while played < turns:
        env = textarena.make("KuhnPoker-v0")
        env.reset(num_players=2, seed=played)
        done = False
        while not done:
            env.get_observation()
            done, _ = env.step("[check]")
            played += 1
        env.close()
    return played
