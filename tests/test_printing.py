"""Rough patterns and colours that no printer has: by hand, and as a price that an attack pays."""

import numpy as np
import pytest
import torch
from PIL import Image

from holdfast.attacks import APGD, FABT, PGD, HopSkipJump, LaVAN, Penalised, run
from holdfast.attacks.penalised import read_palette
from holdfast.cli import common
from holdfast.errors import OptionError
from holdfast.losses.printing import PALETTE, non_printability, total_variation
from holdfast.options import to_plain
from holdfast.threats import Patch
from nets import linear, tiny_case
from test_views import Listening


def test_total_variation_by_hand():
    x = torch.tensor([[[[0.0, 0.3], [0.4, 1.0]], [[1.0, 1.0], [1.0, 1.0]]]])
    expected = (0.3**2 + 0.4**2) ** 0.5 + 0.7 + 0.6
    torch.testing.assert_close(total_variation(x), torch.tensor([expected]))
    top = torch.tensor([[True, True], [False, False]])
    torch.testing.assert_close(total_variation(x, top), torch.tensor([0.3]))
    assert total_variation(torch.full((3, 2, 4, 4), 0.7)).tolist() == [0, 0, 0]


def test_slopes_of_total_variation():
    x = torch.rand(2, 2, 4, 5, generator=torch.Generator().manual_seed(0), dtype=torch.float64).requires_grad_()
    mask = torch.rand(4, 5, generator=torch.Generator().manual_seed(1)) < 0.7
    assert torch.autograd.gradcheck(lambda v: total_variation(v, mask), x)
    flat = torch.full((1, 1, 3, 3), 0.5, requires_grad=True)
    (slope,) = torch.autograd.grad(total_variation(flat).sum(), flat)
    assert (slope == 0).all()
    with pytest.raises(OptionError, match=r"x of shape \(2, 3\); allowed: pictures"):
        total_variation(torch.zeros(2, 3))


def test_non_printability_by_hand():
    palette = torch.tensor([[0.0, 0.0, 0.0], [1.0, 0.0, 0.0]])
    x = torch.tensor([[1.0, 0.3], [0.0, 0.4], [0.0, 0.0]]).view(1, 3, 1, 2)  # printable; 0.5 from black, 0.81 from red
    torch.testing.assert_close(non_printability(x, palette), torch.tensor([0.5]))
    far = (0.7**2 + 0.4**2) ** 0.5
    torch.testing.assert_close(non_printability(x, palette, form="product"), torch.tensor([0.5 * far]))
    left = torch.tensor([[True, False]])
    assert non_printability(x, palette, left).tolist() == [0]
    colours = PALETTE.T.reshape(1, 3, 27, 1)
    assert len(PALETTE.unique(dim=0)) == 27
    assert non_printability(colours).tolist() == [0]
    grey = torch.tensor([0.1, 0.5, 0.9, 0.7]).view(1, 1, 2, 2)
    torch.testing.assert_close(non_printability(grey), torch.tensor([0.2]))


def test_slopes_of_non_printability():
    x = torch.rand(2, 3, 3, 2, generator=torch.Generator().manual_seed(0), dtype=torch.float64).requires_grad_()
    palette = torch.rand(4, 3, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    for form in ("nearest", "product"):
        assert torch.autograd.gradcheck(lambda v, form=form: non_printability(v, palette, form=form), x)
    exact = palette[0].view(1, 3, 1, 1).clone().requires_grad_()
    (slope,) = torch.autograd.grad(non_printability(exact, palette).sum(), exact)
    assert (slope == 0).all()
    for wrong in (torch.zeros(2, 1), torch.zeros(0, 3), torch.zeros(3)):
        with pytest.raises(OptionError, match=r"for pictures of 3 channels; allowed: \(P, 3\), a row a colour"):
            non_printability(x, wrong)
    with pytest.raises(OptionError, match=r"x of shape \(2, 3\); allowed: pictures"):
        non_printability(torch.zeros(2, 3))


def test_the_price_comes_off_loss_and_gradient():
    x = torch.rand(3, 1, 4, 5, generator=torch.Generator().manual_seed(3), dtype=torch.float64)
    model = linear(torch.eye(20)[:2].double(), torch.tensor([9.0, 0.0]).double())
    threat, y = Patch(eps=3, place=(1, 1)), torch.zeros(3).long()
    plain, priced = [], []
    run(Listening(heard=plain), model, x, y, threat)
    run(Penalised(attack=Listening(heard=priced), tv=0.5, nps=0.2, palette=((0.2,), (0.8,))), model, x, y, threat)
    allowed = torch.zeros(4, 5, dtype=torch.bool)
    allowed[1:4, 1:4] = True
    point = x.clone().requires_grad_()
    palette = torch.tensor([[0.2], [0.8]]).double()
    price = 0.5 * total_variation(point, allowed) + 0.2 * non_printability(point, palette, allowed)
    (slope,) = torch.autograd.grad(price.sum(), point)
    torch.testing.assert_close(priced[0][1].loss, plain[0][1].loss - price.detach())
    torch.testing.assert_close(priced[0][1].gradient, plain[0][1].gradient - slope)
    assert (slope[:, :, 0] == 0).all()


@pytest.mark.parametrize("attack", [PGD(steps=20), LaVAN(steps=20), APGD(steps=20)], ids=lambda a: a.name)
def test_a_high_price_makes_patches_smooth_and_printable(attack):
    case, threat = tiny_case(20), Patch(eps=3)
    options = {"seed": 1, "aim": "highest_loss"}
    plain = run(attack, case.model, case.x, case.y, threat, **options)
    free = run(Penalised(attack=attack), case.model, case.x, case.y, threat, **options)
    assert torch.equal(free.x_adv, plain.x_adv)
    last = []

    class Watching(Penalised):
        def priced(self, at, answer):
            last.append(answer.points)
            return super().priced(at, answer)

    def ends(**prices):
        last.clear()
        run(Watching(attack=attack, **prices), case.model, case.x, case.y, threat, **options)
        return last[-1]

    assert total_variation(ends(tv=100.0)).mean() < 0.7 * total_variation(ends()).mean()
    assert non_printability(ends(nps=100.0)).mean() < 0.7 * non_printability(ends()).mean()


def test_wrong_prices_say_how_to_mend_them():
    with pytest.raises(OptionError, match="fab-t takes losses for distances"):
        Penalised(attack=FABT(), tv=0.1)
    with pytest.raises(OptionError, match=r"Penalised: tv=-1; allowed: a finite number, 0 or above"):
        Penalised(attack=PGD(), tv=-1)
    with pytest.raises(
        OptionError, match=r"Penalised: hop-skip-jump asks for labels; allowed: an attack that asks for"
    ):
        Penalised(attack=HopSkipJump(), tv=1.0)
    with pytest.raises(OptionError, match="not wrapped so yet"):
        Penalised(attack=Penalised(attack=PGD()))


def test_palettes_from_files(tmp_path):
    colours = np.array([[0.0, 0.2, 1.0], [0.4, 0.4, 0.4]])
    np.save(tmp_path / "p.npy", colours)
    (tmp_path / "p.csv").write_text("0,0.2,1\n0.4,0.4,0.4\n")
    Image.fromarray((colours * 255).astype(np.uint8)[:, None].repeat(3, 1)).save(tmp_path / "p.png")
    for name in ("p.npy", "p.csv", "p.png"):
        np.testing.assert_allclose(read_palette(tmp_path / name), colours, atol=1e-6)
    Image.fromarray(np.array([[0, 255]], np.uint8)).save(tmp_path / "grey.png")
    assert read_palette(tmp_path / "grey.png") == ((0.0,), (1.0,))
    (tmp_path / "bad.csv").write_text("0,2,1\n")
    (tmp_path / "words.csv").write_text("red\n")
    for name in ("bad.csv", "words.csv", "none.png"):
        with pytest.raises(
            OptionError, match=f"palette .*{name}' cannot be read: .*; allowed: 1 to 256 colours in .0, 1."
        ):
            read_palette(tmp_path / name)
    prices = common.penalties(["tv=1/2", f"palette={tmp_path / 'p.csv'}"])
    (attack,) = common.penalised((PGD(),), prices)
    assert (attack.tv, attack.nps, len(attack.palette)) == (0.5, 0.0, 2)
    assert to_plain(attack)["palette"][0] == [0.0, 0.2, 1.0]
