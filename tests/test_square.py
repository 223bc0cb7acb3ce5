"""Square's proposals against the paper's definitions, and its promise: scores alone, ever better pictures."""

from copy import deepcopy

import pytest
import torch

from holdfast.attacks import Square, run
from holdfast.attacks.case import Case
from holdfast.attacks.square import as_planes, halvings, window
from holdfast.attacks.square_windows import bump, odd, pile
from holdfast.draws import Draws
from holdfast.errors import OptionError
from holdfast.losses import Goal
from holdfast.losses.objectives import margin
from holdfast.threats import L0, L1, L2, Linf
from nets import linear, tiny_case


@pytest.fixture(scope="module")
def case():
    return tiny_case()


def test_share_of_the_picture_over_time():
    """Halved after 10, 50, 200, 500, 1000, 2000, 4000, 6000 and 8000 changes of 10,000."""
    tried = torch.tensor([0, 10, 11, 50, 51, 200, 201, 500, 1000, 1001, 2001, 4001, 6001, 8000, 8001, 9999])
    assert halvings(tried).tolist() == [0, 0, 1, 1, 2, 2, 3, 3, 4, 5, 6, 7, 8, 8, 9, 9]


@pytest.mark.parametrize(("height", "width"), [(28, 28), (5, 40), (40, 5), (1, 30), (30, 1), (2, 2)])
@pytest.mark.parametrize("share", [0.8, 0.2, 0.01])
def test_windows_are_whole_and_inside(height, width, share):
    numbers = torch.rand(500, 2, generator=torch.Generator().manual_seed(0))
    found = window(numbers, torch.full((500,), share), height, width)
    area = found.sum((1, 2))
    assert (area == area[0]).all()
    side = max(round((share * height * width) ** 0.5), 1)
    if side <= min(height, width):
        assert area[0] == side**2
    else:
        assert abs(float(area[0]) - share * height * width) <= max(height, width) / 2 + 1
    # Every pixel is reached: the last row and column are, which the published code leaves out.
    assert found.amax(0).min() == 1 or share < 0.02


def rectangles(rows, columns, power):
    """The paper's bump, rectangle by rectangle."""
    grid = torch.zeros(rows, columns, dtype=torch.float64)
    top, left = rows // 2, columns // 2
    for count in range(max(rows // 2, columns // 2) + 1):
        grid[max(top, 0) : top + 2 * count + 1, max(left, 0) : left + 2 * count + 1] += 1 / (count + 1) ** power
        top, left = top - 1, left - 1
    return grid


@pytest.mark.parametrize(("rows", "columns"), [(1, 1), (3, 3), (2, 5), (7, 4), (10, 21)])
@pytest.mark.parametrize("power", [2, 4])
def test_a_pile_is_made_of_rectangles(rows, columns, power):
    torch.testing.assert_close(pile(rows, columns, power), rectangles(rows, columns, power))


@pytest.mark.parametrize("side", [1, 3, 5, 11])
def test_a_bump_goes_up_and_down_and_has_size_one(side):
    for norm, length in (("l2", lambda part: part.square().sum().sqrt()), ("l1", lambda part: part.abs().sum())):
        found = bump(side, norm)
        assert float(length(found)) == pytest.approx(1.0)
        assert (found[: side // 2] >= 0).all()
        assert (found[side // 2 :] <= 0).all()


def test_sides_are_odd():
    assert odd(torch.tensor([1.0, 3.0, 4.0, 8.0, 9.0])).tolist() == [3, 3, 5, 9, 9]


@pytest.mark.parametrize(
    ("shape", "planes"),
    [((7,), (1, 1, 7)), ((2, 7), (2, 1, 7)), ((2, 3, 7), (2, 3, 7)), ((2, 3, 4, 7), (2, 12, 7))],
)
def test_any_shape_is_planes(shape, planes):
    assert as_planes(torch.zeros(5, *shape)).shape == (5, *planes)


@pytest.mark.parametrize("threat", [Linf(eps=0.2), L2(eps=0.6), L1(eps=2.0)], ids=lambda threat: threat.name)
@pytest.mark.parametrize("shape", [(18,), (2, 9), (2, 3, 3), (1, 2, 9), (2, 3, 3, 1)])
def test_every_shape_can_be_attacked(shape, threat, case):
    found = run(Square(queries=60), case.model, case.x.view(-1, *shape), case.y, threat)
    assert found.success.sum() > found.start_wrong.sum()
    assert (found.size <= threat.eps * (1 + 1e-9)).all()


@pytest.mark.parametrize("threat", [Linf(eps=0.1), L2(eps=0.4), L1(eps=1.5)], ids=lambda threat: threat.name)
def test_loss_never_falls_and_scores_are_enough(threat, case):
    found = run(Square(queries=200), case.model, case.x, case.y, threat, aim="highest_loss", trace=True)
    best = found.trace.loss[:, 0].cummax(1).values
    assert (best[:, -1] > best[:, 0]).float().mean() > 0.9
    assert not found.backward.any()


@pytest.mark.parametrize(("threat", "exact", "more"), [(Linf, 0.125, 1.3), (L2, 0.125 * 4, 2.5)])
def test_linear_model_gives_up_a_little_past_its_radius(threat, exact, more):
    """16 equal weights and a margin of 2: 0.125 a pixel is exact; windows, and bumps of both signs, need more."""
    weight = torch.ones(1, 16, dtype=torch.float64)
    model = linear(torch.cat([weight, -weight]), torch.tensor([-8.0 + 2.0, 8.0], dtype=torch.float64))
    x = torch.full((20, 1, 4, 4), 0.5, dtype=torch.float64)
    y = model(x).argmax(1)
    margin = model(x)[:, 0] - model(x)[:, 1]
    torch.testing.assert_close(margin, torch.full_like(margin, 2.0))
    exact = exact / 2  # each pixel moves both logits
    assert not run(Square(queries=300), model, x, y, threat(eps=0.99 * exact)).success.any()
    assert run(Square(queries=300), model, x, y, threat(eps=more * exact)).success.float().mean() > 0.9


def test_l2_and_l1_spend_the_whole_radius(case):
    for threat in (L2(eps=0.2), L1(eps=0.5)):
        found = run(Square(queries=30), case.model, case.x, case.y, threat, aim="highest_loss")
        inside = ((found.x_adv > 0.01) & (found.x_adv < 0.99)).flatten(1).all(1)
        assert inside.any()
        assert (found.size[inside] > 0.97 * threat.eps).all()


def watched(monkeypatch, attack, case, **options):
    """What a run found, and for each picture the changes that were kept: their number, and the loss from then on."""
    kept: dict[int, list[tuple[int, float]]] = {}
    decided = Square.decided

    def watching(self, lanes, at, answer):
        after = decided(self, lanes, at, answer)
        for i in (after.loss != at.loss).nonzero().squeeze(1).tolist():
            kept.setdefault(int(lanes.draws.picture[i]), []).append((int(after.tried[i]), float(after.loss[i])))
        return after

    with monkeypatch.context() as patch:
        patch.setattr(Square, "decided", watching)
        return run(attack, case.model, case.x, case.y, aim="highest_loss", **options), kept


@pytest.mark.parametrize("threat", [Linf(eps=0.1), L2(eps=0.3), L1(eps=1.0)], ids=lambda threat: threat.name)
@pytest.mark.parametrize("ahead", [2, 7, 16])
def test_asking_ahead_takes_the_same_course(threat, ahead, case, monkeypatch):
    (one, course), (many, same) = (
        watched(monkeypatch, Square(queries=100, ahead=n), case, threat=threat, seed=1, batch=64) for n in (1, ahead)
    )
    still = (~one.success & ~many.success).nonzero().squeeze(1).tolist()
    assert still
    for picture in still:
        assert [number for number, _ in course[picture]] == [number for number, _ in same[picture]]
        assert [loss for _, loss in course[picture]] == pytest.approx([loss for _, loss in same[picture]], abs=1e-12)
    # What comes back may be better still: a change that lapsed was looked at all the same.
    model = deepcopy(case.model).eval()
    ends = [margin(model(found.x_adv[still]), Goal(case.y[still])) for found in (one, many)]
    assert (ends[1] >= ends[0] - 1e-12).all()
    assert (many.forward >= one.forward).all()
    assert many.forward.double().mean() < 2.1 * one.forward.double().mean()
    stopped = run(Square(queries=100, ahead=ahead), case.model, case.x, case.y, threat, seed=1)
    assert (stopped.success >= one.success).all()


def test_a_search_ahead_asks_no_more_changes_than_allowed(case, monkeypatch):
    asked = []
    changed = Square.changed

    def watching(self, lanes, best, number):
        asked.append(number.tolist())
        return changed(self, lanes, best, number)

    monkeypatch.setattr(Square, "changed", watching)
    run(Square(queries=10, ahead=16), case.model, case.x[:1], case.y[:1], Linf(eps=1e-9))
    assert {number for numbers in asked for number in numbers} == set(range(1, 11))
    assert asked[-1] == [10]  # by itself, as its answer is not stepped on


def test_no_form_for_l0(case):
    with pytest.raises(OptionError, match="threat 'l0'; allowed: linf, l2, l1"):
        run(Square(), case.model, case.x, case.y, L0(eps=2))


@pytest.mark.parametrize("share", [0.0, 1.5])
def test_wrong_share(share):
    with pytest.raises(OptionError, match="first_share="):
        Square(first_share=share)


def test_the_schedule_is_stretched_over_the_queries_there_are():
    """The 50th of 100 changes comes after 4,900 of 10,000: 0.8 / 2^7 of 20 x 20 pixels is 2 x 2, 0.8 / 2 is 13 x 13."""
    x, threat = torch.full((9, 1, 20, 20), 0.5), Linf(eps=0.1)
    lanes = Case(x, Goal(torch.zeros(9, dtype=torch.int64)), threat, threat.limits(x), Draws(0, torch.arange(9)))
    for rescaled, pixels in ((True, 4), (False, 169)):
        changed = Square(queries=100, rescaled=rescaled).changed(lanes, x, torch.full((9,), 50))
        assert ((changed != x).flatten(1).sum(1) == pixels).all()
