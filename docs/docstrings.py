"""Brings docstrings and comments into the shape of the reference pages, when those are built.

Docstrings name their parts at the start of a line (`Args:`, `Raises:`, ...). Markdown would run them
together; here each becomes a paragraph of its own with its name in bold. A field of a record is described by
the comment behind it, or by the help that the command line shows; here that becomes its docstring.
"""

import ast
import re
from typing import Any

from griffe import Docstring, Extension, Object

PART = re.compile(r"^(Args|Returns|Raises|Cost|Source|Sources|Shape|Example):(?=\s|$)", re.MULTILINE)
BEHIND = re.compile(r"[^#]*\S\s+# (.+)")
BEFORE = re.compile(r"\s*# ?(.*)")


class Parts(Extension):
    """Found and used by mkdocstrings."""

    def on_object(self, *, obj: Object, **_: Any) -> None:
        """Rewrite one docstring, or make one from what stands beside a field."""
        if obj.docstring:
            obj.docstring.value = PART.sub(r"\n**\1:**", obj.docstring.value)
        elif obj.is_attribute and (text := told_by_help(obj) or told_by_comment(obj)):
            sentence = text[0].upper() + text[1:].removesuffix(".") + "."
            obj.docstring = Docstring(sentence, parent=obj)


def told_by_help(obj: Object) -> str:
    """The help in `option(default, "help")` or `field(default=..., metadata={"help": "..."})`."""
    try:
        call = ast.parse(str(obj.value), mode="eval").body
    except SyntaxError:
        return ""
    if not isinstance(call, ast.Call) or not isinstance(call.func, ast.Name):
        return ""
    named = {word.arg: word.value for word in call.keywords}
    if call.func.id == "option" and len(call.args) == 2:
        default, text = call.args
    elif isinstance(table := named.get("metadata"), ast.Dict) and "default" in named:
        default, text = named["default"], table.values[0]
    else:
        return ""
    obj.value = ast.unparse(default)  # the page shows what the field starts with, not how that is written
    return str(ast.literal_eval(text))


def told_by_comment(obj: Object) -> str:
    """The comment behind the first line, or the block of comments right before it."""
    if obj.lineno is None or not obj.lines:
        return ""
    if match := BEHIND.fullmatch(obj.lines[0]):
        return match[1]
    above: list[str] = []
    for line in reversed(obj.lines_collection[obj.filepath][: obj.lineno - 1]):
        match = BEFORE.fullmatch(line)
        if not match:
            break
        above.insert(0, match[1])
    return " ".join(above)
