/* SPDX-License-Identifier: Apache-2.0 */
#include "broker/config/resemblance.h"

#include <stdbool.h>
#include <string.h>

static unsigned min(unsigned a, unsigned b)
{
    return a < b ? a : b;
}

/* Damerau and Levenshtein, the restricted form, in three rows. */
static unsigned distance(const char *a, size_t a_len, const char *b, size_t b_len)
{
    unsigned rows[3][RESEMBLANCE_BYTES_MAX + 1];
    for (unsigned j = 0; j <= b_len; j++) {
        rows[0][j] = j;
    }
    for (unsigned i = 1; i <= a_len; i++) {
        unsigned *const row = rows[i % 3];
        const unsigned *const above = rows[(i + 2) % 3], *const above2 = rows[(i + 1) % 3];
        row[0] = i;
        for (unsigned j = 1; j <= b_len; j++) {
            row[j] = min(min(above[j], row[j - 1]) + 1, above[j - 1] + (a[i - 1] != b[j - 1]));
            if (i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1]) {
                row[j] = min(row[j], above2[j - 2] + 1);
            }
        }
    }
    return rows[a_len % 3][b_len];
}

static size_t word_len(const char *at, const char *end)
{
    size_t len = 0;
    while (at + len < end && at[len] != '.' && at[len] != '_') {
        len++;
    }
    return len;
}

static unsigned count_word(const char *text, size_t text_len, const char *word, size_t len)
{
    unsigned count = 0;
    for (const char *at = text, *const end = text + text_len; at <= end;) {
        const size_t here = word_len(at, end);
        count += here == len && memcmp(at, word, len) == 0;
        at += here + 1;
    }
    return count;
}

static bool same_words(const char *a, size_t a_len, const char *b, size_t b_len)
{
    if (a_len != b_len) {
        return false;
    }
    for (const char *at = a, *const end = a + a_len; at <= end;) {
        const size_t len = word_len(at, end);
        if (count_word(a, a_len, at, len) != count_word(b, b_len, at, len)) {
            return false;
        }
        at += len + 1;
    }
    return true;
}

unsigned resemblance(const char *wrong, size_t wrong_len, const char *right, size_t right_len)
{
    if (wrong_len > RESEMBLANCE_BYTES_MAX || right_len > RESEMBLANCE_BYTES_MAX) {
        return RESEMBLANCE_NONE;
    }
    const unsigned d = distance(wrong, wrong_len, right, right_len);
    if (same_words(wrong, wrong_len, right, right_len)) {
        return min(d, 1);
    }
    return d <= right_len / 3 ? d : RESEMBLANCE_NONE;
}
