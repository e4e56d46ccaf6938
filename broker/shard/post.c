/* SPDX-License-Identifier: Apache-2.0 */
#include "broker/shard/post.h"

#include <assert.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "broker/io/io.h"
#include "broker/shard/mailbox.h"
#include "broker/shard/shard.h"

int post_init(struct shard *s, unsigned shard_count, size_t mailbox_bytes)
{
    s->post.in = calloc(shard_count, sizeof(struct mailbox *));
    s->post.out = calloc(shard_count, sizeof *s->post.out);
    if (s->post.in == NULL || s->post.out == NULL) {
        return -1;
    }
    for (unsigned from = 0; from < shard_count; from++) {
        if (from == s->id) {
            continue;
        }
        s->post.in[from] = mailbox_create(mailbox_bytes);
        if (s->post.in[from] == NULL) {
            return -1;
        }
    }
    return 0;
}

void post_connect(struct shard *from, struct shard *to)
{
    from->post.out[to->id].box = to->post.in[from->id];
}

void post_fini(struct shard *s)
{
    for (unsigned i = 0; i < s->node->shard_count; i++) {
        if (s->post.in != NULL) {
            mailbox_destroy(s->post.in[i]);
        }
        while (s->post.out != NULL && s->post.out[i].first != NULL) {
            struct post_waiting *w = s->post.out[i].first;
            s->post.out[i].first = w->next;
            free(w);
        }
    }
    free(s->post.in);
    free(s->post.out);
    s->post.in = NULL;
    s->post.out = NULL;
}

static void *wait_outside(struct post_out *out, size_t len)
{
    struct post_waiting *w = malloc(sizeof *w + len);
    if (w == NULL) {
        fputs("dunlin: out of memory for mail between shards\n", stderr);
        abort();
    }
    w->next = NULL;
    w->len = len;
    out->open = w;
    return w->record;
}

void *post_reserve(struct shard *s, unsigned to, enum post_type type, size_t len)
{
    assert(to != s->id);
    assert(len <= POST_BYTES_MAX);

    struct post_out *out = &s->post.out[to];
    /* Order: while anything waits outside, everything does. */
    struct post_head *record = out->first == NULL ? mailbox_reserve(out->box, len) : NULL;
    if (record == NULL) {
        record = wait_outside(out, len);
    }
    record->type = type;
    return record;
}

void post_commit(struct shard *s, unsigned to)
{
    struct post_out *out = &s->post.out[to];
    if (out->open == NULL) {
        mailbox_commit(out->box);
        out->committed++;
        return;
    }
    if (out->first == NULL) {
        out->first = out->open;
        s->post.overflowed++;
    } else {
        out->last->next = out->open;
    }
    out->last = out->open;
    out->open = NULL;
    shard_count(s, METRIC_mail_overflowed);
}

static void move_in(struct shard *s, struct post_out *out)
{
    while (out->first != NULL) {
        struct post_waiting *w = out->first;
        void *record = mailbox_reserve(out->box, w->len);
        if (record == NULL) {
            return;
        }
        memcpy(record, w->record, w->len);
        mailbox_commit(out->box);
        out->committed++;
        out->first = w->next;
        free(w);
        if (out->first == NULL) {
            out->last = NULL;
            s->post.overflowed--;
        }
    }
}

uint64_t post_flush(struct shard *s)
{
    uint64_t receivers = 0;
    for (unsigned to = 0; to < s->node->shard_count; to++) {
        if (to == s->id) {
            continue;
        }
        struct post_out *out = &s->post.out[to];
        move_in(s, out);
        out->shown = out->committed;
        out->committed = 0;
        if (mailbox_publish(out->box)) {
            receivers |= UINT64_C(1) << to;
        }
    }
    return receivers;
}

bool post_receive(struct shard *s, unsigned records, uint64_t work,
                  post_fn *const handlers[POST_TYPES])
{
    bool more = false;
    for (unsigned from = 0; from < s->node->shard_count; from++) {
        struct mailbox *box = s->post.in[from];
        const uint64_t before = s->work;
        for (unsigned n = 0; box != NULL && n < records && s->work - before < work; n++) {
            size_t len;
            const struct post_head *record = mailbox_peek(box, &len);
            if (record == NULL) {
                break;
            }
            handlers[record->type](s, from, record);
            mailbox_release(box);
        }
        more = more || (box != NULL && !mailbox_is_empty(box));
    }
    return more;
}

bool post_is_empty(const struct shard *s)
{
    for (unsigned from = 0; from < s->node->shard_count; from++) {
        if (s->post.in[from] != NULL && !mailbox_is_empty(s->post.in[from])) {
            return false;
        }
    }
    return true;
}

bool post_is_shown(const struct shard *s)
{
    for (unsigned to = 0; to < s->node->shard_count; to++) {
        if (s->post.out[to].committed > 0) {
            return false;
        }
    }
    return true;
}
