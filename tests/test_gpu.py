"""On a CUDA device: the same noise to the bit, the same verdicts, and few waits."""

import copy

import pytest
import torch

from holdfast import data, models, train
from holdfast.attacks import FGSM, IFGSM, MIFGSM, PGD, Noise, run
from holdfast.augment import AUGMENTATIONS, augmented, build
from holdfast.corrupt import CORRUPTIONS, corrupted
from holdfast.draws import Draws
from holdfast.models import Recalibrated
from holdfast.threats import L1, L2, Linf
from holdfast.train import Adversary, Recipe, TrainOptions, card_for
from holdfast.uncertainty import RECALIBRATIONS, answers
from holdfast.uncertainty import build as recalibration
from nets import small_net, tiny_case

pytestmark = pytest.mark.gpu
TRANSFERRING = MIFGSM(look_ahead=True, scales=2, diversity=0.5, smallest=0.5, kernel=3, neighbours=2)


@pytest.mark.parametrize("method", ["uniform", "normal", "exponential"])
def test_noise_has_the_same_bits(method):
    picture = torch.arange(7)
    like = torch.zeros(7, 3, 5, 5)
    here = getattr(Draws(3, picture), method)(like)
    there = getattr(Draws(3, picture.cuda()), method)(like.cuda())
    assert torch.equal(here, there.cpu())


@pytest.mark.parametrize("threat", [Linf(eps=0.15), L2(eps=0.5), L1(eps=1.0)], ids=lambda t: t.name)
@pytest.mark.parametrize("attack", [FGSM(), IFGSM(), MIFGSM(), TRANSFERRING, PGD(steps=10), Noise()], ids=repr)
def test_same_verdicts_as_on_the_cpu(attack, threat):
    case = tiny_case()
    here = run(attack, case.model, case.x, case.y, threat, seed=7)
    model = small_net().cuda()
    model.load_state_dict(case.model.state_dict())
    there = run(attack, model, case.x, case.y, threat, seed=7)
    assert there.x_adv.device.type == "cpu"
    assert torch.equal(here.success, there.success)
    torch.testing.assert_close(here.size, there.size, atol=1e-6, rtol=1e-5)


@pytest.mark.parametrize("name", AUGMENTATIONS)
def test_pictures_and_masks_are_augmented_as_on_the_cpu(name):
    x, place = torch.rand(16, 3, 20, 24, dtype=torch.float64), torch.arange(16)
    masks = None if name == "augmix" else (5 * x[:, 0]).long()
    here = augmented(x, [build(name)], seed=3, place=place, masks=masks)
    there = augmented(x.cuda(), [build(name)], seed=3, place=place, masks=None if masks is None else masks.cuda())
    for own, other in zip(*[found if isinstance(found, tuple) else (found,) for found in (here, there)], strict=True):
        assert other.device.type == "cuda"
        # Where rounding crosses the middle between two levels or pixels, the answer may be the other one.
        assert ((own - other.cpu()).abs() > 1e-6).double().mean() < 0.01


@pytest.mark.parametrize("name", CORRUPTIONS)
def test_pictures_are_corrupted_as_on_the_cpu(name):
    x, place = torch.rand(16, 3, 20, 24, generator=torch.Generator().manual_seed(0)), torch.arange(16)
    for severity in (1, 5):
        here = corrupted(x, name, severity, seed=3, place=place)
        there = corrupted(x.cuda(), name, severity, seed=3, place=place.cuda())
        assert there.device.type == "cuda"
        # Where rounding decides between two 8-bit levels, or between a drop and none, the answer may be the other one.
        assert ((here - there.cpu()).abs() > 1e-5).double().mean() < 0.01


@pytest.mark.parametrize("name", CORRUPTIONS)
def test_any_split_is_corrupted_to_the_same_bits(name):
    x, place = torch.rand(16, 3, 20, 24, generator=torch.Generator().manual_seed(0)).cuda(), torch.arange(16).cuda()
    whole = corrupted(x, name, 4, seed=3, place=place)
    parts = [corrupted(a, name, 4, seed=3, place=b) for a, b in zip(x.split(5), place.split(5))]
    assert torch.equal(whole, torch.cat(parts))


def test_rounds_do_not_wait_for_the_device():
    case = tiny_case()
    model = case.model.cuda()
    torch.cuda.set_sync_debug_mode("warn")
    try:
        with pytest.warns(UserWarning, match="synchroniz") as waits:
            run(PGD(steps=40), model, case.x, case.y, Linf(eps=1e-6), aim="highest_loss")
    finally:
        torch.cuda.set_sync_debug_mode("default")
    assert len(waits) < 40


LEARNING = TrainOptions(epochs=2, batch=50, precision="bfloat16", channels_last=True)


@pytest.mark.parametrize(
    "adversary", [None, Adversary(PGD(steps=2, step_size=0.5), Linf(eps=0.1))], ids=["", "against"]
)
def test_training_in_bfloat16_goes_on_after_a_kill(tmp_path, adversary):
    pictures, validation = data.load("digits", "train", limit=500), data.load("digits", "validation", limit=100)
    card = card_for("cnn", pictures, {"batch_norm": True, "dropout": 0.2})
    recipe = Recipe(options=LEARNING, adversary=adversary)
    rest = {"recipe": recipe, "validation": validation, "device": "cuda"}

    def kill(epoch):
        raise KeyboardInterrupt

    whole = train.train(card, pictures, out=tmp_path / "whole", **rest)
    with pytest.raises(KeyboardInterrupt):
        train.train(card, pictures, out=tmp_path / "run", on_epoch=kill, **rest)
    again = train.train(card, pictures, out=tmp_path / "run", resume=True, **rest)
    assert {weight.device.type for weight in again.model.parameters()} == {"cuda"}
    assert whole.history[-1].loss < whole.history[0].loss
    assert again.history[0] == whole.history[0] or again.history[0].loss == pytest.approx(
        whole.history[0].loss, rel=0.05
    )
    assert again.history[1].loss == pytest.approx(whole.history[1].loss, rel=0.1)  # cuDNN may add up in another order
    assert models.load(tmp_path / "run")[1].training["epochs"] == 2


def test_training_gives_the_generators_back():
    pictures = data.load("digits", "train", limit=100)
    torch.manual_seed(1)
    expected = torch.rand(3, device="cuda")
    torch.manual_seed(1)
    card = card_for("cnn", pictures, {"dropout": 0.5})
    train.train(card, pictures, recipe=Recipe(options=TrainOptions(epochs=1, batch=50)), device="cuda")
    assert torch.equal(torch.rand(3, device="cuda"), expected)


@pytest.mark.parametrize("name", RECALIBRATIONS)
def test_a_recalibrated_model_answers_and_is_attacked_as_on_the_cpu(name):
    pictures = data.load("digits", "test", limit=200)
    net = small_net(64, 10).eval()
    logits = answers(net, pictures)
    made = recalibration(name).fit(logits, logits.argmax(1).where(torch.arange(200) % 5 > 0, pictures.labels))
    here = Recalibrated(net, made)
    there = copy.deepcopy(here).cuda()
    x = pictures.x(dtype=torch.float64)
    torch.testing.assert_close(there(x.cuda()).cpu(), here(x), atol=1e-8, rtol=1e-8)
    found = [run(PGD(steps=3), model, x[:20], here(x[:20]).argmax(1), Linf(eps=0.1), seed=7) for model in (here, there)]
    assert torch.equal(found[0].success, found[1].success)
