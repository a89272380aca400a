"""A reward model: a language model's body with a scalar head.

It is a Hugging Face sequence classifier in a folder of safetensors, named by its content.
What was left out: scores of single tokens, several heads, ensembles.
"""

import copy
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Self

import torch
from transformers import (
    AutoModelForSequenceClassification,
    PreTrainedModel,
    PreTrainedTokenizerBase,
)

from superalign_agents.checkpoints import load_tokenizer, refuse_pickles, weights_hash
from superalign_env.errors import InvalidOption, RecordDamaged
from superalign_training.policy import MasterAdamW, Policy

_STATE = "reward_model.json"


class TrainedRewardModel:
    """Scalar scores of answers; only differences are meaningful.

    Args:
        model: a sequence classifier with one label.
        tokenizer: belongs to it.
        reference: what its body was, ``micro/3``.
    """

    def __init__(
        self, model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase, *, reference: str
    ) -> None:
        self.model = model
        self.tokenizer = tokenizer
        self.reference = reference
        self._optimizer: MasterAdamW | None = None

    @classmethod
    def of(cls, policy: Policy) -> Self:
        """Return an untrained reward model on a copy of a policy's body; all scores are 0.

        The weights of an adapter are added to those of the base that it stands on.

        Raises:
            InvalidOption: no classifier of that architecture.
        """
        config = copy.deepcopy(policy.model.config)
        config.num_labels = 1
        config.pad_token_id = _pad(policy.tokenizer)
        try:
            build: Any = AutoModelForSequenceClassification  # from_config has no types
            model = build.from_config(config, dtype=policy.model.dtype)
            model.base_model.load_state_dict(_plain_weights(policy.model.base_model))
        except (ValueError, RuntimeError) as error:
            raise InvalidOption(
                f"{policy.reference} cannot become a reward model: {str(error).splitlines()[0]}"
            ) from error
        prefix = f"{model.base_model_prefix}."
        with torch.no_grad():
            for name, weight in model.named_parameters():
                if not name.startswith(prefix):
                    weight.zero_()
        model.to(policy.model.device).train(False)
        return cls(model, policy.tokenizer, reference=policy.reference)

    @property
    def hash(self) -> str:
        """Content hash of the weights as they are now."""
        return weights_hash(self.model)

    def optimizer(self, learning_rate: float) -> MasterAdamW:
        """Return the reward model's own optimiser, with its moments, at a learning rate."""
        if self._optimizer is None:
            self._optimizer = MasterAdamW(self.model.parameters(), lr=learning_rate)
        for group in self._optimizer.param_groups:
            group["lr"] = learning_rate
        return self._optimizer

    def score(self, prompt_ids: Sequence[int], completion_ids: Sequence[int]) -> float:
        """Return the score of one answer."""
        return self.scores([(prompt_ids, completion_ids)])[0]

    def scores(
        self,
        completions: Sequence[tuple[Sequence[int], Sequence[int]]],
        *,
        batch: int = 128,
    ) -> list[float]:
        """Return the scores of answers, in the order given.

        Args:
            completions: (prompt ids, completion ids), neither empty.
            batch: answers in one pass.

        Raises:
            InvalidOption: an empty prompt or completion.
        """
        if not all(prompt and completion for prompt, completion in completions):
            raise InvalidOption("a score needs a prompt and a completion of ≥ 1 token")
        pad, device = _pad(self.tokenizer), self.model.device
        scores: list[float] = []
        for start in range(0, len(completions), batch):
            rows = [
                [*prompt, *completion]
                for prompt, completion in completions[start : start + batch]
            ]
            width = max(map(len, rows))
            ids = [row + [pad] * (width - len(row)) for row in rows]
            mask = [[1] * len(row) + [0] * (width - len(row)) for row in rows]
            with torch.no_grad():
                output = self.model(
                    input_ids=torch.tensor(ids, device=device),
                    attention_mask=torch.tensor(mask, device=device),
                    use_cache=False,
                )
            scores += output.logits[:, 0].float().tolist()
        return scores

    def save(self, folder: Path, **notes: Any) -> str:
        """Write the reward model; return its hash.

        Args:
            folder: made, or overwritten.
            **notes: plain JSON values to keep beside it, such as what it learned from.
        """
        digest = self.hash
        self.model.save_pretrained(folder)
        self.tokenizer.save_pretrained(folder)
        state = {"weights": digest, "reference": self.reference, **notes}
        (folder / _STATE).write_text(json.dumps(state, indent=1), encoding="utf-8")
        return digest

    @classmethod
    def load(cls, folder: Path, *, expected: str = "", device: str = "cpu") -> Self:
        """Read a reward model, and check it against its recorded hash.

        Args:
            folder: where it lies.
            expected: its hash as the record knows it; absent, what lies beside it.
            device: where it shall live.

        Raises:
            InvalidOption: pickled files.
            RecordDamaged: it is missing, or is not what was written.
        """
        refuse_pickles(folder)
        try:
            state = json.loads((folder / _STATE).read_text(encoding="utf-8"))
            model: Any = AutoModelForSequenceClassification.from_pretrained(
                str(folder), dtype="auto", use_safetensors=True, trust_remote_code=False
            )
            tokenizer = load_tokenizer(folder)
        except (OSError, ValueError) as error:
            raise RecordDamaged(
                f"the reward model {folder} cannot be read ({error}); restore it or train it again"
            ) from error
        model.to(device).train(False)
        loaded = cls(model, tokenizer, reference=str(state["reference"]))
        if loaded.hash not in {state["weights"]} & {expected or state["weights"]}:
            raise RecordDamaged(
                f"the reward model {folder} is not what was written; restore it or train it again"
            )
        return loaded


def _plain_weights(body: torch.nn.Module) -> dict[str, torch.Tensor]:
    """Return the weights of a body by their usual names, adapters (LoRA) added in."""
    added: dict[str, Any] = {
        f"{name}.base_layer.weight": module
        for name, module in body.named_modules()
        if hasattr(module, "base_layer")
    }
    weights: dict[str, torch.Tensor] = {}
    for name, tensor in body.state_dict().items():
        if ".lora_" in name:
            continue
        layer, weight = added.get(name), tensor.detach()
        if layer is not None:
            weight = weight + sum(map(layer.get_delta_weight, layer.active_adapters))
        weights[name.replace(".base_layer.", ".")] = weight
    return weights


def _pad(tokenizer: PreTrainedTokenizerBase) -> int:
    """Return the padding id: the pad token, or else the end of sequence."""
    pad = tokenizer.pad_token_id
    filler: Any = tokenizer.eos_token_id if pad is None else pad
    return int(filler)
