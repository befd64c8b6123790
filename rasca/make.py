"""make's side of the command line: `make report FPS=30` is `python -m rasca make report`.

Values reach Python as they were typed, without a shell and without make's own expansion in between:
make hands down what was given on its command line in MAKEFLAGS. A variable that no target given
knows is refused by its name. Standard library only, nothing newer than Python 3.8.
"""

from __future__ import annotations

import difflib
import os
import re
from collections.abc import Iterable, Mapping

from rasca.commands import ANYWHERE, COMMANDS, Command, targets

GOALS = "RASCA_GOALS"
"""Environment variable with all targets of this make."""


class VariableError(ValueError):
    """A make variable that cannot be used; the text says what was expected and what came."""


def given(environment: Mapping[str, str] = os.environ) -> dict[str, str]:
    """The variables of make's command line.

    MAKEFLAGS holds flags, ``--`` and the assignments: blanks and backslashes in them with a
    backslash before, dollar signs twice.
    """
    _, found, text = (" " + environment.get("MAKEFLAGS", "")).partition(" -- ")
    if not found:
        return {}
    words = re.findall(r"(?:\\.|[^\\ \t])+", text, flags=re.S)
    values = {}
    for word in words:
        plain = re.sub(r"\\(.)", r"\1", word, flags=re.S).replace("$$", "$")
        name, equals, value = plain.partition("=")
        if equals:
            values[name.rstrip(":+?!")] = value
    return values


def check(goals: Iterable[str], values: Mapping[str, str], inherited: bool = False) -> list[str]:
    """Refuse variables that none of the targets knows.

    Parameters
    ----------
    goals : iterable of str
        Targets; none is ``help``.
    values : mapping
        From `given`.
    inherited : bool
        An outer make's variables are among them: those that are not known are left alone.

    Returns
    -------
    list of str
        Names that were left alone.

    Raises
    ------
    VariableError
        Names the first unknown variable, what is known, and the nearest of it.
    """
    known = targets()
    goals = [goal for goal in goals if goal in known] or ["help"]
    names = [one.name for goal in goals for one in known[goal].variables]
    unknown = [name for name in values if name not in names and name not in ANYWHERE]
    if inherited or not unknown:
        return unknown
    name, where = unknown[0], f"make {' '.join(goals)}"
    wanted = f"one of {', '.join(f'{one}=' for one in names)}" if names else "no variable"
    text = f"expected {wanted} for {where}, not {name}="
    near = nearest(name, names)
    others = [goal for goal, one in known.items() if one.variable(name)]
    if near:
        text += f"; the nearest is {near}="
    elif 0 < len(others) < 6:
        text += f", which is for make {', '.join(others)}"
    raise VariableError(text)


def nearest(name: str, known: Iterable[str]) -> str | None:
    """The most similar of the known names, whatever the case; None if none is like it."""
    folded = {}
    for one in known:
        folded.setdefault(one.lower(), one)
    found = difflib.get_close_matches(name.lower(), folded, n=1, cutoff=0.6)
    return folded[found[0]] if found else None


def words(target: str, values: Mapping[str, str]) -> list[str]:
    """The command line of a target with these variables; an empty value is none.

    Raises
    ------
    VariableError
        A flag that is neither 0 nor 1, or no value for a variable that is needed.
    """
    command = COMMANDS[target]
    options, last = [], []
    for one in command.variables:
        value = values.get(one.name) or one.default
        if not value:
            if one.needed:
                raise VariableError(f"expected {one.name}={one.hint}, not nothing")
            continue
        if one.kind == "flag":
            if value not in ("0", "1"):
                raise VariableError(f"expected {one.name}=1 or {one.name}=0, not {value!r}")
            options += [one.option] if value == "1" else []
        elif one.kind == "list":
            for part in value.split():
                options += [one.option, part]
        elif one.option:
            options += [one.option, value]
        else:
            last = ["--", value]
    return [target, *options, *command.fixed, *last]


def values_of(
    target: str, environment: Mapping[str, str] = os.environ
) -> tuple[dict[str, str], list[str]]:
    """The variables of a target, and those of an outer make that it does not know.

    What make's command line does not give is taken from the environment, as make does.

    Raises
    ------
    VariableError
        As `check`.
    """
    values = given(environment)
    goals = environment.get(GOALS, "").split()
    inherited = int(environment.get("MAKELEVEL", "0") or 0) > 1
    left = check(goals if target in goals else [target], values, inherited)
    for one in targets()[target].variables:
        if one.name not in values and one.name in environment:
            values[one.name] = environment[one.name]
    return values, left


def help_text() -> str:
    """A line for each target: name, a tab, what it does, its variables."""
    return "\n".join(f"  make {name}\t{_line(one)}" for name, one in targets().items())


def _line(command: Command) -> str:
    # what is needed comes first
    variables = sorted(command.variables, key=lambda one: not one.needed)
    return ": ".join(filter(None, (command.summary, " ".join(map(str, variables)))))
