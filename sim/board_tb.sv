// The whole iCEBreaker after synthesis: its netlist between an oscillator, a flash that holds the
// weights, an HM01B0 and a UART line. sim/board_bench.py answers for the camera's registers and
// reads the UART; the camera's pins are played here as in sim/camera_tb.sv, but PCLK is made of the
// clock that the board gives the camera.
//
// +pins=FILE: runs of "count word", a PCLK period each. +flash=FILE: bytes in hex, from OFFSET.
// +log=FILE: for each row group its logits (hex), then the words of the state. Module peek, made by
// sim/whole_board.py, knows where these are inside.
`timescale 1ps / 1ps
module board_tb #(
    parameter int OFFSET = 0,  // of the weights in the flash
    parameter int WORDS = 1,   // of the state
    parameter int EDGES = 1    // of the camera's clock in half a PCLK
);
    // ---- bench ----
    reg play = 0, done = 0;
    reg sda_o = 1, scl_o = 1;
    wire led_g, led_r;
    wire fault = ~led_r, person = ~led_g;  // lamps light when low

    // ---- pins ----
    reg clk12 = 0, pclk = 0;
    reg [15:0] pins = 0;
    wire oscillator = clk12, camera_pclk = pclk, vsync = pins[1], href = pins[2];
    wire [3:0] data = pins[11:8], io;
    wire tx, camera_clock, trig, spi_clock, select;
    tri1 scl, sda;
    assign scl = scl_o ? 1'bz : 1'b0, sda = sda_o ? 1'bz : 1'b0;
    always #41667 clk12 = ~clk12;

    rasca dut (
        .clk12_0__io(oscillator),
        .camera_0__pclk__io(camera_pclk), .camera_0__vsync__io(vsync), .camera_0__href__io(href),
        .camera_0__data__io(data), .camera_0__clock__io(camera_clock), .camera_0__trig__io(trig),
        .camera_0__scl__io(scl), .camera_0__sda__io(sda),
        .spi_flash_1x_0__clk__io(spi_clock), .spi_flash_1x_0__cs__io(select),
        .spi_flash_1x_0__copi__io(io[0]), .spi_flash_1x_0__cipo__io(io[1]),
        .spi_flash_1x_0__wp__io(io[2]), .spi_flash_1x_0__hold__io(io[3]),
        .uart_0__tx__io(tx), .led_g_0__io(led_g), .led_r_0__io(led_r)
    );
    qspi_flash #(.MEM_DEPTH(1 << 19)) flash (.clk(spi_clock), .csb(select), .io);

    string flash_name, pins_name, log_name;
    integer pins_file, log_file, count;
    reg [15:0] word;
    initial begin
        if (!$value$plusargs("flash=%s", flash_name)) $fatal(1, "+flash= is missing");
        #1 $readmemh(flash_name, flash.memory, OFFSET);
    end
    initial begin
        if (!$value$plusargs("pins=%s", pins_name)) $fatal(1, "+pins= is missing");
        pins_file = $fopen(pins_name, "r");
        wait (play);
        while ($fscanf(pins_file, "%d %h", count, word) == 2)
            repeat (count) begin
                pins = word;
                repeat (EDGES) @(camera_clock);
                #5000 pclk = word[0];
                repeat (EDGES) @(camera_clock);
                #5000 pclk = 0;
            end
        done = 1;
    end

    // ---- what is inside ----
    wire row_valid;
    wire [31:0] logit0, logit1;
    peek peek (.row_valid, .logit0, .logit1);
    initial begin
        if (!$value$plusargs("log=%s", log_name)) $fatal(1, "+log= is missing");
        log_file = $fopen(log_name, "w");
    end
    always @(posedge row_valid) begin
        #1000 $fwrite(log_file, "%h %h", logit0, logit1);
        for (int i = 0; i < WORDS; i++) $fwrite(log_file, " %h", peek.state(i));
        $fwrite(log_file, "\n");
        $fflush(log_file);
    end
endmodule
