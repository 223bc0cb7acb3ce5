"""The model that is evaluated, as it is named on a command line, with whatever is put around it."""

from holdfast.models import Opened, open_model

__all__ = ["Opened", "open_model"]
