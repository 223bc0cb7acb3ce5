"""A model behind the steps that its pictures pass first."""

from collections.abc import Callable, Sequence
from typing import Any

from torch import Tensor, nn

from holdfast.errors import OptionError
from holdfast.models.maps import Stairs
from holdfast.models.steps import Step
from holdfast.models.wrapped import Wrapped


class Defended(nn.Module):
    """`model` of what `steps`, one after the other, make of the pictures; attacked as one.

    Args: `model` pictures to logits (N, K), a module or any callable; `steps` each a `Step`, or a callable that
    becomes one as it declares itself (`JPEG()`, `ResizePad(...)`), else with its exact gradient.
    Raises: `OptionError` for no step, or for one that is no callable.
    Cost: as the steps and the model; an attack counts the whole as one pass.

    >>> from holdfast.models import BitDepth
    >>> Defended(nn.Flatten(), [BitDepth(bits=2)]).steps
    Sequential(
      (0): Step(BitDepth, backward=straight_through)
    )
    """

    def __init__(self, model: Callable[[Tensor], Any], steps: Sequence[Callable[[Tensor], Any]]) -> None:
        super().__init__()
        if not isinstance(steps, Sequence) or not steps:
            raise OptionError(f"Defended: steps={steps!r}; allowed: a list of at least one step, such as [JPEG()].")
        self.steps = nn.Sequential(*(step if isinstance(step, Step) else Step(step) for step in steps))
        self.model = model if isinstance(model, nn.Module) else Wrapped(model)

    def forward(self, x: Tensor) -> Tensor:
        """Pictures (N, C, H, W) to logits (N, K)."""
        logits: Tensor = self.model(self.steps(x))
        return logits


def random_steps(model: object) -> list[str]:
    """The names of the steps in `model` that are declared random, such as "steps.0"; none for a plain callable."""
    named = model.named_modules() if isinstance(model, nn.Module) else []
    return [name for name, module in named if isinstance(module, Step) and module.random]


def bridged_steps(model: object) -> list[str]:
    """The names of the steps in `model`, and of maps of its logits, whose declared gradient is not their own."""
    named = model.named_modules() if isinstance(model, nn.Module) else []
    kinds = (Step, Stairs)
    return [name for name, module in named if isinstance(module, kinds) and module.backward != "exact"]
