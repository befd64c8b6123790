"""Engine configuration: the shape of the array and how a given network lies on it."""

import hashlib
import json
from dataclasses import asdict, dataclass
from math import ceil, gcd

from golden.config import ModelConfig
from hw.plan.latency import LATENCIES, Latency
from hw.plan.limits import LIMITS, Limits

CELLS = ("generic", "ecp5", "ice40", "gowin")
"""Multiplier cells that there are, see hw.arithmetic.multiplier."""
MOST_PIXELS = 64
WEIGHT_MEMORIES = ("initialised", "loaded")


@dataclass(frozen=True, kw_only=True)
class EngineConfig:
    """Shape of the array, and what its weight memories are.

    Parameters
    ----------
    pixels : int
        P, neighbouring pixels that a lane works on at once; bytes of a memory word (3..64).
    channels : int
        C, output channels of a lane, each with its own requantiser (1..P).
    lanes : int
        L, lanes side by side (1..16).
    weight_memory : str
        "initialised": weights and constants are there from the start (block RAM of an FPGA's
        bitstream), and may be loaded anew. "loaded": the memories are empty at power-up (iCE40's
        SPRAM, an ASIC's SRAM macros); frames are dropped and counted until an image is loaded.
    cells : str
        Multiplier cells of the array: "generic", "ecp5", "ice40" or "gowin", see
        hw.arithmetic.multiplier.
    dsps : int or None
        DSP cells for the array (with "ecp5", LUTs multiply the rest); None: as many as it wants.
    parts : str
        Record of parts, see hw.plan.parts. "parallel": a channel unit for each sum of a lane.
        "low_power": the same with few registers, for silicon at a slow clock.
        "serial", for small FPGAs at half the clock: one channel unit for all lanes, no registers
        that a slow clock can do without. "packed", for an ECP5 whose LUTs are short: "parallel"
        with two products from a DSP cell. hw.plan.limits has what each can carry.
    sleep : bool
        Clocks stand still while nothing is to be done, see hw.sleep. For silicon: FPGAs' `cells`
        have no gate for it.

    Raises
    ------
    ValueError
        Where a value is out of range; the text says the rule and the value.
    """

    pixels: int
    channels: int
    lanes: int
    weight_memory: str = "initialised"
    cells: str = "generic"
    dsps: int | None = None
    parts: str = "parallel"
    sleep: bool = False

    def __post_init__(self):
        if not 3 <= self.pixels <= MOST_PIXELS:
            raise ValueError(f"pixels must be 3..{MOST_PIXELS}, not {self.pixels}")
        if not 1 <= self.channels <= self.pixels:
            raise ValueError(
                f"channels must be 1..pixels ({self.pixels}), not {self.channels}: "
                "the words of a lane's channels leave one a cycle"
            )
        if not 1 <= self.lanes <= 16:
            raise ValueError(f"lanes must be 1..16, not {self.lanes}")
        if self.weight_memory not in WEIGHT_MEMORIES:
            raise ValueError(
                f"weight_memory must be {' or '.join(WEIGHT_MEMORIES)}, not {self.weight_memory!r}"
            )
        if self.cells not in CELLS:
            raise ValueError(
                f"cells must be {', '.join(CELLS[:-1])} or {CELLS[-1]}, not {self.cells!r}"
            )
        if self.dsps is not None and self.dsps < 0:
            raise ValueError(f"dsps must be at least 0, not {self.dsps}")
        if self.parts not in LATENCIES:
            *most, last = LATENCIES
            raise ValueError(f"parts must be {', '.join(most)} or {last}, not {self.parts!r}")
        if self.sleep and self.cells != "generic":
            raise ValueError(f"sleep must be off with the cells of {self.cells}, which has no gate")
        limits = self.limits
        if limits.generic and self.cells != "generic":
            raise ValueError(f"cells of a {limits.called} engine must be generic, not {self.cells}")
        if not limits.carries(pixels=self.pixels, channels=self.channels, lanes=self.lanes):
            raise ValueError(f"a {limits.called} engine has {limits.rule}, not {self}")

    @classmethod
    def parse(cls, text: str, weight_memory: str = "initialised", **more) -> "EngineConfig":
        """Read "pixels,channels,lanes", e.g. "15,3,2"; `more` are further fields."""
        try:
            pixels, channels, lanes = (int(part) for part in text.split(","))
        except ValueError:
            raise ValueError(
                "a shape is three whole numbers pixels,channels,lanes, for example "
                f"15,3,2, not {text!r}"
            ) from None
        return cls(
            pixels=pixels, channels=channels, lanes=lanes, weight_memory=weight_memory, **more
        )

    def __str__(self):
        return f"{self.pixels},{self.channels},{self.lanes}"

    @property
    def multipliers(self) -> int:
        """Multipliers of the array."""
        return self.pixels * self.channels * self.lanes

    @property
    def limits(self) -> Limits:
        """What its parts can carry."""
        return LIMITS[self.parts]

    @property
    def latency(self) -> Latency:
        """Latencies of its parts."""
        return LATENCIES[self.parts]

    def lane_dsps(self, lane: int) -> int | None:
        """DSP cells of a lane: an equal part."""
        if self.dsps is None:
            return None
        return self.dsps // self.lanes + (lane < self.dsps % self.lanes)

    @property
    def units(self) -> int:
        """Channel units: one requantiser each, C * L."""
        return self.channels * self.lanes


def default_shape(model: ModelConfig) -> EngineConfig:
    """The shape used where the user names none: one word holds the state's n columns, 2 lanes.

    Of the parallel parts; for others see `PartsModel.usual`. Pictures of other widths than the
    presets' have one lane, and as many words as are needed of at most MOST_PIXELS columns.
    """
    words = -(-model.n // MOST_PIXELS)
    by_width = {15: (15, 3, 2), 12: (13, 3, 2), 10: (10, 5, 2), 7: (8, 1, 2)}
    pixels, channels, lanes = by_width.get(model.n, (max(3, -(-model.n // words)), 1, 1))
    return EngineConfig(pixels=pixels, channels=channels, lanes=lanes)


def config_digest(model: ModelConfig, engine: EngineConfig) -> str:
    """Hex digest of everything that defines the hardware but the weights."""
    fields = asdict(engine)
    # as it has always been told of the first two records
    fields["compact"] = engine.parts == "serial"
    if engine.parts in ("parallel", "serial"):
        del fields["parts"]
    if not engine.sleep:
        del fields["sleep"]
    text = json.dumps([model.digest, fields], sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()


@dataclass(frozen=True)
class Geometry:
    """How a network lies on an array: words, groups and banks.

    Attributes follow docs/architecture.md: `heads` G at a time on `head_lanes` Lh lanes each, in
    `passes`; word counts per row of every map.

    Raises
    ------
    ValueError
        If the shape cannot carry the network.
    """

    model: ModelConfig
    engine: EngineConfig

    def __post_init__(self):
        lanes = self.head_lanes
        if lanes > 1 and lanes % 2:
            usable = [
                k
                for k in range(1, 17)
                if (k // gcd(k, self.model.heads)) == 1 or (k // gcd(k, self.model.heads)) % 2 == 0
            ]
            near = min(usable, key=lambda k: (abs(k - self.engine.lanes), k))
            raise ValueError(
                f"lanes = {self.engine.lanes} gives {lanes} lanes a head with "
                f"{self.model.heads} heads; that must be 1 or even (two lanes make one "
                f"pooled word); the nearest usable number is {near}"
            )
        self._check_parts()
        if self.model.spatial and self.engine.pixels < self.model.n:
            raise ValueError(
                f"spatial attention needs the state's {self.model.n} columns in one "
                f"word: pixels must be at least {self.model.n}, not "
                f"{self.engine.pixels}"
            )

    def _check_parts(self):
        model, lanes, limits = self.model, self.engine.lanes, self.engine.limits
        if model.spatial and not limits.spatial:
            raise ValueError(f"a {limits.called} engine has no spatial attention")
        if model.acc_bits > limits.sum_bits:
            raise ValueError(
                f"sums of a {limits.called} engine must have at most {limits.sum_bits} bits, "
                f"not {model.acc_bits}"
            )
        if model.n > limits.columns:
            whose = f"the state of a {limits.called} engine" if limits.called else "the state"
            raise ValueError(
                f"columns of {whose} must be at most {limits.columns}, not {model.n} "
                f"(image_width {model.image_width}, halved by each block)"
            )
        if not limits.whole_heads:
            return
        if self.head_lanes != 1:
            raise ValueError(
                f"a {limits.called} engine's lanes must divide the {model.heads} heads, "
                f"{lanes} do not"
            )
        names = {
            "state_channels": model.state_channels,
            f"head_channels[{len(model.head_channels) - 1}]": model.head_channels[-1],
        }
        for name, channels in names.items():
            if channels % lanes:
                raise ValueError(
                    f"a {limits.called} engine of {lanes} lanes needs {name} to be a multiple of "
                    f"{lanes}, not {channels}"
                )

    @property
    def heads(self) -> int:
        return gcd(self.model.heads, self.engine.lanes)

    @property
    def head_lanes(self) -> int:
        return self.engine.lanes // self.heads

    @property
    def passes(self) -> int:
        return self.model.heads // self.heads

    def words(self, columns: int) -> int:
        """Words of P pixels in a row of a map."""
        return ceil(columns / self.engine.pixels)

    def groups(self, columns: int) -> int:
        """Words per bank in a row of a wide map."""
        return ceil(self.words(columns) / self.head_lanes)

    def chunks(self, columns: int) -> int:
        """Walks that cover the convolution outputs that pooling keeps of a row."""
        return ceil(2 * (columns // 2) / (self.engine.pixels * self.head_lanes))

    @property
    def state_words(self) -> int:
        """Words of one channel of an n-wide map."""
        return self.words(self.model.n)

    def constant_words(self, head_mode: bool) -> int:
        """Constants of a walk: one per channel unit, lanes of a head share theirs."""
        return self.engine.channels * self.heads if head_mode else self.engine.units

    def bank_words(self, channels: int) -> int:
        """Words per bank of an n-wide map."""
        return ceil(channels / self.engine.lanes) * self.state_words
