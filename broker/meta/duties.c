/* SPDX-License-Identifier: Apache-2.0 */
/* What this node does about each partition, by META's word, and what it reports. */
#include "broker/log/log.h"
#include "broker/meta/meta_parts.h"
#include "broker/meta/preference.h"
#include "broker/node.h"
#include "broker/partitions/partitions.h"
#include "broker/shard/shard.h"

#define PREFER_MS       5000u  /* from one look for better leaders to the next; */
#define PREFER_MOST     2u     /* so many of a shard's partitions change theirs by it */
#define PREFER_ALIVE_MS 30000u /* so long a member has to have lived, to be given some */

/* ---- duties: from shard 0 to the home */

struct post_duty {
    struct post_head head;
    uint8_t partition;
    struct partition_conf conf; /* incarnation 0: nothing of it is to be here */
};

static struct node_uuid node_of(const struct meta_run *r, uint32_t number)
{
    const struct meta_member *const m = meta_member_of(&r->state, number);
    return m == NULL ? (struct node_uuid){{0}} : m->uuid; /* removed: it is nowhere */
}

static void add(const struct meta_run *r, struct partition_conf *conf, uint32_t number)
{
    conf->servers[conf->servers_count + conf->newcomers_count] =
        (struct groups_server){.number = number, .node = node_of(r, number)};
}

/* Who has it, and then who is to have it. */
static void fill_servers(const struct meta_run *r, const struct meta_duty *duty,
                         struct partition_conf *conf)
{
    const struct node_replicas *const has = conf->joins ? &duty->from : &duty->servers;
    for (unsigned i = 0; i < has->count; i++, conf->servers_count++) {
        add(r, conf, has->at[i]);
    }
    if (conf->joins) {
        add(r, conf, meta_own_number(r));
        conf->newcomers_count++;
    }
    for (unsigned i = 0; !conf->joins && i < duty->to.count; i++) {
        if (!node_replicas_has(has, duty->to.at[i])) {
            add(r, conf, duty->to.at[i]);
            conf->newcomers_count++;
        }
    }
}

static void fill(const struct meta_run *r, unsigned p, const struct meta_duty *duty,
                 struct post_duty *out)
{
    out->partition = (uint8_t)p;
    out->conf = (struct partition_conf){.incarnation = duty->run != 0 ? duty->run : duty->copy,
                                        .self = meta_own_number(r),
                                        .changed = duty->changed,
                                        .begins = duty->begins,
                                        .joins = duty->run == 0 && duty->copy != 0,
                                        .seal = duty->seal,
                                        .sealed = duty->copy_sealed ? duty->copy_index : 0,
                                        .moved = duty->copy_sealed ? duty->moved : 0};
    fill_servers(r, duty, &out->conf);
}

static void serve(struct shard *s, const struct post_duty *d)
{
    const enum partition_err err = partition_serve(s, d->partition, &d->conf);
    if (err != PARTITION_OK) {
        log_event(LOG_ERROR, "partition_not_served", LOG_NUMBER("partition", d->partition),
                  LOG_NUMBER("incarnation", d->conf.incarnation),
                  LOG_TEXT("reason", partition_err_text(err)));
    }
}

/* META's log is read again after a start, and says for a while what is over. */
static void do_duty(struct shard *s, const struct post_duty *d)
{
    const struct partition_state state = partition_state(s, d->partition);
    const bool is_here = state.role != PARTITION_ABSENT || state.incarnation != 0;
    if (d->conf.changed < state.changed) {
        return;
    }
    if (d->conf.incarnation != 0) {
        serve(s, d);
        return;
    }
    if (d->conf.changed > state.changed) {
        partition_note(s, d->partition, d->conf.changed);
    }
    if (is_here) {
        partition_stop(s, d->partition);
    }
}

void meta_run_on_duty(struct shard *s, unsigned from, const struct post_head *record)
{
    (void)from;
    do_duty(s, (const void *)record);
}

static void post(struct shard *s, unsigned p, const struct meta_duty *duty)
{
    const struct meta_run *const r = s->node->meta_run;
    const unsigned home = s->node->partition_shard[p];
    if (home == s->id) {
        struct post_duty own = {.partition = 0};
        fill(r, p, duty, &own);
        do_duty(s, &own);
    } else {
        struct post_duty *const to = post_reserve(s, home, POST_DUTY, sizeof *to);
        fill(r, p, duty, to);
        post_commit(s, home);
    }
}

void meta_post_duties(struct shard *s)
{
    struct meta_run *const r = s->node->meta_run;
    if (!r->duties_due || meta_own_number(r) == 0 || cluster_uuid_is_none(r->state.cluster)) {
        return;
    }
    r->duties_due = false;
    for (unsigned p = 0; p < NODE_META_PARTITIONS; p++) {
        const struct meta_duty duty = meta_duty(&r->state, meta_own_number(r), p);
        if (duty.changed > r->posted[p]) {
            r->posted[p] = duty.changed;
            post(s, p, &duty);
        }
    }
}

/* ---- preferences */

struct post_prefer {
    struct post_head head;
    uint8_t first;                     /* whose turn it is */
    uint32_t to[NODE_META_PARTITIONS]; /* 0: nobody else */
};

static void do_prefer(struct shard *s, const struct post_prefer *wanted)
{
    unsigned given = 0;
    for (unsigned i = 0; i < NODE_META_PARTITIONS && given < PREFER_MOST; i++) {
        const unsigned p = (wanted->first + i) % NODE_META_PARTITIONS;
        if (wanted->to[p] != 0 && s->node->partition_shard[p] == s->id &&
            partition_term(s, p) > 0 && partition_transfer(s, p, wanted->to[p])) {
            given++;
        }
    }
}

void meta_run_on_prefer(struct shard *s, unsigned from, const struct post_head *record)
{
    (void)from;
    do_prefer(s, (const void *)record);
}

static unsigned gather_stable(const struct shard *s, uint32_t *numbers)
{
    const struct meta_run *const r = s->node->meta_run;
    unsigned count = 0;
    for (unsigned i = 0; i < r->state.members_count && count < META_MEMBERS_MAX; i++) {
        const struct meta_member *const m = &r->state.members[i];
        const unsigned peer = meta_peer_of(r, m->uuid);
        const bool is_self = node_uuid_equal(m->uuid, r->self);
        const uint64_t since_ms = is_self                  ? r->began_ms
                                  : peer == PEERS_MAX      ? UINT64_MAX
                                  : r->peers[peer].is_live ? r->peers[peer].since_ms
                                                           : UINT64_MAX;
        if (m->state == META_MEMBER && since_ms != UINT64_MAX &&
            s->now_ms >= since_ms + PREFER_ALIVE_MS) {
            numbers[count++] = m->number;
        }
    }
    return count;
}

/* false: nobody else is preferred to this node. */
static bool prefer(const struct shard *s, struct post_prefer *out)
{
    const struct meta_run *const r = s->node->meta_run;
    uint32_t stable[META_MEMBERS_MAX];
    const unsigned count = gather_stable(s, stable);
    const uint32_t self = meta_own_number(r);
    bool any = false;
    for (unsigned p = 0; p < NODE_META_PARTITIONS; p++) {
        const struct node_replicas *const replicas = &r->state.partitions[p].replicas;
        const uint32_t best = preference_of(p, replicas, stable, count);
        out->to[p] = node_replicas_has(replicas, self) && best != self ? best : 0;
        any = any || out->to[p] != 0;
    }
    return any;
}

void meta_post_preferences(struct shard *s)
{
    struct meta_run *const r = s->node->meta_run;
    struct post_prefer wanted = {.first = 0};
    if (s->now_ms < r->prefer_ms || cluster_uuid_is_none(r->state.cluster)) {
        return;
    }
    r->prefer_ms = s->now_ms + PREFER_MS;
    wanted.first = (uint8_t)(s->now_ms / PREFER_MS % NODE_META_PARTITIONS);
    if (s->ending || !prefer(s, &wanted)) {
        return;
    }
    for (unsigned to = 0; to < s->node->shard_count; to++) {
        if (to == s->id) {
            do_prefer(s, &wanted);
        } else {
            struct post_prefer *const out = post_reserve(s, to, POST_PREFER, sizeof *out);
            const struct post_head head = out->head;
            *out = wanted;
            out->head = head;
            post_commit(s, to);
        }
    }
}

/* ---- reports */

struct post_report {
    struct post_head head;
    struct node_report report;
};

static void note_report(struct meta_run *r, const struct node_report *report)
{
    struct meta_own_report *const own = &r->own[report->partition];
    if (report->kind == NODE_REPORT_SEALED) {
        own->sealed_incarnation = report->incarnation;
        own->sealed = report->index;
    } else {
        own->held_incarnation = report->incarnation;
        own->moved = report->index;
    }
    r->second_ms = 0; /* it is told at once */
    meta_hurry(r);
}

static void say_report(struct shard *s, const struct node_report *report)
{
    if (s->id == 0) {
        note_report(s->node->meta_run, report);
        return;
    }
    struct post_report *const out = post_reserve(s, 0, POST_META_REPORT, sizeof *out);
    out->report = *report;
    post_commit(s, 0);
}

void meta_run_on_report(struct shard *s, unsigned from, const struct post_head *record)
{
    (void)from;
    note_report(s->node->meta_run, &((const struct post_report *)(const void *)record)->report);
}

void meta_run_report_sealed(struct shard *s, unsigned p, uint32_t incarnation, uint64_t index)
{
    const struct node_report report = {.kind = NODE_REPORT_SEALED,
                                       .partition = (uint8_t)p,
                                       .incarnation = incarnation,
                                       .index = index};
    say_report(s, &report);
}

void meta_run_report_held(struct shard *s, unsigned p, uint32_t incarnation, uint64_t moved)
{
    const struct node_report report = {.kind = NODE_REPORT_HELD,
                                       .partition = (uint8_t)p,
                                       .incarnation = incarnation,
                                       .index = moved};
    say_report(s, &report);
}

/* What META does not know yet. */
static size_t gather_reports(const struct meta_run *r, uint8_t *items)
{
    size_t len = 0;
    for (unsigned p = 0; p < NODE_META_PARTITIONS; p++) {
        const struct meta_own_report *const own = &r->own[p];
        const struct meta_partition *const at = &r->state.partitions[p];
        struct node_report report = {.kind = NODE_REPORT_SEALED, .partition = (uint8_t)p};
        if (own->sealed > 0 && own->sealed_incarnation == at->incarnation &&
            at->step != META_SEALED) {
            report.incarnation = own->sealed_incarnation;
            report.index = own->sealed;
            len += node_report_encode(items + len, &report);
        }
        if (own->moved > 0 && own->moved == at->moved) {
            report.kind = NODE_REPORT_HELD;
            report.incarnation = own->held_incarnation;
            report.index = own->moved;
            len += node_report_encode(items + len, &report);
        }
    }
    return len;
}

void meta_report(struct shard *s)
{
    struct meta_run *const r = s->node->meta_run;
    uint8_t items[2 * NODE_META_PARTITIONS * NODE_REPORT_BYTES];
    uint8_t body[sizeof items + NODE_META_HEAD_MAX];
    const struct bytes all = bytes_of(items, gather_reports(r, items));
    if (all.len == 0) {
        return;
    }
    if (r->leads) {
        meta_reports_take(&r->reports, &r->state, meta_own_number(r), all);
    } else if (r->leader != 0) {
        meta_say(s, meta_peer_numbered(r, (uint32_t)r->leader), NODE_FRAME_META_REPORT,
                 bytes_of(body, node_reports_encode(body, all)));
    }
}
