"""Trees of lanes: taking, joining, choosing."""

from dataclasses import dataclass
from typing import NamedTuple

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from holdfast.lanes import choose, join, take
from holdfast.threats import Linf


@dataclass(frozen=True)
class Record:
    points: Tensor
    count: Tensor
    parts: tuple[Tensor, None]
    name: str = "record"
    nested: dict[str, Tensor] | None = None


class Pair(NamedTuple):
    first: Tensor
    second: int


def record(lanes):
    return Record(
        torch.arange(lanes * 6.0).view(lanes, 2, 3),
        torch.arange(lanes),
        (torch.arange(lanes) * 2, None),
        nested={"a": torch.arange(lanes) * 3},
    )


@settings(deadline=None, max_examples=20)
@given(lanes=st.integers(1, 6), seed=st.integers(0, 9))
def test_taking_parts_and_joining_them_gives_all(lanes, seed):
    whole = record(lanes)
    mask = torch.rand(lanes, generator=torch.Generator().manual_seed(seed)) > 0.5
    order = torch.cat([mask.nonzero().squeeze(1), (~mask).nonzero().squeeze(1)])
    back = take(join([take(whole, mask), take(whole, ~mask)]), order.argsort())
    assert torch.equal(back.points, whole.points)
    assert torch.equal(back.count, whole.count)
    assert torch.equal(back.parts[0], whole.parts[0])
    assert back.parts[1] is None
    assert torch.equal(back.nested["a"], whole.nested["a"])
    assert back.name == "record"


def test_choosing_lane_by_lane():
    one, two = record(3), take(record(6), torch.tensor([3, 4, 5]))
    picked = choose(torch.tensor([True, False, True]), one, two)
    assert picked.count.tolist() == [0, 4, 2]
    assert torch.equal(picked.points[1], two.points[1])


def test_what_belongs_to_all_lanes_is_left_alone():
    threat = take(Linf(eps=0.5), torch.tensor([0]))
    assert threat == Linf(eps=0.5)
    pair = take(Pair(torch.arange(3), 7), torch.tensor([2]))
    assert isinstance(pair, Pair)
    assert pair.first.tolist() == [2]
    assert pair.second == 7
    scalar = torch.tensor(3.0)
    assert take(scalar, torch.tensor([0])) is scalar


def test_a_radius_a_lane_is_taken_along():
    assert take(Linf(eps=torch.tensor([0.1, 0.2])), torch.tensor([1])).eps.tolist() == pytest.approx([0.2])


def test_trees_of_different_build_do_not_join():
    with pytest.raises(ValueError, match="zip"):
        join([(torch.zeros(1),), (torch.zeros(1), torch.zeros(1))])
