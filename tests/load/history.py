# SPDX-License-Identifier: Apache-2.0
"""What clients saw of a broker, and whether it kept its word. Pure: events in, verdicts out; no socket, no clock.

    history = History(clock)
    history.add(CONNECTING, client='s1', connection=7, node='n0', expiry_s=300)    # and so on
    for verdict in check(history.events, TODAY): …                                 # none: it did

Who records keeps to this, as every rule leans on it:

  - one thread, in the order in which things happened to it; what is sent is recorded before it is sent, what comes after
    it has come. So the broker did what it did between the two.
  - connections have numbers of their own in the whole history; the payload of a message names it: (publisher, topic,
    number), each used once. Numbers of one publisher and topic rise.
  - a client that got a message of QoS 2 takes no second one under its packet id until PUBREL (RELEASED), and
    acknowledges all.

`home` below is what a session belongs to: of the cluster (promise `replicated`), or of one of its nodes (`today`), as
docs/cluster.md has it: a client has then one session at each node where it was, each on its own.
"""
from dataclasses import dataclass, field
import collections
import math

# ---- Events. The fields that each has, besides `when` and `what`:
CONNECTING = 'connecting'    # client, connection, node ('': not known), clean_start, expiry_s, will (an id, or None)
CONNECTED = 'connected'      # connection, node, session_present: CONNACK with 0
SUBSCRIBED = 'subscribed'    # connection, topic (a filter), qos: SUBACK
PUBLISHING = 'publishing'    # connection, id, topic, qos, retain; again when it is sent again
PUBLISHED = 'published'      # id: PUBACK or PUBREC below 0x80
RECEIVED = 'received'        # connection, id, qos, packet_id, dup
RELEASED = 'released'        # connection, packet_id: PUBREL came
ENDED = 'ended'              # connection, how: one of the next
SAID, UNSURE, TAKEN, TOLD, LOST = 'said', 'unsure', 'taken', 'told', 'lost'
# SAID: the client sent DISCONNECT, and the broker closed; UNSURE: it did not close in time. TAKEN: DISCONNECT 0x8E came.
# TOLD: any other reason came. LOST: the end, without a word.
DRAINED = 'drained'          # connection: everything that had been acknowledged has come to its session, or will not
RETAINED = 'retained'        # node, topic, id or None: what a new subscriber there got, at the end
FAULT = 'fault'              # number, how (any name), nodes (that are down), ways ((from, to) that are cut), wiped, short
MENDED = 'mended'            # number


@dataclass
class Event:
    when: float
    what: str
    client: str = ''
    connection: int = 0
    node: str = ''
    id: tuple = None
    topic: str = ''
    qos: int = 0
    packet_id: int = 0
    dup: bool = False
    retain: bool = False
    clean_start: bool = False
    session_present: bool = False
    expiry_s: float = 0.0
    will: tuple = None
    how: str = ''
    number: int = 0
    nodes: tuple = ()
    ways: tuple = ()
    wiped: bool = False
    short: bool = False


class History:
    def __init__(self, clock):
        self.clock, self.events = clock, []

    def add(self, what, **fields):
        self.events.append(Event(self.clock(), what, **fields))


@dataclass
class Promise:
    """What is expected, and after how long. node_sessions: a session is its node's; and what docs/cluster.md takes back
    while nodes are down or cut off is not expected."""
    name: str
    node_sessions: bool
    takeover_s: float = 5.0   # from CONNACK until the former connection gets nothing any more
    close_s: float = 5.0      # how much later than the client the broker may see the end of a connection
    will_s: float = 30.0      # from the end of a connection until its will has come to all
    settle_s: float = 3.0     # after a fault, until nodes have told each other what they missed


TODAY = Promise('today', node_sessions=True)
REPLICATED = Promise('replicated', node_sessions=False)


@dataclass
class Verdict:
    rule: str
    text: str


RULES = ('acknowledged-lost', 'qos2-twice', 'order', 'session-present', 'two-owners', 'will', 'retained', 'made-up')


def matches(topic_filter, topic):
    wanted, levels = topic_filter.split('/'), topic.split('/')
    for i, level in enumerate(wanted):
        if level == '#':
            return True
        if i == len(levels) or level not in ('+', levels[i]):
            return False
    return len(wanted) == len(levels)


# ---- What the events say, put together

@dataclass
class Message:
    id: tuple
    topic: str
    qos: int
    retain: bool
    sent: float                       # first
    connection: int                   # of the first
    acknowledged: float = math.inf    # first
    done: float = math.inf            # the last time; inf: it was sent again, without an answer yet
    nodes: set = field(default_factory=set)  # where it was sent to
    sendings: int = 0
    sessions: set = field(default_factory=set)  # the publisher's, in which it was sent

    def __str__(self):
        return f'{self.id[0]} {self.topic} {self.id[2]} (QoS {self.qos}, sent at {self.sent:.3f}, acknowledged at {self.acknowledged:.3f})'


@dataclass
class Connection:
    number: int
    client: str
    node: str
    connecting: float
    clean_start: bool
    expiry_s: float
    will: tuple
    connected: float = math.inf
    heard: float = -math.inf          # the last packet that came
    ended: float = math.inf
    how: str = ''
    session: object = None
    received: list = field(default_factory=list)  # when


@dataclass
class Session:
    """From a CONNACK without Session Present on. over: it was cleaned, wiped or lost."""
    client: str
    home: str
    number: int
    filters: list = field(default_factory=list)   # (filter, qos, when)
    received: list = field(default_factory=list)  # events, also RELEASED
    not_before: float = -math.inf     # it does not expire before that
    gone_after: float = math.inf      # it has expired then
    unsure: set = field(default_factory=set)  # CONNECTs without an answer yet that may have ended it
    over: bool = False
    drained: float = -math.inf        # when everything had come
    connection: Connection = None     # the last


@dataclass
class Fault:
    number: int
    begun: float
    nodes: tuple
    ways: tuple
    wiped: bool
    short: bool
    mended: float = math.inf

    def overlaps(self, begin, end, settle_s=0.0):
        return self.begun <= end and begin <= self.mended + settle_s

    def parts(self, a, b):
        """Whether it is between the two nodes; '' is any."""
        if '' in (a, b):
            return True
        return a in self.nodes or b in self.nodes or (a, b) in self.ways or (b, a) in self.ways


class Story:
    """All of it, by what it is about."""

    def __init__(self, events, promise):
        self.promise, self.verdicts = promise, []
        self.messages, self.connections, self.faults = {}, {}, {}
        self.sessions, self.now = [], {}       # all; by (client, home) the present one
        self.maybe = collections.defaultdict(set)  # by the same, CONNECTs without an answer that may have made one
        self.retained = []
        self.end = events[-1].when if events else 0.0
        for event in events:
            getattr(self, 'on_' + event.what)(event)

    def blame(self, rule, text):
        self.verdicts.append(Verdict(rule, text))

    def home(self, node):
        return node if self.promise.node_sessions else ''

    def may_meet(self, client, node):
        """(client, home) of where a CONNECT to that node may make or end a session; with '' for any home."""
        if not self.promise.node_sessions or node:
            return [(client, self.home(node))]
        return [key for key in self.now if key[0] == client] + [(client, '')]

    def on_fault(self, e):
        self.faults[e.number] = Fault(e.number, e.when, e.nodes, e.ways, e.wiped, e.short)
        if e.wiped and self.promise.node_sessions:
            for (client, home), session in list(self.now.items()):
                if home in e.nodes:
                    session.over = True
                    del self.now[client, home]
            for key in [key for key in self.maybe if key[1] in e.nodes]:
                del self.maybe[key]

    def on_mended(self, e):
        self.faults[e.number].mended = e.when

    def on_connecting(self, e):
        self.connections[e.connection] = Connection(e.connection, e.client, e.node, e.when, e.clean_start, e.expiry_s, e.will)
        for key in self.may_meet(e.client, e.node):
            session = self.now.get(key)
            if session is not None and e.when > session.gone_after:
                session.over = True
                del self.now[key]
                session = None
            if session is None:
                self.maybe[key].add(e.connection)
                continue
            session.gone_after = math.inf
            if e.clean_start or e.when + self.promise.close_s > session.not_before:
                session.unsure.add(e.connection)
            session.not_before = min(session.not_before, e.when + e.expiry_s)

    def on_connected(self, e):
        c = self.connections[e.connection]
        c.node, c.connected, c.heard = e.node, e.when, e.when
        if self.promise.node_sessions and not e.node:
            return
        key = (c.client, self.home(e.node))
        session = self.now.get(key)
        self.judge_present(c, session, key, e)
        for other in self.may_meet(c.client, '') if self.promise.node_sessions else ():
            self.maybe[other].discard(c.number)
            if other != key and other in self.now:
                self.now[other].unsure.discard(c.number)
        self.maybe[key].clear()
        if not e.session_present or session is None or session.unsure - {c.number}:
            # If present, it is one whose beginning was not seen: it counts from now on.
            if session is not None:
                session.over = True
            session = Session(c.client, key[1], len(self.sessions))
            self.sessions.append(session)
            self.now[key] = session
        session.not_before, session.gone_after = math.inf, math.inf
        session.unsure.clear()
        session.connection = c
        c.session = session

    def judge_present(self, c, session, key, e):
        """session-present. Present: a session that is certainly there: CONNACK came for it, no Clean Start has been sent
        since, and its expiry, from the last packet of its last connection on, has not passed. Absent: after Clean
        Start; when no CONNECT of the client was ever sent to there; when DISCONNECT was answered by the end, and the
        expiry has passed since (close_s more). All else may be either."""
        said = f'{c.client} at {e.node or "?"}, connection {c.number}, at {e.when:.3f}'
        if c.clean_start:
            if e.session_present:
                self.blame('session-present', f'{said}: present after Clean Start')
            return
        if e.session_present:
            if session is None and not (self.maybe[key] | self.maybe[c.client, '']) - {c.number}:
                self.blame('session-present', f'{said}: present, and there was none, or it had expired')
        elif session is not None and not session.unsure and e.when < session.not_before:
            self.blame('session-present', f'{said}: not present, and it had session {session.number}')

    def heard(self, e):
        c = self.connections[e.connection]
        c.heard = e.when
        return c

    def on_subscribed(self, e):
        c = self.heard(e)
        if c.session is not None:
            c.session.filters.append((e.topic, e.qos, e.when))

    def on_publishing(self, e):
        c = self.connections[e.connection]
        m = self.messages.get(e.id)
        if m is None:
            m = self.messages[e.id] = Message(e.id, e.topic, e.qos, e.retain, e.when, e.connection)
        m.nodes.add(c.node)
        m.sendings += 1
        m.done = math.inf
        m.sessions.add(c.session.number if c.session is not None else -c.number)

    def on_published(self, e):
        m = self.messages[e.id]
        m.acknowledged, m.done = min(m.acknowledged, e.when), e.when

    def on_received(self, e):
        c = self.heard(e)
        c.received.append(e.when)
        if self.counts(c):
            c.session.received.append(e)

    def on_released(self, e):
        c = self.heard(e)
        if self.counts(c):
            c.session.received.append(e)

    def counts(self, c):
        """replicated: what was under way to a connection when its client had the next one already, at another node, is of
        no account: whoever has made that one does not read here any more (two_owners has how long there is any)."""
        return c.session is not None and (self.promise.node_sessions or c.session.connection is c)

    def on_ended(self, e):
        c = self.connections[e.connection]
        c.ended, c.how = e.when, e.how
        if e.how == SAID and any(f.mended == math.inf for f in self.faults.values()):
            c.how = UNSURE  # the end may be that of its node, which did not read DISCONNECT
        session = c.session
        if session is None or session.connection is not c:
            return
        session.not_before = c.heard + c.expiry_s
        session.gone_after = e.when + c.expiry_s + self.promise.close_s if c.how == SAID else math.inf

    def on_drained(self, e):
        c = self.connections[e.connection]
        if c.session is not None:
            c.session.drained = e.when

    def on_retained(self, e):
        self.retained.append(e)

    # ---- Excuses of `today`

    def faults_over(self, begin, end):
        if not self.promise.node_sessions:
            return []
        return [f for f in self.faults.values() if f.overlaps(begin, end, self.promise.settle_s)]

    def is_excused(self, m, home):
        """docs/cluster.md: who is down, or cut off until it is called dead, misses what is published meanwhile."""
        return any(f.parts(node, home) for f in self.faults_over(m.sent, min(m.acknowledged, self.end)) if not f.short
                   for node in m.nodes)

    def heard_everywhere(self, when):
        """From when on a SUBACK of `when` counts: one that came during a fault did without nodes that did not answer."""
        return max([when, *(f.mended + self.promise.settle_s for f in self.faults_over(when, when))])


# ---- The rules

def acknowledged_lost(story):
    """A message of QoS 1 or 2 that was acknowledged (PUBACK, PUBREC), and first sent after SUBACK of a matching filter of
    QoS 1 or 2, comes to that session, unless the session has not come to its end (DRAINED): cleaned, expired, or never
    read to its end by its client. today: not what was under way while the session's node, or the way to it from the
    publisher's, was down or cut for long; and not before the end of a fault in which SUBACK came."""
    by_topic = collections.defaultdict(list)
    for m in story.messages.values():
        if m.qos and m.acknowledged < math.inf:
            by_topic[m.topic].append(m)
    for s in story.sessions:
        if s.over or s.unsure:
            continue
        got = {e.id for e in s.received if e.what == RECEIVED}
        for topic_filter, qos, when in s.filters:
            since = story.heard_everywhere(when)
            for topic in by_topic if qos else ():
                if not matches(topic_filter, topic):
                    continue
                for m in by_topic[topic]:
                    if m.sent > since and m.acknowledged < s.drained and m.id not in got and not story.is_excused(m, s.home):
                        got.add(m.id)  # said once
                        story.blame('acknowledged-lost', f'{m} has not come to {s.client}, session {s.number} {s.home}')


def qos2_twice(story):
    """A message of QoS 2 comes to a session once: again under another packet id, or under the same after PUBREL, is twice.
    Under the same id before PUBREL it is sent again, as it has to be. Not of a message that its publisher sent again
    in another session of its own: that is another one to the broker. today: nor of one that was sent again at all."""
    for s in story.sessions:
        open_ids, taken = {}, {}
        for e in s.received:
            if e.what == RELEASED:
                open_ids.pop(e.packet_id, None)
                continue
            m = story.messages.get(e.id)
            if e.qos != 2 or m is None or open_ids.get(e.packet_id) == e.id:
                continue
            open_ids[e.packet_id] = e.id
            again = m.sendings > 1 if story.promise.node_sessions else len(m.sessions) > 1
            if e.id in taken and not again:
                story.blame('qos2-twice', f'{m} came to {s.client}, session {s.number} {s.home}, at {taken[e.id]:.3f} and {e.when:.3f}')
            taken.setdefault(e.id, e.when)


def order(story):
    """Of one publisher, topic and QoS, first deliveries to a session are in the order of their numbers (4.6). Only of
    two of which the earlier was acknowledged before the later was first sent, or that were first sent on the same
    connection and are acknowledged both: what a publisher gives up at one node may still be on its way from there when it sends the next at another."""
    for s in story.sessions:
        seen, last = set(), collections.defaultdict(list)
        for e in s.received:
            m = story.messages.get(e.id)
            if e.what != RECEIVED or e.id in seen or m is None or e.qos == 0:
                continue
            seen.add(e.id)
            before = last[m.id[0], m.topic, e.qos]
            # The highest one is enough, but for those of which nothing is known; a few of the last are looked at.
            for late in before[-16:]:
                if late.id[2] > m.id[2] and (m.acknowledged < late.sent or m.connection == late.connection and
                                             max(m.acknowledged, late.acknowledged) < math.inf):
                    story.blame('order', f'{m} came to {s.client}, session {s.number} {s.home}, after {late}')
                    break
            before.append(m)
            before.sort(key=lambda one: one.id[2])


def two_owners(story):
    """takeover_s after CONNACK of a connection no former one of that client id gets a message [MQTT-3.1.4-3]. Of two
    CONNECTs that were both under way either may be the former one: nothing is said of them. today: not
    during a fault; nodes that cannot reach the same owner have a connection each."""
    of = collections.defaultdict(list)
    for c in story.connections.values():
        if c.connected < math.inf:
            of[c.client].append(c)
    for client, connections in of.items():
        connections.sort(key=lambda c: c.connected)
        for former, later in zip(connections, connections[1:]):
            if later.connecting < former.connected:
                continue
            late = [when for when in former.received if when > later.connected + story.promise.takeover_s]
            if late and not story.faults_over(later.connecting, late[0]):
                story.blame('two-owners', f'{client}: connection {former.number} at {former.node} gets messages at {late[0]:.3f}, '
                            f'connection {later.number} at {later.node} has been there since {later.connected:.3f}')


def will(story):
    """A will without a delay comes to each session that had subscribed before its CONNECT, unless its client has said
    DISCONNECT; when said and answered by the end, it comes to nobody, unless there was trouble: the connection may have been lost to the
    cluster before; nor while its connection is there
    (a packet came to it close_s later). Due is what ended will_s before the last DRAINED of the session. Once where no node
    was in trouble, at least once elsewhere. today: at least once, too, only where no way was cut, one node alone was down, and
    not that of the session; and never only where there was no trouble around the end."""
    came = collections.defaultdict(list)
    for s in story.sessions:
        for e in s.received:
            if e.what == RECEIVED and e.id[1] == 'will':
                came[e.id, s.number].append(e)
    wills = {c.will: c for c in story.connections.values() if c.will is not None and c.connected < math.inf}
    for s in story.sessions:
        for identity, c in wills.items():
            events = came.get((identity, s.number), [])
            trouble = [f for f in story.faults.values()
                       if f.overlaps(min(c.ended, story.end) - story.promise.close_s, min(c.ended, story.end) + story.promise.will_s, story.promise.settle_s)]
            said = f'{identity}, connection {c.number} of {c.client} at {c.node}, {c.how or "there"} at {c.ended:.3f}, session {s.number} of {s.client} {s.home}'
            if events and c.how == SAID and not trouble:
                story.blame('will', f'not due, and came at {events[0].when:.3f}: {said}')
            elif events and c.heard > events[0].when + story.promise.close_s and not story.faults_over(events[0].when - story.promise.will_s, c.heard):
                story.blame('will', f'came at {events[0].when:.3f}, its client was there at {c.heard:.3f}: {said}')
            elif events and not trouble and len({e.packet_id for e in events if not e.dup}) > 1:
                story.blame('will', f'came {len(events)} times: {said}')
            elif not events and is_due(story, s, c, trouble):
                story.blame('will', f'did not come: {said}')


def is_due(story, s, c, trouble):
    if c.how not in (TAKEN, TOLD, LOST) or s.over or s.unsure or \
            c.ended > s.drained - story.promise.will_s:
        return False
    if not any(qos and when < c.connecting and matches(topic_filter, f'will/{c.client}')
               for topic_filter, qos, when in s.filters):
        return False
    if story.promise.node_sessions and trouble:
        down = {node for f in trouble for node in f.nodes}
        heard = all(story.heard_everywhere(when) < c.connecting for _, _, when in s.filters)
        return heard and len(down) == 1 and s.home not in down and not any(f.ways or f.short for f in trouble)
    return True


def retained(story):
    """Of a topic with one writer all nodes have the same in the end, and none that was followed by one that was acknowledged:
    first sent when the former was answered (a message that is sent again is written again), or after it on one connection."""
    written = collections.defaultdict(list)
    for m in story.messages.values():
        if m.retain and m.acknowledged < math.inf:
            written[m.topic].append(m)
    by_topic = collections.defaultdict(set)
    for e in story.retained:
        by_topic[e.topic].add(e.id)
        had = story.messages.get(e.id)
        late = next((m for m in written[e.topic] if had is None or m.sent > had.done or (
            m.connection == had.connection and m.sendings == had.sendings == 1 and m.id[2] > had.id[2])), None)
        if late is not None:
            story.blame('retained', f'{e.topic} at {e.node}: {had}, and there was {late}')
    for topic, ids in by_topic.items():
        if len(ids) > 1:
            story.blame('retained', f'{topic} is not the same at all nodes: {sorted(ids, key=str)}')


def made_up(story):
    """Nothing comes that nobody has sent, neither as a message nor as a will."""
    wills = {c.will for c in story.connections.values()}
    for s in story.sessions:
        for e in s.received:
            if e.what == RECEIVED and e.id not in story.messages and e.id not in wills:
                story.blame('made-up', f'{e.id} came to {s.client} at {e.when:.3f}')


def fail_over_times(events, how):
    """Of each fault of that name and each client that had subscribed: how long until it got a message that was sent after
    the fault began. Who got none is left out."""
    begun, sent, client_of, subscribers, times = {}, {}, {}, set(), {}
    for e in events:
        if e.what == CONNECTING:
            client_of[e.connection] = e.client
        elif e.what == FAULT and e.how == how:
            begun[e.number] = e.when
        elif e.what == PUBLISHING:
            sent.setdefault(e.id, e.when)
        elif e.what == SUBSCRIBED:
            subscribers.add(client_of[e.connection])
        elif e.what == RECEIVED and client_of[e.connection] in subscribers:
            for number, when in begun.items():
                if sent.get(e.id, -math.inf) > when:
                    times.setdefault((number, client_of[e.connection]), e.when - when)
    return list(times.values())


def check(events, promise):
    """The verdicts, of all rules."""
    story = Story(events, promise)
    for rule in (acknowledged_lost, qos2_twice, order, two_owners, will, retained, made_up):
        rule(story)
    return story.verdicts
