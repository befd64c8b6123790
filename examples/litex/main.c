/* The CPU of the example: loads weights, has a photograph sent, waits for the interrupt, and tells
 * the answer on its UART. */
#include <generated/csr.h>
#include <generated/mem.h>
#include <irq.h>

#include "given.h" /* weights, photograph, names of the classes: run.py writes it */
#include "rasca.h"

int main(void);
void isr(void);

static rasca_t engine;
static volatile uint32_t happened; /* RASCA_INTERRUPT_... since the start */

void isr(void) {
    if (irq_pending() & irq_getmask() & 1u << ENGINE_INTERRUPT) happened |= rasca_happened(&engine);
}

static void put(char c) {
    while (uart_txfull_read())
        ;
    uart_rxtx_write((uint8_t)c);
}

static void text(const char *from) {
    while (*from) put(*from++);
}

static void number(int32_t value) {
    char digits[10];
    uint32_t rest = value < 0 ? -(uint32_t)value : (uint32_t)value;
    int i = 0;
    if (value < 0) put('-');
    do digits[i++] = (char)('0' + rest % 10);
    while (rest /= 10);
    while (i) put(digits[--i]);
}

static void line(const char *what, int32_t value) {
    text(what);
    number(value);
    put('\n');
}

/* What happened, once it has: the interrupt brings it. */
static void await(uint32_t bit) {
    while (!(happened & bit))
        ;
}

int main(void) {
    rasca_answer_t answer;
    rasca_counters_t counters;
    int i, failed;

    failed = rasca_init(&engine, ENGINE_BASE);
    line("init ", failed);
    if (!failed) {
        rasca_interrupts(&engine, RASCA_INTERRUPT_LOADED | RASCA_INTERRUPT_DECISION);
        engine_ev_enable_write(1);
        irq_setmask(irq_getmask() | 1u << ENGINE_INTERRUPT);
        irq_setie(1);

        failed = rasca_load(&engine, weights, WEIGHTS_BYTES, 1000000);
        line("load ", failed);
    }
    if (!failed) {
        await(RASCA_INTERRUPT_LOADED);
        text("interrupt: weights are loaded\n");

        /* a word a pixel from memory to the stream, which waits while the engine has no room */
        camera_width_write(engine.width);
        camera_dma_base_write((uintptr_t)photograph);
        camera_dma_length_write(4u * engine.width * engine.height);
        camera_dma_enable_write(1);
        await(RASCA_INTERRUPT_DECISION);
        text("interrupt: a decision\n");

        rasca_decision(&engine, &answer);
        rasca_counters(&engine, &counters);
        line("status ", answer.status);
        line("row groups ", answer.rows);
        for (i = 0; i < engine.classes; i++) line("logit ", answer.logits[i]);
        line("faults ", (int32_t)(counters.dropped + counters.overrun + counters.truncated +
                                  counters.line + counters.restart));
        text("answer ");
        text(CLASSES[answer.index]);
        put('\n');
    }
    while (!uart_txempty_read())
        ;
    put(4); /* end of transmission: the simulation is over */
    for (;;)
        ;
}
