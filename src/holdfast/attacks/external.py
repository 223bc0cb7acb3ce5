"""An attack from elsewhere: a callable with a loop of its own, its name, and what is to be known of it."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from torch import Tensor, nn

from holdfast.access import Access
from holdfast.attacks.attack import Attack, norms, suits
from holdfast.errors import OptionError
from holdfast.threats import AnyThreat, Rendered, Threat

Call = Callable[[nn.Module, Tensor, Tensor, Threat], Tensor]
"""From a model, pictures (N, C, H, W) in the threat's box, labels (N,) and the threat to pictures like those given."""


@dataclass(frozen=True)
class Made:
    """Pictures made on another model than the one lent, and what each cost there."""

    x_adv: Tensor  # (N, C, H, W)
    forward: Tensor  # (N,) int64
    backward: Tensor  # (N,) int64


CallElsewhere = Callable[[nn.Module, Tensor, Tensor, Threat, int, Tensor], Made]
"""The same, told the seed and the place (N,) int64 of each picture too, for noise that belongs to a picture."""


@dataclass(frozen=True, kw_only=True, repr=False)
class External:
    """An attack that runs its own loop over a model it is lent. `holdfast.bridges` makes them.

    Nothing it says is believed: it returns pictures, and what they are worth is measured. The model it is lent is a
    module in evaluation mode that answers no more than `access` allows: without a gradient below `GRADIENT`, with 1
    for the predicted class and 0 for the others at `LABELS`.
    """

    call: Call | CallElsewhere
    name: str  # as the tables call it
    access: Access = Access.GRADIENT  # the most it may learn from an answer
    library: str = ""  # where it comes from, with its version
    options: str = ""  # how it is set, as text: a run is not resumed with another
    norms: tuple[str, ...] = ()  # the threats it says it is made for; empty if it does not say
    minimal: bool = False  # looks for the smallest change: points beyond the radius are brought back to it, not refused
    restores: bool = False  # gives the original back where it fails, so that unchanged pictures are no sign of idleness
    any_radius: bool = True  # heeds the radius of the threat, rather than having one of its own
    elsewhere: bool = False  # makes its pictures on another model; `call` is a `CallElsewhere` then

    def __repr__(self) -> str:
        """Name, library and options: "foolbox:LinfPGD (foolbox 3.3.4: LinfPGD(steps=20))"."""
        told = [text for text in (self.library, self.options) if text]
        told += [] if self.access == Access.GRADIENT else [f"sees {self.access.name.lower()}"]
        return f"{self.name} ({': '.join(told)})" if told else self.name

    def described(self) -> dict[str, Any]:
        """For run.json, in the place of an attack's options."""
        return {
            "library": self.library,
            "options": self.options,
            "access": self.access.name.lower(),
            "minimal": self.minimal,
            "restores": self.restores,
        }


def check_norm(attack: Attack | External, threat: AnyThreat) -> None:
    """Raise `OptionError` for an attack that has no form for the threat, or says it is made for others."""
    if isinstance(attack, External):
        if isinstance(threat, Rendered):
            raise OptionError(
                f"{attack.name}: threat {threat.name!r}; allowed: attacks of our own, since one from elsewhere returns "
                "pictures and not what they are rendered from. Choose another, such as grid or pgd."
            )
        if not suits(attack, threat):
            raise OptionError(
                f"{attack.name} is made for {', '.join(attack.norms)}, the threat is {threat.name}; allowed: the same. "
                "Choose the library's form of the attack for this threat."
            )
    elif not suits(attack, threat):
        raise OptionError(
            f"{attack.name}: threat {threat.name!r}; allowed: {', '.join(norms(attack)) or 'those of pixels'}. "
            "Choose another threat, or another attack: `holdfast list attacks` says what each is for."
        )
