"""Red-team whose roles, seats and options have other names: nothing may depend on ours."""

from typing import Any

from msgspec.structs import replace

from superalign_scenarios.red_team import RedTeam

NAMES = {"attacker": "a", "learner": "b", "critic": "c"}
BACK = {other: name for name, other in NAMES.items()}


def renamed(seat: str, names: dict[str, str]) -> str:
    role, _, number = seat.rpartition("_")
    return f"{names[role]}_{number}"


def all_renamed(things: Any, names: dict[str, str]) -> Any:
    return tuple([replace(one, seat=renamed(one.seat, names)) for one in things])


class Renamed:
    """The game of red-team, played by a, b and c."""

    id = "renamed-v0"

    def __init__(
        self, *, split: str = "train", untouched: float = 0.5, placed: float = 0.0
    ) -> None:
        self.inner = RedTeam(split=split, vanilla=untouched, plant=placed)
        self.source = self.inner.source
        self.renderer_id = self.inner.renderer_id
        self.max_utterance = self.inner.max_utterance
        self.seats = tuple([renamed(seat, NAMES) for seat in self.inner.seats])
        self.weights = {NAMES[r]: parts for r, parts in self.inner.weights.items()}
        self.options = {"split": split, "untouched": untouched, "placed": placed}
        self.variants = {
            "attacked": {"untouched": 0.0, "placed": 0.0},
            "plain": {"untouched": 1.0, "placed": 0.0},
            "planted": {"untouched": 0.0, "placed": 1.0},
        }
        self.facts = {fact: NAMES[role] for fact, role in self.inner.facts.items()}
        self.opinions = self.inner.opinions
        self.baselines = {NAMES[r]: named for r, named in self.inner.baselines.items()}

    def draw(self, rng):
        return self.inner.draw(rng)

    def reset(self, task, rng):
        return self.inner.reset(task, rng)

    def arm(self, state):
        return ""

    def to_move(self, state):
        return tuple([renamed(seat, NAMES) for seat in self.inner.to_move(state)])

    def view(self, state, seat):
        return self.inner.view(state, renamed(seat, BACK))

    def apply(self, state, utterances):
        step = self.inner.apply(state, all_renamed(utterances, BACK))
        seated = ("rewards", "grades", "judged", "planted", "queries")
        return replace(
            step, **{name: all_renamed(getattr(step, name), NAMES) for name in seated}
        )

    def gold(self, episode, turn, group=""):
        said = all_renamed(episode.utterances, BACK)
        return self.inner.gold(replace(episode, utterances=said), turn, group)

    def beats(self, episode):
        won = self.inner.beats(episode)
        return won and renamed(won, NAMES)
