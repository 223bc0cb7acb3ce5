"""Threats that render pictures from parameters: what they make, who checks it, and every attack on their parameters."""

import math
from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from holdfast.attacks import (
    APGD,
    ATTACKS,
    DDN,
    FMN,
    MIFGSM,
    PGD,
    EoT,
    Grid,
    HopSkipJump,
    LineSearch,
    Penalised,
    Square,
    Views,
    WorstOfK,
    run,
    run_external,
    smallest,
)
from holdfast.attacks.attack import minimal, suits
from holdfast.attacks.grid import combinations
from holdfast.bridges import function
from holdfast.errors import DataError, HoldfastError, OptionError
from holdfast.evaluate import SUITES, verify
from holdfast.evaluate.edges import measured
from holdfast.evaluate.landscape import ANGLES, SHIFTS, landscape
from holdfast.evaluate.rerender import sizes
from holdfast.losses import formulas
from holdfast.threats import Colour, Flow, Linf, Rendered, Rotation, build, plain, whole_box
from nets import linear, tiny_case

few = settings(deadline=None, max_examples=25)

KINDS = [
    Rotation(eps=30.0),
    Rotation(eps=30.0, shift=0.0, border="edge"),
    Rotation(eps=180.0, shift=0.01, border="mirror"),
    Flow(eps=1.5),
    Flow(eps=2.0, smooth=1.5, border="black"),
    Flow(eps=2.0, border="mirror"),
    Colour(eps=0.3),
    Colour(eps=0.3, bins=4),
]
every_kind = pytest.mark.parametrize("threat", KINDS, ids=repr)
THREATS = [Rotation(eps=30.0), Flow(eps=1.0), Flow(eps=1.0, smooth=1.0), Colour(eps=0.2)]


def pictures(seed=0, channels=1, high=5, wide=5, count=3, dtype=torch.float64):
    return torch.rand(count, channels, high, wide, dtype=dtype, generator=torch.Generator().manual_seed(seed))


def some_parameters(threat, x, seed=0):
    generator = torch.Generator().manual_seed(seed)
    share = 2 * torch.rand(len(x), *threat.shape(tuple(x.shape[1:])), dtype=x.dtype, generator=generator) - 1
    return share * threat.eps


def rendered_sizes(threat, x, x_adv, parameters):
    options = vars(threat)
    arrays = (tensor.double().numpy() for tensor in (x, x_adv, parameters))
    return sizes(threat.name, *arrays, options, (threat.low, threat.high), torch.finfo(x.dtype).eps)


@pytest.fixture(scope="module")
def case():
    return tiny_case(pictures=20)


# What they make


@every_kind
def test_zero_gives_the_picture_itself_and_still_has_a_gradient(threat):
    x = pictures()
    still = torch.zeros(3, *threat.shape((1, 5, 5)), dtype=x.dtype, requires_grad=True)
    made = threat.render(x, still)
    assert torch.equal(made, x)
    (gradient,) = torch.autograd.grad((made * torch.linspace(0, 1, x[0].numel()).view_as(x[0])).sum(), still)
    assert (gradient != 0).flatten(1).any(1).all()


@pytest.mark.parametrize("quarter", [1, 2, -1])
def test_quarter_turns_go_against_the_clock(quarter):
    x = pictures(channels=2)
    turned = Rotation(eps=180.0).render(x, torch.tensor([90.0 * quarter, 0, 0]).double().expand(3, 3)[..., None, None])
    torch.testing.assert_close(turned, torch.rot90(x, quarter, (2, 3)))


@pytest.mark.parametrize(("border", "mode"), [("black", "constant"), ("edge", "edge"), ("mirror", "symmetric")])
def test_whole_shifts_move_down_and_to_the_right(border, mode):
    """Two rows down and one column to the right, in a picture of 4 x 6."""
    x = pictures(high=4, wide=6)
    threat = Rotation(eps=10.0, shift=0.05, border=border)
    at = torch.tensor([0.0, 2 / 0.05 / 4, 1 / 0.05 / 6]).double().expand(3, 3)[..., None, None]
    wanted = np.pad(x.numpy(), ((0, 0), (0, 0), (2, 0), (1, 0)), mode)[:, :, :4, :6]
    torch.testing.assert_close(threat.render(x, at), torch.from_numpy(wanted))


def test_what_comes_in_is_the_lowest_value_of_the_box():
    x = torch.full((1, 1, 4, 4), 0.5)
    shifted = Rotation(eps=100.0, low=-1.0, shift=0.01).render(x, torch.tensor([0.0, 50.0, 0.0]).view(1, 3, 1, 1))
    assert shifted[0, 0, :, 0].tolist() == pytest.approx([-1, -1, 0.5, 0.5], abs=1e-6)


def test_turns_come_before_shifts():
    """A bright pixel right of the middle comes above it by a quarter turn, then a row down."""
    x = torch.zeros(1, 1, 5, 5)
    x[0, 0, 2, 4] = 1
    made = Rotation(eps=180.0, shift=1 / 450).render(x, torch.tensor([90.0, 90.0, 0.0]).view(1, 3, 1, 1))
    assert made[0, 0].round().nonzero().tolist() == [[1, 2]]


def test_each_pixel_looks_along_its_own_vector():
    x = pictures()
    vectors = torch.zeros(3, 2, 5, 5, dtype=torch.float64)
    vectors[:, 0, 1, 1], vectors[:, 1, 1, 1] = 2, 0.5  # two rows down, half a column to the right
    made = Flow(eps=2.0).render(x, vectors)
    torch.testing.assert_close(made[:, 0, 1, 1], (x[:, 0, 3, 1] + x[:, 0, 3, 2]) / 2)
    made[:, 0, 1, 1] = x[:, 0, 1, 1]
    torch.testing.assert_close(made, x)


@few
@given(seed=st.integers(0, 10**6), width=st.floats(0.1, 20))
def test_no_smoothed_vector_is_longer_than_the_longest(seed, width):
    threat = Flow(eps=2.0, smooth=width)
    field = some_parameters(threat, pictures(high=4, wide=7), seed)
    smoothed = threat.smoothed(field)
    assert (smoothed.flatten(1).abs().amax(1) <= field.flatten(1).abs().amax(1) + 1e-12).all()
    same = torch.full_like(field, 1.25)
    torch.testing.assert_close(threat.smoothed(same), same)


def test_one_move_for_all_colours_or_one_for_each_level():
    x = torch.tensor([0.0, 0.5, 1.0, 0.25]).view(1, 1, 2, 2)
    plain = Colour(eps=0.3).render(x, torch.tensor(0.2).view(1, 1, 1, 1))
    assert plain.flatten().tolist() == pytest.approx([0.2, 0.7, 1.0, 0.45])
    levels = Colour(eps=0.3, bins=3).render(x, torch.tensor([0.1, -0.2, -0.3]).view(1, 1, 1, 3))
    assert levels.flatten().tolist() == pytest.approx([0.1, 0.3, 0.7, 0.25 - 0.05])


def test_pixels_of_one_colour_stay_alike():
    x = pictures(channels=3)
    x[:, :, 0, 0] = x[:, :, 4, 3]
    threat = Colour(eps=0.2, bins=5)
    made = threat.render(x, some_parameters(threat, x))
    assert torch.equal(made[:, :, 0, 0], made[:, :, 4, 3])
    assert ((made - x).abs() <= 0.2 + 1e-12).all()


@every_kind
@pytest.mark.parametrize("low", [0.0, -1.0])
def test_stays_in_the_box(threat, low):
    x = pictures() * (1 - low) + low
    moved = replace(threat, low=low, eps=0.3 if isinstance(threat, Colour) else threat.eps)
    made = moved.render(x, some_parameters(moved, x))
    assert made.min() >= low
    assert made.max() <= 1


@every_kind
def test_gradient_with_respect_to_parameters_is_the_slope(threat):
    """By differences, at places where no pixel lies on a kink."""
    x = 0.3 + 0.4 * pictures(high=4, wide=6, count=2)
    at = (0.7 * some_parameters(replace(threat, eps=0.2) if isinstance(threat, Colour) else threat, x)).requires_grad_()
    weight = torch.linspace(-1, 1, x[0].numel(), dtype=x.dtype).view_as(x[0])
    (gradient,) = torch.autograd.grad((threat.render(x, at) * weight).sum(), at)
    way = torch.sign(some_parameters(threat, x, seed=5)) * 1e-6
    ahead, behind = ((threat.render(x, at.detach() + s * way) * weight).sum() for s in (1, -1))
    assert float((gradient * way).sum()) == pytest.approx(float(ahead - behind) / 2, rel=1e-4, abs=1e-12)


# Who checks it


@every_kind
@few
@given(
    seed=st.integers(0, 10**6),
    high=st.integers(3, 9),
    wide=st.integers(3, 9),
    colours=st.booleans(),
    single=st.booleans(),
)
def test_rendered_a_second_time_it_is_the_same(threat, seed, high, wide, colours, single):
    x = pictures(seed, 3 if colours else 1, high, wide, dtype=torch.float32 if single else torch.float64)
    at = some_parameters(threat, x, seed)
    assert rendered_sizes(threat, x, threat.render(x, at), at).tolist() == pytest.approx(
        at.flatten(1).abs().amax(1).tolist()
    )


@every_kind
def test_another_picture_is_not_what_its_parameters_give(threat):
    x = 0.2 + 0.6 * pictures()
    at = some_parameters(replace(threat, eps=0.1) if isinstance(threat, Colour) else threat, x)
    made = threat.render(x, at)
    made[1, 0, 2, 2] += 1e-3
    found = rendered_sizes(threat, x, made, at)
    assert np.isfinite(found).tolist() == [True, False, True]
    found = rendered_sizes(threat, x, threat.render(x, at), 1.01 * at)
    assert np.isinf(found).all()
    at[0].fill_(torch.nan)
    assert np.isinf(rendered_sizes(threat, x, x, at)[0])


@every_kind
def test_unmoved_parameters_allow_no_change_at_all(threat):
    x = pictures()
    still = torch.zeros(3, *threat.shape((1, 5, 5)), dtype=x.dtype)
    assert rendered_sizes(threat, x, x, still).tolist() == [0, 0, 0]
    assert np.isinf(rendered_sizes(threat, x, x.nextafter(torch.tensor(2.0).double()), still)).all()


def test_the_verifier_wants_the_parameters(case):
    options, none = plain(Rotation(eps=3.0)), torch.zeros(20, 3, 1, 1)

    def judged(x=case.x, **given):
        return verify(case.model, x, x, case.y, norm="rotation", eps=3.0, refuse_nothing=False, **given)

    with pytest.raises(DataError, match="rotation without parameters; allowed"):
        judged(options=options)
    with pytest.raises(DataError, match="rotation without options; allowed"):
        judged(parameters=none)
    with pytest.raises(DataError, match="parameters of 3 pictures for 20; allowed"):
        judged(parameters=none[:3], options=options)
    with pytest.raises(DataError, match="allowed: float32 or float64"):
        judged(case.x.half(), parameters=none, options=options)
    assert judged(parameters=none + torch.inf, options=options).size.isinf().all()


# Attacks on the parameters


def made(name, threat):
    """An attack of the registry, short, if it has a form for the threat."""
    attack = ATTACKS[name]()
    options = {"queries": 60, "steps": 6, "searches": 2, "pairs": 3, "halvings": 3, "angles": 5, "shifts": 3}
    known = {key: value for key, value in options.items() if hasattr(attack, key)}
    return replace(attack, **known) if suits(attack, threat) else None


ROWS = [(name, threat) for name in ATTACKS for threat in THREATS if made(name, threat) is not None]


def pairs(rows):
    return pytest.mark.parametrize(("name", "threat"), rows, ids=[f"{name}-{threat!r}" for name, threat in rows])


every_row = pairs(ROWS)
on_turns = pairs([(name, threat) for name, threat in ROWS if isinstance(threat, Rotation)])


def found_by(name, threat, case, **options):
    attack = made(name, threat)
    call = smallest if minimal(attack) else run
    return call(attack, case.model, case.x, case.y, threat, **options)


@every_row
def test_what_an_attack_says_is_what_the_verifier_sees(name, threat, case):
    found = found_by(name, threat, case)
    widest = whole_box(threat, (2, 3, 3)) if minimal(ATTACKS[name]) else threat.eps
    verdict = verify(
        case.model,
        case.x,
        found.x_adv,
        case.y,
        refuse_nothing=False,
        **measured(threat.with_eps(widest), found.parameters),
    )
    assert torch.equal(verdict.success, found.success)
    torch.testing.assert_close(verdict.size, found.size)
    assert (found.size <= widest * (1 + 1e-12)).all()
    assert verdict.untouched_when_start_wrong.all()
    assert found.parameters is not None
    assert (found.parameters != 0).any()


@on_turns
def test_split_does_not_matter_and_the_same_seed_gives_the_same(name, threat, case):
    whole, again_, split = (found_by(name, threat, case, seed=3, batch=size) for size in (64, 64, 7))
    assert torch.equal(whole.x_adv, again_.x_adv)
    assert torch.equal(whole.success, split.success)


@on_turns
def test_passes_are_what_the_model_did(name, threat, case):
    rows = [0]
    hook = case.model.register_forward_hook(lambda module, given, logits: rows.__setitem__(0, rows[0] + len(logits)))
    found = found_by(name, threat, case, batch=16)
    hook.remove()
    assert int(found.forward.sum()) == rows[0]


def test_radius_may_differ_from_picture_to_picture(case):
    eps = torch.linspace(0, 90, len(case.x), dtype=torch.float64)
    found = run(PGD(steps=5), case.model, case.x, case.y, Rotation(eps=eps))
    assert (found.size <= eps).all()
    assert found.size.max() > 20


def test_float32(case):
    model, x = case.model.float(), case.x.float()
    found = run(Square(queries=50), model, x, case.y, Flow(eps=1.0))
    verdict = verify(model, x, found.x_adv, case.y, **measured(Flow(eps=1.0), found.parameters))
    case.model.double()
    assert torch.equal(verdict.success, found.success)


class Reads(nn.Module):
    """Takes a picture for class 1 where one of its pixels is above a half."""

    def __init__(self, row, column):
        super().__init__()
        self.row, self.column = row, column

    def forward(self, x):
        value = 10 * (x[:, 0, self.row, self.column] - 0.5)
        return torch.stack([-value, value], 1)


@pytest.mark.parametrize("attack", [Grid(angles=37, shifts=1), PGD(steps=30, restarts=20), WorstOfK(k=300)], ids=repr)
def test_the_worst_angle_of_a_model_is_found(attack):
    """A bright pixel three to the right of the middle must come up to where the model looks, which takes about 90
    degrees: there what lies at the place read is (1 - |3 cos a|)(1 - |3 - 3 sin a|), above a half within 8 degrees."""
    x = torch.zeros(1, 1, 9, 9, dtype=torch.float64)
    x[0, 0, 4, 7] = 1
    model, y = Reads(1, 4), torch.tensor([0])

    def worth(a):
        down, across = abs(3 * math.cos(math.radians(a))), abs(3 - 3 * math.sin(math.radians(a)))
        return max(0, 1 - down) * max(0, 1 - across)

    least = next(a / 100 for a in range(9000) if worth(a / 100) > 0.5)
    assert 80 < least < 84
    assert not run(attack, model, x, y, Rotation(eps=least - 0.5, shift=0.0)).success.any()
    found = run(attack, model, x, y, Rotation(eps=100.0, shift=0.0))
    if isinstance(attack, PGD):  # nearly everywhere it sees a level loss
        return
    assert found.success.all()
    assert least - 0.01 <= float(found.parameters[0, 0]) <= 98


def test_the_smallest_turn_is_found():
    """Two pixels apart by 20 degrees on a smooth ring: the boundary is where both are as bright."""
    side = 15
    rows, columns = torch.meshgrid(torch.arange(side) - 7.0, torch.arange(side) - 7.0, indexing="ij")
    angle = torch.atan2(-rows, columns)
    x = (0.5 + 0.4 * torch.cos(angle)).double()[None, None]

    def model(x):
        """Brighter on the right than above: the class turns where the light comes from 45 degrees."""
        return 5 * torch.stack([x[:, 0, 7, 9:].mean(1), x[:, 0, :6, 7].mean(1)], 1)

    found = smallest(FMN(steps=200), model, x, torch.tensor([0]), Rotation(eps=0, shift=0.0))
    assert found.success.all()
    assert float(found.size) == pytest.approx(45, abs=2)


def test_grid_tries_everything_the_middle_first():
    x, y = torch.full((2, 1, 5, 5), 0.5), torch.tensor([0, 0])
    asked = []

    def model(x):
        asked.append(len(x))
        return torch.stack([torch.ones(len(x)), torch.zeros(len(x))], 1)

    found = run(Grid(), model, x, y, Rotation(eps=30.0), batch=1000)
    assert found.queries.tolist() == [775, 775]
    every = combinations(31, 5, 5)
    assert len({tuple(row) for row in every.tolist()}) == 775
    assert every[0].tolist() == [0, 0, 0]
    assert every.abs().amax(0).tolist() == [1, 1, 1]
    lengths = every.square().sum(1)
    assert (lengths[1:] >= lengths[:-1] - 1e-12).all()


def test_grid_keeps_the_worst_of_all(case):
    """Against a loop over all combinations, one by one."""
    threat, attack = Rotation(eps=40.0, shift=0.01), Grid(angles=7, shifts=3)
    found = run(attack, case.model, case.x, case.y, threat, aim="highest_loss")
    case.model.eval()
    with torch.no_grad():
        every = [threat.eps * row.view(1, 3, 1, 1).expand(20, -1, -1, -1) for row in combinations(7, 3, 3)]
        worst = torch.stack([formulas.margin(case.model(threat.render(case.x, at)), case.y) for at in every]).amin(0)
        mine = formulas.margin(case.model(found.x_adv), case.y)
    case.model.train()
    torch.testing.assert_close(mine, worst)


@few
@given(seed=st.integers(0, 1000))
@pytest.mark.parametrize("bins", [1, 4])
def test_linear_model_gives_up_at_its_margin_over_the_slopes_of_the_colours(bins, seed):
    """Within the box a move of colours is worth the sum of the weights of all pixels at that level."""
    generator = torch.Generator().manual_seed(seed)
    x = torch.randint(0, 2, (8, 1, 3, 4), generator=generator).double()  # the two inner levels of four from -1 to 2
    weight = torch.randn(2, 12, dtype=torch.float64, generator=generator)
    model = linear(weight, -(weight @ x.flatten(1).mean(0)))
    logits = model(x).detach()
    y, slope = logits.argmax(1), weight[1] - weight[0]
    at_one, at_zero = ((part * slope).sum(1).abs() for part in (x.flatten(1), 1 - x.flatten(1)))
    most = slope.sum().abs() if bins == 1 else at_one + at_zero
    radius = (logits[:, 0] - logits[:, 1]).abs() / most
    use = (radius < 0.9) & (radius > 1e-6)
    if not use.any():
        return
    x, y, radius, threat = x[use], y[use], radius[use], Colour(eps=0, low=-1.0, high=2.0, bins=bins)
    for attack in (PGD(steps=30, loss="margin", restarts=2), APGD(steps=30)):
        assert not run(attack, model, x, y, threat.with_eps(0.99 * radius)).success.any()
        assert run(attack, model, x, y, threat.with_eps(1.01 * radius)).success.all()


def test_flow_moves_a_pixel_as_far_as_it_may():
    """A bright pixel beside the one that is read: its share there is how far that one looks to the right."""
    x = torch.zeros(1, 1, 5, 5, dtype=torch.float64)
    x[0, 0, 2, 3] = 1
    model, y = Reads(2, 2), torch.tensor([0])
    for eps, broken in ((0.49, False), (0.51, True)):
        assert bool(run(PGD(steps=20), model, x, y, Flow(eps=eps)).success) == broken
        assert not run(PGD(steps=20), model, x, y, Flow(eps=eps, smooth=50.0, border="black")).success


# Around them


def test_attacks_without_a_form_are_refused(case):

    def returns(model, x, y):
        return x

    threat = Rotation(eps=10.0)
    seen = EoT(attack=PGD(), samples=2, views=Views(rotation=5.0))
    pictured = (MIFGSM(scales=3), MIFGSM(diversity=0.5), MIFGSM(kernel=3))  # darker, shrunk or smoothed parameters
    for attack in (HopSkipJump(), LineSearch(), DDN(), seen, Penalised(attack=PGD(), tv=0.1), *pictured):
        with pytest.raises(OptionError, match=f"{attack.name}: threat 'rotation'; allowed"):
            run(attack, case.model, case.x, case.y, threat)
    with pytest.raises(OptionError, match="grid: threat 'linf'; allowed: rotation"):
        run(Grid(), case.model, case.x, case.y, Linf(eps=0.1))
    with pytest.raises(OptionError, match="allowed: attacks of our own"):
        run_external(function(returns), case.model, case.x, case.y, threat)


@pytest.mark.parametrize(
    ("make", "text"),
    [
        (lambda: Rotation(eps=181.0), "Rotation: eps=181.0; allowed: 0 <= eps <= 180, in degrees"),
        (lambda: Rotation(eps=-1.0), "Rotation: eps=-1.0; allowed"),
        (lambda: Rotation(eps=math.nan), "Rotation: eps=nan; allowed"),
        (lambda: Rotation(eps=torch.ones(2, 2)), "one radius a lane"),
        (lambda: Rotation(eps=1.0, shift=2.0), "Rotation: shift=2.0; allowed: 0 <= shift <= 1"),
        (lambda: Rotation(eps=1.0, border="white"), "Rotation: border='white'; allowed: black, edge, mirror"),
        (lambda: Rotation(eps=1.0, low=1.0), "low=1.0, high=1.0; allowed"),
        (lambda: Flow(eps=-0.5), "Flow: eps=-0.5; allowed: 0 or more, finite, in pixels"),
        (lambda: Flow(eps=math.inf), "Flow: eps=inf; allowed"),
        (lambda: Flow(eps=1.0, smooth=-1.0), "Flow: smooth=-1.0; allowed: 0 or more"),
        (lambda: Flow(eps=1.0, border="none"), "Flow: border='none'; allowed"),
        (lambda: Colour(eps=2.0), "Colour: eps=2.0; allowed: 0 <= eps <= 1, in input units"),
        (lambda: Colour(eps=0.1, bins=0), "Colour: bins=0; allowed: 1, 2, 3"),
        (lambda: Colour(eps=0.1, bins=2).shape((2, 4, 4)), "of 1 or 3 channels where bins=2"),
        (lambda: Rotation(eps=1.0).shape((7,)), "cannot be turned; allowed: pictures"),
        (lambda: Flow(eps=1.0).shape((7,)), "cannot be deformed; allowed: pictures"),
        (lambda: Grid(angles=0), "Grid: angles=0; allowed: a whole number from 1 up"),
        (lambda: WorstOfK(k=0), "WorstOfK: k=0; allowed"),
        (lambda: build("flow", eps=1, options={"smooth": "much"}), "Flow: smooth='much'; allowed: a number"),
        (lambda: build("rotation", eps=1, options={"shfit": "0"}), "Did you mean 'shift'"),
    ],
)
def test_wrong_options_say_what_is_allowed(make, text):
    with pytest.raises(HoldfastError) as caught:
        make()
    assert text in str(caught.value)


def test_suites_have_a_row_of_their_own_or_say_that_they_have_none():
    assert [attack.name for attack in SUITES["standard"].within(Rotation(eps=1.0))] == [
        "worst-of-k",
        "grid",
        "apgd",
        "square",
    ]
    assert "grid" not in [attack.name for attack in SUITES["standard"].within(Flow(eps=1.0))]
    assert all(suits(attack, Colour(eps=0.1)) for attack in SUITES["quick"].within(Colour(eps=0.1)))
    with pytest.raises(OptionError, match="suite 'fast': threat 'rotation'"):
        SUITES["fast"].within(Rotation(eps=1.0))


def test_they_are_no_norms():
    assert all(isinstance(threat, Rendered) for threat in KINDS)
    assert not isinstance(Linf(eps=0.1), Rendered)
    assert whole_box(Rotation(eps=1.0), (1, 4, 4)) == 180
    assert whole_box(Flow(eps=1.0), (1, 4, 9)) == 9
    assert whole_box(Colour(eps=1.0, low=-1.0), (1, 4, 4)) == 2


def test_landscape_is_the_margin_at_each_angle_and_shift(case):
    threat = Rotation(eps=20.0, shift=0.02)
    found = landscape(case.model, case.x[:3], case.y[:3], threat, batch=50)
    assert found["landscape.margin"].shape == (3, ANGLES, SHIFTS)
    at = torch.tensor([float(found["landscape.angle"][4]), 0.0, float(found["landscape.shift"][9]) / 0.02]).double()
    case.model.eval()
    with torch.no_grad():
        logits = case.model(threat.render(case.x[:3], at.view(1, 3, 1, 1).expand(3, -1, -1, -1)))
    case.model.train()
    margin = formulas.margin(logits, case.y[:3])
    torch.testing.assert_close(found["landscape.margin"][:, 4, 9], margin.float(), rtol=1e-4, atol=1e-5)
    assert found["landscape.angle"][[0, -1]].tolist() == [-20, 20]
