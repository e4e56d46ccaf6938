/* SPDX-License-Identifier: Apache-2.0 */
/* recorder_threads: a shard writes, and another thread has its rings: no note is lost or torn. */
#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "broker/recorder/recorder.h"

#define RINGS          40u
#define WITHDRAWN      10u
#define RING_BYTES     (1u << 20)
#define NOTES_PER_RING 5000u /* at most; it has room for more */

static struct recorder r;
static _Atomic bool enough;
static uint32_t written;

static void write_one(void)
{
    uint8_t text[60];
    written++;
    memset(text, (int)(written & 0xff), sizeof text);
    recorder_write(&r, NOTE_SENT, 0, NULL, written, bytes_of(text, written % sizeof text),
                   bytes_of(NULL, 0));
}

/* A ring that is full is waited with, until it is asked for. */
static void *write_notes(void *unused)
{
    (void)unused;
    const struct note_ring *ring = r.ring;
    for (uint32_t turn = 1, in_ring = 0; !atomic_load(&enough); turn++) {
        recorder_turn(&r, turn);
        if (r.ring != ring) {
            ring = r.ring;
            in_ring = 0;
        }
        if (in_ring < NOTES_PER_RING) {
            in_ring++;
            write_one();
        } else {
            sched_yield();
        }
    }
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

/* The shard's ring for another one; NULL: the offer was withdrawn before it was taken up. */
static struct note_ring *swap(bool patient)
{
    struct note_ring *given = NULL;
    recorder_offer(&r, note_ring_create(RING_BYTES));
    while (patient && (given = recorder_take(&r)) == NULL) {
        sched_yield();
    }
    if (given == NULL) {
        struct note_ring *const back = recorder_withdraw(&r);
        note_ring_destroy(back);
        while (back == NULL && (given = recorder_take(&r)) == NULL) { /* it was, in that moment */
            sched_yield();
        }
    }
    return given;
}

int main(void)
{
    pthread_t writer;
    uint32_t last = 0;
    unsigned rings = 0, withdrawn = 0;
    if (!recorder_init(&r, RING_BYTES) || pthread_create(&writer, NULL, write_notes, NULL) != 0) {
        return EXIT_FAILURE;
    }
    while (rings < RINGS || withdrawn < WITHDRAWN) {
        struct note_ring *const given = swap(rings < RINGS && rings <= 4 * withdrawn);
        if (given == NULL) {
            withdrawn++;
            continue;
        }
        last = read_notes(given, last);
        note_ring_destroy(given);
        rings++;
    }
    atomic_store(&enough, true);
    pthread_join(writer, NULL);
    last = read_notes(r.ring, last);
    recorder_fini(&r);
    printf("%u notes in %u rings, %u withdrawn\n", last, rings, withdrawn);
    return last == written && last > 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
