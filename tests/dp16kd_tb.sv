// Memories of many shapes: as they are written here (`memories`), and what Yosys makes of them for
// ECP5 or Gowin (`memories_netlist`, made by tests/test_dp16kd.py and tests/test_gowin_bsram.py),
// under the same random traffic. `memories_turned` is the netlist with one bit of the first contents
// of p36 turned. NO_SINGLES: without those of one port,
// which Gowin's model does not have.

// One write port with byte enables, one read port with reset; a word read and written at once is
// read as it was. NEG: the read port has the falling edge.
module pair #(parameter A = 9, W = 36, B = 1, NEG = 0) (
    input clk, rst, we, re, input [3:0] be, input [13:0] wa, ra, input [35:0] d, output [35:0] q
);
    reg [W-1:0] mem[0:(1<<A)-1];
    reg [W-1:0] out = 0;
    integer i;
    initial for (i = 0; i < 64; i = i + 1) mem[i * 1021 % (1 << A)] = 36'h96f1d20b7 * (i + 3) >> 5;
    always @(posedge clk)
        for (i = 0; i < B; i = i + 1)
            if (we && be[i]) mem[wa[A-1:0]][i*(W/B)+:W/B] <= d[i*(W/B)+:W/B];
    wire edge_ = NEG ? ~clk : clk;
    always @(posedge edge_)
        if (rst) out <= 0;
        else if (re) out <= mem[ra[A-1:0]];
    assign q = out;
endmodule

// The same without that rule: what is read while it is written is nobody's concern.
module loose (input clk, we, re, input [13:0] wa, ra, input [35:0] d, output [35:0] q);
    (* no_rw_check *) reg [8:0] mem[0:2047];
    reg [8:0] out = 0;
    integer i;
    initial for (i = 0; i < 64; i = i + 1) mem[i * 1021 % 2048] = 36'h3c6ef372f * (i + 2) >> 6;
    always @(posedge clk) begin
        if (we) mem[wa[10:0]] <= d[8:0];
        if (re) out <= mem[ra[10:0]];
    end
    assign q = out;
endmodule

// Writes 2 ** K words of W bits at once, reads one.
module wide #(parameter A = 11, W = 9, K = 2) (
    input clk, we, re, input [13:0] wa, ra, input [35:0] d, output [35:0] q
);
    reg [W-1:0] mem[0:(1<<A)-1];
    reg [W-1:0] out = 0;
    integer i;
    initial for (i = 0; i < 64; i = i + 1) mem[i * 1021 % (1 << A)] = 36'hb7e151628 * (i + 5) >> 7;
    always @(posedge clk) begin
        for (i = 0; i < 1 << K; i = i + 1)
            if (we) mem[{wa[A-K-1:0], i[K-1:0]}] <= d[i*W+:W];
        if (re) out <= mem[ra[A-1:0]];
    end
    assign q = out;
endmodule

// One port. MODE: 0 a write shows what was there before, 1 what is written, 2 nothing.
module single #(parameter A = 10, W = 18, B = 2, MODE = 0, ASYNC = 0) (
    input clk, rst, ce, we, input [3:0] be, input [13:0] a, input [35:0] d, output [35:0] q
);
    (* ram_style = "block" *) reg [W-1:0] mem[0:(1<<A)-1];
    reg [W-1:0] out = 0;
    integer i;
    initial for (i = 0; i < 64; i = i + 1) mem[i * 1021 % (1 << A)] = 36'h5a827999a * (i + 7) >> 3;
    always @(posedge clk)
        for (i = 0; i < B; i = i + 1)
            if (ce && we && be[i]) mem[a[A-1:0]][i*(W/B)+:W/B] <= d[i*(W/B)+:W/B];
    wire [W-1:0] following;
    genvar j;
    for (j = 0; j < B; j = j + 1) begin : g_byte
        wire [W/B-1:0] now = mem[a[A-1:0]][j*(W/B)+:W/B];
        assign following[j*(W/B)+:W/B] = MODE == 1 && we && be[j] ? d[j*(W/B)+:W/B] : now;
    end
    generate
        if (ASYNC) begin
            always @(posedge clk, posedge rst)
                if (rst) out <= 0;
                else if (ce && !(MODE == 2 && we)) out <= following;
        end else begin
            always @(posedge clk)
                if (rst) out <= 0;
                else if (ce && !(MODE == 2 && we)) out <= following;
        end
    endgenerate
    assign q = out;
endmodule

// Two ports, each reads or writes; they never touch a word that the other one writes.
module dual #(parameter A = 11, W = 9) (
    input clk, wea, web, input [13:0] a, b, input [35:0] da, db, output [35:0] qa, qb
);
    (* no_rw_check *) reg [W-1:0] mem[0:(1<<A)-1];
    reg [W-1:0] outa = 0, outb = 0;
    wire [A-1:0] other = a[A-1:0] == b[A-1:0] ? ~b[A-1:0] : b[A-1:0];
    integer i;
    initial for (i = 0; i < 64; i = i + 1) mem[i * 1021 % (1 << A)] = 36'h19db3c8e7 * (i + 9) >> 4;
    always @(posedge clk) begin
        if (wea) mem[a[A-1:0]] <= da[W-1:0];
        else outa <= mem[a[A-1:0]];
    end
    always @(posedge clk) begin
        if (web) mem[other] <= db[W-1:0];
        else outb <= mem[other];
    end
    assign qa = outa, qb = outb;
endmodule

module memories (
    input clk, rst, x, y, input [3:0] be, input [13:0] a, b, input [35:0] d, e, output [755:0] q
);
    pair #(.A(14), .W(1)) p1 (clk, rst, x, y, be, a, b, d, q[0+:36]);
    pair #(.A(13), .W(2)) p2 (clk, rst, x, y, be, a, b, d, q[36+:36]);
    pair #(.A(12), .W(4)) p4 (clk, rst, x, y, be, a, b, d, q[72+:36]);
    pair #(.A(11), .W(9)) p9 (clk, rst, x, y, be, a, b, d, q[108+:36]);
    pair #(.A(10), .W(18), .B(2)) p18 (clk, rst, x, y, be, a, b, d, q[144+:36]);
    pair #(.A(9), .W(36), .B(4)) p36 (clk, rst, x, y, be, a, b, d, q[180+:36]);
    pair #(.A(9), .W(36), .B(4)) gate (clk, 1'b0, x, y, be, a, b, d, q[216+:36]);
    pair #(.A(11), .W(8)) p8 (clk, 1'b0, x, y, be, a, b, d, q[252+:36]);
    pair #(.A(10), .W(18), .NEG(1)) neg (clk, 1'b0, x, y, be, a, b, d, q[288+:36]);
    wide #(.A(11), .W(9), .K(2)) w9 (clk, x, y, a, b, d, q[324+:36]);
    wide #(.A(10), .W(18), .K(1)) w18 (clk, x, y, a, b, d, q[360+:36]);
`ifdef NO_SINGLES
    wide #(.A(12), .W(4), .K(3)) w4 (clk, x, y, a, b, d, q[396+:36]);
    assign q[432+:216] = 216'b0;
`else
    single #(.MODE(0)) old18 (clk, rst, y, x, be, a, d, q[396+:36]);
    single #(.MODE(1)) new18 (clk, rst, y, x, be, a, d, q[432+:36]);
    single #(.MODE(2)) keep18 (clk, rst, y, x, be, a, d, q[468+:36]);
    single #(.MODE(0), .A(11), .W(9), .B(1)) old9 (clk, rst, y, x, be, a, d, q[504+:36]);
    single #(.MODE(1), .A(12), .W(4), .B(1)) new4 (clk, rst, y, x, be, a, d, q[540+:36]);
    single #(.MODE(2), .A(13), .W(2), .B(1)) keep2 (clk, rst, y, x, be, a, d, q[576+:36]);
    single #(.MODE(0), .ASYNC(1)) async18 (clk, rst, y, x, be, a, d, q[612+:36]);
`endif
    dual dual9 (clk, x, y, a, b, d, e, q[648+:36], q[684+:36]);
    loose nine (clk, x, y, a, b, d, q[720+:36]);
endmodule

`ifndef YOSYS
module dp16kd_tb (input clk);
    localparam CYCLES = 60000, SWEEP = 16384;
    reg rst = 0, x = 0, y = 0;
    reg [3:0] be = 0;
    reg [13:0] page = 0, a = 0, b = 0;
    reg [35:0] d = 0, e = 0;
    reg [31:0] cycle = 0;
    reg [20:0] wrong = 0, turned = 0;  // bench: a bit for each output that differed
    reg done = 0;
    wire [755:0] q, q_netlist, q_turned;
    memories rtl (.clk, .rst, .x, .y, .be, .a, .b, .d, .e, .q);
    memories_netlist netlist (.clk, .rst, .x, .y, .be, .a, .b, .d, .e, .q(q_netlist));
    memories_turned other (.clk, .rst, .x, .y, .be, .a, .b, .d, .e, .q(q_turned));

    // both look at a few words of a page at a time; before that, at every word's first contents
    always @(posedge clk) begin
        cycle <= cycle + 1;
        done <= cycle > CYCLES;
        {rst, page} <= cycle % 64 == 0 ? 15'($urandom) : {$urandom % 16 == 0, page};
        a <= page ^ 14'($urandom & 3 & $urandom) << ($urandom & 1 ? 0 : 11);
        b <= cycle < SWEEP ? 14'(cycle) : page ^ 14'($urandom & 3) << ($urandom & 1 ? 0 : 11);
        if (cycle < SWEEP) a <= 14'(cycle);
        x <= cycle >= SWEEP && $urandom % 2 == 0;
        y <= cycle < SWEEP || $urandom % 4 != 0;
        be <= 4'($urandom);
        d <= {4'($urandom), $urandom};
        e <= {4'($urandom), $urandom};
        for (int i = 0; i < 21; i++) begin
            if (q[36*i+:36] != q_netlist[36*i+:36]) wrong[i] <= 1;
            if (q[36*i+:36] != q_turned[36*i+:36]) turned[i] <= 1;
        end
    end
endmodule
`endif
