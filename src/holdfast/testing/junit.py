"""An evaluation as JUnit XML, which continuous integration reads: a test case for every requirement.

The form is the common ground of its readers (Jenkins, GitLab, the Ant schema): `testsuites` around one `testsuite`,
whose `properties` come before its cases; a `testcase` passed unless it holds a `failure`, an `error` or a `skipped`.
"""

import platform
import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Literal
from xml.etree import ElementTree as ET

from holdfast.errors import RunError
from holdfast.evaluate import Evaluation, Finding, Gate, Point
from holdfast.evaluate.provenance import version
from holdfast.evaluate.run_folder import TIMING, read_json
from holdfast.files import write_atomically
from holdfast.testing.failure import where

Outcome = Literal["passed", "failure", "error", "skipped"]
# What XML 1.0 cannot hold, not even escaped (its production [2]).
NOT_XML = re.compile("[^\t\n\r\u0020-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")


@dataclass(frozen=True)
class Case:
    """A requirement and what became of it. `message` is one line, `text` all there is to say."""

    group: str
    name: str
    outcome: Outcome
    message: str = ""
    text: str = ""
    seconds: float = 0.0


def write_junit(found: Evaluation, path: Path | str, gate: Gate | None = None) -> Path:
    """Write an evaluation to `path` as JUnit XML, passed or not, and return the path.

    Args: `found` what `evaluate` or `assert_robust` returned; `gate` what was asked of it: then robust accuracy at each
    radius is a test case that fails when its interval begins below the gate, that of the largest with the pictures and
    classes where the model is weakest; without a gate it is one that was skipped, with the rate in its message. Every
    check is a test case of its own, with its evidence and advice. With a gate, a case fails exactly when it is not
    passed. Cases are not timed one by one: those of one kind share its seconds equally, where a run folder has them.

    Raises: `RunError` when the file cannot be written. Cost: no model call.
    """
    seconds = _seconds(found)
    rates = [_rate(point, found, gate, seconds["rates"] / len(found.curve)) for point in found.curve]
    checks = [_check(check, seconds["checks"] / len(found.checks)) for check in found.checks]
    doubt = None if gate is None else gate.doubt(found)
    if doubt and not any(case.outcome == "failure" for case in checks):  # the gate wants checks, and none were made
        checks.append(Case("holdfast.checks", "questioned", "failure", doubt, doubt))
    name = f"{found.summary['model']['name']} on {found.summary['data']['name']}"
    return _write(path, _suite(name, [*rates, *checks], seconds["all"], _properties(found, gate)))


def write_unfinished(path: Path | str, name: str) -> Path:
    """Write a file that says that the evaluation `name` has not finished, to be replaced when it has.

    So a path that cannot be written is known before the work begins, and a run that breaks off leaves an error in its
    place and not the result of an earlier one. Raises: `RunError` when the file cannot be written.
    """
    text = "The evaluation was begun and has not finished; its output on stderr says why."
    return _write(path, _suite(name, [Case("holdfast", "evaluate", "error", text, text)], 0.0, {}))


def _rate(point: Point, found: Evaluation, gate: Gate | None, seconds: float) -> Case:
    """The requirement on robust accuracy at one radius."""
    rate, threat = point.robust, found.summary["threat"]["name"]
    name = f"robust accuracy at {threat} {point.eps_text}"
    told = f"{rate}, 95 % interval {rate.low:.4f} to {rate.high:.4f}"
    if gate is None:
        return Case("holdfast.robust", name, "skipped", f"{told}; nothing was required of it", seconds=seconds)
    required = f"{gate.at_least:g} or more required at the lower end"
    if gate.holds(rate):
        return Case("holdfast.robust", name, "passed", text=f"{told}; {required}", seconds=seconds)
    message = f"{rate}: its interval begins at {gate.told(rate.low)}, {required}"
    lines = [f"{message}.", gate.mend(rate), *(where(found) if point is found.curve[-1] else ())]
    return Case("holdfast.robust", name, "failure", message, "\n".join(lines), seconds)


def _check(check: Finding, seconds: float) -> Case:
    """A check; one that warns passes, and says so."""
    outcomes: dict[str, Outcome] = {"pass": "passed", "warn": "passed", "fail": "failure", "skipped": "skipped"}
    lines = [check.title, f"{check.verdict}: {check.evidence}", check.advice]
    text = "\n".join(line for line in lines if line)
    return Case("holdfast.checks", check.name, outcomes[check.verdict], check.evidence, text, seconds)


def _properties(found: Evaluation, gate: Gate | None) -> Mapping[str, Any]:
    summary = found.summary
    threat, data = summary["threat"], summary["data"]
    return {
        "holdfast": version(),
        "model": summary["model"]["name"],
        "data": f"{data['name']}, {data['n']} pictures of the {data['split']} split",
        "threat": f"{threat['name']} within [{threat['low']:g}, {threat['high']:g}]",
        "eps": ", ".join(threat["eps_text"]),
        "attack": summary["attack"]["repr"],
        "seed": summary["seed"],
        "at_least": "" if gate is None else f"{gate.at_least:g}",
        "accuracy": str(found.clean),
        "robust accuracy": str(found.robust),
        "believe": f"{'yes' if found.believe else 'no'}: {found.because}",
        "run": "" if found.run is None else str(found.run),
    }


def _seconds(found: Evaluation) -> dict[str, float]:
    """What the cases of rates and of checks took, where it is on record, and the whole."""
    timing = (None if found.run is None else read_json(found.run / TIMING)) or {}
    attack = sum(timing.get("attack_seconds", {}).values())
    return {"all": found.seconds, "rates": attack, "checks": timing.get("check_seconds", 0.0)}


def _suite(name: str, cases: list[Case], seconds: float, properties: Mapping[str, Any]) -> ET.Element:
    outcomes = [case.outcome for case in cases]
    counts = {"tests": len(cases), "failures": outcomes.count("failure"), "errors": outcomes.count("error")}
    shared = {**{word: str(count) for word, count in counts.items()}, "time": f"{seconds:.3f}"}
    root = ET.Element("testsuites", {"name": "holdfast", **shared})
    more = {
        "skipped": str(outcomes.count("skipped")),
        # In UTC and without saying so: the Ant schema allows no zone.
        "timestamp": datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%S"),
        "hostname": _clean(platform.node() or "localhost"),
    }
    suite = ET.SubElement(root, "testsuite", {"name": _clean(name), **shared, **more})
    if properties:
        listed = ET.SubElement(suite, "properties")
        for key, value in properties.items():
            ET.SubElement(listed, "property", {"name": key, "value": _clean(str(value))})
    suite.extend(_element(case) for case in cases)
    return root


def _element(case: Case) -> ET.Element:
    attributes = {"classname": case.group, "name": _clean(case.name), "time": f"{case.seconds:.3f}"}
    element = ET.Element("testcase", attributes)
    if case.outcome == "passed":
        ET.SubElement(element, "system-out").text = _clean(case.text)
    elif case.outcome == "skipped":
        ET.SubElement(element, "skipped", {"message": _clean(case.message)})
    else:
        kind = {"message": _clean(case.message), "type": case.group}
        ET.SubElement(element, case.outcome, kind).text = _clean(case.text)
    return element


def _clean(text: str) -> str:
    """Text with every character that XML cannot hold written as its number: a name may hold anything.

    >>> _clean("a\\x00b")
    'a\\\\x00b'
    """
    return NOT_XML.sub(lambda match: match[0].encode("unicode_escape", "surrogatepass").decode(), text)


def _write(path: Path | str, root: ET.Element) -> Path:
    path = Path(path)
    if path.is_dir():
        raise RunError(f"{str(path)!r} is a folder; allowed: a file, such as {str(path / 'junit.xml')!r}.")
    ET.indent(root)
    write_atomically(path, ET.tostring(root, encoding="utf-8", xml_declaration=True) + b"\n")
    return path
