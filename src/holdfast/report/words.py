"""How figures are written on the page: percent with one digit, counts in full, sizes in the unit of their radius."""

import math
from typing import Any

NBSP = "\N{NO-BREAK SPACE}"
NORMS = {"linf": "L∞", "l2": "L2", "l1": "L1", "l0": "L0", "pixels": "pixels", "patch": "patch"}
NORMS |= {"rotation": "rotation in degrees", "flow": "flow in pixels", "colour": "shift of colours"}


def percent(rate: float | None, digits: int = 1) -> str:
    """A rate in [0, 1] as "96.4 %"; a dash where there is none. Never 0 % or 100 % for a rate strictly between."""
    if rate is None or not math.isfinite(rate):
        return "–"
    text = f"{100 * rate:.{digits}f}"
    edge = 10.0**-digits
    if float(text) == 0 < rate:
        return f"<{NBSP}{edge:.{digits}f}{NBSP}%"
    if float(text) == 100 and rate < 1:
        return f">{NBSP}{100 - edge:.{digits}f}{NBSP}%"
    return f"{text}{NBSP}%"


def share(k: int, n: int) -> float | None:
    """k / n, or None when n is 0."""
    return k / n if n else None


def interval(rate: dict[str, Any]) -> str:
    """The 95 % interval of a rate as "93.1–98.4 %"."""
    return f"{100 * rate['low']:.1f}–{100 * rate['high']:.1f}{NBSP}%"


def points(difference: float) -> str:
    """A difference of two rates as "+34.2 points"."""
    sign = "+" if difference > 0 else "−" if difference < 0 else "±"
    return f"{sign}{abs(100 * difference):.1f} points"


def overlap(first: dict[str, Any], second: dict[str, Any]) -> bool:
    """Whether the 95 % intervals of two rates have a point in common."""
    return bool(first["low"] <= second["high"] and second["low"] <= first["high"])


def size(value: float | None, eps_text: str) -> str:
    """A perturbation size, in 255ths where the radius was given so."""
    if value is None or not math.isfinite(value):
        return "–"
    return f"{255 * value:.3g}/255" if eps_text.endswith("/255") else f"{value:.3g}"


def radius(point: dict[str, Any]) -> str:
    """A point's eps as the user wrote it."""
    return str(point.get("eps_text") or f"{point['eps']:g}")


def norm(threat: dict[str, Any]) -> str:
    """The norm's usual sign, or the threat's name where it has none; of a mask and a patch, where they lie."""
    if threat["name"] == "masked":
        mask = threat["mask"]
        return f"{NORMS.get(threat['norm'], threat['norm'])} in {mask['allowed']} values of {mask['file'] or 'a mask'}"
    if threat["name"] == "patch":
        place = threat.get("place", "corner")
        named = {"corner": "patch in the corner", "free": "patch anywhere"}
        return named[place] if isinstance(place, str) else f"patch at {','.join(map(str, place))}"
    return NORMS.get(str(threat["name"]), str(threat["name"]))


def because(reason: str) -> str:
    """A reason that fits behind "because": no second "because", one full stop."""
    text = reason.strip().rstrip(".")
    return f"{text[len('because ') :] if text.lower().startswith('because ') else text}."


def sentence(text: str) -> str:
    """A text with a capital at its beginning and a full stop at its end."""
    stripped = text.strip()
    closed = stripped if stripped.endswith((".", "!", "?")) or not stripped else f"{stripped}."
    return closed[:1].upper() + closed[1:]


def number(value: float | None) -> str:
    """A count, seconds or a speed: whole numbers in full, others with four digits."""
    if value is None:
        return "–"
    if float(value).is_integer():
        return f"{int(value)}"
    return f"{value:.1f}" if abs(value) >= 1000 else f"{value:.4g}"


def pictures(data: dict[str, Any], sha256: str | None = None) -> str:
    """ "500 pictures of cifar-10, test split", with the beginning of their hash where it is given."""
    split = f", {data['split']} split" if data.get("split") else ""
    known = f", sha256 {str(sha256)[:8]}" if sha256 else ""
    return f"{plural(data['n'], 'picture')} of {data['name']}{split}{known}"


def plural(count: int, word: str, several: str | None = None) -> str:
    """ "1 picture", "2 pictures"."""
    return f"{count} {word if count == 1 else several or f'{word}s'}"
