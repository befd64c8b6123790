// The engine behind Wishbone under Verilator: what the driver reads and writes are bus cycles, and
// pixels come by the stream meanwhile.
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <deque>

#include "Vengine.h"
#include "verilated.h"

static Vengine* engine;
static std::deque<uint32_t> pixels;  // bit 31: a frame's first, bit 30: a line's last

static void tick() {
    bool taken = engine->s_axis_tvalid && engine->s_axis_tready;
    engine->clk = 1;
    engine->eval();
    if (taken) pixels.pop_front();
    engine->s_axis_tvalid = !pixels.empty();
    if (!pixels.empty()) {
        engine->s_axis_tdata = pixels.front() & 0xFFFFFF;
        engine->s_axis_tuser = pixels.front() >> 31;
        engine->s_axis_tlast = pixels.front() >> 30 & 1;
    }
    engine->clk = 0;
    engine->eval();
}

static uint32_t access(uintptr_t address, bool write, uint32_t data) {
    engine->wb_cyc = engine->wb_stb = 1;
    engine->wb_we = write;
    engine->wb_adr = (address & 0xFFF) >> 2;
    engine->wb_dat_w = data;
    engine->wb_sel = 15;
    engine->eval();
    for (int i = 0; !engine->wb_ack; i++) {
        if (engine->wb_err || i > 100) {
            fprintf(stderr, "no register at %zx\n", static_cast<size_t>(address));
            exit(1);
        }
        tick();
    }
    uint32_t found = engine->wb_dat_r;
    tick();
    engine->wb_cyc = engine->wb_stb = 0;
    tick();
    return found;
}

extern "C" {
uint32_t sim_read(uintptr_t address) { return access(address, false, 0); }
void sim_write(uintptr_t address, uint32_t value) { access(address, true, value); }
void sim_pixel(uint32_t pixel) { pixels.push_back(pixel); }
int sim_interrupt(void) { return engine->irq; }
int sim_pending(void) { return !pixels.empty(); }
void sim_cycles(int count) {
    while (count--) tick();
}
int check(const char* folder);
}

int main(int count, char** words) {
    Verilated::commandArgs(count, words);
    engine = new Vengine;
    engine->rst = 1;
    for (int i = 0; i < 4; i++) tick();
    engine->rst = 0;
    int status = check(words[1]);
    delete engine;
    return status;
}
