"""Attacks on few places, and along lines: what they must end at where that is known, and what they may not change."""

import itertools
import zlib
from copy import deepcopy
from dataclasses import replace

import pytest
import torch
from hypothesis import example, given, settings
from hypothesis import strategies as st

from holdfast.attacks import JSMA, PGDL0, LineSearch, Pointwise, SparseRS, run, smallest
from holdfast.attacks.attack import norms
from holdfast.attacks.case import Case
from holdfast.attacks.jsma import foremost_pair
from holdfast.attacks.line_search import blurred, weights
from holdfast.attacks.sparse_rs import EXCHANGED, allowed
from holdfast.draws import Draws
from holdfast.errors import OptionError
from holdfast.losses import Goal
from holdfast.threats import L0, L2, Linf, Pixels
from nets import linear, tiny_case

few = settings(deadline=None, max_examples=20)


@pytest.fixture(scope="module")
def case():
    return tiny_case()


def start(x, threat, seed=0, attack=0):
    """Lanes before their first question."""
    goal = Goal(torch.zeros(len(x), dtype=torch.int64))
    return Case(x, goal, threat, threat.limits(x), Draws(seed, torch.arange(len(x)), attack=attack))


def two_classes(normal, bias):
    """The second class leads by 2 (<normal, x> - bias)."""
    normal = torch.as_tensor(normal, dtype=torch.float64).flatten()
    return linear(torch.stack([-normal, normal]), torch.tensor([float(bias), -float(bias)], dtype=torch.float64))


# The best places of a linear model


@pytest.mark.parametrize("threat", [Pixels(eps=3), L0(eps=3)], ids=lambda threat: threat.name)
@pytest.mark.parametrize(
    "attack", [PGDL0(steps=30, step_size=100.0, loss="margin"), SparseRS(queries=4000)], ids=lambda one: one.name
)
def test_finds_the_places_that_gain_most(attack, threat):
    """Every value to the better side of the box, at the places where that gains most."""
    generator = torch.Generator().manual_seed(1)
    normal = torch.randn(2, 4, 4, dtype=torch.float64, generator=generator)
    x = 0.3 + 0.4 * torch.rand(6, 2, 4, 4, dtype=torch.float64, generator=generator)
    gains = torch.where(normal > 0, 1 - x, x) * normal.abs()
    places = gains.sum(1).flatten(1) if threat.name == "pixels" else gains.flatten(1)
    best = places.topk(3, dim=1).values.sum(1)
    found = run(attack, two_classes(normal, 90), x, torch.zeros(6, dtype=torch.int64), threat, aim="highest_loss")
    gain = (found.x_adv - x).flatten(1) @ normal.flatten()
    assert (threat.size(found.x_adv - x) <= 3).all()
    assert (gain <= best + 1e-9).all()
    assert (gain >= (1 - 1e-9 if isinstance(attack, PGDL0) else 0.9) * best).all(), gain / best


# Sparse-RS


@few
@given(seed=st.integers(0, 10**6), eps=st.integers(0, 9), round_=st.integers(1, 4000))
@example(seed=3, eps=9, round_=1)
@example(seed=3, eps=8, round_=1)
def test_exchanges_as_many_as_planned_and_keeps_the_number(seed, eps, round_):
    x = torch.rand(3, 2, 3, 3, generator=torch.Generator().manual_seed(seed))
    case = start(x, Pixels(eps=eps), seed)
    attack = SparseRS(queries=4000)
    at, _ = attack.start(case)
    assert (at.places.sum(1) == eps).all()
    case = replace(case, draws=case.draws.at(round_))
    other, new = attack.exchange(case, at.places)
    assert (other.sum(1) == eps).all()
    assert set(other.unique().tolist()) <= {0.0, 1.0}
    planned = max(1, int(float(attack.exchanged_at(case)[0]) * eps))
    # No more than there are to leave, and to enter.
    assert ((at.places > other).sum(1) == min(planned, eps, 9 - eps)).all()
    # Those that enter get new values; where all are changed, as many as planned.
    assert (new.sum(1) == (min(planned, eps) if eps == 9 else min(planned, eps, 9 - eps))).all()
    assert (new <= other).all()


def test_schedule_of_exchanges():
    """The first share, 0.8, over 2 at once, over 4 after 50 questions of 10,000, and so on."""
    case = start(torch.rand(5, 1, 3, 3), Pixels(eps=2))
    case = replace(case, draws=case.draws.at(torch.tensor([1, 5, 21, 401, 999])))
    over = 0.8 / SparseRS(queries=1000).exchanged_at(case)
    assert over.tolist() == pytest.approx([2, 4, 5, 12, 20])
    assert [first for first, _ in EXCHANGED] == sorted(first for first, _ in EXCHANGED)


def test_no_more_places_than_there_are():
    assert allowed(start(torch.rand(2, 3, 2, 2), Pixels(eps=50))).tolist() == [4, 4]
    assert allowed(start(torch.rand(2, 3, 2, 2), L0(eps=50))).tolist() == [12, 12]


# JSMA


@few
@given(seed=st.integers(0, 10**6))
def test_the_foremost_pair_is_the_best_of_all(seed):
    generator = torch.Generator().manual_seed(seed)
    rise, fall = torch.randn(2, 4, 9, dtype=torch.float64, generator=generator).unbind(0)
    free = torch.rand(4, 9, generator=generator) < 0.7
    free[0, 1:] = False  # no pair
    worth, pair = foremost_pair(rise, fall, free)
    for lane in range(4):
        pairs = list(itertools.combinations(free[lane].nonzero().flatten().tolist(), 2))
        assert (not pairs) == bool(worth[lane] == -torch.inf)
        if not pairs:
            continue
        a, b = ([float(part[lane, p] + part[lane, q]) for p, q in pairs] for part in (rise, fall))
        worths = [x * y if x > 0 and y > 0 else -torch.inf for x, y in zip(a, b, strict=True)]
        if max(worths) <= 0:
            worths = [x + y for x, y in zip(a, b, strict=True)]
        assert sorted(pair[lane].tolist()) == list(pairs[worths.index(max(worths))])


def test_the_better_of_both_directions_is_found_in_large_pictures():
    """Up, a hundred values gain next to nothing; down, a hundred others gain a thousand times as much."""
    normal = torch.cat([torch.full((100,), 0.001), torch.full((100,), -1.0)]).double()
    x = torch.full((1, 1, 10, 20), 0.5, dtype=torch.float64)
    model = two_classes(normal, float(0.5 * normal.sum()) + 0.9)
    assert smallest(JSMA(), model, x, torch.tensor([0]), L0(eps=0)).size.tolist() == [2]


@pytest.mark.parametrize(("direction", "sign"), [("up", 1), ("down", -1), ("both", 1), ("both", -1)])
def test_changes_the_fewest_pairs_of_a_linear_model(direction, sign):
    """All values in the middle, slopes of one sign: the steepest go to the side, each for half its slope, in twos."""
    normal = sign * torch.tensor([0.1, 2.0, 0.4, 1.5, 0.3, 1.0], dtype=torch.float64)
    x = torch.full((1, 1, 2, 3), 0.5, dtype=torch.float64)
    for gap, count in ((1.5, 2), (1.7, 2), (1.9, 4), (2.4, 4), (2.6, 6)):
        model = two_classes(normal, float(normal.sum() * 0.5) + gap)
        found = smallest(JSMA(direction=direction), model, x, torch.tensor([0]), L0(eps=0))
        assert found.success.all()
        assert found.size.tolist() == [count]


def test_jsma_ends_when_no_pair_is_left():
    x = torch.full((2, 1, 1, 5), 0.5, dtype=torch.float64)
    found = smallest(JSMA(steps=50), two_classes(torch.ones(5), 90), x, torch.tensor([0, 0]), L0(eps=0))
    assert not found.success.any()
    assert found.forward.tolist() == [1 + 3, 1 + 3]  # the picture, two values changed, four; one more has no pair


def test_jsma_breaks_what_it_can_and_reaches_targets(case):
    found = smallest(JSMA(targets_tried=3), case.model, case.x, case.y, L0(eps=0))
    assert found.success.float().mean() > 0.8
    target = (case.y + 1) % 4
    aimed = smallest(JSMA(), case.model, case.x, case.y, L0(eps=0), target=target)
    labels = deepcopy(case.model).eval()(aimed.x_adv).argmax(1)
    won = aimed.success & ~aimed.start_wrong
    assert won.float().mean() > 0.3
    assert (labels[won] == target[won]).all()


# Pointwise


@pytest.mark.parametrize("kind", [L0, Pixels], ids=lambda kind: kind.name)
def test_no_single_place_can_be_put_back(kind, case):
    model = deepcopy(case.model).eval()
    found = smallest(Pointwise(), case.model, case.x, case.y, kind(eps=0))
    assert found.success.all()
    for x, x_adv, y in zip(case.x, found.x_adv, case.y, strict=True):
        changed = (x != x_adv).any(0) if kind is Pixels else x != x_adv
        for place in changed.nonzero().tolist():
            again = x_adv.clone()
            where = (slice(None), *place) if kind is Pixels else tuple(place)
            again[where] = x[where]
            assert int(model(again[None]).argmax(1)) == int(y), "that one was not needed"


def test_groups_ask_less_than_one_by_one():
    """One value of 400 matters: the others go back in few questions."""
    normal = torch.zeros(400, dtype=torch.float64)
    normal[123] = 1.0
    x, y = torch.zeros(2, 1, 20, 20, dtype=torch.float64), torch.tensor([0, 0])
    found = smallest(Pointwise(), two_classes(normal, 0.5), x, y, L0(eps=0), beginning=torch.ones_like(x))
    assert found.size.tolist() == [1, 1]
    assert (found.forward < 60).all()


# Lines


@pytest.mark.parametrize("threat", [L2(eps=0), Linf(eps=0)], ids=lambda threat: threat.name)
def test_loss_of_contrast_ends_at_the_plane(threat):
    normal = torch.tensor([1.0, 0.5, 2.0, 1.0], dtype=torch.float64)
    x = torch.tensor([0.9, 0.8, 1.0, 0.7], dtype=torch.float64).view(1, 1, 2, 2)
    share = (x.flatten() @ normal - 3.0) / ((x.flatten() - 0.5) @ normal)  # the second class lies below a sum of 3
    found = smallest(
        LineSearch(along="contrast", halvings=20), two_classes(-normal, -3.0), x, torch.tensor([0]), threat
    )
    torch.testing.assert_close(found.size, share * threat.size(x - 0.5), rtol=1e-5, atol=0)


def test_blur_is_a_mean_of_neighbours():
    strength = torch.tensor([[1e-9, 0.1, 1.0]])
    made = weights(strength, 9)
    torch.testing.assert_close(made.sum(-1), torch.ones(1, 3, 9, dtype=torch.float64))
    torch.testing.assert_close(made[0, 0], torch.eye(9, dtype=torch.float64))
    row = torch.exp(-0.5 * (torch.arange(9).double() - 4) ** 2 / (float(strength[0, 1]) * 9 / 4) ** 2)
    torch.testing.assert_close(made[0, 1, 4], row / row.sum())
    x = torch.rand(1, 2, 9, 7)
    out = blurred(x, strength)
    torch.testing.assert_close(out[:, 0], x)
    assert (out.flatten(3).std(3).diff(dim=1) < 0).all()
    plain = torch.full((1, 2, 9, 7), 0.3)
    torch.testing.assert_close(blurred(plain, strength), plain[:, None].expand(1, 3, 2, 9, 7))


def test_salt_and_pepper_grow_along_a_line():
    attack, x = LineSearch(along="salt-and-pepper"), torch.full((3, 1, 20, 20), 0.5)
    case, line = start(x, L0(eps=0)), torch.zeros(3, dtype=torch.int64)
    made = attack.point(case, line, torch.tensor([[0.1, 0.5, 1.0]]).expand(3, 3))
    changed = made != 0.5
    assert set(made[changed].unique().tolist()) == {0.0, 1.0}
    assert (changed[:, 0] <= changed[:, 1]).all()
    assert (changed.flatten(2).float().mean(2) - torch.tensor([0.1, 0.5, 1.0])).abs().max() < 0.1
    assert not torch.equal(attack.point(case, line + 1, torch.ones(3, 1)), made[:, 2:])


@pytest.mark.parametrize("box", [(0.1, 0.9), (-2.1179, 2.64)])
@pytest.mark.parametrize("attack", [LineSearch(along="salt-and-pepper"), Pointwise()], ids=lambda one: one.name)
def test_salt_and_pepper_lie_at_the_sides_to_the_bit(attack, box):
    """Half the range up and half again is past it by a rounding, where nothing counts."""
    x = torch.full((4, 1, 4, 4), sum(box) / 2)
    model = two_classes(torch.ones(16), float(x[0].sum()) + 0.1 * (box[1] - box[0])).float()
    threat = L0(eps=0, low=box[0], high=box[1])
    found = smallest(attack, model, x, torch.zeros(4, dtype=torch.int64), threat)
    assert found.success.float().mean() >= 0.75


@pytest.mark.parametrize("along", ["blur", "contrast", "salt-and-pepper"])
def test_lines_find_the_first_success(along, case):
    """What succeeds on the grid is found, at a strength no larger than the first one there."""
    attack, model = LineSearch(along=along, steps=20, lines=1), deepcopy(case.model).eval()
    found = smallest(attack, case.model, case.x, case.y, L2(eps=0), seed=5)
    lanes = start(case.x, L2(eps=0), 5, zlib.crc32(b"line-search"))
    grid = (torch.arange(1, 21).double() / 20).expand(len(case.x), 20)
    points = attack.point(lanes, torch.zeros(len(case.x), dtype=torch.int64), grid)
    won = torch.stack([model(points[:, i]).argmax(1) != case.y for i in range(20)], 1)
    assert torch.equal(won.any(1) | found.start_wrong, found.success)
    broken = found.success & ~found.start_wrong
    first = points[torch.arange(len(points)), won.int().argmax(1)]
    assert (found.size <= L2(eps=0).size(first - case.x) * (1 + 1e-9))[broken].all()
    assert (model(found.x_adv).argmax(1) != case.y)[broken].all()


@pytest.mark.parametrize("attack", [JSMA(), Pointwise(), PGDL0(), SparseRS()], ids=lambda attack: attack.name)
def test_is_for_what_is_counted(attack, case):
    assert set(norms(attack)) == {"l0", "pixels"}
    with pytest.raises(OptionError, match="threat 'l2'; allowed: "):
        run(attack, case.model, case.x, case.y, L2(eps=0.5))


@pytest.mark.parametrize(
    ("make", "text"),
    [
        (lambda: PGDL0(step_size=0.0), r"PGDL0: step_size=0.0; allowed"),
        (lambda: SparseRS(exchanged=0.0), r"SparseRS: exchanged=0.0; allowed: above 0, up to 1"),
        (lambda: JSMA(steps=0), r"JSMA: steps=0; allowed"),
        (lambda: Pointwise(queries=0), r"Pointwise: queries=0; allowed"),
        (lambda: LineSearch(halvings=0), r"LineSearch: halvings=0; allowed"),
        (lambda: LineSearch(along="fog"), r"along='fog'; allowed: one of blur, contrast, salt-and-pepper"),
        (lambda: JSMA(direction="sideways"), r"direction='sideways'; allowed: one of up, down, both"),
    ],
)
def test_wrong_options(make, text):
    with pytest.raises(OptionError, match=text):
        make()


def test_blur_wants_pictures():
    with pytest.raises(OptionError, match=r"along='blur' for inputs of shape \(4,\).*Pass along=contrast"):
        smallest(
            LineSearch(), two_classes(torch.ones(4), 3), torch.rand(2, 4).double(), torch.tensor([0, 0]), L2(eps=0)
        )
