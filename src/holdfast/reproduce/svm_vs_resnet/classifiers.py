"""The seven rows: who learns what, by which loss, against whom."""

from dataclasses import dataclass

from holdfast.attacks import FGSM, PGD
from holdfast.augment import Crop, Mirror
from holdfast.reproduce.svm_vs_resnet.settings import (
    AS_WRITTEN,
    COURSE,
    COURSE_LAMBDA,
    GREYS,
    HARD_SVM,
    LAMBDA,
    RATE,
    RESNET,
    ROBUST,
    SOFTMAX,
    SVM,
    Settings,
)
from holdfast.threats import Linf
from holdfast.train import Adversary, CrossEntropy, Hinge, Loss, Recipe, TrainOptions


@dataclass(frozen=True)
class Classifier:
    """A row of the table. `published` are errors, clean and under attack."""

    name: str
    short: str  # in charts and as its part's name
    linear: bool
    recipe: Recipe
    published: tuple[float | None, float | None] = (None, None)


def classifiers(settings: Settings, count: int) -> tuple[Classifier, ...]:
    """The rows; the linear ones learn `count` pictures."""

    def linear(rate: float, strength: float, loss: Loss, adversary: Adversary | None = None) -> Recipe:
        return Recipe(
            options=TrainOptions(
                epochs=settings.linear_epochs(count),
                batch=settings.linear_batch,
                optimiser="sgd",
                momentum=0.0,
                schedule="constant",
                learning_rate=rate,
                weight_decay=2 * strength,  # the slope of lambda w^2 is 2 lambda w
                decay="weights",
            ),
            loss=loss,
            adversary=adversary,
        )

    rate, strength = RATE * GREYS**2, LAMBDA / GREYS**2
    against = Adversary(FGSM(), Linf(eps=settings.trained_at / GREYS))  # one step is all that a linear loss asks for
    published = (0.625, 1.0)
    return (
        Classifier(AS_WRITTEN, "svm-as-written", True, linear(RATE, LAMBDA, Hinge()), published),
        Classifier(SVM, "svm", True, linear(rate, strength, Hinge()), published),
        Classifier(COURSE, "svm-course", True, linear(rate, COURSE_LAMBDA / GREYS**2, Hinge())),
        Classifier(SOFTMAX, "softmax", True, linear(rate, strength, CrossEntropy())),
        Classifier(HARD_SVM, "svm-adversarial", True, linear(rate, strength, Hinge(), against)),
        Classifier(RESNET, "resnet", False, _network(settings, None), (0.08, 0.7)),
        Classifier(ROBUST, "resnet-adversarial", False, _network(settings, adversary(settings)), (None, 0.45)),
    )


def adversary(settings: Settings) -> Adversary:
    """That of the residual network.

    One step, too long, from a random start is fast adversarial training; several are those of Madry et al.

    Source: Wong et al. 2020, arXiv:2001.03994, with the step 1.25 eps; Madry et al. 2018, arXiv:1706.06083, sec. 5.
    """
    steps = settings.inner_steps
    step_size = 1.25 if steps == 1 else 2.5 / steps
    return Adversary(PGD(steps=steps, step_size=step_size), Linf(eps=settings.trained_at / GREYS))


def _network(settings: Settings, against: Adversary | None) -> Recipe:
    return Recipe(
        options=TrainOptions(
            epochs=settings.epochs,
            batch=settings.batch,
            optimiser="sgd",
            momentum=0.9,
            learning_rate=settings.rate,
            weight_decay=1e-4,
            schedule=settings.schedule,
        ),
        augment=(Crop(), Mirror()),
        adversary=against,
    )
