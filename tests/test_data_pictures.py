"""Pictures in memory: exact floats, places that stay, and arrays that do not fit refused by name."""

import hashlib

import numpy as np
import pytest
import torch

from holdfast.data import Pictures
from holdfast.errors import DataError
from holdfast.lanes import take


def some(n=6, channels=3, height=4, width=5, classes=3):
    images = torch.arange(n * channels * height * width).remainder(256).byte().view(n, channels, height, width)
    names = tuple("abcdefghij"[:classes])
    return Pictures("some", "test", images, torch.arange(n) % classes, names, torch.arange(n) + 100)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.float16])
def test_x_is_the_byte_over_255(dtype):
    every = Pictures(
        "all", "test", torch.arange(256).byte().view(1, 1, 16, 16), torch.zeros(1).long(), ("a",), torch.zeros(1).long()
    )
    want = (torch.arange(256, dtype=torch.float64) / 255).to(torch.float64).view(1, 1, 16, 16)
    got = every.x(dtype=dtype)
    assert got.dtype == dtype
    assert torch.equal(got, want.to(dtype))
    assert got.min() == 0
    assert got.max() == 1
    assert every.images[0, 0, 0, 3] == 3, "the stored bytes are left alone"


def test_x_gives_the_rows_asked_for():
    pictures = some()
    rows = torch.tensor([4, 0]), torch.tensor([-1, 2]), torch.tensor([], dtype=torch.int64), [2], [-1]
    for index in (slice(1, 3), *rows, torch.tensor([True, False, True, False, False, True])):
        assert torch.equal(pictures.x(index), pictures.images[index].float() / 255)


def test_take_keeps_labels_and_places_with_their_pictures():
    pictures = some()
    chosen = pictures.take(torch.tensor([5, 1]))
    assert chosen.place.tolist() == [105, 101]
    assert chosen.labels.tolist() == [2, 1]
    assert torch.equal(chosen.images, pictures.images[[5, 1]])
    assert chosen.take(slice(1, 2)).place.tolist() == [101]
    assert len(chosen) == 2
    assert len(pictures.take(torch.zeros(6, dtype=torch.bool))) == 0


def test_works_as_a_tree_of_lanes():
    assert take(some(), torch.tensor([3, 2])).place.tolist() == [103, 102]


def test_describes_itself_in_one_line():
    assert repr(some()) == "Pictures('some', 'test', n=6, shape=3x4x5, k=3)"
    assert some().shape == (3, 4, 5)


def test_sha256_is_over_header_pixels_and_labels():
    pictures = some(n=2, channels=1, height=2, width=2, classes=2)
    content = b"torch.uint8 (2, 1, 2, 2)\n" + bytes(range(8)) + (0).to_bytes(8, "little") + (1).to_bytes(8, "little")
    assert pictures.sha256() == hashlib.sha256(content).hexdigest()


def test_sha256_sees_every_change():
    base = some()
    other_pixel = base.images.clone()
    other_pixel[0, 0, 0, 0] += 1
    changed = [
        base.take(torch.tensor([1, 0, 2, 3, 4, 5])),
        base.take(slice(0, 5)),
        Pictures("some", "test", other_pixel, base.labels, base.classes, base.place),
        Pictures("some", "test", base.images, 2 - base.labels, base.classes, base.place),
        Pictures("some", "test", base.images.transpose(2, 3), base.labels, base.classes, base.place),
    ]
    assert len({p.sha256() for p in [base, *changed]}) == 6


def test_arrays_of_bytes_become_pictures():
    images, labels = np.arange(24, dtype=np.uint8).reshape(2, 3, 4), [1, 0]
    pictures = Pictures.from_arrays(images, labels)
    assert pictures.shape == (1, 3, 4)
    assert pictures.images.flatten().tolist() == list(range(24))
    assert pictures.labels.dtype == torch.int64
    assert pictures.classes == ("0", "1")
    assert (pictures.name, pictures.split) == ("arrays", "test")
    assert pictures.place.tolist() == [0, 1]


@pytest.mark.parametrize("form", [np.asarray, torch.from_numpy])
@pytest.mark.parametrize("dtype", [np.uint8, np.float32])
def test_arrays_are_copied(form, dtype):
    images, labels = np.full((2, 1, 2, 2), 7, dtype=dtype), np.array([0, 1])
    pictures = Pictures.from_arrays(form(images), form(labels))
    before = pictures.sha256()
    pictures.x().zero_()
    images[:], labels[:] = 9, 0
    assert pictures.sha256() == before


def test_classes_and_name_may_be_given():
    images = np.full((2, 1, 2, 2), 7, dtype=np.uint8)
    pictures = Pictures.from_arrays(images, np.array([0, 1], dtype=np.uint8), classes=["cat", "dog"], name="pets")
    assert pictures.classes == ("cat", "dog")
    assert pictures.name == "pets"


@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64])
def test_floats_of_any_scale_stay_what_they_are(dtype):
    images = np.array([0.0, 0.25, 17.0, 255.0], dtype=dtype).reshape(1, 1, 2, 2)
    pictures = Pictures.from_arrays(images, [0])
    assert pictures.images.dtype == torch.float32
    assert pictures.x().flatten().tolist() == [0.0, 0.25, 17.0, 255.0]
    pictures.x().zero_()
    assert pictures.images.max() == 255


def test_tensors_that_need_a_gradient_are_taken_too():
    assert Pictures.from_arrays(torch.rand(1, 3, 2, 2, requires_grad=True), torch.tensor([1])).shape == (3, 2, 2)


BAD = {
    "colour last": (np.zeros((2, 8, 8, 3), np.uint8), [0, 1], r"\(2, 8, 8, 3\).*colour last.*transpose\(0, 3, 1, 2\)"),
    "one picture": (np.zeros((8, 8), np.uint8), [0], r"shape \(8, 8\).*allowed: \(N, C, H, W\)"),
    "no width": (np.zeros((2, 1, 8, 0), np.uint8), [0, 1], r"\(2, 1, 8, 0\).*allowed"),
    "wide numbers": (np.zeros((2, 1, 8, 8), np.int64), [0, 1], r"int64.*allowed: uint8.*astype"),
    "nan": (np.full((1, 1, 2, 2), np.nan), [0], r"NaN.*allowed: finite"),
    "too large": (np.full((1, 1, 2, 2), 1e300), [0], r"infinity.*allowed: finite float32"),
    "text": (np.array([["a"]]), [0], r"images are no array of numbers"),
    "ragged": ([[[1, 2], [3]]], [0], r"images are no array of numbers"),
    "names": (np.zeros((1, 1, 2, 2), np.uint8), ["cat"], r"labels are no array of numbers"),
    "none": (np.zeros((0, 1, 2, 2), np.uint8), np.zeros(0, np.int64), r"no pictures; give at least one"),
    "one-hot": (np.zeros((2, 1, 2, 2), np.uint8), np.eye(2), r"labels of torch.float64.*argmax"),
    "too few labels": (np.zeros((2, 1, 2, 2), np.uint8), [0], r"labels of shape \(1,\).*beside 2.*one whole number"),
    "no labels": (np.zeros((2, 1, 2, 2), np.uint8), np.zeros(0, np.int64), r"labels of shape \(0,\)"),
    "negative label": (np.zeros((2, 1, 2, 2), np.uint8), [0, -1], r"label -1 of picture 1; allowed: 0 to 1"),
}


@pytest.mark.parametrize(("images", "labels", "text"), BAD.values(), ids=BAD)
def test_arrays_that_do_not_fit_are_refused(images, labels, text):
    with pytest.raises(DataError, match=text) as caught:
        Pictures.from_arrays(images, labels, name="mine")
    assert str(caught.value).startswith("mine: ")
    assert "\n" not in str(caught.value)


def test_a_label_without_a_class_is_refused():
    with pytest.raises(DataError, match=r"label 2 of picture 1; allowed: 0 to 1 for 2 classes"):
        Pictures.from_arrays(np.zeros((2, 1, 2, 2), np.uint8), [0, 2], classes=["a", "b"])


def test_a_record_made_by_hand_is_checked_too():
    with pytest.raises(DataError, match=r"float64; allowed: \(N, C, H, W\), uint8 or float32"):
        Pictures("p", "test", torch.zeros(1, 1, 2, 2).double(), torch.zeros(1).long(), ("a",), torch.zeros(1).long())
    with pytest.raises(DataError, match=r"place of shape \(2,\)"):
        Pictures("p", "test", torch.zeros(1, 1, 2, 2), torch.zeros(1).long(), ("a",), torch.zeros(2).long())
