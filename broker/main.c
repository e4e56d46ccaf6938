/* SPDX-License-Identifier: Apache-2.0 */
/*
 * dunlin: the process. main() reads the configuration, makes the node, runs its shards, and then
 * only waits for signals:
 *
 *   SIGTERM           a drain (broker/drain.h), and then the end
 *   SIGINT, or SIGTERM in a drain
 *                     the end: clients are told (DISCONNECT 0x8B); another one ends at once
 *   SIGHUP            the configuration and certificates are read again; what cannot change is said
 *   SIGUSR1           every counter goes to the log
 *   SIGQUIT           what the shards did last goes to a file (broker/recorder)
 *   SIGUSR2           of our own threads: there is something to take up (node_wake_main())
 */
#include <assert.h>
#include <errno.h>
#include <inttypes.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <time.h>
#include <unistd.h>

#include "broker/admin/admin.h"
#include "broker/admin/health.h"
#include "broker/admin/key_command.h"
#include "broker/auth/passwd_command.h"
#include "broker/backend.h"
#include "broker/backup/backup_command.h"
#include "broker/bans.h"
#include "broker/callbacks.h"
#include "broker/certificates.h"
#include "broker/config/config.h"
#include "broker/config/options.h"
#include "broker/config/usable.h"
#include "broker/counters.h"
#include "broker/data_dir.h"
#include "broker/departure.h"
#include "broker/gossip/cluster.h"
#include "broker/groups/group_records.h"
#include "broker/guard/ban_command.h"
#include "broker/judges.h"
#include "broker/listen.h"
#include "broker/log/log.h"
#include "broker/message.h"
#include "broker/meta/meta_run.h"
#include "broker/node.h"
#include "broker/partitions/partitions.h"
#include "broker/persistence.h"
#include "broker/permissions.h"
#include "broker/privileges.h"
#include "broker/recorder/crash.h"
#include "broker/recorder/dump.h"
#include "broker/recorder/occasion.h"
#include "broker/shard/loop.h"
#include "broker/shard/quiescence.h"
#include "broker/shard/shard.h"
#include "broker/sys_topics.h"
#include "broker/supervisor.h"
#include "broker/tokens.h"
#include "broker/transport/tls.h"
#include "broker/users.h"
#include "broker/version.h"

/* jemalloc reads it at its start: what was freed goes back to the system within some seconds, by a
 * thread of jemalloc's own, also when the shard that freed it has gone to sleep since. */
extern const char *malloc_conf;
const char *malloc_conf = "background_thread:true,dirty_decay_ms:5000,muzzy_decay_ms:5000";

#define ALIVE_WITHIN_MS 1000u /* else a shard hangs */

#define WATCH_MS 1000u /* between two looks for something that is worth recording */

#define MEMORY_SHARE 4u /* message_memory_max, unless it is set: that part of the usable memory */

struct broker {
    struct options options;
    struct config *config;
    struct data_dir data_dir;
    struct persistence persistence;
    struct node *node;
    struct cluster cluster;
    struct listen_sockets sockets;
    struct certificates certificates;
    struct users users;
    struct tokens tokens;
    struct admin admin;
    struct permissions permissions;
    struct bans bans;
    struct supervisor supervisor;
    struct departure departure;
    uint64_t heap_ms; /* when $SYS/… is to hear of the heap, if it is published */
    struct occasions occasions;
    uint64_t watch_ms; /* when it is looked for an occasion again; UINT64_MAX: never */
    uint64_t look_ms;  /* when files are looked after again; UINT64_MAX: there are none */
    uint64_t alive_ms; /* when the supervisor wants to hear that we live; UINT64_MAX: it does not */
    pthread_t threads[INDEX_SHARDS_MAX];
    unsigned started;
};

static uint64_t clock_us(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * 1000000 + (uint64_t)now.tv_nsec / 1000;
}

static uint64_t clock_ms(void)
{
    return clock_us() / 1000;
}

/* Clock on the wall less clock_ms(). */
static int64_t wall_offset_ms(void)
{
    struct timespec wall;
    clock_gettime(CLOCK_REALTIME, &wall);
    return (int64_t)wall.tv_sec * 1000 + wall.tv_nsec / 1000000 - (int64_t)clock_ms();
}

/* ---- configuration */

static struct config *load_config(const struct options *options, struct config_error *error)
{
    const struct config_sources sources = {
        .file = options->config, .environment = environ, .options = options};
    struct config *config;
    if (config_load(&config, &sources, error) != CONFIG_OK) {
        return NULL;
    }
    if (config->limits.message_memory_max == 0) {
        config->limits.message_memory_max = usable_memory(NULL) / MEMORY_SHARE;
    }
    return config;
}

static unsigned shards_wanted(const struct config *config)
{
    const unsigned wanted = config->node.shards > 0 ? config->node.shards : usable_processors(NULL);
    return wanted > INDEX_SHARDS_MAX ? INDEX_SHARDS_MAX : wanted;
}

static void on_changed(void *context, const char *path, bool reloadable, const char *before,
                       const char *after)
{
    (void)context;
    if (reloadable) {
        log_event(LOG_INFO, "config_changed", LOG_TEXT("key", path), LOG_TEXT("before", before),
                  LOG_TEXT("after", after));
    } else {
        log_event(LOG_WARNING, "config_needs_restart", LOG_TEXT("key", path),
                  LOG_TEXT("in_force", before), LOG_TEXT("after_restart", after));
    }
}

static void show_limits(struct node *node, const struct config *config)
{
    atomic_store_explicit(&node->message_memory_max, config->limits.message_memory_max,
                          memory_order_relaxed);
    atomic_store_explicit(&node->connections_max, config->limits.connections_max,
                          memory_order_relaxed);
    atomic_store_explicit(&node->connections_per_second, config->limits.connections_per_second,
                          memory_order_relaxed);
}

static void free_config(void *config)
{
    config_destroy(config);
}

/* The shards take the new one up in their next turn; the old one goes when all have. */
static void reload(struct broker *b)
{
    struct config_error error = {0};
    struct config *fresh = load_config(&b->options, &error);
    if (fresh == NULL) {
        log_event(LOG_ERROR, "reload_refused", LOG_TEXT("error", error.text),
                  LOG_TEXT("in_force", "the former configuration"));
        return;
    }
    supervisor_tell(&b->supervisor, "RELOADING=1\nMONOTONIC_USEC=%" PRIu64, clock_ms() * 1000);
    config_diff(b->config, fresh, on_changed, NULL);
    log_set_level(fresh->log.level);
    log_set_format(fresh->log.format);
    struct config *former = b->config;
    b->config = fresh;
    atomic_store_explicit(&b->node->config, fresh, memory_order_release);
    show_limits(b->node, fresh);
    after_quiescent(b->node->quiescence, b->node->shard_count, free_config, former);
    node_wake_shards(b->node);
    persistence_tell_topics(&b->persistence, fresh);
    certificates_refresh(&b->certificates, b->node, true);
    users_refresh(&b->users, b->node, true);
    permissions_refresh(&b->permissions, b->node, true);
    bans_refresh(&b->bans, b->node, true);
    admin_refresh(&b->admin, true);
    cluster_refresh(&b->cluster, b->node, true);
    tokens_refresh(&b->tokens, b->node, b->config, true);
    supervisor_tell(&b->supervisor, "READY=1");
    log_event(LOG_INFO, "reloaded");
}

/* ---- start */

static bool open_data_dir(struct broker *b)
{
    const char *dir = b->config->data.dir;
    if (dir[0] == '\0') {
        log_event(
            LOG_WARNING, "in_memory_only",
            LOG_TEXT("meaning", "sessions, queues and retained messages end with the process"));
        return true;
    }
    int sys_errno = 0;
    const enum data_dir_err err = data_dir_open(&b->data_dir, dir, &sys_errno);
    if (err != DATA_DIR_OK) {
        log_event(LOG_ERROR, "data_dir_refused", LOG_TEXT("dir", dir),
                  LOG_TEXT("reason", data_dir_err_text(err)), LOG_ERRNO("error", sys_errno));
        return false;
    }
    log_event(LOG_INFO, "data_dir", LOG_TEXT("dir", dir), LOG_TEXT("node_id", b->data_dir.node_id));
    if (!persistence_open(&b->persistence, b->node, b->config)) {
        return false;
    }
    if (b->node->group_records->count > 0 && b->node->replicas == 0) {
        log_event(
            LOG_ERROR, "groups_without_cluster", LOG_TEXT("dir", dir),
            LOG_TEXT("meaning", "it has what this node has promised to others of its cluster"));
        return false;
    }
    const int64_t sessions = atomic_load_explicit(&b->node->kept_sessions, memory_order_relaxed);
    if (b->node->replicas > 0 && sessions > 0) { /* those of replicas are not revived here */
        log_event(LOG_ERROR, "sessions_without_replicas", LOG_TEXT("dir", dir),
                  LOG_NUMBER("sessions", sessions),
                  LOG_TEXT("meaning", "it has sessions from before cluster.replicas was set, which "
                                      "are not taken over: start without it, or elsewhere"));
        return false;
    }
    return true;
}

static bool open_partitions(struct broker *b)
{
    if (b->node->replicas == 0) {
        return true;
    }
    const struct partitions_conf conf = {.checkpoint = b->persistence.checkpoint,
                                         .groups = groups_conf_defaults(),
                                         .meta = &meta_run_events};
    return partitions_create(b->node, &conf);
}

/* As many descriptors as we are allowed; the rest of the warning is the operator's. */
static void raise_descriptor_limit(const struct config *config)
{
    struct rlimit limit;
    if (getrlimit(RLIMIT_NOFILE, &limit) != 0) {
        return;
    }
    limit.rlim_cur = limit.rlim_max;
    if (setrlimit(RLIMIT_NOFILE, &limit) != 0 || limit.rlim_cur < config->limits.connections_max) {
        log_event(LOG_WARNING, "few_descriptors", LOG_NUMBER("descriptors", limit.rlim_cur),
                  LOG_NUMBER("connections_max", config->limits.connections_max),
                  LOG_TEXT("remedy", "raise the limit of open files (ulimit -n, LimitNOFILE=)"));
    }
}

static void *run_shard(void *shard)
{
    loop_run(shard);
    tls_thread_end();
    return NULL;
}

static bool start_shards(struct broker *b)
{
    for (unsigned i = 0; i < b->node->shard_count; i++) {
        const int error = pthread_create(&b->threads[i], NULL, run_shard, b->node->shards[i]);
        if (error != 0) {
            log_event(LOG_ERROR, "thread_failed", LOG_TEXT("of", "shards"),
                      LOG_ERRNO("error", error));
            return false;
        }
        char name[32];
        snprintf(name, sizeof name, "shard-%u", i);
        pthread_setname_np(b->threads[i], name);
        b->started++;
    }
    return true;
}

/* $SYS/… has no use for it more often than it is published. */
static uint64_t next_heap(const struct broker *b)
{
    return b->config->mqtt.sys_interval_s == 0 ? UINT64_MAX : b->heap_ms;
}

static void tell_heap(struct broker *b, uint64_t now_ms)
{
    if (now_ms >= next_heap(b)) {
        sys_topics_tell_heap(b->node);
        b->heap_ms = now_ms + (uint64_t)b->config->mqtt.sys_interval_s * 1000;
    }
}

/* "": nowhere. */
static const char *recorder_dir(const struct broker *b)
{
    const struct config *const c = b->config;
    return c->recorder.dir[0] != '\0' ? c->recorder.dir : c->data.dir;
}

static bool start(struct broker *b)
{
    raise_descriptor_limit(b->config);
    struct node_conf conf = {
        .shard_count = shards_wanted(b->config),
        .clock_ms = clock_ms,
        .clock_us = clock_us,
        .config = b->config,
    };
    if (!backend_node_create(&b->node, &conf)) {
        return false;
    }
    b->node->wall_offset_ms = wall_offset_ms();
    show_limits(b->node, b->config);
    tell_heap(b, clock_ms());
    if (b->config->recorder.bytes_per_shard > 0 && recorder_dir(b)[0] != '\0') {
        crash_prepare(b->node, recorder_dir(b));
    }
    if (!listen_open(&b->sockets, b->node, b->config) || !cluster_open(&b->cluster, b->config) ||
        !privileges_drop(&b->config->process) || !admin_start(&b->admin, b->node, b->config) ||
        !open_data_dir(b) || !open_partitions(b) ||
        !certificates_open(&b->certificates, b->node, b->config->tls.ticket_keys) ||
        !users_open(&b->users, b->node, b->config->auth.password_file) ||
        !permissions_open(&b->permissions, b->node, b->config->acl.file) ||
        !bans_open(&b->bans, b->node, b->config->auth.ban_file) ||
        !tokens_open(&b->tokens, b->node, b->config) ||
        !callbacks_open(&b->node->callbacks, b->node, &b->config->http) ||
        !cluster_start(&b->cluster, b->node, b->config, &b->data_dir) ||
        !privileges_confine(&b->config->process, backend_is_uring(b->node)) || !start_shards(b)) {
        return false;
    }
    departure_init(&b->departure, b->node, &b->sockets, &b->supervisor);
    atomic_store_explicit(&b->node->serving, true, memory_order_release);
    log_event(LOG_INFO, "started", LOG_TEXT("version", DUNLIN_VERSION),
              LOG_NUMBER("shards", conf.shard_count),
              LOG_TEXT("io", io_backend_name(b->node->shards[0]->io)), LOG_NUMBER("pid", getpid()),
              LOG_NUMBER("message_memory_max", b->config->limits.message_memory_max));
    supervisor_tell(&b->supervisor, "READY=1\nSTATUS=ready");
    return true;
}

/* ---- signals */

static void end_shards(struct broker *b)
{
    atomic_store_explicit(&b->node->ending, true, memory_order_release);
    node_wake_shards(b->node);
}

/* Main is a thread of the reclamation too: it has nothing to read, and passes when it is awake. */
static void pass(struct broker *b)
{
    const unsigned self = b->node->shard_count;
    quiescence_online(b->node->quiescence, self);
    quiescence_pass(b->node->quiescence, self);
    quiescence_offline(b->node->quiescence, self);
}

/* ---- what main does when the time for it has come */

static bool has_files(const struct broker *b)
{
    return certificates_are_needed(&b->certificates) || users_are_needed(&b->users) ||
           tokens_are_needed(&b->tokens) || permissions_are_needed(&b->permissions) ||
           bans_are_needed(&b->bans) || admin_is_needed(&b->admin) ||
           cluster_is_needed(&b->cluster);
}

/* Keys of a server may be wanted sooner than files. */
static uint64_t next_look(const struct broker *b, uint64_t now_ms)
{
    const uint64_t tokens_ms = now_ms + tokens_poll_ms(&b->tokens, CERTIFICATES_POLL_MS);
    return b->look_ms == UINT64_MAX || b->look_ms < tokens_ms ? b->look_ms : tokens_ms;
}

static void look_after_files(struct broker *b, uint64_t now_ms)
{
    if (now_ms < next_look(b, now_ms)) {
        return;
    }
    certificates_refresh(&b->certificates, b->node, false);
    users_refresh(&b->users, b->node, false);
    permissions_refresh(&b->permissions, b->node, false);
    bans_refresh(&b->bans, b->node, false);
    admin_refresh(&b->admin, false);
    cluster_refresh(&b->cluster, b->node, false);
    tokens_refresh(&b->tokens, b->node, b->config, false);
    b->look_ms = now_ms + CERTIFICATES_POLL_MS;
}

/* Thrice in the time after which the supervisor would end us. */
static void say_alive(struct broker *b, uint64_t now_ms, bool lives, const char *why)
{
    if (lives) {
        supervisor_tell(&b->supervisor, "WATCHDOG=1");
    } else {
        log_event(LOG_ERROR, "not_alive", LOG_TEXT("reason", why));
    }
    b->alive_ms = now_ms + b->supervisor.watchdog_ms / 3;
}

static void write_record(struct broker *b, const char *why)
{
    const char *const dir = recorder_dir(b);
    if (b->config->recorder.bytes_per_shard == 0 || dir[0] == '\0') {
        log_event(LOG_WARNING, "recorder_off",
                  LOG_TEXT("remedy", "set recorder.bytes_per_shard, and recorder.dir or data.dir"));
        return;
    }
    dump_to_file(b->node, dir, why);
}

static void watch(struct broker *b, uint64_t now_ms, bool lives)
{
    const bool is[OCCASIONS] = {
        [OCCASION_STANDS_STILL] = !lives,
        [OCCASION_DISK] = atomic_load_explicit(&b->node->disk_troubles, memory_order_relaxed) > 0,
        [OCCASION_MEMORY] = message_memory() >= b->config->limits.message_memory_max,
    };
    const char *const word = occasion_of(&b->occasions, is, now_ms);
    if (word != NULL) {
        write_record(b, word);
    }
    b->watch_ms = now_ms + WATCH_MS;
}

/* To find out wakes each shard: once for both who want to know. */
static void look_after_shards(struct broker *b, uint64_t now_ms)
{
    char why[HEALTH_TEXT_BYTES];
    if (now_ms < b->alive_ms && now_ms < b->watch_ms) {
        return;
    }
    const bool lives = health_lives(b->node, ALIVE_WITHIN_MS, why);
    if (now_ms >= b->alive_ms) {
        say_alive(b, now_ms, lives, why);
    }
    if (now_ms >= b->watch_ms) {
        watch(b, now_ms, lives);
    }
}

static uint64_t next_time(const struct broker *b, uint64_t now_ms)
{
    const uint64_t look_ms = next_look(b, now_ms);
    const uint64_t heap_ms = next_heap(b);
    uint64_t next_ms = look_ms < b->alive_ms ? look_ms : b->alive_ms;
    next_ms = heap_ms < next_ms ? heap_ms : next_ms;
    next_ms = b->watch_ms < next_ms ? b->watch_ms : next_ms;
    const uint64_t departure_ms = departure_due(&b->departure, now_ms);
    return departure_ms < next_ms ? departure_ms : next_ms;
}

/* The next signal; or -1, when it is time for something. */
static int wait_for_signal(const struct broker *b, const sigset_t *signals)
{
    const uint64_t now_ms = clock_ms();
    const uint64_t next_ms = next_time(b, now_ms);
    const uint64_t wait_ms = next_ms > now_ms ? next_ms - now_ms : 0;
    const struct timespec wait = {.tv_sec = (time_t)(wait_ms / 1000),
                                  .tv_nsec = (long)(wait_ms % 1000) * 1000000};
    int signal_number;
    do {
        signal_number =
            next_ms == UINT64_MAX ? sigwaitinfo(signals, NULL) : sigtimedwait(signals, NULL, &wait);
    } while (signal_number < 0 && errno == EINTR);
    return signal_number;
}

/* false: it is time to end. */
static bool serve_signal(struct broker *b, int signal_number)
{
    switch (signal_number) {
    case -1:
        return true;
    case SIGHUP:
        reload(b);
        return true;
    case NODE_WAKE_SIGNAL:
        tokens_refresh(&b->tokens, b->node, b->config, false);
        departure_asked(&b->departure, b->config);
        if (admin_has_banned(&b->admin)) {
            bans_refresh(&b->bans, b->node, true);
        }
        return true;
    case SIGUSR1:
        counters_log(b->node);
        return true;
    case SIGQUIT:
        write_record(b, "asked");
        return true;
    case SIGTERM:
        if (!departure_is_under_way(&b->departure)) {
            departure_begin(&b->departure, b->config);
            return true;
        }
        break;
    default:
        break;
    }
    log_event(LOG_INFO, "ending", LOG_TEXT("signal", strsignal(signal_number)));
    return false;
}

static void serve(struct broker *b, const sigset_t *signals)
{
    b->look_ms = has_files(b) ? clock_ms() + CERTIFICATES_POLL_MS : UINT64_MAX;
    b->alive_ms = b->supervisor.watchdog_ms > 0 ? 0 : UINT64_MAX;
    const bool records = b->config->recorder.bytes_per_shard > 0 && recorder_dir(b)[0] != '\0';
    b->watch_ms = records ? clock_ms() + WATCH_MS : UINT64_MAX;
    while (serve_signal(b, wait_for_signal(b, signals))) {
        const uint64_t now_ms = clock_ms();
        look_after_files(b, now_ms);
        tell_heap(b, now_ms);
        look_after_shards(b, now_ms);
        if (departure_turn(&b->departure, b->config, now_ms)) {
            log_event(LOG_INFO, "ending", LOG_TEXT("signal", strsignal(SIGTERM)));
            return;
        }
        pass(b);
    }
}

static void block_signals(sigset_t *signals)
{
    sigemptyset(signals);
    sigaddset(signals, SIGTERM);
    sigaddset(signals, SIGINT);
    sigaddset(signals, SIGHUP);
    sigaddset(signals, SIGUSR1);
    sigaddset(signals, SIGQUIT);
    sigaddset(signals, NODE_WAKE_SIGNAL);
    pthread_sigmask(SIG_BLOCK, signals, NULL);
    signal(SIGPIPE, SIG_IGN);
}

/* ---- and end */

static void end(struct broker *b)
{
    supervisor_tell(&b->supervisor, "STOPPING=1\nSTATUS=ending");
    judges_stop(b->node);
    tokens_stop(&b->tokens);
    callbacks_stop(b->node == NULL ? NULL : b->node->callbacks);
    if (b->started > 0) {
        assert(b->node != NULL);                 /* whose shards they are */
        if (b->started < b->node->shard_count) { /* not all came up: none waits for the others */
            atomic_store_explicit(&b->node->running, 0, memory_order_release);
        }
        end_shards(b);
    }
    /* A second signal ends the process at once. */
    sigset_t again;
    sigemptyset(&again);
    sigaddset(&again, SIGTERM);
    sigaddset(&again, SIGINT);
    pthread_sigmask(SIG_UNBLOCK, &again, NULL);
    for (unsigned i = 0; i < b->started; i++) {
        pthread_join(b->threads[i], NULL);
    }
    cluster_leave(b->node);
    crash_forget();
    persistence_save(&b->persistence);
    admin_stop(&b->admin); /* until here it says that we are ending */
    judges_close(b->node);
    users_close(&b->users, b->node);
    permissions_close(&b->permissions, b->node);
    bans_close(&b->bans, b->node);
    tokens_close(&b->tokens, b->node);
    callbacks_close(b->node == NULL ? NULL : b->node->callbacks);
    cluster_close(&b->cluster, b->node);
    node_destroy(b->node);
    persistence_close(&b->persistence);
    listen_close(&b->sockets);
    certificates_close(&b->certificates);
    data_dir_close(&b->data_dir);
}

static int run(struct broker *b)
{
    sigset_t signals;
    block_signals(&signals);
    privileges_begin(&b->config->process);
    const struct log_conf log = {
        .fd = STDERR_FILENO, .level = b->config->log.level, .format = b->config->log.format};
    if (!log_start(&log)) {
        log_event(LOG_WARNING, "log_thread_failed", LOG_ERRNO("error", errno));
    }
    supervisor_open(&b->supervisor);
    const bool started = start(b);
    if (started) {
        serve(b, &signals);
    }
    end(b);
    if (started) {
        log_event(LOG_INFO, "ended");
    }
    supervisor_close(&b->supervisor);
    log_stop();
    return started ? EXIT_SUCCESS : EXIT_FAILURE;
}

static int act(struct broker *b)
{
    switch (b->options.action) {
    case OPTIONS_HELP:
        options_help(stdout);
        return EXIT_SUCCESS;
    case OPTIONS_VERSION:
        printf("dunlin %s\n", DUNLIN_VERSION);
        return EXIT_SUCCESS;
    default:
        break;
    }
    struct config_error error = {0};
    b->config = load_config(&b->options, &error);
    if (b->config == NULL) {
        fputs(error.text, stderr);
        return EXIT_FAILURE;
    }
    switch (b->options.action) {
    case OPTIONS_CHECK_CONFIG:
        puts("the configuration is valid");
        return EXIT_SUCCESS;
    case OPTIONS_DUMP_CONFIG:
        config_dump(b->config, stdout);
        return EXIT_SUCCESS;
    default:
        return run(b);
    }
}

int main(int argc, char **argv)
{
    if (argc > 1 && strcmp(argv[1], "passwd") == 0) {
        return passwd_command(argc - 1, argv + 1);
    }
    if (argc > 1 && strcmp(argv[1], "ban") == 0) {
        return ban_command(argc - 1, argv + 1);
    }
    if (argc > 1 && strcmp(argv[1], "admin-key") == 0) {
        return key_command(argc - 1, argv + 1);
    }
    if (argc > 1 && strcmp(argv[1], "backup") == 0) {
        return backup_command(argc - 1, argv + 1);
    }
    if (argc > 1 && strcmp(argv[1], "restore") == 0) {
        return restore_command(argc - 1, argv + 1);
    }
    struct broker b = {.data_dir = {.lock_fd = -1}};
    struct config_error error = {0};
    if (!options_parse(&b.options, argc, argv, &error)) {
        fputs(error.text, stderr);
        return 2;
    }
    const int status = act(&b);
    config_destroy(b.config);
    options_fini(&b.options);
    return status;
}
