"""Weights for a board's flash: `make flash-image`, `rasca flash-image`.

Writes the image for the engine that `make bitstream` puts on the board, and how to put it into the
flash.
"""

import json
import zlib
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from boards import fit
from boards.build import boards, find_board
from boards.flash import CRC_BYTES, ERASE_BLOCK, HEADER_BYTES, OFFSET, flash_image
from golden import files
from golden.command_line import facts, load_weights
from golden.config import preset
from golden.errors import bad_input
from hw.top import Rasca

UP5K_BITSTREAM = 104_090
"""Bytes of a UP5K's bitstream, which lies at 0 and is always as long."""
FLASH_BYTES = 4 << 20
"""Of the smallest flash on a board here (UPduino)."""


def write(
    image: bytes, config: str, folder: Path, name: str, offset: int, trained: bool = True
) -> dict[str, object]:
    """The image for the flash, and a summary beside it. trained: whether the weights are.

    Raises
    ------
    ValueError
        If it would lie on the bitstream or does not fit the flash.
    """
    content = flash_image(image, config)
    if offset % ERASE_BLOCK:
        raise ValueError(f"offset must be a multiple of {ERASE_BLOCK:#x}, not {offset:#x}")
    if offset < UP5K_BITSTREAM:
        raise ValueError(
            f"offset must be at least {-(-UP5K_BITSTREAM // ERASE_BLOCK) * ERASE_BLOCK:#x}, behind "
            f"the bitstream of {UP5K_BITSTREAM} bytes, not {offset:#x}"
        )
    if offset + len(content) > FLASH_BYTES:
        raise ValueError(
            f"offset must leave room for {len(content)} bytes in a flash of {FLASH_BYTES}, "
            f"not {offset:#x}"
        )
    file = f"{name}.flash.bin"
    summary = {
        "image": file,
        "bytes": len(content),
        "weights_bytes": len(content) - HEADER_BYTES - CRC_BYTES,
        "offset": f"{offset:#x}",
        "end": f"{offset + len(content):#x}",
        "bitstream_end": f"{UP5K_BITSTREAM:#x}",
        "erase_blocks": -(-len(content) // ERASE_BLOCK),
        "weights_trained": trained,
        "weights_crc32": f"{zlib.crc32(image):08x}",
        "config_digest": config,
        "write": f"openFPGALoader --board ice40_generic -o {offset:#x} {file}",
        "write_icestorm": f"iceprog -o {offset:#x} {file}",
    }
    text = json.dumps(summary, indent=1) + "\n"
    files.write_all(folder, {file: content, f"{name}.flash.json": text})
    return summary


def main(
    board_name: Annotated[str, typer.Option("--board", help="board")] = "icebreaker",
    preset_name: Annotated[
        str | None, typer.Option("--preset", help="network; the board's, if not given")
    ] = None,
    shape: Annotated[str | None, typer.Option(help="pixels,channels,lanes")] = None,
    weights: Annotated[str | None, typer.Option(help="safetensors file")] = None,
    offset: Annotated[str, typer.Option(help="where in the flash")] = f"{OFFSET:#x}",
    folder: Annotated[Path, typer.Option(help="where to write")] = Path("build/flash"),
) -> None:
    """Writes the weights image for a board's flash."""
    console = Console(highlight=False, soft_wrap=True)
    with bad_input():
        board = find_board(board_name)
        if board.weights != "loaded":
            others = ", ".join(b.name for b in boards().values() if b.weights == "loaded")
            raise ValueError(
                f"expected a board that loads its weights from flash ({others}), not "
                f"{board.name}, which "
                "has its weights in the bitstream"
            )
        model = preset(preset_name or board.preset, board.preset)
        engine = fit.configure(board, model, shape)
        try:
            place = int(offset, 0)
        except ValueError:
            raise ValueError(f"offset must be a number, not {offset!r}") from None
        if place != OFFSET:
            raise ValueError(
                f"offset must be {OFFSET:#x}, where every bitstream reads its weights, "
                f"not {place:#x}"
            )
        numbers = load_weights(weights, model)
        design = Rasca(model, engine, numbers)
        name = f"{board.name}_{model.name}"
        image = design.engine.weights_image()
        summary = write(image, design.config_digest, folder, name, place, not numbers.untrained)
    table = facts()
    for key, value in summary.items():
        table.add_row(key.replace("_", " "), str(value))
    console.print(table)
    console.print(f"written to {folder}")
