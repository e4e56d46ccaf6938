/* SPDX-License-Identifier: Apache-2.0 */
/*
 * gossip: what the nodes of a cluster tell each other about who lives: one message, of at most
 * GOSSIP_MESSAGE_MAX bytes, so that it goes into one datagram with what seals it. Pure.
 *
 *   0  u8  format version, GOSSIP_VERSION
 *   1  u8  kind (enum gossip_kind)
 *   2      fields: u8 type, u16 length, that many bytes; in any order
 *
 *   field    type  value
 *   SEQ      0x01  u32: number of a ping, told again by what answers it
 *   TARGET   0x02  UUID, address: who is pinged
 *   PART     0x03  u8: bits, see struct gossip
 *   ALIVE    0x10  UUID, u64 generation, u32 version, address, u8 length, name, u8 length, data
 *   SUSPECT  0x11  UUID, u64, u32, UUID of who says so
 *   DEAD     0x12  the same
 *   LEFT     0x13  UUID, u64, u32, and maybe u8: bits, GOSSIP_GONE
 *   MEMBER   0x14  u8 state (enum gossip_word_kind), u32 age in seconds, then as ALIVE; then maybe
 *                  the bits of LEFT
 *
 * Numbers are big-endian; an address is 16 bytes of IPv6 and u16 of port. What a later version
 * adds: kinds, fields, and bytes behind those that a field has today. Those are passed over, and
 * the rest counts, unless a field's type has GOSSIP_CRITICAL set: then the message is not
 * understood. So neighbouring versions talk with each other; the format version changes only when
 * they cannot.
 *
 * Memory: none; what is decoded points into what it came from.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "proto/bytes.h"
#include "proto/node_id.h"
#include "proto/nodiscard.h"

#define GOSSIP_VERSION     1u
#define GOSSIP_MESSAGE_MAX 1142u
#define GOSSIP_DATA_MAX    64u   /* what a node says of itself, for others to read */
#define GOSSIP_CRITICAL    0x80u /* in a field's type */
#define GOSSIP_GONE        0x01u /* of one that left: for good. An earlier version passes it over */
#define GOSSIP_WORD_MAX                                                                            \
    (3u + 5u + UUID_BYTES + 12u + 18u + 1u + NODE_NAME_MAX + 1u + GOSSIP_DATA_MAX + 1u)

enum gossip_kind {
    GOSSIP_PING = 1,     /* SEQ, TARGET: answer if that is who you are */
    GOSSIP_PING_REQUEST, /* SEQ, TARGET: ping that one for me */
    GOSSIP_ACK,          /* SEQ: I live; or, who you asked me about does */
    GOSSIP_NACK,         /* SEQ: who you asked me about has not answered me */
    GOSSIP_RUMOURS,      /* only words */
    GOSSIP_STATE,        /* PART: words MEMBER, of all that the sender knows */
};

/* A word about a node. Of one incarnation, the higher one is the stronger. */
enum gossip_word_kind {
    GOSSIP_ALIVE = 0,
    GOSSIP_SUSPECT,
    GOSSIP_DEAD,
    GOSSIP_LEFT,
};

struct gossip_word {
    enum gossip_word_kind kind;
    bool gone;  /* LEFT: for good, or somebody has said so who is sure that it is dead */
    bool whole; /* from MEMBER: address, name, data, and age are there whatever the kind */
    struct node_uuid node;
    struct incarnation incarnation;
    struct node_uuid accuser;    /* SUSPECT, DEAD: who says so; not when whole */
    struct node_address address; /* ALIVE, and when whole */
    struct bytes name;           /* the same; valid, see node_name_is_valid() */
    struct bytes data;           /* the same; <= GOSSIP_DATA_MAX */
    uint32_t age_s;              /* when whole: for how long it has been DEAD or LEFT */
};

struct gossip {
    uint8_t kind; /* of enum gossip_kind, or a later version's */
    uint32_t seq;
    struct node_uuid target; /* none, if it was not there */
    struct node_address target_address;
    bool wants_state; /* PART: the receiver is to answer with what it knows */
    bool last;        /* PART: this was all of it */
    struct bytes fields;
};

enum gossip_err {
    GOSSIP_OK = 0,
    GOSSIP_TOO_LARGE, /* over GOSSIP_MESSAGE_MAX */
    GOSSIP_MALFORMED, /* cut off, a value out of its range, or a field missing that its kind needs
                       */
    GOSSIP_UNKNOWN_VERSION,
    GOSSIP_UNKNOWN_CRITICAL, /* a field of a later version that must be understood */
};

/* Judges all of it. Any bytes are fair input. */
NODISCARD enum gossip_err gossip_decode(struct gossip *message, struct bytes in);

/* Takes the next word off *fields, which are those of a decoded message. false: there is none. */
NODISCARD bool gossip_next_word(struct bytes *fields, struct gossip_word *word);

/* ---- Writing: begin, then fields; each put answers whether there was room. */
struct gossip_writer {
    uint8_t *out;
    size_t len, max;
};

/* out has room for max >= 2 bytes, <= GOSSIP_MESSAGE_MAX. */
void gossip_begin(struct gossip_writer *w, uint8_t *out, size_t max, enum gossip_kind kind);
NODISCARD bool gossip_put_seq(struct gossip_writer *w, uint32_t seq);
NODISCARD bool gossip_put_target(struct gossip_writer *w, struct node_uuid node,
                                 const struct node_address *address);
NODISCARD bool gossip_put_part(struct gossip_writer *w, bool wants_state, bool last);
NODISCARD bool gossip_put_word(struct gossip_writer *w, const struct gossip_word *word);
