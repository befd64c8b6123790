// A whole ULX3S with a screen: an oscillator, a camera's pins, and the bits of the DVI cable.
//
// +pins=FILE: runs of "count word" (sim/camera_models.py), a PCLK period each; afterwards PCLK goes
// on. +pclk=PS: its period. +cable=FILE: from REST us after the last pin on, for RECORD us, a
// letter for each bit of the cable: '@' + blue, 2 green, 4 red, 8 clock.
`timescale 1ps / 1ps
module screen_tb #(
    parameter int REST = 1,
    parameter int RECORD = 1,
    parameter int OSCILLATOR_PS = 40000,
    parameter int BIT_PS = 4000
);
    reg clk25 = 0, pclk = 0, played = 0, recording = 0, done = 0;
    reg [15:0] word = 0;
    integer pclk_ps, pins_file, cable_file, count;
    string pins_name, cable_name;
    wire [2:0] colours;
    wire clock;
    tri1 scl, sda;
    wire oscillator = clk25, camera_pclk = pclk, vsync = word[1], href = word[2], idle = 1;
    wire [7:0] data = word[15:8];
    always #(OSCILLATOR_PS / 2) clk25 = ~clk25;

    rasca dut (
        .clk25_0__io(oscillator), .uart_0__rx__io(idle),
        .camera_0__pclk__io(camera_pclk), .camera_0__vsync__io(vsync), .camera_0__href__io(href),
        .camera_0__data__io(data), .camera_0__scl__io(scl), .camera_0__sda__io(sda),
        .hdmi_0__d__p(colours), .hdmi_0__clk__p(clock)
    );

    initial begin
        if (!$value$plusargs("pclk=%d", pclk_ps)) $fatal(1, "+pclk= is missing");
        if (!$value$plusargs("pins=%s", pins_name)) $fatal(1, "+pins= is missing");
        pins_file = $fopen(pins_name, "r");
        while ($fscanf(pins_file, "%d %h", count, word) == 2)
            repeat (count) begin
                #(pclk_ps / 2) pclk = word[0];
                #(pclk_ps - pclk_ps / 2) pclk = 0;
            end
        played = 1;
        forever begin
            #(pclk_ps / 2) pclk = 1;
            #(pclk_ps - pclk_ps / 2) pclk = 0;
        end
    end
    initial begin
        if (!$value$plusargs("cable=%s", cable_name)) $fatal(1, "+cable= is missing");
        cable_file = $fopen(cable_name, "w");
        wait (played);
        #(64'd1000000 * REST);
        recording = 1;
        #(64'd1000000 * RECORD);
        recording = 0;
        #(2 * BIT_PS) $fclose(cable_file);
        done = 1;
    end
    initial begin
        wait (recording);
        @(posedge clock) #(BIT_PS / 2);  // the middle of a bit
        while (recording) begin
            $fwrite(cable_file, "%c", 8'h40 + {4'b0, clock, colours});
            #(BIT_PS);
        end
    end
endmodule
