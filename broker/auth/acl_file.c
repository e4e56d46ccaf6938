/* SPDX-License-Identifier: Apache-2.0 */
#include "broker/auth/acl_file.h"

#include <assert.h>
#include <errno.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <xxhash.h>

#include "broker/auth/accounts.h"
#include "broker/auth/acl_line.h"
#include "broker/auth/groups.h"
#include "broker/config/address_ranges.h"
#include "broker/config/file_text.h"
#include "broker/unix_socket.h"
#include "proto/utf8.h"

#define SHOWN_BYTES 64 /* of a word that is repeated in a message */
#define NONE        UINT32_MAX
#define FORM                                                                                       \
    "a rule is: allow or deny, whom it is about, publish, subscribe or all, limits, and filters"

/* Whom a rule is about; all of it has to be so. */
struct whom {
    struct bytes user, client; /* empty: any */
    uint32_t group;            /* of its members: an entry's index; or NONE */
    uint32_t uid, gid;         /* of who is at a Unix socket; NONE: any */
    bool local;                /* only of who is at one */
    bool anonymous;
    const struct address_ranges *addresses; /* borrowed; NULL: any */
};

struct file_rule {
    struct whom whom;
    uint32_t next; /* of the same chain; or NONE */
};

/* What rules, or memberships, are found by. */
enum kind {
    KIND_EVERYBODY,
    KIND_ANONYMOUS,
    KIND_USER,   /* rules of a user */
    KIND_CLIENT, /* rules of a client id */
    KIND_GROUP,  /* rules of a group */
    KIND_MEMBER, /* a user's groups */
    KIND_UID,    /* a user of the machine */
    KIND_GID,    /* a group of the machine */
};

struct entry {
    struct bytes name;
    uint32_t first, last; /* of a chain of rules, or of members */
    uint32_t id;          /* KIND_UID, KIND_GID; NONE: there is no such account */
    unsigned line;        /* where it stood first */
    uint8_t kind;
    bool defined; /* KIND_GROUP: there is a line with its users; KIND_UID, KIND_GID: id is set */
};

struct member {
    uint32_t group; /* an entry's index */
    uint32_t next;
};

struct acl_file {
    _Atomic uint32_t references;
    bool allows_rest;
    uint64_t seed;
    struct acl_rule *rules;
    struct file_rule *more; /* of each */
    uint32_t rule_count, rule_capacity;
    struct member *members;
    uint32_t member_count, member_capacity;
    struct entry *entries;
    uint32_t entry_count, entry_capacity;
    uint32_t *slots; /* by the entry's hash: its index and 1; 0: free */
    uint32_t slot_count;
    struct address_ranges **addresses; /* each on the heap */
    uint32_t address_count, address_capacity;
    uint8_t *text; /* names and filters, one after the other */
    size_t text_len, text_size;
};

struct reader {
    struct acl_file *file;
    const char *name;
    const struct accounts *accounts;
    unsigned line;
    unsigned default_line;
    bool no_memory;
    struct config_error *error;
};

/* ---- arrays */

/* Room for one more; false: no memory. */
static bool grow(void *array, uint32_t count, uint32_t *capacity, size_t size)
{
    void **const at = array;
    if (count < *capacity) {
        return true;
    }
    const uint32_t wanted = *capacity == 0 ? 16 : *capacity * 2;
    void *const more = realloc(*at, wanted * size);
    if (more == NULL) {
        return false;
    }
    *at = more;
    *capacity = wanted;
    return true;
}

/* ---- entries */

static uint64_t hash_of(const struct acl_file *f, enum kind kind, struct bytes name)
{
    return XXH3_64bits_withSeed(name.at, name.len, f->seed + kind);
}

/* Where the entry's slot is, or would be. */
static uint32_t slot_of(const struct acl_file *f, enum kind kind, struct bytes name)
{
    uint32_t slot = (uint32_t)hash_of(f, kind, name) & (f->slot_count - 1);
    while (f->slots[slot] != 0) {
        const struct entry *const e = &f->entries[f->slots[slot] - 1];
        if (e->kind == kind && bytes_equal(e->name, name)) {
            break;
        }
        slot = (slot + 1) & (f->slot_count - 1);
    }
    return slot;
}

static const struct entry *entry_find(const struct acl_file *f, enum kind kind, struct bytes name)
{
    if (f->slot_count == 0) {
        return NULL;
    }
    const uint32_t found = f->slots[slot_of(f, kind, name)];
    return found == 0 ? NULL : &f->entries[found - 1];
}

static bool grow_slots(struct acl_file *f)
{
    if (f->entry_count * 2 < f->slot_count) {
        return true;
    }
    const uint32_t count = f->slot_count == 0 ? 32 : f->slot_count * 2;
    uint32_t *const slots = calloc(count, sizeof *slots);
    if (slots == NULL) {
        return false;
    }
    free(f->slots);
    f->slots = slots;
    f->slot_count = count;
    for (uint32_t i = 0; i < f->entry_count; i++) {
        f->slots[slot_of(f, f->entries[i].kind, f->entries[i].name)] = i + 1;
    }
    return true;
}

/* Its index, made if need be; the name stays where it is. NONE: no memory. */
static uint32_t entry_get(struct reader *r, enum kind kind, struct bytes name)
{
    struct acl_file *const f = r->file;
    if (!grow_slots(f) ||
        !grow(&f->entries, f->entry_count, &f->entry_capacity, sizeof *f->entries)) {
        r->no_memory = true;
        return NONE;
    }
    const uint32_t slot = slot_of(f, kind, name);
    if (f->slots[slot] == 0) {
        f->entries[f->entry_count++] = (struct entry){
            .kind = (uint8_t)kind, .name = name, .first = NONE, .last = NONE, .line = r->line};
        f->slots[slot] = f->entry_count;
    }
    return f->slots[slot] - 1;
}

/* ---- mistakes */

/* For "%.*s"; not in the midst of a character. */
static int shown(struct bytes text)
{
    size_t len = text.len < SHOWN_BYTES ? text.len : SHOWN_BYTES;
    while (len < text.len && len > 0 && (text.at[len] & 0xc0) == 0x80) {
        len--;
    }
    return (int)len;
}

static bool wrong(struct reader *r, const char *what)
{
    config_error_add(r->error, "%s:%u: %s", r->name, r->line, what);
    return false;
}

static bool wrong_word(struct reader *r, struct bytes word, const char *what)
{
    config_error_add(r->error, "%s:%u: '%.*s': %s", r->name, r->line, shown(word),
                     (const char *)word.at, what);
    return false;
}

/* ---- words */

enum next { NEXT_WORD, NEXT_END, NEXT_WRONG };

/* Its text is kept with the file. */
static enum next next_word(struct reader *r, struct bytes *line, struct acl_word *word)
{
    struct acl_file *const f = r->file;
    assert(f->text_size - f->text_len >= line->len);

    switch (acl_word_next(line, word, f->text + f->text_len)) {
    case ACL_WORD_OK:
        f->text_len += word->text.len;
        return NEXT_WORD;
    case ACL_WORD_NONE:
        return NEXT_END;
    case ACL_WORD_UNQUOTED:
        wrong(r, "a \" is not closed");
        break;
    case ACL_WORD_ESCAPE:
        wrong(r, "behind a \\ in quotes has to be \" or \\");
        break;
    }
    return NEXT_WRONG;
}

static bool is_word(const struct acl_word *word, const char *text)
{
    return bytes_equal(word->text, bytes_text(text));
}

static bool is_key(const struct acl_word *word, const char *key)
{
    return word->key_len == strlen(key) && memcmp(word->text.at, key, word->key_len) == 0;
}

static struct bytes value_of(const struct acl_word *word)
{
    return bytes_of(word->text.at + word->key_len + 1, word->text.len - word->key_len - 1);
}

/* ---- whom */

static bool set_name(struct reader *r, struct bytes *name, const struct acl_word *word)
{
    if (name->len > 0) {
        return wrong_word(r, word->text, "stands twice; a rule about several is one of a group");
    }
    *name = value_of(word);
    return name->len > 0 || wrong_word(r, word->text, "names nobody");
}

static bool set_group(struct reader *r, struct whom *whom, const struct acl_word *word)
{
    struct bytes name = {.len = 0};
    if (whom->group != NONE) {
        return wrong_word(r, word->text, "stands twice");
    }
    if (!set_name(r, &name, word)) {
        return false;
    }
    whom->group = entry_get(r, KIND_GROUP, name);
    return whom->group != NONE;
}

static bool set_addresses(struct reader *r, struct whom *whom, const struct acl_word *word)
{
    struct acl_file *const f = r->file;
    const struct bytes value = value_of(word);
    if (whom->addresses != NULL) {
        return wrong_word(r, word->text, "stands twice; several are separated by commas");
    }
    if (value.len == 0) {
        return wrong_word(r, word->text, "names no address");
    }
    if (f->address_count == ACL_ADDRESS_LINES_MAX) {
        return wrong(r, "there are more than 10000 lines with addresses");
    }
    char *const text = strndup((const char *)value.at, value.len);
    struct address_ranges *const ranges = malloc(sizeof *ranges);
    if (text == NULL || ranges == NULL ||
        !grow(&f->addresses, f->address_count, &f->address_capacity, sizeof *f->addresses)) {
        free(text);
        free(ranges);
        r->no_memory = true;
        return false;
    }
    f->addresses[f->address_count++] = ranges;
    const char *const what = address_ranges_parse(ranges, text);
    free(text);
    whom->addresses = ranges;
    return what == NULL || wrong_word(r, word->text, what);
}

/* The id of that name; *id is NONE if there is none. false: no memory. */
static bool look_up(struct reader *r, enum kind kind, struct bytes name, uint32_t *id)
{
    char *const text = strndup((const char *)name.at, name.len);
    const uint32_t at = text == NULL ? NONE : entry_get(r, kind, name);
    if (at == NONE) {
        free(text);
        r->no_memory = true;
        return false;
    }
    struct entry *const e = &r->file->entries[at];
    if (!e->defined) {
        e->defined = true;
        if (!account_number(text, &e->id) &&
            !(kind == KIND_UID ? r->accounts->uid : r->accounts->gid)(text, &e->id)) {
            e->id = NONE;
        }
    }
    free(text);
    *id = e->id;
    return true;
}

static bool set_account(struct reader *r, struct whom *whom, enum kind kind,
                        const struct acl_word *word)
{
    uint32_t *const id = kind == KIND_UID ? &whom->uid : &whom->gid;
    struct bytes name = {.len = 0};
    if (*id != NONE) {
        return wrong_word(r, word->text, "stands twice; write a rule for each");
    }
    if (!set_name(r, &name, word) || !look_up(r, kind, name, id)) {
        return false;
    }
    whom->local = true;
    return *id != NONE ||
           wrong_word(r, word->text,
                      kind == KIND_UID
                          ? "this machine has no such user, or cannot look it up now"
                          : "this machine has no such group, or cannot look it up now");
}

static bool set_whom(struct reader *r, struct whom *whom, const struct acl_word *word)
{
    if (is_key(word, "user")) {
        return set_name(r, &whom->user, word);
    }
    if (is_key(word, "client")) {
        return set_name(r, &whom->client, word);
    }
    if (is_key(word, "group")) {
        return set_group(r, whom, word);
    }
    if (is_key(word, "address")) {
        return set_addresses(r, whom, word);
    }
    if (is_key(word, "uid")) {
        return set_account(r, whom, KIND_UID, word);
    }
    if (is_key(word, "gid")) {
        return set_account(r, whom, KIND_GID, word);
    }
    if (is_word(word, "unix")) {
        whom->local = true;
        return true;
    }
    if (is_word(word, "anonymous")) {
        whom->anonymous = true;
        return true;
    }
    return wrong_word(r, word->text, FORM);
}

static enum kind kind_of(const struct whom *whom, struct bytes *name)
{
    *name = bytes_of(NULL, 0);
    if (whom->user.len > 0) {
        *name = whom->user;
        return KIND_USER;
    }
    if (whom->client.len > 0) {
        *name = whom->client;
        return KIND_CLIENT;
    }
    return whom->anonymous ? KIND_ANONYMOUS : KIND_EVERYBODY;
}

/* ---- what */

static bool set_action(struct acl_rule *rule, const struct acl_word *word)
{
    rule->actions = is_word(word, "publish")     ? ACL_PUBLISH
                    : is_word(word, "subscribe") ? ACL_SUBSCRIBE
                    : is_word(word, "all")       ? ACL_PUBLISH | ACL_SUBSCRIBE
                                                 : 0;
    return rule->actions != 0;
}

static bool set_qos(struct reader *r, struct acl_rule *rule, const struct acl_word *word)
{
    const struct bytes value = value_of(word);
    rule->qos = 0;
    for (size_t i = 0; i < value.len; i++) {
        const bool is_comma = i % 2 == 1;
        if (is_comma ? value.at[i] != ',' : value.at[i] < '0' || value.at[i] > '2') {
            return wrong_word(r, word->text, "write qos=0, qos=0,1, and so on");
        }
        if (!is_comma) {
            rule->qos |= (uint8_t)(1u << (value.at[i] - '0'));
        }
    }
    return value.len % 2 == 1 || wrong_word(r, word->text, "write qos=0, qos=0,1, and so on");
}

static bool set_retain(struct reader *r, struct acl_rule *rule, const struct acl_word *word)
{
    const struct bytes value = value_of(word);
    if ((rule->actions & ACL_PUBLISH) == 0) {
        return wrong_word(r, word->text, "is about publishing; a subscription has no such flag");
    }
    const bool yes = bytes_equal(value, bytes_text("yes"));
    if (!yes && !bytes_equal(value, bytes_text("no"))) {
        return wrong_word(r, word->text, "write retain=yes, or retain=no");
    }
    rule->retain = yes ? ACL_RETAIN_YES : ACL_RETAIN_NO;
    return true;
}

/* Small letters and an equals sign, unquoted: what is meant to be a limit. */
static bool looks_like_key(const struct acl_word *word)
{
    for (size_t i = 0; i < word->key_len; i++) {
        if (word->text.at[i] < 'a' || word->text.at[i] > 'z') {
            return false;
        }
    }
    return word->key_len > 0;
}

/* ---- rules */

static void chain(struct reader *r, struct entry *e, uint32_t rule)
{
    struct acl_file *const f = r->file;
    *(e->last == NONE ? &e->first : &f->more[e->last].next) = rule;
    e->last = rule;
}

/* One rule more, with the filter that was read last. */
static bool add_rule(struct reader *r, const struct acl_rule *terms, const struct whom *whom,
                     struct bytes filter)
{
    struct acl_file *const f = r->file;
    if (f->rule_count == ACL_RULES_MAX) {
        return wrong(r, "there are more than 100000 filters in rules");
    }
    uint8_t compiled[ACL_FILTER_BYTES_MAX];
    uint16_t len;
    const char *const what = acl_filter_compile(filter, compiled, &len);
    if (what != NULL) {
        return wrong_word(r, filter, what);
    }
    uint8_t *const at = f->text + (filter.at - f->text); /* in its text's place: it is no longer */
    memcpy(at, compiled, len);
    struct bytes name;
    const enum kind kind = kind_of(whom, &name);
    const uint32_t entry = whom->group != NONE ? whom->group : entry_get(r, kind, name);
    uint32_t capacity = f->rule_capacity;
    if (entry == NONE || !grow(&f->rules, f->rule_count, &capacity, sizeof *f->rules) ||
        !grow(&f->more, f->rule_count, &f->rule_capacity, sizeof *f->more)) {
        r->no_memory = true;
        return false;
    }
    struct acl_rule *const rule = &f->rules[f->rule_count];
    *rule = *terms;
    acl_rule_set_filter(rule, at, len);
    f->more[f->rule_count] = (struct file_rule){.whom = *whom, .next = NONE};
    chain(r, &f->entries[entry], f->rule_count);
    f->rule_count++;
    return true;
}

/* Behind the action: limits, then filters. */
static void read_filters(struct reader *r, struct bytes line, struct acl_rule *rule,
                         const struct whom *whom)
{
    struct acl_word word;
    enum next next;
    bool any = false;
    while ((next = next_word(r, &line, &word)) == NEXT_WORD) {
        bool good;
        if (!any && is_key(&word, "qos")) {
            good = set_qos(r, rule, &word);
        } else if (!any && is_key(&word, "retain")) {
            good = set_retain(r, rule, &word);
        } else if (looks_like_key(&word)) {
            good = wrong_word(r, word.text,
                              "limits are qos= and retain=, before the filters; whom a rule is "
                              "about stands before the action; a filter is put in quotes");
        } else {
            any = true;
            good = add_rule(r, rule, whom, word.text);
        }
        if (!good) {
            return;
        }
    }
    if (next == NEXT_END && !any) {
        wrong(r, "there is no filter; " FORM);
    }
}

static void read_rule(struct reader *r, struct bytes line, bool allow)
{
    struct acl_rule rule = {.allow = allow, .qos = ACL_QOS_ALL, .retain = ACL_RETAIN_EITHER};
    struct whom whom = {.group = NONE, .uid = NONE, .gid = NONE};
    struct acl_word word;
    enum next next;
    while ((next = next_word(r, &line, &word)) == NEXT_WORD) {
        if (set_action(&rule, &word)) {
            break;
        }
        if (!set_whom(r, &whom, &word)) {
            return;
        }
    }
    if (next != NEXT_WORD) {
        if (next == NEXT_END) {
            wrong(r, "there is no action; " FORM);
        }
        return;
    }
    if (whom.anonymous && (whom.user.len > 0 || whom.group != NONE)) {
        wrong(r, "anonymous are those who are no user; a rule cannot be about both");
        return;
    }
    if (whom.local && whom.addresses != NULL) {
        wrong(r, "who comes by a Unix socket has no address; a rule cannot be about both");
        return;
    }
    read_filters(r, line, &rule, &whom);
}

/* ---- groups, and the default */

static bool add_member(struct reader *r, uint32_t group, struct bytes user)
{
    struct acl_file *const f = r->file;
    if (user.len == 0) {
        return wrong(r, "a user's name is empty");
    }
    if (f->member_count == ACL_MEMBERS_MAX) {
        return wrong(r, "there are more than 1000000 users in groups");
    }
    const uint32_t at = entry_get(r, KIND_MEMBER, user);
    if (at == NONE ||
        !grow(&f->members, f->member_count, &f->member_capacity, sizeof *f->members)) {
        r->no_memory = true;
        return false;
    }
    struct entry *const e = &f->entries[at];
    if (e->first != NONE && f->members[e->first].group == group) {
        return true; /* given twice; elsewhere that finds the same rules twice, which sort() mends
                      */
    }
    f->members[f->member_count] = (struct member){.group = group, .next = e->first};
    e->first = f->member_count++;
    return true;
}

static void read_group(struct reader *r, struct bytes line)
{
    struct acl_word word;
    const enum next next = next_word(r, &line, &word);
    if (next == NEXT_WRONG) {
        return;
    }
    if (next == NEXT_END || word.text.len == 0) {
        wrong(r, "the group has no name; write: group GROUP USER…");
        return;
    }
    const uint32_t group = entry_get(r, KIND_GROUP, word.text);
    if (group == NONE) {
        return;
    }
    r->file->entries[group].defined = true;
    while (next_word(r, &line, &word) == NEXT_WORD) {
        if (!add_member(r, group, word.text)) {
            return;
        }
    }
}

static void read_default(struct reader *r, struct bytes line)
{
    struct acl_word word, behind;
    const enum next next = next_word(r, &line, &word);
    if (next == NEXT_WRONG) {
        return;
    }
    const bool allow = next == NEXT_WORD && is_word(&word, "allow");
    if ((!allow && (next == NEXT_END || !is_word(&word, "deny"))) ||
        next_word(r, &line, &behind) != NEXT_END) {
        wrong(r, "write: default allow, or: default deny");
    } else if (r->default_line != 0) {
        config_error_add(r->error, "%s:%u: default: given twice, first on line %u; remove one",
                         r->name, r->line, r->default_line);
    } else {
        r->default_line = r->line;
        r->file->allows_rest = allow;
    }
}

/* ---- the file */

static void read_line(struct reader *r, struct bytes line)
{
    struct acl_word word;
    if (line.len > ACL_LINE_BYTES_MAX) {
        wrong(r, "the line is longer than 65536 bytes; several with the same beginning do as well");
    } else if (!utf8_valid(line)) {
        wrong(r, "the line is not UTF-8");
    } else if (next_word(r, &line, &word) != NEXT_WORD) {
        return;
    } else if (is_word(&word, "allow") || is_word(&word, "deny")) {
        read_rule(r, line, is_word(&word, "allow"));
    } else if (is_word(&word, "group")) {
        read_group(r, line);
    } else if (is_word(&word, "default")) {
        read_default(r, line);
    } else {
        wrong_word(r, word.text, "a line begins with allow, deny, group, default, or #");
    }
}

static void find_undefined(struct reader *r)
{
    for (uint32_t i = 0; i < r->file->entry_count; i++) {
        const struct entry *const e = &r->file->entries[i];
        if (e->kind == KIND_GROUP && !e->defined) {
            r->line = e->line;
            wrong_word(r, e->name,
                       "there is no such group; write: group GROUP USER…, or without users if "
                       "tokens name it");
        }
    }
}

static void destroy(struct acl_file *f)
{
    if (f == NULL) {
        return;
    }
    for (uint32_t i = 0; i < f->address_count; i++) {
        free(f->addresses[i]);
    }
    free(f->addresses);
    free(f->rules);
    free(f->more);
    free(f->members);
    free(f->entries);
    free(f->slots);
    free(f->text);
    free(f);
}

enum acl_file_err acl_file_parse(struct acl_file **out, const char *name, struct bytes text,
                                 uint64_t seed, const struct accounts *accounts,
                                 struct config_error *error)
{
    const unsigned mistakes = error->count;
    if (text.len > ACL_FILE_BYTES_MAX) {
        config_error_add(error, "%s: it has more than 16 MiB", name);
        return ACL_FILE_INVALID;
    }
    struct reader r = {
        .file = calloc(1, sizeof *r.file), .name = name, .accounts = accounts, .error = error};
    if (r.file == NULL) {
        return ACL_FILE_NO_MEMORY;
    }
    r.file->references = 1;
    r.file->seed = seed;
    r.file->text_size = text.len + 1;
    r.file->text = malloc(r.file->text_size);
    r.no_memory = r.file->text == NULL;

    struct acl_lines lines = acl_lines_of(text);
    struct bytes line;
    while (!r.no_memory && acl_lines_next(&lines, &line)) {
        r.line = lines.line;
        read_line(&r, line);
    }
    if (!r.no_memory) {
        find_undefined(&r);
    }
    if (r.no_memory || error->count > mistakes) {
        destroy(r.file);
        return r.no_memory ? ACL_FILE_NO_MEMORY : ACL_FILE_INVALID;
    }
    *out = r.file;
    return ACL_FILE_OK;
}

enum acl_file_err acl_file_read(struct acl_file **out, const char *path, uint64_t seed,
                                struct config_error *error)
{
    char *text;
    size_t len;
    const int err = file_text_read(path, ACL_FILE_BYTES_MAX, &text, &len);
    if (err == ENOMEM) {
        return ACL_FILE_NO_MEMORY;
    }
    if (err != 0) {
        config_error_add(error, "%s: it cannot be read: %s", path,
                         err == EFBIG ? "it has more than 16 MiB" : strerror(err));
        return ACL_FILE_INVALID;
    }
    const enum acl_file_err parsed =
        acl_file_parse(out, path, bytes_of(text, len), seed, &accounts_of_this_machine, error);
    free(text);
    return parsed;
}

struct acl_file *acl_file_take(struct acl_file *f)
{
    atomic_fetch_add_explicit(&f->references, 1, memory_order_relaxed);
    return f;
}

void acl_file_put(struct acl_file *f)
{
    if (f != NULL && atomic_fetch_sub_explicit(&f->references, 1, memory_order_acq_rel) == 1) {
        destroy(f);
    }
}

uint32_t acl_file_count(const struct acl_file *f)
{
    return f->rule_count;
}

const struct acl_rule *acl_file_rules(const struct acl_file *f)
{
    return f->rules;
}

bool acl_file_allows_rest(const struct acl_file *f)
{
    return f->allows_rest;
}

/* ---- which rules */

void acl_picked_fini(struct acl_picked *p)
{
    free(p->at);
    *p = (struct acl_picked){.count = 0};
}

/* One that is unknown may be any: a rule that allows is passed over, one that denies is about it.
 */
static bool is_id(uint32_t wanted, uint32_t id, bool allow)
{
    return wanted == NONE || (id == UNIX_ID_UNKNOWN ? !allow : wanted == id);
}

static bool is_at_socket(const struct whom *whom, const struct unix_peer *peer, bool allow)
{
    return !whom->local || (peer != NULL && is_id(whom->uid, peer->uid, allow) &&
                            is_id(whom->gid, peer->gid, allow));
}

static bool concerns(const struct whom *whom, const struct acl_who *who, bool allow)
{
    const struct bytes *const names = who->names.value;
    return (whom->user.len == 0 || bytes_equal(whom->user, names[ACL_USER_NAME])) &&
           (whom->client.len == 0 || bytes_equal(whom->client, names[ACL_CLIENT_ID])) &&
           (!whom->anonymous || who->anonymous) && is_at_socket(whom, who->peer, allow) &&
           (whom->addresses == NULL ||
            (who->address != NULL && address_ranges_have(whom->addresses, who->address)));
}

/* Those of a chain that concern the client; all are of the chain's group. */
static bool pick_chain(const struct acl_file *f, const struct entry *e, const struct acl_who *who,
                       struct acl_picked *out)
{
    for (uint32_t i = e == NULL ? NONE : e->first; i != NONE; i = f->more[i].next) {
        if (!concerns(&f->more[i].whom, who, f->rules[i].allow)) {
            continue;
        }
        if (!grow(&out->at, out->count, &out->capacity, sizeof *out->at)) {
            return false;
        }
        out->at[out->count++] = i;
    }
    return true;
}

static bool pick_of(const struct acl_file *f, enum kind kind, struct bytes name,
                    const struct acl_who *who, struct acl_picked *out)
{
    return pick_chain(f, entry_find(f, kind, name), who, out);
}

static bool pick_user(const struct acl_file *f, const struct acl_who *who, struct acl_picked *out)
{
    const struct bytes user = who->names.value[ACL_USER_NAME];
    const struct entry *const member = entry_find(f, KIND_MEMBER, user);
    for (uint32_t i = member == NULL ? NONE : member->first; i != NONE; i = f->members[i].next) {
        if (!pick_chain(f, &f->entries[f->members[i].group], who, out)) {
            return false;
        }
    }
    return pick_of(f, KIND_USER, user, who, out);
}

/* What it is in by its token: groups that the file has no rule about are nothing to it. */
static bool pick_groups(const struct acl_file *f, const struct acl_who *who, struct acl_picked *out)
{
    size_t at = 0;
    for (uint32_t i = 0; i < groups_count(who->groups); i++) {
        if (!pick_of(f, KIND_GROUP, groups_next(who->groups, &at), who, out)) {
            return false;
        }
    }
    return true;
}

static int by_number(const void *a, const void *b)
{
    const uint32_t x = *(const uint32_t *)a;
    const uint32_t y = *(const uint32_t *)b;
    return (x > y) - (x < y);
}

/* A group's rules are found twice if both the file and the token have the client in it. */
static void sort(struct acl_picked *picked)
{
    qsort(picked->at, picked->count, sizeof *picked->at, by_number);
    uint32_t kept = 1;
    for (uint32_t i = 1; i < picked->count; i++) {
        if (picked->at[i] != picked->at[kept - 1]) {
            picked->at[kept++] = picked->at[i];
        }
    }
    picked->count = kept;
}

bool acl_file_pick(const struct acl_file *f, const struct acl_who *who, struct acl_picked *out)
{
    out->count = 0;
    if (!pick_of(f, KIND_EVERYBODY, bytes_of(NULL, 0), who, out) ||
        !pick_of(f, KIND_CLIENT, who->names.value[ACL_CLIENT_ID], who, out) ||
        (who->anonymous ? !pick_of(f, KIND_ANONYMOUS, bytes_of(NULL, 0), who, out)
                        : !pick_user(f, who, out) || !pick_groups(f, who, out))) {
        return false;
    }
    if (out->count > 1) {
        sort(out);
    }
    return true;
}
