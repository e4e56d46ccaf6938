/* SPDX-License-Identifier: Apache-2.0 */
/*
 * dunlin-bench: a load generator for any MQTT broker, which costs little itself, measures from the
 * time that was meant, and checks what arrives.
 *
 *   options ─▶ plan (who publishes, who is to get it) ─▶ run (phases) ─▶ faults ─▶ report
 *                                                         │
 *                                     workers: a thread and an epoll each, with clients
 */
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/resource.h>

#include "bench/load/options.h"
#include "bench/load/report.h"
#include "bench/load/run.h"

enum {
    EXIT_BROKEN_PROMISE = 1,
    EXIT_NOT_RUN = 2,
};

static const char *const texts[] = {
    [RUN_OK] = "",
    [RUN_NO_MEMORY] = "out of memory",
    [RUN_NO_PROCESS] = "there is no process of that --pid, or it has ended",
    [RUN_NOT_READY] = "some clients could not connect, or not subscribe",
    [RUN_FAILED] = "a thread could not be started",
};

static void raise_descriptor_limit(void)
{
    struct rlimit limit;
    if (getrlimit(RLIMIT_NOFILE, &limit) == 0) {
        limit.rlim_cur = limit.rlim_max;
        if (setrlimit(RLIMIT_NOFILE, &limit) != 0) {
            perror("dunlin-bench: descriptors");
        }
    }
}

static int run_and_report(struct run *r)
{
    const struct options *const o = r->options;
    const enum run_err err = run_scenario(r);
    if (err != RUN_OK) {
        fprintf(stderr, "dunlin-bench: %s (%lu of %u ready, %lu refused, %lu ended)\n", texts[err],
                r->finish.ready, r->plan.client_count, r->finish.refused, r->finish.broken);
        return EXIT_NOT_RUN;
    }
    const struct faults faults = faults_count(r);
    if (o->json == NULL || strcmp(o->json, "-") != 0) {
        report_print(r, &faults);
    }
    if (o->json != NULL && !report_write_json(r, &faults, o->json)) {
        perror(o->json);
        return EXIT_NOT_RUN;
    }
    return faults.broken_promise ? EXIT_BROKEN_PROMISE : 0;
}

int main(int argc, char **argv)
{
    struct options options;
    switch (options_parse(&options, argc, argv)) {
    case OPTIONS_DONE:
        return 0;
    case OPTIONS_BAD:
        return EXIT_NOT_RUN;
    case OPTIONS_RUN:
        break;
    }
    signal(SIGPIPE, SIG_IGN);
    raise_descriptor_limit();

    static struct run run;
    run.options = &options;
    int status = EXIT_NOT_RUN;
    if (options.scenario->plan(&run.plan, &options) == PLAN_OK) {
        status = run_and_report(&run);
    } else {
        fprintf(stderr, "dunlin-bench: too many clients, or out of memory\n");
    }
    plan_free(&run.plan);
    return status;
}
