/* SPDX-License-Identifier: Apache-2.0 */
#include "cluster/replica/replica_parts.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

/* Of what is said and is no item: an ask is the longest. */
#define ASK_BYTES_MAX ((size_t)NODE_RETAINED_KNOWN_MAX * NODE_RETAINED_KNOWN_BYTES)

struct replica_conf replica_conf_defaults(void)
{
    return (struct replica_conf){.ahead_max_ms = 60000,
                                 .digest_ms = 1000,
                                 .walk_wait_max_ms = 30000,
                                 .part_bytes = 65536,
                                 .item_bytes_max = (size_t)15 << 20,
                                 .known_max = 256,
                                 .turn_steps = 1024};
}

static bool conf_is_fair(const struct replica_conf *conf)
{
    return conf->generation > 0 && conf->known_max > 0 &&
           conf->known_max <= NODE_RETAINED_KNOWN_MAX && conf->turn_steps > 0 &&
           conf->part_bytes > 0 && conf->item_bytes_max <= UINT32_MAX;
}

struct replica *replica_create(const struct replica_conf *conf)
{
    assert(conf_is_fair(conf));

    struct replica *r = calloc(1, sizeof *r);
    if (r == NULL) {
        return NULL;
    }
    r->conf = *conf;
    r->clock.ahead_max_ms = conf->ahead_max_ms;
    r->body_room = REPLICA_BODY_MAX(conf->part_bytes) + ASK_BYTES_MAX;
    r->body = malloc(r->body_room);
    if (r->body == NULL || !versions_init(&r->topics, digest_seed(conf->cluster))) {
        free(r->body);
        free(r);
        return NULL;
    }
    return r;
}

void replica_destroy(struct replica *r)
{
    if (r == NULL) {
        return;
    }
    for (unsigned i = 0; i < REPLICA_PEERS_MAX; i++) {
        serve_end(&r->peers[i]);
    }
    versions_fini(&r->topics);
    free(r->body);
    free(r);
}

/* ---- What counts */

/* Stamps near the floor are fair whatever the clock says: a majority has agreed on them. */
static bool is_fair(struct replica *r, uint64_t stamp, uint64_t wall_ms)
{
    const uint64_t floor_ms = hlc_ms(r->floor);
    const bool fair = hlc_is_fair(&r->clock, stamp, wall_ms > floor_ms ? wall_ms : floor_ms);
    r->figures.ahead += !fair;
    return fair;
}

/* It is as if it were forgotten: the floor stands for it, whenever the sweep comes to it. */
static bool is_past(const struct replica *r, const struct topic_entry *e)
{
    return e->gone && e->stamp <= r->floor;
}

/* Does the write count here? */
static enum replica_err judge(struct replica *r, const struct topic_entry *e,
                              const struct retained_version *version, uint64_t wall_ms)
{
    if (!is_fair(r, version->stamp, wall_ms)) {
        return REPLICA_AHEAD;
    }
    hlc_merge(&r->clock, version->stamp);
    if (e == NULL || is_past(r, e)) {
        const bool over = version->stamp <= r->floor;
        r->figures.refused += over;
        return over ? REPLICA_OLD : REPLICA_OK;
    }
    const struct retained_version here = versions_version(e);
    return retained_version_compare(version, &here) > 0 ? REPLICA_OK : REPLICA_OLD;
}

/* The topic has that; the handle that it had is dropped. by: the walk that has brought it; NULL: it
 * came in another way. */
static enum replica_err put(struct replica *r, struct bytes topic,
                            const struct retained_version *version, bool gone, uint64_t handle,
                            const struct walk *by)
{
    const struct topic_entry *const was = versions_find(&r->topics, topic);
    const bool had = was != NULL && !was->gone;
    const uint64_t former = had ? was->handle : 0;
    if (versions_set(&r->topics, topic, version, gone, gone ? 0 : handle) == NULL) {
        r->figures.no_memory++;
        return REPLICA_NO_MEMORY;
    }
    r->high = version->stamp > r->high ? version->stamp : r->high;
    r->changes++;
    if (gone && version->stamp <= r->floor) {
        r->swept_floor = 0; /* the sweep may have passed it */
    }
    if (!gone && version->stamp <= r->walks_floor) {
        walk_passed(r, version->stamp, by);
    }
    if (had) {
        r->conf.events.drop(r->conf.events.context, former);
    }
    return REPLICA_OK;
}

enum replica_err replica_write(struct replica *r, struct bytes topic, bool gone, uint64_t handle,
                               uint64_t wall_ms, struct retained_version *version)
{
    if (!r->ready) {
        return REPLICA_NOT_READY;
    }
    const struct retained_version v = {hlc_next(&r->clock, wall_ms), r->conf.self,
                                       r->conf.generation};
    const enum replica_err err = put(r, topic, &v, gone, handle, NULL);
    if (err == REPLICA_OK) {
        *version = v;
    }
    return err;
}

enum replica_err replica_apply(struct replica *r, struct bytes topic,
                               const struct retained_version *version, bool gone, uint64_t handle,
                               uint64_t wall_ms)
{
    const enum replica_err err = judge(r, versions_find(&r->topics, topic), version, wall_ms);
    return err == REPLICA_OK ? put(r, topic, version, gone, handle, NULL) : err;
}

enum replica_err replica_take_item(struct replica *r, const struct node_retained_item *item,
                                   const struct walk *by, uint64_t wall_ms)
{
    const struct replica_events *const events = &r->conf.events;
    const bool gone = item->kind == NODE_RETAINED_GONE;
    uint64_t handle = 0;
    enum replica_err err =
        judge(r, versions_find(&r->topics, item->topic), &item->version, wall_ms);
    if (err != REPLICA_OK) {
        return err;
    }
    if (!gone) {
        err = events->set(events->context, item, &handle);
        if (err != REPLICA_OK) {
            r->figures.no_memory += err == REPLICA_NO_MEMORY;
            return err;
        }
    }
    err = put(r, item->topic, &item->version, gone, handle, by);
    if (gone && err == REPLICA_OK) {
        events->gone(events->context, item->topic, &item->version);
    } else if (!gone && err != REPLICA_OK) {
        events->drop(events->context, handle);
    }
    return err;
}

void replica_expired(struct replica *r, struct bytes topic, const struct retained_version *version)
{
    struct topic_entry *const e = versions_find(&r->topics, topic);
    if (e == NULL || e->gone) {
        return;
    }
    const struct retained_version here = versions_version(e);
    if (retained_version_compare(&here, version) != 0) {
        return;
    }
    if (e->stamp <= r->floor) {
        r->figures.forgotten++;
        replica_forget(r, e);
    } else {
        const uint64_t handle = e->handle;
        versions_expire(&r->topics, e);
        r->changes++;
        r->conf.events.drop(r->conf.events.context, handle);
    }
}

void replica_forget(struct replica *r, struct topic_entry *e)
{
    const struct replica_events *const events = &r->conf.events;
    const bool had = !e->gone;
    const uint64_t handle = e->handle;
    events->forget(events->context, versions_name(e));
    versions_remove(&r->topics, e);
    r->changes++;
    if (had) {
        events->drop(events->context, handle);
    }
}

/* Above this node's own floor the version stays until it has risen: something older may be on its
 * way from a node that has not heard of the delete either. */
void replica_bury(struct replica *r, struct topic_entry *e)
{
    const struct replica_events *const events = &r->conf.events;
    r->figures.dropped += !e->gone;
    if (e->stamp <= r->floor) {
        replica_forget(r, e);
    } else if (!e->gone) {
        const uint64_t handle = e->handle;
        const struct retained_version version = versions_version(e);
        versions_expire(&r->topics, e);
        r->changes++;
        events->gone(events->context, versions_name(e), &version);
        events->drop(events->context, handle);
    }
}

struct each_handle {
    void (*each)(void *context, uint64_t handle);
    void *context;
};

static bool on_each(void *context, struct table_link *link)
{
    const struct each_handle *const h = context;
    const struct topic_entry *const e = table_object(link, struct topic_entry, link);
    if (!e->gone) {
        h->each(h->context, e->handle);
    }
    return true;
}

void replica_each(struct replica *r, void (*each)(void *context, uint64_t handle), void *context)
{
    struct each_handle h = {.each = each, .context = context};
    (void)table_all(&r->topics.table, on_each, &h);
}

bool replica_look(struct replica *r, struct bytes topic, struct retained_version *version,
                  bool *gone)
{
    const struct topic_entry *const e = versions_find(&r->topics, topic);
    if (e == NULL) {
        return false;
    }
    *version = versions_version(e);
    *gone = e->gone;
    return true;
}

/* ---- The start, and the disk */

enum replica_err replica_restore(struct replica *r, struct bytes topic,
                                 const struct retained_version *version, bool gone, uint64_t handle)
{
    assert(versions_find(&r->topics, topic) == NULL);

    hlc_merge(&r->clock, version->stamp);
    const enum replica_err err = put(r, topic, version, gone, handle, NULL);
    r->durable_high = r->high > r->durable_high ? r->high : r->durable_high;
    r->ready = r->ready || version->stamp > REPLICA_UNSTAMPED;
    return err;
}

void replica_restore_floor(struct replica *r, uint64_t floor)
{
    r->floor = floor;
    r->swept_floor = 0;
    r->high = floor > r->high ? floor : r->high;
    r->durable_high = r->high;
    r->ready = true;
    hlc_merge(&r->clock, floor);
}

void replica_is_first(struct replica *r)
{
    r->ready = true;
}

bool replica_is_ready(const struct replica *r)
{
    return r->ready;
}

bool replica_wants_mark(const struct replica *r)
{
    bool wants = r->changes != r->durable_changes;
    for (unsigned i = 0; i < REPLICA_PEERS_MAX && !wants; i++) {
        wants = r->peers[i].pending > 0;
    }
    return wants;
}

uint64_t replica_mark(struct replica *r)
{
    r->mark = r->changes;
    r->mark_high = r->high;
    return r->mark;
}

void replica_durable(struct replica *r, uint64_t mark)
{
    if (mark != r->mark) {
        return;
    }
    r->durable_high = r->mark_high > r->durable_high ? r->mark_high : r->durable_high;
    r->durable_changes = mark;
    for (unsigned i = 0; i < REPLICA_PEERS_MAX; i++) {
        struct peer *const p = &r->peers[i];
        if (p->pending > 0 && p->pending_changes <= mark) {
            p->complete = p->pending > p->complete ? p->pending : p->complete;
            p->pending = 0;
        }
    }
}

/* ---- How far all are */

static uint64_t lower(uint64_t a, uint64_t b)
{
    return a < b ? a : b;
}

/* Up to which stamp this node has, on its disk, what all that are waited for have written. */
static uint64_t complete(const struct replica *r)
{
    uint64_t stamp = r->durable_high;
    for (unsigned i = 0; i < REPLICA_PEERS_MAX; i++) {
        const struct peer *const p = &r->peers[i];
        if (p->known && !p->lost) {
            stamp = lower(stamp, p->complete);
        }
    }
    return stamp;
}

static void raise_floor(struct replica *r, uint64_t floor)
{
    if (floor > r->floor) {
        r->floor = floor;
        r->high = floor > r->high ? floor : r->high;
        r->changes++;
        hlc_merge(&r->clock, floor);
        r->conf.events.floor(r->conf.events.context, floor);
    }
}

/* Up to which stamp all that are waited for are complete, if they are the majority. */
static void move_floor(struct replica *r)
{
    uint64_t floor = complete(r);
    unsigned members = 1 + r->missing, waited = 1;
    for (unsigned i = 0; i < REPLICA_PEERS_MAX; i++) {
        const struct peer *const p = &r->peers[i];
        members += p->known;
        if (p->known && !p->lost) {
            waited++;
            floor = lower(floor, p->complete_told);
        }
    }
    if (r->members_known && 2 * waited > members) {
        raise_floor(r, floor);
    }
}

void replica_completed(struct replica *r, struct peer *p, uint64_t high, uint64_t floor)
{
    raise_floor(r, floor);
    if (p->pending == 0) {
        p->pending = high;
        p->pending_changes = r->changes;
    }
}

/* ---- Peers */

void replica_peer_begin(struct replica *r, unsigned peer, struct node_uuid node)
{
    assert(peer < REPLICA_PEERS_MAX);
    assert(!r->peers[peer].known);

    r->peers[peer] = (struct peer){.known = true, .node = node};
}

void replica_peer_end(struct replica *r, unsigned peer)
{
    assert(peer < REPLICA_PEERS_MAX);

    serve_end(&r->peers[peer]);
    r->peers[peer] = (struct peer){0};
}

void replica_peer_lost(struct replica *r, unsigned peer, bool lost)
{
    assert(peer < REPLICA_PEERS_MAX);

    r->peers[peer].lost = lost;
}

void replica_members_known(struct replica *r)
{
    r->members_known = true;
}

void replica_peer_up(struct replica *r, unsigned peer, uint64_t now_ms)
{
    assert(peer < REPLICA_PEERS_MAX);
    assert(r->peers[peer].known);

    struct peer *const p = &r->peers[peer];
    replica_peer_down(r, peer);
    p->up = true;
    p->digest_ms = now_ms;
    p->walk_ms = now_ms;
}

void replica_peer_down(struct replica *r, unsigned peer)
{
    assert(peer < REPLICA_PEERS_MAX);

    struct peer *const p = &r->peers[peer];
    serve_end(p);
    p->up = false;
    p->same = false;
    p->walk = (struct walk){0};
    p->walk_wait_ms = 0;
}

void replica_members_missing(struct replica *r, unsigned count)
{
    r->missing = count;
}

/* ---- What a peer says */

static void on_digest(struct replica *r, struct peer *p, const struct node_retained_digest *d,
                      uint64_t now_ms, uint64_t wall_ms)
{
    uint8_t own[NODE_SUM_BYTES];
    digest_encode(own, r->topics.root);
    p->complete_told = d->complete;
    p->floor_told = d->floor;
    memcpy(p->sum_told, d->sum, sizeof p->sum_told);
    hlc_merge(&r->clock, d->floor);
    if (is_fair(r, d->high, wall_ms > hlc_ms(d->floor) ? wall_ms : hlc_ms(d->floor))) {
        hlc_merge(&r->clock, d->high);
        r->ready = true;
    }
    p->said = true;
    p->same = memcmp(own, d->sum, sizeof own) == 0;
    if (p->same) {
        p->walk_wait_ms = 0;
        p->walk_ms = now_ms;
        replica_completed(r, p, d->high, d->floor);
    } else if (p->walk.state == WALK_NONE && now_ms >= p->walk_ms) {
        walk_begin(r, p, d->high, d->floor);
    }
}

enum replica_err replica_received(struct replica *r, unsigned peer, const struct node_frame *frame,
                                  uint64_t now_ms, uint64_t wall_ms)
{
    assert(peer < REPLICA_PEERS_MAX);
    assert(r->peers[peer].up);

    struct peer *const p = &r->peers[peer];
    struct node_retained_digest digest;
    struct node_retained_ask ask;
    struct node_retained_sums sums;
    struct node_retained_items items;
    switch (frame->type) {
    case NODE_FRAME_RETAINED_DIGEST:
        if (node_retained_digest_decode(&digest, frame->body) != NODE_OK) {
            return REPLICA_MALFORMED;
        }
        on_digest(r, p, &digest, now_ms, wall_ms);
        return REPLICA_OK;
    case NODE_FRAME_RETAINED_ASK:
        return node_retained_ask_decode(&ask, frame->body) == NODE_OK ? serve_asked(p, &ask)
                                                                      : REPLICA_MALFORMED;
    case NODE_FRAME_RETAINED_SUMS:
        return node_retained_sums_decode(&sums, frame->body) == NODE_OK
                   ? walk_sums(r, p, &sums, now_ms)
                   : REPLICA_MALFORMED;
    case NODE_FRAME_RETAINED_ITEMS:
        return node_retained_items_decode(&items, frame->body) == NODE_OK
                   ? walk_items(r, p, &items, now_ms, wall_ms)
                   : REPLICA_MALFORMED;
    default:
        return REPLICA_MALFORMED;
    }
}

/* ---- What a peer is told */

static struct bytes next_digest(struct replica *r, struct peer *p, uint64_t now_ms)
{
    struct node_retained_digest d = {
        .high = r->durable_high, .complete = complete(r), .floor = r->floor};
    digest_encode(d.sum, r->topics.root);
    p->digest_ms = now_ms + r->conf.digest_ms;
    return bytes_of(r->body, node_retained_digest_encode(r->body, &d));
}

bool replica_next(struct replica *r, unsigned peer, size_t room, uint64_t now_ms, uint8_t *type,
                  struct bytes *body)
{
    assert(peer < REPLICA_PEERS_MAX);

    struct peer *const p = &r->peers[peer];
    if (!p->up || room < NODE_RETAINED_HEAD_MAX) {
        return false;
    }
    if (now_ms >= p->digest_ms) {
        *type = NODE_FRAME_RETAINED_DIGEST;
        *body = next_digest(r, p, now_ms);
        return true;
    }
    *type = NODE_FRAME_RETAINED_ASK;
    return walk_next(r, p, room, body) || serve_next(r, p, room, type, body);
}

/* ---- Time */

/* Tombstones up to the floor are forgotten, a few at a time. */
static void sweep(struct replica *r)
{
    unsigned steps = r->conf.turn_steps;
    while (steps > 0) {
        struct table_link *l = table_walk(&r->topics.table, &r->sweep_place, &steps);
        if (l == NULL) {
            r->sweeping = steps == 0;
            return;
        }
        steps--;
        r->sweep_place = table_place_after(l->hash);
        while (l != NULL) {
            struct topic_entry *const e = table_object(l, struct topic_entry, link);
            l = table_find_next(l);
            if (is_past(r, e)) {
                r->figures.forgotten++;
                replica_forget(r, e);
            }
        }
        if (r->sweep_place == 0) {
            r->sweeping = false;
            return;
        }
    }
}

void replica_turn(struct replica *r, uint64_t now_ms)
{
    move_floor(r);
    if (!r->sweeping && r->topics.gone > 0 && r->floor > r->swept_floor) {
        r->sweeping = true;
        r->sweep_place = 0;
        r->swept_floor = r->floor;
    }
    if (r->sweeping) {
        sweep(r);
    }
    r->turn_ms = now_ms;
}

uint64_t replica_next_ms(const struct replica *r)
{
    uint64_t next = r->sweeping ? r->turn_ms + 1 : UINT64_MAX;
    for (unsigned i = 0; i < REPLICA_PEERS_MAX; i++) {
        if (r->peers[i].up) {
            next = lower(next, r->peers[i].digest_ms);
        }
    }
    return next;
}

/* ---- Figures */

struct replica_figures replica_figures(const struct replica *r)
{
    struct replica_figures f = r->figures;
    f.topics = r->topics.count;
    f.gone = r->topics.gone;
    f.bytes = r->topics.bytes;
    f.digest = r->topics.root;
    f.high = r->durable_high;
    f.complete = complete(r);
    f.floor = r->floor;
    return f;
}

struct replica_peer_figures replica_peer_figures(const struct replica *r, unsigned peer)
{
    assert(peer < REPLICA_PEERS_MAX);

    const struct peer *const p = &r->peers[peer];
    struct replica_peer_figures f = {.up = p->up,
                                     .lost = p->lost,
                                     .said = p->said,
                                     .same = p->same,
                                     .complete = p->complete_told,
                                     .floor = p->floor_told,
                                     .has = p->complete};
    memcpy(f.sum, p->sum_told, sizeof f.sum);
    return f;
}

bool replica_check(struct replica *r)
{
    return versions_check(&r->topics);
}
