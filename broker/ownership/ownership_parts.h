/* SPDX-License-Identifier: Apache-2.0 */
/* ownership_parts: what the files of this folder have in common. Not a public header. */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "broker/fifo.h"
#include "broker/ownership/ownership.h"
#include "cluster/claims/claims.h"
#include "cluster/table.h"

struct ownership {
    struct cluster_uuid cluster; /* seeds claims_hash() */
    struct table tenures; /* of the connections of this shard, by claims_hash() of their id */

    /* Shard 0's. */
    struct claims *claims; /* NULL: another shard */
    uint32_t used, up;     /* peers of claims; of them, those whose lane 0 is connected */
    uint32_t live, older;  /* as last told; of a version that owns no ids */
    struct fifo verdicts;  /* struct verdict: what claims has said, to be told when it is done */
    struct cleared *cleared_first, *cleared_last; /* likewise: whose sessions are over */
    struct fifo wills; /* struct owned_will: due, and to be published when it is known for whom */
    uint64_t wall_ms;  /* when it is to hear again what time it is */
    struct claims_figures counted;
};

/* The will of a client that this node owned. */
struct owned_will {
    struct message *message; /* a reference */
    uint64_t publisher_hash;
};

/* A client has come. On the heap; it goes from its shard to shard 0. */
struct coming {
    struct claims_attach attach; /* points behind it */
    uint8_t bytes[];             /* the id, the will */
};

/* A client identifier whose kept session here is over. On the heap; it goes to its shard. */
struct cleared {
    struct cleared *next;
    size_t id_len;
    uint8_t id[];
};

enum verdict_kind {
    VERDICT_GRANTED,
    VERDICT_UNSURE,     /* the same, and a former connection may still be there */
    VERDICT_UNANSWERED, /* the same, without the owner's word */
    VERDICT_KICKED,     /* it is connected elsewhere */
    VERDICT_REFUSED,    /* there are too many, or there is no memory */
};

/* About a connection. */
struct verdict {
    uint64_t hash, serial;
    uint8_t kind; /* enum verdict_kind */
};

/* How a connection has ended. */
struct going {
    uint64_t hash, serial;
    uint64_t delay_ms; /* of its will */
    bool is_lost;      /* the will is to be published */
};

/* ---- ownership.c; on shard 0 */
void ownership_take(struct shard *s, struct coming *coming); /* frees it */
void ownership_let_go(struct shard *s, const struct going *going);

/* ---- tenure.c; on the connection's shard */
NODISCARD bool tenures_init(struct ownership *o);
void tenures_fini(struct ownership *o);
/* To the shard of the connection; on shard 0. */
void tenure_tell(struct shard *s, const struct verdict *verdict);
/* To the shard that the identifier belongs to, which frees it; on shard 0. */
void tenure_clear(struct shard *s, struct cleared *cleared);
