#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""A day of sensor traffic, as fast as it goes, and every promise of QoS checked.

    sensor_replay.py --bin build/release/bin          # starts a broker; 2,000 devices
    sensor_replay.py --port 1883 --devices 200        # against one that runs, and is new

The day, the same for the same --seed:

  devices     publish to CITY/HALL/LINE/DEVICE/METRIC, 20 B to 64 KiB, QoS 0 to 2, more by day than
              by night; the metric `state` is retained. They drop, politely or not, and resume their
              session, sending again what was not acknowledged. Versions 3.1, 3.1.1 and 5.0.
  control     sends each device commands at QoS 1 and 2, also while it is away
  dashboards  each has one city, at QoS 2: CITY/#
  alarms      +/+/+/+/alarm at QoS 1, and temperatures at QoS 0
  archive     CITY/# of one city at QoS 2; drops and resumes, with messages queued meanwhile
  workers     $share/store/+/+/+/+/+ at QoS 2: four that stay
  temps       $share/alert/+/+/+/+/alarm at QoS 1: four, of which one goes for good at noon

Checked, per subscription, publisher, topic and QoS:
  QoS 2     every message, in order, once; in a share, by exactly one member
  QoS 1     every message, first copies in order; a further copy only if it bears DUP, or if its
            publisher had sent it again, or in a share that lost a member
  QoS 0     in order; a further copy only if its publisher had sent it again, at QoS 1
and, at the end of the day, that a newcomer gets each device's last state as retained.

One process, one thread, epoll. At most --window deliveries are outstanding, so the day is as long
as broker and checker need. The checker counts what it has not seen as lost after 20 s of silence.
"""
import argparse
import collections
import os
import random
import select
import socket
import struct
import subprocess
import sys
import time

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, os.path.join(HERE, '..', 'e2e'))

import wire  # noqa: E402
from wire import (CONNACK, PINGRESP, PUBACK, PUBCOMP, PUBLISH, PUBREC, PUBREL, SUBACK, V31, V311,  # noqa: E402
                  V5)

METRICS = ('temperature', 'humidity', 'power', 'image', 'alarm', 'state', 'cmd')
STATE, CMD = METRICS.index('state'), METRICS.index('cmd')
HEADER = struct.Struct('>IBI')  # topic id, QoS, sequence number
NEVER = {'session_expiry_interval': 86400}
PATIENCE_S = 20.0


# ---- The connections

class Connection:
    """One MQTT client on a non-blocking socket: its bytes, its windows, its session state.
    What it does with a message is `on_message`, of the kind of client that it is."""

    def __init__(self, world, client_id, version, clean):
        self.world, self.version, self.clean = world, version, clean
        self.client_id = f'{client_id}-{os.getpid()}'  # no session of an earlier run
        self.sock, self.up = None, False       # up: CONNACK has come
        self.buffer, self.out, self.dirty = bytearray(), bytearray(), False
        self.filters = []                      # (filter, QoS), subscribed to at the first CONNACK
        self.subscribed = False
        self.packet_id = 0
        self.unacked = collections.OrderedDict()  # packet id: PUBLISH without DUP, or None: released
        self.backlog = collections.deque()     # (topic, payload, qos, retain), not sent yet
        self.inflight_max = 16
        self.received = set()                  # QoS 2, not released
        self.released = set()                  # packet ids whose PUBREL was sent again: 0x92 is fine
        self.resent = set()                    # (topic id, qos, seq) that were sent again
        self.fast = 0

    def connect(self):
        self.sock = socket.socket()
        self.sock.setblocking(False)
        self.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        try:
            self.sock.connect(self.world.address)
        except BlockingIOError:
            pass
        props = None if self.clean or self.version < V5 else NEVER
        self.buffer.clear()
        self.out[:] = wire.connect(self.version, self.client_id, self.clean, 0, props=props)
        self.world.register(self)
        self.world.touch(self)

    def leave(self, politely):
        if self.sock is None:
            return
        if politely and self.up:
            try:
                self.sock.send(bytes(self.out) + wire.disconnect(self.version))
            except OSError:
                pass
        self.world.unregister(self)
        self.sock.close()
        self.sock, self.up, self.dirty = None, False, False
        self.out.clear()

    # ---- Bytes

    def send(self, data):
        self.out += data
        if not self.dirty:
            self.world.touch(self)

    def flush(self):
        """False: the kernel takes no more for now."""
        try:
            while self.out:
                n = self.sock.send(self.out[:1 << 18] if len(self.out) > 1 << 18 else self.out)
                del self.out[:n]
        except BlockingIOError:
            return False
        except OSError as e:
            self.world.wrong(f'{self.client_id}: {e}')
            return True
        return True

    def readable(self):
        try:
            data = self.sock.recv(1 << 18)
        except BlockingIOError:
            return
        except OSError as e:
            data = b''
            self.world.wrong(f'{self.client_id}: {e}')
        if not data:
            self.world.wrong(f'{self.client_id}: the broker closed the connection')
            self.leave(False)
            return
        self.buffer += data
        at, buffer = 0, self.buffer
        end = len(buffer)
        while end - at >= 2:
            length, body = buffer[at + 1], at + 2
            if length & 0x80:
                length, shift, body = 0, 0, at + 1
                while body < end:
                    byte = buffer[body]
                    body += 1
                    length |= (byte & 0x7F) << shift
                    shift += 7
                    if not byte & 0x80:
                        break
                else:
                    break
            if end - body < length:
                break
            self.packet(buffer, at, body, body + length)
            if self.sock is None:
                return
            at = body + length
        del buffer[:at]

    def packet(self, buffer, at, body, end):
        first = buffer[at]
        kind = first >> 4
        self.fast += 1
        if kind not in self.FAST or self.fast % 64 == 0:
            p = wire.parse(bytes(buffer[at:end]), self.version)  # strict
            if kind == CONNACK:
                self.on_connack(p)
            elif kind == SUBACK:
                if p.reasons != tuple(q for _, q in self.filters):
                    self.world.wrong(f'{self.client_id}: {p}')
                self.subscribed = True
                self.world.waiting.discard(self)
            elif kind == PINGRESP:
                pass
            elif kind not in self.FAST:
                self.world.wrong(f'{self.client_id}: {p}')
        if kind == PUBLISH:
            self.on_publish(first, buffer, body, end)
        elif kind in self.FAST:
            packet_id = buffer[body] << 8 | buffer[body + 1]
            if end - body > 2 and buffer[body + 2] >= 0x80 and not (
                    kind == PUBCOMP and buffer[body + 2] == 0x92 and packet_id in self.released):
                self.world.wrong(f'{self.client_id}: code 0x{buffer[body + 2]:02x} in an answer')
            if kind == PUBREL:
                self.received.discard(packet_id)
                self.send(b'\x70\x02' + struct.pack('>H', packet_id))
            else:
                self.on_ack(kind, packet_id)

    FAST = (PUBLISH, PUBACK, PUBREC, PUBREL, PUBCOMP)

    # ---- Receiving

    def on_connack(self, p):
        if p.reason:
            self.world.wrong(f'{self.client_id}: {p}')
            return
        if self.version >= V311 and p.session_present != (self.subscribed and not self.clean):
            self.world.wrong(f'{self.client_id}: session present is {p.session_present}')
        self.up = True
        self.inflight_max = min(self.inflight_max, p.prop('receive_maximum', 65535))
        if not self.subscribed:
            if self.filters:
                self.send(wire.subscribe(self.version, 65535, self.filters))
            else:
                self.subscribed = True
                self.world.waiting.discard(self)
        for packet_id, sent in self.unacked.items():  # in their order (4.4)
            if sent is None:
                self.released.add(packet_id)
                self.send(b'\x62\x02' + struct.pack('>H', packet_id))
            else:
                data, key = sent
                self.send(bytes([data[0] | 0x08]) + data[1:])
                self.resent.add(key)
        self.pump()

    def on_publish(self, first, buffer, body, end):
        qos = first >> 1 & 3
        at = body + 2 + (buffer[body] << 8 | buffer[body + 1])
        topic = bytes(buffer[body + 2:at])
        repeated = False
        if qos:
            id_bytes = bytes(buffer[at:at + 2])
            at += 2
            if qos == 1:
                self.send(b'\x40\x02' + id_bytes)
            else:
                packet_id = id_bytes[0] << 8 | id_bytes[1]
                repeated = packet_id in self.received
                self.received.add(packet_id)
                self.send(b'\x50\x02' + id_bytes)
        if self.version >= V5:
            length, shift = 0, 0
            while True:
                byte = buffer[at]
                at += 1
                length |= (byte & 0x7F) << shift
                shift += 7
                if not byte & 0x80:
                    break
            at += length
        if repeated:
            return
        topic_id, sent_qos, seq = HEADER.unpack_from(buffer, at)
        if self.world.topics[topic_id] != topic:
            self.world.wrong(f'{self.client_id}: {topic!r} with the payload of another')
        if end - at != self.world.size_of(topic_id, sent_qos, seq):
            self.world.wrong(f'{self.client_id}: {topic!r} {seq} of {end - at} bytes')
        self.on_message(topic_id, sent_qos, qos, seq, bool(first & 0x08), bool(first & 1))

    def on_message(self, topic_id, sent_qos, qos, seq, dup, retain):
        raise NotImplementedError

    # ---- Publishing

    def publish(self, topic_id, seq, qos, retain):
        self.backlog.append((topic_id, seq, qos, retain))
        if self.up:
            self.pump()

    def pump(self):
        while self.backlog and (self.backlog[0][2] == 0 or len(self.unacked) < self.inflight_max):
            topic_id, seq, qos, retain = self.backlog.popleft()
            size = self.world.size_of(topic_id, qos, seq)
            payload = HEADER.pack(topic_id, qos, seq) + self.world.filler[:size - HEADER.size]
            packet_id = None
            if qos:
                while True:
                    self.packet_id = self.packet_id % 65000 + 1
                    if self.packet_id not in self.unacked:
                        break
                packet_id = self.packet_id
            data = wire.publish(self.version, self.world.topics[topic_id], payload, qos, packet_id,
                                retain)
            if qos:
                self.unacked[packet_id] = (data, (topic_id, qos, seq))
            self.send(data)

    def on_ack(self, kind, packet_id):
        sent = self.unacked.get(packet_id, 0)
        if kind == PUBREC:
            if sent != 0:
                self.unacked[packet_id] = None
            self.send(b'\x62\x02' + struct.pack('>H', packet_id))
            return
        if sent == 0 or (kind == PUBACK) != (sent is not None):
            self.world.wrong(f'{self.client_id}: an answer too many, {packet_id}')
            return
        del self.unacked[packet_id]
        self.pump()


class Subscriber(Connection):
    """Checks what its subscription gets against what was published: `expect` is told of each."""

    def __init__(self, world, client_id, version, clean, topic_filter, qos):
        super().__init__(world, client_id, version, clean)
        self.filters = [(topic_filter, qos)]
        self.granted = qos
        self.next = collections.defaultdict(int)      # (topic id, QoS): sequence number
        self.expected = collections.defaultdict(int)
        self.lost_0 = 0

    def expect(self, topic_id, qos):
        self.expected[topic_id, qos] += 1
        return min(qos, self.granted) > 0

    def on_message(self, topic_id, sent_qos, qos, seq, dup, retain):
        world, key = self.world, (topic_id, sent_qos)
        world.deliveries += 1
        due = self.next[key]
        if qos != min(sent_qos, self.granted):
            world.wrong(f'{self.client_id}: QoS {qos} of {sent_qos}')
        if retain:
            world.wrong(f'{self.client_id}: {world.topics[topic_id]!r} with RETAIN')
        if seq == due or (qos == 0 and seq > due):
            self.lost_0 += seq - due
            self.next[key] = seq + 1
            if qos:
                world.outstanding -= 1
        elif seq > due:
            world.wrong(f'{self.client_id}: {world.topics[topic_id]!r} {seq} when {due} was due')
            if qos:
                world.outstanding -= seq + 1 - due
            self.next[key] = seq + 1
        elif qos < 2 and (dup or (topic_id, sent_qos, seq) in world.publisher_of(topic_id).resent):
            world.duplicates += 1
        else:
            world.wrong(f'{self.client_id}: {world.topics[topic_id]!r} {seq} again, at QoS {qos}')

    def missing(self):
        return [(self.world.topics[t], q, self.next[t, q], n)
                for (t, q), n in self.expected.items()
                if self.next[t, q] < n and min(q, self.granted) > 0]


class Share:
    """A shared subscription: together its members get each message once."""

    def __init__(self, world, name, topic_filter, qos, count, leaver=False):
        self.world, self.granted, self.lost_member = world, qos, False
        self.name, self.got, self.expected = name, collections.Counter(), set()
        self.members = [Member(self, f'{name}-{i}', (V311, V5)[i % 2],
                               f'$share/{name}/{topic_filter}', qos) for i in range(count)]
        self.leaver = self.members[0] if leaver else None

    def expect(self, topic_id, qos, seq):
        self.expected.add((topic_id, qos, seq))
        return min(qos, self.granted) > 0

    def missing(self):
        return [(self.world.topics[t], q, s, s + 1) for t, q, s in self.expected - set(self.got)
                if min(q, self.granted) > 0]


class Member(Connection):
    def __init__(self, share, client_id, version, topic_filter, qos):
        super().__init__(share.world, client_id, version, True)
        self.share, self.filters = share, [(topic_filter, qos)]
        self.last = {}

    def on_message(self, topic_id, sent_qos, qos, seq, dup, retain):
        world, key, share = self.world, (topic_id, sent_qos, seq), self.share
        world.deliveries += 1
        share.got[key] += 1
        # Either copy of what its publisher sent again may come first: they take two ways.
        repeated = qos == 1 and (dup or key in world.publisher_of(topic_id).resent)
        if share.got[key] > 1:
            if repeated or (qos == 1 and share.lost_member):
                world.duplicates += 1
            else:
                world.wrong(f'{self.client_id}: {world.topics[topic_id]!r} {seq} again')
            return
        if qos:
            world.outstanding -= 1
        last = self.last.get(key[:2], 0)
        if seq < last and not repeated and not share.lost_member:
            world.wrong(f'{self.client_id}: {world.topics[topic_id]!r} {seq} after {last}, at QoS '
                        f'{qos}')
        self.last[key[:2]] = max(seq, last)


class Device(Subscriber):
    """Publishes its metrics, and gets its commands at QoS 2."""

    def __init__(self, world, number):
        version = (V311, V5, V5, V31, V311)[number % 5]
        super().__init__(world, f'device-{number}', version, False, None, 2)
        self.number = number
        self.filters = [(world.topics[number * len(METRICS) + CMD].decode(), 2)]


class Newcomer(Connection):
    """Comes when the day is over: gets the last state of each device, as retained."""

    def __init__(self, world):
        super().__init__(world, 'newcomer', V5, True)
        self.filters, self.states = [('+/+/+/+/state', 1)], {}

    def on_message(self, topic_id, sent_qos, qos, seq, dup, retain):
        if not retain or topic_id in self.states:
            self.world.wrong(f'newcomer: {self.world.topics[topic_id]!r}, retain {retain}')
        self.states[topic_id] = sent_qos, seq


# ---- The day

class World:
    def __init__(self, args):
        self.args, self.address = args, ('127.0.0.1', args.port)
        self.random = random.Random(args.seed)
        self.epoll, self.by_fd, self.touched = select.epoll(), {}, []
        self.blocked = set()
        self.outstanding = self.deliveries = self.duplicates = 0
        self.published = [0, 0, 0]
        self.bytes = 0
        self.drops = 0
        self.mistakes, self.mistake_count = [], 0
        self.waiting = set()
        self.filler = bytes(i * 37 & 0xFF for i in range(1 << 16))
        self._build()

    def _build(self):
        n = self.args.devices
        self.topics = [f'city{d % 4}/hall{d // 4 % 8}/line{d // 32 % 16}/device{d}/{m}'.encode()
                       for d in range(n) for m in METRICS]
        self.devices = [Device(self, d) for d in range(n)]
        self.control = Subscriber(self, 'control', V5, False, 'nothing/for/control', 0)
        self.control.inflight_max = 200
        self.dashboards = [Subscriber(self, f'dashboard-{c}', (V311, V5)[c % 2], True,
                                      f'city{c}/#', 2) for c in range(4)]
        self.alarms = Subscriber(self, 'alarms', V5, True, '+/+/+/+/alarm', 1)
        self.temperatures = Subscriber(self, 'temperatures', V311, True, '+/+/+/+/temperature', 0)
        self.archive = Subscriber(self, 'archive', V5, False, 'city1/#', 2)
        self.workers = Share(self, 'store', '+/+/+/+/+', 2, 4)
        self.alerts = Share(self, 'alert', '+/+/+/+/alarm', 1, 4, leaver=True)

    def watchers(self, topic_id):
        """The subscriptions that match a topic, by what we know of the names."""
        device, metric = divmod(topic_id, len(METRICS))
        yield self.dashboards[device % 4]
        if METRICS[metric] == 'alarm':
            yield self.alarms
        if METRICS[metric] == 'temperature':
            yield self.temperatures
        if device % 4 == 1:
            yield self.archive
        if metric == CMD:
            yield self.devices[device]

    def publisher_of(self, topic_id):
        device, metric = divmod(topic_id, len(METRICS))
        return self.control if metric == CMD else self.devices[device]

    def size_of(self, topic_id, qos, seq):
        """20 bytes to 64 KiB: mostly readings, some reports, a few images; the same each time."""
        r = (topic_id * 2654435761 + seq * 40503 + qos * 97) & 0xFFFFFFFF
        kind, r = r % 100, r // 100
        if kind < 90:
            return 20 + r % 180
        if kind < 98:
            return 200 + r % 1848
        return 2048 + r % (65536 - 2048 + 1)

    def _events(self):
        """The day in order: (second, what, who, …)."""
        order, events = self.random, []
        for d in range(self.args.devices):
            for _ in range(self.args.messages):
                second = min(86399, max(0, order.gauss(13 * 3600, 4 * 3600)))
                metric = order.choices(range(CMD), (40, 20, 15, 3, 7, 15))[0]
                qos = 1 if metric == STATE else order.choices((0, 1, 2), (30, 45, 25))[0]
                events.append((second, 'publish', d, metric, qos))
            for _ in range(4):
                events.append((order.uniform(0, 86000), 'command', d, CMD, order.choice((1, 2))))
            for _ in range(order.randrange(3)):
                begin = order.uniform(3600, 80000)
                events.append((begin, 'drop', d, order.random() < 0.5))
                events.append((begin + order.uniform(60, 3600), 'resume', d))
        for hour in (9, 15):
            events.append((hour * 3600, 'archive drops'))
            events.append((hour * 3600 + 900, 'archive resumes'))
        events.append((12 * 3600, 'member leaves'))
        events.sort(key=lambda e: e[0])
        return events

    # ---- The loop

    def wrong(self, what):
        self.mistake_count += 1
        if len(self.mistakes) < 20:
            self.mistakes.append(what)

    def register(self, c):
        self.by_fd[c.sock.fileno()] = c
        self.epoll.register(c.sock.fileno(), select.EPOLLIN)

    def unregister(self, c):
        self.blocked.discard(c)
        del self.by_fd[c.sock.fileno()]
        self.epoll.unregister(c.sock.fileno())

    def touch(self, c):
        c.dirty = True
        self.touched.append(c)

    def turn(self, timeout):
        """Sends what is to be sent, takes what has come. False: nothing has."""
        touched, self.touched = self.touched, []
        for c in touched:
            c.dirty = False
            if c.sock is not None and not c.flush():
                self.blocked.add(c)
                self.epoll.modify(c.sock.fileno(), select.EPOLLIN | select.EPOLLOUT)
        ready = self.epoll.poll(timeout, 512)
        for fd, what in ready:
            c = self.by_fd.get(fd)
            if c is None:
                continue
            if what & select.EPOLLOUT and c in self.blocked and c.flush():
                self.blocked.discard(c)
                self.epoll.modify(fd, select.EPOLLIN)
            if what & ~select.EPOLLOUT:
                c.readable()
        return bool(ready)

    def until(self, condition, what):
        """Runs until the condition holds; gives up when nothing has come for a while."""
        last = time.monotonic()
        while not condition():
            if self.turn(0.1):
                last = time.monotonic()
            elif time.monotonic() - last > PATIENCE_S:
                self.wrong(f'nothing comes any more, but {what}')
                return
            if self.mistake_count > 1000:
                return

    # ---- What happens

    def publish(self, publisher, topic_id, qos, retain=False):
        key = topic_id, qos
        seq = self.seqs[key]
        self.seqs[key] += 1
        if retain:
            self.states[topic_id] = qos, seq
        for watcher in self.watchers(topic_id):
            self.outstanding += watcher.expect(topic_id, qos)
        self.outstanding += self.workers.expect(topic_id, qos, seq)
        if topic_id % len(METRICS) == METRICS.index('alarm'):
            self.outstanding += self.alerts.expect(topic_id, qos, seq)
        self.published[qos] += 1
        self.bytes += self.size_of(topic_id, qos, seq)
        publisher.publish(topic_id, seq, qos, retain)

    def happen(self, event):
        what = event[1]
        if what == 'publish':
            _, _, d, metric, qos = event
            self.publish(self.devices[d], d * len(METRICS) + metric, qos, metric == STATE)
        elif what == 'command':
            _, _, d, metric, qos = event
            self.publish(self.control, d * len(METRICS) + metric, qos)
        elif what == 'drop':
            self.devices[event[2]].leave(event[3])
            self.drops += 1
        elif what == 'resume':
            if self.devices[event[2]].sock is None:
                self.devices[event[2]].connect()
        elif what == 'archive drops':
            self.archive.leave(False)
            self.drops += 1
        elif what == 'archive resumes':
            self.archive.connect()
        elif what == 'member leaves' and not self.args.all_stay:
            self.alerts.lost_member = True
            self.alerts.leaver.leave(False)

    def away(self):
        """Deliveries that wait for those who are away: not to be waited for."""
        return sum(sum(a.expected.values()) - sum(a.next.values()) for a in (self.archive,)
                   if not a.up)

    def run(self):
        self.seqs, self.states = collections.Counter(), {}
        everyone = [*self.devices, self.control, *self.dashboards, self.alarms, self.temperatures,
                    self.archive, *self.workers.members, *self.alerts.members]
        self.waiting = set(everyone)
        for c in everyone:
            c.connect()
            if len(self.by_fd) % 100 == 0:
                self.turn(0)
        self.until(lambda: not self.waiting, 'some are not subscribed')

        began = time.monotonic()
        for n, event in enumerate(self._events()):
            self.happen(event)
            if n % 32 == 0:
                self.turn(0)
            if self.outstanding > self.args.window and self.outstanding - self.away() > \
                    self.args.window:
                self.until(lambda: self.outstanding - self.away() <= self.args.window // 2,
                           f'{self.outstanding} deliveries are outstanding')
            if self.mistake_count > 1000:
                break
        for c in everyone:
            if c.sock is None and (self.args.all_stay or c is not self.alerts.leaver):
                c.connect()
        self.until(lambda: self.outstanding <= 0 and not any(c.backlog or c.unacked
                                                             for c in everyone),
                   'deliveries are outstanding')
        self.seconds = time.monotonic() - began

        newcomer = Newcomer(self)
        newcomer.connect()
        self.until(lambda: len(newcomer.states) >= len(self.states), 'some states are not retained')
        if newcomer.states != self.states:
            self.wrong('the retained states are not the last ones')
        for s in (*self.devices, *self.dashboards, self.alarms, self.archive, self.workers,
                  self.alerts):
            for topic, qos, due, count in s.missing():
                self.wrong(f'{getattr(s, "client_id", None) or s.name}: {topic!r} at QoS {qos}: '
                           f'{due} of {count}')

    def report(self):
        total = sum(self.published)
        lost = sum(s.lost_0 for s in (*self.dashboards, self.temperatures, self.archive))
        print(f'devices             {self.args.devices}, {self.drops} drops, seed {self.args.seed}')
        print(f'published           {total} ({"/".join(map(str, self.published))} at QoS 0/1/2), '
              f'{self.bytes / 1e6:.1f} MB')
        print(f'delivered           {self.deliveries}, of which repeated as QoS 1 may be: '
              f'{self.duplicates}')
        print(f'QoS 0 not delivered {lost} (gaps seen, none of them promised)')
        print(f'took                {self.seconds:.1f} s: {total / self.seconds:.0f} in and '
              f'{self.deliveries / self.seconds:.0f} out per second')
        for mistake in self.mistakes:
            print(f'WRONG               {mistake}')
        print(f'broken promises     {self.mistake_count}')


def main():
    parser = argparse.ArgumentParser(description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('--bin', help='folder of the programs: start dunlin from there')
    parser.add_argument('--port', type=int, default=0, help='of a broker that runs')
    parser.add_argument('--devices', type=int, default=2000)
    parser.add_argument('--messages', type=int, default=60, help='per device (default: 60)')
    parser.add_argument('--seed', type=int, default=1)
    parser.add_argument('--window', type=int, default=1000, help='deliveries outstanding')
    parser.add_argument('--all-stay', action='store_true',
                        help='no member leaves its share: moving its messages is a SHOULD only')
    args = parser.parse_args()
    if bool(args.bin) == bool(args.port):
        parser.error('give --bin or --port')
    broker = None
    if args.bin:
        with socket.socket() as s:
            s.bind(('127.0.0.1', 0))
            args.port = s.getsockname()[1]
        broker = subprocess.Popen([os.path.join(args.bin, 'dunlin'), '--listen',
                                   f'tcp://127.0.0.1:{args.port}', '--log-level', 'warning',
                                   '--set', 'limits.connections_per_second_per_address=0'])
        end = time.monotonic() + 10
        while socket.socket().connect_ex(('127.0.0.1', args.port)) and time.monotonic() < end:
            time.sleep(0.05)
    try:
        world = World(args)
        world.run()
        world.report()
    finally:
        if broker:
            broker.terminate()
            broker.wait()
    return 1 if world.mistake_count else 0


if __name__ == '__main__':
    sys.exit(main())
