"""Searches by scores alone: what they see, what they spend, and the points they must end at where those are known."""

import math
from dataclasses import dataclass, replace
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from holdfast.access import Access, Scores
from holdfast.attacks import (
    ATTACKS,
    NES,
    SPSA,
    ZOO,
    HillClimbing,
    OnePixel,
    SignHunter,
    SimBA,
    SparseRS,
    Square,
    run,
    smallest,
)
from holdfast.attacks.attack import breadth, minimal, norms
from holdfast.attacks.blocks import Blocks
from holdfast.attacks.by_scores import heights, least_rise
from holdfast.attacks.case import Case
from holdfast.attacks.differences import either_side, estimated
from holdfast.attacks.simba import wave
from holdfast.attacks.wrapper import Wrapper
from holdfast.draws import Draws
from holdfast.errors import OptionError
from holdfast.lanes import take
from holdfast.losses import Goal
from holdfast.losses.objectives import margin
from holdfast.threats import L0, L1, L2, Linf, Pixels
from nets import linear, tiny_case

ROWS = [
    Square(queries=120),
    NES(queries=120, pairs=6),
    SPSA(queries=120, pairs=6),
    SimBA(queries=120),
    SimBA(queries=120, basis="dct"),
    SignHunter(queries=120),
    HillClimbing(queries=120),
    OnePixel(population=12, generations=10),
    ZOO(queries=120, coordinates=4),
    SparseRS(queries=120),
]
every_attack = pytest.mark.parametrize("attack", ROWS, ids=repr)


def threat_of(attack):
    return {"linf": Linf(eps=0.1), "l2": L2(eps=0.4), "pixels": Pixels(eps=1)}[(norms(attack) or ("linf",))[0]]


@pytest.fixture(scope="module")
def case():
    return tiny_case()


def start(x, y, threat, seed=0):
    """Lanes before their first question."""
    return Case(x, Goal(y), threat, threat.limits(x), Draws(seed, torch.arange(len(x))))


def answered(model, case, query):
    """What the model says to a question."""
    with torch.no_grad():
        logits = model(query.points)
    reached = logits.argmax(1) != take(case.goal, query.lane).y
    return Scores(points=query.points, labels=logits.argmax(1), reached=reached, logits=logits, lane=query.lane)


def plane(normal, bias):
    """Two classes, the second one's lead being <normal, x> - bias."""
    normal = torch.as_tensor(normal, dtype=torch.float64).flatten()
    return linear(torch.stack([0 * normal, normal]), torch.tensor([0.0, -float(bias)], dtype=torch.float64))


# What they see and spend


def test_every_one_has_a_row():
    known = {name: kind for name, kind in ATTACKS.items() if kind.access == Access.SCORES}
    guessing = {"grid", "worst-of-k"}  # whatever the answers are: test_rendered.py
    assert {type(row) for row in ROWS} == {kind for name, kind in known.items() if name not in guessing}


@dataclass(frozen=True, kw_only=True)
class Watched(Wrapper):
    """Notes of which type the answers are, and how many points a lane asks about."""

    def start(self, case: Case) -> Any:
        return self.noted(case, self.attack.start(case))

    def step(self, case: Case, state: Any, answer: Any) -> Any:
        seen.add(type(answer))
        return self.noted(case, self.attack.step(case, state, answer))

    def noted(self, case, asked):
        counts.add(len(asked[1].points) / len(case.round))
        return asked


seen: set[type] = set()
counts: set[float] = set()


@every_attack
def test_sees_scores_and_no_more(attack, case):
    seen.clear(), counts.clear()
    threat = threat_of(attack)
    found = run(Watched(attack=attack), case.model, case.x, case.y, threat, aim="highest_loss")
    assert seen == {Scores}
    assert (found.backward == 0).all()
    assert counts == {breadth(attack)}


@every_attack
def test_asks_no_more_than_it_may(attack, case):
    """Counted by a hook; the picture itself is one more, and for Square the first point of the search another."""
    asked = torch.zeros((), dtype=torch.int64)

    def count(module, given, out):
        asked.add_(len(given[0]))

    with torch.no_grad():
        right = case.model.eval()(case.x).argmax(1) == case.y
    handle = case.model.register_forward_hook(count)
    found = run(attack, case.model, case.x, case.y, threat_of(attack), aim="highest_loss")
    handle.remove()
    assert int(found.forward.sum()) == int(asked)
    assert int(found.forward.max()) <= 1 + 120 + (1 if isinstance(attack, Square) else 0)
    assert int(found.forward[right].min()) > 120 - breadth(attack)


@pytest.mark.parametrize("attack", [row for row in ROWS if not isinstance(row, Square | ZOO | SparseRS)], ids=repr)
def test_more_questions_find_nothing_worse(attack, case):
    """The first questions are the same, whatever the budget, but for those who plan by it."""
    shorter = replace(attack, **({"queries": 20} if hasattr(attack, "queries") else {"generations": 2}))
    losses = []
    for one in (shorter, attack):
        found = run(one, case.model, case.x, case.y, threat_of(one), aim="highest_loss")
        with torch.no_grad():
            losses.append(margin(case.model.eval()(found.x_adv), Goal(case.y)))
    assert (losses[1] >= losses[0] - 1e-12).all()
    assert losses[1].mean() > losses[0].mean()


@every_attack
def test_an_answer_that_is_not_finite_stops_nobody(attack, case):
    """The first picture's neighbourhood answers with NaN; the others' searches are those they were."""

    class Hole(nn.Module):
        def __init__(self):
            super().__init__()
            self.inner = case.model

        def forward(self, x):
            near = (x - case.x[0]).flatten(1).abs().mean(1) < 0.2
            return torch.where((near & (x != case.x[0]).flatten(1).any(1))[:, None], torch.nan, self.inner(x))

    holed, whole = (
        run(attack, model, case.x, case.y, threat_of(attack), aim="highest_loss") for model in (Hole(), case.model)
    )
    assert torch.equal(holed.x_adv[0], case.x[0])
    torch.testing.assert_close(holed.x_adv[1:], whole.x_adv[1:], rtol=0, atol=1e-9)


def test_heights_rank_what_is_not_finite_lowest_and_rounding_for_nothing():
    points = torch.zeros(4, 1, 1, 1)
    logits = torch.tensor([[0.0, 1.0], [torch.nan, 0.0], [-torch.inf, 0.0], [0.0, -torch.inf]])
    labels = torch.zeros(4, dtype=torch.int64)
    answer = Scores(points=points, labels=labels, reached=labels > 0, logits=logits)
    case = start(points, labels, Linf(eps=0.1))
    assert heights(case, answer, margin).tolist() == [1.0, -torch.inf, -torch.inf, -torch.inf]
    height = torch.tensor([100.0], dtype=torch.float64)
    for dtype, least in ((torch.float64, 1e-15), (torch.float32, 1e-5), (torch.bfloat16, 0.1)):
        rise = least_rise(height, replace(answer, logits=logits.to(dtype))) - height
        assert least < float(rise) < 1000 * least


# Estimates of gradients


@pytest.mark.parametrize("threat", [Linf(eps=0.1), L2(eps=0.5)], ids=lambda threat: threat.name)
def test_estimates_of_a_linear_gradient(threat):
    """In the middle of box and threat each pair adds exactly <way, gradient> times the way, of twice the length."""
    normal = torch.tensor([1.0, -2.0, 0.5, 0.0], dtype=torch.float64)
    x = torch.full((3, 1, 2, 2), 0.5, dtype=torch.float64)
    case = start(x, torch.zeros(3, dtype=torch.int64), threat)
    way = case.draws.normal(x[:, None].expand(-1, 50, 1, 2, 2))
    query = either_side(case, x, way, 1e-3)
    assert len(query.points) == 3 * 101
    at, loss, gradient = estimated(case, answered(plane(normal, 0.3), case, query), margin)
    torch.testing.assert_close(at, x)
    torch.testing.assert_close(loss, (x.flatten(1) @ normal) - 0.3)
    flat = way.flatten(2)
    expected = 4e-6 * torch.einsum("lsd,d,lse->le", flat, normal, flat)
    torch.testing.assert_close(gradient.flatten(1), expected, rtol=1e-6, atol=1e-12)


def test_estimates_have_the_right_sign_at_the_side_of_the_box():
    normal = torch.tensor([1.0, -2.0, 0.5, -0.7], dtype=torch.float64)
    x = torch.tensor([0.0, 1.0, 1.0, 0.0], dtype=torch.float64).view(1, 1, 2, 2)
    case = start(x, torch.zeros(1, dtype=torch.int64), Linf(eps=0.1))
    query = either_side(case, x, case.draws.signs(x[:, None].expand(-1, 4000, 1, 2, 2)), 1e-3)
    assert query.points.min() >= 0
    assert query.points.max() <= 1
    _, _, gradient = estimated(case, answered(plane(normal, 0.0), case, query), margin)
    assert torch.equal(gradient.flatten().sign(), normal.sign())


def highest_by_corner(normal, x, eps):
    """The highest lead over a linear model in Linf: every value moves as far as radius and box allow."""
    room = torch.where(normal > 0, (1 - x).clamp_max(eps), x.clamp_max(eps))
    return x.flatten(1) @ normal.flatten() + (room * normal.abs()).flatten(1).sum(1)


@pytest.mark.parametrize(
    "attack",
    [
        NES(queries=4000, pairs=10, step_size=0.5),
        SPSA(queries=4000, pairs=10),
        SimBA(queries=200),
        SignHunter(queries=200),
        HillClimbing(queries=4000),
        Square(queries=4000),
    ],
    ids=lambda attack: attack.name,
)
def test_ends_at_the_corner_of_a_linear_model(attack):
    normal = torch.linspace(-2, 2, 16, dtype=torch.float64)[
        torch.randperm(16, generator=torch.Generator().manual_seed(1))
    ]
    x = torch.rand(5, 1, 4, 4, dtype=torch.float64, generator=torch.Generator().manual_seed(2))
    x[0, 0, 0] = 0.0
    model, y = plane(normal, 50.0), torch.zeros(5, dtype=torch.int64)
    found = run(attack, model, x, y, Linf(eps=0.03), aim="highest_loss")
    best = highest_by_corner(normal.view(1, 4, 4), x, 0.03)
    reached = found.x_adv.flatten(1) @ normal
    begun = x.flatten(1) @ normal
    share = (reached - begun) / (best - begun)
    # What looks at every value by itself gets all; the others climb on estimates, and one at random.
    least = {"simba": 1 - 1e-9, "sign-hunter": 1 - 1e-9, "hill-climbing": 0.7}.get(attack.name, 0.97)
    assert (share > least).all(), share


# SignHunter's blocks


@given(values=st.integers(1, 40))
@settings(max_examples=20, deadline=None)
def test_blocks_cover_every_value_once_a_level(values):
    blocks, sign = Blocks.first(torch.zeros(1, dtype=torch.int64)), torch.ones(1, values)
    turned = torch.zeros(values)
    for level in range(math.ceil(math.log2(values)) + 1):
        turned.zero_()
        while int(blocks.level) == level:
            turned += (blocks.turned(sign) < 0)[0]
            blocks = blocks.next(values)
            if level == math.ceil(math.log2(values)) and int(blocks.level) == 0:
                break
        assert (turned == 1).all()
    assert (int(blocks.level), int(blocks.block)) == (0, 0)


def test_no_block_turns_nothing():
    sign = torch.ones(2, 1, 3, 3)
    assert torch.equal(Blocks.first(torch.zeros(2, dtype=torch.int64), -1).turned(sign), sign)


@pytest.mark.parametrize("threat", [L2(eps=0.4), L1(eps=1.6)], ids=lambda threat: threat.name)
def test_sign_hunter_goes_to_the_edge_of_other_norms(threat):
    x = torch.full((1, 1, 4, 4), 0.5, dtype=torch.float64)
    found = run(SignHunter(queries=1), plane(torch.ones(16), 50), x, torch.tensor([0]), threat, aim="highest_loss")
    torch.testing.assert_close(threat.size(found.x_adv - x), torch.tensor([threat.eps], dtype=torch.float64))


# SimBA's directions


def test_waves_are_a_basis():
    like = torch.zeros(2 * 3 * 4, 2, 3, 4, dtype=torch.float64)
    made = wave(torch.arange(24), like).flatten(1)
    torch.testing.assert_close(made @ made.T, torch.eye(24, dtype=torch.float64))


@pytest.mark.parametrize("basis", ["pixels", "dct"])
def test_directions_come_in_an_order_of_their_own_each_once(basis):
    x = torch.rand(3, 2, 16, 16)
    order = SimBA(basis=basis).order(start(x, torch.zeros(3, dtype=torch.int64), L2(eps=1.0)))
    assert (order.sort(1).values == torch.arange(2 * 16 * 16)).all()
    assert not torch.equal(order[0], order[1])
    if basis == "dct":  # the longest waves first
        rows, columns = order // 16 % 16, order % 16
        stage = torch.maximum(rows, columns) // 2
        assert (stage.diff(dim=1) >= 0).all()


def test_simba_takes_two_questions_a_direction_that_does_not_help_at_once():
    """All directions down: up is asked first, so that 2 d questions see every value at its best side."""
    x = torch.full((1, 1, 3, 3), 0.5, dtype=torch.float64)
    for count, best in ((1, -0.1), (2, 0.1), (3, 0.1), (4, 0.2), (18, 0.9)):
        found = run(
            SimBA(queries=count, loss="margin"),
            plane(-torch.ones(9), 50),
            x,
            torch.tensor([0]),
            Linf(eps=0.1),
            aim="highest_loss",
        )
        assert float((x - found.x_adv).sum()) == pytest.approx(best)


def test_simba_still_learns_where_the_model_is_sure():
    """In float32 the probability of the label is 1 to the last bit, here and all around."""
    model = nn.Sequential(nn.Flatten(), nn.Linear(9, 2, bias=False)).eval()
    with torch.no_grad():
        model[1].weight.copy_(torch.stack([torch.full((9,), 8.0), torch.full((9,), -8.0)]))
        assert (model(torch.full((1, 1, 3, 3), 0.4)).softmax(1)[:, 0] == 1).all()
    x = torch.full((1, 1, 3, 3), 0.5)
    found = run(SimBA(queries=60), model, x, torch.tensor([0]), Linf(eps=0.4), aim="highest_loss")
    assert float(found.x_adv.sum()) == pytest.approx(0.9, abs=1e-4)


def test_the_cosine_basis_wants_pictures():
    with pytest.raises(OptionError, match=r"basis='dct' for inputs of shape \(4,\).*Pass basis=pixels"):
        run(SimBA(basis="dct"), plane(torch.ones(4), 3), torch.rand(2, 4).double(), torch.tensor([0, 0]), L2(eps=1.0))


# One pixel


@pytest.mark.parametrize("threat", [Pixels(eps=1), L0(eps=1)], ids=lambda threat: threat.name)
def test_finds_the_best_pixel(threat):
    """Against trying every place; in the threat `pixels` with all its channels, in L0 with one."""
    normal = torch.randn(3, 4, 4, dtype=torch.float64, generator=torch.Generator().manual_seed(3))
    x = torch.rand(4, 3, 4, 4, dtype=torch.float64, generator=torch.Generator().manual_seed(4))
    gains = torch.where(normal > 0, 1 - x, x) * normal.abs()
    best = (gains.sum(1) if threat.name == "pixels" else gains).flatten(1).amax(1)
    y = torch.zeros(4, dtype=torch.int64)
    attack = OnePixel(population=60, generations=40)
    found = run(attack, plane(normal, 90), x, y, threat, aim="highest_loss")
    gain = (found.x_adv - x).flatten(1) @ normal.flatten()
    assert (gain <= best + 1e-9).all()
    assert (gain >= 0.93 * best).all(), gain / best
    assert (threat.size(found.x_adv - x) == 1).all()


def test_several_pixels_stay_within_the_radius():
    x = torch.rand(3, 2, 4, 4, dtype=torch.float64, generator=torch.Generator().manual_seed(5))
    y, model = torch.zeros(3, dtype=torch.int64), plane(torch.ones(32), 90)
    for count, eps in ((3, 3), (3, 2), (2, 4)):
        attack = OnePixel(pixels=count, population=20, generations=10)
        found = run(attack, model, x, y, Pixels(eps=eps), aim="highest_loss")
        size = Pixels(eps=0).size(found.x_adv - x)
        assert (size <= min(count, eps)).all()
        assert (size == min(count, eps)).any()


@pytest.mark.parametrize("population", [4, 5, 9])
def test_a_child_has_three_different_parents(population):
    x = torch.rand(200, 1, 2, 2)
    attack = OnePixel(population=population)
    made = start(x, torch.zeros(200, dtype=torch.int64), Pixels(eps=1))
    first, second, third = attack.three(made, torch.zeros(200, population, 1, 3))
    assert (first != second).all()
    assert (first != third).all()
    assert (second != third).all()
    for number in (first, second, third):
        assert set(number.flatten().tolist()) == set(range(population))


# ZOO


def test_zoo_finds_the_plane_in_l2():
    normal = torch.linspace(0.5, 2, 12, dtype=torch.float64)
    x = torch.full((3, 1, 3, 4), 0.4, dtype=torch.float64)
    x[1] = 0.0
    model, y = plane(normal, 0.4 * normal.sum() + 0.5), torch.zeros(3, dtype=torch.int64)
    gap = 0.5 + 0.4 * normal.sum() - x.flatten(1) @ normal
    exact = L2(eps=0).size(L2(eps=0).reach(x, normal.expand(3, -1).view_as(x), gap))
    found = smallest(ZOO(queries=20_000, coordinates=6, searches=8), model, x, y, L2(eps=0))
    assert found.success.all()
    ratio = found.size / exact
    assert (ratio >= 1 - 1e-9).all()
    assert (ratio <= 1.05).all(), ratio


def test_only_zoo_looks_for_the_smallest():
    assert [type(row) for row in ROWS if minimal(row)] == [ZOO]


@pytest.mark.parametrize(
    ("make", "text"),
    [
        (lambda: NES(queries=0), r"NES: queries=0; allowed: a whole number from 1 up"),
        (lambda: NES(queries=50), r"NES: queries=50; allowed: a whole number from 51 up. A step asks about 51 points"),
        (lambda: SPSA(queries=1), r"SPSA: queries=1; allowed: a whole number from 65 up"),
        (lambda: ZOO(queries=64), r"ZOO: queries=64; allowed: a whole number from 65 up"),
        (lambda: SimBA(basis="wavelets"), r"SimBA: basis='wavelets'; allowed: one of pixels, dct"),
        (lambda: NES(momentum=1.0), r"NES: momentum=1.0; allowed: a number between 0 and 1"),
        (lambda: SPSA(spread=0.0), r"SPSA: spread=0.0; allowed: a finite number above 0"),
        (lambda: SPSA(pairs=2.5), r"SPSA: pairs=2.5; allowed"),
        (lambda: SimBA(step_size=-1), r"SimBA: step_size=-1; allowed"),
        (lambda: SignHunter(queries=True), r"SignHunter: queries=True; allowed"),
        (lambda: HillClimbing(step_size=math.inf), r"HillClimbing: step_size=inf; allowed"),
        (lambda: OnePixel(population=3), r"OnePixel: population=3; allowed: a whole number from 4 up"),
        (lambda: OnePixel(pixels=0), r"OnePixel: pixels=0; allowed"),
        (lambda: ZOO(first_c=0), r"ZOO: first_c=0; allowed"),
    ],
)
def test_wrong_options(make, text):
    with pytest.raises(OptionError, match=text):
        make()
