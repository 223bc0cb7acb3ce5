"""Passes that leave no trace in the model."""

from collections.abc import Iterator
from contextlib import contextmanager

from torch import nn


@contextmanager
def still(model: nn.Module) -> Iterator[None]:
    """While the block lasts, whatever the model counts as it is asked, such as batch norm's statistics, is not kept.

    Copies stand in for the buffers, which are then put back. They are never written to, so a graph that was built
    before or within the block can be differentiated after it.
    """
    found = [(module, dict(module._buffers)) for module in model.modules() if module._buffers]
    try:
        for module, buffers in found:
            for name, value in buffers.items():
                module._buffers[name] = None if value is None else value.clone()
        yield
    finally:
        for module, buffers in found:
            module._buffers.update(buffers)
