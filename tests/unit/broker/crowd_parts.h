/* SPDX-License-Identifier: Apache-2.0 */
/*
 * crowd_parts: what the crowd is made of, for the two files that it is in: crowd.c, what its
 * members do, and crowd_kept.c, what becomes of them when the process ends.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "proto/mqtt.h"
#include "tests/unit/broker/crowd.h"
#include "tests/unit/broker/ledger.h"

struct fake_client;
struct fake_disk;
struct fake_node;
struct session;

#define MEMBERS      6u
#define FILTERS      13u
#define OPEN_MAX     64u /* of what a member has sent, or has to answer */
#define SHORT_EXPIRY 10u /* seconds */
#define PACKET_IDS   65536u
#define WILL_TOPIC   6u

enum certainty { NO, PERHAPS, YES };

struct subscribed {
    enum certainty is;
    uint8_t qos;
    bool no_local;
    uint16_t packet_id; /* of the SUBSCRIBE or UNSUBSCRIBE under way; 0: none */
    bool leaving;       /* it is an UNSUBSCRIBE */
};

/* A PUBLISH of ours that is not acknowledged to the end. */
struct outgoing {
    uint32_t message;
    uint16_t packet_id;
    uint8_t topic, qos;
    bool retain, released; /* PUBREC has come */
    uint32_t payload_len;  /* 0: the number's */
};

struct answer {
    enum mqtt_type type;
    uint16_t packet_id;
};

struct member {
    unsigned number;
    char id[8];
    enum mqtt_version version;
    uint16_t receive_maximum;   /* 0: none is said */
    struct fake_client *client; /* NULL: not connected, or given up */
    bool connected;             /* CONNACK has come */
    bool clean_start;           /* as last asked */
    uint32_t expiry_s;          /* as last asked */
    bool surely_kept;           /* there is a session that has no end */
    uint64_t left_ms;           /* when it last left */
    bool forgot;                /* its own part of the session: it has to begin anew */
    struct subscribed subscribed[FILTERS];
    struct outgoing out[OPEN_MAX];
    unsigned out_count;
    struct answer answers[OPEN_MAX * 4];
    unsigned answer_count;
    uint8_t open[PACKET_IDS / 8];     /* PUBLISH came on this connection, not answered to the end */
    uint8_t received[PACKET_IDS / 8]; /* QoS 2, heard and not released: as long as the session */
    unsigned in_flight;
    uint32_t will; /* the message */
};

/* Where sessions outlive the process: crowd_kept.c's. */
struct crowd_processes {
    struct fake_disk *disk; /* NULL: nothing outlives the process */
    bool is_one;            /* it does not end before the crowd has */
    uint32_t cut_off;       /* bit per client that was connected when the process ended */
    bool quiet;             /* all was on disk then, */
    uint64_t state;         /* … and this was the state */
};

struct crowd {
    struct chooser *chooser;
    struct fake_node *n;
    struct ledger *ledger;
    unsigned shards;
    unsigned inflight_max;
    char strategy[64], inflight[64]; /* settings, */
    const char *output;              /* … of all processes */
    struct crowd_processes processes;
    struct member members[MEMBERS];
    struct crowd_figures figures;
};

extern const char *const crowd_topics[LEDGER_TOPICS];

/* ---- crowd.c's */
__attribute__((format(printf, 2, 3), noreturn)) void crowd_broken(const struct member *m,
                                                                  const char *format, ...);

/* What happened, with CROWD_TRACE in the environment. */
__attribute__((format(printf, 2, 3))) void crowd_trace(const struct member *m, const char *format,
                                                       ...);

uint32_t crowd_choose(struct crowd *w, uint32_t bound); /* 0..bound - 1 */

struct session *crowd_session_of(struct crowd *w, const struct member *m); /* or NULL */
void crowd_listen_to(struct crowd *w, struct member *m);       /* takes in what it was sent */
void crowd_lose_connection(struct crowd *w, struct member *m); /* it has one no more */
void crowd_come(struct crowd *w, struct member *m, bool clean_start, uint32_t expiry_s);
void crowd_check_drops(const struct crowd *w);

struct fake_node *crowd_new_node(const struct crowd *w, unsigned shards, const char *data_dir);

/* Until the chooser has no more; the node is still there. */
void crowd_run_on(struct crowd *w, struct chooser *chooser);

/* ---- crowd_kept.c's; where nothing is kept, nothing happens */
void crowd_open_disk(struct crowd *w);
bool crowd_act_on_disk(struct crowd *w); /* false: something else is to be done */
void crowd_let_disk_work(struct crowd *w);
