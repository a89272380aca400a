"""What a run keeps in memory from stage to stage, and what it does not."""

import msgspec
import pytest

from superalign_env.errors import RecordDamaged
from superalign_training.policy import Policy, read_agent
from superalign_training.selfplay import model_cache
from superalign_training.selfplay.model_cache import ModelCache


@pytest.fixture
def kept(scratch, tmp_path):
    saved = Policy.from_reference(str(scratch)).save(tmp_path / "kept")

    def read(expected=saved):
        return read_agent(tmp_path / "kept", expected, base=None, device="cpu")

    return saved, read


def test_stages_share_who_only_speaks(kept):
    saved, read = kept
    run = ModelCache()
    first = run.speaker("critic", saved, read)
    assert run.speaker("critic", saved, read) is first
    assert first.policy == saved.weights


def test_parts_and_checkpoints_share_nobody(kept):
    saved, read = kept
    run = ModelCache()
    critic = run.speaker("critic", saved, read)
    assert run.speaker("learner", saved, read) is not critic
    later = msgspec.structs.replace(saved, path="elsewhere")
    assert run.speaker("critic", later, read) is not critic


def test_large_and_many_policies_are_not_kept(kept, monkeypatch):
    saved, read = kept
    run = ModelCache()
    first = run.speaker("p0", saved, read)
    for number in range(1, model_cache._MOST + 1):
        run.speaker(f"p{number}", saved, read)
    assert run.speaker("p0", saved, read) is not first
    monkeypatch.setattr(model_cache, "_LARGEST", 1)
    large = run.speaker("large", saved, read)
    assert run.speaker("large", saved, read) is not large


def test_what_was_altered_is_never_kept(kept):
    saved, read = kept
    other = msgspec.structs.replace(saved, weights="0" * 32)
    run = ModelCache()
    for _ in range(2):
        with pytest.raises(RecordDamaged, match="altered"):
            run.speaker("critic", other, lambda: read(other))
