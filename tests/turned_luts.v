// Lookup tables of which +turn=NUMBER turns one bit, so that one build serves for many faults.
module turned_ice40 #(
    parameter [15:0] LUT_INIT = 0,
    parameter BIT = 0,
    parameter NUMBER = 0
) (input I0, I1, I2, I3, output O);
    reg turned = 0;
    integer number;
    initial if ($value$plusargs("turn=%d", number)) turned = number == NUMBER;
    wire good, bad;
    SB_LUT4 #(.LUT_INIT(LUT_INIT)) a (.I0, .I1, .I2, .I3, .O(good));
    SB_LUT4 #(.LUT_INIT(LUT_INIT ^ 16'd1 << BIT)) b (.I0, .I1, .I2, .I3, .O(bad));
    assign O = turned ? bad : good;
endmodule

module turned_ecp5 #(
    parameter [15:0] INIT = 0,
    parameter BIT = 0,
    parameter NUMBER = 0
) (input A, B, C, D, output Z);
    reg turned = 0;
    integer number;
    initial if ($value$plusargs("turn=%d", number)) turned = number == NUMBER;
    wire good, bad;
    LUT4 #(.INIT(INIT)) a (.A, .B, .C, .D, .Z(good));
    LUT4 #(.INIT(INIT ^ 16'd1 << BIT)) b (.A, .B, .C, .D, .Z(bad));
    assign Z = turned ? bad : good;
endmodule

module turned_gowin #(
    parameter [15:0] INIT = 0,
    parameter BIT = 0,
    parameter NUMBER = 0
) (input I0, I1, I2, I3, output F);
    reg turned = 0;
    integer number;
    initial if ($value$plusargs("turn=%d", number)) turned = number == NUMBER;
    wire good, bad;
    LUT4 #(.INIT(INIT)) a (.I0, .I1, .I2, .I3, .F(good));
    LUT4 #(.INIT(INIT ^ 16'd1 << BIT)) b (.I0, .I1, .I2, .I3, .F(bad));
    assign F = turned ? bad : good;
endmodule
