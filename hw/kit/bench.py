"""Known answer: a test bench in plain Verilog, with a photograph and what an engine must say of it.

`iverilog -g2012 -o tb tb.v ../NAME.v && vvp tb`, in the folder of the kit, ends with PASS or FAIL.
"""

from __future__ import annotations

from collections.abc import Iterable

import torch

from golden.images import default_images
from golden.model import IntegerModel
from golden.weights import Weights
from hw.interfaces import Pixels
from hw.plan import Plan

_TEXT = """\
// Known answer of @NAME@: a photograph goes in, all logits and the last state must come out.
//
//     $ iverilog -g2012 -o tb tb.v ../@NAME@.v && vvp tb
//     $ verilator --binary -Wno-fatal --top-module tb tb.v ../@NAME@.v && obj_dir/Vtb
//
// +groups=N ends after N row groups; +pace=N sends a pixel every N cycles instead of @PACE@, which
// is the closest that an even camera may be.
`timescale 1ns / 1ps
module tb;
    localparam WIDTH = @WIDTH@, HEIGHT = @HEIGHT@, ROWS = @ROWS@, GROUPS = @GROUPS@;
    localparam CLASSES = @CLASSES@, CHANNELS = @CHANNELS@, WORDS = @WORDS@, PIXELS = @PIXELS@;
    localparam LOAD_BYTES = @LOAD_BYTES@;  // 0: the weights are there from the start

    reg clk = 0, rst = 1;
    always #5 clk = ~clk;

    reg [23:0] picture[0:WIDTH * HEIGHT - 1];  // red, green, blue; or luma three times
    reg signed [31:0] logits[0:GROUPS * CLASSES - 1];  // after each row group
    reg [8 * PIXELS - 1:0] state[0:CHANNELS * WORDS - 1];  // after the last one
    reg [7:0] weights[0:LOAD_BYTES];

    // ---- the engine ----
    reg pixel_valid = 0, pixel_sof = 0, pixel_eol = 0;
    reg [23:0] pixel = 0;
    reg load_valid = 0, load_last = 0, state_read = 0;
    reg [7:0] load_data = 0;
    reg [15:0] state_channel = 0, state_word = 0;
    wire load_ready, row_valid, decision_valid, state_valid;
    wire [15:0] row_group, rows_used;
    wire [2:0] status;
    wire [$clog2(CLASSES) - 1:0] index;
    wire [8 * PIXELS - 1:0] state_data;
    wire [31:0] weights_digest;
    wire signed [31:0] row_logit[0:CLASSES - 1], decision_logit[0:CLASSES - 1];
    rasca dut (
        .clk(clk), .rst(rst),
        .pixel_valid(pixel_valid), .pixel_sof(pixel_sof), .pixel_eol(pixel_eol), .frame_end(1'b0),
@COLOURS@
        .stop_enable(1'b0), .stop_threshold(0), .skip_enable(1'b0), .skip_threshold(0),
        .row_valid(row_valid), .row_group(row_group),
        .decision_valid(decision_valid), .@INDEX@(index), .decision_status(status),
        .decision_rows_used(rows_used),
@LOGITS@
        .state_read(state_read), .state_channel(state_channel), .state_word(state_word),
        .state_valid(state_valid), .state_data(state_data),
        .load_valid(load_valid), .load_data(load_data), .load_last(load_last),
        .load_ready(load_ready), .weights_digest(weights_digest)
    );

    // ---- what goes in ----
    integer cycle = 0, at = 0, left = 0, pace, only, loaded = 0, last_pixel = 0;
    initial begin
        $readmemh("picture.hex", picture);
        $readmemh("logits.hex", logits);
        $readmemh("state.hex", state);
        if (LOAD_BYTES != 0) $readmemh("weights.hex", weights);
        if (!$value$plusargs("groups=%d", only)) only = GROUPS;
        if (!$value$plusargs("pace=%d", pace)) pace = @PACE@;
        repeat (4) @(posedge clk);
        rst <= 0;
    end
    always @(posedge clk) if (!rst) begin
        cycle <= cycle + 1;
        if (load_valid && load_ready) loaded = loaded + 1;
        load_valid <= loaded < LOAD_BYTES;
        load_data <= weights[loaded];
        load_last <= loaded == LOAD_BYTES - 1;
        pixel_valid <= 0;
        if (weights_digest != 0 && at < WIDTH * HEIGHT && cycle > 8) begin
            if (left == 0) begin
                pixel_valid <= 1;
                pixel <= picture[at];
                pixel_sof <= at == 0;
                pixel_eol <= at % WIDTH == WIDTH - 1;
                if (at == WIDTH * ROWS * GROUPS - 1) last_pixel = cycle + 1;
                at <= at + 1;
                left <= pace - 1;
            end else left <= left - 1;
        end
    end

    // ---- what must come out ----
    integer groups = 0, words = 0, errors = 0, answered = -2, i;
    reg decided = 0;
    always @(posedge clk) begin
        state_read <= 0;
        if (row_valid) begin
            $write("row group %0d:", row_group);
            for (i = 0; i < CLASSES; i = i + 1) begin
                $write(" %0d", row_logit[i]);
                if (row_logit[i] !== logits[CLASSES * groups + i]) begin
                    $write(" (not %0d)", logits[CLASSES * groups + i]);
                    errors = errors + 1;
                end
            end
            $write("\\n");
            if (row_group !== groups) errors = errors + 1;
            groups = groups + 1;
            answered = cycle;
            if (groups == only && only != GROUPS) finish;
        end
        if (decision_valid) begin
            $write("decision: class %0d, status %0d, %0d row groups, ", index, status, rows_used);
            $display("%0d cycles after the last pixel", cycle - last_pixel);
            if (index !== @DECISION@ || status !== 0 || rows_used !== GROUPS || groups != GROUPS
                || cycle != answered + 1) errors = errors + 1;
            for (i = 0; i < CLASSES; i = i + 1)
                if (decision_logit[i] !== logits[CLASSES * (GROUPS - 1) + i]) errors = errors + 1;
            decided <= 1;
            state_read <= 1;
        end
        if (decided && state_valid) begin
            if (state_data !== state[WORDS * state_channel + state_word]) begin
                $display("state, channel %0d, word %0d: %h (not %h)", state_channel, state_word,
                         state_data, state[WORDS * state_channel + state_word]);
                errors = errors + 1;
            end
            words = words + 1;
            if (words == CHANNELS * WORDS) finish;
            state_read <= 1;
            state_word <= state_word == WORDS - 1 ? 0 : state_word + 1;
            if (state_word == WORDS - 1) state_channel <= state_channel + 1;
        end
        if (cycle > @LIMIT@ && pace <= @PACE@) begin
            $display("nothing more after %0d cycles", cycle);
            errors = errors + 1;
            finish;
        end
    end

    task finish;
        begin
            if (errors != 0) $fatal(1, "FAIL: %0d differences", errors);
            $display("PASS: %0d row groups, %0d words of the state", groups, words);
            $finish;
        end
    endtask
endmodule
"""


def known_answer(plan: Plan, weights: Weights, image: bytes, name: str) -> dict[str, str]:
    """The files of a known answer by their names.

    Parameters
    ----------
    plan : Plan
    weights : Weights
    image : bytes
        Weights image, for an engine whose memories are empty at power-up.
    name : str
        Of the Verilog file, without its suffix.
    """
    decision, loads, files = expected(plan, weights, image)
    return {"tb.v": _text(plan, name, decision, len(image) if loads else 0), **files}


def expected(plan: Plan, weights: Weights, image: bytes) -> tuple[int, bool, dict[str, str]]:
    """(class, whether weights are to be loaded, files) of a photograph: what a test bench reads."""
    model, engine = plan.model, plan.engine
    picture = default_images(model)[:1]
    result = IntegerModel(model, weights).run(picture)
    loads = engine.weight_memory == "loaded"
    words, size = plan.geometry.state_words, engine.pixels
    padded = torch.nn.functional.pad(result.state[0, -1], (0, words * size - model.n))
    files = {
        "picture.hex": _hex(
            "".join(f"{int(c):02x}" for c in _three(pixel)) for pixel in picture[0].flatten(1).T
        ),
        "logits.hex": _hex(f"{int(v) & 0xFFFFFFFF:08x}" for v in result.logits[0].flatten()),
        "state.hex": _hex(
            "".join(f"{int(byte) & 0xFF:02x}" for byte in reversed(word))
            for word in padded.reshape(-1, size).tolist()
        ),
    }
    if loads:
        files["weights.hex"] = _hex(f"{byte:02x}" for byte in image)
    return int(result.decision[0]), loads, files


def _three(pixel) -> list:
    found = pixel.tolist()
    return found * 3 if len(found) == 1 else found


def _hex(lines: Iterable[str]) -> str:
    return "\n".join([*lines, ""])


def pace(plan: Plan) -> int:
    """Cycles from pixel to pixel of the fastest camera of even whole cycles."""
    model = plan.model
    even = -(-plan.camera_period // (model.rows_per_group * model.image_width))
    return max(even, plan.rules.pixel_spacing)


def _text(plan: Plan, name: str, decision: int, load_bytes: int) -> str:
    model = plan.model
    names = Pixels(model.in_channels).colours
    bits = {"red": "23:16", "green": "15:8", "blue": "7:0", "luma": "23:16"}
    numbers = range(model.class_count)
    values = {
        "NAME": name,
        "WIDTH": model.image_width,
        "HEIGHT": model.image_height,
        "ROWS": model.rows_per_group,
        "GROUPS": model.row_groups,
        "CLASSES": model.class_count,
        "CHANNELS": model.state_channels,
        "WORDS": plan.geometry.state_words,
        "PIXELS": plan.engine.pixels,
        "LOAD_BYTES": load_bytes,
        "PACE": pace(plan),
        "DECISION": decision,
        "INDEX": "decision_person" if model.class_count == 2 else "decision_class",
        "LIMIT": 2 * load_bytes
        + model.image_height * model.image_width * pace(plan)
        + 4 * plan.cycles_per_row_group
        + 1000 * model.state_channels,
        "COLOURS": "        "
        + ", ".join(f".pixel_{one}(pixel[{bits[one]}])" for one in names)
        + ",",
        "LOGITS": "\n".join(
            f"        .row_logit{i}(row_logit[{i}]), .decision_logit{i}(decision_logit[{i}]),"
            for i in numbers
        ),
    }
    text = _TEXT
    for key, value in values.items():
        text = text.replace(f"@{key}@", str(value))
    return text
