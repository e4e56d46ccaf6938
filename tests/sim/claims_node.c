/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/sim/claims_node.h"

#include <assert.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cluster/claims/claims_parts.h"
#include "proto/little_endian.h"

struct claims_rules claims_rules;

static uint64_t now(const struct claims_node *n)
{
    return sim_now_ms(n->links->node);
}

static struct sim *world(const struct claims_node *n)
{
    return sim_of(n->links->node);
}

struct bytes claims_id(unsigned id)
{
    static char texts[CLAIMS_IDS][16];
    snprintf(texts[id], sizeof texts[id], "client-%u", id);
    return bytes_text(texts[id]);
}

uint64_t claims_id_hash(const struct claims_node *n, unsigned id)
{
    return claims_hash(sim_identity(n->links->node)->cluster, claims_id(id));
}

static unsigned id_number(const struct claims_node *n, struct bytes id)
{
    for (unsigned i = 0; i < CLAIMS_IDS; i++) {
        if (bytes_equal(claims_id(i), id)) {
            return i;
        }
    }
    sim_fail(world(n), "an id that nobody has");
    return 0;
}

static struct claims_client *client_of(struct claims_node *n, uint64_t serial)
{
    for (unsigned i = 0; i < CLAIMS_CLIENTS; i++) {
        if (n->clients[i].life != NULL && n->clients[i].life->key.serial == serial) {
            return &n->clients[i];
        }
    }
    return NULL;
}

/* ---- What claims tell */

static void on_attached(void *context, uint64_t hash, uint64_t serial,
                        const struct claims_grant *grant)
{
    struct claims_node *const n = context;
    struct claims_client *const client = client_of(n, serial);
    if (client == NULL || client->attached) {
        sim_fail(world(n), "node %u: attached is who is not there, or once more",
                 sim_index(n->links->node));
        return;
    }
    const unsigned owner = claims_owner(n->claims, hash);
    client->attached = true;
    client->life->owner =
        owner == CLAIMS_SELF ? sim_identity(n->links->node)->node : n->uuids[owner];
    client->life->owner_generation =
        owner == CLAIMS_SELF ? sim_identity(n->links->node)->generation : n->generations[owner];
    sim_note(n->links->node, "client %u.%llu is attached, claim %llu%s%s", client->life->id,
             (unsigned long long)serial, (unsigned long long)grant->claim,
             grant->degraded ? ", degraded" : "", grant->unsure ? ", unsure" : "");
    claims_rules.attached(n, client, grant);
}

static void on_kicked(void *context, uint64_t hash, uint64_t serial, struct bytes id)
{
    struct claims_node *const n = context;
    struct claims_client *const client = client_of(n, serial);
    (void)hash;
    if (client == NULL || client->closing || client->life->id != id_number(n, id)) {
        sim_fail(world(n), "node %u: kicked is who is not there, or once more",
                 sim_index(n->links->node));
        return;
    }
    client->closing = true;
    client->close_ms = sim_time_ms(world(n)) + claims_rules.kick_ms(n);
    sim_note(n->links->node, "client %u.%llu is kicked", client->life->id,
             (unsigned long long)serial);
}

static void on_will(void *context, const struct claims_key *whose, struct bytes id,
                    struct bytes will)
{
    struct claims_node *const n = context;
    if (will.len != sizeof(uint32_t)) {
        sim_fail(world(n), "a will that nobody made");
        return;
    }
    sim_note(n->links->node, "will %u of %u.%llu", get_u32(will.at), id_number(n, id),
             (unsigned long long)whose->serial);
    claims_rules.will(n, whose, id_number(n, id), get_u32(will.at));
}

/* ---- The rider */

static void *on_create(struct link_node *links)
{
    struct claims_node *const n = calloc(1, sizeof *n);
    struct claims_conf conf = claims_conf_defaults();
    assert(n != NULL);
    n->links = links;
    conf.cluster = sim_identity(links->node)->cluster;
    conf.self = sim_identity(links->node)->node;
    conf.generation = sim_identity(links->node)->generation;
    conf.turn_steps = 7;
    conf.frames_max = 2;
    conf.frame_bytes = 1024;
    conf.events = (struct claims_events){
        .attached = on_attached, .kicked = on_kicked, .will = on_will, .context = n};
    n->claims = claims_create(&conf);
    assert(n->claims != NULL);
    claims_set_wall(n->claims, sim_wall_ms(links->node));
    return n;
}

static void on_destroy(void *rider)
{
    struct claims_node *const n = rider;
    for (unsigned i = 0; i < CLAIMS_CLIENTS; i++) {
        struct life *const life = n->clients[i].life;
        if (life != NULL && life->ended_ms == 0) {
            life->ended_ms = sim_time_ms(world(n)) + 1;
            life->crashed = true;
        }
    }
    claims_destroy(n->claims);
    free(n);
}

static void on_begin(void *rider, unsigned peer, struct node_uuid uuid)
{
    struct claims_node *const n = rider;
    if (n->used[peer]) {
        claims_peer_forget(n->claims, peer, now(n));
        n->lost_ms[peer] = sim_time_ms(world(n));
    }
    n->used[peer] = true;
    n->uuids[peer] = uuid;
    n->generations[peer] = 0;
    n->live[peer] = false;
    n->down_ms[peer] = sim_time_ms(world(n)) + 1;
    claims_peer_begin(n->claims, peer, uuid, now(n));
}

static void on_live(void *rider, unsigned peer, bool live)
{
    struct claims_node *const n = rider;
    sim_note(n->links->node, "%u is %s", peer, live ? "alive" : "dead");
    n->live[peer] = live;
    claims_peer_live(n->claims, peer, live, now(n));
}

static void on_up(void *rider, unsigned peer, uint64_t generation)
{
    struct claims_node *const n = rider;
    if (n->generations[peer] != 0 && n->generations[peer] != generation) {
        n->lost_ms[peer] = sim_time_ms(world(n));
    }
    n->down_ms[peer] = 0;
    n->generations[peer] = generation;
    claims_peer_up(n->claims, peer, generation, now(n));
}

static void on_down(void *rider, unsigned peer)
{
    struct claims_node *const n = rider;
    n->down_ms[peer] = sim_time_ms(world(n)) + 1;
    claims_peer_down(n->claims, peer, now(n));
}

/* Those that ended cleanly, and of which nothing is kept any more. */
static void note_taken(struct claims_node *n, unsigned peer)
{
    const struct identity *const self = sim_identity(n->links->node);
    for (unsigned i = 0; i < CLAIMS_CLIENTS; i++) {
        struct life *const life = n->clients[i].life;
        if (life == NULL || life->ended_ms == 0) {
            continue;
        }
        struct part *const part = part_of(n->claims, claims_id_hash(n, life->id));
        bool there = false;
        for (struct table_link *l = table_find(&part->holds, claims_id_hash(n, life->id));
             l != NULL; l = table_find_next(l)) {
            there = there || table_object(l, struct hold, link)->serial == life->key.serial;
        }
        if (!there) {
            n->clients[i] = (struct claims_client){.life = NULL};
            if (life->is_told && part->owner == peer) {
                life->taker = peer == CLAIMS_SELF ? self->node : n->uuids[peer];
                life->taker_generation =
                    peer == CLAIMS_SELF ? self->generation : n->generations[peer];
            }
        }
    }
}

static enum link_taken on_deliver(void *rider, unsigned peer, const struct node_frame *frame)
{
    struct claims_node *const n = rider;
    const enum claims_err err = claims_received(n->claims, peer, frame, now(n));
    if (err != CLAIMS_OK) {
        sim_fail(world(n), "node %u does not understand %u", sim_index(n->links->node), peer);
        return LINK_BAD;
    }
    if (frame->type == NODE_FRAME_CLAIM_ACK) {
        note_taken(n, peer);
    }
    return LINK_TAKEN;
}

static bool on_next(void *rider, unsigned peer, size_t room, uint8_t *type, struct bytes *body)
{
    struct claims_node *const n = rider;
    return claims_next(n->claims, peer, room, now(n), type, body);
}

static void look_at_owners(struct claims_node *n)
{
    const uint64_t t = sim_time_ms(world(n)) + 1;
    for (unsigned id = 0; id < CLAIMS_IDS; id++) {
        const bool own = claims_owner(n->claims, claims_id_hash(n, id)) == CLAIMS_SELF;
        if (own != (n->own_since_ms[id] != 0)) {
            n->own_since_ms[id] = own ? t : 0;
        }
    }
    for (unsigned i = 0; i < LINK_NODES_MAX; i++) {
        const uint64_t after = n->down_ms[i] + 9800;
        if (n->used[i] && !n->live[i] && n->down_ms[i] != 0 && t > after && n->lost_ms[i] < after) {
            n->lost_ms[i] = after;
        }
    }
}

static void on_turn(void *rider)
{
    struct claims_node *const n = rider;
    look_at_owners(n);
    claims_set_wall(n->claims, sim_wall_ms(n->links->node));
    claims_turn(n->claims, now(n));
    note_taken(n, CLAIMS_SELF);
}

static uint64_t on_next_ms(const void *rider)
{
    const struct claims_node *const n = rider;
    return claims_next_ms(n->claims);
}

const struct link_rider claims_rider = {
    .create = on_create,
    .destroy = on_destroy,
    .begin = on_begin,
    .live = on_live,
    .up = on_up,
    .down = on_down,
    .deliver = on_deliver,
    .next = on_next,
    .turn = on_turn,
    .next_ms = on_next_ms,
};

/* ---- What clients do */

bool claims_node_attach(struct claims_node *n, struct life *life, uint32_t number)
{
    struct claims_client *client = NULL;
    for (unsigned i = 0; i < CLAIMS_CLIENTS && client == NULL; i++) {
        client = n->clients[i].life == NULL ? &n->clients[i] : NULL;
    }
    if (client == NULL) {
        return false;
    }
    uint8_t will[sizeof number];
    put_u32(will, number);
    life->key.serial = ++n->serials;
    const struct claims_attach attach = {.hash = claims_id_hash(n, life->id),
                                         .serial = life->key.serial,
                                         .id = claims_id(life->id),
                                         .clean = life->clean,
                                         .will = bytes_of(will, life->has_will ? sizeof will : 0),
                                         .delay_ms = life->delay_ms};
    life->key.node = sim_identity(n->links->node)->node;
    life->key.generation = sim_identity(n->links->node)->generation;
    const enum claims_err err = claims_attach(n->claims, &attach, now(n));
    assert(err == CLAIMS_OK);
    *client = (struct claims_client){.life = life};
    sim_note(n->links->node, "client %u.%llu comes%s%s", life->id,
             (unsigned long long)life->key.serial, life->clean ? ", clean" : "",
             life->has_will ? ", with a will" : "");
    return true;
}

void claims_node_detach(struct claims_node *n, struct claims_client *client, enum claims_end end)
{
    struct life *const life = client->life;
    const uint64_t before = claims_figures(n->claims).holds;
    sim_note(n->links->node, "client %u.%llu ends, %s", life->id,
             (unsigned long long)life->key.serial, end == CLAIMS_CLEAN ? "clean" : "lost");
    life->ended_ms = sim_time_ms(world(n)) + 1;
    life->ended_clean = end == CLAIMS_CLEAN;
    claims_detach(n->claims, claims_id_hash(n, life->id), life->key.serial, end, now(n));
    /* Something of it is kept until the owner has taken that; or nothing, and the owner will miss
     * it. */
    life->is_told = claims_figures(n->claims).holds == before;
    if (!life->is_told) {
        *client = (struct claims_client){.life = NULL};
    }
}
