/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/fake/io_fake.h"

#include <assert.h>
#include <errno.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "broker/io/driver.h"

#define FD_FIRST     (1 << 30) /* no real one: a stray system call on it fails */
#define SECTOR_BYTES 512u

/* Bytes on their way. */
struct pipe {
    uint8_t *bytes;
    size_t begin, end, capacity;
};

enum want { WANT_NOTHING, WANT_ONCE, WANT_MANY };

/* Something asked for: under way until the turn that it is due in, or until it can be done. */
struct op {
    bool under_way;
    uint64_t due_turn; /* of the io */
};

struct connection {
    int fd;
    struct fake *io;     /* attached there; NULL: nowhere */
    struct io_socket *s; /* when attached */
    struct pipe in, out;
    size_t window;

    bool client_finished, client_reset;
    bool shut_down, closed; /* by the broker */

    enum want want;
    struct op receive, stop, send, close;
    bool ended;
    bool shutdown_asked; /* done when no send is under way */
    struct iovec iov[IO_IOV_MAX];
    unsigned iov_count;
};

struct io_fake_net {
    struct connection **connections; /* at [fd - FD_FIRST] */
    size_t count, capacity;
    size_t chunk;
};

struct waiting { /* connected, not yet accepted */
    unsigned listener;
    int fd;
};

struct fake {
    struct io io; /* first */
    struct io_fake_net *net;
    uint64_t turn;      /* that has begun last */
    _Atomic bool woken; /* threads of what is tested may do so */
    bool listening[IO_LISTENERS];
    bool once[IO_LISTENERS];       /* for one connection */
    int fail_accept[IO_LISTENERS]; /* an errno; 0: none */
    struct waiting *waiting;
    size_t waiting_count, waiting_capacity;

    struct io_file_op *files, *files_last; /* under way, in order */
    bool files_held;
    int fail_file; /* an errno; 0: none */
    size_t fail_file_bytes;
};

static const struct io_driver driver;

static struct fake *fake_of(const struct io *io)
{
    assert(io->driver == &driver);

    return (struct fake *)(uintptr_t)io;
}

/* Makes room for one more. */
static void *grown(void *array, size_t count, size_t *capacity, size_t element)
{
    if (count < *capacity) {
        return array;
    }
    *capacity = *capacity > 0 ? 2 * *capacity : 8;
    void *const larger = realloc(array, *capacity * element);
    if (larger == NULL) {
        abort();
    }
    return larger;
}

/* ---- pipes */

static size_t pipe_len(const struct pipe *p)
{
    return p->end - p->begin;
}

static void pipe_put(struct pipe *p, const void *data, size_t len)
{
    if (len == 0) {
        return;
    }
    if (p->capacity - p->end < len) {
        p->capacity = 2 * (p->end + len);
        p->bytes = realloc(p->bytes, p->capacity);
        if (p->bytes == NULL) {
            abort();
        }
    }
    memcpy(p->bytes + p->end, data, len);
    p->end += len;
}

static void pipe_take(struct pipe *p, size_t len)
{
    assert(len <= pipe_len(p));

    p->begin += len;
    if (p->begin == p->end) {
        p->begin = p->end = 0;
    }
}

/* ---- the net */

struct io_fake_net *io_fake_net_create(void)
{
    struct io_fake_net *const net = calloc(1, sizeof *net);
    if (net == NULL) {
        abort();
    }
    net->chunk = SIZE_MAX;
    return net;
}

void io_fake_net_destroy(struct io_fake_net *net)
{
    for (size_t i = 0; i < net->count; i++) {
        free(net->connections[i]->in.bytes);
        free(net->connections[i]->out.bytes);
        free(net->connections[i]);
    }
    free(net->connections);
    free(net);
}

void io_fake_set_chunk(struct io_fake_net *net, size_t bytes_max)
{
    assert(bytes_max > 0);

    net->chunk = bytes_max;
}

static struct connection *connection_of(const struct io_fake_net *net, int fd)
{
    assert(fd >= FD_FIRST && (size_t)(fd - FD_FIRST) < net->count);

    return net->connections[fd - FD_FIRST];
}

int io_fake_open(struct io_fake_net *net)
{
    struct connection *const c = calloc(1, sizeof *c);
    if (c == NULL) {
        abort();
    }
    c->fd = FD_FIRST + (int)net->count;
    c->window = SIZE_MAX;
    net->connections =
        grown(net->connections, net->count, &net->capacity, sizeof net->connections[0]);
    net->connections[net->count++] = c;
    return c->fd;
}

int io_fake_connect(struct io *io, unsigned listener)
{
    struct fake *const f = fake_of(io);
    if (!f->listening[listener]) {
        return -1;
    }
    const int fd = io_fake_open(f->net);
    f->waiting = grown(f->waiting, f->waiting_count, &f->waiting_capacity, sizeof f->waiting[0]);
    f->waiting[f->waiting_count++] = (struct waiting){.listener = listener, .fd = fd};
    return fd;
}

void io_fake_fail_accept(struct io *io, unsigned listener, int error)
{
    assert(error > 0);

    fake_of(io)->fail_accept[listener] = error;
}

void io_fake_client_write(struct io_fake_net *net, int fd, const void *data, size_t len)
{
    struct connection *const c = connection_of(net, fd);
    assert(!c->client_finished && !c->client_reset);

    if (!c->closed) {
        pipe_put(&c->in, data, len);
    }
}

void io_fake_client_finish(struct io_fake_net *net, int fd)
{
    connection_of(net, fd)->client_finished = true;
}

void io_fake_client_reset(struct io_fake_net *net, int fd)
{
    struct connection *const c = connection_of(net, fd);
    c->client_reset = true;
    pipe_take(&c->in, pipe_len(&c->in));
}

void io_fake_client_set_window(struct io_fake_net *net, int fd, size_t bytes)
{
    connection_of(net, fd)->window = bytes;
}

size_t io_fake_client_readable(const struct io_fake_net *net, int fd)
{
    return pipe_len(&connection_of(net, fd)->out);
}

size_t io_fake_client_read(struct io_fake_net *net, int fd, void *out, size_t out_max)
{
    struct connection *const c = connection_of(net, fd);
    const size_t len = pipe_len(&c->out) < out_max ? pipe_len(&c->out) : out_max;
    if (len > 0) {
        memcpy(out, c->out.bytes + c->out.begin, len);
        pipe_take(&c->out, len);
    }
    return len;
}

bool io_fake_client_sees_end(const struct io_fake_net *net, int fd)
{
    const struct connection *const c = connection_of(net, fd);
    return (c->shut_down || c->closed) && pipe_len(&c->out) == 0;
}

bool io_fake_client_sees_close(const struct io_fake_net *net, int fd)
{
    return connection_of(net, fd)->closed;
}

/* ---- what is asked for */

static struct connection *attached(struct io *io, struct io_socket *s)
{
    struct connection *const c = connection_of(fake_of(io)->net, s->fd);
    assert(c->io == fake_of(io));
    assert(c->s == s);
    assert(!c->close.under_way);
    return c;
}

static void begin(struct connection *c, struct op *op)
{
    if (!op->under_way) {
        *op = (struct op){.under_way = true, .due_turn = c->io->turn + 1};
        c->s->kernel_ops++;
    }
}

static void finish(struct connection *c, struct op *op)
{
    assert(op->under_way);

    op->under_way = false;
    c->s->kernel_ops--;
}

static bool is_due(const struct connection *c, const struct op *op)
{
    return op->under_way && op->due_turn <= c->io->turn;
}

static void fake_listen(struct io *io, unsigned listener, int listen_fd)
{
    (void)listen_fd;
    assert(!fake_of(io)->listening[listener]);

    fake_of(io)->listening[listener] = true;
    fake_of(io)->once[listener] = false;
}

static void fake_listen_once(struct io *io, unsigned listener, int listen_fd)
{
    fake_listen(io, listener, listen_fd);
    fake_of(io)->once[listener] = true;
}

static void fake_listen_stop(struct io *io, unsigned listener)
{
    assert(fake_of(io)->listening[listener]);

    fake_of(io)->listening[listener] = false;
}

static void fake_attach(struct io *io, struct io_socket *s, int fd)
{
    struct connection *const c = connection_of(fake_of(io)->net, fd);
    assert(c->io == NULL && !c->closed);

    *s = (struct io_socket){.fd = fd};
    c->io = fake_of(io);
    c->s = s;
    c->ended = c->shutdown_asked = false;
    c->want = WANT_NOTHING;
}

static void forget_socket(struct connection *c)
{
    c->s->fd = -1;
    c->s = NULL;
    c->io = NULL;
}

static int fake_detach(struct io *io, struct io_socket *s)
{
    struct connection *const c = attached(io, s);
    if (s->kernel_ops > 0) {
        return -1;
    }
    forget_socket(c);
    return 0;
}

static void want(struct connection *c, enum want what)
{
    if (!c->ended) {
        c->want = what;
        begin(c, &c->receive);
    }
}

static void fake_receive_once(struct io *io, struct io_socket *s)
{
    struct connection *const c = attached(io, s);
    assert(!c->receive.under_way);

    want(c, WANT_ONCE);
}

static void fake_receive_start(struct io *io, struct io_socket *s)
{
    want(attached(io, s), WANT_MANY);
}

static void fake_receive_stop(struct io *io, struct io_socket *s)
{
    struct connection *const c = attached(io, s);
    c->want = WANT_NOTHING;
    if (c->receive.under_way) {
        begin(c, &c->stop);
    }
}

static void fake_send(struct io *io, struct io_socket *s, const struct iovec *iov, unsigned n)
{
    struct connection *const c = attached(io, s);
    assert(!c->send.under_way && !c->shutdown_asked);

    memcpy(c->iov, iov, n * sizeof iov[0]);
    c->iov_count = n;
    begin(c, &c->send);
}

/* Moves to the client what it has room for; how much that was. */
static size_t put_in_window(struct connection *c, const struct iovec *v)
{
    const size_t used = pipe_len(&c->out);
    const size_t room = c->window > used ? c->window - used : 0;
    const size_t len = v->iov_len < room ? v->iov_len : room;
    pipe_put(&c->out, v->iov_base, len);
    return len;
}

static size_t fake_send_at_once(struct io *io, const struct io_socket *s, const struct iovec *iov,
                                unsigned n)
{
    struct connection *const c = connection_of(fake_of(io)->net, s->fd);
    assert(c->s == s && !c->send.under_way && !c->shutdown_asked);

    size_t sent = 0;
    for (unsigned i = 0; i < n && !c->client_reset; i++) {
        const size_t len = put_in_window(c, &iov[i]);
        sent += len;
        if (len < iov[i].iov_len) {
            break;
        }
    }
    return sent;
}

static void fake_shutdown_write(struct io *io, struct io_socket *s)
{
    struct connection *const c = attached(io, s);
    c->shutdown_asked = true;
    c->shut_down = !c->send.under_way;
}

static void fake_close(struct io *io, struct io_socket *s)
{
    struct connection *const c = attached(io, s);
    c->want = WANT_NOTHING;
    begin(c, &c->close);
}

/* ---- files */

static void fake_write_and_sync(struct io *io, struct io_file_op *op)
{
    struct fake *const f = fake_of(io);
    if (f->files == NULL) {
        f->files = op;
    } else {
        f->files_last->next = op;
    }
    f->files_last = op;
}

static struct io_file_op *take_file(struct fake *f)
{
    struct io_file_op *const op = f->files;
    f->files = op->next;
    op->next = NULL;
    return op;
}

static int write_all(int fd, const uint8_t *data, size_t len, uint64_t offset)
{
    while (len > 0) {
        const ssize_t n = pwrite(fd, data, len, (off_t)offset);
        if (n <= 0) {
            return n < 0 ? errno : EIO;
        }
        data += n;
        len -= (size_t)n;
        offset += (uint64_t)n;
    }
    return 0;
}

/* At most bytes_max of it: 0, or an errno. */
static int write_file(const struct io_file_op *op, size_t bytes_max)
{
    uint64_t offset = op->offset;
    int error = 0;
    for (unsigned i = 0; i < op->n && error == 0; i++) {
        const size_t len = op->iov[i].iov_len < bytes_max ? op->iov[i].iov_len : bytes_max;
        error = write_all(op->fd, op->iov[i].iov_base, len, offset);
        offset += len;
        bytes_max -= len;
    }
    return error;
}

static void turn_files(struct fake *f)
{
    struct io_file_op *const last = f->files != NULL ? f->files_last : NULL;
    bool is_last = last == NULL || f->files_held; /* a handler may ask for more, and may hold */
    while (!is_last && f->files != NULL && !f->files_held) {
        struct io_file_op *const op = take_file(f);
        is_last = op == last;
        int error = f->fail_file;
        if (error == 0) {
            error = write_file(op, SIZE_MAX);
        } else {
            f->fail_file = 0;
            (void)write_file(op, f->fail_file_bytes);
        }
        op->done(op, error);
    }
}

void io_fake_files_hold(struct io *io, bool hold)
{
    fake_of(io)->files_held = hold;
}

void io_fake_fail_file(struct io *io, int error, size_t bytes)
{
    assert(error > 0);

    fake_of(io)->fail_file = error;
    fake_of(io)->fail_file_bytes = bytes;
}

static void lose_file(const struct io_file_op *op, bool (*kept)(void *context, uint64_t sector),
                      void *context)
{
    uint64_t offset = op->offset, asked = UINT64_MAX;
    bool keep = false;
    for (unsigned i = 0; i < op->n; i++) {
        for (size_t at = 0; at < op->iov[i].iov_len;) {
            const size_t left = op->iov[i].iov_len - at;
            const size_t in_sector = SECTOR_BYTES - offset % SECTOR_BYTES;
            const size_t len = left < in_sector ? left : in_sector;
            if (offset / SECTOR_BYTES != asked) { /* once for each, also where an iov ends in it */
                asked = offset / SECTOR_BYTES;
                keep = kept(context, asked);
            }
            if (keep) {
                (void)write_all(op->fd, (const uint8_t *)op->iov[i].iov_base + at, len, offset);
            }
            at += len;
            offset += len;
        }
    }
}

void io_fake_files_lose(struct io *io, bool (*kept)(void *context, uint64_t sector), void *context)
{
    struct fake *const f = fake_of(io);
    while (f->files != NULL) {
        const struct io_file_op *const op = take_file(f);
        if (kept != NULL) {
            lose_file(op, kept, context);
        }
    }
}

unsigned io_fake_files_under_way(const struct io *io)
{
    unsigned n = 0;
    for (const struct io_file_op *op = fake_of(io)->files; op != NULL; op = op->next) {
        n++;
    }
    return n;
}

static void fake_wake_external(struct io *to)
{
    fake_of(to)->woken = true;
}

static void fake_wake(struct io *from, struct io *to)
{
    io_count(from, IO_WAKE_UPS);
    fake_wake_external(to);
}

/* ---- a turn */

static void accept_waiting(struct fake *f)
{
    bool refused[IO_LISTENERS] = {false};
    for (unsigned listener = 0; listener < IO_LISTENERS; listener++) {
        const int error = f->fail_accept[listener];
        if (error != 0 && f->listening[listener]) {
            f->fail_accept[listener] = 0;
            refused[listener] = true;
            io_count(&f->io, IO_ACCEPT_FAILED);
            f->io.handlers[0]->accept_failed(f->io.context, listener, error);
        }
    }
    const size_t now = f->waiting_count;
    size_t kept = 0;
    for (size_t i = 0; i < now; i++) {
        const struct waiting w = f->waiting[i]; /* a handler may let others connect */
        if (f->listening[w.listener] && !refused[w.listener]) {
            f->listening[w.listener] = !f->once[w.listener];
            f->io.handlers[0]->accepted(f->io.context, w.listener, w.fd);
        } else {
            f->waiting[kept++] = w;
        }
    }
    for (size_t i = now; i < f->waiting_count; i++) {
        f->waiting[kept++] = f->waiting[i];
    }
    f->waiting_count = kept;
}

/* Moves to the client what it has room for of the send; whether that was all. */
static bool move_out(struct connection *c)
{
    for (unsigned i = 0; i < c->iov_count; i++) {
        struct iovec *const v = &c->iov[i];
        const size_t len = put_in_window(c, v);
        v->iov_base = (uint8_t *)v->iov_base + len;
        v->iov_len -= len;
        if (v->iov_len > 0) {
            return false;
        }
    }
    return true;
}

static void turn_send(struct connection *c)
{
    if (!is_due(c, &c->send) || (!c->client_reset && !move_out(c))) {
        return;
    }
    finish(c, &c->send);
    c->shut_down = c->shutdown_asked;
    if (!c->close.under_way) {
        const struct io *const io = &c->io->io;
        io_handlers_of(io, c->s)->sent(io->context, c->s, c->client_reset ? EPIPE : 0);
    }
}

/* Whether a receive would complete. */
static bool is_readable(const struct connection *c)
{
    return pipe_len(&c->in) > 0 || c->client_finished || c->client_reset;
}

static void receive(struct connection *c, size_t chunk_max)
{
    const struct io *const io = &c->io->io;
    struct io_socket *const s = c->s;
    size_t len = pipe_len(&c->in) < chunk_max ? pipe_len(&c->in) : chunk_max;
    if (len == 0) {
        finish(c, &c->receive);
        c->want = WANT_NOTHING;
        c->ended = true;
        io_handlers_of(io, s)->ended(io->context, s, c->client_reset ? ECONNRESET : 0);
        return;
    }
    /* A copy of the exact size, so that a read beyond it, or later, is found. */
    uint8_t *const data = malloc(len);
    if (data == NULL) {
        abort();
    }
    memcpy(data, c->in.bytes + c->in.begin, len);
    pipe_take(&c->in, len);
    if (c->want == WANT_ONCE) {
        c->want = WANT_NOTHING;
        finish(c, &c->receive);
    }
    io_handlers_of(io, s)->received(io->context, s, data, len);
    free(data);
}

static void turn_receive(struct fake *f, struct connection *c)
{
    if (is_due(c, &c->stop)) {
        finish(c, &c->stop);
        if (c->want == WANT_NOTHING && c->receive.under_way) {
            finish(c, &c->receive);
        }
    }
    while (c->io == f && is_due(c, &c->receive) && c->want != WANT_NOTHING && is_readable(c)) {
        receive(c, f->net->chunk);
    }
}

static void turn_close(struct connection *c)
{
    struct io_socket *const s = c->s;
    const struct io *const io = &c->io->io;
    for (unsigned i = 0; i < 4; i++) {
        struct op *const op = (struct op *const[]){&c->receive, &c->stop, &c->send, &c->close}[i];
        if (op->under_way) {
            finish(c, op);
        }
    }
    assert(s->kernel_ops == 0);
    c->closed = true;
    forget_socket(c);
    io_handlers_of(io, s)->closed(io->context, s);
}

static void fake_turn(struct io *io, uint64_t timeout_ns)
{
    struct fake *const f = fake_of(io);
    struct io_fake_net *const net = f->net;
    (void)timeout_ns;
    f->turn++;
    f->woken = false;
    io_count(io, IO_TURNS);
    accept_waiting(f);
    for (size_t i = 0; i < net->count; i++) {
        struct connection *const c = net->connections[i];
        if (c->io == f) {
            turn_send(c);
        }
        if (c->io == f && is_due(c, &c->close)) {
            turn_close(c);
        }
        if (c->io == f && !c->close.under_way) {
            turn_receive(f, c);
        }
    }
    turn_files(f);
}

static void fake_submit(struct io *io)
{
    (void)io;
}

static bool is_writable(const struct connection *c)
{
    size_t left = 0;
    for (unsigned i = 0; i < c->iov_count; i++) {
        left += c->iov[i].iov_len;
    }
    return c->client_reset || left == 0 || c->window > pipe_len(&c->out);
}

static bool has_event(const struct connection *c)
{
    return c->close.under_way || c->stop.under_way || (c->send.under_way && is_writable(c)) ||
           (c->receive.under_way && is_readable(c));
}

bool io_fake_has_pending(const struct io *io)
{
    const struct fake *const f = fake_of(io);
    for (size_t i = 0; i < f->waiting_count; i++) {
        if (f->listening[f->waiting[i].listener]) {
            return true;
        }
    }
    for (size_t i = 0; i < f->net->count; i++) {
        if (f->net->connections[i]->io == f && has_event(f->net->connections[i])) {
            return true;
        }
    }
    return f->files != NULL && !f->files_held;
}

bool io_fake_is_woken(const struct io *io)
{
    return fake_of(io)->woken;
}

static bool fake_has_news(struct io *io)
{
    return io_fake_has_pending(io);
}

struct io *io_fake_create(struct io_fake_net *net, const struct io_handlers *handlers,
                          void *context)
{
    struct fake *const f = calloc(1, sizeof *f);
    if (f == NULL) {
        abort();
    }
    f->io = (struct io){.driver = &driver, .handlers = {handlers}, .context = context};
    f->net = net;
    return &f->io;
}

static void fake_destroy(struct io *io)
{
    struct fake *const f = fake_of(io);
    for (size_t i = 0; i < f->net->count; i++) {
        struct connection *const c = f->net->connections[i];
        if (c->io == f) {
            c->closed = true;
            forget_socket(c);
        }
    }
    free(f->waiting);
    free(f);
}

static const struct io_driver driver = {
    .name = "fake",
    .destroy = fake_destroy,
    .listen = fake_listen,
    .listen_once = fake_listen_once,
    .listen_stop = fake_listen_stop,
    .attach = fake_attach,
    .detach = fake_detach,
    .receive_once = fake_receive_once,
    .receive_start = fake_receive_start,
    .receive_stop = fake_receive_stop,
    .send = fake_send,
    .send_at_once = fake_send_at_once,
    .shutdown_write = fake_shutdown_write,
    .close = fake_close,
    .write_and_sync = fake_write_and_sync,
    .wake = fake_wake,
    .has_news = fake_has_news,
    .wake_external = fake_wake_external,
    .turn = fake_turn,
    .submit = fake_submit,
};
