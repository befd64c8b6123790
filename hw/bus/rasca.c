/* Driver of a Rasca engine, see rasca.h. */
#include "rasca.h"

#include <stddef.h>

#ifndef RASCA_READ
#define RASCA_READ(address) (*(volatile const uint32_t *)(address))
#define RASCA_WRITE(address, value) (*(volatile uint32_t *)(address) = (value))
#endif

#define FIELD(word, name) (((word) & name##_MASK) >> name##_SHIFT)

static uint32_t get(const rasca_t *engine, uint32_t offset) {
    return RASCA_READ(engine->base + offset);
}

static void put(const rasca_t *engine, uint32_t offset, uint32_t value) {
    RASCA_WRITE(engine->base + offset, value);
}

/* Waits until a bit of STATUS is set. */
static int until(const rasca_t *engine, uint32_t bit, uint32_t tries) {
    while (tries--)
        if (get(engine, RASCA_STATUS) & bit) return RASCA_DONE;
    return RASCA_TIMEOUT;
}

static void change(const rasca_t *engine, uint32_t bit, int on) {
    uint32_t now = get(engine, RASCA_CONTROL);
    put(engine, RASCA_CONTROL, on ? now | bit : now & ~bit);
}

int rasca_init(rasca_t *engine, uintptr_t base) {
    uint32_t word;
    engine->base = base;
    if (get(engine, RASCA_ID) != RASCA_MAP_ID) return RASCA_NOT_THERE;
    if (get(engine, RASCA_VERSION) != RASCA_MAP_VERSION) return RASCA_OTHER_MAP;
    engine->weights_bytes = get(engine, RASCA_WEIGHTS_BYTES);
    word = get(engine, RASCA_IMAGE);
    engine->width = (uint16_t)FIELD(word, RASCA_IMAGE_WIDTH);
    engine->height = (uint16_t)FIELD(word, RASCA_IMAGE_HEIGHT);
    word = get(engine, RASCA_NETWORK);
    engine->row_groups = (uint16_t)FIELD(word, RASCA_NETWORK_ROW_GROUPS);
    engine->classes = (uint8_t)FIELD(word, RASCA_NETWORK_CLASSES);
    engine->colours = (uint8_t)FIELD(word, RASCA_NETWORK_COLOURS);
    word = get(engine, RASCA_STATE);
    engine->state_channels = (uint16_t)FIELD(word, RASCA_STATE_CHANNELS);
    engine->state_columns = (uint16_t)FIELD(word, RASCA_STATE_COLUMNS);
    engine->state_word = (uint16_t)FIELD(get(engine, RASCA_STATE_WORD), RASCA_STATE_WORD_BYTES);
    return RASCA_DONE;
}

int rasca_load(rasca_t *engine, const uint8_t *image, uint32_t bytes, uint32_t tries) {
    uint32_t at, i, word;
    if (bytes != engine->weights_bytes) return RASCA_SIZE;
    put(engine, RASCA_LOAD_CONTROL, RASCA_LOAD_CONTROL_ABORT); /* what was begun before */
    if (until(engine, RASCA_STATUS_LOAD_ROOM, tries)) return RASCA_TIMEOUT;
    for (at = 0; at < bytes; at += 4) {
        for (word = 0, i = 0; i < 4 && at + i < bytes; i++) word |= (uint32_t)image[at + i] << 8 * i;
        put(engine, RASCA_LOAD_DATA, word);
        if (at == 0 && bytes > 4 && until(engine, RASCA_STATUS_LOADING, tries)) {
            put(engine, RASCA_LOAD_CONTROL, RASCA_LOAD_CONTROL_ABORT);
            return RASCA_TIMEOUT;
        }
    }
    return until(engine, RASCA_STATUS_LOADED, tries);
}

void rasca_thresholds(rasca_t *engine, const int32_t *stop, const int32_t *skip) {
    change(engine, RASCA_CONTROL_STOP_ENABLE | RASCA_CONTROL_SKIP_ENABLE, 0);
    if (stop) put(engine, RASCA_STOP_THRESHOLD, (uint32_t)*stop);
    if (skip) put(engine, RASCA_SKIP_THRESHOLD, (uint32_t)*skip);
    change(engine, RASCA_CONTROL_STOP_ENABLE, stop != NULL);
    change(engine, RASCA_CONTROL_SKIP_ENABLE, skip != NULL);
}

void rasca_stream(rasca_t *engine, int camera, int video_order) {
    change(engine, RASCA_CONTROL_CAMERA, camera);
    change(engine, RASCA_CONTROL_VIDEO_ORDER, video_order);
}

/* An answer as one: read again if its counter moved. */
static void answer_of(rasca_t *engine, uint32_t counter, uint32_t place, uint32_t logits,
                      rasca_answer_t *answer) {
    uint32_t i, word;
    do {
        answer->number = get(engine, counter);
        word = get(engine, place);
        for (i = 0; i < engine->classes; i++)
            answer->logits[i] = (int32_t)get(engine, logits + 4u * i);
    } while (get(engine, counter) != answer->number);
    answer->index = (uint8_t)FIELD(word, RASCA_DECISION_INDEX);
    answer->status = (uint8_t)FIELD(word, RASCA_DECISION_STATUS);
    answer->rows = (uint16_t)FIELD(word, RASCA_DECISION_ROWS_USED);
}

void rasca_decision(rasca_t *engine, rasca_answer_t *answer) {
    answer_of(engine, RASCA_FRAMES, RASCA_DECISION, RASCA_DECISION_LOGIT(0), answer);
}

void rasca_row(rasca_t *engine, rasca_answer_t *answer) {
    uint32_t i, group;
    do {
        answer_of(engine, RASCA_ROWS, RASCA_ROW, RASCA_ROW_LOGIT(0), answer);
        group = FIELD(get(engine, RASCA_ROW), RASCA_ROW_GROUP);
    } while (get(engine, RASCA_ROWS) != answer->number);
    answer->rows = (uint16_t)group;
    answer->status = RASCA_DECISION_STATUS_OK;
    for (answer->index = 0, i = 1; i < engine->classes; i++)
        if (answer->logits[i] > answer->logits[answer->index]) answer->index = (uint8_t)i;
}

int rasca_wait(rasca_t *engine, uint32_t seen, rasca_answer_t *answer, uint32_t tries) {
    while (get(engine, RASCA_FRAMES) == seen)
        if (tries-- == 0) return RASCA_TIMEOUT;
    rasca_decision(engine, answer);
    return RASCA_DONE;
}

int rasca_state(rasca_t *engine, int8_t *state, uint32_t tries) {
    uint32_t channel, column, i, word = 0, rows = get(engine, RASCA_ROWS);
    for (channel = 0; channel < engine->state_channels; channel++)
        for (column = 0; column < engine->state_columns; column++) {
            i = column % engine->state_word;
            if (i == 0) {
                put(engine, RASCA_STATE_SELECT,
                    channel | column / engine->state_word << RASCA_STATE_SELECT_WORD_SHIFT);
                if (until(engine, RASCA_STATUS_STATE_VALID, tries)) return RASCA_TIMEOUT;
            }
            if (i % 4 == 0) word = get(engine, RASCA_STATE_DATA(i / 4));
            *state++ = (int8_t)(word >> 8 * (i % 4) & 0xFF);
        }
    if (get(engine, RASCA_STATUS) & RASCA_STATUS_STATE_STALE) return RASCA_CHANGED;
    return get(engine, RASCA_ROWS) == rows ? RASCA_DONE : RASCA_CHANGED;
}

void rasca_counters(rasca_t *engine, rasca_counters_t *counters) {
    counters->dropped = get(engine, RASCA_COUNT_DROPPED);
    counters->overrun = get(engine, RASCA_COUNT_OVERRUN);
    counters->truncated = get(engine, RASCA_COUNT_TRUNCATED);
    counters->line = get(engine, RASCA_COUNT_LINE);
    counters->restart = get(engine, RASCA_COUNT_RESTART);
}

void rasca_interrupts(rasca_t *engine, uint32_t mask) { put(engine, RASCA_INTERRUPT_MASK, mask); }

uint32_t rasca_happened(rasca_t *engine) {
    uint32_t seen = get(engine, RASCA_INTERRUPT);
    put(engine, RASCA_INTERRUPT, seen);
    return seen;
}
