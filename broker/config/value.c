/* SPDX-License-Identifier: Apache-2.0 */
#include "broker/config/value.h"

#include <assert.h>
#include <ctype.h>
#include <inttypes.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "broker/config/listen_url.h"
#include "broker/config/resemblance.h"
#include "broker/log/rune.h"

#define SHOWN_BYTES 64 /* of a wrong value, in a message */

static const struct {
    const char *suffix;
    uint64_t bytes;
} units[] = {{"GiB", 1ull << 30}, {"MiB", 1ull << 20}, {"KiB", 1ull << 10}, {"", 1}};

typedef char *plain_fn(const struct schema_key *key, const char *text, char *problem);

static plain_fn plain_number, plain_size, plain_bool, plain_text, plain_url, plain_choice;

static plain_fn *const plain_fns[] = {
    [SCHEMA_UINT] = plain_number, [SCHEMA_SIZE] = plain_size, [SCHEMA_BOOL] = plain_bool,
    [SCHEMA_TEXT] = plain_text,   [SCHEMA_URL] = plain_url,   [SCHEMA_CHOICE] = plain_choice,
};

char *value_plain(const struct schema_key *key, const char *text, char problem[VALUE_PROBLEM_BYTES])
{
    problem[0] = '\0';
    return plain_fns[key->type](key, text, problem);
}

/* "'many' is not a whole number from 1 to 65535 (messages)" and the like. */
static char *refuse(const struct schema_key *key, const char *text, char *problem)
{
    char expected[256];
    value_expected(key, expected, sizeof expected);
    snprintf(problem, VALUE_PROBLEM_BYTES, "'%.*s' is not %s", SHOWN_BYTES, text, expected);
    return NULL;
}

/* Decimal digits, at least one; false also when it is more than 64 bits hold. */
static bool digits(const char **at, uint64_t *number)
{
    uint64_t sum = 0;
    const char *p = *at;
    for (; isdigit((unsigned char)*p); p++) {
        if (__builtin_mul_overflow(sum, 10u, &sum) ||
            __builtin_add_overflow(sum, (unsigned)(*p - '0'), &sum)) {
            return false;
        }
    }
    if (p == *at) {
        return false;
    }
    *at = p;
    *number = sum;
    return true;
}

static char *number_text(uint64_t number)
{
    char text[24];
    snprintf(text, sizeof text, "%" PRIu64, number);
    return strdup(text);
}

static char *plain_number(const struct schema_key *key, const char *text, char *problem)
{
    uint64_t number;
    const char *at = text;
    if (!digits(&at, &number) || *at != '\0' || number < key->min || number > key->max) {
        return refuse(key, text, problem);
    }
    return number_text(number);
}

static char *plain_size(const struct schema_key *key, const char *text, char *problem)
{
    uint64_t number;
    const char *at = text;
    if (!digits(&at, &number)) {
        return refuse(key, text, problem);
    }
    while (*at == ' ') {
        at++;
    }
    for (size_t i = 0; i < sizeof units / sizeof units[0]; i++) {
        if (strcmp(at, units[i].suffix) == 0) {
            if (__builtin_mul_overflow(number, units[i].bytes, &number) || number < key->min ||
                number > key->max) {
                break;
            }
            return number_text(number);
        }
    }
    return refuse(key, text, problem);
}

static char *plain_bool(const struct schema_key *key, const char *text, char *problem)
{
    if (strcmp(text, "true") != 0 && strcmp(text, "false") != 0) {
        return refuse(key, text, problem);
    }
    return strdup(text);
}

static char *plain_text(const struct schema_key *key, const char *text, char *problem)
{
    const size_t len = strlen(text);
    if (len > key->max) {
        snprintf(problem, VALUE_PROBLEM_BYTES,
                 "is %zu bytes long; at most %" PRIu64 " are possible", len, key->max);
        return NULL;
    }
    for (size_t at = 0; at < len;) {
        uint32_t rune;
        const size_t n = rune_decode((const uint8_t *)text + at, len - at, &rune);
        if (n == 0 || rune_is_unsafe(rune)) {
            snprintf(problem, VALUE_PROBLEM_BYTES,
                     "has %s at byte %zu; only text that can be seen is possible",
                     n == 0 ? "what is not UTF-8" : "a control character", at + 1);
            return NULL;
        }
        at += n;
    }
    return strdup(text);
}

static char *plain_url(const struct schema_key *key, const char *text, char *problem)
{
    struct listen_url url;
    const char *const wrong = listen_url_parse(&url, text);
    if (wrong != NULL) {
        snprintf(problem, VALUE_PROBLEM_BYTES, "'%.*s': %s", SHOWN_BYTES, text, wrong);
        return NULL;
    }
    return plain_text(key, text, problem);
}

static char *plain_choice(const struct schema_key *key, const char *text, char *problem)
{
    const char *best = NULL;
    unsigned best_distance = RESEMBLANCE_NONE;
    for (unsigned i = 0; i < key->choices_count; i++) {
        const char *const choice = key->choices[i].str;
        if (strcmp(choice, text) == 0) {
            return strdup(text);
        }
        const unsigned d = resemblance(text, strlen(text), choice, strlen(choice));
        if (d < best_distance) {
            best_distance = d;
            best = choice;
        }
    }
    refuse(key, text, problem);
    if (best != NULL) {
        const size_t len = strlen(problem);
        snprintf(problem + len, VALUE_PROBLEM_BYTES - len, "; did you mean %s?", best);
    }
    return NULL;
}

static void choices_expected(const struct schema_key *key, char *out, size_t out_bytes)
{
    size_t len = (size_t)snprintf(out, out_bytes, "one of ");
    for (unsigned i = 0; i < key->choices_count && len < out_bytes; i++) {
        len += (size_t)snprintf(out + len, out_bytes - len, "%s%s", i == 0 ? "" : ", ",
                                key->choices[i].str);
    }
}

static void size_expected(const struct schema_key *key, char *out, size_t out_bytes)
{
    char min[24], max[24];
    value_size_text(key->min, min);
    value_size_text(key->max, max);
    if (key->max == UINT64_MAX) {
        snprintf(out, out_bytes, "a size of %s or more (bytes, or with KiB, MiB, GiB)", min);
    } else {
        snprintf(out, out_bytes, "a size from %s to %s (bytes, or with KiB, MiB, GiB)", min, max);
    }
}

void value_expected(const struct schema_key *key, char *out, size_t out_bytes)
{
    switch (key->type) {
    case SCHEMA_UINT:
        snprintf(out, out_bytes, "a whole number from %" PRIu64 " to %" PRIu64 " (%s)", key->min,
                 key->max, key->unit);
        break;
    case SCHEMA_SIZE:
        size_expected(key, out, out_bytes);
        break;
    case SCHEMA_BOOL:
        snprintf(out, out_bytes, "true or false");
        break;
    case SCHEMA_TEXT:
        snprintf(out, out_bytes, "a text of at most %" PRIu64 " bytes", key->max);
        break;
    case SCHEMA_URL:
        snprintf(out, out_bytes, "a URL as in tcp://127.0.0.1:1883");
        break;
    case SCHEMA_CHOICE:
        choices_expected(key, out, out_bytes);
        break;
    }
}

void value_size_text(uint64_t bytes, char out[24])
{
    for (size_t i = 0; i < sizeof units / sizeof units[0]; i++) {
        if (bytes >= units[i].bytes && bytes % units[i].bytes == 0) {
            snprintf(out, 24, "%" PRIu64 "%s%s", bytes / units[i].bytes,
                     units[i].bytes > 1 ? " " : "", units[i].suffix);
            return;
        }
    }
    snprintf(out, 24, "0");
}
