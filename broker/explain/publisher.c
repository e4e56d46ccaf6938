/* SPDX-License-Identifier: Apache-2.0 */
#include "broker/explain/publisher.h"

#include <stdlib.h>
#include <xxhash.h>

#include "broker/conn/conn.h"
#include "broker/conn/publishable.h"
#include "broker/guard/publish_rate.h"
#include "broker/login/login.h"
#include "broker/node.h"
#include "broker/route/index.h"
#include "broker/session/session.h"
#include "broker/shard/shard.h"

/* ---- who publishes */

static void look_at_conn(struct explain_publishing *x, struct conn *c)
{
    struct explain_publisher *const found = &x->found;
    const struct explain_message *const m = &x->question.message;
    const struct mqtt_publish publish = {
        .qos = m->qos,
        .topic = x->question.topic,
        .payload = bytes_of(x->text, m->payload_bytes), /* of which only the length counts */
    };
    found->connected = true;
    found->closing = c->phase != CONN_CONNECTED || c->doomed;
    found->access = access_explain_publish(c, x->question.topic, m->qos, m->retain);
    found->blocked = c->blocked;
    found->rate_wait_ms = publish_rate_wait_ms(c, x->question.topic.len + m->payload_bytes);
    found->packet_bytes = (uint32_t)mqtt_publish_size(&publish, (enum mqtt_version)c->version);
    found->packet_bytes_max = c->server_packet_bytes_max;
    found->unreleased = session_received(c->session);
    found->receive_maximum = (uint32_t)c->server_receive_maximum + c->received_before;
}

static void look_at_node(struct explain_publisher *found, const struct shard *s, struct bytes topic)
{
    const enum mqtt_reason reason = publishable_topic(s, topic);
    found->topic_reserved = reason == MQTT_REASON_NOT_AUTHORIZED;
    found->topic_levels = reason == MQTT_REASON_TOPIC_NAME_INVALID;
    found->memory_full = s->memory_full;
    found->disk_refuses = atomic_load_explicit(&s->node->disk_troubles, memory_order_relaxed) > 0;
    found->retained_full = atomic_load_explicit(&s->node->retained, memory_order_relaxed) >=
                           (int64_t)s->config->limits.retained_messages_max;
}

static void look_at_publisher(struct explain_publishing *x, struct shard *s)
{
    const struct bytes client_id = x->question.publisher;
    const struct session *const session = session_find(s, client_id);
    struct conn *const c = session == NULL ? NULL : session->conn;
    x->found.asked = true;
    x->found.session = session != NULL;
    explain_text_set(x->found.client_id, client_id);
    x->found.guard = guard_foresee(s, c, client_id, NULL);
    look_at_node(&x->found, s, x->question.topic);
    if (c != NULL) {
        look_at_conn(x, c);
    }
}

/* ---- whom it would choose */

static bool is_wanted(const struct explain_publishing *x, uint64_t group)
{
    for (uint32_t i = 0; i < x->wanted_count; i++) {
        if (x->wanted[i] == group) {
            return true;
        }
    }
    return false;
}

static void look_at_group(struct explain_publishing *x, struct shard *s,
                          const struct share_group *group, uint64_t name)
{
    const struct bytes topic = x->question.topic, publisher = x->question.publisher;
    const struct share_choice how = {
        .strategy = (enum share_strategy)s->config->shared_subscriptions.strategy,
        .self = s->id,
        .publisher_hash = publisher.at == NULL ? 0 : XXH3_64bits(publisher.at, publisher.len),
        .topic_hash = XXH3_64bits(topic.at, topic.len),
        .here_first = s->config->shared_subscriptions.prefer_local,
    };
    struct explain_group *const kept = &x->groups[x->groups_kept++];
    *kept = (struct explain_group){.group = name, .found = true};
    kept->more = !share_count(group, &kept->members, &kept->online);
    const struct share_member *const next = share_foresee(group, &how);
    if (next != NULL) {
        kept->next = next->subscription_id;
        kept->next_shard = next->shard;
    }
}

static void look_at_groups(struct explain_publishing *x, struct shard *s)
{
    struct match *const match = &s->match;
    if (x->wanted_count == 0 || index_match(s->node->index, x->question.topic, match) != INDEX_OK) {
        return; /* without memory they are as if they were not found */
    }
    for (size_t i = 0; i < match->group_count && x->groups_kept < EXPLAIN_FILTERS_MAX; i++) {
        const uint64_t name = share_group_name(match->groups[i]);
        if (is_wanted(x, name)) {
            look_at_group(x, s, match->groups[i], name);
        }
    }
}

static enum errand_step run(struct shard *s, struct errand *e)
{
    struct explain_publishing *const x = table_object(e, struct explain_publishing, errand);
    ASSERT_OWNED(s);
    if (x->question.publisher.at != NULL) {
        look_at_publisher(x, s);
    }
    x->strategy = s->config->shared_subscriptions.strategy;
    look_at_groups(x, s);
    return ERRAND_DONE;
}

static void destroy(struct errand *e)
{
    free(table_object(e, struct explain_publishing, errand));
}

struct explain_publishing *explain_publishing_create(const struct explain_question *q,
                                                     const struct explain_client *client)
{
    struct explain_publishing *const x = calloc(1, sizeof *x + explain_question_bytes(q));
    if (x == NULL) {
        return NULL;
    }
    x->errand = (struct errand){.run = run, .destroy = destroy};
    x->question = *q;
    explain_question_copy(&x->question, x->text);
    for (uint32_t i = 0; i < client->filters_kept; i++) {
        if (client->filters[i].shared) {
            x->wanted[x->wanted_count++] = client->filters[i].group;
        }
    }
    return x;
}
