/* SPDX-License-Identifier: Apache-2.0 */
#include "broker/auth/password_base64.h"

#include <stdlib.h>

#include <criterion/criterion.h>

/* RFC 4648, section 10. */
static const struct {
    const char *bytes, *padded, *bare;
} rows[] = {
    {"", "", ""},
    {"f", "Zg==", "Zg"},
    {"fo", "Zm8=", "Zm8"},
    {"foo", "Zm9v", "Zm9v"},
    {"foob", "Zm9vYg==", "Zm9vYg"},
    {"fooba", "Zm9vYmE=", "Zm9vYmE"},
    {"foobar", "Zm9vYmFy", "Zm9vYmFy"},
    {"\xfb\xef\xff", "++//", "++//"},
};

static void both_ways(struct bytes in, const char *text, enum password_base64 form)
{
    char written[64];
    uint8_t read[64];
    size_t len = 99;
    cr_expect_eq(password_base64_encode(written, in, form), strlen(text));
    cr_expect_str_eq(written, text);
    cr_expect(password_base64_decode(read, in.len, &len, bytes_text(text), form), "%s", text);
    cr_expect(bytes_equal(bytes_of(read, len), in), "%s", text);
}

Test(password_base64, vectors)
{
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        both_ways(bytes_text(rows[i].bytes), rows[i].padded, PASSWORD_BASE64_PADDED);
        both_ways(bytes_text(rows[i].bytes), rows[i].bare, PASSWORD_BASE64_BARE);
    }
}

/* Of all texts of four characters that are not far from right, those are taken that are written
 * again as they were. */
Test(password_base64, there_is_one_way_to_write_bytes)
{
    static const char some[] = "AEQg9+/=-_ \n\x80";
    const size_t n = sizeof some; /* with the NUL */
    unsigned taken = 0;
    for (size_t i = 0; i < n * n * n * n; i++) {
        const char text[4] = {some[i % n], some[i / n % n], some[i / n / n % n],
                              some[i / n / n / n]};
        for (size_t text_len = 0; text_len <= 4; text_len++) {
            for (int form = PASSWORD_BASE64_PADDED; form <= PASSWORD_BASE64_BARE; form++) {
                uint8_t bytes[3];
                char again[8];
                size_t len;
                if (password_base64_decode(bytes, sizeof bytes, &len, bytes_of(text, text_len),
                                           (enum password_base64)form)) {
                    taken++;
                    cr_assert_eq(password_base64_encode(again, bytes_of(bytes, len),
                                                        (enum password_base64)form),
                                 text_len);
                    cr_assert_eq(memcmp(again, text, text_len), 0, "%.*s", (int)text_len, text);
                }
            }
        }
    }
    cr_expect_gt(taken, 2u * 7 * 7 * 7 * 7, "each of four letters, in either form, and others");
}

/* The output is a block of just its size, so that a byte too many is seen. */
Test(password_base64, more_than_there_is_room_for)
{
    size_t len = 77;
    for (size_t room = 0; room < 6; room++) {
        uint8_t *const out = malloc(room);
        cr_expect_not(password_base64_decode(out, room, &len, bytes_text("Zm9vYmFy"),
                                             PASSWORD_BASE64_PADDED));
        free(out);
    }
    cr_expect_eq(len, 77);
}
