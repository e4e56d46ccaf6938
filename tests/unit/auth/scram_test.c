/* SPDX-License-Identifier: Apache-2.0 */
/* SCRAM's server against a client of another hand; strangers; whatever is not as it should be. */
#include <criterion/criterion.h>
#include <stdio.h>
#include <string.h>

#include "broker/auth/scram.h"
#include "tests/unit/auth/scram_client.h"

/* The user of RFC 7677, with the password "pencil"; made here by its rules. */
#define RFC7677_SALT "W22ZaJ0SNY7soEsUEjb6gQ=="

static struct password_file *file_of(const char *text)
{
    struct password_file *f = NULL;
    struct config_error error = {0};
    cr_assert_eq(password_file_parse(&f, "test", bytes_text(text), 1, &error), PASSWORD_FILE_OK,
                 "%s", error.text);
    return f;
}

static const char *line_of(char text[PASSWORD_HASH_TEXT], const char *salt, uint32_t iterations,
                           const char *password)
{
    struct password_hash h;
    password_hash_init(&h, PASSWORD_SCRAM_SHA256, bytes_text(salt));
    h.iterations = iterations;
    cr_assert_eq(password_hash_make(&h, bytes_text(password)), PASSWORD_OK);
    password_hash_print(&h, text);
    return text;
}

struct house {
    struct scram_server *server;
    struct password_file *users;
};

/* alice by SCRAM, bob by something else. */
static struct house house_of(void)
{
    char line[PASSWORD_HASH_TEXT], text[1024];
    line_of(line, "sixteen bytes !!", 4096, "pencil");
    snprintf(text, sizeof text,
             "bob:$scrypt$ln=1,r=1,p=1$MTIzNDU2Nzg$eXUbzuXSKrYboQ3lHPzQqg\nalice:%s\n", line);
    struct house h = {.server = scram_server_create(), .users = file_of(text)};
    cr_assert_not_null(h.server);
    return h;
}

static void leave(struct house *h)
{
    scram_server_destroy(h->server);
    password_file_destroy(h->users);
}

struct talk {
    struct scram *x;
    struct scram_client client;
    uint8_t answer[SCRAM_ANSWER_BYTES_MAX];
    size_t len;
    enum scram_result result;
};

static enum scram_result say(struct talk *t, const struct house *h, struct bytes message)
{
    t->len = 99999;
    t->result = scram_step(t->x, h->users, message, t->answer, &t->len);
    return t->result;
}

static struct bytes answer_of(const struct talk *t)
{
    return bytes_of(t->answer, t->len);
}

static struct talk begin(const struct house *h, const char *user)
{
    char first[SCRAM_CLIENT_TEXT];
    struct talk t = {.x = scram_begin(h->server)};
    cr_assert_not_null(t.x);
    cr_assert_eq(say(&t, h, scram_client_first(&t.client, user, first)), SCRAM_GO_ON);
    return t;
}

static enum scram_result login(const struct house *h, const char *user, const char *password)
{
    struct talk t = begin(h, user);
    const enum scram_result result =
        say(&t, h, scram_client_final(&t.client, password, answer_of(&t)));
    if (result == SCRAM_RIGHT) {
        cr_expect(bytes_equal(answer_of(&t), bytes_text(t.client.server_final)));
        cr_expect(bytes_equal(scram_user(t.x), bytes_text(user)));
        cr_expect_not_null(scram_line(t.x));
    }
    scram_end(t.x);
    return result;
}

Test(scram, right_password_and_no_other)
{
    struct house h = house_of();
    cr_expect_eq(login(&h, "alice", "pencil"), SCRAM_RIGHT);
    cr_expect_eq(login(&h, "alice", "pencils"), SCRAM_WRONG);
    cr_expect_eq(login(&h, "bob", "pencil"), SCRAM_WRONG);
    cr_expect_eq(login(&h, "mallory", "pencil"), SCRAM_WRONG);
    leave(&h);
}

/* The line that PostgreSQL and others would have for the example of RFC 7677. */
Test(scram, keys_of_the_rfc_are_ours)
{
    char text[512];
    snprintf(text, sizeof text,
             "user:SCRAM-SHA-256$4096:%s$WG5d8oPm3OtcPnkdi4Uo7BkeZkBFzpcXkuLmtbsT4qY=:"
             "wfPLwcE6nTWhTAmQ7tl2KeoiWGPlZqQxSrmfPwDl2dU=\n",
             RFC7677_SALT);
    struct house h = {.server = scram_server_create(), .users = file_of(text)};
    cr_expect_eq(login(&h, "user", "pencil"), SCRAM_RIGHT);
    leave(&h);
}

Test(scram, names_with_commas_and_equals_are_read_as_they_are_meant)
{
    char line[PASSWORD_HASH_TEXT], text[512];
    snprintf(text, sizeof text, "a,b=c:%s\n", line_of(line, "salt", 4096, "x"));
    struct house h = {.server = scram_server_create(), .users = file_of(text)};
    struct talk t = begin(&h, "a=2Cb=3Dc");
    cr_expect(bytes_equal(scram_user(t.x), bytes_text("a,b=c")));
    cr_expect_eq(say(&t, &h, scram_client_final(&t.client, "x", answer_of(&t))), SCRAM_RIGHT);
    scram_end(t.x);
    leave(&h);
}

/* "…,s=SALT,i=ITERATIONS" of what the server says first. */
static void salt_of(const struct house *h, const char *user, char text[256])
{
    struct talk t = begin(h, user);
    const uint8_t *const at = memmem(t.answer, t.len, ",s=", 3);
    cr_assert_not_null(at);
    snprintf(text, 256, "%.*s", (int)(t.answer + t.len - at), (const char *)at);
    cr_expect_null(strcmp(user, "alice") == 0 ? NULL : scram_line(t.x));
    scram_end(t.x);
}

Test(scram, strangers_get_a_salt_that_stays)
{
    struct house h = house_of();
    char alice[256], bob[256], mallory[256], again[256];
    salt_of(&h, "alice", alice);
    salt_of(&h, "bob", bob);
    salt_of(&h, "mallory", mallory);
    salt_of(&h, "mallory", again);
    cr_expect_str_eq(mallory, again);
    cr_expect_str_neq(mallory, bob);
    cr_expect_eq(strlen(mallory), strlen(alice));
    cr_expect_eq(strlen(bob), strlen(alice));
    cr_expect_not_null(strstr(mallory, ",i=4096"));

    password_file_destroy(h.users); /* another file, and lines like ours */
    h.users = file_of("");
    salt_of(&h, "mallory", again);
    cr_expect_eq(strncmp(mallory, again, 20), 0);
    cr_expect_not_null(strstr(again, ",i=15000"));

    scram_server_destroy(h.server); /* another process */
    h.server = scram_server_create();
    salt_of(&h, "mallory", again);
    cr_expect_neq(strncmp(mallory, again, 20), 0);
    leave(&h);
}

Test(scram, the_server_begins_once_if_it_has_to)
{
    struct house h = house_of();
    char first[SCRAM_CLIENT_TEXT];
    struct talk t = {.x = scram_begin(h.server)};
    cr_expect_eq(say(&t, &h, bytes_of(NULL, 0)), SCRAM_GO_ON);
    cr_expect_eq(t.len, 0);
    cr_expect_eq(scram_user(t.x).len, 0);
    cr_expect_eq(say(&t, &h, scram_client_first(&t.client, "alice", first)), SCRAM_GO_ON);
    cr_expect_eq(say(&t, &h, scram_client_final(&t.client, "pencil", answer_of(&t))), SCRAM_RIGHT);
    scram_end(t.x);

    t.x = scram_begin(h.server);
    cr_expect_eq(say(&t, &h, bytes_of(NULL, 0)), SCRAM_GO_ON);
    cr_expect_eq(say(&t, &h, bytes_of(NULL, 0)), SCRAM_MALFORMED);
    scram_end(t.x);
    leave(&h);
}

Test(scram, what_is_no_first_message_is_refused)
{
    static const char *const bad[] = {
        "x",
        ",,",
        "n,,n=alice",
        "n,,r=nonce",
        "n,,n=,r=nonce",
        "n,a=bob,n=alice,r=nonce",        /* acts for another */
        "p=tls-unique,,n=alice,r=nonce",  /* binds a channel */
        "n,,m=extension,n=alice,r=nonce", /* demands what there is not */
        "n,,n=\xff,r=nonce",
    };
    struct house h = house_of();
    struct talk t;
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        t.x = scram_begin(h.server);
        cr_expect_eq(say(&t, &h, bytes_text(bad[i])), SCRAM_MALFORMED, "%s", bad[i]);
        scram_end(t.x);
    }
    t.x = scram_begin(h.server);
    cr_expect_eq(say(&t, &h, bytes_of("n,,n=alice\0,r=nonce", 19)), SCRAM_MALFORMED);
    scram_end(t.x);
    leave(&h);
}

Test(scram, an_address_of_oneself_is_no_other)
{
    struct house h = house_of();
    struct talk t = {.x = scram_begin(h.server)};
    cr_expect_eq(say(&t, &h, bytes_text("y,a=alice,n=alice,r=nonce")), SCRAM_GO_ON);
    scram_end(t.x);
    leave(&h);
}

Test(scram, messages_have_a_bound)
{
    struct house h = house_of();
    char text[SCRAM_MESSAGE_BYTES_MAX + 2];
    struct talk t;
    for (size_t len = SCRAM_MESSAGE_BYTES_MAX; len <= SCRAM_MESSAGE_BYTES_MAX + 1; len++) {
        memset(text, 'r', sizeof text);
        memcpy(text, "n,,n=alice,r=", 13);
        t.x = scram_begin(h.server);
        cr_expect_eq(say(&t, &h, bytes_of(text, len)),
                     len > SCRAM_MESSAGE_BYTES_MAX ? SCRAM_MALFORMED : SCRAM_GO_ON);
        cr_expect(len > SCRAM_MESSAGE_BYTES_MAX || t.len > SCRAM_MESSAGE_BYTES_MAX - 13);
        scram_end(t.x);
    }
    leave(&h);
}

Test(scram, what_is_no_last_message_is_refused)
{
    static const char *const bad[] = {"x", "c=biws,r=x", "c=,r=,p=", ""};
    struct house h = house_of();
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        struct talk t = begin(&h, "alice");
        cr_expect_eq(say(&t, &h, bytes_text(bad[i])), SCRAM_MALFORMED, "%s", bad[i]);
        scram_end(t.x);
    }
    struct talk t = begin(&h, "alice"); /* another header than at first */
    struct bytes last = scram_client_final(&t.client, "pencil", answer_of(&t));
    t.client.final[2] = 'e';
    t.client.final[3] = 'S';
    cr_expect_neq(say(&t, &h, last), SCRAM_RIGHT);
    scram_end(t.x);
    leave(&h);
}
