"""The register map: one table, of which RTL, C header, SVD and documentation are made.

Offsets are the same for every engine, so that one driver serves all: arrays have the room of the
largest one. What differs (how many logits, which constants) is `registers(...)`'s.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import Enum

from golden.config import MOST_CLASSES, ModelConfig
from golden.expected import STATUS
from hw.plan.engine_config import EngineConfig, config_digest
from hw.plan.memory import UNDECIDED

ID = 0x52534341
"""What register ID says: "RSCA"."""
VERSION = 1
"""Of the map; another one where a register moves or changes its meaning."""
WORD = 4
"""Bytes of a register."""
_MOST_STATE_WORDS = 16
DRAWN = 8
"""Hex digits of a digest that a register has: its first ones."""


class Access(Enum):
    """What a bus may do; the values are CMSIS-SVD's."""

    READ = "read-only"
    WRITE = "write-only"
    BOTH = "read-write"
    CLEAR = "oneToClear"


@dataclass(frozen=True, kw_only=True)
class Field:
    """Bits of a register.

    Parameters
    ----------
    name : str, in lower case
    about : str
    low, bits : int
        Lowest bit and width.
    signed : bool
    values : mapping of str to int
        Names of values.

    Raises
    ------
    ValueError
        Outside of the register.
    """

    name: str
    about: str
    low: int = 0
    bits: int = 1
    signed: bool = False
    values: Mapping[str, int] = field(default_factory=dict)

    def __post_init__(self):
        if not (0 <= self.low and 1 <= self.bits and self.low + self.bits <= 8 * WORD):
            raise ValueError(
                f"field {self.name} must lie in bits 0..31, not {self.low}..{self.end - 1}"
            )

    @property
    def end(self) -> int:
        """The bit behind it."""
        return self.low + self.bits

    @property
    def mask(self) -> int:
        """Its bits, where they stand."""
        return ((1 << self.bits) - 1) << self.low


@dataclass(frozen=True, kw_only=True)
class Register:
    """A register, or an array of them.

    Parameters
    ----------
    name : str, in upper case
    offset : int
        Bytes from the base, a multiple of 4.
    access : Access
    about : str
    fields : tuple of Field
        In order of their bits.
    count : int or None
        Registers of the array; None: it is none.
    value : int or None
        Of a constant; the value after reset of what can be written.
    written : bool
        The engine is told in the cycle in which it is written.
    waits : bool
        A write may have to wait.

    Raises
    ------
    ValueError
        A wrong offset, or fields over each other.
    """

    name: str
    offset: int
    access: Access
    about: str
    fields: tuple[Field, ...]
    count: int | None = None
    value: int | None = None
    written: bool = False
    waits: bool = False

    def __post_init__(self):
        if self.offset % WORD or self.offset < 0:
            raise ValueError(
                f"offset of {self.name} must be a multiple of {WORD}, not {self.offset}"
            )
        for one, other in zip(self.fields, self.fields[1:], strict=False):
            if other.low < one.end:
                raise ValueError(
                    f"fields of {self.name} must be in order and apart, not "
                    f"{one.name}, {other.name}"
                )

    def field(self, name: str) -> Field:
        """The field of that name."""
        return next(one for one in self.fields if one.name == name)

    @property
    def port(self) -> str:
        """Name of its signals."""
        return self.name.lower()

    @property
    def constant(self) -> bool:
        """It always reads the same."""
        return self.access is Access.READ and self.value is not None

    @property
    def size(self) -> int:
        """Registers."""
        return 1 if self.count is None else self.count

    @property
    def end(self) -> int:
        """The offset behind it."""
        return self.offset + WORD * self.size


@dataclass(frozen=True, kw_only=True)
class RegisterMap:
    """All registers of an engine, in the order of their offsets.

    Raises
    ------
    ValueError
        Registers over each other, or of one name.
    """

    registers: tuple[Register, ...]

    def __post_init__(self):
        names = [one.name for one in self.registers]
        for one, other in zip(self.registers, self.registers[1:], strict=False):
            if other.offset < one.end:
                raise ValueError(
                    f"registers must be in order and apart, not {one.name}, {other.name}"
                )
        if len(set(names)) != len(names):
            raise ValueError(f"names of registers must differ, not {', '.join(names)}")

    @property
    def address_bits(self) -> int:
        """Of a byte address inside the map."""
        return (self.registers[-1].end - 1).bit_length()

    def __getitem__(self, name: str) -> Register:
        return next(one for one in self.registers if one.name == name)


def _whole(about: str, name: str = "value", signed: bool = False) -> tuple[Field, ...]:
    return (Field(name=name, about=about, bits=32, signed=signed),)


def _halves(low: tuple[str, str], high: tuple[str, str]) -> tuple[Field, ...]:
    """Two fields of 16 bits: (name, about) each."""
    return tuple(
        Field(name=name, about=about, low=16 * half, bits=16)
        for half, (name, about) in enumerate((low, high))
    )


def _flags(*flags: tuple[str, str]) -> tuple[Field, ...]:
    """A bit each: (name, about)."""
    return tuple(Field(name=name, about=about, low=bit) for bit, (name, about) in enumerate(flags))


COUNTERS = {
    "dropped": "Frames that were not accepted: one was waiting already, there were no weights, or "
    f"{UNDECIDED} before it had no decision yet.",
    "overrun": "Frames of which a word would have overwritten a row that was still needed.",
    "truncated": "Frames that ended early; of a stream only those behind which a frame waits for a "
    "load, else see COUNT_RESTART.",
    "line": "Frames with a line too short or too long.",
    "restart": "Frames inside of which another one began.",
}
"""The engine's counters, in the order of `hw.interfaces.Counters.names`."""


def registers(model: ModelConfig, engine: EngineConfig, weights_bytes: int) -> RegisterMap:
    """The map of an engine.

    Parameters
    ----------
    model : ModelConfig
    engine : EngineConfig
    weights_bytes : int
        Of a weights image.
    """
    return RegisterMap(
        registers=(
            *_identity(model, engine, weights_bytes),
            *_control(),
            *_answers(model.class_count),
            *_state(engine.pixels),
        )
    )


def largest() -> RegisterMap:
    """The map with the largest arrays and no engine's constants: for the documentation."""
    found = [
        *_identity(None, None, 0),
        *_control(),
        *_answers(MOST_CLASSES),
        *_state(WORD * _MOST_STATE_WORDS),
    ]
    return RegisterMap(registers=tuple(found))


def _drawn(digest: str) -> int:
    return int(digest[:DRAWN], 16)


def _identity(
    model: ModelConfig | None, engine: EngineConfig | None, weights_bytes: int
) -> list[Register]:
    def constant(name, offset, about, fields, value):
        return Register(
            name=name, offset=offset, access=Access.READ, about=about, fields=fields, value=value
        )

    def of(value):
        return 0 if model is None or engine is None else value()

    digest = "The first eight hex digits of the digest of "
    return [
        constant("ID", 0x00, "Who is there.", _whole("0x52534341."), ID),
        constant("VERSION", 0x04, "Of this map.", _whole("1."), VERSION),
        constant(
            "CONFIG_DIGEST",
            0x08,
            "Which engine.",
            _whole(f"{digest}network and array."),
            of(lambda: _drawn(config_digest(model, engine))),
        ),
        constant(
            "NETWORK_DIGEST",
            0x0C,
            "Which network.",
            _whole(f"{digest}the network."),
            of(lambda: _drawn(model.digest)),
        ),
        Register(
            name="WEIGHTS_DIGEST",
            offset=0x10,
            access=Access.READ,
            about="Which weights.",
            fields=_whole("CRC-32 of the weights image in the memories, 0 while there is none."),
        ),
        constant(
            "WEIGHTS_BYTES",
            0x14,
            "Length of a weights image.",
            _whole("Bytes."),
            weights_bytes,
        ),
        constant(
            "IMAGE",
            0x18,
            "The picture.",
            _halves(("width", "Pixels of a line."), ("height", "Lines of a frame.")),
            of(lambda: model.image_height << 16 | model.image_width),
        ),
        constant(
            "NETWORK",
            0x1C,
            "The network's sizes.",
            (
                Field(name="row_groups", about="Row groups of a frame.", bits=16),
                Field(name="classes", about="Classes.", low=16, bits=8),
                Field(name="colours", about="3: red, green, blue. 1: luma.", low=24, bits=8),
            ),
            of(lambda: model.row_groups | model.class_count << 16 | model.in_channels << 24),
        ),
        constant(
            "STATE",
            0x20,
            "The state's sizes.",
            _halves(("channels", "Channels."), ("columns", "Columns: bytes of a channel.")),
            of(lambda: model.n << 16 | model.state_channels),
        ),
        constant(
            "STATE_WORD",
            0x24,
            "What STATE_DATA holds.",
            (Field(name="bytes", about="Columns of the state in one read.", bits=8),),
            of(lambda: engine.pixels),
        ),
    ]


def _control() -> list[Register]:
    def both(name, offset, about, fields, **more):
        return Register(
            name=name,
            offset=offset,
            access=Access.BOTH,
            about=about,
            fields=fields,
            **({"value": 0} | more),
        )

    return [
        both(
            "CONTROL",
            0x28,
            "Switches.",
            _flags(
                ("stop_enable", "A margin of STOP_THRESHOLD or more ends the frame."),
                ("skip_enable", "A margin of SKIP_THRESHOLD or less leaves a row group out."),
                (
                    "camera",
                    "1: the stream's TREADY is always 1, as for a camera, which cannot wait; what "
                    "finds no room is lost and counted. 0: the stream waits for room.",
                ),
                (
                    "video_order",
                    "1: a colour pixel's bytes are green, blue, red, lowest first, as in "
                    "AXI4-Stream video. 0: red, green, blue, as an RGB picture lies in memory.",
                ),
            ),
        ),
        both("STOP_THRESHOLD", 0x2C, "Early termination.", _whole("A margin.", signed=True)),
        both("SKIP_THRESHOLD", 0x30, "Early termination.", _whole("A margin.", signed=True)),
        Register(
            name="STATUS",
            offset=0x34,
            access=Access.READ,
            about="What the engine is at.",
            fields=_flags(
                ("busy", "A frame is being received, waits or is worked on."),
                ("loaded", "The memories hold weights."),
                ("load_room", "LOAD_DATA takes a word at once."),
                ("loading", "A load has begun: the engine takes its bytes."),
                ("load_error", "The last load was cut short."),
                ("load_lost", "LOAD_DATA was written without room: the load is to begin anew."),
                ("state_valid", "STATE_DATA holds what STATE_SELECT asked for."),
                ("state_stale", "The state is being written anew: it is no row group's."),
            ),
        ),
        Register(
            name="INTERRUPT",
            offset=0x38,
            access=Access.CLEAR,
            about="What has happened; writing a 1 takes it back.",
            fields=_flags(
                ("decision", "A frame was decided, DECISION and DECISION_LOGIT have it."),
                ("row", "A row group was answered, ROW and ROW_LOGIT have it."),
                ("fault", "A frame was decided with a status other than OK."),
                ("loaded", "Weights are complete."),
            ),
        ),
        both(
            "INTERRUPT_MASK",
            0x3C,
            "The interrupt line is high while one of the INTERRUPT bits is set here, too.",
            _flags(
                ("decision", "A frame was decided."),
                ("row", "A row group was answered."),
                ("fault", "A frame went wrong."),
                ("loaded", "Weights are complete."),
            ),
        ),
    ]


def _answers(classes: int) -> list[Register]:
    def read(name, offset, about, fields, count=None):
        return Register(
            name=name,
            offset=offset,
            access=Access.READ,
            about=about,
            fields=fields,
            count=count,
        )

    named = {name: value for value, name in enumerate(STATUS)}
    counters = [
        read(f"COUNT_{name.upper()}", 0x50 + WORD * number, about, _whole("Stops at 65535."))
        for number, (name, about) in enumerate(COUNTERS.items())
    ]
    return [
        read(
            "FRAMES",
            0x40,
            "Changes with each decision: read it before and after to know that what is between "
            "belongs together.",
            _whole("Decisions since the reset."),
        ),
        read(
            "DECISION",
            0x44,
            "The last decision.",
            (
                Field(name="index", about="The class; 0 where status is not OK.", bits=8),
                Field(name="status", about="How the frame ended.", low=8, bits=8, values=named),
                Field(name="rows_used", about="Row groups worked on.", low=16, bits=16),
            ),
        ),
        read("ROWS", 0x48, "Changes with each answer.", _whole("Row groups answered since reset.")),
        read(
            "ROW",
            0x4C,
            "The last answer to a row group.",
            (Field(name="group", about="Row group, 0 is the topmost.", bits=16),),
        ),
        *counters,
        Register(
            name="LOAD_DATA",
            offset=0x64,
            access=Access.WRITE,
            about="The weights image, a word at a time, low byte first, WEIGHTS_BYTES in all (of "
            "the last word what is beyond is ignored). The first word waits until the engine is "
            "between frames: from then on (STATUS.loading) a write without room waits on the bus, "
            "before that it is lost.",
            fields=_whole("Four bytes."),
            written=True,
            waits=True,
        ),
        Register(
            name="LOAD_CONTROL",
            offset=0x68,
            access=Access.WRITE,
            about="Ends a load.",
            fields=_flags(
                ("abort", "Writing 1 gives a load up that has begun, and takes load_lost back."),
            ),
            written=True,
        ),
        Register(
            name="STATE_SELECT",
            offset=0x6C,
            access=Access.BOTH,
            about="Writing asks for a word of the state, after STATUS.state_valid it is in"
            " STATE_DATA. It is that of the row group answered last unless, afterwards, ROWS has"
            " moved or STATUS.state_stale is set.",
            fields=_halves(
                ("channel", "Channel of the state."),
                ("word", "Columns word * STATE_WORD and on."),
            ),
            value=0,
            written=True,
        ),
        read(
            "DECISION_LOGIT",
            0x80,
            "Logits of the last decision, one for each class; 0 where its status is not OK.",
            _whole("All on one scale.", signed=True),
            classes,
        ),
        read(
            "ROW_LOGIT",
            0xC0,
            "Logits of the last row group.",
            _whole("All on one scale.", signed=True),
            classes,
        ),
    ]


def _state(pixels: int) -> list[Register]:
    return [
        Register(
            name="STATE_DATA",
            offset=0x100,
            access=Access.READ,
            about="The word of the state, the leftmost column in the lowest byte.",
            fields=_whole("Four signed bytes; beyond the word 0."),
            count=-(-pixels // WORD),
        )
    ]
