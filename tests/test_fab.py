"""FAB against exact distances: planes within the box, linear models, and a ReLU net taken apart piece by piece."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.optimize import linprog, minimize

from holdfast import attacks
from holdfast.attacks import FAB, FABT, run
from holdfast.threats import L0, L1, L2, Linf
from nets import linear, tiny_case

KINDS = [Linf, L2, L1]
kinds = pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.name)


@pytest.fixture(scope="module")
def case():
    return tiny_case()


def smallest(kind, x, normal, gap):
    """The size of the least move within the box, by a solver; None where no move is enough."""
    d = len(x)
    bounds = [(-float(value), 1 - float(value)) for value in x]
    if kind is L2:
        start = torch.zeros(d).double().numpy()
        constraint = {"type": "eq", "fun": lambda move: float(normal.numpy() @ move) - gap}
        found = minimize(
            lambda move: (move**2).sum(),
            start,
            jac=lambda move: 2 * move,
            bounds=bounds,
            constraints=[constraint],
            method="SLSQP",
            options={"ftol": 1e-14, "maxiter": 500},
        )
        return found.fun**0.5 if found.success else None
    # Linf: minimise t with |move| <= t; L1: minimise the sum of t.
    width = 1 if kind is Linf else d
    cost = [0.0] * d + [1.0] * width
    rows = []
    for i in range(d):
        for sign in (1.0, -1.0):
            row = [0.0] * (d + width)
            row[i], row[d + (0 if kind is Linf else i)] = sign, -1.0
            rows.append(row)
    equal = [[*normal.tolist(), *[0.0] * width]]
    found = linprog(
        cost, A_ub=rows, b_ub=[0.0] * len(rows), A_eq=equal, b_eq=[gap], bounds=bounds + [(0, None)] * width
    )
    return found.fun if found.success else None


@kinds
@settings(deadline=None, max_examples=25)
@given(seed=st.integers(0, 10_000), scale=st.floats(-3, 3))
def test_the_way_to_a_plane_is_the_shortest_in_the_box(kind, seed, scale):
    generator = torch.Generator().manual_seed(seed)
    x = torch.rand(7, dtype=torch.float64, generator=generator)
    x[0] = 0.0
    normal = torch.randn(7, dtype=torch.float64, generator=generator)
    normal[1] = 0.0
    threat = kind(eps=0.1)
    move = threat.reach(x[None], normal[None], torch.tensor([scale], dtype=torch.float64))[0]
    assert float((x + move).min()) >= -1e-12
    assert float((x + move).max()) <= 1 + 1e-12
    want = smallest(kind, x, normal, scale)
    most = float(torch.where(normal * scale > 0, 1 - x, x) @ normal.abs())
    if most < abs(scale):
        assert float(move @ normal) == pytest.approx(most if scale > 0 else -most, abs=1e-9)
    else:
        assert float(move @ normal) == pytest.approx(scale, abs=1e-9)
        if want is not None:
            assert float(threat.size(move[None])) == pytest.approx(want, rel=1e-4, abs=1e-6)


def test_l0_takes_the_values_that_gain_most_in_all():
    x = torch.tensor([[0.1, 0.9, 0.5, 0.5]])
    normal = torch.tensor([[2.0, 3.0, -1.0, 0.5]])
    # Upwards the gains are 1.8, 0.3, 0.5 and 0.25: two values are enough for 2.1, and all of the first is needed.
    move = L0(eps=2).reach(x, normal, torch.tensor([2.1]))
    torch.testing.assert_close(move, torch.tensor([[0.9, 0.0, -0.3, 0.0]]))


@pytest.mark.parametrize("kind", [*KINDS, L0], ids=lambda kind: kind.name)
def test_no_gradient_no_move(kind):
    x = torch.rand(3, 2, 2)
    move = kind(eps=1).reach(x, torch.zeros_like(x), torch.tensor([1.0, -1.0, 0.0]))
    assert torch.equal(move, torch.zeros_like(x))


@kinds
def test_dual_is_the_gain_of_the_steepest_move(kind):
    grad = torch.randn(5, 4, 4, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    threat = kind(eps=1.0, spread=1e-9) if kind is L1 else kind(eps=1.0)
    gain = (grad * threat.steepest(grad)).flatten(1).sum(1)
    torch.testing.assert_close(threat.dual(grad), gain)


@kinds
@pytest.mark.parametrize("attack", [FAB(steps=20), FABT(steps=20)], ids=lambda attack: attack.name)
@settings(deadline=None, max_examples=8)
@given(seed=st.integers(0, 1000))
def test_finds_the_exact_distance_of_a_linear_model(attack, kind, seed):
    """The least move onto the nearest of three planes, for FAB-T with sides of the box in the way.

    FAB chooses the nearest plane without the box, as published, so it is tried where no side is met.
    """
    generator = torch.Generator().manual_seed(seed)
    weight = torch.randn(4, 12, dtype=torch.float64, generator=generator)
    x = torch.rand(8, 1, 3, 4, dtype=torch.float64, generator=generator)
    x = 0.45 + 0.1 * x if isinstance(attack, FAB) else x
    model = linear(weight)
    logits = model(x).detach()
    y = logits.argmax(1)
    exact = torch.full((8,), torch.inf, dtype=torch.float64)
    for other in range(4):
        normal, lead = weight[other] - weight[y], logits[:, other] - logits.gather(1, y[:, None])[:, 0]
        move = kind(eps=1.0).reach(x, normal.view_as(x), -lead)
        there = ((normal * move.flatten(1)).sum(1) + lead).abs() < 1e-9
        exact = torch.where(there & (other != y), torch.minimum(exact, kind(eps=1.0).size(move)), exact)
    found = run(attack, model, x, y, kind(eps=0.9 if kind is Linf else 9.0), aim="smallest")
    most = 0.4 if isinstance(attack, FAB) else 0.8 if kind is Linf else 8.0
    near = found.success & (exact < most)
    assert near[exact < min(most, 0.5 if kind is Linf else 2.0)].all()
    assert (found.size[near] >= exact[near] * (1 - 1e-6)).all()
    assert (found.size[near] <= exact[near] * 1.06).all()


@kinds
def test_never_worse_with_every_target_than_with_one(kind, case):
    threat = kind(eps=0.9 if kind is Linf else 4.0)
    one, all_ = (
        run(FABT(steps=30, targets_tried=n), case.model, case.x, case.y, threat, aim="smallest") for n in (1, 3)
    )
    assert (all_.size[one.success] <= one.size[one.success] + 1e-9).all()


def relu_distance(model, x, label, grid):
    """The Linf distance to another class of a net of two inputs, by trying every point of a fine grid."""
    classes = model(grid).argmax(1)
    return float((grid[classes != label] - x).abs().flatten(1).amax(1).min())


def test_a_small_relu_net_is_solved_as_by_enumeration():
    with torch.random.fork_rng():
        torch.manual_seed(4)
        model = torch.nn.Sequential(
            torch.nn.Flatten(), torch.nn.Linear(2, 16), torch.nn.ReLU(), torch.nn.Linear(16, 3)
        ).double()
    with torch.no_grad():
        model[1].weight.mul_(4)
        model[3].weight.mul_(4)
    side = torch.linspace(0, 1, 401, dtype=torch.float64)
    grid = torch.cartesian_prod(side, side).view(-1, 1, 1, 2)
    x = torch.rand(25, 1, 1, 2, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        y = model(x).argmax(1)
        exact = torch.tensor([relu_distance(model, x[i], int(y[i]), grid) for i in range(25)])
    assert y.unique().numel() > 1
    found = run(FAB(steps=40, restarts=4), model, x, y, Linf(eps=1.0), aim="smallest")
    assert found.success.all()
    assert (found.size >= exact - 1 / 400).all()  # never nearer than the grid can tell
    assert (found.size <= 1.1 * exact + 1 / 400).float().mean() >= 0.9


def test_points_outside_the_radius_do_not_count(case):
    found = run(FABT(steps=20), case.model, case.x, case.y, Linf(eps=0.02))
    assert (found.size <= 0.02 * (1 + 1e-9)).all()


@pytest.mark.parametrize("attack", [FAB(steps=10), FABT(steps=10)], ids=lambda attack: attack.name)
def test_nan_gradients_do_not_spoil_the_point(attack):
    class Broken(torch.nn.Module):
        def forward(self, x):
            flat = x.flatten(1)
            return torch.stack([flat.sum(1), (flat - flat.detach()).abs().sqrt().sum(1)], 1)

    x = torch.full((3, 1, 2, 2), 0.5)
    found = run(attack, Broken(), x, torch.zeros(3, dtype=torch.int64), Linf(eps=0.1))
    assert found.x_adv.isfinite().all()


def published(model, x, y, target, kind, steps):
    """FAB-T for one picture that stays off the box's sides: the target's lead at every point that it steps from."""

    def onto(point, normal, amount):
        if kind is Linf:
            return normal.sign() * amount / normal.abs().sum()
        return normal * amount / normal.square().sum()

    size = (lambda d: d.abs().max()) if kind is Linf else (lambda d: d.square().sum().sqrt())
    point, leads = x, []
    for _ in range(steps):
        asked = point.clone().requires_grad_()
        logits = model(asked)[0]
        lead = logits[target] - logits[y]
        (normal,) = torch.autograd.grad(lead, asked)
        leads.append(float(lead.detach()))
        lead = lead.detach()
        here = onto(point, normal, -lead)
        home = onto(x, normal, -lead - (normal * (x - point)).sum())
        pull = min(size(here) / (size(here) + size(home)), 0.1)
        point = (point + 1.05 * here) * (1 - pull) + (x + 1.05 * home) * pull
        if int(model(point).argmax()) != y:
            point = x + 0.9 * (point - x)
    return leads


@pytest.mark.parametrize("kind", [Linf, L2], ids=lambda kind: kind.name)
def test_follows_the_published_algorithm(kind, case):
    case.model.eval()
    x = 0.45 + 0.1 * case.x
    with torch.no_grad():
        y = case.model(x).argmax(1)
    target = case.model(x).detach().scatter(1, y[:, None], -torch.inf).argmax(1)
    attack, threat = FABT(steps=12, targets_tried=1), kind(eps=1e-9)
    found = run(attack, case.model, x, y, threat, trace=True)
    compared = 0
    for row in range(len(x)):
        want = published(case.model, x[row : row + 1], int(y[row]), int(target[row]), kind, 12)
        seen = found.trace.loss[row, 0][found.trace.gradient[row, 0].isfinite()]
        torch.testing.assert_close(seen, torch.tensor(want), rtol=1e-3, atol=1e-4)
        compared += 1
    case.model.train()
    assert compared >= 5


def test_restarts_begin_near_the_boundary_when_the_radius_is_the_whole_box(case):
    """Half of the whole box away is nowhere near: no point that is asked about is."""
    x, y, far = case.x[10:11], case.y[10:11], []

    class Watched(torch.nn.Module):
        def forward(self, points):
            far.append(float((points.detach() - x).flatten(1).norm(dim=1).max()))
            return case.model(points)

    case.model.eval()
    once = attacks.smallest(FAB(steps=10), Watched(), x, y, L2(eps=0)).size
    nearest = max(far)
    again = attacks.smallest(FAB(steps=10, restarts=4), Watched(), x, y, L2(eps=0)).size
    case.model.train()
    assert (again <= once * (1 + 1e-6)).all()
    assert max(far) < 1.5 * nearest
    assert 1.5 * nearest < 0.5 * (18**0.5) / 2  # where they would begin by the radius
