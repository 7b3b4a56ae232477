"""Players made from the forms that name them."""

from __future__ import annotations

from collections import OrderedDict
from contextlib import ExitStack
from typing import TYPE_CHECKING, Any

from rltk.bench.answerers import AnsweringPlayer, Oracle
from rltk.bench.endpoint import Endpoint
from rltk.bench.forms import BestOfForm, EndpointForm, FewShotForm, OracleForm, PluginForm, PolicyForm
from rltk.bench.players import Player, PolicyPlayer
from rltk.bench.wrappers import BestOf, FewShot
from rltk.config import ComponentSpec
from rltk.errors import UserError
from rltk.interfaces import Environment
from rltk.models import tokenizer_fingerprint
from rltk.registry import construct
from rltk.rng import torch_generator
from rltk.scoring import in_use

if TYPE_CHECKING:
    import torch
    from transformers import PreTrainedTokenizerBase

    from rltk.policy import Policy

#: Policies kept for further cells: the one at work, the reference, and some of other environments.
_POLICIES = 4


class Loader:
    """Makes players; policies and rewards are made once and kept.

    :param device: where models go.
    :param seed: of what policies draw when they are made.
    """

    def __init__(self, device: torch.device, seed: int) -> None:
        self.device, self.seed = device, seed
        self._policies: OrderedDict[tuple[str, int | None], Policy] = OrderedDict()
        self._rewards: dict[tuple[str, str], Any] = {}
        self._at_end = ExitStack()

    def close(self) -> None:
        """Close the rewards."""
        self._at_end.close()

    def player(self, form: PolicyForm, environment: Environment, reference: PolicyForm | None) -> Player:
        """Return a player.

        :param environment: where it is to play.
        :param reference: the form of the policy that KL is measured to, or None.
        :raises UserError: it cannot be made, or not for this environment.
        """
        if isinstance(form, BestOfForm):
            of = self.player(form.of, environment, reference)
            reward = None if form.reward is None else self.reward(form.reward, of.tokenizer)
            return BestOf(of, form.best_of, reward, from_reference=form.of == reference)
        if isinstance(form, FewShotForm):
            return FewShot(self.player(form.of, environment, reference), form.shots, form.stop)
        if isinstance(form, EndpointForm):
            return AnsweringPlayer(Endpoint(form), environment.build_tokenizer())
        if isinstance(form, OracleForm):
            tokenizer = environment.build_tokenizer()
            return AnsweringPlayer(Oracle(environment, tokenizer), tokenizer)
        return PolicyPlayer(self.policy(form, environment))

    def policy(self, form: PolicyForm, environment: Environment) -> Policy:
        """Return a policy.

        :raises UserError: it cannot be made, or not for this environment.
        """
        assert isinstance(form, PluginForm)
        spaces = environment.spaces()
        # Text that was saved with its tokenizer is the same everywhere.
        same_everywhere = spaces is None and form.policy.options.get("path") is not None
        key = form.model_dump_json(), None if same_everywhere else id(environment)
        if key not in self._policies:
            policy = construct(
                "policy",
                form.policy.name,
                form.policy.options,
                where="policy",
                device=self.device,
                spaces=spaces,
                generator=torch_generator(self.seed, "policy"),
                build_tokenizer=environment.build_tokenizer,
            )
            self._policies[key] = policy.eval().requires_grad_(False)
        self._policies.move_to_end(key)
        while len(self._policies) > _POLICIES:
            self._policies.popitem(last=False)
        return self._policies[key]

    def reward(self, spec: ComponentSpec, tokenizer: PreTrainedTokenizerBase | None) -> Any:
        """Return a reward ready for use.

        :param tokenizer: of the responses that it scores.
        :raises UserError: it cannot be made.
        """
        key = spec.model_dump_json(), "" if tokenizer is None else tokenizer_fingerprint(tokenizer)
        if key not in self._rewards:
            made = construct(
                "reward_model",
                spec.name,
                spec.options,
                where="reward",
                device=self.device,
                tokenizer=tokenizer,
            )
            self._rewards[key] = self._at_end.enter_context(in_use(made))
        return self._rewards[key]


def check_reads(
    tokenizer: PreTrainedTokenizerBase | None, environment: Environment, prompts: list[str]
) -> None:
    """Make sure that a tokenizer has tokens for all of the prompts.

    :raises UserError: it has not; the line names the first prompt and what is lost of it.
    """
    if tokenizer is None:
        return
    try:
        own = environment.build_tokenizer()
    except UserError:
        own = None  # texts of any sort: nothing to be the same as
    if own is not None and tokenizer_fingerprint(own) == tokenizer_fingerprint(tokenizer):
        return
    for prompt in dict.fromkeys(prompts):
        text = environment.format_prompt(prompt)
        tokens = tokenizer.encode(text, add_special_tokens=False)
        unknown = tokenizer.unk_token_id is not None and tokenizer.unk_token_id in tokens
        if unknown or _bare(tokenizer.decode(tokens, skip_special_tokens=True)) != _bare(text):
            what = "the policy's tokenizer has no tokens for the prompts of this environment"
            fix = "choose a policy that was trained for it"
            raise UserError("tokenizer", what, got=prompt, fix=fix)


def _bare(text: str) -> str:
    """Return a text without what tokenizers may change at will: space and case."""
    return "".join(text.split()).casefold()
