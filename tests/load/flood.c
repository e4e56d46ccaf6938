/* SPDX-License-Identifier: Apache-2.0 */
/*
 * flood: publishes at a rate, or takes all there is; for the programs of this folder.
 *
 *   flood PORT publish TOPIC QOS BYTES RATE SECONDS     QOS: 0 or 1; RATE: messages per second
 *   flood PORT take FILTER QOS SECONDS
 *
 * Prints one line of figures at the end. MQTT 3.1.1 on a plain blocking socket; the messages of one
 * millisecond go out in one write. At QoS 1 at most WINDOW messages are unacknowledged; what the
 * broker then slows down is missing from the rate, and the line says so.
 * Memory: one millisecond of messages, one read buffer.
 */
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/tcp.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#define WINDOW      1000u
#define READ_BYTES  (1u << 18)
#define PACKET_HEAD 16u /* fixed header, topic's length, packet id */
#define TOPIC_BYTES 64u

static void die(const char *what)
{
    perror(what);
    exit(1);
}

static uint64_t now_ns(void)
{
    struct timespec t;
    if (clock_gettime(CLOCK_MONOTONIC, &t) != 0) {
        die("clock_gettime");
    }
    return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
}

static void send_all(int fd, const uint8_t *bytes, size_t len)
{
    while (len > 0) {
        const ssize_t sent = send(fd, bytes, len, MSG_NOSIGNAL);
        if (sent < 0) {
            die("send");
        }
        bytes += sent;
        len -= (size_t)sent;
    }
}

static void receive_all(int fd, uint8_t *bytes, size_t len)
{
    while (len > 0) {
        const ssize_t got = recv(fd, bytes, len, 0);
        if (got <= 0) {
            die("recv");
        }
        bytes += got;
        len -= (size_t)got;
    }
}

static uint8_t *put_u16(uint8_t *at, size_t n)
{
    at[0] = (uint8_t)(n >> 8);
    at[1] = (uint8_t)n;
    return at + 2;
}

static uint8_t *put_text(uint8_t *at, const char *text)
{
    const size_t len = strlen(text);
    at = put_u16(at, len);
    memcpy(at, text, len);
    return at + len;
}

/* A connection that has been accepted. */
static int open_client(unsigned port)
{
    const int fd = socket(AF_INET, SOCK_STREAM, 0);
    const struct sockaddr_in address = {.sin_family = AF_INET,
                                        .sin_port = htons((uint16_t)port),
                                        .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    const int on = 1;
    if (fd < 0 || connect(fd, (const struct sockaddr *)&address, sizeof address) != 0 ||
        setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on) != 0) {
        die("connect");
    }
    char id[24];
    (void)snprintf(id, sizeof id, "flood-%d", (int)getpid());
    uint8_t packet[64] = {0x10, 0, 0, 4, 'M', 'Q', 'T', 'T', 4, 0x02, 0, 0};
    const uint8_t *const end = put_text(packet + 12, id);
    packet[1] = (uint8_t)(end - packet - 2);
    send_all(fd, packet, (size_t)(end - packet));

    uint8_t connack[4];
    receive_all(fd, connack, sizeof connack);
    if (connack[0] != 0x20 || connack[3] != 0) {
        (void)fprintf(stderr, "flood: CONNACK %u\n", connack[3]);
        exit(1);
    }
    return fd;
}

/* A PUBLISH of `bytes` of payload at `packet`; returns its size. *id_at: where its id goes. */
static size_t make_publish(uint8_t *packet, const char *topic, unsigned qos, size_t bytes,
                           uint8_t **id_at)
{
    size_t left = 2 + strlen(topic) + (qos > 0 ? 2 : 0) + bytes;
    uint8_t *at = packet;
    *at++ = (uint8_t)(0x30 | qos << 1);
    do {
        *at++ = (uint8_t)((left & 0x7f) | (left > 0x7f ? 0x80 : 0));
        left >>= 7;
    } while (left > 0);
    at = put_text(at, topic);
    *id_at = at;
    if (qos > 0) {
        at += 2;
    }
    memset(at, 'x', bytes);
    return (size_t)(at + bytes - packet);
}

/* Waits until fewer than `limit` are unacknowledged; all that comes is PUBACK, of four bytes. */
static void take_acks(int fd, uint64_t published, uint64_t *ack_bytes, uint64_t limit)
{
    uint8_t buffer[4096];
    while (published - *ack_bytes / 4 >= limit) {
        const ssize_t got = recv(fd, buffer, sizeof buffer, 0);
        if (got <= 0) {
            die("recv");
        }
        *ack_bytes += (uint64_t)got;
    }
}

static int publish(int fd, const char *topic, unsigned qos, size_t bytes, uint64_t rate,
                   uint64_t seconds)
{
    const uint64_t batch_max = rate / 1000 + 1;
    const size_t packet_max = PACKET_HEAD + TOPIC_BYTES + bytes;
    uint8_t *const packet = malloc(packet_max);
    uint8_t *const batch = malloc(packet_max * batch_max);
    if (packet == NULL || batch == NULL) {
        die("malloc");
    }
    uint8_t *id_at = NULL;
    const size_t size = make_publish(packet, topic, qos, bytes, &id_at);

    const uint64_t began = now_ns();
    const uint64_t end = began + seconds * 1000000000u;
    uint64_t published = 0;
    uint64_t ack_bytes = 0;
    uint64_t late = 0; /* milliseconds that began late because the broker had not taken the last */
    for (uint64_t tick = began; tick < end; tick += 1000000u) {
        const struct timespec until = {(time_t)(tick / 1000000000u), (long)(tick % 1000000000u)};
        if (now_ns() > tick + 1000000u) {
            late++;
        }
        while (clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &until, NULL) == EINTR) {
        }
        uint64_t due = (tick - began) / 1000000u * rate / 1000 + batch_max - published;
        due = due > batch_max ? batch_max : due;
        for (uint64_t i = 0; i < due; i++) {
            if (qos > 0) {
                (void)put_u16(id_at, (size_t)((published + i) % 65535 + 1));
            }
            memcpy(batch + i * size, packet, size);
        }
        if (qos > 0) {
            take_acks(fd, published + due, &ack_bytes, WINDOW);
        }
        send_all(fd, batch, due * size);
        published += due;
    }
    const double took = (double)(now_ns() - began) / 1e9;
    if (qos > 0) {
        take_acks(fd, published, &ack_bytes, 1);
    }
    (void)printf("published %llu in %.2f s: %.0f/s of %llu/s, %llu ms began late\n",
                 (unsigned long long)published, took, (double)published / took,
                 (unsigned long long)rate, (unsigned long long)late);
    free(packet);
    free(batch);
    return 0;
}

/* Takes what comes as a stream, and counts the packets in it; QoS 0 needs no more. */
static int take(int fd, const char *filter, unsigned qos, uint64_t seconds)
{
    uint8_t packet[PACKET_HEAD + TOPIC_BYTES] = {0x82, 0, 0, 1};
    uint8_t *at = put_text(packet + 4, filter);
    *at++ = (uint8_t)qos;
    packet[1] = (uint8_t)(at - packet - 2);
    send_all(fd, packet, (size_t)(at - packet));

    uint8_t *const buffer = malloc(READ_BYTES);
    if (buffer == NULL) {
        die("malloc");
    }
    const struct timeval patience = {.tv_sec = 1};
    if (setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof patience) != 0) {
        die("setsockopt");
    }
    const uint64_t began = now_ns();
    uint64_t count = 0;
    uint64_t bytes = 0;
    uint64_t first_ns = 0; /* when the first and the last bytes came */
    uint64_t last_ns = 0;
    uint64_t skip = 0;  /* bytes left of the packet that began in an earlier read */
    unsigned shift = 0; /* of the length that is being read */
    int in_length = 0;  /* 0: at a packet's first byte */
    while (now_ns() - began < seconds * 1000000000u) {
        const ssize_t got = recv(fd, buffer, READ_BYTES, 0);
        if (got < 0 && (errno == EAGAIN || errno == EWOULDBLOCK)) {
            continue;
        }
        if (got <= 0) {
            break;
        }
        bytes += (uint64_t)got;
        last_ns = now_ns();
        first_ns = first_ns == 0 && count > 0 ? last_ns : first_ns;
        for (size_t i = 0; i < (size_t)got;) {
            if (skip > 0 && in_length == 0) {
                const size_t step = skip < (size_t)got - i ? (size_t)skip : (size_t)got - i;
                skip -= step;
                i += step;
            } else if (in_length == 0) {
                count += buffer[i++] >> 4 == 3;
                in_length = 1;
                shift = 0;
                skip = 0;
            } else {
                skip |= (uint64_t)(buffer[i] & 0x7f) << shift;
                shift += 7;
                in_length = (buffer[i++] & 0x80) != 0;
            }
        }
    }
    const double took = (double)(last_ns - first_ns) / 1e9 + 1e-9;
    (void)printf("took %llu messages, %.1f MB in %.2f s: %.0f/s\n", (unsigned long long)count,
                 (double)bytes / 1e6, took, (double)count / took);
    free(buffer);
    return 0;
}

static uint64_t number(const char *text)
{
    char *end = NULL;
    const unsigned long long n = strtoull(text, &end, 10);
    if (end == text || *end != '\0') {
        (void)fprintf(stderr, "flood: %s is not a number\n", text);
        exit(2);
    }
    return n;
}

int main(int argc, char **argv)
{
    if (argc == 8 && strcmp(argv[2], "publish") == 0 && strlen(argv[3]) < TOPIC_BYTES) {
        const unsigned qos = (unsigned)number(argv[4]);
        if (qos <= 1) {
            return publish(open_client((unsigned)number(argv[1])), argv[3], qos, number(argv[5]),
                           number(argv[6]), number(argv[7]));
        }
    }
    if (argc == 6 && strcmp(argv[2], "take") == 0 && strlen(argv[3]) < TOPIC_BYTES) {
        return take(open_client((unsigned)number(argv[1])), argv[3], (unsigned)number(argv[4]),
                    number(argv[5]));
    }
    (void)fprintf(stderr, "usage: flood PORT publish TOPIC QOS BYTES RATE SECONDS\n"
                          "       flood PORT take FILTER QOS SECONDS\n");
    return 2;
}
