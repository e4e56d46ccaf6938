/* SPDX-License-Identifier: Apache-2.0 */
#include "broker/http/fetch_times.h"

#include <assert.h>

void fetch_times_init(struct fetch_times *t, uint64_t refresh_ms, uint64_t pause_ms,
                      uint64_t now_ms)
{
    *t = (struct fetch_times){.refresh_ms = refresh_ms > pause_ms ? refresh_ms : pause_ms,
                              .pause_ms = pause_ms,
                              .due_ms = now_ms,
                              .earliest_ms = now_ms};
}

bool fetch_times_begin(struct fetch_times *t, uint64_t now_ms)
{
    if (t->under_way || now_ms < t->due_ms) {
        return false;
    }
    t->under_way = true;
    return true;
}

void fetch_times_end(struct fetch_times *t, bool good, uint64_t now_ms)
{
    assert(t->under_way);

    t->under_way = false;
    t->earliest_ms = now_ms + t->pause_ms;
    t->due_ms = good ? now_ms + t->refresh_ms : t->earliest_ms;
}

uint64_t fetch_times_seek(struct fetch_times *t, uint64_t now_ms)
{
    if (t->under_way) {
        return 0;
    }
    t->due_ms = t->earliest_ms;
    return fetch_times_left(t, now_ms);
}

uint64_t fetch_times_left(const struct fetch_times *t, uint64_t now_ms)
{
    return t->under_way ? UINT64_MAX : t->due_ms > now_ms ? t->due_ms - now_ms : 0;
}
