"""A universal perturbation replayed on other pictures, and kept in a file."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from torch import Tensor, nn

from holdfast.access import Access
from holdfast.attacks import External
from holdfast.errors import OptionError, RunError
from holdfast.extract.shared_change import Fitted, added, brought_inside, check_shape
from holdfast.files import sha256, write_atomically
from holdfast.threats import Threat, build, of_pixels
from holdfast.train.history import Count

KEY = "holdfast"  # the only entry of the file's metadata
FORMAT = 1


@dataclass(frozen=True)
class Replay:
    """Adds to each picture the change that was fitted at the radius nearest to the threat's, cut to that radius.

    A change that was fitted at a smaller radius is not stretched. Raises: `OptionError` for pictures of another shape.
    """

    fitted: tuple[Fitted, ...]

    def __call__(self, model: nn.Module, x: Tensor, y: Tensor, threat: Threat) -> Tensor:
        """The pictures (N, C, H, W), changed; the model is not asked."""
        nearest = min(self.fitted, key=lambda one: abs(float(one.threat.eps) - float(threat.eps)))
        check_shape(nearest.delta, x)
        return added(x, brought_inside(nearest.delta[None].to(x), threat), threat)


def replayed(fitted: Sequence[Fitted], name: str = "universal") -> External:
    """Changes that were fitted, one a radius, as an attack for `evaluate`; it asks the model nothing.

    Raises: `OptionError` for none, or for changes of several norms or shapes.
    """
    norms, shapes = {one.threat.name for one in fitted}, {tuple(one.delta.shape) for one in fitted}
    if len(norms) != 1 or len(shapes) != 1:
        raise OptionError(
            f"universal: changes in {', '.join(sorted(norms)) or 'no norm'} of {len(shapes)} shapes; allowed: at least "
            "one change, all in one norm and of one shape."
        )
    about = [f"{sha256(one.delta.contiguous().numpy().tobytes())[:16]} at {float(one.threat.eps):g}" for one in fitted]
    return External(
        call=Replay(tuple(fitted)),
        name=name,
        access=Access.LABELS,
        library="universal perturbation",
        options=", ".join([*dict.fromkeys(repr(one.by) for one in fitted if one.by is not None), *about]),
        norms=tuple(norms),
    )


def save(path: Path, fitted: Fitted) -> None:
    """Write the change, with its threat and target, as .safetensors. Raises: `RunError` where it cannot be written."""
    from safetensors.torch import save as to_bytes

    threat = fitted.threat
    about = {
        "format": FORMAT,
        "threat": {"name": threat.name, "eps": float(threat.eps), "low": threat.low, "high": threat.high},
        "target": fitted.target,
        "fooled": list(fitted.fooled),
    }
    metadata = {KEY: json.dumps(about, sort_keys=True)}
    write_atomically(path, to_bytes({"delta": fitted.delta.contiguous()}, metadata=metadata))


def load(path: Path) -> Fitted:
    """What `save` wrote. Raises: `RunError` for a file that is missing, damaged or none of ours."""
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(path, framework="pt") as file:
            about = json.loads((file.metadata() or {})[KEY])
            delta: Tensor = file.get_tensor("delta")
        if about["format"] != FORMAT or delta.ndim != 3 or not bool(delta.isfinite().all()):
            raise ValueError("not a finite change of one picture")
        return Fitted(
            delta, of_pixels(build(**about["threat"]), str(path)), about["target"], Count(*about["fooled"]), (), 0, 0
        )
    except (OSError, ValueError, KeyError, TypeError, SafetensorError) as error:
        raise RunError(
            f"{str(path)!r} holds no universal perturbation ({type(error).__name__}: {error}); allowed: the "
            "delta.safetensors that `holdfast universal` writes."
        ) from error
