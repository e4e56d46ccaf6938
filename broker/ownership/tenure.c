/* SPDX-License-Identifier: Apache-2.0 */
/*
 * tenure: that one connection has its client identifier; what it says of that, and hears.
 *
 *   ownership_come() ──▶ ASKED: CONNACK is held ── GRANTED ──▶ HAS ── KICKED ──▶ closed
 *                          └─ REFUSED, KICKED ─▶ closed
 */
#include <stdlib.h>
#include <string.h>

#include "broker/client_hash.h"
#include "broker/conn/conn.h"
#include "broker/conn/input.h"
#include "broker/conn/life.h"
#include "broker/log/log.h"
#include "broker/ownership/ownership_parts.h"
#include "broker/ownership/will_words.h"
#include "broker/partitions/partitions.h"
#include "broker/remote/remote.h"
#include "broker/session/kept.h"
#include "broker/shard/shard.h"
#include "broker/store/serial.h"

struct tenure {
    struct table_link by_hash;
    struct conn *conn;
    uint64_t serial;
    bool has_will; /* the owner will see to it */
};

struct post_claim {
    struct post_head head;
    struct coming *coming; /* the receiver's */
};

struct post_unclaim {
    struct post_head head;
    struct going going;
};

struct post_claimed {
    struct post_head head;
    struct verdict verdict;
};

bool tenures_init(struct ownership *o)
{
    return table_init(&o->tenures) == 0;
}

void tenures_fini(struct ownership *o)
{
    table_fini(&o->tenures); /* each went with its connection */
}

/* ---- to shard 0 */

static void say_come(struct shard *s, struct coming *coming)
{
    if (s->id == 0) {
        ownership_take(s, coming);
        return;
    }
    struct post_claim *const p = post_reserve(s, 0, POST_CLAIM, sizeof *p);
    p->coming = coming;
    post_commit(s, 0);
}

void ownership_on_claim(struct shard *s, unsigned from, const struct post_head *record)
{
    (void)from;
    ownership_take(s, ((const struct post_claim *)(const void *)record)->coming);
}

static void say_gone(struct shard *s, const struct going *going)
{
    if (s->id == 0) {
        ownership_let_go(s, going);
        return;
    }
    struct post_unclaim *const p = post_reserve(s, 0, POST_UNCLAIM, sizeof *p);
    p->going = *going;
    post_commit(s, 0);
}

void ownership_on_unclaim(struct shard *s, unsigned from, const struct post_head *record)
{
    (void)from;
    ownership_let_go(s, &((const struct post_unclaim *)(const void *)record)->going);
}

/* A will's delay ends with its session, at the latest [MQTT-3.1.3-9]. */
static uint64_t will_delay_ms(const struct session *session)
{
    const uint32_t delay_s = session->will == NULL ? 0 : session->will->delay_s;
    return (uint64_t)(delay_s < session->expiry_s ? delay_s : session->expiry_s) * 1000;
}

/* NULL: no memory. */
static struct coming *coming_of(const struct session *session, uint64_t hash, uint64_t serial,
                                bool clean_start)
{
    const struct bytes id = session_client_id(session);
    /* The will of a session that several nodes have is a part of it: whoever leads publishes it. */
    const bool is_ours = session->will != NULL && serial_is_local(session->serial);
    const size_t whole = is_ours ? will_words_write(NULL, session->will) : 0;
    const size_t will_len = whole <= NODE_CLAIM_WILL_MAX ? whole : 0;
    struct coming *const coming = malloc(sizeof *coming + id.len + will_len);
    if (coming == NULL) {
        return NULL;
    }
    memcpy(coming->bytes, id.at, id.len);
    if (will_len > 0) {
        (void)will_words_write(coming->bytes + id.len, session->will);
    }
    coming->attach = (struct claims_attach){.hash = hash,
                                            .serial = serial,
                                            .id = bytes_of(coming->bytes, id.len),
                                            .clean = clean_start,
                                            .will = bytes_of(coming->bytes + id.len, will_len),
                                            .delay_ms = will_delay_ms(session)};
    return coming;
}

bool ownership_come(struct conn *c, bool clean_start)
{
    struct shard *const s = c->shard;
    struct ownership *const o = s->ownership;
    ASSERT_OWNED(s);
    assert(c->tenure == NULL);

    const uint64_t hash = claims_hash(o->cluster, session_client_id(c->session));
    const bool is_local = serial_is_local(c->session->serial);
    struct tenure *const t = calloc(1, sizeof *t);
    struct coming *const coming =
        t == NULL ? NULL : coming_of(c->session, hash, shard_serial(s), clean_start && is_local);
    if (coming == NULL) {
        free(t);
        return false;
    }
    t->conn = c;
    t->serial = coming->attach.serial;
    t->has_will = coming->attach.will.len > 0;
    table_insert(&o->tenures, &t->by_hash, hash);
    c->tenure = t;
    c->held |= HELD_CLAIM;
    c->blocked |= BLOCKED_CLAIM;
    say_come(s, coming);
    return true;
}

/* Nobody else is there to publish it, and here nobody is left to hear it: it is left to the next
 * start, if its session is. */
static bool stays_here(const struct shard *s)
{
    return s->ending && !ownership_is_elsewhere(s);
}

enum session_will ownership_end(struct conn *c, enum session_will will)
{
    struct shard *const s = c->shard;
    struct tenure *const t = c->tenure;
    ASSERT_OWNED(s);
    const bool tells = t->has_will && !stays_here(s);
    const struct going going = {.hash = t->by_hash.hash,
                                .serial = t->serial,
                                .delay_ms = will_delay_ms(c->session),
                                .is_lost = will == SESSION_WILL_PUBLISH && tells};
    table_remove(&s->ownership->tenures, &t->by_hash);
    free(t);
    c->tenure = NULL;
    c->held &= (uint8_t)~HELD_CLAIM;
    say_gone(s, &going);
    return tells ? SESSION_WILL_FORGET : will;
}

bool ownership_is_elsewhere(const struct shard *s)
{
    return s->ownership != NULL && remote_has_others(s);
}

/* ---- from shard 0 */

static struct tenure *find(struct ownership *o, uint64_t hash, uint64_t serial)
{
    for (struct table_link *l = table_find(&o->tenures, hash); l != NULL; l = table_find_next(l)) {
        struct tenure *const t = table_object(l, struct tenure, by_hash);
        if (t->serial == serial) {
            return t;
        }
    }
    return NULL;
}

static void granted(struct conn *c, uint8_t kind)
{
    char address[CONN_ADDRESS_TEXT];
    if (kind == VERDICT_UNANSWERED) {
        log_event(LOG_WARNING, "claim_unanswered",
                  LOG_BYTES("client_id", session_client_id(c->session)),
                  LOG_TEXT("peer", conn_address(c, address, sizeof address)));
    }
    c->held &= (uint8_t)~HELD_CLAIM;
    conn_list_add(&c->shard->dirty, c, CONN_DIRTY);
    input_unblock(c, BLOCKED_CLAIM);
}

static void kicked(struct conn *c)
{
    char address[CONN_ADDRESS_TEXT];
    log_event(LOG_INFO, "session_taken_elsewhere",
              LOG_BYTES("client_id", session_client_id(c->session)),
              LOG_TEXT("peer", conn_address(c, address, sizeof address)));
    shard_count(c->shard, METRIC_sessions_taken_over);
    conn_close(c, MQTT_REASON_SESSION_TAKEN_OVER, SESSION_WILL_PUBLISH);
}

static void hear(struct shard *s, const struct verdict *verdict)
{
    struct tenure *const t = find(s->ownership, verdict->hash, verdict->serial);
    if (t == NULL) {
        return; /* it has ended meanwhile */
    }
    switch ((enum verdict_kind)verdict->kind) {
    case VERDICT_GRANTED:
    case VERDICT_UNSURE:
    case VERDICT_UNANSWERED:
        granted(t->conn, verdict->kind);
        break;
    case VERDICT_KICKED:
        kicked(t->conn);
        break;
    case VERDICT_REFUSED:
        conn_close(t->conn, MQTT_REASON_QUOTA_EXCEEDED, SESSION_WILL_FORGET);
        break;
    }
}

void ownership_on_claimed(struct shard *s, unsigned from, const struct post_head *record)
{
    (void)from;
    hear(s, &((const struct post_claimed *)(const void *)record)->verdict);
}

void tenure_tell(struct shard *s, const struct verdict *verdict)
{
    const unsigned to = (unsigned)(verdict->serial % STORE_JOURNALS_MAX);
    if (to == s->id) {
        hear(s, verdict);
        return;
    }
    struct post_claimed *const p = post_reserve(s, to, POST_CLAIMED, sizeof *p);
    p->verdict = *verdict;
    post_commit(s, to);
}

/* ---- sessions that are over */

struct post_cleared {
    struct post_head head;
    struct cleared *cleared; /* the receiver's */
};

static void clear(struct shard *s, struct cleared *cleared)
{
    const struct bytes id = bytes_of(cleared->id, cleared->id_len);
    struct session *session = session_find(s, id);
    if (session != NULL && session->conn != NULL && !serial_is_local(session->serial)) {
        kicked(session->conn);
        session = session_find(s, id);
    }
    if (session != NULL && partition_revives(session)) {
        session->kept->is_over = true;
    } else if (session != NULL && session->conn == NULL) {
        session_end(session);
    }
    free(cleared);
}

void ownership_on_cleared(struct shard *s, unsigned from, const struct post_head *record)
{
    (void)from;
    clear(s, ((const struct post_cleared *)(const void *)record)->cleared);
}

void tenure_clear(struct shard *s, struct cleared *cleared)
{
    const struct bytes id = bytes_of(cleared->id, cleared->id_len);
    const unsigned to = node_shard_of(s->node, client_hash_of(s->node, id));
    if (to == s->id) {
        clear(s, cleared);
        return;
    }
    struct post_cleared *const p = post_reserve(s, to, POST_CLEARED, sizeof *p);
    p->cleared = cleared;
    post_commit(s, to);
}
