/* SPDX-License-Identifier: Apache-2.0 */
/*
 * fetch_times: when something that a server has is to be fetched: every so often; earlier when
 * somebody misses something in it, or when the last time was in vain; but never sooner than
 * `pause_ms` after the last time, whoever asks for it.
 *
 *   waiting ── fetch_times_begin() ─▶ under way ── fetch_times_end() ─▶ waiting
 *
 * Pure: times in, times out. Owner: the caller's, as is what keeps threads apart.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

struct fetch_times {
    uint64_t refresh_ms, pause_ms; /* from the end of one to the beginning of the next */
    uint64_t due_ms;
    uint64_t earliest_ms; /* pause_ms after the last one; at most due_ms */
    bool under_way;
};

/* Due at once. */
void fetch_times_init(struct fetch_times *t, uint64_t refresh_ms, uint64_t pause_ms,
                      uint64_t now_ms);

/* Is one to begin now? Then it is under way. */
bool fetch_times_begin(struct fetch_times *t, uint64_t now_ms);

/* It has come to its end: was it of use? */
void fetch_times_end(struct fetch_times *t, bool good, uint64_t now_ms);

/* Somebody misses something: one is due as soon as may be. In so many milliseconds; 0: now, or it
 * is under way. */
uint64_t fetch_times_seek(struct fetch_times *t, uint64_t now_ms);

/* Until the next one is due; UINT64_MAX while one is under way. */
uint64_t fetch_times_left(const struct fetch_times *t, uint64_t now_ms);
