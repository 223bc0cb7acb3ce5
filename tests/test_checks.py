"""Every check catches what it is there for, and none cries wolf at an honest model."""

from copy import deepcopy
from dataclasses import replace

import pytest
import torch
from torch import nn
from torch.nn import functional

from evaluate_models import HONEST, Around, Fading, Flipped, FlippedFar, Nothing, broken, digits, honest
from holdfast.attacks import FGSM, IFGSM, MIFGSM, PGD, Noise
from holdfast.data import Pictures
from holdfast.errors import AttackDidNothing, ModelError
from holdfast.evaluate import Finding, checks, evaluate
from holdfast.evaluate.checks.ascent import Ascent
from holdfast.evaluate.checks.did_something import DidSomething
from holdfast.evaluate.checks.input_scale import InputScale
from holdfast.evaluate.checks.monotone_eps import MonotoneEps
from holdfast.evaluate.checks.monotone_steps import MonotoneSteps
from holdfast.evaluate.checks.noise import Noise as AgainstNoise
from holdfast.evaluate.checks.randomness import Randomness, differ
from holdfast.evaluate.checks.unbounded import Unbounded
from holdfast.evaluate.checks.verified import Verified
from holdfast.evaluate.sample import SIZE, Sample
from holdfast.evaluate.verdict import believe
from holdfast.models import Wrapped
from holdfast.threats import L1, L2, Linf

NAMES = [
    "input-scale",
    "probabilities",
    "randomness",
    "dynamic",
    "gradients",
    "ascent",
    "stability",
    "unbounded",
    "monotone-eps",
    "monotone-steps",
    "converged",
    "noise",
    "scores-only",
    "transfer",
    "binarisation",
    "did-something",
    "verified",
]


def evaluated(model, attack=None, *, threat=None, pictures=64, **options):
    threat = Linf(eps=0.1) if threat is None else threat
    return evaluate(model, digits().take(slice(0, pictures)), threat, attack, batch=64, **options)


def verdicts(found):
    return {check.name: check.verdict for check in found.checks}


def failed(found):
    return {name for name, verdict in verdicts(found).items() if verdict == "fail"}


def sample(model, attack=None, *, threat=None, pictures=None):
    pictures = digits().take(slice(0, 32)) if pictures is None else pictures
    return Sample(model, pictures, [attack or PGD(steps=10)], [threat or Linf(eps=0.1)], batch=64)


@pytest.mark.parametrize(
    ("name", "threat"),
    [
        *((name, Linf(eps=0.1)) for name in HONEST),
        *(("hardened mlp", threat) for threat in (L2(eps=0.5), L1(eps=2.0))),
        *(pytest.param("resnet", threat, marks=pytest.mark.slow) for threat in (Linf(eps=0.1), L2(eps=0.5))),
    ],
    ids=lambda value: getattr(value, "name", value),
)
def test_honest_models_raise_no_alarm(name, threat):
    found = evaluated(honest(name), threat=threat, pictures=32)
    assert list(verdicts(found)) == NAMES
    assert not failed(found), [check for check in found.checks if check.verdict == "fail"]
    assert found.believe
    skipped = {name for name, verdict in verdicts(found).items() if verdict == "skipped"}
    assert skipped <= {"transfer"}, "nothing can be taken away from a model without a defence"
    assert verdicts(found)["ascent"] == "pass"


@pytest.mark.parametrize(
    "attack",
    [
        MIFGSM(steps=40),
        PGD(loss="dlr"),
        pytest.param(IFGSM(steps=40), marks=pytest.mark.slow),
        pytest.param(PGD(loss="margin", restarts=2), marks=pytest.mark.slow),
    ],
    ids=repr,
)
def test_honest_attacks_raise_no_alarm(attack):
    assert evaluated(honest("cnn"), attack, pictures=32).believe


@pytest.mark.slow
@pytest.mark.parametrize("eps", [0.01, 0.03, 0.3])
@pytest.mark.parametrize("name", HONEST)
def test_honest_models_raise_no_alarm_at_any_radius(name, eps):
    assert evaluated(honest(name), threat=Linf(eps=eps), pictures=360).believe


def test_a_radius_at_which_nothing_can_break_is_no_failure_of_an_attack_that_works():
    found = evaluated(honest("cnn"), threat=Linf(eps=1e-5), pictures=64)
    assert found.robust.k == found.clean.k
    assert verdicts(found)["did-something"] == "warn"
    assert "in the whole box the attack breaks them" in found.summary["checks"][-2]["evidence"]
    assert found.believe
    idle = evaluated(broken("constant"), threat=Linf(eps=1e-5), pictures=64)
    assert verdicts(idle)["did-something"] == "fail"


def test_single_steps_are_told_that_more_help():
    found = evaluated(honest("cnn"), FGSM(), pictures=128)
    assert verdicts(found)["monotone-steps"] in ("warn", "fail")


def test_honest_curve_raises_no_alarm():
    found = evaluated(honest("hardened mlp"), eps=[0.02, 0.05, 0.1, 0.2], pictures=32)
    assert found.believe
    assert verdicts(found)["monotone-eps"] == "pass"


@pytest.mark.parametrize(
    ("name", "must_fail"),
    [
        ("softmax", {"probabilities"}),
        ("wants 0 to 255", {"input-scale"}),
        ("wants them normalised", {"input-scale"}),
        ("quantised", {"gradients", "unbounded", "noise"}),
        ("huge logits", {"gradients", "unbounded"}),
        ("dropout at test time", {"randomness"}),
        ("noisy logits", {"randomness", "verified"}),
        ("sees its neighbours", {"randomness"}),
        ("shattered", {"ascent"}),
        ("constant", {"gradients", "did-something"}),
        ("NaN gradient", {"gradients", "unbounded"}),
    ],
)
def test_broken_models_are_caught(name, must_fail):
    found = evaluated(broken(name))
    assert must_fail <= failed(found)
    assert not found.believe
    for check in found.checks:
        if check.name in must_fail:
            assert check.evidence in found.because or check.evidence.rstrip(".") in found.because
            assert check.advice


def test_advice_against_saturation_helps():
    found = evaluated(broken("huge logits"), PGD(loss="margin"))
    plain = evaluated(honest())
    assert found.believe
    assert abs(found.robust.k - plain.robust.k) <= 3


@pytest.mark.parametrize(
    ("attack", "must_fail"),
    [
        (Flipped(), {"unbounded", "noise"}),
        (Noise(), {"unbounded"}),
        (PGD(steps=2, step_size=0.05), {"monotone-steps"}),
    ],
    ids=lambda value: getattr(value, "name", ""),
)
def test_broken_attacks_are_caught(attack, must_fail):
    found = evaluated(honest(), attack)
    assert must_fail <= failed(found)
    assert not found.believe


def test_an_attack_that_stays_put_is_an_error():
    with pytest.raises(AttackDidNothing, match="unchanged"):
        evaluated(honest(), Nothing())


def test_a_cut_gradient_is_an_error():
    class Cut(nn.Module):
        def forward(self, x):
            return honest()(x.detach())

    with pytest.raises(AttackDidNothing, match="without one backward"):
        evaluated(Cut())


def test_a_nan_model_is_an_error():
    class NotANumber(nn.Module):
        def forward(self, x):
            return honest()(x) * float("nan")

    with pytest.raises(ModelError, match="NaN or infinity"):
        evaluated(NotANumber())


# One by one, at their thresholds


def floats(low, high, n=32):
    x = torch.linspace(low, high, n * 64).view(n, 1, 8, 8)
    return Pictures.from_arrays(x, torch.arange(n) % 10, name="ramp")


@pytest.mark.parametrize(
    ("low", "high", "box", "verdict", "says"),
    [
        (0.0, 1.0, (0, 1), "pass", "values from 0 to 1 in a box from 0 to 1"),
        (-0.1, 1.0, (0, 1), "fail", "values from -0.1 to 1"),
        (0.0, 1.4, (0, 1), "fail", "State the box"),
        (0.0, 255.0, (0, 1), "fail", "Divide the pictures by 255"),
        (0.0, 255.0, (0, 255), "pass", "values from 0 to 255"),
        (0.0, 1.0, (0, 255), "fail", "less than 2% of it"),
        (0.0, 10.0, (0, 255), "pass", "values"),
    ],
)
def test_input_scale(low, high, box, verdict, says):
    threat = Linf(eps=0.1, low=box[0], high=box[1])
    finding = InputScale().look(sample(honest(), threat=threat, pictures=floats(low, high)))
    assert finding.verdict == verdict
    assert says in finding.evidence + finding.advice


@pytest.mark.parametrize(
    ("name", "says"), [("wants 0 to 255", "expects 0 to 255"), ("wants them normalised", "expects normalised pictures")]
)
def test_the_scale_that_a_model_wants_is_named(name, says):
    assert says in InputScale().look(sample(broken(name))).advice


def test_training_mode_warns():
    model = nn.Sequential(honest("mlp"), nn.Dropout(0.5))
    finding = Randomness().look(sample(model.train()))
    honest("mlp").eval()
    assert (finding.verdict, model.training) == ("warn", True)
    assert "training mode (1) and evaluated in evaluation mode" in finding.evidence
    assert Randomness().look(sample(model.eval())).verdict == "pass"


def test_randomness_tells_a_second_pass_from_neighbours():
    noisy, crowded = (Randomness().look(sample(broken(name))) for name in ("noisy logits", "sees its neighbours"))
    assert "32 of 32 pictures are answered differently in a second pass" in noisy.evidence
    assert "8 of 8 pictures are answered differently alone" in crowded.evidence


def test_differences_are_shares_of_the_largest_logit():
    a = torch.tensor([[10.0, -20.0], [1.0, 2.0], [float("nan"), 0.0]])
    b = torch.tensor([[10.0, -19.0], [1.0, 2.0], [0.0, 0.0]])
    torch.testing.assert_close(differ(a, b), torch.tensor([0.05, 0.0, 1.0]))


def cancelling():
    """An honest model in which large numbers cancel, so that a batch of one rounds visibly otherwise."""
    mix = torch.linalg.qr(
        torch.randn(64, 64, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    ).Q.float()

    def function(inner, x):
        return inner((((x.flatten(1) + 300) @ mix) @ mix.T - 300).view_as(x))

    return Around(function).eval()


def test_rounding_is_not_randomness():
    assert Randomness().look(sample(cancelling())).verdict == "pass"


def test_half_precision_is_honest():
    model = Around(lambda inner, x: inner(x), deepcopy(honest()).bfloat16()).eval()
    found = evaluated(model, pictures=64)
    assert found.believe, found.because
    assert abs(found.robust.k - evaluated(honest(), pictures=64).robust.k) <= 6


@pytest.mark.parametrize("pictures", [32, 360])
def test_a_shattered_gradient_beats_no_noise(pictures):
    attack, threat = PGD(), Linf(eps=0.08)
    finding = AgainstNoise().look(
        sample(broken("shattered"), attack, threat=threat, pictures=digits().take(slice(0, pictures)))
    )
    assert finding.verdict == "fail"
    assert "noise with 41 tries" in finding.evidence


def test_noise_that_beats_the_attack_is_enough_though_the_attack_wins_elsewhere():
    """It fails where it was evaluated; that it climbs at half that radius does not mend it."""
    finding = AgainstNoise().look(sample(honest(), FlippedFar(), threat=Linf(eps=0.6), pictures=digits()))
    assert finding.verdict == "fail"
    assert finding.evidence.count("at eps=") == 1
    half = AgainstNoise().look(sample(honest(), FlippedFar(), threat=Linf(eps=0.3), pictures=digits()))
    assert half.verdict == "pass"


def test_noise_looks_further_where_nothing_breaks():
    finding = AgainstNoise().look(sample(honest(), threat=Linf(eps=1e-4)))
    assert finding.verdict == "pass"
    assert "at eps=0.0001 the attack breaks 0" in finding.evidence
    few = digits().take(slice(0, 12))
    assert AgainstNoise().look(sample(honest(), pictures=few)).verdict == "skipped"


@pytest.mark.parametrize("eps", [0.001, 0.1, 0.5, 1.0])
@pytest.mark.parametrize("name", HONEST)
def test_honest_gradients_point_uphill(name, eps):
    assert Ascent().look(sample(honest(name), threat=Linf(eps=eps), pictures=digits())).verdict == "pass"


def test_a_model_of_one_class_has_nothing_to_find():
    one = Around(lambda inner, x: inner(x) + torch.tensor([1e3] + 9 * [0.0])).eval()
    zeros = Pictures.from_arrays(digits().x()[digits().labels == 0], torch.zeros(36).long(), name="zeros")
    finding = Unbounded().look(sample(one, pictures=zeros.take(slice(0, 30))))
    assert finding.verdict == "skipped"
    assert "the same class" in finding.evidence


def test_a_cut_gradient_is_the_models_fault_beside_noise_too():
    cut = Around(lambda inner, x: inner(x.detach())).eval()
    with pytest.raises(AttackDidNothing, match="without one backward"):
        evaluated(cut, [Noise(tries=3), PGD(steps=5)], threat=Linf(eps=0.05), checks=False)


def test_unbounded_tries_again_with_more_steps():
    strengthened = Unbounded().strengthened(PGD(steps=5, step_size=0.02))
    assert strengthened == PGD(steps=20, restarts=3, step_size=0.02)
    assert Unbounded().strengthened(FGSM()) == FGSM()
    short = sample(honest(), PGD(steps=1, step_size=0.05, random_start=False))
    finding = Unbounded().look(short)
    assert finding.verdict == "pass"
    assert "at first" in finding.evidence


def test_an_attack_that_fades_is_not_monotone():
    faded = evaluated(honest(), Fading(steps=2, step_size=2.0, random_start=False), eps=[0.1, 0.4], pictures=48)
    assert verdicts(faded)["monotone-eps"] == "fail"
    assert "are lost again" in faded.because
    alone = sample(
        honest(), Fading(steps=2, step_size=2.0, random_start=False), threat=Linf(eps=0.2), pictures=digits()
    )
    assert MonotoneEps().look(alone).verdict == "fail"
    assert MonotoneSteps().look(alone).verdict == "fail"


def broken_at(*counts, of=1000):
    table = torch.zeros(len(counts), of, dtype=torch.bool)
    for row, (first, last) in zip(table, counts):
        row[first:last] = True
    return {"success": table, "prediction": torch.zeros(of).long(), "label": torch.zeros(of).long()}


def curve(*eps):
    return {"options": {"threat": {"name": "linf", "eps": list(eps)}}}


@pytest.mark.parametrize(
    ("small", "large", "verdict"),
    [
        ((0, 100), (0, 100), "pass"),
        ((0, 100), (2, 101), "pass"),  # 2 lost, 1 gained: chance
        ((0, 100), (12, 101), "fail"),  # 12 lost, 1 gained of 1000
        ((0, 100), (50, 200), "pass"),  # more gained than lost
    ],
)
def test_monotone_eps_reads_all_records(small, large, verdict):
    finding = MonotoneEps().read(curve(0.1, 0.2), broken_at(small, large))
    assert finding.verdict == verdict
    lost = large[0] - small[0]
    assert f"from one radius to the next {lost} are lost again" in finding.evidence


def test_monotone_eps_only_warns_where_little_is_lost():
    assert MonotoneEps().read(curve(0.1, 0.2), broken_at((0, 100), (12, 101), of=4000)).verdict == "warn"
    assert MonotoneEps().read(curve(0.1), broken_at((0, 1))) is None


def test_more_steps_that_still_help_warn():
    finding = MonotoneSteps(more=0.01, much=0.9).look(sample(honest(), PGD(steps=2, step_size=0.2)))
    assert finding.verdict == "warn"
    assert "raise them" in finding.advice


def test_an_attack_without_steps_is_held_against_the_suite_quick():
    finding = MonotoneSteps().look(sample(honest(), Noise()))
    assert finding.verdict == "fail"
    assert "by the suite quick" in finding.evidence
    assert not evaluated(honest(), Noise()).believe


def test_an_attack_of_tiny_steps_is_held_against_the_suite_quick():
    finding = MonotoneSteps().look(sample(honest(), PGD(steps=40, step_size=1e-3)))
    assert finding.verdict == "fail"
    assert "longer steps" in finding.advice


class Asks(nn.Module):
    """Drops out by a flag of its own code."""

    def forward(self, x):
        return functional.dropout(x, 0.5, self.training)


@pytest.mark.parametrize(
    ("part", "verdict"),
    [(Asks(), "warn"), (nn.BatchNorm2d(1), "warn"), (nn.Identity(), "pass"), (Around(lambda i, x: x), "pass")],
)
def test_training_mode_warns_where_it_matters(part, verdict):
    model = nn.Sequential(part, honest("mlp")).train()
    honest("mlp").eval()
    assert Randomness().look(sample(model)).verdict == verdict


def test_a_function_has_no_mode():
    model = Wrapped(lambda x: honest()(x))
    assert Randomness().look(sample(model)).verdict == "pass"


def test_did_something_at_its_edges():
    read = DidSomething().read
    assert read(curve(0.1), broken_at((0, 1))).verdict == "pass"
    assert read(curve(0.1), broken_at((0, 0))).verdict == "fail"
    assert read(curve(0.0), broken_at((0, 0))).verdict == "skipped"
    all_wrong = {**broken_at((0, 1000)), "label": torch.ones(1000).long()}
    assert read(curve(0.1), all_wrong).verdict == "skipped"


def told(**changes):
    """Records of two pictures that agree in everything, with one thing changed."""
    truth = torch.ones(1, 2, dtype=torch.bool)
    records = {
        **{name: truth.clone() for name in ("claimed", "success", "finite", "inside_box", "inside_eps", "untouched")},
        "tie": ~truth,
        "forward": torch.tensor([[3, 4]]),
        "backward": torch.tensor([[2, 3]]),
        "counted": torch.tensor([[7, 5, 4]]),
        "prediction": torch.tensor([0, 0]),
        "label": torch.tensor([0, 0]),
    }
    return {**records, **changes}


NOT_BOTH = torch.tensor([[True, False]])


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"claimed": NOT_BOTH}, "1 claims not confirmed"),
        ({"success": NOT_BOTH}, "1 claims not confirmed"),
        ({"finite": NOT_BOTH}, "1 not finite"),
        ({"inside_box": NOT_BOTH}, "1 outside the box"),
        ({"inside_eps": NOT_BOTH}, "1 larger than eps"),
        ({"untouched": NOT_BOTH}, "1 wrong from the start but changed"),
        ({"counted": torch.tensor([[8, 5, 4]])}, "7 forward passes claimed, 8 seen by hooks"),
        ({"counted": torch.tensor([[7, 4, 4]])}, "5 backward passes claimed, 4 seen by hooks"),
    ],
)
def test_every_disagreement_fails(changes, says):
    finding = Verified().read(curve(0.1), told(**changes))
    assert finding.verdict == "fail"
    assert says in finding.evidence


def test_agreement_passes_and_ties_are_told():
    assert Verified().read(curve(0.1), told()).verdict == "pass"
    tie = Verified().read(curve(0.1), told(claimed=NOT_BOTH, tie=~NOT_BOTH))
    assert (tie.verdict, "1 claims undecided" in tie.evidence) == ("pass", True)
    unseen = Verified().read(curve(0.1), told(counted=torch.tensor([[-1, -1, 4]])))
    assert (unseen.verdict, "not seen by hooks" in unseen.evidence) == ("pass", True)


def test_a_model_that_is_no_module_is_evaluated_too():
    model = honest()
    found = evaluated(lambda x: model(x), pictures=16)
    assert found.believe
    assert found.summary["model"]["parameters"] == 0


def test_the_sample_is_the_first_pictures_and_attacks_are_shared():
    seen = Sample(honest(), digits(), [PGD(steps=3)], [Linf(eps=0.1)], batch=64)
    assert len(seen) == SIZE
    assert torch.equal(seen.place, digits().place[:SIZE])
    first = seen.attacked(0.1)
    passes = seen.forward, seen.backward
    assert seen.attacked(0.1) is first
    assert (seen.forward, seen.backward) == passes
    assert seen.attacked(0.2) is not first
    assert passes[1] > 0


# The sentence


def finding(name="noise", verdict="pass", evidence="3 of 4."):
    return Finding(name, "Noise loses", verdict, evidence)


def test_believe_only_when_checks_were_made_and_none_failed():
    sure = [finding("randomness"), finding("noise", "warn"), finding("gradients", "skipped")]
    assert believe(sure) == {"verdict": True, "because": "none of 2 checks failed; 1 warned (noise)."}
    doubt = [*sure, finding("verified", "fail"), finding("unbounded", "fail", "all differ")]
    assert believe(doubt) == {
        "verdict": False,
        "because": "2 of 4 checks failed: verified: 3 of 4; unbounded: all differ.",
    }
    assert not believe([replace(f, verdict="skipped") for f in sure])["verdict"]
    assert not believe([finding("did-something"), finding("verified")])["verdict"]


def test_findings_come_in_the_order_of_the_registry_once_each():
    skipped = checks.skipped("left out")
    made = finding("unbounded", "fail")
    ordered = checks.in_order([finding("verified"), made, *skipped])
    assert [f.name for f in ordered] == [name for name in NAMES if name != "did-something"]
    assert made in ordered


def test_without_checks_nothing_is_believed():
    found = evaluated(honest(), pictures=16, checks=False)
    assert not found.believe
    assert "not made" in found.because
    assert found.summary["check_passes"] == {"forward": 0, "backward": 0}
    assert verdicts(found)["verified"] == "pass"
