"""Multi-layer perceptrons as actor and critic, for array observations."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from gymnasium import spaces as gym_spaces
from gymnasium.spaces import Space
from numpy.typing import NDArray
from pydantic import Field
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from rltk.errors import UserError
from rltk.hookspecs import hookimpl
from rltk.interfaces import ComponentConfig
from rltk.losses import categorical_kl
from rltk.normalization import RunningMoments
from rltk.policy import Policy, Session
from rltk.rng import EpisodeStream
from rltk.types import Action, Evaluation, Rollout

_Layers = list[tuple[NDArray[np.float32], NDArray[np.float32]]]
_Activation = Literal["tanh", "relu"]

WEIGHTS = "model.safetensors"
SHAPE = "policy.json"
_SHAPES = ("hidden_sizes", "activation", "normalize_observations", "clip_observations")
_LOG_TWO_PI = math.log(2 * math.pi)


class MLPPolicy(Policy):
    """Two separate networks; a categorical for Discrete, a diagonal Gaussian for Box actions.

    :param spaces: the environment's single observation and action space.
    :param generator: draws the initial weights.
    """

    name = "mlp"
    memoryless = True

    class Config(ComponentConfig):
        """Options of ``mlp``."""

        path: str | None = Field(
            None, description="Folder of a saved policy, whose shape counts; null: new weights."
        )
        hidden_sizes: tuple[int, ...] = Field((64, 64), description="Units of the hidden layers.")
        activation: _Activation = Field("tanh", description="What follows each hidden layer.")
        initial_weights: Literal["orthogonal", "uniform"] = Field(
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
        device: torch.device | str = "cpu",
        generator: torch.Generator | None = None,
    ) -> None:
        super().__init__()
        if spaces is None:
            raise UserError("policy.name", "'mlp' acts on arrays, not on text", fix="choose causal_lm")
        config = config if config.path is None else _with_saved_shape(config)
        self.config = config
        self.clip = config.clip_observations
        inputs, outputs, self.discrete = _sizes(*spaces)
        generator = generator or torch.Generator().manual_seed(0)
        # Orthogonal weights, small at the policy's output: detail 2 of Huang et al. 2022, "The 37
        # implementation details of proximal policy optimization".
        self.actor = _network((inputs, *config.hidden_sizes, outputs), 0.01, config, generator)
        self.critic = _network((inputs, *config.hidden_sizes, 1), 1.0, config, generator)
        self.log_std = nn.Parameter(torch.full((0 if self.discrete else outputs,), config.initial_log_std))
        self.moments = RunningMoments(inputs) if config.normalize_observations else None
        if config.path is not None:
            self._load(Path(config.path))
        self.device = torch.device(device)
        self.to(self.device)

    def session(self, num_envs: int) -> MLPSession:
        """Return acting state; it remembers nothing."""
        return MLPSession(self)

    def evaluate(self, batch: Rollout) -> Evaluation:
        """Return log-probabilities, entropies and values; see :meth:`rltk.interfaces.Policy.evaluate`."""
        logprobs, entropy = self.logprobs_and_entropy(self.distribution_parameters(batch), batch.actions)
        mask = batch.mask
        return Evaluation(
            torch.where(mask, logprobs, 0.0), torch.where(mask, entropy, 0.0), self.value(batch)
        )

    def value(self, batch: Rollout) -> Tensor:
        """Return the critic's values ``[B, T]``."""
        return torch.where(batch.mask, self.critic(self._features(batch.observations, 2))[..., 0], 0.0)

    def distribution_parameters(self, batch: Rollout) -> Tensor:
        """Return logits ``[B, T, n]``, or means and log standard deviations side by side ``[B, T, 2 n]``."""
        return self.parameters_of(self._features(batch.observations, 2))

    def parameters_of(self, features: Tensor) -> Tensor:
        """Return the distribution parameters of flat features ``[..., inputs]``."""
        output = self.actor(features)
        if self.discrete:
            return output
        return torch.cat([output, self.log_std.expand_as(output)], dim=-1)

    def logprobs_and_entropy(self, parameters: Tensor, actions: Tensor) -> tuple[Tensor, Tensor]:
        """Return log-probabilities and entropies ``[...]``; of a Gaussian, densities over all dimensions."""
        if self.discrete:
            log_all = torch.log_softmax(parameters, -1)
            logprobs = log_all.gather(-1, actions[..., None])[..., 0]
            return logprobs, -(log_all.exp() * log_all).sum(-1)
        mean, log_std = parameters.chunk(2, -1)
        standard = (actions.reshape(mean.shape) - mean) / log_std.exp()
        logprobs = (-0.5 * standard**2 - log_std - 0.5 * _LOG_TWO_PI).sum(-1)
        return logprobs, (log_std + 0.5 * (_LOG_TWO_PI + 1)).sum(-1)

    def kl_divergence(self, p: Tensor, q: Tensor) -> Tensor:
        """Return the exact KL(p || q) ``[B, T]`` of categoricals or diagonal Gaussians."""
        if self.discrete:
            return categorical_kl(p, q)
        (mean_p, log_p), (mean_q, log_q) = p.chunk(2, -1), q.chunk(2, -1)
        squared = (2 * log_p).exp() + (mean_p - mean_q) ** 2
        return (log_q - log_p + 0.5 * squared * (-2 * log_q).exp() - 0.5).sum(-1)

    def actor_parameters(self) -> list[nn.Parameter]:
        """Return the actor's weights and, for Box actions, the log standard deviations."""
        return [*self.actor.parameters(), *([] if self.discrete else [self.log_std])]

    def critic_parameters(self) -> list[nn.Parameter]:
        """Return the critic's weights."""
        return list(self.critic.parameters())

    def observe(self, batch: Rollout) -> None:
        """Take in the scale of the observations."""
        if self.moments is not None and batch.observations is not None:
            self.moments.update(batch.observations[batch.mask].flatten(1))

    def save(self, directory: Path) -> None:
        """Write the weights and the options they were made with."""
        directory.mkdir(parents=True, exist_ok=True)
        save_file(self.state_dict(), directory / WEIGHTS)
        options = {"policy": self.name, **self.config.model_dump(mode="json", exclude={"path"})}
        (directory / SHAPE).write_text(json.dumps(options, indent=2) + "\n")

    def _load(self, folder: Path) -> None:
        try:
            self.load_state_dict(load_file(folder / WEIGHTS))
        except RuntimeError as error:
            fix = "choose the environment that it was trained in"
            raise UserError(
                "policy.path", "saved for an environment of another shape", got=str(folder), fix=fix
            ) from error

    def _features(self, observations: Tensor | None, batch_dims: int) -> Tensor:
        assert observations is not None
        flat = observations.float().flatten(batch_dims)
        return flat if self.moments is None else self.moments.normalize(flat, clip=self.clip)


class MLPSession(Session):
    """Acting without memory, in NumPy: calling torch takes longer than networks this small compute."""

    def __init__(self, policy: MLPPolicy) -> None:
        self.discrete = policy.discrete
        self.actor, self.critic = _layers(policy.actor), _layers(policy.critic)
        self.activation = policy.config.activation
        self.std = np.exp(_numpy(policy.log_std))
        self.moments, self.clip = policy.moments, policy.clip

    def act(
        self,
        observations: Any,
        *,
        stream: EpisodeStream,
        active: np.ndarray,
        deterministic: bool = False,
    ) -> Action:
        """Choose one action a slot; see :meth:`rltk.policy.Session.act`."""
        features = np.asarray(observations, dtype=np.float32).reshape(len(observations), -1)
        if self.moments is not None:
            features = self.moments.normalize(torch.from_numpy(features), clip=self.clip).numpy()
        choose = _choose_discrete if self.discrete else self._choose_continuous
        actions, logprobs = choose(self._forward(self.actor, features), None if deterministic else stream)
        values = self._forward(self.critic, features)[:, 0]
        return Action(torch.from_numpy(actions), torch.from_numpy(logprobs), torch.from_numpy(values))

    def _forward(self, layers: _Layers, x: NDArray[np.float32]) -> NDArray[np.float32]:
        *hidden, (weight, bias) = layers
        for w, b in hidden:
            x = np.tanh(x @ w + b) if self.activation == "tanh" else np.maximum(x @ w + b, 0.0)
        return x @ weight + bias

    def _choose_continuous(
        self, mean: NDArray[np.float32], stream: EpisodeStream | None
    ) -> tuple[NDArray[Any], NDArray[np.float32]]:
        noise = np.zeros_like(mean)
        if stream is not None:
            # Half a step away from 0, where the inverse normal distribution function is infinite.
            uniforms = torch.from_numpy(stream.uniform(mean.shape[1]) + 2.0**-54)
            noise = torch.special.ndtri(uniforms).numpy().astype(np.float32)
        logprobs = -(0.5 * noise**2 + np.log(self.std) + 0.5 * _LOG_TWO_PI).sum(-1, dtype=np.float32)
        return mean + self.std * noise, logprobs


def _choose_discrete(
    logits: NDArray[np.float32], stream: EpisodeStream | None
) -> tuple[NDArray[Any], NDArray[np.float32]]:
    """Return actions by inverse CDF, or the likeliest where there is no stream, and log-probabilities."""
    shifted = logits - logits.max(-1, keepdims=True)
    weights = np.exp(shifted, dtype=np.float64)
    cumulative = weights.cumsum(-1)
    if stream is None:
        actions = logits.argmax(-1)
    else:
        actions = (cumulative <= stream.uniform() * cumulative[:, -1:]).sum(-1)
        actions = np.minimum(actions, logits.shape[-1] - 1)
    chosen = np.take_along_axis(shifted, actions[:, None], -1)[:, 0]
    return actions, (chosen - np.log(cumulative[:, -1])).astype(np.float32)


def _layers(network: nn.Sequential) -> _Layers:
    """Return weights, transposed, and biases of the linear layers."""
    return [(_numpy(m.weight).T, _numpy(m.bias)) for m in network if isinstance(m, nn.Linear)]


def _numpy(parameter: Tensor) -> NDArray[np.float32]:
    return parameter.detach().cpu().numpy()


def _with_saved_shape(config: MLPPolicy.Config) -> MLPPolicy.Config:
    """Return the config with what decides the weights' shapes as the folder at its path has it."""
    folder = Path(str(config.path))
    if not (folder / SHAPE).is_file():
        raise UserError("policy.path", "no saved mlp policy", got=str(folder), fix="check the path")
    saved = json.loads((folder / SHAPE).read_text(encoding="utf-8"))
    return config.model_copy(update={name: saved[name] for name in _SHAPES if name in saved})


def _sizes(observation_space: Space[Any], action_space: Space[Any]) -> tuple[int, int, bool]:
    """Return the number of inputs and of outputs, and whether actions are discrete."""
    if not isinstance(observation_space, gym_spaces.Box):
        fix = "wrap the environment in gymnasium.wrappers.FlattenObservation"
        raise UserError("policy.name", "'mlp' reads Box observations only", got=observation_space, fix=fix)
    inputs = math.prod(observation_space.shape)
    if isinstance(action_space, gym_spaces.Discrete):
        return inputs, int(action_space.n), True
    if isinstance(action_space, gym_spaces.Box) and len(action_space.shape) == 1:
        return inputs, action_space.shape[0], False
    fix = "choose an environment with Discrete or one-dimensional Box actions"
    raise UserError("policy.name", "'mlp' cannot take these actions", got=action_space, fix=fix)


def _network(
    sizes: Sequence[int], output_gain: float, config: MLPPolicy.Config, generator: torch.Generator
) -> nn.Sequential:
    layers: list[nn.Module] = []
    for i, (inputs, outputs) in enumerate(pairwise(sizes)):
        last = i == len(sizes) - 2
        linear = nn.utils.skip_init(nn.Linear, inputs, outputs)
        if config.initial_weights == "orthogonal":
            nn.init.orthogonal_(linear.weight, output_gain if last else math.sqrt(2), generator=generator)
            nn.init.zeros_(linear.bias)
        else:
            for parameter in (linear.weight, linear.bias):
                nn.init.uniform_(parameter, -(inputs**-0.5), inputs**-0.5, generator=generator)
        layers += [linear] if last else [linear, nn.Tanh() if config.activation == "tanh" else nn.ReLU()]
    return nn.Sequential(*layers)


@hookimpl
def rltk_policies() -> list[type[Policy]]:
    """Provide ``mlp``."""
    return [MLPPolicy]
