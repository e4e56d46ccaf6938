/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What becomes of the crowd when the process ends, which it does by being killed or cleanly: what
 * clients were told before holds after it, for those whose sessions are kept.
 */
#include <stdio.h>
#include <stdlib.h>

#include "broker/message.h"
#include "broker/route/retained.h"
#include "broker/session/session.h"
#include "broker/shard/shard.h"
#include "tests/unit/broker/crowd_parts.h"
#include "tests/unit/broker/fake_disk.h"

void crowd_open_disk(struct crowd *w)
{
    w->n = crowd_new_node(w, w->shards, w->processes.disk->setting);
    fake_disk_open(w->processes.disk, w->n);
}

void crowd_let_disk_work(struct crowd *w)
{
    if (w->processes.disk != NULL) {
        fake_disk_hold(w->processes.disk, false);
        fake_node_advance(w->n, 100); /* what need not be on disk soon, too */
    }
}

static void check_retained(struct crowd *w)
{
    for (unsigned topic = 0; topic < LEDGER_TOPICS; topic++) {
        uint32_t message = LEDGER_NONE;
        for (unsigned i = 0; i < w->shards; i++) {
            const struct shard *s = fake_node_enter(w->n, i);
            const struct message *m = retained_get(s->retained, bytes_text(crowd_topics[topic]));
            if (m != NULL) {
                char text[16];
                const struct bytes payload = message_payload(m);
                snprintf(text, sizeof text, "%.*s", (int)payload.len, (const char *)payload.at);
                message = (uint32_t)strtoul(text, NULL, 10);
            }
        }
        ledger_check_retained(w->ledger, topic, message);
    }
}

/* Whose connection the end of the process was not the end of. */
static bool had_left(void *context, struct bytes client_id)
{
    const struct crowd *w = context;
    return (w->processes.cut_off >> (client_id.at[1] - '0') & 1) == 0;
}

static bool reaches_the_disk(void *context, uint64_t sector)
{
    (void)sector;
    return crowd_choose(context, 2) == 0;
}

static bool all_reaches_the_disk(void *context, uint64_t sector)
{
    (void)context;
    (void)sector;
    return true;
}

static void crash(struct crowd *w)
{
    switch (crowd_choose(w, 3)) {
    case 0:
        fake_disk_crash(w->processes.disk, NULL, NULL);
        break;
    case 1:
        fake_disk_crash(w->processes.disk, all_reaches_the_disk, NULL);
        break;
    default:
        fake_disk_crash(w->processes.disk, reaches_the_disk, w);
    }
}

static void end_process(struct crowd *w, bool clean)
{
    uint32_t kept = 0;
    w->processes.cut_off = 0;
    for (unsigned i = 0; i < MEMBERS; i++) {
        struct member *m = &w->members[i];
        const struct session *session = crowd_session_of(w, m);
        if (crowd_choose(w, 2) == 0) {
            crowd_listen_to(w, m); /* else what was sent to it is lost */
        }
        w->processes.cut_off |= (uint32_t)(!clean && session != NULL && session->conn != NULL) << i;
        kept |= (uint32_t)m->surely_kept << i;
        if (m->client != NULL) {
            crowd_lose_connection(w, m);
        }
        kept &= ~((uint32_t)!m->surely_kept << i);
    }
    crowd_check_drops(w);
    if (clean) {
        fake_disk_hold(w->processes.disk, false);
        fake_node_end(w->n);
    }
    w->processes.quiet = fake_disk_is_quiet(w->processes.disk);
    w->processes.state = fake_disk_state(w->n, had_left, w);
    if (clean) {
        fake_disk_close(w->processes.disk);
    } else {
        crash(w);
    }
    w->n = NULL;
    crowd_trace(&w->members[0], clean ? "the process ends" : "the process is killed");
    ledger_crashed(w->ledger, kept);
}

/* The same files, once more, by so many shards. */
static void compare_copy(struct crowd *w, struct fake_disk *copy, unsigned shards, uint64_t *state)
{
    struct fake_node *const n = crowd_new_node(w, shards, copy->setting);
    fake_disk_open(copy, n);
    *state = fake_disk_state(n, had_left, w);
    fake_disk_crash(copy, NULL, NULL);
    fake_disk_destroy(copy);
}

static void begin_process(struct crowd *w)
{
    uint64_t again = 0;
    uint64_t by_others = 0;
    struct fake_disk copy;
    w->shards = 1 + crowd_choose(w, 3);
    const bool compared = crowd_choose(w, 4) == 0;
    if (compared) {
        fake_disk_copy(&copy, w->processes.disk);
        compare_copy(w, &copy, w->shards, &again);
        fake_disk_copy(&copy, w->processes.disk);
        compare_copy(w, &copy, 1 + w->shards % 3, &by_others);
    }
    crowd_trace(&w->members[0], "the next process");
    crowd_open_disk(w);
    const uint64_t state = fake_disk_state(w->n, had_left, w);
    if (compared && again != state) {
        crowd_broken(&w->members[0], "the same files gave another state");
    }
    if (compared && by_others != state) {
        crowd_broken(&w->members[0], "another number of shards has another state");
    }
    if (w->processes.quiet && w->processes.state != state) {
        crowd_broken(&w->members[0], "all was on disk, and the state is not the one before");
    }
    w->figures.compared += w->processes.quiet;
    w->figures.unwritten += !w->processes.quiet;
    check_retained(w);
}

static void end_and_begin(struct crowd *w, bool clean)
{
    if (crowd_choose(w, 3) == 0) { /* all that has to be on disk gets there */
        fake_disk_hold(w->processes.disk, false);
        fake_node_advance(w->n, 100);
    }
    w->figures.crashes += !clean;
    w->figures.ends += clean;
    end_process(w, clean);
    begin_process(w);
}

bool crowd_act_on_disk(struct crowd *w)
{
    if (w->processes.disk == NULL) {
        return false;
    }
    const uint32_t what = crowd_choose(w, 200);
    struct member *m = &w->members[crowd_choose(w, MEMBERS)];
    if (what == 0 && !w->processes.is_one) {
        end_and_begin(w, crowd_choose(w, 4) == 0);
    } else if (what < 10) {
        fake_disk_hold(w->processes.disk, what < 7);
    } else if (what < 40 && m->client == NULL) { /* or there would be nobody most of the time */
        crowd_come(w, m, false, MQTT_NO_EXPIRY);
    } else if (what < 40 && !m->connected) {
        fake_node_settle(w->n);
        crowd_listen_to(w, m);
    } else {
        return false;
    }
    return true;
}

void crowd_run_kept(struct chooser *chooser, struct crowd_figures *figures)
{
    struct crowd *w = calloc(1, sizeof *w);
    if (w == NULL) {
        abort();
    }
    struct fake_disk disk;
    fake_disk_create(&disk);
    w->processes.disk = &disk;
    crowd_run_on(w, chooser);
    check_retained(w);
    end_process(w, true);
    fake_disk_check(&disk);
    begin_process(w);
    fake_disk_close(&disk);
    fake_disk_destroy(&disk);
    *figures = w->figures;
    ledger_destroy(w->ledger);
    free(w);
}
