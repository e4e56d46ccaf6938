/* SPDX-License-Identifier: Apache-2.0 */
/*
 * sim: a world in which the cluster's state machines run, many nodes on one thread, with all that
 * can go wrong between them and under them. Everything that happens follows from the seed.
 *
 *   what runs in it   struct sim_module: the functions that a shell (a thread, a shard) calls in
 *                     production, called by the world; the module's calls out are those of the
 *                     second part below
 *   what is tried     struct sim_suite: a module, which faults may happen to it, what must hold at
 *                     all times, and what must come true once the faults have ended
 *
 * A run has two parts. First, with faults (safety): check() must hold whenever it is asked. Then
 * they end, and is_converged() must come true in time (liveness).
 *
 * Not modelled: the kernel, TLS, real disks, threads, processor time. See README.md.
 *
 * Owner: one thread. Memory: the world's, until sim_destroy(); out of memory aborts.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "cluster/identity.h"
#include "proto/bytes.h"

struct sim;
struct sim_node;

/* ---- What can go wrong. Each seed draws a subset of those that the suite takes. */
enum sim_fault {
    SIM_LOSS = 1 << 0,           /* datagrams are lost, up to a third */
    SIM_DUPLICATION = 1 << 1,    /* come twice */
    SIM_REORDERING = 1 << 2,     /* overtake each other, by up to 3 s */
    SIM_CORRUPTION = 1 << 3,     /* have a bit flipped */
    SIM_SLOW_PATHS = 1 << 4,     /* take long */
    SIM_PARTITION = 1 << 5,      /* the nodes fall into two parts, or one is alone */
    SIM_ONE_WAY = 1 << 6,        /* nothing comes from, or to, a node, or over a path */
    SIM_CRASH = 1 << 7,          /* a node dies, and starts again, or never */
    SIM_NEW_ADDRESS = 1 << 8,    /* ... with another address */
    SIM_PAUSE = 1 << 9,          /* a process stands still (SIGSTOP), for up to 60 s */
    SIM_CLOCKS = 1 << 10,        /* clocks run up to 1 % too fast or too slow; wall clocks jump */
    SIM_STREAM_CUT = 1 << 11,    /* a stream ends, at any byte, for one or both of its ends */
    SIM_STREAM_STALL = 1 << 12,  /* nothing moves in a stream for a while, or in one direction */
    SIM_DISK_LOSS = 1 << 13,     /* a crash takes what was not synced */
    SIM_DISK_TORN = 1 << 14,     /* ... or any of its sectors */
    SIM_DISK_ERROR = 1 << 15,    /* a sync fails */
    SIM_DISK_WIPE = 1 << 16,     /* a node comes back with nothing: as another one */
    SIM_OTHER_CLUSTER = 1 << 17, /* nodes of another cluster, same key, get addresses of ours */
    SIM_FAULTS_ALL = (1 << 18) - 1,
};

/* Why a stream is over. */
enum sim_close {
    SIM_CLOSE_REFUSED, /* nobody listens there */
    SIM_CLOSE_RESET,   /* the other end has gone, or the way is cut */
    SIM_CLOSE_TIMEOUT, /* nothing was acknowledged for too long, or nobody answered */
};

/*
 * What runs on each node. All functions are called by the world, one at a time, never from within
 * a call to the world. NULL where a module has no use for it, but for create and destroy.
 */
struct sim_module {
    const char *name;
    void *(*create)(struct sim_node *node); /* a start; sim_identity() is this start's */
    void (*destroy)(void *self);            /* as by kill -9: nothing it asks for now happens */
    void (*timer)(void *self);              /* what sim_set_timer() asked for is due */
    void (*datagram)(void *self, const struct node_address *from, struct bytes bytes);
    void (*stream_accepted)(void *self, uint64_t stream, const struct node_address *from);
    void (*stream_opened)(void *self, uint64_t stream); /* one of ours is connected */
    void (*stream_received)(void *self, uint64_t stream, struct bytes bytes);
    void (*stream_writable)(void *self, uint64_t stream); /* after a write that was not whole */
    void (*stream_ended)(void *self, uint64_t stream);    /* no more bytes from the other end */
    void (*stream_closed)(void *self, uint64_t stream, enum sim_close why); /* it is no more */
    void (*disk_done)(void *self, uint64_t operation, int error);
};

struct sim_suite {
    const char *name;
    const struct sim_module *module;
    uint32_t faults; /* of enum sim_fault */
    unsigned nodes_min, nodes_max;
    size_t datagram_bytes_max; /* a longer one is a violation; 0: none is sent */
    unsigned check_every_ms;
    uint64_t safety_ms;              /* how long faults happen */
    uint64_t liveness_ms;            /* within which it must have converged after that */
    void *(*begin)(struct sim *sim); /* the suite's own state, for sim_suite_state(); NULL: none */
    void (*end)(struct sim *sim);
    void (*act)(struct sim *sim);   /* before each check: what users do. NULL: nothing */
    void (*check)(struct sim *sim); /* calls sim_fail() for what must never be */
    bool (*is_converged)(struct sim *sim);
};

/* ---- What a module calls */

const struct identity *sim_identity(const struct sim_node *node); /* of this start */
struct node_address sim_address(const struct sim_node *node);
uint64_t sim_now_ms(const struct sim_node *node);  /* its monotonic clock; starts anywhere */
uint64_t sim_wall_ms(const struct sim_node *node); /* since 1970, as it thinks */
uint64_t sim_random(struct sim_node *node);
struct sim *sim_of(const struct sim_node *node);

/* timer() is called at that time of its monotonic clock, or a little later; one call, for the last
 * time that was set. UINT64_MAX: not at all. */
void sim_set_timer(struct sim_node *node, uint64_t at_ms);

void sim_send(struct sim_node *node, const struct node_address *to, struct bytes bytes);

/* A stream to whoever is there: opened(), or closed(). Its name, never 0, is good at this end. */
uint64_t sim_stream_open(struct sim_node *node, const struct node_address *to);

/* How many bytes were taken, of the room that there is; not all: writable() comes. 0 if the stream
 * is no more. */
size_t sim_stream_write(struct sim_node *node, uint64_t stream, struct bytes bytes);

/* The other end gets what was written, and then ended(). Reading goes on. */
void sim_stream_finish(struct sim_node *node, uint64_t stream);

/* No call for this stream comes any more. What was written still is delivered. Any name is fine. */
void sim_stream_close(struct sim_node *node, uint64_t stream);

/* A write is there for sim_disk_read() at once, and durable after a sync that was asked for later;
 * its end is disk_done(). Files are named by numbers, and are as long as was written. */
void sim_disk_write(struct sim_node *node, unsigned file, uint64_t offset, struct bytes bytes);
uint64_t sim_disk_sync(struct sim_node *node, unsigned file);
size_t sim_disk_read(const struct sim_node *node, unsigned file, uint64_t offset, void *out,
                     size_t len); /* how much there is */
void sim_disk_truncate(struct sim_node *node, unsigned file, uint64_t len);

/* A line of the trace; also part of the trace's hash. */
__attribute__((format(printf, 2, 3))) void sim_note(struct sim_node *node, const char *format, ...);

/* ---- What a suite calls */

void *sim_suite_state(const struct sim *sim);
unsigned sim_nodes(const struct sim *sim); /* the other cluster's are behind ours */
struct sim_node *sim_node(struct sim *sim, unsigned index);
unsigned sim_index(const struct sim_node *node);
void *sim_running(const struct sim_node *node); /* what create() gave; NULL: it is down */
bool sim_is_paused(const struct sim_node *node);
bool sim_is_ours(const struct sim_node *node);        /* of the cluster that is being tried */
uint64_t sim_time_ms(const struct sim *sim);          /* of the world, from 0 on */
uint64_t sim_started_ms(const struct sim_node *node); /* world's time of its last start */
uint64_t sim_stopped_ms(const struct sim_node *node); /* world's time of its last crash */
uint64_t sim_paused_ms(const struct sim_node *node);  /* world's time when its last pause ended;
                                                       * 0: none yet */
uint32_t sim_faults(const struct sim *sim);           /* those that this seed drew */
bool sim_is_calm(const struct sim *sim);              /* the faults have ended */
struct random *sim_world_random(struct sim *sim);

/* What must not be; the first one ends the run. */
__attribute__((format(printf, 2, 3))) void sim_fail(struct sim *sim, const char *format, ...);

/* ---- To be run by hand, as by a measurement: a world without a suite's faults */

struct sim_conf {
    uint64_t seed;
    unsigned nodes;           /* of ours; 0: drawn from the suite's bounds */
    bool no_faults;           /* the faults are the caller's, by the calls below */
    bool trace;               /* lines to stderr */
    uint64_t start_spread_ms; /* nodes start within that time */
};

struct sim *sim_create(const struct sim_suite *suite, const struct sim_conf *conf);
void sim_destroy(struct sim *sim);

/* Runs to that time of the world; false: something failed. */
bool sim_run_to(struct sim *sim, uint64_t ms);

void sim_set_loss(struct sim *sim, unsigned per_10000);
void sim_set_latency(struct sim *sim, unsigned least_us, unsigned most_us);
void sim_cut(struct sim *sim, unsigned from, unsigned to, bool cut); /* one way */
void sim_crash(struct sim *sim, unsigned index);
void sim_start(struct sim *sim, unsigned index); /* with the next generation */
void sim_pause(struct sim *sim, unsigned index, uint64_t ms);
uint64_t sim_bytes_sent(const struct sim_node *node); /* datagrams and streams, payload */
uint64_t sim_messages_sent(const struct sim_node *node);

/* ---- A whole run */

struct sim_result {
    bool failed;
    char what[256]; /* that failed */
    uint64_t at_ms; /* world's time of it */
    uint64_t hash;  /* of all that happened */
    uint64_t events;
    uint64_t converged_ms; /* after the end of the faults */
    uint32_t faults;
    unsigned nodes;
};

struct sim_result sim_run(const struct sim_suite *suite, uint64_t seed, bool trace);
