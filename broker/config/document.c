/* SPDX-License-Identifier: Apache-2.0 */
#include "broker/config/document.h"

#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <yaml.h>

#define ORIGIN_BYTES 512u

/* Where in the tree the reader is; one for each mapping that it is inside of. */
struct place {
    char path[SCHEMA_PATH_BYTES];  /* "limits", "listeners.*": as schema_node_of() wants it */
    char shown[SCHEMA_PATH_BYTES]; /* "listeners.0": as the operator knows it */
    unsigned entry;                /* of the list that it is in, else 0 */
};

struct reader {
    yaml_parser_t parser;
    yaml_event_t event; /* the current one */
    bool failed;        /* no more events: a mistake in the YAML itself; told */
    struct settings *settings;
    const char *name;
    const char *text;
    size_t len;
    struct config_error *error;
};

static unsigned line(const struct reader *r)
{
    return (unsigned)r->event.start_mark.line + 1;
}

/* A mark is not set when the bytes themselves are wrong. */
static unsigned failed_line(const struct reader *r)
{
    if (r->parser.error != YAML_READER_ERROR) {
        return (unsigned)r->parser.problem_mark.line + 1;
    }
    unsigned lines = 1;
    for (size_t i = 0; i < r->len && i < r->parser.problem_offset; i++) {
        lines += r->text[i] == '\n';
    }
    return lines;
}

static void next(struct reader *r)
{
    yaml_event_delete(&r->event);
    memset(&r->event, 0, sizeof r->event);
    if (r->failed || yaml_parser_parse(&r->parser, &r->event)) {
        return;
    }
    r->failed = true;
    memset(&r->event, 0, sizeof r->event);
    if (r->parser.error == YAML_MEMORY_ERROR) {
        r->settings->out_of_memory = true;
        return;
    }
    const char *const problem = r->parser.problem != NULL ? r->parser.problem : "unreadable";
    const bool tab = strstr(problem, "cannot start any token") != NULL;
    config_error_add(r->error, "%s:%u: this is not YAML: %s%s", r->name, failed_line(r), problem,
                     tab ? " (indent with spaces, not with tabs)" : "");
}

static bool is_scalar(const struct reader *r)
{
    return r->event.type == YAML_SCALAR_EVENT;
}

static const char *scalar(const struct reader *r)
{
    return (const char *)r->event.data.scalar.value;
}

static bool has_nul(const struct reader *r)
{
    return strlen(scalar(r)) != r->event.data.scalar.length;
}

/* Nothing was written: "limits:" with all of its keys commented out. */
static bool is_null(const struct reader *r)
{
    static const char *const nulls[] = {"", "~", "null", "Null", "NULL"};
    if (!is_scalar(r) || r->event.data.scalar.style != YAML_PLAIN_SCALAR_STYLE) {
        return false;
    }
    for (size_t i = 0; i < sizeof nulls / sizeof nulls[0]; i++) {
        if (strcmp(scalar(r), nulls[i]) == 0) {
            return true;
        }
    }
    return false;
}

/* From the first event of a node to its last. */
static void skip(struct reader *r)
{
    unsigned depth = 0;
    while (!r->failed) {
        const yaml_event_type_t type = r->event.type;
        depth += type == YAML_MAPPING_START_EVENT || type == YAML_SEQUENCE_START_EVENT;
        depth -= type == YAML_MAPPING_END_EVENT || type == YAML_SEQUENCE_END_EVENT;
        if (depth == 0) {
            return;
        }
        next(r);
    }
}

/* A mistake at the current node, which is then skipped. */
static void refuse_node(struct reader *r, const char *path, const char *right)
{
    if (r->failed) {
        return;
    }
    config_error_add(r->error, "%s:%u: %s: %s%s", r->name, line(r), path,
                     r->event.type == YAML_ALIAS_EVENT ? "aliases are not supported; " : "", right);
    skip(r);
}

static void read_value(struct reader *r, const struct place *at)
{
    char origin[ORIGIN_BYTES];
    unsigned entry;
    const struct schema_key *const key = schema_find(at->shown, strlen(at->shown), &entry);
    if (key == NULL || !is_scalar(r)) {
        refuse_node(r, at->shown, "one value belongs here, not a list or a mapping");
    } else if (is_null(r)) {
        refuse_node(r, at->shown, "the value is missing; remove the key for its default");
    } else if (has_nul(r)) {
        refuse_node(r, at->shown, "the value has a NUL in it");
    } else {
        snprintf(origin, sizeof origin, "%s:%u", r->name, line(r));
        settings_offer(r->settings, key, at->entry, scalar(r), SETTINGS_FILE, origin, r->error);
    }
}

static void read_mapping(struct reader *r, const struct place *at);

static void read_list(struct reader *r, const struct place *list)
{
    if (is_null(r)) {
        return;
    }
    if (r->event.type != YAML_SEQUENCE_START_EVENT) {
        refuse_node(r, list->shown, "a list belongs here: lines that begin with '- '");
        return;
    }
    settings_clear_list(r->settings, list->path);
    struct place at = {.entry = 0};
    snprintf(at.path, sizeof at.path, "%.100s.*", list->path);
    for (next(r); !r->failed && r->event.type != YAML_SEQUENCE_END_EVENT; next(r)) {
        snprintf(at.shown, sizeof at.shown, "%.100s.%u", list->shown, at.entry);
        read_mapping(r, &at);
        at.entry++;
    }
}

static void unknown_key(struct reader *r, const char *path, unsigned at_line)
{
    char meant[SCHEMA_PATH_BYTES];
    if (schema_suggest(path, strlen(path), meant)) {
        config_error_add(r->error, "%s:%u: %s: there is no such key; did you mean %s?", r->name,
                         at_line, path, meant);
    } else {
        config_error_add(r->error,
                         "%s:%u: %s: there is no such key; docs/configuration.md lists all",
                         r->name, at_line, path);
    }
}

/* The node after a key that leads to `at`. */
static void read_node(struct reader *r, const struct place *at, unsigned key_line)
{
    switch (schema_node_of(at->path)) {
    case SCHEMA_KEY:
        read_value(r, at);
        break;
    case SCHEMA_GROUP:
        if (!is_null(r)) {
            read_mapping(r, at);
        }
        break;
    case SCHEMA_LIST:
        read_list(r, at);
        break;
    case SCHEMA_UNKNOWN:
        unknown_key(r, at->shown, key_line);
        skip(r);
        break;
    }
}

/* The lines on which this mapping's keys stood, to tell a second one. Only known keys count, which
 * bounds them. */
#define MAPPING_KEYS_MAX 64u

struct seen {
    char names[MAPPING_KEYS_MAX][SCHEMA_PATH_BYTES];
    unsigned lines[MAPPING_KEYS_MAX];
    unsigned count;
};

/* Line of the first of that name, 0: this is the first. */
static unsigned seen_before(struct seen *seen, const struct place *at, unsigned key_line)
{
    for (unsigned i = 0; i < seen->count; i++) {
        if (strcmp(seen->names[i], at->path) == 0) {
            return seen->lines[i];
        }
    }
    if (schema_node_of(at->path) != SCHEMA_UNKNOWN && seen->count < MAPPING_KEYS_MAX) {
        strcpy(seen->names[seen->count], at->path);
        seen->lines[seen->count++] = key_line;
    }
    return 0;
}

/* The place that the key, the current event, leads to; false: no key is that long. */
static bool enter(const struct reader *r, const struct place *in, struct place *at)
{
    const char *const dot = in->path[0] == '\0' ? "" : ".";
    const char *const key = scalar(r);
    at->entry = in->entry;
    const int len = snprintf(at->path, sizeof at->path, "%s%s%s", in->path, dot, key);
    const int shown_len = snprintf(at->shown, sizeof at->shown, "%s%s%s", in->shown, dot, key);
    return len < (int)sizeof at->path && shown_len < (int)sizeof at->shown && !has_nul(r) &&
           strpbrk(key, ".*") == NULL && key[0] != '\0';
}

static void read_pair(struct reader *r, const struct place *in, struct seen *seen)
{
    struct place at;
    const unsigned key_line = line(r);
    if (!is_scalar(r)) {
        refuse_node(r, in->shown[0] == '\0' ? "the document" : in->shown,
                    "a key has to be a plain name");
        next(r);
        skip(r);
        return;
    }
    if (!enter(r, in, &at)) {
        const char *const hint = strchr(scalar(r), '.') != NULL
                                     ? "; in a file each part of a path has a line of its own"
                                     : "";
        config_error_add(r->error, "%s:%u: '%.64s': there is no such key%s", r->name, key_line,
                         scalar(r), hint);
        next(r);
        skip(r);
        return;
    }
    const unsigned first_line = seen_before(seen, &at, key_line);
    next(r);
    if (first_line != 0) {
        config_error_add(r->error, "%s:%u: %s: given twice, first on line %u; remove one", r->name,
                         key_line, at.shown, first_line);
        skip(r);
        return;
    }
    read_node(r, &at, key_line);
}

/* `at` has the depth of a known group, so this goes no deeper than the table's paths. */
static void read_mapping(struct reader *r, const struct place *at)
{
    if (r->event.type != YAML_MAPPING_START_EVENT) {
        refuse_node(r, at->shown[0] == '\0' ? "the document" : at->shown,
                    "a mapping belongs here: lines of 'key: value'");
        return;
    }
    struct seen *const seen = calloc(1, sizeof *seen);
    if (seen == NULL) {
        r->settings->out_of_memory = true;
        skip(r);
        return;
    }
    for (next(r); !r->failed && r->event.type != YAML_MAPPING_END_EVENT; next(r)) {
        read_pair(r, at, seen);
    }
    free(seen);
}

/* An empty file, or one of comments only, has no document at all. */
static void read_stream(struct reader *r)
{
    const struct place top = {.path = ""};
    next(r); /* the stream's start */
    next(r);
    if (r->event.type == YAML_DOCUMENT_START_EVENT) {
        next(r);
        if (!is_null(r)) {
            read_mapping(r, &top);
        }
        next(r); /* the document's end */
        next(r);
    }
    if (!r->failed && r->event.type != YAML_STREAM_END_EVENT) {
        config_error_add(r->error, "%s:%u: a second document begins here; there can be only one",
                         r->name, line(r));
    }
}

void document_read(struct settings *s, const char *name, const char *text, size_t len,
                   struct config_error *error)
{
    struct reader r = {.settings = s, .name = name, .text = text, .len = len, .error = error};
    if (!yaml_parser_initialize(&r.parser)) {
        s->out_of_memory = true;
        return;
    }
    yaml_parser_set_encoding(&r.parser, YAML_UTF8_ENCODING);
    yaml_parser_set_input_string(&r.parser, (const unsigned char *)text, len);
    read_stream(&r);
    yaml_event_delete(&r.event);
    yaml_parser_delete(&r.parser);
}
