#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""Somebody else who uses the broker meanwhile: a publisher and a subscriber at QoS 1.

    bystander.py PORT [CA]  # until its standard input ends; says `ready`, at the end a line of JSON

CA: the file of the authority of a TLS listener at that port; without it, it is a plain one.

Publishes 200 messages a second at times fixed beforehand, and measures from those times until the
subscriber has each, so that a broker that stands still is seen in every message it delays. It is a
process of its own: the tests' own work is not in its figures. The exit status is 1 if a message was
lost, came twice or out of order, or a connection ended.
"""
import functools
import json
import os
import select
import ssl
import sys
import time

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))

from raw import Client, PUBACK, PUBLISH, V311, Unexpected, wire  # noqa: E402

INTERVAL_S = 0.005
TOPIC = f'bystander/{os.getpid()}'


class Bystander:
    def __init__(self, port, authority=None):
        wrap = authority and functools.partial(
            ssl.create_default_context(cafile=authority).wrap_socket, server_hostname='localhost')
        self.publisher, self.subscriber = (Client(('127.0.0.1', port), V311, wrap=wrap)
                                           for _ in range(2))
        self.publisher.connect(f'bystander-p-{os.getpid()}')
        self.subscriber.connect(f'bystander-s-{os.getpid()}')
        self.subscriber.subscribe(TOPIC, qos=1)
        self.due, self.latencies, self.acknowledged = [], [], 0
        self.buffers = {self.publisher: bytearray(), self.subscriber: bytearray()}

    def publish(self):
        number = len(self.due)
        self.publisher.send(wire.publish(V311, TOPIC, b'%d' % number, 1, number % 65535 + 1))
        self.due.append(self.begin + number * INTERVAL_S)

    def read(self, client):
        data, buffer = client.sock.recv(1 << 16), self.buffers[client]
        if not data:
            raise Unexpected('the broker has closed')
        buffer += data
        while isinstance(client.sock, ssl.SSLSocket) and client.sock.pending():
            buffer += client.sock.recv(1 << 16)  # which select() knows nothing of
        while (size := wire.split(buffer)) is not None:
            self.handle(client, wire.parse(bytes(buffer[:size]), V311))
            del buffer[:size]

    def handle(self, client, p):
        if client is self.publisher and p.type == PUBACK:
            self.acknowledged += 1
        elif client is self.subscriber and p.type == PUBLISH and \
                p.payload == b'%d' % len(self.latencies):
            client.send(wire.ack(PUBACK, p.packet_id))
            self.latencies.append(time.monotonic() - self.due[len(self.latencies)])
        else:
            raise Unexpected(f'{len(self.latencies)} was due, not {p}')

    def whole(self):
        return len(self.latencies) == self.acknowledged == len(self.due)

    def run(self, patience_s=60):
        """Until standard input ends, and everything that was published has come."""
        self.begin, asked_to_end = time.monotonic(), None
        by_socket = {c.sock: c for c in self.buffers}
        print('ready', flush=True)
        while asked_to_end is None or not self.whole():
            now = time.monotonic()
            if asked_to_end is None:
                while self.begin + len(self.due) * INTERVAL_S <= now:
                    self.publish()
            elif now > asked_to_end + patience_s:
                raise Unexpected(f'{len(self.due)} published, {self.acknowledged} acknowledged, '
                                 f'{len(self.latencies)} delivered')
            watched = [*by_socket] + ([sys.stdin] if asked_to_end is None else [])
            next_due = self.begin + len(self.due) * INTERVAL_S
            for ready in select.select(watched, [], [], max(0.0, next_due - time.monotonic())
                                       if asked_to_end is None else INTERVAL_S)[0]:
                if ready is sys.stdin:
                    asked_to_end = now
                else:
                    self.read(by_socket[ready])


def main():
    bystander = Bystander(int(sys.argv[1]), *sys.argv[2:])
    bystander.run()
    ms = sorted(s * 1000 for s in bystander.latencies) or [0.0]
    print(json.dumps({'messages': len(ms), 'p50_ms': round(ms[len(ms) // 2], 2),
                      'p99_ms': round(ms[len(ms) * 99 // 100], 2), 'longest_ms': round(ms[-1], 2)}))


if __name__ == '__main__':
    main()
