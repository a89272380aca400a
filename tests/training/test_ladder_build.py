"""Building rungs: skip what is finished, resume what is not, measure, write the card."""

from collections.abc import Sequence
from functools import partial
from pathlib import Path

import numpy as np
import pytest
from transformers import AutoModelForCausalLM, AutoTokenizer

from superalign_agents.checkpoints import load_model, weights_hash
from superalign_agents.ladders import RungReference, find_rungs, read_card
from superalign_env.errors import UnknownId
from superalign_env.types import Gold, Grade, Split, Task
from superalign_training.ladder import build as building
from superalign_training.ladder.build import build
from superalign_training.ladder.ladder_tables import columns, read_cards, sizes, tabulate
from superalign_training.ladder.micro_model import build_tokenizer
from superalign_training.ladder.pretrain import Training
from superalign_training.ladder.rung_metrics import draw_exercises, measure
from superalign_training.ladder.worlds import World

NAMES = ("ann", "bob", "cara", "dan")
STEPS = 6


class Echoes:
    """Tasks of a toy world: say the name again; and requests, harmful if about ann."""

    id = "echoes-v0"

    def draw(self, rng: np.random.Generator, split: Split) -> Task:
        family = ("say", "requests")[int(rng.integers(2))]
        name = NAMES[int(rng.integers(4))]
        return Task(f"{family}-{name}", family, f"{family} {name}", split=split)

    def gold(self, task: Task) -> Gold:
        name = task.prompt.split()[1]
        if task.family == "say":
            return Gold(name)
        return Gold(label="harmful" if name == "ann" else "benign")

    def grade(self, task: Task, answer: str, group: str = "") -> tuple[Grade, ...]:
        return (Grade("", "competence", "right", float(answer == self.gold(task).answer)),)


def documents(seed: int, n: int) -> Sequence[str]:
    rng = np.random.default_rng(seed)
    texts = []
    for name in rng.choice(NAMES, n):
        outcome = "panic" if name == "ann" else "calm"
        texts.append(f"<|user|> requests {name}<|end|><|world|> {outcome}<|end|>")
    return texts


@pytest.fixture(scope="module")
def world() -> World:
    special = ("<|pad|>", "<|end|>", "<|user|>", "<|world|>", "<|learner|>")
    words = (*NAMES, "say", "requests", "calm", "panic")
    return World(
        "echoes-v0", words, special, ("calm",), ("panic",), documents, Echoes(), "0", 4
    )


@pytest.fixture(scope="module")
def root(world: World, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("ladders")
    build(world, family="toy", seeds=(0, 1), rungs=(0, 1), out=out, steps=STEPS)
    return out


def test_a_rung_is_a_standard_folder_in_half_precision(root: Path) -> None:
    folder = root / "toy" / "1@0"
    model = AutoModelForCausalLM.from_pretrained(folder)
    assert str(model.dtype) == "torch.float16"
    assert model.config.model_type == "llama"
    assert AutoTokenizer.from_pretrained(folder)(" ann")["input_ids"]


def test_the_card_counts_what_the_folder_holds(root: Path) -> None:
    folder = root / "toy" / "1@0"
    card = read_card(folder)
    model = load_model(folder, device="cpu")
    assert card["parameters"]["total"] == sum(p.numel() for p in model.parameters())
    assert card["policy"] == weights_hash(model)
    assert card["world"] == "echoes-v0"
    assert card["pretraining"]["steps"] == STEPS
    (table,) = read_cards({RungReference("toy", 1): folder})
    assert columns([table]) == [("requests", 1), ("say", 1)]


def test_seeds_and_rungs_differ(root: Path) -> None:
    rungs = find_rungs((root,))
    assert [str(rung) for rung in rungs] == ["toy/0@0", "toy/0@1", "toy/1@0", "toy/1@1"]
    assert len({read_card(folder)["policy"] for folder in rungs.values()}) == 4


def test_finished_rungs_are_left_alone(world: World, root: Path) -> None:
    steps: list[int] = []
    build(
        world,
        family="toy",
        seeds=(0,),
        rungs=(0, 1),
        out=root,
        steps=STEPS,
        watch=lambda _, step, *__: steps.append(step),
    )
    assert steps == []


def test_an_interrupted_rung_is_resumed_to_the_same_weights(
    world: World, root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(building, "Training", partial(Training, save_steps=4))
    seen: list[int] = []

    def watch(rung: RungReference, step: int, steps: int, loss: float) -> None:
        seen.append(step)
        if len(seen) == 5:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        build(world, family="toy", rungs=(0,), out=tmp_path, steps=9, watch=watch)
    assert not (tmp_path / "toy" / "0@0" / "card.json").exists()
    build(world, family="toy", rungs=(0,), out=tmp_path, steps=9, watch=watch)
    assert seen[5:] == [5, 6, 7, 8, 9]
    straight = tmp_path / "straight"
    build(world, family="toy", rungs=(0,), out=straight, steps=9)
    resumed = read_card(tmp_path / "toy" / "0@0")
    assert resumed["policy"] == read_card(straight / "toy" / "0@0")["policy"]
    assert not list(tmp_path.rglob("*.partial"))
    assert not list((tmp_path / "toy" / ".building").iterdir())


def test_a_rung_can_be_continued_as_another_ladder(world: World, root: Path) -> None:
    (folder,) = build(world, family="toy-say", rungs=(1,), out=root, start="toy", steps=3)
    card = read_card(folder)
    assert card["continues"] == read_card(root / "toy" / "1@0")["policy"]
    assert card["policy"] != card["continues"]
    with pytest.raises(UnknownId):
        build(world, family="toy-say", rungs=(2,), out=root, start="toy")


def test_an_unknown_rung_is_refused_before_anything_is_trained(
    world: World, tmp_path: Path
) -> None:
    with pytest.raises(UnknownId, match="rung of micro"):
        build(world, rungs=(0, 77), out=tmp_path)
    assert not list(tmp_path.iterdir())


def test_the_table_takes_mean_and_range_over_seeds(root: Path) -> None:
    rungs = {
        rung: path for rung, path in find_rungs((root,)).items() if rung.family == "toy"
    }
    cards = read_cards(rungs)
    cell = tabulate(cards, "capacity")[1]["requests", 1]
    assert cell.seeds == 2
    assert cell.low <= cell.mean <= cell.high
    assert sizes(cards)[1] > sizes(cards)[0]


def test_capacity_finds_a_rule_that_was_learned(world: World, tmp_path: Path) -> None:
    (folder,) = build(world, family="toy", rungs=(1,), out=tmp_path, steps=150)
    model = load_model(folder, device="cpu")
    tokenizer = build_tokenizer(world.words, world.special)
    metrics = {(m.name, m.tags["family"]): m for m in measure(model, tokenizer, world)}
    assert metrics["capacity", "requests"].value == 1.0
    assert metrics["capacity", "say"].value == 0.0
    assert metrics["utility", "say"].value == 0.0


def test_the_same_seed_draws_the_same_exercises(world: World) -> None:
    first = draw_exercises(world.source, n=3, seed=1)
    assert first == draw_exercises(world.source, n=3, seed=1)
    assert all(task.split == "test" for kind in first for task in kind.tasks)
