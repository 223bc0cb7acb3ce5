"""The published sets themselves, where HOLDFAST_DATA has them."""

import hashlib

import pytest
import torch

from holdfast.data import SETS, find, load
from holdfast.data.splits import places_of

pytestmark = pytest.mark.data

# Of all pixels, colour last, then all labels as bytes.
SHA256 = {
    ("mnist", "train"): "edc0d1098aa497be14ace79ddd5171e5a3dcf9c4d196c015389203eb3ba1f59b",
    ("mnist", "test"): "c3f9adf9c66efb572b1f9326c3a511b45910c7173b97be66ceceeeeaef6b802b",
    ("fashion-mnist", "train"): "16d82e2b505296aa2b78bd5ea0992634f30419a4c97def7c907d154a35ac6157",
    ("fashion-mnist", "test"): "9f1ec356a747bfe4ebab3cfb722d3694c9ca737e2570f6f90cf31d7b6fd689d4",
    ("cifar-10", "train"): "f912919bdea371136f1aa4feed6beeca728015a5f08b1899a29c932a7e30be2b",
    ("cifar-10", "test"): "8193b3fbce55bec361cd1b8fd4880cb1649832dc4d6de6da1e7a21847a4843aa",
}
SIZES = {"mnist": (60_000, 1, 28, 28), "fashion-mnist": (60_000, 1, 28, 28), "cifar-10": (50_000, 3, 32, 32)}
MNIST_TEST = [980, 1135, 1032, 1010, 982, 892, 958, 1028, 974, 1009]
FIRST_LABELS = {"mnist": [7, 2, 1, 0, 4], "fashion-mnist": [9, 2, 1, 1, 6], "cifar-10": [3, 8, 8, 0, 6]}


def digest(images, labels):
    content = hashlib.sha256(images.permute(0, 2, 3, 1).contiguous().numpy().data)
    content.update(labels.to(torch.uint8).numpy().data)
    return content.hexdigest()


@pytest.mark.parametrize("name", SIZES)
def test_the_test_part_is_the_published_one(name):
    test = load(name)
    assert find(name) is not None
    assert len(test) == 10_000
    assert digest(test.images, test.labels) == SHA256[name, "test"]
    assert test.labels[:5].tolist() == FIRST_LABELS[name]
    assert test.labels.bincount().tolist() == (MNIST_TEST if name == "mnist" else [1000] * 10)


@pytest.mark.parametrize("name", SIZES)
def test_the_training_part_is_the_published_one(name):
    part = SETS[name].read(find(name, split="train"), "train")
    assert part.images.shape == SIZES[name]
    assert digest(part.images, part.labels) == SHA256[name, "train"]


def test_train_and_validation_together_are_the_published_part():
    train, validation = load("fashion-mnist", "train"), load("fashion-mnist", "validation")
    assert validation.labels.bincount().tolist() == [600] * 10
    labels = SETS["fashion-mnist"].read(find("fashion-mnist", split="train"), "train").labels
    chosen = torch.zeros(60_000, dtype=torch.bool)
    chosen[places_of("validation", labels, seed=0)] = True
    images, merged = torch.empty(60_000, 1, 28, 28, dtype=torch.uint8), torch.empty_like(labels)
    for rows, split in ((chosen, validation), (~chosen, train)):
        images[rows], merged[rows] = split.images, split.labels
    assert digest(images, merged) == SHA256["fashion-mnist", "train"]
