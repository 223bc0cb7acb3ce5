"""Scores of suspicion against sets that a network was not trained for: far ones, and classes it never saw."""

from collections.abc import Mapping, Sequence
from functools import partial

from holdfast.drawing.charts import Bar, bars
from holdfast.reproduce.bench import Bench
from holdfast.reproduce.ood.measuring import at_hand, key, named, trained_and_judged
from holdfast.reproduce.ood.orderings import orderings
from holdfast.reproduce.ood.settings import (
    ACCURACY,
    AUPR,
    AUROC,
    FAR,
    FPR,
    NEAR,
    OPENOOD,
    SCORES,
    SVHN,
    Pair,
    Settings,
    networks_of,
    pairs_of,
)
from holdfast.reproduce.part import Part
from holdfast.reproduce.reproduction import Reproduction
from holdfast.reproduce.table import Column, Plot, Published, Row, Table, mean_of, row

COLUMNS = (
    Column(AUROC, about="how often an unfamiliar picture is more suspicious than a familiar one"),
    Column(FPR, about="unfamiliar pictures that pass where 95 % of the familiar ones do"),
    Column(AUPR, about="average precision of finding the unfamiliar ones, as many as the familiar"),
    Column(NEAR, about="mean over CIFAR-100 and TinyImageNet: published only"),
    Column(FAR, about="mean over MNIST, SVHN, Textures and Places365: published only"),
    Column(ACCURACY, about="on familiar test pictures"),
)
NETWORKS = "Networks"
TICKS = ("max p", "entropy", "max z", "energy", "GEN", "Mahal.", "nearest", "ViM", "ReAct")
NOTES = (
    "OpenOOD's figures are means over several sets, so they stand in columns of their own, none of which is measured "
    "here: near ones beside the classes held out, far ones beside SVHN.",
    "Scores that look at features are fitted on the training pictures. Other sets are brought to the size and the "
    "channels that the network takes.",
)
MISSING = "SVHN was not on this machine, so nothing is measured against it. Put it beside the other sets."


def measure(bench: Bench, settings: Settings) -> Table:
    """Train the networks of each seed, and judge every score by what each was not trained for."""
    pairs = pairs_of(settings)
    there = [pair for pair in pairs if at_hand(bench, pair)]
    chosen = networks_of(settings)
    parts = bench.in_turn(
        {
            one.name: partial(trained_and_judged, bench, settings, one, [p for p in there if p.network == one.name])
            for one in chosen
        }
    )
    rows = [made for pair in pairs for made in _rows(pair, parts[pair.network] if pair in there else ())]
    rows += [row(name, some, [ACCURACY], group=NETWORKS) for name, some in parts.items()]
    notes = NOTES if len(there) == len(pairs) else (*NOTES, MISSING)
    return Table(COLUMNS, tuple(rows), orderings(rows, pairs), tuple(_plot(rows, pair) for pair in there), notes)


def _rows(pair: Pair, parts: Sequence[Part]) -> list[Row]:
    """One for each score; without numbers of ours where the set is not there."""
    made = []
    for score in SCORES:
        name = named(pair.name, score.name)
        read = {column: key(pair.name, score.name, column) for column in (AUROC, FPR, AUPR)}
        beside = _published(pair, score.name)
        made.append(
            row(name, parts, read, published=beside, group=pair.name)
            if parts
            else Row(name, {**dict.fromkeys(read), **beside}, {}, (), pair.name)
        )
    return made


def _published(pair: Pair, score: str) -> Published:
    """OpenOOD's, beside the pairs that are most like its near and far ones."""
    column: Mapping[str, int] = {FAR: 1} if pair.outside == SVHN else {NEAR: 0} if ":only=" in pair.outside else {}
    return {name: OPENOOD[score][at] for name, at in column.items() if score in OPENOOD}


def _plot(rows: Sequence[Row], pair: Pair) -> Plot:
    title = f"AUROC, percent: {pair.name}"
    drawn = Bar(AUROC, 0, tuple(mean_of(rows, named(pair.name, score.name), AUROC) for score in SCORES))
    return Plot(title, bars([drawn], TICKS, title=title, percent=True), "Means over the seeds.", (), pair.name)


FULL = Settings(
    colour="resnet20", pictures=None, tests=None, epochs=100, optimiser="sgd", learning_rate=0.1, schedule="cosine"
)

OOD = Reproduction(
    name="ood",
    title="Scores of unfamiliar pictures",
    source="a lecture on uncertainty (maximum confidence and entropy, CIFAR-10 against SVHN); figures of OpenOOD 1.5",
    setting="OpenOOD: a ResNet-18 on all of CIFAR-10 for 100 epochs, three seeds, means over several sets.",
    presets={"small": Settings(), "full": FULL},
    measure=measure,
)
