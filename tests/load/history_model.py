# SPDX-License-Identifier: Apache-2.0
"""A broker in a few lines, and clients by chance, that make histories for history_test.py: right ones, and with one of
FAULTS such as history.check() has to mind. No socket; the clock goes on with each step.

Nodes share their sessions, or have their own (as the promise says), pass messages on at once, and are killed and
started again with what they had.
"""
import random

from history import (CONNECTED, CONNECTING, DRAINED, ENDED, FAULT, LOST, MENDED, PUBLISHED, PUBLISHING, RECEIVED, RELEASED,
                     RETAINED, SAID, SUBSCRIBED, TAKEN, History, matches)

# Each with the rule that minds it.
FAULTS = {
    'what waits is lost with the connection': 'acknowledged-lost',
    'a queue loses its newest': 'acknowledged-lost',
    'a message is acknowledged and not kept': 'acknowledged-lost',
    'subscriptions are lost with the connection': 'acknowledged-lost',
    'a death loses what waits': 'acknowledged-lost',
    'QoS 2 comes again under another id': 'qos2-twice',
    'QoS 2 comes again after PUBREL': 'qos2-twice',
    'what a publisher sends again is another message': 'qos2-twice',
    'the newest goes first': 'order',
    'what was under way goes behind': 'order',
    'the session is forgotten': 'session-present',
    'a death loses sessions': 'session-present',
    'a session outlives its expiry': 'session-present',
    'Clean Start finds a session': 'session-present',
    'a stranger finds a session': 'session-present',
    'the former connection stays': 'two-owners',
    'no will': 'will',
    'a will in spite of DISCONNECT': 'will',
    'a will twice': 'will',
    'a will of one who is there': 'will',
    'the first retained message stays': 'retained',
    'one node has no retained messages': 'retained',
    'a message out of nowhere': 'made-up',
}
NODES = ('n0', 'n1', 'n2')
EXPIRY_S = 300.0
WINDOW = 3


class Session:
    def __init__(self):
        self.filters, self.queue, self.inflight, self.next_id = {}, [], [], 1  # inflight: [packet_id, message, sent, received]
        self.connection, self.ends = None, None
        self.open = set()  # the publisher's QoS 2 that the broker has


class Connection:
    def __init__(self, number, client, node, will):
        self.number, self.client, self.node, self.will, self.session, self.key = number, client, node, will, None, None


class World:
    def __init__(self, seed, promise, fault=None):
        self.chance, self.promise, self.fault = random.Random(seed), promise, fault
        self.now = 1000.0
        self.history = History(lambda: self.now)
        self.sessions, self.connections, self.retained = {}, {}, {}
        self.down, self.serial, self.known = {}, 0, set()
        self.numbers, self.sent_again = {}, {}

    def wrong(self, fault, chance=0.3):
        return self.fault == fault and self.chance.random() < chance

    def add(self, what, **fields):
        self.now += self.chance.uniform(0.001, 0.02)
        self.history.add(what, **fields)

    # ---- The broker

    def key(self, client, node):
        return client, node if self.promise.node_sessions else ''

    def expire(self):
        for key, session in list(self.sessions.items()):
            if session.ends is not None and self.now > session.ends and self.fault != 'a session outlives its expiry':
                del self.sessions[key]

    def route(self, identity, topic, qos):
        for (_, home), session in self.sessions.items():
            if home and home in self.down:
                continue
            granted = max((q for f, q in session.filters.items() if matches(f, topic)), default=None)
            if granted is None or self.wrong('a message is acknowledged and not kept'):
                continue
            session.queue.append((identity, min(qos, granted)))
            if self.wrong('the newest goes first'):
                session.queue.reverse()
            if len(session.queue) > 4 and self.wrong('a queue loses its newest'):
                session.queue.pop()
            if self.wrong('a message out of nowhere', 0.01):
                session.queue.append((('nobody', topic, 1), 1))

    def will(self, c, times=1):
        for _ in range(times if self.fault != 'no will' else 0):
            self.route(c.will, f'will/{c.client}', 1)

    def forget(self, c, how):
        """The broker's side of an end."""
        self.connections.pop(c.number, None)
        if c.session is None or c.session.connection is not c:
            return
        session = c.session
        session.connection, session.ends = None, self.now + EXPIRY_S
        if self.wrong('what waits is lost with the connection'):
            session.queue.clear()
        if self.wrong('subscriptions are lost with the connection', 0.1):
            session.filters.clear()
        if self.wrong('the session is forgotten', 0.1):
            del self.sessions[c.key]
        for entry in session.inflight:
            if entry[1][1] == 2 and entry[3] and self.wrong('QoS 2 comes again under another id'):
                session.queue.insert(0, entry[1])
            entry[2] = False
        if self.wrong('what was under way goes behind'):
            session.queue += [entry[1] for entry in session.inflight if not entry[3]]
            session.inflight = [entry for entry in session.inflight if entry[3]]
        if how != SAID or self.wrong('a will in spite of DISCONNECT'):
            self.will(c, 2 if self.wrong('a will twice') else 1)

    # ---- Clients

    def connect(self, client, node, clean_start=False):
        self.serial += 1
        c = Connection(self.serial, client, node, (client, 'will', self.serial))
        self.add(CONNECTING, client=client, connection=c.number, node=node, clean_start=clean_start, expiry_s=EXPIRY_S, will=c.will)
        self.expire()
        key = c.key = self.key(client, node)
        former = next((o for o in self.connections.values() if o.client == client), None)
        if former is not None and self.fault != 'the former connection stays':
            self.forget(former, TAKEN)
            self.add(ENDED, connection=former.number, how=TAKEN)
        present = key in self.sessions and not clean_start
        if not present:
            self.sessions[key] = Session()
        if (clean_start and self.wrong('Clean Start finds a session')) or \
                (client not in self.known and self.wrong('a stranger finds a session')):
            present = True
        self.known.add(client)
        c.session = self.sessions[key]
        c.session.connection, c.session.ends = c, None
        self.connections[c.number] = c
        if self.chance.random() < 0.05:
            self.drop(c)
            return None
        self.add(CONNECTED, connection=c.number, node=node, session_present=present)
        if client[0] == 's' and not present:
            for topic_filter in ('t/#', 'will/#'):
                c.session.filters[topic_filter] = 2
                self.add(SUBSCRIBED, connection=c.number, topic=topic_filter, qos=2)
        return c

    def drop(self, c, how=LOST):
        self.forget(c, how)
        self.add(ENDED, connection=c.number, how=how)

    def publish(self, c):
        topic, qos = f't/{self.chance.randrange(2)}', self.chance.choice((1, 2, 2))
        open_ = self.sent_again.pop(c.client, None)
        if open_ is None or open_[0] is not c.session:
            number = self.numbers[c.client, topic] = self.numbers.get((c.client, topic), 0) + 1
            identity = (c.client, topic, number)
        else:
            _, identity, topic, qos = open_
        self.add(PUBLISHING, connection=c.number, id=identity, topic=topic, qos=qos)
        if identity not in c.session.open or self.fault == 'what a publisher sends again is another message':
            c.session.open.add(identity)
            self.route(identity, topic, qos)
        if self.chance.random() < 0.1:
            self.sent_again[c.client] = (c.session, identity, topic, qos)
            self.drop(c)
            return
        self.add(PUBLISHED, id=identity)

    def publish_retained(self, c):
        topic = f'kept/{c.client}'
        number = self.numbers[topic] = self.numbers.get(topic, 0) + 1
        identity = (c.client, topic, number)
        self.add(PUBLISHING, connection=c.number, id=identity, topic=topic, qos=1, retain=True)
        if self.fault != 'the first retained message stays' or topic not in self.retained:
            self.retained[topic] = identity
        self.add(PUBLISHED, id=identity)

    def deliver(self, c, patient=False):
        """The next of its session to the client, and what it answers, if it comes so far."""
        s = c.session
        entry = next((e for e in s.inflight if not e[2]), None)
        if entry is None:
            if not s.queue or len(s.inflight) >= WINDOW:
                return self.answer(c)
            entry = [s.next_id, s.queue.pop(0), False, False]
            s.next_id += 1
            s.inflight.append(entry)
            dup = False
        else:
            dup = True
        entry[2] = True
        if not patient and self.chance.random() < 0.05:
            self.drop(c)  # it is on its way, and does not arrive
            return True
        if not entry[3] or entry[1][1] == 1:
            identity, qos = entry[1]
            self.add(RECEIVED, connection=c.number, id=identity, qos=qos, packet_id=entry[0], dup=dup)
        if not patient and self.chance.random() < 0.1:
            self.drop(c)
        return True

    def answer(self, c):
        """The oldest that is under way is acknowledged by the client, one step of it."""
        s = c.session
        if not s.inflight:
            return False
        entry = s.inflight[0]
        if entry[1][1] == 1:
            s.inflight.remove(entry)
        elif not entry[3]:
            entry[3] = True
        else:
            self.add(RELEASED, connection=c.number, packet_id=entry[0])
            if self.wrong('QoS 2 comes again after PUBREL'):
                self.add(RECEIVED, connection=c.number, id=entry[1][0], qos=2, packet_id=entry[0], dup=True)
            s.inflight.remove(entry)
        return True

    def kill(self, node):
        self.serial += 1
        self.down[node] = self.serial
        self.add(FAULT, number=self.serial, nodes=(node,))
        for c in [c for c in self.connections.values() if c.node == node]:
            self.drop(c)
        for (client, home), session in list(self.sessions.items()):
            if home in ('', node):
                if self.wrong('a death loses what waits'):
                    session.queue.clear()
                if session.connection is None and self.wrong('a death loses sessions'):
                    del self.sessions[client, home]

    def start(self, node):
        self.add(MENDED, number=self.down.pop(node))
        self.now += self.promise.settle_s

    def step(self):
        self.now += self.chance.choice((0, 0, 0.1, 1))
        up = [n for n in NODES if n not in self.down]
        client = self.chance.choice(('p0', 'p1', 's0', 's1', 's2', 's3'))
        c = next((o for o in self.connections.values() if o.client == client), None)
        dice = self.chance.random()
        if c is None or dice < 0.02:
            self.connect(client, self.chance.choice(up), clean_start=self.chance.random() < 0.05)
        elif dice < 0.04:
            self.drop(c, self.chance.choice((LOST, SAID)))
        elif dice < 0.045 and not self.down:
            self.kill(self.chance.choice(NODES))
        elif dice < 0.06 and self.down:
            self.start(self.chance.choice(list(self.down)))
        elif dice < 0.061:
            self.now += EXPIRY_S * 2
        elif dice < 0.07 and self.fault == 'a will of one who is there':
            self.will(c)
        elif client[0] == 'p':
            self.publish_retained(c) if self.chance.random() < 0.1 else self.publish(c)
        else:
            for other in [o for o in self.connections.values() if o.client == client and o.session.connection is c or o is c]:
                if other.number in self.connections:
                    self.deliver(other)

    def run(self, steps=600):
        for _ in range(steps):
            self.step()
        for node in list(self.down):
            self.start(node)
        for c in list(self.connections.values()):
            self.drop(c)
        self.expire()
        self.now += 100
        last = []
        for client, home in sorted(self.sessions):
            c = None
            while client[0] == 's' and c is None:
                c = self.connect(client, home or self.chance.choice(NODES))
            if c is not None:
                last.append(c)
                # Two of one client: the will of the former comes to the later, too.
        for _ in range(2):
            for c in last:
                if c.number not in self.connections:
                    again = None
                    while again is None:
                        again = self.connect(c.client, c.node)
                    c = again
                while self.deliver(c, patient=True):
                    pass
                self.now += 100
                self.add(DRAINED, connection=c.number)
        for node in NODES:
            for topic, identity in self.retained.items():
                missing = self.fault == 'one node has no retained messages' and node == 'n2'
                self.add(RETAINED, node=node, topic=topic, id=None if missing else identity)
        return self.history.events
