"""The policy: a recurrent language model, whose acting state is one hidden vector a slot."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import rltk
import torch
from pydantic import Field
from rltk.batching import pad_rows
from rltk.losses import categorical_kl
from rltk.models import check_tokenizer, load_tokenizer
from rltk.rng import EpisodeStream, seeded_initialisation
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

RLTK_API = 1
WEIGHTS = "model.safetensors"


class GRUPolicy(rltk.Policy):
    """A one-layer GRU over tokens; the critic is a linear head on its states, which it does not shape.

    :param tokenizer: where there is no ``path`` to load one from.
    :param generator: draws the initial weights.
    """

    name = "wordsort-gru"

    class Config(rltk.ComponentConfig):
        """Options: ``policy: {name: wordsort-gru, hidden_size: 128}``."""

        path: str | None = Field(None, description="Folder of a saved policy; null: new weights.")
        hidden_size: int = Field(64, ge=1, description="Units of new weights; a saved policy has its own.")

    config: Config

    @classmethod
    def check_options(cls, directory: Path) -> dict[str, Any]:
        """Return the options of a saved policy, whose tokenizer the checks can act with."""
        from rltk.testing.worlds import word_tokenizer

        cls(cls.Config(path=None, hidden_size=8), tokenizer=word_tokenizer()).save(directory / "policy")
        return {"path": str(directory / "policy")}

    def __init__(
        self,
        config: Config,
        *,
        tokenizer: PreTrainedTokenizerBase | None = None,
        spaces: Any = None,
        generator: torch.Generator | None = None,
        device: torch.device | str = "cpu",
    ) -> None:
        super().__init__()
        self.config = config
        self.tokenizer = _tokenizer(config, tokenizer, spaces)
        saved = None if config.path is None else load_file(Path(config.path) / WEIGHTS)
        d = config.hidden_size if saved is None else len(saved["critic.weight"][0])
        generator = generator or torch.Generator().manual_seed(0)
        with seeded_initialisation("gru", int(torch.randint(2**62, (), generator=generator))):
            self.embedding = nn.Embedding(len(self.tokenizer), d)
            self.gru = nn.GRU(d, d, batch_first=True)
            self.head = nn.Linear(d, len(self.tokenizer))
            self.critic = nn.Linear(d, 1)
        if saved is not None:
            self.load_state_dict(saved)
        self.device = torch.device(device)
        self.to(self.device)

    def session(self, num_envs: int) -> GRUSession:
        """Return acting state: a hidden vector for each of ``num_envs`` slots."""
        return GRUSession(self, num_envs)

    def states(self, tokens: Tensor, before: Tensor | None = None) -> Tensor:
        """Return the hidden state ``[B, L, d]`` after each of ``tokens [B, L]``.

        :param before: ``[B, d]`` the state before the first token; None: zeros.
        """
        states: Tensor
        states, _ = self.gru(self.embedding(tokens), None if before is None else before[None])
        return states

    def evaluate(self, batch: rltk.Rollout) -> rltk.Evaluation:
        """Return log-probabilities, entropies and values ``[B, T]``, 0 where the mask is False."""
        states = self._states_before_actions(batch)
        logprobs, entropy = self.logprobs_and_entropy(self.head(states), batch.actions)
        logprobs, entropy = (torch.where(batch.mask, x, 0.0) for x in (logprobs, entropy))
        return rltk.Evaluation(logprobs, entropy, self._values(states, batch.mask))

    def value(self, batch: rltk.Rollout) -> Tensor:
        """Return the critic's values ``[B, T]``."""
        return self._values(self._states_before_actions(batch), batch.mask)

    def distribution_parameters(self, batch: rltk.Rollout) -> Tensor:
        """Return logits ``[B, T, V]``."""
        logits: Tensor = self.head(self._states_before_actions(batch))
        return logits

    def logprobs_and_entropy(self, parameters: Tensor, actions: Tensor) -> tuple[Tensor, Tensor]:
        """Return log-probabilities and entropies ``[...]`` under logits ``[..., V]``."""
        log_all = torch.log_softmax(parameters, -1)
        return log_all.gather(-1, actions[..., None])[..., 0], -(log_all.exp() * log_all).sum(-1)

    def kl_divergence(self, p: Tensor, q: Tensor) -> Tensor:
        """Return the exact KL(p || q) ``[B, T]`` between two sets of logits."""
        return categorical_kl(p, q)

    def actor_parameters(self) -> list[nn.Parameter]:
        """Return all weights but the critic's."""
        modules = (self.embedding, self.gru, self.head)
        return [parameter for module in modules for parameter in module.parameters()]

    def critic_parameters(self) -> list[nn.Parameter]:
        """Return the critic's weights."""
        return list(self.critic.parameters())

    def save(self, directory: Path) -> None:
        """Write weights and tokenizer where ``path`` finds them."""
        directory.mkdir(parents=True, exist_ok=True)
        save_file(self.state_dict(), directory / WEIGHTS)
        self.tokenizer.save_pretrained(directory)

    def _states_before_actions(self, batch: rltk.Rollout) -> Tensor:
        """Return the state ``[B, T, d]`` that each action was chosen in: after the token before it."""
        assert batch.tokens is not None and batch.action_mask is not None
        rows, columns = batch.action_mask.nonzero(as_tuple=True)
        chosen_in = self.states(batch.tokens)[rows, columns - 1]
        laid_out = chosen_in.new_zeros(*batch.mask.shape, chosen_in.shape[1])
        return laid_out.index_put(batch.mask.nonzero(as_tuple=True), chosen_in)

    def _values(self, states: Tensor, mask: Tensor) -> Tensor:
        # Detached: the value loss must not pull at what the words are chosen by.
        return torch.where(mask, self.critic(states.detach())[..., 0], 0.0)


class GRUSession(rltk.Session):
    """Keeps a hidden state a slot; each step reads the tokens that have come since the last one."""

    def __init__(self, policy: GRUPolicy, num_envs: int) -> None:
        self.policy = policy
        self.state = torch.zeros(num_envs, policy.head.in_features, device=policy.device)
        self.read = np.zeros(num_envs, dtype=np.int64)

    @torch.no_grad()
    def act(
        self,
        observations: Any,
        *,
        stream: EpisodeStream,
        active: np.ndarray,
        deterministic: bool = False,
    ) -> rltk.Action:
        """Choose one token per slot; see :meth:`rltk.Session.act`."""
        began = stream.positions == 0
        self.state[torch.from_numpy(began)] = 0.0
        self.read[began] = 0
        self._read_on(observations["tokens"], observations["length"][:, 0], np.flatnonzero(active))
        logits = self.policy.head(self.state)
        actions = logits.argmax(-1) if deterministic else _sample(logits, stream.uniform())
        logprobs, _ = self.policy.logprobs_and_entropy(logits, actions)
        return rltk.Action(actions, logprobs, self.policy.critic(self.state)[..., 0])

    def _read_on(self, tokens: np.ndarray, lengths: np.ndarray, slots: np.ndarray) -> None:
        """Bring the states of some slots up to the end of their texts.

        That is the whole prompt first, and one token after most actions; an environment may append more.
        """
        rows, counts = pad_rows([tokens[slot, self.read[slot] : lengths[slot]].tolist() for slot in slots], 0)
        index = torch.from_numpy(slots)
        states = self.policy.states(rows.to(self.state.device), self.state[index])
        self.state[index] = states[torch.arange(len(slots)), counts - 1]
        self.read[slots] = lengths[slots]


def _sample(logits: Tensor, uniforms: np.ndarray) -> Tensor:
    """Return for each row the first token whose cumulative probability exceeds the row's uniform."""
    cumulative = torch.softmax(logits.double(), -1).cumsum(-1)
    thresholds = torch.from_numpy(uniforms).to(cumulative) * cumulative[:, -1:]
    chosen = torch.searchsorted(cumulative, thresholds, right=True)[:, 0]
    return chosen.clamp(max=logits.shape[1] - 1)


def _tokenizer(config: Any, given: PreTrainedTokenizerBase | None, spaces: Any) -> PreTrainedTokenizerBase:
    where = "policy.path"
    if spaces is not None:
        raise rltk.UserError("policy.name", "'wordsort-gru' writes text", got=spaces, fix="choose mlp")
    if config.path is None and given is None:
        fix = "give the path of a policy that the stage wordsort-imitate left"
        raise rltk.UserError(where, "a new policy is made by a stage that has a tokenizer for it", fix=fix)
    tokenizer = load_tokenizer(config.path, where) if config.path is not None else given
    check_tokenizer(tokenizer, where)
    return tokenizer


@rltk.hookimpl
def rltk_policies() -> list[type[rltk.Policy]]:
    """Provide ``wordsort-gru``."""
    return [GRUPolicy]
