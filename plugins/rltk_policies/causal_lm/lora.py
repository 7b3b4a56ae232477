"""Low-rank adapters (Hu et al. 2021, arXiv 2106.09685) through ``peft``: train little, keep the base model.

With the adapter switched off the model is the one that training started from, which is what the KL penalty
wants for a reference: no second copy of the weights.
"""

from __future__ import annotations

import json
import warnings
from contextlib import AbstractContextManager
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import torch
from pydantic import Field
from torch import Tensor, nn

from rltk.errors import UserError
from rltk.interfaces import ComponentConfig
from rltk.rng import seeded_initialisation

if TYPE_CHECKING:
    from transformers import PreTrainedModel

#: Where a saved policy keeps its adapter, beside the merged weights.
ADAPTER_FOLDER = "adapter"


class LoRAConfig(ComponentConfig):
    """Options of the adapter. It has no dropout, with which acting and learning would disagree."""

    rank: int = Field(16, ge=1, description="Rank of each layer's update.")
    alpha: float = Field(32.0, gt=0, description="The update counts alpha / rank times.")
    target_modules: Literal["all-linear"] | tuple[str, ...] = Field(
        "all-linear", description="Names of the layers to adapt; all-linear: all but the output layer."
    )


class Adapter:
    """Low-rank updates in the layers of a model, whose own weights are frozen.

    No module: what it trains are parameters of the model.

    :param model: changed in place.
    :param saved: folder of an adapter to begin with, whose options count; None: one that changes nothing yet.
    :param seed: of the initial weights.
    :raises UserError: peft is not installed, or the model has no such layers.
    """

    def __init__(self, model: PreTrainedModel, config: LoRAConfig, *, saved: Path | None, seed: int) -> None:
        self._peft = require_peft()
        self._model = model
        options = (
            self._options(config) if saved is None else self._peft.LoraConfig.from_pretrained(str(saved))
        )
        options.inference_mode = False
        with warnings.catch_warnings(), seeded_initialisation("lora", seed):
            warnings.simplefilter("ignore")  # of what peft does not yet know of this transformers
            try:
                self._wrapped = self._peft.get_peft_model(model, options)
            except ValueError as error:
                fix = "name layers that it has, such as q_proj, or leave all-linear"
                what = f"the model has no layers to adapt ({str(error).splitlines()[0]})"
                raise UserError("policy.lora.target_modules", what, fix=fix) from error
        if saved is not None:
            weights = self._peft.utils.load_peft_weights(str(saved), device="cpu")
            self._peft.set_peft_model_state_dict(self._wrapped, weights)

    def parameters(self) -> list[nn.Parameter]:
        """Return what is trained."""
        return [parameter for name, parameter in self._model.named_parameters() if ".lora_" in name]

    def off(self) -> AbstractContextManager[Any]:
        """Return a context in which the model is the base model."""
        context: AbstractContextManager[Any] = self._wrapped.disable_adapter()
        return context

    def save(self, directory: Path, base: str | None) -> None:
        """Write the adapter as peft does.

        :param base: path or hub id of the base model.
        """
        self._wrapped.peft_config["default"].base_model_name_or_path = base
        self._wrapped.save_pretrained(str(directory))

    def merged(self) -> PreTrainedModel:
        """Return a plain model with the updates added to the weights; the others are shared with this one."""
        with torch.device("meta"):
            plain = type(self._model)(self._model.config)
        plain.load_state_dict(self._merged_weights(), assign=True)
        plain.tie_weights()
        return plain

    @torch.no_grad()
    def _merged_weights(self) -> dict[str, Tensor]:
        weights = {
            name.replace(".base_layer.", "."): tensor
            for name, tensor in self._model.state_dict().items()
            if ".lora_" not in name
        }
        for name, layer in self._model.named_modules():
            if isinstance(layer, self._peft.tuners.lora.LoraLayer):
                base: Any = layer.get_base_layer()
                weights[f"{name}.weight"] = base.weight + layer.get_delta_weight("default")
        return weights

    def _options(self, config: LoRAConfig) -> Any:
        targets = config.target_modules
        return self._peft.LoraConfig(
            r=config.rank,
            lora_alpha=config.alpha,
            lora_dropout=0.0,
            target_modules=targets if isinstance(targets, str) else list(targets),
            task_type="CAUSAL_LM",
        )


def require_peft() -> Any:
    """Return peft.

    :raises UserError: it is not installed.
    """
    try:
        import peft
    except ImportError as error:
        fix = "pip install 'rltk[lora]'"
        raise UserError("policy.lora", "adapters need peft, which is not installed", fix=fix) from error
    return peft


def saved_adapter(path: str | None) -> Path | None:
    """Return the adapter's folder inside a saved policy, or None where it has none."""
    folder = None if path is None else Path(path) / ADAPTER_FOLDER
    return folder if folder is not None and (folder / "adapter_config.json").is_file() else None


def base_of(adapter: Path) -> str:
    """Return the path or hub id of the model that a saved adapter belongs to.

    :raises UserError: it is not recorded.
    """
    options = json.loads((adapter / "adapter_config.json").read_text(encoding="utf-8"))
    base = options.get("base_model_name_or_path")
    if not base:
        fix = "leave policy.lora out: the weights beside it hold the adapter already"
        raise UserError("policy.lora", "the saved adapter's base model is unknown", got=str(adapter), fix=fix)
    return str(base)
