/* SPDX-License-Identifier: Apache-2.0 */
/*
 * list: a ring of links that lie in the objects; who is in none is linked to nobody. Not a public
 * header.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>

struct list {
    struct list *next, *prev; /* of a head: itself when empty; of a member that is in none: NULL */
};

#define list_object(link, type, member) ((type *)(void *)((char *)(link)-offsetof(type, member)))

static inline void list_init(struct list *head)
{
    head->next = head;
    head->prev = head;
}

static inline bool list_is_empty(const struct list *head)
{
    return head->next == head;
}

static inline struct list *list_first(const struct list *head) /* NULL: empty */
{
    return list_is_empty(head) ? NULL : head->next;
}

static inline bool list_is_in(const struct list *link)
{
    return link->next != NULL;
}

static inline void list_remove(struct list *link) /* fine with one that is in none */
{
    if (link->next != NULL) {
        link->next->prev = link->prev;
        link->prev->next = link->next;
        *link = (struct list){NULL, NULL};
    }
}

/* At the end; it leaves the list that it was in. */
static inline void list_append(struct list *head, struct list *link)
{
    list_remove(link);
    link->prev = head->prev;
    link->next = head;
    head->prev->next = link;
    head->prev = link;
}

/* All of `from` goes in front of what is in `head`. */
static inline void list_prepend_all(struct list *head, struct list *from)
{
    if (!list_is_empty(from)) {
        from->prev->next = head->next;
        head->next->prev = from->prev;
        head->next = from->next;
        from->next->prev = head;
        list_init(from);
    }
}
