/* SPDX-License-Identifier: Apache-2.0 */
/* What an operator is told of a password file: each message whole, with its line. */
#include "broker/auth/password_file.h"

#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>

#define GOOD   "$scrypt$ln=4,r=1,p=1$MTIzNDU2Nzg$eXUbzuXSKrYboQ3lHPzQqg"
#define COLON  "there is no colon; a line is USER:HASH\n"
#define A_LINE "; a line is USER:HASH\n"
#define UNKNOWN                                                                                             \
    "it is no hash that is known, as $scrypt$…, $argon2id$…, $7$…, $6$… or SCRAM-SHA-256$… are; " \
    "make one with: dunlin passwd FILE USER\n"

static const struct {
    const char *text, *told;
} rows[] = {
    /* lines */
    {"alice", "p:1: " COLON},
    {"alice:" GOOD "\n\n# a\nsecret\n", "p:4: " COLON},
    {":" GOOD, "p:1: the user name is empty" A_LINE},
    {" \t :" GOOD, "p:1: the user name is empty" A_LINE},
    {"a\x01:" GOOD, "p:1: the user name has a control character in it" A_LINE},
    {"a\x7f:" GOOD, "p:1: the user name has a control character in it" A_LINE},
    {"\xff:" GOOD, "p:1: the user name is not UTF-8" A_LINE},
    /* hashes */
    {"alice:", "p:1: user 'alice': " UNKNOWN},
    {"alice:secret", "p:1: user 'alice': " UNKNOWN},
    {"alice:" GOOD ":" GOOD,
     "p:1: user 'alice': the hash is not as $scrypt$ln=14,r=8,p=1$SALT$HASH, with SALT and HASH in "
     "base64 without = and of at most 64 bytes\n"},
    {"alice:$scrypt$ln=20,r=8,p=1$MTIzNDU2Nzg$eXUbzuXSKrYboQ3lHPzQqg",
     "p:1: user 'alice': the hash asks for too much: ln is at most 16, r at most 8, p times the "
     "memory at most 256 MiB; ln=14,r=8,p=1 is ours\n"},
    {"alice:$scrypt$ln=4,r=1,p=1$MTIz$eXUbzuXSKrYboQ3lHPzQqg",
     "p:1: user 'alice': the salt of the hash has less than 8 bytes; make the hash anew\n"},
    {"alice:$argon2id$v=19$m=1048576,t=1,p=1$MTIzNDU2Nzg$eXUbzuXSKrYboQ3lHPzQqg",
     "p:1: user 'alice': the hash asks for too much, or too little: m is at most 65536 (64 MiB) "
     "and at least 8 times p, m times t at most 262144, p at most 16\n"},
    {"alice:$7$101$MQ==$MQ==",
     "p:1: user 'alice': the hash is not as $7$ITERATIONS$SALT$HASH, with SALT and HASH in base64, "
     "of 1 to 64 and of 64 bytes\n"},
    {"alice:SCRAM-SHA-256$1000:MQ==$WG5d8oPm3OtcPnkdi4Uo7BkeZkBFzpcXkuLmtbsT4qY=:"
     "wfPLwcE6nTWhTAmQ7tl2KeoiWGPlZqQxSrmfPwDl2dU=",
     "p:1: user 'alice': the credential has not 4096 to 1000000 iterations; make it anew\n"},
    /* twice; a name is shown up to 64 bytes, and not in the midst of a character */
    {"alice:" GOOD "\nbob:" GOOD "\n alice :" GOOD "\n",
     "p:3: user 'alice': given twice, first on line 1; remove one\n"},
    {"aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaéé:x",
     "p:1: user 'aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa': " UNKNOWN},
    /* several, and one hides no other */
    {"alice\nalice:" GOOD "\nbob:x\nalice:" GOOD "\nalice:" GOOD,
     "p:1: " COLON "p:3: user 'bob': " UNKNOWN
     "p:4: user 'alice': given twice, first on line 2; remove one\n"
     "p:5: user 'alice': given twice, first on line 2; remove one\n"},
};

static void refused(struct bytes text, const char *told)
{
    struct password_file *f = NULL;
    struct config_error error = {0};
    cr_expect_eq(password_file_parse(&f, "p", text, 0, &error), PASSWORD_FILE_INVALID, "%s", told);
    cr_expect_null(f);
    cr_expect_str_eq(error.text, told);
}

Test(password_mistakes, one_each)
{
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        refused(bytes_text(rows[i].text), rows[i].told);
    }
}

/* What stands where a hash belongs may be a password, and so may a line without a colon. */
Test(password_mistakes, no_secret_is_repeated)
{
    static const char *const texts[] = {"alice:hunter2", "hunter2", "alice:$7$hunter2",
                                        "alice:$scrypt$ln=hunter2", "alice:SCRAM-SHA-256$hunter2"};
    for (size_t i = 0; i < sizeof texts / sizeof texts[0]; i++) {
        struct password_file *f;
        struct config_error error = {0};
        cr_expect_eq(password_file_parse(&f, "p", bytes_text(texts[i]), 0, &error),
                     PASSWORD_FILE_INVALID);
        cr_expect_null(strstr(error.text, "hunter2"), "%s", error.text);
    }
}

static char *repeated(char c, size_t n, const char *end)
{
    char *const text = malloc(n + strlen(end) + 1);
    memset(text, c, n);
    strcpy(text + n, end);
    return text;
}

Test(password_mistakes, names_and_lines_at_their_bounds)
{
    struct password_file *f;
    struct config_error error = {0};
    char *name = repeated('n', PASSWORD_NAME_BYTES_MAX, ":" GOOD);
    cr_expect_eq(password_file_parse(&f, "p", bytes_text(name), 0, &error), PASSWORD_FILE_OK, "%s",
                 error.text);
    password_file_destroy(f);
    free(name);
    name = repeated('n', PASSWORD_NAME_BYTES_MAX + 1, ":" GOOD);
    refused(bytes_text(name), "p:1: the user name is longer than 256 bytes" A_LINE);
    free(name);

    /* Blanks count for the line, and a comment is as long as it likes. */
    const size_t blanks = PASSWORD_LINE_BYTES_MAX - strlen("a:" GOOD);
    char *line = repeated(' ', blanks, "a:" GOOD "\r\n");
    cr_expect_eq(password_file_parse(&f, "p", bytes_text(line), 0, &error), PASSWORD_FILE_OK, "%s",
                 error.text);
    password_file_destroy(f);
    free(line);
    line = repeated(' ', blanks + 1, "a:" GOOD "\n");
    refused(bytes_text(line), "p:1: the line is longer than 1024 bytes" A_LINE);
    free(line);
    line = repeated('#', 5000, "\nsecret");
    refused(bytes_text(line), "p:2: " COLON);
    free(line);
}

Test(password_mistakes, users_and_bytes_at_their_bounds)
{
    char *text = NULL;
    size_t len;
    FILE *const out = open_memstream(&text, &len);
    for (unsigned i = 0; i <= PASSWORD_USERS_MAX; i++) {
        fprintf(out, "%06u:%s\n", i, GOOD);
    }
    fclose(out);
    refused(bytes_of(text, len), "p: it has more than 100000 users\n");

    struct password_file *f;
    struct config_error error = {0};
    const size_t one = strlen("000000:" GOOD "\n");
    cr_expect_eq(password_file_parse(&f, "p", bytes_of(text, len - one), 0, &error),
                 PASSWORD_FILE_OK);
    cr_expect_eq(password_file_count(f), PASSWORD_USERS_MAX);
    password_file_destroy(f);
    free(text);

    text = repeated('#', PASSWORD_FILE_BYTES_MAX, "#");
    refused(bytes_text(text), "p: it has more than 33554432 bytes\n");
    cr_expect_eq(password_file_parse(&f, "p", bytes_of(text, PASSWORD_FILE_BYTES_MAX), 0, &error),
                 PASSWORD_FILE_OK);
    password_file_destroy(f);
    free(text);
}

/* However many there are, the text has an end. */
Test(password_mistakes, very_many)
{
    struct password_file *f;
    struct config_error error = {0};
    char *const text = repeated('\n', 5000, "");
    for (size_t i = 0; i < 5000; i += 2) {
        text[i] = 'x';
    }
    cr_expect_eq(password_file_parse(&f, "p", bytes_text(text), 0, &error), PASSWORD_FILE_INVALID);
    cr_expect_eq(error.count, 2500);
    cr_expect_lt(strlen(error.text), CONFIG_ERROR_BYTES);
    free(text);
}

Test(password_mistakes, names_that_cannot_be)
{
    static const struct {
        const char *name;
        bool good;
    } names[] = {
        {"alice", true},
        {"bob miller", true},
        {"Zoë", true},
        {"a#b", true},
        {"-a", true},
        {"", false},
        {" a", false},
        {"a ", false},
        {"a:b", false},
        {"#a", false},
        {"a\tb", false},
        {"\ta", false},
        {"a\nb", false},
        {"\xc3", false},
        {"\xef\xbb\xbf"
         "a",
         false},
    };
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++) {
        cr_expect_eq(password_name_problem(bytes_text(names[i].name)) == NULL, names[i].good, "%s",
                     names[i].name);
    }
}
