"""Random views of a picture: drawn by key, differentiable, averaged over, and judged by looks of their own."""

import math
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import pytest
import torch
from typer.testing import CliRunner

from evaluate_models import digits, honest
from holdfast.access import Access, Query
from holdfast.attacks import APGD, PGD, EoT, Noise, Square, Views, run
from holdfast.attacks.eot import around, views_of
from holdfast.attacks.reserve import Reserve
from holdfast.attacks.views import Seen, blurred, judging, warped
from holdfast.cli import app
from holdfast.draws import Draws
from holdfast.errors import OptionError
from holdfast.evaluate import evaluate
from holdfast.evaluate.looks import LOOKS, looked_at
from holdfast.lanes import take
from holdfast.losses import Goal, objectives
from holdfast.threats import Linf, Patch
from nets import linear, tiny_case

ALL = Views(rotation=20, perspective=0.3, scale=0.2, light=0.3, blur=1.0, noise=0.05)


def pictures(n=3, shape=(2, 6, 5), dtype=torch.float64):
    return torch.tensor(np.random.default_rng(0).random((n, *shape)), dtype=dtype)


# --- one view ---


def turned(degrees, height, width):
    """The map of a rotation, as a view draws it."""
    exact = Views(rotation=180.0)

    class Given:
        def uniform(self, like, stream=0):
            return torch.full_like(like, (degrees / 180 + 1) / 2)

    return exact.drawn(Given(), torch.zeros(1, 1, height, width), 1, 0.0, 1.0).warp


@pytest.mark.parametrize("turns", [1, 2, 3])
def test_quarter_turns_are_exact(turns):
    x = pictures(1, (2, 5, 5))
    seen = warped(x, turned(90.0 * turns - (360 if turns > 2 else 0), 5, 5))
    torch.testing.assert_close(seen, torch.rot90(x, turns, (2, 3)), rtol=0, atol=1e-6)


def test_a_turn_keeps_lengths_where_the_sides_differ():
    """A point half the height above the middle lands as far to the side of it."""
    warp = turned(90.0, 9, 5)[0]
    place = warp @ torch.tensor([0.5, 0.0, 1.0]).double()  # a quarter of the width, in pixels 1.25 of 5
    torch.testing.assert_close(place[:2].abs(), torch.tensor([0.0, 0.5 * 5 / 9]).double(), rtol=0, atol=1e-6)


def test_scale_light_blur_and_noise_by_hand():
    x = pictures(2, (1, 5, 5))
    half = torch.diag(torch.tensor([0.5, 0.5, 1.0])).double()
    larger = warped(x, half.expand(2, 3, 3))
    torch.testing.assert_close(larger[:, :, 2, 2], x[:, :, 2, 2])
    torch.testing.assert_close(larger[:, :, 0, 0], x[:, :, 1, 1])
    dark = Seen(None, torch.tensor([0.5, 2.0]).double(), None, None, 0, -1.0, 1.0)(x)
    torch.testing.assert_close(dark[0], -1 + (x[0] + 1) / 2)
    assert dark[1].max() == 1  # what is brighter than the box is cut off
    torch.testing.assert_close(blurred(x, torch.zeros(2), 3), x)
    flat = torch.full((2, 1, 9, 9), 0.3).double()
    torch.testing.assert_close(blurred(flat, torch.tensor([1.0, 2.0]), 3), flat)
    point = torch.zeros(1, 1, 15, 15).double()
    point[..., 7, 7] = 1
    spread = blurred(point, torch.tensor([1.0]), 5)[0, 0, 7]
    torch.testing.assert_close(spread[8] / spread[7], torch.tensor(math.exp(-0.5)).double())
    noisy = Views(noise=0.05).drawn(Draws(0, torch.arange(200)), torch.zeros(200, 1, 8, 8), 1, 0.0, 2.0).noise
    assert abs(float(noisy.std()) - 0.1) < 0.002


def test_perspective_moves_corners_inwards():
    like = torch.zeros(50, 1, 8, 8)
    warp = Views(perspective=0.4).drawn(Draws(0, torch.arange(50)), like, 1, 0.0, 1.0).warp
    for corner in ([-1.0, -1.0], [1.0, -1.0], [1.0, 1.0], [-1.0, 1.0]):
        at = warp @ torch.tensor([*corner, 1.0]).double()
        at = at[:, :2] / at[:, 2:]
        assert (at.abs() <= 1 + 1e-9).all()
        assert (at.abs() >= 0.6 - 1e-9).all()
        assert torch.equal(at.sign(), torch.tensor(corner).double().expand(50, 2))


def test_views_belong_to_picture_round_and_look():
    x, draws = pictures(6), Draws(3, torch.arange(6))
    seen = ALL.drawn(draws, x, 2, 0.0, 1.0)
    some = torch.tensor([4, 1])
    torch.testing.assert_close(ALL.drawn(take(draws, some), x[some], 2, 0.0, 1.0)(x[some]), seen(x)[some])
    torch.testing.assert_close(take(seen, some)(x[some]), seen(x)[some])
    for other in (ALL.drawn(draws, x, 3, 0.0, 1.0), ALL.drawn(draws.at(1), x, 2, 0.0, 1.0)):
        assert (other(x) != seen(x)).flatten(1).any(1).all()
    assert seen(x).dtype == torch.float64
    assert ALL.drawn(draws, x.float(), 2, 0.0, 1.0)(x.float()).dtype == torch.float32
    torch.testing.assert_close(ALL.drawn(draws, x.float(), 2, 0.0, 1.0)(x.float()).double(), seen(x), rtol=0, atol=1e-5)
    assert ((seen(x) >= 0) & (seen(x) <= 1)).all()
    state = torch.random.get_rng_state()
    ALL.drawn(draws, x, 2, 0.0, 1.0)(x)
    assert torch.equal(torch.random.get_rng_state(), state)


def test_nothing_varies_where_nothing_is_given():
    x = pictures()
    assert torch.equal(Views().drawn(Draws(0, torch.arange(3)), x, 1, 0.0, 1.0)(x), x)


@pytest.mark.parametrize(
    ("options", "text"),
    [
        ({"rotation": 200.0}, "Views: rotation=200.0; allowed: 0 to 180. For none, leave it out"),
        ({"scale": 1.0}, "Views: scale=1.0; allowed: 0 to 0.99"),
        ({"light": -0.1}, "Views: light=-0.1; allowed: 0 to 1"),
        ({"noise": math.nan}, "Views: noise=nan; allowed: 0 to 1"),
    ],
)
def test_wrong_ranges_say_how_to_mend_them(options, text):
    with pytest.raises(OptionError, match=text):
        Views(**options)
    with pytest.raises(OptionError, match=r"views of inputs of shape \(6,\); allowed: pictures"):
        Views(light=0.1).drawn(Draws(0, torch.arange(2)), torch.zeros(2, 6), 1, 0.0, 1.0)


# --- averaged over ---


@dataclass(frozen=True, kw_only=True)
class Listening:
    """Asks for the gradient at the picture, and keeps what it hears."""

    heard: list
    rounds: int = 2
    name: ClassVar[str] = "listening"
    access: ClassVar[Access] = Access.GRADIENT

    def start(self, case):
        return None, Query(case.x, gradient_of=objectives.margin)

    def step(self, case, state, answer):
        self.heard.append((case, answer))
        return None, Query(case.x, gradient_of=objectives.margin)


@pytest.mark.parametrize(
    "views", [Views(light=0.5), Views(rotation=30, perspective=0.2, scale=0.2, blur=0.8)], ids=repr
)
@pytest.mark.parametrize("batch", [64, 2])
def test_mean_gradient_of_a_linear_model_is_a_closed_form(views, batch):
    """Each view is linear: its matrix, written out from single pixels, takes the weights back to the picture."""
    weight = torch.tensor(np.random.default_rng(2).standard_normal((1, 20)))
    model = linear(torch.cat([-weight / 2, weight / 2]), torch.tensor([50.0, -50.0]).double())
    x, heard = 0.4 * pictures(3, (1, 4, 5)), []
    run(EoT(attack=Listening(heard=heard), samples=4, views=views), model, x, torch.zeros(3).long(), Linf(eps=0.1),
        seed=5, batch=batch)  # fmt: skip
    case, answer = heard[0]
    assert len(case.x) == min(3, batch)
    total = weight.view(1, 1, 4, 5).expand(len(case.x), -1, -1, -1).clone()
    for look in (1, 2, 3):
        view = views.drawn(case.draws.at(0), case.x, look, 0.0, 1.0)
        columns = []
        for pixel in torch.eye(20).double():
            columns.append(
                (view(0.5 * pixel.view(1, 1, 4, 5).expand(len(case.x), -1, -1, -1)) * 2).flatten(1) @ weight[0]
            )
        total += torch.stack(columns, 1).view(-1, 1, 4, 5)
    torch.testing.assert_close(answer.gradient, total / 4)


@pytest.mark.parametrize(
    "attack", [PGD(steps=6), APGD(steps=6), Square(queries=10), Noise(tries=4)], ids=lambda a: a.name
)
def test_views_that_change_nothing_leave_the_attack_as_it_is(attack):
    case = tiny_case(20)
    plain = run(attack, case.model, case.x, case.y, Linf(eps=0.1), seed=7)
    for samples in (2, 4):
        found = run(
            EoT(attack=attack, samples=samples, views=Views()), case.model, case.x, case.y, Linf(eps=0.1), seed=7
        )
        assert torch.equal(found.x_adv, plain.x_adv)
        assert torch.equal(found.success, plain.success)
    with pytest.raises(OptionError, match="samples=1 with views; allowed: 2 or more"):
        EoT(attack=attack, samples=1, views=ALL)


def brightness(threshold=0.5, slope=40.0):
    """Class 1 where the mean is above the threshold."""
    weight = torch.full((1, 16), slope / 16).double()
    return linear(torch.cat([-weight, weight]), torch.tensor([slope * threshold, -slope * threshold]).double())


def test_a_success_is_one_as_it_is_and_in_every_view():
    """Half as bright in some view, a picture must be twice over the threshold to be one."""
    x, y = torch.full((8, 1, 4, 4), 0.3, dtype=torch.float64), torch.zeros(8).long()
    views = Views(light=0.4)
    plain = run(PGD(steps=20), brightness(), x, y, Linf(eps=0.7))
    sturdy = run(EoT(attack=PGD(steps=20), samples=8, views=views), brightness(), x, y, Linf(eps=0.7))
    assert plain.success.all()
    assert sturdy.success.all()
    assert (sturdy.x_adv.flatten(1).mean(1) > plain.x_adv.flatten(1).mean(1)).all()
    held = looked_at(brightness(), x, sturdy.x_adv, Goal(y), views, Linf(eps=0.7), place=torch.arange(8))
    weak = looked_at(brightness(), x, plain.x_adv, Goal(y), views, Linf(eps=0.7), place=torch.arange(8))
    assert held.after.mean() > weak.after.mean()
    assert (held.before == 0).all()


@pytest.mark.parametrize("batch", [256, 3])
def test_shares_of_views_are_counted(batch):
    """By the factors themselves: a picture of brightness b is over the threshold where factor * b is."""
    level = torch.linspace(0.35, 0.65, 7).double()
    x_adv = level.view(-1, 1, 1, 1).expand(-1, 1, 4, 4).clone()
    views, place = Views(light=0.4), torch.arange(10, 17)
    found = looked_at(
        brightness(), x_adv, x_adv, Goal(torch.zeros(7).long()), views, Linf(eps=1.0), place=place, seed=3, batch=batch
    )
    factors = torch.stack(
        [views.drawn(judging(3, place), x_adv, look, 0.0, 1.0).light for look in range(LOOKS)]
    )  # fmt: skip
    torch.testing.assert_close(found.after, (factors * level > 0.5).double().mean(0))
    assert torch.equal(found.before, found.after)
    assert found.passes == 2 * LOOKS * 7


def test_views_are_found_in_wrappers_and_kept():
    inner = EoT(attack=PGD(), samples=3, views=ALL)
    assert views_of(Reserve(attack=inner)) == ALL
    assert views_of(PGD()) is None
    assert around(inner, 5) == EoT(attack=PGD(), samples=5, views=ALL)
    assert around(PGD(), 5, ALL) == EoT(attack=PGD(), samples=5, views=ALL)


def test_an_evaluation_tells_what_holds_in_other_views(tmp_path):
    data = digits().take(slice(0, 40))
    views = Views(rotation=10, light=0.1)
    options = {"checks": False, "eps": [0.05, 0.2], "batch": 16, "shard_size": 10, "stand_in": "off"}
    attack = EoT(attack=PGD(steps=8), samples=3, views=views)
    found = evaluate(honest("cnn"), data, Linf(eps=0.2), attack, out=tmp_path / "run", **options)
    again = evaluate(honest("cnn"), data, Linf(eps=0.2), attack, **{**options, "shard_size": 40, "batch": 7})
    seen = found.summary["curve"][-1]["views"]
    own = found.records["success"][-1] & (found.records["prediction"] == found.records["label"])
    assert (seen["looks"], seen["pictures"]) == (LOOKS, int(own.sum()))
    assert seen["after"] == pytest.approx(float(found.records["views"][-1][own].mean()))
    assert seen["before"] < seen["after"]
    assert torch.equal(found.records["views"].isnan(), ~found.records["success"])
    torch.testing.assert_close(found.records["views"], again.records["views"], equal_nan=True)
    assert "views,views_before,attack" in (tmp_path / "run/records.csv").read_text().splitlines()[0]
    plain = evaluate(honest("cnn"), data, Linf(eps=0.2), PGD(steps=8), **options)
    assert "views" not in plain.summary["curve"][-1]
    assert found.summary["attack"]["options"]["views"]["rotation"] == 10


def test_the_command_line_takes_views_and_patches(tmp_path):
    (tmp_path / "model.py").write_text("from evaluate_models import honest\n\ndef make():\n    return honest('cnn')\n")
    model = f"{tmp_path / 'model.py'}:make"
    command = ["evaluate", "--model", model, "--data", "digits", "--limit", "20", "--no-checks", "--quiet"]
    given = [*command, "--threat", "patch", "--threat-set", "place=free", "--eps", "3", "--attack", "pgd"]
    done = CliRunner().invoke(app, [*given, "--transform", "light=0.1", "--eot", "2", "--out", str(tmp_path / "run")])
    assert done.exit_code == 0, done.stderr
    assert "of 50 random views of each broken picture" in done.stdout
    assert "averaged over random views" in (tmp_path / "run/report.html").read_text()
    for more, text in (
        (["--transform", "turn=3"], "unknown option of Views 'turn'; known: blur, light"),
        (["--transform", "rotation=far"], "Views: rotation='far'; allowed: a number"),
        (["--penalty", "rough=1"], "unknown penalty 'rough'; known: nps, palette, tv"),
        (["--penalty", "tv=much"], "--penalty tv 'much'"),
        (["--threat-set", "place=x"], "--threat-set place is given twice"),
    ):
        refused = CliRunner().invoke(app, [*given, *more, "--out", str(tmp_path / "other")])
        assert refused.exit_code == 2
        assert text in refused.stderr


def test_patches_survive_views_better_for_having_been_averaged():
    """On real scans: new views, none of which the attack has seen."""
    data = digits().take(slice(0, 60))
    x, y, model = data.x(), data.labels, honest("cnn")
    views = Views(rotation=15, light=0.2)
    threat = Patch(eps=4, place=(0, 0))
    shares = []
    for attack in (PGD(steps=20), EoT(attack=PGD(steps=20), samples=8, views=views)):
        found = run(attack, model, x, y, threat, seed=0)
        rows = found.success & ~found.start_wrong
        seen = looked_at(model, x[rows], found.x_adv[rows], Goal(y[rows]), views, threat, place=data.place[rows])
        shares.append(float(seen.after.mean()))
    assert shares[1] > shares[0]
