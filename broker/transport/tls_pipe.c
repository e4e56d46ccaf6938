/* SPDX-License-Identifier: Apache-2.0 */
#include "broker/transport/tls_pipe.h"

#include <stdlib.h>
#include <string.h>

#include "broker/outbuf.h"

struct tls_pipe {
    struct tls *tls;
    struct outbuf wire;
};

struct tls_pipe *tls_pipe_create(struct tls_context *context, bool has_called)
{
    struct tls_pipe *const p = calloc(1, sizeof *p);
    if (p == NULL) {
        return NULL;
    }
    p->tls = has_called ? tls_create_caller(context, &p->wire)
                        : tls_create(context, bytes_of(NULL, 0), &p->wire);
    if (p->tls == NULL) {
        free(p);
        return NULL;
    }
    return p;
}

void tls_pipe_destroy(struct tls_pipe *p)
{
    if (p != NULL) {
        tls_destroy(p->tls);
        outbuf_fini(&p->wire);
        free(p);
    }
}

/* A record of a handshake, of version 3.1 or 3.3 (RFC 8446, 5.1). As the head of a frame of ours it
 * would be one of 64 KiB or more, and no connection begins with one of those. */
bool tls_pipe_begins(const uint8_t in[TLS_PIPE_PEEK_BYTES])
{
    return in[0] == 22 && in[1] == 3 && in[2] != 0;
}

void tls_pipe_feed(struct tls_pipe *p, const uint8_t *data, size_t len)
{
    tls_feed(p->tls, data, len);
}

enum tls_result tls_pipe_handshake(struct tls_pipe *p)
{
    return tls_handshake(p->tls);
}

enum tls_result tls_pipe_read(struct tls_pipe *p, uint8_t *out, size_t size, size_t *len)
{
    return tls_read(p->tls, out, size, len);
}

/* One record's worth of the runs, from *at of the first on. */
static size_t copy(uint8_t out[TLS_RECORD_BYTES], const struct bytes **run, const struct bytes *end,
                   size_t *at)
{
    size_t len = 0;
    while (*run < end && len < TLS_RECORD_BYTES) {
        const size_t left = (*run)->len - *at;
        const size_t room = TLS_RECORD_BYTES - len;
        const size_t part = left < room ? left : room;
        memcpy(out + len, (*run)->at + *at, part);
        len += part;
        *at += part;
        if (*at == (*run)->len) {
            (*run)++;
            *at = 0;
        }
    }
    return len;
}

bool tls_pipe_write(struct tls_pipe *p, const struct bytes *runs, size_t n, size_t *taken)
{
    uint8_t record[TLS_RECORD_BYTES];
    const struct bytes *const end = runs + n;
    size_t at = 0;
    *taken = 0;
    while (*taken < TLS_PIPE_BATCH) {
        const size_t len = copy(record, &runs, end, &at);
        if (len == 0) {
            break;
        }
        if (!tls_write(p->tls, record, len)) {
            return false;
        }
        *taken += len;
    }
    return true;
}

unsigned tls_pipe_gather(const struct tls_pipe *p, struct iovec *iov, unsigned max, size_t *bytes)
{
    return outbuf_gather(&p->wire, iov, max, bytes);
}

void tls_pipe_sent(struct tls_pipe *p, size_t bytes)
{
    outbuf_consume(&p->wire, bytes);
}

bool tls_pipe_is_trusted(struct tls_pipe *p, const struct tls_context *now, const char **why)
{
    return tls_is_trusted(p->tls, now, why);
}

const char *tls_pipe_why(const struct tls_pipe *p)
{
    const char *const why = tls_why(p->tls);
    return why == NULL ? "it ended" : why;
}
