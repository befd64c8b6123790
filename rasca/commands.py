"""All commands in one table: what runs them, and what make calls their options.

The command line (`rasca --help`), make (`make help`, the check of its variables) and the tests read
it. Standard library only, and nothing newer than Python 3.8: make reads it before there is a .venv.
"""

from __future__ import annotations

from typing import NamedTuple


class Variable(NamedTuple):
    """A variable of a make target.

    name : as given to make, NAME=value.
    option : of the command that gets the value; "" for its positional argument.
    hint : what may stand after the equals sign.
    kind : "value"; "flag": 1 or 0, the option takes no value; "list": the option for each word.
    default : value if none is given; "" leaves it to the command.
    needed : the target does nothing without it.
    """

    name: str
    option: str
    hint: str = ""
    kind: str = "value"
    default: str = ""
    needed: bool = False

    def __str__(self) -> str:
        text = f"{self.name}={self.hint}"
        return text if self.needed else f"[{text}]"


class Command(NamedTuple):
    """A command.

    place : "module:function", imported when it runs.
    summary : one line of help.
    variables : of its make target.
    fixed : words that its make target adds.
    target : whether make has it.
    """

    place: str
    summary: str
    variables: tuple = ()
    fixed: tuple = ()
    target: bool = True

    def variable(self, name: str) -> Variable | None:
        return next((one for one in self.variables if one.name == name), None)


def _flag(name: str, hint: str = "1") -> Variable:
    return Variable(name, "--" + name.lower().replace("_", "-"), hint, "flag")


_PRESET = Variable("PRESET", "--preset", "name or file")
_SIZE = Variable("SIZE", "--size", "HxW of the pictures")
_SHAPE = Variable("SHAPE", "--shape", "pixels,channels,lanes")
_WEIGHTS = Variable("WEIGHTS", "--weights", "file")
_CHECKPOINT = Variable("CHECKPOINT", "--checkpoint", "file")
_CALIBRATE = Variable("CALIBRATE", "--calibrate", "folder")
_TAU = Variable("TAU", "--tau", "0.99, or default")
_SKIP = Variable("SKIP", "--skip", "0.005, or default")
_DATA = Variable("DATA", "--data", "folder, COCO .json or .csv", needed=True)
_IMAGES = Variable("IMAGES", "--images", "folder")
_PICTURES = _IMAGES._replace(needed=True)
_LABELS = Variable("LABELS", "--labels", "csv", needed=True)
_HELD_OUT = Variable("HELD_OUT", "--held-out", "0.1")
_HELD_OUT_OF = Variable("HELD_OUT_OF", "--held-out-of", "'origin=part ...'", "list")
_BATCH = Variable("BATCH", "--batch", "64")
_SEED = Variable("SEED", "--seed", "0")
_PAGE = Variable("PAGE", "--page", "file.md")
_SKIP_BAD = _flag("SKIP_BAD")
_RULE = Variable("RULE", "--rule", "box|area, of COCO's labels")
_LIBERTY = Variable("LIBERTY", "--liberty", "files")
_TECH = "ihp130|45nm|22nm"
_SLEEP = _flag("SLEEP", "1, clocks stand still while nothing is to be done")
_LOW_POWER = _flag("LOW_POWER", "1, few registers, for a slow clock")
_BOARD = Variable("BOARD", "--board", "icebreaker")
_NEEDED_BOARD = Variable("BOARD", "--board", "ulx3s", needed=True)
_PLACE_SEED = Variable("SEED", "--seed", "1")
_PLACE_SEEDS = Variable("SEEDS", "--seeds", "1, the best of so many")

COMMANDS = {
    "sim": Command(
        "sim.main:sim",
        "photographs through the RTL, compared value by value",
        (
            *(_PRESET, _SIZE, _SHAPE),
            Variable("IMAGE", "--image", "file or folder"),
            _WEIGHTS,
            Variable("FRAMES", "--frames", "2"),
            Variable("CAMERA", "--camera", "paced|blanking"),
            *(_TAU, _SKIP, _SKIP_BAD, _flag("TRACE"), _SLEEP, _LOW_POWER),
            Variable("PICTURE", "--picture", "file.png, a copy of scan.png"),
        ),
    ),
    "bench": Command(
        "sim.main:bench", "measures all default shapes and refreshes the table in README.md"
    ),
    "verilog": Command(
        "hw.generate:main",
        "plain Verilog of an engine and its weights image under build/verilog",
        (
            *(_PRESET, _SIZE, _SHAPE, _WEIGHTS),
            Variable("MEMORY", "--weight-memory", "initialised|loaded"),
            *(_SLEEP, _LOW_POWER),
            Variable("BUS", "--bus", "axi|wishbone"),
        ),
    ),
    "fuzz": Command(
        "sim.fuzz:main",
        "random small networks and arrays, each bit-exact with cycles as predicted",
        (
            *(Variable("N", "--count", "20"), _SEED),
            Variable("ONLY", "--only", "packed, say: text of the cases' lines"),
        ),
    ),
    "storm": Command(
        "sim.storm.main:main",
        "random camera faults at the pins of a camera's whole path; what comes is compared",
        (
            *(Variable("N", "--count", "400"), _SEED),
            Variable("PARTS", "--parts", "parallel|packed|low_power, those ways alone"),
        ),
    ),
    "prove": Command(
        "sim.prove.main:main",
        "proves properties of the parts for all inputs: a table of method, depth and time",
        (
            Variable("ONLY", "--only", "part of their names"),
            Variable("LIMIT", "--limit", "600, seconds for each"),
            _PAGE,
        ),
    ),
    "mutate": Command(
        "sim.prove.mutate:main",
        "single faults at random in blocks, and which ones neither proof nor test finds",
        (Variable("N", "--count", "20"), _SEED, Variable("BLOCK", "--block", "part of the name")),
    ),
    "coverage": Command(
        "sim.coverage.main:main",
        "what small engines and cameras' faults reach of the hardware, in simulation",
        (Variable("ONLY", "--only", "part of the simulations' names"), _PAGE),
    ),
    "strangers": Command(
        "sim.strangers.main:main",
        "files that a stranger may send, changed by the thousand: each is taken or refused",
        (
            Variable("MINUTES", "--minutes", "1, of the processor"),
            _SEED,
            Variable("KIND", "--kind", "part of the name"),
            _flag("GUIDED", "1, files that reach new lines, by Atheris"),
        ),
    ),
    "asic": Command(
        "sim.study.asic:main",
        "an engine in standard cells under build/asic: area, SRAM macros, frequency, power",
        (
            *(_PRESET, _SIZE, _SHAPE, _LIBERTY),
            Variable("TECH", "--technology", _TECH),
            Variable("CLOCK_MHZ", "--clock", "100"),
            Variable("ROW_GROUPS", "--row-groups", "2 for power, 0 for none"),
            _WEIGHTS,
            _flag("POWER", "1, clock gates, and power of a sensor's frames"),
            Variable("FPS", "--fps", "30 with POWER"),
            _LOW_POWER,
            Variable("EXPORT", "--export", "folder, for place and route"),
        ),
    ),
    "explore": Command(
        "sim.study.explore:main",
        "networks x arrays x technologies by the cost model, Pareto plots under build/explore",
        (
            Variable("SPACE", "--space", ".yaml, .toml or .json"),
            Variable("WORKERS", "--workers", "number"),
            Variable("CLUSTER", "--cluster", "address of a Dask scheduler"),
            Variable("SYNTHESISE", "--synthesise", "points to map to cells"),
            *(_LIBERTY, _flag("FRESH")),
        ),
    ),
    "report": Command(
        "sim.study.report:main",
        "cycles, memories, timing, energy and peers on one page under build/report, in seconds",
        (
            *(_PRESET, _SIZE, _SHAPE),
            Variable("CLOCK_MHZ", "--clock-mhz", "else the slowest that keeps up"),
            Variable("TECH", "--tech", _TECH),
            Variable("FPS", "--fps", "30"),
            _LIBERTY._replace(hint="files, maps the engine to cells"),
            *(_IMAGES, _WEIGHTS, _SKIP_BAD),
            _flag("COMPACT", "1, the small FPGAs' engine"),
            *(_LOW_POWER, _flag("AWAKE", "1, clocks never stand still")),
        ),
    ),
    "bitstream": Command(
        "boards.build:main",
        "bitstream of a board under build/bitstream",
        (
            *(_NEEDED_BOARD, _PRESET, _SIZE, _SHAPE, _WEIGHTS),
            Variable("CLOCK_MHZ", "--clock-mhz", "of the engine, else the highest that is carried"),
            Variable("CAMERA_MHZ", "--camera-mhz", "24, of a module's own oscillator"),
            _flag("LOW_BYTE_FIRST", "1, the camera gives a pixel's lower byte first"),
            _flag("FALLING_EDGE", "1, the camera's pins are right at PCLK's falling edge"),
            Variable("OUTPUTS", "--outputs", "preview,hdmi, what the board shows besides"),
            *(_PLACE_SEED, _PLACE_SEEDS),
        ),
    ),
    "bitstreams": Command(
        "boards.results:main",
        "builds every board and refreshes docs/results.md (hours)",
        (_PLACE_SEED, _PLACE_SEEDS),
    ),
    "netlist": Command(
        "sim.netlist:main",
        "the engine as synthesis made it for a board, simulated on models of its cells",
        (
            *(_BOARD, _PRESET, _SIZE, _SHAPE),
            Variable("IMAGE", "--image", "file"),
            _WEIGHTS,
            Variable("ROW_GROUPS", "--row-groups", "3"),
            _flag("WHOLE", "1 for the whole iCEBreaker, from camera to UART"),
        ),
    ),
    "screen": Command(
        "sim.screen:main",
        "a ULX3S with a screen, simulated from the camera's pins to the cable's bits",
        (
            Variable("BOARD", "--board", "ulx3s-12f"),
            *(_PRESET, _SIZE, _SHAPE),
            Variable("IMAGE", "--image", "file"),
            _WEIGHTS,
            Variable("PICTURE", "--picture", "file.png, of what the screen shows"),
        ),
    ),
    "program": Command(
        "boards.programmer:main",
        "puts the bitstream that make bitstream made on the board",
        (_NEEDED_BOARD, _PRESET, _SIZE),
    ),
    "train": Command(
        "golden.train:main",
        "trains a network, then its integers; all of it under build/train",
        (
            *(_DATA, _IMAGES, _PRESET),
            Variable("EPOCHS", "--epochs", "60"),
            Variable("MINUTES", "--minutes", "9, instead of EPOCHS"),
            Variable("RESUME", "--resume", "last.pt"),
            Variable("START", "--begin-with", "final.pt or weights.safetensors"),
            Variable("OUTPUT", "--output", "folder"),
            *(_BATCH, _SEED),
            Variable("SIZE", "--size", "HxW of smaller pictures"),
            Variable("DEVICE", "--device", "auto|cpu|cuda"),
            Variable("CONFIDENCE", "--confidence", "proposed|trivial|none|boxes"),
            Variable("LEARNING_RATE", "--learning-rate", "3e-3"),
            Variable("DROPOUT", "--dropout", "0.05"),
            Variable("AVERAGE", "--average", "0.999"),
            Variable("AUGMENTATION", "--augmentation", "1, 0 for none"),
            Variable("MIXUP", "--mixup", "0, 0.2 say"),
            Variable("LABEL_SMOOTHING", "--label-smoothing", "0, 0.1 say"),
            Variable(
                "TEACHER", "--teacher", "'final.pt or .safetensors ...' of other networks", "list"
            ),
            *(_HELD_OUT, _HELD_OUT_OF),
            Variable("CELLS", "--cells", "file"),
            Variable("QUANTISED", "--quantised-epochs", "0 epochs of training for the integers"),
            *(_RULE, _SKIP_BAD),
        ),
        ("--integers",),
    ),
    "labels": Command(
        "golden.make_labels:main",
        "build/labels.csv of a data set or a part of it",
        (
            Variable("DATA", "", "folder, COCO .json or .csv", needed=True),
            *(_IMAGES, _PRESET, _SIZE),
            Variable("PART", "--part", "all|training|validation"),
            *(_HELD_OUT, _HELD_OUT_OF),
            Variable("SPLIT", "--split", "trainval"),
            Variable("LINKS", "--links", "new folder"),
            *(_RULE, _SKIP_BAD),
        ),
        ("-o", "build/labels.csv"),
    ),
    "import": Command(
        "golden.import_checkpoint:main",
        "a released or own checkpoint to integers, build/PRESET.safetensors",
        (
            Variable("CHECKPOINT", "", "file", needed=True),
            _CALIBRATE._replace(needed=True),
            *(_PRESET, _SIZE, _SKIP_BAD),
        ),
    ),
    "evaluate": Command(
        "golden.evaluate:main",
        "accuracy on photographs, and build/evaluate.json",
        (
            *(_PICTURES, _LABELS, _PRESET, _SIZE, _WEIGHTS, _CHECKPOINT, _CALIBRATE),
            Variable("MODEL", "--model", "int|float"),
            *(_TAU, _SKIP),
            Variable("LOGITS", "--logits", "out.csv"),
            _SKIP_BAD,
        ),
        ("--json", "build/evaluate.json"),
    ),
    "onnx": Command(
        "golden.onnx_export:main",
        "the network as ONNX under build/onnx, compared in ONNX Runtime",
        (_PRESET, _SIZE, _WEIGHTS, _CHECKPOINT),
    ),
    "fidelity": Command(
        "golden.fidelity:main",
        "integer beside float answers for all ways to calibrate, and build/fidelity.json",
        (
            *(_CHECKPOINT._replace(needed=True), _CALIBRATE._replace(needed=True)),
            *(_PICTURES, _LABELS, _PRESET, _SIZE, _SKIP_BAD),
            Variable("DRAWS", "--draws", "3, random draws of COUNT pictures instead"),
            *(Variable("COUNT", "--count", "256, to calibrate on"), _SEED),
        ),
        ("--json", "build/fidelity.json"),
    ),
    "card": Command(
        "golden.model_card:main",
        "accuracy table by origin for a model card, and build/card.json",
        (
            *(_CHECKPOINT._replace(needed=True), _PICTURES, _LABELS),
            *(_WEIGHTS, _PRESET, _SIZE, _PAGE, _SKIP_BAD),
        ),
        ("--json", "build/card.json"),
    ),
    "early-termination": Command(
        "golden.early_termination:main",
        "accuracy and MACs saved over both thresholds, under build/early_termination",
        (
            *(_PICTURES, _LABELS, _PRESET, _SIZE, _WEIGHTS, _CHECKPOINT, _CALIBRATE),
            *(_TAU._replace(hint="0.9,0.99"), _SKIP._replace(hint="off,0.005")),
            *(_PAGE, _SKIP_BAD, _flag("STORE", "1, chosen thresholds into weights and card")),
        ),
        ("-o", "build/early_termination"),
    ),
    "visualise": Command(
        "golden.visualise:main",
        "what the network looks at, picture and GIF under build/visualise",
        (
            Variable("IMAGE", "--image", "file", needed=True),
            *(_PRESET, _SIZE, _WEIGHTS, _CHECKPOINT, _CALIBRATE, _TAU, _SKIP),
        ),
        ("-o", "build/visualise"),
    ),
    "ablation": Command(
        "golden.ablation:main",
        "trains the variants of one of the paper's tables, or a learning curve",
        (
            Variable("KIND", "", "heads|loss|attention|boxes|pictures|epochs", needed=True),
            *(_DATA, _IMAGES, _PRESET),
            Variable("SIZE", "--size", "HxW"),
            Variable("EPOCHS", "--epochs", "10"),
            Variable("SEEDS", "--seeds", "1"),
            *(_SEED, _BATCH, _HELD_OUT._replace(hint="0.2"), _RULE, _SKIP_BAD),
        ),
    ),
    "accounting": Command(
        "sim.study.accounting:main",
        "weights, peak memory and operations of every preset, and build/accounting.json",
        fixed=("--output", "build/accounting.json"),
    ),
    "flash-image": Command(
        "boards.flash_image:main",
        "weights for a board's SPI flash, under build/flash",
        (_BOARD, _PRESET, _SIZE, _SHAPE, _WEIGHTS, Variable("OFFSET", "--offset", "0x40000")),
    ),
    "host": Command(
        "boards.host:main",
        "photographs through a real board, compared as make sim does",
        (
            Variable("PORT", "--port", "/dev/ttyUSB0"),
            Variable("IMAGE", "--image", "file or folder"),
            *(_PRESET, _SIZE, _WEIGHTS, _SKIP_BAD),
            Variable("BAUD", "--baud", "1000000"),
            *(_flag("LOAD"), _flag("WATCH")),
            Variable("PICTURE", "--picture", "file.png, of what the camera sees"),
            _flag("BYTES", "1 with WATCH, PICTURE or WEB of an iCEBreaker or UPduino"),
            _flag("WEB", "1, a page in a browser"),
            Variable("REPLAY", "--replay", "build/sim/vww_105x120, with WEB and no board"),
            Variable("WEB_ADDRESS", "--web-address", "127.0.0.1"),
            Variable("WEB_PORT", "--web-port", "8765"),
        ),
    ),
    "docs": Command(
        "rasca.site.main:main",
        "the documentation as a site under build/site, every link checked",
    ),
    "release": Command(
        "rasca.release:main",
        "wheel, bitstreams that are there, Verilog kits and digests under build/release",
        (Variable("PRESETS", "--preset", "'vww_105x120 ...'", "list"),),
    ),
    "drawing": Command(
        "rasca.site.drawing:main",
        "draws docs/row_group.svg and writes the table of docs/how_it_works.md",
        target=False,
    ),
    "registers": Command(
        "hw.bus.pages:main", "writes the table of docs/registers.md", target=False
    ),
    "wiring": Command(
        "boards.camera.pages:main",
        "writes docs/ov7670_ulx3s.svg and the tables of docs/cameras.md",
        target=False,
    ),
}

TOOLS = {
    "help": Command("", "this text"),
    "test": Command("", "all tests, on all cores", (Variable("ARGS", "", "pytest options"),)),
    "lint": Command("", "ruff"),
    "clean": Command("", "removes build/"),
}
"""Targets that are no commands."""

ANYWHERE = ("PYTHON", "TORCH_INDEX", "TORCH")
"""Variables that every target knows: the interpreter that runs it, and where the set-up of .venv
gets PyTorch."""


def targets() -> dict[str, Command]:
    """Every target of make, in the order of its help."""
    return {
        "help": TOOLS["help"],
        **{name: one for name, one in COMMANDS.items() if one.target},
        **{name: one for name, one in TOOLS.items() if name != "help"},
    }
