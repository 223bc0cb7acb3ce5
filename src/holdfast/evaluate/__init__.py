"""From a model and pictures to a number that can be believed, and a run folder that holds the evidence."""

from holdfast.evaluate.calibration import Calibration, CalibrationOptions, calibrate
from holdfast.evaluate.crossing import Cell, Crossing, cross
from holdfast.evaluate.detection import Detection, detection
from holdfast.evaluate.findings import Check, Finding
from holdfast.evaluate.gate import Gate
from holdfast.evaluate.label_shift import LabelShift
from holdfast.evaluate.load import Opened, open_model
from holdfast.evaluate.merge import merge
from holdfast.evaluate.protocol import evaluate
from holdfast.evaluate.result import Evaluation, Point, Progress
from holdfast.evaluate.shift_result import Shifts
from holdfast.evaluate.shifts import shifts
from holdfast.evaluate.statistics import Rate
from holdfast.evaluate.suites import SUITES, Suite, suite
from holdfast.evaluate.unfamiliar import Unfamiliar, unfamiliar
from holdfast.evaluate.verify import Meter, Verdict, verify

__all__ = [
    "SUITES",
    "Calibration",
    "CalibrationOptions",
    "Cell",
    "Check",
    "Crossing",
    "Detection",
    "Evaluation",
    "Finding",
    "Gate",
    "LabelShift",
    "Meter",
    "Opened",
    "Point",
    "Progress",
    "Rate",
    "Shifts",
    "Suite",
    "Unfamiliar",
    "Verdict",
    "calibrate",
    "cross",
    "detection",
    "evaluate",
    "merge",
    "open_model",
    "shifts",
    "suite",
    "unfamiliar",
    "verify",
]
