"""Keys and values of every attention layer, one row a slot, each row at a position of its own."""

from __future__ import annotations

from torch import Tensor


class SlotCache:
    """Buffers ``[rows, heads, positions, head_dim]``, two a layer, allocated once.

    :param num_rows: slots.
    :param width: positions that a slot can hold.
    """

    def __init__(self, num_rows: int, width: int) -> None:
        self.num_rows, self.width = num_rows, width
        self._layers: dict[int, tuple[Tensor, Tensor]] = {}

    def layer(self, index: int, key: Tensor, value: Tensor) -> tuple[Tensor, Tensor]:
        """Return the keys and values of a layer, in the heads, sizes and dtype of its first ones.

        :param key: ``[tokens, heads, head_dim]``, as ``value``.
        """
        if index not in self._layers:
            self._layers[index] = (self._buffer(key), self._buffer(value))
        return self._layers[index]

    def copy_rows(self, source: Tensor, target: Tensor, width: int) -> None:
        """Copy the first ``width`` positions of some rows to others, in all layers."""
        for buffer in self.buffers():
            buffer[target, :, :width] = buffer[source, :, :width]

    def buffers(self) -> list[Tensor]:
        """Return the keys and values of all layers."""
        return [buffer for layer in self._layers.values() for buffer in layer]

    def _buffer(self, like: Tensor) -> Tensor:
        # One position more than is ever attended over: code compiled for a part of it need not be compiled
        # once more for the whole.
        return like.new_zeros(self.num_rows, like.shape[1], self.width + 1, like.shape[2])
