/* SPDX-License-Identifier: Apache-2.0 */
#include "broker/recorder/occasion.h"

#include <stddef.h>

static const char *const words[OCCASIONS] = {
    [OCCASION_STANDS_STILL] = "stands-still",
    [OCCASION_DISK] = "disk",
    [OCCASION_MEMORY] = "memory",
};

const char *occasion_of(struct occasions *o, const bool is[OCCASIONS], uint64_t now_ms)
{
    const char *word = NULL;
    for (unsigned i = 0; i < OCCASIONS; i++) {
        const bool begins = is[i] && !o->is[i] && now_ms >= o->not_before_ms[i];
        if (begins && word == NULL) {
            word = words[i];
            o->not_before_ms[i] = now_ms + OCCASION_PAUSE_MS;
        }
        o->is[i] = is[i] && (o->is[i] || !begins || word == words[i]);
    }
    return word;
}
