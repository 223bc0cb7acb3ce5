"""How far the same model's answers to the same picture may lie apart when they are computed in another way."""

import torch

TIE = {torch.float64: 1e-12, torch.float32: 1e-5}
COARSE_TIE = 1e-2
ALIKE = {torch.float64: 1e-9, torch.float32: 1e-3}
COARSE_ALIKE = 5e-2


def tie(dtype: torch.dtype, device: torch.device) -> float:
    """Two logits closer than this share of the larger one are a tie: another batch size may decide it otherwise."""
    return COARSE_TIE if coarse(dtype, device) else TIE.get(dtype, COARSE_TIE)


def alike(dtype: torch.dtype, device: torch.device) -> float:
    """The share of the largest logit that another batch size or machine may move a picture's logits by.

    A batch of one takes other kernels than a batch of many, and where large numbers cancel inside the model their
    roundings show. What another network, or a picture's neighbours in a batch, do to the logits is far more.
    """
    return COARSE_ALIKE if coarse(dtype, device) else ALIKE.get(dtype, COARSE_ALIKE)


def coarse(dtype: torch.dtype, device: torch.device) -> bool:
    """Whether products are computed with about 10 bits: in half precision, and in float32 by the TF32 of a GPU."""
    tf32 = torch.backends.cudnn.allow_tf32 or torch.backends.cuda.matmul.allow_tf32
    return dtype.itemsize < 4 or (device.type == "cuda" and dtype == torch.float32 and tf32)
