// The SoC under Verilator: a clock, and what its UART says; ends with an end of transmission.
#include <cstdio>
#include <cstdlib>

#include "Vsoc.h"
#include "verilated.h"

int main(int count, char** words) {
    if (count < 2) return 2;
    VerilatedContext context;
    Vsoc soc(&context);
    const long most = atol(words[1]);  // cycles
    soc.serial_source_ready = 1;
    for (long cycle = 0; cycle < most; cycle++) {
        const bool said = soc.serial_source_valid;
        const char letter = soc.serial_source_data;
        soc.sys_clk = 1;
        soc.eval();
        soc.sys_clk = 0;
        soc.eval();
        if (said && letter == 4) {
            fprintf(stderr, "%ld cycles\n", cycle);
            return 0;
        }
        if (said) putchar(letter);
        fflush(stdout);
    }
    fprintf(stderr, "no end after %ld cycles\n", most);
    return 1;
}
