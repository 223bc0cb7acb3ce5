"""Models: architectures by name, normalisation inside the model, steps that defend it, maps that correct its
confidence, models of several models, folders with a card, and a user's own files.

A model is a torch module from pictures (N, C, H, W), floating, in [0, 1], to logits (N, K).
"""

from holdfast.models.cards import Card, load, save
from holdfast.models.cast import Cast
from holdfast.models.catalogue import ARCHITECTURES, Architecture, architecture, build
from holdfast.models.defended import Defended, bridged_steps, random_steps
from holdfast.models.ensemble import Ensemble, EnsembleOf
from holdfast.models.exporting import Exported, export
from holdfast.models.guarded import Guarded, Suspicion, refused_class
from holdfast.models.joining import join
from holdfast.models.mc_dropout import MonteCarloDropout, MonteCarloDropoutOf
from holdfast.models.members import Committee
from holdfast.models.normalized import Normalized
from holdfast.models.opening import Opened, card_of, check_answer, open_model
from holdfast.models.recalibrated import Recalibrated
from holdfast.models.stacked import Stacked, StackedOf, fit_combiner
from holdfast.models.steps import JPEG, BitDepth, GaussianNoise, ResizePad, Step
from holdfast.models.user import load_user
from holdfast.models.weights import count_parameters, fit, read_weights, weights_sha256
from holdfast.models.wrapped import Wrapped

__all__ = [
    "ARCHITECTURES",
    "JPEG",
    "Architecture",
    "BitDepth",
    "Card",
    "Cast",
    "Committee",
    "Defended",
    "Ensemble",
    "EnsembleOf",
    "Exported",
    "GaussianNoise",
    "Guarded",
    "MonteCarloDropout",
    "MonteCarloDropoutOf",
    "Normalized",
    "Opened",
    "Recalibrated",
    "ResizePad",
    "Stacked",
    "StackedOf",
    "Step",
    "Suspicion",
    "Wrapped",
    "architecture",
    "bridged_steps",
    "build",
    "card_of",
    "check_answer",
    "count_parameters",
    "export",
    "fit",
    "fit_combiner",
    "join",
    "load",
    "load_user",
    "open_model",
    "random_steps",
    "read_weights",
    "refused_class",
    "save",
    "weights_sha256",
]
