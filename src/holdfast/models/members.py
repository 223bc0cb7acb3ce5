"""What the members of a model of models are, on its card."""

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar, Protocol, runtime_checkable

from torch import Tensor, nn

from holdfast.errors import OptionError

KEYS = ("architecture", "options", "mean", "std")  # of a member, as on its own card


@runtime_checkable
class Committee(Protocol):
    """A model whose answer is made from those of several: members, or passes of one at random."""

    @property
    def cost(self) -> int:
        """Forward passes of a single model for each picture."""
        ...

    def members(self, x: Tensor) -> Tensor:
        """Pictures (N, C, H, W) to the logits of each, (M, N, K)."""
        ...

    def joined(self, members: Tensor) -> Tensor:
        """The model's own logits (N, K) by those of its members, without asking them again."""
        ...


@runtime_checkable
class Joining(Protocol):
    """A frozen record of options that makes one network of others."""

    least: ClassVar[int]

    @property
    def members(self) -> tuple[Any, ...]:
        """What they are, as plain values: see `KEYS`."""
        ...

    def join(self, networks: Sequence[nn.Module], classes: int) -> nn.Module:
        """One model of the members' networks, in their order."""
        ...


def check_members(name: str, members: Sequence[Any], *, least: int, most: int | None = None) -> None:
    """Raises: `OptionError` for too few members or too many, and for one that says too little to be built from."""
    if len(members) < least or (most is not None and len(members) > most):
        allowed = f"{least}" if most == least else f"{least} or more"
        raise OptionError(f"model {name!r}: {len(members)} members; allowed: {allowed}. See `holdfast ensemble`.")
    for number, member in enumerate(members):
        if not isinstance(member, Mapping) or set(member) != set(KEYS):
            raise OptionError(
                f"model {name!r}: member {number} is {member!r}; allowed: a mapping with {', '.join(KEYS)}, as "
                "`holdfast ensemble` writes them."
            )
