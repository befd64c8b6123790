"""Known answer of an engine behind a bus: pixels go in by the stream, the rest by its registers."""

from __future__ import annotations

from golden.weights import Weights
from hw.bus.registers import COUNTERS, WORD
from hw.bus.top import RascaBus
from hw.kit.bench import expected

_AXI = """\
    reg [@TOP@:0] s_axi_awaddr = 0, s_axi_araddr = 0;
    reg s_axi_awvalid = 0, s_axi_wvalid = 0, s_axi_bready = 0, s_axi_arvalid = 0, s_axi_rready = 0;
    reg [31:0] s_axi_wdata = 0;
    wire s_axi_awready, s_axi_wready, s_axi_bvalid, s_axi_arready, s_axi_rvalid;
    wire [31:0] s_axi_rdata;
    wire [1:0] s_axi_bresp, s_axi_rresp;
    rasca_axi dut (
        .clk(clk), .rst(rst), .irq(irq),
@STREAM@
        .s_axi_awaddr(s_axi_awaddr), .s_axi_awprot(3'd0), .s_axi_awvalid(s_axi_awvalid),
        .s_axi_awready(s_axi_awready), .s_axi_wdata(s_axi_wdata), .s_axi_wstrb(4'd15),
        .s_axi_wvalid(s_axi_wvalid), .s_axi_wready(s_axi_wready), .s_axi_bresp(s_axi_bresp),
        .s_axi_bvalid(s_axi_bvalid), .s_axi_bready(s_axi_bready), .s_axi_araddr(s_axi_araddr),
        .s_axi_arprot(3'd0), .s_axi_arvalid(s_axi_arvalid), .s_axi_arready(s_axi_arready),
        .s_axi_rdata(s_axi_rdata), .s_axi_rresp(s_axi_rresp), .s_axi_rvalid(s_axi_rvalid),
        .s_axi_rready(s_axi_rready)
    );

    task read(input integer address);
        begin
            s_axi_araddr <= address;
            s_axi_arvalid <= 1;
            @(posedge clk);
            while (!s_axi_arready) @(posedge clk);
            s_axi_arvalid <= 0;
            s_axi_rready <= 1;
            @(posedge clk);
            while (!s_axi_rvalid) @(posedge clk);
            found = s_axi_rdata;
            if (s_axi_rresp != 0) differs("response");
            s_axi_rready <= 0;
        end
    endtask

    task write(input integer address, input [31:0] value);
        begin
            s_axi_awaddr <= address;
            s_axi_awvalid <= 1;
            s_axi_wdata <= value;
            s_axi_wvalid <= 1;
            s_axi_bready <= 1;
            @(posedge clk);
            // both are taken in the same cycle: nothing is kept between two writes
            while (!(s_axi_awready && s_axi_wready)) @(posedge clk);
            s_axi_awvalid <= 0;
            s_axi_wvalid <= 0;
            while (!s_axi_bvalid) @(posedge clk);
            if (s_axi_bresp != 0) differs("response");
            s_axi_bready <= 0;
        end
    endtask
"""

_WISHBONE = """\
    reg [@TOP@ - 2:0] wb_adr = 0;
    reg wb_cyc = 0, wb_we = 0;
    reg [31:0] wb_dat_w = 0;
    wire [31:0] wb_dat_r;
    wire wb_ack, wb_err;
    rasca_wishbone dut (
        .clk(clk), .rst(rst), .irq(irq),
@STREAM@
        .wb_cyc(wb_cyc), .wb_stb(wb_cyc), .wb_we(wb_we), .wb_adr(wb_adr), .wb_dat_w(wb_dat_w),
        .wb_sel(4'd15), .wb_dat_r(wb_dat_r), .wb_ack(wb_ack), .wb_err(wb_err)
    );

    task cycle(input integer address, input we, input [31:0] value);
        begin
            wb_adr <= address >> 2;
            wb_we <= we;
            wb_dat_w <= value;
            wb_cyc <= 1;
            @(posedge clk);
            while (!wb_ack && !wb_err) @(posedge clk);
            found = wb_dat_r;
            if (wb_err) differs("response");
            wb_cyc <= 0;
            @(posedge clk);
        end
    endtask

    task read(input integer address);
        cycle(address, 0, 0);
    endtask

    task write(input integer address, input [31:0] value);
        cycle(address, 1, value);
    endtask
"""

_STREAM = """\
        .s_axis_tdata(s_axis_tdata), .s_axis_tuser(s_axis_tuser), .s_axis_tlast(s_axis_tlast),
        .s_axis_tvalid(s_axis_tvalid), .s_axis_tready(s_axis_tready),"""

_TEXT = """\
// Known answer of @NAME@: a photograph goes in by the stream as fast as the engine takes it, the
// decision, its logits and the last state are read from the registers.
//
//     $ iverilog -g2012 -o tb tb.v ../@NAME@.v && vvp tb
//     $ verilator --binary -Wno-fatal --top-module tb tb.v ../@NAME@.v && obj_dir/Vtb
`timescale 1ns / 1ps
module tb;
    localparam WIDTH = @WIDTH@, HEIGHT = @HEIGHT@, GROUPS = @GROUPS@, CLASSES = @CLASSES@;
    localparam CHANNELS = @CHANNELS@, WORDS = @WORDS@, PIXELS = @PIXELS@;
    localparam LOAD_BYTES = @LOAD_BYTES@;  // 0: the weights are there from the start

    reg clk = 0, rst = 1;
    always #5 clk = ~clk;

    reg [23:0] picture[0:WIDTH * HEIGHT - 1];  // red, green, blue; or luma three times
    reg signed [31:0] logits[0:GROUPS * CLASSES - 1];  // after each row group
    reg [8 * PIXELS - 1:0] state[0:CHANNELS * WORDS - 1];  // after the last one
    reg [7:0] weights[0:LOAD_BYTES + 3];
    reg [32 * ((PIXELS + 3) / 4) - 1:0] word;
    reg [31:0] found;
    integer errors = 0, at = 0, i, channel, part;
    reg go = 0;

    task differs(input [8 * 24 - 1:0] what);
        begin
            $display("%0s: %0h", what, found);
            errors = errors + 1;
        end
    endtask

    // ---- the stream ----
    reg s_axis_tvalid = 0, s_axis_tuser = 0, s_axis_tlast = 0;
    reg [@BITS@:0] s_axis_tdata = 0;
    wire s_axis_tready, irq;
    always @(posedge clk) if (go && (!s_axis_tvalid || s_axis_tready)) begin
        s_axis_tvalid <= at < WIDTH * HEIGHT;
        if (at < WIDTH * HEIGHT) begin
            s_axis_tdata <= @PIXEL@;
            s_axis_tuser <= at == 0;
            s_axis_tlast <= at % WIDTH == WIDTH - 1;
            at <= at + 1;
        end
    end

    // ---- the bus ----
@BUS@
    // ---- what must come out ----
    initial begin
        $readmemh("picture.hex", picture);
        $readmemh("logits.hex", logits);
        $readmemh("state.hex", state);
        for (i = 0; i < 4; i = i + 1) weights[LOAD_BYTES + i] = 0;
        if (LOAD_BYTES != 0) $readmemh("weights.hex", weights, 0, LOAD_BYTES - 1);
        repeat (4) @(posedge clk);
        rst <= 0;
        @(posedge clk);
        read(@ID@);
        if (found != 32'h@ID_VALUE@) differs("no engine");
        read(@CONFIG_DIGEST@);
        if (found != 32'h@CONFIG_VALUE@) differs("another engine");
        go <= 1;  // the frame waits for weights
        for (i = 0; i < LOAD_BYTES; i = i + 4) begin
            write(@LOAD_DATA@, {weights[i + 3], weights[i + 2], weights[i + 1], weights[i]});
            if (i == 0) begin
                read(@STATUS@);
                while (!found[@LOADING@]) read(@STATUS@);
            end
        end
        read(@FRAMES@);
        while (found == 0) begin
            repeat (200) @(posedge clk);
            read(@FRAMES@);
        end
        read(@DECISION@);
        $display("decision: class %0d, status %0d, %0d row groups", found[7:0], found[15:8],
                 found[31:16]);
        if (found != {16'd@GROUPS@, 8'd0, 8'd@INDEX@}) differs("decision");
        for (i = 0; i < CLASSES; i = i + 1) begin
            read(@DECISION_LOGIT@ + 4 * i);
            $display("logit %0d: %0d", i, $signed(found));
            if (found != logits[CLASSES * (GROUPS - 1) + i]) differs("logit");
        end
        for (channel = 0; channel < CHANNELS; channel = channel + 1)
            for (i = 0; i < WORDS; i = i + 1) begin
                write(@STATE_SELECT@, channel + (i << 16));
                read(@STATUS@);
                while (!found[@STATE_VALID@]) read(@STATUS@);
                for (part = 0; part < (PIXELS + 3) / 4; part = part + 1) begin
                    read(@STATE_DATA@ + 4 * part);
                    word[32 * part +: 32] = found;
                end
                if (word != state[WORDS * channel + i]) differs("state");
            end
        for (i = 0; i < @COUNTERS@; i = i + 1) begin
            read(@COUNT@ + 4 * i);
            if (found != 0) differs("counter");
        end
        if (errors != 0) $fatal(1, "FAIL: %0d differences", errors);
        $display("PASS: %0d logits, %0d words of the state", CLASSES, CHANNELS * WORDS);
        $finish;
    end
endmodule
"""


def known_answer(design: RascaBus, weights: Weights, name: str) -> dict[str, str]:
    """The files of a known answer by their names; see hw.kit.bench.known_answer."""
    plan, registers = design.plan, design.registers
    model = plan.model
    image = design.engine.weights_image()
    decision, loads, files = expected(plan, weights, image)
    status = {one.name: one.low for one in registers["STATUS"].fields}
    axi = any(port.startswith("s_axi_") for port in design.ports)
    luma = model.in_channels == 1
    values = {
        "BUS": _AXI if axi else _WISHBONE,
        "STREAM": _STREAM,
        "NAME": name,
        "WIDTH": model.image_width,
        "HEIGHT": model.image_height,
        "GROUPS": model.row_groups,
        "CLASSES": model.class_count,
        "CHANNELS": model.state_channels,
        "WORDS": plan.geometry.state_words,
        "PIXELS": plan.engine.pixels,
        "LOAD_BYTES": len(image) if loads else 0,
        "TOP": registers.address_bits - 1,
        "BITS": 8 * model.in_channels - 1,
        "PIXEL": "picture[at][7:0]"
        if luma
        else "{picture[at][7:0], picture[at][15:8], picture[at][23:16]}",
        "INDEX": decision,
        "ID_VALUE": f"{registers['ID'].value:08x}",
        "CONFIG_VALUE": f"{registers['CONFIG_DIGEST'].value:08x}",
        "LOADING": status["loading"],
        "STATE_VALID": status["state_valid"],
        "COUNTERS": len(COUNTERS),
        "COUNT": registers[f"COUNT_{next(iter(COUNTERS)).upper()}"].offset,
    }
    text = _TEXT
    for key, value in values.items():
        text = text.replace(f"@{key}@", str(value))
    for one in registers.registers:
        text = text.replace(f"@{one.name}@", f"'h{one.offset:03x}")
    assert WORD == 4
    return {"tb.v": text, **files}
