"""Steps in front of a model or inside it: what an attack has to go through, and how; one step a file."""

from holdfast.models.steps.bit_depth import BitDepth
from holdfast.models.steps.gaussian_noise import GaussianNoise
from holdfast.models.steps.jpeg import JPEG
from holdfast.models.steps.resize_pad import ResizePad
from holdfast.models.steps.step import Backward, Step

__all__ = ["JPEG", "Backward", "BitDepth", "GaussianNoise", "ResizePad", "Step"]
