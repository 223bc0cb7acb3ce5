"""Attacks of the Adversarial Robustness Toolbox (Nicolae et al. 2018, arXiv:1807.01069)."""

import math
from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor, nn

from holdfast.access import Access
from holdfast.attacks import External
from holdfast.bridges.library import library, made, made_each_batch, parameters
from holdfast.threats import Threat

NORMS = {"linf": math.inf, "l2": 2, "l1": 1}  # as ART takes them


def art(
    maker: Callable[..., Any],
    options: Mapping[str, object] | None = None,
    *,
    name: str | None = None,
    access: Access = Access.GRADIENT,
    restores: bool = False,
) -> External:
    """An evasion attack of ART from its class, such as `art(ProjectedGradientDescentPyTorch, {"max_iter": 40})`.

    Made anew for each batch by `maker(estimator, eps=..., norm=..., **options)`, of which it gets what it takes;
    `maker` may be any function of that form. The estimator is a `PyTorchClassifier` with the threat's box as its
    `clip_values`. A class without `eps` looks for the smallest change, and points beyond the radius are brought back to
    it. Step sizes (`eps_step`) are in pixel units there and do not follow the radius, unless `maker` sees to it.

    Args: `name` in the tables, by default "art:" and the class; `access` below `GRADIENT` for an attack that lives on
    scores or labels; `restores` for one that gives the original back where it fails.
    Raises: `OptionError` where ART is missing, for an option that the class does not have, and when used within L0,
    or a norm other than the one in `options`.
    Cost: ART's passes, see `run_external`, and one forward pass a batch, which tells how many classes there are.
    """
    return made_each_batch("art", maker, options, call=_call, norms=_norms, name=name, access=access, restores=restores)


def _call(
    maker: Callable[..., Any], options: Mapping[str, object], model: nn.Module, x: Tensor, y: Tensor, threat: Threat
) -> Tensor:
    with torch.no_grad():
        classes = model(x[:1]).shape[1]
    estimator = library("art.estimators.classification").PyTorchClassifier(
        model=model,
        loss=nn.CrossEntropyLoss(),
        input_shape=tuple(x.shape[1:]),
        nb_classes=classes,
        clip_values=(threat.low, threat.high),
        device_type="gpu" if x.is_cuda else "cpu",
    )
    attack = made(maker, estimator, options, eps=float(threat.eps), norm=NORMS.get(threat.name), verbose=False)
    found = attack.generate(x=x.cpu().numpy(), y=y.cpu().numpy())
    return torch.from_numpy(found).to(x)


def _norms(maker: Callable[..., Any], options: Mapping[str, object]) -> tuple[str, ...]:
    if "norm" not in parameters(maker):
        return ()
    said = options.get("norm")
    if said is None:
        return tuple(NORMS)
    return tuple(name for name, norm in NORMS.items() if said in (norm, str(norm)))
