/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/unit/auth/acl_oracle.h"

#include <string.h>

#include "proto/topic.h"

const char *const oracle_levels[] = {"a", "b", "ab", "", "$a", "me", "ame", "aa", "a$a"};
const size_t oracle_level_count = sizeof oracle_levels / sizeof oracle_levels[0];

static const char *const places[] = {"${clientid}", "${username}", "${cn}"};

bool oracle_topic(size_t n, char *text)
{
    size_t of_length = oracle_level_count;
    for (unsigned levels = 1; levels <= ORACLE_LEVELS; levels++, of_length *= oracle_level_count) {
        if (n >= of_length) {
            n -= of_length;
            continue;
        }
        text[0] = '\0';
        for (unsigned i = 0; i < levels; i++, n /= oracle_level_count) {
            strcat(text, i > 0 ? "/" : "");
            strcat(text, oracle_levels[n % oracle_level_count]);
        }
        return true;
    }
    return false;
}

static bool is_plain(struct bytes value)
{
    return value.len > 0 && memchr(value.at, '+', value.len) == NULL &&
           memchr(value.at, '#', value.len) == NULL && memchr(value.at, '/', value.len) == NULL &&
           memchr(value.at, '\0', value.len) == NULL;
}

/* The place that the text begins with; 3: none. */
static size_t place_at(const char *text)
{
    size_t place = 0;
    while (place < 3 && strncmp(text, places[place], strlen(places[place])) != 0) {
        place++;
    }
    return place;
}

/* One level of a filter with its names put in, as far as the first that is missing; then "*". */
static bool fill(const char *level, size_t len, size_t dollar, const struct acl_names *names,
                 char *out)
{
    size_t used = 0;
    for (size_t at = 0; at < len;) {
        const size_t place = place_at(level + at);
        if (place == 3) {
            out[used++] = level[at++];
            continue;
        }
        const struct bytes value = names->value[place];
        if (!is_plain(value) || place == dollar) {
            strcpy(out + used, "*");
            return false;
        }
        memcpy(out + used, value.at, value.len);
        used += value.len;
        at += strlen(places[place]);
    }
    out[used] = '\0';
    return true;
}

/* Level by level into a filter of the protocol's, where a level may end in "*". false: the rule is
 * about nothing. */
static bool fill_all(const char *filter, bool allow, const struct acl_names *names, char *out)
{
    const size_t first = place_at(filter);
    const bool is_dollar =
        first < 3 && names->value[first].len > 0 && names->value[first].at[0] == '$';
    out[0] = '\0';
    bool more = true;
    for (const char *at = filter; more;) {
        const size_t len = strcspn(at, "/");
        char level[512];
        const bool whole = fill(at, len, is_dollar ? first : 3, names, level);
        if (!whole && allow) {
            return false;
        }
        strcat(out, level);
        more = at[len] != '\0';
        strcat(out, more ? "/" : "");
        at += len + more;
    }
    return true;
}

static void add(char *to, const char *text, size_t len)
{
    const size_t before = strlen(to);
    memcpy(to + before, text, len);
    to[before + len] = '\0';
}

/* "ab*" is any level that begins with "ab", also at the beginning one with $. */
static bool matches_filled(const char *filter, const char *topic)
{
    char same_filter[1024] = "";
    char same_topic[1024] = "";
    const char *f = filter, *t = topic;
    for (;;) {
        const size_t f_len = strcspn(f, "/"), t_len = strcspn(t, "/");
        const bool open = f_len > 0 && f[f_len - 1] == '*';
        const bool same = open && t_len >= f_len - 1 && strncmp(f, t, f_len - 1) == 0;
        add(same_filter, same ? "x" : f, same ? 1 : f_len);
        add(same_topic, same ? "x" : t, same ? 1 : t_len);
        f += f_len;
        t += t_len;
        if (*f == '\0' || *t == '\0') {
            strcat(same_filter, f);
            strcat(same_topic, t);
            break;
        }
        strcat(same_filter, "/");
        strcat(same_topic, "/");
        f++;
        t++;
    }
    return topic_matches(bytes_text(same_filter), bytes_text(same_topic));
}

bool oracle_matches(const char *filter, bool allow, const struct acl_names *names,
                    const char *topic)
{
    char filled[1024];
    return fill_all(filter, allow, names, filled) && matches_filled(filled, topic);
}
