"""The command line: `rasca COMMAND`, `python -m rasca COMMAND`, and make's way into it.

Exit status: 0 done and all equal, 1 a difference, 2 what was given cannot be used, 3 the simulator
failed or the connection to a board was lost, 70 a fault of Rasca itself, 130 stopped by Ctrl-C.
Whatever cannot be used is one line on standard error: what was expected, and what came.
"""

from __future__ import annotations

import contextlib
import inspect
import os
import re
import shlex
import shutil
import subprocess
import sys
import traceback
import warnings
from collections.abc import Callable, Mapping, Sequence
from importlib import import_module
from typing import Annotated, Any, get_type_hints

from golden.errors import BAD_INPUT, INTERRUPTED, CommandError, note, one_line, said
from rasca import make
from rasca.commands import COMMANDS
from rasca.version import version

FAULT = 70
"""Exit status after an error that no one foresaw, as sysexits.h has it."""
PIPE = 128 + 13
"""Exit status when the reader of the output is gone, as shells have it."""


def overview() -> str:
    """What `rasca --help` says."""
    width = max(map(len, COMMANDS))
    lines = [f"  {name:{width}}  {one.summary}" for name, one in COMMANDS.items()]
    return "\n".join(
        (
            "Usage: rasca COMMAND [OPTIONS]; rasca COMMAND --help tells the options.",
            "",
            *lines,
            "",
            "Status: 0 all is well, 1 a difference, 2 input that cannot be used (one line says "
            "why),",
            "3 the simulator failed or the board was lost.",
        )
    )


def application(name: str, function: Callable[..., None]) -> Any:
    """A command as Typer parses it."""
    import typer
    from typer.main import get_command

    app = typer.Typer(add_completion=False, pretty_exceptions_enable=False, rich_markup_mode=None)
    app.command(name)(function)
    found = get_command(app)
    found.name = f"rasca {name}"
    return found


def sized(function: Callable[..., None]) -> Callable[..., None]:
    """A command that takes a network, with the option `--size`: `--preset NAME@HxW`.

    A command that has the option already, and one without a network, stays as it is.
    """
    known = inspect.signature(function)
    if "preset_name" not in known.parameters or "size" in known.parameters:
        return function
    import typer

    def command(*, size: str | None = None, **values: Any) -> None:
        if size is not None:
            values["preset_name"] = f"{values['preset_name'] or ''}@{size}"
        function(**values)

    option = Annotated[str | None, typer.Option(help="HxW of the pictures, not the network's")]
    hints = get_type_hints(function, include_extras=True) | {"size": option}
    keyword = inspect.Parameter.KEYWORD_ONLY
    every = [*known.parameters.values(), inspect.Parameter("size", keyword, default=None)]
    command.__signature__ = known.replace(
        parameters=[one.replace(annotation=hints[one.name]) for one in every]
    )
    command.__annotations__ = hints
    command.__doc__ = function.__doc__
    return command


def load(name: str) -> Any:
    """The parser of a command, which knows its options; imports what the command needs."""
    place, _, function = COMMANDS[name].place.partition(":")
    return application(name, sized(getattr(import_module(place), function)))


def run(words: Sequence[str], from_make: bool = False) -> int:
    """Run a command line; the exit status.

    Parameters
    ----------
    words : sequence of str
        Command and options.
    from_make : bool
        Errors call options by the names of make's variables.
    """
    # Amaranth's, of an engine that was asked for its plan only, or whose simulation was kept
    warnings.filterwarnings("ignore", message=".* created but never used")
    name = words[0] if words else "--help"
    return guarded(name, lambda: _work(name, list(words[1:])), from_make)


def _work(name: str, words: list[str]) -> int:
    if name in ("--help", "-h", "help"):
        print(overview())
    elif name == "--version":
        print(f"rasca {version()}")
    elif name == "make":
        return _from_make(words)
    elif name in COMMANDS:
        return _command(name, words)
    else:
        near = make.nearest(name, COMMANDS)
        more = f"; the nearest is {near}" if near else ""
        raise CommandError(f"expected a command ({', '.join(COMMANDS)}), not {name!r}{more}")
    return 0


def guarded(name: str, work: Callable[[], int], from_make: bool) -> int:
    """Run the work of a command; whatever ends it early is a line and an exit status."""
    try:
        status = work()
        sys.stdout.flush()
        return status
    except CommandError as error:
        text, status = str(error), error.status
    except BrokenPipeError:
        with contextlib.suppress(OSError, ValueError):  # the interpreter flushes once more
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return PIPE
    except OSError as error:
        text, status = said(error), BAD_INPUT
    except ModuleNotFoundError as error:
        if (error.name or "").partition(".")[0] in ("golden", "hw", "boards", "sim", "rasca"):
            return _fault()
        text, status = f"expected the package {error.name}, which is not installed", BAD_INPUT
    except KeyboardInterrupt:
        text, status = "stopped", INTERRUPTED
    except Exception as error:
        if not type(error).__module__.startswith("typer."):
            return _fault()
        from rasca import options

        text, status = options.complaint(error)
        if text is None:
            return status
    if status == BAD_INPUT:
        text = " ".join(text.split())
    note(spelled(text, name, from_make) if name in COMMANDS else text)
    return status


def _fault() -> int:
    traceback.print_exc()
    note("this is a fault of Rasca itself; please report it with the lines above")
    return FAULT


def _command(name: str, words: list[str]) -> int:
    from rasca import options

    command = load(name)
    if "--help" not in words:
        options.check_words(command, words)
    status = command(words, standalone_mode=False, prog_name=f"rasca {name}") or 0
    if status == INTERRUPTED:  # what Typer makes of a KeyboardInterrupt
        raise KeyboardInterrupt
    return status


def _from_make(words: Sequence[str]) -> int:
    """`rasca make TARGET`, as the Makefile has it."""
    target = words[0] if words else "help"
    if target not in make.targets():
        raise CommandError(f"expected a target of make, not {target!r}")
    try:
        values, left = make.values_of(target)
        if left:
            names = ", ".join(f"{one}=" for one in left)
            note(f"make {target} does not know {names} of an outer make; left out")
        if target not in COMMANDS:
            return _tool(target, values)
        given = make.words(target, values)
    except make.VariableError as error:
        raise CommandError(one_line(error)) from None
    os.makedirs("build", exist_ok=True)
    return run(given, from_make=True)


def _tool(target: str, values: Mapping[str, str]) -> int:
    """A target of make that is no command."""
    if target == "help":
        print(make.help_text())
    elif target == "clean":
        shutil.rmtree("build", ignore_errors=True)
    else:
        words = {
            "test": ["pytest", "--numprocesses", "auto", "--dist", "loadfile"],
            "lint": ["ruff", "check", "."],
        }[target]
        more = shlex.split(values.get("ARGS", ""))
        return subprocess.run([sys.executable, "-m", *words, *more]).returncode
    return 0


def spelled(text: str, name: str, from_make: bool) -> str:
    """An error with the command's options named as the user wrote them.

    Messages name an option as on the command line (``--tau``), as a variable of make (``TAU=``)
    or, at their beginning, in words (``tau must``, ``row groups must``).
    """
    options = {one.option: f"{one.name}=" for one in COMMANDS[name].variables if one.option}
    variables = {variable: option for option, variable in options.items()}
    head = re.match(r"(\w+(?: \w+)?) must\b", text)
    if head:
        option = "--" + re.sub("[_ ]", "-", head[1])
        if option in {one for parameter in load(name).params for one in parameter.opts}:
            text = option + text[head.end(1) :]
    if from_make:
        known = COMMANDS[name].variables
        flags = {one.option: f"{one.name}=1" for one in known if one.kind == "flag"}
        names = options | flags
        return re.sub(r"--[a-z][a-z-]*", lambda found: names.get(found[0], found[0]), text)
    if "make " in text:  # a line for make that a message recommends
        return text

    for one in COMMANDS[name].variables:
        if one.kind == "flag":
            text = re.sub(rf"\b{one.name}=1\b", one.option, text)

    def option_of(found: re.Match[str]) -> str:
        option = variables.get(found[1])
        return found[1] if option is None else option + (" " if found[2] else "")

    return re.sub(r"\b([A-Z][A-Z_]*=)(?=(\S)?)", option_of, text)


def main() -> None:
    """Entry of the console script."""
    sys.exit(run(sys.argv[1:]))


if __name__ == "__main__":
    main()
