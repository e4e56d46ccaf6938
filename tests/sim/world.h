/* SPDX-License-Identifier: Apache-2.0 */
/*
 * world: what a world is made of. Not for modules and suites, which have sim.h; the files of this
 * folder share it: world.c (nodes, clocks, datagrams), stream.c, disk.c, faults.c.
 */
#pragma once

#include "tests/sim/queue.h"
#include "tests/sim/sim.h"
#include "tests/unit/route/random.h"

#define SIM_NODES_MAX     1100u
#define STREAM_ROOM       (256u * 1024) /* what a kernel holds of one direction */
#define INBOX_MAX         256u /* datagrams that a paused process finds; the rest is lost */
#define DISK_FILES        16u
#define SECTOR_BYTES      512u
#define STREAM_GIVE_UP_US 20000000u
#define US_PER_MS         1000u

/* One direction of a stream. */
struct flow {
    uint8_t *bytes; /* written, not yet received: [len], room for STREAM_ROOM when not NULL */
    size_t len;
    uint64_t blocked_us; /* since when nothing has moved that should; 0: it moves */
    uint64_t stalled_us; /* nothing moves until then */
    bool scheduled;      /* an event that moves it on is in the queue */
    bool finished;       /* no more is written */
    bool told_end;       /* the reader was told so */
    bool was_full;       /* the writer waits for room */
    bool severed;        /* what is written from now on goes nowhere */
};

struct stream_end {
    unsigned node;
    unsigned life;
    bool open; /* the module knows it */
    struct node_address address;
};

/* end[0] opened it; flow[i] is what end[i] writes. */
struct stream {
    uint64_t name; /* of both ends, without the lowest bit; 0: free */
    struct stream_end end[2];
    struct flow flow[2];
    bool connected;
};

struct disk_sector {
    uint64_t first, last; /* numbers of the writes since it was durable; 0: it is durable */
};

struct disk_file {
    uint8_t *now, *kept; /* [len], [kept_len], room for `room` each */
    struct disk_sector *sectors;
    size_t len, kept_len, room;
};

struct sim_node {
    struct sim *sim;
    unsigned index;
    unsigned life; /* counted up at each start and each crash */
    struct identity identity;
    struct node_address address;
    bool ours;
    void *running;

    uint64_t started_us, stopped_us;
    uint64_t clock_begin_ms; /* of its monotonic clock, at started_us */
    int64_t clock_ppm;
    int64_t wall_off_ms;

    uint64_t timer; /* number of the last setting */
    bool timer_due; /* while paused */
    bool paused;
    uint64_t pause; /* number of the last one */
    uint64_t resumed_us;
    struct event inbox[INBOX_MAX];
    size_t inbox_count;

    struct disk_file files[DISK_FILES];
    uint64_t disk_writes, disk_operations;

    uint64_t bytes_sent, messages_sent;
};

struct sim {
    const struct sim_suite *suite;
    void *state; /* the suite's */
    struct random random;
    struct queue queue;
    uint64_t now_us;
    bool tracing;
    bool calm;
    uint32_t faults;

    struct sim_node **nodes; /* [count], ours first */
    unsigned ours, count;
    uint8_t *cut;       /* [from * count + to] */
    int32_t *occupants; /* [address]: a node, or -1 */
    uint32_t addresses;

    unsigned loss_per_10000, duplicated_per_10000, reordered_per_10000, corrupted_per_10000;
    unsigned latency_least_us, latency_most_us;

    struct stream *streams; /* [streams_count] */
    size_t streams_count;
    uint64_t streams_made;

    bool failed;
    char what[256];
    uint64_t hash, events;
};

/* world.c */
void sim_mix(struct sim *sim, uint64_t value);
bool sim_chance(struct sim *sim, unsigned per_10000);
uint64_t sim_between(struct sim *sim, uint64_t least, uint64_t most);
int32_t sim_occupant(const struct sim *sim, const struct node_address *address);
void sim_move(struct sim *sim, unsigned index, bool reuse); /* a node that is down, elsewhere */
void sim_swap(struct sim *sim, unsigned a, unsigned b);     /* the addresses of two that are down */
bool sim_is_alive(const struct sim *sim, unsigned node, unsigned life);
__attribute__((format(printf, 2, 3))) void sim_say(struct sim *sim, const char *format, ...);

/* stream.c */
void stream_event(struct sim *sim, const struct event *e);
void streams_node_died(struct sim *sim, unsigned index);
void streams_cut_one(struct sim *sim);
void streams_stall_one(struct sim *sim);
void streams_fini(struct sim *sim);

/* disk.c */
void disk_synced(struct sim_node *node, const struct event *e);
void disk_crash(struct sim_node *node);
void disk_wipe(struct sim_node *node);

/* faults.c */
void faults_draw(struct sim *sim);
void faults_begin(struct sim *sim);
void faults_happen(struct sim *sim); /* the next one, and asks for the one after it */
void faults_end(struct sim *sim);
