"""Typer's complaints about options in this project's words: what was expected, and what came."""

from __future__ import annotations

from typing import Any

from golden.errors import BAD_INPUT, INTERRUPTED, CommandError, one_line
from rasca.make import nearest

_KINDS = {
    "int_parsing": "a whole number",
    "int_from_float": "a whole number",
    "int_parsing_size": "a smaller number",
    "float_parsing": "a number",
    "bool_parsing": "true or false",
    "greater_than_equal": "at least {ge}",
    "less_than_equal": "at most {le}",
}


def check_words(command: Any, words: list[str]) -> None:
    """CommandError for an option without its value: an empty one, or the next option's name."""
    takes = {name for one in command.params for name in one.opts if not getattr(one, "is_flag", 0)}
    every = {name for one in command.params for name in one.opts}
    before = None
    for word in words:
        if word == "--":
            break
        name, equals, value = word.partition("=")
        if equals and name in every - takes:
            raise CommandError(f"expected {name} without a value, not with {value!r}")
        if before in takes:
            if not word or word in every:
                came = f"the option {word}" if word else "nothing"
                raise CommandError(f"expected a value after {before}, not {came}")
            before = None
            continue
        if not word or (equals and name in takes and not value):
            raise CommandError(f"expected a value{f' after {name}' if name else ''}, not nothing")
        before = word


def complaint(error: Exception) -> tuple[str | None, int]:
    """(text, exit status) of what Typer raised; no text where all is said already."""
    kind = type(error).__name__
    if kind == "Exit":
        return None, error.exit_code
    if kind == "Abort":
        return "stopped", INTERRUPTED
    parameter = getattr(error, "param", None)
    name = ""
    if parameter is not None:
        name = max(parameter.opts, key=len)
        name = name if name.startswith("-") else parameter.metavar or name.upper()
    if kind == "MissingParameter":
        hint = getattr(parameter, "help", None)
        return f"expected {name}{f' ({hint})' if hint else ''}, not nothing", BAD_INPUT
    if kind == "NoSuchOption":
        options = [one for each in error.ctx.command.params for one in each.opts]
        near = nearest(error.option_name, [one for one in options if one.startswith("--")])
        more = f"; the nearest is {near}" if near else ""
        return f"expected an option of {error.ctx.info_name}, not {error.option_name}{more}", 2
    if kind == "BadParameter":
        cause = error.__cause__ or error.__context__
        found = cause.errors()[0] if hasattr(cause, "errors") else {}
        wanted = _KINDS.get(found.get("type", ""))
        if wanted:
            wanted = wanted.format(**found.get("ctx", {}))
            return f"expected {wanted} for {name}, not {found['input']!r}", BAD_INPUT
        return f"{name}: {one_line(error)}", BAD_INPUT
    if kind == "BadOptionUsage":
        if "requires" in str(error):
            return f"expected a value after {error.option_name}, not nothing", BAD_INPUT
        return f"expected {error.option_name} without a value, not with one", BAD_INPUT
    text = one_line(error)
    if "unexpected extra" in text:
        return f"expected options only, not {text.rpartition('(')[2].rstrip(')')!r}", BAD_INPUT
    return text, BAD_INPUT
