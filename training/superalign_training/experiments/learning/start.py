"""Where every condition of a seed begins: a rung that knows the moves of errand, no policy.

It is taught to say what can be said, by moves drawn evenly from the menus. Nothing says
which are good.
"""

from collections.abc import Sequence
from pathlib import Path

from superalign_env.game import Game
from superalign_env.lookup import make_scenario
from superalign_env.seeding import generator, mix
from superalign_env.types import EpisodeKey, Reply
from superalign_training.algorithms.sft import Sft
from superalign_training.data import Example
from superalign_training.policy import Policy

LADDER_SEEDS = 5
"""Seeds of the ladder that ships: a run seed takes them in turn."""

_RUN = 1 << 20
"""Apart from all run seeds, so that nothing is learned on the cases of the warm start."""


def make_start(
    folder: Path, *, rung: int, games: int, courses: Sequence[tuple[int, float]], seed: int
) -> None:
    """Write the initial policy of a seed, without any moments of an optimiser.

    Args:
        folder: gets the folder ``policy``.
        rung: of the micro ladder.
        games: how many random games are imitated.
        courses: (steps, rate) of supervised fine-tuning, one after the other.
        seed: names the rung's seed too.
    """
    policy = Policy.from_reference(f"micro/{rung}@{seed % LADDER_SEEDS}")
    examples = random_moves(policy, games, seed=seed)
    for number, (steps, rate) in enumerate(courses):
        course = Sft(
            steps=steps, learning_rate=rate, batch_size=64, num_train_epochs=float(steps)
        )
        course.improve(policy, examples, seed=mix(seed, number))
    policy.restore(policy.snapshot())  # forgets the moments
    policy.save(folder / "policy")


def random_moves(policy: Policy, games: int, *, seed: int) -> list[Example]:
    """Return every turn of games in which each word of the menu is as likely."""
    scenario = make_scenario("errand")
    examples = []
    for case in range(games):
        game = Game(scenario, EpisodeKey(run=_RUN + seed, case=case))
        while not game.over:
            (view,) = game.views()
            word = view.menu[int(generator(view.seed).integers(len(view.menu)))]
            examples.append(
                Example(policy.prompt_ids(view), policy.reply_ids(view, word), ("random",))
            )
            game.step([Reply(word)])
    return examples
