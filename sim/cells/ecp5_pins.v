// ECP5 cells at the edge of the chip, as far as Rasca's boards use them.
`timescale 1ps / 1ps

module IB (input I, output O);
    assign O = I;
endmodule

module OBZ (input I, T, output O);
    assign O = T ? 1'bz : I;
endmodule

module BB (input I, T, output O, inout B);
    assign B = T ? 1'bz : I, O = B;
endmodule

// D0 leaves with the clock's rise, D1 with its fall. The device takes both with the rise, some
// clocks before: here one before.
module ODDRX1F (input D0, D1, SCLK, RST, output Q);
    parameter GSR = "ENABLED";
    reg first = 0, second = 0, held = 0;
    always @(posedge SCLK) {first, second} <= {D0, D1};
    always @(negedge SCLK) held <= second;
    assign Q = SCLK ? first : held;
endmodule

// PLL: outputs CLKOP, which is fed back, and CLKOS, in phase; no reset, no standby, no delays. Lock
// comes after 100 periods of the input.
module EHXPLLL (
    input CLKI, CLKFB, RST, STDBY, PHASESEL0, PHASESEL1, PHASEDIR, PHASESTEP, PHASELOADREG,
    input PLLWAKESYNC, ENCLKOP,
    output reg CLKOP = 0, CLKOS = 0, LOCK = 0
);
    parameter PLLRST_ENA = "DISABLED";
    parameter INTFB_WAKE = "DISABLED";
    parameter STDBY_ENABLE = "DISABLED";
    parameter DPHASE_SOURCE = "DISABLED";
    parameter OUTDIVIDER_MUXA = "DIVA";
    parameter OUTDIVIDER_MUXB = "DIVB";
    parameter OUTDIVIDER_MUXC = "DIVC";
    parameter OUTDIVIDER_MUXD = "DIVD";
    parameter CLKI_DIV = 1;
    parameter CLKFB_DIV = 1;
    parameter FEEDBK_PATH = "CLKOP";
    parameter CLKOP_ENABLE = "ENABLED";
    parameter CLKOP_DIV = 8;
    parameter CLKOP_CPHASE = 0;
    parameter CLKOP_FPHASE = 0;
    parameter CLKOS_ENABLE = "ENABLED";
    parameter CLKOS_DIV = 8;
    parameter CLKOS_CPHASE = 0;
    parameter CLKOS_FPHASE = 0;

    if (FEEDBK_PATH != "CLKOP") $fatal(1, "EHXPLLL: FEEDBK_PATH must be CLKOP");

    realtime rise = 0, period = 0;
    always @(posedge CLKI) begin
        period = $realtime - rise;
        rise = $realtime;
    end
    initial begin
        repeat (3) @(posedge CLKI);
        forever #(period * CLKI_DIV / CLKFB_DIV / 2) CLKOP = ~CLKOP;
    end
    initial begin
        repeat (3) @(posedge CLKI);
        forever #(period * CLKI_DIV / CLKFB_DIV * CLKOS_DIV / CLKOP_DIV / 2) CLKOS = ~CLKOS;
    end
    initial begin
        repeat (100) @(posedge CLKI);
        LOCK = 1;
        if (RST || STDBY) $fatal(1, "EHXPLLL: this model has no reset and no standby");
    end
endmodule
