/* SPDX-License-Identifier: Apache-2.0 */
#include "broker/config/comma_list.h"

#include <string.h>

bool comma_list_next(const char **at, struct bytes *word)
{
    if (*at == NULL || **at == '\0') {
        return false;
    }
    const char *from = *at;
    const char *end = strchrnul(from, ',');
    *at = *end == ',' ? end + 1 : NULL;
    from += strspn(from, " ");
    while (end > from && end[-1] == ' ') {
        end--;
    }
    *word = bytes_of((const uint8_t *)from, end > from ? (size_t)(end - from) : 0);
    return true;
}

size_t comma_list_count(const char *text)
{
    size_t count = 0;
    for (struct bytes word; comma_list_next(&text, &word);) {
        count++;
    }
    return count;
}

bool comma_list_at(const char *text, size_t n, char *out, size_t size)
{
    for (struct bytes word; comma_list_next(&text, &word); n--) {
        if (n == 0) {
            if (word.len >= size) {
                return false;
            }
            memcpy(out, word.at, word.len);
            out[word.len] = '\0';
            return true;
        }
    }
    return false;
}
