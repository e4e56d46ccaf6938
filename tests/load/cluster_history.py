# SPDX-License-Identifier: Apache-2.0
"""cluster.py's `history`: clients that come to any node, directly and through HAProxy, publish, subscribe, take over, say
goodbye or do not; a nemesis that in each round does one or two of NEMESES to the nodes; and history.py, which judges what
the clients saw.

  kill       kill -9, and started again with its disk
  wipe       the same, and its disk is lost
  partition  nodes are two groups for some seconds, sometimes one way alone
  cut        some ways between nodes
  stop       SIGSTOP for a while
  full       its disk is full for a while (a tmpfs of its own); a shard notices when its segment of 8 MiB is: with
             --pairs and --rate of the default not each time
  drain      SIGTERM, and started again
  previous   the same, started with --previous; in a later round with this broker again

What each needs to be judged (--promise): `today` a node's sessions are its own, and may miss what is published while it is
down, or cut off until it is called dead; that is left out, and all else is not: whatever was acknowledged before a kill is there after it, so
kill, partition, cut, stop, full, drain and previous all have something to hold. `wipe` has nothing of sessions: they are
lost, and have to be. `replicated` takes no excuse: sessions are the cluster's, and outlive each of them. Cuts and
stops are of 1 to 2.5 s, less than a node takes to be called dead (5 s), with LONG of 8 to 12.

Figures: rounds, messages, deliveries; and from kill to the first delivery of a message that was sent after it, of each client.
"""
import asyncio
import json
import os
import random
import shutil
import signal
import time

from common import percentile
import history
from history import (CONNECTED, CONNECTING, DRAINED, ENDED, FAULT, LOST, MENDED, PUBLISHED, PUBLISHING, RECEIVED, RELEASED,
                     RETAINED, SAID, SUBSCRIBED, TAKEN, TOLD, UNSURE)
import wire
from wire import V5

NEMESES = ('kill', 'wipe', 'partition', 'cut', 'stop', 'full', 'drain', 'previous')
EXPIRY_S = 3600.0
WINDOW = 10           # messages of a publisher that wait for an answer
READY_S = 90          # a node that was started is ready, and all see each other
SILENT_S = 4.0        # nothing came for so long at the end: nothing will
DISK_MIB = 96         # of each node, if it is to be full
FULL_S = 40           # until it has noticed
PADDING = b' ' * 8000 # of each message then, so that its journal needs room


class Link:
    """One connection; reads until its end, and acknowledges all."""

    def __init__(self, client, number, streams):
        self.client, self.number = client, number
        self.reader, self.writer = streams
        self.buffer, self.node, self.present = bytearray(), '', False
        self.how, self.last, self.task = None, time.monotonic(), None

    def add(self, what, **fields):
        self.client.world.history.add(what, connection=self.number, **fields)

    def send(self, data):
        self.writer.write(data)

    async def packet(self):
        while True:
            size = wire.split(self.buffer)
            if size is not None:
                raw = bytes(self.buffer[:size])
                del self.buffer[:size]
                return wire.parse(raw, V5)
            data = await self.reader.read(65536)
            if not data:
                raise ConnectionError
            self.buffer += data

    async def read(self):
        """To the end, which it records."""
        how = LOST
        try:
            while self.how in (None, 'going'):
                p = await self.packet()
                self.last = time.monotonic()
                if p.type == wire.DISCONNECT:
                    how = TAKEN if p.reason == 0x8E else TOLD
                    break
                self.take(p)
        except OSError:
            pass
        if self.how is None:
            self.how = how
            self.add(ENDED, how=how)
        self.writer.close()

    def take(self, p):
        if p.type == wire.PUBLISH:
            self.add(RECEIVED, id=tuple(json.loads(p.payload)), qos=p.qos, packet_id=p.packet_id or 0, dup=p.dup)
            if p.qos:
                self.send(wire.ack(wire.PUBACK if p.qos == 1 else wire.PUBREC, p.packet_id))
        elif p.type == wire.PUBREL:
            self.add(RELEASED, packet_id=p.packet_id)
            self.send(wire.ack(wire.PUBCOMP, p.packet_id))
        else:
            self.client.answered(self, p)

    def drop(self):
        if self.how is None:
            self.how = LOST
            self.add(ENDED, how=LOST)
        self.writer.transport.abort()

    async def say_goodbye(self):
        if self.how is not None:
            return
        self.how = 'going'
        self.send(wire.disconnect(V5))
        done, _ = await asyncio.wait([self.task], timeout=5)
        self.add(ENDED, how=SAID if done else UNSURE)
        self.writer.transport.abort()


class Client:
    def __init__(self, world, name):
        self.world, self.name = world, name
        self.chance = random.Random(f'{world.seed}-{name}')
        self.homes = set()

    def home(self, link):
        return link.node if self.world.promise.node_sessions else ''

    def answered(self, link, p):
        """Packets that are no messages."""

    async def connect(self, clean_start=False, node=None):
        """To that node, or any, or through HAProxy. None: there is no answer in time, or a refusal."""
        world = self.world
        node = node or self.chance.choice([*world.nodes.names, ''])
        try:
            streams = await asyncio.wait_for(asyncio.open_connection(
                *(world.nodes.address(node) if node else world.balancer.address)), 3)
        except (OSError, asyncio.TimeoutError):
            return None
        world.serial += 1
        link = Link(self, world.serial, streams)
        port = link.writer.get_extra_info('sockname')[1]
        will = (self.name, 'will', link.number)
        world.history.add(CONNECTING, client=self.name, connection=link.number, node=node, clean_start=clean_start,
                          expiry_s=EXPIRY_S, will=will)
        link.send(wire.connect(V5, self.name, clean_start=clean_start, keep_alive=0, props={'session_expiry_interval': int(EXPIRY_S)},
                               will=wire.Will(f'will/{self.name}', json.dumps(will).encode(), qos=1)))
        try:
            p = await asyncio.wait_for(link.packet(), 8)
            if p.type == wire.CONNACK and p.reason == 0:
                link.node = node or await world.node_behind(port)
                link.present = p.session_present
                link.add(CONNECTED, node=link.node, session_present=p.session_present)
                self.homes.add(self.home(link))
                link.task = asyncio.create_task(link.read())
                world.links.append(link)
                return link
        except (OSError, asyncio.TimeoutError):
            pass
        link.drop()
        return None


class Subscriber(Client):
    """Its session stays; it comes and goes, takes its own connection over, and begins anew at times."""

    def __init__(self, world, number, publishers):
        super().__init__(world, f's{number}')
        self.filters = [f't/p{number % publishers}/#', f't/p{(number + 1) % publishers}/#', 'will/#']
        self.subscribed = set()  # homes
        self.asked = {}          # packet ids of a link's SUBSCRIBE

    async def run(self):
        link = None
        while not self.world.quiet:
            clean_start = self.chance.random() < 0.03
            former, link = link, await self.connect(clean_start)
            if clean_start:
                self.subscribed.clear()  # wherever it got to
            if link is None:
                link = former if former is not None and former.how is None else None
                await asyncio.sleep(self.chance.uniform(0.1, 1))
                continue
            self.subscribe(link)
            await self.stay(link, self.chance.uniform(2, 10))
            dice = self.chance.random()
            if dice < 0.3:
                await link.say_goodbye()
            elif dice < 0.6:
                link.drop()
            await asyncio.sleep(self.chance.choice((0, 0, self.chance.uniform(0, 3))))

    def subscribe(self, link):
        home = self.home(link)
        if not link.present:
            self.subscribed.discard(home)
        if home not in self.subscribed and (link.node or home == link.node):
            self.asked[link.number] = home
            link.send(wire.subscribe(V5, 1, [(f, 2) for f in self.filters]))

    def answered(self, link, p):
        if p.type == wire.SUBACK and all(reason == 2 for reason in p.reasons):
            self.subscribed.add(self.asked[link.number])
            for topic_filter in self.filters:
                link.add(SUBSCRIBED, topic=topic_filter, qos=2)

    async def stay(self, link, seconds):
        end = time.monotonic() + seconds
        while link.how is None and time.monotonic() < end and not self.world.quiet:
            await asyncio.sleep(0.05)

    async def drain(self):
        """Everything out of each of its sessions. False: it could not."""
        for home in sorted(self.homes):
            for _ in range(20):
                link = await self.connect(node=home or None)
                if link is None or not link.node:
                    await asyncio.sleep(0.5)
                    continue
                self.subscribe(link)
                while link.how is None and time.monotonic() < link.last + SILENT_S:
                    await asyncio.sleep(0.1)
                if link.how is None:
                    link.add(DRAINED)
                    await link.say_goodbye()
                    break
            else:
                return False
        return True


class Publisher(Client):
    """Numbered messages at QoS 1 and 2, and retained ones. What has no answer is sent again where its session is."""

    def __init__(self, world, number, rate):
        super().__init__(world, f'p{number}')
        self.rate, self.numbers, self.refused = rate, {}, 0
        self.open = {}  # by home: {packet id: [identity, qos, retain, PUBREC has come]}

    async def run(self):
        while not self.world.quiet:
            link = await self.connect()
            if link is None or (self.world.promise.node_sessions and not link.node):
                if link is not None:
                    link.drop()
                await asyncio.sleep(self.chance.uniform(0.1, 1))
                continue
            open_ = self.open.setdefault(self.home(link), {})
            if not link.present:
                open_.clear()
            for packet_id, entry in open_.items():
                self.send(link, packet_id, entry, again=True)
            end = time.monotonic() + self.chance.uniform(3, 15)
            while link.how is None and time.monotonic() < end and not self.world.quiet:
                if len(open_) < WINDOW:
                    self.publish(link, open_)
                await asyncio.sleep(self.chance.uniform(0, 2 / self.rate))
            if self.chance.random() < 0.5 and not self.world.quiet:
                link.drop()
            else:
                await self.finish(link, open_)

    async def finish(self, link, open_):
        end = time.monotonic() + 10
        while open_ and link.how is None and time.monotonic() < end:
            await asyncio.sleep(0.05)
        await link.say_goodbye()

    def publish(self, link, open_):
        dice = self.chance.random()
        retain = dice < 0.05
        topic = f'kept/{self.name}' if retain else f't/{self.name}/{int(dice * 100) % 2}'
        number = self.numbers[topic] = self.numbers.get(topic, 0) + 1
        packet_id = next(i for i in range(1 + number % 60000, 65536) if i not in open_)
        entry = open_[packet_id] = [(self.name, topic, number), self.chance.choice((1, 2)), retain, False]
        self.send(link, packet_id, entry)

    def send(self, link, packet_id, entry, again=False):
        identity, qos, retain, received = entry
        if received:
            link.send(wire.ack(wire.PUBREL, packet_id))
            return
        link.add(PUBLISHING, id=identity, topic=identity[1], qos=qos, retain=retain)
        link.send(wire.publish(V5, identity[1], json.dumps(identity).encode() + self.world.padding, qos, packet_id, retain=retain, dup=again))

    def answered(self, link, p):
        open_ = self.open[self.home(link)]
        entry = open_.get(p.packet_id)
        if entry is None or p.type not in (wire.PUBACK, wire.PUBREC, wire.PUBCOMP):
            return
        if p.type == wire.PUBCOMP or p.reason >= 0x80:
            self.refused += p.reason >= 0x80
            del open_[p.packet_id]
            return
        if not entry[3]:
            link.add(PUBLISHED, id=entry[0])
        if p.type == wire.PUBACK:
            del open_[p.packet_id]
        else:
            entry[3] = True
            link.send(wire.ack(wire.PUBREL, p.packet_id))


class Reader(Client):
    """What is retained, as a new subscriber gets it."""

    async def look(self, node, topics):
        link = await self.connect(clean_start=True, node=node)
        if link is None:
            return False
        link.send(wire.subscribe(V5, 1, [('kept/#', 0)]))
        while link.how is None and time.monotonic() < link.last + SILENT_S:
            await asyncio.sleep(0.1)
        events = self.world.history.events
        seen = {e.id[1]: e.id for e in events if e.what == RECEIVED and e.connection == link.number}
        for topic in topics:
            self.world.history.add(RETAINED, node=node, topic=topic, id=seen.get(topic))
        await link.say_goodbye()
        return True


class Nemesis:
    def __init__(self, world, kinds, long, previous):
        self.world, self.nodes, self.net = world, world.nodes, world.net
        self.kinds, self.long, self.previous = kinds, long, previous
        self.chance = random.Random(f'{world.seed}-nemesis')
        self.serial, self.done, self.cuts = 0, [], {}

    def begin(self, how, **what):
        self.serial += 1
        self.world.history.add(FAULT, number=self.serial, how=how, **what)
        return self.serial

    async def mended(self, number):
        await self.all_ready()
        self.world.history.add(MENDED, number=number)

    async def all_ready(self):
        """All nodes are ready, and see each other; as far as they are there."""
        end = time.monotonic() + READY_S
        names = self.nodes.names
        while True:
            said = [await asyncio.to_thread(lambda n=n: (self.nodes.ask(n, '/readyz'), self.nodes.living(n))) for n in names
                    if n not in self.world.held]
            if all(ready is not None and living == len(names) for ready, living in said):
                return
            if time.monotonic() > end:
                self.world.fail(f'nodes are not ready, or do not see each other: {said}')
                return
            await asyncio.sleep(0.2)

    def seconds(self):
        return self.chance.uniform(8, 12) if self.long else self.chance.uniform(1, 2.5)

    async def kill(self, name, wiped=False):
        number = self.begin('kill', nodes=(name,), wiped=wiped)
        await asyncio.to_thread(self.nodes.kill, name)
        if wiped:
            data = os.path.join(self.nodes.folder.name, name)
            for entry in os.listdir(data):
                shutil.rmtree(os.path.join(data, entry), ignore_errors=True)
                if os.path.isfile(os.path.join(data, entry)):
                    os.unlink(os.path.join(data, entry))
        await asyncio.sleep(self.chance.choice((0, self.chance.uniform(0, 12))))
        self.nodes.start(name)
        await self.mended(number)

    async def wipe(self, name):
        await self.kill(name, wiped=True)

    async def drain(self, name, how='drain'):
        number = self.begin(how, nodes=(name,))
        status = await asyncio.to_thread(self.nodes.end, name)
        if status != 0:
            self.world.fail(f'{name} ended with {status}')
        self.nodes.start(name)
        await self.mended(number)

    async def previous_(self, name):
        programs = self.nodes.programs
        if programs.pop(name, None) is None:
            programs[name] = self.previous
        await self.drain(name, 'previous')

    async def stop(self, name):
        number = self.begin('stop', nodes=(name,), short=not self.long)
        self.world.held.add(name)
        os.kill(self.nodes.pid(name), signal.SIGSTOP)
        await asyncio.sleep(self.seconds())
        os.kill(self.nodes.pid(name), signal.SIGCONT)
        self.world.held.discard(name)
        await self.mended(number)

    async def full(self, name):
        number = self.begin('full', nodes=(name,), short=True)
        path = os.path.join(self.nodes.folder.name, name, 'filling')
        more, end = self.chance.uniform(3, 6), time.monotonic() + FULL_S
        with open(path, 'wb', buffering=0) as f, open(self.nodes.log(name), 'rb') as log:
            log.seek(0, os.SEEK_END)
            while time.monotonic() < end:
                if b'msg=disk_refuses' in log.read():
                    end = min(end, time.monotonic() + more)
                try:
                    while True:  # also what is freed meanwhile
                        f.write(bytes(1 << 16))
                except OSError:
                    await asyncio.sleep(0.05)
        os.unlink(path)
        await self.mended(number)

    async def apart(self, how, ways):
        number = self.begin(how, ways=tuple(ways), short=not self.long)
        self.cuts[number] = ways
        self.net.cut([way for of in self.cuts.values() for way in of])
        await asyncio.sleep(self.seconds())
        del self.cuts[number]
        self.net.cut([way for of in self.cuts.values() for way in of])
        await self.mended(number)

    async def partition(self, name):
        group = {name, *self.chance.sample(self.nodes.names, self.chance.randrange(len(self.nodes.names) // 2 + 1))}
        ways = [(a, b) for a in self.nodes.names for b in self.nodes.names if a in group and b not in group]
        if self.chance.random() < 0.7:
            ways += [(b, a) for a, b in ways]
        await self.apart('partition', ways)

    async def cut(self, _):
        ways = [(a, b) for a in self.nodes.names for b in self.nodes.names if a != b]
        await self.apart('cut', self.chance.sample(ways, self.chance.randrange(1, len(self.nodes.names) + 1)))

    async def run(self, rounds):
        for _ in range(rounds):
            await asyncio.sleep(self.chance.uniform(3, 6))
            kinds = self.chance.sample(self.kinds, min(len(self.kinds), self.chance.choice((1, 1, 2))))
            names = self.chance.sample(self.nodes.names, len(kinds))
            self.done.append('+'.join(f'{kind} {name}' for kind, name in zip(kinds, names)))
            print(f'history   round {len(self.done)}, at {self.world.history.clock():.1f}: {self.done[-1]}', flush=True)
            await asyncio.gather(*(getattr(self, 'previous_' if kind == 'previous' else kind)(name)
                                   for kind, name in zip(kinds, names)))
            if self.world.failed:
                return


class World:
    def __init__(self, nodes, net, balancer, promise, seed, faults):
        self.nodes, self.net, self.balancer, self.promise, self.seed, self.faults = nodes, net, balancer, promise, seed, faults
        begun = time.monotonic()
        self.history = history.History(lambda: time.monotonic() - begun)
        self.serial, self.quiet, self.held, self.failed = 0, False, set(), False
        self.padding, self.links = b'', []

    def fail(self, text):
        self.failed = True
        self.faults.add(text)

    async def node_behind(self, port):
        """Where HAProxy has brought the connection from that port; '': it does not say."""
        for _ in range(100):
            node = self.balancer.node_of.pop(port, None)
            if node is not None:
                return node
            await asyncio.sleep(0.02)
        return ''


async def play(world, nemesis, rounds, pairs, rate):
    subscribers = [Subscriber(world, i, pairs) for i in range(pairs)]
    publishers = [Publisher(world, i, rate) for i in range(pairs)]
    tasks = [asyncio.create_task(c.run()) for c in subscribers]
    await asyncio.sleep(3)
    tasks += [asyncio.create_task(c.run()) for c in publishers]
    nemesis_task = asyncio.create_task(nemesis.run(rounds))
    while not nemesis_task.done():
        await asyncio.wait([nemesis_task, *tasks], return_when=asyncio.FIRST_COMPLETED)
        for task in tasks:
            if task.done():
                task.result()  # a client that has ended by itself has found what no broker may send
    nemesis_task.result()
    await asyncio.sleep(5)
    world.quiet = True
    await asyncio.gather(*tasks)
    await asyncio.sleep(world.promise.settle_s)
    for name, drained in zip(subscribers, await asyncio.gather(*(s.drain() for s in subscribers))):
        if not drained:
            world.fail(f'{name.name} cannot connect to all nodes at the end')
    for i, name in enumerate(world.nodes.names):
        if not await Reader(world, f'reader{i}').look(name, [f'kept/{p.name}' for p in publishers]):
            world.fail(f'nobody can connect to {name} at the end')
    for link in world.links:
        link.drop()
        link.task.cancel()
    await asyncio.gather(*(link.task for link in world.links), return_exceptions=True)
    return sum(p.refused for p in publishers)


def run(nodes, net, balancer, faults, promise, kinds, seed, rounds, pairs, rate, long, previous, keep):
    """keep: a file for all events, as lines, with the nodes' logs beside it; None: none."""
    promise = {'today': history.TODAY, 'replicated': history.REPLICATED}[promise]
    print(f'history   seed {seed}, {promise.name}: {", ".join(kinds)}', flush=True)
    world = World(nodes, net, balancer, promise, seed, faults)
    world.padding = PADDING if 'full' in kinds else b''
    nemesis = Nemesis(world, kinds, long, previous)
    refused = asyncio.run(play(world, nemesis, rounds, pairs, rate))
    events = world.history.events
    if keep:
        with open(keep, 'w', encoding='utf-8') as f:
            f.writelines(repr(e) + '\n' for e in events)
        for name in nodes.names:
            shutil.copy(nodes.log(name), f'{keep}.{name}.log')
    verdicts = history.check(events, promise)
    by_rule = {}
    for verdict in verdicts:
        by_rule.setdefault(verdict.rule, []).append(verdict.text)
    for rule, texts in by_rule.items():
        faults.add(f'{rule}: {len(texts)} times, as\n    ' + '\n    '.join(texts[:5]))
    if 'full' in kinds:
        refused_disks = 0
        for name in nodes.names:
            with open(nodes.log(name), 'rb') as f:
                refused_disks += f.read().count(b'msg=disk_refuses')
        print(f'          disks that were full: {refused_disks} times a shard has refused')
    times = history.fail_over_times(events, 'kill')
    count = {what: sum(e.what == what for e in events) for what in (PUBLISHED, RECEIVED, CONNECTED)}
    print(f'history   {len(nemesis.done)} rounds, {count[PUBLISHED]} messages acknowledged, {refused} refused, {count[RECEIVED]} deliveries, '
          f'{count[CONNECTED]} connections in {events[-1].when:.0f} s: {len(verdicts)} verdicts')
    if times:
        print(f'          from kill to the first delivery of what was sent after it, of each client: p50 {percentile(times, 50):.2f} s, '
              f'p99 {percentile(times, 99):.2f}, most {max(times):.2f}')
