/* SPDX-License-Identifier: Apache-2.0 */
#include "bench/load/foreign.h"

#include <assert.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#define FIRST_LEVELS 1000u
#define PER_SECOND   64u /* filters below one second level */

const char *const foreign_kind_names[FOREIGN_KINDS] = {
    [FOREIGN_EXACT] = "exact",
    [FOREIGN_PLUS] = "plus",
    [FOREIGN_HASH] = "hash",
    [FOREIGN_MIXED] = "mixed",
};

/* The messages' topics are TOPIC/0000012, with no level that looks like one of these. Those with a
 * + in the second level are met by every one of the messages, and fail in the third. */
size_t foreign_filter(const struct foreign *f, uint64_t i, char out[FOREIGN_BYTES_MAX])
{
    const enum foreign_kind kind = f->kind == FOREIGN_MIXED ? (enum foreign_kind)(i % 3) : f->kind;
    const uint64_t second = i / PER_SECOND;
    char first[FOREIGN_BYTES_MAX / 2];
    if (f->first_level != NULL) {
        snprintf(first, sizeof first, "%s", f->first_level);
    } else {
        snprintf(first, sizeof first, "site%" PRIu64, i % FIRST_LEVELS);
    }
    int len;
    if (kind == FOREIGN_EXACT) {
        len = snprintf(out, FOREIGN_BYTES_MAX, "%s/line%" PRIu64 "/unit%" PRIu64 "/state", first,
                       second, i);
    } else if (kind == FOREIGN_HASH) {
        len = snprintf(out, FOREIGN_BYTES_MAX, "%s/line%" PRIu64 "/unit%" PRIu64 "/#", first,
                       second, i);
    } else if (i % 2 == 0) {
        len = snprintf(out, FOREIGN_BYTES_MAX, "%s/line%" PRIu64 "/+/state%" PRIu64, first, second,
                       i);
    } else {
        len = snprintf(out, FOREIGN_BYTES_MAX, "%s/+/unit%" PRIu64 "/state", first, i);
    }
    assert(len > 0 && len < (int)FOREIGN_BYTES_MAX);
    return (size_t)len;
}

size_t foreign_filters(const struct foreign *f, uint64_t first, uint32_t count, bool subscribe,
                       uint8_t *out)
{
    assert(count <= FOREIGN_PER_PACKET);

    uint8_t *at = out;
    for (uint64_t i = first; i < first + count; i++) {
        char filter[FOREIGN_BYTES_MAX];
        const size_t len = foreign_filter(f, i, filter);
        *at++ = (uint8_t)(len >> 8);
        *at++ = (uint8_t)len;
        memcpy(at, filter, len);
        at += len;
        if (subscribe) {
            *at++ = 0; /* QoS 0 */
        }
    }
    return (size_t)(at - out);
}
