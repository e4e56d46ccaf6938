/* SPDX-License-Identifier: Apache-2.0 */
/* tls_pipe: two ends of a connection between nodes, joined by hand. */
#include "broker/transport/tls_pipe.h"

#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "broker/config/config.h"
#include "broker/config/config_error.h"
#include "broker/transport/tls_context.h"
#include "tests/fuzz/tls_vectors.h"

#define PIECES 16u

/* A name that is good as long as the process. */
static char *file_of(const char *text)
{
    const int fd = memfd_create("pem", MFD_CLOEXEC);
    char *name = NULL;
    cr_assert(fd >= 0);
    cr_assert_eq(write(fd, text, strlen(text)), (ssize_t)strlen(text));
    cr_assert_gt(asprintf(&name, "/proc/self/fd/%d", fd), 0);
    return name;
}

static struct tls_context *context(const char *certificate, const char *key, const char *ca)
{
    char *const none = (char *)(uintptr_t) "";
    const struct config_listener files = {.url = (char *)(uintptr_t) "cluster.tls",
                                          .certificate = file_of(certificate),
                                          .key = file_of(key),
                                          .client_certificate = CONFIG_CLIENT_REQUIRED,
                                          .client_ca = file_of(ca),
                                          .crl = none,
                                          .tls_min = CONFIG_TLS_1_3,
                                          .ciphers = none};
    struct config_error error = {.count = 0};
    struct tls_context *const c = tls_context_load_mutual(&files, TLS_PIPE_ALPN, &error);
    cr_assert_not_null(c, "%s", error.text);
    free(files.certificate);
    free(files.key);
    free(files.client_ca);
    return c;
}

struct end {
    struct tls_pipe *pipe;
    bool is_open, has_failed;
    uint8_t heard[3 * TLS_PIPE_BATCH];
    size_t heard_len;
};

static struct end caller, called;

static void open_end(struct end *e, struct tls_context *c, bool has_called)
{
    *e = (struct end){.pipe = tls_pipe_create(c, has_called)};
    cr_assert_not_null(e->pipe);
    tls_context_put(c); /* it has its own */
}

static void begin_with(const char *certificate, const char *key)
{
    open_end(&caller, context(certificate, key, authority_pem), true);
    open_end(&called, context(server_pem, server_key, authority_pem), false);
}

static void begin(void)
{
    begin_with(client_pem, client_key);
}

static void end(void)
{
    tls_pipe_destroy(caller.pipe);
    tls_pipe_destroy(called.pipe);
}

TestSuite(tls_pipe, .init = begin, .fini = end);

/* Takes bytes from the wire, as both users of it do. */
static void take(struct end *e, const uint8_t *data, size_t len)
{
    enum tls_result result = TLS_DONE;
    tls_pipe_feed(e->pipe, data, len);
    if (!e->is_open) {
        result = tls_pipe_handshake(e->pipe);
        e->is_open = result == TLS_DONE;
    }
    while (result == TLS_DONE) {
        size_t more = 0;
        result =
            tls_pipe_read(e->pipe, e->heard + e->heard_len, sizeof e->heard - e->heard_len, &more);
        e->heard_len += more;
    }
    e->has_failed = e->has_failed || result != TLS_WANTS_MORE;
}

/* What the one has to send goes to the other. */
static bool pass(struct end *from, struct end *to)
{
    struct iovec iov[PIECES];
    static uint8_t wire[2 * TLS_PIPE_BATCH];
    size_t bytes, len = 0;
    const unsigned n = tls_pipe_gather(from->pipe, iov, PIECES, &bytes);
    for (unsigned i = 0; i < n; i++) {
        cr_assert_leq(len + iov[i].iov_len, sizeof wire);
        memcpy(wire + len, iov[i].iov_base, iov[i].iov_len);
        len += iov[i].iov_len;
    }
    cr_assert_eq(len, bytes);
    tls_pipe_sent(from->pipe, bytes);
    if (len > 0 && !to->has_failed) {
        take(to, wire, len);
    }
    return len > 0;
}

static void settle(void)
{
    if (!caller.is_open && !caller.has_failed) {
        take(&caller, NULL, 0);
    }
    bool moved = true;
    for (unsigned i = 0; moved && i < 20; i++) {
        moved = pass(&caller, &called);
        moved = pass(&called, &caller) || moved;
    }
    cr_assert_not(moved);
}

/* Several runs become records; at most a batch at a time; both ways. */
Test(tls_pipe, says_the_same_at_the_other_end)
{
    static uint8_t sent[2 * TLS_PIPE_BATCH];
    settle();
    cr_assert(caller.is_open && called.is_open);
    for (size_t i = 0; i < sizeof sent; i++) {
        sent[i] = (uint8_t)(i * 7 + i / 251);
    }
    const struct bytes few[] = {bytes_of(sent, 1), bytes_of(sent + 1, 20000),
                                bytes_of(sent + 20001, 3)};
    size_t taken = 0;
    cr_assert(tls_pipe_write(caller.pipe, few, 3, &taken));
    cr_expect_eq(taken, 20004);
    settle();
    cr_assert_eq(called.heard_len, 20004);
    cr_expect_arr_eq(called.heard, sent, 20004);

    const struct bytes all = bytes_of(sent, sizeof sent);
    cr_assert(tls_pipe_write(called.pipe, &all, 1, &taken));
    cr_expect_eq(taken, TLS_PIPE_BATCH);
    settle();
    cr_assert_eq(caller.heard_len, TLS_PIPE_BATCH);
    cr_expect_arr_eq(caller.heard, sent, TLS_PIPE_BATCH);
    cr_assert(tls_pipe_write(called.pipe, NULL, 0, &taken));
    cr_expect_eq(taken, 0);
    cr_expect_not(pass(&called, &caller), "nothing was written");
}

/* A certificate that is for servers alone makes nobody a caller. */
Test(tls_pipe_alone, refuses_a_certificate_that_is_not_for_it)
{
    begin_with(server_pem, server_key);
    settle();
    cr_expect(called.has_failed);
    cr_expect_not(called.is_open);
    cr_expect_gt(strlen(tls_pipe_why(called.pipe)), 3);
    cr_expect(caller.has_failed, "it is told");
    end();
}

Test(tls_pipe_alone, refuses_who_is_of_another_authority)
{
    open_end(&caller, context(client_pem, client_key, authority_pem), true);
    open_end(&called, context(server_pem, server_key, server_pem), false);
    settle();
    cr_expect(called.has_failed);
    cr_expect_not(called.is_open);
    end();
}

Test(tls_pipe, refuses_nonsense)
{
    const uint8_t nonsense[] = {22, 3, 1, 0, 5, 'h', 'e', 'l', 'l', 'o'};
    take(&called, nonsense, sizeof nonsense);
    cr_expect(called.has_failed);
    cr_expect_not(called.is_open);
}

/* A record that was changed on its way is none. */
Test(tls_pipe, notices_what_was_changed)
{
    struct iovec iov[PIECES];
    size_t bytes, taken;
    settle();
    const struct bytes word = bytes_of((const uint8_t *)"word", 4);
    cr_assert(tls_pipe_write(caller.pipe, &word, 1, &taken));
    cr_assert_eq(tls_pipe_gather(caller.pipe, iov, PIECES, &bytes), 1);
    ((uint8_t *)iov[0].iov_base)[bytes - 1] ^= 1;
    pass(&caller, &called);
    cr_expect(called.has_failed);
    cr_expect_eq(called.heard_len, 0);
}

Test(tls_pipe, is_trusted_as_long_as_its_authority)
{
    const char *why = NULL;
    settle();
    struct tls_context *const same = context(server_pem, server_key, authority_pem);
    struct tls_context *const other = context(server_pem, server_key, server_pem);
    cr_expect(tls_pipe_is_trusted(called.pipe, same, &why));
    cr_expect_not(tls_pipe_is_trusted(called.pipe, other, &why));
    cr_expect_not_null(why);
    tls_context_put(same);
    tls_context_put(other);
}

Test(tls_pipe_alone, knows_how_one_begins)
{
    const uint8_t good[][TLS_PIPE_PEEK_BYTES] = {{22, 3, 1}, {22, 3, 3}};
    const uint8_t bad[][TLS_PIPE_PEEK_BYTES] = {{22, 3, 0}, {23, 3, 3}, {22, 0, 0}, {120, 0, 0}};
    for (size_t i = 0; i < sizeof good / sizeof good[0]; i++) {
        cr_expect(tls_pipe_begins(good[i]), "%zu", i);
    }
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        cr_expect_not(tls_pipe_begins(bad[i]), "%zu", i);
    }
}
