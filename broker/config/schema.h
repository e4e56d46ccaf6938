/* SPDX-License-Identifier: Apache-2.0 */
/*
 * schema: the keys of tbl/key.h as data, for our own checks and as libcyaml wants them.
 *
 * A path is "limits.connections_max"; in that of a list's key a star stands for the number of the
 * entry: "listeners.*.url", where an operator writes "listeners.0.url".
 *
 * Owner: nobody; constants.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <cyaml/cyaml.h>

enum schema_type {
    SCHEMA_UINT,
    SCHEMA_SIZE,
    SCHEMA_BOOL,
    SCHEMA_TEXT,
    SCHEMA_URL,
    SCHEMA_CHOICE,
};

struct schema_key {
    const char *path;
    enum schema_type type;
    uint64_t min, max;             /* of the number, or of a text's bytes; max of a choice: 0 */
    const cyaml_strval_t *choices; /* NULL but for SCHEMA_CHOICE */
    unsigned choices_count;
    unsigned entries_max;   /* of the list that the key is in; 0: it is in none */
    const char *by_default; /* NULL, of a list's first: each entry has to say it */
    const char *unit;       /* "" for none */
    bool reloadable;
    const char *help; /* sentences */
};

/* What a path leads to. */
enum schema_node {
    SCHEMA_UNKNOWN,
    SCHEMA_KEY,
    SCHEMA_GROUP, /* a mapping of more */
    SCHEMA_LIST,  /* a sequence of mappings */
};

#define SCHEMA_PATH_BYTES      128u /* longest that is looked at */
#define SCHEMA_VARIABLE_PREFIX "DUNLIN_"

size_t schema_count(void);
const struct schema_key *schema_at(size_t i); /* i < schema_count(); the table's order */

/* NULL when there is none of that path (len bytes). *entry is the number in it, else 0; it may be
 * above what the list can hold. */
const struct schema_key *schema_find(const char *path, size_t len, unsigned *entry);

/* Are both of the same list? */
bool schema_same_list(const struct schema_key *a, const struct schema_key *b);

/* The first key of its list, without which there is no entry; NULL: it is in none. */
const struct schema_key *schema_list_head(const struct schema_key *key);

/* Is there a value though nobody has said one? Not in a list that is empty by default. */
bool schema_has_default(const struct schema_key *key);

enum schema_node schema_node_of(const char *path); /* with a star for the number of an entry */

/* The path of the key or group that somebody who wrote that one most likely meant; for a group that
 * there is, its first key. false when it resembles none. */
bool schema_suggest(const char *path, size_t len, char out[SCHEMA_PATH_BYTES]);

/* "limits.connections_max", "listeners.2.url" */
void schema_path(const struct schema_key *key, unsigned entry, char out[SCHEMA_PATH_BYTES]);

/* The variable for a path: "DUNLIN_LIMITS__CONNECTIONS_MAX", "DUNLIN_LISTENERS__2__URL". */
void schema_variable(const char *path, char out[SCHEMA_PATH_BYTES]);

/* For cyaml_load_data(); the type is struct config, and every key but those of lists is required.
 */
extern const cyaml_schema_value_t schema_cyaml;
