"""Every attack in the table keeps every promise in this file, in every norm."""

from dataclasses import fields, replace

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from holdfast.access import Access
from holdfast.attacks import (
    ALMA,
    APGD,
    APGDT,
    ATTACKS,
    CW,
    CWL0,
    DDN,
    EAD,
    FAB,
    FABT,
    FGSM,
    FMN,
    IFGSM,
    JSMA,
    MIFGSM,
    NES,
    PDGD,
    PDPGD,
    PGD,
    PGDL0,
    SPSA,
    ZOO,
    BisectedAPGD,
    Boundary,
    Cut,
    CWLinf,
    DeepFool,
    EoT,
    GeoDA,
    Grid,
    HillClimbing,
    HopSkipJump,
    LaVAN,
    LineSearch,
    Noise,
    OnePixel,
    Penalised,
    Pointwise,
    RayS,
    Regularised,
    Reserve,
    SigmaZero,
    SignHunter,
    SignOPT,
    SimBA,
    SparseRS,
    Square,
    SuperDeepFool,
    SurFree,
    Views,
    WorstOfK,
    build,
    run,
)
from holdfast.attacks.attack import breadth, norms, repeats, suits
from holdfast.attacks.mifgsm import unit_1_norm
from holdfast.attacks.pgd import fingerprint
from holdfast.errors import DataError, ModelError, OptionError
from holdfast.losses import OBJECTIVES
from holdfast.threats import L0, L1, L2, Linf, Masked, Patch, Pixels
from nets import linear, tiny_case

ROWS = [
    FGSM(),
    IFGSM(steps=7),
    MIFGSM(steps=7),
    MIFGSM(steps=4, look_ahead=True, scales=2, kernel=3),
    MIFGSM(steps=4, diversity=0.7, smallest=0.5, step_size=0.5),
    MIFGSM(steps=3, scales=2, neighbours=2, diversity=0.5, smallest=0.5),
    PGD(steps=8, step_size=0.25),
    PGD(steps=8, step_size=0.25, restarts=3, loss="margin"),
    PGD(steps=8, step_size=0.25, random_start=False, loss="dlr"),
    PGD(steps=8, loss="logit_difference"),
    PGD(steps=30, step_size=0.5, stop_at_cycle=True),
    APGD(steps=8),
    APGD(steps=8, restarts=2, loss="dlr"),
    APGD(steps=12, loss="margin", larger_radii=True),
    APGDT(steps=6, targets_tried=2),
    DeepFool(steps=5),
    DeepFool(steps=5, candidates=None),
    SuperDeepFool(steps=2, deepfool_steps=3, candidates=2),
    FAB(steps=6, restarts=2),
    FABT(steps=6, targets_tried=2),
    DDN(steps=8),
    DDN(steps=8, levels=256),
    FMN(steps=8),
    PDGD(steps=20),
    PDPGD(steps=12),
    CW(steps=4, searches=3),
    CW(steps=4, searches=3, box="tanh", restart=True, abort_early=True),
    CWLinf(steps=10),
    CWL0(steps=10),
    EAD(steps=4, searches=3),
    Regularised(steps=4, searches=3),
    Square(queries=12),
    Square(queries=12, ahead=4),
    NES(queries=40, pairs=3),
    SPSA(queries=40, pairs=3),
    SimBA(queries=12),
    SignHunter(queries=12),
    HillClimbing(queries=12),
    OnePixel(population=6, generations=5),
    ZOO(queries=60, coordinates=3),
    SparseRS(queries=12),
    PGDL0(steps=6, restarts=2),
    JSMA(steps=4, targets_tried=2),
    LaVAN(steps=6),
    LaVAN(steps=6, restarts=2),
    Pointwise(queries=40),
    LineSearch(steps=5, halvings=4),
    LineSearch(along="salt-and-pepper", steps=5, halvings=4, lines=2),
    HopSkipJump(queries=40, points=5),
    GeoDA(queries=40),
    SignOPT(queries=40, points=5),
    SurFree(queries=40),
    Boundary(queries=40),
    RayS(queries=40),
    Noise(tries=5),
    WorstOfK(k=5),
    SigmaZero(steps=8),
    ALMA(steps=8),
    BisectedAPGD(steps=4, searches=2),
    Cut(attack=APGDT(steps=20, targets_tried=2)),
    Reserve(attack=PGD(steps=4)),
    EoT(attack=PGD(steps=6, restarts=2), samples=3),
    EoT(attack=APGDT(steps=6, targets_tried=2), samples=2),
    EoT(attack=FAB(steps=4), samples=2),
    EoT(attack=Square(queries=8, ahead=4), samples=2),
    EoT(attack=PGD(steps=4), samples=2, views=Views(rotation=15, light=0.2, noise=0.05)),
    EoT(attack=FAB(steps=4), samples=2, views=Views(scale=0.1, blur=0.5)),
    Penalised(attack=PGD(steps=6), tv=0.1, nps=0.1),
    Penalised(attack=APGDT(steps=6, targets_tried=2), tv=0.1),
]
GRADIENT_ROWS = [row for row in ROWS if row.access == Access.GRADIENT]
ITERATED = [
    IFGSM(steps=10),
    MIFGSM(steps=10),
    MIFGSM(steps=10, look_ahead=True, scales=3, neighbours=2),
    *(PGD(steps=20, step_size=0.25, loss=loss) for loss in OBJECTIVES),
    *(APGD(steps=20, loss=loss) for loss in OBJECTIVES),
    APGD(steps=20, larger_radii=True),
    APGDT(steps=20),
]
MASK = torch.tensor([[1, 0, 1], [0, 1, 0], [1, 1, 0]])
THREATS = [
    Linf(eps=0.15),
    L2(eps=0.5),
    L1(eps=1.0),
    L0(eps=3),
    Pixels(eps=2),
    Patch(eps=1),
    Patch(eps=1, place="free"),
    Masked(eps=0.15, mask=MASK),
]

every_attack = pytest.mark.parametrize("attack", ROWS, ids=repr)
PAIRS = [(row, threat) for row in ROWS for threat in THREATS if suits(row, threat)]
every_pair = pytest.mark.parametrize(
    ("attack", "threat"), PAIRS, ids=[f"{threat.name}{getattr(threat, 'place', '')}-{row!r}" for row, threat in PAIRS]
)


def some_threat(attack, eps):
    """Linf, or the first norm that the attack has a form for; of L0 at least one value."""
    kind = {one.name: type(one) for one in THREATS}[(norms(attack) or ("linf",))[0]]
    if kind.grain:
        eps = (20 * eps).ceil() if isinstance(eps, torch.Tensor) else 1
    return kind(eps=eps)


def lanes_of(attack, classes=4):
    """How many lanes a picture may have."""
    attack = within(attack)
    targets = min(attack.targets_tried, classes - 1) if isinstance(attack, APGDT | FABT | JSMA) else 1
    return getattr(attack, "restarts", 1) * targets


def within(attack):
    """What is averaged, priced, cut or held back."""
    while isinstance(attack, EoT | Cut | Penalised | Reserve):
        attack = attack.attack
    return attack


def gradients_of(attack):
    """How many gradients a lane may ask for."""
    if attack.access < Access.GRADIENT:
        return 0
    attack = within(attack)
    if isinstance(attack, SuperDeepFool):
        return attack.steps * (2 * attack.deepfool_steps + attack.projections)  # two candidates, two rows a step
    if isinstance(attack, BisectedAPGD):  # all but the very last of its questions
        return attack.rounds - 1
    if isinstance(attack, LaVAN):
        return attack.steps + 1  # a free patch asks for one to choose its place
    classes = 3 if isinstance(attack, FAB | DeepFool) else 1  # a row of the Jacobian each
    steps = getattr(attack, "steps", 1) * getattr(attack, "searches", 1)
    return classes * steps + 2 * getattr(attack, "larger_radii", False)


@pytest.fixture(scope="module")
def case():
    return tiny_case()


def state_of(model):
    return [(m.training) for m in model.modules()], [(p.requires_grad, p.grad) for p in model.parameters()]


def test_every_registered_attack_has_a_row():
    of_parameters = {Grid}  # tests/test_rendered.py
    rows = {type(row) for row in ROWS} - {EoT, Cut, Penalised, Reserve}
    assert rows == set(ATTACKS.values()) - of_parameters
    assert all(ATTACKS[row.name] is type(within(row)) for row in ROWS)


@every_pair
def test_stays_inside(attack, threat, case):
    found = run(attack, case.model, case.x, case.y, threat, seed=7)
    assert (found.size <= threat.eps * (1 + 1e-9)).all()
    assert found.x_adv.min() >= threat.low
    assert found.x_adv.max() <= threat.high
    torch.testing.assert_close(found.size, threat.size((found.x_adv - case.x).double()))


@every_pair
def test_float32_stays_inside(attack, threat, case):
    x, y = case.x.float(), case.y
    found = run(attack, tiny_case(dtype=torch.float32).model, x, y, threat, seed=7)
    assert found.x_adv.dtype == torch.float32
    assert (found.size <= threat.eps * (1 + 1e-6) + 6e-8).all()


@every_pair
def test_success_is_what_the_model_says(attack, threat, case):
    found = run(attack, case.model, case.x, case.y, threat, seed=7)
    case.model.eval()
    wrong = case.model(found.x_adv).argmax(1) != case.y
    case.model.train()
    if getattr(attack, "views", None) is None:
        assert torch.equal(found.success, wrong)
    else:  # it must hold in other views as well
        assert wrong[found.success].all()
        assert found.success.any()
    assert torch.equal(found.success, found.step >= 0)


@every_pair
def test_wrong_from_the_start_comes_back_untouched(attack, threat, case):
    found = run(attack, case.model, case.x, case.y, threat)
    wrong = found.start_wrong
    assert wrong.nonzero().squeeze(1).tolist() == [3, 4]
    assert torch.equal(found.x_adv[wrong], case.x[wrong])
    assert found.success[wrong].all()
    assert (found.size[wrong] == 0).all()
    assert (found.queries[wrong] == 0).all()


@every_pair
def test_split_does_not_matter(attack, threat, case):
    whole, split = (run(attack, case.model, case.x, case.y, threat, seed=7, batch=b) for b in (64, 3))
    assert torch.equal(whole.success, split.success)
    if lanes_of(attack) == 1:
        # Restarts and targets of a picture may run side by side, and the first to succeed is kept: which one that
        # is depends on the batch, whether one does not.
        torch.testing.assert_close(whole.x_adv, split.x_adv)
        assert torch.equal(whole.step, split.step)


@every_pair
def test_order_does_not_matter(attack, threat, case):
    order = torch.randperm(len(case.x), generator=torch.Generator().manual_seed(2))
    place = torch.arange(len(case.x))
    straight = run(attack, case.model, case.x, case.y, threat, seed=7, picture=place, batch=16)
    mixed = run(attack, case.model, case.x[order], case.y[order], threat, seed=7, picture=place[order], batch=16)
    assert torch.equal(mixed.success, straight.success[order])
    if lanes_of(attack) == 1:
        torch.testing.assert_close(mixed.x_adv, straight.x_adv[order])


@every_pair
def test_same_seed_same_result_and_inputs_unchanged(attack, threat, case):
    x, y = case.x.clone(), case.y.clone()
    one, two = (run(attack, case.model, x, y, threat, seed=7) for _ in range(2))
    assert torch.equal(one.x_adv, two.x_adv)
    assert torch.equal(x, case.x)
    assert torch.equal(y, case.y)


@every_pair
def test_radius_zero_returns_the_same_bits(attack, threat, case):
    found = run(attack, case.model, case.x, case.y, threat.with_eps(0.0))
    assert torch.equal(found.x_adv, case.x)
    assert torch.equal(found.success, found.start_wrong)


@every_attack
def test_radius_may_differ_from_picture_to_picture(attack, case):
    threat = some_threat(attack, torch.linspace(0, 0.3, len(case.x), dtype=torch.float64))
    found = run(attack, case.model, case.x, case.y, threat, batch=7)
    assert (found.size <= threat.eps * (1 + 1e-9)).all()
    alone = run(attack, case.model, case.x, case.y, threat.with_eps(float(threat.eps[20])), batch=7)
    torch.testing.assert_close(found.x_adv[20], alone.x_adv[20])


@every_attack
def test_model_comes_back_as_found(attack, case):
    model = case.model
    model[2].eval()
    model[1].weight.requires_grad_(False)
    model[5].weight.grad = torch.ones_like(model[5].weight)
    buffers = {name: value.clone() for name, value in model.named_buffers()}
    before = state_of(model)
    try:
        run(attack, model, case.x, case.y, some_threat(attack, 0.1))
        assert state_of(model) == before
        assert all(torch.equal(value, buffers[name]) for name, value in model.named_buffers())
        assert torch.equal(model[5].weight.grad, torch.ones_like(model[5].weight))
    finally:
        model.train()
        model[1].weight.requires_grad_(True)
        model[5].weight.grad = None


class Fails(nn.Module):
    """Raises at its third call."""

    def __init__(self, inner):
        super().__init__()
        self.inner, self.calls = inner, 0

    def forward(self, x):
        self.calls += 1
        if self.calls == 3:
            raise RuntimeError("out of luck")
        return self.inner(x)


@every_attack
def test_model_comes_back_after_an_error(attack, case):
    model = Fails(case.model)
    before = state_of(model)
    with pytest.raises(RuntimeError, match="out of luck"):
        run(attack, model, case.x, case.y, some_threat(attack, 0.001), batch=16)
    assert state_of(model) == before


def count_rows(model):
    rows = {"forward": 0, "backward": 0}

    def forward_hook(module, inputs, output):
        rows["forward"] += len(output)
        if output.requires_grad:
            output.register_hook(lambda grad: rows.__setitem__("backward", rows["backward"] + len(grad)))

    return rows, model.register_forward_hook(forward_hook)


@every_pair
def test_passes_are_what_the_model_did(attack, threat, case):
    rows, hook = count_rows(case.model)
    found = run(attack, case.model, case.x, case.y, threat, batch=16)
    hook.remove()
    assert int(found.forward.sum()) == rows["forward"]
    assert int(found.backward.sum()) == rows["backward"]
    assert (found.backward > 0).any() == (attack.access >= Access.GRADIENT)


@every_attack
def test_most_passes_a_picture_can_cost(attack, case):
    threat = some_threat(attack, 1e-6)
    found = run(attack, case.model, case.x, case.y, threat.with_eps(0) if threat.grain else threat)
    times, cut, attack = repeats(attack), isinstance(attack, Cut), within(attack)
    forward, backward = int(found.forward.max()) / times, int(found.backward.max()) / times
    if isinstance(attack, JSMA | LineSearch | Pointwise):  # they end where nothing is left to try
        assert 1 < forward <= 1 + getattr(attack, "queries", lanes_of(attack) * attack.rounds)
        return
    if attack.access == Access.LABELS and attack.name != "noise":
        assert forward == 1 + attack.queries  # it never looks at a last point
        return
    if isinstance(attack, Square) and attack.ahead > 1:
        assert attack.rounds < forward <= 1 + 2 * attack.rounds
        return
    if getattr(attack, "stop_at_cycle", False) or getattr(attack, "abort_early", False):
        assert forward <= 1 + attack.rounds
        return
    if cut:  # at so small a radius no lane is on its way
        assert forward < 1 + lanes_of(attack) * attack.rounds
        assert backward < lanes_of(attack) * gradients_of(attack)
        return
    if isinstance(attack, DeepFool | SuperDeepFool):  # they end at a success, though it lies outside the radius
        assert 1 < forward <= 1 + attack.rounds
        assert 0 < backward <= gradients_of(attack)
        return
    if isinstance(attack, MIFGSM):  # at the end it asks about one point only
        assert forward == 2 + attack.steps * attack.breadth
        assert backward == attack.steps * attack.breadth
        return
    if isinstance(attack, LaVAN):  # the patch has its place here, and needs no question to choose one
        assert forward == 1 + lanes_of(attack) * (attack.steps + 1)
        assert backward == lanes_of(attack) * attack.steps
        return
    assert forward == 1 + lanes_of(attack) * attack.rounds * breadth(attack)
    assert backward == lanes_of(attack) * gradients_of(attack)


# Strength, against closed forms


def exact_radius(kind, margin, slope):
    """Margin over dual norm, where a linear model gives up, and the most that any pixel moves for it."""
    if kind is Linf:
        return margin / slope.sum(), margin / slope.sum()
    if kind is L2:
        length = slope.square().sum().sqrt()
        return margin / length, margin / length * slope.max() / length
    return margin / slope.max(), margin / slope.max()


def separating(seed, kind):
    """A linear two-class model, pictures that no pixel has to leave the box for, and their exact radii."""
    generator = torch.Generator().manual_seed(seed)
    weight = torch.randn(1, 12, dtype=torch.float64, generator=generator)
    weight = torch.cat([weight, -weight])
    x = 0.5 + 0.02 * torch.randn(16, 1, 3, 4, dtype=torch.float64, generator=generator)
    bias = -(weight @ x.flatten(1).mean(0))  # the boundary goes through the middle of the pictures
    model = linear(weight, bias)
    logits = model(x).detach()
    radius, moved = exact_radius(kind, (logits[:, 0] - logits[:, 1]).abs(), (weight[0] - weight[1]).abs())
    assert (moved < 0.3).all()
    return model, x, logits.argmax(1), radius


@pytest.mark.parametrize("attack", [FGSM(), *ITERATED, FAB(steps=20), FABT(steps=20)], ids=repr)
@pytest.mark.parametrize("kind", [Linf, L2], ids=lambda kind: kind.name)
@settings(deadline=None, max_examples=10)
@given(seed=st.integers(0, 1000))
def test_linear_model_gives_up_at_its_margin_over_the_dual_norm(attack, kind, seed):
    model, x, y, radius = separating(seed, kind)
    assert not run(attack, model, x, y, kind(eps=0.99 * radius)).success.any()
    assert run(attack, model, x, y, kind(eps=1.01 * radius)).success.all()


@settings(deadline=None, max_examples=10)
@given(seed=st.integers(0, 1000))
def test_linear_model_gives_up_in_l1(seed):
    model, x, y, radius = separating(seed, L1)
    for attack in (FGSM(), PGD(random_start=False)):
        assert not run(attack, model, x, y, L1(eps=0.99 * radius)).success.any()
        assert run(attack, model, x, y, L1(eps=1.01 * radius)).success.all()


def test_active_box():
    """Pixels at the side of the box cannot help: the radius is that of the others."""
    weight = torch.tensor([[1.0, 1.0, -1.0], [-1.0, -1.0, 1.0]], dtype=torch.float64)
    model = linear(weight)
    x = torch.tensor([[[[0.0, 0.6, 0.1]]]], dtype=torch.float64)  # margin 1.0; the first pixel cannot fall
    y = torch.tensor([0])
    for attack in (FGSM(), *ITERATED):
        # Only the second and third pixel move: 2 (0.6 - e) - 2 (0.1 + e) = 0 at e = 0.25.
        assert not run(attack, model, x, y, Linf(eps=0.249)).success.any()
        assert run(attack, model, x, y, Linf(eps=0.251)).success.all()


@pytest.mark.parametrize("attack", [PGD(steps=30, loss=loss) for loss in ("cross_entropy", "margin", "dlr")], ids=repr)
@pytest.mark.parametrize("threat", THREATS[:3], ids=lambda t: t.name)
def test_beats_noise(attack, threat, case):
    """Not in L0: there gradient steps are not the way, and three free values of eighteen are much for noise."""
    ours = run(attack, case.model, case.x, case.y, threat)
    noise = run(Noise(tries=30), case.model, case.x, case.y, threat)
    assert ours.success.sum() > noise.success.sum()


@pytest.mark.parametrize("classes", [2, 3])
@pytest.mark.parametrize("loss", OBJECTIVES)
def test_two_and_three_classes(classes, loss):
    small = tiny_case(classes=classes)
    found = run(PGD(steps=20, loss=loss), small.model, small.x, small.y, Linf(eps=0.3))
    noise = run(Noise(tries=20), small.model, small.x, small.y, Linf(eps=0.3))
    assert found.success.sum() >= noise.success.sum()
    assert found.success.sum() > found.start_wrong.sum()


# Targets


@pytest.mark.parametrize("attack", [row for row in GRADIENT_ROWS if not norms(row)], ids=repr)
def test_targeted_reaches_the_target(attack, case):
    target = (case.y + 1) % 4
    found = run(attack, case.model, case.x, case.y, some_threat(attack, 1.0), target=target)
    case.model.eval()
    labels = case.model(found.x_adv).argmax(1)
    case.model.train()
    if getattr(attack, "views", None) is None:
        assert torch.equal(found.success, labels == target)
    else:  # it must hold in other views as well
        assert (labels == target)[found.success].all()
    right = ~found.start_wrong
    assert found.success[right].sum() >= 3
    assert torch.equal(found.x_adv[~right], case.x[~right])


def test_target_equal_to_the_label_is_left_alone(case):
    found = run(PGD(steps=3), case.model, case.x, case.y, Linf(eps=0.5), target=case.y.clone())
    assert torch.equal(found.x_adv, case.x)
    assert (found.queries == 0).all()


# Each attack's own formula


def test_fgsm_is_the_sign_step(case):
    x = case.x[10:11].clone().requires_grad_()
    case.model.eval()
    loss = nn.functional.cross_entropy(case.model(x), case.y[10:11])
    (gradient,) = torch.autograd.grad(loss, x)
    case.model.train()
    want = (x.detach() + 0.01 * gradient.sign()).clamp(0, 1)
    found = run(FGSM(), case.model, case.x[10:11], case.y[10:11], Linf(eps=0.01), aim="highest_loss")
    torch.testing.assert_close(found.x_adv, want)


def test_ifgsm_walks_eps_over_steps(case):
    """Against a plain loop, picture by picture, returning the best point seen."""
    eps, steps = 0.05, 6
    x, y = case.x[10:20], case.y[10:20]
    case.model.eval()
    x_adv, best, best_loss = x.clone(), x.clone(), torch.full((10,), -torch.inf, dtype=torch.float64)
    for _ in range(steps + 1):
        point = x_adv.detach().requires_grad_()
        loss = nn.functional.cross_entropy(case.model(point), y, reduction="none")
        (gradient,) = torch.autograd.grad(loss.sum(), point)
        better = loss.detach() > best_loss
        best[better], best_loss[better] = point.detach()[better], loss.detach()[better]
        x_adv = torch.minimum(torch.maximum(point.detach() + eps / steps * gradient.sign(), x - eps), x + eps).clamp(
            0, 1
        )
    case.model.train()
    never_succeeds = run(IFGSM(steps=steps), case.model, x, y, Linf(eps=eps), aim="highest_loss")
    still = ~never_succeeds.success
    torch.testing.assert_close(never_succeeds.x_adv[still], best[still])
    assert still.any()


def test_momentum_survives_a_zero_gradient():
    gradient = torch.tensor([[1.0, -3.0], [0.0, 0.0], [torch.inf, 1.0], [torch.nan, 1.0]])
    want = torch.tensor([[0.25, -0.75], [0.0, 0.0], [0.0, 0.0], [0.0, 0.0]])
    torch.testing.assert_close(unit_1_norm(gradient), want)


def test_restarts_start_elsewhere(case):
    found = run(PGD(steps=2, restarts=4), case.model, case.x, case.y, Linf(eps=0.01), trace=True)
    first = found.trace.loss[~found.success, :, 0]
    assert (first.sort(dim=1).values.diff(dim=1) > 0).float().mean() > 0.99


# Wrong options


@pytest.mark.parametrize(
    ("make", "text"),
    [
        (lambda: PGD(steps=0), r"PGD: steps=0; allowed: a whole number from 1 up"),
        (lambda: PGD(steps=2.5), r"steps=2.5"),
        (lambda: PGD(step_size=0.0), r"PGD: step_size=0.0; allowed: a finite number above 0"),
        (lambda: PGD(step_size=float("nan")), r"step_size=nan"),
        (lambda: PGD(restarts=-1), r"restarts=-1"),
        (lambda: IFGSM(steps=-3), r"IFGSM: steps=-3"),
        (lambda: MIFGSM(decay=-1.0), r"MIFGSM: decay=-1.0; allowed: a finite number, 0 or above"),
        (lambda: Noise(tries=0), r"Noise: tries=0"),
        (lambda: build("pgdx"), r"unknown attack 'pgdx'.*Did you mean 'pgd'"),
        (lambda: build("pgd", {"step": "3"}), r"steps"),
        (lambda: build("pgd", {"steps": "many"}), r"many"),
    ],
)
def test_wrong_options_say_what_is_allowed(make, text):
    with pytest.raises(OptionError, match=text):
        make()


def test_built_from_text():
    assert build("pgd", {"steps": "7", "step_size": "1/4", "random_start": "false"}) == PGD(
        steps=7, step_size=0.25, random_start=False
    )
    assert repr(PGD()).startswith("PGD(steps=40, step_size=0.1")
    assert all(field.metadata.get("help") for attack in ATTACKS.values() for field in fields(attack))


# Pictures that cannot be attacked


@pytest.mark.parametrize(
    ("change", "error", "text"),
    [
        (
            {"x": torch.zeros(0, 2, 3, 3, dtype=torch.float64), "y": torch.zeros(0, dtype=torch.int64)},
            DataError,
            "no pictures",
        ),
        ({"x": torch.full((40, 2, 3, 3), 255.0, dtype=torch.float64)}, DataError, "Divide 0-255 pictures by 255"),
        ({"x": torch.full((40, 2, 3, 3), torch.nan, dtype=torch.float64)}, DataError, "without NaN"),
        ({"x": torch.zeros(40, 2, 3, 3, dtype=torch.uint8)}, DataError, "uint8"),
        ({"y": torch.zeros(40)}, DataError, "int64 labels"),
        ({"y": torch.full((40,), 9)}, DataError, "labels run from 9 to 9; allowed: 0 to 3"),
        ({"y": torch.full((40,), -1)}, DataError, "labels run from -1"),
        ({"target": torch.full((40,), 4)}, DataError, "targets run from 4"),
        ({"target": torch.tensor([1])}, DataError, "target is"),
        ({"picture": torch.tensor([1])}, DataError, "picture is"),
        ({"batch": 0}, OptionError, "batch=0"),
        ({"model": lambda x: x}, ModelError, "allowed: a float tensor"),
        ({"model": lambda x: x.flatten(1).argmax(1)}, ModelError, "answered"),
        ({"model": lambda x: x.flatten(1)[:, :4] * torch.nan}, ModelError, "40 of 40 unchanged pictures with NaN"),
        ({"model": lambda x: x.flatten(1)[:, :4].long()}, ModelError, "floating-point logits"),
    ],
)
def test_bad_input_is_refused_in_one_line(change, error, text, case):
    given = {"model": case.model, "x": case.x, "y": case.y, "threat": Linf(eps=0.1), **change}
    with pytest.raises(error, match=text) as caught:
        run(PGD(steps=2), given.pop("model"), given.pop("x"), given.pop("y"), given.pop("threat"), **given)
    assert "\n" not in str(caught.value)


def test_a_lane_ends_where_it_has_been_before():
    """On a linear model the second step ends where the first did: four looks at the model and no more."""
    model, x = linear(torch.tensor([[1.0, -2.0, 3.0], [1.0, 0.5, -1.0]])), torch.full((5, 1, 1, 3), 0.4)
    y = model(x).argmax(1)
    attack = PGD(steps=50, step_size=2.0, random_start=False)
    whole = run(attack, model, x, y, Linf(eps=1e-3))
    found = run(replace(attack, stop_at_cycle=True), model, x, y, Linf(eps=1e-3))
    assert not found.success.any()
    assert found.forward.tolist() == [4] * len(x)
    assert found.backward.tolist() == [2] * len(x)
    assert torch.equal(found.x_adv, whole.x_adv)


@pytest.mark.parametrize("dtype", [torch.float16, torch.float32, torch.float64])
def test_fingerprints_tell_points_apart(dtype):
    x = torch.rand(2000, 1, 3, 3, generator=torch.Generator().manual_seed(0)).to(dtype)
    seen = fingerprint(x)
    assert len(set(seen.tolist())) == len(x)
    assert torch.equal(fingerprint(x.clone()), seen)
    moved = x.clone()
    moved[:, 0, 0, 0] = (
        torch.nextafter(moved[:, 0, 0, 0], torch.ones(2000, dtype=dtype)) if dtype != torch.float16 else 2
    )
    assert not (fingerprint(moved) == seen).any()


def test_going_round_is_cut_short_and_nothing_is_lost():
    case = tiny_case(12, dtype=torch.float64)
    attack = PGD(steps=150, step_size=0.5)
    options = {"model": case.model, "x": case.x, "y": case.y, "threat": Linf(eps=0.05), "aim": "highest_loss"}
    whole, found = (run(replace(attack, stop_at_cycle=stop), **options) for stop in (False, True))
    assert int(found.backward.sum()) < 0.5 * int(whole.backward.sum())
    torch.testing.assert_close(found.x_adv, whole.x_adv)


def test_cycles_are_not_looked_for_where_answers_are_random():
    with pytest.raises(OptionError, match="allowed: False, since a model that answers at random"):
        EoT(attack=PGD(stop_at_cycle=True))
