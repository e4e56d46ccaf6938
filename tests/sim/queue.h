/* SPDX-License-Identifier: Apache-2.0 */
/*
 * queue: what is going to happen in a world, by time; what was added first goes first at a time.
 *
 * Memory: a heap that grows, and what events carry, which is freed with them.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "proto/node_id.h"

enum event_kind {
    EVENT_START,     /* node */
    EVENT_TIMER,     /* node, a: number of the setting */
    EVENT_DATAGRAM,  /* node: the sender; from, to, bytes */
    EVENT_RESUME,    /* node, a: number of the pause */
    EVENT_CONNECT,   /* a: stream */
    EVENT_CONNECTED, /* a: stream */
    EVENT_STREAM,    /* a: stream, b: direction */
    EVENT_RESET,     /* a: stream, b: the end that is told */
    EVENT_SYNCED,    /* node, a: operation, b: file */
    EVENT_FAULT,
    EVENT_CHECK,
};

struct event {
    uint64_t at_us;
    uint64_t number; /* in the order of adding */
    uint64_t a, b, c;
    struct node_address from, to;
    enum event_kind kind;
    unsigned node;
    unsigned life;  /* of the node; when it has another by then, the event is void */
    uint8_t *bytes; /* the event's; NULL: none */
    size_t len;
};

struct queue {
    struct event *heap;
    size_t count, capacity;
    uint64_t added;
};

void queue_fini(struct queue *q);
void queue_add(struct queue *q, struct event event);
bool queue_take(struct queue *q, struct event *event); /* false: it is empty */
