"""A small board for the tests of the flash and of the host tool: one build for both."""

from dataclasses import replace
from importlib import resources
from pathlib import Path

from boards.flash import FlashLoader, flash_image
from boards.host_system import HostSystem
from golden.config import ModelConfig
from golden.random_weights import random_weights
from hw.plan.engine_config import EngineConfig
from hw.top import Rasca
from sim import runner

MODEL = ModelConfig(
    name="tiny",
    image_height=17,
    image_width=64,
    heads=1,
    head_channels=(1, 2, 2, 3),
    state_channels=4,
    spatial_attention="none",
    channel_attention=True,
    in_channels=3,
)
ENGINE = EngineConfig.parse("3,1,1", "loaded")
WEIGHTS = random_weights(MODEL, 1)
SEED = 13  # with which the logits change places while a picture comes
THREE = replace(MODEL, name="three", classes=("nothing", "cat", "dog"), stop_class="dog")
THREE_WEIGHTS = random_weights(THREE, SEED)
OFFSET = 0x1234
DIVISOR = 4
TRIES = 2
PERIOD = 100  # ns: cocotbext-uart counts in whole ns


def rasca(weights=WEIGHTS) -> Rasca:
    return Rasca(MODEL, ENGINE, weights)


def image(weights=WEIGHTS) -> bytes:
    """What belongs into the flash."""
    made = rasca(weights)
    return flash_image(made.engine.weights_image(), made.config_digest)


def build(initialised: bool = False) -> runner.Build:
    """Weights from flash, as on the UP5K; or in initialised memories, as on the ECP5, and there of
    the network with three classes."""
    if initialised:
        made = Rasca(THREE, EngineConfig.parse(str(ENGINE)), THREE_WEIGHTS)
        return _build(runner.verilog(HostSystem(rasca=made, divisor=DIVISOR), "board"))
    made = rasca()
    flash = FlashLoader(
        length=len(made.engine.weights_image()),
        config=made.config_digest,
        offset=OFFSET,
        divisor=2,
        wake_cycles=20,
        tries=TRIES,
    )
    system = HostSystem(rasca=made, divisor=DIVISOR, flash=flash)
    # Verilator takes `always @(csb)` for combinational logic; both edges say the same
    model = (resources.files("cocotbext.qspi") / "verilog" / "qspi_flash.v").read_text()
    assert model.count("always @(csb)") == 2
    model = model.replace("always @(csb)", "always @(posedge csb or negedge csb)")
    return _build(runner.verilog(system, "board") + model, "-DFLASH")


def _build(text: str, *flags: str) -> runner.Build:
    return runner.build(
        text,
        top="board_tb",
        sources=[Path(__file__).with_name("board_tb.sv")],
        # the flash model's delays are those of writing, which nobody does here
        flags=["--no-timing", *flags],
        optimise="build",
    )
