/* SPDX-License-Identifier: Apache-2.0 */
/*
 * acl_file: the rules of an ACL file; and which of them concern a client. docs/authorization.md
 * describes the file, acl_line.h its words.
 *
 *   default deny
 *   group GROUP USER… (nobody: those whose token says so)
 *   allow|deny [user=… client=… group=… address=… anonymous unix uid=… gid=…]
 *       publish|subscribe|all [qos=… retain=…] FILTER…
 *
 * Owner: counted, as views made of it (conn/access.h) may outlive it on any shard; it never
 * changes. Memory: some 150 bytes for each filter, and the text; 1 KiB more for a rule with
 * addresses. At the bounds below: a mistake, told as any other. Any bytes are fair input.
 */
#pragma once

#include <netinet/in.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "broker/auth/acl.h"
#include "broker/config/config_error.h"
#include "proto/bytes.h"
#include "proto/nodiscard.h"

#define ACL_FILE_BYTES_MAX    (16u << 20)
#define ACL_LINE_BYTES_MAX    65536u
#define ACL_RULES_MAX         100000u /* a rule for each filter */
#define ACL_MEMBERS_MAX       1000000u
#define ACL_ADDRESS_LINES_MAX 10000u

struct accounts;
struct acl_file;
struct groups;
struct unix_peer;

enum acl_file_err {
    ACL_FILE_OK = 0,
    ACL_FILE_INVALID, /* each mistake is in *error */
    ACL_FILE_NO_MEMORY,
};

/* `name` is how messages call the file. seed: of its tables; clients choose what is looked up.
 * accounts: where users and groups of the machine are looked up, each once. *out is written on
 * success only, and counts one reference. */
NODISCARD enum acl_file_err acl_file_parse(struct acl_file **out, const char *name,
                                           struct bytes text, uint64_t seed,
                                           const struct accounts *accounts,
                                           struct config_error *error);
/* The same, of a file and of accounts of this machine (main thread). What keeps it from being read
 * is a mistake too. */
NODISCARD enum acl_file_err acl_file_read(struct acl_file **out, const char *path, uint64_t seed,
                                          struct config_error *error);

/* Any thread. */
struct acl_file *acl_file_take(struct acl_file *f);
void acl_file_put(struct acl_file *f); /* NULL is fine */

uint32_t acl_file_count(const struct acl_file *f);
const struct acl_rule *acl_file_rules(const struct acl_file *f); /* [count] */
bool acl_file_allows_rest(const struct acl_file *f);             /* `default allow` */

/* Whom rules are asked about. */
struct acl_who {
    struct acl_names names;
    bool anonymous;                 /* nobody has said who it is */
    const struct in6_addr *address; /* IPv4 mapped; NULL: it has none */
    const struct unix_peer *peer;   /* of its Unix socket; NULL: it uses none */
    const struct groups *groups;    /* besides those that the file has it in; NULL: none */
};

/* Numbers of rules; grows as needed. = {0} is empty. */
struct acl_picked {
    uint32_t *at;
    uint32_t count, capacity;
};
void acl_picked_fini(struct acl_picked *p);

/* The rules that concern the client, in order, instead of what was in there. Costs what they are,
 * not what the file is. false: no memory. */
NODISCARD bool acl_file_pick(const struct acl_file *f, const struct acl_who *who,
                             struct acl_picked *out);
