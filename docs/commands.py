"""Writes the page of the command line from the commands themselves: `python docs/commands.py`."""

import inspect
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Literal, get_args, get_origin

PAGE = Path(__file__).with_name("commands.md")

HEAD = """\
# Command line

<!-- Written by docs/commands.py from the commands' own help. -->

Results go to stdout, with `--json` as one object; progress, notes and errors go to stderr. An error is one line: what
was given, what is allowed, how to mend it.

| exit code | meaning |
| --- | --- |
| 0 | done |
| 1 | failed: data, model, run folder or machine; or `--at-least` is not reached |
| 2 | wrong usage |
| 130 | interrupted; where a run can go on, what was finished is kept and the last line says how, mostly `--resume` |

A number may be a fraction: `--eps 8/255`. An attack's options are given as `--set NAME=VALUE`, an architecture's
as `--model-set NAME=VALUE`; `holdfast list attacks` and `holdfast list models` print them.
"""


def page() -> str:
    """The whole page as Markdown."""
    import typer

    from holdfast.cli import app
    from holdfast.evaluate import SUITES

    lines = [HEAD, *sections(typer.main.get_command(app), "holdfast"), "## Suites\n"]
    lines += ["| `--suite` | what it is | attacks, cheapest first |", "| --- | --- | --- |"]
    for suite in SUITES.values():
        forms = {
            "": suite.attacks,
            "in L1: ": suite.sparse or (),
            "of parameters: ": suite.rendered or (),
            "of a patch: ": suite.patch or (),
        }
        listed = [f"{where}{', '.join(f'`{attack!r}`' for attack in row)}" for where, row in forms.items() if row]
        lines.append(f"| `{suite.name}` | {suite.about} | {'; '.join(listed)} |")
    return "\n".join(lines) + "\n"


def sections(group: Any, path: str) -> Iterator[str]:
    """A heading, the help and a table of options for each command, sub-commands after their group."""
    for name, command in group.commands.items():
        if command.hidden:
            continue
        yield f"## `{path} {name}`\n"
        yield inspect.cleandoc(command.help or "").replace("\b\n", "") + "\n"
        if hasattr(command, "commands"):
            yield from sections(command, f"{path} {name}")
            continue
        yield f"```\n{usage(command, f'{path} {name}')}\n```\n"
        if rows := [row(parameter) for parameter in command.params if shown(parameter)]:
            yield "\n".join(["| option | meaning | default |", "| --- | --- | --- |", *rows]) + "\n"


def shown(parameter: Any) -> bool:
    """Whether users are meant to know it."""
    return not getattr(parameter, "hidden", False) and "--help" not in parameter.opts


def usage(command: Any, path: str) -> str:
    """The line that shows what must be given."""
    words = [path]
    for parameter in command.params:
        if is_argument(parameter):
            words.append(named(parameter) if parameter.required else f"[{named(parameter)}]")
        elif parameter.required:
            words += [max(parameter.opts, key=len), named(parameter)]
    return " ".join([*words, "[OPTIONS]"])


def row(parameter: Any) -> str:
    """One line of the table."""
    names = [named(parameter)] if is_argument(parameter) else sorted(parameter.opts, key=len, reverse=True)
    words = ", ".join(f"`{name}`" for name in [*names, *parameter.secondary_opts])
    if not is_argument(parameter) and not parameter.is_flag:
        words += f" `{named(parameter)}`"
    default = "required" if parameter.required else written(parameter)
    cells = (words, (parameter.help or "").strip(), default)
    return "| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |"


def is_argument(parameter: Any) -> bool:
    """Whether it is told by its place and not by its name."""
    return bool(parameter.param_type_name == "argument")


def named(parameter: Any) -> str:
    """What stands for the value."""
    annotation = getattr(getattr(parameter, "type_descriptor", None), "annotation", None)
    choices = get_args(annotation) if get_origin(annotation) is Literal else ()
    return str(parameter.metavar or "|".join(choices) or parameter.name.upper())


def written(parameter: Any) -> str:
    """The default as a user would write it."""
    if getattr(parameter, "is_flag", False):
        used = parameter.opts if parameter.default else parameter.secondary_opts
        return f"`{used[0]}`" if used else ""
    if isinstance(parameter.show_default, str):
        return parameter.show_default
    return "" if parameter.default in (None, (), []) else f"`{parameter.default}`"


if __name__ == "__main__":
    PAGE.write_text(page(), encoding="utf-8")
