/* Driver of a Rasca engine behind AXI4-Lite or Wishbone: C99, no allocation, no libraries.
 *
 * rasca_registers.h is written by `make verilog BUS=`. A register is read and written through
 * RASCA_READ(address) and RASCA_WRITE(address, value), which a platform may define its own way;
 * so many reads of a register, `tries`, are the patience of whatever waits.
 */
#ifndef RASCA_H
#define RASCA_H

#include <stdint.h>

#include "rasca_registers.h"

enum { RASCA_MOST_CLASSES = 16 };

/* What the functions return. */
enum {
    RASCA_DONE = 0,
    RASCA_NOT_THERE = -1, /* no engine at that address */
    RASCA_OTHER_MAP = -2, /* its registers are those of another version */
    RASCA_TIMEOUT = -3,   /* tries are used up */
    RASCA_SIZE = -4,      /* the image is not as long as this engine's */
    RASCA_CHANGED = -5    /* the engine went on meanwhile: what was read is of two row groups */
};

/* An engine and its sizes. */
typedef struct {
    uintptr_t base;
    uint32_t weights_bytes;
    uint16_t width, height, row_groups;
    uint16_t state_channels, state_columns, state_word; /* bytes of one read */
    uint8_t classes, colours;
} rasca_t;

/* Of a frame, or of a row group: then `status` is OK, and `rows` the group's number. */
typedef struct {
    uint32_t number; /* of decisions, or of answers, since the reset: 1 is the first */
    uint16_t rows;   /* row groups worked on */
    uint8_t index;   /* the class */
    uint8_t status;  /* RASCA_DECISION_STATUS_OK, ... */
    int32_t logits[RASCA_MOST_CLASSES];
} rasca_answer_t;

typedef struct {
    uint32_t dropped, overrun, truncated, line, restart;
} rasca_counters_t;

/* Finds the engine at an address and reads its sizes. */
int rasca_init(rasca_t *engine, uintptr_t base);

/* Loads weights; the frame that runs ends first, and `tries` are for that. */
int rasca_load(rasca_t *engine, const uint8_t *image, uint32_t bytes, uint32_t tries);

/* Early termination; NULL leaves a rule off. */
void rasca_thresholds(rasca_t *engine, const int32_t *stop, const int32_t *skip);

/* Whether pixels wait for room (0, as after the reset) or come as a camera's do (1); and whether
 * their bytes are in the order of AXI4-Stream video. */
void rasca_stream(rasca_t *engine, int camera, int video_order);

/* Waits for the next decision after number `seen` (0 at first) and reads it. */
int rasca_wait(rasca_t *engine, uint32_t seen, rasca_answer_t *answer, uint32_t tries);

/* The last decision, and the answer to the last row group; `number` is 0 where there is none. */
void rasca_decision(rasca_t *engine, rasca_answer_t *answer);
void rasca_row(rasca_t *engine, rasca_answer_t *answer);

/* The state after the last row group: `state_columns` signed bytes for each channel. */
int rasca_state(rasca_t *engine, int8_t *state, uint32_t tries);

void rasca_counters(rasca_t *engine, rasca_counters_t *counters);

/* Which of RASCA_INTERRUPT_... raise the interrupt line; what has happened, taken back. */
void rasca_interrupts(rasca_t *engine, uint32_t mask);
uint32_t rasca_happened(rasca_t *engine);

#endif
