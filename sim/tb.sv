// Test bench around the engine: plays the camera's pixels, keeps events for the cocotb bench,
// reads the state through its port, and logs every word written to the maps and the state.
// sim/bench.py steers it through the signals marked "bench". Cycle numbers count from the rise
// of `play`, in the schedule, in the events and in the log alike.

// SPATIAL is defined where there is a spatial attention; PORTS_ONLY where the engine is a netlist,
// which has no names but those of its ports: then nothing is logged; BYTE_WRITES where maps are
// written byte by byte;
// GREY where a pixel is one luma; SLEEP where clocks stand still.
module tb #(
    parameter int PIXELS = 15,      // P: bytes of a memory word
    parameter int LANES = 2,        // L: banks
    parameter int OPERATIONS = 15,  // of the row program
    parameter int CHANNELS = 48,    // d of the state
    parameter int WORDS = 1,        // words of a state channel
    parameter int MEMORY = 2,       // cycles from an address register to its word
    parameter int CLASSES = 2       // K; CLASS2 is defined where there are more than two, CLASS3...
) (
    input logic clk,
    input logic rst
);
    localparam int WORD = 8 * PIXELS;

    // ---- bench: settings, at run time ----
    logic play = 0;
    logic stop_enable = 0, skip_enable = 0;
    logic signed [31:0] stop_threshold = 0, skip_threshold = 0;
    logic load_valid = 0, load_last = 0;
    logic [7:0] load_data = 0;
    logic load_ready, load_error;
    logic [31:0] weights_digest;
    logic busy;
    logic [15:0] count_overrun, count_truncated, count_line, count_restart, count_dropped;

    // ---- time ----
    logic [47:0] cycle = 0;
    always_ff @(posedge clk) if (play) cycle <= cycle + 1;

    // ---- camera: +schedule=FILE holds "cycle rgb flags" lines (sim/camera.py) ----
    logic pixel_valid = 0, pixel_sof = 0, pixel_eol = 0, frame_end = 0;
    logic [23:0] pixel_rgb = 0;
    logic played = 0;  // bench: the last entry has been sent
    string schedule_path;
    int schedule;
    longint unsigned next_cycle;
    logic [23:0] next_rgb;
    logic [3:0] next_flags;
    logic more = 0;

    function automatic void fetch();
        more = $fscanf(schedule, "%d %h %h", next_cycle, next_rgb, next_flags) == 3;
    endfunction

    initial begin
        if ($value$plusargs("schedule=%s", schedule_path) == 0) $fatal(1, "no +schedule=");
        schedule = $fopen(schedule_path, "r");
        if (schedule == 0) $fatal(1, "cannot read %s", schedule_path);
        fetch();
    end

    always @(posedge clk) begin
        pixel_valid <= 0;
        pixel_sof <= 0;
        pixel_eol <= 0;
        frame_end <= 0;
        // The registers put an entry on the wires during the cycle that it names.
        if (play && more && next_cycle <= 64'(cycle) + 1) begin
            pixel_valid <= next_flags[0];
            pixel_sof <= next_flags[1];
            pixel_eol <= next_flags[2];
            frame_end <= next_flags[3];
            pixel_rgb <= next_rgb;
            fetch();
        end
        played <= play && !more;
    end

    // ---- the engine ----
    logic row_valid, decision_valid, frame_start;
    logic [15:0] row_group, decision_rows_used;
    logic [32*CLASSES-1:0] row_logits, decision_logits;  // class 0 lowest
    logic [$clog2(CLASSES)-1:0] decision_class;
    logic [2:0] decision_status;
    logic state_read = 0, state_valid;
    logic [15:0] state_channel = 0, state_word = 0;
    logic [WORD-1:0] state_data;

    rasca dut (
        .clk, .rst,
        .pixel_valid,
`ifdef GREY
        .pixel_luma(pixel_rgb[23:16]),
`else
        .pixel_red(pixel_rgb[23:16]), .pixel_green(pixel_rgb[15:8]), .pixel_blue(pixel_rgb[7:0]),
`endif
        .pixel_sof, .pixel_eol, .frame_end,
        .stop_enable, .stop_threshold, .skip_enable, .skip_threshold,
        .row_valid, .row_group, .decision_valid, .decision_rows_used, .decision_status,
`ifdef CLASS2
        .decision_class,
`else
        .decision_person(decision_class),
`endif
`define LOGIT(i) .row_logit``i(row_logits[32*i+:32]), .decision_logit``i(decision_logits[32*i+:32]),
        `LOGIT(0) `LOGIT(1)
`ifdef CLASS2
        `LOGIT(2)
`endif
`ifdef CLASS3
        `LOGIT(3)
`endif
`ifdef CLASS4
        `LOGIT(4)
`endif
`ifdef CLASS5
        `LOGIT(5)
`endif
`ifdef CLASS6
        `LOGIT(6)
`endif
`ifdef CLASS7
        `LOGIT(7)
`endif
`ifdef CLASS8
        `LOGIT(8)
`endif
`ifdef CLASS9
        `LOGIT(9)
`endif
`ifdef CLASS10
        `LOGIT(10)
`endif
`ifdef CLASS11
        `LOGIT(11)
`endif
`ifdef CLASS12
        `LOGIT(12)
`endif
`ifdef CLASS13
        `LOGIT(13)
`endif
`ifdef CLASS14
        `LOGIT(14)
`endif
`ifdef CLASS15
        `LOGIT(15)
`endif
        .count_overrun, .count_truncated, .count_line, .count_restart, .count_dropped, .busy,
        .state_read, .state_channel, .state_word, .state_valid, .state_data,
        .load_valid, .load_data, .load_last, .load_ready, .load_error, .weights_digest,
        .frame_start
    );

    // ---- bench: events, a ring of the last 64; event_count tells how many there were ----
    logic [31:0] event_count = 0;
    logic [2:0] event_kind[64];  // bit 0 frame_start, bit 1 row, bit 2 decision
    logic [47:0] event_cycle[64];
    logic [15:0] event_row[64], event_rows_used[64];
    logic [32*CLASSES-1:0] event_row_logits[64], event_logits[64];
    logic [3:0] event_class[64];
    logic [2:0] event_status[64];
    always_ff @(posedge clk) begin
        if (play && (row_valid || decision_valid || frame_start)) begin
            event_kind[event_count[5:0]] <= {decision_valid, row_valid, frame_start};
            event_cycle[event_count[5:0]] <= cycle;
            event_row[event_count[5:0]] <= row_group;
            event_row_logits[event_count[5:0]] <= row_logits;
            event_class[event_count[5:0]] <= 4'(decision_class);
            event_logits[event_count[5:0]] <= decision_logits;
            event_rows_used[event_count[5:0]] <= decision_rows_used;
            event_status[event_count[5:0]] <= decision_status;
            event_count <= event_count + 1;
        end
    end

    // ---- bench: the whole state, read through the port, one word after the other ----
    logic overwritten = 0;  // the next row group's state is being written
`ifndef PORTS_ONLY
    always_ff @(posedge clk)
        if (row_valid) overwritten <= 0;
        else if (dut.engine.back.store.write_en != 0
                 && 32'(dut.engine.back.store.write_op) == OPERATIONS - 1) overwritten <= 1;
`endif
    logic read_go = 0;
    logic [31:0] reads_done = 0;
    logic [WORD-1:0] state_image[CHANNELS * WORDS];
    logic [CHANNELS*WORDS-1:0] state_late = 0;  // words that came after that
    logic reading = 0;
    int unsigned read_index = 0;
    always_ff @(posedge clk) begin
        state_read <= 0;
        if (read_go && !reading) begin
            reading <= 1;
            read_index <= 0;
            state_channel <= 0;
            state_word <= 0;
            state_read <= 1;
        end else if (reading && state_valid) begin
            state_image[read_index] <= state_data;
            state_late[read_index] <= overwritten;
            read_index <= read_index + 1;
            if (read_index == CHANNELS * WORDS - 1) begin
                reading <= 0;
                reads_done <= reads_done + 1;
            end else begin
                state_read <= 1;
                if (state_word == 16'(WORDS - 1)) begin
                    state_word <= 0;
                    state_channel <= state_channel + 1;
                end else state_word <= state_word + 1;
            end
        end
    end

    // ---- log: +log=FILE ----
    //   w CYCLE OPERATION BANKS ADDRESS DATA   words written to the maps and the state (hex);
    //                                          BYTE_WRITES: then a mask of their bytes
    //   f CYCLE                                first walk step of a frame (decimal)
    //   g CYCLE                                first walk step of a row group
    //   k CYCLE HEAD ROW DATA                  row of attention scores, written (hex)
    //   a CYCLE HEAD ROW DATA                  row of attention weights, as the array reads it (hex)
    //   r CYCLE                                logits of a row group are ready
    //   s OPERATION STEPS                      MAC steps of an operation since the f before (decimal)
`ifndef PORTS_ONLY
    string log_path;
    int log_file;
    int unsigned steps[OPERATIONS];
    initial begin
        if ($value$plusargs("log=%s", log_path) == 0) $fatal(1, "no +log=");
        log_file = $fopen(log_path, "w");
        if (log_file == 0) $fatal(1, "cannot write %s", log_path);
        for (int i = 0; i < OPERATIONS; i++) steps[i] = 0;
    end
    always @(posedge clk) begin
        if (play && dut.engine.back.store.write_en != 0)
`ifdef BYTE_WRITES
            $fwrite(log_file, "w %0h %0h %0h %0h %h %0h\n", cycle, dut.engine.back.store.write_op,
                    dut.engine.back.store.write_en, dut.engine.back.store.write_address,
                    {LANES{{PIXELS / 2{dut.engine.back.store.write_high}},
                           {PIXELS / 2{dut.engine.back.store.write_low}}}},
                    dut.engine.back.store.write_mask);
`else
            $fwrite(log_file, "w %0h %0h %0h %0h %h\n", cycle, dut.engine.back.store.write_op,
                    dut.engine.back.store.write_en, dut.engine.back.store.write_address,
                    dut.engine.back.store.write_data);
`endif
        if (play && frame_start) begin
            for (int i = 0; i < OPERATIONS; i++) begin
                $fwrite(log_file, "s %0d %0d\n", i, steps[i]);
                steps[i] = 0;
            end
            $fwrite(log_file, "f %0d\n", cycle);
        end
        if (play && dut.engine.sequencer.control__group_first) $fwrite(log_file, "g %0d\n", cycle);
        if (play && dut.engine.sequencer.step[0])
            steps[dut.engine.sequencer.op] = steps[dut.engine.sequencer.op] + 1;
        if (play && row_valid) begin
            $fwrite(log_file, "r %0d\n", cycle);
            $fflush(log_file);
        end
    end
`ifdef SPATIAL
    if (1) begin : g_attention
        logic [1:0] read = 0;
        logic [7:0] head[2], row[2];
        always @(posedge clk) begin
            if (play && dut.engine.attention.softmax.w_en)
                $fwrite(log_file, "k %0h %0h %0h %h\n", cycle, dut.engine.attention.softmax.w_head,
                        dut.engine.attention.softmax.w_row, dut.engine.attention.softmax.w_data);
            if (play && read[MEMORY-1])
                $fwrite(log_file, "a %0h %0h %0h %h\n", cycle, head[MEMORY-1], row[MEMORY-1],
                        dut.engine.attention.softmax.r_data);
            read <= {read[0], dut.engine.attention.softmax.r_en};
            head[0] <= 8'(dut.engine.attention.softmax.r_head);
            row[0] <= 8'(dut.engine.attention.softmax.r_row);
            head[1] <= head[0];
            row[1] <= row[0];
        end
    end
`endif
    final $fclose(log_file);
`ifdef SLEEP
    // +clocks=FILE: "CYCLE HOST ENGINE CLASSIFIER CAMERA UNITS" with each frame's first step, the
    // cycles in which each clock has run
    int clocks_file;
    string clocks_path;
    longint unsigned ran[5];
    initial begin
        if ($value$plusargs("clocks=%s", clocks_path) == 0) $fatal(1, "no +clocks=");
        clocks_file = $fopen(clocks_path, "w");
        if (clocks_file == 0) $fatal(1, "cannot write %s", clocks_path);
    end
    always @(posedge clk) if (play) begin
        ran[0] <= ran[0] + 64'(dut.engine.sleep.host.awake);
        ran[1] <= ran[1] + 64'(dut.engine.sleep.engine.awake);
        ran[2] <= ran[2] + 64'(dut.engine.sleep.classifier.awake);
        ran[3] <= ran[3] + 64'(dut.engine.sleep.camera.awake);
`ifndef BYTE_WRITES
        ran[4] <= ran[4] + 64'(dut.engine.sleep.units.awake);
`endif
        if (frame_start) begin
            $fwrite(clocks_file, "%0d %0d %0d %0d %0d %0d\n", cycle, ran[0], ran[1], ran[2],
                    ran[3], ran[4]);
            $fflush(clocks_file);
        end
    end
    final $fclose(clocks_file);
`endif
    counters counters(.clk, .rst);  // made by sim/counters.py for this engine: +counters=FILE
`endif
endmodule
