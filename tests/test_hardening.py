"""Methods of adversarial training: their formulas, what they cost, what they leave as it was, and that they harden."""

import copy
import json
from dataclasses import dataclass, replace
from types import SimpleNamespace

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from holdfast import data, train
from holdfast.attacks import APGD, FGSM, IFGSM, MIFGSM, PGD, Climb, final_points, run
from holdfast.cli.trained import tell
from holdfast.errors import OptionError
from holdfast.losses.formulas import cross_entropy, kl_divergence
from holdfast.threats import L2, Linf, Rotation
from holdfast.train import (
    AWP,
    INNER,
    MART,
    NFGSM,
    TRADES,
    Adversary,
    Count,
    CrossEntropy,
    Epoch,
    Free,
    GradAlign,
    Hardened,
    Recipe,
    TrainOptions,
    card_for,
    inner_attack,
)
from holdfast.train.awp import move
from holdfast.train.course import Course, Moment
from holdfast.train.history import lines
from holdfast.train.labels import Labels
from holdfast.train.methods.mart import boosted
from holdfast.train.opposed import attacked
from holdfast.train.overfitting import collapsed, notes_on
from holdfast.train.passes import counted
from holdfast.train.penalties.grad_align import aligned
from holdfast.train.step import Step
from holdfast.train.steps import descended, differentiate, one_step, prepared
from holdfast.train.still import still
from holdfast.train.world import Alone
from nets import linear, small_net
from trainings import Kill, digits, killing, same, weights

PGD3 = PGD(steps=3, step_size=0.5)
FAST = inner_attack("fast")
NEAR, ROUND = Linf(eps=0.1), L2(eps=0.6)
QUICK = TrainOptions(epochs=2, batch=32, learning_rate=0.01)
NOW = Moment(1, 1, 4)
ONE = Moment(2, 3, 4)


@dataclass(frozen=True)
class Way:
    """A way of hardening: the parts of a recipe, and its passes forward and back a picture."""

    adversary: Adversary
    passes: tuple[int, int]
    penalties: tuple = ()
    awp: AWP | None = None

    def recipe(self, options=QUICK):
        return Recipe(options=options, adversary=self.adversary, penalties=self.penalties, awp=self.awp)


BOTH = {"further": (ROUND,)}
WAYS = {
    "fgsm": Way(Adversary(FGSM(), NEAR), (2, 2)),
    "fast": Way(Adversary(FAST, NEAR), (2, 2)),
    "fast l2": Way(Adversary(FAST, ROUND), (2, 2)),
    "pgd": Way(Adversary(PGD3, NEAR), (4, 4)),
    "n-fgsm": Way(Adversary(NFGSM(), NEAR), (2, 2)),
    "n-fgsm l2": Way(Adversary(NFGSM(), ROUND), (2, 2)),
    "grad-align": Way(Adversary(FGSM(), NEAR), (4, 5), (GradAlign(weight=0.5),)),
    "free": Way(Adversary(PGD(steps=1, step_size=1.0), NEAR, Free(replays=4)), (4, 4)),
    "trades": Way(Adversary(PGD3, NEAR, TRADES()), (6, 5)),
    "trades l2": Way(Adversary(PGD3, ROUND, TRADES()), (6, 5)),
    "mart": Way(Adversary(PGD3, NEAR, MART()), (5, 5)),
    "awp": Way(Adversary(PGD3, NEAR), (5, 5), awp=AWP(gamma=0.01)),
    "trades awp": Way(Adversary(PGD3, NEAR, TRADES()), (8, 7), awp=AWP(gamma=0.01)),
    "free awp": Way(Adversary(FAST, NEAR, Free(replays=2)), (4, 4), awp=AWP(gamma=0.01)),
    "worst": Way(Adversary(PGD3, NEAR, **BOTH), (9, 7)),
    "average": Way(Adversary(PGD3, NEAR, **BOTH, combine="average"), (8, 8)),
    "random": Way(Adversary(PGD3, NEAR, **BOTH, combine="random"), (4, 4)),
    "trades worst": Way(Adversary(PGD3, NEAR, TRADES(), **BOTH), (11, 8)),
    "trades random": Way(Adversary(PGD3, NEAR, TRADES(), **BOTH, combine="random"), (6, 5)),
    "mart average": Way(Adversary(PGD3, NEAR, MART(), **BOTH, combine="average"), (10, 10)),
}
ways = pytest.mark.parametrize("way", WAYS.values(), ids=WAYS)


pictures = digits("train", 96)
validation = digits("validation", 80)


def normed(seed=0, dtype=torch.float32):
    """A net with batch norm, for digits."""
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        layers = nn.Conv2d(1, 4, 3, stride=2), nn.BatchNorm2d(4), nn.Softplus(), nn.Flatten(), nn.Linear(36, 10)
        return nn.Sequential(*layers).to(dtype)


# All ways


@ways
def test_passes_are_as_promised_and_the_loss_is_finite(pictures, way):
    made = train.train(normed(), pictures, recipe=way.recipe(replace(QUICK, epochs=1)))
    epoch = made.history[0]
    assert epoch.passes == way.passes
    assert 0 < epoch.loss < 100
    assert epoch.train.n == len(pictures)


@ways
def test_same_seed_same_weights_after_a_kill_too(pictures, tmp_path, way):
    card, recipe = card_for("cnn", pictures, {"dropout": 0.2, "batch_norm": True}), way.recipe()
    whole = train.train(card, pictures, recipe=recipe, seed=3)
    with pytest.raises(Kill):
        train.train(card, pictures, recipe=recipe, seed=3, out=tmp_path / "run", **killing(after=1))
    rest = train.train(card, pictures, recipe=recipe, seed=3, out=tmp_path / "run", resume=True)
    assert same(whole.model, rest.model)
    assert lines(whole.history) == lines(rest.history)


@ways
def test_batch_norm_counts_what_is_trained_on_and_nothing_else(pictures, way):
    """A pass in training mode at clean and at adversarial pictures each counts; attacks, AWP and slopes do not."""
    model = normed()
    train.train(model, pictures, recipe=way.recipe(replace(QUICK, epochs=1)))
    method = way.adversary.method
    each = 2 if isinstance(method, TRADES | MART) else method.replays
    assert model[1].num_batches_tracked.item() == 3 * each


@ways
def test_pictures_stay_within_the_threat_but_for_n_fgsm(pictures, way):
    step = step_of(way, normed(), pictures)
    while True:
        delta = step.seen - step.x
        threats = way.adversary.threats
        inside = [threat.size(delta) <= threat.eps * (1 + 1e-5) for threat in threats]
        if way.adversary.copies > 1:
            inside = [torch.cat([one.chunk(2)[k] for k, one in enumerate(inside)])]
        within = torch.stack(inside).any(0)
        outside = isinstance(way.adversary.attack, NFGSM)
        assert within.all() or (outside and not within.any())
        assert step.seen.min() >= 0
        assert step.seen.max() <= 1
        if step.walk is None:
            return
        step.losses.sum().backward()
        before, step = step.seen, step.again()
        assert not torch.equal(before, step.seen)
        if threats[0].size(before - step.x).max() > 0.9 * threats[0].eps:
            return


@ways
def test_gradients_are_those_of_the_written_loss(pictures, way):
    """Against finite differences of the loss at pictures that stay as they are."""
    model = normed(dtype=torch.float64)
    recipe = way.recipe()
    step = step_of(way, model, pictures, count=6)
    _, total = differentiate(step, Course(recipe, 0), 6)
    gradients = torch.autograd.grad(total, list(model.parameters()))
    pinned = constants(step) if way.penalties else None
    generator = torch.Generator().manual_seed(0)
    for weight, gradient in zip(model.parameters(), gradients, strict=True):
        way_to = torch.randn(weight.shape, dtype=torch.float64, generator=generator)
        values = []
        for length in (1e-5, -1e-5):
            with torch.no_grad():
                weight.add_(length * way_to)
            values.append(written(way, step, pinned))
            with torch.no_grad():
                weight.add_(-length * way_to)
        slope = (values[0] - values[1]) / 2e-5
        torch.testing.assert_close(slope, (gradient * way_to).sum(), rtol=2e-5, atol=1e-8)


def step_of(way, model, pictures, count=None):
    few = pictures.take(slice(0, count))
    model.train()
    return prepared(model, few, torch.arange(len(few)), Course(way.recipe(), 0), NOW)


def constants(step):
    """The slope at x, which GradAlign takes for a constant."""
    x = step.x.clone().requires_grad_()
    return torch.autograd.grad(cross_entropy(step.model(x), step.labels.y).sum(), x)[0]


def written(way, step, slope):
    """The loss of the batch as the sources have it, in words of its own."""
    method, y = way.adversary.method, step.labels.y
    clean, moved = step.model(step.x), step.model(step.seen)
    p, q = clean.softmax(1), moved.softmax(1)
    divergence = (p * (p.log() - q.log())).sum(1)
    rows = torch.arange(len(y))
    if isinstance(method, TRADES):
        losses = -p[rows, y].log() + method.beta * divergence
    elif isinstance(method, MART):
        wrong = q.clone()
        wrong[rows, y] = -1
        sharper = -q[rows, y].log() - (1 - wrong.amax(1)).log()
        losses = sharper + method.weight * divergence * (1 - p[rows, y])
    else:
        losses = -q[rows, y].log()
    if slope is not None:
        eta = step.threat.sample(step.x, step.draws("grad-align"))
        eta.requires_grad_()
        (there,) = torch.autograd.grad(-step.model(eta).log_softmax(1)[rows, y].sum(), eta)
        cosine = F.cosine_similarity(slope.flatten(1), there.flatten(1), eps=1e-30)
        losses = losses + way.penalties[0].weight * (1 - cosine)
    return losses.mean().detach()


HARDENING = ["fast", "pgd", "n-fgsm", "grad-align", "free", "trades", "mart", "awp", "worst", "average", "random"]


@pytest.fixture(scope="module")
def plain(pictures):
    few = data.load("digits", "train", limit=200)
    options = TrainOptions(epochs=10, batch=25, learning_rate=0.01)
    return few, options, train.train(card_for("cnn", few), few, recipe=Recipe(options=options)).model


@pytest.mark.parametrize("name", HARDENING)
def test_holds_better_than_plain_training(plain, validation, name):
    few, options, ordinary = plain
    way = WAYS[name]
    epochs = max(4, options.epochs // (way.adversary.method.replays * len(way.adversary.threats)))
    hard = train.train(card_for("cnn", few), few, recipe=way.recipe(replace(options, epochs=epochs))).model
    x, y = validation.x(), validation.labels
    for threat in way.adversary.threats:
        judged = [run(PGD(steps=10, step_size=0.25), net, x, y, threat) for net in (ordinary, hard)]
        held = [int((~one.success & ~one.start_wrong).sum()) for one in judged]
        assert held[1] >= held[0] + 8


# Attacks


@pytest.mark.parametrize("threat", [NEAR, ROUND], ids=["linf", "l2"])
@pytest.mark.parametrize("attack", [FGSM(), FAST, PGD3, IFGSM(steps=3), MIFGSM(steps=3)], ids=repr)
def test_a_straight_attack_ends_where_the_engine_does(attack, threat):
    """On pictures that nothing breaks the engine closes no lane, and its last question is the end."""
    net = small_net().eval()
    x = torch.rand(12, 2, 3, 3, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
    y = net(x).argmax(1)
    small = threat.with_eps(threat.eps / 1000)
    asked = []
    net.register_forward_pre_hook(lambda module, given: asked.append(given[0].detach().clone()))
    found = run(attack, net, x, y, small, seed=4)
    assert not found.success.any()
    last = asked[-1]
    torch.testing.assert_close(final_points(attack, net, x, y, small, seed=4), last, rtol=0, atol=0)


def test_fast_is_pgd_with_one_large_step():
    assert PGD(steps=1, step_size=1.25) == FAST
    assert inner_attack("n-fgsm", {"noise": "1"}) == NFGSM(noise=1.0)
    assert "n-fgsm" in INNER
    with pytest.raises(OptionError, match="Did you mean 'n-fgsm'"):
        inner_attack("nfgsm")


def test_n_fgsm_steps_from_noise_and_is_not_cut_back():
    weight = torch.tensor([[1.0, -1, 0.5, 0], [0, 0, 0, 0]], dtype=torch.float64)
    x = torch.full((500, 1, 2, 2), 0.5, dtype=torch.float64)
    y = torch.zeros(500, dtype=torch.int64)
    found = final_points(NFGSM(), linear(weight), x, y, Linf(eps=0.1), seed=1) - x
    noise = found.flatten(1) - 0.1 * torch.tensor([-1.0, 1, -1, 0])  # the loss of class 0 rises against its weights
    assert noise.abs().max() <= 0.2 + 1e-12
    assert noise.std() == pytest.approx(0.4 / 12**0.5, rel=0.05)  # uniform over four tenths
    assert noise.mean(0).abs().max() < 0.02
    boxed = final_points(NFGSM(), linear(weight), 0 * x, y, Linf(eps=0.1), seed=1)
    assert (boxed.min(), boxed.max()) == (0, pytest.approx(0.3, abs=0.01))


def test_n_fgsm_counts_for_nothing_outside_the_threat():
    """Evaluated by the engine it fools no picture by leaving the threat."""
    weight = torch.tensor([[1.0, 1, 1, 1], [-1, -1, -1, -1]])
    x = torch.full((50, 1, 2, 2), 0.15)  # class 1 begins where all four values are 0
    net, y = linear(weight, torch.tensor([-0.0, 0.2])), torch.zeros(50, dtype=torch.int64)
    threat = Linf(eps=0.09)
    found = run(NFGSM(), net, x, y, threat)
    assert (threat.size(found.x_adv - x) <= 0.09 + 1e-6).all()
    reached = final_points(NFGSM(), net, x, y, threat)
    assert (threat.size(reached - x) > 0.09).any()


# Closed forms on linear models


@pytest.mark.parametrize("threat", [Linf(eps=0.1), L2(eps=0.3)], ids=["linf", "l2"])
@pytest.mark.parametrize("name", ["fgsm", "pgd", "free", "worst", "average"])
def test_the_adversarial_loss_of_a_linear_model_is_its_closed_form(threat, name):
    """Of two classes the margin falls by eps times the dual norm of the difference of the weights."""
    generator = torch.Generator().manual_seed(0)
    weight = torch.randn(2, 9, dtype=torch.float64, generator=generator)
    x = 0.5 + 0.02 * torch.randn(10, 1, 3, 3, dtype=torch.float64, generator=generator)
    images = data.Pictures.from_arrays(x, torch.randint(0, 2, (10,), generator=generator))
    y, x = images.labels, images.x(slice(None), torch.float64)
    net = linear(weight)
    attack = {"fgsm": FGSM()}.get(name, PGD(steps=20, step_size=0.5))
    several = {"further": (threat.with_eps(threat.eps / 2),), "combine": name} if name in ("worst", "average") else {}
    method = Free(replays=21) if name == "free" else Hardened()
    adversary = Adversary(attack, threat, method, **several)
    course = Course(Recipe(options=QUICK, adversary=adversary), 0)
    step = prepared(net, images, torch.arange(10), course, NOW)
    for _ in range(20 * (name == "free")):
        differentiate(step, course, 10)[1].backward()
        step = step.again()
    outcome, total = differentiate(step, course, 10)
    gap = weight[0] - weight[1]
    dual = gap.abs().sum() if isinstance(threat, Linf) else gap.norm()
    margin = (x.flatten(1) @ gap) * (1 - 2 * y)
    expected = [F.softplus(-(margin - eps * dual)) for eps in (threat.eps, threat.eps / 2)]
    whole = torch.stack(expected).mean(0) if name == "average" else expected[0]
    torch.testing.assert_close(total, whole.mean())
    torch.testing.assert_close(outcome.loss, whole.sum())
    assert outcome.right == (margin > threat.eps * dual).sum()


def test_trades_climbs_the_divergence_to_its_closed_form():
    """Of a linear model of two classes it is largest at one of the two ends of the way along the weights."""
    weight = torch.tensor([[1.0, -2, 0.5, 3], [0, 0, 0, 0]], dtype=torch.float64)
    x = torch.full((20, 1, 2, 2), 0.5, dtype=torch.float64)
    y = torch.arange(20) % 2
    net, threat = linear(weight, torch.tensor([-1.0, 0])), Linf(eps=0.1)
    adversary = Adversary(PGD(steps=10, step_size=0.5), threat, TRADES())
    found = adversary.harden(net, x, y, torch.arange(20), seed=0)
    reached = kl_divergence(net(x), net(found))
    ends = [kl_divergence(net(x), net(x + side * 0.1 * weight[0].sign().view(1, 1, 2, 2))) for side in (1, -1)]
    nearest = torch.minimum((reached - ends[0]).abs(), (reached - ends[1]).abs())
    assert nearest.max() < 1e-12
    away = (net(found)[:, 0] - net(x)[:, 0]).sign()
    assert set(away.tolist()) == {1.0, -1.0}  # whichever way the random start lies, and whatever the label


def test_divergence_by_hand():
    logits, others = torch.tensor([[0.0, 0.0]]), torch.tensor([[1.0, -1.0]])
    p, q = torch.tensor([0.5, 0.5]), others[0].softmax(0)
    assert kl_divergence(logits, others).item() == pytest.approx((p * (p / q).log()).sum().item())
    assert kl_divergence(others, logits).item() == pytest.approx((q * (q / p).log()).sum().item())
    assert kl_divergence(others, others).item() == 0
    far = torch.tensor([[400.0, 0]], requires_grad=True)
    (slope,) = torch.autograd.grad(kl_divergence(-far, far).sum(), far)
    assert slope.isfinite().all()


def test_boosted_cross_entropy_by_hand():
    p = torch.tensor([[0.7, 0.2, 0.1], [0.1, 0.3, 0.6]], dtype=torch.float64)
    expected = torch.tensor([-0.7, -0.3]).double().abs().log() + torch.tensor([0.8, 0.4]).double().log()
    torch.testing.assert_close(boosted(p.log() + 5, torch.tensor([0, 1])), -expected)
    sure = torch.tensor([[0.0, 300, 0]], requires_grad=True)  # the wrong class's probability rounds to 1
    value = boosted(sure, torch.tensor([0]))
    assert value.item() == pytest.approx(600 - torch.log(torch.tensor(2.0)).item())
    assert torch.autograd.grad(value.sum(), sure)[0].isfinite().all()


# GradAlign


def test_slopes_of_a_linear_model_of_two_classes_agree():
    weight = torch.tensor([[1.0, -2, 0.5, 3], [0, 0, 0, 0]], dtype=torch.float64)
    x = torch.rand(8, 1, 2, 2, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    step = bare(linear(weight), x, torch.arange(8) % 2, threat=Linf(eps=0.2))
    assert GradAlign()(step).abs().max() < 1e-12
    torch.testing.assert_close(step.figures["alignment"], torch.ones(8, dtype=torch.float64))


def test_alignment_by_hand():
    one = torch.tensor([[1.0, 0], [1e-30, 1e-30], [0, 0], [2, 0]]).view(4, 1, 1, 2)
    other = torch.tensor([[1.0, 1], [-1, -1], [1, 1], [0, 1e-25]]).view(4, 1, 1, 2).requires_grad_()
    cosine, flat = aligned(one, other)
    assert cosine.tolist() == pytest.approx([0.5**0.5, -1, 0, 0], abs=1e-6)
    assert flat.tolist() == [False, False, True, False]
    assert torch.autograd.grad(cosine.sum(), other)[0].isfinite().all()


def bare(model, x, y, **parts):
    return Step(
        model=model, x=x, labels=Labels(y), place=torch.arange(len(x)), seen=x, loss=CrossEntropy(), seed=0, **parts
    )


# AWP


def test_awp_takes_the_gradient_uphill_and_gives_the_weights_back(pictures):
    model = normed(dtype=torch.float64).train()
    way, gamma = WAYS["awp"], 0.01
    course = Course(Recipe(options=QUICK, awp=AWP(gamma=gamma)), 0)
    step = prepared(model, pictures, torch.arange(8), course, NOW)
    before = weights(model)
    moved = copy.deepcopy(model)
    loss = cross_entropy(moved(step.x), step.labels.y).mean()
    filters = [p for p in moved.parameters() if p.ndim > 1]
    gradients = torch.autograd.grad(loss, filters)
    with torch.no_grad():
        for weight, gradient in zip(filters, gradients, strict=True):
            weight += gamma * weight.norm() * gradient / gradient.norm()
    higher = cross_entropy(moved(step.x), step.labels.y).mean()
    assert higher > loss
    higher.backward()
    outcome, _ = descended(step, course, 8, NOW)
    torch.testing.assert_close(outcome.loss / 8, loss)  # what is told is of the weights as they are
    for own, expected in zip(model.parameters(), moved.parameters(), strict=True):
        torch.testing.assert_close(own.grad, expected.grad)
    assert same(
        {n: v for n, v in weights(model).items() if "1." not in n}, {n: v for n, v in before.items() if "1." not in n}
    )
    assert all(torch.equal(p, before[name]) for name, p in model.named_parameters())
    assert way.awp == AWP(gamma=gamma)


def test_awp_gives_the_weights_back_after_an_error():
    model = normed()
    before = weights(model)
    loss = model(torch.rand(4, 1, 8, 8)).sum()
    state = weights(model)

    def fails():
        with AWP().moved(model, loss, Alone()):
            assert not torch.equal(model[0].weight, before["0.weight"])
            assert torch.equal(model[1].weight, before["1.weight"])  # one axis
            assert torch.equal(model[0].bias, before["0.bias"])
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        fails()
    assert same(weights(model), state)


def test_awp_moves_weights_that_autocast_has_kept_in_half_precision():
    model, x = small_digits(), torch.rand(4, 1, 8, 8)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        before = model(x)
        with AWP(gamma=0.5).moved(model, before.float().square().sum(), Alone()):
            assert not torch.equal(model(x), before)
        assert torch.equal(model(x), before)


def test_awp_begins_after_its_warm_up_and_adds_up_over_processes(pictures):
    asked = []

    class Counting(Alone):
        def add_up(self, gradients):
            asked.append(len(list(gradients)))

    model = normed()
    for moment, expected in ((Moment(1, 1, 4), []), (Moment(2, 1, 4), [2])):
        course = Course(Recipe(options=QUICK, awp=AWP(warm_up=1)), 0, Counting())
        asked.clear()
        descended(prepared(model, pictures, torch.arange(8), course, moment), course, 8, moment)
        assert asked == expected


def test_a_move_has_the_weights_length_however_small_the_gradient():
    weight = torch.tensor([[3.0, 4.0]])
    assert move(weight, torch.tensor([[0.0, 1e-30]])).tolist() == [[0.0, 5.0]]
    assert move(weight, torch.zeros(1, 2)).tolist() == [[0.0, 0.0]]


def test_still_keeps_nothing_and_spoils_no_graph():
    model = normed().train()
    x = torch.rand(4, 1, 8, 8)
    loss = model(x).sum()
    before = weights(model)
    with still(model):
        loss = loss + model(2 * x).sum()
        assert not same(weights(model), before)
    assert same(weights(model), before)
    loss.backward()


# Free


def test_free_walks_by_the_gradient_that_moves_the_weights(pictures):
    model = normed(dtype=torch.float64)
    options = TrainOptions(epochs=1, batch=8, optimiser="sgd", learning_rate=0.1, momentum=0.0, weight_decay=0.0)
    adversary = Adversary(PGD(steps=1, step_size=1.0), NEAR, Free(replays=3))
    course = Course(Recipe(options=options, adversary=adversary), 0)
    by_hand = copy.deepcopy(model)
    few = pictures.take(slice(0, 8))
    x, y = few.x(slice(None), torch.float64), few.labels
    point = adversary.walk(x, y, few.place, seed=course.key(1, "attack")).points
    assert not torch.equal(point, x)
    for _ in range(3):
        point = point.detach().requires_grad_()
        losses = cross_entropy(by_hand(point), y)
        by_hand.zero_grad()
        losses.mean().backward()
        with torch.no_grad():
            for weight in by_hand.parameters():
                weight -= 0.1 * weight.grad
        moved = (point + 0.1 * point.grad.sign()).clamp(x - 0.1, x + 0.1).clamp(0, 1)
        last, point = point, moved
    optimiser = torch.optim.SGD(model.parameters(), lr=0.1)
    model.train()
    outcome = one_step(model, optimiser, few, torch.arange(8), course, NOW)
    for own, expected in zip(model.parameters(), by_hand.parameters(), strict=True):
        torch.testing.assert_close(own, expected)
    torch.testing.assert_close(outcome.loss, losses.sum())
    assert (last - x).abs().max() <= 0.1 + 1e-12


# Several threats


def test_the_worst_threat_is_each_pictures_own(pictures):
    model = normed().eval()
    threats = NEAR, L2(eps=0.5)
    x, y, place = pictures.x(), pictures.labels, pictures.place
    found = Adversary(PGD3, NEAR, further=threats[1:]).harden(model, x, y, place, seed=5)
    each = [Adversary(PGD3, t).harden(model, x, y, place, seed=5 + k) for k, t in enumerate(threats)]
    losses = torch.stack([cross_entropy(model(one), y) for one in each])
    torch.testing.assert_close(cross_entropy(model(found), y), losses.amax(0))
    assert 0 < (losses.argmax(0) == 0).sum() < len(x)


def test_random_threats_belong_to_their_pictures(pictures):
    model = normed().eval()
    x, y, place = pictures.x(), pictures.labels, pictures.place
    chance = Adversary(PGD3, NEAR, further=(ROUND,), combine="random")
    found = chance.harden(model, x, y, place, seed=5)
    each = [Adversary(PGD3, t).harden(model, x, y, place, seed=5 + k) for k, t in enumerate((NEAR, ROUND))]
    which = [(found - one).flatten(1).abs().amax(1) < 1e-6 for one in each]
    assert (which[0] ^ which[1]).all()
    assert 0.3 < which[0].float().mean() < 0.7
    torch.testing.assert_close(chance.harden(model, x[40:], y[40:], place[40:], seed=5), found[40:])


def test_the_average_is_over_all_threats_with_a_mix_too(pictures):
    model = normed().eval()
    adversary = Adversary(PGD3, NEAR, further=(ROUND,), combine="average")
    recipe = Recipe(options=replace(QUICK, mix=0.25), adversary=adversary)
    course = Course(recipe, 0)
    few = pictures.take(slice(0, 8))
    step = prepared(model, few, torch.arange(8), course, NOW)
    assert (step.seen.shape, step.x.shape, step.labels.y.shape) == ((16, 1, 8, 8), (16, 1, 8, 8), (16,))
    changed = (step.seen != few.x().repeat(2, 1, 1, 1)).flatten(1).any(1)
    assert changed.tolist() == ([True] * 2 + [False] * 6) * 2
    torch.testing.assert_close(
        torch.stack([NEAR.size((step.seen - step.x)[:2]).max(), ROUND.size((step.seen - step.x)[8:]).max()]),
        torch.tensor([0.1, 0.6]),
        atol=1e-5,
        rtol=0,
    )
    outcome, total = differentiate(step, course, 8)
    losses = cross_entropy(model(step.seen), step.labels.y)
    torch.testing.assert_close(total, losses.mean())
    right = (model(step.seen).argmax(1) == step.labels.y).view(2, 8).all(0)
    assert outcome.right == right.sum()


def test_with_an_average_the_first_step_of_a_warm_up_has_all_copies(pictures):
    adversary = Adversary(PGD3, NEAR, further=(ROUND,), combine="average")
    course = Course(Recipe(options=replace(QUICK, warm_up=0.5), adversary=adversary), 0)
    x = pictures.x()[:4]
    assert torch.equal(attacked(normed(), x, pictures.labels[:4], pictures.place[:4], course, NOW), torch.cat([x, x]))


def test_a_validation_picture_holds_if_it_withstands_all(pictures):
    recipe = Recipe(options=replace(QUICK, epochs=6))
    model = train.train(card_for("cnn", pictures), pictures, recipe=recipe).model
    single, other = Linf(eps=0.08), L2(eps=0.4)
    x, y = pictures.x(), pictures.labels
    held = []
    for threat in (single, other):
        found = run(PGD(steps=10, step_size=0.25), model, x, y, threat, seed=2)
        held.append(~found.success & ~found.start_wrong)
    both = Adversary(FGSM(), single, further=(other,)).withstood(model, pictures, batch=20, seed=2)
    assert both == int((held[0] & held[1]).sum())
    assert both < min(int(one.sum()) for one in held)
    assert Adversary(FGSM(), Linf(eps=1.0), further=(other,)).withstood(model, pictures, batch=20, seed=2) == 0


# Warm-up and mix


@pytest.mark.parametrize("name", ["trades", "mart", "n-fgsm", "free", "grad-align"])
def test_warm_up_and_mix_hold_for_every_method(pictures, name):
    options = replace(QUICK, warm_up=1.0, mix=0.5)
    way = WAYS[name]
    course = Course(way.recipe(options), 0)
    few = pictures.take(slice(0, 8))
    step = prepared(normed(), few, torch.arange(8), course, ONE)  # at 3/4 of the training
    delta = step.seen - step.x
    assert NEAR.size(delta[4:]).max() == 0
    reach = 3.0 if name == "n-fgsm" else 1.0
    assert 0 < NEAR.size(delta[:4]).max() <= reach * 0.075 + 1e-6
    assert step.threat.eps == pytest.approx(0.075)
    _, total = differentiate(step, course, 8)
    assert total.isfinite()


def test_pictures_that_the_mix_leaves_alone_add_no_divergence(pictures):
    course = Course(WAYS["trades"].recipe(replace(QUICK, mix=0.5)), 0)
    model = small_digits()
    step = prepared(model, pictures.take(slice(0, 8)), torch.arange(8), course, NOW)
    losses = TRADES()(step)
    torch.testing.assert_close(losses[4:], cross_entropy(model(step.x), step.labels.y)[4:])
    assert (losses[:4] > cross_entropy(model(step.x), step.labels.y)[:4]).all()


def small_digits():
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return nn.Sequential(nn.Flatten(), nn.Linear(64, 10))


# Catastrophic overfitting


def history(*epochs):
    return [
        Epoch(number, 1.0, Count(int(right * 1000), 1000), None, Count(int(held * 200), 200))
        for number, (right, held) in enumerate(epochs, start=1)
    ]


STORIES = {
    "held, then fell while training rose": ([(0.3, 0.3), (0.4, 0.35), (0.6, 0.02)], True),
    "halved, and most are wrong in training too": ([(0.3, 0.3), (0.4, 0.35), (0.45, 0.12)], True),
    "never held, though training is right": ([(0.3, 0.1), (0.8, 0.0)], True),
    "grows": ([(0.3, 0.3), (0.4, 0.35), (0.5, 0.4)], False),
    "robust overfitting, slowly": ([(0.4, 0.4), (0.6, 0.38), (0.9, 0.3)], False),
    "diverged": ([(0.4, 0.4), (0.6, 0.4), (0.1, 0.1)], False),
    "no better than guessing": ([(0.1, 0.13), (0.11, 0.1), (0.16, 0.02)], False),
    "too hard to train on": ([(0.2, 0.1), (0.25, 0.11), (0.3, 0.12)], False),
}


@pytest.mark.parametrize(("epochs", "expected"), STORIES.values(), ids=STORIES)
def test_the_monitor_tells_collapse_from_what_looks_like_it(epochs, expected):
    told = notes_on(history(*epochs), TrainOptions(), 10)
    assert bool(told) == expected
    if expected:
        assert f"catastrophic overfitting since epoch {len(epochs)}" in told[0]
        again = history(*epochs, epochs[-1])
        assert collapsed(again, TrainOptions(), 10)
        assert notes_on(again, TrainOptions(), 10) == ()  # once is enough


def test_the_monitor_says_nothing_where_it_cannot_know():
    epochs = history((0.3, 0.1), (0.8, 0.0))
    assert not collapsed(epochs, TrainOptions(mix=0.5), 10)
    assert not collapsed(epochs, TrainOptions(epochs=10, warm_up=0.5), 10)
    unjudged = [replace(epoch, robust=None) for epoch in epochs]
    assert not collapsed(unjudged, TrainOptions(), 10)
    assert not collapsed([], TrainOptions(), 10)


@pytest.mark.slow
@pytest.mark.data
@pytest.mark.parametrize(("attack", "expected"), [(FGSM(), True), (NFGSM(), False), (PGD3, False)], ids=repr)
def test_a_single_step_really_collapses_and_is_told(attack, expected):
    images, held_out = data.load("mnist", "train", limit=2000), data.load("mnist", "validation", limit=200)
    options = TrainOptions(epochs=12, batch=50, learning_rate=0.005, weight_decay=0.0, warm_up=0.4)
    recipe = Recipe(options=options, adversary=Adversary(attack, Linf(eps=0.3)))
    made = train.train(card_for("cnn", images), images, recipe=recipe, validation=held_out)
    last = made.history[-1]
    told = [note for epoch in made.history for note in epoch.notes]
    assert made.card.training["notes"] == told
    assert len(told) == expected
    assert (last.train.rate > 0.8 and last.robust.rate < 0.1) if expected else last.robust.rate > 0.25


def test_notes_go_on_record(pictures, validation, tmp_path, monkeypatch):
    monkeypatch.setattr("holdfast.train.epochs.notes_on", lambda history, options, classes: (f"of {classes}",))
    recipe = WAYS["fgsm"].recipe(replace(QUICK, attacked=5))
    made = train.train(card_for("mlp", pictures), pictures, recipe=recipe, validation=validation, out=tmp_path / "run")
    assert [epoch.notes for epoch in made.history] == [("of 10",)] * 2
    assert json.loads((tmp_path / "run" / "card.json").read_text())["training"]["notes"] == ["of 10"] * 2


def test_the_command_line_warns():
    shown = []
    screen = SimpleNamespace(note=shown.append)
    tell(screen, replace(history((0.5, 0.5))[0], notes=("look out",)), 3)
    assert shown[1:] == ["warning: look out"]
    assert shown[0].startswith("epoch 1 of 3")


def test_notes_read_back():
    epoch = replace(history((0.5, 0.5))[0], notes=("look",))
    assert Epoch.read(json.loads(lines([epoch]))) == epoch


@pytest.mark.parametrize("name", ["fast", "free", "trades", "mart", "awp", "worst", "average", "random"])
def test_a_process_without_a_picture_of_the_batch_has_nothing_to_add(pictures, name):
    model, course = small_digits(), Course(WAYS[name].recipe(), 0)
    step = prepared(model, pictures, torch.arange(0), course, NOW)
    outcome, step = descended(step, course, 8, NOW)
    assert (outcome.loss, outcome.right) == (0, 0)
    assert all(weight.grad.abs().max() == 0 for weight in model.parameters())
    if name == "free":
        assert len(step.again().seen) == 0


# What is refused

REFUSED = {
    "beta": (lambda: TRADES(beta=-1.0), "beta=-1.0; allowed: finite numbers >= 0"),
    "weight": (lambda: MART(weight=float("nan")), "weight=nan"),
    "gamma": (lambda: AWP(gamma=0.0), "gamma=0.0; allowed: 0 < gamma < 1"),
    "warm-up": (lambda: AWP(warm_up=-1), "warm_up=-1"),
    "alignment": (lambda: GradAlign(weight=0.0), "weight=0.0"),
    "noise": (lambda: NFGSM(noise=0.0), "noise=0.0"),
    "replays": (lambda: Free(replays=1), "replays=1; allowed: whole numbers >= 2"),
    "no slope": (lambda: Adversary(FGSM(), NEAR, TRADES()), "begins at the picture"),
    "no random start": (lambda: Adversary(PGD(random_start=False), NEAR, TRADES()), "begins at the picture"),
    "not straight": (lambda: Adversary(APGD(), NEAR, TRADES()), "allowed: attacks by a fixed number"),
    "free and restarts": (lambda: Adversary(PGD(restarts=2), NEAR, Free()), "allowed: attacks by a fixed number"),
    "free and two": (lambda: Adversary(PGD3, NEAR, Free(), further=(ROUND,)), "2 threats; allowed: one"),
    "boxes": (lambda: Adversary(PGD3, NEAR, further=(L2(eps=1, high=2.0),)), "boxes [0, 2] and [0, 1]"),
    "combine": (lambda: Adversary(PGD3, NEAR, combine="best"), "combine='best'; allowed: worst, average, random"),
    "wide noise": (lambda: Adversary(NFGSM(), Linf(eps=0.6)), "eps=1.2"),
    "n-fgsm turns": (
        lambda: Adversary(NFGSM(), Rotation(eps=1.0)),
        "train: n-fgsm: threat 'rotation'; allowed: linf, l2",
    ),
    "own loss": (
        lambda: Recipe(loss=CrossEntropy(smoothing=0.1), adversary=Adversary(PGD3, NEAR, MART())),
        "method 'mart', which has its own",
    ),
    "align alone": (lambda: Recipe(penalties=(GradAlign(),)), "with an adversary of one threat"),
    "align with two": (
        lambda: Recipe(penalties=(GradAlign(),), adversary=Adversary(FGSM(), NEAR, further=(ROUND,))),
        "with an adversary of one threat",
    ),
}


@pytest.mark.parametrize(("make", "text"), REFUSED.values(), ids=REFUSED)
def test_what_cannot_be_is_refused(make, text):
    with pytest.raises(OptionError) as caught:
        make()
    assert text in str(caught.value)


def test_a_recipe_is_told_whole():
    way = Way(Adversary(PGD3, NEAR, TRADES(beta=3.0), further=(ROUND,)), (0, 0), awp=AWP())
    told = way.recipe().plain()
    assert told["awp"] == {"name": "awp", "gamma": 0.005, "warm_up": 0}
    assert told["adversary"]["method"] == {"name": "trades", "beta": 3.0}
    assert told["adversary"]["further"] == [{"name": "l2", "eps": 0.6, "low": 0.0, "high": 1.0}]
    assert told["adversary"]["combine"] == "worst"


def test_an_attack_can_be_walked_by_hand():
    net = small_net().eval()
    x = torch.rand(5, 2, 3, 3, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
    y = torch.zeros(5, dtype=torch.int64)
    climb = Climb(PGD3, x, y, NEAR, seed=2)
    for _ in range(3):
        point = climb.points.detach().requires_grad_()
        logits = net(point)
        losses = cross_entropy(logits, y)
        climb.go_on(logits.detach(), (losses.detach(),), torch.autograd.grad(losses.sum(), point))
    with counted(net) as passes:
        torch.testing.assert_close(climb.points, final_points(PGD3, net, x, y, NEAR, seed=2))
    assert passes.taken() == (15, 15)
