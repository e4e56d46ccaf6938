# SPDX-License-Identifier: Apache-2.0
"""cluster.py's `failover`: of nodes with cluster.replicas always the one that leads the most partitions is killed (kill -9), and
started again. How long until clients whose sessions it led get what is published after it; and what is theirs then.

Subscribers are connected to all nodes; their sessions last. Who is closed connects to another node at once, and tries again each
RETRY_S. A publisher publishes to each of them all the time. Counted are those who were connected to another node than that which is
killed, and lost their connection all the same: their session was there.

Faults: Session Present 0, a message that was acknowledged and has not come.
"""
import asyncio
import time

from common import percentile
import wire
from wire import V5

RETRY_S, EACH_S = 0.05, 0.1
KEPT = {'session_expiry_interval': 3600}
LEAD_S = 60


class Kept:
    """A client whose session lasts; it comes back to whichever node lives."""

    def __init__(self, world, number):
        self.world, self.name = world, f'kept-{number}'
        self.node = world.nodes.names[number % len(world.nodes.names)]
        self.got, self.first = set(), {}  # by kill: when the first message came that was sent after it
        self.lost, self.buffer, self.up, self.ever, self.at = False, bytearray(), asyncio.Event(), False, None

    async def packet(self, reader):
        while True:
            size = wire.split(self.buffer)
            if size is not None:
                raw = bytes(self.buffer[:size])
                del self.buffer[:size]
                return wire.parse(raw, V5)
            data = await reader.read(65536)
            if not data:
                raise ConnectionError
            self.buffer += data

    async def session(self, node):
        reader, writer = await asyncio.wait_for(asyncio.open_connection(*self.world.nodes.address(node)), 2)
        try:
            self.buffer.clear()
            writer.write(wire.connect(V5, self.name, clean_start=False, keep_alive=0, props=KEPT))
            p = await asyncio.wait_for(self.packet(reader), 5)
            if p.type != wire.CONNACK or p.reason != 0:
                return
            if self.ever and not p.session_present:
                self.world.faults.add(f'{self.name} at {node}: its session is not there')
            self.at = node
            if not self.ever:
                writer.write(wire.subscribe(V5, 1, [(f'to/{self.name}', 1)]))
            while True:
                p = await self.packet(reader)
                if p.type == wire.SUBACK:
                    self.ever = True
                    self.up.set()
                if p.type == wire.PUBLISH:
                    self.take(p)
                    writer.write(wire.ack(wire.PUBACK, p.packet_id))
        finally:
            writer.transport.abort()

    def take(self, p):
        number = int(p.payload)
        self.got.add(number)
        kill = self.world.kill
        if kill is not None and number >= self.world.sent_at_kill and kill not in self.first:
            self.first[kill] = time.monotonic()

    async def run(self):
        at = self.world.nodes.names.index(self.node)
        while True:
            name = self.world.nodes.names[at % len(self.world.nodes.names)]
            if name != self.world.dead:
                try:
                    await self.session(name)
                except (OSError, asyncio.TimeoutError):
                    pass
                self.lost = True
                await asyncio.sleep(RETRY_S)
            at += 1


class World:
    def __init__(self, nodes, faults, clients):
        self.nodes, self.faults = nodes, faults
        self.dead, self.kill, self.sent, self.sent_at_kill = None, None, 0, 0
        self.acknowledged = {}  # by client: numbers
        self.clients = [Kept(self, i) for i in range(clients)]

    async def publish(self):
        """To each in turn, by one node that lives, QoS 1, some under way at a time; what has no answer is nobody's."""
        while True:
            node = next(n for n in self.nodes.names if n != self.dead)
            try:
                reader, writer = await asyncio.open_connection(*self.nodes.address(node))
                writer.write(wire.connect(V5, '', keep_alive=0))
                await self.stream(node, reader, writer)
            except (OSError, asyncio.TimeoutError):
                await asyncio.sleep(RETRY_S)

    async def stream(self, node, reader, writer):
        open_, buffer = {}, bytearray()

        async def read():
            while True:
                size = wire.split(buffer)
                if size is None:
                    data = await reader.read(65536)
                    if not data:
                        return
                    buffer.extend(data)
                    continue
                p = wire.parse(bytes(buffer[:size]), V5)
                del buffer[:size]
                if p.type == wire.PUBACK:
                    name, number = open_.pop(p.packet_id)
                    if p.reason < 0x80:
                        self.acknowledged.setdefault(name, []).append(number)
        task = asyncio.create_task(read())
        try:
            while not task.done() and self.dead != node:
                for client in self.clients:
                    if len(open_) > 500:
                        break
                    self.sent += 1
                    packet_id = next(i for i in range(1 + self.sent % 60000, 65536) if i not in open_)
                    open_[packet_id] = (client.name, self.sent)
                    writer.write(wire.publish(V5, f'to/{client.name}', str(self.sent).encode(), 1, packet_id))
                await asyncio.sleep(EACH_S)
        finally:
            task.cancel()
            writer.transport.abort()

    async def all_led(self):
        end = time.monotonic() + LEAD_S
        while time.monotonic() < end:
            said = [await asyncio.to_thread(self.nodes.figure, n, 'dunlin_partitions_leaderless') for n in self.nodes.names]
            follow = [await asyncio.to_thread(self.nodes.figure, n, 'dunlin_partitions_led') for n in self.nodes.names]
            if all(s == 0 for s in said) and None not in follow and sum(follow) == 64:
                return
            await asyncio.sleep(0.2)
        self.faults.add('not all partitions are led')

    async def play(self, kills):
        await self.all_led()
        tasks = [asyncio.create_task(c.run()) for c in self.clients]
        await asyncio.wait_for(asyncio.gather(*(c.up.wait() for c in self.clients)), 60)
        tasks.append(asyncio.create_task(self.publish()))
        times, gone, led = [], 0, 0
        for kill in range(kills):
            await asyncio.sleep(3)
            leads = {n: await asyncio.to_thread(self.nodes.figure, n, 'dunlin_partitions_led') for n in self.nodes.names}
            name = max(leads, key=leads.get)
            led += leads[name]
            for c in self.clients:
                c.lost = False
            elsewhere = [c for c in self.clients if c.at != name]
            await asyncio.to_thread(self.nodes.kill, name)
            killed = time.monotonic()
            self.dead, self.sent_at_kill, self.kill = name, self.sent + 1, kill
            end = killed + 30
            while time.monotonic() < end and not all(kill in c.first for c in self.clients):
                await asyncio.sleep(0.02)
            for c in self.clients:
                if kill not in c.first:
                    self.faults.add(f'{c.name} gets nothing 30 s after kill {kill} of {name}')
                elif c.lost and c in elsewhere:
                    gone += 1
                    times.append(c.first[kill] - killed)
            self.dead = None
            self.nodes.start(name)
            await self.all_led()
        await asyncio.sleep(5)
        for task in tasks:
            task.cancel()
        missing = sum(len(set(self.acknowledged.get(c.name, ())) - c.got) for c in self.clients)
        if missing:
            self.faults.add(f'{missing} messages were acknowledged, and have not come')
        return times, gone, led / kills, sum(map(len, self.acknowledged.values()))


def failover(nodes, kills, clients, faults):
    world = World(nodes, faults, clients)
    times, gone, led, acknowledged = asyncio.run(world.play(kills))
    print(f'failover  {kills} kills of nodes that led {led:.0f} of 64 partitions, {clients} clients; {gone} times one lost its session\'s node; '
          f'{acknowledged} messages acknowledged')
    if times:
        print(f'          from kill -9 to the first delivery of what was sent after it: p50 {percentile(times, 50):.2f} s, '
              f'p99 {percentile(times, 99):.2f}, most {max(times):.2f}')
