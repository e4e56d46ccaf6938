#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""history.py finds what it is for, and nothing else: for each rule a history that breaks it, and a near one that does
not; and thousands of steps of a broker that is right, and with one fault of many (history_model.py)."""
import os
import sys
import unittest

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))

from history import (CONNECTED, CONNECTING, DRAINED, ENDED, FAULT, LOST, MENDED, PUBLISHED, PUBLISHING, RECEIVED, RELEASED,  # noqa: E402
                     REPLICATED, RETAINED, RULES, SAID, SUBSCRIBED, TAKEN, TODAY, History, check, fail_over_times, matches)
from history_model import FAULTS, World  # noqa: E402

SEEDS = int(os.environ.get('HISTORY_SEEDS', '12'))
ONE, TWO, THREE = (('p', 't', n) for n in (1, 2, 3))


class Script:
    """A history, an event a second: b.connect('s', …) and so on; each gives the number of the connection."""

    def __init__(self):
        self.now, self.serial = 0.0, 0
        self.history = History(self.tick)

    def tick(self):
        self.now += 1
        return self.now

    def add(self, what, **fields):
        self.history.add(what, **fields)

    def connect(self, client, node='n0', present=False, clean_start=False, will=None, expiry_s=300.0, answered=True):
        self.serial += 1
        self.add(CONNECTING, client=client, connection=self.serial, node=node, clean_start=clean_start, expiry_s=expiry_s, will=will)
        if answered:
            self.add(CONNECTED, connection=self.serial, node=node, session_present=present)
        return self.serial

    def subscriber(self, topic_filter='t', qos=2, **how):
        c = self.connect('s', **how)
        self.add(SUBSCRIBED, connection=c, topic=topic_filter, qos=qos)
        return c

    def end(self, c, how=LOST):
        self.add(ENDED, connection=c, how=how)

    def publish(self, c, identity, qos=2, acknowledged=True):
        self.add(PUBLISHING, connection=c, id=identity, topic=identity[1], qos=qos)
        if acknowledged:
            self.add(PUBLISHED, id=identity)

    def got(self, c, identity, packet_id=1, qos=2, dup=False):
        self.add(RECEIVED, connection=c, id=identity, qos=qos, packet_id=packet_id, dup=dup)

    def fault(self, number=1, mended=None, **what):
        if mended:
            self.add(MENDED, number=number)
        else:
            self.add(FAULT, number=number, **what)

    def drained(self, c):
        self.now += 100
        self.add(DRAINED, connection=c)

    def rules(self, promise=REPLICATED):
        return sorted({v.rule for v in check(self.history.events, promise)})


class AcknowledgedLost(unittest.TestCase):
    def story(self, come=True, acknowledged=True, subscribed=True, again=None, fault=None, drained=True, qos=2, home='n0'):
        b = Script()
        s = b.subscriber(qos=qos, node=home) if subscribed else b.connect('s', node=home)
        p = b.connect('p', node='n1')
        if fault:
            b.fault(**fault)
        b.publish(p, ONE, acknowledged=acknowledged)
        if fault:
            b.fault(mended=True)
        if come:
            b.got(s, ONE)
        b.end(s)
        if again is not None:
            s = b.connect('s', node=home, **again)
        if drained:
            b.drained(s)
        return b

    def test_one_that_did_not_come(self):
        self.assertEqual(self.story(come=False, again={'present': True}).rules(), ['acknowledged-lost'])

    def test_near(self):
        self.assertEqual(self.story(again={'present': True}).rules(), [])
        self.assertEqual(self.story(come=False, acknowledged=False, again={'present': True}).rules(), [])
        self.assertEqual(self.story(come=False, subscribed=False, again={'present': True}).rules(), [])
        self.assertEqual(self.story(come=False, qos=0, again={'present': True}).rules(), [])
        self.assertEqual(self.story(come=False, drained=False, again={'present': True}).rules(), [])
        self.assertEqual(self.story(come=False, again={'clean_start': True}).rules(), [])

    def test_published_before_the_subscription(self):
        b = Script()
        p = b.connect('p')
        b.publish(p, ONE)
        b.drained(b.subscriber())
        self.assertEqual(b.rules(), [])

    def test_a_clean_start_without_an_answer_may_have_ended_it(self):
        b = self.story(come=False, drained=False)
        b.connect('s', clean_start=True, answered=False)
        b.drained(b.connect('s', present=True))
        self.assertEqual(b.rules(), [])

    def test_a_node_that_was_down_missed_it_today(self):
        for fault, rules in (({'nodes': ('n0',)}, []), ({'nodes': ('n2',)}, ['acknowledged-lost']),
                             ({'ways': (('n1', 'n0'),)}, []), ({'ways': (('n1', 'n2'),)}, ['acknowledged-lost']),
                             ({'nodes': ('n0',), 'short': True}, ['acknowledged-lost'])):
            b = self.story(come=False, again={'present': True}, fault=fault)
            self.assertEqual(b.rules(TODAY), rules, fault)
            self.assertEqual(b.rules(), ['acknowledged-lost'], fault)

    def test_suback_during_a_fault_counts_later_today(self):
        for wait_s, rules in ((0, []), (10, ['acknowledged-lost'])):
            b = Script()
            p = b.connect('p', node='n1')
            b.fault(nodes=('n2',), short=True)
            s = b.subscriber()
            b.fault(mended=True)
            b.now += wait_s
            b.publish(p, ONE)
            b.drained(s)
            self.assertEqual(b.rules(TODAY), rules)
            self.assertEqual(b.rules(), ['acknowledged-lost'])

    def test_a_session_at_another_node_is_another_one_today(self):
        b = self.story(drained=False)
        b.drained(b.connect('s', node='n1', present=True))
        self.assertEqual(b.rules(), [])
        b = self.story(drained=False)
        b.drained(b.connect('s', node='n1'))
        self.assertEqual(b.rules(TODAY), [])
        self.assertEqual(b.rules(), ['session-present'])

    def test_what_a_wiped_node_had_is_expected_of_a_cluster_alone(self):
        b = self.story(come=False, drained=False)
        b.fault(number=2, nodes=('n0',), wiped=True)
        b.fault(number=2, mended=True)
        b.drained(b.connect('s', present=False))
        self.assertEqual(b.rules(TODAY), [])
        self.assertEqual(b.rules(), ['session-present'])


class Qos2Twice(unittest.TestCase):
    def story(self, second, released=True, qos=2, again=None):
        b = Script()
        s = b.subscriber(qos=qos)
        p = b.connect('p')
        b.publish(p, ONE, qos=qos, acknowledged=again is None)
        if again is not None:
            b.end(p)
            b.publish(b.connect('p', present=again), ONE)
        b.got(s, ONE, packet_id=1, qos=qos)
        if released:
            b.add(RELEASED, connection=s, packet_id=1)
        b.got(s, ONE, packet_id=second, qos=qos, dup=second == 1)
        return b

    def test_twice(self):
        self.assertEqual(self.story(2).rules(), ['qos2-twice'])
        self.assertEqual(self.story(2, released=False).rules(), ['qos2-twice'])
        self.assertEqual(self.story(1).rules(), ['qos2-twice'])

    def test_near(self):
        self.assertEqual(self.story(1, released=False).rules(), [])
        self.assertEqual(self.story(2, qos=1).rules(), [])

    def test_late_to_a_connection_that_its_client_has_left(self):
        for later in (True, False):
            b = Script()
            s = b.subscriber()
            b.publish(b.connect('p'), ONE)
            there = b.connect('s', node='n1', present=True)
            b.got(there, ONE)
            b.add(RELEASED, connection=there, packet_id=1)
            b.got(s if later else there, ONE, packet_id=1)
            self.assertEqual(b.rules(), [] if later else ['qos2-twice'])

    def test_sent_again_by_its_publisher(self):
        self.assertEqual(self.story(2, again=True).rules(), ['qos2-twice'])
        self.assertEqual(self.story(2, again=True).rules(TODAY), [])


class Order(unittest.TestCase):
    def story(self, come, connection=None, acknowledged=(True, True), ids=(ONE, TWO)):
        b = Script()
        s, p = b.subscriber(), b.connect('p')
        b.publish(p, ids[0], acknowledged=acknowledged[0])
        b.publish(p if connection is None else b.connect(connection, node='n1', present=True), ids[1], acknowledged=acknowledged[1])
        for packet_id, identity in enumerate(come, 1):
            b.got(s, identity, packet_id=packet_id)
            b.add(RELEASED, connection=s, packet_id=packet_id)
        return b

    def test_the_later_first(self):
        self.assertEqual(self.story((TWO, ONE)).rules(), ['order'])
        self.assertEqual(self.story((TWO, ONE), connection='p').rules(), ['order'])

    def test_near(self):
        self.assertEqual(self.story((ONE, TWO)).rules(), [])
        other = ('q', 't', 1)
        self.assertEqual(self.story((other, ONE), ids=(ONE, other)).rules(), [])
        self.assertEqual(self.story((TWO, ONE), acknowledged=(False, True), connection='p').rules(), [])
        self.assertEqual(self.story((TWO, ONE), acknowledged=(False, True)).rules(), [])

    def test_a_repetition_is_no_delivery_in_a_wrong_place(self):
        b = Script()
        s, p = b.subscriber(qos=1), b.connect('p')
        b.publish(p, ONE, qos=1)
        b.publish(p, TWO, qos=1)
        for identity in (ONE, TWO, ONE):
            b.got(s, identity, qos=1)
        self.assertEqual(b.rules(), [])

    def test_another_qos_has_an_order_of_its_own(self):
        b = Script()
        s, p = b.subscriber(), b.connect('p')
        b.publish(p, ONE, qos=1)
        b.publish(p, TWO, qos=2)
        b.got(s, TWO, qos=2)
        b.got(s, ONE, qos=1)
        self.assertEqual(b.rules(), [])


class SessionPresent(unittest.TestCase):
    def story(self, away_s=0, how=LOST, first_present=False, **again):
        b = Script()
        b.end(b.connect('s', present=first_present), how)
        b.now += away_s
        b.connect('s', **again)
        return b

    def test_it_has_to_be_there(self):
        self.assertEqual(self.story(present=False).rules(), ['session-present'])
        self.assertEqual(self.story(present=False, how=SAID).rules(), ['session-present'])
        self.assertEqual(self.story(present=False, away_s=1000).rules(), [])
        self.assertEqual(self.story(present=False, clean_start=True).rules(), [])

    def test_it_may_not_be_there(self):
        self.assertEqual(self.story(present=True, clean_start=True).rules(), ['session-present'])
        self.assertEqual(self.story(present=True, first_present=True).rules(), ['session-present'])
        self.assertEqual(self.story(present=True, away_s=1000, how=SAID).rules(), ['session-present'])
        self.assertEqual(self.story(present=True, away_s=250, how=SAID).rules(), [])

    def test_one_who_was_lost_may_be_there_for_longer(self):
        self.assertEqual(self.story(present=True, away_s=1000).rules(), [])

    def test_a_connect_without_an_answer(self):
        b = Script()
        b.connect('s', answered=False)
        b.connect('s', present=True)
        self.assertEqual(b.rules(), [])
        b = Script()
        b.end(b.connect('s'))
        b.connect('s', clean_start=True, answered=False)
        b.connect('s', present=False)
        self.assertEqual(b.rules(), [])

    def test_where_a_connect_has_got_to_is_known_by_its_answer_today(self):
        b = Script()
        b.end(b.connect('s', node='n0'))
        b.add(CONNECTING, client='s', connection=50, node='', expiry_s=300.0, clean_start=True)
        b.add(CONNECTED, connection=50, node='n1')
        b.end(50)
        b.connect('s', node='n0', present=False)
        self.assertEqual(b.rules(TODAY), ['session-present'])

    def test_at_another_node(self):
        self.assertEqual(self.story(present=False, node='n1').rules(), ['session-present'])
        self.assertEqual(self.story(present=False, node='n1').rules(TODAY), [])
        self.assertEqual(self.story(present=True, node='n1').rules(TODAY), ['session-present'])

    def test_on_a_node_that_was_wiped(self):
        for present, today, cluster in ((True, ['session-present'], []), (False, [], ['session-present'])):
            b = Script()
            b.end(b.connect('s'))
            b.fault(nodes=('n0',), wiped=True)
            b.fault(mended=True)
            b.connect('s', present=present)
            self.assertEqual((b.rules(TODAY), b.rules()), (today, cluster))


class TwoOwners(unittest.TestCase):
    def story(self, late_s, fault=False, which=0):
        b = Script()
        p = b.connect('p')
        if fault:
            b.fault(ways=(('n0', 'n1'),), short=True)
        s = [b.subscriber(), b.connect('s', node='n1', present=True)]
        b.publish(p, ONE)
        b.now += late_s
        b.got(s[which], ONE)
        return b

    def test_the_former_gets_messages(self):
        self.assertEqual(self.story(10).rules(), ['two-owners'])

    def test_near(self):
        self.assertEqual(self.story(1).rules(), [])
        self.assertEqual(self.story(10, which=1).rules(), [])

    def test_nodes_that_are_apart(self):
        b = self.story(10, fault=True)
        self.assertEqual(b.rules(), ['two-owners'])
        self.assertNotIn('two-owners', b.rules(TODAY))

    def test_both_under_way_at_once(self):
        b = Script()
        for c, node in ((1, 'n0'), (2, 'n1')):
            b.add(CONNECTING, client='s', connection=c, node=node, expiry_s=300.0)
        b.add(CONNECTED, connection=1, node='n0')
        b.add(CONNECTED, connection=2, node='n1', session_present=True)
        b.publish(b.connect('p'), ONE)
        b.now += 10
        b.got(1, ONE)
        self.assertEqual(b.rules(), [])


class Will(unittest.TestCase):
    ID = ('x', 'will', 2)

    def story(self, how, comes, fault=None, alive=False, subscribed=True):
        b = Script()
        s = b.subscriber('will/#' if subscribed else 't')
        x = b.connect('x', node='n1', will=self.ID)
        b.now += 60
        if fault:
            b.fault(**fault)
        if how is not None:
            b.end(x, how)
        for packet_id in range(1, comes + 1):
            b.got(s, self.ID, packet_id=packet_id, qos=1)
        if fault:
            b.fault(mended=True)
        if alive:
            b.now += 20
            b.got(x, self.ID, qos=1)
        b.drained(s)
        return b

    def test_due(self):
        for how in (LOST, TAKEN):
            self.assertEqual(self.story(how, 0).rules(), ['will'])
            self.assertEqual(self.story(how, 1).rules(), [])
            self.assertEqual(self.story(how, 2).rules(), ['will'])
        self.assertEqual(self.story(LOST, 0, subscribed=False).rules(), [])

    def test_not_due(self):
        self.assertEqual(self.story(SAID, 1).rules(), ['will'])
        self.assertEqual(self.story(SAID, 0).rules(), [])
        self.assertEqual(self.story(None, 0).rules(), [])
        self.assertEqual(self.story(None, 1, alive=True).rules(), ['will'])
        self.assertEqual(self.story(None, 1).rules(), [])

    def test_when_nodes_are_in_trouble(self):
        down = {'nodes': ('n1',)}
        self.assertEqual(self.story(LOST, 0, down).rules(TODAY), ['will'])
        self.assertEqual(self.story(LOST, 2, down).rules(TODAY), [])
        self.assertEqual(self.story(LOST, 0, {'nodes': ('n1', 'n2')}).rules(TODAY), [])
        self.assertEqual(self.story(LOST, 0, {'nodes': ('n1', 'n2')}).rules(), ['will'])
        self.assertEqual(self.story(LOST, 0, {'nodes': ('n0',)}).rules(TODAY), [])
        self.assertEqual(self.story(LOST, 0, {'ways': (('n0', 'n1'),)}).rules(TODAY), [])
        self.assertEqual(self.story(SAID, 1, down).rules(TODAY), [])
        self.assertEqual(self.story(SAID, 1, down).rules(), [], 'the end was the node\'s')


class Retained(unittest.TestCase):
    def story(self, seen, written=(1, 2), acknowledged=2):
        b = Script()
        p = b.connect('p')
        for n in written:
            b.add(PUBLISHING, connection=p, id=('p', 'kept', n), topic='kept', qos=1, retain=True)
            if n <= acknowledged:
                b.add(PUBLISHED, id=('p', 'kept', n))
        for node, n in zip(('n0', 'n1'), seen):
            b.add(RETAINED, node=node, topic='kept', id=n and ('p', 'kept', n))
        return b

    def test_older_or_none(self):
        self.assertEqual(self.story((1, 1)).rules(), ['retained'])
        self.assertEqual(self.story((2, None)).rules(), ['retained'])
        self.assertEqual(self.story((2, 3), written=(1, 2, 3)).rules(), ['retained'])

    def test_near(self):
        self.assertEqual(self.story((2, 2)).rules(), [])
        self.assertEqual(self.story((3, 3), written=(1, 2, 3)).rules(), [])
        self.assertEqual(self.story((None, None), written=(1,), acknowledged=0).rules(), [])


    def test_one_that_was_sent_again_is_the_later_one(self):
        for again, rules in ((True, []), (False, ['retained'])):
            b = Script()
            p = b.connect('p')
            b.add(PUBLISHING, connection=p, id=('p', 'kept', 1), topic='kept', qos=1, retain=True)
            if not again:
                b.add(PUBLISHED, id=('p', 'kept', 1))
            b.end(p)
            p = b.connect('p', present=True)
            b.add(PUBLISHING, connection=p, id=('p', 'kept', 2), topic='kept', qos=1, retain=True)
            b.add(PUBLISHED, id=('p', 'kept', 2))
            if again:
                b.add(PUBLISHING, connection=p, id=('p', 'kept', 1), topic='kept', qos=1, retain=True)
                b.add(PUBLISHED, id=('p', 'kept', 1))
            b.add(RETAINED, node='n0', topic='kept', id=('p', 'kept', 1))
            self.assertEqual(b.rules(), rules)


class MadeUp(unittest.TestCase):
    def test_out_of_nowhere(self):
        for identity, rules in ((THREE, ['made-up']), (ONE, []), (('p', 'will', 9), ['made-up'])):
            b = Script()
            s = b.subscriber()
            b.publish(b.connect('p'), ONE)
            b.got(s, identity)
            self.assertEqual(b.rules(), rules)


class Model(unittest.TestCase):
    def test_one_that_is_right(self):
        for promise in (REPLICATED, TODAY):
            came = 0
            for seed in range(SEEDS):
                events = World(seed, promise).run()
                self.assertEqual([f'{v.rule}: {v.text}' for v in check(events, promise)], [], f'{promise.name}, seed {seed}')
                came += sum(e.what == RECEIVED for e in events)
            self.assertGreater(came, 100 * SEEDS)

    def test_each_fault_is_found(self):
        for promise in (REPLICATED, TODAY):
            for fault, rule in FAULTS.items():
                if promise is TODAY and fault == 'what a publisher sends again is another message':
                    continue  # it is today
                seeds = (s for s in range(60) if rule in {v.rule for v in check(World(s, promise, fault).run(), promise)})
                self.assertIsNotNone(next(seeds, None), f'{promise.name}: {fault}')

    def test_each_rule_has_a_fault(self):
        self.assertEqual(set(FAULTS.values()), set(RULES))


class FailOver(unittest.TestCase):
    def test_first_message_that_was_sent_after_the_death(self):
        b = Script()
        s, p = b.subscriber(), b.connect('p')
        b.publish(p, ONE)
        b.fault(nodes=('n2',), how='kill')
        begun = b.now
        b.got(s, ONE)
        b.publish(p, TWO)
        b.now += 5
        b.got(s, TWO, packet_id=2)
        self.assertEqual(fail_over_times(b.history.events, 'kill'), [b.now - begun])
        self.assertEqual(fail_over_times(b.history.events, 'cut'), [])


class Matches(unittest.TestCase):
    def test_filters(self):
        for topic_filter, topic, want in (('a/#', 'a', True), ('a/#', 'a/b/c', True), ('a/+', 'a/b', True), ('a/+', 'a', False),
                                          ('a', 'a/b', False), ('#', 'a', True), ('b/#', 'a/b', False), ('+/b', 'a/b', True)):
            self.assertEqual(matches(topic_filter, topic), want, (topic_filter, topic))


if __name__ == '__main__':
    unittest.main()
