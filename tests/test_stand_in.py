"""The stand-in is the model, up to rounding, or it is not used."""

import json
import threading
from itertools import count
from time import perf_counter

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn
from typer.testing import CliRunner

from holdfast import PGD, Linf, data
from holdfast.cli import app
from holdfast.errors import ModelError, OptionError, RunError
from holdfast.evaluate import evaluate, job, speed
from holdfast.models import build
from holdfast.models.convolution import FORMS, convolution
from holdfast.models.stand_in import Plan, convolutions, foldable, stand_in


def plan(model: nn.Module, form: str, channels_last: bool = False) -> Plan:
    return Plan(channels_last=channels_last, forms=tuple((name, form) for name in convolutions(model)))


def lived_in(model: nn.Module) -> nn.Module:
    """With statistics as after training, in float64, so that a difference is no rounding."""
    for module in model.modules():
        if isinstance(module, nn.BatchNorm2d) and module.running_mean is not None:
            module.running_mean.uniform_(-0.5, 0.5)
            module.running_var.uniform_(0.3, 2.0)
            if module.affine:
                nn.init.uniform_(module.weight, -1.5, 1.5)
                nn.init.uniform_(module.bias, -0.5, 0.5)
    return model.double().eval()


def answers(model: nn.Module, x: Tensor) -> tuple[Tensor, Tensor]:
    asked = x.clone().requires_grad_()
    out = model(asked)
    weight = torch.linspace(-1, 1, out.numel(), dtype=out.dtype).view_as(out)
    return out.detach(), torch.autograd.grad((out * weight).sum(), asked)[0]


def same(model: nn.Module, other: nn.Module, x: Tensor) -> None:
    for mine, theirs in zip(answers(model, x), answers(other, x), strict=True):
        torch.testing.assert_close(theirs, mine, rtol=1e-9, atol=1e-10)


@settings(max_examples=120, deadline=None)
@given(
    form=st.sampled_from(FORMS),
    channels=st.tuples(st.integers(1, 4), st.integers(1, 5)),
    kernel=st.tuples(st.integers(1, 5), st.integers(1, 5)),
    stride=st.integers(1, 4),
    padding=st.tuples(st.integers(0, 3), st.integers(0, 3)),
    size=st.tuples(st.integers(5, 12), st.integers(5, 12)),
    channels_last=st.booleans(),
    bias=st.booleans(),
)
def test_every_form_is_the_convolution(form, channels, kernel, stride, padding, size, channels_last, bias):
    layer = nn.Conv2d(*channels, kernel, stride=stride, padding=padding, bias=bias, dtype=torch.float64)
    x = torch.rand(2, channels[0], *size, dtype=torch.float64)
    weight = layer.weight.detach()
    if channels_last:
        x = x.contiguous(memory_format=torch.channels_last)
        weight = weight.contiguous(memory_format=torch.channels_last)
    same(layer, convolution(layer, weight, layer.bias, form), x)


@pytest.mark.parametrize("form", ["framework", "product"])
def test_unequal_strides(form):
    layer = nn.Conv2d(2, 3, (3, 4), stride=(1, 2), padding=(0, 1), dtype=torch.float64)
    other = convolution(layer, layer.weight.detach(), layer.bias, form)
    assert other.forms == ("framework", "product")
    same(layer, other, torch.rand(2, 2, 7, 9, dtype=torch.float64))


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("channels_last", [False, True])
@pytest.mark.parametrize("name", ["cnn", "resnet8", "preact-resnet18", "resnext34"])
def test_it_is_the_model(name, form, channels_last):
    with torch.random.fork_rng():
        torch.manual_seed(3)
        model = lived_in(build(name, shape=(3, 16, 16), classes=5, mean=[0.4] * 3, std=[0.2] * 3))
    other = stand_in(model, plan(model, form, channels_last))
    x = torch.rand(3, 3, 16, 16, dtype=torch.float64)
    same(model, other, x)
    gradient = answers(other, x)[1]
    assert gradient.is_contiguous()


def test_batch_norms_are_folded_where_they_follow_a_convolution():
    model = lived_in(build("resnet8", shape=(3, 16, 16), classes=5))
    other = stand_in(model, Plan())
    assert other.folded == len(convolutions(model)) == 7
    assert not [m for m in other.modules() if isinstance(m, nn.BatchNorm2d)]
    before_activation = lived_in(build("preact-resnet18", shape=(3, 16, 16), classes=5))
    norms = sum(isinstance(m, nn.BatchNorm2d) for m in before_activation.modules())
    left = sum(isinstance(m, nn.BatchNorm2d) for m in stand_in(before_activation, Plan()).modules())
    assert 0 < left < norms  # the first of each block follows a sum


class Twice(nn.Module):
    """The convolution's answer is used beside the norm's, so neither may change."""

    def __init__(self) -> None:
        super().__init__()
        self.conv, self.norm = nn.Conv2d(1, 2, 3), nn.BatchNorm2d(2)

    def forward(self, x: Tensor) -> Tensor:
        inner = self.conv(x)
        return (self.norm(inner) + inner).flatten(1)


class Shared(nn.Module):
    """One norm behind two convolutions, and one convolution that is called twice."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.second = nn.Conv2d(1, 1, 3, padding=1), nn.Conv2d(1, 1, 3, padding=1)
        self.norm = nn.BatchNorm2d(1)
        self.again = self.first

    def forward(self, x: Tensor) -> Tensor:
        return self.norm(self.second(self.norm(self.again(self.first(x))))).flatten(1)


class Wilful(nn.Module):
    """Its course depends on the pictures, so it cannot be followed ahead of time."""

    def __init__(self) -> None:
        super().__init__()
        self.conv, self.norm = nn.Conv2d(1, 2, 3), nn.BatchNorm2d(2)

    def forward(self, x: Tensor) -> Tensor:
        inner = self.conv(x)
        return (self.norm(inner) if float(x.detach().mean()) > 0.5 else -inner).flatten(1)


@pytest.mark.parametrize("kind", [Twice, Shared, Wilful])
def test_what_may_not_be_folded_is_left(kind):
    model = lived_in(kind())
    assert foldable(model) == {}
    other = stand_in(model, plan(model, "stride_one"))
    for shift in (0.0, 0.5):
        same(model, other, torch.rand(2, 1, 6, 6, dtype=torch.float64) / 2 + shift)


@pytest.mark.parametrize(
    "norm",
    [nn.BatchNorm2d(3, track_running_stats=False), nn.InstanceNorm2d(3), nn.GroupNorm(1, 3)],
    ids=lambda norm: type(norm).__name__,
)
def test_norms_that_depend_on_the_batch_are_left(norm):
    model = lived_in(nn.Sequential(nn.Conv2d(1, 3, 3), norm, nn.Flatten()))
    assert foldable(model) == {}
    same(model, stand_in(model, Plan()), torch.rand(4, 1, 6, 6, dtype=torch.float64))


def test_a_norm_without_weights_of_its_own():
    model = lived_in(nn.Sequential(nn.Conv2d(1, 3, 3, bias=False), nn.BatchNorm2d(3, affine=False), nn.Flatten()))
    assert foldable(model) == {"0": "1"}
    same(model, stand_in(model, Plan()), torch.rand(4, 1, 6, 6, dtype=torch.float64))


class Own(nn.Conv2d):
    """A user's own kind of convolution."""

    def forward(self, x: Tensor) -> Tensor:
        return super().forward(x).square()


@pytest.mark.parametrize(
    "layer",
    [
        nn.Conv2d(2, 2, 3, groups=2),
        nn.Conv2d(2, 2, 3, dilation=2),
        nn.Conv2d(2, 2, 3, padding="same"),
        nn.Conv2d(2, 2, 3, padding=1, padding_mode="reflect"),
        nn.ConvTranspose2d(2, 2, 3),
        Own(2, 2, 3),
        torch.nn.utils.parametrizations.weight_norm(nn.Conv2d(2, 2, 3)),
    ],
    ids=repr,
)
def test_unknown_layers_are_left_alone(layer):
    model = lived_in(nn.Sequential(layer, nn.Flatten()))
    assert convolutions(model) == {}
    same(model, stand_in(model, Plan(channels_last=True)), torch.rand(2, 2, 8, 8, dtype=torch.float64))


def test_the_model_is_left_as_it_was():
    model = build("resnet8", shape=(3, 16, 16), classes=5).train()
    model[0].eval()
    before = {name: value.clone() for name, value in model.state_dict().items()}
    modes = [module.training for module in model.modules()]
    kinds = [type(module) for module in model.modules()]
    other = stand_in(model, plan(model, "product"))
    answers(other, torch.rand(2, 3, 16, 16))
    assert [module.training for module in model.modules()] == modes
    assert [type(module) for module in model.modules()] == kinds
    assert all(p.requires_grad and p.grad is None for p in model.parameters())
    for name, value in model.state_dict().items():
        assert torch.equal(value, before[name])
    linear = next(m for m in other.modules() if isinstance(m, nn.Linear))
    assert linear.weight.data_ptr() in {p.data_ptr() for p in model.parameters()}, "weights are shared, not copied"


def test_two_stand_ins_of_one_plan_are_equal_to_the_bit():
    model = build("resnet8", shape=(3, 16, 16), classes=5, seed=1).eval()
    chosen = Plan.from_plain(json.loads(json.dumps(plan(model, "stride_one").to_plain())))
    x = torch.rand(4, 3, 16, 16)
    for mine, theirs in zip(answers(stand_in(model, chosen), x), answers(stand_in(model, chosen), x), strict=True):
        assert torch.equal(mine, theirs)


def test_what_cannot_have_one_says_so():
    model = nn.Sequential(nn.Conv2d(1, 2, 3), nn.Flatten())
    with pytest.raises(ModelError, match="no plain convolution 'head'"):
        stand_in(model, Plan(forms=(("head", "product"),)))
    with pytest.raises(OptionError, match=r"0='quick'; allowed: framework, product, stride_one"):
        Plan.from_plain({"channels_last": False, "forms": {"0": "quick"}})
    model[0].lock = threading.Lock()
    with pytest.raises(ModelError, match="cannot be copied"):
        stand_in(model, Plan())
    hooked = nn.Sequential(nn.Conv2d(1, 2, 3), nn.Flatten())
    hooked[0].register_forward_hook(lambda module, given, out: out * 2)
    with pytest.raises(ModelError, match="hooks"):
        stand_in(hooked, Plan())


# ------------------------------------------------------------------------------------------- choosing one


@pytest.fixture(scope="module")
def digits():
    return data.load("digits", "test")


@pytest.fixture(scope="module")
def net():
    return build("cnn", shape=(1, 8, 8), classes=10, seed=5).eval()


@pytest.mark.parametrize("wanted", FORMS)
def test_the_fastest_form_of_each_layer_is_chosen(monkeypatch, net, digits, wanted):
    monkeypatch.setattr(speed, "_gradient_time", lambda layer, given, clock: float(layer.form != wanted))
    forms = speed.fastest_forms(net, digits.x(slice(0, 8)), False, perf_counter).forms
    assert forms == (("conv1", wanted), ("conv2", wanted))


def test_none_where_it_does_not_pay(monkeypatch, net, digits):
    ticks = count()

    def choose(model, use, passes=10**6):
        return speed.choose(model, digits, passes, torch.float32, use, lambda: next(ticks))

    assert choose(net, "off") is None
    assert choose(net, "auto", passes=1) is None, "too little to do for measuring"
    assert choose(net, "auto") is None, "as slow as the model on this clock"
    assert choose(net, "on", passes=1) is not None
    assert choose(build("mlp", shape=(1, 8, 8), classes=10), "on") is None, "nothing to exchange"
    assert choose(lambda x: x.flatten(1)[:, :10], "on") is None, "no module"
    assert speed.choose(net, digits, 10**6, torch.bfloat16, "on") is None


class Reading(nn.Module):
    """Reads the geometry of its layer to pad by itself."""

    def __init__(self) -> None:
        super().__init__()
        self.conv, self.linear = nn.Conv2d(1, 4, 3), nn.Linear(256, 10)

    def forward(self, x: Tensor) -> Tensor:
        half = self.conv.kernel_size[0] // 2
        return self.linear(self.conv(F.pad(x, [half] * 4)).flatten(1))


def test_code_that_reads_the_geometry_of_its_layers_goes_on(digits):
    found = speed.choose(Reading(), digits, 10**6, torch.float32, "on")
    assert found is not None
    assert found.logits < 1e-5


def test_code_that_fails_on_other_layers_has_no_stand_in(digits):
    class Strict(Reading):
        def forward(self, x: Tensor) -> Tensor:
            assert type(self.conv) is nn.Conv2d
            return super().forward(x)

    assert speed.choose(Strict(), digits, 10**6, torch.float32, "on") is None


class Noisy(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(1, 10, 8)

    def forward(self, x: Tensor) -> Tensor:
        return self.conv(x + 0.01 * torch.randn_like(x)).flatten(1)


class Peeking(nn.Module):
    """Uses the weight of a convolution besides calling it, which folding changes."""

    def __init__(self) -> None:
        super().__init__()
        self.conv, self.norm = nn.Conv2d(1, 10, 8), nn.BatchNorm2d(10)

    def forward(self, x: Tensor) -> Tensor:
        return self.norm(self.conv(x)).flatten(1) + F.conv2d(x, self.conv.weight).flatten(1)


@pytest.mark.parametrize("kind", [Noisy, Peeking])
def test_none_that_does_not_agree(kind, digits):
    model = lived_in(kind()).float()
    assert speed.choose(model, digits, 10**6, torch.float32, "on") is None


def test_a_model_that_cannot_take_another_layout_keeps_its_own(digits):
    class Viewing(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.first, self.conv = nn.Conv2d(1, 4, 3, padding=1), nn.Conv2d(4, 4, 3, padding=1)
            self.linear = nn.Linear(256, 10)

        def forward(self, x: Tensor) -> Tensor:
            return self.linear(self.conv(self.first(x)).view(len(x), -1))

    found = speed.choose(Viewing(), digits, 10**6, torch.float32, "on")
    assert found is not None
    assert not found.plan.channels_last


# ------------------------------------------------------------------------------------------- in an evaluation


def test_an_evaluation_gives_the_same_verdicts_with_it(net, digits, tmp_path):
    some = data.load("digits", "test", limit=64)
    found = {
        use: evaluate(net, some, Linf(eps=0.05), PGD(steps=5), batch=32, stand_in=use, out=tmp_path / use)
        for use in ("on", "off")
    }
    assert torch.equal(found["on"].records["broken"], found["off"].records["broken"])
    run = json.loads((tmp_path / "on" / "run.json").read_text())
    chosen = run["choices"]["stand_in"]
    assert set(chosen["forms"]) == {"conv1", "conv2"}
    assert chosen["logits"] <= 1e-4
    assert json.loads((tmp_path / "off" / "run.json").read_text())["choices"]["stand_in"] is None
    assert found["on"].passes["backward"] > 0


def test_a_resumed_run_uses_the_same_one(net, digits, tmp_path):
    some = data.load("digits", "test", limit=60)

    def ask(out, use="on", resume=False):
        threat, attack = Linf(eps=0.05), PGD(steps=3)
        return evaluate(net, some, threat, attack, batch=30, shard_size=20, stand_in=use, out=out, resume=resume)

    whole, again = tmp_path / "whole", tmp_path / "again"
    ask(whole)
    for entry in (whole / "shards", whole):
        (again / entry.relative_to(whole)).mkdir(parents=True, exist_ok=True)
    for name in ("run.json", "checks.json"):
        (again / name).write_bytes((whole / name).read_bytes())
    shards = sorted((whole / "shards").iterdir())
    (again / "shards" / shards[0].name).write_bytes(shards[0].read_bytes())
    ask(again, resume=True)
    for entry in shards:
        assert (again / "shards" / entry.name).read_bytes() == entry.read_bytes()
    with pytest.raises(RunError, match="stand_in"):
        ask(again, use="off", resume=True)


def test_what_only_the_stand_in_sees_is_attacked_again(net, digits, tmp_path, monkeypatch):
    """A stand-in that takes every picture for broken at once must not make a model look robust."""

    class Lying(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            return torch.eye(10)[(net(x).argmax(1) + (x.mean() > -1)) % 10] * (1 + 0 * x.sum())

    some = data.load("digits", "test", limit=40)
    honest = evaluate(net, some, Linf(eps=0.2), PGD(steps=5), batch=40, stand_in="off")
    monkeypatch.setattr(job.Job, "_run", _counting(job.Job._run, calls := []))
    monkeypatch.setattr(speed, "build", lambda model, chosen: Lying())
    found = evaluate(net, some, Linf(eps=0.2), PGD(steps=5), batch=40, checks=False)
    assert [type(model) for model in calls] == [Lying, type(net)]
    assert torch.equal(found.records["broken"], honest.records["broken"])
    assert torch.equal(found.records["untouched"], torch.ones_like(found.records["untouched"]))


def _counting(function, calls):
    def counted(self, model, *rest):
        calls.append(model)
        return function(self, model, *rest)

    return counted


def test_a_wrong_word():
    line = ["evaluate", "--model", "cnn", "--data", "digits", "--eps", "0.1", "--stand-in", "perhaps"]
    result = CliRunner().invoke(app, line)
    assert result.exit_code == 2
    assert "allowed: auto, on, off" in result.stderr
    with pytest.raises(OptionError, match="known: auto, off, on"):
        evaluate(nn.Flatten(), data.load("digits", "test", limit=4), Linf(eps=0.1), stand_in="perhaps")
