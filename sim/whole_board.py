"""The whole iCEBreaker after synthesis: from a camera's pins to a byte on the UART.

The netlist is the one of `make bitstream` (same design, same script): PLL, flash loader, camera
set-up and front end, engine, UART. Around it: an oscillator, cocotbext-qspi's flash with the
weights, an HM01B0 that answers over cocotbext-i2c and sends a photograph, cocotbext-uart. The
board has no read-back: logits and state are read where they lie in the netlist, in flip-flops and
block RAMs of known names.
"""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from importlib import resources
from pathlib import Path
from tempfile import TemporaryDirectory
from types import SimpleNamespace
from typing import Any

import numpy as np
import torch

from boards import flash
from boards.board import Board
from boards.packets import BoardStatus, Byte, class_byte, class_of
from boards.system import System
from golden import camera as fitting
from golden.command_line import load_photographs
from golden.config import ModelConfig
from golden.expected import STATUS, first_difference
from golden.model import IntegerModel
from golden.weights import Weights
from hw.top import Rasca
from sim import camera_models, runner

BENCH = Path(__file__).with_name("board_tb.sv")
PINS = Path(__file__).with_name("cells") / "ice40_pins.v"
FLAGS = ("--timing", "-CFLAGS", "-std=gnu++20 -fcoroutines")
BOARDS = ("icebreaker",)
CLASSIFIER = "host.rasca.engine.classifier"
ANSWER = "host.rasca.engine.answer"
BANK = "host.rasca.engine.window.maps.bank{}.0.{}"
BLOCK_BITS = 16  # of a block RAM's word
LIMIT_US = 200_000  # for power-up


@dataclass(frozen=True, kw_only=True)
class Run:
    """What came: `rows` of (state, logits), and what the bench saw (sim/board_bench.py)."""

    rows: list[tuple[np.ndarray, np.ndarray]]
    found: dict[str, Any]
    seconds: float


def check_board(board: Board) -> None:
    """ValueError for boards that sim/board_tb.sv does not know."""
    if board.name not in BOARDS:
        raise ValueError(f"the whole board is simulated of {', '.join(BOARDS)}, not {board.name!r}")


def flash_model() -> str:
    """cocotbext-qspi's flash, as Verilator takes it."""
    text = (resources.files("cocotbext.qspi") / "verilog" / "qspi_flash.v").read_text()
    # Verilator takes `always @(csb)` for combinational logic; both edges say the same
    assert text.count("always @(csb)") == 2
    return text.replace("always @(csb)", "always @(posedge csb or negedge csb)")


def peek(rasca: Rasca, cells: dict[str, Any]) -> str:
    """A module that finds in the netlist the logits, when they are there, and the state's words.

    cells: of the netlist. A block RAM of 16 / R bits has R words in one of its own, and Yosys
    (ice40/brams_map.v) puts bit l of these 16 to the place whose four bits are those of l in
    reverse.
    """
    plan = rasca.plan
    lanes, pixels = plan.engine.lanes, plan.engine.pixels
    words, base = -(-plan.model.n // pixels), plan.state.base
    ratio = 1 << int(cells[BANK.format(0, 0)]["parameters"]["READ_MODE"], 2)
    width = BLOCK_BITS // ratio
    inside = "board_tb.dut.\\"
    lines = [
        "module peek (output row_valid, output [31:0] logit0, logit1);",
        f"assign row_valid = {inside}{ANSWER}__valid ;",
        f"assign logit0 = ~{inside}{CLASSIFIER}.others_not ;",
        f"assign logit1 = {inside}{CLASSIFIER}.total ;",
        "function automatic [3:0] place(input [3:0] l);",
        "    place = {l[0], l[1], l[2], l[3]};",
        "endfunction",
        f"function automatic [{8 * pixels - 1}:0] state(input int index);",
        f"    int at = {base} + index / {words} / {lanes} * {words} + index % {words};",
        f"    int first = {width} * (at % {ratio});",
        "    state = 0;",
        f"    case (index / {words} % {lanes})",
    ]
    for bank in range(lanes):
        lines.append(f"        {bank}: for (int i = 0; i < 8; i++) begin")
        for byte in range(pixels):
            block, start = divmod(8 * byte, width)
            word = f"{inside}{BANK.format(bank, block)} .memory[at / {ratio}]"
            lines.append(
                f"            state[{8 * byte} + i] = {word}[place(4'(first + {start} + i))];"
            )
        lines.append("        end")
    return "\n".join([*lines, "    endcase", "endfunction", "endmodule", ""])


def prepare(
    system: System,
    netlist: dict[str, Any],
    verilog: str,
    flags: Sequence[str],
    optimise: str = "run",
    tell: runner.Tell | None = None,
) -> runner.Build:
    """Compiles the netlist of a whole board between its surroundings.

    netlist: its module, as JSON; verilog: the same with the cells' models; flags: for these;
    tell: how far it is (`runner.build`).
    """
    model, camera = system.rasca.plan.model, system.camera
    edges, rest = divmod(system.pll.second_hz, camera.sensor.clock_hz)
    assert edges >= 1 and rest == 0, "PCLK is a whole fraction of the camera's clock"
    return runner.build(
        # of modules with one name, the first is taken
        PINS.read_text() + verilog + flash_model() + peek(system.rasca, netlist["cells"]),
        top="board_tb",
        sources=[BENCH],
        parameters={
            "OFFSET": flash.OFFSET,
            "WORDS": model.state_channels * -(-model.n // system.rasca.plan.engine.pixels),
            "EDGES": int(edges),
        },
        flags=[*flags, *FLAGS],
        optimise=optimise,
        public=False,
        tell=tell,
    )


def photograph(system: System, image: str | None) -> tuple[camera_models.Exposure, str]:
    """A picture as the sensor sends it, and its name."""
    sensor = system.camera.sensor
    size = SimpleNamespace(image_height=sensor.height, image_width=sensor.width, in_channels=3)
    found = load_photographs(image, size, 1)
    return camera_models.expose(sensor, found.pixels[0].permute(1, 2, 0).numpy()), found.names[0]


def seen(system: System, exposure: camera_models.Exposure) -> torch.Tensor:
    """What the network gets of a frame: (channels, h, w) bytes."""
    model = system.rasca.plan.model
    pixels = fitting.decode(np.stack(exposure.lines), system.camera.sensor.pixel_format)
    fitted = fitting.fit(pixels, model.image_height, model.image_width, system.binning)
    return torch.from_numpy(fitted).permute(2, 0, 1)[: model.in_channels]


def cut(
    system: System, exposure: camera_models.Exposure, row_groups: int
) -> camera_models.Exposure:
    """A frame that breaks off while the row group after `row_groups` is worked on."""
    sensor, model, binning = system.camera.sensor, system.rasca.plan.model, system.binning
    if row_groups == model.row_groups:
        return exposure
    above = fitting.crop(sensor.height, model.image_height, binning)
    lines = above + binning * (model.rows_per_group * (row_groups + 1) + 1)
    return exposure.without_lines(sensor.height - lines)


def play(
    system: System,
    built: runner.Build,
    exposure: camera_models.Exposure,
    plusargs: Sequence[str] = (),
) -> Run:
    """Powers the board up, sends it a frame, and reads what it makes of it."""
    rasca, camera = system.rasca, system.camera
    with TemporaryDirectory(prefix="rasca-board-") as temporary:
        names = ("pins.txt", "flash.hex", "rows.txt", "found.json")
        pins, image, log, found = (Path(temporary) / name for name in names)
        camera_models.write(pins, camera_models.pins(camera.sensor, [exposure]))
        content = flash.flash_image(rasca.engine.weights_image(), rasca.config_digest)
        image.write_text(content.hex("\n"))
        seconds = runner.run(
            built,
            "sim.board_bench",
            arguments={
                "device": camera.device,
                "writes": len(camera.table),
                "baud": system.board.baud,
                "limit_us": LIMIT_US,
                "found": str(found),
            },
            plusargs=[f"+pins={pins}", f"+flash={image}", f"+log={log}", *plusargs],
        )
        rows = [line.split() for line in log.read_text().splitlines()]
        return Run(
            rows=[(_state(rasca.plan.model, row[2:]), _logits(row[:2])) for row in rows],
            found=json.loads(found.read_text()),
            seconds=seconds,
        )


def _state(model: ModelConfig, words: Sequence[str]) -> np.ndarray:
    """(channels, columns) of the state from its words in hex, byte 0 last."""
    values = b"".join(bytes.fromhex(word)[::-1] for word in words)
    found = np.frombuffer(values, dtype=np.int8).reshape(model.state_channels, -1)
    return found[:, : model.n].astype(np.int16)


def _logits(words: Sequence[str]) -> np.ndarray:
    return np.array([[int(word, 16) for word in words]], dtype=np.uint32).view(np.int32)


def judge(
    system: System,
    weights: Weights,
    run: Run,
    exposure: camera_models.Exposure,
    row_groups: int,
) -> dict[str, Any]:
    """What summary.json says of a run; exposure: the whole one, of which `cut` made what was sent.

    `wrong`: what is not as the golden model and the camera's table have it, None if all is.
    """
    model = system.rasca.plan.model
    golden = IntegerModel(model, weights).run(seen(system, exposure)[None])
    wrong, equal, compared = [], 0, 0
    for group, (state, logits) in enumerate(run.rows[: model.row_groups]):
        at = {"frame": 0, "row_group": group}
        difference = first_difference(
            "state", golden.state[0, group].numpy(), state, **at
        ) or first_difference("logits", golden.logits[0, group][None].numpy(), logits, **at)
        compared += state.size + logits.size
        equal += difference is None
        if difference is not None:
            wrong.append(f"first difference: {difference}")
    whole, index = row_groups == model.row_groups, int(golden.decision[0])
    # the one that a frame breaks off in may be through before the end is seen
    if len(run.rows) - row_groups not in ((0,) if whole else (0, 1)):
        wrong.append(f"{len(run.rows)} row groups came, not {row_groups}")
    # reports of weights and of the camera, in the order in which they are through; then the frame
    due, kept = (class_byte(index), 0xFF) if whole else (STATUS.index("TRUNCATED"), int(Byte.LOST))
    sent = run.found["sent"]
    *reports, frame = sent or [0]
    good = [[first, Byte.REPORT] for first in (Byte.REPORT | BoardStatus.LOADING, Byte.REPORT)]
    if reports not in good or frame & kept != due:
        wrong.append(f"bytes {sent} came over the UART, not two reports and {due}")
    table = [[w.register >> 8, w.register & 255, w.value] for w in system.camera.table]
    if run.found["writes"] != table:
        wrong.append(f"the camera's registers were written with {run.found['writes']}, not {table}")
    lamps = {"person": int(index == model.stop_index)} if whole else {}
    for lamp, level in ({"fault": 0} | lamps).items():
        if run.found[lamp] != level:
            wrong.append(f"lamp {lamp} is {run.found[lamp]}, not {level}")
    decided = whole and not frame & Byte.LOST
    return {
        "row_groups": len(run.rows),
        "row_groups_equal": equal,
        "values_compared": compared,
        "wrong": wrong[0] if wrong else None,
        "decision": model.classes[class_of(frame)] if decided else None,
        "uart": sent,
        "power_up_ms": round(run.found["power_up_us"] / 1000, 2),
    }
