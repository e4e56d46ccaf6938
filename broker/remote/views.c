/* SPDX-License-Identifier: Apache-2.0 */
#include "broker/remote/views.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>
#include <xxhash.h>

#include "broker/remote/remote.h"
#include "broker/remote/remote_parts.h"
#include "broker/route/index.h"
#include "proto/topic.h"

struct post_peer_item {
    struct post_head head;
    unsigned peer;
    uint32_t count; /* 0: it has gone */
    uint32_t len;
    uint8_t *text; /* on the heap, the receiver's; NULL: it is here, behind */
    uint8_t here[];
};

struct post_peer_mark {
    struct post_head head;
    unsigned peer;
};

#define TEXT_HERE_MAX 1024u

/* The members that one other node has in one group. */
struct peer_group {
    struct table_link by_text;
    unsigned peer;
    uint32_t count;
    uint64_t subscription_id; /* of all of them */
    struct share_member *members[VIEWS_MEMBERS_MAX];
    size_t len;
    uint8_t text[]; /* "$share/NAME/FILTER" */
};

/* ---- who writes that part of the index */

static uint64_t group_hash(unsigned peer, struct bytes text)
{
    return XXH3_64bits_withSeed(text.at, text.len, peer);
}

static struct peer_group *group_find(struct remote *r, unsigned peer, struct bytes text)
{
    struct table_link *link = table_find(&r->groups, group_hash(peer, text));
    for (; link != NULL; link = table_find_next(link)) {
        struct peer_group *const g = table_object(link, struct peer_group, by_text);
        if (g->peer == peer && bytes_equal(bytes_of(g->text, g->len), text)) {
            return g;
        }
    }
    return NULL;
}

static struct peer_group *group_make(struct shard *s, unsigned peer, struct bytes text)
{
    struct peer_group *const present = group_find(s->remote, peer, text);
    if (present != NULL) {
        return present;
    }
    struct peer_group *const g = remote_alloc(sizeof *g + text.len);
    *g = (struct peer_group){.peer = peer, .subscription_id = shard_serial(s), .len = text.len};
    memcpy(g->text, text.at, text.len);
    table_insert(&s->remote->groups, &g->by_text, group_hash(peer, text));
    return g;
}

/* The same on each node, so that they choose alike by hash. */
static uint64_t member_hash(const struct shard *s, unsigned peer, uint32_t number)
{
    return XXH3_64bits_withSeed(s->remote->nodes[peer].bytes, UUID_BYTES, number);
}

static void member_join(struct shard *s, struct peer_group *g, struct bytes share,
                        struct bytes plain)
{
    struct share_member *const m = remote_alloc(sizeof *m);
    uint64_t group_id;
    memset(m, 0, sizeof *m);
    m->subscription_id = g->subscription_id;
    m->client_hash = member_hash(s, g->peer, g->count);
    m->shard = INDEX_PEER_FIRST + g->peer;
    atomic_init(&m->online, (s->remote->live & remote_bit(g->peer)) != 0);
    if (index_share_join(s->node->index, s->id, share, plain, m, &group_id) != INDEX_OK) {
        remote_out_of_memory();
    }
    g->members[g->count++] = m;
}

struct liveness {
    unsigned peer;
    bool live;
};

static bool group_set_live(void *context, struct table_link *link)
{
    const struct liveness *const l = context;
    const struct peer_group *const g = table_object(link, struct peer_group, by_text);
    for (uint32_t i = 0; g->peer == l->peer && i < g->count; i++) {
        atomic_store_explicit(&g->members[i]->online, l->live, memory_order_relaxed);
    }
    return true;
}

void views_set_live(struct shard *s, unsigned peer, bool live)
{
    struct liveness l = {.peer = peer, .live = live};
    (void)table_all(&s->remote->groups, group_set_live, &l);
}

static void group_set(struct shard *s, unsigned peer, struct bytes text, struct bytes share,
                      struct bytes plain, uint32_t count)
{
    struct peer_group *const g = group_make(s, peer, text);
    const uint32_t wanted = count < VIEWS_MEMBERS_MAX ? count : VIEWS_MEMBERS_MAX;
    while (g->count < wanted) {
        member_join(s, g, share, plain);
    }
    while (g->count > wanted) {
        index_share_leave(s->node->index, s->id, g->members[--g->count]);
    }
    if (g->count == 0) {
        table_remove(&s->remote->groups, &g->by_text);
        free(g);
    }
}

static void apply(struct shard *s, unsigned peer, struct bytes text, uint32_t count)
{
    struct bytes share, plain;
    uint64_t id;
    if (topic_is_share(text)) {
        if (topic_share_parse(text, &share, &plain)) {
            group_set(s, peer, text, share, plain, count);
        }
    } else if (count == 0) {
        index_remove(s->node->index, s->id, text, INDEX_PEER_FIRST + peer);
    } else if (index_add(s->node->index, s->id, text, INDEX_PEER_FIRST + peer, &id, NULL) !=
               INDEX_OK) {
        remote_out_of_memory();
    }
}

void views_on_item(struct shard *s, unsigned from, const struct post_head *record)
{
    const struct post_peer_item *const p = (const void *)record;
    (void)from;
    apply(s, p->peer, bytes_of(p->text != NULL ? p->text : p->here, p->len), p->count);
    free(p->text);
}

/* ---- shard 0 */

/* The filter whose part it belongs to; false: a kind, or a filter, that means nothing here. */
static bool filter_of(const struct node_interest_item *item, struct bytes *plain)
{
    struct bytes share;
    *plain = item->text;
    if (item->kind == NODE_INTEREST_GROUP) {
        return topic_share_parse(item->text, &share, plain) && topic_filter_valid(*plain);
    }
    return item->kind == NODE_INTEREST_FILTER && !topic_is_share(item->text);
}

static void pass_on(struct shard *s, unsigned peer, const struct node_interest_item *item,
                    uint32_t count)
{
    struct bytes plain;
    if (!filter_of(item, &plain)) {
        return;
    }
    const unsigned owner = index_owner(s->node->index, plain);
    if (owner == s->id) {
        apply(s, peer, item->text, count);
        return;
    }
    const size_t len = item->text.len;
    const size_t here = len <= TEXT_HERE_MAX ? len : 0;
    struct post_peer_item *const p = post_reserve(s, owner, POST_PEER_ITEM, sizeof *p + here);
    p->peer = peer;
    p->count = count;
    p->len = (uint32_t)len;
    p->text = here > 0 ? NULL : remote_alloc(len);
    memcpy(here > 0 ? p->here : p->text, item->text.at, len);
    post_commit(s, owner);
}

static bool on_set(void *context, unsigned peer, const struct node_interest_item *item)
{
    pass_on(context, peer, item, item->count);
    return true;
}

/* Of a node that has been dead for long it is let go of, without a word of its own: it will not be
 * known what it misses from now on. */
static void on_removed(void *context, unsigned peer, const struct node_interest_item *item)
{
    struct shard *const s = context;
    struct remote *const r = s->remote;
    const uint32_t bit = remote_bit(peer);
    if ((r->live & bit) == 0 && (r->skipped & bit) == 0 && peers_has_lane(s, peer)) {
        r->skipped |= bit;
        forward_leave_gap(s, peer);
    }
    pass_on(s, peer, item, 0);
}

static void ask(struct shard *s, unsigned peer, uint32_t epoch, uint64_t version)
{
    struct settling *const t = &s->remote->settling[peer];
    *t = (struct settling){.left = s->node->shard_count - 1, .epoch = epoch, .version = version};
    for (unsigned to = 1; to < s->node->shard_count; to++) {
        struct post_peer_mark *const p = post_reserve(s, to, POST_PEER_MARK, sizeof *p);
        p->peer = peer;
        post_commit(s, to);
    }
    if (t->left == 0) {
        interest_settled(s->remote->interest, peer, epoch, version);
    }
}

static void on_settle(void *context, unsigned peer, uint32_t epoch, uint64_t version)
{
    struct shard *const s = context;
    struct settling *const t = &s->remote->settling[peer];
    if (t->left == 0) {
        ask(s, peer, epoch, version);
        return;
    }
    t->again = true;
    t->next_epoch = epoch;
    t->next_version = version;
}

void views_on_mark(struct shard *s, unsigned from, const struct post_head *record)
{
    assert(from == 0);
    struct post_peer_mark *const p = post_reserve(s, from, POST_PEER_MARKED, sizeof *p);
    p->peer = ((const struct post_peer_mark *)(const void *)record)->peer;
    post_commit(s, from);
}

void views_on_marked(struct shard *s, unsigned from, const struct post_head *record)
{
    (void)from;
    const unsigned peer = ((const struct post_peer_mark *)(const void *)record)->peer;
    struct settling *const t = &s->remote->settling[peer];
    assert(t->left > 0);
    if (--t->left > 0) {
        return;
    }
    interest_settled(s->remote->interest, peer, t->epoch, t->version);
    if (t->again) {
        ask(s, peer, t->next_epoch, t->next_version);
    }
}

static void on_reached(void *context, uint64_t token, uint32_t without)
{
    (void)token;
    told_reached(context, without);
}

struct interest_events views_events(struct shard *s)
{
    return (struct interest_events){.set = on_set,
                                    .removed = on_removed,
                                    .settle = on_settle,
                                    .reached = on_reached,
                                    .context = s};
}

/* Their members go with the index. */
void views_fini(struct shard *s)
{
    size_t cursor = 0;
    struct table_link *link;
    while ((link = table_any(&s->remote->groups, &cursor)) != NULL) {
        struct peer_group *const g = table_object(link, struct peer_group, by_text);
        table_remove(&s->remote->groups, link);
        free(g);
    }
    table_fini(&s->remote->groups);
}
