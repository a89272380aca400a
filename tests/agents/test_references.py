"""One way to write down an agent."""

import subprocess
import sys
from pathlib import Path

import pytest
from transformers import LlamaForCausalLM

import superalign_env
from superalign_agents.ladders import (
    SHIPPED,
    RungReference,
    find_rungs,
    read_card,
    rung_folder,
)
from superalign_agents.references import make_agent
from superalign_agents.scripted import Fixed
from superalign_agents.transformer import TransformerAgent
from superalign_env.errors import InvalidOption, RecordDamaged, UnknownId
from superalign_training.ladder.build import write_card, write_folder
from superalign_training.ladder.micro_model import Size, build_config, build_tokenizer


@pytest.fixture
def ladder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A root with one scratch rung, ``toy/1@0``."""
    tokenizer = build_tokenizer(("ann",), ("<|pad|>", "<|end|>"))
    config = build_config(
        Size(8, 1, 2, 16, 1, 1e-3), vocabulary=len(tokenizer), end=1, pad=0
    )
    folder = tmp_path / "toy" / "1@0"
    write_folder(LlamaForCausalLM(config), tokenizer, folder)
    write_card({"parameters": {"total": 1}}, folder)
    monkeypatch.setenv("SUPERALIGN_LADDERS", str(tmp_path))
    return tmp_path


def test_a_registered_id_makes_that_agent() -> None:
    agent = make_agent({"id": "fixed", "text": "comply"})
    assert isinstance(agent, Fixed)
    assert make_agent("always-refuse").spec.id == "always-refuse"


def test_an_agent_is_its_own_reference() -> None:
    agent = Fixed("comply")
    assert make_agent(agent) is agent


def test_a_rung_is_found_and_recorded_under_its_name(ladder: Path) -> None:
    agent = make_agent("toy/1")
    assert isinstance(agent, TransformerAgent)
    assert agent.spec.id == "toy/1"
    assert agent.spec.policy


def test_options_reach_the_model(ladder: Path) -> None:
    agent = make_agent({"id": "toy/1@0", "temperature": 0.5, "max_context": 32})
    assert agent.spec.options["temperature"] == 0.5
    assert agent.spec.options["max_context"] == 32


def test_a_spec_makes_the_same_agent_again(ladder: Path) -> None:
    spec = make_agent({"id": "toy/1", "temperature": 0.5}).spec
    assert make_agent({"id": spec.id, **spec.options}).spec == spec


def test_a_folder_is_a_reference(ladder: Path) -> None:
    folder = ladder / "toy" / "1@0"
    agent = make_agent(folder)
    assert isinstance(agent, TransformerAgent)
    assert agent.spec.id == str(folder)


def test_an_endpoint_takes_the_rest_as_its_model() -> None:
    agent = make_agent({"id": "endpoint:tiny", "base_url": "http://127.0.0.1:9/v1"})
    assert agent.spec.options["model"] == "tiny"


def test_an_unknown_name_is_answered_with_the_nearest() -> None:
    with pytest.raises(UnknownId, match="did you mean search"):
        make_agent("serch")


def test_an_unknown_rung_says_how_to_build_it(ladder: Path) -> None:
    with pytest.raises(UnknownId, match=r"toy/1@0.*superalign ladder build .*--rungs 7"):
        make_agent("toy/7")


def test_a_mapping_needs_an_id() -> None:
    with pytest.raises(InvalidOption, match="needs an id"):
        make_agent({"temperature": 1.0})


def test_an_unknown_option_is_an_invalid_option(ladder: Path) -> None:
    with pytest.raises(InvalidOption, match="'toy/1' has no option 'warmth'; known: "):
        make_agent({"id": "toy/1", "warmth": 1.0})
    with pytest.raises(InvalidOption, match="'temprature'; did you mean temperature"):
        make_agent({"id": "toy/1", "temprature": 1.0})
    with pytest.raises(InvalidOption, match="warmth"):
        make_agent({"id": "fixed", "text": "x", "warmth": 1.0})


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("micro/3", RungReference("micro", 3, 0)),
        ("micro/3@2", RungReference("micro", 3, 2)),
        ("micro-writing/0@11", RungReference("micro-writing", 0, 11)),
        ("micro", None),
        ("micro/x", None),
        ("../3", None),
        ("a/b/3", None),
    ],
)
def test_rung_references_are_read(text: str, expected: RungReference | None) -> None:
    assert RungReference.parse(text) == expected
    if expected is not None:
        assert RungReference.parse(str(expected)) == expected


def test_an_unfinished_rung_does_not_count(ladder: Path) -> None:
    (ladder / "toy" / "1@0" / "card.json").unlink()
    assert RungReference("toy", 1) not in find_rungs()
    with pytest.raises(UnknownId):
        rung_folder(RungReference("toy", 1))


def test_a_broken_card_is_named(ladder: Path) -> None:
    folder = ladder / "toy" / "1@0"
    (folder / "card.json").write_text("{")
    with pytest.raises(RecordDamaged, match="rebuild the rung"):
        read_card(folder)


def test_references_do_not_import_torch_until_they_must() -> None:
    code = (
        "import sys; from superalign_agents.references import make_agent;"
        "make_agent('always-comply'); assert 'torch' not in sys.modules, 'torch'"
    )
    roots = [str(root) for root in (SHIPPED.parents[1], SHIPPED.parents[2])]
    done = subprocess.run(
        [sys.executable, "-c", f"import sys; sys.path[:0] = {roots}; {code}"],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr


def test_a_reference_sits_wherever_an_agent_does():
    written = {
        "attacker_0": "random-menu",
        "learner_0": {"id": "fixed", "text": "refuse"},
        "critic_0": "keyword",
    }
    made = {seat: make_agent(reference) for seat, reference in written.items()}
    env = superalign_env.env("red-team")
    assert superalign_env.play(env, written) == superalign_env.play(
        superalign_env.env("red-team"), made
    )
    assert superalign_env.Rollouts("red-team", written).run(3) == superalign_env.Rollouts(
        superalign_env.make_scenario("red-team"), made
    ).run(3)
    others = {seat: written[seat] for seat in ("attacker_0", "critic_0")}
    one = superalign_env.one_seat_env("red-team", seat="learner_0", others=others)
    assert one.others["critic_0"].spec == made["critic_0"].spec


@pytest.mark.parametrize(
    ("reference", "error", "said"),
    [
        ("serch", UnknownId, "search"),
        ({"id": "fixed"}, InvalidOption, "needs the option 'text'"),
        ({"text": "x"}, InvalidOption, "needs an id"),
        (5, InvalidOption, "the id of an agent"),
    ],
)
def test_a_seat_that_nobody_can_fill_says_why(reference, error, said):
    agents = {"attacker_0": "search", "learner_0": reference, "critic_0": "keyword"}
    with pytest.raises(error, match=said):
        superalign_env.Rollouts("red-team", agents)


@pytest.mark.parametrize(
    ("source", "said"),
    [
        ("raise RuntimeError('at import')", "cannot be imported: RuntimeError: at import"),
        ("def Agent(:", "cannot be imported: SyntaxError"),
        ("import sys; sys.exit(3)", "cannot be imported: SystemExit: 3"),
        ("class Agent:\n def __init__(self): 1 / 0", "cannot be made: ZeroDivisionError"),
    ],
)
def test_a_module_that_breaks_is_said_in_words(source, said, tmp_path, monkeypatch):
    (tmp_path / "broken_module.py").write_text(source)
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delitem(sys.modules, "broken_module", raising=False)
    with pytest.raises(InvalidOption, match=said):
        make_agent("broken_module:Agent")


@pytest.mark.parametrize("name", ["./gone", "/gone/too", "x" * 5000, "~\x00"])
def test_a_folder_that_is_none_is_said_to_be_none(name):
    with pytest.raises(UnknownId, match="no agent is called") as raised:
        make_agent(name)
    assert ("no such folder" in str(raised.value)) == name.startswith((".", "/", "~"))
