"""Part of a set by class: `mnist:without=7,8,9` and `mnist:only=7,8,9`, for classes that a model has never seen."""

import re
from dataclasses import replace

import torch

from holdfast.data.pictures import Pictures
from holdfast.errors import OptionError, unknown

_FORM = re.compile(r"(.+):(without|only)=(.+)", re.DOTALL)


def split_name(text: str) -> tuple[str, str | None]:
    """The set's own name and what is chosen of it: ("mnist", "without=7,8,9"); None where all is meant.

    >>> split_name("mnist:only=7,8,9")
    ('mnist', 'only=7,8,9')
    """
    found = _FORM.fullmatch(text)
    return (text, None) if found is None else (found[1], f"{found[2]}={found[3]}")


def selected(pictures: Pictures, choice: str | None, limit: int | None = None) -> Pictures:
    """The first `limit` pictures of the chosen classes, which are numbered anew from 0 in their old order.

    Args: `choice` such as "without=7,8,9" or "only=cat,dog", classes by name or number; None for all.
    The places stay those in the whole split.
    Raises: `OptionError` for a class that the data do not have or that is given twice, and where fewer than two are
    left of "without".
    """
    if choice is None:
        return pictures.take(slice(0, limit))
    word, _, listed = choice.partition("=")
    named = [_number(one.strip(), pictures) for one in listed.split(",")]
    if len(set(named)) < len(named):
        raise OptionError(f"{pictures.name}:{choice} names a class twice; allowed: each once.")
    keep = [n for n in range(len(pictures.classes)) if (n in named) == (word == "only")]
    if word == "without" and len(keep) < 2:
        raise OptionError(f"{pictures.name}:{choice} leaves {len(keep)} classes; allowed: two or more. Name fewer.")
    number = torch.full((len(pictures.classes),), -1)
    number[keep] = torch.arange(len(keep))
    rows = (number[pictures.labels] >= 0).nonzero().squeeze(1)[:limit]
    return replace(
        pictures,
        name=f"{pictures.name}:{choice}",
        images=pictures.images[rows],
        labels=number[pictures.labels[rows]],
        place=pictures.place[rows],
        classes=tuple(pictures.classes[n] for n in keep),
    )


def _number(text: str, pictures: Pictures) -> int:
    """A class by name or number."""
    if text in pictures.classes:
        return pictures.classes.index(text)
    if text.isdecimal() and int(text) < len(pictures.classes):
        return int(text)
    raise unknown(f"class of {pictures.name}", text, pictures.classes)
