"""The values of a picture cut into 1, 2, 4, ... blocks, one after the other, down to single values."""

from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True)
class Blocks:
    """Which block is next in each lane."""

    level: Tensor  # (L,) int64: the values are cut into 2^level blocks
    block: Tensor  # (L,) int64, counted within the level; -1 for none

    @classmethod
    def first(cls, round: Tensor, block: int = 0) -> "Blocks":
        """All values together, or before them none."""
        return cls(torch.zeros_like(round), torch.full_like(round, block))

    def turned(self, sign: Tensor) -> Tensor:
        """`sign` (L, C, H, W) with those of the block reversed."""
        values = sign[0].numel()
        size = self.size(values)
        place = torch.arange(values, device=self.level.device)
        inside = (place >= (self.block * size)[:, None]) & (place < ((self.block + 1) * size)[:, None])
        turn = 1 - 2 * (inside & (self.block >= 0)[:, None]).to(sign)
        return sign * turn.view_as(sign)

    def next(self, values: int) -> "Blocks":
        """The next block of `values` in all, of the next level after the last; from single values back to the first."""
        count, size = 2**self.level, self.size(values)
        block = self.block + 1
        ends = (block >= count) | (block * size >= values)
        level = torch.where(ends & (size <= 1), 0, self.level + ends)
        return Blocks(level, torch.where(ends, 0, block))

    def size(self, values: int) -> Tensor:
        """(L,) int64: of a block; the last of a level may be smaller."""
        return -(-values // 2 ** self.level.to(torch.float64)).to(self.level)  # rounded up
