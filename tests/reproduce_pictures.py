"""Small pictures in the place of a published set, for reproductions whose work is tested and not its outcome."""

import json
from dataclasses import replace

import pytest
import torch

from holdfast.data import Pictures
from holdfast.reproduce import REPRODUCTIONS, networks, reproduce

GREY = ("fashion-mnist", "mnist")  # sets of one channel


def coloured(count, seed, *, split="train", side=8):
    """Ten classes, each a colour of its own under noise, away from black and white: (N, 3, side, side) bytes."""
    generator = torch.Generator().manual_seed(seed)
    own = torch.randint(90, 166, (10, 3, side, side), generator=torch.Generator().manual_seed(0))
    labels = torch.arange(count) % 10
    noise = torch.randint(-30, 31, (count, 3, side, side), generator=generator)
    images = (own[labels] + noise).to(torch.uint8)
    return Pictures("cifar-10", split, images, labels, tuple("abcdefghij"), torch.arange(count))


def given(bench, name, split, limit=None):
    """As `holdfast.reproduce.networks.pictures`; of the training pictures some are wrongly labelled."""
    assert name in ("cifar-10", *GREY)
    count = {"train": 200, "validation": 60, "test": 120}[split]
    found = coloured(count, {"train": 1, "validation": 2, "test": 3}[split], split=split)
    if name in GREY:
        channel = 1 + GREY.index(name)
        found = replace(found, name=name, images=found.images[:, channel : channel + 1].contiguous())
    return found.take(slice(0, limit))


def small(name, settings):
    """A reproduction at these settings alone."""
    return replace(REPRODUCTIONS[name], presets={"small": settings})


def done_on_small_pictures(name, settings, folder, **options):
    """The reproduction with two seeds, on `given` pictures."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(networks, "pictures", given)
        return reproduce(small(name, settings), out=folder, seeds=(0, 1), **options)


def found(folder, place):
    """What a part's file says that was found."""
    return json.loads((folder / place / "part.json").read_text())["found"]


def check_numbers_are_those_of_parts(result):
    for one in result.table.rows:
        for place, seed in zip(one.parts, (0, 1), strict=True):
            read = found(result.folder, place)
            assert {column: cell.seeds[seed] for column, cell in one.ours.items()} == {c: read[c] for c in one.ours}


def check_nothing_is_done_twice(name, settings, result):
    """Resumed where training is impossible, and no part's file is touched."""
    before = {path: path.stat().st_mtime_ns for path in result.folder.rglob("part.json")}
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(networks, "train", None)
        again = done_on_small_pictures(name, settings, result.folder, resume=True)
    assert all(part.kept for part in again.parts)
    assert again.to_plain()["rows"] == result.to_plain()["rows"]
    assert {path: path.stat().st_mtime_ns for path in result.folder.rglob("part.json")} == before
