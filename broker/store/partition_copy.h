/* SPDX-License-Identifier: Apache-2.0 */
/*
 * partition_copy: the records of a partition as bytes, in parts, for a node that has none of them;
 * and there into its own (broker/partitions/copies.c).
 *
 *   copy_out_part() ─▶ bytes ─▶ … ─▶ copy_in_part() ─▶ records      once for each part, in order
 *
 *   part   version, partition, how many parts and records were before it; records
 *   o …  w …  s …  f …  q …  end                             in the order of their keys
 *   q      a delivery says which body it has of those that were sent; a new one comes with it
 *
 * The records may change while they are copied: those of a session are not of one moment. When all
 * entries of the partition are applied that come after the first part was made, it is as if they
 * were (apply.h); for that a session's record is copied before its deliveries. What says how far
 * the copy is, is the caller's to note, before the first part.
 *
 * Bodies have other numbers there (serial.h). A body that was sent long ago is sent again, as the
 * sender remembers COPY_BODIES of them.
 *
 * Owner: one thread on either side, which may wait for its records. Memory: 1 MiB at the sender;
 * a part, which is of bytes_max and one delivery at most.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "broker/store/fields.h"
#include "broker/store/records.h"
#include "proto/bytes.h"
#include "proto/nodiscard.h"

#define COPY_VERSION 1u
#define COPY_BODIES  65536u

enum copy_err {
    COPY_OK = 0,
    COPY_UNKNOWN,         /* nothing that this version can read */
    COPY_OTHER_PARTITION, /* it is of another one, or says something of another one's session */
    COPY_OUT_OF_ORDER,    /* a part, or a record, is missing or comes twice */
    COPY_UNFIT,           /* a record that no node can have */
    COPY_NOT_EMPTY,       /* the partition has something here: it is to be erased first, and that
                             to be on disk */
    COPY_RECORDS,         /* `err` of the copy says what; CHECKPOINT_CORRUPT also of a record */
    COPY_ERRS,
};

const char *copy_err_text(enum copy_err err);

/* All of a partition's records, and the references that they have. */
NODISCARD enum checkpoint_err partition_erase(const struct records *records, unsigned partition);

/* ---- from here */

struct copy_out;

struct copy_out *copy_out_create(const struct records *records, unsigned partition); /* NULL: no
                                                                                         memory */
void copy_out_destroy(struct copy_out *c); /* NULL is fine */

/* The next part, into *w, which it begins. It is not to be called again when it has said that it
 * was the last. */
NODISCARD enum copy_err copy_out_part(struct copy_out *c, size_t bytes_max, struct field_writer *w,
                                      bool *is_last);
enum checkpoint_err copy_out_err(const struct copy_out *c); /* with COPY_RECORDS */

/* ---- and there */

struct copy_in {
    const struct records *records; /* borrowed */
    unsigned partition;
    enum checkpoint_err err; /* with COPY_RECORDS */
    uint64_t parts, items, bodies, origins;
    unsigned letter;        /* the place of the last record's */
    struct record_key last; /* of the last record; of 0 bytes: none yet of that letter */
    bool is_over;

    struct field_writer value; /* scratch */
};

/* COPY_NOT_EMPTY, COPY_RECORDS; it is to be ended in any case. */
NODISCARD enum copy_err copy_in_begin(struct copy_in *c, const struct records *records,
                                      unsigned partition);

/* Any bytes are fair input. After an error what was put is to be erased. c->is_over: that was all.
 * Not more than one part has to be in one batch. */
NODISCARD enum copy_err copy_in_part(struct copy_in *c, struct bytes part);
void copy_in_end(struct copy_in *c);
