"""A key-value cache with one row a slot, each row at a position of its own.

Works with unmodified transformers models: their attention layers hand new keys and values to
:meth:`SlotLayer.update` and attend over what it returns under the 4-D mask that the session passes.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor
from transformers.cache_utils import Cache, CacheLayerMixin


@dataclass
class Placement:
    """Where the tokens of the next forward pass go.

    :param rows: ``[n]`` int64 buffer rows of the pass's batch, or None for the first n rows in order.
    :param positions: ``[n, t]`` int64 positions of its tokens.
    :param window: number of positions attended over.
    """

    rows: Tensor | None
    positions: Tensor
    window: int


class SlotLayer(CacheLayerMixin):
    """Keys and values of one attention layer, ``[rows, heads, positions, head_dim]``, allocated once."""

    is_sliding = False

    def __init__(self, cache: SlotCache) -> None:
        super().__init__()
        self._cache = cache

    def lazy_initialization(self, key_states: Tensor, value_states: Tensor) -> None:
        """Allocate the buffers in the shape and dtype of the first keys and values."""
        rows, width = self._cache.num_rows, self._cache.width
        self.keys = key_states.new_zeros(rows, key_states.shape[1], width, key_states.shape[3])
        self.values = value_states.new_zeros(rows, value_states.shape[1], width, value_states.shape[3])
        self.is_initialized = True

    def update(
        self, key_states: Tensor, value_states: Tensor, *args: object, **kwargs: object
    ) -> tuple[Tensor, Tensor]:
        """Write new keys and values ``[n, heads, t, head_dim]`` and return those attended over."""
        if not self.is_initialized:
            self.lazy_initialization(key_states, value_states)
        return self._write(self.keys, key_states), self._write(self.values, value_states)

    def _write(self, buffer: Tensor, new: Tensor) -> Tensor:
        place = self._cache.placement
        count = new.shape[0]
        rows = torch.arange(count, device=new.device) if place.rows is None else place.rows
        # Advanced indices around the slice over heads put their dimensions first: [n, t, heads, head_dim].
        buffer[rows[:, None], :, place.positions] = new.transpose(1, 2)
        if place.rows is None:
            return buffer[:count, :, : place.window]
        return buffer[place.rows, :, : place.window]

    def get_mask_sizes(self, query_length: int) -> tuple[int, int]:
        """Return the attended length and its offset."""
        return self._cache.placement.window, 0

    def get_seq_length(self) -> int:
        """Return 0: every row has a length of its own, which the session passes as position ids."""
        return 0

    def get_max_length(self) -> int:
        """Return the number of positions a row can hold."""
        return self._cache.width


class SlotCache(Cache):
    """The cache of all layers.

    :param num_layers: attention layers of the model.
    :param num_rows: slots.
    :param width: positions a slot can hold.
    """

    def __init__(self, *, num_layers: int, num_rows: int, width: int) -> None:
        self.num_rows, self.width = num_rows, width
        self.placement = Placement(None, torch.zeros(0, 0, dtype=torch.int64), 0)
        super().__init__(layers=[SlotLayer(self) for _ in range(num_layers)])

    def copy_rows(self, source: Tensor, target: Tensor, *, width: int) -> None:
        """Copy the first ``width`` positions of some rows to others."""
        for layer in self.layers:
            if layer.is_initialized:
                layer.keys[target, :, :width] = layer.keys[source, :, :width]
                layer.values[target, :, :width] = layer.values[source, :, :width]
