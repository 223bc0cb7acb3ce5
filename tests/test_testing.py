"""A gate that opens exactly at its bound, a failure that says where to look, and JUnit XML that others can read."""

import os
import re
import subprocess
import sys
from dataclasses import replace
from math import inf, nextafter
from pathlib import Path
from xml.etree import ElementTree as ET

import pytest
import torch
from torch import nn
from typer.testing import CliRunner

from evaluate_models import digits, honest
from holdfast import PGD, Linf, Noise
from holdfast.cli import app
from holdfast.data import Pictures
from holdfast.errors import BelowTheGate, DataError, OptionError, RunError
from holdfast.evaluate import Finding, Gate, Rate, evaluate
from holdfast.evaluate.provenance import repeatable
from holdfast.evaluate.statistics import fewest, pictures_to_show
from holdfast.testing import assert_robust, write_junit
from holdfast.testing.junit import write_unfinished
from holdfast.testing.worst import worst_classes, worst_pictures, wrong_before

ROOT = Path(__file__).parents[1]
ATTACK = PGD(steps=10, step_size=0.25)
EPS = (0.02, 0.06)


def some(count=100):
    return digits().take(slice(0, count))


@pytest.fixture(scope="module")
def found(tmp_path_factory):
    """Two radii with all checks, in a folder; nothing fails but the one or the other gate."""
    out = tmp_path_factory.mktemp("gate") / "run"
    return evaluate(honest("mlp"), some(), Linf(eps=1), ATTACK, eps=EPS, out=out, batch=50, name="my mlp")


def refusal(*given, **options):
    """The text of the failure."""
    with pytest.raises(AssertionError) as caught:
        assert_robust(*given, **options)
    return str(caught.value)


# The gate


def test_the_gate_is_at_the_lower_end_and_not_at_the_rate(found):
    assert found.believe, found.because
    low = found.robust.low
    assert 0 < low < found.robust.rate
    Gate(low).check(found)
    for above in (nextafter(low, inf), found.robust.rate):
        with pytest.raises(BelowTheGate, match=r"its interval begins at 0\.\d+; the gate asks for"):
            Gate(above).check(found)


def test_assert_robust_decides_as_the_gate_does(found):
    options = {"attack": ATTACK, "eps": EPS, "batch": 50}
    passed = assert_robust(honest("mlp"), some(), Linf(eps=1), at_least=found.robust.low, **options)
    assert (passed.robust, passed.checks) == (found.robust, found.checks)
    above = nextafter(found.robust.low, inf)
    assert ", too few for 0." in refusal(honest("mlp"), some(), Linf(eps=1), at_least=above, **options)


@pytest.mark.parametrize("checked", [True, False])
def test_a_failed_check_shuts_the_gate_however_high_the_rate(found, checked):
    failed = Finding("verified", "The verifier agrees", "fail", "3 are not so", "Mend the attack")
    doubted = replace(found, checks=(*found.checks, failed), believe=False, because="1 of 12 checks failed: verified.")
    Gate(0.0, checked).check(found)
    with pytest.raises(BelowTheGate, match="not to be believed, 1 of 12 checks failed"):
        Gate(0.0, checked).check(doubted)


def test_numbers_that_nobody_questioned_pass_only_where_that_was_asked_for(found):
    silent = replace(found, checks=(), believe=False, because="nothing was questioned.")
    Gate(0.0, checked=False).check(silent)
    with pytest.raises(BelowTheGate, match="nothing was questioned"):
        Gate(0.0).check(silent)


@pytest.mark.parametrize("given", [45, 1.01, -0.1, float("nan"), inf, True, "0.45", None])
def test_a_gate_that_is_no_rate_is_refused_before_the_model_is_asked(given):
    def never(x):
        pytest.fail("the model was asked")

    with pytest.raises(OptionError, match=r"at_least=.*; allowed: a rate from 0 to 1, such as 0\.45") as caught:
        assert_robust(never, some(4), Linf(eps=0.1), at_least=given)
    assert ("For 45 %, pass at_least=0.45." in str(caught.value)) == (given == 45)


@pytest.mark.parametrize("n", [1, 10, 120])
@pytest.mark.parametrize("low", [0.0, 0.3, 0.9])
def test_fewest_is_the_first_count_that_passes(n, low):
    passing = [k for k in range(n + 1) if Rate(k, n).low >= low]
    assert fewest(n, low) == (passing[0] if passing else None)


def test_pictures_to_show_puts_the_lower_end_where_it_is_wanted():
    n = pictures_to_show(Rate(41, 50), 0.8)
    assert Rate(n * 41 // 50, n).low >= 0.8 > Rate((n - 1) * 41 // 50, n - 1).low
    assert pictures_to_show(Rate(4, 5), 0.8) is None


@pytest.mark.parametrize(
    ("rate", "at_least", "said"),
    [
        (Rate(41, 120), 0.9, f"{fewest(120, 0.9)} of 120 pictures would have to hold: harden"),
        (
            Rate(41, 50),
            0.8,
            f"50 pictures are too few to show it: evaluate about {pictures_to_show(Rate(41, 50), 0.8):,}",
        ),
        (Rate(5, 10), 0.9, "too few to show it even if all held, and not all do: harden the model and evaluate 36"),
        (Rate(80, 100), 0.8, "No number of pictures shows it at this rate"),
        (Rate(10, 10), 1, "No number of pictures shows that all hold: ask for less than 1."),
    ],
)
def test_the_mend_fits_what_is_wrong(rate, at_least, said):
    assert said in Gate(at_least).mend(rate)


def test_a_lower_end_is_told_in_digits_that_show_which_side_it_is_on():
    assert Gate(0.45).told(0.123456) == "0.1235"
    assert Gate(0.45).told(0.449999) == "0.449999"
    assert Gate(0.45).told(0.45) == "0.4500"
    assert float(Gate(0.45).told(nextafter(0.45, 0))) < 0.45


# The failure


def test_the_failure_says_what_was_asked_and_what_was_found(found):
    told = refusal(honest("mlp"), some(), Linf(eps=1), at_least=0.9, attack=ATTACK, eps=EPS, batch=50, name="my mlp")
    rate = found.robust
    lines = told.splitlines()
    assert lines[0] == f"{rate.k} of 100 pictures hold, too few for 0.9: my mlp on digits (test), linf 0.06"
    assert "required  0.9 or more at the lower end of the 95 % interval, and no failed check" in lines
    assert f"found     {rate.low:.4f}, as {rate.k} of {rate.n} pictures hold under attack" in lines
    assert (
        f"to mend   {fewest(100, 0.9)} of 100 pictures would have to hold: harden the model, or lower the gate."
        in lines
    )
    for name, point in [("no attack", found.clean), *((f"eps {p.eps_text}", p.robust) for p in found.curve)]:
        row = rf"{name} +{point.k} of 100  {point.rate:.4f}  {point.low:.4f} to {point.high:.4f}"
        (line,) = [line for line in lines if re.match(row, line)]
        assert line.endswith("begins under 0.9") == (point.low < 0.9)
    assert found.because.capitalize() in lines
    assert len(lines) < 30
    assert max(map(len, lines)) <= 120


def test_the_worst_pictures_are_those_that_break_most_easily(found):
    records = found.records
    easiest = []
    for row in range(100):
        for number, eps in enumerate(EPS):
            if records["prediction"][row] == records["label"][row] and records["success"][number, row]:
                size, sure = float(records["size"][number, row]), float(records["confidence_adv"][number, row])
                easiest.append((eps, float(f"{size:.3g}"), -sure, row, int(records["prediction_adv"][number, row])))
                break
    shown, count = worst_pictures(found, 5)
    assert count == len(easiest) > 5
    for one, (eps, size, sure, row, became) in zip(shown, sorted(easiest)[:5], strict=True):
        assert one.index == row
        assert (one.label, one.became) == (str(int(some().labels[row])), str(became))
        assert one.size == pytest.approx(size, rel=5e-3)
        assert (one.eps_text, one.confidence, one.attack) == (str(eps), -sure, "pgd")
    again = worst_pictures(found, 1000)[0]
    assert [one.index for one in again] == [row for _, _, _, row, _ in sorted(easiest)]


def test_a_success_that_no_attack_claimed_is_nobodys(found):
    nobody = replace(found, records={**found.records, "attack": torch.full_like(found.records["attack"], -1)})
    assert {one.attack for one in worst_pictures(nobody, 5)[0]} == {"none"}


def test_where_the_model_is_weak_before_any_attack_and_by_class(found):
    said = honest("mlp")(some().x()).argmax(1)
    assert wrong_before(found) == (said != some().labels).nonzero().flatten().tolist()
    holds = ~found.records["broken"][-1]
    shares = {str(k): float(holds[some().labels == k].double().mean()) for k in range(10)}
    classes = worst_classes(found, 10)
    assert [shares[row["class"]] for row in classes] == sorted(s for s in shares.values() if s < found.robust.rate)


def test_indices_of_a_part_are_said_to_be_of_the_whole():
    part = digits().take(slice(30, 60))
    told = refusal(honest("mlp"), part, Linf(eps=0.1), at_least=0.9, attack=ATTACK, checks=False)
    assert "smallest change first; index in the whole test split:" in told
    listed = [int(line.split()[0]) for line in told.splitlines() if re.match(r"  +\d+  \d", line)]
    assert len(listed) == 5
    assert all(30 <= index < 60 for index in listed)
    assert "the checks that ask the model were not made" in told.lower()


def test_a_failed_check_is_told_with_its_evidence_and_advice():
    told = refusal(honest("mlp"), some(), Linf(eps=0.1), at_least=0.01, attack=Noise())
    assert re.match(r"\d+ of 100 pictures hold, but checks failed: Sequential on digits \(test\), linf 0.1\n", told)
    assert re.search(r"\n\d of \d+ checks failed:\n", told)
    assert "\n  monotone-steps expects: Accuracy does not rise with steps, and more steps change little\n" in told
    assert re.search(r"\n    found    of \d+ pictures", told)
    assert re.search(r"\n    to mend  The attack is too weak", told)
    assert "worst" not in told  # the model has done nothing wrong


def test_a_model_that_is_wrong_without_an_attack_is_told_so():
    """It always says 3: nothing can be broken but the threes, and they cannot either."""
    always = nn.Sequential(nn.Flatten(), nn.Linear(64, 12))
    nn.init.zeros_(always[1].weight)
    always[1].bias.data = 20 * torch.eye(12)[3]
    told = refusal(always, some(20), Linf(eps=0.1), at_least=0.5, attack=Noise(), checks=False, name="always 3")
    wrong = (some(20).labels != 3).nonzero().flatten().tolist()
    assert f"{20 - len(wrong)} of 20 pictures hold, too few for 0.5, and checks failed: always 3 on" in told
    assert f"even without an attack only {Rate(20 - len(wrong), 20).low:.4f}" in told
    assert f"wrong without any attack: {len(wrong)}, index {', '.join(map(str, wrong[:10]))}, ..." in told
    assert "did-something expects" in told
    assert "broken pictures" not in told


def test_classes_that_the_data_do_not_name_are_told_by_number():
    """Two classes, and a model with a third output that any attack reaches."""
    model = nn.Sequential(nn.Flatten(), nn.Linear(4, 3))
    model[1].weight.data = torch.tensor([[1.0, 1, 0, 0], [0, 0, 1, 1], [0, 0, 0, 0]])
    model[1].bias.data = torch.tensor([0.0, 0, 0.5])
    x = torch.tensor([[0.3, 0.3, 0, 0], [0, 0, 0.3, 0.3]]).view(2, 1, 2, 2)
    pictures = Pictures.from_arrays(x, torch.tensor([0, 1]), classes=("a cat", "a dog"))
    told = refusal(model, pictures, Linf(eps=0.1), at_least=0.1, attack=PGD(steps=3, step_size=1), checks=False)
    assert re.search(r"\n +0  a cat  2 ", told)
    assert re.search(r"\n +1  a dog  2 ", told)


def test_the_folder_is_told_where_there_is_one(tmp_path):
    options = {"attack": Noise(), "checks": False, "out": tmp_path / "run"}
    told = refusal(honest("mlp"), some(10), Linf(eps=0.05), at_least=1.0, **options)
    assert f"every picture: {tmp_path / 'run' / 'records.csv'}" in told
    assert f"report: made by `holdfast report {tmp_path / 'run'}`" in told
    assert (tmp_path / "run" / "records.csv").exists()
    with pytest.raises(RunError, match="already holds a run"):
        assert_robust(honest("mlp"), some(10), Linf(eps=0.05), at_least=1.0, **options)
    assert refusal(honest("mlp"), some(10), Linf(eps=0.05), at_least=1.0, resume=True, **options) == told


# What is given


def test_a_pair_of_tensors_is_as_good_as_pictures():
    options = {"attack": ATTACK, "checks": False, "at_least": 0.0, "batch": 50}
    whole, pair = (
        assert_robust(honest("mlp"), data, Linf(eps=0.05), limit=30, **options)
        for data in (some(), (some().x(), some().labels))
    )
    assert whole.robust == pair.robust
    assert whole.robust.n == 30
    assert torch.equal(whole.records["size"], pair.records["size"])


def test_a_suite_is_taken_by_its_name():
    options = {"checks": False, "at_least": 0.0, "limit": 5}
    quick = assert_robust(honest("mlp"), some(), Linf(eps=0.05), suite="quick", **options)
    assert quick.summary["attack"]["repr"] == repr(PGD())
    assert assert_robust(honest("mlp"), some(), Linf(eps=0.05), **options).summary["attack"] == quick.summary["attack"]


BAD = {
    "suite and attack": ({"suite": "quick", "attack": ATTACK}, OptionError, "allowed: one of the two. Leave one out"),
    "unknown suite": ({"suite": "quik"}, OptionError, "Did you mean 'quick'"),
    "limit": ({"limit": 0}, OptionError, "limit=0; allowed: 1 or more"),
    "name for data": ({"data": "digits"}, DataError, r"data=str; allowed: holdfast.data.Pictures, or a pair"),
    "three tensors": ({"data": (torch.zeros(1),) * 3}, DataError, r"data=tuple; allowed"),
    "colour last": ({"data": (torch.zeros(2, 8, 8, 3), torch.zeros(2, dtype=torch.long))}, DataError, "colour last"),
}


@pytest.mark.parametrize("name", BAD)
def test_bad_input_gets_one_clear_line(name):
    options, error, said = BAD[name]
    given = {"data": some(4), **options}
    with pytest.raises(error, match=said):
        assert_robust(honest("mlp"), given.pop("data"), Linf(eps=0.1), at_least=0.5, **given)


# Under pytest


def under_pytest(folder, code, *more):
    """What pytest prints of a file of tests, in a process and a project of its own."""
    (folder / "test_it.py").write_text(code)
    (folder / "pytest.ini").write_text("[pytest]\n")
    command = [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", "-p", "no:xdist", "--color=no", *more]
    # Told that it runs in continuous integration, pytest repeats every message whole in its summary.
    env = {name: value for name, value in os.environ.items() if name not in ("CI", "BUILD_NUMBER", "PYTEST_ADDOPTS")}
    return subprocess.run(command, cwd=folder, env=env, capture_output=True, text=True, check=False)


WEAK = """
import torch
from holdfast import Linf
from holdfast.testing import assert_robust

def test_my_model_is_robust():
    x = torch.rand(20, 1, 4, 4, generator=torch.Generator().manual_seed(0))
    model = lambda x: torch.stack([x.flatten(1).mean(1), torch.full((len(x),), 0.5)], 1)
    y = model(x).argmax(1)
    assert_robust(model, (x, y), Linf(eps=0.3), at_least=0.5, checks=False)
"""


def test_pytest_shows_the_failure_and_no_frame_of_ours(tmp_path):
    shown = under_pytest(tmp_path, WEAK)
    assert shown.returncode == pytest.ExitCode.TESTS_FAILED, shown.stdout
    assert (
        "E       AssertionError: 0 of 20 pictures hold, too few for 0.5: function on pictures (test), linf 0.3"
        in shown.stdout
    )
    assert "E       worst of 20 broken pictures, smallest change first:" in shown.stdout
    assert "robust.py" not in shown.stdout  # its frames are hidden
    assert "test_it.py:10: AssertionError" in shown.stdout
    assert len(shown.stdout.splitlines()) < 50


def test_pytest_is_not_needed():
    code = "import sys, holdfast.testing; print('pytest' in sys.modules, '_pytest' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["False", "False"]


# JUnit XML


def cases(path):
    """The cases of a file by name, after its form was held against what the readers of JUnit XML agree on."""
    root = ET.fromstring(path.read_bytes())
    assert path.read_bytes().startswith(b"<?xml version='1.0' encoding='utf-8'?>")
    assert root.tag == "testsuites"
    (suite,) = root
    assert suite.tag == "testsuite"
    assert {"name", "tests", "failures", "errors", "skipped", "time", "timestamp", "hostname"} == set(suite.attrib)
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d", suite.get("timestamp"))
    tags = [child.tag for child in suite]
    assert tags == sorted(tags)  # properties, of which there is one at most, then cases
    assert tags.count("properties") <= 1
    assert set(tags) <= {"properties", "testcase"}
    for each in suite.iter("property"):
        assert set(each.attrib) == {"name", "value"}
    listed = suite.findall("testcase")
    for case in listed:
        assert set(case.attrib) == {"classname", "name", "time"}
        assert float(case.get("time")) >= 0
        assert [child.tag for child in case] in (["system-out"], ["skipped"], ["failure"], ["error"])
        for result in (*case.iter("failure"), *case.iter("error")):
            assert set(result.attrib) == {"message", "type"}
            assert result.text.strip()
    assert len({(case.get("classname"), case.get("name")) for case in listed}) == len(listed)
    for word, tag in (("tests", None), ("failures", "failure"), ("errors", "error"), ("skipped", "skipped")):
        count = len(listed) if tag is None else sum(case.find(tag) is not None for case in listed)
        assert int(suite.get(word)) == count
        assert word == "skipped" or root.get(word) == suite.get(word)
    return {case.get("name"): case for case in listed}


def properties(path):
    return {each.get("name"): each.get("value") for each in ET.parse(path).iter("property")}


def test_junit_of_a_gate_that_is_passed(found, tmp_path):
    path = write_junit(found, tmp_path / "deep" / "junit.xml", Gate(found.robust.low))
    made = cases(path)
    assert list(made) == [*(f"robust accuracy at linf {e}" for e in EPS), *(check.name for check in found.checks)]
    assert all(case.find("failure") is None for case in made.values())
    for check in (check for check in found.checks if check.verdict != "skipped"):
        assert made[check.name].findtext("system-out").startswith(f"{check.title}\n{check.verdict}: {check.evidence}")
    told = properties(path)
    assert told["model"] == "my mlp"
    assert told["eps"] == "0.02, 0.06"
    assert (told["seed"], told["attack"]) == ("0", repr(ATTACK))
    assert told["run"] == str(found.run)
    assert set(told) >= {"holdfast", "data", "threat", "at_least", "believe"}
    # What the run folder says about time is shared out among the cases of each kind.
    whole = sum(float(case.get("time")) for case in made.values())
    assert 0 < whole <= found.seconds + 0.01
    assert float(ET.parse(path).find("testsuite").get("time")) == pytest.approx(found.seconds, abs=1e-3)


def test_junit_of_a_gate_that_is_not(found, tmp_path):
    between = (found.curve[0].robust.low + found.robust.low) / 2
    assert found.robust.low < between < found.curve[0].robust.low
    made = cases(write_junit(found, tmp_path / "junit.xml", Gate(between)))
    assert made["robust accuracy at linf 0.02"].find("failure") is None
    failure = made["robust accuracy at linf 0.06"].find("failure")
    assert failure.get("message").startswith(f"{found.robust}: its interval begins at {found.robust.low:.4f}")
    assert Gate(between).mend(found.robust) in failure.text
    assert "worst of " in failure.text
    assert f"wrong without any attack: {len(wrong_before(found))}, index" in failure.text
    assert sum(case.find("failure") is not None for case in made.values()) == 1


def test_junit_of_checks_that_fail_warn_or_were_skipped(found, tmp_path):
    checks = tuple(
        Finding(verdict, f"title of {verdict}", verdict, f"evidence of {verdict}", f"advice on {verdict}")
        for verdict in ("pass", "warn", "fail", "skipped")
    )
    made = cases(write_junit(replace(found, checks=checks), tmp_path / "junit.xml"))
    assert [next(iter(made[name])).tag for name in ("pass", "warn", "fail", "skipped")] == [
        *("system-out", "system-out", "failure", "skipped")
    ]
    assert made["fail"].find("failure").get("message") == "evidence of fail"
    assert "title of fail" in made["fail"].find("failure").text
    assert "advice on fail" in made["fail"].find("failure").text
    assert made["skipped"].find("skipped").get("message") == "evidence of skipped"
    assert "advice on warn" in made["warn"].find("system-out").text
    # Without a gate nothing is required of the rates, and none may pass for having passed.
    told = made["robust accuracy at linf 0.06"].find("skipped").get("message")
    assert str(found.robust) in told
    assert "nothing was required" in told


@pytest.mark.parametrize("checked", [True, False])
@pytest.mark.parametrize("at_least", [0.0, 0.99])
@pytest.mark.parametrize("verdict", ["pass", "fail", None])
def test_a_case_fails_exactly_when_the_gate_is_shut(found, tmp_path, checked, at_least, verdict):
    checks = (Finding("one", "title", verdict, "evidence"),) if verdict else (Finding("one", "t", "skipped", "why"),)
    made = replace(found, checks=checks, believe=verdict == "pass", because="because.")
    gate = Gate(at_least, checked)
    failures = [
        case for case in cases(write_junit(made, tmp_path / "x", gate)).values() if case.find("failure") is not None
    ]
    assert bool(failures) == (gate.why(made) is not None)


def test_strange_characters_come_through(found, tmp_path):
    name = "<net> & \"co\" 'x' \x00\x1b[31m\ud800\ufffe ü 猫 😀 ]]>"
    summary = {**found.summary, "model": {**found.summary["model"], "name": name}}
    check = Finding("one", "title", "fail", f"evidence {name}", name)
    path = write_junit(replace(found, summary=summary, checks=(check,)), tmp_path / "junit.xml", Gate(0.5))
    legible = "<net> & \"co\" 'x' \\x00\\x1b[31m\\ud800\\ufffe ü 猫 😀 ]]>"
    failure = cases(path)["one"].find("failure")
    assert failure.get("message") == f"evidence {legible}"
    assert legible in failure.text
    assert properties(path)["model"] == legible


def test_junit_is_written_whole_or_not_at_all(found, tmp_path, monkeypatch):
    path = write_unfinished(tmp_path / "junit.xml", "net on digits")
    (case,) = cases(path).values()
    assert "has not finished" in case.find("error").get("message")
    before = path.read_bytes()

    def full(*_):
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patched:
        patched.setattr(os, "replace", full)
        with pytest.raises(RunError, match="No space left on device"):
            write_junit(found, path)
    assert path.read_bytes() == before
    assert [entry.name for entry in tmp_path.iterdir()] == ["junit.xml"]
    write_junit(found, path)
    assert len(cases(path)) > 1
    with pytest.raises(RunError, match=r"is a folder; allowed: a file, such as .*junit\.xml'"):
        write_junit(found, tmp_path)


def test_where_the_result_is_told_has_no_part_in_how_the_numbers_came_about():
    words = ["holdfast", "evaluate", "--seed", "1"]
    assert (
        repeatable([*words, "--junit", "a.xml", "--at-least", "0.4"]) == repeatable([*words, "--junit=b.xml"]) == words
    )


def test_junit_of_an_evaluation_in_memory(tmp_path):
    made = assert_robust(honest("mlp"), some(10), Linf(eps=0.05), at_least=0.0, attack=ATTACK, checks=False)
    path = write_junit(made, tmp_path / "junit.xml", Gate(0.0, checked=False))
    assert properties(path)["run"] == ""
    assert float(cases(path)["robust accuracy at linf 0.05"].get("time")) == 0


# The page of the documentation

PAGE = (ROOT / "docs/continuous-integration.md").read_text()


def blocks(kind):
    found = re.findall(r"^```(\w*)\n(.*?)^```\n", PAGE, flags=re.MULTILINE | re.DOTALL)
    return [text for name, text in found if name == kind]


def without_figures(text):
    """One word for every number, which another machine may give otherwise, and one space for several."""
    return [" ".join(re.sub(r"\d[\d.,]*", "N", line).split()) for line in text.splitlines()]


def test_the_example_of_a_test_runs_and_fails_as_the_page_says(tmp_path):
    shown = under_pytest(tmp_path, "\n\n".join(blocks("python"))).stdout
    assert "1 failed, 1 passed" in shown, shown
    failure = "\n".join(line[1:] for line in shown.splitlines() if line.startswith("E "))
    (told,) = blocks("")
    assert without_figures(told)
    assert without_figures(failure)[: len(told.splitlines())] == without_figures(told)


def test_the_example_of_a_job_runs(tmp_path, monkeypatch):
    """Its command, word by word, but for what would take long or has to be fetched."""
    (job,) = blocks("yaml")
    words = re.search(r"holdfast (evaluate .*?)\n      -", job, flags=re.DOTALL)[1].split()
    quicker = {"fashion-mnist": "digits", "1000": "40", "standard": "quick"}
    assert set(quicker) <= set(words)
    code = "from torch import nn\ndef net():\n    return nn.Sequential(nn.Flatten(), nn.Linear(64, 10)).eval()\n"
    (tmp_path / "mine.py").write_text(code)
    monkeypatch.chdir(tmp_path)
    ran = CliRunner().invoke(app, [quicker.get(word, word) for word in words])
    assert ran.exit_code == 1, ran.stderr  # the net is not trained
    assert "robust accuracy at linf 0.1" in cases(tmp_path / "results/junit.xml")
    assert (tmp_path / "results/run/report.html").exists()
