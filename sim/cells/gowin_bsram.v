// Gowin block RAM as Yosys uses it (user guide UG285; Yosys' description gowin/brams.txt and its map
// gowin/brams_map.v). Yosys ships only shells. SDPB and SDPX9B: port A writes, port B reads, 1, 2, 4,
// 8, 16 or 32 bits (SDPB) or 9, 18 or 36 (SDPX9B). DPB, DPX9B: each port does either, up to half as
// many bits; WRITE_MODE says what a port that writes shows: 0 what it showed before, 1 what it writes.
// READ_MODE 1 has a register behind the output, which OCE allows. The lowest address bits of a word of
// several bytes say which of them are written.
// Bits that are read with the very edge at which the other port writes them come out inverted: the
// device promises nothing then, and no netlist may count on what a simulator makes of it.
// Yosys' shells of the other kinds (SP, SPX9) would be taken for memories: they stop the build here.
module gowin_bsram #(
    parameter BYTE = 8,
    parameter BITS_A = 32,
    parameter BITS_B = 32,
    parameter [1:0] READ_MODE = 0,
    parameter WRITE_MODE_A = 0,
    parameter WRITE_MODE_B = 0,
    parameter RESET_MODE = "SYNC",
    parameter [2048*BYTE-1:0] INIT = 0
) (
    input [1:0] clk, ce, we, oce, rst,  // port A is bit 0
    input [1:0][13:0] address,
    input [1:0][4*BYTE-1:0] di,
    output [1:0][4*BYTE-1:0] q
);
    localparam WORD = 4 * BYTE;
    if (RESET_MODE != "SYNC" && RESET_MODE != "ASYNC")
        $fatal(1, "block RAM: RESET_MODE must be SYNC or ASYNC");

    reg [WORD-1:0] memory[512];
    initial for (int i = 0; i < 512; i++) memory[i] = INIT[WORD*i+:WORD];

    wire [1:0][8:0] word;
    wire [1:0][WORD-1:0] mask, data;  // in the word: bits that are written, and what with
    reg [1:0][WORD-1:0] out = 0, late = 0;  // as it is read; in the output register
    for (genvar p = 0; p < 2; p++) begin : g_port
        localparam BITS = p == 0 ? BITS_A : BITS_B;
        localparam MODE = p == 0 ? WRITE_MODE_A : WRITE_MODE_B;
        if (!(BITS inside {1, 2, 4, BYTE, 2 * BYTE, 4 * BYTE}))
            $fatal(1, "block RAM: BIT_WIDTH must be 1, 2, 4 or one, two or four bytes");
        if (MODE != 0 && MODE != 1) $fatal(1, "block RAM: WRITE_MODE must be 0 or 1");

        wire [13:0] at = address[p];
        localparam [WORD-1:0] ONES = ~{WORD{1'b0}} >> (WORD - BITS);
        localparam [2:0] INSIDE = BITS < 8 ? 3'(8 - BITS) : 0;
        wire [3:0] bytes = BITS == WORD ? at[3:0] : BITS == 2 * BYTE ? {2'b0, at[1:0]} : 4'b1111;
        wire [WORD-1:0] enabled = {
            {BYTE{bytes[3]}}, {BYTE{bytes[2]}}, {BYTE{bytes[1]}}, {BYTE{bytes[0]}}
        };
        wire [5:0] byte_first = BITS == WORD ? 0 : BITS == 2 * BYTE ? 2 * BYTE * at[4]
            : BYTE * at[4:3];
        wire [5:0] first = byte_first + 6'(at[2:0] & INSIDE);
        wire clear = RESET_MODE == "SYNC" && rst[p], set = RESET_MODE == "ASYNC" && rst[p];
        wire writes = ce[p] && we[p];
        assign word[p] = at[13:5];
        assign mask[p] = writes ? (ONES & enabled) << first : 0;
        assign data[p] = di[p] << first;
        wire [WORD-1:0] other = clk[1-p] && word[1-p] == word[p] ? mask[1-p] : 0;
        wire [WORD-1:0] old = memory[word[p]];
        wire [WORD-1:0] now = old & ~mask[p] | data[p] & mask[p];

        always @(posedge clk[p]) if (writes) memory[word[p]] <= now & ~other | data[1-p] & other;
        always @(posedge clk[p], posedge set)
            if (set || clear) out[p] <= 0;
            else if (ce[p] && !(we[p] && MODE == 0)) out[p] <= (now ^ other) >> first & ONES;
        always @(posedge clk[p]) begin
            if (oce[p]) late[p] <= out[p];
            if (READ_MODE[p] && rst[p])
                $fatal(1, "block RAM: one with an output register is reset");
        end
        assign q[p] = READ_MODE[p] ? late[p] : out[p];
    end
endmodule

module SDPB (
    input CLKA, CEA, CLKB, CEB, OCE, RESETA, RESETB,
    input [13:0] ADA, ADB,
    input [31:0] DI,
    input [2:0] BLKSELA, BLKSELB,
    output [31:0] DO
);
    parameter READ_MODE = 1'b0;
    parameter BIT_WIDTH_0 = 32;
    parameter BIT_WIDTH_1 = 32;
    parameter BLK_SEL_0 = 3'b000;
    parameter BLK_SEL_1 = 3'b000;
    parameter RESET_MODE = "SYNC";
    parameter [255:0] INIT_RAM_00 = 0;
    parameter [255:0] INIT_RAM_01 = 0;
    parameter [255:0] INIT_RAM_02 = 0;
    parameter [255:0] INIT_RAM_03 = 0;
    parameter [255:0] INIT_RAM_04 = 0;
    parameter [255:0] INIT_RAM_05 = 0;
    parameter [255:0] INIT_RAM_06 = 0;
    parameter [255:0] INIT_RAM_07 = 0;
    parameter [255:0] INIT_RAM_08 = 0;
    parameter [255:0] INIT_RAM_09 = 0;
    parameter [255:0] INIT_RAM_0A = 0;
    parameter [255:0] INIT_RAM_0B = 0;
    parameter [255:0] INIT_RAM_0C = 0;
    parameter [255:0] INIT_RAM_0D = 0;
    parameter [255:0] INIT_RAM_0E = 0;
    parameter [255:0] INIT_RAM_0F = 0;
    parameter [255:0] INIT_RAM_10 = 0;
    parameter [255:0] INIT_RAM_11 = 0;
    parameter [255:0] INIT_RAM_12 = 0;
    parameter [255:0] INIT_RAM_13 = 0;
    parameter [255:0] INIT_RAM_14 = 0;
    parameter [255:0] INIT_RAM_15 = 0;
    parameter [255:0] INIT_RAM_16 = 0;
    parameter [255:0] INIT_RAM_17 = 0;
    parameter [255:0] INIT_RAM_18 = 0;
    parameter [255:0] INIT_RAM_19 = 0;
    parameter [255:0] INIT_RAM_1A = 0;
    parameter [255:0] INIT_RAM_1B = 0;
    parameter [255:0] INIT_RAM_1C = 0;
    parameter [255:0] INIT_RAM_1D = 0;
    parameter [255:0] INIT_RAM_1E = 0;
    parameter [255:0] INIT_RAM_1F = 0;
    parameter [255:0] INIT_RAM_20 = 0;
    parameter [255:0] INIT_RAM_21 = 0;
    parameter [255:0] INIT_RAM_22 = 0;
    parameter [255:0] INIT_RAM_23 = 0;
    parameter [255:0] INIT_RAM_24 = 0;
    parameter [255:0] INIT_RAM_25 = 0;
    parameter [255:0] INIT_RAM_26 = 0;
    parameter [255:0] INIT_RAM_27 = 0;
    parameter [255:0] INIT_RAM_28 = 0;
    parameter [255:0] INIT_RAM_29 = 0;
    parameter [255:0] INIT_RAM_2A = 0;
    parameter [255:0] INIT_RAM_2B = 0;
    parameter [255:0] INIT_RAM_2C = 0;
    parameter [255:0] INIT_RAM_2D = 0;
    parameter [255:0] INIT_RAM_2E = 0;
    parameter [255:0] INIT_RAM_2F = 0;
    parameter [255:0] INIT_RAM_30 = 0;
    parameter [255:0] INIT_RAM_31 = 0;
    parameter [255:0] INIT_RAM_32 = 0;
    parameter [255:0] INIT_RAM_33 = 0;
    parameter [255:0] INIT_RAM_34 = 0;
    parameter [255:0] INIT_RAM_35 = 0;
    parameter [255:0] INIT_RAM_36 = 0;
    parameter [255:0] INIT_RAM_37 = 0;
    parameter [255:0] INIT_RAM_38 = 0;
    parameter [255:0] INIT_RAM_39 = 0;
    parameter [255:0] INIT_RAM_3A = 0;
    parameter [255:0] INIT_RAM_3B = 0;
    parameter [255:0] INIT_RAM_3C = 0;
    parameter [255:0] INIT_RAM_3D = 0;
    parameter [255:0] INIT_RAM_3E = 0;
    parameter [255:0] INIT_RAM_3F = 0;
    if (BLK_SEL_0 != 0 || BLK_SEL_1 != 0)
        $fatal(1, "SDPB: BLK_SEL must be 0");
    wire [31:0] unread;
    gowin_bsram #(
        .BYTE(8),
        .BITS_A(BIT_WIDTH_0),
        .BITS_B(BIT_WIDTH_1),
        .READ_MODE({READ_MODE, 1'b0}),
        .RESET_MODE(RESET_MODE),
        .INIT({
            INIT_RAM_3F, INIT_RAM_3E, INIT_RAM_3D, INIT_RAM_3C, INIT_RAM_3B, INIT_RAM_3A, INIT_RAM_39,
            INIT_RAM_38, INIT_RAM_37, INIT_RAM_36, INIT_RAM_35, INIT_RAM_34, INIT_RAM_33, INIT_RAM_32,
            INIT_RAM_31, INIT_RAM_30, INIT_RAM_2F, INIT_RAM_2E, INIT_RAM_2D, INIT_RAM_2C, INIT_RAM_2B,
            INIT_RAM_2A, INIT_RAM_29, INIT_RAM_28, INIT_RAM_27, INIT_RAM_26, INIT_RAM_25, INIT_RAM_24,
            INIT_RAM_23, INIT_RAM_22, INIT_RAM_21, INIT_RAM_20, INIT_RAM_1F, INIT_RAM_1E, INIT_RAM_1D,
            INIT_RAM_1C, INIT_RAM_1B, INIT_RAM_1A, INIT_RAM_19, INIT_RAM_18, INIT_RAM_17, INIT_RAM_16,
            INIT_RAM_15, INIT_RAM_14, INIT_RAM_13, INIT_RAM_12, INIT_RAM_11, INIT_RAM_10, INIT_RAM_0F,
            INIT_RAM_0E, INIT_RAM_0D, INIT_RAM_0C, INIT_RAM_0B, INIT_RAM_0A, INIT_RAM_09, INIT_RAM_08,
            INIT_RAM_07, INIT_RAM_06, INIT_RAM_05, INIT_RAM_04, INIT_RAM_03, INIT_RAM_02, INIT_RAM_01,
            INIT_RAM_00
        })
    ) block (
        .clk({CLKB, CLKA}),
        .ce({CEB && !BLKSELB, CEA && !BLKSELA}),
        .we(2'b01),
        .oce({OCE, 1'b0}),
        .rst({RESETB, RESETA}),
        .address({ADB, ADA}),
        .di({32'b0, DI}),
        .q({DO, unread})
    );
endmodule

module SDPX9B (
    input CLKA, CEA, CLKB, CEB, OCE, RESETA, RESETB,
    input [13:0] ADA, ADB,
    input [35:0] DI,
    input [2:0] BLKSELA, BLKSELB,
    output [35:0] DO
);
    parameter READ_MODE = 1'b0;
    parameter BIT_WIDTH_0 = 36;
    parameter BIT_WIDTH_1 = 36;
    parameter BLK_SEL_0 = 3'b000;
    parameter BLK_SEL_1 = 3'b000;
    parameter RESET_MODE = "SYNC";
    parameter [287:0] INIT_RAM_00 = 0;
    parameter [287:0] INIT_RAM_01 = 0;
    parameter [287:0] INIT_RAM_02 = 0;
    parameter [287:0] INIT_RAM_03 = 0;
    parameter [287:0] INIT_RAM_04 = 0;
    parameter [287:0] INIT_RAM_05 = 0;
    parameter [287:0] INIT_RAM_06 = 0;
    parameter [287:0] INIT_RAM_07 = 0;
    parameter [287:0] INIT_RAM_08 = 0;
    parameter [287:0] INIT_RAM_09 = 0;
    parameter [287:0] INIT_RAM_0A = 0;
    parameter [287:0] INIT_RAM_0B = 0;
    parameter [287:0] INIT_RAM_0C = 0;
    parameter [287:0] INIT_RAM_0D = 0;
    parameter [287:0] INIT_RAM_0E = 0;
    parameter [287:0] INIT_RAM_0F = 0;
    parameter [287:0] INIT_RAM_10 = 0;
    parameter [287:0] INIT_RAM_11 = 0;
    parameter [287:0] INIT_RAM_12 = 0;
    parameter [287:0] INIT_RAM_13 = 0;
    parameter [287:0] INIT_RAM_14 = 0;
    parameter [287:0] INIT_RAM_15 = 0;
    parameter [287:0] INIT_RAM_16 = 0;
    parameter [287:0] INIT_RAM_17 = 0;
    parameter [287:0] INIT_RAM_18 = 0;
    parameter [287:0] INIT_RAM_19 = 0;
    parameter [287:0] INIT_RAM_1A = 0;
    parameter [287:0] INIT_RAM_1B = 0;
    parameter [287:0] INIT_RAM_1C = 0;
    parameter [287:0] INIT_RAM_1D = 0;
    parameter [287:0] INIT_RAM_1E = 0;
    parameter [287:0] INIT_RAM_1F = 0;
    parameter [287:0] INIT_RAM_20 = 0;
    parameter [287:0] INIT_RAM_21 = 0;
    parameter [287:0] INIT_RAM_22 = 0;
    parameter [287:0] INIT_RAM_23 = 0;
    parameter [287:0] INIT_RAM_24 = 0;
    parameter [287:0] INIT_RAM_25 = 0;
    parameter [287:0] INIT_RAM_26 = 0;
    parameter [287:0] INIT_RAM_27 = 0;
    parameter [287:0] INIT_RAM_28 = 0;
    parameter [287:0] INIT_RAM_29 = 0;
    parameter [287:0] INIT_RAM_2A = 0;
    parameter [287:0] INIT_RAM_2B = 0;
    parameter [287:0] INIT_RAM_2C = 0;
    parameter [287:0] INIT_RAM_2D = 0;
    parameter [287:0] INIT_RAM_2E = 0;
    parameter [287:0] INIT_RAM_2F = 0;
    parameter [287:0] INIT_RAM_30 = 0;
    parameter [287:0] INIT_RAM_31 = 0;
    parameter [287:0] INIT_RAM_32 = 0;
    parameter [287:0] INIT_RAM_33 = 0;
    parameter [287:0] INIT_RAM_34 = 0;
    parameter [287:0] INIT_RAM_35 = 0;
    parameter [287:0] INIT_RAM_36 = 0;
    parameter [287:0] INIT_RAM_37 = 0;
    parameter [287:0] INIT_RAM_38 = 0;
    parameter [287:0] INIT_RAM_39 = 0;
    parameter [287:0] INIT_RAM_3A = 0;
    parameter [287:0] INIT_RAM_3B = 0;
    parameter [287:0] INIT_RAM_3C = 0;
    parameter [287:0] INIT_RAM_3D = 0;
    parameter [287:0] INIT_RAM_3E = 0;
    parameter [287:0] INIT_RAM_3F = 0;
    if (BLK_SEL_0 != 0 || BLK_SEL_1 != 0)
        $fatal(1, "SDPX9B: BLK_SEL must be 0");
    wire [35:0] unread;
    gowin_bsram #(
        .BYTE(9),
        .BITS_A(BIT_WIDTH_0),
        .BITS_B(BIT_WIDTH_1),
        .READ_MODE({READ_MODE, 1'b0}),
        .RESET_MODE(RESET_MODE),
        .INIT({
            INIT_RAM_3F, INIT_RAM_3E, INIT_RAM_3D, INIT_RAM_3C, INIT_RAM_3B, INIT_RAM_3A, INIT_RAM_39,
            INIT_RAM_38, INIT_RAM_37, INIT_RAM_36, INIT_RAM_35, INIT_RAM_34, INIT_RAM_33, INIT_RAM_32,
            INIT_RAM_31, INIT_RAM_30, INIT_RAM_2F, INIT_RAM_2E, INIT_RAM_2D, INIT_RAM_2C, INIT_RAM_2B,
            INIT_RAM_2A, INIT_RAM_29, INIT_RAM_28, INIT_RAM_27, INIT_RAM_26, INIT_RAM_25, INIT_RAM_24,
            INIT_RAM_23, INIT_RAM_22, INIT_RAM_21, INIT_RAM_20, INIT_RAM_1F, INIT_RAM_1E, INIT_RAM_1D,
            INIT_RAM_1C, INIT_RAM_1B, INIT_RAM_1A, INIT_RAM_19, INIT_RAM_18, INIT_RAM_17, INIT_RAM_16,
            INIT_RAM_15, INIT_RAM_14, INIT_RAM_13, INIT_RAM_12, INIT_RAM_11, INIT_RAM_10, INIT_RAM_0F,
            INIT_RAM_0E, INIT_RAM_0D, INIT_RAM_0C, INIT_RAM_0B, INIT_RAM_0A, INIT_RAM_09, INIT_RAM_08,
            INIT_RAM_07, INIT_RAM_06, INIT_RAM_05, INIT_RAM_04, INIT_RAM_03, INIT_RAM_02, INIT_RAM_01,
            INIT_RAM_00
        })
    ) block (
        .clk({CLKB, CLKA}),
        .ce({CEB && !BLKSELB, CEA && !BLKSELA}),
        .we(2'b01),
        .oce({OCE, 1'b0}),
        .rst({RESETB, RESETA}),
        .address({ADB, ADA}),
        .di({36'b0, DI}),
        .q({DO, unread})
    );
endmodule

module DPB (
    input CLKA, CEA, CLKB, CEB, OCEA, OCEB, RESETA, RESETB, WREA, WREB,
    input [13:0] ADA, ADB,
    input [2:0] BLKSELA, BLKSELB,
    input [15:0] DIA, DIB,
    output [15:0] DOA, DOB
);
    parameter READ_MODE0 = 1'b0;
    parameter READ_MODE1 = 1'b0;
    parameter WRITE_MODE0 = 2'b00;
    parameter WRITE_MODE1 = 2'b00;
    parameter BIT_WIDTH_0 = 16;
    parameter BIT_WIDTH_1 = 16;
    parameter BLK_SEL_0 = 3'b000;
    parameter BLK_SEL_1 = 3'b000;
    parameter RESET_MODE = "SYNC";
    parameter [255:0] INIT_RAM_00 = 0;
    parameter [255:0] INIT_RAM_01 = 0;
    parameter [255:0] INIT_RAM_02 = 0;
    parameter [255:0] INIT_RAM_03 = 0;
    parameter [255:0] INIT_RAM_04 = 0;
    parameter [255:0] INIT_RAM_05 = 0;
    parameter [255:0] INIT_RAM_06 = 0;
    parameter [255:0] INIT_RAM_07 = 0;
    parameter [255:0] INIT_RAM_08 = 0;
    parameter [255:0] INIT_RAM_09 = 0;
    parameter [255:0] INIT_RAM_0A = 0;
    parameter [255:0] INIT_RAM_0B = 0;
    parameter [255:0] INIT_RAM_0C = 0;
    parameter [255:0] INIT_RAM_0D = 0;
    parameter [255:0] INIT_RAM_0E = 0;
    parameter [255:0] INIT_RAM_0F = 0;
    parameter [255:0] INIT_RAM_10 = 0;
    parameter [255:0] INIT_RAM_11 = 0;
    parameter [255:0] INIT_RAM_12 = 0;
    parameter [255:0] INIT_RAM_13 = 0;
    parameter [255:0] INIT_RAM_14 = 0;
    parameter [255:0] INIT_RAM_15 = 0;
    parameter [255:0] INIT_RAM_16 = 0;
    parameter [255:0] INIT_RAM_17 = 0;
    parameter [255:0] INIT_RAM_18 = 0;
    parameter [255:0] INIT_RAM_19 = 0;
    parameter [255:0] INIT_RAM_1A = 0;
    parameter [255:0] INIT_RAM_1B = 0;
    parameter [255:0] INIT_RAM_1C = 0;
    parameter [255:0] INIT_RAM_1D = 0;
    parameter [255:0] INIT_RAM_1E = 0;
    parameter [255:0] INIT_RAM_1F = 0;
    parameter [255:0] INIT_RAM_20 = 0;
    parameter [255:0] INIT_RAM_21 = 0;
    parameter [255:0] INIT_RAM_22 = 0;
    parameter [255:0] INIT_RAM_23 = 0;
    parameter [255:0] INIT_RAM_24 = 0;
    parameter [255:0] INIT_RAM_25 = 0;
    parameter [255:0] INIT_RAM_26 = 0;
    parameter [255:0] INIT_RAM_27 = 0;
    parameter [255:0] INIT_RAM_28 = 0;
    parameter [255:0] INIT_RAM_29 = 0;
    parameter [255:0] INIT_RAM_2A = 0;
    parameter [255:0] INIT_RAM_2B = 0;
    parameter [255:0] INIT_RAM_2C = 0;
    parameter [255:0] INIT_RAM_2D = 0;
    parameter [255:0] INIT_RAM_2E = 0;
    parameter [255:0] INIT_RAM_2F = 0;
    parameter [255:0] INIT_RAM_30 = 0;
    parameter [255:0] INIT_RAM_31 = 0;
    parameter [255:0] INIT_RAM_32 = 0;
    parameter [255:0] INIT_RAM_33 = 0;
    parameter [255:0] INIT_RAM_34 = 0;
    parameter [255:0] INIT_RAM_35 = 0;
    parameter [255:0] INIT_RAM_36 = 0;
    parameter [255:0] INIT_RAM_37 = 0;
    parameter [255:0] INIT_RAM_38 = 0;
    parameter [255:0] INIT_RAM_39 = 0;
    parameter [255:0] INIT_RAM_3A = 0;
    parameter [255:0] INIT_RAM_3B = 0;
    parameter [255:0] INIT_RAM_3C = 0;
    parameter [255:0] INIT_RAM_3D = 0;
    parameter [255:0] INIT_RAM_3E = 0;
    parameter [255:0] INIT_RAM_3F = 0;
    if (BLK_SEL_0 != 0 || BLK_SEL_1 != 0)
        $fatal(1, "DPB: BLK_SEL must be 0");
    if (BIT_WIDTH_0 > 16 || BIT_WIDTH_1 > 16)
        $fatal(1, "DPB: BIT_WIDTH must be 16 at most");
    wire [15:0] above_a, above_b;
    gowin_bsram #(
        .BYTE(8),
        .BITS_A(BIT_WIDTH_0),
        .BITS_B(BIT_WIDTH_1),
        .READ_MODE({READ_MODE1, READ_MODE0}),
        .WRITE_MODE_A(WRITE_MODE0),
        .WRITE_MODE_B(WRITE_MODE1),
        .RESET_MODE(RESET_MODE),
        .INIT({
            INIT_RAM_3F, INIT_RAM_3E, INIT_RAM_3D, INIT_RAM_3C, INIT_RAM_3B, INIT_RAM_3A, INIT_RAM_39,
            INIT_RAM_38, INIT_RAM_37, INIT_RAM_36, INIT_RAM_35, INIT_RAM_34, INIT_RAM_33, INIT_RAM_32,
            INIT_RAM_31, INIT_RAM_30, INIT_RAM_2F, INIT_RAM_2E, INIT_RAM_2D, INIT_RAM_2C, INIT_RAM_2B,
            INIT_RAM_2A, INIT_RAM_29, INIT_RAM_28, INIT_RAM_27, INIT_RAM_26, INIT_RAM_25, INIT_RAM_24,
            INIT_RAM_23, INIT_RAM_22, INIT_RAM_21, INIT_RAM_20, INIT_RAM_1F, INIT_RAM_1E, INIT_RAM_1D,
            INIT_RAM_1C, INIT_RAM_1B, INIT_RAM_1A, INIT_RAM_19, INIT_RAM_18, INIT_RAM_17, INIT_RAM_16,
            INIT_RAM_15, INIT_RAM_14, INIT_RAM_13, INIT_RAM_12, INIT_RAM_11, INIT_RAM_10, INIT_RAM_0F,
            INIT_RAM_0E, INIT_RAM_0D, INIT_RAM_0C, INIT_RAM_0B, INIT_RAM_0A, INIT_RAM_09, INIT_RAM_08,
            INIT_RAM_07, INIT_RAM_06, INIT_RAM_05, INIT_RAM_04, INIT_RAM_03, INIT_RAM_02, INIT_RAM_01,
            INIT_RAM_00
        })
    ) block (
        .clk({CLKB, CLKA}),
        .ce({CEB && !BLKSELB, CEA && !BLKSELA}),
        .we({WREB, WREA}),
        .oce({OCEB, OCEA}),
        .rst({RESETB, RESETA}),
        .address({ADB, ADA}),
        .di({16'b0, DIB, 16'b0, DIA}),
        .q({above_b, DOB, above_a, DOA})
    );
endmodule

module DPX9B (
    input CLKA, CEA, CLKB, CEB, OCEA, OCEB, RESETA, RESETB, WREA, WREB,
    input [13:0] ADA, ADB,
    input [2:0] BLKSELA, BLKSELB,
    input [17:0] DIA, DIB,
    output [17:0] DOA, DOB
);
    parameter READ_MODE0 = 1'b0;
    parameter READ_MODE1 = 1'b0;
    parameter WRITE_MODE0 = 2'b00;
    parameter WRITE_MODE1 = 2'b00;
    parameter BIT_WIDTH_0 = 18;
    parameter BIT_WIDTH_1 = 18;
    parameter BLK_SEL_0 = 3'b000;
    parameter BLK_SEL_1 = 3'b000;
    parameter RESET_MODE = "SYNC";
    parameter [287:0] INIT_RAM_00 = 0;
    parameter [287:0] INIT_RAM_01 = 0;
    parameter [287:0] INIT_RAM_02 = 0;
    parameter [287:0] INIT_RAM_03 = 0;
    parameter [287:0] INIT_RAM_04 = 0;
    parameter [287:0] INIT_RAM_05 = 0;
    parameter [287:0] INIT_RAM_06 = 0;
    parameter [287:0] INIT_RAM_07 = 0;
    parameter [287:0] INIT_RAM_08 = 0;
    parameter [287:0] INIT_RAM_09 = 0;
    parameter [287:0] INIT_RAM_0A = 0;
    parameter [287:0] INIT_RAM_0B = 0;
    parameter [287:0] INIT_RAM_0C = 0;
    parameter [287:0] INIT_RAM_0D = 0;
    parameter [287:0] INIT_RAM_0E = 0;
    parameter [287:0] INIT_RAM_0F = 0;
    parameter [287:0] INIT_RAM_10 = 0;
    parameter [287:0] INIT_RAM_11 = 0;
    parameter [287:0] INIT_RAM_12 = 0;
    parameter [287:0] INIT_RAM_13 = 0;
    parameter [287:0] INIT_RAM_14 = 0;
    parameter [287:0] INIT_RAM_15 = 0;
    parameter [287:0] INIT_RAM_16 = 0;
    parameter [287:0] INIT_RAM_17 = 0;
    parameter [287:0] INIT_RAM_18 = 0;
    parameter [287:0] INIT_RAM_19 = 0;
    parameter [287:0] INIT_RAM_1A = 0;
    parameter [287:0] INIT_RAM_1B = 0;
    parameter [287:0] INIT_RAM_1C = 0;
    parameter [287:0] INIT_RAM_1D = 0;
    parameter [287:0] INIT_RAM_1E = 0;
    parameter [287:0] INIT_RAM_1F = 0;
    parameter [287:0] INIT_RAM_20 = 0;
    parameter [287:0] INIT_RAM_21 = 0;
    parameter [287:0] INIT_RAM_22 = 0;
    parameter [287:0] INIT_RAM_23 = 0;
    parameter [287:0] INIT_RAM_24 = 0;
    parameter [287:0] INIT_RAM_25 = 0;
    parameter [287:0] INIT_RAM_26 = 0;
    parameter [287:0] INIT_RAM_27 = 0;
    parameter [287:0] INIT_RAM_28 = 0;
    parameter [287:0] INIT_RAM_29 = 0;
    parameter [287:0] INIT_RAM_2A = 0;
    parameter [287:0] INIT_RAM_2B = 0;
    parameter [287:0] INIT_RAM_2C = 0;
    parameter [287:0] INIT_RAM_2D = 0;
    parameter [287:0] INIT_RAM_2E = 0;
    parameter [287:0] INIT_RAM_2F = 0;
    parameter [287:0] INIT_RAM_30 = 0;
    parameter [287:0] INIT_RAM_31 = 0;
    parameter [287:0] INIT_RAM_32 = 0;
    parameter [287:0] INIT_RAM_33 = 0;
    parameter [287:0] INIT_RAM_34 = 0;
    parameter [287:0] INIT_RAM_35 = 0;
    parameter [287:0] INIT_RAM_36 = 0;
    parameter [287:0] INIT_RAM_37 = 0;
    parameter [287:0] INIT_RAM_38 = 0;
    parameter [287:0] INIT_RAM_39 = 0;
    parameter [287:0] INIT_RAM_3A = 0;
    parameter [287:0] INIT_RAM_3B = 0;
    parameter [287:0] INIT_RAM_3C = 0;
    parameter [287:0] INIT_RAM_3D = 0;
    parameter [287:0] INIT_RAM_3E = 0;
    parameter [287:0] INIT_RAM_3F = 0;
    if (BLK_SEL_0 != 0 || BLK_SEL_1 != 0)
        $fatal(1, "DPX9B: BLK_SEL must be 0");
    if (BIT_WIDTH_0 > 18 || BIT_WIDTH_1 > 18)
        $fatal(1, "DPX9B: BIT_WIDTH must be 18 at most");
    wire [17:0] above_a, above_b;
    gowin_bsram #(
        .BYTE(9),
        .BITS_A(BIT_WIDTH_0),
        .BITS_B(BIT_WIDTH_1),
        .READ_MODE({READ_MODE1, READ_MODE0}),
        .WRITE_MODE_A(WRITE_MODE0),
        .WRITE_MODE_B(WRITE_MODE1),
        .RESET_MODE(RESET_MODE),
        .INIT({
            INIT_RAM_3F, INIT_RAM_3E, INIT_RAM_3D, INIT_RAM_3C, INIT_RAM_3B, INIT_RAM_3A, INIT_RAM_39,
            INIT_RAM_38, INIT_RAM_37, INIT_RAM_36, INIT_RAM_35, INIT_RAM_34, INIT_RAM_33, INIT_RAM_32,
            INIT_RAM_31, INIT_RAM_30, INIT_RAM_2F, INIT_RAM_2E, INIT_RAM_2D, INIT_RAM_2C, INIT_RAM_2B,
            INIT_RAM_2A, INIT_RAM_29, INIT_RAM_28, INIT_RAM_27, INIT_RAM_26, INIT_RAM_25, INIT_RAM_24,
            INIT_RAM_23, INIT_RAM_22, INIT_RAM_21, INIT_RAM_20, INIT_RAM_1F, INIT_RAM_1E, INIT_RAM_1D,
            INIT_RAM_1C, INIT_RAM_1B, INIT_RAM_1A, INIT_RAM_19, INIT_RAM_18, INIT_RAM_17, INIT_RAM_16,
            INIT_RAM_15, INIT_RAM_14, INIT_RAM_13, INIT_RAM_12, INIT_RAM_11, INIT_RAM_10, INIT_RAM_0F,
            INIT_RAM_0E, INIT_RAM_0D, INIT_RAM_0C, INIT_RAM_0B, INIT_RAM_0A, INIT_RAM_09, INIT_RAM_08,
            INIT_RAM_07, INIT_RAM_06, INIT_RAM_05, INIT_RAM_04, INIT_RAM_03, INIT_RAM_02, INIT_RAM_01,
            INIT_RAM_00
        })
    ) block (
        .clk({CLKB, CLKA}),
        .ce({CEB && !BLKSELB, CEA && !BLKSELA}),
        .we({WREB, WREA}),
        .oce({OCEB, OCEA}),
        .rst({RESETB, RESETA}),
        .address({ADB, ADA}),
        .di({18'b0, DIB, 18'b0, DIA}),
        .q({above_b, DOB, above_a, DOA})
    );
endmodule

module SP (
    input CLK, CE, OCE, RESET, WRE,
    input [13:0] AD,
    input [31:0] DI,
    input [2:0] BLKSEL,
    output [31:0] DO
);
    $fatal(1, "SP: there is no model of it");
endmodule

module SPX9 (
    input CLK, CE, OCE, RESET, WRE,
    input [13:0] AD,
    input [35:0] DI,
    input [2:0] BLKSEL,
    output [35:0] DO
);
    $fatal(1, "SPX9: there is no model of it");
endmodule
