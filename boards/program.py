"""`make program`: python -m boards.program --board NAME [--preset P]."""

import shlex
import shutil
import subprocess
from pathlib import Path
from typing import Annotated

import typer

from boards.build import TOP, find_board
from golden.config import preset


def command(board_name: str, preset_name: str | None, folder: Path) -> list[str]:
    """What puts a bitstream on a board.

    Raises
    ------
    ValueError
        Unknown board or preset, no bitstream, or no such tool.
    """
    board = find_board(board_name)
    model = preset(preset_name or board.preset)
    place = folder / board.name / model.name
    found = [place / f"{TOP}{end}" for end in (".bit", ".bin") if (place / f"{TOP}{end}").is_file()]
    if not found:
        raise ValueError(f"{place}: no bitstream; make bitstream BOARD={board.name} makes one")
    words = shlex.split(board.program.format(file=shlex.quote(str(found[0]))))
    if shutil.which(words[0]) is None:
        raise ValueError(f"{words[0]}: not found; {board.title} is programmed with it")
    return words


def main(
    board_name: Annotated[str, typer.Option("--board", help="board")],
    preset_name: Annotated[str | None, typer.Option("--preset", help="network")] = None,
    folder: Annotated[Path, typer.Option(help="where bitstreams are")] = Path("build/bitstream"),
) -> None:
    """Programs a board."""
    try:
        words = command(board_name, preset_name, folder)
    except ValueError as error:
        typer.echo(f"rasca: {error}", err=True)
        raise typer.Exit(2) from None
    typer.echo(shlex.join(words))
    raise typer.Exit(subprocess.run(words).returncode)


if __name__ == "__main__":
    typer.run(main)
