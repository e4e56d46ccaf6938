/* SPDX-License-Identifier: Apache-2.0 */
/*
 * kept_link: a link of a list that is a circle with its head in it, so that whoever is in it can
 * leave without knowing where it is. Owner: the list's.
 */
#pragma once

#include <stdbool.h>

struct kept_link {
    struct kept_link *next, *prev; /* itself: it is in no list */
};

static inline void kept_link_init(struct kept_link *l)
{
    l->next = l->prev = l;
}

static inline bool kept_link_is_alone(const struct kept_link *l)
{
    return l->next == l;
}

static inline void kept_link_remove(struct kept_link *l)
{
    l->prev->next = l->next;
    l->next->prev = l->prev;
    kept_link_init(l);
}

static inline void kept_link_append(struct kept_link *head, struct kept_link *l)
{
    l->prev = head->prev;
    l->next = head;
    head->prev->next = l;
    head->prev = l;
}
