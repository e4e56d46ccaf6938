/* SPDX-License-Identifier: Apache-2.0 */
/*
 * transport: what lies between a socket and MQTT, for one connection: a PROXY header, TLS,
 * WebSocket, as its listener has them. Without a socket: bytes in, bytes out.
 *
 *   received ─▶ PROXY header ─▶ TLS ─▶ WebSocket ─▶ MQTT's bytes in the scratch
 *   to be sent ◀── wire ◀────── TLS ◀─ WebSocket ◀─ MQTT's bytes
 *
 * Owner: the connection, hence its shard; it moves to another one with its connection, when its
 * wire is empty. A connection that has nothing to come between has none. Memory: before the
 * handshake is over up to 24 KiB of what came, then what TLS takes. The wire: one TRANSPORT_BATCH,
 * and the overhead of its records. At the bounds: a peer that sends more is refused.
 */
#pragma once

#include <netinet/in.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/uio.h>

#include "broker/config/config.h"
#include "broker/outbuf.h"
#include "broker/transport/tls_peer.h"
#include "proto/bytes.h"
#include "proto/nodiscard.h"

struct listener;
struct transport;

/* Bytes that are on the wire at a time, about: what one send covers. */
#define TRANSPORT_BATCH 65536u

/* A shard's, for all of its connections: what is in it is good until the next call. */
struct transport_scratch {
    uint8_t *at;
    size_t size, len;
};

void transport_scratch_fini(struct transport_scratch *s);

enum transport_step {
    TRANSPORT_ON,
    TRANSPORT_COSTLY,  /* the answer to a TLS hello takes long: transport_go_on() makes it */
    TRANSPORT_ENDED,   /* the peer has said that nothing more will come */
    TRANSPORT_REFUSED, /* transport_refusal() says why; what is on the wire is to be sent still */
};

/* What the PROXY header told. */
struct transport_peer {
    struct in6_addr address; /* IPv4 mapped */
    uint16_t port;
    bool told;
};

struct transport_refusal {
    const char *event; /* of the log: "tls_handshake_failed", … */
    const char *why;   /* a constant text */
};

struct transport *transport_create(const struct listener *listener); /* NULL: no memory */
void transport_destroy(struct transport *t);                         /* NULL is fine */

/* data is borrowed. MQTT's bytes are then in the scratch, in ENDED and REFUSED too. */
NODISCARD enum transport_step transport_receive(struct transport *t, struct bytes data,
                                                struct transport_scratch *scratch);
/* After COSTLY. */
NODISCARD enum transport_step transport_go_on(struct transport *t,
                                              struct transport_scratch *scratch);

/* Is the client back, so that the answer after COSTLY is cheaper? */
bool transport_resumes(const struct transport *t);
bool transport_resumed(const struct transport *t); /* and it was */

/* Where it stands. Open: handshakes are over (nor has it ended since). Plain: and nothing comes
 * between any more; it may be destroyed. */
bool transport_is_open(const struct transport *t);
bool transport_is_plain(const struct transport *t);
bool transport_has_ended(const struct transport *t);
bool transport_is_refused(const struct transport *t);

const struct transport_peer *transport_peer(const struct transport *t);

/* The client's name by its certificate, of that kind; empty: it has none that could be used
 * (proto/certificate_names.h). The certificate is the one that our own handshake has found good;
 * where a load balancer has ended the client's TLS, what that one tells of it, which is a common
 * name at most. Borrowed, as long as the transport lives. NULL is fine. */
struct bytes transport_name(const struct transport *t, enum config_name_from from);
struct bytes transport_common_name(const struct transport *t);

/* Would its client's certificate let it in by what the listener trusts now, and what does it cost
 * to find out? Without one: yes. Otherwise false, and why, a constant text. NULL is fine. */
enum tls_peer_cost transport_trust_cost(const struct transport *t);
NODISCARD bool transport_is_trusted(struct transport *t, const char **why);

struct transport_refusal transport_refusal(const struct transport *t);

/* ---- to be sent */

/* What is to be sent to the socket, in order. */
struct outbuf *transport_wire(struct transport *t);

/* Puts MQTT's bytes of iov[0..n) on the wire, at most about TRANSPORT_BATCH of them: *taken. false:
 * no memory, or TLS has failed, and the stream cannot go on. After the goodbye all is taken, and
 * thrown away. */
NODISCARD bool transport_send(struct transport *t, const struct iovec *iov, unsigned n,
                              struct transport_scratch *scratch, size_t *taken);

/* Says goodbye, on the wire, each layer in its own way; once. */
void transport_goodbye(struct transport *t);
