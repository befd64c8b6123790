// HostSystem between a UART (cocotb) and a serial flash (cocotbext-qspi's model).
module board_tb (
    input logic clk,
    input logic rst
);
    // ---- bench ----
    logic rx = 1, tx, reload = 0;
    logic [1:0] stuck = 0;  // 1: the flash's output is stuck low, 2: high
    logic weights_ok, decision_valid, decision_person;
    logic [2:0] flash_problem;
    logic [31:0] selected = 0;  // how often the flash was selected

    logic spi_clock, select, mosi, miso;
`ifdef FLASH
    wire [3:0] io;
    assign io[0] = mosi;
    assign miso = stuck == 0 ? io[1] : stuck[1];
    always @(negedge select) selected <= selected + 1;

    qspi_flash flash (.clk(spi_clock), .csb(select), .io);
`endif

    board dut (
        .clk, .rst, .rx, .tx,
        .camera_valid(1'b0), .camera_red(8'b0), .camera_green(8'b0), .camera_blue(8'b0),
        .camera_sof(1'b0), .camera_eol(1'b0), .camera_frame_end(1'b0), .camera_toggles(6'b0),
        .camera_ready(1'b0), .camera_failed(1'b0),
`ifdef FLASH
        .reload, .flash_problem,
        .flash_clock(spi_clock), .flash_select(select), .flash_mosi(mosi), .flash_miso(miso),
`endif
        .weights_ok, .decision_valid, .decision_person
    );
endmodule
