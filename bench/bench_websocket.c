/* SPDX-License-Identifier: Apache-2.0 */
/*
 * bench_websocket: a client's frames, decoded and unmasked by proto/ws_frame.h and by libwslay, in
 * nanoseconds for each frame. It is built where libwslay is installed, and nothing else links that.
 *
 * wslay unmasks in a buffer of its own of 4 KiB, and hands out what is in there; so a caller that
 * wants the payload in one run, as the decoder of MQTT does, has to copy it once more, which is not
 * counted here. What is: its callback copies the bytes to that buffer, where a socket would.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <wslay/wslay.h>

#include "bench/micro/micro.h"
#include "bench/micro/websocket.h"
#include "bench/timing.h"

#define ROUND_BYTES (64u << 20)

/* Where wslay gets its bytes from. */
struct source {
    const struct websocket_stream *stream;
    size_t at, len;
};

static ssize_t give(uint8_t *buf, size_t len, int flags, void *user_data)
{
    (void)flags;
    struct source *source = user_data;
    const size_t left = source->len - source->at;
    const size_t part = len < left ? len : left;
    memcpy(buf, source->stream->bytes + source->at, part);
    source->at += part;
    return part > 0 ? (ssize_t)part : -1; /* nothing any more */
}

static void wslay_decode(struct websocket_stream *s, uint64_t count)
{
    static const struct wslay_frame_callbacks callbacks = {.recv_callback = give};
    struct source source = {.stream = s};
    wslay_frame_context_ptr context;
    if (wslay_frame_context_init(&context, &callbacks, &source) != 0) {
        abort();
    }
    while (count > 0) {
        const size_t frames = count < s->frames ? (size_t)count : s->frames;
        source.at = 0;
        source.len = frames * s->frame_bytes;
        size_t payload = 0;
        while (payload < frames * s->payload_bytes) {
            struct wslay_frame_iocb iocb = {0};
            if (wslay_frame_recv(context, &iocb) < 0) {
                abort();
            }
            payload += iocb.data_length;
            micro_use(iocb.data_length > 0 ? iocb.data[0] : 0);
        }
        count -= frames;
    }
    wslay_frame_context_free(context);
}

struct round {
    const struct micro *own; /* NULL: wslay */
    struct websocket_stream *stream;
    uint64_t count;
};

static void round_run(void *context)
{
    const struct round *r = context;
    if (r->own != NULL) {
        r->own->run(r->stream, r->count);
    } else {
        wslay_decode(r->stream, r->count);
    }
}

int main(void)
{
    printf("%-16s %12s %12s\n", "payload", "ws_frame", "wslay");
    for (const struct micro *m = micro_websocket; m->name != NULL; m++) {
        struct websocket_stream *const s = m->create();
        const uint64_t count = ROUND_BYTES / s->frame_bytes;
        struct round own = {m, s, count}, other = {NULL, s, count};
        const double own_ns = timing_median_ns(round_run, &own, (double)count);
        const double other_ns = timing_median_ns(round_run, &other, (double)count);
        printf("%-16zu %9.1f ns %9.1f ns   %.1f times\n", s->payload_bytes, own_ns, other_ns,
               other_ns / own_ns);
        m->destroy(s);
    }
    return 0;
}
