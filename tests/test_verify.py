"""The verifier finds out on its own what is true of returned pictures."""

import ast
import inspect
from pathlib import Path

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from holdfast import threats
from holdfast.draws import Draws
from holdfast.errors import AttackDidNothing, DataError, ModelError, OptionError
from holdfast.evaluate.rerender import sizes
from holdfast.evaluate.verify import NORMS, Meter, slack, verify


class Sides(nn.Module):
    """Class 1 where the first value exceeds 0.5, else class 0; not finite where it exceeds 0.95."""

    def forward(self, x):
        first = x.flatten(1)[:, 0]
        logits = torch.stack([torch.full_like(first, 0.5), first], 1)
        return torch.where(first[:, None] > 0.95, torch.nan, logits)


def pictures(*first, width=4, dtype=torch.float32):
    x = torch.full((len(first), 1, 1, width), 0.25, dtype=dtype)
    x[:, 0, 0, 0] = torch.tensor(first, dtype=dtype)
    return x


def judged(x, x_adv, y=None, model=None, **options):
    y = torch.zeros(len(x), dtype=torch.int64) if y is None else torch.tensor(y)
    options = {"norm": "linf", "eps": 0.3, "batch": 2, **options}
    return verify(model or Sides(), x, x_adv, y, **options)


def test_a_success_is_one():
    seen = judged(pictures(0.3, 0.4), pictures(0.55, 0.45))
    assert seen.success.tolist() == [True, False]
    assert seen.prediction.tolist() == [0, 0]
    assert seen.prediction_adv.tolist() == [1, 0]
    assert seen.passes == 5
    torch.testing.assert_close(seen.size, torch.tensor([0.25, 0.05], dtype=torch.float64), rtol=1e-6, atol=0)
    torch.testing.assert_close(seen.confidence_adv[0], torch.tensor([0.5, 0.55]).softmax(0)[1])


@pytest.mark.parametrize(
    ("given", "returned", "fault"),
    [
        (0.4, 0.75, "inside_eps"),
        (0.9, 1.05, "inside_box"),
        (0.9, 0.97, "finite"),
        (0.4, float("nan"), "finite"),
        (0.4, float("inf"), "finite"),
    ],
)
def test_what_is_no_success(given, returned, fault):
    seen = judged(pictures(given, 0.3), pictures(returned, 0.6), [1 if given > 0.5 else 0, 0])
    assert seen.success.tolist() == [False, True]
    assert not getattr(seen, fault)[0]
    assert getattr(seen, fault)[1]
    if fault == "finite":
        assert (seen.prediction_adv[0], seen.confidence_adv[0]) == (-1, 0)


def test_a_targeted_goal_is_its_class_alone():
    model = nn.Sequential(nn.Flatten(), nn.Linear(3, 3, bias=False))
    with torch.no_grad():
        model[1].weight.copy_(torch.eye(3))
    x, y = torch.tensor([[0.6, 0.5, 0.4]] * 2).view(2, 1, 1, 3), torch.tensor([0, 0])
    x_adv = torch.tensor([[0.5, 0.6, 0.4], [0.5, 0.4, 0.6]]).view(2, 1, 1, 3)
    seen = verify(model, x, x_adv, y, norm="linf", eps=0.3, target=torch.tensor([2, 2]))
    assert seen.success.tolist() == [False, True]
    assert not seen.start_wrong.any()
    at_goal = verify(model, x, x_adv, y, norm="linf", eps=0.3, target=torch.tensor([0, 2]))
    assert at_goal.start_wrong.tolist() == [True, False]


def test_a_picture_wrong_from_the_start_must_come_back_unchanged():
    seen = judged(pictures(0.6, 0.7, 0.3), pictures(0.6, 0.71, 0.55))
    assert seen.start_wrong.tolist() == [True, True, False]
    assert seen.untouched_when_start_wrong.tolist() == [True, False, True]
    assert seen.unchanged.tolist() == [True, False, False]


@pytest.mark.parametrize(
    ("low", "high", "returned", "rounded"),
    [
        (0.0, 1.0, 127.6 / 255, 128 / 255),
        (0.0, 255.0, 127.6, 128.0),
        (-1.0, 1.0, 2 * 127.6 / 255 - 1, 2 * 128 / 255 - 1),
    ],
)
def test_eight_bits_are_256_levels_of_the_box(low, high, returned, rounded):
    class Below(nn.Module):
        """Class 1 below a threshold between the returned value and its level."""

        def forward(self, x):
            first = x.flatten(1)[:, 0]
            return torch.stack([first, torch.full_like(first, (returned + rounded) / 2)], 1)

    x, x_adv = torch.full((2, 1, 1, 1), high), torch.full((2, 1, 1, 1), returned)
    x_adv[1] = low
    seen = judged(x, x_adv, model=Below(), eps=high - low, low=low, high=high)
    assert seen.success.tolist() == [True, True]
    assert seen.success_8bit.tolist() == [False, True]
    torch.testing.assert_close(seen.size_8bit[0].item(), high - rounded, rtol=1e-5, atol=0)


@given(st.integers(0, 10**6), st.sampled_from(sorted(NORMS)))
@settings(max_examples=30)
def test_norms_agree_with_sums_written_out(seed, norm):
    delta = torch.randn(3, 2, 5, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    delta[delta.abs() < 0.4] = 0
    expected = []
    for row in delta.tolist():
        values = [abs(value) for channel in row for value in channel]
        plain = {"linf": max(values), "l1": sum(values), "l2": sum(v * v for v in values) ** 0.5}
        pixels = sum(any(channels) for channels in zip(*row, strict=True))
        expected.append({**plain, "l0": float(sum(v != 0 for v in values)), "pixels": float(pixels)}[norm])
    torch.testing.assert_close(NORMS[norm](delta), torch.tensor(expected, dtype=torch.float64))


@given(st.integers(0, 10**6), st.sampled_from(sorted(NORMS)), st.sampled_from([(0.0, 1.0), (-3.0, 2.0), (0.0, 255.0)]))
@settings(max_examples=30)
def test_slack_admits_every_honest_projection(seed, norm, box):
    low, high = box
    generator = torch.Generator().manual_seed(seed)
    x = low + (high - low) * torch.rand(4, 1, 8, 8, generator=generator)
    eps = (1.0 if norm in ("l0", "pixels") else high - low) * {
        "linf": 0.1,
        "l2": 1.0,
        "l1": 5.0,
        "l0": 5.0,
        "pixels": 5.0,
    }[norm]
    threat = threats.build(norm, eps=eps, low=low, high=high)
    wild = x + (high - low) * torch.randn(x.shape, generator=generator)
    for x_adv in (threat.project(wild, x), threat.sample(x, Draws(seed, torch.arange(4)))):
        size = NORMS[norm]((x_adv.double() - x.double()).flatten(2))
        assert (size <= eps + slack(norm, eps, low, high, 64, x.dtype)).all()


@pytest.mark.parametrize("norm", ["linf", "l2", "l1"])
def test_slack_forgives_no_real_excess(norm):
    assert 0 < slack(norm, 0.1, 0.0, 1.0, 784, torch.float32) < 1e-4
    assert slack("l0", 3, 0.0, 1.0, 784, torch.float32) == 0
    x, x_adv = torch.zeros(1, 1, 1, 4), torch.zeros(1, 1, 1, 4)
    x_adv[..., 1] = 0.1001
    assert not judged(x, x_adv, norm=norm, eps=0.1).inside_eps.any()


def test_an_attack_that_moved_nothing_is_refused():
    x = pictures(0.3, 0.6)
    with pytest.raises(
        AttackDidNothing, match=r"all 1 pictures unchanged at eps=0\.3; allowed: at least one must move"
    ):
        judged(x, x.clone())
    assert not judged(x, x.clone(), eps=0.0).success[0]
    assert judged(pictures(0.6), pictures(0.6)).success.all()  # nothing was right, so nothing had to move
    assert judged(x, x.clone(), refuse_nothing=False).unchanged.all()


def test_a_gradient_attack_without_a_backward_pass_is_refused():
    x, x_adv = pictures(0.3, 0.4), pictures(0.55, 0.41)
    with pytest.raises(AttackDidNothing, match="1 pictures standing without one backward pass; allowed: at least one"):
        judged(x, x_adv, needs_gradient=True, backward=0)
    assert judged(x, x_adv, needs_gradient=True, backward=1).success[0]
    assert judged(x, x_adv, needs_gradient=True, backward=None).success[0]
    assert judged(x[:1], x_adv[:1], needs_gradient=True, backward=0).success.all()  # broken before any gradient


def test_wrong_arguments_are_refused():
    x = pictures(0.3)
    known = "colour, flow, l0, l1, l2, linf, patch, pixels, rotation"
    with pytest.raises(OptionError, match=f"unknown norm 'linff'; known: {known}"):
        judged(x, x, norm="linff")
    with pytest.raises(ModelError, match=r"allowed: like the originals, \(1, 1, 1, 4\)"):
        judged(x, x.double())
    with pytest.raises(DataError, match="no pictures to verify"):
        judged(x[:0], x[:0])


def test_the_model_is_used_in_evaluation_mode_and_given_back():
    model = nn.Sequential(nn.Flatten(), nn.Dropout(0.999), nn.Linear(4, 2, bias=False)).train()
    model[0].eval()
    with torch.no_grad():
        model[2].weight.copy_(torch.tensor([[0.0, 1.0, 1.0, 1.0], [1.5, 0.0, 0.0, 0.0]]))
    seen = judged(pictures(0.4, 0.6), pictures(0.55, 0.6), model=model)
    assert seen.prediction_adv.tolist() == [1, 1]
    assert seen.prediction.tolist() == [0, 1]
    assert [m.training for m in model.modules()] == [True, False, True, True]
    assert model[2].weight.grad is None


def test_batches_do_not_matter():
    x, x_adv = pictures(*torch.linspace(0.2, 0.9, 7).tolist()), pictures(*torch.linspace(0.3, 0.7, 7).tolist())
    one, many = (judged(x, x_adv, batch=b) for b in (7, 2))
    for name, value in vars(one).items():
        other = getattr(many, name)
        assert torch.equal(value, other) if isinstance(value, torch.Tensor) else value == other


def test_meter_counts_rows_both_ways_and_leaves_no_hook():
    model = nn.Linear(3, 2)
    with Meter(model) as meter:
        model(torch.zeros(5, 3))
        x = torch.zeros(4, 3, requires_grad=True)
        logits = model(x)
        torch.autograd.grad(logits[:, 0].sum(), x, retain_graph=True)
        torch.autograd.grad(logits[:, 1].sum(), x)
    assert (meter.forward, meter.backward, meter.counts) == (9, 8, True)
    model(torch.zeros(5, 3))
    assert meter.forward == 9
    with pytest.raises(ValueError, match="stop"), Meter(model):
        raise ValueError("stop")
    assert not model._forward_hooks


def test_meter_says_that_it_cannot_count_a_bare_function():
    with Meter(lambda x: x) as meter:
        pass
    assert not meter.counts


def test_verifier_imports_nothing_that_it_verifies():
    allowed = {verify: ["holdfast.errors", "holdfast.evaluate.rerender"], sizes: []}
    for part, modules in allowed.items():
        tree = ast.parse(Path(inspect.getsourcefile(part)).read_text())
        named = [node.module for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)]
        assert [module for module in named if module.startswith("holdfast")] == modules


def test_a_model_in_place_changes_nothing_that_is_measured():
    x, x_adv = pictures(0.3, 0.4), pictures(0.55, 0.45)
    seen = judged(x, x_adv, model=lambda x: Sides()(x.mul_(0.5) * 2))
    assert torch.equal(x, pictures(0.3, 0.4))
    assert torch.equal(x_adv, pictures(0.55, 0.45))
    torch.testing.assert_close(seen.size, torch.tensor([0.25, 0.05], dtype=torch.float64), rtol=1e-6, atol=0)
