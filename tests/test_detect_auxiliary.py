"""The auxiliary classifier: what it learns from, where it branches off, what it costs, and what it is worth."""

import pytest
import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from holdfast import attacks, data, detect, models, threats
from holdfast.detect import Auxiliary, Guarded
from holdfast.detect.auxiliary import Learning
from holdfast.detect.branch import find, folded, head, layers
from holdfast.detect.pairs import pairs, renewed
from holdfast.errors import DataError, ModelError, OptionError
from holdfast.uncertainty.separation.auroc import delong

EPS = 0.15
FORMS = pytest.mark.parametrize("form", ["branched", "separate"])
TRAININGS = pytest.mark.parametrize("training", ["static", "dynamic"])


@pytest.fixture(scope="module")
def digits():
    return data.load("digits", split="train")


@pytest.fixture(scope="module")
def net(digits):
    """A small convolutional net, right on nine of ten digits."""
    model = models.build("cnn", {"width": "0.5"}, shape=digits.shape, classes=10, seed=0)
    x, y = digits.x(), digits.labels
    adam, draw = torch.optim.Adam(model.parameters(), 3e-3), torch.Generator().manual_seed(0)
    for _ in range(12):
        for rows in torch.randperm(len(x), generator=draw).split(64):
            adam.zero_grad()
            nn.functional.cross_entropy(model(x[rows]), y[rows]).backward()
            adam.step()
    adam.zero_grad()
    return model.train()  # a forgotten mode shows


def small(**options):
    return Auxiliary(**{"eps": EPS, "epochs": 2, "attack_options": ("steps=4", "step_size=0.5"), **options})


@pytest.fixture(scope="module")
def found(net, digits):
    return pairs(small().attacker(64), net, digits.take(slice(0, 120)), seed=3)


def doubled(model):
    return models.build("cnn", {"width": "0.5"}, shape=(1, 8, 8), classes=10, seed=0).double().eval()


# What it learns from


def test_pairs_are_right_before_the_attack_and_wrong_after_it(net, digits, found):
    net.eval()
    x = found.clean.x()
    assert bool((net(x).argmax(1) == found.clean.labels).all())
    assert bool((net(found.adversarial).argmax(1) != found.clean.labels).all())
    assert float((found.adversarial - x).abs().max()) <= EPS + 1e-6
    right = int((net(digits.x(slice(0, 120))).argmax(1) == digits.labels[:120]).sum())
    net.train()
    assert found.misclassified == 120 - right > 0
    assert found.unbroken == right - len(found.clean) > 0
    assert found.classes == 10


def test_noise_goes_by_place(net, digits, found):
    half = pairs(small().attacker(7), net, digits.take(slice(60, 120)), seed=3)
    rows = found.clean.place >= 60
    assert torch.equal(half.clean.place, found.clean.place[rows])
    torch.testing.assert_close(half.adversarial, found.adversarial[rows], atol=1e-5, rtol=0)


def test_an_attack_that_heeds_no_radius_gives_its_smallest_change(net, digits):
    attacker = Auxiliary(attack="deepfool", norm="l2", eps=1e-6).attacker(64)
    near = pairs(attacker, net, digits.take(slice(0, 30)), seed=0)
    size = (near.adversarial - near.clean.x()).flatten(1).norm(dim=1)
    assert len(near.clean) > 20
    assert float(size.min()) > 1e-4
    assert float(size.max()) < 4


def test_an_attack_may_stop_at_its_first_success(net, digits):
    some = digits.take(slice(0, 60))
    first, best = (
        pairs(small(aim=aim, attack_options=("steps=20",)).attacker(64), net, some, seed=0)
        for aim in ("first_success", "highest_loss")
    )
    loss = [nn.functional.cross_entropy(net.eval()(one.adversarial), one.clean.labels).item() for one in (first, best)]
    net.train()
    assert loss[0] < loss[1] / 2


def test_labels_alone_will_do(net, digits):
    options = {"attack": "boundary", "attack_options": ("queries=60",), "norm": "l2", "eps": 3.0}
    assert len(pairs(Auxiliary(**options).attacker(64), net, digits.take(slice(0, 20)), seed=0).clean) > 0


def test_no_adversarial_pictures_are_told_with_the_radius(net, digits):
    with pytest.raises(DataError, match=r"no adversarial pictures found: pgd within linf eps=1e-09 breaks none of"):
        small(eps=1e-9).fit(net, digits.take(slice(0, 30)))


def test_a_classifier_that_gets_nothing_right_is_told(net, digits):
    net.eval()
    some = digits.take(slice(0, 40))
    wrong = some.take(net(some.x()).argmax(1) != some.labels)
    net.train()
    assert len(wrong)
    with pytest.raises(DataError, match=f"gets none of {len(wrong)} pictures right"):
        small().fit(net, wrong)


def test_one_pair_suffices(net, digits, found):
    one = digits.take(found.clean.place[:1])
    for form in ("branched", "separate"):
        suspicion = small(form=form).fit(net, one)
        assert suspicion.learnt_from == 1
        assert bool(suspicion(net, one.x())[1].isfinite().all())


# Dynamic training


def test_an_epoch_mixes_who_knows_the_detector_and_who_does_not(net, found):
    suspicion = small(form="separate", epochs=12).fit(net, found.clean, seed=1)
    attacker = Auxiliary(eps=EPS).attacker(64)
    ask = {"seed": 5, "epoch": 1}
    first, again = (renewed(found, attacker, net, suspicion, **ask) for _ in range(2))
    assert torch.equal(first, again)
    net.eval()
    assert bool((net(first).argmax(1) != found.clean.labels).all())
    assert float((first - found.clean.x()).abs().max()) <= EPS + 1e-6
    both = attacker.points(Guarded(net, suspicion, 0.0, 1.0, 10), found.clean, 0)
    alone = attacker.points(net, found.clean, 0)
    said = [float((suspicion(net, x)[1] > 0).double().mean()) for x in (both, first, alone)]
    net.train()
    assert said[0] + 0.1 < said[1] < said[2] - 0.1, said
    assert not torch.equal(first, renewed(found, attacker, net, suspicion, seed=5, epoch=2))


def test_what_does_not_break_the_classifier_gives_way_to_what_did(net, found):
    suspicion = small().outline(net, found.clean.shape)
    weak = small(eps=1e-9).attacker(64)
    assert torch.equal(renewed(found, weak, net, suspicion, seed=0, epoch=1), found.adversarial)


def test_dynamic_training_looks_at_the_detector_as_it_is(net, found, monkeypatch):
    seen = []

    def watched(found, attacker, model, suspicion, **rest):
        seen.append((rest["epoch"], suspicion(model, found.clean.x())[1].detach()))
        return found.adversarial

    monkeypatch.setattr("holdfast.detect.auxiliary.renewed", watched)
    small(training="dynamic", epochs=3).fit(net, found.clean)
    assert [epoch for epoch, _ in seen] == [1, 2, 3]
    assert not torch.equal(seen[0][1], seen[1][1])
    assert not torch.equal(seen[1][1], seen[2][1])


# Learning


@FORMS
def test_a_step_goes_down_the_logistic_loss_of_the_detector_alone(net, found, form):
    options = small(form=form)
    suspicion = options.fresh(net, found.clean.shape)
    learning = Learning(options, net, suspicion, found, options.attacker(64), 0)
    clean, adversarial = found.clean.x(slice(0, 20)), found.adversarial[:20]
    before = {name: value.clone() for name, value in net.state_dict().items()}
    net.eval().requires_grad_(False)
    suspicion.train()
    _, at_clean = suspicion(net, torch.cat([clean, adversarial]))  # statistics of batch norm are those of both
    expected = ((1 + at_clean[:20].exp()).log().sum() + (1 + (-at_clean[20:]).exp()).log().sum()) / 40
    losses = [learning.step(clean, adversarial) for _ in range(30)]
    net.requires_grad_(True).train()
    torch.testing.assert_close(losses[0], expected.detach())
    assert losses[-1] < losses[0] - 0.1
    assert all(torch.equal(value, before[name]) for name, value in net.state_dict().items())


@FORMS
@TRAININGS
def test_fitting_repeats_itself_and_leaves_the_classifier_alone(net, found, form, training):
    frozen = next(net.parameters())
    frozen.requires_grad_(False)
    before = {name: value.clone() for name, value in net.state_dict().items()}
    generator = torch.random.get_rng_state()
    told = []
    with torch.no_grad():
        first, again, other = (
            small(form=form, training=training).fit(
                net, found.clean, seed=seed, batch=32, progress=lambda *now: told.append(now)
            )
            for seed in (4, 4, 5)
        )
    assert torch.equal(torch.random.get_rng_state(), generator)
    assert not frozen.requires_grad
    frozen.requires_grad_(True)
    assert all(parameter.grad is None for parameter in net.parameters())
    assert all(module.training and not module._forward_hooks for module in net.modules())
    assert all(torch.equal(value, before[name]) for name, value in net.state_dict().items())
    said = [one(net.eval(), found.clean.x())[1] for one in (first, again, other)]
    net.train()
    assert torch.equal(said[0], said[1])
    assert not torch.equal(said[0], said[2])
    n = len(found.clean)
    assert told[:3] == [(n // 3, n), (2 * n // 3, n), (n, n)]
    assert not first.training
    assert not any(weight.requires_grad for weight in first.parameters())


def test_every_epoch_has_an_order_of_its_own(net, found, monkeypatch):
    orders = []
    monkeypatch.setattr(Learning, "step", lambda self, clean, _: orders.append(clean) or torch.zeros(()))
    small(minibatch=1000).fit(net, found.clean)
    first, second = orders
    assert len(first) == len(second)
    assert not torch.equal(first, second)
    torch.testing.assert_close(first.sum(0), second.sum(0))


def test_a_loss_that_breaks_is_told(net, found):
    with pytest.raises(ModelError, match=r"no longer finite in epoch 1; learning_rate is 1e\+30. Try learning_rate"):
        small(learning_rate=1e30, minibatch=8).fit(net, found.clean)


# The suspicion


def test_a_network_of_its_own_gives_the_difference_of_its_logits(net, found):
    suspicion = small(form="separate", network="mlp").fit(net.eval(), found.clean)
    x = found.adversarial
    logits, said = suspicion(net, x)
    own = suspicion.network(x)
    assert torch.equal(logits, net(x))
    assert torch.equal(said, own[:, 1] - own[:, 0])
    net.train()


@pytest.mark.parametrize("shape", [(3, 17, 9), (5,)])
def test_a_branch_is_used_without_batch_norms_and_says_the_same(shape):
    with torch.random.fork_rng():
        torch.manual_seed(0)
        learnt, x = head(shape, 4).double(), torch.randn(12, *shape, dtype=torch.float64)
        for part in learnt:
            if isinstance(part, nn.BatchNorm1d | nn.BatchNorm2d):
                nn.init.normal_(part.weight)
                nn.init.normal_(part.bias)
        learnt(3 * x + 1)  # running means and variances of their own
    used = folded(learnt.eval())
    assert not any("Norm" in type(part).__name__ for part in used)
    torch.testing.assert_close(used(x), learnt(x))
    assert (learnt(x) - learnt(2 * x)).abs().max() > 1e-3


def test_a_branch_reads_the_layer_in_the_pass_of_the_classifier(net, found):
    suspicion = small().fit(net.eval(), found.clean)
    assert suspicion.layer == "relu2"
    asked = []
    hook = net.register_forward_hook(lambda *_: asked.append(1))
    logits, said = suspicion(net, found.adversarial)
    hook.remove()
    assert len(asked) == 1
    own = suspicion.network(net[:4](found.adversarial))
    torch.testing.assert_close(said, own[:, 1] - own[:, 0])
    torch.testing.assert_close(logits, net(found.adversarial))
    net.train()


@FORMS
def test_the_gradient_is_that_of_differences(net, form):
    model = doubled(net)
    suspicion = small(form=form).outline(model, (1, 8, 8))
    assert suspicion.gradient == "exact"
    draw = torch.Generator().manual_seed(2)
    x = torch.rand(3, 1, 8, 8, dtype=torch.float64, generator=draw)
    way = torch.randn(x.shape, dtype=torch.float64, generator=draw)
    at = x.clone().requires_grad_()
    (gradient,) = torch.autograd.grad(suspicion(model, at)[1].sum(), at)
    h = 1e-6
    slope = (suspicion(model, x + h * way)[1] - suspicion(model, x - h * way)[1]) / (2 * h)
    torch.testing.assert_close((gradient * way).flatten(1).sum(1), slope, atol=1e-7, rtol=1e-5)
    assert bool((gradient.flatten(1).norm(dim=1) > 1e-6).all())


@FORMS
@TRAININGS
def test_it_is_restored_bit_for_bit(net, found, form, training):
    options = small(form=form, training=training)
    fitted = options.fit(net, found.clean, seed=2)
    read = options.outline(net, found.clean.shape)
    net.eval()
    assert not torch.equal(fitted(net, found.adversarial)[1], read(net, found.adversarial)[1])
    read.restore(fitted.state_dict())
    assert torch.equal(fitted(net, found.adversarial)[1], read(net, found.adversarial)[1])
    net.train()
    assert (read.learnt_from, read.misclassified, read.unbroken) == (len(found.clean), 0, 0)


@FORMS
def test_batches_do_not_matter(net, found, form):
    suspicion = small(form=form).fit(net, found.clean)
    whole, split = (detect.suspicions(suspicion, net, found.clean, batch=size) for size in (500, 7))
    torch.testing.assert_close(whole, split, atol=1e-5, rtol=1e-5)


@FORMS
def test_it_computes_in_the_type_of_the_classifier(found, net, form):
    model = doubled(net)
    suspicion = small(form=form).outline(model, (1, 8, 8))
    assert suspicion(model, found.clean.x(dtype=torch.float64))[1].dtype == torch.float64


# Where it branches off


@pytest.mark.parametrize(
    ("name", "shape", "layer"),
    [
        ("mlp", (1, 8, 8), "relu1"),
        ("cnn", (1, 28, 28), "relu2"),
        ("resnet8", (3, 16, 16), "stages.1"),
        ("resnet20", (3, 16, 16), "stages.1.1"),
    ],
)
def test_a_branch_leaves_half_way_where_everything_passes(name, shape, layer):
    model = models.build(name, shape=shape, classes=3, seed=0)
    assert find(model, shape).name == layer
    wrapped = models.build(name, shape=shape, classes=3, seed=0, mean=[0.5] * shape[0], std=[0.5] * shape[0])
    assert find(wrapped, shape).name == f"model.{layer}"


def test_a_shortcut_is_taken_where_there_is_nothing_else():
    class Beside(nn.Module):
        def __init__(self):
            super().__init__()
            self.one, self.two, self.last = nn.Linear(4, 5), nn.Linear(4, 5), nn.Linear(5, 3)

        def forward(self, x):
            return self.last(self.one(x.flatten(1)) + self.two(x.flatten(1)))

    assert find(Beside(), (1, 2, 2)).name == "two"  # of equals what answers last


def test_depth_counts_layers_with_weights():
    model = models.build("cnn", {"batch_norm": "true"}, shape=(1, 8, 8), classes=3, seed=0).eval()
    depths = {layer.name: layer.depth for layer in layers(model, torch.rand(2, 1, 8, 8))}
    assert depths == {
        **dict.fromkeys(["conv1", "norm1", "relu1"], 0.25),
        **dict.fromkeys(["conv2", "norm2", "relu2", "flat"], 0.5),
        **dict.fromkeys(["linear1", "relu3"], 0.75),
    }


def test_a_layer_may_be_named(net, found):
    for layer, shape in (("relu1", (8, 4, 4)), ("relu3", (50,))):
        assert find(net, (1, 8, 8), layer).shape == shape
        suspicion = small(layer=layer).fit(net, found.clean)
        assert suspicion.layer == layer


@pytest.mark.parametrize("layer", ["relu9", "linear", "", "drop"])
def test_a_layer_that_is_not_there_is_told_with_those_that_are(net, digits, layer):
    listed = r"'conv1', 'relu1', 'conv2', 'relu2', 'flat', 'linear1', 'relu3'\. Name one of those"
    with pytest.raises(ModelError, match=f"layer '{layer}' is no inner layer; allowed: .*: {listed}"):
        small(layer=layer).fit(net, digits.take(slice(0, 10)))


def test_a_model_without_inner_layers_is_told(digits):
    model = models.build("linear", shape=digits.shape, classes=10, seed=0)
    with pytest.raises(
        ModelError, match=r"no inner layer of Sequential; .*: none. Take a network of its own, form=sep"
    ):
        small().fit(model, digits.take(slice(0, 10)))


def test_another_model_in_use_is_told(net, found):
    suspicion = small().outline(net, found.clean.shape)
    with pytest.raises(ModelError, match="Flatten has no layer 'relu2', off which"):
        suspicion(nn.Flatten(), found.clean.x())
    twice = nn.Sequential()
    twice.add_module("relu2", nn.ReLU())
    twice.add_module("again", twice.relu2)
    with pytest.raises(ModelError, match="layer 'relu2' was asked 2 times in one pass"):
        suspicion(twice, found.clean.x())


# What it costs


def products(call):
    """Multiplications with weights in a call."""
    with torch.no_grad(), FlopCounterMode(display=False) as counter:
        call()
    return counter.get_total_flops() / 2


@pytest.mark.parametrize(
    ("name", "shape"),
    [
        ("cnn", (1, 8, 8)),
        ("cnn", (1, 28, 28)),
        ("cnn", (3, 32, 32)),
        ("mlp", (1, 28, 28)),
        ("resnet8", (3, 32, 32)),
        ("resnet20", (3, 32, 32)),
    ],
)
def test_a_branch_costs_at_most_a_quarter_of_the_pass_it_shares(name, shape):
    model = models.build(name, shape=shape, classes=10, seed=0).eval()
    x = torch.rand(1, *shape)
    alone = products(lambda: model(x))
    branch, own = (Auxiliary(form=form).outline(model, shape) for form in ("branched", "separate"))
    assert 1 < products(lambda: branch(model, x)) / alone <= 1.25
    assert products(lambda: own(model, x)) > products(lambda: branch(model, x))


# What it is worth


@FORMS
def test_it_detects_who_does_not_know_it_and_falls_to_who_does(net, digits, form):
    fitting, held = digits.take(slice(0, 500)), digits.take(slice(500, 800))
    fitted = detect.fit(Auxiliary(form=form, eps=EPS), net, fitting, held, seed=1)
    judged = digits.take(slice(800, 900))
    threat, pgd = threats.Linf(eps=EPS), attacks.build("pgd")
    blind = attacks.run(pgd, net, judged.x(), judged.labels, threat, seed=9, aim="highest_loss")
    broken = blind.success & ~blind.start_wrong
    assert int(broken.sum()) > 60
    guarded = fitted.model.eval()
    clean, attacked = (guarded.suspect(x[broken])[1].detach() for x in (judged.x(), blind.x_adv))
    assert delong(clean.double().numpy(), attacked.double().numpy())[0] > 0.9
    detected = attacked > fitted.threshold.value
    assert float(detected.double().mean()) > 0.4
    knowing = attacks.run(attacks.build("apgd"), guarded, judged.x(), judged.labels, threat, seed=9)
    net.train()
    assert float(knowing.success[broken][detected].double().mean()) > 0.6


# Options


def test_it_is_made_by_name():
    made = detect.detector("auxiliary", {"form": "separate", "eps": "4/255", "attack_options": "steps=3,restarts=2"})
    assert made == Auxiliary(form="separate", eps=4 / 255, attack_options=("steps=3", "restarts=2"))
    assert made.attacker(5).attack == attacks.PGD(steps=3, restarts=2)
    assert Auxiliary().attacker(5).attack == attacks.PGD(steps=10, step_size=0.25)
    assert Auxiliary(attack="fgsm").attacker(5).attack == attacks.FGSM()


def test_the_width_is_the_networks(net):
    wide, narrow = (small(form="separate", width=width).outline(net, (1, 8, 8)) for width in (None, 0.25))
    assert models.count_parameters(narrow) < models.count_parameters(wide) / 8
    assert models.count_parameters(small(form="separate", network="resnet8", width=4).outline(net, (1, 8, 8))) < 10_000


@pytest.mark.parametrize("said", [{"form": "branched", "channels": 16}, {"form": "separate", "network": "cnn"}])
def test_what_is_not_said_is_the_usual(net, said):
    usual, same = (made.outline(net, (1, 8, 8)).state_dict() for made in (small(form=said["form"]), small(**said)))
    assert all(torch.equal(usual[name], same[name]) for name in usual | same)


@pytest.mark.parametrize(
    ("options", "text"),
    [
        ({"form": "beside"}, "form='beside'; allowed: one of branched, separate"),
        ({"training": "often"}, "training='often'; allowed: one of static, dynamic"),
        ({"aim": "smallest"}, "aim='smallest'; allowed: one of highest_loss, first_success"),
        ({"norm": "l7"}, "norm='l7'; allowed: one of linf, l2"),
        ({"eps": 0.0}, "eps=0.0; allowed: a finite number above 0"),
        ({"learning_rate": float("nan")}, "learning_rate=nan; allowed: a finite number above 0"),
        ({"epochs": 0}, "epochs=0; allowed: a whole number from 1 up"),
        ({"minibatch": 2.5}, "minibatch=2.5; allowed: a whole number from 1 up"),
        ({"channels": True}, "channels=True; allowed: a whole number from 1 up"),
        ({"layer": "relu1", "form": "separate"}, "layer='relu1'; allowed: none with form=separate"),
        ({"width": 0.5}, "width=0.5; allowed: none with form=branched"),
        ({"channels": 16, "form": "separate"}, "channels=16; allowed: none with form=separate. Leave it out, or take"),
        ({"network": "cnn"}, "network='cnn'; allowed: none with form=branched. Leave it out, or take form=separate"),
        ({"network": "cmm", "form": "separate"}, "unknown model 'cmm'; known: cnn, linear"),
        ({"network": "mlp", "width": 2.0, "form": "separate"}, "unknown option of MLP 'width'"),
        ({"width": -1.0, "form": "separate"}, "CNN: width=-1.0; allowed: numbers > 0"),
        ({"attack": "pgdd"}, "unknown attack 'pgdd'.*Did you mean"),
        ({"attack_options": ("steps",)}, r"attack_options=\('steps',\); allowed: NAME=VALUE"),
        ({"attack_options": ("stops=3",)}, "unknown option of PGD 'stops'"),
        ({"attack": "cw-linf", "norm": "l2"}, "cw-linf: threat 'l2'; allowed"),
    ],
)
def test_bad_options_are_told(options, text):
    with pytest.raises(OptionError, match=text):
        Auxiliary(**options)
