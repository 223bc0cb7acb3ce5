"""Attacks and the engine that runs them: one algorithm a file, one line here."""

from collections.abc import Mapping

from holdfast.attacks.alma import ALMA
from holdfast.attacks.apgd import APGD
from holdfast.attacks.apgd_t import APGDT
from holdfast.attacks.attack import Attack
from holdfast.attacks.best import Aim
from holdfast.attacks.bisect import Bisect, BisectedAPGD
from holdfast.attacks.boundary import Boundary
from holdfast.attacks.case import Case
from holdfast.attacks.cut import Cut
from holdfast.attacks.cw import CW
from holdfast.attacks.cw_l0 import CWL0
from holdfast.attacks.cw_linf import CWLinf
from holdfast.attacks.ddn import DDN
from holdfast.attacks.deepfool import DeepFool
from holdfast.attacks.ead import EAD
from holdfast.attacks.engine import run
from holdfast.attacks.eot import EoT
from holdfast.attacks.evasive_cw import EvasiveCW
from holdfast.attacks.external import External
from holdfast.attacks.fab import FAB
from holdfast.attacks.fab_t import FABT
from holdfast.attacks.fgsm import FGSM
from holdfast.attacks.final import Climb, final_points, straight
from holdfast.attacks.fmn import FMN
from holdfast.attacks.geoda import GeoDA
from holdfast.attacks.grid import Grid
from holdfast.attacks.hill_climbing import HillClimbing
from holdfast.attacks.hop_skip_jump import HopSkipJump
from holdfast.attacks.ifgsm import IFGSM
from holdfast.attacks.in_a_row import run_in_a_row
from holdfast.attacks.jsma import JSMA
from holdfast.attacks.lavan import LaVAN
from holdfast.attacks.line_search import LineSearch
from holdfast.attacks.mifgsm import MIFGSM
from holdfast.attacks.nes import NES
from holdfast.attacks.noise import Noise
from holdfast.attacks.one_pixel import OnePixel
from holdfast.attacks.orthogonal_apgd import OrthogonalAPGD
from holdfast.attacks.orthogonal_pgd import OrthogonalPGD
from holdfast.attacks.pdgd import PDGD
from holdfast.attacks.pdpgd import PDPGD
from holdfast.attacks.penalised import Penalised
from holdfast.attacks.pgd import PGD
from holdfast.attacks.pgd_l0 import PGDL0
from holdfast.attacks.pointwise import Pointwise
from holdfast.attacks.ray_s import RayS
from holdfast.attacks.regularised import Regularised
from holdfast.attacks.reserve import Reserve
from holdfast.attacks.result import AttackResult, Trace
from holdfast.attacks.run_external import run_external
from holdfast.attacks.sigma_zero import SigmaZero
from holdfast.attacks.sign_hunter import SignHunter
from holdfast.attacks.sign_opt import SignOPT
from holdfast.attacks.simba import SimBA
from holdfast.attacks.smallest import smallest
from holdfast.attacks.sparse_rs import SparseRS
from holdfast.attacks.spsa import SPSA
from holdfast.attacks.square import Square
from holdfast.attacks.super_deepfool import SuperDeepFool
from holdfast.attacks.surfree import SurFree
from holdfast.attacks.views import Views
from holdfast.attacks.worst_of_k import WorstOfK
from holdfast.attacks.zoo import ZOO
from holdfast.errors import unknown
from holdfast.options import parse

__all__ = [
    "ALMA",
    "APGD",
    "APGDT",
    "ATTACKS",
    "CW",
    "CWL0",
    "DDN",
    "EAD",
    "EVASIONS",
    "FAB",
    "FABT",
    "FGSM",
    "FMN",
    "IFGSM",
    "JSMA",
    "MIFGSM",
    "NES",
    "PDGD",
    "PDPGD",
    "PGD",
    "PGDL0",
    "SPSA",
    "ZOO",
    "Aim",
    "Attack",
    "AttackResult",
    "Bisect",
    "BisectedAPGD",
    "Boundary",
    "CWLinf",
    "Case",
    "Climb",
    "Cut",
    "DeepFool",
    "EoT",
    "EvasiveCW",
    "External",
    "GeoDA",
    "Grid",
    "HillClimbing",
    "HopSkipJump",
    "LaVAN",
    "LineSearch",
    "Noise",
    "OnePixel",
    "OrthogonalAPGD",
    "OrthogonalPGD",
    "Penalised",
    "Pointwise",
    "RayS",
    "Regularised",
    "Reserve",
    "SigmaZero",
    "SignHunter",
    "SignOPT",
    "SimBA",
    "SparseRS",
    "Square",
    "SuperDeepFool",
    "SurFree",
    "Trace",
    "Views",
    "WorstOfK",
    "build",
    "final_points",
    "run",
    "run_external",
    "run_in_a_row",
    "smallest",
    "straight",
]

ATTACKS: dict[str, type[Attack]] = {
    "fgsm": FGSM,
    "i-fgsm": IFGSM,
    "mi-fgsm": MIFGSM,
    "pgd": PGD,
    "apgd": APGD,
    "apgd-t": APGDT,
    "deepfool": DeepFool,
    "superdeepfool": SuperDeepFool,
    "fab": FAB,
    "fab-t": FABT,
    "ddn": DDN,
    "fmn": FMN,
    "pdgd": PDGD,
    "pdpgd": PDPGD,
    "cw": CW,
    "cw-linf": CWLinf,
    "cw-l0": CWL0,
    "ead": EAD,
    "regularised": Regularised,
    "bisect": BisectedAPGD,
    "alma": ALMA,
    "sigma-zero": SigmaZero,
    "square": Square,
    "pgd-l0": PGDL0,
    "jsma": JSMA,
    "lavan": LaVAN,
    "sparse-rs": SparseRS,
    "nes": NES,
    "spsa": SPSA,
    "simba": SimBA,
    "sign-hunter": SignHunter,
    "hill-climbing": HillClimbing,
    "one-pixel": OnePixel,
    "zoo": ZOO,
    "hop-skip-jump": HopSkipJump,
    "boundary": Boundary,
    "geoda": GeoDA,
    "sign-opt": SignOPT,
    "surfree": SurFree,
    "ray-s": RayS,
    "pointwise": Pointwise,
    "line-search": LineSearch,
    "grid": Grid,
    "worst-of-k": WorstOfK,
    "noise": Noise,
}

EVASIONS: dict[str, type[Attack]] = {kind.name: kind for kind in (OrthogonalPGD, OrthogonalAPGD, EvasiveCW)}
"""Attacks on guarded models alone, which tell the classifier from its detector; all others attack these models too."""


def build(name: str, options: Mapping[str, object] | None = None) -> Attack:
    """An attack by its name, with options as values or text, e.g. `build("pgd", {"steps": "100"})`.

    Raises: `OptionError` for an unknown name, option or value, with the nearest known ones.
    """
    known = ATTACKS | EVASIONS
    if name not in known:
        raise unknown("attack", name, known)
    return parse(known[name], dict(options or {}))
