/* SPDX-License-Identifier: Apache-2.0 */
/*
 * config: what the operator has asked for, as one plain struct, and where each value came from.
 *
 *   defaults (tbl/key.h)  <  file (YAML)  <  environment (DUNLIN_A__B)  <  command line
 *
 * Each source is read into settings (settings.h: key, text, origin); what wins is made one
 * document, which libcyaml loads into the struct. docs/configuration.md describes the keys for
 * operators; tbl/key.h is where a key is added, with its field here.
 *
 * Owner: the main thread. Once shards see it, nobody changes it: a reload loads another one.
 * Memory: a few allocations, all of them the struct's; nothing is read lazily.
 * At the bound: a file of more than CONFIG_FILE_BYTES_MAX is refused, as are more than
 *   CONFIG_LISTENERS_MAX listeners, or CONFIG_TOPICS_MAX topics.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>

#include "broker/config/config_error.h"
#include "broker/log/log.h"
#include "proto/nodiscard.h"

#define CONFIG_FILE_BYTES_MAX (1u << 20)
#define CONFIG_LISTENERS_MAX  64u
#define CONFIG_TOPICS_MAX     16u /* each PUBLISH may be compared with all of them */

/* What happens to a message for a session whose queue is at its bound. */
enum config_queue_full {
    CONFIG_DROP_OLDEST,
    CONFIG_DROP_NEWEST,
    CONFIG_DISCONNECT,
};

/* Which member of a shared subscription gets a message. */
enum config_strategy {
    CONFIG_ROUND_ROBIN,
    CONFIG_RANDOM,
    CONFIG_STICKY,
    CONFIG_HASH_CLIENT,
    CONFIG_HASH_TOPIC,
};

/* Whether a TLS listener asks its clients for a certificate. */
enum config_client_certificate {
    CONFIG_CLIENT_NONE,
    CONFIG_CLIENT_OPTIONAL,
    CONFIG_CLIENT_REQUIRED,
};

/* Which name of a client's certificate is meant (proto/certificate_names.h). */
enum config_name_from {
    CONFIG_FROM_NONE,
    CONFIG_FROM_COMMON_NAME,
    CONFIG_FROM_SAN_DNS,
    CONFIG_FROM_SAN_URI,
    CONFIG_FROM_SAN_EMAIL,
};

enum config_tls_version {
    CONFIG_TLS_1_2,
    CONFIG_TLS_1_3,
};

enum config_proxy_protocol {
    CONFIG_PROXY_OFF,
    CONFIG_PROXY_REQUIRED,
};

/* The ways to find out who a client is (broker/login). */
enum config_auth_method {
    CONFIG_AUTH_CERTIFICATE,
    CONFIG_AUTH_PASSWORD,
    CONFIG_AUTH_TOKEN,
    CONFIG_AUTH_HTTP,
    CONFIG_AUTH_METHODS /* so many */
};

struct config_listener {
    char *url;         /* listen_url_parse() takes it: config_load() has tried */
    char *unix_mode;   /* octal digits; "": as the umask has it */
    char *certificate; /* PEM files, separated by commas; as many as keys, at least one for TLS */
    char *key;
    enum config_client_certificate client_certificate;
    char *client_ca;                      /* PEM file; needed unless client_certificate is none */
    char *crl;                            /* PEM file; "": none */
    enum config_name_from user_from;      /* whom its certificate makes the client; */
    enum config_name_from client_id_from; /* and the only client identifier that it may have */
    enum config_tls_version tls_min;
    char *ciphers; /* "": ours */
    enum config_proxy_protocol proxy_protocol;
    char *proxy_from;         /* address ranges, address_ranges_parse() takes them; "": nobody */
    char *origins;            /* of WebSocket, separated by commas; "": any */
    uint32_t connections_max; /* 0: as many as limits.connections_max */
};

struct config_tls {
    char *ticket_keys; /* file; "": random keys, for this process */
};

struct config_node {
    char *name;      /* node_name_is_valid(); "": the host's */
    uint32_t shards; /* 0: usable_processors(); <= 64 */
};

enum config_cluster_tls {
    CONFIG_CLUSTER_TLS_OFF,
    CONFIG_CLUSTER_TLS_OFFERED,
    CONFIG_CLUSTER_TLS_REQUIRED,
};

struct config_cluster {
    char *listen;               /* listen_address_parse() takes it; "": there is no cluster */
    char *advertise;            /* the same, with a port, and no wildcard; "": found out */
    char *seeds;                /* seeds_parse() takes it */
    char *name;                 /* 1..64 bytes */
    char *key_file;             /* "": there is none, and listen is a loopback address */
    uint32_t rebalance_after_s; /* <= 86400 */
    uint32_t rebalance_clients_per_second; /* 0: off */
    enum config_cluster_tls tls;
    char *tls_certificate; /* PEM files; not "" unless tls is off: */
    char *tls_key;
    char *tls_ca;
    char *tls_crl;         /* "": none */
    uint32_t replicas;     /* 0, 1, 3, 5; 0: sessions are on one node */
    uint32_t initial_size; /* 0: as replicas; <= 32 */
    char *zone;
};

struct config_admin {
    char *listen;      /* listen_address_parse() takes it; "": nowhere */
    char *certificate; /* PEM file; "": HTTP without TLS */
    char *key;         /* PEM file of it */
    char *keys_file;   /* who may use the API; "": nobody */
    char *backup_dir;  /* where the API may have backups made; "": nowhere */
};

struct config_drain {
    uint32_t wait_s;             /* <= 3600 */
    uint32_t clients_per_second; /* >= 1 */
    uint32_t longest_s;          /* 1..3600 */
};

enum config_durability {
    CONFIG_DURABILITY_SYNC,
    CONFIG_DURABILITY_INTERVAL,
    CONFIG_DURABILITY_MEMORY,
};

struct config_data {
    char *dir; /* "": nothing is written to disk */
    enum config_durability durability;
    uint32_t sync_interval_ms;
    uint32_t checkpoint_interval_s;
    uint64_t journal_segment_bytes; /* or more (broker/persistence.c) */
    uint64_t checkpoint_bytes_max;
};

/* Of topics that the filter matches; the first that does counts (topics.h). */
struct config_topic {
    char *filter;
    enum config_durability durability; /* not memory */
};

struct config_recorder {
    uint32_t bytes_per_shard; /* 0: nothing is recorded; else RECORDER_BYTES_MIN or more */
    char *dir;                /* "": data.dir, if there is one */
};

struct config_log {
    enum log_level level;
    enum log_format format;
};

struct config_limits {
    uint32_t connections_max;
    uint32_t connect_timeout_s;      /* from the accept, or the handshake's end, to a whole CONNECT;
                                        and for an exchange of AUTH while connected */
    uint32_t handshake_timeout_s;    /* of PROXY, TLS, and WebSocket together */
    uint32_t handshakes_max;         /* at a time */
    uint32_t connections_per_second; /* of the node; 0: any number */
    uint32_t connections_per_second_per_address; /* likewise */
    uint32_t publish_messages_per_second;        /* of each client; likewise */
    uint64_t publish_bytes_per_second;           /* likewise */
    uint32_t packet_bytes_max;                   /* 128..268435460, fixed header included */
    uint32_t receive_maximum; /* 1..65535: QoS 1 and 2 from a client, not yet acknowledged */
    uint32_t inflight_max;    /* 1..65535: the same towards a client */
    uint32_t session_queue_messages_max;
    uint64_t session_queue_bytes_max;
    enum config_queue_full session_queue_full;
    uint32_t subscriptions_per_session_max;
    uint64_t subscription_bytes_per_session_max;
    uint32_t topic_levels_max;
    uint32_t sessions_max;
    uint32_t retained_messages_max;
    uint64_t output_bytes_max;     /* per connection, not yet taken by the kernel */
    uint64_t message_memory_max;   /* 0: a quarter of usable_memory() */
    uint32_t message_stall_s;      /* a publisher whose message finds no memory waits that long */
    uint32_t keep_alive_max_s;     /* 0: no maximum; <= 65535 */
    uint32_t session_expiry_max_s; /* 4294967295: none */
    uint32_t topic_alias_maximum;  /* 0..65535, in each direction */
};

struct config_shared_subscriptions {
    enum config_strategy strategy;
    bool prefer_local; /* another node's member only if none of this one's is connected */
};

struct config_auth {
    char *methods;                         /* auth_methods_parse() takes it */
    char *password_file;                   /* "": none */
    uint32_t failures_per_minute;          /* 0: any number */
    char *ban_file;                        /* "": none */
    uint32_t flapping_connects_per_minute; /* 0: any number */
    uint32_t flapping_ban_s;
};

struct config_acl {
    char *file; /* "": none */
};

struct config_token {
    char *keys_file;    /* "": none */
    char *keys_url;     /* "": none */
    char *keys_ca_file; /* PEM; "": the system's */
    uint32_t keys_timeout_ms;
    uint32_t keys_refresh_s;
    uint32_t keys_pause_s; /* also where keys_refresh_s is less */
    char *issuer;          /* "": any */
    char *audience;        /* "": none */
    uint32_t leeway_s;
    bool require_expiry;
    char *user_claim;
    bool user_name_must_match;
    char *client_id_claim; /* "": none */
    char *groups_claim;    /* "": none */
    char *acl_claim;       /* "": none */
};

/* What the shards wait with. */
enum config_io {
    CONFIG_IO_AUTO, /* io_uring, or epoll where that is refused */
    CONFIG_IO_URING,
    CONFIG_IO_EPOLL,
};

struct config_process {
    char *user; /* "": as it was started */
    enum config_io io;
    bool core_dumps;
    bool seccomp;
};

/* What comes of a client while the server that is asked about it does not answer. */
enum config_away {
    CONFIG_AWAY_DENY,
    CONFIG_AWAY_IGNORE,
};

struct config_http {
    char *url;                /* "": nobody is asked */
    char *authorization_file; /* its first line is the value of that header; "": none is sent */
    char *ca_file;            /* PEM; "": the system's */
    uint32_t timeout_ms;
    uint32_t in_flight_max;
    uint32_t waiting_max;
    uint32_t remember_s; /* 0: nothing is */
    enum config_away when_away;
};

struct config_mqtt {
    char *response_information; /* "": none is given */
    uint32_t sys_interval_s;    /* 0: $SYS/… is empty */
};

struct settings;

struct config {
    struct config_node node;
    struct config_cluster cluster;
    struct config_process process;
    struct config_listener *listeners; /* [0..listeners_count) */
    uint32_t listeners_count;          /* 1..CONFIG_LISTENERS_MAX */
    bool allow_anonymous;
    struct config_auth auth;
    struct config_acl acl;
    struct config_token token;
    struct config_http http;
    struct config_tls tls;
    struct config_admin admin;
    struct config_drain drain;
    struct config_data data;
    struct config_topic *topics; /* [0..topics_count); NULL: none */
    uint32_t topics_count;       /* at most CONFIG_TOPICS_MAX */
    struct config_recorder recorder;
    struct config_log log;
    struct config_limits limits;
    struct config_shared_subscriptions shared_subscriptions;
    struct config_mqtt mqtt;

    /* ---- config's own */
    struct settings *settings; /* every key's text and origin */
};

enum config_err {
    CONFIG_OK = 0,
    CONFIG_NO_MEMORY,
    CONFIG_INVALID, /* some source is unreadable or wrong: struct config_error says what */
};

struct options;

struct config_sources {
    const char *file;              /* path; NULL: none */
    char *const *environment;      /* environ, or NULL: none; only DUNLIN_… is looked at */
    const struct options *options; /* the command line; NULL: none. Its --config is not looked at */
};

/* CONFIG_OK: *out is the caller's. Otherwise *out is left alone and *error has at least one line.
 */
NODISCARD enum config_err config_load(struct config **out, const struct config_sources *sources,
                                      struct config_error *error);
void config_destroy(struct config *c); /* NULL is fine */

/* Writes every key with its value and, as a comment, its origin: YAML that loads to the same. */
void config_dump(const struct config *c, FILE *out);

/* One key that differs: "limits.connections_max"; "listeners.*.url" for any change of that list,
 * whose texts are then all URLs, separated by spaces. The texts are plain (sizes in bytes) and
 * borrowed for the call. */
typedef void config_changed_fn(void *context, const char *path, bool reloadable, const char *before,
                               const char *after);

/* Calls back for each key whose value differs (not: only its origin), in the table's order. */
void config_diff(const struct config *before, const struct config *after,
                 config_changed_fn *changed, void *context);
