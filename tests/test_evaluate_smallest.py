"""Where the smallest change is sought, one search serves every radius, and the report knows the whole curve."""

import json
import math

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from evaluate_models import digits, honest
from holdfast import attacks, report
from holdfast.access import Budget
from holdfast.attacks import FABT, PGD
from holdfast.attacks.result import CHECKPOINTS
from holdfast.evaluate import Rate, evaluate
from holdfast.files import json_text
from holdfast.threats import L2, Linf

ATTACK = FABT(steps=8, targets_tried=2)
EPS = (0.15, 0.3, 0.5)
N = 60  # pictures


@pytest.fixture(scope="module")
def found(tmp_path_factory):
    out = tmp_path_factory.mktemp("smallest") / "run"
    return run(out)


def run(out, **options):
    given = {"eps": EPS, "batch": 50, "shard_size": 40, "checks": False, "stand_in": "off", **options}
    return evaluate(honest("cnn"), digits().take(slice(0, N)), L2(eps=1.0), ATTACK, out=out, **given)


def alone():
    x, y = digits().x(slice(0, N)), digits().labels[:N]
    return attacks.smallest(ATTACK, honest("cnn"), x, y, L2(eps=0), batch=50, picture=digits().place[:N])


def test_one_search_serves_all_radii(found):
    once = alone()
    right = ~once.start_wrong
    torch.testing.assert_close(found.records["smallest"][right], once.size[right])
    assert (found.records["smallest"][~right] == 0).all()
    assert found.passes["backward"] == int(once.backward.sum())
    assert found.passes["forward"] == int(once.forward.sum())
    for number, eps in enumerate(EPS):
        held = right & (once.size > eps)
        assert found.curve[number].robust == Rate(int(held.sum()), N)
        assert found.curve[number].own == found.curve[number].robust
    assert 0 < found.robust.k < found.curve[0].robust.k


def test_summary_has_the_quartiles_of_all_that_were_right(found):
    once = alone()
    right = ~once.start_wrong
    sizes, queries = once.size[right].numpy(), once.queries[right].double().numpy()
    assert found.success == Rate(int(right.sum()), int(right.sum()))
    assert found.size == pytest.approx(
        {name: np.quantile(sizes, q) for name, q in (("median", 0.5), ("q25", 0.25), ("q75", 0.75))}
    )
    assert found.queries == pytest.approx({"median": np.median(queries), "mean": queries.mean()})
    length = digits().x(slice(0, N)).flatten(1).double().norm(dim=1)[right].numpy()
    assert found.summary["relative_size"] == pytest.approx((sizes / length).mean())


def test_a_change_that_was_not_found_is_infinite(tmp_path):
    pictures = digits().take(slice(0, N))
    weak = evaluate(honest("cnn"), pictures, Linf(eps=0.05), PGD(steps=2), batch=50, checks=False, out=tmp_path / "run")
    right = weak.records["prediction"] == weak.records["label"]
    broken = weak.records["success"][-1] & right
    assert 0 < int(broken.sum()) < int(right.sum()) / 2
    assert weak.success == Rate(int(broken.sum()), int(right.sum()))
    assert weak.size["q75"] == math.inf
    assert weak.size["median"] == math.inf
    assert weak.summary["sought"] is False
    assert '"q75": 1e999' in (tmp_path / "run" / "summary.json").read_text()
    assert json.loads(json_text(weak.to_plain()))["size"]["q75"] == math.inf


def test_pictures_that_only_a_larger_change_breaks_are_kept(found):
    shards = [load_file(path) for path in sorted((found.run / "shards").glob("*.safetensors"))]
    kept = 0
    for shard in shards:
        rows = shard["adv.beyond.rows"]
        kept += len(rows)
        assert (shard["smallest"][rows] > EPS[-1]).all()
        x = shard["x"][rows].float() / 255
        torch.testing.assert_close((shard["adv.beyond.x"] - x).flatten(1).double().norm(dim=1), shard["smallest"][rows])
        assert torch.equal(honest("cnn")(shard["adv.beyond.x"]).argmax(1), shard["smallest_prediction"][rows])
    assert kept == found.robust.k > 0


def test_resumed_run_has_the_same_bytes(found, tmp_path):
    run(tmp_path / "run")
    (tmp_path / "run" / "shards" / "00001.safetensors").unlink()
    (tmp_path / "run" / "summary.json").unlink()
    run(tmp_path / "run", resume=True)
    for name in ("summary.json", "records.csv", "shards/00000.safetensors", "shards/00001.safetensors"):
        assert (tmp_path / "run" / name).read_bytes() == (found.run / name).read_bytes()


def test_the_page_draws_the_whole_curve(found):
    page = report.write([found.run]).read_text()
    assert "looked for the smallest change whatever the radius" in page
    line = page.split('<polyline class="line" points="')[1].split('"')[0]
    assert len(line.split()) > 50
    heights = [float(point.split(",")[1]) for point in line.split()]
    assert heights == sorted(heights)  # lower is further down, accuracy never rises
    assert "by a change of" in page


def test_several_attacks_keep_the_smaller_change(found):
    both = evaluate(
        honest("cnn"),
        digits().take(slice(0, N)),
        L2(eps=0.9),
        [ATTACK, FABT(steps=16, targets_tried=1)],
        batch=50,
        checks=False,
    )
    assert both.summary["sought"]
    assert (both.records["smallest"] <= found.records["smallest"] * (1 + 1e-4)).all()
    assert (both.records["smallest"] < found.records["smallest"] * 0.999).any()


def test_beside_another_attack_the_radius_counts():
    row = evaluate(
        honest("cnn"), digits().take(slice(0, N)), L2(eps=0.4), [PGD(steps=2), ATTACK], batch=50, checks=False
    )
    assert not row.summary["sought"]
    assert "smallest" not in row.records


def test_sizes_against_points_asked(found):
    """The course of the search falls, ends at what was found, and is what a search cut short would have found."""
    course, right = found.records["course"], found.records["prediction"] == found.records["label"]
    assert course.shape == (len(CHECKPOINTS), N)
    assert (course.diff(dim=0)[course[1:].isfinite()] <= 0).all()
    torch.testing.assert_close(course[-1][right], found.records["smallest"][right], rtol=1e-5, atol=0)
    told = found.summary["course"]
    assert told[-1]["queries"] == max(found.records["queries"].sum(0)[right])
    assert told[-1]["median"] == pytest.approx(found.size["median"], rel=1e-5)
    x, y = digits().x(slice(0, N)), digits().labels[:N]
    for place, points in enumerate(CHECKPOINTS[3:6], 3):  # one target, so that a picture has one lane
        whole = attacks.smallest(FABT(steps=8, targets_tried=1), honest("cnn"), x, y, L2(eps=0))
        short = attacks.smallest(
            FABT(steps=8, targets_tried=1), honest("cnn"), x, y, L2(eps=0), budget=Budget(forward=1 + points)
        )
        sizes = torch.where(short.success, short.size, torch.inf)
        torch.testing.assert_close(whole.course[:, place], sizes, rtol=1e-5, atol=1e-12)
    assert "Smallest change against points asked" in report.write([found.run]).read_text()
