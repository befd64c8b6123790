"""Random networks on random arrays: every value equal, every cycle as predicted."""

import json
import random
import re
from dataclasses import replace

import pytest

from golden.config import ModelConfig
from golden.model import IntegerModel
from hw.generate import to_verilog
from hw.plan import Plan, compile_program
from hw.plan.engine_config import EngineConfig
from hw.plan.replay import keeps_up
from hw.top import Rasca
from sim import camera, cell_models, counters, fuzz, session
from tests.command import invoke, refused

SEEDS = (1, 3, 7, 8, 9, 11, 14, 15, 16, 17, 18, 19)
"""Of 0..19 those without which a kind would be missing, and cheap ones; --every runs the others."""
CASES = [fuzz.case(seed) for seed in SEEDS]
IN_CELLS = (115, 952)
"""Compact in an iCE40's cells, packed in an ECP5's."""


@pytest.mark.parametrize(
    "case",
    [
        pytest.param(
            fuzz.case(seed),
            marks=[] if seed in SEEDS + IN_CELLS else pytest.mark.every,
            id=f"seed{seed}",
        )
        for seed in (*range(20), *IN_CELLS)
    ],
)
def test_case(case, tmp_path):
    assert fuzz.check(case, tmp_path) is None, str(case)


def test_a_later_bank_begins_beyond_the_first_ones_bits(tmp_path):
    """C begins at word 63 for the first head and at 72 for the second: 6 bits and 7."""
    case = fuzz.case(1771)
    assert compile_program(case.model, case.shape).maps["C"].base == 63
    assert fuzz.check(case, tmp_path) is None


def test_a_state_that_is_soon_written_over(tmp_path, monkeypatch):
    """The classifier takes longer than all the rest: when a row group is answered, the next one's
    state is almost there, and a host's last words would be that one's."""
    case = fuzz.case(21)
    plan = compile_program(case.model, case.shape)
    assert plan.state_stays < 2 * case.model.state_channels * plan.geometry.state_words
    made, prepare = [], session.prepare
    monkeypatch.setattr(
        session, "prepare", lambda *given, **more: made.append(prepare(*given, **more)) or made[-1]
    )
    assert fuzz.check(case, tmp_path) is None

    # of a netlist only the ports are known: what may be the next group's is not compared
    netlist = {"netlist": made[0].verilog, "plan": plan, "optimise": "build", "folder": tmp_path}
    engine = prepare(case.model, case.shape, made[0].weights, **netlist)
    pixels = fuzz.pictures(case.model, case.seed, fuzz.FRAMES)
    golden = session.golden_frames(IntegerModel(case.model, engine.weights).run(pixels))
    timing = fuzz.timing_of(case, plan)
    shots = [camera.Shot(camera.Picture.of(session.camera_image(p)), timing) for p in pixels]
    played = session.play(engine, camera.play(shots), golden)
    assert played.difference is None
    compared = [row.compared for frame in played.frames for row in frame.rows]
    assert compared == [case.model.class_count] * fuzz.FRAMES
    monkeypatch.setattr(Plan, "state_stays", 1000)  # if it stayed for so long
    wrong = session.play(engine, camera.play(shots), golden).difference
    assert (wrong.stage, wrong.frame, wrong.channel) == ("state", 0, 1)


@pytest.mark.parametrize("seed, room", [(8, True), (3, True), (1074, False), (1423, False)])
def test_rows_are_kept_for_a_late_line(seed, room):
    """After a late line the next row's first pixel comes at once, where the engine let go of the
    row in its place by then: 1074 and 1423 read their first rows for longer than a pixel lasts."""
    case = fuzz.case(seed)
    assert case.cameras == "gaps"
    plan = compile_program(case.model, case.shape)
    timing = fuzz.timing_of(case, plan)
    close = plan.rules.pixel_spacing if plan.rules.one_byte else 0
    assert timing.line_blank == (close if room else timing.pixel)
    early = int(timing.pixel) * case.model.rows_per_group
    assert keeps_up(plan, plan.camera_period)
    assert keeps_up(plan, plan.camera_period, early=early) == room


def test_cases_cover_every_kind():
    models = [case.model for case in CASES]
    assert {model.heads for model in models} == {1, 2, 3, 4}
    assert {model.spatial_attention for model in models} == {"none", "full", "banded"}
    assert {model.channel_attention for model in models} == {True, False}
    assert {model.in_channels for model in models} == {1, 3}
    assert {case.cameras for case in CASES} == {"paced", "blanking", "gaps"}
    assert {case.extreme for case in CASES} == {True, False}
    assert {case.shape.parts for case in CASES if case.cut} >= {"parallel", "serial"}
    records = {"parallel", "serial", "low_power"}
    assert {case.shape.parts for case in CASES} == records
    assert {case.shape.parts for case in CASES if case.shape.sleep} >= {"parallel", "serial"}
    assert any(case.shape.lanes > case.model.heads for case in CASES)
    assert any(case.model.n > case.shape.pixels for case in CASES)
    assert any(case.model.image_width % (2 * case.shape.pixels) for case in CASES)
    assert any(case.model.image_height % case.model.rows_per_group for case in CASES)
    assert any(model.class_count > 2 for model in models)
    assert any(case.shape.parts == "serial" and case.model.rows_per_group > 5 for case in CASES)


def test_the_ends_of_what_is_allowed_are_drawn():
    """Hidden layers up to the limit, one column, one row group, a camera's whole line."""
    cases = [fuzz.case(seed) for seed in range(400)]
    models = [case.model for case in cases]
    assert max(model.classifier_hidden for model in models) == fuzz.MOST_HIDDEN
    with pytest.raises(ValueError, match=f"classifier_hidden must be at most {fuzz.MOST_HIDDEN}"):
        replace(models[0], classifier_hidden=fuzz.MOST_HIDDEN + 1)
    assert {model.rows_per_group for model in models} == {3, 5, 7, 9}
    assert {model.class_count for model in models} == {2, 3, 4, 6}
    assert {len(model.blocks) for model in models} >= {2, 3, 4, 5}
    assert {model.n for model in models} >= {1, 2, 120}
    assert {model.row_groups for model in models} >= {1, 2, 3}
    assert 0 < sum(model.image_width == 1920 for model in models) < 25
    assert 25 < sum(model.classifier_hidden > 6 for model in models) < 120
    for case in cases[::9]:  # each is an engine
        compile_program(case.model, case.shape)


@pytest.mark.parametrize("parts, shape, channels", [
    ("parallel", (3, 1, 1), 1), ("parallel", (3, 1, 1), 3), ("serial", (4, 1, 2), 3),
])  # fmt: skip
def test_a_classifier_that_bounds_the_engine(parts, shape, channels, tmp_path, monkeypatch):
    """The answer to a row group comes before the next one's last step, with which it would be told
    as that one's; and the first row group begins when its frame is there, not before. The state
    stays as long as the plan says, to the cycle."""
    heads = 2 if parts == "serial" else 1
    model = ModelConfig(
        name="bound",
        image_height=10,
        image_width=33,
        heads=heads,
        head_channels=(2, 2, 2, 2),
        state_channels=2,
        attention_hidden=1,
        classifier_hidden=fuzz.MOST_HIDDEN,
        channel_attention=False,
        in_channels=channels,
    )
    pixels, units, lanes = shape
    case = fuzz.Case(
        seed=5,
        model=model,
        shape=EngineConfig(pixels=pixels, channels=units, lanes=lanes, parts=parts),
        cameras="paced",
        extreme=False,
    )
    plan = compile_program(model, case.shape)
    assert plan.operations[0].wait > 1000  # it waits for the classifier
    played, play = [], session.play
    monkeypatch.setattr(
        session, "play", lambda *given, **more: played.append(play(*given, **more)) or played[-1]
    )
    assert fuzz.check(case, tmp_path) is None
    judge = played[0].judge
    assert min(stayed for stayed in judge.maps.stays if stayed is not None) == plan.state_stays
    assert session.gone_early(judge, plan.state_stays) is None
    assert session.gone_early(judge, plan.state_stays + 1).stage == "state.stays"


def test_the_same_seed_is_the_same_case():
    assert fuzz.case(7) == fuzz.case(7) != fuzz.case(8)


def test_a_word_in_pieces_is_read_once():
    """Two pieces of block RAM hold the weights: both are read for a word, one is written."""
    wanted = fuzz.case(72520)
    design = Rasca(wanted.model, wanted.shape, fuzz.weights_of(wanted))
    text = to_verilog(design)
    assert [ram.name for ram in counters.rams(text) if ram.block == "weights"] == [
        "piece0",
        "piece1",
    ]
    told = counters.monitor(design.plan, text)
    place = [memory.name for memory in design.plan.memories].index("weights")
    found = {kind: len(re.findall(rf"{kind}\[.*\]\[{place}\] \+= 1;", told))
             for kind in ("reads", "writes")}  # fmt: skip
    assert found == {"reads": 1, "writes": 2}


def test_cells_of_fpgas_are_drawn():
    """Each family for each record that has it, some DSP cells or as many as are wanted."""
    cases = [fuzz.case(seed) for seed in range(1500)]
    for family in ("ecp5", "ice40", "gowin"):
        assert {"parallel", "serial"} <= {
            case.shape.parts for case in cases if case.shape.cells == family
        }
    packed = [case for case in cases if case.shape.parts == "packed"]
    assert len(packed) > 15 and {case.shape.cells for case in packed} == {"ecp5"}
    assert {case.shape.dsps is None for case in packed} == {True, False}
    assert any(case.shape.channels > 1 for case in packed)
    lines = {str(case) for case in cases if case.shape.cells != "generic"}
    assert len(lines) > 60 and all(re.search(r" \| (ecp5|ice40|gowin)", line) for line in lines)
    # else the network, the shape and how pixels come are the same
    for case in packed[:3]:
        other = fuzz.case(case.seed, silicon=True)
        parts = {"parts": "parallel", "cells": "generic", "dsps": None}
        assert replace(other.shape, sleep=False) == replace(case.shape, **parts)
        assert replace(other, shape=case.shape) == case


def test_a_fault_of_a_cell_is_found(monkeypatch, tmp_path):
    """The lowest bit of every second product turned: the cells are what multiplies."""
    wanted = fuzz.case(952)
    models, flags = cell_models.of_array(wanted.shape.cells)
    (cell,) = (model for model in models if model.name == "mult18x18d.v")
    text = cell.read_text()
    assert text.count(" P0} = p;") == 1
    turned = tmp_path / "turned.v"
    turned.write_text(text.replace(" P0} = p;", " P0} = p ^ 36'h400;"))
    with_it = [turned if model is cell else model for model in models]
    monkeypatch.setattr(cell_models, "of_array", lambda cells: (with_it, flags))
    assert "stage" in (fuzz.check(wanted, tmp_path / "build") or "")


@pytest.fixture
def results(monkeypatch, tmp_path):
    """Where the results are written, and the seeds that were run; seed 5 is wrong."""
    ran = []

    def check(case, folder):
        ran.append(case.seed)
        return "wrong" if case.seed == 5 else None

    monkeypatch.setattr(fuzz, "check", check)
    monkeypatch.setattr(fuzz, "RESULTS", tmp_path / "fuzz" / "cases.jsonl")
    return fuzz.RESULTS, ran


def test_a_failing_case_is_told(results):
    result = invoke("fuzz", "--count", 3, "--seed", 4)
    assert result.exit_code == 1
    assert "2 of 3 equal" in result.output and "make fuzz N=1 SEED=5" in result.output
    assert refused("fuzz", "--count", 0) == "rasca: --count must be at least 1, not 0"


def test_cases_with_a_text(results):
    _, ran = results
    result = invoke("fuzz", "--count", 100, "--seed", 900, "--only", "packed")
    assert ran == [s for s in range(900, 1000) if fuzz.case(s).shape.parts == "packed"]
    assert 952 in ran and f"{len(ran)} of {len(ran)} equal" in result.output
    line = refused("fuzz", "--only", "pakced")
    assert line == "rasca: --only must be in the line of one of 20 cases, not 'pakced'"


def test_many_cases_in_parts(results):
    """What was equal with this code is not run again; runs of other seeds add up."""
    file, ran = results
    invoke("fuzz", "--count", 3, "--seed", 4)
    assert ran == [4, 5, 6]
    lines = [json.loads(line) for line in file.read_text().splitlines()]
    assert [(line["seed"], line["equal"]) for line in lines] == [(4, True), (5, False), (6, True)]
    assert lines[1]["difference"] == "wrong" and len({line["code"] for line in lines}) == 1
    # stopped while it wrote; a seed of an older code
    with file.open("a") as more:
        more.write(json.dumps(lines[0] | {"seed": 8, "code": "older"}) + '\n{"seed": 9, "eq')
    ran.clear()
    again = invoke("fuzz", "--count", 6, "--seed", 4)
    assert ran == [5, 7, 8, 9] and again.exit_code == 1 and "5 of 6 equal" in again.output
    ran.clear()
    assert "1 of 1 equal" in invoke("fuzz", "--count", 1, "--seed", 20).output
    told = invoke("fuzz", "--count", 1, "--seed", 21).output
    assert "cases.jsonl: 7 of 8 seeds so far, 7 of 8 with the code as it is" in told
    assert ran == [20, 21]


def test_results_of_another_code_are_not_known(results, monkeypatch):
    _, ran = results
    invoke("fuzz", "--count", 1, "--seed", 4)
    digest = fuzz.session.code_digest
    monkeypatch.setattr(fuzz.session, "code_digest", lambda *names: digest(*names) + "changed")
    told = invoke("fuzz", "--count", 1, "--seed", 6).output
    assert "2 of 2 seeds so far, 1 of 1 with the code as it is" in told
    invoke("fuzz", "--count", 1, "--seed", 4)
    assert ran == [4, 6, 4]


@pytest.mark.parametrize("play", [1, 2])
def test_a_wrong_value_is_found(monkeypatch, tmp_path, play):
    """The check itself bites: one bit of the golden model's state turned, in either play."""
    true, plays = fuzz.session.golden_frames, []

    def turned(result):
        frames = true(result)
        plays.append(frames)
        if len(plays) < play:
            return frames
        state = frames[1].state.copy()
        state[0, 0, 0] ^= 1
        return [frames[0], replace(frames[1], state=state), *frames[2:]]

    monkeypatch.setattr(fuzz.session, "golden_frames", turned)
    wrong = fuzz.check(fuzz.case(1), tmp_path).removeprefix("loaded, with thresholds: ")
    assert wrong.startswith("frame 1, row group 0, stage state, channel 0, column 0")
    assert len(plays) == play


def test_thresholds_end_and_thin_out_frames():
    """Some margins pass them, within 32 bits; of many cases some stop, some leave groups out."""
    rng = random.Random(1)
    assert fuzz.thresholds([2**32 - 1], rng) == (2**31 - 1, 2**31 - 1)
    assert fuzz.thresholds([-(2**32)], rng) == (-(2**31), -(2**31))
    for _ in range(9):
        margins = [rng.randint(-999, 999) for _ in range(6)]
        stop, skip = fuzz.thresholds(margins, rng)
        assert {stop, skip} <= set(margins) and stop >= skip
    stopped, skipped = 0, 0
    for case in CASES:
        model = IntegerModel(case.model, fuzz.weights_of(case))
        pictures = fuzz.pictures(case.model, case.seed, fuzz.FRAMES)
        margins = model.run(pictures).margin.flatten().tolist()
        stop, skip = fuzz.thresholds(margins, random.Random(case.seed))
        found = model.run(pictures, stop_threshold=stop, skip_threshold=skip)
        stopped += int(found.stopped.any() and case.model.row_groups > 1)
        skipped += int(found.skipped.any())
    assert stopped > 4 and skipped > 4, (stopped, skipped)
