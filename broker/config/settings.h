/* SPDX-License-Identifier: Apache-2.0 */
/*
 * settings: the text that is in force for each key, and where it came from. Sources are put in one
 * after the other, weakest first; a later one replaces an earlier.
 *
 * Owner: config_load() while it reads, then the struct config.
 * Memory: each text and origin is its own copy.
 * At the bound: a list's entries are those of its table row; settings_offer() refuses more.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdio.h>

#include "broker/config/config_error.h"
#include "broker/config/schema.h"
#include "proto/nodiscard.h"

enum settings_source {
    SETTINGS_DEFAULT,
    SETTINGS_FILE,
    SETTINGS_ENVIRONMENT,
    SETTINGS_FLAG,
};

struct setting {
    const struct schema_key *key;
    unsigned entry; /* of the key's list; 0 outside of one */
    enum settings_source source;
    char *plain;  /* as value_plain() made it */
    char *origin; /* "default", "dunlin.yaml:12", "env DUNLIN_…", "--set" */
};

struct settings {
    struct setting *all; /* sorted by key, then entry */
    size_t count;
    bool out_of_memory; /* something could not be kept; all is void */
};

struct settings *settings_create(void);    /* empty; NULL when out of memory */
void settings_destroy(struct settings *s); /* NULL is fine */

/* Judges the text and, when it is good, keeps it; otherwise one line is added to *error. */
void settings_offer(struct settings *s, const struct schema_key *key, unsigned entry,
                    const char *text, enum settings_source source, const char *origin,
                    struct config_error *error);

/* Forgets all entries of a list ("listeners"). */
void settings_clear_list(struct settings *s, const char *list);

const struct setting *settings_find(const struct settings *s, const struct schema_key *key,
                                    unsigned entry); /* NULL: none */

/* The first of that list's entry, or of a later one; NULL: there is none. */
const struct setting *settings_any(const struct settings *s, const struct schema_key *key,
                                   unsigned entry);

/* Where the value of "limits.connections_max", "listeners.2.url" is from; there is one. */
const char *settings_origin(const struct settings *s, const char *path);

/* Of the key's list, whichever of its keys they have; 0 or 1 where it is in none. */
unsigned settings_entries(const struct settings *s, const struct schema_key *key);

enum settings_form {
    SETTINGS_FOR_LIBCYAML, /* plain values */
    SETTINGS_FOR_PEOPLE,   /* sizes with units, the origin as a comment */
};

/* All of them as YAML. */
void settings_write(const struct settings *s, enum settings_form form, FILE *out);
