/* SPDX-License-Identifier: Apache-2.0 */
#include "broker/outbuf.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "broker/message.h"

#define PIECE_BYTES_MIN 1024u
#define PIECE_BYTES_MAX 65536u

struct out_piece {
    struct out_piece *next;
    struct message *message; /* a reference, when the bytes are its payload; else NULL */
    const uint8_t *at;       /* what is still to be sent */
    size_t len;
    size_t room; /* unused behind at[len]; 0 for a payload */
    uint8_t data[];
};

static void piece_free(struct out_piece *p)
{
    message_put(p->message);
    free(p);
}

void outbuf_fini(struct outbuf *o)
{
    while (o->first != NULL) {
        struct out_piece *next = o->first->next;
        piece_free(o->first);
        o->first = next;
    }
    *o = (struct outbuf){0};
}

static void append(struct outbuf *o, struct out_piece *p)
{
    if (o->last == NULL) {
        o->first = p;
    } else {
        o->last->next = p;
    }
    o->last = p;
}

/* A connection that has much to send gets larger pieces, so that a send covers more. */
static size_t piece_bytes(const struct outbuf *o, size_t len)
{
    size_t bytes = PIECE_BYTES_MIN;
    while (bytes < o->bytes && bytes < PIECE_BYTES_MAX) {
        bytes *= 4;
    }
    bytes -= sizeof(struct out_piece); /* whole allocation classes */
    return bytes < len ? len : bytes;
}

uint8_t *outbuf_reserve(struct outbuf *o, size_t len)
{
    if (o->last == NULL || o->last->room < len) {
        const size_t bytes = piece_bytes(o, len);
        struct out_piece *p = malloc(sizeof *p + bytes);
        if (p == NULL) {
            return NULL;
        }
        *p = (struct out_piece){.room = bytes};
        p->at = p->data;
        append(o, p);
    }
    struct out_piece *p = o->last;
    return p->data + (p->at - p->data) + p->len;
}

void outbuf_commit(struct outbuf *o, size_t len)
{
    assert(o->last != NULL);
    assert(len <= o->last->room);
    o->last->len += len;
    o->last->room -= len;
    o->bytes += len;
}

int outbuf_put(struct outbuf *o, const void *bytes, size_t len)
{
    uint8_t *const to = outbuf_reserve(o, len);
    if (to == NULL) {
        return -1;
    }
    memcpy(to, bytes, len);
    outbuf_commit(o, len);
    return 0;
}

int outbuf_add_payload(struct outbuf *o, struct message *message)
{
    const struct bytes payload = message_payload(message);
    struct out_piece *p = malloc(sizeof *p);
    if (p == NULL) {
        return -1;
    }
    *p = (struct out_piece){
        .message = message_take(message, 1), .at = payload.at, .len = payload.len};
    append(o, p);
    o->bytes += payload.len;
    return 0;
}

unsigned outbuf_gather(const struct outbuf *o, struct iovec *iov, unsigned max, size_t *bytes)
{
    unsigned n = 0;
    *bytes = 0;
    for (const struct out_piece *p = o->first; p != NULL && n < max; p = p->next) {
        if (p->len > 0) {
            iov[n++] = (struct iovec){.iov_base = (void *)(uintptr_t)p->at, .iov_len = p->len};
            *bytes += p->len;
        }
    }
    return n;
}

void outbuf_consume(struct outbuf *o, size_t bytes)
{
    assert(bytes <= o->bytes);
    o->bytes -= bytes;
    while (o->first != NULL) {
        struct out_piece *p = o->first;
        const size_t taken = bytes < p->len ? bytes : p->len;
        p->at += taken;
        p->len -= taken;
        bytes -= taken;
        if (p->len > 0) {
            break;
        }
        o->first = p->next;
        piece_free(p);
    }
    assert(bytes == 0);
    if (o->first == NULL) {
        o->last = NULL;
    }
}
