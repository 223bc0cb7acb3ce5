"""Measures of calibration, recalibrations, selective prediction and conformal sets, against exact answers."""

import math
from dataclasses import dataclass, field
from itertools import product

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch.nn.functional import one_hot

from holdfast import data, models, uncertainty
from holdfast.drawing.reliability import OVER, UNDER, Bin
from holdfast.drawing.reliability import reliability as drawn
from holdfast.errors import DataError, OptionError
from holdfast.models import maps
from holdfast.models.maps.sigmoids import log_odds
from holdfast.uncertainty import RECALIBRATIONS, SETS, bootstrap, build
from holdfast.uncertainty.bbq import BBQ
from holdfast.uncertainty.conformal import ASKED, FITTED, _uniform
from holdfast.uncertainty.matrix import PRICES
from holdfast.uncertainty.selective import upper
from nets import small_net


def case(n=600, classes=4, sharp=2.0, seed=0):
    """Logits that are right more often than not, and surer than that when `sharp` is above 1."""
    random = torch.Generator().manual_seed(seed)
    y = torch.randint(classes, (n,), generator=random)
    z = torch.randn(n, classes, generator=random, dtype=torch.float64) + 1.5 * one_hot(y, classes)
    return sharp * z, y


def logits_of(p):
    """Logits with these probabilities."""
    return torch.tensor(p, dtype=torch.float64).log()


FIT, REPORT = case(), case(seed=1)


# Bins


def test_bins_are_closed_on_the_right_and_one_belongs_to_the_last():
    values = torch.tensor([0.0, 0.1, 0.1 + 1e-12, 0.3, 0.5, 0.9, 1.0], dtype=torch.float64)
    bins = uncertainty.equal_width(values, torch.ones(7, dtype=torch.bool), 10)
    assert bins.index.tolist() == [0, 0, 1, 2, 4, 8, 9]
    assert len(bins.count) == 10
    assert bins.count.sum() == 7
    assert bins.to_plain()[3] == {"low": 0.3, "high": 0.4, "n": 0, "confidence": None, "accuracy": None}


def test_full_confidence_counts_in_the_last_bin_and_not_in_one_of_its_own():
    values, hits = torch.tensor([0.95, 1.0], dtype=torch.float64), torch.tensor([True, False])
    bins = uncertainty.equal_width(values, hits, 10)
    assert float((bins.weight * bins.gap.abs()).sum()) == pytest.approx(0.475)


@given(st.lists(st.sampled_from([0.05, 0.2, 0.25, 0.5, 0.7, 0.99, 1.0]), min_size=1, max_size=40), st.integers(1, 8))
def test_bins_of_equal_mass_hold_all_and_do_not_see_the_order(values, bins):
    values = torch.tensor(values, dtype=torch.float64)
    hits = torch.arange(len(values)) % 2 == 0
    found = uncertainty.equal_mass(values, hits, bins)
    assert found.count.sum() == len(values)
    turned = uncertainty.equal_mass(values.flip(0), hits.flip(0), bins)
    assert found.edges.tolist() == turned.edges.tolist()
    torch.testing.assert_close(found.gap, turned.gap)
    for b, (low, high) in enumerate(zip(found.edges[:-1], found.edges[1:])):
        assert all(low < v <= high or (b == 0 and v == 0) for v in values[found.index == b])


@pytest.mark.parametrize(("n", "bins"), [(10, 3), (11, 4), (7, 7), (100, 15)])
def test_bins_of_equal_mass_differ_by_one_picture_at_most(n, bins):
    values = torch.linspace(0.1, 0.9, n, dtype=torch.float64)
    count = uncertainty.equal_mass(values, values > 0.5, bins).count
    assert len(count) == bins
    assert count.max() - count.min() <= 1


# Measures


def test_measures_of_four_pictures_by_hand():
    z, y = logits_of([[0.9, 0.1], [0.8, 0.2], [0.45, 0.55], [0.3, 0.7]]), torch.tensor([0, 1, 1, 1])
    # Bins (0, .5], (.5, 1]: all four lie in the second; mean confidence .7375, accuracy .75.
    assert uncertainty.ece(z, y, 2) == pytest.approx(0.0125)
    # Of width .1: .9 in (.8, .9] right; .8 in (.7, .8] wrong; .55 right; .7 in (.6, .7] right.
    assert uncertainty.ece(z, y, 10) == pytest.approx((0.1 + 0.8 + 0.45 + 0.3) / 4)
    assert uncertainty.mce(z, y, 10) == pytest.approx(0.8)
    # Two bins of two: (.55, .7) both right, (.8, .9) half right.
    assert uncertainty.adaptive_ece(z, y, 2) == pytest.approx((abs(0.625 - 1) + abs(0.85 - 0.5)) / 2)
    assert uncertainty.nll(z, y) == pytest.approx(-math.log(0.9 * 0.2 * 0.55 * 0.7) / 4)
    assert uncertainty.brier(z, y) == pytest.approx(2 * (0.01 + 0.64 + 0.45**2 + 0.09) / 4)
    assert uncertainty.accuracy(z, y) == 0.75
    # Of class 0 at two bins: (.45, .3) none, (.9, .8) half: |.375 - 0| / 2 + |.85 - .5| / 2; of class 1 the same.
    assert uncertainty.classwise_ece(z, y, 2) == pytest.approx((0.375 + 0.35) / 2)


def test_the_maximum_is_of_either_sign():
    z, y = logits_of([[0.45, 0.55], [0.9, 0.1], [0.9, 0.1]]), torch.tensor([1, 0, 1])
    assert uncertainty.mce(z, y, 10) == pytest.approx(0.45)  # right at .55; .9 where half are is only .4


@pytest.mark.parametrize("bins", [1, 5, 15])
def test_errors_agree_with_sums_over_pictures(bins):
    z, y = REPORT
    p = z.softmax(1).numpy()
    said, right = p.max(1), p.argmax(1) == y.numpy()
    total = 0.0
    gaps = []
    for b in range(bins):
        inside = (said > b / bins) & (said <= (b + 1) / bins)
        if inside.any():
            gaps.append(abs(said[inside].mean() - right[inside].mean()))
            total += inside.mean() * gaps[-1]
    assert uncertainty.ece(z, y, bins) == pytest.approx(total, abs=1e-12)
    assert uncertainty.mce(z, y, bins) == pytest.approx(max(gaps), abs=1e-12)


def test_scores_agree_with_scikit_learn():
    from sklearn.metrics import brier_score_loss, log_loss

    z, y = REPORT
    assert uncertainty.nll(z, y) == pytest.approx(log_loss(y.numpy(), z.softmax(1).numpy()), abs=1e-9)
    two, label = z[:, :2], (y == 1).long()
    single = brier_score_loss(label.numpy(), two.softmax(1)[:, 1].numpy())
    assert uncertainty.brier(two, label) == pytest.approx(2 * single)


@given(st.integers(2, 5), st.integers(1, 40), st.integers(0, 5), st.sampled_from([1, 3, 15, None]))
def test_brier_parts_and_remainder_make_up_the_score(classes, n, seed, bins):
    z, y = case(n, classes, seed=seed)
    z = z.round()  # some forecasts alike
    if bool((z >= 0).all() and (z.sum(1) == 1).all()):
        return
    parts = uncertainty.brier_parts(z, y, bins)
    assert parts.brier == pytest.approx(uncertainty.brier(z, y), abs=1e-12)
    assert min(parts.reliability, parts.resolution, parts.uncertainty) >= -1e-15
    base = y.bincount(minlength=classes) / n
    assert parts.uncertainty == pytest.approx(float((base * (1 - base)).sum()), abs=1e-6)


def test_brier_parts_are_exact_with_a_bin_for_each_forecast():
    z = logits_of([[0.2, 0.8]] * 5 + [[0.6, 0.4]] * 4)
    y = torch.tensor([0, 1, 1, 1, 1, 0, 0, 1, 1])
    parts = uncertainty.brier_parts(z, y, None)
    assert parts.remainder == pytest.approx(0, abs=1e-15)
    assert parts.reliability == pytest.approx(2 * (4 / 9) * 0.1**2)  # .2 is right; .6 where half are
    coarse = uncertainty.brier_parts(z, y, 1)
    assert coarse.resolution == pytest.approx(0, abs=1e-15)
    assert abs(coarse.remainder) > 1e-3


# Bootstrap


def test_intervals_hold_the_values_and_do_not_depend_on_how_they_are_computed(monkeypatch):
    z, y = REPORT
    found = uncertainty.intervals(z, y, resamples=40, seed=3)
    for name in ("ece", "adaptive_ece", "mce", "nll", "brier", "accuracy"):
        assert found[name].value == pytest.approx(getattr(uncertainty, name)(z, y), abs=1e-12)
        assert 0 <= found[name].low <= found[name].value <= found[name].high
    monkeypatch.setattr(bootstrap, "AT_ONCE", 700)  # a resample at a time
    for name, again in uncertainty.intervals(z, y, resamples=40, seed=3).items():
        assert (again.low, again.high) == pytest.approx((found[name].low, found[name].high), abs=1e-12)
    assert uncertainty.intervals(z, y, resamples=40, seed=4)["nll"].low != pytest.approx(found["nll"].low, abs=1e-9)


def test_the_interval_of_a_mean_is_as_wide_as_its_standard_error():
    z, y = case(2000)
    found = uncertainty.intervals(z, y, resamples=400)["accuracy"]
    width = 2 * 1.96 * math.sqrt(found.value * (1 - found.value) / len(y))
    assert found.high - found.low == pytest.approx(width, rel=0.12)


def test_intervals_cover_a_known_calibration_error():
    covered = 0
    for seed in range(60):  # sure of 0.9 and right at 0.8: the error is 0.1
        right = torch.rand(400, generator=torch.Generator().manual_seed(seed)) < 0.8
        z = logits_of([[0.9, 0.1]]).expand(400, 2)
        one = uncertainty.intervals(z, (~right).long(), resamples=100, seed=seed)["ece"]
        covered += one.low <= 0.1 <= one.high
    assert covered >= 52  # 57 are expected; 51 or fewer happen once in 70


def test_the_interval_makes_up_for_what_resampling_adds():
    """Resamples of a calibrated model have larger errors than it has: quantiles of them would lie above it all."""
    random = torch.Generator().manual_seed(0)
    p = 0.5 + 0.5 * torch.rand(2000, generator=random, dtype=torch.float64)
    y = (torch.rand(2000, generator=random, dtype=torch.float64) > p).long()
    one = uncertainty.intervals(torch.stack([p, 1 - p], 1).log(), y, resamples=200)["ece"]
    assert one.low < 0.8 * one.value
    assert one.high > 1.1 * one.value
    drawn = torch.linspace(0.04, 0.06, 41, dtype=torch.float64)  # all above the value
    found = bootstrap._interval(0.03, drawn, 1.0)
    assert (found.low, found.high) == (pytest.approx(0.06 - 0.0595), pytest.approx(0.0595))
    assert bootstrap._interval(0.03, drawn, 0.05).high == 0.05


# What is refused


@pytest.mark.parametrize(
    ("logits", "labels", "error", "text"),
    [
        (torch.tensor([[0.5, 0.5], [0.1, 0.9]]), torch.tensor([0, 1]), OptionError, "torch.log"),
        (torch.tensor([[torch.nan, 0.0]]), torch.tensor([0]), DataError, "NaN"),
        (torch.tensor([[torch.inf, 0.0]]), torch.tensor([0]), DataError, "row 0"),
        (torch.tensor([[2.0, 0.0]]), torch.tensor([2]), DataError, "0 to 1"),
        (torch.tensor([[2.0, 0.0]]), torch.tensor([0.0]), DataError, "int64"),
        (torch.tensor([2.0, 0.0]), torch.tensor([0]), DataError, "(N, K)"),
        (torch.zeros(0, 3), torch.zeros(0, dtype=torch.int64), DataError, "N >= 1"),
    ],
)
@pytest.mark.parametrize("measure", ["ece", "mce", "adaptive_ece", "classwise_ece", "nll", "brier", "intervals"])
def test_what_no_measure_can_be_of_is_refused(measure, logits, labels, error, text):
    with pytest.raises(error, match="allowed") as raised:
        getattr(uncertainty, measure)(logits, labels)
    assert text in str(raised.value)


def test_logarithms_of_probabilities_are_logits():
    z, y = REPORT
    assert uncertainty.ece(z.softmax(1).log(), y) == pytest.approx(uncertainty.ece(z, y), abs=1e-12)


@pytest.mark.parametrize(
    ("name", "options", "text"),
    [
        ("temperature", {"least": 3, "most": 2}, "least=3"),
        ("vector", {"intercept": -1}, "intercept=-1"),
        ("matrix-odir", {"off_diagonal": -1}, "off_diagonal=-1"),
        ("histogram", {"bins": 0}, "bins=0"),
        ("bbq", {"spread": 0.5}, "spread=0.5"),
        ("bbq", {"prior": 0}, "prior=0"),
        ("temprature", {}, "Did you mean 'temperature'"),
    ],
)
def test_wrong_options_say_what_is_allowed(name, options, text):
    with pytest.raises(OptionError) as raised:
        build(name, options)
    assert text in str(raised.value)


# Recalibrations, a table of properties


@dataclass(frozen=True)
class Row:
    """A recalibration with what holds for it."""

    name: str
    options: dict = field(default_factory=dict)
    keeps_predictions: bool = False
    needs_classes: bool = True
    steps: bool = False  # piecewise constant, so its gradient is another one's
    lowers_nll: bool = True  # on the pictures it was fitted on; the binnings minimise other things

    def fit(self, logits, labels):
        return build(self.name, self.options).fit(logits, labels)


ROWS = [
    Row("temperature", keeps_predictions=True, needs_classes=False),
    Row("vector"),
    Row("matrix"),
    Row("matrix-odir"),
    Row("histogram", steps=True, lowers_nll=False),
    Row("histogram", {"width": "quantile"}, steps=True, lowers_nll=False),
    Row("isotonic", lowers_nll=False),
    Row("bbq", steps=True, lowers_nll=False),
    Row("platt", lowers_nll=False),
]
every_row = pytest.mark.parametrize("row", ROWS, ids=lambda row: row.name + "".join(map(str, row.options.values())))


def test_the_table_has_every_recalibration():
    assert {row.name for row in ROWS} == set(RECALIBRATIONS)


@every_row
def test_it_gives_finite_logits_and_leaves_its_input_alone(row):
    (z, y), before = FIT, FIT[0].clone()
    made = row.fit(z, y)
    for given_ in (REPORT[0], REPORT[0].float(), 300 * REPORT[0], REPORT[0][:1]):
        after = made(given_)
        assert after.shape == given_.shape
        assert after.dtype == given_.dtype
        assert after.isfinite().all()
    assert torch.equal(z, before)


@every_row
def test_it_mends_calibration_on_other_pictures(row):
    (z, y), (other, label) = case(3000, sharp=3), case(3000, sharp=3, seed=1)
    assert uncertainty.ece(row.fit(z, y)(other), label) < 0.5 * uncertainty.ece(other, label)
    made = row.fit(*FIT)
    if row.lowers_nll:
        assert uncertainty.nll(made(FIT[0]), FIT[1]) < uncertainty.nll(*FIT)


@every_row
def test_only_the_declared_ones_never_change_a_prediction(row):
    z, y = case(60, seed=5)  # few pictures, so that the others do change some
    after = row.fit(z, y)(REPORT[0])
    assert torch.equal(after.argmax(1), REPORT[0].argmax(1)) == row.keeps_predictions


@every_row
def test_the_order_of_pictures_and_the_batch_do_not_matter(row):
    z, y = FIT
    made, turned = row.fit(z, y), row.fit(z.flip(0), y.flip(0))
    torch.testing.assert_close(made(REPORT[0]), turned(REPORT[0]), atol=1e-4, rtol=1e-4)
    split = torch.cat([made(part) for part in REPORT[0].split(7)])
    torch.testing.assert_close(made(REPORT[0]), split)


@every_row
def test_a_class_without_pictures_is_refused_where_there_is_nothing_to_fit(row):
    z, y = FIT
    kept = y != 2
    if not row.needs_classes:
        assert row.fit(z[kept], y[kept])(z).isfinite().all()
        return
    with pytest.raises(DataError, match=r"1 of 4 classes have no picture .*: 2; allowed"):
        row.fit(z[kept], y[kept])


@every_row
def test_its_gradient_is_the_declared_one(row):
    made = row.fit(*FIT)
    z = REPORT[0][:5].clone().requires_grad_()
    assert (made.backward == "straight_through") == row.steps
    weights = torch.linspace(-1, 1, 4, dtype=torch.float64)
    (found,) = torch.autograd.grad((made(z) * weights).sum(), z)
    if row.steps:
        (expected,) = torch.autograd.grad((z.log_softmax(1) * weights).sum(), z)
        torch.testing.assert_close(found, expected)
        assert torch.equal(made(z).detach(), made(z.detach()))
        return
    numeric = torch.zeros_like(found)
    for place in product(range(5), range(4)):
        step = torch.zeros_like(found)
        step[place] = 1e-6
        numeric[place] = ((made(z.detach() + step) - made(z.detach() - step)) * weights).sum() / 2e-6
    torch.testing.assert_close(found, numeric, atol=2e-5, rtol=2e-4)


@every_row
def test_it_is_saved_and_loaded_with_its_model(row, tmp_path):
    made = row.fit(*FIT)
    card = models.Card(architecture="linear", shape=(1, 3, 3), classes=tuple("abcd"))
    model = models.Recalibrated(card.build(seed=1), made)
    told = {"map": maps.named(made), "method": row.name}
    recalibrated = models.Card(architecture="linear", shape=(1, 3, 3), classes=tuple("abcd"), recalibration=told)
    models.save(tmp_path / "run", model, recalibrated)
    loaded, read = models.load(tmp_path / "run")
    x = torch.rand(6, 1, 3, 3)
    assert read.recalibration["map"] == told["map"]
    assert torch.equal(loaded(x), model.eval()(x))
    assert bool(models.bridged_steps(loaded)) == row.steps
    for name, value in loaded.map.state_dict().items():
        assert value.dtype == torch.float64, name
    assert models.weights_sha256(loaded) == models.weights_sha256(model)


def test_a_model_in_half_precision_stays_so_beside_its_map(tmp_path):
    told = {"map": maps.named(maps.Temper(2.0)), "method": "temperature"}
    card = models.Card(architecture="linear", shape=(1, 3, 3), classes=tuple("abcd"), recalibration=told)
    model = card.build(seed=1)
    model.model.half()
    models.save(tmp_path / "run", model, card)
    loaded, _ = models.load(tmp_path / "run")
    assert {value.dtype for value in loaded.model.state_dict().values()} == {torch.float16}
    assert loaded.map.temperature.dtype == torch.float64


def test_a_card_without_the_entry_is_read_as_before(tmp_path):
    import json

    card = models.Card(architecture="linear", shape=(1, 3, 3), classes=tuple("abcd"))
    models.save(tmp_path, card.build(seed=1), card)
    plain = json.loads((tmp_path / "card.json").read_text())
    del plain["recalibration"]
    (tmp_path / "card.json").write_text(json.dumps(plain))
    assert models.load(tmp_path)[1].recalibration is None


def test_an_unknown_map_is_refused():
    with pytest.raises(OptionError, match="unknown map of logits"):
        maps.build({"name": "tempr"})
    with pytest.raises(OptionError, match="do not fit"):
        maps.build({"name": "affine", "knots": 3})


# Recalibrations one by one, against exact answers


@pytest.mark.parametrize("temperature", [0.2, 1.0, 3.7])
def test_temperature_finds_the_one_that_labels_were_drawn_with(temperature):
    random = torch.Generator().manual_seed(0)
    true = 1.5 * torch.randn(20000, 5, generator=random, dtype=torch.float64)
    y = true.softmax(1).multinomial(1, generator=random).squeeze(1)
    made = build("temperature").fit(temperature * true, y)
    assert float(made.temperature) == pytest.approx(temperature, rel=0.03)


def test_temperature_is_where_the_likelihood_is_highest():
    z, y = FIT
    best = float(build("temperature").fit(z, y).temperature)
    least = uncertainty.nll(z / best, y)
    assert all(uncertainty.nll(z / (best * factor), y) > least for factor in (0.5, 0.99, 0.999, 1.001, 1.01, 2))


def test_temperature_takes_few_steps(monkeypatch):
    from holdfast.uncertainty import temperature

    asked, slope = [], temperature._slope
    monkeypatch.setattr(temperature, "_slope", lambda *given: asked.append(given) or slope(*given))
    for seed in range(10):
        asked.clear()
        build("temperature").fit(*case(sharp=5, seed=seed))
        assert len(asked) < 15


@pytest.mark.parametrize("scale", [1e-6, 1e-3, 1.0, 1e4])
def test_temperature_goes_with_the_scale_of_the_logits(scale):
    z, y = FIT
    wide = build("temperature", {"least": 1e-9, "most": 1e9})
    once = float(wide.fit(z, y).temperature)
    assert float(wide.fit(scale * z, y).temperature) == pytest.approx(scale * once, rel=1e-6)


def test_temperature_ends_at_its_bounds_where_the_likelihood_has_no_top():
    z = torch.tensor([[2.0, 0.0], [0.0, 2.0], [1.0, 0.0]], dtype=torch.float64)
    right, wrong = torch.tensor([0, 1, 0]), torch.tensor([1, 0, 1])
    assert float(build("temperature").fit(z, right).temperature) == 0.05
    assert float(build("temperature").fit(z, wrong).temperature) == 20
    (found,) = uncertainty.recalibrate([build("temperature")], (z, right), (z, right), resamples=2)
    assert "at its bound" in found.notes[0]
    assert found.changed == 0


def test_matrix_is_multinomial_regression_on_the_logits():
    from sklearn.linear_model import LogisticRegression

    z, y = FIT
    oracle = LogisticRegression(C=math.inf, tol=1e-10, max_iter=5000).fit(z.numpy(), y.numpy())
    ours = build("matrix").fit(z, y)(REPORT[0]).softmax(1)
    torch.testing.assert_close(ours, torch.from_numpy(oracle.predict_proba(REPORT[0].numpy())), atol=1e-3, rtol=0)


def test_vector_is_where_no_weight_nor_bias_helps():
    z, y = FIT
    made = build("vector").fit(z, y)
    error = made(z).softmax(1) - one_hot(y, 4)
    assert error.mean(0).abs().max() < 1e-5
    assert (error * z).mean(0).abs().max() < 1e-5


def test_a_price_off_the_diagonal_leads_from_the_matrix_to_the_vector():
    z, y = FIT
    free = build("matrix-odir", {"off_diagonal": 0, "intercept": 0}).fit(z, y)
    torch.testing.assert_close(free(z).softmax(1), build("matrix").fit(z, y)(z).softmax(1), atol=1e-4, rtol=0)
    sizes = []
    for price in (0.01, 1, 1e3):
        weight = build("matrix-odir", {"off_diagonal": price, "intercept": 0}).fit(z, y).weight
        sizes.append(float((weight - weight.diag().diag()).abs().max()))
    assert sizes == sorted(sizes, reverse=True)
    assert sizes[-1] < 1e-3
    whole = build("matrix-odir", {"off_diagonal": 1e3, "intercept": 0}).fit(z, y)
    torch.testing.assert_close(whole(z).softmax(1), build("vector").fit(z, y)(z).softmax(1), atol=1e-3, rtol=0)
    assert build("matrix-odir", {"off_diagonal": 0.1, "intercept": 1e3}).fit(z, y).bias.abs().max() < 1e-3


def test_odir_chooses_the_price_that_serves_other_pictures():
    z, y = case(60, seed=5)
    chosen = build("matrix-odir").fit(z, y)
    prices = [build("matrix-odir", {"off_diagonal": price}) for price in PRICES]
    assert any(torch.allclose(one.fit(z, y).weight, chosen.weight, atol=1e-4) for one in prices)
    losses = [uncertainty.nll(made(REPORT[0]), REPORT[1]) for made in (chosen, build("matrix").fit(z, y))]
    assert losses[0] < losses[1] - 0.1


def test_odir_lets_the_matrix_be_where_classes_are_mixed_up():
    z, y = case(4000)
    mixed = z @ (torch.eye(4, dtype=torch.float64) + 0.5 * torch.ones(4, 4, dtype=torch.float64).tril(-1))
    vector = build("vector").fit(mixed, y)(mixed)
    assert uncertainty.nll(build("matrix-odir").fit(mixed, y)(mixed), y) < uncertainty.nll(vector, y) - 0.02


def test_odir_is_at_rest_where_its_price_is_a_mean_of_squares():
    z, y = FIT
    made = build("matrix-odir", {"off_diagonal": 0.3, "intercept": 0.2}).fit(z, y)
    error = (made(z).softmax(1) - one_hot(y, 4)) / len(y)
    aside = made.weight * (1 - torch.eye(4, dtype=torch.float64))
    torch.testing.assert_close(error.T @ z, -2 * 0.3 * aside / 12, atol=1e-5, rtol=0)
    torch.testing.assert_close(error.sum(0), -2 * 0.2 * made.bias / 4, atol=1e-5, rtol=0)


def test_histogram_says_the_share_of_each_bin():
    p = [[0.9, 0.1]] * 4 + [[0.55, 0.45]] * 5 + [[0.2, 0.8]] * 2
    y = torch.tensor([0, 0, 0, 1, 0, 0, 1, 1, 1, 1, 1])
    after = build("histogram", {"bins": 5}).fit(logits_of(p), y)(logits_of(p)).softmax(1)
    torch.testing.assert_close(after[0], torch.tensor([0.75, 0.25], dtype=torch.float64))
    torch.testing.assert_close(after[4], torch.tensor([0.4, 0.6], dtype=torch.float64))
    assert after[10, 0] == pytest.approx(maps.FLOOR, rel=1e-5)  # none of two: raised to the floor
    empty = build("histogram", {"bins": 5}).fit(logits_of(p), y)(logits_of([[0.3, 0.7]])).softmax(1)
    assert empty[0, 0] == pytest.approx(0.3 / (0.3 + 1))  # nobody in (.2, .4]: its middle; both of (.6, .8] of class 1


def test_one_against_all_divides_by_the_sum():
    q = torch.tensor([[0.5, 0.25, 0.5], [0.0, 0.0, 0.0]], dtype=torch.float64)
    found = maps.against_all(q, torch.float64).exp()
    torch.testing.assert_close(found[0], torch.tensor([0.4, 0.2, 0.4], dtype=torch.float64))
    torch.testing.assert_close(found[1], torch.full((3,), 1 / 3, dtype=torch.float64))


def test_isotonic_agrees_with_scikit_learn():
    from sklearn.isotonic import IsotonicRegression

    (z, y), (other, _) = FIT, REPORT
    columns = [
        IsotonicRegression(y_min=0, y_max=1, out_of_bounds="clip")
        .fit(z.softmax(1)[:, k].numpy(), (y == k).numpy())
        .predict(other.softmax(1)[:, k].numpy())
        for k in range(4)
    ]
    expected = maps.against_all(torch.from_numpy(np.stack(columns, 1)), torch.float64)
    torch.testing.assert_close(build("isotonic").fit(z, y)(other), expected, atol=1e-9, rtol=1e-9)


def test_isotonic_of_one_value_is_level():
    z, y = torch.tensor([[2.0, 0.0]] * 4, dtype=torch.float64), torch.tensor([0, 0, 0, 1])
    after = build("isotonic").fit(z, y)(torch.tensor([[5.0, 0.0], [0.0, 5.0]], dtype=torch.float64)).softmax(1)
    torch.testing.assert_close(after, torch.tensor([[0.75, 0.25]] * 2, dtype=torch.float64))


def test_platt_agrees_with_scikit_learn():
    from sklearn.calibration import _SigmoidCalibration

    (z, y), (other, _) = FIT, REPORT
    odds, there = log_odds(z), log_odds(other)
    made = build("platt").fit(z, y)
    for k in range(4):
        oracle = _SigmoidCalibration().fit(odds[:, k].numpy(), (y == k).long().numpy())
        ours = torch.sigmoid(there[:, k] * made.slope[k] + made.shift[k])
        torch.testing.assert_close(ours, torch.from_numpy(oracle.predict(there[:, k].numpy())), atol=1e-3, rtol=0)


def test_platt_does_not_diverge_where_classes_are_told_apart():
    z = torch.tensor([[5.0, 0.0]] * 10 + [[0.0, 5.0]] * 10, dtype=torch.float64)
    y = torch.arange(20) // 10
    after = build("platt").fit(z, y)(z).softmax(1)
    assert after[0, 0] == pytest.approx(11 / 12, abs=1e-3)  # the target itself


def test_log_odds_are_exact_where_probabilities_round_to_one():
    z = torch.tensor([[60.0, 0.0, -1.0], [0.3, 0.2, 0.1]], dtype=torch.float64)
    assert float(log_odds(z)[0, 0]) == pytest.approx(60 - math.log(1 + math.exp(-1)), rel=1e-12)
    p = z[1].softmax(0)
    torch.testing.assert_close(log_odds(z)[1], (p / (1 - p)).log())
    assert torch.autograd.functional.jacobian(log_odds, z).isfinite().all()


def test_bbq_is_the_exact_average_over_binnings():
    from scipy.special import beta as beta_function

    p = torch.tensor([0.1, 0.2, 0.35, 0.6, 0.7, 0.95], dtype=torch.float64)
    hits = torch.tensor([False, False, True, False, True, True])
    method = BBQ(spread=1.2, prior=2.0)
    assert list(method.sizes(6)) == [1, 2]
    # One bin: w = 2, middle .5. Two bins of three, edge (.35 + .6) / 2: w = 1, middles .2375 and .7375.
    edge = 0.475
    said, weights = [], []
    for bins in ([(0.0, 1.0, 3, 6)], [(0.0, edge, 1, 3), (edge, 1.0, 2, 3)]):
        w, likelihood, means = 2.0 / len(bins), 1.0, []
        for low, high, h, n in bins:
            a, b = w * (low + high) / 2, w * (1 - (low + high) / 2)
            likelihood *= beta_function(a + h, b + n - h) / beta_function(a, b)
            means.append((a + h) / (a + b + n))
        weights.append(likelihood)
        said.append((means[0], means[-1]))
    expected = np.average(said, axis=0, weights=weights)
    edges, values = method._class(p, hits)
    assert edges.tolist() == [pytest.approx(edge)]
    assert values.tolist() == pytest.approx(expected.tolist())


def test_bbq_prefers_few_bins_where_nothing_changes_and_more_where_much_does():
    p = torch.linspace(0.01, 0.99, 400, dtype=torch.float64)
    random = torch.rand(400, generator=torch.Generator().manual_seed(0), dtype=torch.float64)

    def best(hits):
        return max(BBQ().binnings(p, hits), key=lambda one: one[2])[0].numel() + 1

    assert best(random < 0.3) < best(random < p.round())


def test_the_gain_is_counted_picture_by_picture():
    z, y = REPORT
    (found,) = uncertainty.recalibrate([build("matrix")], case(60, seed=5), REPORT, resamples=5)
    was, now = z.argmax(1) == y, found.map(z).argmax(1) == y
    assert found.changed == int((z.argmax(1) != found.map(z).argmax(1)).sum()) > 0
    assert found.mended - found.broken == int(now.sum()) - int(was.sum())
    plain = found.to_plain()
    assert plain["after"]["accuracy"] == pytest.approx(float(now.double().mean()))
    assert set(plain["before"]) >= {"ece", "nll", "brier", "accuracy", "intervals", "bins"}


# Selective prediction


def test_risk_and_coverage_by_hand():
    said = torch.tensor([0.9, 0.8, 0.7, 0.6])
    right = torch.tensor([True, False, True, True])
    found = uncertainty.risk_coverage(said, right)
    assert found.coverage.tolist() == [0.25, 0.5, 0.75, 1.0]
    assert found.risk.tolist() == pytest.approx([0, 1 / 2, 1 / 3, 1 / 4])
    assert found.area == pytest.approx((0 + 1 / 2 + 1 / 3 + 1 / 4) / 4)
    assert found.excess == pytest.approx(found.area - (1 / 4) / 4)


@given(st.lists(st.tuples(st.sampled_from([0.2, 0.5, 0.9]), st.booleans()), min_size=1, max_size=6))
def test_ties_count_as_in_the_mean_over_their_orders(pairs):
    from itertools import permutations

    said, right = (torch.tensor(column) for column in zip(*pairs, strict=True))
    areas = []
    for order in permutations(range(len(pairs))):
        rows = sorted(order, key=lambda row: -pairs[row][0])  # stable: ties in this order
        wrong = np.cumsum([not pairs[row][1] for row in rows])
        areas.append(np.mean(wrong / np.arange(1, len(pairs) + 1)))
    assert uncertainty.risk_coverage(said, right).area == pytest.approx(np.mean(areas))


def test_random_confidence_has_the_error_rate_as_area():
    right = torch.arange(40) % 4 > 0
    assert uncertainty.risk_coverage(torch.full((40,), 0.5), right).area == pytest.approx(0.25)


@pytest.mark.parametrize(("wrong", "n"), [(0, 10), (3, 40), (39, 40), (1, 1)])
def test_the_upper_bound_is_where_so_few_errors_become_rare(wrong, n):
    from scipy.stats import binom

    bound = upper(wrong, n, 0.05)
    if wrong == n:
        assert bound == 1
    else:
        assert binom.cdf(wrong, n, bound) == pytest.approx(0.05)
    assert upper(0, 0, 0.05) == 1


def test_the_threshold_keeps_the_risk_in_nearly_all_draws():
    # Confidence c is right with probability c: the risk above t is the mean of 1 - c there, (1 - t) / 2 for uniform c.
    misses, found_some = 0, 0
    for seed in range(200):
        random = torch.Generator().manual_seed(seed)
        said = torch.rand(400, generator=random)
        right = torch.rand(400, generator=random) < said
        found = uncertainty.threshold(said, right, risk=0.2, delta=0.1)
        if found is not None:
            found_some += 1
            misses += (1 - max(found.above, 0)) / 2 > 0.2
            assert found.bound <= 0.2
            assert found.accepted == int(found.accepts(said).sum())
    assert found_some > 100
    assert misses <= 20  # a tenth of 200 is the guarantee


def test_the_threshold_takes_the_largest_coverage_that_is_safe():
    said = torch.linspace(0, 1, 1000)
    everything = uncertainty.threshold(said, torch.ones(1000, dtype=torch.bool), risk=0.05)
    assert everything is not None
    assert everything.above == -math.inf
    assert everything.bound == pytest.approx(1 - (0.05 / 20) ** (1 / 1000))
    assert uncertainty.threshold(said, torch.zeros(1000, dtype=torch.bool), risk=0.05) is None
    half = uncertainty.threshold(said, said > 0.5, risk=0.05)
    assert half is not None
    assert half.accepted == 500  # with a twentieth more, a tenth would be wrong


def test_pictures_as_sure_as_the_threshold_are_not_answered():
    said = torch.tensor([0.9] * 100 + [0.5] * 100)
    found = uncertainty.threshold(said, said > 0.7, risk=0.2)
    assert found is not None
    assert (found.above, found.accepted, found.wrong) == (0.5, 100, 0)


@pytest.mark.parametrize(
    ("said", "right", "options", "error", "text"),
    [
        (torch.tensor([torch.nan, 1.0]), torch.tensor([True, True]), {}, DataError, "NaN"),
        (torch.tensor([1.0]), torch.tensor([1]), {}, DataError, "bool"),
        (torch.tensor([1.0]), torch.tensor([True]), {"risk": 1.5}, OptionError, "risk=1.5"),
        (torch.tensor([1.0]), torch.tensor([True]), {"delta": 0}, OptionError, "delta=0"),
        (torch.tensor([1.0]), torch.tensor([True]), {"candidates": 0}, OptionError, "candidates=0"),
    ],
)
def test_what_has_no_threshold_is_refused(said, right, options, error, text):
    with pytest.raises(error) as raised:
        uncertainty.threshold(said, right, **{"risk": 0.1, **options})
    assert text in str(raised.value)


# Conformal sets

every_rule = pytest.mark.parametrize("rule", [kind() for kind in SETS.values()], ids=lambda rule: rule.name)


def test_sets_by_hand():
    p = torch.tensor([[0.2, 0.7, 0.1]], dtype=torch.float64)
    u = torch.tensor([0.5], dtype=torch.float64)
    by_hand = {
        "lac": [0.8, 0.3, 0.9],
        "aps": [0.7 + 0.1, 0.35, 0.9 + 0.05],
        "raps": [0.7 + 0.1 + 0.1, 0.35, 0.9 + 0.05 + 0.2],
    }
    for name, expected in by_hand.items():
        assert SETS[name]().strangeness(p, u)[0].tolist() == pytest.approx(expected), name
    assert SETS["aps"](randomised=False).strangeness(p, u)[0].tolist() == pytest.approx([0.9, 0.7, 1.0])


@every_rule
@pytest.mark.parametrize("alpha", [0.1, 0.3])
def test_coverage_over_all_draws_is_between_its_bounds(rule, alpha):
    """The guarantee is over the draw of both sets, so many pairs of them are drawn."""
    held, n, rounds = 0, 19, 300
    for seed in range(rounds):
        z, y = case(n + 20, 3, seed=seed)
        made = uncertainty.conformal(rule, z[:n], y[:n], alpha=alpha, seed=seed)
        held += uncertainty.coverage(made.sets(z[n:]), y[n:]).whole[0]
    rate, slack = held / (20 * rounds), 3 * 0.13 / math.sqrt(rounds)  # 0.13: spread of the coverage of one draw, about
    assert rate >= 1 - alpha - slack
    assert rate <= 1 - alpha + 1 / (n + 1) + slack


@every_rule
def test_more_coverage_means_larger_sets(rule):
    z, y = FIT
    few, many = (uncertainty.conformal(rule, z, y, alpha=alpha).sets(REPORT[0]) for alpha in (0.3, 0.02))
    assert bool((few <= many).all())
    assert many.sum() > few.sum()


@every_rule
def test_too_few_pictures_leave_no_class_out(rule):
    z, y = case(8)
    made = uncertainty.conformal(rule, z, y, alpha=0.1)
    assert made.level == math.inf
    assert bool(made.sets(REPORT[0]).all())
    assert uncertainty.conformal(rule, *case(9), alpha=0.1).level < math.inf  # ceil(10 * 0.9) = 9, the largest


@every_rule
def test_noise_of_sets_belongs_to_the_picture(rule):
    made = uncertainty.conformal(rule, *FIT, alpha=0.2, seed=5)
    z, place = REPORT[0], torch.arange(len(REPORT[0]))
    split = torch.cat([made.sets(z[rows], place[rows]) for rows in place.split(7)])
    assert torch.equal(made.sets(z), split)


def test_noise_of_two_splits_is_not_shared():
    u = [_uniform(50, None, 3, stream) for stream in (FITTED, ASKED)]
    assert not bool((u[0] == u[1]).any())


def test_raps_keeps_long_tails_out():
    (z, y), (other, _) = case(800, 40), case(800, 40, seed=1)
    rules = [SETS["aps"](), SETS["raps"](penalty=0.1), SETS["raps"](penalty=100)]
    largest = [int(uncertainty.conformal(rule, z, y).sets(other).sum(1).max()) for rule in rules]
    assert largest[0] > largest[1] + 3
    ranks = uncertainty.conformal(rules[2], z, y).sets(other).sum(1)
    assert ranks.max() - ranks.min() <= 1  # the rank alone decides, but for the draw
    assert uncertainty.conformal(SETS["raps"](penalty=0), z, y).level == pytest.approx(
        uncertainty.conformal(SETS["aps"](), z, y).level
    )


def test_coverage_is_counted_by_class_and_by_size():
    sets = torch.tensor([[True, False], [True, True], [False, False], [False, True]])
    found = uncertainty.coverage(sets, torch.tensor([0, 0, 1, 0]))
    assert (found.whole, found.mean_size) == ((2, 4), 1.0)
    assert found.classes == ((2, 3), (0, 1))
    assert found.sizes == ((0, 1), (1, 2), (1, 1))
    assert found.to_plain()["sizes"][0] == {"size": 0, "k": 0, "n": 1, "rate": 0.0}


@pytest.mark.parametrize("alpha", [0, 1, 1.5])
def test_an_alpha_that_cannot_be_is_refused(alpha):
    with pytest.raises(OptionError, match="alpha="):
        uncertainty.conformal(SETS["lac"](), *FIT, alpha=alpha)


@pytest.mark.parametrize(("options", "text"), [({"penalty": -1}, "penalty=-1"), ({"free": -1}, "free=-1")])
def test_wrong_options_of_raps_are_refused(options, text):
    with pytest.raises(OptionError) as raised:
        SETS["raps"](**options)
    assert text in str(raised.value)


# Pictures


def test_halves_share_nothing_and_have_all_classes():
    pictures = data.load("digits", "test", limit=101)
    first, second = uncertainty.halves(pictures, seed=1)
    assert (len(first), len(second)) == (51, 50)
    assert sorted([*first.place.tolist(), *second.place.tolist()]) == list(range(101))
    assert set(first.labels.tolist()) == set(second.labels.tolist()) == set(range(10))
    uncertainty.check_apart(first, second)
    assert uncertainty.halves(pictures, seed=2)[0].place.tolist() != first.place.tolist()


def test_pictures_in_both_are_found_by_what_they_show():
    pictures = data.load("digits", "test", limit=30)
    copy = data.Pictures.from_arrays(pictures.images[[7]], pictures.labels[[7]], pictures.classes)
    with pytest.raises(DataError, match=r"1 of 1 pictures .* 0 of arrays test, which is 7 of digits test"):
        uncertainty.check_apart(pictures, copy)


def test_answers_are_those_of_evaluation_in_batches_of_any_size():
    net = small_net(64, 10, dtype=torch.float32).train()
    pictures = data.load("digits", "test", limit=23)
    told = []
    found = uncertainty.answers(net, pictures, batch=8, progress=lambda done, total: told.append((done, total)))
    assert told == [(8, 23), (16, 23), (23, 23)]
    torch.testing.assert_close(found, uncertainty.answers(net, pictures), atol=1e-5, rtol=1e-5)
    assert net.training
    torch.testing.assert_close(found, net.eval()(pictures.x()).double(), atol=1e-5, rtol=1e-5)


def test_a_recalibrated_model_is_attacked_and_evaluated_as_one():
    from holdfast import Linf, attacks, evaluate

    net = small_net(64, 10, dtype=torch.float32).eval()
    pictures = data.load("digits", "test", limit=20)
    z = uncertainty.answers(net, pictures)
    for name in ("temperature", "histogram"):
        made = build(name).fit(torch.cat([z, z.flip(1)]), torch.cat([pictures.labels, 9 - pictures.labels]))
        model = models.Recalibrated(net, made)
        before = {key: value.clone() for key, value in model.state_dict().items()}
        found = evaluate.evaluate(model, pictures, Linf(eps=0.1), (attacks.PGD(steps=2),), eps=(0.1,), checks=False)
        assert found.clean.k == int((model(pictures.x()).argmax(1) == pictures.labels).sum())
        assert all(torch.equal(value, before[key]) for key, value in model.state_dict().items())


def test_a_recalibrated_model_can_be_exported():
    model = models.Recalibrated(models.build("linear", shape=(1, 8, 8), classes=10, seed=0), maps.Temper(2.0)).eval()
    x = torch.rand(3, 1, 8, 8)
    program = torch.export.export(model, (x,))
    torch.testing.assert_close(program.module()(x), model(x))


# The diagram


def test_the_diagram_marks_gaps_and_shows_counts():
    bins = [Bin(0.0, 0.5, 12, 0.4, 0.3), Bin(0.5, 0.75, 0, None, None), Bin(0.75, 1.0, 3456, 0.8, 0.9)]
    assert [one.state for one in bins] == [OVER, "", UNDER]
    svg = drawn(bins, title="Title & more")
    assert svg.count("−</text>") == 1
    assert svg.count("+</text>") == 1
    assert ">12</text>" in svg
    assert ">3,456</text>" in svg
    assert "Title &amp; more. 3468 pictures" in svg
    assert f"{OVER} in 1 bins, {UNDER} in 1 bins" in svg
    assert "NaN" not in svg
    assert "nan" not in svg


def test_a_diagram_of_nothing_can_be_drawn():
    assert drawn([Bin(0.0, 1.0, 0, None, None)], title="none").startswith("<svg")
