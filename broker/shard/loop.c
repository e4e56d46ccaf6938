/* SPDX-License-Identifier: Apache-2.0 */
#include "broker/login/login.h"
#include "broker/shard/loop.h"

#include "broker/config/config.h"
#include "broker/conn/conn.h"
#include "broker/conn/input.h"
#include "broker/conn/life.h"
#include "broker/conn/owed.h"
#include "broker/conn/trust.h"
#include "broker/conn/wire.h"
#include "broker/counters.h"
#include "broker/dispatch/dispatch_run.h"
#include "broker/groups/groups.h"
#include "broker/guard/guard.h"
#include "broker/guard/pace.h"
#include "broker/histogram.h"
#include "broker/io/io.h"
#include "broker/message.h"
#include "broker/meta/meta_run.h"
#include "broker/ownership/ownership.h"
#include "broker/partitions/ledger.h"
#include "broker/partitions/partitions.h"
#include "broker/peers/peers.h"
#include "broker/relay/relay.h"
#include "broker/remote/forward.h"
#include "broker/remote/gap.h"
#include "broker/remote/remote.h"
#include "broker/remote/told.h"
#include "broker/remote/views.h"
#include "broker/replicated/replicated.h"
#include "broker/route/local.h"
#include "broker/route/promise.h"
#include "broker/route/publish.h"
#include "broker/session/backlog.h"
#include "broker/session/replay.h"
#include "broker/session/will.h"
#include "broker/shard/errand.h"
#include "broker/shard/farewells.h"
#include "broker/shard/latency.h"
#include "broker/shard/quiescence.h"
#include "broker/shard/shard.h"
#include "broker/shard/visit.h"
#include "broker/shard/wheel.h"
#include "broker/store/capture.h"
#include "broker/store/store.h"
#include "broker/sys_topics.h"

#define MAIL_PER_TURN   1024u  /* from each sender; */
#define MAIL_WORK       16384u /* or less, if it is much work: some milliseconds */
#define TIMERS_PER_TURN 4096u

/* Retained messages looked at for new subscriptions, of all clients: some hundreds of microseconds.
 */
#define LOOKUP_POSITIONS_PER_TURN 10000u

#define MEMORY_SHARES 4u /* see memory_share */

#define MS 1000000ull /* in nanoseconds */

/* How long to wait at most while something is to be looked at again. */
#define CONGESTED_NS (MS / 10)
#define STALLED_NS   (10 * MS)
#define RETIRED_NS   (100 * MS)
#define ENDING_NS    (10 * MS)

#define ENDING_MS       3000u /* clients that do not go by themselves are cut off, */
#define ENDING_LINKS_MS 1500u /* and then links to other nodes, which tell of it */

#define EXPIRE_RETAINED_MS 1000u

static post_fn *const post_handlers[POST_TYPES] = {
    [POST_CONNECTION] = conn_on_arrival,
    [POST_FILTER_ADD] = local_on_filter_add,
    [POST_FILTER_ADDED] = local_on_filter_added,
    [POST_FILTER_REMOVE] = local_on_filter_remove,
    [POST_SHARE_JOIN] = local_on_share_join,
    [POST_SHARE_JOINED] = local_on_share_joined,
    [POST_SHARE_LEAVE] = local_on_share_leave,
    [POST_RETAIN] = publish_on_retain,
    [POST_RETAINED] = publish_on_retained,
    [POST_KEPT] = promise_on_kept,
    [POST_REPLAY] = replay_on_request,
    [POST_REPLAYED] = replay_on_answer,
    [POST_DELIVER] = publish_on_deliver,
    [POST_DELIVER_SHARED] = publish_on_deliver_shared,
    [POST_TELL] = told_on_tell,
    [POST_TOLD] = told_on_told,
    [POST_UNTELL] = told_on_untell,
    [POST_PEER_ITEM] = views_on_item,
    [POST_PEER_MARK] = views_on_mark,
    [POST_PEER_MARKED] = views_on_marked,
    [POST_FORWARD] = forward_on_forward,
    [POST_FORWARDED] = forward_on_forwarded,
    [POST_REFUSED] = forward_on_refused,
    [POST_SKIPPED] = forward_on_skipped,
    [POST_REPLICATE] = replicated_on_write,
    [POST_REPLICA_PUT] = replicated_on_put,
    [POST_REPLICA_EXPIRED] = replicated_on_expired,
    [POST_REPLICA_MARK] = replicated_on_mark,
    [POST_GAP] = gap_on_gap,
    [POST_CLAIM] = ownership_on_claim,
    [POST_UNCLAIM] = ownership_on_unclaim,
    [POST_CLAIMED] = ownership_on_claimed,
    [POST_CLEARED] = ownership_on_cleared,
    [POST_RELAY_IN] = relay_on_in,
    [POST_RELAY_OUT] = relay_on_out,
    [POST_RELAY_OVER] = relay_on_over,
    [POST_GROUP_MESSAGE] = groups_on_message,
    [POST_GROUP_SEND] = groups_on_send,
    [POST_GROUP_LET_GO] = groups_on_let_go,
    [POST_DUTY] = meta_run_on_duty,
    [POST_PREFER] = meta_run_on_prefer,
    [POST_META_REPORT] = meta_run_on_report,
    [POST_LED] = dispatch_on_led,
    [POST_LEADERS] = dispatch_on_leaders,
    [POST_DISPATCH_IN] = dispatch_on_in,
    [POST_DISPATCH_OUT] = dispatch_on_out,
    [POST_SUBSCRIBED] = dispatch_on_subscribed,
    [POST_VOUCHED] = dispatch_on_vouched,
};

/* Who has none does not even call. */
static bool has_cluster(const struct shard *s)
{
    return s->node->peers != NULL;
}

/* ---- the parts of a turn */

static void look_around(struct shard *s)
{
    s->now_ms = s->node->clock_us() / 1000; /* what has come may have taken long */
    s->now_ms = s->node->clock_ms();
    metrics_add(&s->metrics, METRIC_notes_skipped, recorder_turn(&s->recorder, s->now_ms));
    shard_look(s);
    s->memory_full = message_memory() >= s->config->limits.message_memory_max;
    s->memory_share = s->config->limits.message_memory_max / MEMORY_SHARES / s->node->shard_count;
    s->lookup_positions = LOOKUP_POSITIONS_PER_TURN;
    shard_count(s, METRIC_turns);
    if (s->now_ms >= s->expire_retained_ms) {
        s->expire_retained_ms = s->now_ms + EXPIRE_RETAINED_MS;
        publish_expire_retained(s);
    }
}

static void say_goodbye(struct shard *s)
{
    if (s->ending || !atomic_load_explicit(&s->node->ending, memory_order_acquire)) {
        return;
    }
    s->ending = true;
    s->ending_by_ms = s->now_ms + ENDING_MS;
    for (unsigned i = 0; i < s->listener_count; i++) {
        shard_pause(s, i, PAUSED_ENDING, true);
    }
    for (struct conn *c = s->all.first; c != NULL; c = c->links[CONN_ALL].next) {
        conn_close(c, MQTT_REASON_SERVER_SHUTTING_DOWN, SESSION_WILL_PUBLISH);
    }
}

/* Those whose input can go on; what they set off is for the next turn. */
static void resume_ready(struct shard *s)
{
    struct conn_list ready = s->ready;
    if (ready.first == NULL) {
        return;
    }
    struct conn *const last = ready.last;
    for (bool more = true; more && s->ready.first != NULL;) {
        struct conn *c = conn_list_take(&s->ready, CONN_READY);
        more = c != last;
        (void)input_resume(c); /* gone or not, it is not looked at again */
    }
}

static void resume_stalled(struct shard *s)
{
    if (s->stalled.first == NULL || shard_congested(s)) {
        return;
    }
    struct conn *c;
    while ((c = conn_list_take(&s->stalled, CONN_STALLED)) != NULL) {
        input_unblock(c, BLOCKED_ROOM);
    }
}

static void flush_dirty(struct shard *s)
{
    struct conn *c;
    while ((c = conn_list_take(&s->dirty, CONN_DIRTY)) != NULL) {
        conn_flush(c);
    }
}

/* What is kept by now is told to those who wait for it. */
static void settle(struct shard *s)
{
    const uint64_t kept = s->store == NULL ? 0 : ledger_kept(s);
    promise_settle(s);
    owed_settle(s);
    will_settle(s);
    backlogs_settle(s);
    if (kept != s->settled) {
        s->settled = kept;
        kept_settle(s);
    }
}

/* What this turn has said is to be kept. */
static void keep(struct shard *s)
{
    if (s->store == NULL) {
        return;
    }
    kept_flush(s);
    promise_end_turn(s);
    settle(s); /* some of it need not be, or is at once */
    kept_flush(s);
    capture_turn(s);
    store_end_turn(s);
}

static bool has_no_clients(const struct shard *s)
{
    return s->ending && s->all.first == NULL &&
           (s->store == NULL || s->store->trouble != 0 ||
            (store_is_idle(s->store) && will_is_none(s)));
}

/* Other nodes hear what the last client had to say, of whichever shard it was. */
static void end_links(struct shard *s)
{
    if (has_no_clients(s) && counters_now(&s->node->connections) == 0 && s->due_first == NULL &&
        post_is_empty(s)) {
        peers_end(s);
    }
}

/* ---- and what comes after it */

static uint64_t least(uint64_t a, uint64_t b)
{
    return a < b ? a : b;
}

static uint64_t how_long(const struct shard *s, bool more_mail)
{
    if (more_mail || s->ready.first != NULL || s->due_first != NULL || errands_are_waiting(s) ||
        s->costly.first != NULL || s->returning.first != NULL || trust_is_busy(s) ||
        sys_topics_are_waiting(s) || backlogs_read(&s->backlogs) > 0) {
        return 0;
    }
    uint64_t ns = LOOP_FOREVER;
    uint64_t next_ms = least(wheel_next_ms(s->wheel), s->expire_retained_ms);
    if (has_cluster(s)) {
        next_ms = least(next_ms, least(peers_next_ms(s), remote_next_ms(s)));
        next_ms = least(next_ms, least(ownership_next_ms(s), relay_next_ms(s)));
        next_ms = least(next_ms, least(groups_next_ms(s), partitions_next_ms(s)));
        next_ms = least(next_ms, meta_run_next_ms(s));
        next_ms = least(next_ms, dispatch_run_next_ms(s));
    }
    ns = next_ms <= s->now_ms ? 0 : (next_ms - s->now_ms) * MS;
    if (shard_congested(s)) {
        ns = least(ns, CONGESTED_NS);
    }
    if (s->stalled.first != NULL) {
        ns = least(ns, STALLED_NS);
    }
    if (quiescence_waiting(s->node->quiescence, s->id) > 0) {
        ns = least(ns, RETIRED_NS);
    }
    const uint64_t disk_ms = least(store_sleep_ms(s), capture_sleep_ms(s));
    if (disk_ms != UINT64_MAX) {
        ns = least(ns, disk_ms * MS);
    }
    if (s->ending) {
        ns = least(ns, ENDING_NS);
    }
    return ns;
}

/* Nobody has to wait for a sleeping shard to pass its quiescent point; who brings mail delivers it,
 * or wakes us. */
static bool fall_asleep(struct shard *s)
{
    quiescence_offline(s->node->quiescence, s->id);
    s->awake = false;
    s->began_us = 0;
    latency_asleep(s);
    claim_leave(&s->claim);
    if (!post_is_empty(s)) { /* it came while we lay down */
        shard_enter(s);
        return false;
    }
    return true;
}

static void tell(struct shard *s, uint64_t receivers)
{
    for (; receivers != 0; receivers &= receivers - 1) {
        visit_or_wake(s, s->node->shards[__builtin_ctzll(receivers)]);
    }
}

/* What it took, and what it sent is about to be the kernel's. */
static void end_turn(struct shard *s)
{
    const uint64_t now_us = s->node->clock_us();
    latency_sent(s, now_us);
    histogram_add(&s->histograms, HISTOGRAM_turn, now_us - s->began_us, 1);
}

uint64_t loop_work(struct shard *s)
{
    shard_enter(s);
    look_around(s);
    pace_turn(s);
    guard_turn(s);
    farewells_turn(s);
    say_goodbye(s);
    login_turn(s);
    trust_turn(s);
    errands_turn(s);
    sys_topics_turn(s);
    store_begin_turn(s);
    if (has_cluster(s)) {
        peers_turn(s);
        end_links(s);
    }
    const bool more_mail = post_receive(s, MAIL_PER_TURN, MAIL_WORK, post_handlers);
    settle(s);
    wheel_run(s->wheel, s->now_ms, TIMERS_PER_TURN);
    if (has_cluster(s)) {
        ownership_turn(s);
        relay_turn(s);
    }
    resume_stalled(s);
    resume_ready(s);
    wire_handshakes(s);
    publish_due(s);
    if (has_cluster(s)) {
        dispatch_run_turn(s);
        remote_turn(s);
        if (s->ledger != NULL) {
            ledger_turn(s);
        }
        groups_turn(s);
        partitions_turn(s);
        meta_run_turn(s);
    }
    keep(s);
    if (has_cluster(s)) {
        groups_flush(s);
        dispatch_run_flush(s);
        remote_flush(s);
        ownership_flush(s);
    }
    errands_settle(s);
    flush_dirty(s);
    if (has_cluster(s)) {
        relay_flush(s);
        peers_flush(s);
    }
    tell(s, post_flush(s));
    quiescence_pass(s->node->quiescence, s->id);
    /* Those of this turn may be gone now; the kernel's calls come before the next turn. */
    shard_look(s);
    end_turn(s);
    const uint64_t ns = how_long(s, more_mail);
    const bool sleeps = ns > 0 && fall_asleep(s);
    s->began_us = 0;
    return sleeps ? ns : 0;
}

/* ---- until the end */

static void cut_off(struct shard *s)
{
    if (!s->ending || s->now_ms < s->ending_by_ms) {
        return;
    }
    if (!s->cut_off) {
        s->cut_off = true;
        s->ending_by_ms = s->now_ms + ENDING_LINKS_MS;
        for (struct conn *c = s->all.first; c != NULL; c = c->links[CONN_ALL].next) {
            conn_abort(c);
        }
        owed_abandon(s);
        will_abandon(s);
    } else {
        s->ending_by_ms = UINT64_MAX;
        peers_cut_off(s);
    }
}

bool loop_is_finished(const struct shard *s)
{
    return has_no_clients(s) && peers_are_gone(s);
}

void loop_run(struct shard *s)
{
    bool counted = false;
    shard_self = s;
    while (atomic_load_explicit(&s->node->running, memory_order_acquire) > 0) {
        io_turn(s->io, loop_work(s));
        shard_enter(s);
        cut_off(s);
        if (!counted && loop_is_finished(s)) {
            counted = true; /* the others may still have mail for us: wait for them */
            atomic_fetch_sub_explicit(&s->node->running, 1, memory_order_acq_rel);
        }
    }
    errands_close(s);
    quiescence_offline(s->node->quiescence, s->id);
    s->awake = false;
    s->began_us = 0;
}
