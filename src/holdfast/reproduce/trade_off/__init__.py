"""What robustness costs: accuracy, capacity, training pictures and time; what it gives; and too much of it."""

from dataclasses import dataclass, field

from holdfast.reproduce.bench import Bench
from holdfast.reproduce.reproduction import Reproduction
from holdfast.reproduce.table import Table, joined
from holdfast.reproduce.trade_off import frontier, gradients, inner_steps, overfitting, regularisation
from holdfast.reproduce.trade_off.frontier import Frontier
from holdfast.reproduce.trade_off.gradients import Gradients
from holdfast.reproduce.trade_off.ground import Ground
from holdfast.reproduce.trade_off.inner_steps import InnerSteps
from holdfast.reproduce.trade_off.overfitting import Overfitting
from holdfast.reproduce.trade_off.regularisation import Regularisation


@dataclass(frozen=True, kw_only=True)
class Settings:
    """Of the five experiments and what they share."""

    ground: Ground = field(default=Ground(), metadata={"help": "pictures, steps of training and attacks"})
    frontier: Frontier = field(default=Frontier(), metadata={"help": "natural against robust accuracy"})
    gradients: Gradients = field(default=Gradients(), metadata={"help": "pictures of input gradients"})
    overfitting: Overfitting = field(default=Overfitting(), metadata={"help": "robust accuracy over the epochs"})
    inner_steps: InnerSteps = field(default=InnerSteps(), metadata={"help": "cost of the inner attack"})
    regularisation: Regularisation = field(default=Regularisation(), metadata={"help": "too much of it"})


def measure(bench: Bench, settings: Settings) -> Table:
    """All five, one after the other, as one table. The gradients are those of networks of the first."""
    ground, found = settings.ground, frontier.networks_of(bench, settings.ground, settings.frontier)
    tables = bench.in_turn(
        {
            "natural against robust accuracy": lambda: frontier.table(settings.frontier, found),
            "input gradients": lambda: gradients.measure(bench, ground, settings.gradients, settings.frontier, found),
            "robust overfitting": lambda: overfitting.measure(bench, ground, settings.overfitting),
            "cost of inner steps": lambda: inner_steps.measure(bench, ground, settings.inner_steps),
            "over-regularisation": lambda: regularisation.measure(bench, ground, settings.regularisation),
        }
    )
    return joined(list(tables.values()))


LARGER = Settings(
    ground=Ground(training=None, test=None, steps=10, test_steps=50),
    frontier=Frontier(widths=(0.25, 0.5, 1.0, 2.0, 4.0), eps=(0.0, 0.01, 0.02, 0.05, 0.1, 0.2), epochs=30),
    gradients=Gradients(pictures=10_000),
    overfitting=Overfitting(training=10_000, validation=2000, width=4.0, epochs=200, scored=1000),
    inner_steps=InnerSteps(pictures=20_000, rounds=5),
    regularisation=Regularisation(epochs=30),
)

TRADE_OFF = Reproduction(
    name="trade-off",
    title="What robustness costs and gives, and too much of it, on Fashion-MNIST",
    source="trade-off and gradients: Tsipras et al. 2019, arXiv:1805.12152; overfitting: Rice et al. 2020, "
    "arXiv:2002.11569; cost and over-regularisation: Finlay, Oberman & Abbasi 2018, arXiv:1810.00953, and talks",
    setting="the sources make these claims on CIFAR-10 and MNIST, most of them in pictures without numbers.",
    presets={"small": Settings(), "full": LARGER},
    measure=measure,
)
