/* SPDX-License-Identifier: Apache-2.0 */
#include "broker/conn/access.h"

#include <stdlib.h>
#include <string.h>

#include "broker/auth/acl.h"
#include "broker/auth/acl_file.h"
#include "broker/conn/conn.h"
#include "broker/conn/socket.h"
#include "broker/log/log.h"
#include "broker/login/login.h"
#include "broker/route/local.h"
#include "proto/topic.h"

/* access.seen: the file's generation, and this if something may be hidden. */
#define SEES_PARTS   (1ull << 63)
#define SEES_UNKNOWN UINT64_MAX

/* A session with more subscriptions than that is not looked through: its messages are judged. */
#define FILTERS_LOOKED_AT 256u

/* The file's rules that concern one client. */
struct acl_view {
    struct acl_file *file; /* a reference */
    uint32_t count;
    bool all;        /* every rule does: only[] is empty */
    uint32_t only[]; /* [count] */
};

enum subject { PUBLISHING, SUBSCRIBING, RECEIVING, RECEIVING_ALL };

struct question {
    enum subject subject;
    struct bytes topic; /* or filter */
    uint8_t qos;
    bool retain;
};

/* ---- memory */

bool access_hold(struct shard *s, size_t bytes)
{
    if (s->acl_bytes + bytes > s->memory_share) {
        return false;
    }
    s->acl_bytes += bytes;
    atomic_fetch_add_explicit(&s->node->acl_bytes, (int64_t)bytes, memory_order_relaxed);
    return true;
}

void access_let_go(struct shard *s, size_t bytes)
{
    s->acl_bytes -= bytes;
    atomic_fetch_sub_explicit(&s->node->acl_bytes, (int64_t)bytes, memory_order_relaxed);
}

/* Of one with so many numbers in it. */
static size_t view_bytes(uint32_t numbers)
{
    return sizeof(struct acl_view) + numbers * sizeof(uint32_t);
}

void access_forget(struct conn *c)
{
    struct acl_view *const v = c->access.view;
    if (v != NULL) {
        access_let_go(c->shard, view_bytes(v->all ? 0 : v->count));
        acl_file_put(v->file);
        free(v);
        c->access.view = NULL;
    }
    c->access.is_named = false;
}

/* ---- names */

static struct acl_names names_of(struct conn *c, struct bytes client_id)
{
    struct acl_names names = {
        .value = {[ACL_CLIENT_ID] = c->session == NULL ? client_id : session_client_id(c->session),
                  [ACL_USER_NAME] = login_user_name(c->user),
                  [ACL_COMMON_NAME] = socket_common_name(c)},
    };
    struct access *const a = &c->access;
    if (!a->is_named) {
        acl_names_judge(&names);
        a->unusable = names.unusable;
        a->unusable_first = names.unusable_first;
        a->is_named = true;
    }
    names.unusable = a->unusable;
    names.unusable_first = a->unusable_first;
    return names;
}

/* ---- the view */

static struct acl_list list_of(const struct acl_view *v)
{
    return (struct acl_list){
        .rules = acl_file_rules(v->file), .only = v->all ? NULL : v->only, .count = v->count};
}

/* Of what was picked; NULL: it is not to be kept. */
static struct acl_view *view_create(struct shard *s)
{
    const struct acl_picked *const picked = &s->acl_picked;
    const bool all = picked->count == acl_file_count(s->acl);
    const uint32_t numbers = all ? 0 : picked->count;
    const size_t bytes = view_bytes(numbers);
    if (!access_hold(s, bytes)) {
        return NULL;
    }
    struct acl_view *const v = malloc(bytes);
    if (v == NULL) {
        access_let_go(s, bytes);
        return NULL;
    }
    v->file = acl_file_take(s->acl);
    v->count = picked->count;
    v->all = all;
    if (numbers > 0) {
        memcpy(v->only, picked->at, numbers * sizeof v->only[0]);
    }
    return v;
}

/* The file's rules for the client, until the next call; false: no memory. */
static bool look_up(struct conn *c, const struct acl_names *names, struct acl_list *list)
{
    struct shard *s = c->shard;
    const struct acl_view *const before = c->access.view;
    if (before != NULL && before->file == s->acl) {
        *list = list_of(before);
        return true;
    }
    access_forget(c);
    c->access.is_named = true; /* names are as before */
    const struct acl_who who = {.names = *names,
                                .anonymous = c->user == NULL,
                                .address = c->local ? NULL : &c->at.address,
                                .peer = c->local ? &c->at.peer : NULL,
                                .groups = c->user == NULL ? NULL : c->user->groups};
    if (!acl_file_pick(s->acl, &who, &s->acl_picked)) {
        return false;
    }
    c->access.view = view_create(s);
    *list = c->access.view != NULL ? list_of(c->access.view)
                                   : (struct acl_list){.rules = acl_file_rules(s->acl),
                                                       .only = s->acl_picked.at,
                                                       .count = s->acl_picked.count};
    return true;
}

/* ---- questions */

static enum acl_verdict ask(const struct acl_list *list, const struct acl_names *names,
                            const struct question *q)
{
    switch (q->subject) {
    case PUBLISHING:
        return acl_publish(list, names, q->topic, q->qos, q->retain);
    case SUBSCRIBING:
        return acl_subscribe(list, names, q->topic, q->qos);
    case RECEIVING:
        return acl_receive(list, names, q->topic);
    case RECEIVING_ALL:
        return acl_receive_all(list, names, q->topic);
    }
    return ACL_DENIED;
}

static bool is_in_use(const struct conn *c)
{
    return c->shard->acl != NULL || (c->user != NULL && c->user->acl != NULL);
}

static bool is_allowed(struct conn *c, struct bytes client_id, const struct question *q)
{
    if (!is_in_use(c)) {
        return true;
    }
    const struct acl_names names = names_of(c, client_id);
    struct acl_list list = acl_list_of(c->user == NULL ? NULL : c->user->acl);
    enum acl_verdict verdict = ask(&list, &names, q);
    if (verdict != ACL_UNDECIDED || c->shard->acl == NULL) {
        return verdict == ACL_ALLOWED;
    }
    if (!look_up(c, &names, &list)) {
        return false;
    }
    verdict = ask(&list, &names, q);
    return verdict == ACL_UNDECIDED ? acl_file_allows_rest(c->shard->acl) : verdict == ACL_ALLOWED;
}

/* The same; and the operator is told, who has to find out whose device it is, and which rule is
 * missing. Not of each message to a client: those are counted. */
static bool is_allowed_or_told(struct conn *c, struct bytes client_id, const struct question *q)
{
    if (is_allowed(c, client_id, q)) {
        return true;
    }
    log_event(
        LOG_INFO, "not_allowed",
        LOG_TEXT("action", q->subject == PUBLISHING ? "publish" : "subscribe"),
        LOG_BYTES("topic", q->topic),
        LOG_BYTES("client_id", c->session == NULL ? client_id : session_client_id(c->session)),
        LOG_BYTES("user_name", login_user_name(c->user)));
    return false;
}

bool access_may_publish(struct conn *c, struct bytes client_id, struct bytes topic, uint8_t qos,
                        bool retain)
{
    const struct question q = {.subject = PUBLISHING, .topic = topic, .qos = qos, .retain = retain};
    return is_allowed_or_told(c, client_id, &q);
}

static bool is_seen_whole(struct conn *c, struct bytes filter)
{
    const struct question q = {.subject = RECEIVING_ALL, .topic = filter};
    return is_allowed(c, bytes_of(NULL, 0), &q);
}

bool access_may_subscribe(struct conn *c, struct bytes filter, uint8_t qos)
{
    const struct question q = {.subject = SUBSCRIBING, .topic = filter, .qos = qos};
    if (!is_allowed_or_told(c, bytes_of(NULL, 0), &q)) {
        return false;
    }
    if (!is_seen_whole(c, filter)) {
        c->access.seen |= SEES_PARTS;
    }
    return true;
}

/* ---- reasons */

static const struct acl_rule *rule_for(const struct acl_list *list, const struct acl_names *names,
                                       const struct question *q)
{
    return q->subject == PUBLISHING ? acl_publish_rule(list, names, q->topic, q->qos, q->retain)
                                    : acl_receive_rule(list, names, q->topic);
}

static struct access_reason by_rule(enum access_by by, const struct acl_rule *rule,
                                    const struct acl_rule *first)
{
    struct access_reason reason = {
        .allowed = rule->allow, .by = by, .number = (uint32_t)(rule - first) + 1};
    acl_rule_filter_text(rule, reason.filter, sizeof reason.filter);
    return reason;
}

/* As is_allowed() decides it. The view that it makes is the one that the next message would. */
static struct access_reason explain(struct conn *c, const struct question *q)
{
    const struct acl *const own = c->user == NULL ? NULL : c->user->acl;
    if (!is_in_use(c)) {
        return (struct access_reason){.allowed = true, .by = ACCESS_BY_NOTHING};
    }
    const struct acl_names names = names_of(c, bytes_of(NULL, 0));
    struct acl_list list = acl_list_of(own);
    const struct acl_rule *rule = rule_for(&list, &names, q);
    if (rule != NULL) {
        return by_rule(ACCESS_BY_OWN_RULE, rule, own->rules);
    }
    if (c->shard->acl == NULL) {
        return (struct access_reason){.by = ACCESS_BY_OWN_REST};
    }
    if (!look_up(c, &names, &list)) {
        return (struct access_reason){.by = ACCESS_BY_NO_MEMORY};
    }
    rule = rule_for(&list, &names, q);
    return rule != NULL ? by_rule(ACCESS_BY_FILE_RULE, rule, acl_file_rules(c->shard->acl))
                        : (struct access_reason){.allowed = acl_file_allows_rest(c->shard->acl),
                                                 .by = ACCESS_BY_DEFAULT};
}

struct access_reason access_explain_publish(struct conn *c, struct bytes topic, uint8_t qos,
                                            bool retain)
{
    const struct question q = {.subject = PUBLISHING, .topic = topic, .qos = qos, .retain = retain};
    return explain(c, &q);
}

struct access_reason access_explain_receive(struct conn *c, struct bytes topic)
{
    const struct question q = {.subject = RECEIVING, .topic = topic};
    return explain(c, &q);
}

/* ---- delivery */

/* The filter of a subscription, behind $share/NAME/. */
static struct bytes plain_filter(const struct local_filter *f)
{
    struct bytes share, plain = local_filter_name(f);
    if (f->shared && !topic_share_parse(local_filter_name(f), &share, &plain)) {
        return local_filter_name(f); /* it was not subscribed to then */
    }
    return plain;
}

static bool sees_all(struct conn *c)
{
    if (!is_in_use(c)) {
        return true;
    }
    const struct pointer_set *const filters = &c->session->filters;
    if (filters->count > FILTERS_LOOKED_AT) {
        return false;
    }
    for (uint32_t i = 0; i < filters->count; i++) {
        const struct local_filter *const f = pointer_at(pointer_set_places(filters)[i]);
        if (!is_seen_whole(c, plain_filter(f))) {
            return false;
        }
    }
    return true;
}

bool access_judge(struct conn *c, struct bytes topic)
{
    const struct shard *s = c->shard;
    if ((c->access.seen & ~SEES_PARTS) != s->acl_generation) {
        c->access.seen = s->acl_generation | (sees_all(c) ? 0 : SEES_PARTS);
    }
    const struct question q = {.subject = RECEIVING, .topic = topic};
    return c->access.seen == s->acl_generation || is_allowed(c, topic, &q);
}

void access_changed(struct conn *c)
{
    access_forget(c);
    c->access.seen = SEES_UNKNOWN;
}
