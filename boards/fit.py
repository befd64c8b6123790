"""What a device has, what an engine wants of it, and the nearest shape that fits."""

from dataclasses import dataclass, replace
from math import ceil

from boards.board import Board, Device
from boards.family import FAMILIES
from golden.config import PRESETS, ModelConfig, preset
from hw.arithmetic.multiplier import Multipliers
from hw.plan import Plan, compile_program
from hw.plan.engine_config import EngineConfig, Geometry
from hw.weight_sram import pieces

_SPRAM_WORDS, _SPRAM_BITS = 16384, 16
CAMERA_LUT = 600  # front end and set-up, beside an engine that is not in _WHOLE_LUT
_WHOLE_LUT = {"serial": 5010}  # of a whole engine with its small system, at 8,1,2, by its parts


@dataclass(frozen=True, kw_only=True)
class Need:
    """What an engine takes of a device: an estimate for `lut`, counts for the rest."""

    lut: int
    dsp: int
    bram: int
    spram: int

    def short(self, device: Device) -> dict[str, tuple[int, int]]:
        """(wanted, there) of everything that is short."""
        there = {
            "LUTs": (self.lut, int(device.lut * FAMILIES[device.family].lut_limit)),
            "DSP blocks": (self.dsp, device.dsp),
            "block RAMs": (self.bram, device.bram),
            "SPRAMs": (self.spram, device.spram),
        }
        return {name: pair for name, pair in there.items() if pair[0] > pair[1]}


def blocks(words: int, bits: int, family: str) -> int:
    """Block RAMs of a memory."""
    cells = FAMILIES[family]
    if words <= cells.lut_ram_words:
        return 0
    found = [ceil(words / depth) * ceil(bits / width) for depth, width in cells.block_ram]
    if cells.bytes_beside:
        found.append(ceil(ceil(words / 512) * ceil(bits / 9) / 4))
    count = min(found)
    if cells.weighs_lut_ram:
        # as Yosys weighs them: a cell of 16 x 4 bits 4, a choice of two bits a half, a block 128
        deep = ceil(words / 16)
        if 4 * deep * ceil(bits / 4) + bits * (deep - 1) / 2 < 128 * count:
            return 0
    return count


def _weight_blocks(words: int, bits: int, family: str) -> int:
    """Block RAMs of the weight memory, whose pieces are memories of their own."""
    return sum(blocks(piece, bits, family) for piece in pieces(words, bits, family))


def camera_blocks(board: Board, plan: Plan) -> int:
    """Block RAMs of a board's camera, beside the engine's."""
    if board.camera is None:
        return 0
    sensor, model = board.camera.sensor, plan.model
    binned = 2 * model.image_height <= sensor.height and 2 * model.image_width <= sensor.width
    return FAMILIES[board.device.family].camera_bram + binned  # a row of pairs


def free_blocks(board: Board, plan: Plan) -> int:
    """Block RAMs that are left for outputs."""
    return board.device.bram - need(plan, board.device).bram - camera_blocks(board, plan)


def whole(board: Board, plan: Plan) -> Need:
    """What a compiled engine takes of a board's device, with the board's camera and its outputs.

    Raises
    ------
    ValueError
        An output is none for this board or network.
    """
    found, free = need(plan, board.device), free_blocks(board, plan)
    lut = 0 if board.camera is None or plan.engine.parts in _WHOLE_LUT else CAMERA_LUT
    rooms = [output.room(board, plan, free) for output in board.outputs]
    return replace(
        found,
        lut=found.lut + lut + sum(room.lut for room in rooms),
        bram=board.device.bram - free + sum(room.bram for room in rooms),
    )


def products(engine: EngineConfig, family: str) -> tuple[int, int, int]:
    """DSP blocks of an array; products beside another one in its block; products in LUTs."""
    if not FAMILIES[family].lut_multipliers:
        return Multipliers.dsps_wanted(engine.multipliers, family), 0, 0
    dsps = shared = luts = 0
    count = engine.pixels * engine.channels
    for lane in range(engine.lanes):
        usable = engine.lane_dsps(lane)
        usable = count if usable is None else usable
        pairs = engine.pixels * (engine.channels // 2) if engine.parts == "packed" else 0
        pairs = min(pairs, usable)
        alone = min(usable - pairs, count - 2 * pairs)
        dsps, shared = dsps + pairs + alone, shared + pairs
        luts += count - 2 * pairs - alone
    return dsps, shared, luts


def luts(engine: EngineConfig, family: str) -> int:
    """LUTs of an engine with the system around it but for a camera."""
    whole = _WHOLE_LUT.get(engine.parts)
    if whole is not None:
        return whole
    lut, (_, shared, in_luts) = FAMILIES[family].luts, products(engine, family)
    return (
        lut["rest"]
        + lut["pixel"] * engine.pixels * engine.lanes
        + lut["unit"] * engine.units
        + lut["dsp"] * (engine.multipliers - shared - in_luts)
        + lut["shared"] * shared
        + lut["luts"] * in_luts
    )


def need(plan: Plan, device: Device) -> Need:
    """What a compiled engine takes of a device, with the system around it but for a camera."""
    engine = plan.engine
    bram, spram = FAMILIES[device.family].system_bram, 0
    for memory in plan.memories:
        if memory.banks:
            continue
        guests = [other.words for other in plan.memories if other.banks == memory.name]
        memory = replace(memory, words=memory.words + sum(guests))
        if memory.logic and FAMILIES[device.family].logic_programs:
            continue
        loaded = engine.weight_memory == "loaded" and device.spram
        if loaded and memory.spram:
            deep, wide = ceil(memory.words / _SPRAM_WORDS), ceil(memory.bits / _SPRAM_BITS)
            spram += deep * wide * memory.count
        else:
            count = _weight_blocks if memory.name == "weights" else blocks
            bram += memory.count * count(memory.words, memory.bits, device.family)
    dsps, _, _ = products(engine, device.family)
    return Need(lut=luts(engine, device.family), dsp=dsps, bram=bram, spram=spram)


def shapes(board: Board, model: ModelConfig) -> list[str]:
    """Shapes to try for a network on a board, the largest first."""
    if not board.arrays:
        return [board.shape]
    return [f"{max(3, model.n)},{channels},{lanes}" for channels, lanes in board.arrays]


def configure(board: Board, model: ModelConfig, shape: str | None) -> EngineConfig:
    """Engine of a board: its cells, its DSP blocks, its way to get weights.

    Where DSP blocks are short and the LUTs for the other multipliers, too, a DSP block makes two
    products ("packed" parts), if the network's weights are constants.

    Without a shape: the board's for this network, else the largest that carries it and has no more
    channels and lanes than the board's own.

    Raises
    ------
    ValueError
        If the shape is none, or cannot carry the network.
    """
    device = board.device
    listed = {**board.shapes, board.preset: board.shape}.get(model.name)
    if shape is None and listed is None:
        own = EngineConfig.parse(board.shape)
        for candidate in shapes(board, model):
            try:
                found = configure(board, model, candidate)
            except ValueError as error:
                reason = error
                continue
            if found.channels * found.lanes <= own.channels * own.lanes:
                return found
        raise reason
    shape = shape or listed
    engine = EngineConfig.parse(shape, board.weights, cells=device.family, parts=board.parts)
    family = FAMILIES[device.family]
    if family.lut_multipliers and engine.multipliers > device.dsp:
        engine = replace(engine, dsps=device.dsp)
        lut = luts(engine, device.family) + (CAMERA_LUT if board.camera else 0)
        short = lut > family.lut_limit * device.lut
        if short and engine.parts == "parallel" and engine.channels > 1 and not model.spatial:
            engine = replace(engine, parts="packed")
    Geometry(model, engine)
    return engine


def nearest(board: Board, model: ModelConfig) -> str:
    """A sentence that names a preset and shape that fit, for the text of an error."""

    def distance(name: str) -> tuple[bool, int]:
        return name != model.name, abs(PRESETS[name].image_height - model.image_height)

    for name in sorted(PRESETS, key=distance):
        other = preset(name)
        for shape in shapes(board, other):
            try:
                engine = configure(board, other, shape)
                wanted = whole(board, compile_program(other, engine))
            except ValueError:
                continue
            if not wanted.short(board.device):
                return f"{name} with SHAPE={engine} fits"
    return "no preset fits this device"
