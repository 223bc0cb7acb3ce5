"""What pages draw with: axes, marks, charts as inline SVG, and the style sheet that gives them colours and fonts."""

from pathlib import Path

STYLE = Path(__file__).parent / "style.css"
