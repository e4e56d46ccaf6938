/* SPDX-License-Identifier: Apache-2.0 */
/*
 * log: one line to stderr for each thing that an operator must know; callable where nothing may
 * block.
 *
 *   log_event(LOG_WARNING, "connection_refused", LOG_TEXT("reason", "limit"), LOG_NUMBER("limit",
 * n), LOG_BYTES("client_id", client_id)); ts=2026-11-23T23:59:59.123456Z level=warning
 * msg=connection_refused reason=limit limit=5 …
 *
 *   any thread ── log_event() ──▶ ring of LOG_RING_RECORDS records ──▶ log thread ──▶ descriptor
 *
 * Owner: the process; main calls log_start() and log_stop() while no other thread logs. In between
 *   every thread may call the rest. Before and after, a line is written by the caller itself.
 * Cost: a level that is off: one load. Suppressed: one look at the clock. Otherwise a copy into the
 *   ring, and, only when the log thread had gone to sleep for want of work, one futex wake.
 * Memory: one ring, allocated by log_start().
 * At the bound: ring full: the record is dropped and counted, and the log thread says how many
 *   (msg=log_dropped). More than LOG_BURST lines in a second from one place on one thread:
 * suppressed and counted, and that place's next line ends with suppressed=…. A text longer than
 *   LOG_TEXT_BYTES_MAX is cut and ends with "…".
 * Not kept: lines of the last LOG_POLL_MS before a crash.
 */
#pragma once

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "proto/bytes.h"
#include "proto/nodiscard.h"

#define LOG_RING_RECORDS   1024u
#define LOG_RECORD_BYTES   1024u /* one record, all fields; what does not fit is cut */
#define LOG_TEXT_BYTES_MAX 256u  /* of one field */
#define LOG_FIELDS_MAX     12u   /* asserted */
#define LOG_BURST          10u   /* lines per place, thread and second */
#define LOG_POLL_MS        20u   /* how long a line may wait in the ring */

enum log_level {
    LOG_ERROR,   /* something was lost or will not work until somebody acts */
    LOG_WARNING, /* somebody should look */
    LOG_INFO,    /* what an operator wants to have seen afterwards */
    LOG_DEBUG,   /* what a maintainer wants */
};

enum log_format {
    LOG_LOGFMT,
    LOG_JSON, /* one object a line, valid whatever the fields hold */
};

struct log_conf {
    int fd; /* borrowed; written to by the log thread */
    enum log_level level;
    enum log_format format;
    uint32_t ring_records;    /* a power of two, 2 or more; 0: LOG_RING_RECORDS */
    uint64_t (*now_ns)(void); /* nanoseconds since 1970; NULL: the system's. For tests. */
};

struct log_counts {
    uint64_t written;    /* lines */
    uint64_t dropped;    /* ring full, or the descriptor refused them */
    uint64_t suppressed; /* by the limit per place */
};

/* Starts the log thread. false, errno set: no memory or no thread; lines are then still written by
 * the callers themselves, with conf's descriptor, level and format. */
NODISCARD bool log_start(const struct log_conf *conf);

/* Writes what is in the ring (gives up on a descriptor that takes nothing for 2 s) and ends the
 * thread. Everything is as before log_start() then: stderr, LOG_INFO, LOG_LOGFMT; counts are 0. */
void log_stop(void);

void log_set_level(enum log_level level);
void log_set_format(enum log_format format);
void log_counts(struct log_counts *counts);

/* ---- fields; `name` must be a string literal of [a-z0-9_] */

#define LOG_TEXT(name, text)   log_field_text((name), (text))   /* NULL is written as "" */
#define LOG_BYTES(name, bytes) log_field_bytes((name), (bytes)) /* struct bytes, hostile or not */
#define LOG_BOOL(name, truth)  log_field_bool((name), (truth))
#define LOG_ERRNO(name, number)                                                                    \
    log_field_errno((name), (number)) /* as text: "Connection refused" */
#define LOG_NUMBER(name, number)                                                                   \
    _Generic((number), unsigned long                                                               \
             : log_field_unsigned, unsigned long long                                              \
             : log_field_unsigned, default                                                         \
             : log_field_signed)((name), (number))

/*
 * Logs one event. `level` is one of LOG_ERROR …; `event` a string literal of [a-z0-9_], which is
 * what an operator searches for; then any number of fields. Neither fields nor the event are
 * evaluated when the level is off or the line is suppressed.
 */
#define log_event(level, event, ...)                                                               \
    do {                                                                                           \
        static _Thread_local struct log_place log_place_here;                                      \
        if (log_is_on(level) && log_permit(&log_place_here)) {                                     \
            log_submit((level), (event), &log_place_here,                                          \
                       (const struct log_field[]){{.name = NULL}, ##__VA_ARGS__},                  \
                       sizeof((const struct log_field[]){{.name = NULL}, ##__VA_ARGS__}) /         \
                           sizeof(struct log_field));                                              \
        }                                                                                          \
    } while (0)

/* ---- what the macros are made of; not for others */

enum log_kind {
    LOG_KIND_BYTES,
    LOG_KIND_SIGNED,
    LOG_KIND_UNSIGNED,
    LOG_KIND_BOOL,
};

struct log_field {
    const char *name;
    enum log_kind kind;
    union {
        struct bytes bytes;
        int64_t number;
        uint64_t unsigned_number;
        bool truth;
    };
};

/* One log_event() in the source, on one thread: what it has passed in this second. */
struct log_place {
    uint64_t second_began_ns; /* of the first line of this second; 0: none yet */
    uint32_t passed;          /* 0..LOG_BURST, since then */
    uint32_t suppressed;      /* since the last line that passed */
    uint64_t now_ns;          /* of the line being written */
};

extern _Atomic int log_level_on; /* written by log_set_level(), read by all; relaxed */

static inline bool log_is_on(enum log_level level)
{
    return (int)level <= atomic_load_explicit(&log_level_on, memory_order_relaxed);
}

bool log_permit(struct log_place *place);

/* fields[0] is a stand-in, so that an event without fields is an array too. */
void log_submit(enum log_level level, const char *event, struct log_place *place,
                const struct log_field *fields, size_t count);

static inline struct log_field log_field_bytes(const char *name, struct bytes bytes)
{
    return (struct log_field){.name = name, .kind = LOG_KIND_BYTES, .bytes = bytes};
}

static inline struct log_field log_field_text(const char *name, const char *text)
{
    return log_field_bytes(name, text == NULL ? bytes_of(NULL, 0) : bytes_text(text));
}

static inline struct log_field log_field_signed(const char *name, int64_t number)
{
    return (struct log_field){.name = name, .kind = LOG_KIND_SIGNED, .number = number};
}

static inline struct log_field log_field_unsigned(const char *name, uint64_t number)
{
    return (struct log_field){.name = name, .kind = LOG_KIND_UNSIGNED, .unsigned_number = number};
}

static inline struct log_field log_field_bool(const char *name, bool truth)
{
    return (struct log_field){.name = name, .kind = LOG_KIND_BOOL, .truth = truth};
}

struct log_field log_field_errno(const char *name, int number);
