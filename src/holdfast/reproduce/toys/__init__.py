"""Four claims about robustness on problems small enough to have an answer on paper."""

from dataclasses import dataclass, field

from holdfast.reproduce.bench import Bench
from holdfast.reproduce.reproduction import Reproduction
from holdfast.reproduce.table import Table, joined
from holdfast.reproduce.toys import boundaries, danskin, more_data, no_free_lunch
from holdfast.reproduce.toys.boundaries import Boundaries
from holdfast.reproduce.toys.danskin.problems import Danskin
from holdfast.reproduce.toys.more_data.forms import MoreData
from holdfast.reproduce.toys.no_free_lunch import NoFreeLunch


@dataclass(frozen=True, kw_only=True)
class Settings:
    """Of the four toys."""

    boundaries: Boundaries = field(default=Boundaries(), metadata={"help": "S2"})
    more_data: MoreData = field(default=MoreData(), metadata={"help": "S3"})
    no_free_lunch: NoFreeLunch = field(default=NoFreeLunch(), metadata={"help": "S4"})
    danskin: Danskin = field(default=Danskin(), metadata={"help": "S6"})


def measure(bench: Bench, settings: Settings) -> Table:
    """All four, one after the other, as one table."""
    tables = bench.in_turn(
        {
            "decision boundaries": lambda: boundaries.measure(bench, settings.boundaries),
            "more data": lambda: more_data.measure(bench, settings.more_data),
            "no free lunch": lambda: no_free_lunch.measure(bench, settings.no_free_lunch),
            "Danskin's theorem": lambda: danskin.measure(bench, settings.danskin),
        }
    )
    return joined(list(tables.values()))


LARGER = Settings(
    more_data=MoreData(dimensions=(1600, 6400, 25600, 102400, 409600), sets=60, tests=20_000),
    no_free_lunch=NoFreeLunch(tests=400_000),
)

TOYS = Reproduction(
    name="toys",
    title="Four claims about robustness, on problems with an answer on paper",
    source="boundaries: Madry et al. 2018, arXiv:1706.06083, fig. 3; more data: Schmidt et al. 2018, arXiv:1804.11285; "
    "no free lunch: Tsipras et al. 2019, arXiv:1805.12152, sec. 2.1; Danskin's theorem",
    setting="they are no measurements but closed forms, evaluated at the same sizes as ours.",
    presets={"small": Settings(), "full": LARGER},
    measure=measure,
    same=("small", "full"),
    stands_for="closed form",
    on_cpu=True,
)
