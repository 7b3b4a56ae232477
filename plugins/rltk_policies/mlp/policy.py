"""The mlp policy: two perceptrons on flat observations."""

from __future__ import annotations

import json
from functools import partial
from pathlib import Path
from typing import Any

import torch
from gymnasium.spaces import Space
from pydantic import Field, PositiveInt
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from rltk.distributions import restrict
from rltk.errors import UserError
from rltk.interfaces import ComponentConfig
from rltk.normalization import RunningMoments
from rltk.padding import without_padding
from rltk.policy import Policy
from rltk.types import Evaluation, Rollout
from rltk_policies.action_distributions import learnable_distribution
from rltk_policies.mlp.features import Features
from rltk_policies.mlp.networks import InitialWeights, build_network
from rltk_policies.mlp.numpy_evaluation import evaluate_in_numpy
from rltk_policies.mlp.numpy_layers import Activation
from rltk_policies.mlp.session import MLPSession

WEIGHTS = "model.safetensors"
SHAPE = "policy.json"
_SHAPES = ("hidden_sizes", "activation", "normalize_observations", "clip_observations")


class MLPPolicy(Policy):
    """Two separate networks; categoricals for discrete, a diagonal Gaussian for Box actions.

    :param spaces: the environment's single observation and action space.
    :param generator: draws the initial weights.

    It stays on the CPU, where the environments are: networks this small are no faster elsewhere.
    """

    name = "mlp"
    memoryless = True

    class Config(ComponentConfig):
        """Options of ``mlp``."""

        path: str | None = Field(
            None, description="Folder of a saved policy, whose shape counts; null: new weights."
        )
        hidden_sizes: tuple[PositiveInt, ...] = Field((64, 64), description="Units of the hidden layers.")
        activation: Activation = Field("tanh", description="What follows each hidden layer.")
        initial_weights: InitialWeights = Field(
            "orthogonal",
            description="Orthogonal, with small outputs of the actor; or uniform, as torch makes its layers.",
        )
        initial_log_std: float = Field(0.0, description="Initial log standard deviation of Box actions.")
        normalize_observations: bool = Field(
            False, description="Scale observations by the mean and variance of all seen in training."
        )
        clip_observations: float = Field(10.0, gt=0, description="Largest scaled observation.")

    config: Config

    def __init__(
        self,
        config: Config,
        *,
        spaces: tuple[Space[Any], Space[Any]] | None = None,
        generator: torch.Generator | None = None,
    ) -> None:
        super().__init__()
        if spaces is None:
            raise UserError("policy.name", "'mlp' acts on arrays, not on text", fix="choose causal_lm")
        config = config if config.path is None else _with_saved_shape(config)
        self.config = config
        self.clip = config.clip_observations
        self.features = Features(spaces[0])
        inputs = self.features.size
        self.distribution = learnable_distribution(self.name, spaces[1])
        build = partial(
            build_network,
            activation=config.activation,
            initial_weights=config.initial_weights,
            generator=generator or torch.Generator().manual_seed(0),
        )
        # Orthogonal weights, small at the policy's output: detail 2 of Huang et al. 2022, "The 37
        # implementation details of proximal policy optimization".
        self.actor = build((inputs, *config.hidden_sizes, self.distribution.outputs), output_gain=0.01)
        self.critic = build((inputs, *config.hidden_sizes, 1), output_gain=1.0)
        self.log_std = nn.Parameter(torch.full((self.distribution.log_stds,), config.initial_log_std))
        self.moments = RunningMoments(inputs) if config.normalize_observations else None
        self._spaces = {"observations": str(spaces[0]), "actions": str(spaces[1])}
        if config.path is not None:
            self._load(Path(config.path))

    def session(self, num_envs: int) -> MLPSession:
        """Return acting state; it remembers nothing."""
        return MLPSession(self)

    def evaluate(self, batch: Rollout) -> Evaluation:
        """Return log-probabilities, entropies and values; see :meth:`rltk.policy.Policy.evaluate`."""
        if batch.mask.is_cpu:
            return evaluate_in_numpy(self, self._features(batch), batch)
        logprobs, entropy = self.logprobs_and_entropy(self.distribution_parameters(batch), batch.actions)
        return Evaluation(_masked(logprobs, batch.mask), _masked(entropy, batch.mask), self.value(batch))

    def value(self, batch: Rollout) -> Tensor:
        """Return the critic's values ``[B, T]``."""
        return _masked(self.critic(self._features(batch)).squeeze(-1), batch.mask)

    def distribution_parameters(self, batch: Rollout) -> Tensor:
        """Return logits ``[B, T, n]``, minus infinity where not allowed, those of several components side by
        side; or means and log standard deviations side by side, ``[B, T, 2 n]``."""
        outputs = self.actor(self._features(batch))
        if self.distribution.log_stds:
            return torch.cat([outputs, self.log_std.expand_as(outputs)], dim=-1)
        # Nothing is allowed in the padding, where a softmax over nothing would not be finite.
        return restrict(outputs, None if batch.allowed is None else batch.allowed | ~batch.mask[..., None])

    def logprobs_and_entropy(self, parameters: Tensor, actions: Tensor) -> tuple[Tensor, Tensor]:
        """Return log-probabilities and entropies ``[B, T]``; of a Gaussian, those of whole actions."""
        return self.distribution.logprobs_and_entropy(parameters, actions)

    def kl_divergence(self, p: Tensor, q: Tensor) -> Tensor:
        """Return the exact KL(p || q) ``[B, T]``."""
        return self.distribution.kl_divergence(p, q)

    def actor_parameters(self) -> list[nn.Parameter]:
        """Return the actor's weights and, for Box actions, the log standard deviations."""
        return [*self.actor.parameters(), *([self.log_std] if self.distribution.log_stds else [])]

    def critic_parameters(self) -> list[nn.Parameter]:
        """Return the critic's weights."""
        return list(self.critic.parameters())

    def observe(self, batch: Rollout) -> None:
        """Take in the scale of the observations."""
        if self.moments is not None:
            self.moments.update(self._raw_features(batch)[batch.mask])

    def save(self, directory: Path) -> None:
        """Write the weights and the options they were made with."""
        directory.mkdir(parents=True, exist_ok=True)
        save_file(self.state_dict(), directory / WEIGHTS)
        options = {
            "policy": self.name,
            **self.config.model_dump(mode="json", exclude={"path"}),
            **self._spaces,
        }
        (directory / SHAPE).write_text(json.dumps(options, indent=2) + "\n")

    def _load(self, folder: Path) -> None:
        saved = _saved_options(folder)
        apart = {
            key: f"{key} {saved[key]}, not {here}"
            for key, here in self._spaces.items()
            if saved.get(key, here) != here
        }
        try:
            self.load_state_dict(load_file(folder / WEIGHTS))
            shapes_fit = True
        except RuntimeError:
            shapes_fit = False
        except (OSError, SafetensorError) as error:
            raise _unreadable(folder / WEIGHTS, error) from error
        # Actions of the same sizes may mean something else; observations may have other bounds.
        if not shapes_fit or "actions" in apart:
            what = f"saved for an environment with {' and '.join(apart.values()) or 'another shape'}"
            fix = "choose the environment that it was trained in"
            raise UserError("policy.path", what, got=str(folder), fix=fix)

    def _features(self, batch: Rollout) -> Tensor:
        """Return what the networks read, ``[B, T, size]``."""
        features = self._raw_features(batch)
        return features if self.moments is None else self.moments.normalize(features, clip=self.clip)

    def _raw_features(self, batch: Rollout) -> Tensor:
        assert batch.observations is not None
        return self.features.in_torch(batch.observations, self.log_std.dtype)


def _masked(x: Tensor, mask: Tensor) -> Tensor:
    return x if without_padding(mask) else torch.where(mask, x, 0.0)


def _with_saved_shape(config: MLPPolicy.Config) -> MLPPolicy.Config:
    """Return the config with what decides the weights' shapes as the folder at its path has it."""
    folder = Path(str(config.path))
    if not (folder / SHAPE).is_file():
        raise UserError("policy.path", "no saved mlp policy", got=str(folder), fix="check the path")
    saved = _saved_options(folder)
    return config.model_copy(update={name: saved[name] for name in _SHAPES if name in saved})


def _saved_options(folder: Path) -> dict[str, Any]:
    try:
        options: dict[str, Any] = json.loads((folder / SHAPE).read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise _unreadable(folder / SHAPE, error) from error
    return options


def _unreadable(file: Path, error: Exception) -> UserError:
    what, fix = f"{file.name} cannot be read: {error}", "save the policy again, or choose another folder"
    return UserError("policy.path", what, got=str(file.parent), fix=fix)
