// Engines side by side: one that is always awake, one whose clocks sleep, and one whose clocks wake
// a cycle late. All outputs of the first two must be equal in every cycle. Camera, host and loader
// act by chance; `wires.svh` is made by tests/test_sleep.py: the engines' ports, `differ` and
// `differ_faulty`, and which clocks run.
module tb #(
    parameter int WIDTH = 34,
    parameter int HEIGHT = 10,
    parameter int CHANNELS = 6,
    parameter int WORDS = 1,
    parameter int IMAGE = 100,  // bytes of the weights image
    parameter int LEAST = 0,    // cycles between two pixels
    parameter int SLOW = 60     // a slow camera's most
) (
    input logic clk,
    input logic rst
);
`include "wires.svh"
    int unsigned cycle = 0, differences = 0, first_difference = 0, faulty_differences = 0;
    int unsigned answers = 0, decisions = 0, faults = 0, reads = 0, loads = 0;
    int unsigned running[4];  // cycles in which each clock runs

    function automatic int below(int n);  // 0..n-1
        return int'($urandom() % n);
    endfunction

    // ---- camera: a pixel, then `gap` cycles without ----
    int column = 0, row = 0, gap = 0, most = 0, rest = 0;
    int pause = 0, byte_number = 0;
    logic loading = 0;
    logic [7:0] image[IMAGE];
    initial $readmemh("image.hex", image);
    always @(posedge clk) begin
        pixel_valid <= 0;
        frame_end <= 0;
        pixel_sof <= 1'(below(2));
        pixel_eol <= 1'(below(2));
        {pixel_red, pixel_green, pixel_blue} <= 24'($urandom());
        if (rst) begin
            column <= 0;
            row <= 0;
            rest <= 50;
        end else if (rest != 0) rest <= rest - 1;
        else if (gap != 0) gap <= gap - 1;
        else begin
            pixel_valid <= 1;
            pixel_sof <= column == 0 && row == 0;
            pixel_eol <= column == WIDTH - 1;
            if (below(5000) == 0) pixel_eol <= 1;   // a line too short
            gap <= LEAST + below(most + 1);
            if (column != WIDTH - 1) column <= column + 1;
            else begin
                column <= 0;
                row <= row + 1;
                rest <= below(4) == 0 ? below(40 * SLOW) : 0;
                if (row == HEIGHT - 1 || below(90) == 0) begin
                    row <= 0;
                    frame_end <= below(2) != 0;  // else as the next one begins, if not with row 0
                    rest <= below(3) == 0 ? below(9000) : below(300);
                    most <= below(8) == 0 ? 3 : below(SLOW);
                end
            end
            if (row == 0 && column == 0 && below(8) == 0) begin
                pixel_sof <= 0;  // as if it were not there
            end
        end
        // ---- host; one block, so that chance is the same in every build
        state_read <= 0;
        state_channel <= 16'(below(CHANNELS));
        state_word <= 16'(below(WORDS));
        if (below(900) == 0) state_read <= 1;
        if (below(5000) == 0) begin
            stop_enable <= 1'(below(2));
            skip_enable <= 1'(below(2));
            stop_threshold <= 32'(below(1 << 16)) - (1 << 15);
            skip_threshold <= 32'(below(1 << 16)) - (1 << 15);
        end
        // the image: a byte is taken with valid and ready
        if (rst) {loading, load_valid} <= 0;
        else if (!loading) begin
            load_valid <= 0;
            if (below(cycle < 2000 ? 100 : 25000) == 0) begin
                loading <= 1;
                byte_number <= 0;
                loads <= loads + 1;
            end
        end else if (!load_valid || load_ready) begin
            if (load_valid && load_last) begin
                loading <= 0;
                load_valid <= 0;
            end else if (pause != 0) begin
                pause <= pause - 1;
                load_valid <= 0;
            end else begin
                load_valid <= 1;
                load_data <= image[byte_number < IMAGE ? byte_number : 0];
                load_last <= byte_number == IMAGE - 1 || below(40 * IMAGE) == 0;
                byte_number <= byte_number + 1;
                pause <= below(200) == 0 ? below(400) : 0;
            end
        end
    end

    always @(posedge clk) if (!rst) begin
        cycle <= cycle + 1;
        if (differ != 0) begin
            differences <= differences + 1;
            if (differences == 0) begin
                first_difference <= cycle;
                $display("cycle %0d: outputs that differ, the last one lowest: %b", cycle, differ);
            end
        end
        faulty_differences <= faulty_differences + 32'(differ_faulty);
        answers <= answers + 32'(row_valid);
        decisions <= decisions + 32'(decision_valid && decision_status == 0);
        faults <= faults + 32'(decision_valid && decision_status != 0);
        reads <= reads + 32'(state_valid);
        for (int i = 0; i < 4; i++) running[i] <= running[i] + 32'(runs[i]);
    end
endmodule
