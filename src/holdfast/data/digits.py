"""The 1,797 scans of handwritten digits that come with scikit-learn: real pictures without a download.

Its values 0 to 16 become bytes round(v * 255 / 16), the half way case v = 8 upwards: 0, 16, 32, 48, 64, 80, 96,
112, 128, 143, 159, 175, 191, 207, 223, 239, 255. It has no training and test part of its own, so a fifth of each
digit (to within one) is the test part, chosen by hashing with a fixed seed: no option moves a picture across.
Source: Alpaydin & Kaynak 1998, "Optical recognition of handwritten digits", UCI repository (its test part).
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from importlib.util import find_spec
from pathlib import Path

import torch

from holdfast.data.published import Download, Part
from holdfast.data.splits import every_nth

TEST_EVERY = 5  # one picture of so many is for the test part
TEST_SEED = 0


@dataclass(frozen=True, kw_only=True)
class DigitsSet:
    """Grey 8x8 digits out of scikit-learn."""

    name: str = "digits"
    title: str = "handwritten digits, 8x8 grey, inside scikit-learn (Alpaydin & Kaynak)"
    classes: tuple[str, ...] = tuple("0123456789")
    shape: tuple[int, int, int] = (1, 8, 8)
    counts: Mapping[str, int] = field(default_factory=lambda: {"train": 1437, "test": 360})
    home: str = ""

    def locate(self, root: Path | None, part: str) -> Path | None:
        """The folder of scikit-learn for `root` None; a data folder never holds this set."""
        spec = find_spec("sklearn") if root is None else None
        return Path(spec.origin).parent if spec and spec.origin else None

    def read(self, path: Path, part: str) -> Part:
        """The pictures of a part in scikit-learn's order."""
        from sklearn.datasets import load_digits

        values, target = load_digits(return_X_y=True)
        sixteenths = torch.from_numpy(values).to(torch.int64).view(-1, *self.shape)
        images, labels = ((sixteenths * 255 + 8) // 16).to(torch.uint8), torch.from_numpy(target).long()
        test = torch.zeros(len(labels), dtype=torch.bool)
        test[every_nth(labels, TEST_EVERY, TEST_SEED)] = True
        chosen = test if part == "test" else ~test
        return Part(images[chosen], labels[chosen], self.classes)

    def downloads(self, part: str) -> tuple[Download, ...]:
        """None: the set is embedded."""
        return ()


DIGITS = DigitsSet()
