/* SPDX-License-Identifier: Apache-2.0 */
/*
 * conn: one client connection, from accept to close.
 *
 *   AWAIT_CONNECT ── CONNECT for a session of this shard ──▶ CONNECTED ──┐
 *        │  ├── … of another shard ──▶ moves there, this one is freed    │ DISCONNECT, error, end,
 *        │  └── … of another node ──▶ RELAYED ────────────────────────┐  │ takeover, time-out
 *        └── error, time-out ─────────────────────────────────────────┤  │
 *                                                                     ▼  ▼
 *   freed ◀── kernel_ops and waiting are 0 ── CLOSED ◀── peer closed, or 1 s ── LINGERING
 *
 * LINGERING: what is owed has been sent, our side of the stream is shut, and what the client still
 * sends is thrown away; so that a last DISCONNECT is not lost to a reset.
 *
 * Owner: the thread of `shard`; every field is that thread's alone. It changes owner at most once,
 * before CONNECT is answered: as a descriptor, its transport, and the bytes read so far (life.c).
 * Memory: about 300 bytes while idle. Unread input: up to one packet (limits.packet_bytes_max) and
 * one receive buffer; above it nothing is read, and where all of it together is too much, who has
 * been longest about a packet goes (conn/input.c). Unsent output: limits.output_bytes_max, above
 * which QoS 0 is dropped, QoS 1 and 2 wait in the session, and the client's requests are not read.
 */
#pragma once

#include <netinet/in.h>
#include <stdbool.h>
#include <stdint.h>

#include "broker/io/io.h"
#include "broker/outbuf.h"
#include "broker/shard/wheel.h"
#include "broker/unix_socket.h"
#include "proto/mqtt.h"

struct acl_view;
struct alias_in;
struct alias_out;
struct delivery;
struct exchange;
struct flow_marks;
struct message;
struct publish_rate;
struct relay;
struct session;
struct shard;
struct tenure;
struct transport;

enum conn_phase {
    CONN_AWAIT_CONNECT,
    CONN_CONNECTED,
    CONN_RELAYED, /* its packets are another node's (broker/relay) */
    CONN_LINGERING,
    CONN_CLOSED,
};

/* Why the next packet is not looked at; a set. */
enum conn_blocked {
    BLOCKED_SUBSCRIBE = 1, /* the index's writer has not answered yet */
    BLOCKED_RETAIN = 2,    /* the retained message is not stored yet */
    BLOCKED_ROOM = 4,      /* the publisher waits: mail or memory is full */
    BLOCKED_OUTPUT = 8,    /* the client does not read what it asks for */
    BLOCKED_TURN = 16,     /* what it sent before was much work: until it is its turn again */
    BLOCKED_MOVE = 32,     /* it is to move, and its handshake's end is not sent yet */
    BLOCKED_LOGIN = 64,    /* it is being found out who it is, or whether it still is */
    BLOCKED_RATE = 128,    /* it has published more than it may in a second */
    BLOCKED_KEEP = 256,    /* so much of what it said is not kept yet */
    BLOCKED_CLAIM = 512,   /* whether it has its client identifier is not known yet */
};

/* Why its output stays where it is, CONNACK and all that follows it; a set. */
enum conn_held {
    HELD_KEEP = 1,  /* until it is true on disk */
    HELD_CLAIM = 2, /* until it has its client identifier */
};

/* What it has sent and got, of MQTT, modulo 2^32. */
enum conn_flow {
    FLOW_MESSAGES_IN, /* PUBLISH from the client; */
    FLOW_MESSAGES_OUT,
    FLOW_BYTES_IN, /* all packets */
    FLOW_BYTES_OUT,
    FLOWS,
};

/* The lists of its shard that a connection can be in. */
enum conn_listing {
    CONN_ALL,
    CONN_DIRTY,
    CONN_READY,
    CONN_STALLED,
    CONN_UNREAD,
    CONN_HANDSHAKE,
    CONN_LISTINGS,
};

struct conn_link {
    struct conn *next, *prev;
};

/* What access.c knows of a client. */
struct access {
    struct acl_view *view;            /* NULL: to be made */
    bool is_named;                    /* these are set: */
    uint8_t unusable, unusable_first; /* as in struct acl_names */
    uint64_t seen; /* is something hidden from it that its session subscribes to? */
};

/* Where the client is. */
union conn_origin {
    struct in6_addr address; /* IPv4 mapped */
    struct unix_peer peer;   /* where `local` is set */
};

struct conn {
    struct io_socket socket;
    struct shard *shard;
    struct session *session; /* borrowed; NULL unless CONNECTED */
    struct conn_link links[CONN_LISTINGS];

    uint8_t listed;   /* 1 << enum conn_listing: the lists that it is in */
    uint16_t blocked; /* enum conn_blocked, or'ed */
    uint8_t phase;    /* enum conn_phase */
    uint8_t version;  /* enum mqtt_version; UNKNOWN before CONNECT */
    uint8_t doom;     /* a reason code: to be closed with it when next looked at; 0: no */
    bool doomed;
    bool receiving;   /* io_receive_start() is in force */
    bool sending;     /* an io_send() is under way */
    bool peer_ended;  /* ended() was called */
    bool more_input;  /* bytes follow the packet that is being handled */
    bool write_shut;  /* io_shutdown_write() was called */
    bool goodbye;     /* the transport has been closed from our side */
    bool handshaking; /* counted in node->handshakes, and in one of the lists of handshakes */
    bool hello_waits; /* which one: it is our turn, not the client's */
    bool admitted;    /* guard_admits() has said so */
    bool local;       /* by a Unix socket: it has no address, but is somebody */
    bool far;         /* its socket is another node's: conn/socket.h */
    bool named;       /* its certificate gave the client identifier that CONNECT left out */
    uint8_t held;     /* enum conn_held, or'ed */
    bool problem_information; /* reason strings are welcome (3.1.2.11.7) */
    uint8_t listener;
    uint8_t login;        /* enum login_state */
    uint8_t login_at;     /* the method of auth.methods to be asked next */
    uint8_t login_reason; /* enum mqtt_reason, when it is settled */
    uint8_t traced;       /* traced.h's: who watches it, as of */
    uint32_t traced_generation;
    uint32_t
        waiting;   /* answers that other shards, the disk, or the gate, owe and that point here */
    uint32_t owed; /* of those, by the disk (conn/owed.h) */
    uint32_t receipts;      /* of those, receipts */
    uint32_t receipts_pass; /* conn/owed.c's: one of them waits, as of that pass */

    /* What CONNACK told the client; a reload changes it for later connections only. */
    uint16_t server_receive_maximum;
    uint16_t received_before; /* QoS 2, unreleased at CONNECT: not of this connection's quota */
    uint16_t server_topic_alias_maximum;
    uint32_t server_packet_bytes_max;

    uint16_t receive_maximum;     /* the client's */
    uint16_t topic_alias_maximum; /* the client's, or what we use of it */
    uint16_t port;                /* the client's, as its address */
    uint32_t packet_bytes_max;    /* the client's */
    union conn_origin at;

    struct login_user *user;     /* who it is; NULL: nobody that we know */
    struct access access;        /* and what it may do */
    struct tenure *tenure;       /* of its client identifier in the cluster; NULL: none is needed */
    struct relay *relay;         /* to the node that has the other part of it; NULL: none has */
    struct exchange *exchange;   /* of its Authentication Method; NULL: it uses none */
    struct transport *transport; /* between the socket and MQTT; NULL: nothing is */
    size_t wire_bytes;           /* of it, counted in shard->unsent_bytes */

    struct outbuf out;
    size_t send_bytes; /* of `out`, or of the wire, with the kernel */

    uint8_t *in;    /* what was received and is not decoded yet; NULL when there is nothing */
    bool in_secret; /* a password or token may be among it */
    uint32_t in_len;
    uint32_t in_capacity; /* counted in shard->unread_bytes */
    uint32_t in_wanted;   /* the size of the packet that begins there */
    uint32_t aside_len;   /* counted there too */
    uint8_t *aside;       /* CONNECT, while AUTH packets go to and fro; NULL: nothing is */

    uint64_t live_from; /* the session's deliveries with lower numbers came before it */
    uint64_t accepted_us;

    struct timer timer;   /* CONNECT, keep alive, lingering, or a publisher's stall: by phase */
    uint32_t flow[FLOWS]; /* since it is on this shard */
    struct flow_marks *flow_marks; /* session/busiest.h's; owned; NULL: nobody has looked at it */
    uint32_t keep_alive_ms;        /* one and a half times; 0: off */
    uint32_t forwarded;            /* other nodes, 1 << number, that it lately published to */
    uint64_t last_packet_ms;
    uint64_t since_ms;             /* when CONNECT was accepted */
    uint64_t stalled_ms;           /* since when BLOCKED_ROOM */
    struct publish_rate *rate;     /* NULL: it has published nothing that was counted */
    struct alias_in *aliases_in;   /* topics by the client's aliases; NULL: none yet */
    struct alias_out *aliases_out; /* ours */
};

static inline void conn_flow(struct conn *c, enum conn_flow which, uint32_t more)
{
    c->flow[which] += more;
}

enum conn_send { CONN_SENT, CONN_TOO_LARGE, CONN_NO_MEMORY };

/* PUBLISH under `packet_id` (0 at QoS 0), `qos` and flags as in the delivery. */
NODISCARD enum conn_send conn_send_publish(struct conn *c, const struct delivery *delivery,
                                           uint16_t packet_id, bool dup);
void conn_send_ack(struct conn *c, enum mqtt_type type, uint16_t packet_id, uint8_t reason);

/* Any other packet. Properties that are only for people are left out where the client's Maximum
 * Packet Size or Request Problem Information says so: hand those over as `courtesy`. */
void conn_send_packet(struct conn *c, struct mqtt_packet *packet, struct bytes courtesy);

/* Unsent bytes that the connection may have; twice as much if they are answers. At most
 * limits.output_bytes_max, and little when those of all connections take too much. */
uint64_t conn_output_max(const struct conn *c);
bool conn_output_full(const struct conn *c);
void conn_output_sent(struct conn *c, size_t bytes); /* they are no longer unsent */

/* Is there a client that has been let in, here or elsewhere? */
static inline bool conn_has_client(const struct conn *c)
{
    return c->phase == CONN_CONNECTED || c->phase == CONN_RELAYED;
}

/* Has the client closed its side already, as far as the kernel knows? A system call. */
bool conn_peer_has_gone(const struct conn *c);

/* The connection will be closed, with that reason, when the shard next looks at it; for those below
 * who cannot close it themselves. */
void conn_doom(struct conn *c, uint8_t reason);

/* Its place in such a list; adding and removing twice is fine. */
struct conn_list;
void conn_list_add(struct conn_list *list, struct conn *c, enum conn_listing which);
void conn_list_remove(struct conn_list *list, struct conn *c, enum conn_listing which);
struct conn *conn_list_take(struct conn_list *list,
                            enum conn_listing which); /* the first; NULL: empty */

static inline bool conn_is_listed(const struct conn *c, enum conn_listing which)
{
    return (c->listed >> which & 1) != 0;
}

/* "[::1]:4242", "127.0.0.1:4242", "unix:uid=1000,pid=42"; into text[size], at least
 * CONN_ADDRESS_TEXT. Returns text. */
#define CONN_ADDRESS_TEXT 64u
const char *conn_address(const struct conn *c, char *text, size_t size);
