"""boards/host.py: against a simulated board, pins only in between, and against scripted ones."""

import json
import os
import pty
import threading
import time
import tty
from contextlib import contextmanager
from dataclasses import replace

import pytest
import torch
from PIL import Image
from rich.console import Console

from boards import host, packets
from boards.packets import (
    BoardStatus,
    Counters,
    Decision,
    Hello,
    Kind,
    Problem,
    Row,
    Setting,
    State,
    Taken,
)
from golden.config import PRESETS, preset
from golden.expected import Judge, golden_frames
from golden.images import camera_image
from golden.model import IntegerModel
from golden.random_weights import random_weights
from golden.weights import Weights
from sim import runner
from tests import board
from tests.command import invoke

PATIENCE = 120.0  # of a simulation on a busy machine


def flipped(weights, model=board.MODEL):
    """One bit of one weight, the first of its layer with which `pictures(1)` end differently."""
    good = IntegerModel(model, weights).run(pictures(1)).state
    for place in range(weights.layers["gru.update"].weight.numel()):
        layer = weights.layers["gru.update"]
        weight = layer.weight.clone()
        weight.view(-1)[place] ^= 4
        bad = replace(
            weights, layers=weights.layers | {"gru.update": replace(layer, weight=weight)}
        )
        if not torch.equal(IntegerModel(model, bad).run(pictures(1)).state, good):
            return bad
    raise AssertionError("no weight matters")


def pictures(count, seed=0):
    model, generator = board.MODEL, torch.Generator().manual_seed(seed)
    size = (count, model.in_channels, model.image_height, model.image_width)
    return torch.randint(0, 256, size, generator=generator, dtype=torch.uint8)


def run(*arguments):
    return invoke("host", *arguments)


@pytest.fixture
def tiny(monkeypatch):
    for model in (board.MODEL, board.THREE):
        monkeypatch.setitem(PRESETS, model.name, model)


# ---- a simulated board ----


@contextmanager
def simulated(build, folder, image=b""):
    """The terminal of a simulated board; `image` is in its flash."""
    failed = []
    arguments = {"image": image.hex()}
    arguments |= {name: str(folder / name) for name in ("port", "stop")}

    def simulate():
        try:
            runner.run(build, "tests.bench_board", arguments=arguments)
        except BaseException as error:
            failed.append(error)

    thread = threading.Thread(target=simulate, daemon=True)
    thread.start()
    while not (folder / "port").exists():
        assert thread.is_alive(), failed
        time.sleep(0.05)
    yield (folder / "port").read_text()
    (folder / "stop").touch()
    thread.join()
    assert not failed


@pytest.fixture(scope="module")
def port(tmp_path_factory):
    """A board whose flash holds board.WEIGHTS."""
    folder = tmp_path_factory.mktemp("board")
    with simulated(board.build(), folder, board.image()) as found:
        yield found


@pytest.fixture
def files(tmp_path):
    """Weights, the same with a bit flipped, and a picture."""
    names = {name: tmp_path / name for name in ("good.safetensors", "bad.safetensors", "a.png")}
    board.WEIGHTS.save(names["good.safetensors"])
    flipped(board.WEIGHTS).save(names["bad.safetensors"])
    Image.fromarray(pictures(1)[0].permute(1, 2, 0).numpy()).save(names["a.png"])
    return [str(path) for path in names.values()]


def test_board(port, files, tiny, monkeypatch):
    """Pins only: equal; other weights refused; a flipped weight found; weights over the UART."""
    good, bad, picture = files
    common = ("--port", port, "--patience", PATIENCE, "--image", picture)
    found = run(*common, "--weights", good, "--frames", 2)
    assert found.exit_code == 0, found.output
    groups = 2 * board.MODEL.row_groups
    values = groups * (board.MODEL.state_channels * board.MODEL.n + 2)
    assert f"{groups} of {groups} row groups equal, {values} values" in found.output
    assert "counted" not in found.output

    found = run(*common, "--weights", bad)
    assert found.exit_code == 2
    assert "rasca: the board holds other weights: their digest is " in found.output

    found = run(*common, "--preset", "vww_105x120")
    assert found.exit_code == 2
    assert "the board holds another network than vww_105x120: tiny, digest" in found.output

    # the flipped weights are in the board, although a picture was left in its middle, and nobody
    # looks at the digest
    link = host.Connection(host.open_port(port, 1_000_000), PATIENCE)
    link.send(packets.settings(Setting.HOST))
    for line in packets.frame([bytes(3 * board.MODEL.image_width)] * 7)[:6]:
        link.send(line)
    host.load(link, board.MODEL, board.rasca(flipped(board.WEIGHTS)).engine.weights_image())
    link.transport.close()
    with monkeypatch.context() as patch:
        patch.setattr(host, "check_weights", lambda hello, image: None)
        found = run(*common, "--weights", good)
        assert found.exit_code == 1
        assert "rasca: first difference: frame 0, row group " in found.output
    found = run(*common, "--weights", good, "--load")
    assert found.exit_code == 0, found.output
    found = run("--port", port, "--patience", PATIENCE, "--watch", "--seconds", 0.5)
    assert found.exit_code == 0 and "nothing yet" in found.output and "tiny" in found.output


def test_initialised_board_of_three_classes(files, tiny, monkeypatch, tmp_path):
    """Weights in initialised memories, as on ECP5: equal; others, loaded at run time, take their
    place. All of three classes' logits; the stop class's margin ends a frame; what is shown."""
    model, picture = board.THREE, files[-1]
    good, bad = (str(tmp_path / name) for name in ("good3.safetensors", "bad3.safetensors"))
    board.THREE_WEIGHTS.save(good)
    flipped(board.THREE_WEIGHTS, model).save(bad)
    with simulated(board.build(initialised=True), tmp_path) as port:
        link = host.Connection(host.open_port(port, 1_000_000), PATIENCE)
        hello, pixels = link.greet(), pictures(1)
        by_stop_class(link, hello, model, pixels)
        assert watched(link, model, pixels, monkeypatch) == {
            "decision": "cat  (3 row groups)",
            "rows": "██░",
            "network": "three",
        }
        link.transport.close()
        common = ("--port", port, "--patience", PATIENCE, "--image", picture, "--weights")
        groups = model.row_groups
        values = groups * (model.state_channels * model.n + 3)
        for words in ((good,), (bad, "--load")):
            found = run(*common, *words)
            assert found.exit_code == 0, found.output
            assert f"{groups} of {groups} row groups equal, {values} values" in found.output
        found = run(*common, good)
        assert found.exit_code == 2 and "the board holds other weights" in found.output


def by_stop_class(link, hello, model, pixels):
    """The whole frame is a cat; a stop at the dog's first margin ends it. Other names of the same
    logits, or another stop class, are not what the board does."""
    whole = IntegerModel(model, board.THREE_WEIGHTS).run(pixels)
    assert whole.logits[0].argmax(dim=-1).tolist() == [2, 2, 1]
    first = int(whole.margin[0, 0])
    for stop, label, used in ((None, 1, 3), (first, 2, 1)):
        judge, moved = host.check_frames(link, hello, model, board.THREE_WEIGHTS, pixels, stop=stop)
        assert judge.first is None and not moved
        decision = judge.frames[0].decision
        assert (decision["label"], decision["rows_used"]) == (label, used)
    other = replace(model, stop_class="cat")
    weights = random_weights(other, board.SEED)
    judge, _ = host.check_frames(link, hello, other, weights, pixels, stop=-first)
    assert judge.first is not None


def watched(link, model, pixels, monkeypatch):
    """What the terminal says of a picture that is sent while it is watched."""
    rows, send = model.rows_per_group * model.row_groups, link.send
    lines = packets.frame([line.tobytes() for line in camera_image(pixels[0])[:rows]])
    watching = packets.settings(packets.Setting.ROWS)

    def send_picture(packet):
        if packet != watching:
            return send(packet)
        send(packets.settings(packets.Setting.ROWS | packets.Setting.HOST))
        for line in lines:
            send(line)

    def until_decided(*words, events=link.events, **more):
        for event in events(*words, **more):
            yield event
            if isinstance(event, Decision):
                raise KeyboardInterrupt

    monkeypatch.setattr(link, "send", send_picture)
    monkeypatch.setattr(link, "events", until_decided)
    console = Console(record=True, width=100)
    host.watch(link, console, model, PATIENCE)
    text = [line.split(maxsplit=1) for line in console.export_text().splitlines()]
    found = {line[0]: line[1].strip() for line in text if len(line) == 2}
    return {name: found[name] for name in ("decision", "rows", "network")}


@pytest.mark.parametrize("kind", ["stop", "skip"])
def test_early_termination(port, tiny, kind):
    """Thresholds reach the engine, and the host knows which rows come."""
    images = pictures(1, seed=3)
    whole = IntegerModel(board.MODEL, board.WEIGHTS).run(images)
    first = int(whole.logits[0, 0, 1] - whole.logits[0, 0, 0])
    link = host.Connection(host.open_port(port, 1_000_000), PATIENCE)
    hello = link.greet()
    link.send(packets.settings(Setting.ECHO, **{kind: first}))
    taken = link.expect(Taken, "settings as it took them")
    assert (taken.stop, taken.skip) == ((first, None) if kind == "stop" else (None, first))
    judge, moved = host.check_frames(
        link, hello, board.MODEL, board.WEIGHTS, images, **{kind: first}
    )
    assert judge.first is None and not moved
    groups = [row.row_group for row in judge.frames[0].rows]
    assert groups[0] == 0 and groups[1:] == {"stop": [], "skip": groups[1:]}[kind]
    assert len(groups) < board.MODEL.row_groups
    assert judge.frames[0].decision["rows_used"] == len(groups)


# ---- scripted boards ----

HELLO = Hello(weights=7, status=0, model=bytes.fromhex(board.MODEL.digest)[:8], shape=(3, 1, 1))


class Script:
    """A transport that answers packets: `answer(kind, payload)` gives events."""

    def __init__(self, answer):
        self.answer, self.decoder = answer, packets.Decoder(max_payload=4096)
        self.out = bytearray()

    def read(self, size):
        found = bytes(self.out[:size])
        del self.out[:size]
        if not found:
            time.sleep(0.001)
        return found

    def write(self, data):
        for packet in self.decoder.feed(data):
            for event in self.answer(*packet):
                kind = Kind[type(event).__name__.upper()]
                self.out += packets.encode(kind, event.pack())


def engine(change=lambda event: [event]):
    """Answers of a board that computes as the golden model does; `change` may spoil them."""
    images = pictures(1)
    result = golden_frames(IntegerModel(board.MODEL, board.WEIGHTS).run(images))[0]
    groups = board.MODEL.row_groups
    sent = []

    def events(kind, payload):
        if kind == Kind.ASK:
            yield HELLO
            yield Counters(values=(3, *(0,) * (len(packets.COUNTERS) - 1)))
        if kind & ~3 != Kind.LINE:
            return
        sent.append(payload)
        if len(sent) % 5:
            return
        group = len(sent) // 5 - 1
        logits = tuple(int(value) for value in result.logits[group])
        yield Row(frame=0, row_group=group, logits=logits)
        last = group == groups - 1
        end = Decision(
            frame=0,
            index=int(result.decision),
            status=0,
            rows_used=groups,
            logits=logits,
        )
        for channel, data in enumerate(result.state[group]):
            if last and channel == 1:
                yield end  # a decision overtakes the state
            state = data.astype("int8").tobytes()
            yield State(frame=0, channel=channel, row_group=group, data=state)

    return Script(lambda *packet: [out for e in events(*packet) for out in change(e)]), sent


def frames(script, patience=0.3):
    link = host.Connection(script, patience)
    return host.check_frames(link, HELLO, board.MODEL, board.WEIGHTS, pictures(1))[0]


def test_scripted():
    """The lines that are sent, and the comparison."""
    script, sent = engine()
    judge = frames(script)
    assert judge.first is None
    model = board.MODEL
    assert len(judge.frames[0].rows) == model.row_groups
    rows = pictures(1)[0].permute(1, 2, 0).numpy()
    assert sent == [row.tobytes() for row in rows[: 5 * model.row_groups]]


def test_frames_of_a_camera():
    """Those that the engine is on when the host takes over are not the host's."""
    script, _ = engine()
    answer, hosts = script.answer, []

    def camera(kind, payload):
        taken = kind == Kind.SETTINGS and payload[-1] & Setting.HOST
        if taken and not any(hosts):
            yield Decision(frame=7, index=0, status=2, rows_used=0, logits=(1, 2))
        hosts.append(taken)
        yield from answer(kind, payload)

    script.answer = camera
    judge = frames(script)
    assert judge.first is None and any(hosts)


def change_one(kind, **fields):
    def change(event):
        return [replace(event, **fields) if isinstance(event, kind) else event]

    return change


@pytest.mark.parametrize(
    "change, text",
    [
        (change_one(Row, logits=(1, 2)), "row group 0, stage logits"),
        (change_one(State, data=bytes(board.MODEL.n)), "row group 0, stage state"),
        (change_one(Decision, rows_used=1), "stage decision.rows_used"),
        (change_one(Decision, status=2), "stage decision.status"),
    ],
)
def test_scripted_differences(change, text):
    judge = frames(engine(change)[0])
    assert text in str(judge.first)


@pytest.mark.parametrize(
    "change, text",
    [
        (
            lambda event: [] if isinstance(event, Row) else [event],
            "the state of row group 0 came without its row",
        ),
        (
            lambda event: [] if isinstance(event, State) and event.channel == 1 else [event],
            "channel 1 of the state of row group 0 must come next, with 4 bytes, not channel 2",
        ),
        (
            lambda event: [] if isinstance(event, State) and event.channel == 3 else [event],
            r"row group 0 did not come whole within 0.3 s \(3 of 4 channels\); "
            r"the board counts \{'overrun': 3\}",
        ),
        (
            lambda event: [] if isinstance(event, Row | State) else [event],
            r"row group 0 did not come whole within 0.3 s \(no row\)",
        ),
        (
            lambda event: [] if isinstance(event, Decision) else [event],
            r"row group 2 did not come whole",
        ),
        (
            lambda event: [] if isinstance(event, Counters) else [event],
            "the board sent no counters within 0.3 s",
        ),
    ],
)
def test_scripted_errors(change, text):
    with pytest.raises(host.BoardError, match=text):
        frames(engine(change)[0])


def test_refused(tiny):
    """What a hello may say that ends the run, in words."""
    good = packets.Hello(weights=0x3610A686, status=0, model=HELLO.model)
    image = b"hello"
    host.check_weights(good, image)
    for change, text in (
        ({"weights": 1}, "other weights: their digest is 00000001, not 3610a686"),
        ({"weights": 0}, "the board has no weights: nothing was loaded"),
        (
            {"weights": 0, "status": Problem.CRC},
            "no weights: the weights image in flash is damaged",
        ),
        ({"weights": 0, "status": BoardStatus.LOADING | 2}, "they are still being loaded"),
    ):
        with pytest.raises(ValueError, match=text):
            host.check_weights(replace(good, **change), image)
    assert host.board_model(good, None) is board.MODEL
    assert host.board_model(good, "tiny") is board.MODEL
    other = replace(good, model=b"12345678")
    for name, text in (
        (None, "the board's network, digest 3132333435363738, is none of the presets"),
        ("tiny", "another network than tiny: no preset, digest 3132333435363738"),
        ("nosuch", "preset must be one of"),
    ):
        with pytest.raises(ValueError, match=text):
            host.board_model(other, name)


@pytest.mark.parametrize(
    "status, text", [(16, "bytes are missing"), (0, "digest there is 00000007")]
)
def test_load_fails(status, text):
    answers = [replace(HELLO, status=status)]
    script = Script(lambda kind, payload: answers if kind == Kind.ASK else [])
    with pytest.raises(host.BoardError, match=f"did not arrive after 2 tries: .*{text}"):
        host.load(host.Connection(script, 1), board.MODEL, bytes(600))


def test_network_from_a_file(tmp_path):
    """A board with a user's own network: its file names it, and its classes."""
    file = tmp_path / "mine.json"
    fields = {"image_height": 17, "image_width": 64, "heads": 1, "head_channels": [1, 2, 2, 3]}
    fields |= {"state_channels": 4, "spatial_attention": "none", "channel_attention": True}
    file.write_text(json.dumps(fields | {"classes": ["nothing", "cat", "dog"]}))
    mine = preset(str(file))
    hello = replace(HELLO, model=bytes.fromhex(mine.digest)[:8])
    assert host.known_model(hello) is None
    assert host.board_model(hello, str(file)) == mine
    with pytest.raises(ValueError, match="is none of the presets"):
        host.board_model(hello, None)
    assert [host.said_class(mine, i) for i in range(3)] == [
        "[bold blue]nothing[/]",
        "[bold red]CAT[/]",
        "[bold blue]dog[/]",
    ]
    assert host.said_class(None, 3) == "[bold blue]class 3[/]"
    assert host.said_byte(0x08, mine) == "[bold blue]dog[/]"
    assert host.said_byte(0x88, mine).startswith("no byte of a small board: 0x88")


def test_watch(tiny):
    """Decisions, faults and rows are shown."""
    decision = Decision(frame=0, index=1, status=0, rows_used=3, logits=(0, 1))
    later = [
        Row(frame=0, row_group=0, logits=(1, 0)),
        Row(frame=0, row_group=1, logits=(0, 1)),
        decision,
        Counters(values=(0, 0, 0, 0, 6, *(0,) * 9)),
        replace(decision, status=1, index=0),
    ]

    def answer(kind, payload):
        if kind == Kind.ASK:
            return [HELLO, Counters()]
        return later if kind == Kind.SETTINGS and payload[-1] else []

    console = Console(record=True, width=100)
    host.watch(host.Connection(Script(answer), 1), console, board.MODEL, 0.5)
    text = console.export_text()
    assert "frame lost: OVERRUN" in text and "2, 1 of them person" in text
    assert "dropped 6" in text and "░█" in text and "tiny" in text
    assert "noise" not in text

    # a line in which something else is sent beside the packets
    noisy, console = Script(answer), Console(record=True, width=100)
    noisy.out += bytes(host.CUT + 1)
    host.watch(host.Connection(noisy, 1), console, board.MODEL, 0.5)
    assert "noise     262 bytes that are in no packet (is the baud rate right?)" in (
        console.export_text()
    )


def test_watch_bytes(monkeypatch):
    """A small board's bytes, each in words."""
    told = {
        0x48: "weights in flash: still being loaded",
        0x45: "weights in flash: the weights image in flash is damaged",
        # a bitstream of vww_105x120 whose image was made for the board's own network
        0x43: "weights in flash: the weights image in flash has another length than this "
        "engine's: make flash-image PRESET= of the bitstream's network makes the right one",
        0x60: "weights in flash: no problem; the camera's set-up failed",
        0x80: "PERSON",
        0x00: "no person",
        0x02: "frame lost: TRUNCATED",
    }
    for other in (0x05, 0x08, 0xC0):
        told[other] = f"no byte of a small board: {other:#04x} (is the baud rate right?)"
    script = Script(lambda kind, payload: [])
    script.out += bytes(told)
    monkeypatch.setattr(host, "open_port", lambda port, baud: script)
    found = run("--port", "p", "--watch", "--bytes", "--seconds", 0.2)
    assert found.exit_code == 0 and found.output.splitlines() == list(told.values())
    found = run("--port", "p", "--bytes")
    assert found.exit_code == 2
    assert "rasca: --bytes goes with --watch, --picture or --web: expected one" in found.output


def test_no_board(tmp_path):
    """No port; nobody there; somebody else there."""
    found = run("--port", tmp_path / "nosuch")
    assert (
        found.exit_code == 2 and "expected a serial port that can be opened, but: " in found.output
    )
    master, slave = pty.openpty()
    tty.setraw(slave)
    found = run("--port", os.ttyname(slave), "--patience", 0.1)
    assert found.exit_code == 3
    assert "rasca: the board sent no hello (is this its port, and the baud" in found.output
    found = run("--port", "loop://", "--patience", 0.1)
    assert found.exit_code == 2
    assert "the board sent a packet of unknown kind 0x84" in found.output
    os.close(master)


def test_judge_is_that_of_make_sim():
    """The host tool compares with the very class."""
    assert host.Judge is Judge and issubclass(Weights, object)
