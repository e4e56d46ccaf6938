/* SPDX-License-Identifier: Apache-2.0 */
#include "broker/store/changed_topics.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

static size_t size_of(const struct changed_topic *t)
{
    return sizeof *t + t->len;
}

bool changed_topics_init(struct changed_topics *c)
{
    *c = (struct changed_topics){.first = NULL};
    return table_init(&c->table) == 0;
}

void changed_topics_fini(struct changed_topics *c)
{
    while (c->first != NULL) {
        changed_topics_drop(c);
    }
    table_fini(&c->table);
}

static bool has(struct changed_topics *c, struct bytes topic, uint64_t topic_hash)
{
    struct table_link *link = table_find(&c->table, topic_hash);
    for (; link != NULL; link = table_find_next(link)) {
        const struct changed_topic *t = table_object(link, struct changed_topic, by_name);
        if (bytes_equal(changed_topic_name(t), topic)) {
            return true;
        }
    }
    return false;
}

bool changed_topics_add(struct changed_topics *c, struct bytes topic, uint64_t topic_hash)
{
    assert(topic.len > 0 && topic.len <= UINT16_MAX);

    if (has(c, topic, topic_hash)) {
        return true;
    }
    struct changed_topic *t = malloc(sizeof *t + topic.len);
    if (t == NULL) {
        return false;
    }
    t->next = NULL;
    t->len = (uint16_t)topic.len;
    memcpy(t->name, topic.at, topic.len);
    table_insert(&c->table, &t->by_name, topic_hash);
    if (c->last == NULL) {
        c->first = t;
    } else {
        c->last->next = t;
    }
    c->last = t;
    c->bytes += size_of(t);
    return true;
}

void changed_topics_drop(struct changed_topics *c)
{
    struct changed_topic *t = c->first;
    assert(t != NULL);

    c->first = t->next;
    if (c->first == NULL) {
        c->last = NULL;
    }
    c->bytes -= size_of(t);
    table_remove(&c->table, &t->by_name);
    free(t);
}
