/* SPDX-License-Identifier: Apache-2.0 */
/* recorder_threads: a shard writes, and another thread has its rings: nothing is lost, nothing
 * torn. */
#include <assert.h>
#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "broker/recorder/recorder.h"

#define NOTES 100000u /* fewer than a ring holds */
#define RING  (1u << 24)

static struct recorder r;
static _Atomic bool over;

static void *write_notes(void *unused)
{
    (void)unused;
    for (uint32_t i = 1; i <= NOTES; i++) {
        uint8_t text[60];
        memset(text, (int)(i & 0xff), sizeof text);
        recorder_turn(&r, i);
        if (i % 1000 == 0) {
            sched_yield();
        }
        recorder_write(&r, NOTE_SENT, 0, NULL, i, bytes_of(text, i % sizeof text),
                       bytes_of(NULL, 0));
    }
    atomic_store(&over, true);
    return NULL;
}

/* Returns the number of the last one. */
static uint32_t read_notes(const struct note_ring *ring, uint32_t before)
{
    uint64_t cursor = 0;
    for (const struct note *note; (note = note_ring_next(ring, &cursor)) != NULL;) {
        if (note->length != before + 1) {
            fprintf(stderr, "%u follows %u\n", note->length, before);
            exit(EXIT_FAILURE);
        }
        before = note->length;
        for (size_t i = 0; i < note->text_len; i++) {
            if (note->text[i] != (uint8_t)before) {
                fprintf(stderr, "%u is torn\n", before);
                exit(EXIT_FAILURE);
            }
        }
    }
    return before;
}

int main(void)
{
    pthread_t writer;
    uint32_t last = 0;
    unsigned rings = 0, withdrawn = 0;
    if (!recorder_init(&r, RING) || pthread_create(&writer, NULL, write_notes, NULL) != 0) {
        return EXIT_FAILURE;
    }
    while (!atomic_load(&over)) {
        struct note_ring *const fresh = note_ring_create(RING);
        struct note_ring *given = NULL;
        recorder_offer(&r, fresh);
        const bool patient = (rings + withdrawn) % 4 != 3;
        while (patient && given == NULL && !atomic_load(&over)) {
            given = recorder_take(&r);
            sched_yield();
        }
        if (given == NULL) {
            note_ring_destroy(recorder_withdraw(&r));
            withdrawn++;
            given = recorder_take(&r); /* taken up in that moment */
        }
        if (given != NULL) {
            last = read_notes(given, last);
            note_ring_destroy(given);
            rings++;
        }
    }
    pthread_join(writer, NULL);
    last = read_notes(r.ring, last);
    recorder_fini(&r);
    printf("%u notes in %u rings, %u withdrawn\n", last, rings, withdrawn);
    return last == NOTES && rings > 0 && withdrawn > 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
