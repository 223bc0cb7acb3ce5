"""The mark of each run: a shape and a colour, so that colour is never needed to tell runs apart."""

STYLES = 6  # shapes and colours before they repeat; the style sheet has the colours as r0 ... r5


def colour(style: int) -> str:
    """The class that carries the colour of a run."""
    return f"r{style % STYLES}"


def marker(style: int) -> str:
    """The mark of a run as an SVG of its own, for legends and headings."""
    return (
        f'<svg class="marker {colour(style)}" viewBox="-8 -8 16 16" width="16" height="16" aria-hidden="true">'
        f"{mark(style, 0, 0, 6)}</svg>"
    )


def mark(style: int, x: float, y: float, r: float) -> str:
    """A filled shape around (x, y): circle, square, triangle, diamond, cross or triangle on its head."""
    kind = style % STYLES
    if kind == 0:
        return f'<circle class="mark" cx="{x:.1f}" cy="{y:.1f}" r="{r:.1f}"/>'
    third = r / 3
    corners = {
        1: [(-r, -r), (r, -r), (r, r), (-r, r)],
        2: [(0, -1.2 * r), (1.1 * r, r), (-1.1 * r, r)],
        3: [(0, -1.3 * r), (1.3 * r, 0), (0, 1.3 * r), (-1.3 * r, 0)],
        4: [(-third, -r), (third, -r), (third, -third), (r, -third), (r, third), (third, third), (third, r),
            (-third, r), (-third, third), (-r, third), (-r, -third), (-third, -third)],
        5: [(0, 1.2 * r), (1.1 * r, -r), (-1.1 * r, -r)],
    }[kind]  # fmt: skip
    places = " ".join(f"{x + dx:.1f},{y + dy:.1f}" for dx, dy in corners)
    return f'<polygon class="mark" points="{places}"/>'
