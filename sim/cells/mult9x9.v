// Gowin multiplier MULT9X9, as far as Rasca uses it (user guide UG287, "MULT").
// Yosys has a shell of it. Both operands from the fabric, signed or not, no cascade; input, pipeline
// and output registers as the parameters say. Anything else stops the simulation.
module MULT9X9 (
    input [8:0] A, SIA, B, SIB,
    input ASIGN, BSIGN, ASEL, BSEL, CE, CLK, RESET,
    output [17:0] DOUT,
    output [8:0] SOA, SOB
);
    parameter AREG = 1'b0;
    parameter BREG = 1'b0;
    parameter OUT_REG = 1'b0;
    parameter PIPE_REG = 1'b0;
    parameter ASIGN_REG = 1'b0;
    parameter BSIGN_REG = 1'b0;
    parameter SOA_REG = 1'b0;
    parameter MULT_RESET_MODE = "SYNC";

    reg [8:0] a_reg, b_reg;
    reg [17:0] pipeline_reg, output_reg;

    wire [8:0] a_in = AREG ? a_reg : A;
    wire [8:0] b_in = BREG ? b_reg : B;
    wire [17:0] a_wide = {{9{ASIGN & a_in[8]}}, a_in};
    wire [17:0] b_wide = {{9{BSIGN & b_in[8]}}, b_in};
    wire [17:0] product = a_wide * b_wide;
    wire [17:0] between = PIPE_REG ? pipeline_reg : product;

    assign DOUT = OUT_REG ? output_reg : between;
    assign SOA = 9'b0;
    assign SOB = 9'b0;

    always @(posedge CLK)
        if (RESET) begin
            a_reg <= 0;
            b_reg <= 0;
            pipeline_reg <= 0;
            output_reg <= 0;
        end else if (CE) begin
            a_reg <= A;
            b_reg <= B;
            pipeline_reg <= product;
            output_reg <= between;
        end

    initial
        if (MULT_RESET_MODE != "SYNC" || ASIGN_REG || BSIGN_REG || SOA_REG) begin
            $display("MULT9X9: this model has no such mode");
            $finish;
        end
    always @(posedge CLK)
        if (ASEL || BSEL) begin
            $display("MULT9X9: this model has no cascaded operands");
            $finish;
        end
endmodule
