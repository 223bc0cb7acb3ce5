"""What the report's reproduction is asked for, the numbers that the report has, and the names of rows and columns."""

from dataclasses import dataclass
from typing import Literal

from holdfast.errors import OptionError
from holdfast.models import architecture
from holdfast.options import option

DATA = "cifar-10"
GREYS = 255.0  # the source's numbers for the machine fit pixels from 0 to 255, ours go from 0 to 1
RATE, LAMBDA = 1e-7, 2.5e-4  # as the source has them
COURSE_LAMBDA = 2.5e4  # as the course exercise has it that the source's numbers recall; from memory

AS_WRITTEN, SVM, COURSE = "SVM, rate and lambda as written", "SVM", "SVM, lambda = 2.5e4"
SOFTMAX, HARD_SVM = "softmax regression", "SVM, trained adversarially"
RESNET, ROBUST = "ResNet", "ResNet, trained adversarially"
CLEAN, UNKNOWN, JUDGE = "clean error", "PGD error, eps not given", "Auto-PGD error"
MOST = "largest possible error"


def pgd(radius: float) -> str:
    """The column of a radius."""
    return f"PGD error at {radius:g}/255"


@dataclass(frozen=True, kw_only=True)
class Settings:
    """What is trained on how much, and attacked how far. Radii are in 255ths."""

    model: str = option("resnet8", "the residual network")
    pictures: int | None = option(10_000, "that the residual networks learn; none: all but the validation split")
    epochs: int = option(12, "of the residual networks")
    batch: int = option(128, "pictures a step of theirs")
    rate: float = option(0.1, "largest step size of theirs")
    schedule: Literal["one-cycle", "plateau"] = option("one-cycle", "of their step size")
    inner_steps: int = option(1, "of the attack that they are trained against; one is fast adversarial training")
    validation: int | None = option(1000, "pictures looked at after each epoch; none: the whole split")
    linear_pictures: int | None = option(None, "that the linear classifiers learn; none: all but the validation split")
    linear_batch: int = option(180, "pictures a step of theirs, so that the iterations are whole epochs")
    iterations: int = option(1500, "steps of theirs")
    trained_at: float = option(8, "radius of adversarial training")
    radii: tuple[float, ...] = option((2, 4, 8), "of the attack, ascending")
    steps: int = option(10, "of the attack; each is eps / steps")
    judge_steps: int = option(50, "of Auto-PGD, which looks at the residual networks again at the largest radius")
    tests: int | None = option(1000, "test pictures; none: all")

    def __post_init__(self) -> None:
        """Refuse what the table cannot be made of."""
        architecture(self.model)
        if not self.radii or list(self.radii) != sorted(set(self.radii)) or self.radii[0] <= 0:
            raise OptionError(f"radii={self.radii!r}; allowed: numbers > 0, ascending, such as 2,4,8.")
        if self.inner_steps < 1:
            raise OptionError(f"inner_steps={self.inner_steps!r}; allowed: whole numbers >= 1.")

    def linear_epochs(self, count: int) -> int:
        """The epochs over `count` pictures that make up the iterations. Raises: `OptionError` for a broken number."""
        each = -(-count // self.linear_batch)
        if self.iterations % each:
            raise OptionError(
                f"iterations={self.iterations!r} with {each} steps an epoch of {count} pictures; allowed: a multiple "
                "of the steps an epoch. Change linear_batch."
            )
        return self.iterations // each
