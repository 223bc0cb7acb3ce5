"""Image sets: read from their publishers' own files, verified, split without overlap, uint8 in memory."""

from holdfast.data.adapting import adapted
from holdfast.data.finding import SetStatus, find, status
from holdfast.data.loading import load
from holdfast.data.pictures import Pictures
from holdfast.data.sets import SETS
from holdfast.data.splits import SPLITS

__all__ = ["SETS", "SPLITS", "Pictures", "SetStatus", "adapted", "find", "load", "status"]
