/* SPDX-License-Identifier: Apache-2.0 */
/*
 * bench_token: what it costs to judge a token.
 *
 *   bench_token KEYS_FILE TOKEN_FILE       microseconds, the median of nine rounds
 *
 * The files are as `token.keys_file` wants them, and a token of theirs with nothing behind it.
 */
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#include "bench/timing.h"
#include "broker/auth/token.h"
#include "broker/config/file_text.h"

#define TIMES 200u

struct job {
    struct token_keys *keys;
    struct bytes token;
    enum token_err err;
};

static const struct token_rules rules = {.issuer = "",
                                         .audience = "",
                                         .user_claim = "sub",
                                         .client_id_claim = "client_id",
                                         .groups_claim = "groups",
                                         .acl_claim = "acl",
                                         .leeway_s = 30,
                                         .require_expiry = true};

static void judge(void *context)
{
    struct job *const job = context;
    const struct token_bearer bearer = {.client_id = bytes_text("client")};
    for (unsigned i = 0; i < TIMES; i++) {
        struct token_facts facts;
        job->err =
            token_verify(&facts, job->keys, &rules, &bearer, job->token, (uint64_t)time(NULL));
    }
}

static struct bytes read_text(const char *path)
{
    char *text = NULL;
    size_t len = 0;
    if (file_text_read(path, TOKEN_KEYS_BYTES_MAX, &text, &len) != 0) {
        fprintf(stderr, "bench_token: %s cannot be read\n", path);
        exit(1);
    }
    return bytes_of(text, len);
}

int main(int argc, char **argv)
{
    if (argc != 3) {
        fprintf(stderr, "usage: bench_token KEYS_FILE TOKEN_FILE\n");
        return 2;
    }
    const char *wrong = NULL;
    const struct bytes text = read_text(argv[1]);
    struct job job = {.keys = token_keys_parse(text, &wrong), .token = read_text(argv[2])};
    if (job.keys == NULL) {
        fprintf(stderr, "bench_token: %s: %s\n", argv[1], wrong);
        return 1;
    }
    const double ns = timing_median_ns(judge, &job, TIMES);
    printf("%8.1f us   the token %s\n", ns / 1000, token_err_text(job.err));
    token_keys_destroy(job.keys);
    token_key_thread_end();
    free((void *)text.at);
    free((void *)job.token.at);
    return 0;
}
