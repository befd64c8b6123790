// Lattice ECP5 multiplier MULT18X18D, as far as Rasca uses it (data sheet FPGA-TN-02205).
// Yosys ships no model of it. Both operands from the fabric, one clock and clock enable, no cascade;
// input, pipeline and output registers as the parameters say. Anything else stops the simulation.
module MULT18X18D (
    input A0, A1, A2, A3, A4, A5, A6, A7, A8, A9, A10, A11, A12, A13, A14, A15, A16, A17,
    input B0, B1, B2, B3, B4, B5, B6, B7, B8, B9, B10, B11, B12, B13, B14, B15, B16, B17,
    input CLK0, CLK1, CLK2, CLK3, CE0, CE1, CE2, CE3, RST0, RST1, RST2, RST3,
    input SIGNEDA, SIGNEDB, SOURCEA, SOURCEB,
    output P0, P1, P2, P3, P4, P5, P6, P7, P8, P9, P10, P11, P12, P13, P14, P15, P16, P17,
    output P18, P19, P20, P21, P22, P23, P24, P25, P26, P27, P28, P29, P30, P31, P32, P33, P34, P35
);
    parameter REG_INPUTA_CLK = "NONE";
    parameter REG_INPUTB_CLK = "NONE";
    parameter REG_PIPELINE_CLK = "NONE";
    parameter REG_OUTPUT_CLK = "NONE";
    parameter GSR = "ENABLED";
    parameter SOURCEB_MODE = "B_SHIFT";
    parameter MULT_BYPASS = "DISABLED";
    parameter RESETMODE = "SYNC";

    wire [17:0] a = {A17, A16, A15, A14, A13, A12, A11, A10, A9, A8, A7, A6, A5, A4, A3, A2, A1, A0};
    wire [17:0] b = {B17, B16, B15, B14, B13, B12, B11, B10, B9, B8, B7, B6, B5, B4, B3, B2, B1, B0};
    reg [17:0] a_reg, b_reg;
    reg [35:0] pipeline_reg, output_reg;

    wire [17:0] a_in = REG_INPUTA_CLK == "CLK0" ? a_reg : a;
    wire [17:0] b_in = REG_INPUTB_CLK == "CLK0" ? b_reg : b;
    wire [35:0] a_wide = {{18{SIGNEDA & a_in[17]}}, a_in};
    wire [35:0] b_wide = {{18{SIGNEDB & b_in[17]}}, b_in};
    wire [35:0] product = a_wide * b_wide;
    wire [35:0] between = REG_PIPELINE_CLK == "CLK0" ? pipeline_reg : product;
    wire [35:0] p = REG_OUTPUT_CLK == "CLK0" ? output_reg : between;

    always @(posedge CLK0)
        if (RST0) begin
            a_reg <= 0;
            b_reg <= 0;
            pipeline_reg <= 0;
            output_reg <= 0;
        end else if (CE0) begin
            a_reg <= a;
            b_reg <= b;
            pipeline_reg <= product;
            output_reg <= between;
        end

    assign {P35, P34, P33, P32, P31, P30, P29, P28, P27, P26, P25, P24, P23, P22, P21, P20, P19, P18,
            P17, P16, P15, P14, P13, P12, P11, P10, P9, P8, P7, P6, P5, P4, P3, P2, P1, P0} = p;

    initial
        if (RESETMODE != "SYNC" || MULT_BYPASS != "DISABLED" || SOURCEB_MODE != "B_SHIFT") begin
            $display("MULT18X18D: this model has no such mode");
            $finish;
        end
    always @(posedge CLK0)
        if (SOURCEA || SOURCEB) begin
            $display("MULT18X18D: this model has no cascaded operands");
            $finish;
        end
endmodule
