"""The records of one shard of pictures as a file: tensors in, the same bytes out every time, damage noticed."""

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path

import torch
from torch import Tensor

from holdfast.errors import RunError

FORMAT = 1
KEY = "holdfast"  # the only metadata entry: several would be written in an order that varies

Shard = Mapping[str, Tensor]
"""Records of n pictures at E radii (ascending).

Of each picture, (n,): `index` int64 place in the full split, `label`, `prediction` int64, `confidence` float32.
Where the smallest change was sought, (n,): `smallest` float64, the verified size of the picture's change at any radius,
infinite where none was found, 0 if wrong before; `smallest_relative` float64, its share of the picture's own size;
`smallest_prediction` int64, what the changed picture is taken for; and, of an attack of our own, (P, n) `course`
float64, the smallest size that it had found after 1, 2, 5, 10, ... points asked (`attacks.result.CHECKPOINTS`).
The pictures themselves, (n, C, H, W): `x`, uint8 or float32 as stored in the data set.
Of each picture and radius, (E, n): `prediction_adv` int64, `confidence_adv` float32, `success` (verified, the attack
at this radius alone), `broken` (here or at a smaller radius), `success_8bit`, `claimed` (by the engine),
`finite`, `inside_box`, `inside_eps`, `untouched` (unless wrong from the start and changed all the same) bool,
`tie` bool (the verifier's two largest logits are as good as equal), `size` float64, `step`, `attack` (which of
those in a row broke it, from 0; -1 none), `queries`, `forward`, `backward` int64; and, of pictures made on another
model, `forward_elsewhere`, `backward_elsewhere` int64, what they cost there. Where the attack averages over views,
`views` and `views_before` float64: the share of random views of a success, and of its original, that reach the goal;
NaN for what is no success.
Of each radius, (E, 3): `counted` int64: forward and backward passes seen by hooks during the attack (-1: not seen),
and the verifier's own forward passes.
Adversarial pictures of radius e: `adv.e.rows` int64 rows in the shard that were right and are broken by the attack at
this radius, `adv.e.x` float32 (or the pictures' own float type) in the same order, with `adv.e.parameters` (rows, ...)
what they are rendered from where the threat does so. `adv.beyond.rows`, `adv.beyond.x`, `adv.beyond.parameters`: those
that only a change beyond the largest radius breaks, where the smallest change was sought.
In the first shard, where pictures are turned: `landscape.margin`, `.angle`, `.shift` (`evaluate.landscape`).
"""

PIXELS = ("x", "adv.", "landscape.")


def encode(shard: Shard, number: int) -> bytes:
    """The file's content. The hash of all tensors goes into its header, so that damage is noticed when it is read."""
    from safetensors.torch import save

    # Moved to the CPU and made contiguous: the same tensors give the same bytes wherever they were computed.
    tensors = {name: tensor.detach().cpu().contiguous() for name, tensor in shard.items()}
    header = {"format": FORMAT, "shard": number, "sha256": _digest(tensors)}
    return bytes(save(tensors, metadata={KEY: json.dumps(header, sort_keys=True)}))


def decode(path: Path, number: int) -> dict[str, Tensor]:
    """All tensors of a shard file, after its hash was compared.

    Raises: `RunError` when the file is cut short, changed, another shard or no shard at all.
    """
    header, tensors = _read(path)
    if header.get("shard") != number or header.get("sha256") != _digest(tensors):
        raise RunError(
            f"shard {str(path)!r} is damaged: its content does not match its hash. "
            "Delete this file and run again with --resume: only its pictures are attacked again."
        )
    return tensors


def loads(content: bytes) -> dict[str, Tensor]:
    """All tensors of a shard that `encode` made and another process sent."""
    from safetensors.torch import load

    return dict(load(content))


def intact(path: Path, number: int) -> bool:
    """Whether a shard file is there, whole and the right one."""
    if not path.exists():
        return False
    try:
        decode(path, number)
    except RunError:
        return False
    return True


def check_whole(path: Path) -> None:
    """Raise `RunError` when a shard file's content contradicts the hash in its header, or cannot be read."""
    header, tensors = _read(path)
    if header.get("sha256", (digest := _digest(tensors))) != digest:
        raise RunError(
            f"shard {str(path)!r} is damaged: its content does not match its hash. "
            "Delete it and summary.json, then run `holdfast evaluate ... --resume`."
        )


def without_pixels(shard: Shard) -> dict[str, Tensor]:
    """The records without the pictures: a few hundred bytes a picture, small enough to keep."""
    return {name: tensor for name, tensor in shard.items() if not name.startswith(PIXELS)}


def read_records(path: Path) -> dict[str, Tensor]:
    """The records of a shard file, its pictures left on the disk."""
    return _read(path, pixels=False)[1]


def join(shards: list[dict[str, Tensor]]) -> dict[str, Tensor]:
    """The records of several shards as one: pictures one after the other, counts added."""
    joined = {name: torch.cat([shard[name] for shard in shards], -1) for name in shards[0] if name != "counted"}
    joined["counted"] = add_counts([shard["counted"] for shard in shards])
    return joined


def add_counts(parts: list[Tensor]) -> Tensor:
    """Sum of (E, 3) counts, -1 staying -1: what was not seen once is not known."""
    stacked = torch.stack(parts)
    return torch.where((stacked < 0).any(0), -1, stacked.sum(0))


def _read(path: Path, pixels: bool = True) -> tuple[dict[str, object], dict[str, Tensor]]:
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(path, framework="pt") as file:
            names = [name for name in sorted(file.keys()) if pixels or not name.startswith(PIXELS)]
            return json.loads((file.metadata() or {}).get(KEY, "{}")), {name: file.get_tensor(name) for name in names}
    except (OSError, ValueError, SafetensorError) as error:
        raise RunError(
            f"cannot read shard {str(path)!r}: {error}. Delete it and run again with --resume: only its pictures are "
            "attacked again."
        ) from error


def _digest(tensors: Shard) -> str:
    digest = hashlib.sha256()
    for name in sorted(tensors):
        tensor = tensors[name]
        digest.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}\n".encode())
        digest.update(tensor.contiguous().view(-1).view(torch.uint8).numpy().data if tensor.numel() else b"")
    return digest.hexdigest()
