#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""Kills the broker again and again while it is busy, and looks whether it has kept its word.

    crash.py --bin build/release/bin [--rounds 200] [--seconds-per-round 2] [--seed N] [--power-loss]

Each round: the broker is started on the directory that the last one left, everybody reconnects
without Clean Start and takes up what was open, as the standard says, and at a random moment the
broker gets SIGKILL (sometimes SIGTERM; sometimes SIGKILL again while it starts). The number of shards,
the size of segments and the time between checkpoints vary from round to round. After the last round
all that is queued is taken, and nothing may be missing.

  publishers   MQTT 5 and 3.1.1, QoS 1 and 2 mixed, a full window at any time, numbered messages
  subscribers  QoS 1 and 2, MQTT 5 and 3.1.1: there all the time, away for some rounds, coming and going
               within a round, with filters that overlap, with a small Receive Maximum, a shared group
  togglers     subscribe and unsubscribe all the time; what was acknowledged of that holds
  retained     of each topic the last acknowledged message is there after a start, or a later one
  wills        of those who were connected: published, and none of those who said goodbye
  a crowd      of sessions with the same few messages; guests who leave full queues behind and begin anew
  sessions     whoever had got CONNACK finds the session present

With --power-loss the directory is an ext4 of its own on a loop device. At the random moment all of the
broker stands still (SIGSTOP), the device is copied as it is, without what the kernel has not written
to it yet, and the next broker starts on the copy. Needs root.

Ends with 1 when anything was violated; the directory and the log are kept then.
"""
import argparse
import collections
import errno
import os
import random
import re
import selectors
import shutil
import signal
import socket
import struct
import subprocess
import sys
import tempfile
import time

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))

from common import free_port  # noqa: E402
import wire  # noqa: E402
from wire import V311, V5  # noqa: E402

NUMBER = struct.Struct('>HI')  # a payload begins so: stream, number in it
EXPIRY_S = 100000
LAG_MAX = 20000                # messages that a subscriber who is there may be behind
CROWD = 40                     # sessions that get few messages, the same ones
SILENCE_S = 30                 # so long nothing comes at the end: then it is lost
SETTINGS = {
    'limits.connections_per_second_per_address': 0,
    'limits.session_queue_messages_max': 4294967295,
    'limits.session_queue_bytes_max': 1 << 40,
    'limits.message_memory_max': 4 << 30,
    'limits.packet_bytes_max': 262144,
}
FILLING = random.Random(1).randbytes(200000)


# ---- What is found

class Violations:
    def __init__(self):
        self.counts, self.printed = collections.Counter(), 0

    def add(self, kind, text):
        self.counts[kind] += 1
        self.printed += 1
        if self.counts[kind] <= 8:
            print(f'  VIOLATION {kind}: {text}', flush=True)

    def total(self):
        return sum(self.counts.values())


# ---- The broker

class Disk:
    """A directory for the broker: a plain one, or a file system that can lose power."""

    def __init__(self, folder, power_loss, size_mib):
        self.folder, self.power_loss = folder, power_loss
        self.data = os.path.join(folder, 'data')
        os.makedirs(self.data)
        if power_loss:
            self.memory = os.path.join(folder, 'memory')
            os.makedirs(self.memory)
            run('mount', '-t', 'tmpfs', '-o', f'size={3 * size_mib}m', 'none', self.memory)
            self.image, self.copy = (os.path.join(self.memory, name) for name in ('image', 'copy'))
            with open(self.image, 'wb') as f:
                f.truncate(size_mib << 20)
            run('mkfs.ext4', '-q', '-F', self.image)
            self.attach()

    def attach(self):
        run('mount', '-o', 'loop', self.image, self.data)
        with open('/proc/mounts', encoding='ascii') as f:
            device = next(line.split()[0] for line in f if line.split()[1] == self.data)
        self.stat = f'/sys/block/{os.path.basename(device)}/stat'

    def written(self):
        """What the device has written so far; None while something is under way."""
        with open(self.stat, encoding='ascii') as f:
            fields = f.read().split()
        return None if fields[8] != '0' else (fields[4], fields[6])

    def snapshot(self):
        """Copies the device at one moment: nothing may be written meanwhile."""
        for _ in range(500):
            before = self.written()
            if before is not None:
                run('cp', '--sparse=always', self.image, self.copy)
                if self.written() == before:
                    return
            time.sleep(0.01)
        sys.exit('the device does not come to rest')

    def lose_power(self):
        """After snapshot(); nobody has a file open any more."""
        self.detach()
        os.replace(self.copy, self.image)
        self.attach()

    def detach(self):
        for _ in range(300):
            if subprocess.run(['umount', self.data], stderr=subprocess.DEVNULL,
                              check=False).returncode == 0:
                return
            time.sleep(0.02)
        sys.exit('the file system stays busy')

    def close(self, keep):
        if self.power_loss:
            if keep:
                shutil.copy(self.image, os.path.join(self.folder, 'image'))
            self.detach()
            run('umount', self.memory)
        if not keep:
            shutil.rmtree(self.folder)


def run(*command):
    subprocess.run(command, check=True)


class Node:
    def __init__(self, program, disk, log):
        self.program, self.disk, self.log = program, disk, log
        self.port = free_port()
        self.process = None

    def launch(self, settings):
        command = [self.program, '--listen', f'tcp://127.0.0.1:{self.port}', '--data',
                   os.path.join(self.disk.data, 'node')]
        for key, value in {**SETTINGS, **settings}.items():
            command += ['--set', f'{key}={value}']
        self.log_at = os.path.getsize(self.log) if os.path.exists(self.log) else 0
        with open(self.log, 'ab') as log:
            self.process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=log,
                                            stderr=log)

    def wait_ready(self):
        end = time.monotonic() + 60
        while time.monotonic() < end:
            with socket.socket() as s:
                s.settimeout(5)
                try:
                    s.connect(('127.0.0.1', self.port))
                    s.sendall(wire.connect(V311, 'crash-ready'))
                    if s.recv(4)[:1] == b'\x20':
                        return True
                except OSError:
                    pass
            if self.process.poll() is not None:
                break
            time.sleep(0.01)
        return False

    def said(self, limit=3000):
        with open(self.log, encoding='utf-8', errors='replace') as f:
            f.seek(self.log_at)
            return f.read()[:limit]

    def stand_still(self):
        self.process.send_signal(signal.SIGSTOP)
        tasks = f'/proc/{self.process.pid}/task'
        while True:
            states = []
            for task in os.listdir(tasks):
                with open(f'{tasks}/{task}/stat', encoding='utf-8') as f:
                    states.append(f.read().rsplit(')', 1)[1].split()[0])
            if all(state in 'TD' for state in states):
                return
            time.sleep(0.001)

    def end(self, number):
        """The exit status."""
        self.process.send_signal(number)
        try:
            return self.process.wait(60)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
            return 'too late'


# ---- Clients: each is one session, and has one connection at a time

class Session:
    def __init__(self, world, client_id, version, will=None):
        self.world, self.client_id, self.version = world, client_id, version
        self.sock, self.there, self.known = None, False, False
        self.buffer, self.out = b'', bytearray()
        self.handlers = {2: self.on_connack, 3: self.on_publish, 4: self.on_ack, 5: self.on_ack,
                         6: self.on_pubrel, 7: self.on_ack, 9: self.on_suback, 11: self.on_unsuback,
                         13: lambda *_: None, 14: self.on_disconnect}
        self.props = [('session_expiry_interval', EXPIRY_S)] if version == V5 else None
        self.clean = False

    def connect(self, will=None):
        """Also while connected: a takeover."""
        self.lose()
        self.sock = socket.create_connection(('127.0.0.1', self.world.node.port), timeout=20)
        self.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.sock.setblocking(False)
        self.world.selector.register(self.sock, selectors.EVENT_READ, self)
        self.send(wire.connect(self.version, self.client_id, self.clean, 0, will=will,
                               props=self.props))

    def lose(self):
        """The socket is closed, without a word."""
        if self.sock is not None:
            self.world.selector.unregister(self.sock)
            self.sock.close()
        self.sock, self.there = None, False
        self.buffer, self.out = b'', bytearray()

    def goodbye(self):
        if self.sock is not None:
            self.send(wire.disconnect(self.version))
            self.lose()

    def send(self, data):
        if self.sock is not None:
            self.out += data
            self.flush()

    def flush(self):
        try:
            while self.out:
                del self.out[:self.sock.send(self.out)]
        except BlockingIOError:
            pass
        except OSError:
            self.out.clear()  # it has ended; what it sent before is still to be read
        wanted = selectors.EVENT_READ | (selectors.EVENT_WRITE if self.out else 0)
        if self.world.selector.get_key(self.sock).events != wanted:
            self.world.selector.modify(self.sock, wanted, self)

    def on_event(self, mask):
        if mask & selectors.EVENT_WRITE:
            self.flush()
        if mask & selectors.EVENT_READ:
            self.read()

    def read(self):
        """false: nothing more will come."""
        try:
            data = self.sock.recv(1 << 17)
        except BlockingIOError:
            return True
        except OSError:
            data = b''
        if not data:
            self.lose()
            self.on_lost()
            return False
        self.feed(data)
        return self.sock is not None

    def feed(self, data):
        buffer = self.buffer + data if self.buffer else data
        at, end, sock = 0, len(buffer), self.sock
        while end - at >= 2:
            length, body = buffer[at + 1], at + 2
            if length & 0x80:
                length, shift = length & 0x7F, 7
                while True:
                    if body >= end:
                        break
                    byte = buffer[body]
                    body += 1
                    length |= (byte & 0x7F) << shift
                    shift += 7
                    if byte < 0x80:
                        break
                else:
                    break
                if buffer[body - 1] & 0x80:
                    break
            if body + length > end:
                break
            first = buffer[at]
            self.handlers[first >> 4](first, buffer, body, body + length)
            at = body + length
            if self.sock is not sock:
                return
        self.buffer = buffer[at:]
        self.on_fed()

    def complain(self, kind, text):
        self.world.violations.add(kind, f'{self.client_id}: {text}')

    def on_connack(self, _first, buffer, at, _end):
        present, reason = buffer[at] & 1, buffer[at + 1]
        if reason:
            self.complain('connack', f'refused with {reason:#x}')
            return
        if self.known and not present:
            self.complain('session', 'it was acknowledged, and is not present')
        self.known = self.there = True
        self.on_connected(present)

    def on_disconnect(self, _first, buffer, at, end):
        reason = buffer[at] if end > at else 0
        if reason not in (0x8B, 0x8E):  # the end of the process; a takeover
            self.complain('disconnect', f'with {reason:#x}')

    def unexpected(self, first, buffer, at, end):
        self.complain('packet', f'{first:#x} {buffer[at:end][:20].hex(" ")}')

    on_publish = on_ack = on_pubrel = on_suback = on_unsuback = unexpected

    def on_connected(self, present):
        pass

    def on_lost(self):
        pass

    def on_fed(self):
        pass


class Stream:
    """Messages of one publisher with one quality of service to one topic, numbered from 0."""

    def __init__(self, world, publisher, topic, qos, retain=False, weight=1.0, deletes=False):
        self.index, self.topic, self.qos, self.retain = len(world.streams), topic, qos, retain
        self.publisher, self.weight, self.deletes = publisher, weight, deletes
        self.sent, self.refused = 0, set()
        self.times = [] if topic.startswith('t/') else None  # [first sent, acknowledged]
        self.last_acked = -1
        self.deleted = set()  # retained: numbers that had no payload
        world.streams.append(self)


class Publisher(Session):
    def __init__(self, world, number, version, window):
        super().__init__(world, f'publisher-{number}', version)
        self.window, self.open, self.next_id = window, {}, 0
        self.flaps = number % 2 == 1
        self.resent = set()  # PUBREL that may have been answered before
        pub = f'publisher-{number}'
        self.streams = [Stream(world, pub, f'p/{number}/{part}', qos) for part in 'ab'
                        for qos in (1, 2)]
        self.streams += [Stream(world, pub, f'p/{number}/kept', 1 + number % 2, True, 0.1)]
        self.streams += [Stream(world, pub, f'r/{number}/{part}', 1 + part % 2, True, 0.1, True)
                         for part in range(2)]
        self.streams += [Stream(world, pub, f't/{number}/{part}', 1 + part % 2, False, 0.03)
                         for part in range(2)]
        self.streams += [Stream(world, pub, f'c/{number}', qos, False, 0.02) for qos in (1, 2)]
        self.weights = [s.weight for s in self.streams]
        self.chosen = []

    def on_connected(self, present):
        again = bytearray()
        for packet_id, (_stream, _number, packet) in self.open.items():
            if packet is None:
                again += wire.ack(wire.PUBREL, packet_id)
                self.resent.add(packet_id)
            else:
                again += bytes([packet[0] | 8]) + packet[1:]
        self.send(again)
        self.on_fed()

    def on_fed(self):
        """Fills the window."""
        if not self.there or not self.world.publishing or self.out:
            return
        free = self.window - len(self.open)
        if free <= 0:
            return
        out = bytearray()
        for _ in range(free):
            if not self.chosen:
                self.chosen = self.world.random.choices(self.streams, self.weights, k=500)
            out += self.make(self.chosen.pop())
        self.send(out)

    def make(self, stream):
        world = self.world
        while True:
            self.next_id = self.next_id % 65535 + 1
            if self.next_id not in self.open:
                break
        number = stream.sent
        stream.sent += 1
        chance = world.random.random()
        size = int(chance * 200) if chance < 0.99 else 8000 if chance < 0.9995 else 100000
        payload = NUMBER.pack(stream.index, number) + FILLING[:size]
        if stream.deletes and chance < 0.1:
            payload = b''
            stream.deleted.add(number)
        if stream.times is not None:
            stream.times.append([world.tick(), None])
        packet = wire.publish(self.version, stream.topic, payload, stream.qos, self.next_id,
                              stream.retain)
        self.open[self.next_id] = (stream, number, packet)
        self.resent.discard(self.next_id)
        world.published += 1
        return packet

    def on_ack(self, first, buffer, at, end):
        packet_id = buffer[at] << 8 | buffer[at + 1]
        reason = buffer[at + 2] if end - at > 2 else 0
        stream, number, packet = self.open.get(packet_id, (None, None, None))
        kind = first >> 4
        if stream is None or (kind == 4) != (stream.qos == 1) or (kind == 7 and packet is not None):
            self.complain('ack', f'{wire.NAMES[kind]} {packet_id} answers nothing')
            return
        if kind == 5:
            if reason < 0x80:
                self.send(wire.ack(wire.PUBREL, packet_id))
                if packet is not None:
                    self.open[packet_id] = (stream, number, None)
                    self.acknowledged(stream, number)
                return
        elif kind == 7:
            if reason and (reason != 0x92 or packet_id not in self.resent):
                self.complain('ack', f'PUBCOMP {packet_id} with {reason:#x}: {stream.topic} {number}')
            del self.open[packet_id]
            return
        del self.open[packet_id]
        if reason >= 0x80:
            self.complain('refused', f'{stream.topic} {number} with {reason:#x}')
            stream.refused.add(number)
        else:
            self.acknowledged(stream, number)

    def acknowledged(self, stream, number):
        self.world.acknowledged += 1
        if number <= stream.last_acked:
            self.complain('order', f'{stream.topic} {number} is acknowledged after '
                          f'{stream.last_acked}')
        stream.last_acked = max(number, stream.last_acked)
        if stream.times is not None:
            stream.times[number][1] = self.world.tick()


class Subscriber(Session):
    """filters: [(filter, QoS)], all subscribed to before anything is published."""

    def __init__(self, world, client_id, version, filters, receive_maximum=None, away=0.0,
                 flaps=False):
        super().__init__(world, client_id, version)
        if receive_maximum is not None:
            self.props.append(('receive_maximum', receive_maximum))
        self.filters, self.away, self.flaps = filters, away, flaps
        self.away_rounds = 0
        self.received, self.acks = set(), bytearray()  # packet ids of QoS 2; to be sent
        self.granted, self.next, self.total, self.again = {}, {}, 0, 0
        self.subscribed = False

    def matches(self):
        """The quality of service of each stream, from the filters."""
        for stream in self.world.streams:
            fitting = [qos for f, qos in self.filters if fits(f, stream.topic)]
            if fitting:
                self.granted[stream.index] = min(stream.qos, max(fitting))
                self.next[stream.index] = 0

    def on_connected(self, present):
        if not self.subscribed:
            self.send(wire.subscribe(self.version, 1, self.filters))

    def on_suback(self, _first, buffer, at, end):
        if buffer[end - len(self.filters):end] != bytes(q for _, q in self.filters):
            self.complain('suback', buffer[at:end].hex(' '))
        self.subscribed = True

    def on_publish(self, first, buffer, at, end):
        qos = first >> 1 & 3
        topic_end = at + 2 + (buffer[at] << 8 | buffer[at + 1])
        body = topic_end + 2 if qos else topic_end
        if self.version == V5:
            length = buffer[body]
            body += 1
            if length & 0x80:
                length = length & 0x7F | buffer[body] << 7
                body += 1
            body += length
        if qos == 1:
            self.acks += b'\x40\x02' + buffer[topic_end:topic_end + 2]
        elif qos == 2:
            packet_id = buffer[topic_end:topic_end + 2]
            self.acks += b'\x50\x02' + packet_id
            if packet_id in self.received:
                return
            self.received.add(packet_id)
        self.take(qos, buffer[at + 2:topic_end], buffer, body, end, first)

    def take(self, qos, topic, buffer, body, end, first):
        index, number = NUMBER.unpack_from(buffer, body)
        self.total += 1
        expected = self.next.get(index)
        if number == expected:
            self.next[index] = number + 1
            if first & 8 == 0 and self.granted[index] != qos:
                self.complain('qos', f'{topic} {number} with QoS {qos}')
            return
        stream = self.world.streams[index]
        what = f'{stream.topic} QoS {stream.qos} number {number}'
        if expected is None:
            self.complain('unwanted', what)
        elif number < expected:
            self.again += 1
            if qos == 2:
                self.complain('twice', f'{what}, after {expected - 1}, packet id '
                              f'{buffer[body - 3:body].hex()}, dup {first >> 3 & 1}')
        else:
            missing = [n for n in range(expected, number) if n not in stream.refused]
            if missing:
                self.complain('gap', f'{what} comes after {expected - 1}: {len(missing)} missing, '
                              f'acknowledged up to {stream.last_acked}')
            self.next[index] = number + 1

    def on_pubrel(self, _first, buffer, at, _end):
        packet_id = buffer[at:at + 2]
        self.received.discard(packet_id)
        self.acks += b'\x70\x02' + packet_id

    def on_fed(self):
        if self.acks:
            self.send(self.acks)
            self.acks = bytearray()

    def on_lost(self):
        self.acks = bytearray()

    def lose(self):
        super().lose()
        self.acks = bytearray()

    def missing(self):
        """What has not come, of all that was published."""
        found = []
        for index, number in self.next.items():
            stream = self.world.streams[index]
            left = [n for n in range(number, stream.sent) if n not in stream.refused]
            if left:
                found.append((stream, left))
        return found


class Member(Subscriber):
    """Of a shared subscription: the group gets each message, at QoS 2 once."""
    seen = None  # of the group: {stream: bytearray}

    def take(self, qos, topic, buffer, body, end, first):
        index, number = NUMBER.unpack_from(buffer, body)
        self.total += 1
        seen = self.seen[index]
        if number >= len(seen):
            seen.extend(bytes(number + 1000 - len(seen)))
        if seen[number]:
            self.again += 1
            stream = self.world.streams[index]
            if qos == 2:
                self.complain('group_twice', f'{stream.topic} QoS {stream.qos} number {number}')
        seen[number] = 1

    def missing(self):
        found = []
        for index, seen in self.seen.items():
            stream = self.world.streams[index]
            left = [n for n in range(stream.sent) if n not in stream.refused and
                    (n >= len(seen) or not seen[n])]
            if left:
                found.append((stream, left))
        return found


class Guest(Session):
    """Subscribes to everything, acknowledges nothing, and begins anew: of its queues nothing must be
    left."""

    def __init__(self, world, number):
        super().__init__(world, f'guest-{number}', V5)
        self.clean = True
        self.due = 0.0

    def on_connack(self, first, buffer, at, end):
        self.known = False
        super().on_connack(first, buffer, at, end)

    def on_connected(self, present):
        if present:
            self.complain('session', 'present after Clean Start')
        self.send(wire.subscribe(V5, 1, [('p/#', 2), ('c/#', 1)]))

    def on_publish(self, *_):
        pass

    on_suback = on_publish

    def turn(self, now):
        if now > self.due and self.sock is not None:
            self.due = now + self.world.random.random() * 3
            self.connect()

    def leave(self):
        """For good."""
        self.props = None
        self.connect()


class Toggler(Subscriber):
    """Subscribes and unsubscribes, one at a time."""

    def __init__(self, world, client_id, version, qos):
        super().__init__(world, client_id, version, [])
        self.qos = qos
        self.spans = collections.defaultdict(list)  # filter: [[asked, granted, left, gone]]
        self.asked = None  # (filter, is to subscribe)
        self.counts = {}
        self.due = 0.0

    def matches(self):
        self.topics = [s for s in self.world.streams if s.times is not None]
        self.counts = {s.index: collections.Counter() for s in self.topics}

    def on_connected(self, present):
        if self.asked:
            self.ask()

    def turn(self, now):
        if not self.there or self.asked or now < self.due:
            return
        self.due = now + self.world.random.random() * 0.1
        name = self.world.random.choice(self.topics).topic
        spans = self.spans[name]
        is_on = bool(spans) and spans[-1][2] is None
        if is_on:
            spans[-1][2] = self.world.tick()
        else:
            spans.append([self.world.tick(), None, None, None])
        self.asked = (name, not is_on)
        self.ask()

    def ask(self):
        name, on = self.asked
        self.send(wire.subscribe(self.version, 9, [(name, self.qos)]) if on else
                  wire.unsubscribe(self.version, 9, [name]))

    def on_suback(self, _first, buffer, at, end):
        if buffer[end - 1] != self.qos or not self.asked or not self.asked[1]:
            self.complain('suback', buffer[at:end].hex(' '))
        self.spans[self.asked[0]][-1][1] = self.world.tick()
        self.asked = None

    def on_unsuback(self, _first, buffer, at, end):
        if self.version == V5 and buffer[end - 1] not in (0, 0x11):
            self.complain('unsuback', buffer[at:end].hex(' '))
        self.spans[self.asked[0]][-1][3] = self.world.tick()
        self.asked = None

    def take(self, qos, topic, buffer, body, end, first):
        index, number = NUMBER.unpack_from(buffer, body)
        self.total += 1
        counts, stream = self.counts[index], self.world.streams[index]
        counts[number] += 1
        if counts[number] > 1 and qos == 2:
            self.complain('twice', f'{stream.topic} number {number}')
        if counts[number] == 1 and number < max(counts) and not self.is_repetition(stream, number):
            self.complain('order', f'{stream.topic} number {number} after {max(counts)}')

    def is_repetition(self, stream, number):
        """Perhaps: it was sent, then this subscribed and got the next one, and then it came once more:
        the publisher began anew from it, or the start did, as it was not acknowledged."""
        sent = stream.times[number][0]
        return not any(
            granted is not None and granted < sent and (left is None or left > sent)
            for _asked, granted, left, _gone in self.spans[stream.topic])

    def missing(self):
        """At the end: what should have come."""
        found = []
        for stream in self.topics:
            left = [n for n, times in enumerate(stream.times) if not self.counts[stream.index][n] and
                    n not in stream.refused and self.must_have(stream, *times)]
            if left:
                found.append((stream, left))
        return found

    def must_have(self, stream, sent, acked):
        return any(granted is not None and granted < sent and (left is None or left > acked)
                   for _asked, granted, left, _gone in self.spans[stream.topic])

    def check_unwanted(self):
        for stream in self.topics:
            for number in self.counts[stream.index]:
                sent, acked = stream.times[number]
                if not any(asked < acked and (gone is None or gone > sent)
                           for asked, _granted, _left, gone in self.spans[stream.topic]):
                    self.complain('unwanted', f'{stream.topic} {number}: it had unsubscribed')


class Testator(Session):
    """Connects with a will, another one each time."""

    def __init__(self, world, number, delay_s):
        super().__init__(world, f'testator-{number}', V5)
        self.topic, self.delay_s = f'w/{number}', delay_s
        self.wills = []  # [confirmed, how it ended, round]
        self.said = None  # the goodbye that may not be on disk yet, and how many crashes there were
        self.due = 0.0
        self.leaving = False  # DISCONNECT is sent: its end says that the broker has read it

    def come(self):
        self.ended('takeover')
        will = wire.Will(self.topic, str(len(self.wills)).encode(), 2,
                         props=[('will_delay_interval', self.delay_s)] if self.delay_s else None)
        self.wills.append([False, None, self.world.round])
        self.leaving = False
        self.connect(will)

    def on_connected(self, present):
        """CONNACK says that all which came before it of this session is on disk, a goodbye too."""
        if self.said is not None and self.said[1] == self.world.crashes:
            self.said[0][1] = 'goodbye'
        self.said = None
        self.wills[-1][0] = True

    def ended(self, how):
        if self.wills and self.wills[-1][1] is None:
            self.wills[-1][1] = how

    def on_lost(self):
        if self.leaving and self.world.is_up:
            self.said = self.wills[-1], self.world.crashes
        self.ended('perhaps' if self.leaving else 'crash')

    def turn(self, now):
        if self.sock is None:
            self.come()
        if not self.there or now < self.due or self.leaving:
            return
        self.due = now + self.world.random.random() * 0.1
        chance = self.world.random.random()
        if chance < 0.3:
            self.leaving = True
            self.send(wire.disconnect(V5))
        elif chance < 0.5:
            self.ended('drop')
            self.lose()
            self.come()
        elif chance < 0.6:
            self.come()


class Executor(Subscriber):
    """Gets the wills."""

    def __init__(self, world):
        super().__init__(world, 'executor', V5, [('w/#', 2)])
        self.got = collections.Counter()

    def matches(self):
        pass

    def missing(self):
        return []

    def take(self, qos, topic, buffer, body, end, first):
        will = topic.decode(), int(buffer[body:end])
        self.got[will] += 1
        if self.got[will] > 1:
            self.complain('will_twice', f'{will}')

    def check(self):
        """Of all connections that ended before this round; each is judged once, but for those whose
        will should have come: that is seen at the end."""
        for t in self.world.testators:
            for number, will in enumerate(t.wills):
                confirmed, how, begun = will
                if how in (None, 'perhaps', 'judged') or begun >= self.world.round - 1:
                    continue
                count = self.got[t.topic, number]
                if t.delay_s and how != 'goodbye' and count:
                    self.complain('will_early', f'{t.topic} {number}, which ended by {how}: it is '
                                  'not due, the client was there again')
                if how == 'goodbye' and count:
                    self.complain('will_unwanted', f'{t.topic} {number}: it said goodbye')
                if how != 'goodbye' and confirmed and not t.delay_s and not count:
                    continue  # it may wait in the queue still
                will[1] = 'judged'

    def lost(self):
        """Wills that should have come by now: topic, number, how and in which round."""
        return [(t.topic, number, how, begun) for t in self.world.testators if not t.delay_s
                for number, (confirmed, how, begun) in enumerate(t.wills)
                if confirmed and how in ('takeover', 'drop', 'crash') and
                begun < self.world.round - 1 and not self.got[t.topic, number]]


def fits(topic_filter, topic):
    if topic_filter.startswith('$share/'):
        topic_filter = topic_filter.split('/', 2)[2]
    f, t = topic_filter.split('/'), topic.split('/')
    for i, level in enumerate(f):
        if level == '#':
            return True
        if i >= len(t) or level not in ('+', t[i]):
            return False
    return len(f) == len(t)


# ---- All of it

class World:
    def __init__(self, args, disk):
        self.args, self.disk = args, disk
        self.random = random.Random(args.seed)
        self.selector = selectors.DefaultSelector()
        self.violations = Violations()
        self.node = Node(os.path.join(args.bin, 'dunlin'), disk, os.path.join(disk.folder, 'log'))
        self.streams, self.ticks, self.round = [], 0, 0
        self.published = self.acknowledged = 0
        self.publishing = False
        self.is_up, self.crashes = False, 0
        self.publishers = [Publisher(self, n, (V5, V311)[n % 2], (40, 200, 15, 100)[n % 4])
                           for n in range(args.publishers)]
        overlapping = [('p/#', 1), ('p/+/a', 2), ('p/0/#', 2), ('p/1/b', 1)]
        self.subscribers = [
            Subscriber(self, 'all-5', V5, [('p/#', 2)]),
            Subscriber(self, 'all-4', V311, [('p/+/a', 1), ('p/+/kept', 2)]),
            Subscriber(self, 'overlap-5', V5, overlapping, receive_maximum=30),
            Subscriber(self, 'flap-4', V311, [('p/1/#', 2)], flaps=True),
            Subscriber(self, 'flap-5', V5, [('p/+/b', 2)], flaps=True),
            Subscriber(self, 'away-5', V5, [('p/0/#', 2)], away=0.3),
            Subscriber(self, 'away-4', V311, [('p/+/a', 2), ('p/+/+', 1)], away=0.3),
            Subscriber(self, 'away-1', V5, [('p/1/a', 1)], away=0.1),
        ]
        self.crowd = [Subscriber(self, f'crowd-{n}', (V5, V311)[n % 2],
                                 [('c/#', 2), (f'c/{n % args.publishers}', 1)], away=0.3)
                      for n in range(CROWD)]
        self.guests = [Guest(self, n) for n in range(3)]
        self.members = [Member(self, f'member-{n}', V5, [('$share/group/p/+/b', 2)],
                               away=0.1 * n) for n in range(2)]
        self.togglers = [Toggler(self, f'toggler-{n}', (V5, V311)[n % 2], 1 + n // 2)
                         for n in range(4)]
        self.testators = [Testator(self, n, delay) for n, delay in enumerate((0, 0, 0, 0, 5000))]
        self.executor = Executor(self)
        self.takers = self.subscribers + self.crowd + self.members + self.togglers + [self.executor]
        self.sessions = self.takers + self.testators + self.guests + self.publishers
        for taker in self.takers:
            taker.matches()
        seen = {index: bytearray() for index in self.members[0].next}
        for member in self.members:
            member.seen = seen

    def tick(self):
        self.ticks += 1
        return self.ticks

    # ---- a while of it

    def loop(self, until, condition=None):
        """Until that time, or the condition comes true; says whether it has."""
        while True:
            now = time.monotonic()
            if condition is not None and condition():
                return True
            if now >= until:
                return False
            for key, mask in self.selector.select(min(0.02, until - now)):
                if key.data.sock is key.fileobj:
                    key.data.on_event(mask)

    def behind(self):
        """Messages that those who are there have yet to get, at most."""
        most = 0
        for s in self.subscribers:
            if s.there:
                most = max(most, sum(self.streams[i].sent - n for i, n in s.next.items()))
        return most

    def busy(self, until):
        """Everybody at work until that time."""
        while (now := time.monotonic()) < until:
            if self.node.process.poll() is not None:
                return
            self.publishing = self.behind() < LAG_MAX
            for p in self.publishers:
                p.on_fed()
            for t in self.togglers + self.testators + self.guests:
                t.turn(now)
            for s in self.subscribers + self.publishers:
                if s.flaps and s.there and self.random.random() < 0.05:
                    self.random.choice([s.connect, self.goodbye_and_back(s), self.drop(s)])()
            self.loop(min(until, now + 0.03))

    @staticmethod
    def goodbye_and_back(s):
        return lambda: (s.goodbye(), s.connect())

    @staticmethod
    def drop(s):
        return lambda: (s.lose(), s.connect())

    # ---- retained messages

    def check_retained(self):
        """With nobody publishing: what is there is of the last acknowledged, or later."""
        streams = {s.topic: s for s in self.streams if s.retain}
        got = {}
        look = Session(self, 'crash-retained', V5)
        look.clean, look.props = True, None
        answered = []
        look.on_connected = lambda _: look.send(wire.subscribe(V5, 1, [('r/#', 0), ('p/+/kept', 0)]))
        look.handlers[9] = lambda *_: answered.append(True)

        def on_publish(_first, buffer, at, end):
            topic_end = at + 2 + (buffer[at] << 8 | buffer[at + 1])
            got[buffer[at + 2:topic_end].decode()] = NUMBER.unpack_from(
                buffer, topic_end + 1 + buffer[topic_end])[1]
        look.handlers[3] = on_publish
        look.connect()

        def fine(stream):
            here = got.get(stream.topic)
            if here is not None:
                return stream.last_acked <= here < stream.sent
            return stream.last_acked == -1 or any(n >= stream.last_acked for n in stream.deleted)
        self.loop(time.monotonic() + 10, lambda: answered and all(map(fine, streams.values())))
        for stream in streams.values():
            if not fine(stream):
                self.violations.add('retained', f'{stream.topic} has {got.get(stream.topic)}, '
                                    f'acknowledged {stream.last_acked}, sent {stream.sent - 1}, '
                                    f'no payload: {sorted(stream.deleted)[-5:]}')
        look.goodbye()

    # ---- rounds

    def settings(self):
        r = self.random
        return {'node.shards': r.choice((1, 2, 2, 3)),
                'data.journal_segment_bytes': r.choice((1 << 20, 32 << 20)),
                'data.checkpoint_interval_s': r.choice((1, 1, 60)),
                **dict(pair.split('=', 1) for pair in self.args.set)}

    def start(self):
        """false: it does not."""
        while True:
            settings = self.settings()
            self.node.launch(settings)
            if self.round > 1 and self.random.random() < 0.15:
                time.sleep(self.random.random() * 0.15)  # not even ready
                self.crash('again')
                continue
            self.is_up = self.node.wait_ready()
            return self.is_up, settings

    def crash(self, how):
        self.is_up = False
        self.crashes += 1
        if self.args.power_loss and how != 'term':
            self.node.stand_still()
            self.disk.snapshot()
        status = self.node.end(signal.SIGTERM if how == 'term' else signal.SIGKILL)
        if how == 'term' and status != 0:
            self.violations.add('exit', f'status {status} after SIGTERM:\n{self.node.said()}')
        for s in self.sessions:  # what had come before is still there
            while s.sock is not None and s.read():
                pass
        if self.args.power_loss and how != 'term':
            self.disk.lose_power()

    def reconnect(self, everybody):
        self.random.shuffle(self.sessions)
        for s in self.sessions:
            if isinstance(s, Testator):
                s.come()
            elif isinstance(s, Subscriber) and not everybody and self.is_away(s):
                continue
            else:
                s.connect()

    def is_away(self, s):
        if s.away_rounds == 0 and self.random.random() < s.away:
            s.away_rounds = self.random.randint(1, 5)
        if s.away_rounds > 0:
            s.away_rounds -= 1
            return True
        return False

    def begin(self):
        """All subscriptions, before anything is published."""
        for s in self.takers:
            s.connect()
        done = self.loop(time.monotonic() + 20,
                         lambda: all(s.subscribed for s in self.takers if s.filters))
        if not done:
            self.violations.add('start', 'not all have subscribed')

    def one_round(self):
        self.round += 1
        begun, before = time.monotonic(), (self.published, self.acknowledged, self.taken())
        ready, settings = self.start()
        if not ready:
            self.violations.add('start', f'{settings}\n{self.node.said()}')
            return False
        start_s = time.monotonic() - begun
        if self.round == 1:
            self.begin()
        else:
            self.check_retained()
        self.reconnect(everybody=False)
        lasts = self.random.uniform(0.05, 1.0) * self.args.seconds_per_round
        self.busy(time.monotonic() + lasts)
        self.publishing = False
        if self.node.process.poll() is not None:
            self.violations.add('died', f'status {self.node.process.returncode}\n'
                                + self.node.said(20000)[-6000:])
            return False
        how = 'term' if self.random.random() < 0.1 else 'kill'
        self.crash(how)
        self.executor.check()
        n = [now - then for now, then in
             zip((self.published, self.acknowledged, self.taken()), before)]
        said = self.node.said(100000)
        notes = [word for word in ('journal_torn', 'disk_refuses', 'checkpoint_missed',
                                   'Sanitizer', 'runtime error') if word in said]
        print(f'round {self.round:3} {how} after {lasts:.2f} s, ready in {start_s:.2f} s, '
              f'{settings["node.shards"]} shards: {n[0]} published, {n[1]} acknowledged, '
              f'{n[2]} delivered, {self.violations.total()} violations {" ".join(notes)}',
              flush=True)
        if 'Sanitizer' in said or 'runtime error' in said:
            self.violations.add('sanitizer', said[-3000:])
        return True

    def taken(self):
        return sum(s.total for s in self.takers)

    def again(self):
        return sum(s.again for s in self.takers)

    def last(self):
        """Everything that is still under way comes to its end."""
        self.round += 2  # all wills are judged
        self.node.launch({})
        self.is_up = self.node.wait_ready()
        if not self.is_up:
            self.violations.add('start', self.node.said())
            return
        self.check_retained()
        self.reconnect(everybody=True)
        self.publishing = False
        progress = [time.monotonic(), -1]

        def settled():
            now = self.acknowledged + self.taken()
            if now != progress[1]:
                progress[:] = time.monotonic(), now
            return not any(p.open or p.out for p in self.publishers) and \
                not any(s.received for s in self.subscribers) and \
                not any(t.asked for t in self.togglers) and not self.executor.lost() and \
                all(not s.missing() for s in self.takers)

        while not settled() and time.monotonic() < progress[0] + self.args.silence:
            self.loop(time.monotonic() + 0.2)
        self.loop(time.monotonic() + 0.5)  # what comes once too often
        for p in self.publishers:
            for packet_id, (stream, number, _) in list(p.open.items())[:3]:
                p.complain('unanswered', f'{stream.topic} {number}, packet id {packet_id}')
        for s in self.takers:
            for stream, left in s.missing():
                s.complain('lost', f'{stream.topic} QoS {stream.qos}: {len(left)} of {stream.sent}, '
                           f'numbers {left[:5]} …')
            if s.received:
                s.complain('unreleased', f'packet ids {[i.hex() for i in list(s.received)[:5]]}')
        for t in self.togglers:
            t.check_unwanted()
        self.executor.check()
        for topic, number, how, begun in self.executor.lost():
            self.executor.complain('will_lost', f'{topic} {number}, which ended by {how} in round '
                                   f'{begun}')
        self.check_retained()
        for guest in self.guests:
            guest.leave()
        self.loop(time.monotonic() + 10, lambda: all(guest.there for guest in self.guests))
        for s in self.sessions:
            s.goodbye()
        time.sleep(0.3)
        status = self.node.end(signal.SIGTERM)
        if status != 0:
            self.violations.add('exit', f'{status}\n{self.node.said()}')
        self.check_rest()

    def check_rest(self):
        """Another start finds the sessions, and nothing in them."""
        self.node.launch({})
        if not self.node.wait_ready():
            self.violations.add('start', self.node.said())
            return
        self.node.end(signal.SIGTERM)  # and all of its log is there
        found = re.search(r'msg=revived sessions=(\d+) queued=(\d+) retained=(\d+) entries=(\d+)',
                          self.node.said(100000))
        retained = sum(s.retain and s.last_acked not in s.deleted for s in self.streams)
        want = len(self.sessions) - len(self.guests), 0, retained, 0
        got = tuple(map(int, found.groups())) if found else None
        if got != want:
            self.violations.add('rest', f'sessions, queued, retained, entries: {got}, not {want}')


def main():
    parser = argparse.ArgumentParser(description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('--bin', required=True, help='folder of the programs')
    parser.add_argument('--rounds', type=int, default=200)
    parser.add_argument('--seconds-per-round', type=float, default=2.0)
    parser.add_argument('--seed', type=int)
    parser.add_argument('--publishers', type=int, default=4)
    parser.add_argument('--power-loss', action='store_true')
    parser.add_argument('--disk-mib', type=int, default=700, help='with --power-loss')
    parser.add_argument('--set', action='append', default=[], metavar='KEY=VALUE',
                        help='of the configuration; data.durability=memory shows violations')
    parser.add_argument('--folder', help='where the directory and the log are made')
    parser.add_argument('--silence', type=float, default=SILENCE_S,
                        help='seconds without progress at the end, after which it is lost')
    args = parser.parse_args()
    args.seed = random.SystemRandom().randrange(1 << 32) if args.seed is None else args.seed
    print(f'seed {args.seed}', flush=True)
    if args.power_loss and os.geteuid() != 0:
        sys.exit('--power-loss needs root, for a file system of its own')
    disk = Disk(tempfile.mkdtemp(prefix='dunlin-crash-', dir=args.folder), args.power_loss,
                args.disk_mib)
    world, begun, ended_well = World(args, disk), time.monotonic(), False
    try:
        for _ in range(args.rounds):
            if not world.one_round():
                break
        else:
            world.last()
        ended_well = True
    finally:
        if world.node.process is not None and world.node.process.poll() is None:
            world.node.process.kill()
            world.node.process.wait()
        for s in world.sessions:
            s.lose()
        bad = not ended_well or world.violations.total() > 0
        disk.close(keep=bad)
    took = time.monotonic() - begun
    print(f'rounds {world.round}, {took:.0f} s; published {world.published} '
          f'({world.published / took:.0f}/s), acknowledged {world.acknowledged}, '
          f'delivered {world.taken()}, of these again {world.again()}, '
          f'wills {sum(world.executor.got.values())}')
    print(f'violations {world.violations.total()} {dict(world.violations.counts) or ""}')
    if bad:
        print(f'kept: {disk.folder}')
    return 1 if bad else 0


if __name__ == '__main__':
    sys.exit(main())
