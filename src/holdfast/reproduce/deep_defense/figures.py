"""The report's figures: accuracy over eps, ROC curves of two classes, and pictures."""

from collections.abc import Mapping, Sequence
from statistics import fmean

import numpy as np

from holdfast.drawing.charts import Line, lines
from holdfast.drawing.pictures import rows_of_pictures
from holdfast.reproduce.deep_defense.rows import DRAWN
from holdfast.reproduce.deep_defense.settings import SHARES
from holdfast.reproduce.part import Part
from holdfast.reproduce.plots import legend
from holdfast.reproduce.table import Plot


def plots(
    measured: Mapping[str, Sequence[Part]],
    areas: Sequence[Part],
    samples: Part,
    references: Sequence[Part],
    classes: Sequence[str],
) -> tuple[Plot, ...]:
    """All of them."""
    names = list(measured)
    return (
        accuracy(measured, references),
        *(roc(areas, names, k, classes[k]) for k in DRAWN),
        pictures(samples, classes),
    )


def accuracy(measured: Mapping[str, Sequence[Part]], references: Sequence[Part]) -> Plot:
    """Over the radius of the one-step attack; upright lines where the table has its columns."""
    eps = fmean(part.found["eps_ref"] for part in references)
    series = [Line(name, style, _mean(parts)) for style, (name, parts) in enumerate(measured.items())]
    bars = [
        Line(f"{share:g} eps_ref", len(series), ((share * eps, 0.0), (share * eps, 1.0)), dashed=True)
        for share in SHARES
    ]
    title = "Accuracy on pictures of FGSM"
    svg = lines([*series, *bars], title=title, x_label="eps", percent=True, y_from=(0.0, 1.0))
    caption = (
        f"On the test split, mean over the seeds. Dashed: 0.2, 0.5 and 1 times eps_ref, which is {eps:.4f} in the mean."
    )
    return Plot(title, svg, caption, (*legend(series), ("shares of eps_ref", len(series))))


def _mean(parts: Sequence[Part]) -> tuple[tuple[float, ...], ...]:
    """(radius, mean, lowest, highest) over the seeds."""
    found = []
    for points in zip(*(part.found["curve"] for part in parts), strict=True):
        values = [value for _, value in points]
        found.append((points[0][0], fmean(values), min(values), max(values)))
    return tuple(found)


def roc(areas: Sequence[Part], names: Sequence[str], k: int, title: str) -> Plot:
    """True against false positives for one class, with the first seed."""
    first = areas[0].found
    series = [
        Line(name, style, tuple((a, b) for a, b in first["curves"][name][str(k)])) for style, name in enumerate(names)
    ]
    head = f"ROC of class {k + 1}, {title}: true positives"
    svg = lines(series, title=head, x_label="false positives", percent=True)
    areas_of = "; ".join(f"{name} {first[f'{name}/{k}']:.4f}" for name in names)
    caption = f"On DeepFool's test pictures, made against the network after its first training. Areas: {areas_of}."
    return Plot(head, svg, caption, legend(series))


def pictures(samples: Part, classes: Sequence[str]) -> Plot:
    """Test pictures as they are, moved by DeepFool, and moved by FGSM."""
    shown = [(name, [np.asarray(one) for one in some]) for name, some in samples.found["pictures"].items()]
    given = samples.found["given"]
    told = ". ".join(f"{name}: {', '.join(classes[k] for k in some)}" for name, some in given.items())
    title = "Pictures and what is made of them"
    heads = [classes[k] for k in next(iter(given.values()))]
    caption = (
        f"Heads: the class that the network after its first training gives to the original. It calls them: {told}."
    )
    return Plot(title, rows_of_pictures(shown, heads, title=title), caption)
