"""What a failed gate says to the person who has to mend it: what was asked, what was found, where to look."""

from collections.abc import Iterator, Sequence
from textwrap import wrap

from holdfast.evaluate import Evaluation, Gate, Rate
from holdfast.testing.worst import worst_classes, worst_pictures, wrong_before

PICTURES, CLASSES = 5, 3  # shown at most
WIDE = 110  # characters a line of prose
LISTED = 10  # indices of pictures that are wrong from the start, at most


def explain(found: Evaluation, gate: Gate) -> str:
    """The text of a failure, some twenty lines; meant for a gate that is not passed."""
    paragraphs = [
        [_headline(found, gate)],
        _demand(found, gate),
        _rates(found, gate),
        list(_checks(found)),
        [] if gate.holds(found.robust) else list(where(found)),
        list(_folder(found)),
    ]
    return "\n\n".join("\n".join(lines) for lines in paragraphs if lines)


def _headline(found: Evaluation, gate: Gate) -> str:
    """The figures first: a summary of many tests shows no more than the beginning."""
    rate, data = found.robust, found.summary["data"]
    said = f"{rate.k} of {rate.n} pictures hold"
    few = "" if gate.holds(rate) else f", too few for {gate.at_least:g}"
    failed = any(check.verdict == "fail" for check in found.checks)
    doubt = f", {'and' if few else 'but'} checks {'failed' if failed else 'were left out'}" if gate.doubt(found) else ""
    place = f"{data['name']} ({data['split']}), {found.summary['threat']['name']} {found.curve[-1].eps_text}"
    return f"{said}{few}{doubt}: {found.summary['model']['name']} on {place}"


def _demand(found: Evaluation, gate: Gate) -> list[str]:
    rate = found.robust
    lines = [
        f"required  {gate.at_least:g} or more at the lower end of the 95 % interval, and no failed check",
        f"found     {gate.told(rate.low)}, as {rate.k} of {rate.n} pictures hold under attack",
    ]
    if gate.holds(rate):
        return lines
    if not gate.holds(found.clean):
        lines += [f"          even without an attack only {gate.told(found.clean.low)}"]
    return [*lines, *_paragraph("to mend   ", gate.mend(rate))]


def _rates(found: Evaluation, gate: Gate) -> list[str]:
    named: list[tuple[str, Rate]] = [("no attack", found.clean)]
    named += [(f"eps {point.eps_text}", point.robust) for point in found.curve]
    rows = [
        (
            name,
            f"{rate.k} of {rate.n}",
            f"{rate.rate:.4f}",
            f"{gate.told(rate.low)} to {rate.high:.4f}",
            "" if gate.holds(rate) else f"begins under {gate.at_least:g}",
        )
        for name, rate in named
    ]
    return columns([("", "right", "rate", "95 % interval", ""), *rows], right=(1, 2))


def _checks(found: Evaluation) -> Iterator[str]:
    failed = [check for check in found.checks if check.verdict == "fail"]
    made = sum(check.verdict != "skipped" for check in found.checks)
    yield f"{len(failed)} of {made} checks failed:" if failed else found.because[:1].upper() + found.because[1:]
    for check in failed:
        yield f"  {check.name} expects: {check.title}"
        yield from _paragraph("    found    ", check.evidence)
        yield from _paragraph("    to mend  ", check.advice)


def _paragraph(label: str, text: str) -> list[str]:
    """Prose behind its label, in lines that a terminal shows whole."""
    return wrap(text, WIDE, initial_indent=label, subsequent_indent=" " * len(label), break_on_hyphens=False)


def where(found: Evaluation) -> Iterator[str]:
    """Where the model is weakest, line by line: pictures that break, those wrong from the start, classes."""
    worst, broken = worst_pictures(found, PICTURES)
    if worst:
        several = len(found.curve) > 1
        order = f"{'smallest radius, then ' if several else ''}smallest change first"
        yield f"worst of {broken} broken pictures, {order}{_whose_index(found)}:"
        head = ("index", "class", "became", "confidence", *(("eps",) if several else ()), "size", "broken by")
        rows = [
            (
                str(one.index),
                one.label,
                one.became,
                f"{one.confidence:.3f}",
                *((one.eps_text,) if several else ()),
                f"{one.size:.3g}",
                one.attack,
            )
            for one in worst
        ]
        yield from ("  " + line for line in columns([head, *rows], right=(0, 3)))
    if places := wrong_before(found):
        more = ", ..." if len(places) > LISTED else ""
        yield f"wrong without any attack: {len(places)}, index {', '.join(map(str, places[:LISTED]))}{more}"
    if classes := worst_classes(found, CLASSES):
        listed = ", ".join(f"{row['class']} ({row['robust']} of {row['n']} hold)" for row in classes)
        yield f"worst classes: {listed}"


def _whose_index(found: Evaluation) -> str:
    """Said where an index is no row of what was given, but one of the split that it was taken from."""
    index = found.records["index"].tolist()
    return "" if index == list(range(len(index))) else f"; index in the whole {found.summary['data']['split']} split"


def _folder(found: Evaluation) -> Iterator[str]:
    if found.run is not None:
        yield f"every picture: {found.run / 'records.csv'}"
        yield f"report: made by `holdfast report {found.run}`"


def columns(rows: Sequence[Sequence[str]], right: Sequence[int] = ()) -> list[str]:
    """Rows of equal length as lines, their cells under each other, those of the columns `right` to the right."""
    widths = [max(map(len, column)) for column in zip(*rows)]
    lines = (
        "  ".join(cell.rjust(w) if i in right else cell.ljust(w) for i, (cell, w) in enumerate(zip(row, widths)))
        for row in rows
    )
    return [line.rstrip() for line in lines]
