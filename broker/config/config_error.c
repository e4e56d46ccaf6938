/* SPDX-License-Identifier: Apache-2.0 */
#include "broker/config/config_error.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#define LOST_BYTES 64u /* kept free for the last line */

/* What an operator wrote is repeated in messages; it shall not command a terminal. */
static void make_harmless(char *text)
{
    for (; *text != '\0'; text++) {
        if ((unsigned char)*text < 0x20 || *text == 0x7f) {
            *text = '?';
        }
    }
}

void config_error_add(struct config_error *e, const char *format, ...)
{
    char line[1024];
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(line, sizeof line, format, arguments);
    va_end(arguments);
    make_harmless(line);

    const size_t len = strlen(line);
    e->count++;
    if (e->lost == 0 && e->len + len + 1 + LOST_BYTES <= sizeof e->text) {
        memcpy(e->text + e->len, line, len);
        e->text[e->len + len] = '\n';
        e->len += len + 1;
        e->text[e->len] = '\0';
    } else {
        e->lost++;
        snprintf(e->text + e->len, LOST_BYTES, "and %u more\n", e->lost);
    }
}
