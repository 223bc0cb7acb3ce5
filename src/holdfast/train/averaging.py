"""A mean of the weights of many steps, which often does better than the last ones."""

from collections.abc import Callable, Iterator

import torch
from torch import Tensor, nn
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn, update_bn

from holdfast.train.options import TrainOptions


def make_average(model: nn.Module, options: TrainOptions) -> AveragedModel | None:
    """What keeps the mean, or None where none is wanted.

    Source: SWA: Izmailov et al. 2018, arXiv:1803.05407. The moving average is that of torch.optim.swa_utils, which
    averages the buffers of batch norm too.
    """
    if options.average == "none":
        return None
    if options.average == "ema":
        return AveragedModel(model, multi_avg_fn=get_ema_multi_avg_fn(options.average_decay), use_buffers=True)
    return AveragedModel(model)


def after_step(average: AveragedModel | None, model: nn.Module, options: TrainOptions) -> None:
    """A moving average takes in the weights of every step."""
    if average is not None and options.average == "ema":
        average.update_parameters(model)


def after_epoch(
    average: AveragedModel | None,
    model: nn.Module,
    options: TrainOptions,
    epoch: int,
    batches: Callable[[], Iterator[Tensor]],
) -> None:
    """SWA takes in the weights of every epoch of the last part, and counts batch norm's statistics anew for the mean.

    Those of the weights that went into the mean are not those of the mean.
    """
    if average is None or options.average != "swa":
        return
    if epoch <= int(options.average_from * options.epochs):
        average.n_averaged.zero_()
        average.module.load_state_dict(model.state_dict())
        return
    average.update_parameters(model)
    if any(isinstance(module, nn.modules.batchnorm._BatchNorm) for module in model.modules()):
        with torch.no_grad():
            update_bn(batches(), average)


def judged(average: AveragedModel | None, model: nn.Module) -> nn.Module:
    """The model that is scored and kept: the mean, where there is one."""
    return model if average is None else average.module
