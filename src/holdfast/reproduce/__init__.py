"""Sources' tables made anew, the published figures beside ours: one reproduction a file, one line here."""

from typing import Any

from holdfast.reproduce.augmix import AUGMIX_UNDER_SHIFT
from holdfast.reproduce.auxiliary_detector import AUXILIARY_DETECTOR
from holdfast.reproduce.bench import Bench
from holdfast.reproduce.calibration import CALIBRATION
from holdfast.reproduce.capacity import CAPACITY
from holdfast.reproduce.deep_defense import DEEP_DEFENSE_REPORT
from holdfast.reproduce.gradient_detector import GRADIENT_DETECTOR
from holdfast.reproduce.mixup_cutout import MIXUP_CUTOUT
from holdfast.reproduce.ood import OOD
from holdfast.reproduce.part import Part
from holdfast.reproduce.reproduction import Preset, Reproduction
from holdfast.reproduce.run import Reproduced, reproduce
from holdfast.reproduce.shift import SHIFT
from holdfast.reproduce.svm_vs_resnet import SVM_VS_RESNET
from holdfast.reproduce.table import (
    Cell,
    Column,
    Ordering,
    Plot,
    Row,
    Table,
    below,
    cell_of,
    descending,
    falling,
    joined,
    judged,
    mean_of,
    near,
    row,
)
from holdfast.reproduce.toys import TOYS
from holdfast.reproduce.trade_off import TRADE_OFF
from holdfast.reproduce.tv_lipschitz import TV_LIPSCHITZ

__all__ = [
    "REPRODUCTIONS",
    "Bench",
    "Cell",
    "Column",
    "Ordering",
    "Part",
    "Plot",
    "Preset",
    "Reproduced",
    "Reproduction",
    "Row",
    "Table",
    "below",
    "cell_of",
    "descending",
    "falling",
    "joined",
    "judged",
    "mean_of",
    "near",
    "reproduce",
    "row",
]

REPRODUCTIONS: dict[str, Reproduction[Any]] = {
    one.name: one
    for one in (
        TOYS,
        DEEP_DEFENSE_REPORT,
        TV_LIPSCHITZ,
        SVM_VS_RESNET,
        CAPACITY,
        TRADE_OFF,
        MIXUP_CUTOUT,
        CALIBRATION,
        AUGMIX_UNDER_SHIFT,
        SHIFT,
        OOD,
        GRADIENT_DETECTOR,
        AUXILIARY_DETECTOR,
    )
}
