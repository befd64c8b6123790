// Memories with registers of many kinds behind them: as they are written here (`late`), what becomes
// of them for ECP5 with their registers taken into the blocks (`late_netlist`, made by
// tests/test_outreg.py), and the same where registers are taken in that must not be (`late_wrong`).

// KIND of what is behind the memory's output: 0 a register; 1 with an enable; 2 with a reset; 3 of
// which half has the enable; 4 at the other edge; 5 and something that reads the output itself; 6
// that begins with 1; 7 of which the memory's output is reset. RE: whether the memory's output is
// enabled, too.
module registered #(parameter W = 36, KIND = 0, RE = 1) (
    input clk, rst, en, we, re, input [8:0] wa, ra, input [35:0] d, output [35:0] q
);
    (* no_rw_check, ram_style = "block" *) reg [W-1:0] mem[0:511];
    reg [W-1:0] out = 0, behind = KIND == 6;
    integer i;
    initial for (i = 0; i < 512; i = i + 1) mem[i] = 36'h96f1d20b7 * (i + 3) >> 5;
    wire [8:0] at = ra == wa ? ~ra : ra;
    always @(posedge clk) begin
        if (we) mem[wa] <= d[W-1:0];
        if (KIND == 7 && rst) out <= 0;
        else if (re || !RE) out <= mem[at];
    end
    generate
        if (KIND == 2) begin : g_reset
            always @(posedge clk) if (rst) behind <= 0; else behind <= out;
        end else if (KIND == 4) begin : g_edge
            always @(negedge clk) behind <= out;
        end else if (KIND == 3) begin : g_half
            always @(posedge clk) begin
                behind[W-1:W/2] <= out[W-1:W/2];
                if (en) behind[W/2-1:0] <= out[W/2-1:0];
            end
        end else begin : g_plain
            always @(posedge clk) if (en || KIND != 1) behind <= out;
        end
        if (KIND == 5) begin : g_more
            assign q = behind ^ out[0];
        end else begin : g_alone
            assign q = behind;
        end
    endgenerate
endmodule

// Both ports read, with registers of their own.
module twice (
    input clk, rst, en, we, re, input [8:0] wa, ra, input [35:0] d, output [35:0] q
);
    (* no_rw_check, ram_style = "block" *) reg [8:0] mem[0:2047];
    reg [8:0] out_a = 0, out_b = 0, behind_a = 0, behind_b = 0;
    integer i;
    initial for (i = 0; i < 2048; i = i + 1) mem[i] = 36'h19db3c8e7 * (i + 9) >> 4;
    wire [8:0] at = ra == wa ? ~ra : ra;
    always @(posedge clk) begin
        if (we) mem[{2'b00, wa}] <= d[8:0];
        else out_a <= mem[{2'b00, wa}];
        behind_a <= out_a;
    end
    always @(posedge clk) begin
        if (re) out_b <= mem[{2'b00, at}];
        if (en) behind_b <= out_b;
    end
    assign q = {behind_b, behind_a};
endmodule

module late (
    input clk, rst, en, we, re, input [8:0] wa, ra, input [35:0] d, output [431:0] q
);
    registered #(.KIND(0)) plain (clk, rst, en, we, re, wa, ra, d, q[0+:36]);
    registered #(.KIND(1)) enable (clk, rst, en, we, re, wa, ra, d, q[36+:36]);
    registered #(.KIND(2)) reset (clk, rst, en, we, re, wa, ra, d, q[72+:36]);
    registered #(.KIND(3)) half (clk, rst, en, we, re, wa, ra, d, q[108+:36]);
    registered #(.KIND(4)) edges (clk, rst, en, we, re, wa, ra, d, q[144+:36]);
    registered #(.KIND(5)) more (clk, rst, en, we, re, wa, ra, d, q[180+:36]);
    registered #(.KIND(6), .W(9)) one (clk, rst, en, we, re, wa, ra, d, q[216+:36]);
    registered #(.KIND(7), .W(18)) cleared (clk, rst, en, we, re, wa, ra, d, q[252+:36]);
    registered #(.KIND(0), .W(18), .RE(0)) always_ (clk, rst, en, we, re, wa, ra, d, q[288+:36]);
    registered #(.KIND(1), .W(9)) narrow (clk, rst, en, we, re, wa, ra, d, q[324+:36]);
    twice both (clk, rst, en, we, re, wa, ra, d, q[360+:36]);
    registered #(.KIND(2), .W(9)) reset9 (clk, rst, en, we, re, wa, ra, d, q[396+:36]);
endmodule

`ifndef YOSYS
module outreg_tb (input clk);
    localparam CYCLES = 20000, COUNT = 12;
    reg rst = 0, en = 0, we = 0, re = 0;
    reg [8:0] wa = 0, ra = 0;
    reg [35:0] d = 0;
    reg [31:0] cycle = 0;
    reg [COUNT-1:0] wrong = 0, turned = 0;  // bench: a bit for each memory that differed
    reg done = 0;
    wire [431:0] q, q_netlist, q_wrong;
    late rtl (.clk, .rst, .en, .we, .re, .wa, .ra, .d, .q);
    late_netlist netlist (.clk, .rst, .en, .we, .re, .wa, .ra, .d, .q(q_netlist));
    late_wrong other (.clk, .rst, .en, .we, .re, .wa, .ra, .d, .q(q_wrong));

    always @(posedge clk) begin
        cycle <= cycle + 1;
        done <= cycle > CYCLES;
        rst <= $urandom % 16 == 0;
        en <= $urandom % 4 != 0;
        we <= $urandom % 2 == 0;
        re <= $urandom % 4 != 0;
        wa <= 9'($urandom & 31);
        ra <= cycle % 2 == 0 ? 9'($urandom) : 9'($urandom & 31);
        d <= {4'($urandom), $urandom};
        for (int i = 0; i < COUNT; i++) begin
            if (q[36*i+:36] != q_netlist[36*i+:36]) wrong[i] <= 1;
            if (q[36*i+:36] != q_wrong[36*i+:36]) turned[i] <= 1;
        end
    end
endmodule
`endif
