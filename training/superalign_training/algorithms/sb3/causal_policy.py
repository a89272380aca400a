"""A causal LM as the network of Stable-Baselines3's PPO and A2C, for `token_env`.

The body is the feature extractor and the LM's own head the action network, so that the
policy starts as exactly the distribution that the LM samples from. What was left out: a
cache of keys and values (every token reads its whole context again), so this is the
reference to compare with, not the quick way.
"""

import copy
from typing import Any, Self, cast

import torch
from gymnasium import spaces
from stable_baselines3.common.policies import ActorCriticPolicy
from stable_baselines3.common.torch_layers import BaseFeaturesExtractor
from stable_baselines3.common.type_aliases import Schedule
from torch import nn
from transformers import PreTrainedModel

from superalign_agents.decoding import positions
from superalign_env.errors import InvalidOption


class CausalFeatures(BaseFeaturesExtractor):
    """The last hidden state of a causal LM at the last token.

    Args:
        observation_space: of a `TokenEnv`.
        model: copied, in float32; the original is left alone. Dropout stays off, because
            PPO compares two passes over the same tokens.
    """

    def __init__(self, observation_space: spaces.Box, model: PreTrainedModel) -> None:
        twin: Any = copy.deepcopy(model)  # transformers leaves these methods untyped
        width = twin.get_output_embeddings().weight.shape[1]
        super().__init__(observation_space, features_dim=int(width))
        self.model: PreTrainedModel = twin.float()

    def forward(self, observations: torch.Tensor) -> torch.Tensor:
        """Return features [B, H].

        Args:
            observations: [B, T] right-aligned ids, `NOTHING` (negative) before them.
        """
        mask = observations >= 0
        # After an episode there is nothing to read; attention must see something all the same.
        mask[:, -1] = True
        start = int(mask.any(dim=0).int().argmax())
        mask, ids = mask[:, start:], observations[:, start:].long().clamp(min=0)
        output = self.model.base_model(
            input_ids=ids,
            attention_mask=mask.long(),
            position_ids=positions(mask),
            use_cache=False,
        )
        features: torch.Tensor = output.last_hidden_state[:, -1]
        return features

    def train(self, mode: bool = True) -> Self:
        """Set the mode of everything but the model's dropout."""
        super().train(mode)
        self.model.train(False)
        return self


class CausalPolicy(ActorCriticPolicy):
    """Actor and critic on one causal LM: its head acts, a new linear layer values.

    ``PPO(CausalPolicy, token_env(…), policy_kwargs={"model": agent.model})``; afterwards
    `language_model` is the trained LM.

    Args:
        observation_space: of a `TokenEnv`.
        action_space: of a `TokenEnv`.
        lr_schedule: Stable-Baselines3's learning-rate schedule.
        model: the LM to start from; copied.
        **options: of the optimiser, as in SB3.

    Raises:
        InvalidOption: a model whose logits are more than its head applied to its last
            hidden state (soft-capped or scaled ones).
    """

    def __init__(
        self,
        observation_space: spaces.Box,
        action_space: spaces.Discrete,
        lr_schedule: Schedule,
        *,
        model: PreTrainedModel,
        **options: Any,
    ) -> None:
        super().__init__(
            observation_space,
            action_space,
            lr_schedule,
            net_arch=[],
            ortho_init=False,  # it would overwrite the LM
            features_extractor_class=CausalFeatures,
            features_extractor_kwargs={"model": model},
            **options,
        )

    @property
    def language_model(self) -> PreTrainedModel:
        """The LM in training; speaks through a `TransformerAgent`."""
        return cast(CausalFeatures, self.features_extractor).model

    def _build(self, lr_schedule: Schedule) -> None:
        """Put the LM's head in the place of a fresh action network."""
        super()._build(lr_schedule)
        model: Any = self.language_model
        self.action_net = model.get_output_embeddings()
        nn.init.zeros_(self.value_net.weight)
        nn.init.zeros_(self.value_net.bias)
        self._check_head()
        # The first optimiser knows the layer that was replaced.
        kind: Any = self.optimizer_class
        self.optimizer = kind(self.parameters(), lr=lr_schedule(1), **self.optimizer_kwargs)

    def _check_head(self) -> None:
        # Several ids: the embedding of a padding token may be zero.
        ids = torch.arange(8, device=self.language_model.device)[None]
        with torch.no_grad():
            ours = self.action_net(self.features_extractor(ids))[0]
            theirs = self.language_model(input_ids=ids).logits[0, -1]
        if (ours - theirs).abs().max() > 1e-4 * ours.abs().max():
            raise InvalidOption(
                f"{type(self.language_model).__name__} does more to its logits than its head "
                "says (soft caps, scales); train it with an algorithm of ours"
            )
