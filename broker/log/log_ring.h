/* SPDX-License-Identifier: Apache-2.0 */
/*
 * log_ring: log records from any number of threads to one, in the order of their reservations.
 *
 *   slot i is free for reservation n (n % size == i)   when its turn == n
 *   and holds the record of it                         when its turn == n + 1
 *
 * The scheme is Dmitry Vyukov's bounded queue: a producer claims a reservation with one
 * compare-and-swap, writes, and shows the record with one store; nobody waits for anybody. A
 * producer that stops between the two holds back those behind it, until the ring is full; then they
 * are dropped, still without waiting.
 *
 * Owner: producers and the one consumer, each with its own functions.
 * Memory: one allocation, in log_ring_create().
 * At the bound: log_ring_reserve() answers NULL.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "broker/log/log_record.h"

struct log_ring;

struct log_ring *log_ring_create(uint32_t records); /* a power of two, 2 or more; NULL: no memory */
void log_ring_destroy(struct log_ring *ring);       /* NULL is fine */

/* ---- producers */

struct log_record *log_ring_reserve(struct log_ring *ring, uint64_t *reservation);

/* Sequentially consistent: whoever then sees the consumer asleep has to wake it, and the consumer
 * that went to sleep later sees the record. */
void log_ring_commit(struct log_ring *ring, uint64_t reservation);

/* ---- the consumer */

const struct log_record *log_ring_peek(struct log_ring *ring); /* NULL when empty */
void log_ring_release(struct log_ring *ring);                  /* done with what was peeked */
