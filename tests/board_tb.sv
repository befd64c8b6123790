// HostSystem between a UART (cocotb) and a serial flash (cocotbext-qspi's model).
module board_tb (
    input logic clk,
    input logic rst
);
    // ---- bench ----
    logic rx = 1, tx, reload = 0;
    logic [1:0] stuck = 0;  // 1: the flash's output is stuck low, 2: high
    logic weights_ok;
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
        .camera__pixels__valid(1'b0), .camera__pixels__red(8'b0), .camera__pixels__green(8'b0),
        .camera__pixels__blue(8'b0), .camera__pixels__sof(1'b0), .camera__pixels__eol(1'b0),
        .camera__pixels__frame_end(1'b0), .camera__toggles(6'b0),
        .state__read(1'b0), .state__channel(16'b0), .state__word(16'b0),
        .packets__valid(1'b0), .packets__data(8'b0), .packets__last(1'b0), .packets__there(1'b0),
        .camera__ready(1'b0), .camera__failed(1'b0),
`ifdef FLASH
        .reload, .flash_problem,
        .spi__clock(spi_clock), .spi__select(select), .spi__mosi(mosi), .spi__miso(miso),
`endif
        .weights_ok
    );
endmodule
