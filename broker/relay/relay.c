/* SPDX-License-Identifier: Apache-2.0 */
#include "broker/relay/relay.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "broker/conn/conn.h"
#include "broker/log/log.h"
#include "broker/relay/relay_parts.h"
#include "cluster/splitmix.h"

#define STALLED_MS 10u /* until it is looked again whether a link takes more */

/* ---- homes */

void relay_set_home(struct node *node, unsigned partition, unsigned home)
{
    assert(partition < PARTITIONS);
    assert(home < RELAY_PEER + PEERS_MAX);
    atomic_store_explicit(&node->relay_home[partition], (uint8_t)home, memory_order_relaxed);
}

uint64_t relay_partitions_here(const struct shard *s)
{
    uint64_t here = 0;
    for (unsigned p = 0; p < PARTITIONS; p++) {
        if (s->node->partition_shard[p] == s->id && relay_home(s->node, p) == RELAY_HERE) {
            here |= UINT64_C(1) << p;
        }
    }
    return here;
}

static struct relay_place place_of(const struct shard *s, unsigned partition)
{
    struct relay_place place = {
        .shard = s->id, .home = relay_home(s->node, partition), .partition = partition};
    const struct relays *const all = relays_of(s);
    if (place.home == RELAY_HERE) {
        place.shard = node_shard_of(s->node, partition);
    } else if (place.home >= RELAY_PEER) {
        const unsigned peer = place.home - RELAY_PEER;
        const unsigned lanes = all == NULL || (all->live >> peer & 1) == 0 ? 0 : all->lanes[peer];
        place.home = lanes == 0 ? RELAY_NOWHERE : place.home;
        place.shard = lanes == 0 ? s->id : partition % lanes;
    }
    return place;
}

struct relay_place relay_place_of(const struct shard *s, uint64_t client_hash)
{
    return place_of(s, (unsigned)(client_hash % PARTITIONS));
}

/* On this shard if there are any here: the identifier that it will be given is one of these. Else
 * on the shard that has some, or where the first one is that has a home. */
struct relay_place relay_place_of_any(const struct shard *s)
{
    struct relay_place place = {.shard = s->id, .home = RELAY_HERE};
    if (relay_partitions_here(s) != 0) {
        return place;
    }
    place.home = RELAY_NOWHERE;
    for (unsigned p = 0; p < PARTITIONS; p++) {
        const struct relay_place other = place_of(s, p);
        if (other.home == RELAY_HERE) {
            return other;
        }
        place = place.home == RELAY_NOWHERE ? other : place;
    }
    return place;
}

/* ---- relays */

static uint64_t hash_of(bool is_far, unsigned peer, uint64_t id)
{
    uint64_t state = is_far ? id ^ (uint64_t)peer << 56 : id;
    return splitmix_next(&state);
}

struct relay *relay_make(struct shard *s, bool is_far, unsigned peer, unsigned lane, uint64_t id,
                         size_t text_len)
{
    struct relays *const all = relays_of(s);
    struct relay *const r = calloc(1, sizeof *r + text_len);
    if (r == NULL) {
        return NULL;
    }
    r->id = id;
    r->is_far = is_far;
    r->peer = (uint8_t)peer;
    r->lane = (uint8_t)lane;
    r->credit = r->room = NODE_RELAY_WINDOW;
    r->list = RELAY_NONE;
    r->text_len = (uint32_t)text_len;
    r->in_all.next = all->all;
    if (all->all != NULL) {
        all->all->in_all.previous = r;
    }
    all->all = r;
    table_insert(is_far ? &all->far : &all->near, &r->by_id, hash_of(is_far, peer, id));
    atomic_fetch_add_explicit(is_far ? &s->node->relays_far : &s->node->relays_near, 1,
                              memory_order_relaxed);
    return r;
}

struct relay *relay_find(struct shard *s, bool is_far, unsigned peer, uint64_t id)
{
    struct relays *const all = relays_of(s);
    struct table_link *l = table_find(is_far ? &all->far : &all->near, hash_of(is_far, peer, id));
    for (; l != NULL; l = table_find_next(l)) {
        struct relay *const r = table_object(l, struct relay, by_id);
        if (r->id == id && r->peer == peer) {
            return r;
        }
    }
    return NULL;
}

void relay_is_over(struct shard *s, struct relay *r)
{
    struct relays *const all = relays_of(s);
    if (!r->over) {
        r->over = true;
        table_remove(r->is_far ? &all->far : &all->near, &r->by_id);
    }
}

void relay_free(struct shard *s, struct relay *r)
{
    struct relays *const all = relays_of(s);
    relay_is_over(s, r);
    relay_unlist(s, r);
    if (r->in_all.next != NULL) {
        r->in_all.next->in_all.previous = r->in_all.previous;
    }
    if (r->in_all.previous != NULL) {
        r->in_all.previous->in_all.next = r->in_all.next;
    } else {
        all->all = r->in_all.next;
    }
    atomic_fetch_sub_explicit(r->is_far ? &s->node->relays_far : &s->node->relays_near, 1,
                              memory_order_relaxed);
    free(r);
}

void relay_forget(struct conn *c)
{
    if (c->relay != NULL) {
        relay_free(c->shard, c->relay);
        c->relay = NULL;
    }
}

/* ---- lists */

void relay_unlist(struct shard *s, struct relay *r)
{
    struct relays *const all = relays_of(s);
    const struct relay_links links = r->in_list;
    if (r->list == RELAY_NONE) {
        return;
    }
    if (links.previous == NULL) {
        all->lists[r->list] = links.next;
    } else {
        links.previous->in_list.next = links.next;
    }
    if (links.next == NULL) {
        all->lasts[r->list] = links.previous;
    } else {
        links.next->in_list.previous = links.previous;
    }
    r->list = RELAY_NONE;
}

void relay_list_add(struct shard *s, struct relay *r, enum relay_list list)
{
    struct relays *const all = relays_of(s);
    if (r->list == list || r->list == RELAY_EVENTS) { /* what is to be told comes before all */
        return;
    }
    relay_unlist(s, r);
    r->list = (uint8_t)list;
    r->in_list = (struct relay_links){.previous = all->lasts[list]};
    if (all->lasts[list] == NULL) {
        all->lists[list] = r;
    } else {
        all->lasts[list]->in_list.next = r;
    }
    all->lasts[list] = r;
    if (list == RELAY_STALLED) {
        all->stalled_ms = s->now_ms + STALLED_MS;
    }
}

struct relay *relay_list_take(struct shard *s, enum relay_list list)
{
    struct relay *const r = relays_of(s)->lists[list];
    if (r != NULL) {
        relay_unlist(s, r);
    }
    return r;
}

/* ---- frames that come */

/* On the shard of the partition. What is of no relay that there is, was on its way when it ended.
 */
static void far_received(struct shard *s, unsigned peer, unsigned lane,
                         const struct node_relay *words)
{
    if (words->type == NODE_FRAME_RELAY_OPEN) {
        far_open(s, peer, lane, words);
        return;
    }
    struct relay *const r = relay_find(s, true, peer, words->id);
    if (r != NULL) {
        far_heard(s, r, words);
    }
}

struct relay_mail { /* on the heap; the receiver's */
    uint8_t peer, lane, type;
    size_t len;
    uint8_t body[];
};

struct post_relay {
    struct post_head head;
    struct relay_mail *mail;
};

static void pass_on(struct shard *s, unsigned to, unsigned peer, const struct node_frame *frame)
{
    struct relay_mail *const mail = relay_alloc(sizeof *mail + frame->body.len);
    mail->peer = (uint8_t)peer;
    mail->lane = (uint8_t)s->id;
    mail->type = frame->type;
    mail->len = frame->body.len;
    memcpy(mail->body, frame->body.at, frame->body.len);
    struct post_relay *const p = post_reserve(s, to, POST_RELAY_IN, sizeof *p);
    p->mail = mail;
    post_commit(s, to);
}

void relay_on_in(struct shard *s, unsigned from, const struct post_head *record)
{
    struct relay_mail *const mail = ((const struct post_relay *)(const void *)record)->mail;
    struct node_relay words;
    (void)from;
    if (node_relay_decode(&words, mail->type, bytes_of(mail->body, mail->len)) == NODE_OK) {
        far_received(s, mail->peer, mail->lane, &words); /* it always is: it was looked at */
    }
    explicit_bzero(mail->body, mail->len);
    free(mail);
}

enum link_taken relay_received(struct shard *s, unsigned peer, const struct node_frame *frame)
{
    struct node_relay words;
    if (node_relay_decode(&words, frame->type, frame->body) != NODE_OK) {
        return LINK_BAD;
    }
    if ((words.id & NODE_RELAY_OF_FAR) != 0) {
        struct relay *const r = relay_find(s, false, peer, words.id & ~NODE_RELAY_OF_FAR);
        if (r != NULL) {
            near_heard(s, r, &words);
        }
        return LINK_TAKEN;
    }
    const unsigned home = s->node->partition_shard[node_relay_partition(words.id)];
    if (home == s->id) {
        far_received(s, peer, s->id, &words);
    } else {
        pass_on(s, home, peer, frame);
    }
    return LINK_TAKEN;
}

/* ---- links */

struct post_relay_over {
    struct post_head head;
    uint8_t peer;
    bool silent;
};

/* All of that peer that go by that lane, and are connections of this shard. silent: nobody is there
 * who would have to be told. */
static void end_all(struct shard *s, unsigned peer, unsigned lane, bool silent)
{
    unsigned count = 0;
    struct relay *next;
    for (struct relay *r = relays_of(s)->all; r != NULL; r = next) {
        next = r->in_all.next;
        if (r->peer != peer || r->lane != lane || r->over) {
            continue;
        }
        count++;
        if (silent) {
            relay_is_over(s, r);
        }
        if (r->is_far) {
            far_lost(s, r);
        } else {
            near_lost(s, r);
        }
    }
    metrics_add(&s->metrics, METRIC_relays_lost, count);
    if (count > 0) {
        log_event(LOG_WARNING, "relays_lost", LOG_BYTES("node", peers_name(s, peer)),
                  LOG_NUMBER("lane", lane), LOG_NUMBER("relays", count));
    }
}

static void end_lane(struct shard *s, unsigned peer, bool silent)
{
    if (silent) {
        relay_queue_drop(s, peer);
    }
    end_all(s, peer, s->id, silent);
    for (unsigned to = 0; to < s->node->shard_count; to++) {
        if (to != s->id) {
            struct post_relay_over *const p = post_reserve(s, to, POST_RELAY_OVER, sizeof *p);
            p->peer = (uint8_t)peer;
            p->silent = silent;
            post_commit(s, to);
        }
    }
}

void relay_on_over(struct shard *s, unsigned from, const struct post_head *record)
{
    const struct post_relay_over *const p = (const void *)record;
    end_all(s, p->peer, from, p->silent);
}

void relay_lost(struct shard *s, unsigned peer)
{
    end_lane(s, peer, false);
}

void relay_restarted(struct shard *s, unsigned peer)
{
    end_lane(s, peer, true);
}

void relay_facts(struct shard *s, const struct peer_facts *facts)
{
    struct relays *const all = relays_of(s);
    const unsigned peer = facts->number;
    const unsigned lanes = all->lanes[peer];
    const uint32_t bit = UINT32_C(1) << peer;
    const bool is_same =
        !facts->forgotten && all->generation[peer] == facts->generation && lanes == facts->lanes;
    if (!is_same || !facts->live) { /* each shard is told: no mail */
        for (unsigned lane = 0; lane < lanes; lane++) {
            end_all(s, peer, lane, !is_same); /* one that is dead may be back, as it was */
        }
    }
    if (!is_same) {
        relay_queue_drop(s, peer);
    }
    all->generation[peer] = facts->forgotten ? 0 : facts->generation;
    all->lanes[peer] = facts->forgotten ? 0 : (uint8_t)facts->lanes;
    all->live = facts->live && !facts->forgotten ? all->live | bit : all->live & ~bit;
}

void relay_flows(struct shard *s, unsigned peer)
{
    (void)peer;
    relays_of(s)->stalled_ms = 0; /* of other shards' connections: within their STALLED_MS */
}

/* ---- a turn */

static void go_on(struct shard *s, struct relay *r)
{
    if (r->is_far) {
        far_go_on(s, r);
    } else {
        near_go_on(s, r);
    }
}

void relay_turn(struct shard *s)
{
    struct relay *r;
    while (relays_of(s) != NULL && (r = relay_list_take(s, RELAY_EVENTS)) != NULL) {
        far_tell(s, r);
    }
}

void relay_flush(struct shard *s)
{
    struct relays *const all = relays_of(s);
    struct relay *r;
    if (all == NULL) {
        return;
    }
    relay_queues_flush(s);
    if (s->now_ms >= all->stalled_ms) {
        while ((r = relay_list_take(s, RELAY_STALLED)) != NULL) {
            relay_list_add(s, r, RELAY_DUE);
        }
    }
    while ((r = relay_list_take(s, RELAY_DUE)) != NULL) {
        go_on(s, r);
    }
}

uint64_t relay_next_ms(const struct shard *s)
{
    const struct relays *const all = relays_of(s);
    if (all == NULL || (all->all == NULL && !relay_queues_wait(s))) {
        return UINT64_MAX;
    }
    if (all->lists[RELAY_EVENTS] != NULL || s->dirty.first != NULL) { /* sent() was told late */
        return 0;
    }
    if (relay_queues_wait(s)) {
        return s->now_ms + STALLED_MS;
    }
    return all->lists[RELAY_STALLED] != NULL ? all->stalled_ms : UINT64_MAX;
}

/* ---- beginning and end */

static bool create(struct shard *s)
{
    struct relays *const all = calloc(1, sizeof *all);
    if (all == NULL) {
        return false;
    }
    s->relays = all;
    all->next_id = shard_random(s) / NODE_RELAY_PARTITIONS / 2; /* no other start's */
    return table_init(&all->near) == 0 && table_init(&all->far) == 0;
}

bool relay_create(struct node *node)
{
    for (unsigned i = 0; i < node->shard_count; i++) {
        if (!create(node->shards[i])) {
            return false;
        }
    }
    return true;
}

void relay_destroy(struct shard *s)
{
    struct relays *const all = relays_of(s);
    if (all == NULL) {
        return;
    }
    for (unsigned peer = 0; peer < PEERS_MAX; peer++) {
        relay_queue_drop(s, peer);
    }
    table_fini(&all->near);
    table_fini(&all->far);
    free(all);
    s->relays = NULL;
}
