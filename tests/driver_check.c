/* Uses every function of the driver; Python compares what is printed with the golden model. */
#include <stdio.h>
#include <stdlib.h>

#include "rasca.h"

void sim_pixel(uint32_t pixel);
int sim_interrupt(void);
void sim_cycles(int count);
int check(const char *folder);

static uint8_t bytes[1 << 20];

static uint32_t file(const char *folder, const char *name) {
    char path[4096];
    FILE *from;
    uint32_t size;
    snprintf(path, sizeof path, "%s/%s", folder, name);
    from = fopen(path, "rb");
    if (!from) exit(2);
    size = (uint32_t)fread(bytes, 1, sizeof bytes, from);
    fclose(from);
    return size;
}

/* Pixels, three bytes each, of a picture. */
static void send(const rasca_t *engine, const uint8_t *from) {
    uint32_t x, y, i, pixel;
    for (y = 0; y < engine->height; y++)
        for (x = 0; x < engine->width; x++) {
            for (pixel = 0, i = 0; i < engine->colours; i++) pixel |= (uint32_t)*from++ << 8 * i;
            pixel |= x == 0 && y == 0 ? 1u << 31 : 0;
            pixel |= x + 1u == engine->width ? 1u << 30 : 0;
            sim_pixel(pixel);
        }
}

static void tell(const rasca_t *engine, const char *what, const rasca_answer_t *answer) {
    int i;
    printf("%s %u %u %u %u", what, (unsigned)answer->number, answer->rows, answer->index,
           answer->status);
    for (i = 0; i < engine->classes; i++) printf(" %d", (int)answer->logits[i]);
    printf("\n");
}

int check(const char *folder) {
    rasca_t engine;
    rasca_answer_t answer;
    rasca_counters_t counters;
    int8_t state[4096];
    int32_t least = INT32_MIN, most = INT32_MAX;
    uint32_t size, row = 0, frame, pictures, i;
    int result;

    printf("far %d\n", rasca_init(&engine, 0x10));
    printf("init %d\n", rasca_init(&engine, 0));
    printf("sizes %u %u %u %u %u %u %u %u\n", (unsigned)engine.weights_bytes, engine.width,
           engine.height, engine.row_groups, engine.classes, engine.colours, engine.state_channels,
           engine.state_columns);
    size = file(folder, "weights.bin");
    printf("short %d\n", rasca_load(&engine, bytes, size - 1, 100));
    rasca_interrupts(&engine, RASCA_INTERRUPT_LOADED);
    printf("load %d\n", rasca_load(&engine, bytes, size, 100));
    sim_cycles(4);
    printf("interrupt %d", sim_interrupt());
    printf(" %u", (unsigned)rasca_happened(&engine));
    sim_cycles(4);
    printf(" %d\n", sim_interrupt());

    pictures = file(folder, "pictures.bin") / (uint32_t)(engine.width * engine.height);
    pictures /= engine.colours;
    rasca_interrupts(&engine, 0);
    rasca_thresholds(&engine, NULL, NULL);
    for (frame = 0; frame < pictures; frame++) {
        send(&engine, bytes + frame * engine.width * engine.height * engine.colours);
        for (i = 0; i < engine.row_groups;) {
            rasca_row(&engine, &answer);
            if (answer.number == row) continue;
            row = answer.number;
            i++;
            tell(&engine, "row", &answer);
            result = rasca_state(&engine, state, 100);
            printf("state %d", result);
            for (size = 0; size < (uint32_t)(engine.state_channels * engine.state_columns); size++)
                printf(" %d", state[size]);
            printf("\n");
        }
        if (rasca_wait(&engine, frame, &answer, 10000)) return 1;
        tell(&engine, "decision", &answer);
    }
    printf("none %d\n", rasca_wait(&engine, frame, &answer, 3));

    rasca_thresholds(&engine, &least, NULL);
    send(&engine, bytes);
    if (rasca_wait(&engine, frame++, &answer, 10000)) return 1;
    tell(&engine, "stopped", &answer);
    rasca_thresholds(&engine, NULL, &most);
    send(&engine, bytes);
    if (rasca_wait(&engine, frame++, &answer, 10000)) return 1;
    tell(&engine, "skipped", &answer);

    /* nothing waits: the engine cannot keep up */
    rasca_thresholds(&engine, NULL, NULL);
    rasca_stream(&engine, 1, 0);
    send(&engine, bytes);
    if (rasca_wait(&engine, frame++, &answer, 10000)) return 1;
    rasca_decision(&engine, &answer);
    tell(&engine, "lost", &answer);
    rasca_counters(&engine, &counters);
    printf("counters %u %u %u %u %u\n", (unsigned)counters.dropped, (unsigned)counters.overrun,
           (unsigned)counters.truncated, (unsigned)counters.line, (unsigned)counters.restart);
    /* in the middle of a frame the state is no one's at some time */
    rasca_stream(&engine, 0, 0);
    send(&engine, bytes);
    for (result = RASCA_DONE, i = 0; i < 3000 && result == RASCA_DONE; i++)
        result = rasca_state(&engine, state, 100);
    printf("changed %d\n", result);
    return 0;
}
