/* SPDX-License-Identifier: Apache-2.0 */
#include "broker/explain/steps.h"

#include <assert.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>

#include "broker/conn/conn.h"
#include "broker/explain/facts.h"

static const struct {
    const char *text;
    enum explain_about about;
    enum explain_effect effect;
} codes[EXPLAIN_CODES] = {
#define CODE(name, text, about, effect)                                                            \
    [EXPLAIN_##name] = {text, EXPLAIN_##about, EXPLAIN_EFFECT_##effect},
#include "broker/explain/tbl/code.h"
};

const char *explain_code_text(enum explain_code code)
{
    assert(code < EXPLAIN_CODES);
    return codes[code].text;
}

enum explain_about explain_code_about(enum explain_code code)
{
    assert(code < EXPLAIN_CODES);
    return codes[code].about;
}

enum explain_effect explain_code_effect(enum explain_code code)
{
    assert(code < EXPLAIN_CODES);
    return codes[code].effect;
}

/* ---- telling */

struct teller {
    const struct explain_facts *facts;
    explain_step_fn *step;
    void *context;
    struct explain_verdict verdict;
};

__attribute__((format(printf, 3, 4))) static void say(struct teller *t, enum explain_code code,
                                                      const char *format, ...)
{
    char sentence[EXPLAIN_SENTENCE_MAX];
    va_list values;
    va_start(values, format);
    (void)vsnprintf(sentence, sizeof sentence, format, values);
    va_end(values);

    const struct explain_step step = {.code = code,
                                      .about = codes[code].about,
                                      .effect = codes[code].effect,
                                      .sentence = sentence};
    t->step(t->context, &step);
    if (step.effect > t->verdict.effect) {
        t->verdict = (struct explain_verdict){.effect = step.effect, .reason = code};
    }
}

/* ---- what both have */

/* A rule in words: into text[size]; returns text. */
static const char *rule_text(const struct access_reason *a, char *text, size_t size)
{
    switch (a->by) {
    case ACCESS_BY_NOTHING:
        (void)snprintf(text, size, "there are no rules");
        break;
    case ACCESS_BY_OWN_RULE:
        (void)snprintf(text, size, "rule %" PRIu32 " of its own, %s %s, decides", a->number,
                       a->allowed ? "allow" : "deny", a->filter);
        break;
    case ACCESS_BY_OWN_REST:
        (void)snprintf(text, size, "none of its own rules is about that topic");
        break;
    case ACCESS_BY_FILE_RULE:
        (void)snprintf(text, size, "filter %" PRIu32 " of the ACL file, %s %s, decides", a->number,
                       a->allowed ? "allow" : "deny", a->filter);
        break;
    case ACCESS_BY_DEFAULT:
        (void)snprintf(text, size, "no rule is about that topic, and the ACL file's default is %s",
                       a->allowed ? "allow" : "deny");
        break;
    case ACCESS_BY_NO_MEMORY:
        (void)snprintf(text, size, "there is no memory to look its rules up");
        break;
    }
    return text;
}

#define RULE_TEXT_MAX (ACCESS_FILTER_TEXT + 128u)

/* ---- the publisher */

static const struct {
    enum conn_blocked why;
    enum explain_code code;
    const char *words;
} waits[] = {
    {BLOCKED_SUBSCRIBE, EXPLAIN_PUBLISHER_WAITS_SUBSCRIBE, "a SUBSCRIBE of its own is settled"},
    {BLOCKED_RETAIN, EXPLAIN_PUBLISHER_WAITS_RETAIN, "its last retained message is stored"},
    {BLOCKED_ROOM, EXPLAIN_PUBLISHER_WAITS_ROOM, "there is room in memory, mail, or on disk"},
    {BLOCKED_OUTPUT, EXPLAIN_PUBLISHER_WAITS_OUTPUT, "it reads what it was sent"},
    {BLOCKED_TURN, EXPLAIN_PUBLISHER_WAITS_TURN, "others have had their turn"},
    {BLOCKED_MOVE | BLOCKED_LOGIN, EXPLAIN_PUBLISHER_WAITS_LOGIN, "it is known who it is"},
    {BLOCKED_KEEP, EXPLAIN_PUBLISHER_WAITS_KEEP, "what it said before is on disk"},
};

static void tell_blocked(struct teller *t, const struct explain_publisher *p)
{
    for (size_t i = 0; i < sizeof waits / sizeof waits[0]; i++) {
        if ((p->blocked & waits[i].why) != 0) {
            say(t, waits[i].code, "Its packets wait until %s.", waits[i].words);
        }
    }
    if ((p->blocked & BLOCKED_RATE) != 0 || p->rate_wait_ms > 0) {
        say(t, EXPLAIN_PUBLISHER_RATE,
            "It has published as much as limits.publish_messages_per_second or "
            "publish_bytes_per_second allow; the next one is taken in about %" PRIu64 " ms.",
            p->rate_wait_ms);
    }
}

static void tell_right_to_publish(struct teller *t, const struct explain_publisher *p)
{
    char rule[RULE_TEXT_MAX];
    if (p->topic_reserved) {
        say(t, EXPLAIN_TOPIC_RESERVED,
            "$SYS/... is the broker's own: no client may publish there (0x87).");
    } else if (p->topic_levels) {
        say(t, EXPLAIN_TOPIC_LEVELS,
            "The topic has more levels than limits.topic_levels_max (0x90).");
    } else if (p->connected && !p->access.allowed) {
        say(t, EXPLAIN_PUBLISH_DENIED, "It may not publish that: %s.",
            rule_text(&p->access, rule, sizeof rule));
    } else if (p->connected) {
        say(t, EXPLAIN_PUBLISH_ALLOWED, "It may publish that: %s.",
            rule_text(&p->access, rule, sizeof rule));
    }
}

static void tell_limits(struct teller *t, const struct explain_publisher *p)
{
    const struct explain_message *const m = &t->facts->message;
    if (p->connected && p->packet_bytes > p->packet_bytes_max) {
        say(t, EXPLAIN_PUBLISH_TOO_LARGE,
            "Its packet would have %" PRIu32 " bytes or more, and the broker takes %" PRIu32
            " (limits.packet_bytes_max): it would be disconnected with 0x95.",
            p->packet_bytes, p->packet_bytes_max);
    }
    if (p->connected && m->qos > 0 && p->unreleased >= p->receive_maximum) {
        say(t, EXPLAIN_PUBLISH_QUOTA,
            "%" PRIu32 " QoS 2 messages from it are not released, and it may have %" PRIu32
            ": it would be disconnected with 0x93.",
            p->unreleased, p->receive_maximum);
    }
    if (p->memory_full && m->qos == 0) {
        say(t, EXPLAIN_MEMORY_FULL_QOS0,
            "limits.message_memory_max is reached: QoS 0 messages are dropped.");
    } else if (p->memory_full) {
        say(t, EXPLAIN_MEMORY_FULL,
            "limits.message_memory_max is reached: it waits, and is refused after "
            "limits.message_stall_s.");
    }
    if (p->disk_refuses && m->qos > 0) {
        say(t, EXPLAIN_DISK_REFUSES,
            "The disk takes nothing at present: what has to be kept is refused.");
    }
    if (p->retained_full && m->retain) {
        say(t, EXPLAIN_RETAINED_FULL,
            "limits.retained_messages_max is reached: a message is refused (0x97) unless its topic "
            "has a retained one already.");
    }
}

static void tell_publisher(struct teller *t, const struct explain_publisher *p)
{
    if (!p->session) {
        say(t, EXPLAIN_PUBLISHER_UNKNOWN,
            "There is no session of %s, so that nobody knows what it may publish.", p->client_id);
    } else if (!p->connected) {
        say(t, EXPLAIN_PUBLISHER_AWAY, "%s is not connected: nothing comes from it until it is.",
            p->client_id);
    } else {
        say(t, EXPLAIN_PUBLISHER_CONNECTED, "%s is connected.", p->client_id);
    }
    if (p->closing) {
        say(t, EXPLAIN_PUBLISHER_CLOSING, "Its connection is about to be closed.");
    }
    if (p->guard.client_line + p->guard.user_line + p->guard.address_line > 0) {
        say(t, EXPLAIN_PUBLISHER_BANNED,
            "It is on the ban list: client line %u, user line %u, "
            "address line %u (0: it is not).",
            p->guard.client_line, p->guard.user_line, p->guard.address_line);
    }
    if (p->guard.flaps && !p->connected) {
        say(t, EXPLAIN_PUBLISHER_FLAPPING,
            "It connects too often, and is not let in for auth.flapping_ban_s.");
    }
    tell_right_to_publish(t, p);
    tell_limits(t, p);
    if (p->connected) {
        tell_blocked(t, p);
    }
}

/* ---- the client: whether it is there */

static void tell_presence(struct teller *t, const struct explain_client *c)
{
    if (!c->session) {
        say(t, EXPLAIN_NO_SESSION,
            "There is no session of %s: it never came, or its session has ended with all that "
            "waited for it.",
            c->client_id);
    } else if (!c->connected) {
        say(t, EXPLAIN_AWAY, "%s is not connected: what it is to get waits for it.", c->client_id);
    } else if (c->closing) {
        say(t, EXPLAIN_CLOSING, "The connection of %s is about to be closed.", c->client_id);
    } else {
        say(t, EXPLAIN_CONNECTED, "%s is connected.", c->client_id);
    }
    if (c->session && !c->connected && c->ends_in_ms != UINT64_MAX) {
        say(t, EXPLAIN_SESSION_ENDS,
            "Its session ends in %" PRIu64 " s, and what waits is dropped then.",
            c->ends_in_ms / 1000);
    }
}

static void tell_bans(struct teller *t, const struct explain_client *c)
{
    if (c->guard.client_line > 0) {
        say(t, EXPLAIN_BANNED_CLIENT, "Its client identifier is on the ban list, line %u.",
            c->guard.client_line);
    }
    if (c->guard.user_line > 0) {
        say(t, EXPLAIN_BANNED_USER, "Its user is on the ban list, line %u.", c->guard.user_line);
    }
    if (c->guard.address_line > 0) {
        say(t, EXPLAIN_BANNED_ADDRESS, "Its address is on the ban list, line %u.",
            c->guard.address_line);
    }
    if (c->guard.flaps && !c->connected) {
        say(t, EXPLAIN_FLAPPING,
            "It connects too often from there, and is not let in for auth.flapping_ban_s.");
    }
}

/* ---- what it subscribes to */

static const struct {
    enum explain_code code;
    const char *words;
} near_words[] = {
    [NEAR_MISS_CASE] = {EXPLAIN_NEAR_CASE, "capital and small letters are different"},
    [NEAR_MISS_DOLLAR] = {EXPLAIN_NEAR_DOLLAR,
                          "a wildcard does not stand for a first level that begins with $"},
    [NEAR_MISS_SLASH] = {EXPLAIN_NEAR_SLASH,
                         "a / at the beginning or the end makes a level of its own"},
    [NEAR_MISS_BLANK] = {EXPLAIN_NEAR_BLANK, "blanks count"},
    [NEAR_MISS_PLUS] = {EXPLAIN_NEAR_PLUS, "+ stands for one level, and the topic has more; # "
                                           "would stand for all"},
    [NEAR_MISS_SHORTER] = {EXPLAIN_NEAR_SHORTER, "the topic has more levels; with /# behind it "
                                                 "it would match"},
    [NEAR_MISS_LONGER] = {EXPLAIN_NEAR_LONGER, "the topic has fewer levels"},
    [NEAR_MISS_LEVEL] = {EXPLAIN_NEAR_LEVEL, "one level is another"},
};

static void tell_near(struct teller *t, const struct explain_client *c)
{
    for (uint32_t i = 0; i < c->near_kept; i++) {
        const struct explain_near *const n = &c->nearly[i];
        say(t, near_words[n->why].code, "Its filter %s does not match: %s.", n->text,
            near_words[n->why].words);
    }
}

static void tell_filters(struct teller *t, const struct explain_client *c)
{
    for (uint32_t i = 0; i < c->filters_kept; i++) {
        const struct explain_filter *const f = &c->filters[i];
        say(t, EXPLAIN_FILTER, "Its filter %s matches (QoS %u%s%s).", f->text, f->qos,
            f->no_local ? ", No Local" : "", f->retain_as_published ? ", Retain As Published" : "");
    }
    if (c->matching > c->filters_kept) {
        say(t, EXPLAIN_FILTER, "So do %" PRIu32 " others.", c->matching - c->filters_kept);
    }
    if (c->matching == 0) {
        say(t, EXPLAIN_NO_FILTER, "None of its %" PRIu32 " subscriptions matches.",
            c->subscriptions);
        tell_near(t, c);
    }
}

/* ---- shared subscriptions */

static const char *const strategies[] = {
    [CONFIG_ROUND_ROBIN] = "round_robin", [CONFIG_RANDOM] = "random",
    [CONFIG_STICKY] = "sticky",           [CONFIG_HASH_CLIENT] = "hash_client",
    [CONFIG_HASH_TOPIC] = "hash_topic",
};

static const struct explain_group *group_of(const struct explain_facts *f,
                                            const struct explain_filter *filter)
{
    for (uint32_t i = 0; i < f->groups_kept; i++) {
        if (f->groups[i].group == filter->group) {
            return &f->groups[i];
        }
    }
    return NULL;
}

/* Is there a choice that depends on what is not known here? */
static bool is_open(const struct explain_facts *f, const struct explain_group *g)
{
    const uint32_t choice = g->online > 0 ? g->online : g->members;
    if (choice <= 1) {
        return false;
    }
    switch (f->strategy) {
    case CONFIG_RANDOM:
        return true;
    case CONFIG_HASH_CLIENT:
    case CONFIG_ROUND_ROBIN:
    case CONFIG_STICKY:
        return !f->publisher.asked; /* each shard has a place of its own, or it is the hash */
    case CONFIG_HASH_TOPIC:
        return false;
    }
    return true;
}

enum shared_outcome { SHARED_NOT, SHARED_PERHAPS, SHARED_YES };

static enum shared_outcome tell_shared(struct teller *t, const struct explain_filter *filter)
{
    const struct explain_facts *const f = t->facts;
    const struct explain_group *const g = group_of(f, filter);
    if (g == NULL || !g->found || g->next == 0) {
        say(t, EXPLAIN_SHARED_JOINING, "%s: it is about to join, or to leave.", filter->text);
        return SHARED_PERHAPS;
    }
    const char *const more = g->more ? " or more" : "";
    if (!f->client.connected && g->online > 0) {
        say(t, EXPLAIN_SHARED_AWAY,
            "%s: it is away, and %" PRIu32 "%s of %" PRIu32 "%s members are connected: one of "
            "those gets the message.",
            filter->text, g->online, more, g->members, more);
        return SHARED_NOT;
    }
    if (is_open(f, g)) {
        say(t, EXPLAIN_SHARED_TURN,
            "%s: one of %" PRIu32 "%s members gets the message (%" PRIu32 "%s connected, strategy "
            "%s); which one cannot be said%s.",
            filter->text, g->members, more, g->online, more, strategies[f->strategy],
            f->publisher.asked ? "" : " without the publisher");
        return SHARED_PERHAPS;
    }
    const bool it = g->next == filter->subscription;
    say(t, it ? EXPLAIN_SHARED_NEXT : EXPLAIN_SHARED_OTHER,
        "%s: of %" PRIu32 "%s members (%" PRIu32 "%s connected, strategy %s) %s gets the next "
        "message%s.",
        filter->text, g->members, more, g->online, more, strategies[f->strategy],
        it                          ? "this one"
        : g->next_client[0] != '\0' ? g->next_client
                                    : "another one",
        f->client.connected || g->online > 0 ? "" : ", though it is away, as all are");
    return it ? SHARED_YES : SHARED_NOT;
}

/* What it gets the message with. */
struct way {
    bool any;
    uint8_t qos;
    bool retain;
};

static void widen(struct way *w, uint8_t qos, bool retain)
{
    w->any = true;
    w->qos = qos > w->qos ? qos : w->qos;
    w->retain = w->retain || retain;
}

static struct way tell_ways(struct teller *t, const struct explain_client *c)
{
    struct way way = {.any = c->plain, .qos = c->plain_qos, .retain = c->plain_retain};
    enum shared_outcome best = SHARED_NOT;
    bool shared = false;
    for (uint32_t i = 0; i < c->filters_kept; i++) {
        const struct explain_filter *const f = &c->filters[i];
        if (!f->shared) {
            continue;
        }
        shared = true;
        const enum shared_outcome outcome = tell_shared(t, f);
        best = outcome > best ? outcome : best;
        if (outcome != SHARED_NOT) {
            widen(&way, f->qos, f->retain_as_published);
        }
    }
    if (c->plain || best == SHARED_YES) {
        return way;
    }
    if (best == SHARED_PERHAPS) {
        say(t, EXPLAIN_SHARED_OPEN, "It gets the message if it is chosen.");
    } else if (shared) {
        say(t, EXPLAIN_SHARED_NOT_PICKED, "It is in a group, and another member is chosen.");
    } else if (c->plain_local) {
        say(t, EXPLAIN_NO_LOCAL,
            "It is the publisher, and all of its filters that match say No Local.");
    }
    return way;
}

/* ---- what it may see */

static void tell_access(struct teller *t, const struct explain_client *c)
{
    char rule[RULE_TEXT_MAX];
    if (!c->rules) {
        return;
    }
    if (!c->connected) {
        say(t, EXPLAIN_RULES_LATER, "Whether it may see the topic is asked when it is back.");
    } else {
        say(t, c->access.allowed ? EXPLAIN_VISIBLE : EXPLAIN_HIDDEN,
            c->access.allowed ? "It may see the topic: %s." : "It may not see the topic: %s.",
            rule_text(&c->access, rule, sizeof rule));
    }
}

/* ---- in what form */

static uint8_t tell_form(struct teller *t, const struct way *way)
{
    const struct explain_message *const m = &t->facts->message;
    const uint8_t qos = m->qos < way->qos ? m->qos : way->qos;
    if (qos < m->qos) {
        say(t, EXPLAIN_QOS_LOWERED,
            "Published at QoS %u, it is given to it at %u: the highest it "
            "has subscribed with.",
            m->qos, qos);
    } else {
        say(t, EXPLAIN_QOS, "It is given to it at QoS %u.", qos);
    }
    if (m->retain) {
        say(t, way->retain ? EXPLAIN_RETAIN_KEPT : EXPLAIN_RETAIN_CLEARED,
            way->retain ? "With RETAIN set, as a filter asks for Retain As Published."
                        : "Without RETAIN: no filter asks for Retain As Published.");
    }
    return qos;
}

/* ---- whether there is room */

static bool is_queue_full(const struct explain_client *c)
{
    return c->queued >= c->queued_max || c->queued_bytes >= c->queued_bytes_max;
}

static void tell_queue(struct teller *t, const struct explain_client *c)
{
    say(t, EXPLAIN_QUEUE,
        "%" PRIu64 " of %" PRIu64 " messages, %" PRIu64 " of %" PRIu64
        " bytes, are in its queue (limits.session_queue_messages_max, _bytes_max).",
        c->queued, c->queued_max, c->queued_bytes, c->queued_bytes_max);
    if (!is_queue_full(c)) {
        return;
    }
    switch (c->queue_full) {
    case CONFIG_DROP_NEWEST:
        say(t, EXPLAIN_QUEUE_FULL_NEWEST,
            "Its queue is full: this message is dropped (limits.session_queue_full).");
        break;
    case CONFIG_DROP_OLDEST:
        say(t, EXPLAIN_QUEUE_FULL_OLDEST,
            "Its queue is full: the oldest message in it is dropped for this one "
            "(limits.session_queue_full).");
        break;
    case CONFIG_DISCONNECT:
        say(t, EXPLAIN_QUEUE_FULL_DISCONNECT,
            "Its queue is full: this message is dropped%s (limits.session_queue_full).",
            c->connected ? ", and it is disconnected with 0x97" : "");
        break;
    }
}

static void tell_qos0(struct teller *t, const struct explain_client *c)
{
    if (!c->connected || c->closing) {
        say(t, EXPLAIN_QOS0_AWAY, "QoS 0 does not wait for who is away.");
    } else if (c->output_bytes >= c->output_bytes_max) {
        say(t, EXPLAIN_QOS0_OUTPUT_FULL,
            "It does not read: %" PRIu64 " bytes are unsent (limits.output_bytes_max), and QoS 0 "
            "is dropped.",
            c->output_bytes);
    }
}

static void tell_queued(struct teller *t, const struct explain_client *c)
{
    const bool window = c->connected && c->in_flight >= c->window;
    const bool output = c->connected && c->output_bytes >= c->output_bytes_max;
    if (output) {
        say(t, EXPLAIN_OUTPUT_FULL,
            "It does not read: %" PRIu64 " bytes are unsent (limits.output_bytes_max); messages "
            "wait.",
            c->output_bytes);
    }
    if (window) {
        say(t, EXPLAIN_WINDOW_CLOSED,
            "It has not acknowledged %" PRIu32 " messages, and gets no more than %" PRIu32
            " at a time (its Receive Maximum, or limits.inflight_max); %" PRIu64 " wait.",
            c->in_flight, c->window, c->queued);
    }
    if (window || output || !c->connected || c->queued > 0) {
        tell_queue(t, c);
    }
}

static void tell_waiting(struct teller *t, const struct explain_client *c)
{
    if (c->waiting > 0) {
        say(t, EXPLAIN_WAITING, "%" PRIu32 " messages of this topic are in its queue.", c->waiting);
    }
    if (c->expired > 0) {
        say(t, EXPLAIN_WAITING_EXPIRED,
            "%" PRIu32 " of them are past their expiry interval, and will not be sent.",
            c->expired);
    }
}

static void tell_drops(struct teller *t, const struct explain_client *c)
{
    for (uint32_t i = 0; i < c->drops_kept; i++) {
        const struct explain_drops *const d = &c->drops[i];
        say(t, EXPLAIN_DROPPED,
            "The recorder has %" PRIu32 " messages for it or from it that were dropped as %s, "
            "%" PRIu32 " of this topic; the last one %" PRIu64 ".%" PRIu64 " s ago.",
            d->count, d->reason, d->of_topic, d->last_ago_ms / 1000, d->last_ago_ms % 1000 / 100);
    }
}

/* What becomes of a message for a session that is there. */
static void tell_way(struct teller *t, const struct explain_client *c)
{
    tell_filters(t, c);
    const struct way way = tell_ways(t, c);
    if (c->matching > 0) {
        tell_access(t, c);
    }
    if (way.any) {
        const uint8_t qos = tell_form(t, &way);
        if (c->connected && c->packet_bytes > c->packet_bytes_max) {
            say(t, EXPLAIN_TOO_LARGE,
                "The packet would have %" PRIu32 " bytes or more, and it takes %" PRIu32
                " (its Maximum Packet Size): it is dropped.",
                c->packet_bytes, c->packet_bytes_max);
        }
        if (qos == 0) {
            tell_qos0(t, c);
        } else {
            tell_queued(t, c);
        }
    }
    tell_waiting(t, c);
}

static void tell_client(struct teller *t, const struct explain_client *c)
{
    tell_presence(t, c);
    tell_bans(t, c);
    if (c->session) {
        tell_way(t, c);
    }
    tell_drops(t, c);
}

struct explain_verdict explain_steps(const struct explain_facts *facts, explain_step_fn *step,
                                     void *context)
{
    struct teller t = {.facts = facts,
                       .step = step,
                       .context = context,
                       .verdict = {.effect = EXPLAIN_EFFECT_NONE, .reason = EXPLAIN_CODES}};
    if (facts->publisher.asked) {
        tell_publisher(&t, &facts->publisher);
    }
    if (facts->client.asked) {
        tell_client(&t, &facts->client);
    }
    return t.verdict;
}
