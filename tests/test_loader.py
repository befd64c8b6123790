# amaranth: UnusedElaboratable=no
"""hw/loader.py against its image functions and zlib."""

import random
import zlib

import pytest
from amaranth import ResetInserter, Signal
from amaranth.sim import Simulator

from hw.loader import Loader, Section, image_bytes, image_digest
from sim import runner

SECTIONS = [
    Section("weights", 11, 48),
    Section("constants", 5, 37),
    Section("classifier_weights", 9, 8),
    Section("one", 1, 1),
    Section("table", 3, 9),
]


def random_words(sections, source):
    return {
        section.name: [source.getrandbits(section.bits) for _ in range(section.words)]
        for section in sections
    }


def simulate(dut, testbench):
    simulator = Simulator(dut)
    simulator.add_clock(1e-8)
    simulator.add_testbench(testbench)
    simulator.run()


class Bench:
    """Feeds a loader in Amaranth's simulator and keeps what it writes."""

    def __init__(self, ctx, dut):
        self.ctx, self.dut = ctx, dut
        self.memories = {section.name: {} for section in dut.sections}
        ctx.set(dut.idle, 1)

    async def tick(self):
        for name, memory in self.memories.items():
            port = getattr(self.dut, name)
            if self.ctx.get(port.en):
                memory[self.ctx.get(port.addr)] = self.ctx.get(port.data)
        await self.ctx.tick()

    async def send(self, data, last=True):
        for index, byte in enumerate(data):
            self.ctx.set(self.dut.load_valid, 1)
            self.ctx.set(self.dut.load_data, byte)
            self.ctx.set(self.dut.load_last, last and index == len(data) - 1)
            await self.tick()
        self.ctx.set(self.dut.load_valid, 0)

    def state(self):
        dut = self.dut
        return tuple(
            self.ctx.get(port) for port in (dut.loaded, dut.weights_digest, dut.load_error)
        )

    async def settle(self):
        """From the cycle after the last byte to that of ``loaded``."""
        for _ in range(self.dut.cycles - 1):
            assert not self.ctx.get(self.dut.loaded)
            await self.tick()

    def words(self):
        return {
            section.name: [self.memories[section.name].get(i) for i in range(section.words)]
            for section in self.dut.sections
        }


def check(dut, data, words, digest, cycles=None):
    """One load without gaps: digest, timing and words."""

    async def testbench(ctx):
        bench = Bench(ctx, dut)
        assert bench.state() == (1, dut.digest, 0)
        await bench.send(data)
        for _ in range((dut.cycles if cycles is None else cycles) - 1):
            assert bench.state() == (0, 0, 0)
            await bench.tick()
        assert bench.state() == (1, digest, 0)
        assert bench.words() == words

    simulate(dut, testbench)


@pytest.mark.parametrize(
    "sections",
    [
        SECTIONS,
        [Section("only", 1, 8)],
        [Section("only", 1, 3)],
        [Section("only", 256, 8)],
        [Section("first", 1, 33), Section("second", 2, 16)],
    ],
    ids=["all", "byte", "bits", "bytes", "words"],
)
def test_load(sections):
    words = random_words(sections, random.Random(1))
    dut = Loader(sections=sections, digest=0x12345678)
    data = image_bytes(sections, words)
    assert len(data) == dut.load_bytes
    check(dut, data, words, zlib.crc32(data))


def test_idle():
    """Ready is idle; nothing is taken while the engine works."""
    dut = Loader(sections=SECTIONS, digest=7)

    async def testbench(ctx):
        bench = Bench(ctx, dut)
        assert ctx.get(dut.load_ready)
        ctx.set(dut.idle, 0)
        assert not ctx.get(dut.load_ready)
        await bench.send([1, 2, 3])
        for _ in range(5):
            await bench.tick()
        assert bench.state() == (1, 7, 0)
        assert not any(bench.memories.values())

    simulate(dut, testbench)


@pytest.mark.parametrize("sections", [SECTIONS, SECTIONS[::-1], [Section("only", 6, 8)]])
def test_errors_in_the_stream(sections):
    """Too short, too long, by one byte or more; then a good load, at once."""
    words = random_words(sections, random.Random(2))
    data = image_bytes(sections, words)
    dut = Loader(sections=sections, digest=1)
    half = len(data) // 2
    bad = [data[:1], data[:-1], data[:half], data + b"\0", data + data, data + b"x" * 150]

    async def testbench(ctx):
        bench = Bench(ctx, dut)
        for wrong in bad:
            await bench.send(wrong[:-1], last=False)
            assert bench.state() == ((0, 0, len(wrong) > len(data)) if wrong[1:] else (1, 1, 0))
            await bench.send(wrong[-1:])
            assert bench.state() == (0, 0, 1)
            for _ in range(2 * dut.cycles):
                await bench.tick()
                assert bench.state() == (0, 0, 1)
            # What was swallowed was not written
            assert all(
                address in range(section.words)
                for section in sections
                for address in bench.memories[section.name]
            )
            if len(wrong) > len(data):
                assert bench.words() == words
        for wrong in bad:
            await bench.send(wrong)
            for memory in bench.memories.values():
                memory.clear()
            await bench.send(data[:1], last=False)
            assert bench.state() == (0, 0, 0)
            await bench.send(data[1:])
            await bench.settle()
            assert bench.state() == (1, zlib.crc32(data), 0)
            assert bench.words() == words

    simulate(dut, testbench)


@pytest.mark.parametrize("gap", range(6))
def test_back_to_back(gap):
    """A second load this soon after the first: never a digest of the first once it has begun."""
    sections = [Section("a", 3, 12), Section("b", 2, 8)]
    source = random.Random(3)
    images = [random_words(sections, source) for _ in range(2)]
    dut = Loader(sections=sections, digest=0)

    async def testbench(ctx):
        bench = Bench(ctx, dut)
        await bench.send(image_bytes(sections, images[0]))
        for _ in range(gap):
            await bench.tick()
        data = image_bytes(sections, images[1])
        await bench.send(data[:1], last=False)
        for _ in range(5):
            assert bench.state() == (0, 0, 0)
            await bench.tick()
        assert bench.words()["b"] == images[0]["b"]
        await bench.send(data[1:])
        await bench.settle()
        assert bench.state() == (1, zlib.crc32(data), 0)
        assert bench.words() == images[1]

    simulate(dut, testbench)


@pytest.mark.parametrize("taken", ["none", "some", "all", "too many"])
@pytest.mark.parametrize("digest", [7, None])
def test_reset(digest, taken):
    """A reset changes no memory: once a load has begun, the digest of what they held first is gone
    until a load is complete."""
    sections = [Section("a", 3, 12), Section("b", 2, 8)]
    words = random_words(sections, random.Random(6))
    data = image_bytes(sections, words)
    sent = {"none": b"", "some": data[:1], "all": data, "too many": data + b"\0"}[taken]
    first = (digest is not None, digest or 0, 0)
    dut, reset = Loader(sections=sections, digest=digest), Signal()

    async def testbench(ctx):
        bench = Bench(ctx, dut)
        assert bench.state() == first
        await bench.send(sent, last=taken != "some")
        for _ in range(dut.cycles):
            await bench.tick()
        for reset_now in (1, 0, 1, 0):
            ctx.set(reset, reset_now)
            await bench.tick()
            assert bench.state() == (first if taken == "none" else (0, 0, 0))
        await bench.send(data)
        await bench.settle()
        assert bench.state() == (1, zlib.crc32(data), 0)
        assert bench.words() == words

    simulate(ResetInserter(reset)(dut), testbench)


def test_verilator():
    """As Verilog: bubbles, a busy engine, good and bad loads in turn."""
    source = random.Random(4)
    loads = []
    for index in range(12):
        words = random_words(SECTIONS, source)
        data = image_bytes(SECTIONS, words)
        digest = image_digest(SECTIONS, words)
        if index % 3 == 1:
            data, digest = data[: source.randrange(1, len(data))], None
        if index % 3 == 2:
            data, digest = data + bytes(source.randrange(1, 99)), None
        loads.append((list(data), digest, words))
    arguments = {
        "loads": loads,
        "names": [section.name for section in SECTIONS],
        "digest": 0xCAFE0001,
        "seed": 4,
    }
    dut = Loader(sections=SECTIONS, digest=0xCAFE0001)
    arguments["cycles"] = dut.cycles
    runner.simulate(dut, "tests.bench_loader", arguments=arguments)


def test_differences_are_seen():
    """A flipped bit anywhere in the stream, a cycle: each makes the comparison fail."""
    sections = [Section("a", 2, 12), Section("b", 3, 8)]
    words = random_words(sections, random.Random(5))
    data = image_bytes(sections, words)
    digest = image_digest(sections, words)
    check(Loader(sections=sections, digest=0), data, words, digest)
    for cycles in (Loader(sections=sections, digest=0).cycles + by for by in (-1, 1)):
        with pytest.raises(AssertionError):
            check(Loader(sections=sections, digest=0), data, words, digest, cycles)
    for place in range(len(data)):
        changed = bytearray(data)
        changed[place] ^= 0x80  # in a word's last byte a bit that no memory holds
        with pytest.raises(AssertionError):
            check(Loader(sections=sections, digest=0), changed, words, digest)


def test_image():
    sections = [Section("a", 2, 12), Section("b", 1, 8)]
    data = image_bytes(sections, {"a": [0xABC, -1], "b": [-128]})
    assert data == bytes([0xBC, 0x0A, 0xFF, 0x0F, 0x80])
    assert image_digest(sections, {"a": [0xABC, -1], "b": [-128]}) == zlib.crc32(data)
    assert image_bytes(sections, {"a": [4095, -2048], "b": [255]})
    with pytest.raises(ValueError, match=r"words must be given for \['a', 'b'\], not \['a'\]"):
        image_bytes(sections, {"a": [0, 0]})
    with pytest.raises(ValueError, match="a must have 2 words, not 1"):
        image_bytes(sections, {"a": [0], "b": [0]})
    for value in (4096, -2049):
        with pytest.raises(ValueError, match=f"a word of a must fit 12 bits, not {value}"):
            image_bytes(sections, {"a": [0, value], "b": [0]})


def test_an_image_whose_crc_is_that_of_none():
    sections = [Section("a", 2, 32)]
    start = zlib.crc32(bytes(4))
    # 4 bytes that take the CRC register to all ones, which zlib tells as 0: each table entry has
    # a highest byte of its own
    table = [zlib.crc32(bytes([i]), 0xFFFFFFFF) ^ 0xFFFFFFFF for i in range(256)]
    register, picks = 0xFFFFFFFF, []
    for _ in range(4):
        pick = next(i for i in range(256) if table[i] >> 24 == register >> 24)
        picks.append(pick)
        register = (register ^ table[pick]) << 8 & 0xFFFFFFFF
    register, last = start ^ 0xFFFFFFFF, bytearray()
    for pick in reversed(picks):
        last.append((register ^ pick) & 0xFF)
        register = table[pick] ^ register >> 8
    word = int.from_bytes(last, "little")
    assert zlib.crc32(bytes(4) + last) == 0
    with pytest.raises(ValueError, match="must have a CRC-32 that is not 0, which stands for no"):
        image_bytes(sections, {"a": [0, word]})
    assert image_digest(sections, {"a": [0, word ^ 1]})


def test_errors():
    for name in ("", "a b", "_a", "1a"):
        with pytest.raises(ValueError, match=f"name must be an identifier, not '{name}'"):
            Section(name, 1, 1)
    with pytest.raises(ValueError, match="words of a must be at least 1, not 0"):
        Section("a", 0, 1)
    with pytest.raises(ValueError, match="bits of a must be at least 1, not 0"):
        Section("a", 1, 0)
    with pytest.raises(ValueError, match="sections must be at least one"):
        Loader(sections=[], digest=0)
    for digest in (-1, 1 << 32):
        with pytest.raises(ValueError, match=rf"digest must be 0..2\*\*32 - 1, not {digest}"):
            Loader(sections=SECTIONS, digest=digest)
    for name in ("weights", "loaded", "cycles", "digest", "signature"):
        with pytest.raises(ValueError, match=f"name must be free, but {name} is taken"):
            Loader(sections=[*SECTIONS, Section(name, 1, 1)], digest=0)
