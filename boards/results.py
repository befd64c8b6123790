"""`make bitstreams`: every board's build, and the table of all builds in docs/results.md.

rasca bitstreams [--board B ...] [--seed N] [--page-only]

Each build's summary.json is kept as docs/results/bitstream_<board>_<preset>.json. A board that
fails is named at the end, the others go on.
"""

import json
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console

from boards.board import Board
from boards.build import boards, find_board
from golden.command_line import refresh
from golden.errors import DIFFERENT, CommandError, bad_input

ROOT = Path(__file__).resolve().parent.parent
KEPT = Path("docs/results")
PAGE = Path("docs/results.md")
_HEAD = (
    "| board | device | network | array | frames/s | clock MHz | fmax MHz | frames/s at fmax "
    "| camera frames/s | camera lines/s | LUT | FF | DSP | block RAM | SPRAM |",
    "|---|---|---|---|---:|---:|---:|---:|---:|---:|---:|---:|---:|---:|---:|",
)


def builds(board: Board) -> list[str]:
    """The presets that a board is built with."""
    return [board.preset, *(name for name in board.shapes if name != board.preset)]


def _share(used: int | None, there: int) -> str:
    return "-" if not there else f"{used:,} ({100 * used / there:.0f} %)"


def _rate(frames: float | None) -> str:
    return "-" if frames is None else f"{frames:.1f}"


def table(summaries: Sequence[dict[str, Any]]) -> str:
    """All builds in Markdown: what a board is shipped with, then what was routed."""
    rows = []
    for found in summaries:
        cells = (
            f"`{found['board']}`",
            found["device"],
            f"`{found['preset']}`",
            found["shape"],
            f"**{found['frames_per_second_clock']:,.1f}**",
            f"{found['clock_mhz']:.1f}",
            f"{found['fmax_mhz']:.1f}" + ("" if found["timing_met"] else " (not met)"),
            f"{found['frames_per_second']:,.1f}",
            _rate(found.get("camera_frames_per_second")),
            f"{found['camera_line_rate_hz']:,.0f}",
            _share(found["lut"], found["lut_available"]),
            "-" if found["ff"] is None else f"{found['ff']:,}",
            _share(found["dsp"], found["dsp_available"]),
            _share(found["bram"], found["bram_available"]),
            str(found["spram"] or "-"),
        )
        rows.append(f"| {' | '.join(cells)} |")
    return "\n".join((*_HEAD, *rows))


def kept(folder: Path) -> list[dict[str, Any]]:
    """The summaries in a folder, by board and preset."""
    return [json.loads(path.read_text()) for path in sorted(folder.glob("bitstream_*.json"))]


def main(
    board_names: Annotated[list[str] | None, typer.Option("--board", help="all")] = None,
    seed: Annotated[int | None, typer.Option(help="of place and route; else the board's")] = None,
    seeds: Annotated[int, typer.Option(help="place and route with so many, keep the best")] = 1,
    page_only: Annotated[bool, typer.Option("--page-only", help="nothing is built")] = False,
    folder: Annotated[Path, typer.Option(help="of the builds")] = Path("build/bitstream"),
    root: Annotated[Path, typer.Option(help="where docs/ is")] = ROOT,
) -> None:
    """Builds boards and refreshes docs/results.md."""
    console = Console()
    with bad_input():
        wanted = [find_board(name) for name in board_names or boards()]
    failed = []
    for board in [] if page_only else wanted:
        for name in builds(board):
            console.rule(f"{board.title}, {name}")
            command = [sys.executable, "-m", "rasca", "bitstream", "--board", board.name]
            command += ["--preset", name, "--seeds", str(seeds)]
            command += [] if seed is None else ["--seed", str(seed)]
            command += ["--folder", str(folder)]
            if subprocess.run(command).returncode:
                failed.append(f"{board.name} {name}")
                continue
            summary = (folder / board.name / name / "summary.json").read_text()
            (root / KEPT).mkdir(parents=True, exist_ok=True)
            (root / KEPT / f"bitstream_{board.name}_{name}.json").write_text(summary)
    refresh(root / PAGE, "bitstreams", table(kept(root / KEPT)))
    console.print(f"{root / PAGE}: {len(kept(root / KEPT))} builds")
    if failed:
        raise CommandError(f"failed: {', '.join(failed)}", DIFFERENT)
