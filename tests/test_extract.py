"""Pictures made on another model, substitutes, one change for all pictures, and who fools whom."""

import json
from copy import deepcopy
from dataclasses import replace

import pytest
import torch
from torch import nn

from evaluate_models import digits, honest
from holdfast import extract, models, report
from holdfast.access import Access
from holdfast.attacks import (
    MIFGSM,
    PGD,
    DeepFool,
    EoT,
    External,
    HopSkipJump,
    Noise,
    Reserve,
    Square,
    Views,
    run,
    run_external,
    run_in_a_row,
)
from holdfast.attacks.eot import views_of
from holdfast.attacks.result import overwrite
from holdfast.data import Pictures
from holdfast.errors import AttackDidNothing, DataError, ModelError, OptionError, RunError
from holdfast.evaluate import Meter, Rate, cross, evaluate
from holdfast.extract import Through, Universal, UniversalDeepFool, fit, fooled, replayed, same_model, through
from holdfast.extract.shared_change import added, brought_inside
from holdfast.extract.substitute import Augmentation, joined, moved, substitute
from holdfast.report.crossing import write_crossing
from holdfast.threats import L1, L2, Linf, Pixels
from holdfast.train import Recipe, TrainOptions, card_for
from nets import linear, tiny_case

THREATS = [Linf(eps=0.1), L2(eps=0.4), L1(eps=1.5)]
every_threat = pytest.mark.parametrize("threat", THREATS, ids=lambda threat: threat.name)
ATTACKS = [
    MIFGSM(steps=4),
    MIFGSM(steps=3, diversity=0.8, smallest=0.5, kernel=3, scales=2, look_ahead=True, neighbours=1),
    PGD(steps=4, step_size=0.4),
    Square(queries=15),
]
every_attack = pytest.mark.parametrize("attack", ATTACKS, ids=repr)


@pytest.fixture(scope="module")
def case():
    return tiny_case()


@pytest.fixture(scope="module")
def source():
    """Another model that gets most of the same pictures right: the victim's weights, somewhat moved."""
    model = tiny_case().model
    generator = torch.Generator().manual_seed(5)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter += 0.1 * torch.randn(parameter.shape, dtype=parameter.dtype, generator=generator)
    return model


class LabelsOnly(nn.Module):
    """Answers with 1 for its class and 0 else, and raises where anybody takes a gradient."""

    def __init__(self, inner):
        super().__init__()
        self.inner, self.asked = inner, 0

    def forward(self, x):
        assert not torch.is_grad_enabled(), "a gradient is wanted"
        self.asked += len(x)
        return nn.functional.one_hot(self.inner(x).argmax(1), 4).to(x)


class Asked(Exception):
    """The model was asked."""


def unaskable(x):
    raise Asked


def replay(attack, case, source, threat, model=None, **options):
    return run_external(through(source, attack), model or case.model, case.x, case.y, threat, **options)


# Through


@every_threat
@every_attack
def test_on_the_victim_itself_it_is_the_white_box(attack, threat, case):
    white = run(attack, case.model, case.x, case.y, threat, seed=3, aim="highest_loss")
    found = replay(attack, case, case.model, threat, seed=3)
    right = ~found.start_wrong
    torch.testing.assert_close(found.x_adv[right], white.x_adv[right])
    assert torch.equal(found.success[right], white.success[right])


@every_threat
@every_attack
def test_it_does_what_it_does_on_the_source_alone(attack, threat, case, source):
    made = run(attack, source, case.x, case.y, threat, seed=3, aim="highest_loss")
    found = replay(attack, case, source, threat, seed=3)
    right = ~found.start_wrong
    torch.testing.assert_close(found.x_adv[right], made.x_adv[right])
    assert torch.equal(found.forward_elsewhere[right], made.forward[right])
    assert torch.equal(found.backward_elsewhere[right], made.backward[right])
    assert (found.forward_elsewhere[~right] == 0).all()
    case.model.eval()
    wrong = case.model(found.x_adv).argmax(1) != case.y
    case.model.train()
    assert torch.equal(found.success, wrong)


@every_threat
@every_attack
def test_stays_inside_whatever_the_split(attack, threat, case, source):
    x, y = case.x.clone(), case.y.clone()
    whole, split = (replay(attack, case, source, threat, seed=7, batch=batch) for batch in (64, 3))
    assert torch.equal(whole.success, split.success)
    torch.testing.assert_close(whole.x_adv, split.x_adv)
    assert (whole.size <= threat.eps * (1 + 1e-9)).all()
    assert torch.equal(x, case.x)
    assert torch.equal(y, case.y)
    order = torch.randperm(len(x), generator=torch.Generator().manual_seed(2))
    attack = through(source, attack)
    mixed = run_external(attack, case.model, x[order], y[order], threat, seed=7, picture=torch.arange(len(x))[order])
    torch.testing.assert_close(mixed.x_adv, whole.x_adv[order])


def test_the_victim_is_asked_for_a_label_before_and_one_after(case, source):
    victim = LabelsOnly(case.model)
    with Meter(source) as meter:
        found = replay(MIFGSM(steps=4), case, source, THREATS[0], victim)
    right = int((~found.start_wrong).sum())
    assert victim.asked == len(case.x) + right
    assert torch.equal(found.forward, 1 + (~found.start_wrong).long())
    assert (found.backward == 0).all()
    assert (int(found.forward_elsewhere.sum()), int(found.backward_elsewhere.sum())) == (meter.forward, meter.backward)
    assert meter.backward == 4 * right
    open_ = replay(MIFGSM(steps=4), case, source, THREATS[0])
    assert torch.equal(open_.x_adv, found.x_adv)
    assert torch.equal(open_.success, found.success)


def test_the_attack_itself_asks_the_victim_nothing(case, source):
    made = Through(source=source, attack=MIFGSM(steps=2))(unaskable, case.x, case.y, THREATS[0], 0, torch.arange(40))
    assert made.x_adv.shape == case.x.shape
    assert through(source, MIFGSM()).access == Access.LABELS


def test_it_goes_on_where_the_source_is_fooled_or_wrong(case):
    """Every picture costs all steps, also those that the source gets wrong from the start."""
    wrong = linear(torch.randn(4, 18, dtype=torch.float64, generator=torch.Generator().manual_seed(0)))
    found = replay(MIFGSM(steps=5), case, wrong, Linf(eps=0.5))
    right = ~found.start_wrong
    assert (found.backward_elsewhere[right] == 5).all()
    assert (found.size[right] > 0).all()


@pytest.mark.parametrize("dtype", [torch.float64, torch.bfloat16])
def test_source_and_victim_may_compute_in_different_types(dtype, case):
    victim = tiny_case(dtype=torch.float32).model
    source = tiny_case().model.to(dtype)
    x = case.x.float()
    for threat in THREATS:
        found = run_external(through(source, MIFGSM(steps=3)), victim, x, case.y, threat)
        assert found.x_adv.dtype == torch.float32
        assert (found.size <= threat.eps * (1 + 1e-6) + 6e-8).all()
        assert (found.size[~found.start_wrong] > 0).any()


@pytest.mark.parametrize(
    ("attack", "text"),
    [
        (HopSkipJump(), r"hop-skip-jump looks for the smallest change; allowed: attacks within a radius"),
        (DeepFool(), r"deepfool looks for the smallest change"),
        (Noise(), r"noise has no loss to climb"),
        (Reserve(attack=PGD()), r"pgd is held in reserve"),
        (PGD, r"allowed: one of our own attacks, such as MIFGSM"),
    ],
)
def test_attacks_that_cannot_go_through_a_source(attack, text, source):
    with pytest.raises(OptionError, match=text):
        through(source, attack)


def test_what_the_source_refuses_names_the_source(case):
    narrow = linear(torch.zeros(2, 18, dtype=torch.float64))
    with pytest.raises(DataError, match=r"on the source 'mine': labels run from 0 to 3; allowed: 0 to 1"):
        run_external(through(narrow, PGD(), name="mine"), case.model, case.x, case.y, THREATS[0])
    with pytest.raises(OptionError, match="mi-fgsm through source is made for linf, l2, l1, the threat is pixels"):
        replay(MIFGSM(look_ahead=True), case, narrow, Pixels(eps=1))


def test_a_source_without_gradients_is_no_excuse(case):
    flat = linear(torch.zeros(4, 18, dtype=torch.float64))
    with pytest.raises(AttackDidNothing, match="mi-fgsm through source returned all"):
        replay(MIFGSM(steps=2), case, flat, THREATS[0])


def test_models_are_told_apart_by_their_weights(case, source):
    assert same_model(case.model, case.model)
    assert same_model(case.model, tiny_case().model)
    assert not same_model(case.model, source)
    assert not same_model(nn.Flatten(), nn.Flatten())
    assert not same_model(unaskable, case.model)


def test_passes_elsewhere_add_up_in_a_row_and_in_a_second_attack(case, source):
    threat = Linf(eps=0.02)
    attacks = [through(source, MIFGSM(steps=2)), PGD(steps=1), through(source, PGD(steps=3), name="again")]
    found = run_in_a_row(attacks, case.model, case.x, case.y, threat)
    standing = ~found.success
    assert standing.any()
    assert (found.backward_elsewhere[standing] == 5).all()
    assert (found.backward[standing] == 1).all()
    late = run_in_a_row(attacks[1:], case.model, case.x, case.y, threat)
    assert (late.backward_elsewhere[standing] == 3).all()
    again = replace(late, **{name: value[:2] for name, value in vars(late).items() if isinstance(value, torch.Tensor)})
    twice = overwrite(late, torch.tensor([0, 1]), again)
    assert torch.equal(twice.backward_elsewhere[:2], 2 * late.backward_elsewhere[:2])


def test_an_evaluation_counts_both_models_and_keeps_the_source_on_record(tmp_path):
    pictures = digits().take(slice(0, 40))
    attack = through(honest("linear"), MIFGSM(steps=5), name="mine")
    found = evaluate(honest("cnn"), pictures, Linf(eps=0.3), attack, eps=[0.1, 0.3], batch=16, out=tmp_path / "run")
    right = (found.records["prediction"] == found.records["label"]).long()
    assert torch.equal(found.records["backward_elsewhere"], (5 * right).expand(2, -1))
    assert found.passes["backward_elsewhere"] == 10 * int(right.sum())
    assert found.passes["backward"] == 0
    assert found.summary["curve"][1]["by"][0]["attack"] == "mi-fgsm through mine"
    assert found.summary["curve"][1]["by"][0]["broken"] > 0
    assert "On another model, backward" in report.write([found.run]).read_text()
    options = json.loads((tmp_path / "run/run.json").read_text())["options"]["attack"]["options"]
    assert options["library"] == "transfer"
    other = through(honest("mlp"), MIFGSM(steps=5), name="mine")
    with pytest.raises(RunError, match=r"attack\.options"):
        evaluate(
            honest("cnn"), pictures, Linf(eps=0.3), other, eps=[0.1, 0.3], batch=16, out=tmp_path / "run", resume=True
        )


def test_an_evaluation_through_the_very_model_is_believed_as_far_as_it_is_counted():
    model, pictures = honest("cnn"), digits().take(slice(0, 30))
    found = evaluate(model, pictures, Linf(eps=0.2), through(model, MIFGSM(steps=5)), batch=16)
    verified = next(check for check in found.checks if check.name == "verified")
    assert verified.verdict == "pass", verified.evidence
    white = evaluate(model, pictures, Linf(eps=0.2), MIFGSM(steps=5), batch=16, checks=False)
    assert found.robust.k >= white.robust.k


# Who fools whom


def test_a_table_counts_what_each_cell_would_alone():
    pictures = digits().take(slice(0, 60))
    threat, attack = Linf(eps=0.15), MIFGSM(steps=5, diversity=0.5)
    nets = {name: honest(name) for name in ("linear", "cnn")}
    found = cross(nets, nets, pictures, threat, attack, seed=4, batch=32)
    for source in nets:
        for victim in nets:
            alone = run_external(
                through(nets[source], attack), nets[victim], pictures.x(), pictures.labels, threat, seed=4
            )
            right = ~alone.start_wrong
            assert found.clean[victim] == Rate(int(right.sum()), 60)
            cell = found.cell(source, victim)
            assert cell.success == Rate(int((alone.success & right).sum()), int(right.sum()))
            assert cell.success_8bit.k <= 60
            assert cell.white_box == (source == victim)
        assert found.passes[source] == (60 * 7, 60 * 5)
        assert found.cell(source, source).success.k > 0


def test_a_table_is_the_same_for_any_batch_and_victims_are_never_differentiated():
    pictures = digits().take(slice(0, 30))
    victim = LabelsOnlyOfTen(honest("mlp"))
    tables = [
        cross({"a": honest("linear")}, {"b": victim}, pictures, L2(eps=1.0), PGD(steps=3), seed=1, batch=batch)
        for batch in (7, 64)
    ]
    assert tables[0].cells == tables[1].cells
    assert tables[0].cell("a", "b").success.k > 0


def test_victims_may_compute_in_other_types():
    pictures = digits().take(slice(0, 40))
    victims = {str(kind): deepcopy(honest("mlp")).to(kind) for kind in (torch.float32, torch.float64, torch.bfloat16)}
    found = cross({"a": honest("linear")}, victims, pictures, L2(eps=1.0), PGD(steps=3), seed=1)
    exact, double, coarse = (found.cell("a", victim).success for victim in victims)
    assert exact.k > 0
    assert abs(double.k - exact.k) <= 1
    assert coarse.k > 0


class LabelsOnlyOfTen(LabelsOnly):
    def forward(self, x):
        assert not torch.is_grad_enabled()
        return nn.functional.one_hot(self.inner(x).argmax(1), 10).to(x)


def test_a_victim_that_gets_nothing_right_has_no_rate(tmp_path):
    pictures = digits().take(slice(0, 10))

    def never(x):
        return nn.functional.one_hot((honest("mlp").eval()(x).argmax(1) + 1) % 10, 10).float()

    wrong = replace(pictures, labels=(honest("mlp").eval()(pictures.x()).argmax(1)).detach())
    found = cross({"a": honest("linear")}, {"never": never, "mlp": honest("mlp")}, wrong, Linf(eps=0.1), PGD(steps=2))
    assert found.cell("a", "never").success is None
    assert found.clean["never"].k == 0
    (tmp_path / "transfer.json").write_text(json.dumps(found.to_plain()))
    assert "none right before" in write_crossing(tmp_path).read_text()


def test_a_page_escapes_and_needs_no_network(tmp_path):
    pictures = digits().take(slice(0, 10))
    name = "<b>a & b</b>"
    found = cross({name: honest("linear")}, {name: honest("linear")}, pictures, Linf(eps=0.1), PGD(steps=2))
    (tmp_path / "transfer.json").write_text(json.dumps(found.to_plain()))
    page = write_crossing(tmp_path).read_text()
    assert "<b>" not in page
    assert "://" not in page
    assert "<script" not in page
    assert "white box" in page
    assert page == write_crossing(tmp_path).read_text()
    (tmp_path / "transfer.json").write_text('{"format": 1}')
    with pytest.raises(RunError, match="is damaged"):
        write_crossing(tmp_path)
    (tmp_path / "transfer.json").write_text('{"format": 9}')
    with pytest.raises(RunError, match="has format 9; allowed: 1"):
        write_crossing(tmp_path)


def flat(x):
    return 0 * x.flatten(1)[:, :10]


@pytest.mark.parametrize(
    ("change", "error", "text"),
    [
        ({"sources": {}}, OptionError, "0 sources and 1 victims; allowed: at least one of each"),
        ({"victims": {}}, OptionError, "1 sources and 0 victims"),
        ({"threat": Linf(eps=torch.full((10,), 0.1))}, OptionError, "one radius a picture"),
        ({"attack": DeepFool()}, OptionError, "deepfool looks for the smallest change"),
        (
            {"sources": {"flat": flat}, "attack": MIFGSM()},
            AttackDidNothing,
            "on the source 'flat': the attack returned",
        ),
        ({"victims": {"two": lambda x: x.flatten(1)[:, :2]}}, ModelError, "gives 2 logits but .* has label"),
    ],
)
def test_a_table_that_cannot_be(change, error, text):
    given = {"sources": {"a": honest("linear")}, "victims": {"b": honest("mlp")}, "threat": Linf(eps=0.1)}
    given |= {"pictures": digits().take(slice(0, 10)), "attack": PGD(steps=2), **change}
    with pytest.raises(error, match=text):
        cross(**given)


# Substitutes


def card_of(pictures):
    return card_for("linear", pictures)


def test_a_substitute_learns_what_the_victim_says_and_not_the_labels(tmp_path):
    """The pictures' labels are all 0; the victim says others, and the substitute comes to agree."""
    pictures, held_out = digits("train").take(slice(0, 600)), digits().take(slice(0, 200))
    blind = replace(pictures, labels=torch.zeros_like(pictures.labels))
    victim = LabelsOnlyOfTen(honest("cnn"))
    found = substitute(
        victim,
        card_of(pictures),
        blind,
        recipe=Recipe(options=TrainOptions(epochs=8, batch=32)),
        held_out=held_out,
        out=tmp_path / "run",
        name="theirs",
    )
    assert (found.queries, found.asked_to_compare) == (600, 200)
    assert found.agreement.k > 140
    with torch.no_grad():
        theirs = honest("cnn").eval()(held_out.x()).argmax(1)
        own = found.trained.model(held_out.x()).argmax(1)
    assert found.agreement == (int((own == theirs).sum()), 200)
    assert found.accuracy == (int((own == held_out.labels).sum()), 200)
    assert found.victim_accuracy == (int((theirs == held_out.labels).sum()), 200)
    model, card = models.load(tmp_path / "run")
    told = card.training["substitute"]
    assert (told["victim"], told["queries"], told["agreement"]) == ("theirs", 600, {"k": found.agreement.k, "n": 200})
    with torch.no_grad():
        assert torch.equal(model(held_out.x()).argmax(1), own)
    before = {path.name: path.read_bytes() for path in (tmp_path / "run").iterdir()}
    again = substitute(
        victim,
        card_of(pictures),
        blind,
        recipe=Recipe(options=TrainOptions(epochs=8, batch=32)),
        held_out=held_out,
        out=tmp_path / "run",
        name="theirs",
        resume=True,
    )
    assert again.agreement == found.agreement
    assert {path.name: path.read_bytes() for path in (tmp_path / "run").iterdir()} == before


def test_rounds_double_the_pictures_and_are_counted():
    pictures = digits("train").take(slice(0, 50))
    with Meter(honest("cnn")) as meter:
        found = substitute(
            honest("cnn"),
            card_of(pictures),
            pictures,
            recipe=Recipe(options=TrainOptions(epochs=1, batch=32)),
            augmentation=Augmentation(rounds=2, step=0.2),
        )
    assert found.queries == 200 == meter.forward
    assert meter.backward == 0
    assert (found.agreement, found.asked_to_compare) == (None, 0)
    assert found.trained.history[-1].train.n == 200


def test_new_pictures_lie_a_step_along_the_gradient_of_their_label():
    weight = torch.randn(10, 64, generator=torch.Generator().manual_seed(1))
    pictures = digits("train").take(slice(0, 20))
    further = moved(linear(weight), pictures, 0.1, 7)
    want = (pictures.x() + 0.1 * weight[pictures.labels].sign().view(-1, 1, 8, 8)).clamp(0, 1)
    assert further.images.dtype == torch.uint8
    torch.testing.assert_close(further.x(), want, rtol=0, atol=0.5 / 255 + 1e-6)
    both = joined(pictures, further)
    assert len(both) == 40
    assert len(set(both.place.tolist())) == 40
    floats = Pictures.from_arrays(pictures.x(), pictures.labels, pictures.classes)
    torch.testing.assert_close(moved(linear(weight), floats, 0.1, 64).images, want)


def test_substitutes_that_cannot_be():
    pictures = digits("train").take(slice(0, 20))
    with pytest.raises(ModelError, match="the victim knows 4 classes, the substitute's card 10"):
        substitute(linear(torch.zeros(4, 64)), card_of(pictures), pictures)
    with pytest.raises(DataError, match="no pictures in split"):
        substitute(honest("cnn"), card_of(pictures), pictures.take(slice(0, 0)))
    with pytest.raises(OptionError, match="Augmentation: rounds=-1; allowed: a whole number from 0 up"):
        Augmentation(rounds=-1)
    with pytest.raises(OptionError, match=r"step=0\.0"):
        Augmentation(step=0.0)


# One change for all pictures

FITS = [
    Universal(epochs=3, together=8, step_size=0.3),
    Universal(epochs=2, together=100, loss="margin", clip=0.5),
    UniversalDeepFool(epochs=2),
]
every_fit = pytest.mark.parametrize("by", FITS, ids=repr)


def as_pictures(x, y=None):
    labels = torch.zeros(len(x), dtype=torch.int64) if y is None else y
    return Pictures("arrays", "train", x.float(), labels, ("a", "b", "c", "d"), torch.arange(len(x)))


@every_threat
@every_fit
def test_a_change_stays_inside_and_repeats_itself(by, threat, case):
    pictures = as_pictures(case.x, case.y)
    first, second, split = (fit(by, case.model, pictures, threat, seed=2, batch=batch) for batch in (64, 64, 7))
    assert torch.equal(first.delta, second.delta)
    torch.testing.assert_close(first.delta, split.delta, rtol=1e-6, atol=1e-8)
    assert first.history == split.history
    assert 0 < float(threat.size(first.delta[None])) <= threat.eps * (1 + 1e-9)
    assert first.fooled.k == max(first.history)
    assert fooled(case.model, first, pictures) == first.fooled
    found = run_external(replayed([first]), case.model, case.x, case.y, threat)
    assert (found.size <= threat.eps * (1 + 1e-9)).all()
    assert (found.forward <= 2).all()
    assert (found.backward == 0).all()


def one_side(count=12):
    """A linear model of two classes, all pictures being of the first, and the normal of its boundary."""
    normal = torch.linspace(-2, 2, 16, dtype=torch.float64)
    normal = normal[torch.randperm(16, generator=torch.Generator().manual_seed(1))]
    x = 0.5 + 0.1 * torch.rand(count, 1, 4, 4, dtype=torch.float64, generator=torch.Generator().manual_seed(2))
    lead = x.flatten(1) @ normal
    model = linear(torch.stack([0 * normal, normal]), torch.stack([lead.max() * 0, -lead.max() - 1.0]))
    return model, x, normal.view(1, 4, 4)


@pytest.mark.parametrize("threat", [Linf(eps=0.05), L2(eps=0.2)], ids=lambda threat: threat.name)
def test_a_linear_model_is_left_along_its_normal(threat):
    """All pictures lie on one side and far from the boundary: the best change is the same for all, and known."""
    model, x, normal = one_side()
    found = fit(Universal(epochs=15, together=4), model, as_pictures(x), threat)
    want = threat.eps * threat.steepest(normal[None])[0]
    torch.testing.assert_close(found.delta, want, rtol=1e-5, atol=1e-7)
    assert found.fooled == (0, 12)


@pytest.mark.parametrize("by", [Universal(epochs=40, together=4), UniversalDeepFool(epochs=5, enough=1.0)], ids=repr)
@pytest.mark.parametrize("kind", [Linf, L2], ids=lambda kind: kind.name)
def test_a_linear_model_is_fooled_all_over_just_beyond_its_farthest_picture(by, kind):
    model, x, normal = one_side()
    with torch.no_grad():
        gap = (model(x)[:, 0] - model(x)[:, 1]).max()
    radius = float(gap / kind(eps=0).dual(normal[None]))
    assert fit(by, model, as_pictures(x), kind(eps=0.95 * radius), seed=1).fooled.k < 12
    # Steps that are shortest in L2 fill the corners of a box slowly.
    beyond = 2.0 if kind is Linf and isinstance(by, UniversalDeepFool) else 1.1
    found = fit(by, model, as_pictures(x), kind(eps=beyond * radius), seed=1)
    assert found.fooled == (12, 12)
    assert len(found.history) < by.epochs


def test_a_fit_ends_when_enough_are_fooled(case):
    pictures = as_pictures(case.x, case.y)
    found = fit(Universal(epochs=50, enough=0.1), case.model, pictures, Linf(eps=0.5))
    assert len(found.history) < 50
    assert found.fooled.k >= 4


@every_fit
def test_a_target_is_reached_where_there_is_room(by, case):
    pictures = as_pictures(case.x, case.y)
    found = fit(replace(by, epochs=10), case.model, pictures, Linf(eps=0.9), target=2)
    with torch.no_grad():
        before = case.model.eval()(pictures.x().double()).argmax(1)
        after = case.model(added(pictures.x().double(), found.delta[None], found.threat)).argmax(1)
    case.model.train()
    assert found.fooled.k == int(((after == 2) & (before != 2)).sum())
    assert found.fooled.k > 0.5 * int((before != 2).sum())


def test_passes_of_a_fit_are_those_that_hooks_see(case):
    pictures = as_pictures(case.x, case.y)
    for by in FITS:
        with Meter(case.model) as meter:
            found = fit(by, case.model, pictures, Linf(eps=0.05))
        assert (found.forward, found.backward) == (meter.forward, meter.backward)
    found = fit(Universal(epochs=3, together=7), case.model, pictures, Linf(eps=0.01))
    assert (found.forward, found.backward) == (40 + 1 + 2 * 3 * 40, 3 * 40)


def test_the_model_comes_back_as_found(case):
    before = [m.training for m in case.model.modules()], [p.requires_grad for p in case.model.parameters()]
    for by in FITS:
        fit(by, case.model, as_pictures(case.x, case.y), Linf(eps=0.05))
    assert before == ([m.training for m in case.model.modules()], [p.requires_grad for p in case.model.parameters()])
    assert all(p.grad is None for p in case.model.parameters())


def test_only_as_many_pictures_as_asked_for(case):
    found = fit(Universal(pictures=10, epochs=1), case.model, as_pictures(case.x, case.y), Linf(eps=0.05))
    assert found.fooled.n == 10


def test_a_change_is_cut_to_a_smaller_radius_and_not_stretched(case):
    pictures = as_pictures(case.x, case.y)
    for threat in THREATS:
        found = fit(Universal(epochs=2), case.model, pictures, threat)
        for share in (0.5, 2.0):
            within = threat.with_eps(share * threat.eps)
            moved_by = replayed([found]).call(None, torch.full_like(case.x, 0.5), case.y, within) - 0.5
            size = threat.size(moved_by)
            assert (size <= within.eps * (1 + 1e-9)).all()
            assert (size <= threat.eps * (1 + 1e-9)).all()
    two = [fit(Universal(epochs=1), case.model, pictures, Linf(eps=eps)) for eps in (0.1, 0.2)]
    for eps, one in ((0.1, two[0]), (0.2, two[1]), (0.19, two[1])):
        x_adv = replayed(two).call(None, torch.full_like(case.x, 0.5), case.y, Linf(eps=eps))
        torch.testing.assert_close(x_adv[0] - 0.5, one.delta.clamp(-eps, eps), rtol=0, atol=1e-9)


@every_threat
def test_what_lies_inside_is_left_as_it_is(threat):
    delta = torch.randn(1, 2, 4, 4, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
    inside = brought_inside(delta, threat)
    assert float(threat.size(inside)) <= threat.eps * (1 + 1e-9)
    torch.testing.assert_close(brought_inside(0.999 * inside, threat), 0.999 * inside)


def test_a_change_goes_into_a_file_and_back(tmp_path, case):
    found = fit(Universal(epochs=1), case.model, as_pictures(case.x, case.y), L2(eps=0.3), target=1)
    extract.save(tmp_path / "delta.safetensors", found)
    again = extract.load(tmp_path / "delta.safetensors")
    assert torch.equal(again.delta, found.delta)
    assert (again.threat, again.target, again.fooled) == (found.threat, 1, found.fooled)
    (tmp_path / "other").write_bytes(b"nothing of the kind")
    for name in ("other", "missing"):
        with pytest.raises(RunError, match=r"holds no universal perturbation .* `holdfast universal` writes"):
            extract.load(tmp_path / name)


@pytest.mark.parametrize(
    ("make", "error", "text"),
    [
        (lambda: Universal(epochs=0), OptionError, "Universal: epochs=0; allowed: a whole number from 1 up"),
        (lambda: Universal(clip=0.0), OptionError, "clip=0.0"),
        (lambda: UniversalDeepFool(steps=0), OptionError, "steps=0"),
        (lambda: UniversalDeepFool(enough=-1.0), OptionError, "enough=-1.0"),
        (
            lambda: extract.build("univrsal"),
            OptionError,
            "unknown universal perturbation 'univrsal'.*Did you mean 'univ",
        ),
        (lambda: extract.build("universal", {"epochs": "x"}), OptionError, "epochs='x'"),
        (lambda: replayed([]), OptionError, "allowed: at least one change"),
    ],
)
def test_wrong_options_of_a_fit(make, error, text):
    with pytest.raises(error, match=text):
        make()


def test_fits_that_cannot_be(case):
    pictures = as_pictures(case.x, case.y)
    with pytest.raises(OptionError, match=r"universal: threat 'pixels', eps=2; allowed: one radius in linf, l2, l1"):
        fit(Universal(), case.model, pictures, Pixels(eps=2))
    with pytest.raises(OptionError, match="target=4; allowed: a class of the model, 0 to 3"):
        fit(Universal(), case.model, pictures, Linf(eps=0.1), target=4)
    found = fit(Universal(epochs=1), case.model, pictures, Linf(eps=0.1))
    with pytest.raises(OptionError, match=r"a change of shape \(2, 3, 3\) for pictures of shape \(1, 8, 8\)"):
        replayed([found]).call(None, torch.zeros(2, 1, 8, 8), None, Linf(eps=0.1))
    with pytest.raises(OptionError, match="universal is made for linf, the threat is l2"):
        run_external(replayed([found]), case.model, case.x, case.y, L2(eps=0.1))
    assert isinstance(replayed([found]), External)


def test_two_models_never_share_a_name():
    from holdfast.cli.transfer import named

    assert named(["a/net", "b/other"], ["b/net", "b/other"]) == (
        {"a/net": "a/net", "b/other": "other"},
        {"b/net": "b/net", "b/other": "other"},
    )
    with pytest.raises(OptionError, match="transfer: 'net' names two models; allowed: one"):
        cross({"net": honest("linear")}, {"net": honest("mlp")}, digits().take(slice(0, 4)), Linf(eps=0.1), PGD())


def test_views_of_an_attack_on_another_model_are_known():
    views = Views(rotation=10.0)
    assert views_of(through(honest("linear"), EoT(attack=PGD(), samples=3, views=views), name="net")) == views
    assert views_of(through(honest("linear"), PGD(), name="net")) is None


def test_a_change_of_nothing_is_not_fitted():
    with pytest.raises(OptionError, match="allowed: a radius above 0"):
        fit(Universal(pictures=4), honest("linear"), digits(), Linf(eps=0.0))
