/* SPDX-License-Identifier: Apache-2.0 */
#include "broker/transport/transport.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include <wolfssl/options.h>
#include <wolfssl/wolfcrypt/hash.h>

#include "broker/config/comma_list.h"
#include "broker/transport/listener.h"
#include "broker/transport/tls.h"
#include "broker/transport/tls_context.h"
#include "proto/certificate_names.h"
#include "proto/client_hello.h"
#include "proto/proxy_header.h"
#include "proto/ws_frame.h"
#include "proto/ws_handshake.h"

/* A client that sends pings and does not read what comes of them gets no more of it [RFC
 * 6455, 5.5.3: only the last one need be answered]. */
#define PONG_WIRE_MAX 4096u

/* What is in front is dealt with; a layer that the listener has not is passed over. */
enum stage {
    STAGE_PROXY,
    STAGE_HELLO,
    STAGE_COSTLY,
    STAGE_TLS,
    STAGE_REQUEST,
    STAGE_OPEN,
    STAGE_ENDED,
    STAGE_REFUSED,
};

struct transport {
    const struct listener *listener;
    enum stage stage;
    bool goodbye;     /* has been said */
    bool upgraded;    /* HTTP has become WebSocket */
    bool told_of_tls; /* by the PROXY header: a handshake of ours is the load balancer's, then */
    uint8_t told_len;
    uint8_t *told_name; /* the common name that it told, told_len bytes; NULL: none */
    struct transport_peer peer;
    struct transport_refusal refusal;
    struct tls *tls;
    struct ws_frame ws;
    struct outbuf wire;

    uint8_t *held; /* what came, and is not whole yet */
    size_t held_len;
    struct client_hello hello; /* from COSTLY on; its name lies in `held` until the answer */
};

/* ---- memory */

static bool scratch_reserve(struct transport_scratch *s, size_t size)
{
    if (s->size >= size) {
        return true;
    }
    uint8_t *const at = realloc(s->at, size);
    if (at == NULL) {
        return false;
    }
    s->at = at;
    s->size = size;
    return true;
}

void transport_scratch_fini(struct transport_scratch *s)
{
    free(s->at);
    *s = (struct transport_scratch){.size = 0};
}

static enum stage behind_tls(const struct listener *l)
{
    return l->url.websocket ? STAGE_REQUEST : STAGE_OPEN;
}

static enum stage behind_proxy(const struct listener *l)
{
    return l->url.tls ? STAGE_HELLO : behind_tls(l);
}

struct transport *transport_create(const struct listener *listener)
{
    struct transport *t = calloc(1, sizeof *t);
    if (t != NULL) {
        t->listener = listener;
        t->stage = listener->proxy ? STAGE_PROXY : behind_proxy(listener);
    }
    return t;
}

static void forget(struct transport *t)
{
    free(t->held);
    t->held = NULL;
    t->held_len = 0;
}

void transport_destroy(struct transport *t)
{
    if (t != NULL) {
        tls_destroy(t->tls);
        outbuf_fini(&t->wire);
        forget(t);
        free(t->told_name);
        free(t);
    }
}

static bool hold(struct transport *t, struct bytes data)
{
    if (data.len == 0) {
        return true;
    }
    uint8_t *const held = realloc(t->held, t->held_len + data.len);
    if (held == NULL) {
        return false;
    }
    memcpy(held + t->held_len, data.at, data.len);
    t->held = held;
    t->held_len += data.len;
    return true;
}

static enum transport_step refuse(struct transport *t, const char *event, const char *why)
{
    t->stage = STAGE_REFUSED;
    t->refusal = (struct transport_refusal){.event = event, .why = why};
    forget(t);
    return TRANSPORT_REFUSED;
}

/* ---- the PROXY header */

static void take_peer(struct transport *t, const struct proxy_header *header)
{
    if (header->family == PROXY_FAMILY_IPV4 || header->family == PROXY_FAMILY_IPV6) {
        t->peer = (struct transport_peer){
            .address = header->source.address, .port = header->source.port, .told = true};
    }
}

/* false: no memory. A name that is not fair is none. */
static bool take_name(struct transport *t, const struct proxy_tls *tls)
{
    t->told_of_tls = tls->used;
    if (!tls->verified || !certificate_name_is_fair(CERTIFICATE_COMMON_NAME, tls->common_name)) {
        return true;
    }
    t->told_name = malloc(tls->common_name.len);
    if (t->told_name != NULL) {
        memcpy(t->told_name, tls->common_name.at, tls->common_name.len);
        t->told_len = (uint8_t)tls->common_name.len;
    }
    return t->told_name != NULL;
}

/* The header's bytes are taken off the front of *data. */
static enum transport_step read_proxy_header(struct transport *t, struct bytes *data)
{
    struct proxy_header header;
    size_t used = 0;
    enum proxy_header_err err = proxy_header_decode(&header, t->held, t->held_len, &used);
    while (err == PROXY_HEADER_NEED_MORE && data->len > 0) {
        const size_t missing = used - t->held_len;
        const size_t len = missing < data->len ? missing : data->len;
        if (!hold(t, bytes_of(data->at, len))) {
            return refuse(t, "proxy_header_refused", "out of memory");
        }
        *data = bytes_of(data->at + len, data->len - len);
        err = proxy_header_decode(&header, t->held, t->held_len, &used);
    }
    switch (err) {
    case PROXY_HEADER_OK:
        take_peer(t, &header);
        if (!take_name(t, &header.tls)) {
            return refuse(t, "proxy_header_refused", "out of memory");
        }
        t->stage = behind_proxy(t->listener);
        forget(t);
        return TRANSPORT_ON;
    case PROXY_HEADER_NEED_MORE:
        return TRANSPORT_ON;
    default:
        return refuse(t, "proxy_header_refused",
                      "it begins with no PROXY header; is the load balancer set to send one?");
    }
}

/* ---- TLS */

static enum transport_step read_hello(struct transport *t, struct bytes data)
{
    size_t wanted;
    if (!hold(t, data)) {
        return refuse(t, "tls_handshake_failed", "out of memory");
    }
    if (t->held_len == 0) {
        return TRANSPORT_ON;
    }
    switch (client_hello_peek(&t->hello, t->held, t->held_len, &wanted)) {
    case CLIENT_HELLO_OK:
        t->stage = STAGE_COSTLY;
        return TRANSPORT_COSTLY;
    case CLIENT_HELLO_NEED_MORE:
        return TRANSPORT_ON;
    default:
        return refuse(t, "tls_handshake_failed", "it does not begin with a TLS handshake");
    }
}

static enum transport_step tls_failed(struct transport *t)
{
    return refuse(t, t->stage == STAGE_TLS ? "tls_handshake_failed" : "tls_failed",
                  tls_why(t->tls));
}

/* The room for what one feed of `len` bytes comes to: records that were begun by earlier ones are
 * ended by it. */
static size_t plain_bytes_max(size_t len)
{
    return len + TLS_RECORD_BYTES + 1;
}

static enum transport_step read_tls(struct transport *t, struct bytes data,
                                    struct transport_scratch *scratch)
{
    if (!scratch_reserve(scratch, plain_bytes_max(data.len))) {
        return refuse(t, "tls_failed", "out of memory");
    }
    tls_feed(t->tls, data.at, data.len);
    for (;;) {
        size_t len = 0;
        enum tls_result result;
        if (t->stage == STAGE_TLS) {
            result = tls_handshake(t->tls);
        } else if (scratch->len == scratch->size) {
            return refuse(t, "tls_failed", "more came out of a record than went in");
        } else {
            result =
                tls_read(t->tls, scratch->at + scratch->len, scratch->size - scratch->len, &len);
        }
        switch (result) {
        case TLS_DONE:
            if (t->stage == STAGE_TLS) {
                t->stage = behind_tls(t->listener);
            }
            scratch->len += len;
            break;
        case TLS_WANTS_MORE:
            return TRANSPORT_ON;
        case TLS_ENDED:
            t->stage = STAGE_ENDED;
            return TRANSPORT_ENDED;
        case TLS_FAILED:
            return tls_failed(t);
        }
    }
}

/* ---- to the wire */

/* Bytes of ours, of any layer above TLS. */
static bool put(struct transport *t, const uint8_t *data, size_t len)
{
    if (t->tls != NULL) {
        return tls_write(t->tls, data, len);
    }
    return outbuf_put(&t->wire, data, len) == 0;
}

/* ---- WebSocket: the request */

static enum transport_step refuse_request(struct transport *t, enum ws_status status,
                                          const char *why)
{
    struct ws_answer answer;
    ws_handshake_refusal_encode(&answer, status);
    const bool sent = put(t, answer.bytes, answer.len);
    t->goodbye = true; /* no frames: there is no WebSocket */
    return refuse(t, "websocket_refused", sent ? why : "out of memory");
}

static bool origin_is_welcome(const struct listener *l, struct bytes origin)
{
    const char *at = l->settings.origins;
    if (origin.at == NULL || at[0] == '\0') {
        return true;
    }
    for (struct bytes word; comma_list_next(&at, &word);) {
        if (bytes_equal(word, origin)) {
            return true;
        }
    }
    return false;
}

static enum transport_step answer_request(struct transport *t, const struct ws_handshake *request)
{
    const struct listener *const l = t->listener;
    if (l->url.path[0] != '\0' && !bytes_equal(request->path, bytes_text(l->url.path))) {
        return refuse_request(t, WS_STATUS_NOT_FOUND, "it asks for another path");
    }
    if (!origin_is_welcome(l, request->origin)) {
        return refuse_request(t, WS_STATUS_FORBIDDEN, "its origin is not one of `origins`");
    }
    if (!request->offers_mqtt && !request->offers_mqttv31) { /* [MQTT-6.0.0-3] */
        return refuse_request(t, WS_STATUS_BAD_REQUEST,
                              "it offers neither of the subprotocols mqtt and mqttv3.1");
    }
    uint8_t input[WS_ACCEPT_INPUT_BYTES], digest[WS_DIGEST_BYTES];
    struct ws_answer answer;
    ws_handshake_accept_input(request, input);
    if (wc_ShaHash(input, sizeof input, digest) != 0) {
        return refuse_request(t, WS_STATUS_UNAVAILABLE, "SHA-1 failed");
    }
    ws_handshake_answer_encode(&answer, digest,
                               request->offers_mqtt ? WS_SUBPROTOCOL_MQTT : WS_SUBPROTOCOL_MQTTV31);
    t->stage = STAGE_OPEN;
    t->upgraded = true;
    return put(t, answer.bytes, answer.len) ? TRANSPORT_ON
                                            : refuse(t, "websocket_refused", "out of memory");
}

/* The scratch's bytes are of the request; afterwards those behind it are in there. */
static enum transport_step read_request(struct transport *t, struct transport_scratch *scratch)
{
    struct ws_handshake request;
    size_t used;
    if (!hold(t, bytes_of(scratch->at, scratch->len))) {
        return refuse(t, "websocket_refused", "out of memory");
    }
    scratch->len = 0;
    const enum ws_handshake_err err = ws_handshake_decode(&request, t->held, t->held_len, &used);
    if (err == WS_HANDSHAKE_NEED_MORE) {
        return TRANSPORT_ON;
    }
    if (err != WS_HANDSHAKE_OK) {
        return refuse_request(t, ws_handshake_status(err), ws_handshake_err_text(err));
    }
    const enum transport_step step = answer_request(t, &request);
    if (step == TRANSPORT_ON) {
        scratch->len = t->held_len - used; /* a part of what was just in there */
        memcpy(scratch->at, t->held + used, scratch->len);
        forget(t);
    }
    return step;
}

/* ---- WebSocket: frames */

static bool put_close(struct transport *t, uint16_t code)
{
    uint8_t frame[WS_FRAME_CONTROL_BYTES_MAX];
    t->goodbye = true;
    return put(t, frame, ws_frame_close_encode(frame, code));
}

static bool put_pong(struct transport *t, struct bytes data)
{
    uint8_t frame[WS_FRAME_CONTROL_BYTES_MAX];
    return outbuf_bytes(&t->wire) > PONG_WIRE_MAX ||
           put(t, frame, ws_frame_pong_encode(frame, data));
}

/* In place: what is left in the scratch is MQTT. */
static enum transport_step read_frames(struct transport *t, struct transport_scratch *scratch)
{
    const size_t len = scratch->len;
    scratch->len = 0;
    for (size_t at = 0; at < len;) {
        struct ws_decoded decoded;
        const enum ws_event event = ws_frame_decode(&t->ws, scratch->at + at, len - at,
                                                    scratch->at + scratch->len, &decoded);
        at += decoded.used;
        scratch->len += decoded.payload_len;
        switch (event) {
        case WS_MORE:
            break;
        case WS_PING:
            if (!put_pong(t, decoded.control)) {
                return refuse(t, "websocket_failed", "out of memory");
            }
            break;
        case WS_CLOSE:
            t->stage = STAGE_ENDED;
            return put_close(t, decoded.close) ? TRANSPORT_ENDED
                                               : refuse(t, "websocket_failed", "out of memory");
        case WS_ERROR:
            (void)put_close(t, decoded.close); /* it ends in any case */
            return refuse(t, "websocket_failed",
                          decoded.close == WS_CLOSE_UNACCEPTABLE
                              ? "it sent text; MQTT is binary"
                              : "it sent a frame that is not of RFC 6455");
        }
    }
    return TRANSPORT_ON;
}

static enum transport_step read_websocket(struct transport *t, struct transport_scratch *scratch,
                                          enum transport_step step)
{
    if (t->stage == STAGE_REQUEST && scratch->len > 0 && step == TRANSPORT_ON) {
        step = read_request(t, scratch);
    }
    if (!t->upgraded || t->stage == STAGE_REFUSED) {
        scratch->len = 0;
        return step;
    }
    const enum transport_step frames = read_frames(t, scratch);
    return frames == TRANSPORT_ON ? step : frames;
}

/* ---- the layers, one after the other */

static enum transport_step read_layers(struct transport *t, struct bytes data,
                                       struct transport_scratch *scratch)
{
    enum transport_step step = TRANSPORT_ON;
    if (t->tls != NULL) {
        step = read_tls(t, data, scratch);
        if (t->stage == STAGE_TLS) {
            return step;
        }
    } else if (!scratch_reserve(scratch, data.len)) {
        return refuse(t, "transport_failed", "out of memory");
    } else if (data.len > 0) {
        memcpy(scratch->at, data.at, data.len);
        scratch->len = data.len;
    }
    return t->listener->url.websocket ? read_websocket(t, scratch, step) : step;
}

enum transport_step transport_receive(struct transport *t, struct bytes data,
                                      struct transport_scratch *scratch)
{
    scratch->len = 0;
    if (t->stage == STAGE_PROXY) {
        const enum transport_step step = read_proxy_header(t, &data);
        if (step != TRANSPORT_ON || t->stage == STAGE_PROXY) {
            return step;
        }
    }
    switch (t->stage) {
    case STAGE_HELLO:
        return read_hello(t, data);
    case STAGE_ENDED:
        return TRANSPORT_ENDED;
    case STAGE_REFUSED:
        return TRANSPORT_REFUSED;
    default:
        assert(t->stage != STAGE_COSTLY); /* nothing is received before it is its turn */
        return read_layers(t, data, scratch);
    }
}

enum transport_step transport_go_on(struct transport *t, struct transport_scratch *scratch)
{
    assert(t->stage == STAGE_COSTLY);
    scratch->len = 0;
    struct tls_context *const context =
        atomic_load_explicit(&t->listener->tls_context, memory_order_acquire);
    t->tls = tls_create(context, t->hello.server_name, &t->wire);
    if (t->tls == NULL) {
        return refuse(t, "tls_handshake_failed", "out of memory");
    }
    t->stage = STAGE_TLS;
    uint8_t *const held = t->held;
    const struct bytes data = bytes_of(held, t->held_len);
    t->held = NULL;
    t->held_len = 0;
    const enum transport_step step = read_layers(t, data, scratch);
    free(held);
    return step;
}

/* ---- questions */

bool transport_resumes(const struct transport *t)
{
    return t->hello.resumes;
}

bool transport_resumed(const struct transport *t)
{
    return t->tls != NULL && tls_resumed(t->tls);
}

bool transport_is_open(const struct transport *t)
{
    return t->stage == STAGE_OPEN;
}

bool transport_is_plain(const struct transport *t)
{
    return t->stage == STAGE_OPEN && t->tls == NULL && !t->listener->url.websocket &&
           t->told_name == NULL;
}

bool transport_has_ended(const struct transport *t)
{
    return t->stage == STAGE_ENDED;
}

bool transport_is_refused(const struct transport *t)
{
    return t->stage == STAGE_REFUSED;
}

const struct transport_peer *transport_peer(const struct transport *t)
{
    return &t->peer;
}

struct bytes transport_name(const struct transport *t, enum config_name_from from)
{
    static const enum certificate_name kinds[] = {
        [CONFIG_FROM_COMMON_NAME] = CERTIFICATE_COMMON_NAME,
        [CONFIG_FROM_SAN_DNS] = CERTIFICATE_DNS,
        [CONFIG_FROM_SAN_URI] = CERTIFICATE_URI,
        [CONFIG_FROM_SAN_EMAIL] = CERTIFICATE_EMAIL,
    };
    if (t == NULL || from == CONFIG_FROM_NONE) {
        return bytes_of(NULL, 0);
    }
    if (t->told_of_tls) {
        return from == CONFIG_FROM_COMMON_NAME ? bytes_of(t->told_name, t->told_len)
                                               : bytes_of(NULL, 0);
    }
    return t->tls == NULL ? bytes_of(NULL, 0) : tls_peer_names(t->tls)->name[kinds[from]];
}

struct bytes transport_common_name(const struct transport *t)
{
    return transport_name(t, CONFIG_FROM_COMMON_NAME);
}

static const struct tls_context *context_now(const struct transport *t)
{
    return atomic_load_explicit(&t->listener->tls_context, memory_order_acquire);
}

enum tls_peer_cost transport_trust_cost(const struct transport *t)
{
    return t == NULL || t->tls == NULL ? TLS_PEER_NOTHING : tls_trust_cost(t->tls, context_now(t));
}

bool transport_is_trusted(struct transport *t, const char **why)
{
    return t == NULL || t->tls == NULL || tls_is_trusted(t->tls, context_now(t), why);
}

struct transport_refusal transport_refusal(const struct transport *t)
{
    return t->refusal;
}

/* ---- sending */

struct outbuf *transport_wire(struct transport *t)
{
    return &t->wire;
}

/* A place in what is to be sent. */
struct source {
    const struct iovec *iov;
    unsigned n;
    size_t at; /* in the first */
};

static size_t source_copy(struct source *s, uint8_t *to, size_t size)
{
    size_t copied = 0;
    while (copied < size && s->n > 0) {
        const size_t left = s->iov->iov_len - s->at;
        const size_t len = left < size - copied ? left : size - copied;
        memcpy(to + copied, (const uint8_t *)s->iov->iov_base + s->at, len);
        copied += len;
        s->at += len;
        if (s->at == s->iov->iov_len) {
            s->iov++;
            s->n--;
            s->at = 0;
        }
    }
    return copied;
}

static size_t source_bytes(const struct source *s)
{
    size_t bytes = 0;
    for (unsigned i = 0; i < s->n; i++) {
        bytes += s->iov[i].iov_len;
    }
    return bytes - s->at;
}

/* One record, one frame. */
static bool send_piece(struct transport *t, struct source *source, size_t len,
                       struct transport_scratch *scratch)
{
    uint8_t header[WS_FRAME_HEADER_BYTES_MAX];
    const size_t header_len = t->listener->url.websocket ? ws_frame_header_encode(header, len) : 0;
    uint8_t *const to = t->tls != NULL ? scratch->at : outbuf_reserve(&t->wire, header_len + len);
    if (to == NULL) {
        return false;
    }
    memcpy(to, header, header_len);
    const size_t copied = source_copy(source, to + header_len, len);
    assert(copied == len);
    if (t->tls != NULL) {
        return tls_write(t->tls, to, header_len + len);
    }
    outbuf_commit(&t->wire, header_len + len);
    return true;
}

bool transport_send(struct transport *t, const struct iovec *iov, unsigned n,
                    struct transport_scratch *scratch, size_t *taken)
{
    static const size_t piece_max = TLS_RECORD_BYTES - WS_FRAME_HEADER_BYTES_MAX;
    struct source source = {.iov = iov, .n = n};
    if (t->goodbye || t->stage == STAGE_REFUSED) {
        *taken = source_bytes(&source);
        return true;
    }
    *taken = 0;
    if (!scratch_reserve(scratch, TLS_RECORD_BYTES)) {
        return false;
    }
    for (size_t left; *taken < TRANSPORT_BATCH && (left = source_bytes(&source)) > 0;) {
        const size_t len = left < piece_max ? left : piece_max;
        if (!send_piece(t, &source, len, scratch)) {
            return false;
        }
        *taken += len;
    }
    return true;
}

void transport_goodbye(struct transport *t)
{
    if (!t->goodbye && t->upgraded) {
        (void)put_close(t, WS_CLOSE_NORMAL); /* a courtesy: MQTT has said why */
    }
    t->goodbye = true;
    if (t->tls != NULL) {
        tls_close_notify(t->tls);
    }
}
