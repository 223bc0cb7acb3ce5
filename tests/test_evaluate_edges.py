"""Bad input is refused in one clear line, before any work."""

import pytest
import torch
from torch import nn

from evaluate_models import digits, honest
from holdfast.attacks import PGD
from holdfast.data import Pictures
from holdfast.errors import DataError, ModelError, OptionError
from holdfast.evaluate import evaluate, suite
from holdfast.threats import L1, L2, Linf


class Answering(nn.Module):
    """Answers each picture as `answer(x)` says."""

    def __init__(self, answer):
        super().__init__()
        self.answer = answer

    def forward(self, x):
        return self.answer(x)


def refused(error, model=None, pictures=None, threat=None, **options):
    pictures = digits().take(slice(0, 12)) if pictures is None else pictures
    with pytest.raises(error) as caught:
        evaluate(model or honest(), pictures, threat or Linf(eps=0.1), PGD(steps=2), **options)
    text = str(caught.value)
    assert "\n" not in text
    return text


@pytest.mark.parametrize(
    ("answer", "says"),
    [
        (lambda x: x.flatten(1)[:, 0], "answered 8 pictures with (8,); allowed: a float tensor (8, K)"),
        (lambda x: x.flatten(1)[:, :1], "with (8, 1); allowed"),
        (lambda x: x.flatten(1)[:5], "with (5, 64); allowed"),
        (lambda x: (x, x), "with tuple; allowed"),
        (lambda x: x.flatten(1).argmax(1), "with (8,); allowed"),
        (lambda x: x.flatten(1).long(), "torch.int64; allowed: floating-point logits"),
        (lambda x: x.flatten(1)[:, :10] / 0, "8 of 8 unchanged pictures with NaN or infinity"),
        (lambda x: x.flatten(1)[:, :5], "the model gives 5 logits but digits has label"),
        (lambda x: x @ torch.zeros(3, 3), "the model failed on 8 pictures of shape (1, 8, 8): RuntimeError"),
        (lambda x: nn.functional.batch_norm(x.flatten(1), None, None, training=True), "failed on a single picture"),
    ],
)
def test_models_that_do_not_answer_as_models_must(answer, says):
    text = refused(ModelError, Answering(answer))
    assert says in text
    assert "llowed" in text


def test_a_picture_far_down_may_not_be_nan_either():
    def answer(x):
        return torch.where(x.flatten(1).sum(1, keepdim=True) > 63, torch.nan, honest()(x))

    images = torch.full((30, 1, 8, 8), 0.5)
    images[20] = 1.0
    pictures = Pictures.from_arrays(images, torch.zeros(30, dtype=torch.int64))
    assert "1 of 30 unchanged pictures" in refused(ModelError, Answering(answer), pictures, checks=False)


def test_pictures_outside_the_box():
    x = digits().x(slice(0, 12))
    text = refused(DataError, pictures=Pictures.from_arrays(255 * x, digits().labels[:12], name="mine"))
    assert "mine: values from 0 to 255; allowed: the threat's box, 0 to 1. They seem to be on a 0 to 255 scale" in text
    text = refused(DataError, pictures=Pictures.from_arrays(x - 0.5, digits().labels[:12]))
    assert "Normalisation belongs inside the model" in text
    assert "255 scale" not in text


def test_an_empty_set():
    assert "no pictures in split 'test'" in refused(DataError, pictures=digits().take(slice(0, 0)))


@pytest.mark.parametrize(
    ("threat", "eps", "says"),
    [
        (Linf(eps=0.1), 1.5, "allowed: up to 1, the linf size of the whole box [0, 1]"),
        (Linf(eps=0.1), [0.1, 8], "eps=8; allowed"),
        (L2(eps=0.1), 8.1, "up to 8, the l2 size"),
        (L1(eps=0.1), 65.0, "up to 64, the l1 size"),
        (Linf(eps=0.1), [], "at least one radius"),
        (Linf(eps=0.1), [0.1, 0.1], "each named once"),
        (Linf(eps=0.1), -0.1, "allowed: 0 <= eps"),
        (Linf(eps=0.1), float("nan"), "allowed: 0 <= eps"),
        (Linf(eps=torch.full((12,), 0.1)), None, "eps is one radius a picture"),
    ],
)
def test_radii_outside_the_box(threat, eps, says):
    assert says in refused(OptionError, threat=threat, eps=eps)


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"batch": 0}, "batch=0; allowed: 1 or more pictures, or 'auto'"),
        ({"shard_size": 0}, "shard_size=0; allowed: 1 or more"),
        ({"shard": (3, 2)}, "shard 3/2; allowed: i/n with 1 <= i <= n"),
    ],
)
def test_options_out_of_range(options, says):
    assert says in refused(OptionError, **options)


def test_other_words():
    with pytest.raises(OptionError, match=r"attack=\[\]; allowed: at least one attack"):
        evaluate(honest(), digits(), Linf(eps=0.1), [])
    with pytest.raises(OptionError, match=r"unknown suite 'quik'; known: .*Did you mean 'quick'"):
        suite("quik")


def test_a_threat_that_the_verifier_cannot_measure():
    class Odd(Linf):
        name = "odd"

    assert "unknown norm to verify 'odd'; known: colour, flow, l0, l1, l2, linf, patch, pixels" in refused(
        OptionError, threat=Odd(eps=0.1)
    )


def test_radii_may_come_in_any_order():
    made = evaluate(honest(), digits().take(slice(0, 8)), Linf(eps=1.0), PGD(steps=2), eps=(0.2, 0.1), checks=False)
    assert [point.eps for point in made.curve] == [0.1, 0.2]
    assert made.robust == made.curve[-1].robust
