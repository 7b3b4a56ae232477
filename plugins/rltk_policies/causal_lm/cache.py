"""Keys and values of every attention layer, one row per slot, each row at a position of its own."""

from __future__ import annotations

from collections.abc import Hashable
from dataclasses import dataclass

from torch import Tensor


@dataclass(frozen=True)
class _Storage:
    """Memory of ``parts`` times all rows, with as many positions in use as the cache has at the moment."""

    flat: Tensor
    parts: int
    heads: int
    size: int

    def view(self, rows: int, positions: int) -> Tensor:
        """Return ``[parts, rows, heads, positions, size]``."""
        count = self.parts * rows * self.heads * positions * self.size
        return self.flat[:count].view(self.parts, rows, self.heads, positions, self.size)


class SlotCache:
    """Buffers ``[rows, heads, positions, size]``, allocated once for the longest texts.

    Only the first :attr:`positions` of a row are in use, and rows lie next to each other: a CPU reads memory
    without gaps several times as fast, so it pays to move everything when texts have outgrown their places.

    :param num_rows: slots.
    :param width: positions that a slot can hold.
    """

    def __init__(self, num_rows: int, width: int) -> None:
        self.num_rows, self.width = num_rows, width
        #: Positions of a row that are in use. One more than is ever attended over: code compiled for a part
        #: of them need not be compiled once more for the whole.
        self.positions = width + 1
        self._storages: dict[Hashable, _Storage] = {}
        self._views: dict[Hashable, Tensor] = {}

    def buffer(self, name: Hashable, like: Tensor, heads: int, parts: int = 1) -> Tensor:
        """Return ``[parts, rows, heads, positions, size]``.

        :param name: of the buffer; a new one is allocated, in the dtype of ``like`` and filled with 0.
        :param like: ``[..., size]``.
        """
        if name not in self._storages:
            size = like.shape[-1]
            flat = like.new_zeros(parts * self.num_rows * heads * (self.width + 1) * size)
            self._storages[name] = _Storage(flat, parts, heads, size)
            self._views[name] = self._storages[name].view(self.num_rows, self.positions)
        return self._views[name]

    def resize(self, positions: int) -> None:
        """Use so many positions of each row; what rows hold in them stays."""
        kept = min(positions, self.positions)
        for name, storage in self._storages.items():
            held = self._views[name][..., :kept, :].clone()
            self._views[name] = storage.view(self.num_rows, positions)
            self._views[name][..., :kept, :] = held
        self.positions = positions

    def copy_rows(self, source: Tensor, target: Tensor, width: int) -> None:
        """Copy the first ``width`` positions of some rows to others, in all buffers."""
        for buffer in self.buffers():
            buffer[target, :, :width] = buffer[source, :, :width]

    def buffers(self) -> list[Tensor]:
        """Return the parts ``[rows, heads, positions, size]`` of all buffers."""
        return [part for view in self._views.values() for part in view.unbind()]
