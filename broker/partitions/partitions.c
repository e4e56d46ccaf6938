/* SPDX-License-Identifier: Apache-2.0 */
/* Roles: what groups, the applier and META say, and what becomes of a partition by that. */
#include "broker/partitions/partitions.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>
#include <xxhash.h>

#include "broker/config/config.h"
#include "broker/dispatch/dispatch_run.h"
#include "broker/dispatch/dispatch_uses.h"
#include "broker/io/io.h"
#include "broker/log/log.h"
#include "broker/message.h"
#include "broker/meta/meta_run.h"
#include "broker/partitions/ledger.h"
#include "broker/partitions/partitions_parts.h"
#include "broker/session/session.h"
#include "broker/store/entry.h"
#include "broker/store/origins.h"
#include "broker/store/serial.h"
#include "broker/store/store.h"

#define NEVER    UINT64_MAX
#define SHOWN_MS 100u

_Static_assert(PARTITIONS == SERIAL_PARTITIONS, "one number of partitions");

const char *partition_err_text(enum partition_err err)
{
    static const char *const texts[PARTITION_ERRS] = {
        [PARTITION_OK] = "it is served",
        [PARTITION_NO_MEMORY] = "out of memory",
        [PARTITION_NO_DISK] = "nothing is kept on disk",
        [PARTITION_CORRUPT] = "what the journal, or META, has of its group is not understood",
        [PARTITION_STOPPED] = "what this node has promised in that incarnation is forgotten",
    };
    return texts[err];
}

const char *partition_role_text(enum partition_role role)
{
    static const char *const texts[] = {
        [PARTITION_ABSENT] = "absent",   [PARTITION_FOLLOWS] = "follows",
        [PARTITION_REVIVES] = "revives", [PARTITION_LEADS] = "leads",
        [PARTITION_FAILED] = "failed",
    };
    return texts[role];
}

static struct partitions *all_of(const struct shard *s)
{
    return s->node->partitions;
}

struct partition *partition_of(const struct shard *s, unsigned p)
{
    assert(p < PARTITIONS);
    ASSERT_OWNED(s);
    assert(s->node->partition_shard[p] == s->id);
    return &all_of(s)->of[p];
}

static struct applier_thread *applier_of(const struct partition *p)
{
    return p->shard->node->partitions->applier;
}

static const struct partitions_hooks *hooks_of(const struct partition *p)
{
    return p->shard->node->partitions->conf.hooks;
}

/* ---- origins of a partition that is led */

static uint64_t origin_hash(uint64_t origin)
{
    return XXH3_64bits(&origin, sizeof origin);
}

static struct origin_row *find_origin(struct partition *p, enum origin_kind kind, uint64_t origin)
{
    struct table_link *l = table_find(&p->origins, origin_hash(origin));
    for (; l != NULL; l = table_find_next(l)) {
        struct origin_row *const row = table_object(l, struct origin_row, by_origin);
        if (row->origin == origin && row->kind == kind) {
            return row;
        }
    }
    return NULL;
}

static void drop_origin(struct partition *p)
{
    size_t cursor = 0;
    struct table_link *const l = table_any(&p->origins, &cursor);
    table_remove(&p->origins, l);
    free(table_object(l, struct origin_row, by_origin));
}

void partition_note_origin(struct partition *p, enum origin_kind kind, uint64_t origin,
                           uint64_t highest)
{
    struct origin_row *row = find_origin(p, kind, origin);
    if (row == NULL) {
        if (p->origins.count >= ORIGINS_MAX) {
            drop_origin(p); /* what the records have to say of it is a net below this */
        }
        row = calloc(1, sizeof *row);
        if (row == NULL) {
            store_out_of_memory();
        }
        row->origin = origin;
        row->kind = kind;
        table_insert(&p->origins, &row->by_origin, origin_hash(origin));
    }
    row->highest = highest > row->highest ? highest : row->highest;
}

static void drop_origins(struct partition *p)
{
    while (p->origins.count > 0) {
        drop_origin(p);
    }
}

uint64_t partition_highest(const struct shard *s, unsigned p, uint64_t origin)
{
    const struct origin_row *const row = find_origin(partition_of(s, p), ORIGIN_STREAM, origin);
    return row == NULL ? 0 : row->highest;
}

bool partition_revives(const struct session *session)
{
    return !serial_is_local(session->serial) &&
           partition_term(session->shard, serial_partition(session->serial)) == 0;
}

bool partition_is_repetition(struct shard *s, unsigned number, const struct message *m)
{
    if (m->exchange == 0 || serial_is_local(m->publisher)) {
        return false;
    }
    struct partition *const p = partition_of(s, number);
    const enum origin_kind kind = message_is_will(m) ? ORIGIN_WILLS : ORIGIN_EXCHANGES;
    const struct origin_row *const row = find_origin(p, kind, m->publisher);
    if (row != NULL && m->exchange <= row->highest) {
        return true;
    }
    partition_note_origin(p, kind, m->publisher, m->exchange);
    return false;
}

/* ---- roles */

void partition_cease(struct partition *p)
{
    struct shard *const s = p->shard;
    const struct partitions_hooks *const hooks = hooks_of(p);
    const bool led = p->role == PARTITION_LEADS;
    if (!led && p->role != PARTITION_REVIVES) {
        return;
    }
    atomic_store_explicit(&p->led, 0, memory_order_release);
    p->role = PARTITION_FOLLOWS;
    if (led && hooks->cease != NULL) {
        hooks->cease(s, p->number);
    }
    if (p->revival != NULL) {
        revival_of_abandon(p);
    }
    ledger_lead(s, p->number, 0); /* what they do from now on is no entry */
    partition_vanish(p);
    ledger_drop(s, p->number);
    drop_origins(p);
    log_event(LOG_INFO, "partition_ceased", LOG_NUMBER("partition", p->number),
              LOG_NUMBER("term", p->term));
}

void partition_lead(struct partition *p)
{
    struct shard *const s = p->shard;
    p->role = PARTITION_LEADS;
    all_of(s)->of_shard[s->id].reviving &= ~(UINT64_C(1) << p->number);
    atomic_store_explicit(&p->led, p->term, memory_order_release);
    if (hooks_of(p)->lead != NULL) {
        hooks_of(p)->lead(s, p->number, p->term);
    }
}

static void stand_still(struct partition *p)
{
    partition_cease(p);
    copies_forget(p);
    p->role = PARTITION_FAILED;
    group_give_up(p->shard, p->number);
}

void partition_give_up(struct partition *p, const char *why)
{
    log_event(LOG_ERROR, "partition_failed", LOG_NUMBER("partition", p->number),
              LOG_NUMBER("index", p->applied), LOG_TEXT("reason", why),
              LOG_TEXT("meaning", "this node does not go on with it until it is started anew"));
    stand_still(p);
}

/* ---- events of groups */

static const struct groups_events *meta_of(const struct shard *s, unsigned group)
{
    return group >= PARTITIONS ? all_of(s)->conf.meta : NULL;
}

static void note_operation(struct partition *p, uint64_t index, struct bytes bytes)
{
    const struct partitions_hooks *const hooks = hooks_of(p);
    struct entry e;
    if (!entry_read(bytes, &e)) {
        return;
    }
    if (e.type == ENTRY_SEALED) {
        move_sealed(p, partition_end(e.term, index));
        return;
    }
    if (e.type != ENTRY_DISPATCHED || (e.queued.operation & ENTRY_MORE_FOLLOWS) != 0 ||
        (p->role != PARTITION_REVIVES && p->role != PARTITION_LEADS)) {
        return;
    }
    partition_note_origin(p, ORIGIN_STREAM, e.queued.stream, e.queued.operation);
    if (p->role == PARTITION_LEADS && hooks->applied != NULL) {
        hooks->applied(p->shard, p->number, e.queued.stream, e.queued.operation);
    }
}

static void on_applied(struct shard *s, unsigned group, uint64_t index, struct bytes entry)
{
    if (group >= PARTITIONS) {
        if (meta_of(s, group) != NULL) {
            meta_of(s, group)->applied(s, group, index, entry);
        }
        return;
    }
    struct partition *const p = partition_of(s, group);
    p->applied = index;
    applier_entry(applier_of(p), group, index, entry);
    note_operation(p, index, entry);
}

static void on_proposed(struct shard *s, unsigned group, uint64_t ticket, enum consensus_end end)
{
    if (group < PARTITIONS) {
        ledger_proposed(s, group, ticket, end);
    } else if (meta_of(s, group) != NULL) {
        meta_of(s, group)->proposed(s, group, ticket, end);
    }
}

static void on_leading(struct shard *s, unsigned group, uint64_t term)
{
    if (group >= PARTITIONS) {
        if (meta_of(s, group) != NULL) {
            meta_of(s, group)->leading(s, group, term);
        }
        return;
    }
    struct partition *const p = partition_of(s, group);
    partition_cease(p); /* another term of its own */
    if (p->role != PARTITION_FOLLOWS || p->move.sealed != 0 || p->opening != OPENING_NONE) {
        return;
    }
    p->role = PARTITION_REVIVES;
    p->term = term;
    p->leader = p->conf.self;
    all_of(s)->of_shard[s->id].reviving |= UINT64_C(1) << group;
    ledger_lead(s, group, term);
    revival_of_begin(p);
}

static void on_following(struct shard *s, unsigned group, uint64_t leader)
{
    if (group >= PARTITIONS) {
        if (meta_of(s, group) != NULL) {
            meta_of(s, group)->following(s, group, leader);
        }
        return;
    }
    struct partition *const p = partition_of(s, group);
    partition_cease(p);
    p->leader = leader;
}

static void on_copy_wanted(struct shard *s, unsigned group, uint64_t from, uint64_t index)
{
    if (group < PARTITIONS) {
        partition_cease(partition_of(s, group));
        copies_want(partition_of(s, group), from, index);
    } else if (meta_of(s, group) != NULL) {
        meta_of(s, group)->copy_wanted(s, group, from, index);
    }
}

static void on_beside(struct shard *s, unsigned group, uint64_t from, struct bytes body)
{
    if (group < PARTITIONS) {
        copies_received(partition_of(s, group), from, body);
    }
}

static const struct groups_events events = {.applied = on_applied,
                                            .proposed = on_proposed,
                                            .leading = on_leading,
                                            .following = on_following,
                                            .copy_wanted = on_copy_wanted,
                                            .beside = on_beside};

void partition_flush(struct partition *p)
{
    applier_flush(applier_of(p), p->number, ++p->flush);
}

bool partition_transfer(struct shard *s, unsigned number, uint64_t to)
{
    return partition_of(s, number)->role != PARTITION_ABSENT && group_transfer(s, number, to);
}

/* ---- news of the applier */

static void take_news(struct partition *p, const struct applier_news *n)
{
    if (n->generation != p->generation) {
        return; /* of what is over */
    }
    switch ((enum applier_news_kind)n->kind) {
    case APPLIER_WRITTEN:
        if (n->index > p->place.index && p->copying.step == COPY_NONE) {
            p->place.index = n->index;
            group_checkpointed(p->shard, p->number, n->index);
            move_written(p);
        }
        break;
    case APPLIER_FLUSHED:
        if (n->index != p->flush) {
            break; /* of a term that is over */
        }
        if (p->opening != OPENING_NONE) {
            incarnation_flushed(p);
        } else if (p->revival != NULL) {
            revival_of_flushed(p);
        } else {
            copies_erased(p);
        }
        break;
    case APPLIER_PART:
    case APPLIER_PART_NOT:
        copies_part(p, n);
        break;
    case APPLIER_TAKEN:
        copies_taken(p, n);
        break;
    case APPLIER_COPIED:
        copies_copied(p, n->index);
        break;
    case APPLIER_COPY_FAILED:
        copies_failed(p);
        break;
    case APPLIER_FAILED:
        p->opening = OPENING_NONE;
        if (p->role != PARTITION_ABSENT && p->role != PARTITION_FAILED) {
            stand_still(p);
        }
        break;
    }
}

static void take_all_news(struct shard *s)
{
    struct partitions *const all = all_of(s);
    for (struct applier_news *n = applier_take(all->applier, s->id); n != NULL;) {
        struct applier_news *const next = n->next;
        take_news(&all->of[n->partition], n);
        free(n);
        n = next;
    }
}

/* ---- the loop */

static void show(struct shard *s)
{
    struct partitions *const all = all_of(s);
    struct shard_partitions *const mine = &all->of_shard[s->id];
    uint64_t now[PARTITIONS_SHOWN] = {0};
    for (unsigned i = s->id; i < PARTITIONS; i += s->node->shard_count) {
        now[PARTITIONS_LED] += all->of[i].role == PARTITION_LEADS;
        now[PARTITIONS_FOLLOWED] += all->of[i].role == PARTITION_FOLLOWS;
        now[PARTITIONS_REVIVING] += all->of[i].role == PARTITION_REVIVES;
        now[PARTITIONS_FAILED] += all->of[i].role == PARTITION_FAILED;
    }
    for (unsigned i = 0; i < PARTITIONS_SHOWN; i++) {
        atomic_store_explicit(&mine->gauges[i], now[i], memory_order_relaxed);
    }
}

void partitions_turn(struct shard *s)
{
    struct partitions *const all = all_of(s);
    if (all == NULL || all->is_over) {
        return;
    }
    take_all_news(s);
    incarnations_turn(s);
    revivals_turn(s);
    copies_turn(s);
    moves_turn(s);
    if (s->now_ms >= all->of_shard[s->id].shown_ms) {
        all->of_shard[s->id].shown_ms = s->now_ms + SHOWN_MS;
        show(s);
    }
}

uint64_t partitions_next_ms(const struct shard *s)
{
    const struct partitions *const all = all_of(s);
    if (all == NULL || all->is_over) {
        return NEVER;
    }
    const uint64_t all_ms[] = {copies_next_ms(s), revivals_next_ms(s), moves_next_ms(s)};
    uint64_t next_ms = applier_has_news(all->applier, s->id) ? 0 : NEVER;
    for (unsigned i = 0; i < sizeof all_ms / sizeof all_ms[0]; i++) {
        next_ms = all_ms[i] < next_ms ? all_ms[i] : next_ms;
    }
    return next_ms;
}

/* ---- questions */

uint64_t partition_term(const struct shard *s, unsigned p)
{
    const struct partitions *const all = all_of(s);
    assert(p < PARTITIONS);
    return all == NULL ? 0 : atomic_load_explicit(&all->of[p].led, memory_order_acquire);
}

struct counted {
    unsigned partition;
    uint64_t sessions;
};

static bool count_session(void *context, struct table_link *link)
{
    struct counted *const counted = context;
    const struct session *const session = table_object(link, struct session, by_client_id);
    counted->sessions += serial_partition(session->serial) == counted->partition;
    return true;
}

struct partition_state partition_state(const struct shard *s, unsigned number)
{
    const struct partition *const p = partition_of(s, number);
    const struct group_state group = group_state(s, number);
    struct counted counted = {.partition = number};
    if (p->role == PARTITION_LEADS) {
        (void)table_all(&s->sessions, count_session, &counted);
    }
    return (struct partition_state){
        .role = p->role,
        .incarnation = p->place.incarnation,
        .term = group.term,
        .leader = p->leader,
        .applied = p->applied,
        .checkpointed = p->place.index,
        .changed = p->place.changed,
        .stands_still = group.stands_still,
        .sealed = p->move.sealed,
        .sessions = counted.sessions,
        .queue_bytes = applier_figures(applier_of(p)).waiting_bytes,
        .tail_bytes = group.tail_bytes,
    };
}

uint64_t partitions_gauge(const struct node *node, enum partitions_gauge gauge)
{
    const struct partitions *const all = node->partitions;
    uint64_t sum = 0;
    if (all == NULL) {
        return 0;
    }
    const struct applier_figures figures = applier_figures(all->applier);
    switch (gauge) {
    case PARTITIONS_QUEUE_BYTES:
        return figures.waiting_bytes;
    case PARTITIONS_APPLIED:
        return figures.applied;
    case PARTITIONS_BATCHES:
        return figures.batches;
    case PARTITIONS_BATCHES_FAILED:
        return figures.failures;
    default:
        break;
    }
    for (unsigned i = 0; i < node->shard_count; i++) {
        sum += atomic_load_explicit(&all->of_shard[i].gauges[gauge], memory_order_relaxed);
    }
    return sum;
}

/* ---- beginning and end */

/* Groups count their terms from 1 on in each incarnation; for others one that is later is higher.
 */
static void on_lead(struct shard *s, unsigned p, uint64_t term)
{
    const uint64_t incarnation = partition_of(s, p)->place.incarnation;
    dispatch_run_lead(s, p, (incarnation & 0xffffff) << 32 | (term & UINT32_MAX));
}

static const struct partitions_hooks of_node = {.lead = on_lead,
                                                .cease = dispatch_run_cease,
                                                .applied = dispatch_run_applied,
                                                .sealed = meta_run_report_sealed,
                                                .held = meta_run_report_held};

/* By the group's clock, which is the node's. */
static uint64_t certain_ms(const struct shard *s, unsigned p)
{
    return group_state(s, p).lease_ms;
}

const struct dispatch_uses dispatch_uses_partitions = {
    .publish = publish_to_partition, .highest = partition_highest, .certain_ms = certain_ms};

static void wake(void *node, unsigned shard)
{
    io_wake_external(((struct node *)node)->shards[shard]->io);
}

static bool init(struct partitions *all)
{
    struct node *const node = all->node;
    for (unsigned i = 0; i < node->shard_count; i++) {
        if (!ledger_begin(node->shards[i])) {
            return false;
        }
    }
    for (unsigned i = 0; i < PARTITIONS; i++) {
        struct partition *const p = &all->of[i];
        *p = (struct partition){
            .shard = node->shards[node->partition_shard[i]], .number = i, .place = node->places[i]};
        if (table_init(&p->origins) != 0) {
            return false;
        }
    }
    for (unsigned i = 0; i < node->shard_count; i++) {
        kept_link_init(&all->of_shard[i].reads);
        kept_link_init(&all->of_shard[i].leaving);
    }
    return true;
}

bool partitions_create(struct node *node, const struct partitions_conf *conf)
{
    struct partitions *const all = calloc(1, sizeof *all);
    assert(node->replicas > 0 && node->partitions == NULL);
    if (all == NULL) {
        goto failed;
    }
    node->partitions = all;
    all->node = node;
    all->conf = *conf;
    all->conf.groups.events = &events;
    all->conf.hooks = conf->hooks == NULL ? &of_node : conf->hooks;
    const struct applier_conf applier = {.checkpoint = conf->checkpoint,
                                         .clock_ms = node->clock_ms,
                                         .shards = node->shard_count,
                                         .homes = node->partition_shard,
                                         .places = node->places,
                                         .wake = wake,
                                         .context = node,
                                         .by_hand = conf->by_hand};
    if (!init(all) || !groups_create(node, &all->conf.groups)) {
        goto failed;
    }
    all->applier = applier_create(&applier);
    if (all->applier != NULL) {
        return true;
    }
failed:
    log_event(LOG_ERROR, "thread_failed", LOG_TEXT("of", "cluster.replicas"));
    return false;
}

void partitions_end(struct node *node)
{
    struct partitions *const all = node->partitions;
    if (all != NULL && all->applier != NULL && !all->is_over) {
        applier_end(all->applier);
        all->is_over = true;
    }
}

void partitions_destroy(struct node *node)
{
    struct partitions *const all = node->partitions;
    if (all == NULL) {
        return;
    }
    partitions_end(node);
    applier_destroy(all->applier);
    for (unsigned i = 0; i < PARTITIONS; i++) {
        struct partition *const p = &all->of[i];
        if (p->revival != NULL) {
            revival_of_abandon(p);
        }
        drop_origins(p);
        table_fini(&p->origins);
    }
    for (unsigned i = 0; i < node->shard_count; i++) {
        revivals_fini(&all->of_shard[i]);
    }
    free(all);
    node->partitions = NULL;
}

static struct applier_thread *by_hand(const struct node *node)
{
    struct partitions *const all = node->partitions;
    return all != NULL && all->conf.by_hand && !all->is_over ? all->applier : NULL;
}

uint64_t partitions_work_ms(const struct node *node)
{
    return by_hand(node) == NULL ? NEVER : applier_next_ms(by_hand(node));
}

bool partitions_are_waiting(const struct node *node)
{
    if (by_hand(node) == NULL) {
        return false;
    }
    bool is_waiting = applier_is_writing(by_hand(node));
    for (unsigned i = 0; i < node->shard_count; i++) {
        is_waiting = is_waiting || revivals_are_reading(&node->partitions->of_shard[i]);
    }
    return is_waiting;
}

void partitions_crash(struct node *node)
{
    if (node->partitions != NULL) {
        node->partitions->is_over = true;
    }
}

void partitions_work(struct node *node)
{
    if (by_hand(node) != NULL) {
        applier_work(by_hand(node));
    }
}
