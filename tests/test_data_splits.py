"""Splits: disjoint, whole, even over the classes, the same for ever."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from holdfast.data import SPLITS, load
from holdfast.data.splits import every_nth, part_of, places_of
from holdfast.errors import OptionError

quick = settings(deadline=None, max_examples=30)


@quick
@given(st.lists(st.integers(0, 4), min_size=1, max_size=200), st.integers(0, 2**63 - 1))
def test_train_and_validation_share_nothing_and_lose_nothing(labels, seed):
    y = torch.tensor(labels)
    train, validation = (places_of(split, y, seed).tolist() for split in ("train", "validation"))
    assert sorted(train + validation) == list(range(len(labels)))
    assert train == sorted(train)
    assert len(validation) == -(-len(labels) // 10)


@quick
@given(st.lists(st.integers(0, 4), min_size=1, max_size=200), st.integers(0, 2**63 - 1), st.integers(2, 10))
def test_every_class_gives_its_share(labels, seed, nth):
    y = torch.tensor(labels)
    chosen = y[every_nth(y, nth, seed)].bincount(minlength=5)
    share = y.bincount(minlength=5) / nth
    assert ((chosen - share).abs() < 1).all()


def splitmix64(state):
    """One output of the published generator, in whole numbers of Python."""
    mask = 2**64 - 1
    z = state & mask
    z = (z ^ (z >> 30)) * 0xBF58476D1CE4E5B9 & mask
    z = (z ^ (z >> 27)) * 0x94D049BB133111EB & mask
    return z ^ (z >> 31)


@pytest.mark.parametrize("seed", [0, 1, 2**63 - 1])
def test_the_choice_is_the_same_for_ever(seed):
    start = splitmix64(seed)
    keys = [splitmix64(start + place * 0x9E3779B97F4A7C15) for place in range(1, 1001)]
    want = sorted(sorted(range(1000), key=keys.__getitem__)[::10])
    assert every_nth(torch.zeros(1000).long(), 10, seed).tolist() == want


def test_the_choice_was_never_changed():
    chosen = every_nth(torch.zeros(1000).long(), 10, 0)
    assert chosen[:8].tolist() == [14, 23, 27, 60, 87, 98, 105, 120]


def test_seeds_choose_differently_and_without_pattern():
    y = torch.zeros(20_000).long()
    chosen = [every_nth(y, 10, seed) for seed in range(20)]
    for rows in chosen:  # four standard deviations of a mean of 2000 uniform places
        assert abs(rows.double().mean() - 10_000) < 4 * 20_000 / (12 * 2000) ** 0.5
    for one, other in zip(chosen, chosen[1:]):
        common = len(set(one.tolist()) & set(other.tolist()))
        assert abs(common - 200) < 4 * 180**0.5


def test_test_is_the_publishers_test_part():
    assert places_of("test", torch.tensor([3, 1, 2]), 5).tolist() == [0, 1, 2]
    assert [part_of(split) for split in SPLITS] == ["train", "train", "test"]


def test_an_unknown_split_is_named_with_the_nearest():
    with pytest.raises(OptionError, match=r"unknown split 'tset'; known: test, train, validation. Did you mean 'test'"):
        load("digits", "tset")


def rows(pictures):
    return [bytes([label]) + image.numpy().tobytes() for label, image in zip(pictures.labels.tolist(), pictures.images)]


@pytest.mark.parametrize("seed", [0, 1])
def test_digits_fall_into_three_splits_without_rest(seed):
    from sklearn.datasets import load_digits

    parts = {split: load("digits", split, seed=seed) for split in SPLITS}
    assert {split: len(part) for split, part in parts.items()} == {"train": 1293, "validation": 144, "test": 360}
    source = load_digits()
    images = torch.from_numpy((source.images * 255 / 16 + 0.5).astype("uint8"))
    whole = sorted(bytes([t]) + image.numpy().tobytes() for t, image in zip(source.target.tolist(), images))
    assert sorted(row for part in parts.values() for row in rows(part)) == whole
    for part in parts.values():
        share = part.labels.bincount() / len(part)
        assert (share - 0.1).abs().max() < 0.01


def test_no_seed_moves_a_digit_between_test_and_train():
    test = load("digits", "test", seed=0)
    assert load("digits", "test", seed=9).sha256() == test.sha256()
    assert load("digits", "train", seed=9).sha256() != load("digits", "train", seed=0).sha256()


def test_digits_as_bytes():
    test = load("digits")
    steps = [0, 16, 32, 48, 64, 80, 96, 112, 128, 143, 159, 175, 191, 207, 223, 239, 255]
    assert set(test.images.flatten().tolist()) == set(steps)
    assert test.shape == (1, 8, 8)
    assert test.classes == tuple("0123456789")


def test_the_test_part_of_digits_was_never_changed():
    assert load("digits").sha256() == "5b4643f44cd97c9a041d8f3438b202ada4ca8723e92b86c5d473b8c3a65ccb79"


def test_limit_is_the_first_of_the_split():
    whole, few = load("digits", "validation"), load("digits", "validation", limit=7)
    assert torch.equal(few.images, whole.images[:7])
    assert few.labels.tolist() == whole.labels[:7].tolist()
    assert few.place.tolist() == list(range(7))
    assert len(load("digits", "validation", limit=10_000)) == 144


@pytest.mark.parametrize("limit", [0, -3])
def test_a_limit_below_one_is_refused(limit):
    with pytest.raises(OptionError, match=rf"limit={limit}; allowed: 1 or more"):
        load("digits", limit=limit)


def test_a_negative_seed_is_refused():
    with pytest.raises(OptionError, match="seed=-1; allowed: 0 to"):
        load("digits", seed=-1)
