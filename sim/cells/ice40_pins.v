// iCE40 cells at the edge of the chip, as far as Rasca's boards use them.
`timescale 1ps / 1ps

// A pin: unregistered input (PIN_TYPE 000001), or output with an enable (101001). Yosys has a model,
// but it compares with z, which Verilator does not.
module SB_IO (
    inout PACKAGE_PIN,
    input LATCH_INPUT_VALUE, CLOCK_ENABLE, INPUT_CLK, OUTPUT_CLK, OUTPUT_ENABLE, D_OUT_0, D_OUT_1,
    output D_IN_0, D_IN_1
);
    parameter [5:0] PIN_TYPE = 0;
    parameter PULLUP = 0;
    parameter NEG_TRIGGER = 0;
    parameter IO_STANDARD = "SB_LVCMOS";

    if (PIN_TYPE != 6'b000001 && PIN_TYPE != 6'b101001)
        $fatal(1, "SB_IO: PIN_TYPE must be 000001 or 101001");

    assign PACKAGE_PIN = PIN_TYPE[5] && OUTPUT_ENABLE ? D_OUT_0 : 1'bz;
    assign D_IN_0 = PACKAGE_PIN, D_IN_1 = 0;
endmodule

// PLL: simple feedback, no bypass, no reset, no delays. Yosys ships only a shell of it. The output
// is in phase with nothing; lock comes after 100 cycles.
module SB_PLL40_PAD (
    input PACKAGEPIN, EXTFEEDBACK, BYPASS, RESETB, LATCHINPUTVALUE, SDI, SCLK,
    input [7:0] DYNAMICDELAY,
    output PLLOUTCORE, SDO,
    output reg PLLOUTGLOBAL = 0, LOCK = 0
);
    parameter FEEDBACK_PATH = "SIMPLE";
    parameter DIVR = 0;
    parameter DIVF = 0;
    parameter DIVQ = 0;
    parameter FILTER_RANGE = 0;

    if (FEEDBACK_PATH != "SIMPLE") $fatal(1, "SB_PLL40_PAD: FEEDBACK_PATH must be SIMPLE");

    realtime rise = 0, period = 0;
    always @(posedge PACKAGEPIN) begin
        period = $realtime - rise;
        rise = $realtime;
    end
    initial begin
        repeat (3) @(posedge PACKAGEPIN);
        forever begin
            #(period * (DIVR + 1) * (1 << DIVQ) / (DIVF + 1) / 2);
            PLLOUTGLOBAL = ~PLLOUTGLOBAL;
        end
    end
    initial begin
        repeat (100) @(posedge PLLOUTGLOBAL);
        LOCK = 1;
        if (BYPASS || !RESETB) $fatal(1, "SB_PLL40_PAD: this model has no bypass and no reset");
    end
    assign PLLOUTCORE = PLLOUTGLOBAL, SDO = 0;
endmodule
