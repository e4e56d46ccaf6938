/* SPDX-License-Identifier: Apache-2.0 */
/*
 * options: the command line of dunlin-bench. One table (options.c) drives parsing and the help.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "bench/load/foreign.h"
#include "bench/load/url.h"

struct scenario;

struct options {
    const struct scenario *scenario;
    struct url url;
    const char *url_text;
    struct url subscribe_url;       /* of clients that do not publish: another node of a cluster */
    const char *subscribe_url_text; /* NULL: as url */
    const char *json;               /* file to write; NULL: none; "-": standard output */
    const char *topic;              /* prefix of all topics; NULL: one of this process */
    const char *client_id;          /* prefix; NULL: one of this process */
    const char *user_name;          /* NULL: none */
    const char *password;           /* NULL: none */
    const char *ca_file;            /* NULL: the server's certificate is not checked */

    double rate;         /* messages a second of all publishers; 0: closed loop */
    double connect_rate; /* connections a second; 0: as fast as --connecting allows */
    double churn_rate;   /* foreign filters that are removed and added a second meanwhile */
    double duration_s;
    double warmup_s;
    double drain_s; /* longest wait without any progress */
    uint64_t publishers;
    uint64_t subscribers;
    uint64_t idle;
    uint64_t foreign;            /* filters of others */
    uint64_t foreign_per_client; /* that one client has */
    uint64_t foreign_kind;       /* enum foreign_kind */
    struct foreign foreign_shape;
    uint64_t topics; /* of each publisher, one after the other */
    uint64_t count;  /* messages a publisher; 0: until the time is over */
    uint64_t payload;
    uint64_t window;
    uint64_t burst;
    uint64_t qos;
    uint64_t version; /* 3, 4, 5: a enum mqtt_version */
    uint64_t threads;
    uint64_t connecting;
    uint64_t sources; /* source addresses */
    uint64_t pid;
    bool relay;
    bool resume;        /* TLS sessions */
    bool keep_sessions; /* of subscribers */
    bool foreign_same;  /* every client has the same */
    bool foreign_below; /* the first level of the messages' topics */
    bool retain;
    bool strict;
    bool quiet;
};

enum options_next {
    OPTIONS_RUN,
    OPTIONS_DONE, /* help was asked for and printed */
    OPTIONS_BAD,  /* what is wrong was printed */
};

enum options_next options_parse(struct options *o, int argc, char **argv);
