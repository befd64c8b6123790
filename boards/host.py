"""The host's side of a board's UART: hardware in the loop, and a live view of decisions.

rasca host --port /dev/ttyUSB0 --image photo.jpg
rasca host --port /dev/ttyUSB0 --watch [--bytes]
rasca host --port /dev/ttyUSB0 --picture seen.png [--bytes]
rasca host --port /dev/ttyUSB0 --web [--bytes]
rasca host --web --replay build/sim/vww_105x120

Exit status as of `make sim`: 0 all equal, 1 a difference, 2 input that cannot be used, 3 the board
does not answer as it should.
"""

import contextlib
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.live import Live
from rich.table import Table

from boards import packets, picture
from boards.connection import (
    Connection,
    Transport,
    board_model,
    check_weights,
    known_model,
    load,
    weights_image,
)
from boards.packets import Byte, Counters, Decision, Hello, Row, Setting, State
from boards.port import BoardError, open_port
from golden.classifier import threshold
from golden.command_line import load_photographs, load_weights, writable
from golden.config import ModelConfig, preset
from golden.errors import BROKEN, DIFFERENT, CommandError, bad_input
from golden.expected import STATUS, Difference, Expected, Frame, Judge, JudgedRow, golden_frames
from golden.images import camera_image
from golden.live_table import LiveTable
from golden.model import IntegerModel
from golden.weights import Weights

NO_ANSWER = BROKEN
SMALL_PRESET = "vww_105x120_grey"
"""Small boards do not say what they are: their own network (Board.preset)."""
CUT = packets.HEAD_BYTES + packets.MAX_PAYLOAD + packets.CRC_BYTES
"""Bytes of no packet that are not told of: the rest of one that was sent when the port opened."""


Show = Callable[[JudgedRow | Frame, Judge], None]


def run_frame(
    board: Connection,
    judge: Judge,
    lines: list[bytes],
    computed: tuple[int, ...],
    show: Show = lambda found, judge: None,
) -> None:
    """One picture: the lines of a row group, its row and state, and so on.

    The host is never further ahead than a row group.

    `computed`: row groups that the golden model works on; after the last of them the decision
    comes, and no more lines are sent.
    """
    model = judge.config
    words = -(-model.n // judge.pixels)
    started = time.monotonic()

    def now() -> int:
        """Microseconds stand where the simulation has cycles."""
        return round(1e6 * (time.monotonic() - started))

    judge.take({"kind": "frame", "cycle": 0})
    # rows below the last whole group are nobody's
    rows = model.rows_per_group
    sent = packets.frame(lines[: rows * model.row_groups])
    row, channels, decision = None, [], None
    last = computed[-1]
    for group in range(last + 1):
        for packet in sent[rows * group : rows * (group + 1)]:
            board.send(packet)
        if group not in computed:
            continue
        for event in board.awaited(Row, State):
            if isinstance(event, Row):
                row, channels = event, []
            elif isinstance(event, State):
                if row is None or event.row_group != row.row_group:
                    raise BoardError(
                        f"the state of row group {event.row_group} came without its row"
                    )
                if event.channel != len(channels) or len(event.data) != model.n:
                    raise BoardError(
                        f"channel {len(channels)} of the state of row group {row.row_group} "
                        f"must come next, with {model.n} bytes, not channel {event.channel} "
                        f"with {len(event.data)}"
                    )
                channels.append(event.data)
            elif isinstance(event, Decision):
                decision = event
            whole = row is not None and len(channels) == model.state_channels
            if whole:
                padded = [data.ljust(words * judge.pixels, b"\0") for data in channels]
                record = {
                    "kind": "row",
                    "cycle": now(),
                    "row_group": row.row_group,
                    "logits": row.logits,
                    "state": " ".join(
                        data[i : i + judge.pixels][::-1].hex()
                        for data in padded
                        for i in range(0, len(data), judge.pixels)
                    ),
                }
                found = judge.take(record)
                if found is not None:
                    show(found, judge)
                row, channels = None, []
            if decision is not None and row is None:
                break
            if whole and group != last:
                break
        else:
            have = (
                "no row" if row is None else f"{len(channels)} of {model.state_channels} channels"
            )
            moved = board.counters().since(Counters())
            raise BoardError(
                f"row group {group} did not come whole within {board.patience:g} s ({have}); "
                f"the board counts {moved or 'nothing'}"
            )
        if decision is not None:
            break
    assert decision is not None
    found = judge.take(
        {
            "kind": "decision",
            "cycle": now(),
            "label": decision.index,
            "status": decision.status,
            "rows_used": decision.rows_used,
            "logits": decision.logits,
        }
    )
    if found is not None:
        show(found, judge)


def check_frames(
    board: Connection,
    hello: Hello,
    model: ModelConfig,
    weights: Weights,
    pictures,
    *,
    stop: int | None = None,
    skip: int | None = None,
    show: Show = lambda found, judge: None,
) -> tuple[Judge, dict[str, int]]:
    """Pictures, (B, channels, h, w) bytes, through the board; compared as `make sim` compares.

    Returns
    -------
    Judge, dict
        `judge.first` is the first difference or None; counters that moved.
    """
    golden = IntegerModel(model, weights).run(pictures, stop_threshold=stop, skip_threshold=skip)
    expected: list[Expected] = golden_frames(golden)
    judge = Judge(model, hello.shape[0], expected)
    board.send(packets.settings(Setting.HOST))
    board.drain()  # of the camera's frames, of which the last one is cut
    before = board.counters()
    board.send(packets.settings(Setting.HOST | Setting.ROWS | Setting.STATE, stop=stop, skip=skip))
    try:
        for picture, frame in zip(pictures, expected, strict=True):
            image = camera_image(picture)[:, :, : model.in_channels]
            run_frame(board, judge, [line.tobytes() for line in image], frame.computed, show)
            if judge.first is not None:
                break
    finally:
        with contextlib.suppress(BoardError):  # of a connection that was lost
            board.send(packets.settings(Setting(0)))
    return judge, board.counters().since(before)


def said_class(model: ModelConfig | None, index: int) -> str:
    """A class in colour, the one that stops in capitals; of an unknown network its number."""
    names = () if model is None else model.classes
    name = names[index].replace("_", " ") if index < len(names) else f"class {index}"
    if index == (1 if model is None else model.stop_index):
        return f"[bold red]{name.upper()}[/]"
    return f"[bold blue]{name}[/]"


def watch(
    board: Connection, console: Console, model: ModelConfig | None, seconds: float | None
) -> None:
    """Decisions as they come, until interrupted."""
    seen, hits, latest, rows = 0, 0, None, []
    wanted = 1 if model is None else model.stop_index
    name = "class 1" if model is None else model.stop_class.replace("_", " ")
    counters = board.counters()
    board.send(packets.settings(Setting.ROWS))
    started = time.monotonic()

    def view() -> Table:
        table = Table(show_header=False, box=None)
        rate = seen / max(1e-9, time.monotonic() - started)
        said = "nothing yet"
        if latest is not None:
            said = said_class(model, latest.index)
            if latest.status:
                said = f"[yellow]frame lost: {STATUS[latest.status]}[/]"
            said += f"  ({latest.rows_used} row groups)"
        table.add_row("decision", said)
        table.add_row("rows", "".join("█" if yes else "░" for yes in rows))
        table.add_row("frames", f"{seen}, {hits} of them {name}, {rate:.1f} a second")
        moved = counters.since(Counters())
        table.add_row("faults", ", ".join(f"{n} {v}" for n, v in moved.items()) or "none")
        noise = board.decoder.skipped
        if noise > CUT:
            table.add_row(
                "noise", f"{noise:,} bytes that are in no packet (is the baud rate right?)"
            )
        table.add_row("network", model.name if model is not None else "no preset")
        return table

    try:
        with Live(view(), console=console, refresh_per_second=8) as live:
            while seconds is None or time.monotonic() - started < seconds:
                for event in board.events(0.2):
                    if isinstance(event, Decision):
                        seen, latest = seen + 1, event
                        hits += event.index == wanted and not event.status
                    elif isinstance(event, Row):
                        rows = [] if event.row_group == 0 else rows
                        rows.append(event.logits.index(max(event.logits)) == wanted)
                    elif isinstance(event, Counters):
                        counters = event
                    live.update(view())
                    if seconds is not None and time.monotonic() - started >= seconds:
                        break
                live.update(view())  # of noise nothing comes out of the loop
    except KeyboardInterrupt:
        pass


def watch_bytes(
    transport: Transport, console: Console, model: ModelConfig, seconds: float | None
) -> None:
    """A line for each byte of a small board (boards.event_system), until interrupted."""
    started, decoder = time.monotonic(), packets.Mixed()
    try:
        while seconds is None or time.monotonic() - started < seconds:
            for found in decoder.feed(transport.read(1)):
                if isinstance(found, int):
                    console.print(said_byte(found, model))
    except KeyboardInterrupt:
        pass


def said_byte(byte: int, model: ModelConfig) -> str:
    """What a byte of a small board says that has this network."""
    lost, problem, index = (
        byte & Byte.LOST,
        byte & packets.BoardStatus.PROBLEM,
        packets.class_of(byte),
    )
    if byte & Byte.REPORT and problem in packets.PROBLEM_TEXT and byte < 2 * Byte.REPORT:
        said = f"weights in flash: {packets.PROBLEM_TEXT[problem]}"
        if byte & packets.BoardStatus.LOADING:
            said = "weights in flash: still being loaded"
        return said + "; the camera's set-up failed" * bool(
            byte & packets.BoardStatus.CAMERA_FAILED
        )
    if byte & Byte.REPORT or index >= model.class_count or lost >= len(STATUS):
        return f"no byte of a small board: {byte:#04x} (is the baud rate right?)"
    if lost:
        return f"frame lost: {STATUS[lost]}"
    return said_class(model, index)


def alone(name: str, others: Mapping[str, bool]) -> None:
    """ValueError if one of the options that do not go with it is there."""
    for other, there in others.items():
        if there:
            raise ValueError(f"expected {name} or {other}, not both")


def main(
    port: Annotated[str | None, typer.Option(help="serial port, or a pyserial URL")] = None,
    image: Annotated[str | None, typer.Option(help="picture file, or a folder of them")] = None,
    picture_file: Annotated[
        Path | None, typer.Option("--picture", help="save what the camera sees as a PNG file")
    ] = None,
    watch_: Annotated[bool, typer.Option("--watch", help="show decisions live")] = False,
    bytes_: Annotated[
        bool,
        typer.Option(
            "--bytes", help="with --watch, --picture, --web: of a small board, for its bytes"
        ),
    ] = False,
    preset_name: Annotated[
        str | None, typer.Option("--preset", help="network; the board's, if not given")
    ] = None,
    weights_file: Annotated[str | None, typer.Option("--weights", help="integer weights")] = None,
    send_weights: Annotated[
        bool, typer.Option("--load", help="send the weights to the board first")
    ] = False,
    frames: Annotated[int, typer.Option(help="pictures to send")] = 1,
    skip_bad: Annotated[bool, typer.Option(help="leave out pictures that cannot be read")] = False,
    tau: Annotated[float | None, typer.Option(help="stop with person at this probability")] = None,
    skip: Annotated[
        float | None, typer.Option(help="skip the next row group at or below this probability")
    ] = None,
    baud: Annotated[int, typer.Option(help="of the UART")] = 1_000_000,
    patience: Annotated[float, typer.Option(help="seconds to wait for the board")] = 3.0,
    seconds: Annotated[
        float | None, typer.Option(help="end --watch or --web after so long")
    ] = None,
    web: Annotated[bool, typer.Option("--web", help="serve a page that shows the board")] = False,
    replay: Annotated[
        str | None,
        typer.Option(help="with --web: a run of make sim (its folder), or recorded packets"),
    ] = None,
    web_address: Annotated[
        str, typer.Option(help="where --web listens; 0.0.0.0 lets others of the network in")
    ] = "127.0.0.1",
    web_port: Annotated[int, typer.Option(help="where --web listens; 0 takes a free one")] = 8765,
) -> None:
    """Sends pictures to a board and compares all it answers with the golden model."""
    console = Console(highlight=False, soft_wrap=True)
    try:
        with bad_input():
            if replay is not None and not web:
                raise ValueError("--replay goes with --web: expected both, not --replay alone")
            if replay is not None and port is not None:
                raise ValueError("expected --port or --replay, not both")
            if web:
                others = {"--watch": watch_, "--image": image is not None, "--load": send_weights}
                alone("--web", others | {"--picture": picture_file is not None})
            elif picture_file is not None:
                others = {"--watch": watch_, "--image": image is not None, "--load": send_weights}
                alone("--picture", others)
                writable(picture_file)
            elif bytes_ and not watch_:
                raise ValueError(
                    "--bytes goes with --watch, --picture or --web: expected one of them, not "
                    "--bytes alone; a small board takes no pictures"
                )
            if port is None and replay is None:
                raise ValueError("expected --port (serial port, or a pyserial URL), not nothing")
            if web:
                from boards.web.command import show

                return show(
                    console,
                    port=port,
                    recording=replay,
                    baud=baud,
                    patience=patience,
                    small=(preset_name or SMALL_PRESET) if bytes_ else None,
                    preset_name=preset_name,
                    weights_file=weights_file,
                    address=web_address,
                    web_port=web_port,
                    seconds=seconds,
                )
            assert port is not None
            transport = open_port(port, baud)
            if picture_file is not None and bytes_:
                pieces = picture.small_pieces(transport, patience)
                return picture.save(picture.still(pieces, console), picture_file, console)
            if bytes_:
                small = preset(preset_name or SMALL_PRESET, SMALL_PRESET)
                return watch_bytes(transport, console, small, seconds)
            board = Connection(transport, patience)
            hello = board.greet()
            if picture_file is not None:
                seen = picture.ask(board, hello, console)
                return picture.save(seen, picture_file, console)
            if watch_:
                return watch(board, console, known_model(hello, preset_name), seconds)
            model = board_model(hello, preset_name)
            weights = load_weights(weights_file, model)
            photographs = load_photographs(image, model, frames, skip_bad)
            scale = weights.scales["logit"]
            stop_at = None if tau is None else threshold(tau, scale, up=True)
            skip_at = None if skip is None else threshold(skip, scale, up=False)
            needed = weights_image(hello, model, weights)
            if send_weights:
                hello = load(board, model, needed)
            check_weights(hello, needed)
        console.print(
            f"[bold]{model.name}[/] on {','.join(map(str, hello.shape))}, "
            f"weights {hello.weights:08x}; microseconds instead of cycles"
        )
        table = LiveTable(console, model, weights, 0)
        judge, moved = check_frames(
            board,
            hello,
            model,
            weights,
            photographs.pixels,
            stop=stop_at,
            skip=skip_at,
            show=table.show,
        )
    except BoardError as error:
        raise CommandError(str(error), NO_ANSWER) from None
    for name, count in moved.items():
        console.print(f"the board counted {count} x {name}", style="yellow")
    rows = [row for frame in judge.frames for row in frame.rows]
    equal = sum(row.difference is None for row in rows)
    console.print(
        f"{equal} of {len(rows)} row groups equal, {sum(row.compared for row in rows):,} values"
    )
    difference: Difference | None = judge.first
    if difference is not None:
        raise CommandError(f"first difference: {difference}", DIFFERENT)
