"""On a CUDA device: the same noise to the bit, the same verdicts, and few waits."""

import pytest
import torch

from holdfast.attacks import FGSM, IFGSM, MIFGSM, PGD, Noise, run
from holdfast.augment import AUGMENTATIONS, augmented, build
from holdfast.draws import Draws
from holdfast.threats import L1, L2, Linf
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
