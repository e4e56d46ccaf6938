/* SPDX-License-Identifier: Apache-2.0 */
/* All groups of a shard: the turn, what is let go of, figures, beginning and end. */
#include "broker/groups/groups.h"

#include <stdlib.h>
#include <string.h>

#include "broker/groups/groups_parts.h"
#include "broker/node.h"

#define NEVER    UINT64_MAX
#define SHOWN_MS 100u /* from one time that figures are shown to the next */

bool group_is_one(unsigned group)
{
    return group < STORE_RETAINED || group == STORE_META;
}

unsigned group_home(const struct node *node, unsigned group)
{
    return group == STORE_META ? 0 : group % node->shard_count;
}

/* It does not go back, as that of a shard may, by what a visitor has set it to. */
uint64_t groups_now(struct shard *s)
{
    struct shard_groups *const all = s->groups;
    all->now_ms = s->now_ms > all->now_ms ? s->now_ms : all->now_ms;
    return all->now_ms;
}

/* ---- what is void */

struct post_let_go {
    struct post_head head;
    uint64_t index;
    uint16_t group;
};

static void let_go(struct shard *s, const struct letting_go *l)
{
    struct group *const g = s->groups->of[l->group];
    store_let_go_of_group(s->store, l->group, l->index);
    for (unsigned to = 0; to < s->node->shard_count; to++) {
        if (to != s->id && (l->journals >> to & 1) != 0) {
            struct post_let_go *const p = post_reserve(s, to, POST_GROUP_LET_GO, sizeof *p);
            p->index = l->index;
            p->group = l->group;
            post_commit(s, to);
        }
    }
    if (g != NULL && g->again_index == l->index + 1) {
        g->again_under_way = false;
    }
}

void groups_on_let_go(struct shard *s, unsigned from, const struct post_head *record)
{
    const struct post_let_go *const p = (const void *)record;
    (void)from;
    if (s->store != NULL) {
        store_let_go_of_group(s->store, p->group, p->index);
    }
}

static void let_go_of_some(struct shard *s, uint64_t durable)
{
    struct fifo *const letting = &s->groups->letting;
    const struct letting_go *l;
    while ((l = fifo_first(letting)) != NULL && l->position <= durable) {
        const struct letting_go now = *l;
        fifo_pop(letting);
        let_go(s, &now);
    }
}

/* ---- the turn */

static void on_durable(struct shard *s)
{
    struct shard_groups *const all = s->groups;
    const uint64_t durable = store_durable(s->store);
    if (durable == all->durable) {
        return;
    }
    all->durable = durable;
    for (unsigned p = 0; p < RECORD_PARTITIONS; p++) {
        if (all->of[p] != NULL && all->of[p]->positions.count > 0) {
            group_on_durable(all->of[p], durable);
        }
    }
    let_go_of_some(s, durable);
}

static void on_time(struct shard *s)
{
    struct shard_groups *const all = s->groups;
    if (groups_now(s) < all->next_ms) {
        return;
    }
    all->next_ms = NEVER;
    for (unsigned p = 0; p < RECORD_PARTITIONS; p++) {
        if (all->of[p] != NULL) {
            group_on_time(all->of[p]);
        }
    }
}

/* One in a turn: it is as much as the group has. */
static void write_again(struct shard *s)
{
    const bool many = store_has_many_segments(s->store);
    if (!many && !s->groups->has_old) {
        return;
    }
    s->groups->has_old = false;
    for (unsigned p = 0; p < RECORD_PARTITIONS; p++) {
        struct group *const g = s->groups->of[p];
        if (g != NULL && !g->again_under_way &&
            (g->old_journals != 0 || (many && store_is_held_by_group(s->store, (uint16_t)p)))) {
            group_write_again(g);
            s->groups->has_old = true; /* there may be others */
            return;
        }
    }
}

/* What events do may be news again. */
static void tell(struct shard *s)
{
    struct shard_groups *const all = s->groups;
    for (unsigned rounds = 0; all->has_news && rounds < 4; rounds++) {
        all->has_news = false;
        for (unsigned p = 0; p < RECORD_PARTITIONS; p++) {
            if (all->of[p] != NULL) {
                group_tell(all->of[p]);
            }
        }
    }
}

/* Others serve better than one that ends, or whose disk takes nothing. */
static void ask_off(struct shard *s)
{
    const bool wanted = s->ending || s->store->trouble != 0;
    for (unsigned p = 0; p < RECORD_PARTITIONS; p++) {
        if (s->groups->of[p] != NULL) {
            group_ask_off(s->groups->of[p], wanted);
        }
    }
}

static bool is_at_work(const struct shard *s)
{
    return s->store != NULL && (s->groups->count > 0 || s->groups->letting.count > 0);
}

void groups_turn(struct shard *s)
{
    struct shard_groups *const all = s->groups;
    if (all == NULL || !is_at_work(s)) {
        return;
    }
    on_durable(s);
    on_time(s);
    write_again(s);
    if (s->ending || s->store->trouble != 0 || all->is_asking_off) {
        ask_off(s);
        all->is_asking_off = s->ending || s->store->trouble != 0;
    }
    tell(s);
}

static void show(struct shard *s)
{
    struct shard_groups *const all = s->groups;
    uint64_t now[GROUPS_GAUGES] = {0};
    for (unsigned p = 0; p < RECORD_PARTITIONS; p++) {
        const struct group *const g = all->of[p];
        if (g == NULL) {
            continue;
        }
        now[GROUPS_LED] += g->told_leads;
        now[GROUPS_FOLLOWED] += !g->told_leads && g->told_leader != 0;
        now[GROUPS_LEADERLESS] += !g->told_leads && g->told_leader == 0;
        now[GROUPS_STANDING] += g->state != GROUP_RUNNING;
        now[GROUPS_TAIL_BYTES] += g->tail_bytes;
    }
    for (unsigned i = 0; i < GROUPS_GAUGES; i++) {
        atomic_store_explicit(&all->gauges[i], now[i], memory_order_relaxed);
    }
}

void groups_flush(struct shard *s)
{
    struct shard_groups *const all = s->groups;
    if (all == NULL) {
        return;
    }
    all->has_written = false; /* until now: it is on its way */
    if ((all->count == 0 && !all->is_shown) || s->now_ms < all->shown_ms) {
        return;
    }
    all->shown_ms = s->now_ms + SHOWN_MS;
    all->is_shown = all->count > 0;
    show(s);
}

uint64_t groups_next_ms(const struct shard *s)
{
    const struct shard_groups *const all = s->groups;
    if (all == NULL || !is_at_work(s)) {
        return NEVER;
    }
    return all->has_news || all->has_written ? 0 : all->next_ms;
}

uint64_t groups_gauge(const struct node *node, enum groups_gauge gauge)
{
    uint64_t sum = 0;
    for (unsigned i = 0; i < node->shard_count; i++) {
        const struct shard_groups *const all = node->shards[i]->groups;
        sum += all == NULL ? 0 : atomic_load_explicit(&all->gauges[gauge], memory_order_relaxed);
    }
    return sum;
}

/* ---- beginning and end */

struct groups_conf groups_conf_defaults(void)
{
    struct groups_conf conf = {.tail_bytes_max = (size_t)8 << 20,
                               .snapshot_bytes_max = (size_t)256 << 10,
                               .consensus = consensus_conf_defaults()};
    conf.consensus.message_bytes_max = (size_t)256 << 10; /* links have 1 MiB for all of these */
    conf.consensus.proposals_bytes_max = (size_t)4 << 20;
    conf.consensus.waiting_bytes_max = (size_t)4 << 20;
    conf.consensus.install_ms = 5000;
    conf.consensus.election_ms = 750; /* so that another one leads within two seconds, as a rule */
    return conf;
}

bool groups_create(struct node *node, const struct groups_conf *conf)
{
    for (unsigned i = 0; i < node->shard_count; i++) {
        struct shard_groups *const all = calloc(1, sizeof *all);
        if (all == NULL) {
            return false;
        }
        all->conf = *conf;
        all->next_ms = NEVER;
        all->letting.item = sizeof(struct letting_go);
        node->shards[i]->groups = all;
    }
    return true;
}

void shard_groups_destroy(struct shard *s)
{
    struct shard_groups *const all = s->groups;
    if (all == NULL) {
        return;
    }
    for (unsigned p = 0; p < RECORD_PARTITIONS; p++) {
        if (all->of[p] != NULL) {
            group_free(all->of[p], true);
        }
    }
    fifo_fini(&all->letting);
    free(all);
    s->groups = NULL;
}
