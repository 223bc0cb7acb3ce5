"""Models that hide their gradients are caught by the checks that are there for it; honest ones are left in peace."""

import sys

import pytest
import torch
from torch import Tensor, nn

from evaluate_models import HONEST, Around, digits, honest
from holdfast import bridges
from holdfast.attacks import APGD, APGDT, FGSM, PGD, Square
from holdfast.errors import ModelError, OptionError, RunError
from holdfast.evaluate import evaluate
from holdfast.evaluate.checks.binarisation import Binarisation, Reheaded, far_apart, feature_layer, features, separate
from holdfast.evaluate.checks.converged import Converged, still_rising
from holdfast.evaluate.checks.dynamic import Dynamic
from holdfast.evaluate.checks.gradients import Gradients
from holdfast.evaluate.checks.scores_only import ScoresOnly
from holdfast.evaluate.checks.stability import Stability
from holdfast.evaluate.checks.transfer import Transfer, rescaled, twins
from holdfast.evaluate.sample import Sample, Trial
from holdfast.evaluate.suites import suite
from holdfast.generators import seeded
from holdfast.models import BitDepth, Defended, Normalized, Step
from holdfast.threats import L0, L1, L2, Linf
from masked_models import MASKED, Adapting, Counting, Misleading, Purifier, Quantise, masked

LOOKS = (Gradients(), Dynamic(), Stability(), Converged(), ScoresOnly(), Transfer(), Binarisation())


def sampled(model, threat=None, attacks=None, pictures=128, **more):
    threat = Linf(eps=0.1) if threat is None else threat
    return Sample(model, digits().take(slice(0, pictures)), attacks or [PGD()], [threat], batch=128, **more)


def looked(model, **more):
    """The verdict of each check, drawn by the numbers that an evaluation gives it, whatever was drawn before."""
    seen, verdicts = sampled(model, **more), {}
    for check in LOOKS:
        with seeded(seen.seed, f"check {check.name}", seen.x.device):
            verdicts[check.name] = check.look(seen).verdict
    return verdicts


CAUGHT_BY = {
    "quantised": {"scores-only", "transfer", "binarisation"},
    "quantised, hardened inside": {"scores-only", "transfer", "binarisation"},
    "rounding in its own code": {"scores-only", "binarisation"},
    "random resize": {"transfer"},
    "detached": {"scores-only", "transfer", "binarisation"},
    "thermometer": {"scores-only", "binarisation"},
    "winners take all": {"transfer"},
    "distilled": {"scores-only"},
    "misleading": {"transfer", "binarisation"},
    "half detached": {"transfer", "gradients"},
    "noise on the way back": {"transfer", "gradients"},
    "purifier": {"dynamic"},
    "adapting": {"dynamic"},
}


@pytest.mark.parametrize("name", MASKED)
def test_models_that_hide_their_gradients_are_caught(name):
    verdicts = looked(masked(name))
    assert CAUGHT_BY[name] <= {check for check, verdict in verdicts.items() if verdict == "fail"}, verdicts


@pytest.mark.parametrize("name", ["quantised", "random resize", "distilled", "adapting"])
def test_the_whole_evaluation_does_not_believe_them(name):
    found = evaluate(masked(name), digits().take(slice(0, 64)), Linf(eps=0.1), batch=64)
    assert not found.believe
    assert all(check.advice for check in found.checks if check.verdict == "fail")


@pytest.mark.parametrize(
    "threat", [Linf(eps=0.03), Linf(eps=0.3), L2(eps=0.5), L1(eps=3)], ids=lambda t: f"{t.name}-{t.eps}"
)
@pytest.mark.parametrize("name", HONEST)
def test_honest_models_are_left_in_peace(name, threat):
    verdicts = looked(honest(name), threat=threat)
    assert "fail" not in verdicts.values(), verdicts


@pytest.mark.parametrize("name", ["mlp", "hardened cnn"])
def test_an_honest_model_is_believed_under_the_standard_suite(name):
    threat = Linf(eps=0.1)
    found = evaluate(honest(name), digits().take(slice(0, 48)), threat, suite("standard").within(threat), batch=64)
    assert found.believe, found.because
    from_records = next(check for check in found.checks if check.name == "scores-only")
    assert "gradients left standing, square broke" in from_records.evidence


# ------------------------------------------------------------------------------------------------- one by one


def test_what_optimises_or_learns_while_it_answers():
    assert Dynamic().look(sampled(Purifier())).evidence == "one call of the model took gradients 1 times"
    learning = Dynamic().look(sampled(Adapting()))
    assert (learning.verdict, "its answers with them" in learning.evidence) == ("fail", True)
    counting = Dynamic().look(sampled(Counting()))
    assert (counting.verdict, "stayed the same" in counting.evidence) == ("warn", True)


def test_a_profiler_that_was_there_goes_on():
    calls = []

    def mine(frame, event, argument):
        calls.append(event)

    sys.setprofile(mine)
    try:
        Dynamic().look(sampled(honest(), pictures=8))
        assert sys.getprofile() is mine
    finally:
        sys.setprofile(None)


def test_the_loss_of_an_honest_model_changes_in_proportion():
    found = Stability().look(sampled(honest()))
    assert found.verdict == "pass"
    assert "to the power of 1.0" in found.evidence
    noisy = Around(lambda inner, x: inner(x) + torch.randn(len(x), 10))
    assert Stability().look(sampled(noisy)).verdict == "warn"
    assert Stability().look(sampled(masked("quantised"))).verdict == "warn"
    bare, declared = (
        Stability().look(sampled(Defended(honest(), [Step(BitDepth(bits=3), backward=back)]).eval()))
        for back in ("exact", "straight_through")
    )
    assert (bare.verdict, declared.verdict) == ("warn", "pass")
    assert "its step steps.0 is declared" in declared.evidence


def rising(*losses):
    return bool(still_rising(torch.tensor(losses).view(1, 1, -1), 0.05))


def test_a_loss_still_rises_if_its_last_tenth_brings_much():
    flat = [1.0 - 0.5**n for n in range(30)]
    assert not rising(*flat)
    assert rising(*[float(n) for n in range(30)])
    assert rising(*flat[:-1], 2.0)
    assert not rising(*[1.0] * 30), "nothing gained at all"
    assert not rising(*[-float(n) for n in range(30)]), "falling"
    assert not rising(*flat[:20], *[torch.nan] * 10), "not asked any more"


def test_a_search_that_was_cut_off_is_told():
    slow = PGD(steps=20, step_size=0.002, random_start=False)
    found = Converged().look(sampled(honest(), attacks=(slow,)))
    assert found.verdict == "warn"
    assert "still had a rising loss" in found.evidence
    assert Converged().look(sampled(honest("hardened mlp"), attacks=(FGSM(),))).verdict == "skipped"


def test_a_success_that_was_lost_fails(monkeypatch):
    seen = sampled(honest())
    trial = seen.attacked(0.1)
    forgotten = Trial(trial.verdict, trial.queries, torch.zeros_like(trial.claimed), trial.trace, trial.x_adv)
    monkeypatch.setattr(seen, "attacked", lambda eps: forgotten)
    found = Converged().look(seen)
    assert found.verdict == "fail"
    assert found.evidence.startswith(f"{int(trial.broken.sum())} pictures were broken on the way")


def test_scores_alone_tell_hidden_gradients_from_a_weak_attack():
    hidden = ScoresOnly().look(sampled(masked("quantised")))
    assert (hidden.verdict, "masked" in hidden.advice) == ("fail", True)
    weak = ScoresOnly().look(sampled(honest(), attacks=(PGD(steps=1, step_size=0.1),)))
    assert (weak.verdict, "too weak" in weak.advice) == ("fail", True)


def test_scores_alone_are_read_from_the_records_where_they_are_there():
    row = (PGD(steps=5), Square(queries=300))
    run = {"options": {"attack": {"options": [{"name": "pgd"}, {"name": "square"}]}}}
    assert ScoresOnly().look(sampled(honest(), attacks=row)) is None
    prediction = torch.zeros(1000, dtype=torch.int64)

    def records(by_square):
        by = torch.full((1, 1000), -1)
        by[0, :200] = 0
        by[0, 200 : 200 + by_square] = 1
        return {"prediction": prediction, "label": prediction, "attack": by, "success": by >= 0}

    for by_square, verdict in ((0, "pass"), (2, "pass"), (3, "warn"), (20, "warn"), (21, "fail")):
        found = ScoresOnly().read(run, records(by_square))
        assert found.verdict == verdict
        assert found.evidence == f"of 800 pictures that gradients left standing, square broke {by_square}"
    assert ScoresOnly().read({"options": {"attack": {"name": "pgd", "options": {}}}}, records(0)) is None
    alone = {"options": {"attack": {"name": "square", "options": {}}}}
    assert ScoresOnly().read(alone, records(0)) is None
    # One from elsewhere holds its place, and counts as one with gradients, even if it is called like one of ours.
    theirs = {"name": "square", "library": "function"}
    behind = ScoresOnly().read({"options": {"attack": {"options": [theirs, {"name": "square"}]}}}, records(21))
    assert "square broke 21" in behind.evidence
    first = {"options": {"attack": {"options": [{"name": "square"}, {"name": "pgd"}]}}}
    assert ScoresOnly().read(first, records(21)) is None
    assert ScoresOnly().look(sampled(honest(), attacks=row[::-1])) is not None
    mine = bridges.function(lambda model, x, y: x)
    assert ScoresOnly().look(sampled(honest(), attacks=(mine, *row))) is None
    assert ScoresOnly().look(sampled(honest(), attacks=(mine, row[1]))) is None


def test_what_cannot_be_asked_is_skipped():
    assert ScoresOnly().look(sampled(honest(), attacks=(Square(queries=10),))).verdict == "skipped"
    assert ScoresOnly().look(sampled(honest(), threat=L0(eps=2))).verdict == "skipped"
    assert Transfer().look(sampled(honest(), attacks=(Square(queries=10),))).verdict == "skipped"
    assert Transfer().look(sampled(honest())).verdict == "skipped"
    assert Binarisation().look(sampled(honest(), threat=L0(eps=2))).verdict == "skipped"
    assert "too few" in Binarisation().look(sampled(honest(), threat=Linf(eps=0.9))).evidence


# ------------------------------------------------------------------------------------------------- twins


def names(model):
    return [name for name, _ in twins(sampled(model), 9)]


def test_twins_are_found_behind_what_is_done_to_pictures():
    assert names(nn.Sequential(Quantise(), honest())) == ["a copy with straight-through layers", "its part 1"]
    assert names(Around(lambda inner, x: inner((x * 8).round() / 8))) == ["its part inner"]
    assert names(Around(lambda inner, x: inner(x) * 1000)) == ["its part inner"]
    assert names(honest("cnn")) == []
    assert names(nn.Sequential(nn.Sequential(honest()))) == [], "the same function has no defence to take away"
    assert names(lambda x: honest()(x)) == []


def test_a_change_of_scale_is_no_defence():
    model = Normalized(honest(), [0.0], [1.0])
    assert names(model) == []
    x = torch.rand(8, 3, 4, 4)
    other = x * torch.tensor([2.0, -1.0, 0.5]).view(1, 3, 1, 1) + 0.3
    slope, offset = rescaled(x, other)
    torch.testing.assert_close(slope * x + offset, other)
    assert rescaled(x, (x * 8).round() / 8) is None
    assert rescaled(x, other[:, :2]) is None


def test_pictures_are_transferred_from_a_model_that_is_named():
    class Blind(nn.Module):
        """Rounds inside; its own parts classify nothing."""

        def forward(self, x: Tensor) -> Tensor:
            return honest()((x * 8).round() / 8)

    without = Transfer().look(sampled(Blind()))
    assert without.verdict == "skipped"
    named = Transfer().look(sampled(Blind(), sources=[("the model named", honest())]))
    assert named.verdict == "fail"
    assert "the model named" in named.evidence


def test_a_named_model_goes_through_the_evaluation(tmp_path):
    few = digits().take(slice(0, 32))
    found = evaluate(honest(), few, Linf(eps=0.1), PGD(steps=5), transfer_from=honest("hardened mlp"), out=tmp_path)
    check = next(check for check in found.checks if check.name == "transfer")
    assert "the model named" in check.evidence
    with pytest.raises(RunError, match="transfer_from was"):
        evaluate(honest(), few, Linf(eps=0.1), PGD(steps=5), transfer_from=honest("cnn"), out=tmp_path, resume=True)


# ------------------------------------------------------------------------------------------------- a known point


def test_one_point_is_told_from_all_others():
    generator = torch.Generator().manual_seed(0)
    points = torch.randn(50, 80, generator=generator)
    head, told = separate(points)
    scores = points @ head[:-1] + head[-1]
    assert told
    assert scores[-1] > 0 > scores[:-1].max()
    torch.testing.assert_close(scores[-1], -scores[:-1].max(), rtol=1e-3, atol=1e-3)
    torch.testing.assert_close(scores[-1] - scores[:-1].mean(), torch.tensor(10.0), rtol=1e-3, atol=1e-3)
    inside = torch.cat([torch.randn(500, 2, generator=generator), torch.zeros(1, 2)])
    assert not separate(inside)[1], "a point in the midst of others cannot be told from them"


@pytest.mark.parametrize("threat", [Linf(eps=0.2), L2(eps=1.5), L1(eps=4)], ids=lambda t: t.name)
def test_every_point_of_a_ball_gets_its_own_head(threat):
    x = digits().x()
    rows = far_apart(x, threat, 12)
    assert 2 <= len(rows) <= 12
    assert rows.tolist() == sorted(rows.tolist())
    apart = torch.stack([threat.size(x[rows] - x[row]) for row in rows])
    apart.fill_diagonal_(torch.inf)
    assert float(apart.min()) > 2 * threat.eps
    heads = torch.zeros(len(rows), 11)
    heads[:, -1] = torch.arange(len(rows))
    model = Reheaded(lambda x: honest()(x), None, x[rows], heads, threat)
    from holdfast.draws import Draws

    moved = threat.edge(x[rows], Draws(0, torch.arange(len(rows))))
    order = torch.randperm(len(rows), generator=torch.Generator().manual_seed(0))
    assert model(moved[order])[:, 1].tolist() == order.tolist()


def test_features_are_what_the_last_layer_sees():
    model, x = honest("mlp"), digits().x(slice(0, 4))
    layer = feature_layer(model, x)
    assert layer is [m for m in model.modules() if isinstance(m, nn.Linear)][-1]
    torch.testing.assert_close(layer(features(layer, model, x)), model(x))
    assert not layer._forward_pre_hooks
    assert torch.equal(features(None, model, x), model(x))


class Flipped(nn.Module):
    """Looks at every picture twice: two rows of features each."""

    def __init__(self) -> None:
        super().__init__()
        self.net = honest()

    def forward(self, x: Tensor) -> Tensor:
        first, second = self.net(torch.cat([x, x.flip(3)])).chunk(2)
        return (first + second) / 2


class Probed(nn.Module):
    """Its last layer is beside the point, and sees features without a gradient."""

    def __init__(self) -> None:
        super().__init__()
        self.net, self.probe = honest(), nn.Linear(10, 2)

    def forward(self, x: Tensor) -> Tensor:
        logits = self.net(x)
        self.probe(logits.detach())
        return logits


@pytest.mark.parametrize("kind", [Flipped, Probed])
def test_features_that_are_no_row_a_picture_are_not_taken(kind):
    model = kind().eval()
    assert feature_layer(model, digits().x(slice(0, 2))) is None
    assert Binarisation().look(sampled(model)).verdict != "fail"


class Insisting(nn.Module):
    """Takes pictures of 16 x 16 only."""

    def __init__(self) -> None:
        super().__init__()
        self.net = honest()

    def forward(self, x: Tensor) -> Tensor:
        assert x.shape[-1] == 16
        return self.net(x[..., ::2, ::2])


def test_a_part_that_insists_on_another_size_is_no_twin():
    assert names(nn.Sequential(nn.Upsample(16), Insisting())) == []


def test_a_layer_under_two_names_is_straightened_at_both():
    shared = Quantise()
    model = nn.Sequential(shared, nn.Identity(), shared, honest())
    name, twin = next(twins(sampled(model), 1))
    x = digits().x(slice(0, 4)).requires_grad_()
    (gradient,) = torch.autograd.grad(twin(x).sum(), x)
    assert name == "a copy with straight-through layers"
    assert bool((gradient != 0).any())


def test_whoever_names_a_model_hears_why_it_cannot_be_attacked():
    with pytest.raises(RuntimeError):
        Transfer().look(sampled(masked("quantised"), sources=[("the model named", nn.Linear(3, 10))]))
    with pytest.raises(OptionError, match="transfer_from without the check"):
        evaluate(honest(), digits().take(slice(0, 8)), Linf(eps=0.1), transfer_from=honest("cnn"), checks=False)


def test_an_attack_that_goes_nowhere_finds_no_known_point():
    found = Binarisation().look(sampled(nn.Sequential(Misleading(), honest())))
    assert found.verdict == "fail"
    assert " 0 are found" in found.evidence
    for attack in (APGD(steps=20), APGDT(steps=10), PGD(loss="margin")):
        assert Binarisation().look(sampled(honest("hardened mlp"), attacks=(attack,))).verdict == "pass"


def test_a_wrong_model_to_transfer_from_is_refused_at_once():
    with pytest.raises(ModelError, match=r"answered .* allowed"):
        evaluate(honest(), digits().take(slice(0, 8)), Linf(eps=0.1), transfer_from=lambda x: x)
