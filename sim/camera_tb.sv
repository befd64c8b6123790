// Plays pin words (sim/camera_models.py) to a camera front end and logs what comes out.
//
// +pins=FILE: runs of "count word"; word: bit 0 PCLK has an edge, 1 VSYNC, 2 HREF, from 8 data.
// +log=FILE: "cycle end valid pixel counters" in hex for each event; at last the counters, decimal.
// +sync=PS, +pclk=PS: periods in picoseconds. Pins change at PCLK's falling edge.
`timescale 1ps / 1ps
module camera_tb;
    integer sync_ps = 10000, pclk_ps = 10000, pins_file, log_file, count;
    string pins_name, log_name;
    reg [15:0] word = 0;
    reg clk = 0, rst = 1, pclk = 0, done = 0;
    reg [31:0] cycle = 0;
    wire valid, frame_end, lost;
    wire [7:0] red, green, blue;
    wire sof, eol;
    wire [25:0] pixel = {eol, sof, blue, green, red};
    wire [95:0] counts;

`ifdef GREY
    assign green = red;
    assign blue = red;
`endif

    front dut (
        .clk(clk),
        .rst(rst),
        .pclk(pclk),
        .vsync(word[1]),
        .href(word[2]),
        .data(word[15:8]),
        .o__valid(valid),
`ifdef GREY
        .o__luma(red),
`else
        .o__red(red),
        .o__green(green),
        .o__blue(blue),
`endif
        .o__sof(sof),
        .o__eol(eol),
        .o__frame_end(frame_end),
        .lost(lost),
        .counts(counts)
    );

    initial begin
        if (!$value$plusargs("sync=%d", sync_ps)) $fatal(1, "+sync= is missing");
        forever begin
            #(sync_ps / 2) clk = 1;
            #(sync_ps - sync_ps / 2) clk = 0;
        end
    end

    always @(posedge clk) begin
        rst <= 0;
        cycle <= cycle + 1;
        if (valid || frame_end)
            $fwrite(log_file, "%h %h %h %h %h\n", cycle, frame_end, valid, pixel, counts);
    end

    initial begin
        if (!$value$plusargs("pclk=%d", pclk_ps)) $fatal(1, "+pclk= is missing");
        if (!$value$plusargs("pins=%s", pins_name)) $fatal(1, "+pins= is missing");
        if (!$value$plusargs("log=%s", log_name)) $fatal(1, "+log= is missing");
        pins_file = $fopen(pins_name, "r");
        log_file = $fopen(log_name, "w");
        while ($fscanf(pins_file, "%d %h", count, word) == 2)
            repeat (count) begin
                #(pclk_ps / 2) pclk = word[0];
                #(pclk_ps - pclk_ps / 2) pclk = 0;
            end
        repeat (40) @(posedge clk);
        for (int i = 0; i < 6; i++) $fwrite(log_file, "%0d ", counts[16*i+:16]);
        $fwrite(log_file, "%0d\n", lost);
        $fclose(log_file);
        done = 1;
    end
endmodule
