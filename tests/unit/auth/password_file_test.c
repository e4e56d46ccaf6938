/* SPDX-License-Identifier: Apache-2.0 */
#include "broker/auth/password_file.h"

#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

#include "tests/unit/route/fault.h"

#define SEED 4711u

/* Cheap ones: of the password "" and, for SCRAM, "pencil". */
#define SCRYPT "$scrypt$ln=4,r=1,p=1$MTIzNDU2Nzg$eXUbzuXSKrYboQ3lHPzQqg"
#define SEVEN                                                                                      \
    "$7$1$MQ==$tab7DX9XclD3xUgv6ua7pk278xciJPXmyltQBSf9o27rX4k/r6pleX8laJfIMWDEYCcPbL6e1+"         \
    "cJqCVj0l61Bw=="
#define SCRAM                                                                                      \
    "SCRAM-SHA-256$4096:W22ZaJ0SNY7soEsUEjb6gQ==$WG5d8oPm3OtcPnkdi4Uo7BkeZkBFzpcXkuLmtbsT4qY=:"    \
    "wfPLwcE6nTWhTAmQ7tl2KeoiWGPlZqQxSrmfPwDl2dU="

static struct password_file *parsed(struct bytes text)
{
    struct password_file *f = NULL;
    struct config_error error = {0};
    cr_assert_eq(password_file_parse(&f, "passwords", text, SEED, &error), PASSWORD_FILE_OK, "%s",
                 error.text);
    cr_expect_eq(error.count, 0);
    return f;
}

static enum password_err verify(const struct password_file *f, const char *user,
                                const char *password)
{
    return password_file_verify(f, bytes_text(user), bytes_text(password));
}

Test(password_file, users_and_their_passwords)
{
    struct password_file *const f = parsed(bytes_text("# ours\n"
                                                      "alice:" SCRYPT "\n"
                                                      "\n"
                                                      "  # and theirs: not a user\n"
                                                      "bob miller:" SEVEN "\r\n"
                                                      " \t Zoë \t : \t" SCRAM " \n"
                                                      "last:" SCRYPT));
    cr_expect_eq(password_file_count(f), 4);
    cr_expect_eq(verify(f, "alice", ""), PASSWORD_OK);
    cr_expect_eq(verify(f, "alice", "x"), PASSWORD_WRONG);
    cr_expect_eq(verify(f, "bob miller", ""), PASSWORD_OK);
    cr_expect_eq(verify(f, "bob", ""), PASSWORD_WRONG);
    cr_expect_eq(verify(f, "Zoë", "pencil"), PASSWORD_OK);
    cr_expect_eq(verify(f, "Zoë", "pencils"), PASSWORD_WRONG);
    cr_expect_eq(verify(f, "last", ""), PASSWORD_OK);
    static const char *const none[] = {"",       "Alice",  "alice ",         "alic",
                                       "alicea", "# ours", "  # and theirs", "nobody"};
    for (size_t i = 0; i < sizeof none / sizeof none[0]; i++) {
        cr_expect_null(password_file_find(f, bytes_text(none[i])), "%s", none[i]);
        cr_expect_eq(verify(f, none[i], ""), PASSWORD_WRONG, "%s", none[i]);
        cr_expect_eq(verify(f, none[i], "pencil"), PASSWORD_WRONG, "%s", none[i]);
    }
    password_file_destroy(f);
}

Test(password_file, scram_credential_is_handed_out)
{
    struct password_file *const f = parsed(bytes_text("u:" SCRAM "\nv:" SCRYPT "\n"));
    const struct password_hash *const h = password_file_find(f, bytes_text("u"));
    cr_assert_not_null(h);
    cr_expect_eq(h->form, PASSWORD_SCRAM_SHA256);
    cr_expect_eq(h->iterations, 4096);
    cr_expect_eq(h->salt_len, 16);
    cr_expect_eq(h->salt[0], 0x5b);
    cr_expect_eq(h->digest_len, PASSWORD_SCRAM_BYTES);
    cr_expect_eq(h->digest[0], 0x58);     /* StoredKey */
    cr_expect_eq(h->server_key[0], 0xc1); /* ServerKey */
    cr_expect_neq(password_file_find(f, bytes_text("v"))->form, PASSWORD_SCRAM_SHA256);
    password_file_destroy(f);
}

/* Nobody is let in by a file without users. */
Test(password_file, without_users)
{
    static const char *const texts[] = {"", "\n", "# nobody", "\xef\xbb\xbf", "\xef\xbb\xbf#\n\n"};
    for (size_t i = 0; i < sizeof texts / sizeof texts[0]; i++) {
        struct password_file *const f = parsed(bytes_text(texts[i]));
        cr_expect_eq(password_file_count(f), 0);
        cr_expect_eq(verify(f, "", ""), PASSWORD_WRONG);
        password_file_destroy(f);
    }
}

Test(password_file, mark_of_utf8_is_passed_over)
{
    struct password_file *const f = parsed(bytes_text("\xef\xbb\xbf"
                                                      "alice:" SCRYPT "\n"));
    cr_expect_not_null(password_file_find(f, bytes_text("alice")));
    password_file_destroy(f);
}

Test(password_file, many_users)
{
    enum { USERS = 5000 };
    char *text;
    size_t len;
    FILE *const out = open_memstream(&text, &len);
    for (unsigned i = 0; i < USERS; i++) {
        fprintf(out, "user-%u:%s\n", i * 7, i % 2 == 0 ? SCRYPT : SEVEN);
    }
    fclose(out);
    struct password_file *const f = parsed(bytes_of(text, len));
    free(text); /* nothing is borrowed from it */
    cr_expect_eq(password_file_count(f), USERS);
    for (unsigned i = 0; i < 7 * USERS; i++) {
        char user[32];
        snprintf(user, sizeof user, "user-%u", i);
        const struct password_hash *const h = password_file_find(f, bytes_text(user));
        cr_assert_eq(h != NULL, i % 7 == 0, "%s", user);
        if (h != NULL) {
            cr_assert_eq(h->form, i / 7 % 2 == 0 ? PASSWORD_SCRYPT : PASSWORD_PBKDF2_SHA512);
        }
    }
    password_file_destroy(f);
}

static double least_ms(const struct password_file *f, const char *user)
{
    double least = 1e9;
    for (unsigned i = 0; i < 5; i++) {
        struct timespec a, b;
        clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &a);
        cr_expect_eq(verify(f, user, "no"), PASSWORD_WRONG);
        clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &b);
        const double ms =
            (double)(b.tv_sec - a.tv_sec) * 1e3 + (double)(b.tv_nsec - a.tv_nsec) / 1e6;
        least = ms < least ? ms : least;
    }
    return least;
}

/* Whatever is in the file: ours would take ten times as long as these. */
Test(password_file, unknown_user_takes_the_time_of_a_wrong_password)
{
    struct password_file *const f = parsed(bytes_text("alice:" SCRAM "\nbob:" SCRAM "\n"));
    const double known = least_ms(f, "alice"), unknown = least_ms(f, "nobody");
    cr_expect(unknown > known / 3 && unknown < known * 3, "%g and %g ms", known, unknown);
    password_file_destroy(f);

    struct password_file *const empty = parsed(bytes_text(""));
    cr_expect_gt(least_ms(empty, "nobody"), known, "as ours takes");
    password_file_destroy(empty);
}

Test(password_file, from_disk)
{
    char path[] = "/tmp/dunlin-passwords-XXXXXX";
    const int fd = mkstemp(path);
    cr_assert_geq(fd, 0);
    cr_assert_gt(dprintf(fd, "alice:%s\n", SCRYPT), 0);
    struct password_file *f = NULL;
    struct config_error error = {0};
    cr_expect_eq(password_file_read(&f, path, SEED, &error), PASSWORD_FILE_OK);
    cr_expect_eq(verify(f, "alice", ""), PASSWORD_OK);
    password_file_destroy(f);

    cr_assert_gt(dprintf(fd, "bob\n"), 0);
    cr_expect_eq(password_file_read(&f, path, SEED, &error), PASSWORD_FILE_INVALID);
    cr_expect_not_null(strstr(error.text, path));
    cr_expect_not_null(strstr(error.text, ":2: there is no colon"));

    error = (struct config_error){0};
    cr_assert_eq(ftruncate(fd, PASSWORD_FILE_BYTES_MAX + 1), 0);
    cr_expect_eq(password_file_read(&f, path, SEED, &error), PASSWORD_FILE_INVALID);
    cr_expect_not_null(strstr(error.text, "it cannot be read: it has more than 32 MiB"));
    close(fd);
    cr_assert_eq(unlink(path), 0);

    error = (struct config_error){0};
    cr_expect_eq(password_file_read(&f, path, SEED, &error), PASSWORD_FILE_INVALID);
    cr_expect_not_null(strstr(error.text, "it cannot be read: No such file or directory"));
}

/* Each allocation failing once: nothing leaks, and no mistake is told. */
Test(password_file, without_memory)
{
    const struct bytes text = bytes_text("alice:" SCRYPT "\nbob:" SEVEN "\n");
    for (unsigned n = 0;; n++) {
        struct password_file *f = NULL;
        struct config_error error = {0};
        fault_at(n);
        const enum password_file_err err = password_file_parse(&f, "p", text, SEED, &error);
        const bool happened = fault_happened();
        fault_at(FAULT_NEVER);
        cr_expect_eq(err, happened ? PASSWORD_FILE_NO_MEMORY : PASSWORD_FILE_OK);
        cr_expect_eq(error.count, 0);
        if (!happened) {
            cr_expect_eq(n, 4, "the file and its three arrays");
            password_file_destroy(f);
            return;
        }
        cr_expect_null(f);
    }
}

Test(password_file, destroys_nothing)
{
    password_file_destroy(NULL);
}
