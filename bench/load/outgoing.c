/* SPDX-License-Identifier: Apache-2.0 */
#include "bench/load/outgoing.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#define FIRST_BYTES 256u

uint8_t *outgoing_reserve(struct outgoing *out, size_t len)
{
    if (out->end + len > out->size) {
        const size_t unsent = outgoing_len(out);
        if (len > OUTGOING_BYTES_MAX - unsent) {
            return NULL;
        }
        if (out->begin > 0) {
            memmove(out->bytes, out->bytes + out->begin, unsent);
            out->begin = 0;
            out->end = unsent;
        }
        size_t size = out->size > 0 ? out->size : FIRST_BYTES;
        while (size < unsent + len) {
            size *= 2;
        }
        if (size > out->size) {
            uint8_t *const bytes = realloc(out->bytes, size);
            if (bytes == NULL) {
                return NULL;
            }
            out->bytes = bytes;
            out->size = size;
        }
    }
    uint8_t *const at = out->bytes + out->end;
    out->end += len;
    return at;
}

void outgoing_sent(struct outgoing *out, size_t len)
{
    assert(len <= outgoing_len(out));

    out->begin += len;
    if (out->begin == out->end) {
        out->begin = out->end = 0;
    }
}

void outgoing_free(struct outgoing *out)
{
    free(out->bytes);
    *out = (struct outgoing){0};
}
