"""Common corruptions a second time, one picture at a time, with NumPy, SciPy and Pillow, by the published definition.

Source: Hendrycks & Dietterich 2019, arXiv:1903.12261; numbers and order of operations from `make_imagenet_c.py` and
`make_cifar_c.py` of hendrycks/robustness. Nothing here is shared with `holdfast.corrupt`. A picture is uint8 (H, W, 3);
what comes back is float64 in [0, 1]. Draws are made in the published order, from a `numpy.random.RandomState`.
"""

import io
import math

import numpy as np
from PIL import Image
from scipy import ndimage

IMAGENET = {
    "gaussian-noise": [0.08, 0.12, 0.18, 0.26, 0.38],
    "shot-noise": [60, 25, 12, 5, 3],
    "impulse-noise": [0.03, 0.06, 0.09, 0.17, 0.27],
    "speckle-noise": [0.15, 0.2, 0.35, 0.45, 0.6],
    "gaussian-blur": [1, 2, 3, 4, 6],
    "glass-blur": [(0.7, 1, 2), (0.9, 2, 1), (1, 2, 3), (1.1, 3, 2), (1.5, 4, 2)],
    "defocus-blur": [(3, 0.1), (4, 0.5), (6, 0.5), (8, 0.5), (10, 0.5)],
    "motion-blur": [(10, 3), (15, 5), (15, 8), (15, 12), (20, 15)],
    "zoom-blur": [(1.11, 0.01), (1.16, 0.01), (1.21, 0.02), (1.26, 0.02), (1.31, 0.03)],
    "fog": [(1.5, 2), (2, 2), (2.5, 1.7), (2.5, 1.5), (3, 1.4)],
    "frost": [(1, 0.4), (0.8, 0.6), (0.7, 0.7), (0.65, 0.7), (0.6, 0.75)],
    "snow": [
        (0.1, 0.3, 3, 0.5, 10, 4, 0.8),
        (0.2, 0.3, 2, 0.5, 12, 4, 0.7),
        (0.55, 0.3, 4, 0.9, 12, 8, 0.7),
        (0.55, 0.3, 4.5, 0.85, 12, 8, 0.65),
        (0.55, 0.3, 2.5, 0.85, 12, 12, 0.55),
    ],
    "spatter": [
        (0.65, 0.3, 4, 0.69, 0.6, 0),
        (0.65, 0.3, 3, 0.68, 0.6, 0),
        (0.65, 0.3, 2, 0.68, 0.5, 0),
        (0.65, 0.3, 1, 0.65, 1.5, 1),
        (0.67, 0.4, 1, 0.65, 1.5, 1),
    ],
    "contrast": [0.4, 0.3, 0.2, 0.1, 0.05],
    "brightness": [0.1, 0.2, 0.3, 0.4, 0.5],
    "saturate": [(0.3, 0), (0.1, 0), (2, 0), (5, 0.1), (20, 0.2)],
    "jpeg": [25, 18, 15, 10, 7],
    "pixelate": [0.6, 0.5, 0.4, 0.3, 0.25],
    # Of the side of 224: the published code multiplies by 244.
    "elastic": [
        (244 * 2 / 224, 244 * 0.7 / 224, 244 * 0.1 / 224),
        (244 * 2 / 224, 244 * 0.08 / 224, 244 * 0.2 / 224),
        (244 * 0.05 / 224, 244 * 0.01 / 224, 244 * 0.02 / 224),
        (244 * 0.07 / 224, 244 * 0.01 / 224, 244 * 0.02 / 224),
        (244 * 0.12 / 224, 244 * 0.01 / 224, 244 * 0.02 / 224),
    ],
}
SMALL = {
    "gaussian-noise": [0.04, 0.06, 0.08, 0.09, 0.10],
    "shot-noise": [500, 250, 100, 75, 50],
    "impulse-noise": [0.01, 0.02, 0.03, 0.05, 0.07],
    "speckle-noise": [0.06, 0.1, 0.12, 0.16, 0.2],
    "gaussian-blur": [0.4, 0.6, 0.7, 0.8, 1],
    "glass-blur": [(0.05, 1, 1), (0.25, 1, 1), (0.4, 1, 1), (0.25, 1, 2), (0.4, 1, 2)],
    "defocus-blur": [(0.3, 0.4), (0.4, 0.5), (0.5, 0.6), (1, 0.2), (1.5, 0.1)],
    "motion-blur": [(6, 1), (6, 1.5), (6, 2), (8, 2), (9, 2.5)],
    "zoom-blur": [(1.06, 0.01), (1.11, 0.01), (1.16, 0.01), (1.21, 0.01), (1.26, 0.01)],
    "fog": [(0.2, 3), (0.5, 3), (0.75, 2.5), (1, 2), (1.5, 1.75)],
    "frost": [(1, 0.2), (1, 0.3), (0.9, 0.4), (0.85, 0.4), (0.75, 0.45)],
    "snow": [
        (0.1, 0.2, 1, 0.6, 8, 3, 0.95),
        (0.1, 0.2, 1, 0.5, 10, 4, 0.9),
        (0.15, 0.3, 1.75, 0.55, 10, 4, 0.9),
        (0.25, 0.3, 2.25, 0.6, 12, 6, 0.85),
        (0.3, 0.3, 1.25, 0.65, 14, 12, 0.8),
    ],
    "spatter": [
        (0.62, 0.1, 0.7, 0.7, 0.5, 0),
        (0.65, 0.1, 0.8, 0.7, 0.5, 0),
        (0.65, 0.3, 1, 0.69, 0.5, 0),
        (0.65, 0.1, 0.7, 0.69, 0.6, 1),
        (0.65, 0.1, 0.5, 0.68, 0.6, 1),
    ],
    "contrast": [0.75, 0.5, 0.4, 0.3, 0.15],
    "brightness": [0.05, 0.1, 0.15, 0.2, 0.3],
    "saturate": [(0.3, 0), (0.1, 0), (1.5, 0), (2, 0.1), (2.5, 0.2)],
    "jpeg": [80, 65, 58, 50, 40],
    "pixelate": [0.95, 0.9, 0.85, 0.75, 0.65],
    "elastic": [(0, 0, 0.08), (0.05, 0.2, 0.07), (0.08, 0.06, 0.06), (0.1, 0.04, 0.05), (0.1, 0.03, 0.03)],
}
TABLES = {"imagenet": IMAGENET, "small": SMALL}


def blur(x, sigma, **how):
    """What scikit-image's Gaussian does, each channel by itself."""
    how = {"mode": "nearest", "truncate": 4, **how}
    return ndimage.gaussian_filter(x, (sigma, sigma, 0) if x.ndim == 3 else sigma, **how)


def gaussian_noise(picture, c, rng):
    x = picture / 255.0
    return np.clip(x + rng.normal(size=x.shape, scale=c), 0, 1)


def shot_noise(picture, c, rng):
    x = picture / 255.0
    return np.clip(rng.poisson(x * c) / c, 0, 1)


def impulse_noise(picture, c, rng):
    x = picture / 255.0
    hit, salt = rng.uniform(size=x.shape) <= c, rng.uniform(size=x.shape) <= 0.5
    x[hit & salt], x[hit & ~salt] = 1, 0
    return x


def speckle_noise(picture, c, rng):
    x = picture / 255.0
    return np.clip(x + x * rng.normal(size=x.shape, scale=c), 0, 1)


def gaussian_blur(picture, c, rng):
    return np.clip(blur(picture / 255.0, c), 0, 1)


def glass_blur(picture, c, rng, steps=None, swap=False):
    sigma, most, rounds = c
    x = np.uint8(blur(picture / 255.0, sigma) * 255 + 1e-3)
    height, width = x.shape[:2]
    for turn in range(rounds):
        for i, h in enumerate(range(height - most, most, -1)):
            for j, w in enumerate(range(width - most, most, -1)):
                dx, dy = rng.randint(-most, most, size=2) if steps is None else steps[turn, ::-1, i, j]
                mine = x[h, w].copy()
                x[h, w] = x[h + dy, w + dx]
                if swap:
                    x[h + dy, w + dx] = mine
    return np.clip(blur(x / 255.0, sigma), 0, 1)


def disk(radius, sigma):
    """The kernel of defocus."""
    half, size = (8, 3) if radius <= 8 else (radius, 5)
    grid = np.arange(-half, half + 1)
    flat = (grid[None] ** 2 + grid[:, None] ** 2 <= radius**2).astype(float)
    taps = np.exp(-((np.arange(size) - size // 2) ** 2) / (2 * sigma**2))
    taps /= taps.sum()
    kernel = flat / flat.sum()
    for axis in (0, 1):
        kernel = ndimage.correlate1d(kernel, taps, axis=axis, mode="mirror")
    return kernel


def defocus_blur(picture, c, rng):
    kernel = disk(*c)
    planes = [ndimage.correlate(picture[..., d] / 255.0, kernel, mode="mirror") for d in range(3)]
    return np.clip(np.stack(planes, 2), 0, 1)


def smear(x, radius, sigma, angle):
    """ImageMagick's motion blur: half a Gaussian along a line of rounded places; outside is the edge."""
    length = 2 * radius + 1
    taps = np.exp(-(np.arange(length) ** 2) / (2 * sigma**2))
    taps /= taps.sum()
    rows, columns = np.indices(x.shape[:2])
    total = np.zeros(x.shape)
    for i, tap in enumerate(taps):
        down = math.ceil(i * math.sin(math.radians(angle)) - 0.5)
        right = math.ceil(i * math.cos(math.radians(angle)) - 0.5)
        total += tap * x[np.clip(rows + down, 0, x.shape[0] - 1), np.clip(columns + right, 0, x.shape[1] - 1)]
    return total


def motion_blur(picture, c, rng):
    return np.round(smear(picture.astype(float), *c, rng.uniform(-45, 45))) / 255


def clipped_zoom(x, factor):
    """The enlarged middle."""
    size = [math.ceil(side / factor) for side in x.shape[:2]]
    top, left = ((side - part) // 2 for side, part in zip(x.shape[:2], size))
    middle = x[top : top + size[0], left : left + size[1]]
    large = ndimage.zoom(middle, (factor, factor, 1)[: x.ndim], order=1, mode="nearest")
    top, left = ((there - side) // 2 for there, side in zip(large.shape[:2], x.shape[:2]))
    return large[top : top + x.shape[0], left : left + x.shape[1]]


def zoom_blur(picture, c, rng):
    x = picture / 255.0
    factors = np.arange(1, *c)
    return np.clip((x + sum(clipped_zoom(x, factor) for factor in factors)) / (len(factors) + 1), 0, 1)


def plasma(side, decay, rng):
    """Diamond-square, point by point."""
    heights, spread, step = np.zeros((side, side)), 100.0, side
    while step >= 2:
        half = step // 2
        for y in range(half, side, step):
            for x in range(half, side, step):
                ends = [heights[(y + a) % side, (x + b) % side] for a in (-half, half) for b in (-half, half)]
                heights[y, x] = sum(ends) / 4 + spread * rng.uniform(-spread, spread)
        between = [(y, x) for y in range(0, side, step) for x in range(half, side, step)]
        between += [(y, x) for y in range(half, side, step) for x in range(0, side, step)]
        for y, x in between:
            ends = [heights[(y - half) % side, x], heights[(y + half) % side, x]]
            ends += [heights[y, (x - half) % side], heights[y, (x + half) % side]]
            heights[y, x] = sum(ends) / 4 + spread * rng.uniform(-spread, spread)
        step, spread = half, spread / decay
    heights -= heights.min()
    return heights / heights.max()


def fog(picture, c, rng):
    x, largest = picture / 255.0, picture.max() / 255
    side = 2 ** math.ceil(math.log2(max(x.shape)))
    cloud = plasma(side, c[1], rng)[: x.shape[0], : x.shape[1], None]
    return np.clip((x + c[0] * cloud) * largest / (largest + c[0]), 0, 1)


def frost(picture, c, rng, ice):
    """`ice` (5, S, S, 3) uint8: textures in the place of the photographs."""
    height, width = picture.shape[:2]
    texture = ice[rng.randint(5)]
    top, left = rng.randint(0, texture.shape[0] - height), rng.randint(0, texture.shape[1] - width)
    return np.clip(c[0] * picture + c[1] * texture[top : top + height, left : left + width], 0, 255) / 255


def snow(picture, c, rng):
    x = picture / 255.0
    layer = clipped_zoom(rng.normal(size=x.shape[:2], loc=c[0], scale=c[1]), c[2])
    layer[layer < c[3]] = 0
    layer = np.uint8(np.clip(layer, 0, 1) * 255)
    layer = np.round(smear(layer.astype(float), c[4], c[5], rng.uniform(-135, -45))) / 255
    grey = x @ [0.299, 0.587, 0.114]
    x = c[6] * x + (1 - c[6]) * np.maximum(x, grey[..., None] * 1.5 + 0.5)
    return np.clip(x + layer[..., None] + np.rot90(layer, 2)[..., None], 0, 1)


def canny(x, low=50, high=150):
    """Edges of a uint8 picture, pixel by pixel."""
    x = x.astype(int)
    across = ndimage.correlate(x, np.array([[-1, 0, 1], [-2, 0, 2], [-1, 0, 1]]), mode="nearest")
    down = ndimage.correlate(x, np.array([[-1, -2, -1], [0, 0, 0], [1, 2, 1]]), mode="nearest")
    size = np.pad(abs(across) + abs(down), 1)
    kept = np.zeros(x.shape, bool)
    for y in range(x.shape[0]):
        for z in range(x.shape[1]):
            gx, gy, here = across[y, z], down[y, z], size[y + 1, z + 1]
            if here <= low:
                continue
            slope = abs(gy) / abs(gx) if gx else math.inf
            if slope < math.sqrt(2) - 1:
                kept[y, z] = here > size[y + 1, z] and here >= size[y + 1, z + 2]
            elif slope > math.sqrt(2) + 1:
                kept[y, z] = here > size[y, z + 1] and here >= size[y + 2, z + 1]
            else:
                side = -1 if (gx < 0) != (gy < 0) else 1
                kept[y, z] = here > size[y, z + 1 - side] and here > size[y + 2, z + 1 + side]
    labels, _ = ndimage.label(kept, np.ones((3, 3)))
    strong = np.unique(labels[kept & (size[1:-1, 1:-1] > high)])
    return kept & np.isin(labels, strong[strong > 0])


def chamfer(edges, most=20.0):
    """Distances to the nearest edge by steps of 5x5, in parts of 2^-16: the two passes of the definition."""
    height, width = edges.shape
    far = np.full((height + 4, width + 4), 1e4)
    far[2:-2, 2:-2][edges] = 0
    steps = [(-2, -1, 2.1969), (-2, 1, 2.1969), (-1, -2, 2.1969), (-1, 2, 2.1969)]
    steps += [(-1, -1, 1.4), (-1, 1, 1.4), (-1, 0, 1.0), (0, -1, 1.0)]
    steps = [(a, b, round(cost * 2**16) / 2**16) for a, b, cost in steps]
    for sign, ys, xs in (
        (1, range(2, height + 2), range(2, width + 2)),
        (-1, range(height + 1, 1, -1), range(width + 1, 1, -1)),
    ):
        for y in ys:
            for x in xs:
                far[y, x] = min(far[y, x], *(far[y + sign * a, x + sign * b] + cost for a, b, cost in steps))
    return np.minimum(far[2:-2, 2:-2], most)


def equalize(x):
    """Histogram equalisation of a uint8 picture."""
    count = np.bincount(x.ravel(), minlength=256)
    first = int(np.nonzero(count)[0][0])
    if count[first] == x.size:
        return x
    after = np.float32(np.cumsum(count) - count[first])
    return np.clip(np.round(after * np.float32(255 / (x.size - count[first]))), 0, 255).astype(np.uint8)[x]


def relief(liquid):
    """Of a uint8 layer of drops."""
    box = np.ones((3, 3))
    apart = np.float32(ndimage.correlate(chamfer(canny(liquid)), box, mode="mirror") / 9).astype(np.uint8)
    shade = np.array([[-2, -1, 0], [-1, 1, 1], [0, 1, 2]])
    lit = np.clip(ndimage.correlate(equalize(apart).astype(int), shade, mode="mirror"), 0, 255)
    return np.round(ndimage.correlate(lit.astype(float), box, mode="mirror") / 9)


def spatter(picture, c, rng):
    x = picture / 255.0
    layer = blur(rng.normal(size=x.shape[:2], loc=c[0], scale=c[1]), c[2])
    layer[layer < c[3]] = 0
    if c[5]:
        cover = blur((layer > c[3]).astype(float), c[4])
        cover[cover < 0.8] = 0
        return np.clip(x * (1 - cover[..., None]) + cover[..., None] * np.array([63, 42, 20]) / 255, 0, 1)
    liquid = np.uint8(np.clip(layer, 0, 1) * 255)
    light = liquid * relief(liquid)
    light = c[4] * light / light.max() if light.max() > 0 else light
    return np.clip(x + light[..., None] * np.array([175, 238, 238]) / 255, 0, 1)


def contrast(picture, c, rng):
    x = picture / 255.0
    mean = x.mean(axis=(0, 1), keepdims=True)
    return np.clip((x - mean) * c + mean, 0, 1)


def to_hsv(x):
    value, spread = x.max(2), x.max(2) - x.min(2)
    safe = np.where(spread == 0, 1, spread)
    r, g, b = np.moveaxis(x, 2, 0)
    hue = np.where(value == r, (g - b) / safe % 6, np.where(value == g, 2 + (b - r) / safe, 4 + (r - g) / safe)) / 6
    return np.where(spread == 0, 0, hue), np.where(value == 0, 0, spread / np.where(value == 0, 1, value)), value


def from_hsv(hue, saturation, value):
    sector = [((5, 3, 1)[i] + hue * 6) % 6 for i in range(3)]
    return np.stack([value * (1 - saturation * np.clip(np.minimum(k, 4 - k), 0, 1)) for k in sector], 2)


def brightness(picture, c, rng):
    hue, saturation, value = to_hsv(picture / 255.0)
    return from_hsv(hue, saturation, np.clip(value + c, 0, 1))


def saturate(picture, c, rng):
    hue, saturation, value = to_hsv(picture / 255.0)
    return from_hsv(hue, np.clip(saturation * c[0] + c[1], 0, 1), value)


def jpeg(picture, c, rng):
    file = io.BytesIO()
    Image.fromarray(picture).save(file, "JPEG", quality=c)
    with Image.open(file) as image:
        return np.array(image) / 255


def pixelate(picture, c, rng):
    height, width = picture.shape[:2]
    small = Image.fromarray(picture).resize((int(width * c), int(height * c)), Image.Resampling.BOX)
    return np.array(small.resize((width, height), Image.Resampling.BOX)) / 255


def elastic(picture, c, rng, moves=None, noise=None):
    x = picture / 255.0
    height, width = x.shape[:2]
    factor, sigma, most = (share * min(height, width) for share in c)
    middle, reach = np.array([width // 2, height // 2]), min(height, width) // 3
    old = middle + np.array([[reach, reach], [reach, -reach], [-reach, -reach]], float)
    new = old + (rng.uniform(-most, most, size=(3, 2)) if moves is None else moves)
    back = np.linalg.solve(np.column_stack([new, np.ones(3)]), old)  # from moved points to the old ones
    rows, columns = np.indices((height, width))
    source = np.stack([columns, rows, np.ones_like(rows)], 2) @ back
    x = lookup(x, source[..., 1], source[..., 0], "mirror")
    if factor:
        drawn = rng.uniform(-1, 1, size=(2, height, width)) if noise is None else noise
        right, down = (blur(field, sigma, mode="reflect", truncate=3) * factor for field in drawn)
        x = lookup(x, rows + down, columns + right, "reflect")
    return np.clip(x, 0, 1)


def lookup(x, rows, columns, mode):
    planes = [ndimage.map_coordinates(x[..., d], [rows, columns], order=1, mode=mode) for d in range(3)]
    return np.stack(planes, 2)


ORACLES = {
    "gaussian-noise": gaussian_noise,
    "shot-noise": shot_noise,
    "impulse-noise": impulse_noise,
    "speckle-noise": speckle_noise,
    "defocus-blur": defocus_blur,
    "glass-blur": glass_blur,
    "motion-blur": motion_blur,
    "zoom-blur": zoom_blur,
    "gaussian-blur": gaussian_blur,
    "snow": snow,
    "frost": frost,
    "fog": fog,
    "brightness": brightness,
    "spatter": spatter,
    "contrast": contrast,
    "elastic": elastic,
    "pixelate": pixelate,
    "jpeg": jpeg,
    "saturate": saturate,
}


def psnr(a, b):
    """In decibels, of values in [0, 1]; 60 at most, for pictures that are alike."""
    return 10 * math.log10(1 / max(float(np.mean((a - b) ** 2)), 1e-6))


def ssim(a, b):
    """Mean structural similarity of two pictures (H, W, C) in [0, 1], by windows of 7x7.

    Source: Wang et al. 2004, doi:10.1109/TIP.2003.819861, with equal weights and biased moments.
    """

    def mean(x):
        return ndimage.uniform_filter(x, (7, 7, 0) if x.ndim == 2 else (7, 7, 1))

    one, two = mean(a), mean(b)
    spread = mean(a * a) - one**2, mean(b * b) - two**2
    both = mean(a * b) - one * two
    top = (2 * one * two + 0.01**2) * (2 * both + 0.03**2)
    return float((top / ((one**2 + two**2 + 0.01**2) * (sum(spread) + 0.03**2))).mean())
