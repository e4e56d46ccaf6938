/* SPDX-License-Identifier: Apache-2.0 */
/*
 * entry: what is written into the journal of a partition: one change of the sessions that are kept,
 * or of a retained message, as bytes. Deciding is over when an entry is written: it says what
 * became of things, with the time, so that whoever reads it gets the same sessions.
 *
 * Sessions are named by their serial number, as entries about one are many and its client
 * identifier may be long. Times are milliseconds since 1970.
 *
 * Pure. Any bytes are fair input of entry_read().
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "broker/store/fields.h"
#include "broker/store/stored_message.h"
#include "proto/bytes.h"
#include "proto/nodiscard.h"

/* The numbers are on disk: they stay. */
enum entry_type {
    ENTRY_OPENED = 1,    /* a session is there, and its client connected */
    ENTRY_CLOSED,        /* its client is not connected any more */
    ENTRY_ENDED,         /* it is gone, with all that is queued in it */
    ENTRY_SUBSCRIBED,    /* it subscribes to a filter, in addition or otherwise than before */
    ENTRY_UNSUBSCRIBED,  /* it does not any more */
    ENTRY_QUEUED,        /* a message is queued in sessions */
    ENTRY_DONE,          /* deliveries are at their end: acknowledged, or dropped */
    ENTRY_RELEASED,      /* PUBREC came for a delivery */
    ENTRY_RECEIVED,      /* a QoS 2 message of the client was taken */
    ENTRY_FREED,         /* PUBREL came for it */
    ENTRY_WILL_OVER,     /* its will was published or forgotten; not written any more */
    ENTRY_RETAINED,      /* a retained message */
    ENTRY_UNRETAINED,    /* a topic has none any more */
    ENTRY_WILL_DUE,      /* the session's will is to be published; it has none any more */
    ENTRY_WILL_RETAINED, /* as a retained message it is stored, or was refused */
    ENTRY_WILL_GONE,     /* all have the will that have to keep it */
    ENTRY_BURIED,        /* a topic has no retained message, as of that version (cluster/replica) */
    ENTRY_DISPATCHED,    /* as QUEUED, of a message that came to the partition as an operation */
    ENTRY_BEGUN,         /* a QoS 2 message of the client is about to be given to others: as that
                            exchange, should it come again */
    ENTRY_SEALED,        /* the last one of a partition's incarnation: others go on from here */
    ENTRY_TYPES
};

struct stored_will {
    struct bytes message; /* stored_message.h; empty: there is no will */
    uint32_t delay_s;
    bool has_expiry;
    uint32_t expiry_s;
};

struct stored_options {
    uint32_t identifier; /* 0: none */
    uint8_t qos;
    bool no_local;
    bool retain_as_published;
};

/* Of a queued message. */
struct stored_delivery {
    uint64_t number; /* the session's */
    uint8_t qos;     /* 1 or 2 */
    bool retain;
    uint64_t group;           /* share_name_hash() of the shared subscription it came by; 0: none */
    struct bytes identifiers; /* numbers of fields.h, one after the other */
};

struct entry {
    enum entry_type type;
    /* Of the session; of none in QUEUED, DONE, RETAINED, UNRETAINED, BURIED, SEALED. It may have
     * ended in WILL_GONE and WILL_RETAINED. None in DISPATCHED, either. */
    uint64_t serial;
    union {
        struct {
            struct bytes client_id;
            uint32_t expiry_s;
            struct stored_will will;
        } opened;
        struct {
            uint32_t expiry_s;
            uint64_t ends_ms; /* UINT64_MAX: never */
            uint64_t sent_end;
            uint64_t will_due_ms; /* UINT64_MAX: it has none any more */
        } closed;
        struct {
            struct bytes filter;
            struct stored_options options;
        } subscribed; /* UNSUBSCRIBED: the filter alone */
        struct {
            struct bytes message;
            uint64_t origin; /* the session that published it, and is kept, at QoS 2, or whose will
                                it is; 0: none */
            uint64_t exchange;
            uint16_t packet_id;      /* 0: a will, and `exchange` is its number */
            uint64_t stream;         /* DISPATCHED: which source it came from, and */
            uint64_t operation;      /* the how-manyth of it; or'ed ENTRY_MORE_FOLLOWS */
            struct bytes recipients; /* entry_next_recipient() */
        } queued;
        struct bytes done; /* entry_next_done() */
        uint64_t released; /* the delivery's number */
        struct {
            uint16_t packet_id; /* FREED: this alone */
            uint64_t exchange;
        } received; /* and BEGUN */
        struct {
            uint64_t number;      /* of the will */
            struct bytes message; /* WILL_DUE */
        } will;
        struct bytes message; /* RETAINED */
        struct bytes topic;   /* UNRETAINED */
        struct {
            struct bytes topic;
            struct retained_version version;
        } buried;
        uint64_t term; /* SEALED: its leader's */
    };
};

static inline bool entry_is_queued(const struct entry *e)
{
    return e->type == ENTRY_QUEUED || e->type == ENTRY_DISPATCHED;
}

/* ---- to write: `w` is begun, and has the entry afterwards, or has failed. Of QUEUED, DISPATCHED
 * and DONE what comes before the list; then as many items as there are. */
void entry_write(struct field_writer *w, const struct entry *e);
void entry_write_recipient(struct field_writer *w, uint64_t serial,
                           const struct stored_delivery *delivery);
void entry_write_done(struct field_writer *w, uint64_t serial, uint64_t number);

/* The delivery's parts, as entries and records have them. */
void stored_delivery_write(struct field_writer *w, const struct stored_delivery *delivery);
void stored_delivery_read(struct field_reader *r, struct stored_delivery *delivery);
void stored_options_write(struct field_writer *w, const struct stored_options *options);
void stored_options_read(struct field_reader *r, struct stored_options *options);
void stored_will_write(struct field_writer *w, const struct stored_will *will);
void stored_will_read(struct field_reader *r, struct stored_will *will);

/* ---- to read: *e points into `in`. false: it is none, or of a later version. */
NODISCARD bool entry_read(struct bytes in, struct entry *e);

/* The next item; false: there is none. entry_read() has looked at them all. */
bool entry_next_recipient(struct bytes *rest, uint64_t *serial, struct stored_delivery *delivery);
bool entry_next_done(struct bytes *rest, uint64_t *serial, uint64_t *number);
