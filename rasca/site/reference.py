"""Pages made from the command table: a page for each command, and an index of make's variables."""

from __future__ import annotations

import inspect
import re
import textwrap
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from rasca.commands import ANYWHERE, COMMANDS, TOOLS, Command, Variable, targets

FOLDER = "reference"

_VALUES = {str: "text", int: "whole number", float: "number", Path: "path"}


def cell(text: object) -> str:
    """A text in a table of Markdown: one line, nothing in it is markup."""
    return re.sub(r"([|<*_`\[\]$])", r"\\\1", " ".join(str(text).split()))


def code(text: object) -> str:
    return f"`{' '.join(str(text).split())}`".replace("|", "\\|")


def rows(head: Iterable[str], lines: Iterable[Iterable[str]]) -> str:
    """A table in Markdown."""
    head = list(head)
    every = [head, ["---"] * len(head), *lines]
    return "".join(f"| {' | '.join(line)} |\n" for line in every)


def options(parser: Any) -> list[Any]:
    """Options and arguments of a command as Typer parses them, without --help."""
    return [one for one in parser.params if "--help" not in one.opts]


def untold(parser: Any) -> list[str]:
    """Options without a word about them."""
    return [max(one.opts, key=len) for one in options(parser) if not getattr(one, "help", None)]


def kind(option: Any) -> str:
    """What an option takes, in words."""
    if getattr(option, "is_flag", False):
        return "-"
    annotation = option.type_descriptor.annotation
    word = _VALUES.get(annotation, getattr(annotation, "__name__", "text"))
    ends = [f"{name} {end}" for name, end in (("from", option.min), ("to", option.max))
            if end is not None]  # fmt: skip
    many = ", any number of times" if option.multiple else ""
    return " ".join((word, *ends)) + many


def without(option: Any) -> str:
    """What is taken where an option is not given."""
    if option.required:
        return "needed"
    value = option.default
    if value is None or value is False or value in ((), [], ""):
        return "-"
    if value is True:
        return "on"
    if isinstance(value, list | tuple):
        value = " ".join(map(str, value))
    return code(value)


def of_make(command: Command, option: Any) -> Variable | None:
    """The variable that make gives an option from."""
    argument = not any(name.startswith("-") for name in option.opts)
    for one in command.variables:
        if one.option in option.opts or (argument and not one.option):
            return one
    return None


def variable(one: Variable | None) -> str:
    return "-" if one is None else code(f"{one.name}={one.hint}")


def name_of(option: Any) -> str:
    """An option or argument as it is typed."""
    if not any(name.startswith("-") for name in option.opts):
        return code((option.metavar or option.name).upper())
    names = sorted(option.opts, key=len, reverse=True)
    return ", ".join(code(name) for name in (*names, *option.secondary_opts))


def page(name: str, command: Command, parser: Any, told: Mapping[str, str]) -> str:
    """The page of a command.

    Parameters
    ----------
    name : str
    command : Command
    parser : Any
        Of Typer, from `rasca.__main__.load`.
    told : mapping
        Titles of the pages that tell of it, by their paths from the site's root.
    """
    about = inspect.cleandoc(parser.help or "").split("\n\n")[0]
    text = [f"# {name}\n", f"{cell(about)}\n"]
    usage = [f"rasca {name} [OPTIONS]"]
    if command.target:
        ordered = sorted(command.variables, key=lambda one: not one.needed)
        words = " ".join((f"make {name}", *map(str, ordered)))
        usage.insert(0, textwrap.fill(words, 96, subsequent_indent="    ", break_on_hyphens=False))
    else:
        text.append("It is no target of make.\n")
    text.append("```text\n" + "\n".join(usage) + "\n```\n")
    lines = [
        (name_of(one), kind(one), without(one), cell(one.help), variable(of_make(command, one)))
        for one in options(parser)
    ]
    if lines:
        text.append(rows(("option", "takes", "if not given", "meaning", "make"), lines))
    if command.fixed:
        text.append(f"make adds {code(' '.join(command.fixed))}.\n")
    defaults = [one for one in command.variables if one.default]
    if defaults:
        given = ", ".join(code(f"{one.name}={one.default}") for one in defaults)
        text.append(f"Without them make takes {given}.\n")
    if told:
        text.append("Pages that tell of it: " + ", ".join(
            f"[{cell(title)}](../{place})" for place, title in told.items()) + ".\n")  # fmt: skip
    return "\n".join(text)


def telling(name: str, pages: Mapping[str, str]) -> dict[str, str]:
    """Path and title of the pages that name a command, those that name it most first."""
    word = re.compile(rf"\b(?:make|rasca) {re.escape(name)}\b(?!-)")
    counts = {place: len(word.findall(text)) for place, text in pages.items()}
    found = sorted((place for place in counts if counts[place]), key=lambda one: -counts[one])
    return {place: title(pages[place]) for place in found[:6]}


def title(text: str) -> str:
    """The first heading of a page, without markup."""
    found = re.search(r"^# (.*)$", text, re.M)
    return re.sub(r"[`*]", "", found[1]) if found else ""


def index() -> str:
    """The page that lists all commands."""
    lines = [
        (
            f"[{name}](commands/{name}.md)",
            code(f"make {name}") if one.target else "-",
            cell(one.summary),
        )
        for name, one in COMMANDS.items()
    ]
    tools = [(code(f"make {name}"), cell(one.summary)) for name, one in TOOLS.items()]
    return (
        "# All commands\n\n"
        + rows(("command", "make", "what"), lines)
        + "\nTargets of make that are no commands:\n\n"
        + rows(("target", "what"), tools)
        + "\nExit status: 0 done and all equal, 1 a difference, 2 what was given cannot be used, 3 "
        "the simulator failed or the board was lost, 70 a fault of Rasca itself, 130 stopped. "
        "[More](../docs/commands.md).\n\n"
        "```{toctree}\n:hidden:\n\n" + "".join(f"commands/{name}\n" for name in COMMANDS) + "```\n"
    )


def variables() -> str:
    """The page of make's variables."""
    found: dict[str, dict[str, list[str]]] = {}
    for target, command in targets().items():
        for one in command.variables:
            found.setdefault(one.name, {}).setdefault(one.hint, []).append(target)
    lines = []
    for name, hints in sorted(found.items()):
        for hint, users in hints.items():
            links = ", ".join(
                f"[{user}](commands/{user}.md)" if user in COMMANDS else user for user in users
            )
            lines.append((code(f"{name}={hint}"), links))
    every = ", ".join(code(f"{name}=") for name in ANYWHERE)
    return (
        "# Variables of make\n\n"
        "`make TARGET NAME=value`; a variable that no target given knows is refused. Every target "
        f"knows {every}: the interpreter, and where the set-up gets PyTorch.\n\n"
        + rows(("variable", "targets"), lines)
    )
