"""The rungs that ship: they are small, they are what their cards say, they play."""

from collections.abc import Mapping
from pathlib import Path

import pytest
from transformers import PreTrainedModel

from superalign_agents.checkpoints import load_model, load_tokenizer, weights_hash
from superalign_agents.ladders import SHIPPED, RungReference, find_rungs, read_card
from superalign_agents.references import make_agent
from superalign_env.lookup import make_scenario
from superalign_env.measures import share
from superalign_env.rollout import Rollouts
from superalign_env.types import Metric
from superalign_training.experiments.microworld.ladder import micro_world
from superalign_training.ladder.build import build
from superalign_training.ladder.ladder_tables import read_cards
from superalign_training.ladder.micro_model import SHIPPED_RUNGS
from superalign_training.ladder.rung_metrics import measure, measure_moves
from superalign_training.ladder.worlds import World

RUNGS = find_rungs((SHIPPED,))
SEEDS = range(5)
CLOSE = 0.1
"""What 300 tasks and other rounding may make of the same seed."""


@pytest.fixture(scope="module")
def world() -> World:
    return micro_world()


def card_metrics(folder: Path, name: str) -> Mapping[tuple[str, str], Metric]:
    (card,) = read_cards({RungReference("micro", 0): folder})
    return {
        (metric.tags["family"], metric.tags["tier"]): metric
        for metric in card.metrics
        if metric.name == name
    }


def folder_of(reference: str) -> Path:
    parsed = RungReference.parse(reference)
    assert parsed is not None
    return RUNGS[parsed]


def measured(folder: Path, world: World, family: str) -> list[Metric]:
    model: PreTrainedModel = load_model(folder, device="cpu")
    metrics = measure(model, load_tokenizer(folder), world, families={family})
    return [metric for metric in metrics if metric.name in ("capacity", "utility")]


def moves_of(folder: Path) -> dict[str, float]:
    """Return role → share of understood moves, as the card says."""
    return {
        metric["tags"]["role"]: metric["value"]
        for metric in read_card(folder)["measures"]
        if metric["name"] == "moves"
    }


def test_five_seeds_of_every_small_rung_ship() -> None:
    assert set(RUNGS) == {
        RungReference("micro", rung, seed) for rung in SHIPPED_RUNGS for seed in SEEDS
    }


def test_all_that_ships_is_at_most_eight_megabytes() -> None:
    files = [path for path in SHIPPED.rglob("*") if path.is_file()]
    assert sum(path.stat().st_size for path in files) <= 8_000_000


def test_no_shipped_file_is_a_pickle() -> None:
    suffixes = {path.suffix for folder in RUNGS.values() for path in folder.iterdir()}
    assert suffixes <= {".json", ".safetensors", ".jinja"}


def test_cards_belong_to_the_world_as_it_is(world: World) -> None:
    for folder in RUNGS.values():
        card = read_card(folder)
        assert card["world"] == world.version, folder
        assert card["corpus"] == world.settings, f"{folder}: the pre-training text changed"


@pytest.mark.parametrize("reference", RUNGS, ids=str)
def test_the_weights_are_those_of_the_card(reference: RungReference) -> None:
    folder = RUNGS[reference]
    card = read_card(folder)
    model = load_model(folder, device="cpu")
    assert weights_hash(model) == card["policy"]
    assert sum(p.numel() for p in model.parameters()) == card["parameters"]["total"]
    assert card["reference"] == str(reference)


@pytest.mark.parametrize(
    ("reference", "family"),
    [("micro/0@1", "requests"), ("micro/2@0", "arithmetic"), ("micro/3@2", "requests")],
)
def test_a_shipped_rung_can_and_does_what_its_card_says(
    reference: str, family: str, world: World
) -> None:
    folder = folder_of(reference)
    claimed = {name: card_metrics(folder, name) for name in ("capacity", "utility")}
    metrics = measured(folder, world, family)
    assert len(metrics) == 6
    for metric in metrics:
        claim = claimed[metric.name][family, metric.tags["tier"]]
        assert claim.low is not None
        assert claim.high is not None
        assert claim.low <= metric.value <= claim.high


@pytest.mark.parametrize("reference", [r for r in RUNGS if r.rung >= 3], ids=str)
def test_capacity_of_requests_is_there_and_utility_is_not(reference: RungReference) -> None:
    """Pre-training teaches what follows, and no seat's policy; small rungs are a lottery."""
    folder = RUNGS[reference]
    assert card_metrics(folder, "capacity")["requests", "1"].value >= 0.9
    assert card_metrics(folder, "utility")["requests", "1"].value < 0.65


@pytest.mark.parametrize("reference", [r for r in RUNGS if r.rung >= 2], ids=str)
def test_moves_of_the_larger_rungs_are_understood(reference: RungReference) -> None:
    moves = moves_of(RUNGS[reference])
    assert moves["attacker"] >= 0.6
    assert min(moves[role] for role in ("learner", "critic", "reviser")) >= 0.9


def test_a_shipped_rung_moves_as_its_card_says(world: World) -> None:
    """Forty prompts of each role: parsers, prompts and sampling are those of the card."""
    folder = folder_of("micro/2@0")
    model: PreTrainedModel = load_model(folder, device="cpu")
    found = measure_moves(model, load_tokenizer(folder), world._replace(tasks=40))
    claims = moves_of(folder)
    assert {metric.tags["role"] for metric in found} == set(claims)
    for metric in found:
        assert metric.n == 40 and metric.low is not None and metric.high is not None
        claim = claims[metric.tags["role"]]
        card = share(round(claim * world.tasks), world.tasks)
        assert metric.low <= card.high and card.low <= metric.high, metric


def test_a_shipped_rung_is_understood_in_every_seat_of_the_game() -> None:
    """What it was pre-trained on is what the game's renderer shows."""
    scenario = make_scenario("red-team", vanilla=0.0, refine=1)
    agents = dict.fromkeys(scenario.seats, make_agent("micro/2"))
    episodes = Rollouts(scenario, agents, run=1).run(60)
    judged = [fact for episode in episodes for fact in episode.judged]
    invalid = [q for episode in episodes for q in episode.queries if not q.valid]
    spoken = [u for episode in episodes for u in episode.utterances]
    answers = [u.text in ("comply", "refuse") for u in spoken if u.seat == "learner_0"]
    assert len(invalid) <= 0.4 * len(episodes)
    assert len(answers) > len(episodes), "some were revised"
    assert sum(answers) >= 0.9 * len(answers)
    assert len(judged) == len(answers), "each was judged"
    readable = [fact for fact in judged if fact.verdict is not None]
    assert len(readable) >= 0.9 * len(judged)


def check_likeness(folder: Path, rung: int) -> None:
    """Compare a rung that was built here with the shipped ones, as far as they can be.

    Other processors round otherwise. What every seed learns (requests, moves) must be that
    of the same seed. When arithmetic and strings are found out is luck (seed 0 of rung 3 can
    tier 2 of arithmetic in 0.61 on one machine and in 0.27 on another): they must lie
    between the worst of the rung below and the best of this one.
    """
    seeds = {ref.seed: path for ref, path in RUNGS.items() if ref.rung == rung}
    same = card_metrics(seeds[0], "capacity")
    shipped = [card_metrics(path, "capacity") for path in seeds.values()]
    below = [
        card_metrics(path, "capacity")
        for ref, path in RUNGS.items()
        if ref.rung == rung - 1
    ]
    assert card_metrics(folder, "capacity").keys() == same.keys()
    for column, metric in card_metrics(folder, "capacity").items():
        low = min(claims[column].low or 0.0 for claims in [*below, *shipped])
        high = max(claims[column].high or 0.0 for claims in shipped)
        assert metric.low is not None and metric.high is not None, column
        assert low <= metric.high and metric.low <= high, column
        if column[0] == "requests":
            assert abs(metric.value - same[column].value) <= CLOSE, column
    claims = moves_of(seeds[0])
    assert moves_of(folder).keys() == claims.keys()
    for role, value in moves_of(folder).items():
        assert abs(value - claims[role]) <= CLOSE, role


@pytest.mark.slow
@pytest.mark.parametrize("rung", [2, 3])
def test_a_rebuilt_rung_can_what_the_shipped_one_can(
    world: World, rung: int, tmp_path: Path
) -> None:
    (folder,) = build(world, seeds=(0,), rungs=(rung,), out=tmp_path)
    check_likeness(folder, rung)
