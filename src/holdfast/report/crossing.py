"""The page of a table of sources by victims, from its `transfer.json` alone."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from holdfast.errors import RunError
from holdfast.files import read_object, write_atomically
from holdfast.report import words
from holdfast.report.page import environment

FILE, PAGE = "transfer.json", "report.html"
FORMAT = 1


def write_crossing(folder: Path) -> Path:
    """Write report.html beside a transfer.json and return its path.

    Raises: `RunError` for a file that is missing, damaged or of another format, or a folder that cannot be written.
    """
    plain = read_object(folder / FILE)
    if plain.get("format") != FORMAT:
        raise RunError(f"{str(folder / FILE)!r} has format {plain.get('format')!r}; allowed: {FORMAT}. Make it anew.")
    try:
        text = environment().get_template("crossing.html.j2").render(context(plain))
    except (KeyError, TypeError) as error:
        raise RunError(f"{str(folder / FILE)!r} is damaged ({error!r}). Make it anew.") from error
    write_atomically(folder / PAGE, text.encode())
    return folder / PAGE


def context(plain: Mapping[str, Any]) -> dict[str, Any]:
    """What the template uses, by name."""
    cells = {(cell["source"], cell["victim"]): cell for cell in plain["cells"]}
    sources = [
        {**source, "cells": [shaded(cells[source["name"], victim["name"]]) for victim in plain["victims"]]}
        for source in plain["sources"]
    ]
    threat, data, origin = plain["threat"], plain["data"], plain["provenance"]
    count = words.plural(data["n"], "picture")
    facts = {
        "Attack": plain["attack"]["repr"],
        "Threat": f"{words.norm(threat)}, eps {threat['eps']:.6g}, values from {threat['low']:g} to {threat['high']:g}",
        "Data": f"{data['name']}, {data['split']}, {count}, sha256 {origin['data_sha256']}",
        **{f"Weights of {name}": told["weights_sha256"] or "not known" for name, told in plain["models"].items()},
        "Seed": plain["seed"],
        "Versions": f"holdfast {origin['holdfast']}, torch {origin['torch']}, Python {origin['python']}",
        "Device": origin["device"],
        "Command": " ".join(origin["command"]),
    }
    return {
        "title": "Who fools whom",
        "settings": [data["name"], f"{words.norm(threat)} {threat['eps']:.4g}", count],
        "attack": plain["attack"]["name"],
        "sources": sources,
        "victims": plain["victims"],
        "white_box": any(cell["white_box"] for cell in plain["cells"]),
        "facts": [(name, value) for name, value in facts.items() if value not in ("", None)],
    }


def shaded(cell: Mapping[str, Any]) -> dict[str, Any]:
    """A cell with the strength of its colour, in percent of the ink."""
    rate = cell["success"]
    return {**cell, "shade": 0 if rate is None else round(45 * rate["rate"])}
