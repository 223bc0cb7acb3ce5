"""Searches by labels alone: what they see, what they spend, where they begin, and where they end."""

from dataclasses import dataclass, replace
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from holdfast.access import Access, Labels
from holdfast.attacks import ATTACKS, Boundary, GeoDA, HopSkipJump, RayS, SignOPT, SurFree, run, smallest
from holdfast.attacks.attack import norms
from holdfast.attacks.beginnings import nearest_elsewhere
from holdfast.attacks.case import Case
from holdfast.attacks.low_frequencies import directions, waves
from holdfast.attacks.phases import between
from holdfast.attacks.wrapper import Wrapper
from holdfast.draws import Draws
from holdfast.errors import DataError, OptionError
from holdfast.losses import Goal
from holdfast.threats import L1, L2, NORMS, Linf
from nets import linear, tiny_case

ROWS = [
    HopSkipJump(queries=150, points=10),
    GeoDA(queries=150),
    SignOPT(queries=150, points=10),
    SurFree(queries=150),
    Boundary(queries=150),
    RayS(queries=150),
]
every_attack = pytest.mark.parametrize("attack", ROWS, ids=lambda attack: attack.name)


def threat_of(attack):
    return NORMS[norms(attack)[-1]](eps=0)


@pytest.fixture(scope="module")
def case():
    return tiny_case()


def test_every_one_has_a_row():
    elsewhere = (
        "noise",
        "pointwise",
        "line-search",
    )  # they do not follow a boundary; test_sparse.py has the latter two
    known = {kind for kind in ATTACKS.values() if kind.access == Access.LABELS and kind.name not in elsewhere}
    assert {type(row) for row in ROWS} == known


@dataclass(frozen=True, kw_only=True)
class Watched(Wrapper):
    """Notes of which type the answers are."""

    def start(self, case: Case) -> Any:
        return self.attack.start(case)

    def step(self, case: Case, state: Any, answer: Any) -> Any:
        seen.append(type(answer))
        assert case.logits is None
        return self.attack.step(case, state, answer)


seen: list[type] = []


@every_attack
def test_never_sees_a_score(attack, case):
    seen.clear()
    found = smallest(Watched(attack=attack), case.model, case.x, case.y, threat_of(attack))
    assert set(seen) == {Labels}
    assert found.success.all()
    assert (found.backward == 0).all()


class OnlyLabels(nn.Module):
    """A model of which nothing is to be had but labels: its scores are always the same two."""

    def __init__(self, inner):
        super().__init__()
        self.inner = inner

    def forward(self, x):
        return nn.functional.one_hot(self.inner(x).argmax(1), 4).to(x)


@every_attack
def test_scores_make_no_difference(attack, case):
    case.model.eval()
    plain, bare = (
        smallest(attack, model, case.x, case.y, threat_of(attack)) for model in (case.model, OnlyLabels(case.model))
    )
    case.model.train()
    assert torch.equal(plain.x_adv, bare.x_adv)


@every_attack
@pytest.mark.parametrize("queries", [1, 2, 17, 60])
def test_asks_as_many_points_as_it_may_and_no_more(attack, queries, case):
    asked = torch.zeros((), dtype=torch.int64)

    def count(module, given, out):
        asked.add_(len(out))

    hook = case.model.register_forward_hook(count)
    found = smallest(replace(attack, queries=queries), case.model, case.x, case.y, threat_of(attack))
    hook.remove()
    right = ~found.start_wrong
    assert (found.queries[right] == queries).all()
    assert int(asked) == int(found.forward.sum())


@every_attack
def test_more_questions_find_nothing_larger(attack, case):
    """The first questions are the same, whatever the budget, but for GeoDA, which plans by it."""
    few, many = (
        smallest(replace(attack, queries=count), case.model, case.x, case.y, threat_of(attack)) for count in (60, 300)
    )
    right = ~few.start_wrong & few.success
    assert many.success[right].all()
    if not isinstance(attack, GeoDA):
        assert (many.size[right] <= few.size[right] * (1 + 1e-9)).all()
    assert many.size[right].mean() < few.size[right].mean()


@every_attack
def test_a_picture_that_no_point_breaks_ends_nothing(attack):
    """Nothing changes the answer of a model that always gives the same; pictures that hold come back as they are."""

    class Never(nn.Module):
        def forward(self, x):
            return torch.tensor([[1.0, 0.0]]).expand(len(x), 2) + 0 * x.flatten(1)[:, :1]

    x = torch.rand(6, 1, 4, 4, generator=torch.Generator().manual_seed(0))
    found = smallest(attack, Never(), x, torch.zeros(6, dtype=torch.int64), threat_of(attack))
    assert not found.success.any()
    assert (found.step == -1).all()


class Bright(nn.Module):
    """Another class only where nearly everything is white, which no noise is."""

    def forward(self, points):
        over = points.flatten(1).mean(1) - 0.9999
        return torch.stack([-over, over], 1)


@pytest.mark.parametrize("attack", ROWS[:-1], ids=lambda attack: attack.name)  # RayS begins by going to white
def test_one_picture_without_a_beginning_does_not_stop_the_others(attack):
    x = 0.5 + 0.1 * torch.rand(6, 1, 4, 4, generator=torch.Generator().manual_seed(0))
    begins = torch.cat([torch.ones_like(x[:3]), x[3:]])
    y = torch.zeros(6, dtype=torch.int64)
    found = smallest(attack, Bright(), x, y, threat_of(attack), beginning=begins)
    assert found.success.tolist() == [True] * 3 + [False] * 3
    assert (found.queries == attack.queries).all()


@pytest.mark.parametrize(
    "attack",
    [HopSkipJump(queries=1500), SignOPT(queries=1500), SurFree(queries=1500, frequencies=0.99), Boundary(queries=1500)],
    ids=lambda attack: attack.name,
)
@settings(deadline=None, max_examples=3)
@given(seed=st.integers(0, 100))
def test_comes_near_the_plane_of_two_classes(attack, seed):
    """In L2, inside the box: the exact size is margin over the length of the normal."""
    generator = torch.Generator().manual_seed(seed)
    weight = torch.randn(1, 12, dtype=torch.float64, generator=generator)
    x = 0.5 + 0.05 * torch.randn(12, 1, 3, 4, dtype=torch.float64, generator=generator)
    model = linear(torch.cat([weight, -weight]), -(torch.cat([weight, -weight]) @ x.flatten(1).mean(0)))
    logits = model(x).detach()
    exact = (logits[:, 0] - logits[:, 1]).abs() / (2 * weight).norm()
    found = smallest(attack, model, x, logits.argmax(1), L2(eps=0))
    assert (found.size >= exact * (1 - 1e-9)).all()
    assert (found.size / exact).median() < 1.05


@settings(deadline=None, max_examples=3)
@given(seed=st.integers(0, 100))
def test_ray_s_finds_the_corner_of_a_plane(seed):
    """In Linf the nearest direction is the corner of the normal's signs: RayS has to get every sign right."""
    generator = torch.Generator().manual_seed(seed)
    weight = torch.randn(1, 8, dtype=torch.float64, generator=generator)
    x = 0.5 + 0.02 * torch.randn(8, 1, 2, 4, dtype=torch.float64, generator=generator)
    model = linear(torch.cat([weight, -weight]), -(torch.cat([weight, -weight]) @ x.flatten(1).mean(0)))
    logits = model(x).detach()
    exact = (logits[:, 0] - logits[:, 1]).abs() / (2 * weight).abs().sum()
    found = smallest(RayS(queries=400), model, x, logits.argmax(1), Linf(eps=0))
    assert (found.size - exact).abs().max() < 2e-3  # its own tolerance is a thousandth of the box


def test_begins_at_the_nearest_picture_that_reaches_the_goal():
    x = torch.tensor([0.0, 0.1, 0.4, 0.9]).view(4, 1, 1, 1)
    prediction = torch.tensor([0, 0, 1, 2])
    y = torch.tensor([0, 0, 1, 2])
    assert nearest_elsewhere(x, prediction, Goal(y)).flatten().tolist() == pytest.approx([0.4, 0.4, 0.1, 0.4])
    to_two = Goal(y, torch.full_like(y, 2))
    assert nearest_elsewhere(x, prediction, to_two).flatten().tolist() == pytest.approx([0.9, 0.9, 0.9, 0.9])
    alone = nearest_elsewhere(x[:2], prediction[:2], Goal(y[:2]))
    assert torch.equal(alone, x[:2])


def test_begins_where_it_is_told(case):
    """A first question about an earlier attack's picture, which is one already."""
    earlier = smallest(HopSkipJump(queries=300, points=10), case.model, case.x, case.y, L2(eps=0))
    again = smallest(HopSkipJump(queries=1), case.model, case.x, case.y, L2(eps=0), beginning=earlier.x_adv)
    assert torch.equal(again.x_adv, earlier.x_adv)
    with pytest.raises(DataError, match=r"beginning is .* allowed: .* one picture for each of x"):
        run(HopSkipJump(), case.model, case.x, case.y, L2(eps=1.0), beginning=case.x[:3])


def test_waves_are_square_to_each_other():
    for side, most in ((28, 14), (5, 5), (8, 1)):
        made = waves(side, most)
        torch.testing.assert_close(made.T @ made, torch.eye(most, dtype=torch.float64))


@pytest.mark.parametrize(("shape", "share"), [((3, 8, 8), 0.5), ((1, 7, 5), 0.3), ((2, 4, 4), 1.0), ((9,), 0.5)])
def test_directions_have_length_one_and_low_frequencies(shape, share):
    x = torch.rand(4, *shape, dtype=torch.float64)
    goal = Goal(torch.zeros(4, dtype=torch.int64))
    case = Case(x, goal, L2(eps=1.0), L2(eps=1.0).limits(x), Draws(0, torch.arange(4)))
    found = directions(case, 6, share)
    assert found.shape == (4, 6, *shape)
    torch.testing.assert_close(found.flatten(2).norm(dim=2), torch.ones(4, 6, dtype=torch.float64))
    if len(shape) == 3 and share < 1:
        # A neighbour tells more of a value than in white noise.
        assert (found[..., 1:] * found[..., :-1]).mean() > 0
    assert torch.equal(directions(case, 6, share), found)


@pytest.mark.parametrize("kind", [Linf, L2, L1], ids=lambda kind: kind.name)
def test_between_is_a_way_of_that_size(kind):
    """The ends are the ends, and the size of each point is its share; nothing leaves the box."""
    x, x_adv = torch.rand(2, 5, 1, 3, 4, dtype=torch.float64, generator=torch.Generator().manual_seed(3)).unbind(0)
    x_adv[0] = 1.0
    threat = kind(eps=0)
    case = Case(x, Goal(torch.zeros(5, dtype=torch.int64)), threat, threat.limits(x), Draws(0, torch.arange(5)))
    whole = threat.size(x_adv - x)
    for share in torch.linspace(0, 1, 9, dtype=torch.float64):
        point = between(case, x_adv, share.expand(5))
        torch.testing.assert_close(threat.size(point - x), share * whole)
        assert point.min() >= 0
        assert point.max() <= 1
    torch.testing.assert_close(point, x_adv)


@pytest.mark.parametrize(
    ("make", "text"),
    [
        (lambda: HopSkipJump(queries=0), "HopSkipJump: queries=0; allowed: a whole number from 1 up"),
        (lambda: GeoDA(frequencies=0.0), "GeoDA: frequencies=0.0; allowed: a number between 0 and 1"),
        (lambda: SurFree(angles=0), "SurFree: angles=0"),
        (lambda: SignOPT(reach=-1.0), "SignOPT: reach=-1.0; allowed: a finite number above 0"),
        (lambda: Boundary(step_size=0.0), "Boundary: step_size=0.0"),
        (lambda: RayS(queries=True), "RayS: queries=True"),
    ],
)
def test_wrong_options_say_what_is_allowed(make, text):
    with pytest.raises(OptionError, match=text):
        make()


def test_other_norms_are_refused(case):
    with pytest.raises(OptionError, match=r"ray-s: threat 'l2'; allowed: linf\. Choose another threat"):
        run(RayS(), case.model, case.x, case.y, L2(eps=1.0))
