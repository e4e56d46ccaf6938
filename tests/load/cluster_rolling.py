# SPDX-License-Identifier: Apache-2.0
"""Rolling restart of the nodes of a cluster behind HAProxy, under clients that connect again (cluster.py --only rolling).

Pairs of a publisher and a subscriber, QoS 1, a message a second each: a quarter of all clients of each kind has a
session that lasts. Each node in turn gets SIGTERM, as preStop ends in, is waited for, and started again.

What is promised to whom, and counted as a fault: a message that was acknowledged, of whose publishing and second after it
the subscriber was connected, arrives; it is in order; no client stays away. What a clean session misses while it is
away is not promised. A session that lasts is its node's: while the client is elsewhere it has another one there.
"""
import asyncio
import os
import random
import signal
import struct
import subprocess
import time

from common import free_port, percentile

CONNACK, PUBLISH, PUBACK, SUBACK, DISCONNECT = 2, 3, 4, 9, 14
EXPIRY_S = 300
SETTLED_S = 1.0       # a subscriber that was there for so long after PUBACK had to get it
PATIENCE_S = 30


def text(s):
    data = s.encode()
    return struct.pack('>H', len(data)) + data


def packet(head, body):
    size, length = len(body), b''
    while True:
        size, low = size >> 7, size & 0x7f
        length += bytes([low | (0x80 if size else 0)])
        if not size:
            return bytes([head]) + length + body


class Client:
    """Connects again and again. What it does when it is connected is its kind's."""

    def __init__(self, figures, port, name, lasting):
        self.figures, self.port, self.name, self.lasting = figures, port, name, lasting
        self.reader = self.writer = None
        self.lost_at = None
        self.sessions_found = 0

    async def run(self):
        chance = random.Random(self.name)
        while not self.figures.over:
            try:
                await self.connect()
                await self.talk()
            except (OSError, asyncio.IncompleteReadError, asyncio.TimeoutError):
                pass
            finally:
                if self.writer is not None:
                    self.writer.close()
                    self.gone()
                self.writer = None
            self.lost_at = self.lost_at or time.monotonic()
            await asyncio.sleep(chance.uniform(0, 1))

    async def connect(self):
        self.reader, self.writer = await asyncio.wait_for(
            asyncio.open_connection('127.0.0.1', self.port), 5)
        properties = b'\x11' + struct.pack('>I', EXPIRY_S) if self.lasting else b''
        flags = 0 if self.lasting else 2
        self.send(0x10, text('MQTT') + bytes([5, flags]) + struct.pack('>H', 60) +
                  bytes([len(properties)]) + properties + text(self.name))
        kind, _, body = await asyncio.wait_for(self.packet(), 10)
        if kind != CONNACK or body[1] != 0:
            self.figures.refused += 1
            raise ConnectionError
        self.sessions_found += body[0] & 1
        await self.begin()
        if self.lost_at is not None:
            self.figures.reconnects.append(time.monotonic() - self.lost_at)
        self.lost_at = None

    def send(self, head, body):
        self.writer.write(packet(head, body))

    async def packet(self):
        head = (await self.reader.readexactly(1))[0]
        size = shift = 0
        while True:
            low = (await self.reader.readexactly(1))[0]
            size |= (low & 0x7f) << shift
            shift += 7
            if low < 0x80:
                break
        return head >> 4, head & 15, await self.reader.readexactly(size)

    async def talk(self):
        while not self.figures.over:
            kind, flags, body = await asyncio.wait_for(self.packet(), PATIENCE_S)
            if kind == DISCONNECT:
                reason = body[0] if body else 0
                self.figures.reasons[reason] = self.figures.reasons.get(reason, 0) + 1
                return
            self.take(kind, flags, body)

    async def begin(self):
        """After CONNACK."""

    def gone(self):
        """The connection is over."""


class Subscriber(Client):
    def __init__(self, *of):
        super().__init__(*of)
        self.got, self.times, self.repeated, self.disordered = set(), [], 0, 0
        self.highest, self.since = -1, None

    async def begin(self):
        self.send(0x82, struct.pack('>H', 1) + b'\0' + text(f'roll/{self.name}') + b'\1')
        while True:
            kind, flags, body = await asyncio.wait_for(self.packet(), 10)
            if kind == SUBACK:
                break
            self.take(kind, flags, body)
        self.since = time.monotonic()

    def gone(self):
        if self.since is not None:
            self.times.append((self.since, time.monotonic()))
        self.since = None

    def take(self, kind, flags, body):
        if kind != PUBLISH:
            return
        at = 2 + struct.unpack_from('>H', body)[0]
        packet_id = struct.unpack_from('>H', body, at)[0]
        number = int(body[at + 3 + body[at + 2]:])
        self.send(0x40, struct.pack('>H', packet_id))
        if number in self.got:
            self.repeated += 1
        elif number < self.highest:
            self.disordered += 1
        self.got.add(number)
        self.highest = max(self.highest, number)

    def was_there(self, begun, end):
        return any(a <= begun and end <= b for a, b in self.times)


class Publisher(Client):
    """A message each second; one that is not acknowledged is sent again on the next connection."""

    def __init__(self, *of, topic):
        super().__init__(*of)
        self.topic, self.number = topic, 0
        self.open, self.acknowledged, self.failed = {}, [], 0

    async def begin(self):
        self.ticker = asyncio.create_task(self.tick(self.writer))

    def gone(self):
        self.ticker.cancel()

    def publish(self, number):
        self.send(0x32, text(f'roll/{self.topic}') + struct.pack('>H', number % 65535 + 1) + b'\0' +
                  str(number).encode())

    async def tick(self, writer):
        for number in sorted(self.open):
            self.publish(number)
        await asyncio.sleep(random.random())
        while not self.figures.quiet:
            if writer.is_closing():
                return
            self.open[self.number] = time.monotonic()
            self.publish(self.number)
            self.number += 1
            await asyncio.sleep(1)

    def take(self, kind, flags, body):
        if kind != PUBACK:
            return
        packet_id = struct.unpack_from('>H', body)[0]
        reason = body[2] if len(body) > 2 else 0
        if reason >= 0x80:
            self.failed += 1
            return  # it is sent again on the next connection
        begun = self.open.pop(packet_id - 1, None)
        if begun is not None:
            self.acknowledged.append((packet_id - 1, begun, time.monotonic()))


class Figures:
    def __init__(self):
        self.over = self.quiet = False
        self.reconnects, self.reasons, self.refused = [], {}, 0


def haproxy(nodes, folder, port):
    servers = '\n'.join(
        f'    server {name} 127.0.0.1:{nodes.ports[name][0]} check port {nodes.ports[name][2]}'
        for name in nodes.names)
    path = os.path.join(folder, 'haproxy.cfg')
    with open(path, 'w', encoding='utf-8') as f:
        f.write(f'''global
    maxconn 4000
defaults
    mode tcp
    timeout connect 5s
    timeout client 1h
    timeout server 1h
    timeout check 2s
    retries 3
    option redispatch
frontend mqtt
    bind 127.0.0.1:{port}
    default_backend dunlin
backend dunlin
    balance leastconn
    option httpchk
    http-check send meth GET uri /readyz
    http-check expect status 200
    default-server inter 1s fall 2 rise 1
{servers}
''')
    return subprocess.Popen(['/usr/sbin/haproxy', '-db', '-q', '-f', path], stdin=subprocess.DEVNULL,
                            stdout=subprocess.DEVNULL)


async def each_in_turn(nodes, faults):
    """How long each takes."""
    took = []
    for name in nodes.names:
        begun = time.monotonic()
        nodes.processes[name].send_signal(signal.SIGTERM)
        status = await asyncio.to_thread(nodes.processes[name].wait)
        if status != 0:
            faults.add(f'{name} ended with {status}')
        took.append(time.monotonic() - begun)
        nodes.start(name)
        await asyncio.to_thread(nodes.wait_joined, nodes.names)
        await asyncio.sleep(5)
    return took


async def wait_balanced(nodes, seconds):
    """Clients of each, and how long it took."""
    begun, shares = time.monotonic(), []
    while time.monotonic() - begun < seconds:
        shares = [int(await asyncio.to_thread(nodes.figure, name, 'dunlin_clients') or 0) for name in nodes.names]
        if max(shares) * len(shares) <= sum(shares) * 1.16:
            break
        await asyncio.sleep(1)
    return shares, time.monotonic() - begun


def judge(pairs, faults):
    print(f'          {"subscribers":22} messages   lost there   lost away   repeated   out of order')
    for lasting in (False, True):
        sums = {'sent': 0, 'there': 0, 'away': 0, 'repeated': 0, 'disordered': 0}
        for publisher, subscriber in pairs:
            if subscriber.lasting != lasting:
                continue
            sums['sent'] += len(publisher.acknowledged)
            sums['repeated'] += subscriber.repeated
            sums['disordered'] += subscriber.disordered
            for number, begun, end in publisher.acknowledged:
                if number in subscriber.got:
                    continue
                there = subscriber.was_there(begun, end + SETTLED_S)
                sums['there' if there else 'away'] += 1
                if there:
                    faults.add(f'{subscriber.name} was there, and has not got {number}')
            if publisher.open:
                faults.add(f'{publisher.name} has no answer to {len(publisher.open)} messages')
        print(f'          {"lasting" if lasting else "clean":22} {sums["sent"]:8} {sums["there"]:12} '
              f'{sums["away"]:11} {sums["repeated"]:10} {sums["disordered"]:14}')


async def run(nodes, port, count, faults):
    figures, pairs = Figures(), []
    for i in range(count // 2):
        subscriber = Subscriber(figures, port, f's{i}', i % 2 == 1)
        pairs.append((Publisher(figures, port, f'p{i}', i // 2 % 2 == 1, topic=f's{i}'), subscriber))
    clients = [client for pair in pairs for client in pair]
    tasks = [asyncio.create_task(pair[1].run()) for pair in pairs]
    await asyncio.sleep(10)
    tasks += [asyncio.create_task(pair[0].run()) for pair in pairs]
    await asyncio.sleep(10)
    before, _ = await wait_balanced(nodes, 1)
    figures.reconnects.clear()
    took = await each_in_turn(nodes, faults)
    reconnects, reasons = list(figures.reconnects), dict(figures.reasons)
    after, _ = await wait_balanced(nodes, 1)
    shares, balanced_s = await wait_balanced(nodes, 240)
    if max(shares) * len(shares) > sum(shares) * 1.16:
        faults.add(f'clients of each after {balanced_s:.0f} s: {shares}')
    figures.quiet = True
    await asyncio.sleep(5)
    away = sum(client.writer is None for client in clients)
    if away:
        faults.add(f'{away} clients have not come back')
    figures.over = True
    for client in clients:
        if client.writer is not None:
            client.writer.close()
    await asyncio.gather(*tasks, return_exceptions=True)
    said = ', '.join(f'0x{reason:02x} {times}' for reason, times in sorted(reasons.items()))
    print(f'rolling   {len(clients)} clients, {len(nodes.names)} nodes; SIGTERM to end '
          f'{", ".join(f"{s:.1f}" for s in took)} s; told to go: {said}')
    reconnects = reconnects or [0.0]
    print(f'          {len(reconnects)} times connected again: p50 {percentile(reconnects, 50):.2f} s, p99 '
          f'{percentile(reconnects, 99):.2f} s, most {max(reconnects):.2f} s; refused {figures.refused}; PUBACK '
          f'with a failure {sum(pair[0].failed for pair in pairs)}')
    print(f'          clients of each node: {before} before, {after} after, {shares} {balanced_s:.0f} s later')
    judge(pairs, faults)


def rolling(nodes_of, count, faults):
    """nodes_of(settings) starts them."""
    nodes = nodes_of({'drain.wait_s': 3, 'drain.clients_per_second': 200, 'cluster.rebalance_after_s': 20})
    port = free_port()
    proxy = haproxy(nodes, nodes.folder.name, port)
    try:
        time.sleep(3)
        asyncio.run(run(nodes, port, count, faults))
    finally:
        proxy.terminate()
        proxy.wait()
    return nodes.stop()
