/* SPDX-License-Identifier: Apache-2.0 */
/*
 * fake_node: a whole node with its shards on one thread, io_fake for a kernel, and a clock that
 * only moves when told to. The test is the clients (tests/unit/broker/fake_client.h).
 *
 * Owner: the test; one node at a time, as the clock has no context. What cannot happen aborts.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "broker/metrics.h"
#include "broker/node.h"

struct config;
struct fake_client;
struct io_fake_net;

struct fake_node {
    struct node *node;
    struct io_fake_net *net;
    struct config *config;
    struct fake_client *clients; /* all that ever connected */
    struct fake_disk *disk;      /* what it keeps is there; NULL: it keeps nothing */
};

/* settings: "limits.receive_maximum=5", ended by NULL; what they leave out has its default. */
struct fake_node *fake_node_create(unsigned shards, const char *const settings[]);
#define SETTINGS(...)                                                                              \
    (const char *const[])                                                                          \
    {                                                                                              \
        __VA_ARGS__ __VA_OPT__(, ) NULL                                                            \
    }

/* A later process on the same machine: the clock goes on from where it is. It is set to where it
 * begins by the other one, and by this. */
void fake_node_set_clock(void);
struct fake_node *fake_node_create_again(unsigned shards, const char *const settings[]);

void fake_node_end(struct fake_node *n); /* tells the clients to go, and waits for them */

/* That too, and frees all; not a message may be left over. */
void fake_node_destroy(struct fake_node *n);

/* What is left of it, when its node has been destroyed. */
void fake_node_free(struct fake_node *n);

/* Those settings are in force from now on, and no shard has run since. */
void fake_node_configure(struct fake_node *n, const char *const settings[]);

/* As SIGHUP does: those settings and no others from now on. */
void fake_node_reload(struct fake_node *n, const char *const settings[]);

/* Mailboxes of so few bytes between all shards; before anything has happened. */
void fake_node_shrink_mail(struct fake_node *n, size_t bytes);

void fake_node_step(struct fake_node *n, unsigned shard); /* one turn */
bool fake_node_is_busy(const struct fake_node *n); /* a turn of some shard would do something */
void fake_node_settle(struct fake_node *n);        /* turns until none is left to be done */

/* Moves the clock, with a stop wherever a timer is due, and settles at each. */
void fake_node_advance(struct fake_node *n, uint64_t ms);
uint64_t fake_node_now_ms(void);

/* For several nodes, which have one clock: when the next timer of one is due, and that it is that
 * time now. */
uint64_t fake_node_next_ms(const struct fake_node *n);
void fake_node_set_now(uint64_t now_ms);

uint64_t fake_node_count(const struct fake_node *n, enum metric metric); /* of all shards */
uint64_t fake_node_drops(const struct fake_node *n);                     /* for whatever reason */

/* The shard that this client identifier's session lives on. */
unsigned fake_node_home(const struct fake_node *n, const char *client_id);

/* What runs here from now on runs on that shard; to look at its sessions, say. */
struct shard *fake_node_enter(struct fake_node *n, unsigned shard);
