// Lattice ECP5 block RAM DP16KD, as far as Yosys uses it (data sheet FPGA-TN-02204).
// Yosys ships only a shell of it. What it does follows Yosys' description of the block
// (lattice/brams_16kd.txt) and its map (lattice/brams_map_16kd.v): two ports of 1, 2, 4, 9 or 18
// bits, or 36 bits written at port A, {DIB, DIA}, and read at port B, {DOB, DOA}, or fewer at DOB.
// Widths below 9 leave out every ninth bit. An output register (REGMODE "OUTREG") takes what the
// port has read with the next edge that OCE allows; of 36 bits with port B's clock and OCEB, in the
// mode of the port whose pins they leave by. Resetting a port with a register ends the simulation,
// and anything else that is not here stops the build.
// Bits that are read with the very edge at which the other port writes them come out inverted: the
// device promises nothing then, and no netlist may count on what a simulator makes of it.
module DP16KD (
    input DIA0, DIA1, DIA2, DIA3, DIA4, DIA5, DIA6, DIA7, DIA8, DIA9, DIA10, DIA11, DIA12, DIA13,
    DIA14, DIA15, DIA16, DIA17,
    input ADA0, ADA1, ADA2, ADA3, ADA4, ADA5, ADA6, ADA7, ADA8, ADA9, ADA10, ADA11, ADA12, ADA13,
    input CEA, OCEA, CLKA, WEA, RSTA, CSA0, CSA1, CSA2,
    output DOA0, DOA1, DOA2, DOA3, DOA4, DOA5, DOA6, DOA7, DOA8, DOA9, DOA10, DOA11, DOA12, DOA13,
    DOA14, DOA15, DOA16, DOA17,
    input DIB0, DIB1, DIB2, DIB3, DIB4, DIB5, DIB6, DIB7, DIB8, DIB9, DIB10, DIB11, DIB12, DIB13,
    DIB14, DIB15, DIB16, DIB17,
    input ADB0, ADB1, ADB2, ADB3, ADB4, ADB5, ADB6, ADB7, ADB8, ADB9, ADB10, ADB11, ADB12, ADB13,
    input CEB, OCEB, CLKB, WEB, RSTB, CSB0, CSB1, CSB2,
    output DOB0, DOB1, DOB2, DOB3, DOB4, DOB5, DOB6, DOB7, DOB8, DOB9, DOB10, DOB11, DOB12, DOB13,
    DOB14, DOB15, DOB16, DOB17
);
    parameter DATA_WIDTH_A = 18;
    parameter DATA_WIDTH_B = 18;
    parameter REGMODE_A = "NOREG";
    parameter REGMODE_B = "NOREG";
    parameter RESETMODE = "SYNC";
    parameter ASYNC_RESET_RELEASE = "SYNC";
    parameter CSDECODE_A = "0b000";
    parameter CSDECODE_B = "0b000";
    parameter WRITEMODE_A = "NORMAL";
    parameter WRITEMODE_B = "NORMAL";
    parameter CLKAMUX = "CLKA";
    parameter CLKBMUX = "CLKB";
    parameter GSR = "ENABLED";
    parameter [319:0] INITVAL_00 = 0;
    parameter [319:0] INITVAL_01 = 0;
    parameter [319:0] INITVAL_02 = 0;
    parameter [319:0] INITVAL_03 = 0;
    parameter [319:0] INITVAL_04 = 0;
    parameter [319:0] INITVAL_05 = 0;
    parameter [319:0] INITVAL_06 = 0;
    parameter [319:0] INITVAL_07 = 0;
    parameter [319:0] INITVAL_08 = 0;
    parameter [319:0] INITVAL_09 = 0;
    parameter [319:0] INITVAL_0A = 0;
    parameter [319:0] INITVAL_0B = 0;
    parameter [319:0] INITVAL_0C = 0;
    parameter [319:0] INITVAL_0D = 0;
    parameter [319:0] INITVAL_0E = 0;
    parameter [319:0] INITVAL_0F = 0;
    parameter [319:0] INITVAL_10 = 0;
    parameter [319:0] INITVAL_11 = 0;
    parameter [319:0] INITVAL_12 = 0;
    parameter [319:0] INITVAL_13 = 0;
    parameter [319:0] INITVAL_14 = 0;
    parameter [319:0] INITVAL_15 = 0;
    parameter [319:0] INITVAL_16 = 0;
    parameter [319:0] INITVAL_17 = 0;
    parameter [319:0] INITVAL_18 = 0;
    parameter [319:0] INITVAL_19 = 0;
    parameter [319:0] INITVAL_1A = 0;
    parameter [319:0] INITVAL_1B = 0;
    parameter [319:0] INITVAL_1C = 0;
    parameter [319:0] INITVAL_1D = 0;
    parameter [319:0] INITVAL_1E = 0;
    parameter [319:0] INITVAL_1F = 0;
    parameter [319:0] INITVAL_20 = 0;
    parameter [319:0] INITVAL_21 = 0;
    parameter [319:0] INITVAL_22 = 0;
    parameter [319:0] INITVAL_23 = 0;
    parameter [319:0] INITVAL_24 = 0;
    parameter [319:0] INITVAL_25 = 0;
    parameter [319:0] INITVAL_26 = 0;
    parameter [319:0] INITVAL_27 = 0;
    parameter [319:0] INITVAL_28 = 0;
    parameter [319:0] INITVAL_29 = 0;
    parameter [319:0] INITVAL_2A = 0;
    parameter [319:0] INITVAL_2B = 0;
    parameter [319:0] INITVAL_2C = 0;
    parameter [319:0] INITVAL_2D = 0;
    parameter [319:0] INITVAL_2E = 0;
    parameter [319:0] INITVAL_2F = 0;
    parameter [319:0] INITVAL_30 = 0;
    parameter [319:0] INITVAL_31 = 0;
    parameter [319:0] INITVAL_32 = 0;
    parameter [319:0] INITVAL_33 = 0;
    parameter [319:0] INITVAL_34 = 0;
    parameter [319:0] INITVAL_35 = 0;
    parameter [319:0] INITVAL_36 = 0;
    parameter [319:0] INITVAL_37 = 0;
    parameter [319:0] INITVAL_38 = 0;
    parameter [319:0] INITVAL_39 = 0;
    parameter [319:0] INITVAL_3A = 0;
    parameter [319:0] INITVAL_3B = 0;
    parameter [319:0] INITVAL_3C = 0;
    parameter [319:0] INITVAL_3D = 0;
    parameter [319:0] INITVAL_3E = 0;
    parameter [319:0] INITVAL_3F = 0;

    // ---- what this model does not do ----
    if (!(REGMODE_A == "NOREG" || REGMODE_A == "OUTREG")
        || !(REGMODE_B == "NOREG" || REGMODE_B == "OUTREG"))
        $fatal(1, "DP16KD: REGMODE must be NOREG or OUTREG");
    if ((RESETMODE != "SYNC" && RESETMODE != "ASYNC") || ASYNC_RESET_RELEASE != RESETMODE)
        $fatal(1, "DP16KD: RESETMODE must be SYNC or ASYNC, ASYNC_RESET_RELEASE the same");
    if (CSDECODE_A != "0b000" || CSDECODE_B != "0b000")
        $fatal(1, "DP16KD: CSDECODE must be 0b000");
    if ((CLKAMUX != "CLKA" && CLKAMUX != "INV") || (CLKBMUX != "CLKB" && CLKBMUX != "INV"))
        $fatal(1, "DP16KD: CLKAMUX must be CLKA or INV, CLKBMUX CLKB or INV");
    if (GSR != "AUTO" && GSR != "DISABLED")
        $fatal(1, "DP16KD: GSR must be AUTO or DISABLED");
    if (DATA_WIDTH_B == 36 && DATA_WIDTH_A != 36)
        $fatal(1, "DP16KD: 36 bits are read only where 36 are written");

    // ---- pins; of two, port A is element 0 ----
    wire [13:0] ada = {
        ADA13, ADA12, ADA11, ADA10, ADA9, ADA8, ADA7, ADA6, ADA5, ADA4, ADA3, ADA2, ADA1, ADA0
    };
    wire [13:0] adb = {
        ADB13, ADB12, ADB11, ADB10, ADB9, ADB8, ADB7, ADB6, ADB5, ADB4, ADB3, ADB2, ADB1, ADB0
    };
    wire [17:0] dia = {
        DIA17, DIA16, DIA15, DIA14, DIA13, DIA12, DIA11, DIA10, DIA9, DIA8, DIA7, DIA6, DIA5, DIA4,
        DIA3, DIA2, DIA1, DIA0
    };
    wire [17:0] dib = {
        DIB17, DIB16, DIB15, DIB14, DIB13, DIB12, DIB11, DIB10, DIB9, DIB8, DIB7, DIB6, DIB5, DIB4,
        DIB3, DIB2, DIB1, DIB0
    };
    wire clka = CLKAMUX == "INV" ? ~CLKA : CLKA, clkb = CLKBMUX == "INV" ? ~CLKB : CLKB;
    wire [1:0] rst = {RSTB, RSTA};
    wire [1:0] ce = {CEB && !{CSB2, CSB1, CSB0}, CEA && !{CSA2, CSA1, CSA0}};
    wire [1:0] oce = {OCEB, OCEA};
    wire [1:0] we = {WEB && DATA_WIDTH_A != 36, WEA};
    wire [1:0][13:0] address = {adb, ada};
    wire [1:0][35:0] di = {18'b0, dib, dib, dia};

    // ---- 512 words of four bytes of nine bits ----
    reg [35:0] memory[512];
    localparam [20479:0] INIT = {
        INITVAL_3F, INITVAL_3E, INITVAL_3D, INITVAL_3C, INITVAL_3B, INITVAL_3A, INITVAL_39,
        INITVAL_38, INITVAL_37, INITVAL_36, INITVAL_35, INITVAL_34, INITVAL_33, INITVAL_32,
        INITVAL_31, INITVAL_30, INITVAL_2F, INITVAL_2E, INITVAL_2D, INITVAL_2C, INITVAL_2B,
        INITVAL_2A, INITVAL_29, INITVAL_28, INITVAL_27, INITVAL_26, INITVAL_25, INITVAL_24,
        INITVAL_23, INITVAL_22, INITVAL_21, INITVAL_20, INITVAL_1F, INITVAL_1E, INITVAL_1D,
        INITVAL_1C, INITVAL_1B, INITVAL_1A, INITVAL_19, INITVAL_18, INITVAL_17, INITVAL_16,
        INITVAL_15, INITVAL_14, INITVAL_13, INITVAL_12, INITVAL_11, INITVAL_10, INITVAL_0F,
        INITVAL_0E, INITVAL_0D, INITVAL_0C, INITVAL_0B, INITVAL_0A, INITVAL_09, INITVAL_08,
        INITVAL_07, INITVAL_06, INITVAL_05, INITVAL_04, INITVAL_03, INITVAL_02, INITVAL_01,
        INITVAL_00
    };
    initial
        for (int i = 0; i < 512; i++) memory[i] = {INIT[40*i+20+:18], INIT[40*i+:18]};

    // ---- ports ----
    wire [1:0][8:0] word;
    wire [1:0][35:0] mask, data;  // in the word: bits that are written, and what with
    reg [1:0][35:0] out = 0, late = 0;  // as it is read; in the output register
    for (genvar p = 0; p < 2; p++) begin : g_port
        localparam WIDTH = p == 0 ? DATA_WIDTH_A : DATA_WIDTH_B;
        localparam NORMAL = (p == 0 ? WRITEMODE_A : WRITEMODE_B) == "NORMAL";
        localparam THROUGH = (p == 0 ? WRITEMODE_A : WRITEMODE_B) == "WRITETHROUGH";
        localparam BEFORE = (p == 0 ? WRITEMODE_A : WRITEMODE_B) == "READBEFOREWRITE";
        if (!(WIDTH inside {1, 2, 4, 9, 18, 36}))
            $fatal(1, "DP16KD: DATA_WIDTH must be 1, 2, 4, 9, 18 or 36");
        if (!NORMAL && !THROUGH && !BEFORE)
            $fatal(1, "DP16KD: WRITEMODE must be NORMAL, WRITETHROUGH or READBEFOREWRITE");

        wire clock = p == 0 ? clka : clkb, beside = p == 0 ? clkb : clka;
        wire [13:0] at = address[p];
        // the lowest address bits: of a bit in its byte, or which bytes of a wide word are written
        localparam [35:0] ONES = ~36'b0 >> (36 - WIDTH);
        localparam [2:0] INSIDE = WIDTH < 9 ? 3'(8 - WIDTH) : 0;
        wire [3:0] bytes = WIDTH == 36 ? at[3:0] : WIDTH == 18 ? {2'b0, at[1:0]} : 4'b1111;
        wire [35:0] enabled = {{9{bytes[3]}}, {9{bytes[2]}}, {9{bytes[1]}}, {9{bytes[0]}}};
        wire [5:0] byte_first = WIDTH == 36 ? 0 : WIDTH == 18 ? 18 * at[4] : 9 * at[4:3];
        wire [5:0] first = byte_first + 6'(at[2:0] & INSIDE);
        wire clear = RESETMODE == "SYNC" && rst[p];
        wire writes = ce[p] && we[p] && !clear;
        assign word[p] = at[13:5];
        assign mask[p] = writes ? (ONES & enabled) << first : 0;
        assign data[p] = di[p] << first;
        wire [35:0] other = beside && word[1-p] == word[p] ? mask[1-p] : 0;
        wire [35:0] old = memory[word[p]];
        wire [35:0] now = old & ~mask[p] | data[p] & mask[p];

        always @(posedge clock)
            if (writes) memory[word[p]] <= now & ~other | data[1-p] & other;

        wire set = RESETMODE == "ASYNC" && rst[p];
        always @(posedge clock, posedge set)
            if (set || clear) out[p] <= 0;
            else if (ce[p] && !(we[p] && NORMAL))
                out[p] <= ((THROUGH ? now : old) ^ other) >> first & ONES;

        localparam REGISTER = (p == 0 ? REGMODE_A : REGMODE_B) == "OUTREG";
        always @(posedge clock) begin
            if (oce[p]) late[p] <= out[p];
            if (REGISTER && rst[p]) $fatal(1, "DP16KD: a port with an output register is reset");
        end
    end

    localparam WIDE = DATA_WIDTH_B == 36;
    wire [17:0] plain_a = WIDE ? out[1][17:0] : out[0][17:0];
    wire [17:0] plain_b = WIDE ? out[1][35:18] : out[1][17:0];
    wire [17:0] late_a = WIDE ? late[1][17:0] : late[0][17:0];
    wire [17:0] late_b = WIDE ? late[1][35:18] : late[1][17:0];

    assign {
        DOA17, DOA16, DOA15, DOA14, DOA13, DOA12, DOA11, DOA10, DOA9, DOA8, DOA7, DOA6, DOA5, DOA4,
        DOA3, DOA2, DOA1, DOA0
    } = REGMODE_A == "OUTREG" ? late_a : plain_a;
    assign {
        DOB17, DOB16, DOB15, DOB14, DOB13, DOB12, DOB11, DOB10, DOB9, DOB8, DOB7, DOB6, DOB5, DOB4,
        DOB3, DOB2, DOB1, DOB0
    } = REGMODE_B == "OUTREG" ? late_b : plain_b;
endmodule
