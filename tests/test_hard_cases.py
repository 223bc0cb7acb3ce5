"""The attack interface on its hard cases: lanes at different places, ragged questions, labels only, shared batches."""

from collections import Counter
from contextlib import nullcontext
from dataclasses import dataclass, field, replace
from typing import Any, ClassVar

import pytest
import torch
from torch import Tensor, nn

from drafts import APGDT, FAB, CarliniWagner, Climb, HopSkipJump, column
from holdfast.access import Access, Budget, Gradient, Labels, Query, Scores
from holdfast.attacks import FGSM, IFGSM, MIFGSM, PGD, Case, run
from holdfast.attacks.queue import plans
from holdfast.errors import ModelError, OptionError
from holdfast.losses import Goal
from holdfast.losses.objectives import cross_entropy, margin
from holdfast.threats import L2, Linf

CW = CarliniWagner(steps=20, searches=4, first_c=1.0)
HSJ = HopSkipJump(iterations=3, points=12, halvings=5)
CASES = [
    pytest.param(CW, L2(eps=5.0), id="cw"),
    pytest.param(HSJ, L2(eps=5.0), id="hsj"),
    pytest.param(FAB(steps=8), Linf(eps=0.5), id="fab-t"),
    pytest.param(APGDT(steps=8), Linf(eps=0.06), id="apgd-t"),
]


class Counted(nn.Module):
    """A model that counts its calls and the pictures that passed, forward and backward."""

    def __init__(self, net: nn.Module) -> None:
        super().__init__()
        self.net, self.calls, self.forwards, self.backwards, self.largest = net, 0, 0, 0, 0

    def forward(self, x: Tensor) -> Tensor:
        self.calls += 1
        self.forwards += len(x)
        self.largest = max(self.largest, len(x))
        logits = self.net(x - 0.5)
        if logits.requires_grad:
            logits.register_hook(self.back)
        return logits

    def back(self, gradient: Tensor) -> None:
        self.backwards += len(gradient)


def seeded(*layers: nn.Module) -> Counted:
    """Float64 layers with repeatable normal weights."""
    generator = torch.Generator().manual_seed(5)
    net = nn.Sequential(nn.Flatten(), *layers).double()
    for weights in net.parameters():
        spread = 1 if weights.ndim == 1 else weights.shape[1] ** -0.5
        with torch.no_grad():
            weights.copy_(torch.randn(weights.shape, generator=generator, dtype=torch.float64) * spread)
    return Counted(net)


@pytest.fixture
def linear() -> Counted:
    return seeded(nn.Linear(16, 4, bias=False))


@pytest.fixture
def net() -> Counted:
    return seeded(nn.Linear(16, 24), nn.Tanh(), nn.Linear(24, 5))


@pytest.fixture
def x() -> Tensor:
    """Of three classes, further from the boundaries than most, and away from the sides of the box."""
    return 0.2 + 0.6 * torch.rand(5, 1, 4, 4, generator=torch.Generator().manual_seed(2785), dtype=torch.float64)


def labels(model: nn.Module, x: Tensor) -> Tensor:
    with torch.no_grad():
        return model(x).argmax(1)


def distances(linear: Counted, x: Tensor, dual: float) -> Tensor:
    """(N, K): how far each picture is from the boundary with each class, infinite for its own."""
    weight, logits = linear.net[1].weight.detach(), linear.net(x - 0.5).detach()
    y = logits.argmax(1)
    gap = logits.gather(1, y[:, None]) - logits
    far = gap / (weight[y][:, None] - weight[None]).norm(dual, dim=2)
    return far.scatter(1, y[:, None], torch.inf)


@dataclass(frozen=True)
class Watched:
    """Another attack, and all that it is told."""

    inner: Any
    seen: list[tuple[Case, Any]] = field(default_factory=list, compare=False)
    starts: list[Case] = field(default_factory=list, compare=False)

    def __getattr__(self, name: str) -> Any:
        return getattr(self.inner, name)

    def start(self, case: Case) -> tuple[Any, Query]:
        self.starts.append(case)
        return self.inner.start(case)

    def step(self, case: Case, state: Any, answer: Any) -> tuple[Any, Query]:
        self.seen.append((case, answer))
        return self.inner.step(case, state, answer)


# Each does its work.


@pytest.mark.parametrize("targeted", [False, True])
def test_carlini_wagner_comes_near_the_exact_distance(linear, x, targeted):
    y, far = labels(linear, x), distances(linear, x, 2)
    target = far.argmin(1) if targeted else None
    found = run(CarliniWagner(searches=8, step_size=0.01), linear, x, y, L2(eps=5.0), aim="smallest", target=target)
    assert found.success.all()
    assert (found.size >= far.amin(1)).all()
    # Without a target the margin leads to the likeliest other class, whose boundary may be a little further.
    reached = far.gather(1, labels(linear, found.x_adv)[:, None])[:, 0]
    assert (found.size <= 1.05 * reached).all()
    assert (reached <= 1.1 * far.amin(1)).all()


def test_carlini_wagner_reaches_a_far_target(linear, x):
    y, far = labels(linear, x), distances(linear, x, 2)
    target = far.masked_fill(far.isinf(), -1).argmax(1)
    found = run(replace(CW, searches=6), linear, x, y, L2(eps=5.0), aim="smallest", target=target)
    assert found.success.all()
    assert torch.equal(labels(linear, found.x_adv), target)


def test_carlini_wagner_climbs_to_the_margin_asked_for(linear, x):
    y = labels(linear, x)
    plain, sure = CarliniWagner(steps=30, searches=4), CarliniWagner(steps=30, searches=4, kappa=0.2)
    seen = [run(attack, linear, x, y, L2(eps=5.0), aim="smallest", trace=True) for attack in (plain, sure)]
    top = [found.trace.loss.nan_to_num(-9).flatten(1).amax(1) for found in seen]
    assert (top[1] >= 0.2).all()
    assert (top[0] < 0.2).any()


def test_carlini_wagner_lanes_are_in_different_loops(linear, x):
    y, places = labels(linear, x), []

    @dataclass(frozen=True)
    class Looked(Watched):
        def step(self, case: Case, state: Climb, answer: Any) -> tuple[Climb, Query]:
            places.append((len(state.t.unique()), len(state.search.unique())))
            return super().step(case, state, answer)

    found = run(Looked(CW), linear, x, y, L2(eps=5.0), aim="smallest")
    assert len(found.forward.unique()) > 1
    assert max(steps for steps, _ in places) > 1
    assert max(searches for _, searches in places) > 1


def test_hop_skip_jump_comes_nearer_with_more_iterations(linear, x):
    y, exact = labels(linear, x), distances(linear, x, 2).amin(1)
    few, many = (
        run(replace(HSJ, iterations=n, points=20, halvings=6), linear, x, y, L2(eps=5.0), aim="smallest")
        for n in (1, 8)
    )
    assert few.success.all()
    assert many.success.all()
    assert (many.size < few.size).all()
    assert (many.size >= exact).all()
    assert (many.size <= 1.2 * exact).all()


def test_hop_skip_jump_reaches_targets(linear, x):
    y, target = labels(linear, x), distances(linear, x, 2).argmin(1)
    found = run(replace(HSJ, tries=30), linear, x, y, L2(eps=5.0), aim="smallest", target=target)
    assert found.success.any()
    assert torch.equal(labels(linear, found.x_adv)[found.success], target[found.success])


@pytest.mark.parametrize(("threat", "dual"), [(L2(eps=5.0), 2), (Linf(eps=0.5), 1)])
def test_fab_comes_near_the_exact_distance(linear, x, threat, dual):
    y, exact = labels(linear, x), distances(linear, x, dual).amin(1)
    found = run(FAB(steps=12, heads=3), linear, x, y, threat, aim="smallest")
    assert found.success.all()
    assert (found.size >= exact * (1 - 1e-9)).all()
    assert (found.size <= 1.02 * exact).all()


@pytest.mark.parametrize("eps", [0.05, 0.09])
def test_apgd_with_targets_breaks_what_pgd_breaks(net, eps):
    x = torch.rand(24, 1, 4, 4, generator=torch.Generator().manual_seed(8), dtype=torch.float64)
    y = labels(net, x)
    pgd, apgd = (run(a, net, x, y, Linf(eps=eps)) for a in (PGD(steps=12), APGDT(steps=12, heads=4)))
    assert 0 < pgd.success.sum() <= apgd.success.sum() < len(x)


# What the engine promises.


@pytest.mark.parametrize("aim", ["smallest", "first_success"])
@pytest.mark.parametrize(("attack", "threat"), CASES)
def test_split_does_not_matter(linear, x, attack, threat, aim):
    y = labels(linear, x)
    whole, split = (run(attack, linear, x, y, threat, seed=7, batch=b, aim=aim) for b in (64, 3))
    assert whole.success.any()
    assert torch.equal(whole.success, split.success)
    if aim == "smallest" or not hasattr(attack, "targets"):
        torch.testing.assert_close(whole.x_adv, split.x_adv)
        assert torch.equal(whole.forward, split.forward)
        assert torch.equal(whole.backward, split.backward)
        assert torch.equal(whole.step, split.step)
    # Else several lanes of a picture race, and which of them wins first depends on which were under way together.


@pytest.mark.parametrize("attack", [CarliniWagner(steps=40, searches=6), HopSkipJump(iterations=8, halvings=6)])
def test_a_point_too_far_away_ends_nothing(linear, x, attack):
    found = run(attack, linear, x, labels(linear, x), L2(eps=0.2))
    assert found.success.all()
    assert (found.size <= 0.2 + 1e-6).all()


@pytest.mark.parametrize("aim", ["smallest", "first_success"])
@pytest.mark.parametrize(("attack", "threat"), CASES)
def test_passes_are_those_the_model_saw(linear, x, attack, threat, aim):
    y = labels(linear, x)
    whole = run(attack, linear, x, y, threat, batch=8, aim=aim)
    assert linear.largest <= 8
    for i in range(len(x)):
        linear.forwards = linear.backwards = 0
        one = run(attack, linear, x[i : i + 1], y[i : i + 1], threat, aim=aim, picture=torch.tensor([i]))
        assert [linear.forwards, linear.backwards] == [one.forward.item(), one.backward.item()]
        if aim == "smallest":
            assert [one.forward.item(), one.backward.item()] == [whole.forward[i].item(), whole.backward[i].item()]


@pytest.mark.parametrize("batch", [64, 4])
@pytest.mark.parametrize("limits", [(1, None), (7, None), (40, 11), (None, 3)], ids=str)
@pytest.mark.parametrize(("attack", "threat"), CASES)
def test_budget_holds(linear, x, attack, threat, limits, batch):
    y, budget = labels(linear, x), Budget(forward=limits[0], backward=limits[1])
    linear.forwards = linear.backwards = 0
    attacks = [attack, PGD(steps=9, restarts=2)]
    found = run(attacks, linear, x, y, threat, aim="smallest", budget=budget, batch=batch)
    assert limits[0] is None or found.forward.max() <= limits[0]
    assert limits[1] is None or found.backward.max() <= limits[1]
    assert [linear.forwards, linear.backwards] == [found.forward.sum(), found.backward.sum()]
    assert linear.largest <= max(batch, len(x))


def test_lanes_of_different_attacks_share_a_batch(net, x):
    y, together = labels(net, x), [PGD(steps=8, restarts=2), APGDT(steps=8, heads=2)]
    net.calls = 0
    both = run(together, net, x, y, Linf(eps=0.05), aim="highest_loss", batch=64)
    # One look at the pictures, eight gradients for the twenty lanes, one look at their last points.
    assert net.calls == 1 + 8 + 1
    assert (both.forward == 1 + 4 * 9).all()
    assert (both.backward == 4 * 8).all()


def test_labels_alone_are_told(linear, x):
    watched = Watched(HSJ)
    found = run(watched, linear, x, labels(linear, x), L2(eps=5.0), aim="smallest", batch=4)
    assert found.success.all()
    assert watched.seen
    for _, answer in watched.seen:
        assert type(answer) is Labels
        assert set(vars(answer)) == {"points", "labels", "reached", "lane"}


def test_labels_alone_are_traced(linear, x):
    traced = run(HSJ, linear, x, labels(linear, x), L2(eps=5.0), aim="smallest", trace=True).trace
    assert set(traced.loss[~traced.loss.isnan()].tolist()) == {0.0}


@pytest.mark.parametrize("batch", [2, 3, 64])
@pytest.mark.parametrize(
    ("attack", "threat"),
    [(HSJ, L2(eps=torch.linspace(0.15, 0.5, 5).double())), (APGDT(steps=8), Linf(eps=0.047)), (CW, L2(eps=0.17))],
    ids=("hsj", "apgd-t", "cw"),
)
def test_every_lane_is_at_its_own_round(linear, x, attack, threat, batch):
    watched, asked = Watched(attack), Counter()
    run(watched, linear, x, labels(linear, x), threat, batch=batch)
    for case in watched.starts:
        assert (case.round == 0).all()
    for case, _ in watched.seen:
        heads = torch.zeros_like(case.round) if case.target is None else case.target
        for lane in zip(case.draws.picture.tolist(), heads.tolist(), strict=True):
            asked[lane] += 1
            assert case.round[(case.draws.picture == lane[0]) & (heads == lane[1])].tolist() == [asked[lane]]
    if batch < 5:
        assert any(len(case.round.unique()) > 1 for case, _ in watched.seen)


@dataclass(frozen=True)
class Crowd:
    """Asks 1 + picture % 3 + round points of the lane's own class, out of order, until one of another class."""

    tells: bool = False  # that the question is its last
    access: ClassVar = Access.LABELS
    name: ClassVar = "crowd"
    rounds: ClassVar = 9

    def start(self, case: Case) -> tuple[Tensor, Query]:
        return case.draws.picture, self.question(case)

    def step(self, case: Case, state: Tensor, answer: Labels) -> tuple[Tensor, Query]:
        assert torch.equal(state, case.draws.picture)
        assert torch.equal(answer.labels, case.goal.y[answer.lane])
        assert torch.equal(torch.bincount(answer.lane), self.count(case) - 1)
        return state, self.question(case)

    def count(self, case: Case) -> Tensor:
        return 1 + case.draws.picture % 3 + case.round

    def question(self, case: Case) -> Query:
        lane = torch.arange(len(case.x)).repeat_interleave(self.count(case)).flip(0)
        lane = torch.cat([lane[::2], lane[1::2]])
        done = case.round >= 2 + case.draws.picture % 4
        points = torch.where(column(done, case.x), 1 - case.x, case.x)
        return Query(points[lane], lane=lane, over=done if self.tells else None)


@pytest.mark.parametrize("tells", [False, True])
@pytest.mark.parametrize("batch", [1, 3, 8, 64])
def test_answers_stay_with_their_points(batch, tells):
    y = torch.arange(11) % 4
    x = (0.05 + 0.1 * y[:, None, None, None]).double().expand(-1, 1, 2, 2).contiguous()
    edges = 0.1 * torch.arange(10).double()

    def model(points: Tensor) -> Tensor:
        assert len(points) <= max(batch, len(x))
        return -(points.flatten(1).mean(1, keepdim=True) - edges - 0.05).abs()

    found = run(Crowd(tells), model, x, y, Linf(eps=1.0), batch=batch)
    assert found.success.all()
    picture = torch.arange(11)
    last = 3 + picture % 4
    assert torch.equal(found.step, last)
    torch.testing.assert_close(found.x_adv, 1 - x)
    assert torch.equal(found.queries, sum((1 + picture % 3 + r) * (r < last) for r in range(9)))


@dataclass(frozen=True)
class Breaks:
    """Fails at a round of its own."""

    at: int
    access: ClassVar = Access.GRADIENT
    name: ClassVar = "breaks"
    rounds: ClassVar = 9

    def start(self, case: Case) -> tuple[None, Query]:
        return self.step(case, None, None)

    def step(self, case: Case, state: None, answer: Any) -> tuple[None, Query]:
        if int(case.round.max()) >= self.at:
            raise ZeroDivisionError("the attack's own fault")
        return None, Query(case.x, margin)


@pytest.mark.parametrize("at", [0, 1, 4])
def test_the_model_is_given_back_when_the_attack_fails(net, x, at):
    y, before = labels(net, x), x.clone()
    net.train()
    net.net[1].training = False
    net.net[3].bias.requires_grad_(False)
    modes = [module.training for module in net.modules()]
    wanted = [parameter.requires_grad for parameter in net.parameters()]
    with pytest.raises(ZeroDivisionError):
        run(Breaks(at), net, x, y, Linf(eps=0.1))
    assert [module.training for module in net.modules()] == modes
    assert [parameter.requires_grad for parameter in net.parameters()] == wanted
    assert all(parameter.grad is None for parameter in net.parameters())
    assert torch.equal(x, before)
    assert torch.is_grad_enabled()


@pytest.mark.parametrize(("attack", "threat"), CASES)
def test_one_radius_a_picture(linear, x, attack, threat):
    y, eps = labels(linear, x), torch.linspace(0.5, 1.0, len(x), dtype=torch.float64) * threat.eps
    each = run(attack, linear, x, y, threat.with_eps(eps), batch=3, aim="smallest")
    for i in range(len(x)):
        one = run(
            attack, linear, x[i : i + 1], y[i : i + 1], threat.with_eps(float(eps[i])), aim="smallest",
            picture=torch.tensor([i]),
        )  # fmt: skip
        torch.testing.assert_close(one.x_adv[0], each.x_adv[i])
        assert one.success[0] == each.success[i]


@pytest.mark.parametrize(("attack", "threat"), CASES)
def test_a_model_of_nans_is_never_won(linear, x, attack, threat):
    y, clean = labels(linear, x), linear.net(x - 0.5).detach()
    known = {tuple(row.flatten().tolist()): logits for row, logits in zip(x, clean, strict=True)}

    def blind(points: Tensor) -> Tensor:
        """Right on the pictures themselves, NaN everywhere else, with a gradient of NaN."""
        own = [known.get(tuple(row.flatten().tolist())) for row in points.detach()]
        given = torch.stack([row if row is not None else torch.full((4,), torch.nan).double() for row in own])
        return given + 0 * points.sum() + 0 * linear.net(points)

    for aim in ("first_success", "smallest", "highest_loss"):
        found = run(attack, blind, x, y, threat, aim=aim)
        assert not found.success.any()
        assert found.x_adv.isfinite().all()


# Bugs there once were.


@pytest.mark.parametrize(("heads", "restarts"), [(2, 1), (3, 1), (2, 2), (9, 3)])
def test_lanes_of_a_picture_are_numbered_one_by_one(heads, restarts):
    logits = torch.arange(10.0).repeat(3, 1)
    attacks = [APGDT(heads=heads, restarts=restarts), PGD(restarts=2), APGDT(heads=heads)]
    made = plans(attacks, logits, Goal(torch.full((3,), 9)))
    assert [plan.rank for plan in made] == list(range(heads * restarts + 2 + heads))


def test_the_better_of_two_lanes_stays():
    @dataclass(frozen=True)
    class Fan(Breaks):
        """The lane of class 1 in restart 1 does better than that of class 2 in restart 0, which has its rank."""

        at: int = 99
        rounds: ClassVar = 2  # lanes of one round would leave each for itself
        restarts: ClassVar = 2

        def targets(self, logits: Tensor, goal: Goal) -> Tensor:
            return torch.tensor([[1, 2]])  # names of lanes here, nothing more

        def start(self, case: Case) -> tuple[None, Query]:
            far = torch.tensor([[0.0, 0.3], [0.1, 0.0]]).to(case.x)[case.draws.restart, case.target - 1]
            return None, Query(case.x + column(far, case.x))

    found = run(Fan(), ramp, *ONE, Linf(eps=0.5), aim="highest_loss")
    assert found.success.all()
    torch.testing.assert_close(found.x_adv, ONE[0] + 0.3)


@pytest.mark.parametrize("batch", [64, 3])
def test_a_trace_has_the_lanes_of_all_attacks(net, x, batch):
    y, attacks = labels(net, x), [PGD(steps=8, restarts=2), APGDT(steps=8, heads=2)]
    alone = [run(attack, net, x, y, Linf(eps=0.05), aim="highest_loss", trace=True) for attack in attacks]
    both = run(attacks, net, x, y, Linf(eps=0.05), aim="highest_loss", trace=True, batch=batch)
    torch.testing.assert_close(both.trace.loss, torch.cat([one.trace.loss for one in alone], 1))


@dataclass(frozen=True)
class Script:
    """Asks at x plus a given shift in each round."""

    shifts: tuple[float, ...]
    objectives: tuple[Any, ...] = ()
    access: ClassVar = Access.GRADIENT
    wanders: ClassVar = True
    name: ClassVar = "script"

    @property
    def rounds(self) -> int:
        return len(self.shifts)

    def start(self, case: Case) -> tuple[None, Query]:
        return self.step(case, None, None)

    def step(self, case: Case, state: None, answer: Any) -> tuple[None, Query]:
        shift = torch.tensor(self.shifts, dtype=case.x.dtype)[case.round]
        return None, Query(case.x + column(shift, case.x), self.objectives)


def ramp(points: Tensor) -> Tensor:
    """Two logits: 0, and how far the first value is above a half."""
    value = points.flatten(1)[:, 0] - 0.5
    return torch.stack([torch.zeros_like(value), value], 1)


ONE = (torch.full((1, 1, 2, 2), 0.5, dtype=torch.float64), torch.zeros(1, dtype=torch.int64))


def test_a_last_look_costs_no_backward_pass(linear, x):
    y, threat = labels(linear, x), Linf(eps=0.3)
    free, bound = (run(FGSM(), linear, x, y, threat, budget=budget) for budget in (None, Budget(backward=1)))
    assert free.backward.max() == 1
    assert torch.equal(free.success, bound.success)


@pytest.mark.parametrize(("attack", "threat"), CASES[:3])
def test_nothing_outside_the_threat_comes_back(linear, x, attack, threat):
    threat = threat.with_eps(0.002)
    found = run(attack, linear, x, labels(linear, x), threat)
    assert (found.size <= 0.002 + 1e-6).all()


@pytest.mark.parametrize("aim", ["first_success", "smallest"])
def test_a_point_outside_the_box_does_not_count(aim):
    x = torch.full_like(ONE[0], 0.9)

    def far(points: Tensor) -> Tensor:
        away = (points.flatten(1)[:, 0] - 0.9).abs()
        return torch.stack([torch.full_like(away, 0.01), away], 1)

    found = run(Script((0.2, -0.3, 0.0)), far, x, ONE[1], Linf(eps=0.5), aim=aim)
    assert found.success.all()
    assert found.size.item() == pytest.approx(0.3)


@dataclass(frozen=True)
class Late:
    """Says that a lane is over only from its second question on."""

    access: ClassVar = Access.LABELS
    name: ClassVar = "late"
    rounds: ClassVar = 8

    def start(self, case: Case) -> tuple[None, Query]:
        return None, Query(case.x)

    def step(self, case: Case, state: None, answer: Labels) -> tuple[None, Query]:
        return None, Query(case.x, over=case.round >= 1 + case.draws.picture % 3)


@pytest.mark.parametrize(("aim", "batch"), [("first_success", 3), ("smallest", 3), ("smallest", 64)])
def test_over_may_begin_late(linear, x, aim, batch):
    found = run(Late(), linear, x, labels(linear, x), Linf(eps=0.1), batch=batch, aim=aim)
    assert torch.equal(found.queries, 2 + torch.arange(len(x)) % 3)


@dataclass(frozen=True)
class Turns:
    """Asks for a gradient first and for scores afterwards; the answers must be what was asked for."""

    told: list[tuple[int, type]] = field(default_factory=list, compare=False)
    access: ClassVar = Access.GRADIENT
    name: ClassVar = "turns"
    rounds: ClassVar = 8

    def start(self, case: Case) -> tuple[None, Query]:
        return None, Query(case.x, margin, over=case.round < 0)

    def step(self, case: Case, state: None, answer: Any) -> tuple[None, Query]:
        self.told.extend((n, type(answer)) for n in case.round.tolist())
        return None, Query(case.x, over=case.round >= 1 + case.draws.picture % 3)


def test_lanes_that_join_get_what_they_asked_for(linear, x):
    attack = Turns()
    run(attack, linear, x, labels(linear, x), Linf(eps=0.1), batch=3)
    assert {kind for n, kind in attack.told if n == 1} == {Gradient}
    assert {kind for n, kind in attack.told if n > 1} == {Scores}


def test_budget_holds_for_different_numbers_of_objectives(linear, x):
    one, two = Script((0.0,) * 6, (margin,)), Script((0.0,) * 6, (margin, cross_entropy))
    found = run([one, two], linear, x, labels(linear, x), Linf(eps=0.1), budget=Budget(backward=7))
    assert found.backward.max() <= 7


def test_gradient_and_jacobian_are_not_asked_together(linear, x):
    @dataclass(frozen=True)
    class Both(Breaks):
        def step(self, case: Case, state: None, answer: Any) -> tuple[None, Query]:
            return None, Query(case.x, margin, classes=case.goal.y[:, None])

    with pytest.raises(OptionError, match="gradient_of and classes are both given"):
        run(Both(9), linear, x, labels(linear, x), Linf(eps=0.1))


def test_an_infinite_logit_is_not_the_best_point():
    def model(points: Tensor) -> Tensor:
        logits = ramp(points) - torch.tensor([0.0, 1.0])
        return torch.where((points.flatten(1)[:, :1] - 0.6).abs() < 1e-6, torch.tensor([0.0, torch.inf]), logits)

    found = run(Script((0.1, 0.2, 0.0)), model, *ONE, Linf(eps=0.5), aim="highest_loss")
    torch.testing.assert_close(found.x_adv, ONE[0] + 0.2, atol=1e-6, rtol=0)


def test_a_loss_of_nan_gives_way():
    def loss(logits: Tensor, goal: Goal) -> Tensor:
        value = margin(logits, goal)
        return torch.where((value - 0.1).abs() < 1e-6, torch.nan, value)

    found = run(Script((0.1, 0.2, 0.0), (loss,)), ramp, *ONE, Linf(eps=0.5), aim="highest_loss")
    torch.testing.assert_close(found.x_adv, ONE[0] + 0.2, atol=1e-6, rtol=0)


def test_logits_may_be_more_precise_than_pictures(linear, x):
    y = labels(linear, x)
    found = run(PGD(steps=3), lambda points: linear(points.double()), x.float(), y, Linf(eps=0.2))
    assert found.success.shape == y.shape


def test_a_lane_may_ask_nothing(linear, x):
    @dataclass(frozen=True)
    class Silent(Crowd):
        def count(self, case: Case) -> Tensor:
            return (case.draws.picture != 2).long()

        def step(self, case: Case, state: Tensor, answer: Labels) -> tuple[Tensor, Query]:
            return state, self.question(case)

    found = run(Silent(), linear, x, labels(linear, x), Linf(eps=1.0))
    assert found.queries[2] == 0


def test_a_closed_picture_is_not_asked():
    @dataclass(frozen=True)
    class Race(Crowd):
        restarts: ClassVar = 3

        def start(self, case: Case) -> tuple[None, Query]:
            return self.step(case, None, None)

        def step(self, case: Case, state: None, answer: Any) -> tuple[None, Query]:
            now = (case.round == 2) & (case.draws.restart == 0)
            return None, Query(case.x + 0.2 * column(now, case.x))

    found = run(Race(), ramp, *ONE, Linf(eps=0.3))
    assert found.queries.tolist() == [9]


def test_the_highest_loss_of_several_points_is_kept():
    @dataclass(frozen=True)
    class Pair(Breaks):
        rounds: ClassVar = 1

        def start(self, case: Case) -> tuple[None, Query]:
            lane = torch.arange(len(case.x)).repeat_interleave(2)
            shift = torch.tensor([0.1, 0.2]).to(case.x).repeat(len(case.x))
            return None, Query(case.x[lane] + column(shift, case.x), lane=lane)

    found = run(Pair(9), ramp, *ONE, Linf(eps=0.3), aim="highest_loss")
    torch.testing.assert_close(found.x_adv, ONE[0] + 0.2, atol=1e-6, rtol=0)


def test_split_does_not_matter_within_a_budget(linear, x):
    y, attack = labels(linear, x), PGD(steps=10, restarts=4, step_size=0.12)
    many = (x.repeat(4, 1, 1, 1), y.repeat(4))
    threat = Linf(eps=distances(linear, many[0], 1).amin(1) * 1.5)
    found = [run(attack, linear, *many, threat, budget=Budget(forward=12), batch=b) for b in (1024, 1)]
    assert torch.equal(found[0].success, found[1].success)


def test_kappa_holds_for_what_comes_back(linear, x):
    y = labels(linear, x)
    attack = CarliniWagner(steps=30, searches=4, kappa=0.2)
    found = run(attack, linear, x, y, L2(eps=5.0), aim="smallest", confidence=0.2)
    assert found.success.all()
    assert (margin(linear.net(found.x_adv - 0.5).detach(), Goal(y)) >= 0.2).all()


@pytest.mark.parametrize("count", [3, 9])
def test_radii_must_be_one_a_picture(linear, x, count):
    with pytest.raises(OptionError, match=f"{count} radii for"):
        run(PGD(steps=2), linear, x, labels(linear, x), Linf(eps=torch.full((count,), 0.1)))


class InPlace(nn.Module):
    """`inner` behind a clamp that overwrites its input, with or without autograd's knowledge."""

    def __init__(self, inner: nn.Module, hidden: bool) -> None:
        super().__init__()
        self.inner, self.hidden = inner, hidden

    def forward(self, x: Tensor) -> Tensor:
        with torch.no_grad() if self.hidden else nullcontext():
            x.clamp_(0.1, 0.9)
        return self.inner(x)


@pytest.mark.parametrize("hidden", [False, True])
@pytest.mark.parametrize("threat", [Linf(eps=0.1), L2(eps=0.5)], ids=lambda threat: threat.name)
@pytest.mark.parametrize("attack", [HSJ, FGSM(), IFGSM(steps=5), PGD(steps=5), MIFGSM(steps=5)], ids=lambda a: a.name)
def test_a_model_in_place_does_not_reach_the_pictures(attack, threat, hidden, linear, x):
    before, y = x.clone(), labels(linear, x)
    found = run(attack, InPlace(linear, hidden), x, y, threat)
    assert torch.equal(x, before)
    assert bool((threat.size(found.x_adv - x) <= threat.eps * (1 + 1e-9)).all())
    if not hidden:
        clean = run(attack, lambda points: linear(points.clamp(0.1, 0.9)), x, y, threat)
        assert torch.equal(found.x_adv, clean.x_adv)


def test_a_model_that_turns_in_place_is_an_error(linear, x):
    calls = []

    def model(points):
        calls.append(0)
        with torch.no_grad():
            return linear(points.clamp_(0.1, 0.9) if len(calls) > 1 else points)

    with pytest.raises(ModelError, match="changes its input in place"):
        run(HSJ, model, x, labels(linear, x), L2(eps=5.0))


def test_attacks_work_within_inference_mode(linear, x):
    y = labels(linear, x)
    usual = run(PGD(steps=5), linear, x, y, Linf(eps=0.2))
    with torch.inference_mode():
        found = run(PGD(steps=5), linear, x.clone(), y.clone(), Linf(eps=0.2))
    assert torch.equal(found.x_adv, usual.x_adv)
    assert found.success.any()


def test_the_same_attack_twice_draws_twice(linear, x):
    y, once = labels(linear, x), PGD(steps=2)
    same = run([once, once], linear, x, y, Linf(eps=0.01), batch=1000, aim="highest_loss", trace=True).trace.loss
    assert not torch.equal(same[:, 0], same[:, 1])
    apart = run([once, PGD(steps=2)], linear, x, y, Linf(eps=0.01), batch=1000, aim="highest_loss", trace=True)
    torch.testing.assert_close(same, apart.trace.loss, equal_nan=True, rtol=0, atol=0)


def test_no_radius_gives_the_same_bits(linear, x):
    x = x.clone()
    x[:, :, 0, 0] = -0.0
    found = run(PGD(steps=3), linear, x, labels(linear, x), Linf(eps=0.0))
    assert torch.equal(found.x_adv.signbit(), x.signbit())


def test_backward_passes_are_counted_where_there_are_any(linear, x):
    class Cut(nn.Sequential):
        def forward(self, points: Tensor) -> Tensor:
            return self[0](points.detach())

    found = run(PGD(steps=3), Cut(linear), x, labels(linear, x), Linf(eps=0.1))
    assert not found.backward.any()


@pytest.mark.parametrize("aim", ["highest_loss", "smallest"])
def test_lanes_fill_the_batch_where_nothing_closes_a_picture(linear, x, aim):
    y, attacks = labels(linear, x), [PGD(steps=8), PGD(steps=8, loss="margin")]
    linear.calls = 0
    run(attacks, linear, x, y, Linf(eps=0.001), aim=aim, batch=10)
    assert linear.calls == 1 + 8 + 1


def test_a_lane_may_ask_one_point_first_and_several_later(linear, x):
    @dataclass(frozen=True)
    class Grows(Crowd):
        def start(self, case: Case) -> tuple[Tensor, Query]:
            return case.draws.picture, Query(case.x, over=case.round < 0)

        def step(self, case: Case, state: Tensor, answer: Labels) -> tuple[Tensor, Query]:
            lane = torch.arange(len(state)).repeat_interleave(2)
            return state, Query(case.x[lane], lane=lane, over=case.round >= 1 + state % 3)

    found = run(Grows(), linear, x, labels(linear, x), Linf(eps=0.1), batch=3)
    assert torch.equal(found.queries, 1 + 2 * (1 + torch.arange(len(x)) % 3))


def test_pictures_may_want_a_gradient(linear, x):
    y = labels(linear, x)
    assert not run(PGD(steps=2), linear, x.clone().requires_grad_(), y, Linf(eps=0.1)).x_adv.requires_grad


def test_labels_alone_choose_no_targets_by_scores(linear, x):
    @dataclass(frozen=True)
    class Peeks(Crowd):
        def targets(self, logits: Tensor, goal: Goal) -> Tensor:
            return logits.argsort(1)[:, :1]

    with pytest.raises(ValueError, match="access"):
        run(Peeks(), linear, x, labels(linear, x), Linf(eps=0.1))
