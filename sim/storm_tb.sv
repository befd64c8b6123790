// Plays a sensor's pins to a whole camera path (sim/storm) and logs what comes of them.
//
// +pins=FILE: lines "count word ps". So many PCLK periods of so many picoseconds; word: bit 0 PCLK
// has an edge, 1 VSYNC, 2 HREF, from 8 data; pins change at PCLK's falling edge. A count of 0 is a
// mark: the counters are logged, and what follows begins ps after an edge of the engine's clock.
// +stop=N, +skip=N: thresholds of early termination.
// +log=FILE, numbers in hex:
//   m CYCLE COUNTERS                        a mark
//   f CYCLE                                 the engine begins a frame
//   r CYCLE GROUP LOGIT0 LOGIT1 WORDS...    a row group's answer, and the state's words
//   d CYCLE STATUS CLASS ROWS LOGIT0 LOGIT1 a decision
//   x CYCLE                                 the state could not be read in time
//   e CYCLE COUNTERS BUSY LOST              all is played
`timescale 1ps / 1ps
module storm_tb #(
    parameter int PIXELS = 8,
    parameter int CHANNELS = 2,
    parameter int WORDS = 1,  // of a state channel
    parameter int SYNC_PS = 10000
);
    integer pins_file, log_file, count, ps;
    string pins_name, log_name;
    reg [15:0] word = 0;
    reg clk = 0, rst = 1, pclk = 0, done = 0;
    reg [47:0] cycle = 0;
    wire row_valid, decision_valid, busy, lost, frame_start;
    wire [15:0] row_group, rows_used;
    wire signed [31:0] row0, row1, logit0, logit1;
    wire decision_class;
    wire [2:0] status;
    wire [95:0] front;
    wire [15:0] dropped, overrun, truncated, line, restart;
    wire [175:0] counts = {restart, line, truncated, overrun, dropped, front};
    reg state_read = 0;
    reg [15:0] state_channel = 0, state_word = 0;
    wire state_valid;
    wire [8*PIXELS-1:0] state_data;
    reg stop_enable = 0, skip_enable = 0;
    reg signed [31:0] stop = 0, skip = 0;
`ifdef MUTANTS
    reg [7:0] mutant = 0;
    initial void'($value$plusargs("mutant=%d", mutant));
`endif

    storm dut (
        .clk, .rst, .pclk, .vsync(word[1]), .href(word[2]), .data(word[15:8]), .lost, .front,
`ifdef MUTANTS
        .mutant,
`endif
        .thresholds__stop_enable(stop_enable), .thresholds__stop(stop),
        .thresholds__skip_enable(skip_enable), .thresholds__skip(skip),
        .row__valid(row_valid), .row__group(row_group),
        .row__logits__0(row0), .row__logits__1(row1),
        .decision__valid(decision_valid), .decision__index(decision_class),
        .decision__logits__0(logit0), .decision__logits__1(logit1),
        .decision__rows_used(rows_used), .decision__status(status),
        .counts__dropped(dropped), .counts__overrun(overrun), .counts__truncated(truncated),
        .counts__line(line), .counts__restart(restart),
        .state__read(state_read), .state__channel(state_channel), .state__word(state_word),
        .state__valid(state_valid), .state__data(state_data),
        .busy, .frame_start
    );

    initial forever begin
        #(SYNC_PS / 2) clk = 1;
        #(SYNC_PS - SYNC_PS / 2) clk = 0;
    end

    // what the engine says, and the state after each answer
    reg reading = 0;
    reg [8*PIXELS-1:0] words[CHANNELS*WORDS];
    reg [47:0] row_cycle;
    reg [15:0] kept_group;
    reg signed [31:0] kept0, kept1;
    int unsigned at = 0;
    always @(posedge clk) begin
        rst <= 0;
        cycle <= cycle + 1;
        state_read <= 0;
        if (frame_start) $fwrite(log_file, "f %0h\n", cycle);
        if (decision_valid)
            $fwrite(log_file, "d %0h %0h %0h %0h %h %h\n", cycle, status, decision_class,
                    rows_used, logit0, logit1);
        if (row_valid) begin
            if (reading) $fwrite(log_file, "x %0h\n", cycle);
            {row_cycle, kept_group, kept0, kept1} <= {cycle, row_group, row0, row1};
            {reading, state_read, state_channel, state_word} <= {2'b11, 32'd0};
            at <= 0;
        end else if (reading && state_valid) begin
            words[at] = state_data;
            at <= at + 1;
            if (at == CHANNELS * WORDS - 1) begin
                reading <= 0;
                $fwrite(log_file, "r %0h %0h %h %h", row_cycle, kept_group, kept0, kept1);
                for (int i = 0; i < CHANNELS * WORDS; i++) $fwrite(log_file, " %h", words[i]);
                $fwrite(log_file, "\n");
            end else begin
                state_read <= 1;
                state_word <= state_word == 16'(WORDS - 1) ? 0 : state_word + 1;
                if (state_word == 16'(WORDS - 1)) state_channel <= state_channel + 1;
            end
        end
    end

    initial begin
        if (!$value$plusargs("pins=%s", pins_name)) $fatal(1, "+pins= is missing");
        if (!$value$plusargs("log=%s", log_name)) $fatal(1, "+log= is missing");
        if ($value$plusargs("stop=%d", stop)) stop_enable = 1;
        if ($value$plusargs("skip=%d", skip)) skip_enable = 1;
        pins_file = $fopen(pins_name, "r");
        log_file = $fopen(log_name, "w");
        while ($fscanf(pins_file, "%d %h %d", count, word, ps) == 3)
            if (count == 0) begin
                @(posedge clk);
                $fwrite(log_file, "m %0h %h\n", cycle, counts);
                #(ps);
            end else
                repeat (count) begin
                    #(ps / 2) pclk = word[0];
                    #(ps - ps / 2) pclk = 0;
                end
        $fwrite(log_file, "e %0h %h %h %h\n", cycle, counts, busy, lost);
        $fclose(log_file);
        done = 1;
    end
endmodule
