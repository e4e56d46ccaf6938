# SPDX-License-Identifier: Apache-2.0
"""What outlives the process: sessions whose expiry is above 0, what is queued for them, and retained
messages; after SIGKILL as after SIGTERM. tests/load/crash.py does the same at random, under load."""
import atexit
import collections
import errno
import os
import shutil
import signal
import subprocess
import tempfile

from harness import Launch, Skipped, equal, pass_time, test, wait_until
from kept import LASTS, Folder, again, end, fresh, lasting, offline
from raw import (PUBACK, PUBCOMP, PUBLISH, PUBREC, PUBREL, V311, V5, Client, Unexpected, Will,
                 publish_many, until_end, wire)

DATA = os.path.join(tempfile.gettempdir(), f'dunlin-persistence-{os.getpid()}')
SET = {'data.dir': DATA, 'data.journal_segment_bytes': 1 << 20, 'node.shards': 2}
SECONDS = 55
SLOWEST = 4  # seconds that a start and what comes before and behind it may take, times --slow
ENDS = [('SIGKILL',), ('SIGTERM',)]
atexit.register(shutil.rmtree, DATA, ignore_errors=True)


# ---- Sessions

@test(only='dunlin', each=[(how, version) for how, in ENDS for version in (V311, V5)])
def a_session_is_there(b, how, version):
    on, off, brief = (f'persist-{who}-{how}-{version}' for who in ('on', 'off', 'brief'))
    lasting(b, on, version, present=False)
    lasting(b, off, version, present=False).disconnect()
    b.connected(brief, version)
    again(b, how)
    lasting(b, on, version, present=True)
    lasting(b, off, version, present=True)
    b.client(version).connect(brief, clean_start=False)
    equal(b.client(version).connect(f'{brief}-2', clean_start=False).session_present, False)


@test(only='dunlin', each=ENDS)
def a_session_without_expiry_is_gone(b, how):
    b.connected(f'persist-gone-{how}', clean_start=False)
    again(b, how)
    lasting(b, f'persist-gone-{how}', present=False)


@test(only='dunlin', each=ENDS)
def clean_start_forgets_for_good(b, how):
    name = f'persist-clean-{how}'
    offline(b, name, f'{name}/x', qos=1)
    b.connected().publish(f'{name}/x', b'old', qos=1)
    lasting(b, name, clean_start=True, present=False)
    again(b, how)
    c = lasting(b, name, present=True)
    b.connected().publish(f'{name}/x', b'new', qos=1)
    c.expect_nothing()


@test(only='dunlin', each=ENDS)
def an_expiry_of_0_in_disconnect_forgets_for_good(b, how):
    name = f'persist-disconnect-{how}'
    lasting(b, name).disconnect(0, {'session_expiry_interval': 0})
    pass_time(0.05)  # nobody is told when it is on disk
    again(b, how)
    lasting(b, name, present=False)


@test(only='dunlin')
def session_expiry_counts_on(b):
    for who, expiry_s in (('short', 1), ('long', 100)):
        lasting(b, f'persist-{who}', props={'session_expiry_interval': expiry_s}).disconnect()
    lasting(b, 'persist-connected', props={'session_expiry_interval': 2})
    again(b)
    pass_time(1.1)
    lasting(b, 'persist-short', present=False)
    lasting(b, 'persist-connected', present=True)  # from the crash on
    again(b)
    lasting(b, 'persist-long', present=True)


# ---- Subscriptions

@test(only='dunlin', each=ENDS)
def subscriptions_keep_their_options(b, how):
    name = f'persist-options-{how}'
    c = lasting(b, name)
    c.subscribe((f'{name}/rap', wire.options(1, retain_as_published=True)),
                (f'{name}/no-local', wire.options(2, no_local=True)),
                (f'{name}/+/deep', wire.options(0)), props={'subscription_identifier': 77})
    c.subscribe(f'{name}/rap', f'{name}/#', qos=2, props={'subscription_identifier': 78})
    c.subscribe((f'{name}/rap', wire.options(1, retain_as_published=True)))
    again(b, how)
    c, p = lasting(b, name, present=True), b.connected()
    c.publish(f'{name}/no-local', b'mine', qos=1)
    m = c.expect_message(f'{name}/no-local', b'mine', qos=1)
    equal(m.all('subscription_identifier'), [78])
    p.publish(f'{name}/no-local', b'of another', qos=2)
    m = c.expect_message(f'{name}/no-local', b'of another', qos=2)
    equal(sorted(m.all('subscription_identifier')), [77, 78])
    p.publish(f'{name}/rap', b'retained', qos=1, retain=True)
    m = c.expect_message(f'{name}/rap', b'retained', qos=1, retain=True)
    equal(m.all('subscription_identifier'), [78])
    p.publish(f'{name}/rap', b'', qos=1, retain=True)


@test(only='dunlin', each=ENDS)
def what_was_unsubscribed_stays_so(b, how):
    name = f'persist-unsubscribe-{how}'
    c = lasting(b, name)
    c.subscribe(f'{name}/a', f'{name}/b', qos=1)
    c.unsubscribe(f'{name}/a')
    again(b, how)
    c, p = lasting(b, name, present=True), b.connected()
    p.publish(f'{name}/a', b'not wanted', qos=1)
    p.publish(f'{name}/b', b'wanted', qos=1)
    c.expect_message(f'{name}/b', b'wanted')
    c.expect_nothing()


@test(only='dunlin', each=ENDS)
def shared_subscriptions_are_there(b, how):
    name = f'persist-shared-{how}'
    for member in 'ab':
        lasting(b, f'{name}-{member}').subscribe(f'$share/{name}/{name}/#', qos=1)
    again(b, how)
    members = [lasting(b, f'{name}-{member}', present=True) for member in 'ab']
    publish_many(b.connected(), f'{name}/x', [str(n).encode() for n in range(20)], qos=1)
    got = collections.Counter()
    for member in members:
        member.ping()
        while member.aside:
            m = member.expect_message()
            got[m.payload] += 1
    equal(got, collections.Counter(str(n).encode() for n in range(20)))


@test(only='dunlin')
def what_waited_for_a_group_is_given_once(b):
    for member in 'ab':
        offline(b, f'persist-group-{member}', '$share/persist-group/persist-group/#', qos=2)
    publish_many(b.connected(), 'persist-group/x', [str(n).encode() for n in range(20)], qos=2)
    again(b)
    got = collections.Counter()
    for member in 'ab':
        c = lasting(b, f'persist-group-{member}', present=True)
        c.ping()
        while c.aside:
            got[c.expect_message(qos=2).payload] += 1
    equal(got, collections.Counter(str(n).encode() for n in range(20)))


# ---- Messages that wait

PROPERTIES = [('payload_format_indicator', 1), ('content_type', 'text'), ('response_topic', 'r/t'),
              ('correlation_data', b'\0\1'), ('user_property', ('k', '1')),
              ('user_property', ('k', '2'))]


@test(only='dunlin', each=[(how, version) for how, in ENDS for version in (V311, V5)])
def what_waits_comes_in_order(b, how, version):
    name = f'persist-waits-{how}-{version}'
    offline(b, name, f'{name}/#', version=version, qos=2)
    p = b.connected(version=version)
    for n in range(30):
        p.publish(f'{name}/{n % 3}', b'%d' % n, qos=1 + n % 2)
    p.publish(f'{name}/large', bytes(200000), qos=2)
    p.publish(f'{name}/0', b'qos 0')
    p.ping()
    again(b, how)
    c = lasting(b, name, version, present=True)
    for n in range(30):
        c.expect_message(f'{name}/{n % 3}', b'%d' % n, qos=1 + n % 2, dup=False, retain=False)
    equal(len(c.expect_message(f'{name}/large', qos=2).payload), 200000)
    c.expect_nothing()


@test(only='dunlin', each=ENDS)
def what_waits_keeps_its_properties(b, how):
    name = f'persist-properties-{how}'
    offline(b, name, f'{name}/#', qos=1, props={'subscription_identifier': 5})
    b.connected().publish(f'{name}/x', b'text', qos=1, props=PROPERTIES)
    again(b, how)
    m = lasting(b, name, present=True).expect_message(f'{name}/x', b'text')
    equal(sorted(m.props, key=str), sorted([*PROPERTIES, ('subscription_identifier', 5)], key=str))
    equal(m.all('user_property'), [('k', '1'), ('k', '2')])


@test(only='dunlin')
def message_expiry_counts_on(b):
    offline(b, 'persist-expiry', 'persist-expiry/#', qos=2)
    p = b.connected()
    p.publish('persist-expiry/gone', b'x', qos=1, props={'message_expiry_interval': 1})
    p.publish('persist-expiry/there', b'x', qos=2, props={'message_expiry_interval': 100})
    p.publish('persist-expiry/retained/gone', b'x', qos=1, retain=True,
              props={'message_expiry_interval': 1})
    p.publish('persist-expiry/retained/there', b'x', qos=1, retain=True,
              props={'message_expiry_interval': 100})
    end(b, 'SIGKILL')
    pass_time(1.2)
    b.start()
    c = lasting(b, 'persist-expiry', present=True)
    for name in ('there', 'retained/there'):
        left = c.expect_message(f'persist-expiry/{name}').prop('message_expiry_interval')
        equal(100 - SLOWEST * Launch.slow <= left <= 99, True, f'{left} s are left of 100, after more than one')
    c.expect_nothing()
    c = b.connected()
    c.subscribe('persist-expiry/retained/#')
    left = c.expect_message('persist-expiry/retained/there').prop('message_expiry_interval')
    equal(100 - SLOWEST * Launch.slow <= left <= 99, True, f'{left} s are left of 100, after more than one')
    c.expect_nothing()


@test(only='dunlin', each=ENDS)
def acknowledged_messages_do_not_come_again(b, how):
    name = f'persist-done-{how}'
    c, p = lasting(b, name), b.connected()
    c.subscribe(f'{name}/#', qos=2)
    for n in range(4):
        p.publish(f'{name}/x', b'%d' % n, qos=1 + n % 2)
        c.expect_message(f'{name}/x', b'%d' % n)
    c.disconnect()
    if how == 'SIGKILL':  # an acknowledgement is written with the next entry that is waited for
        p.publish(f'{name}/x', b'last', qos=1)
    again(b, how)
    c = lasting(b, name, present=True)
    if how == 'SIGKILL':
        c.expect_message(f'{name}/x', b'last')
    c.expect_nothing()


@test(only='dunlin', each=ENDS)
def packet_ids_stay_the_same(b, how):
    name = f'persist-ids-{how}'
    c, p = lasting(b, name), b.connected()
    c.subscribe(f'{name}/#', qos=2)
    for n in range(6):
        p.publish(f'{name}/x', b'%d' % n, qos=1 + n % 2)
    first = [c.expect_message(f'{name}/x', b'%d' % n, ack=False, dup=False) for n in range(6)]
    c.send(wire.ack(PUBACK, first[2].packet_id))  # out of order
    c.ping()
    p.publish(f'{name}/x', b'6', qos=2)  # is written with it
    again(b, how)
    c = lasting(b, name, present=True)
    for n in (0, 1, 3, 4, 5):
        c.expect_message(f'{name}/x', b'%d' % n, packet_id=first[n].packet_id, dup=True)
    c.expect_message(f'{name}/x', b'6')
    c.expect_nothing()


# ---- QoS 2, step by step

@test(only='dunlin', each=ENDS)
def qos_2_to_the_client_goes_on_after_publish(b, how):
    name = f'persist-out-{how}'
    c, p = lasting(b, name), b.connected()
    c.subscribe(name, qos=2)
    p.publish(name, b'once', qos=2)
    packet_id = c.expect_message(name, b'once', ack=False, dup=False).packet_id
    again(b, how)
    c = lasting(b, name, present=True)
    c.expect_message(name, b'once', packet_id=packet_id, dup=True)
    c.expect_nothing()


@test(only='dunlin', each=ENDS)
def qos_2_to_the_client_goes_on_after_pubrec(b, how):
    name = f'persist-released-{how}'
    c, p = lasting(b, name), b.connected()
    c.subscribe(name, qos=2)
    p.publish(name, b'once', qos=2)
    p.publish(name, b'next', qos=1)
    packet_id = c.expect_message(name, b'once', ack=False).packet_id
    c.send(wire.ack(PUBREC, packet_id))
    c.wait_for(PUBREL, packet_id)
    again(b, how)
    c = lasting(b, name, present=True)
    c.expect(PUBREL, packet_id=packet_id)
    c.send(wire.ack(PUBCOMP, packet_id))
    c.expect_message(name, b'next')
    p = b.connected()
    p.publish(name, b'is written with it', qos=1)
    c.expect_message(name, b'is written with it')
    c.disconnect()
    p.publish(name, b'last', qos=1)
    again(b, how)
    c = lasting(b, name, present=True)
    c.expect_message(name, b'last')
    c.expect_nothing()


@test(only='dunlin', each=ENDS)
def qos_2_from_the_client_goes_on_after_publish(b, how):
    name = f'persist-in-{how}'
    c = lasting(b, name)
    offline(b, f'{name}-subscriber', name, qos=2)
    c.send(wire.publish(V5, name, b'once', 2, 7))
    c.expect(PUBREC, packet_id=7, reason=0)
    again(b, how)
    c = lasting(b, name, present=True)
    c.send(wire.publish(V5, name, b'once', 2, 7, dup=True))
    c.expect(PUBREC, packet_id=7, reason=0)
    again(b, how)
    c = lasting(b, name, present=True)
    c.send(wire.ack(PUBREL, 7))
    c.expect(PUBCOMP, packet_id=7, reason=0)
    again(b, how)
    c = lasting(b, name, present=True)
    c.send(wire.publish(V5, name, b'the next under that number', 2, 7))
    c.expect(PUBREC, packet_id=7, reason=0)
    s = lasting(b, f'{name}-subscriber', present=True)
    s.expect_message(name, b'once')
    s.expect_message(name, b'the next under that number')
    s.expect_nothing()


@test(only='dunlin')
def qos_2_that_was_not_answered_is_taken_once(b):
    """The broker is killed at once, with the answer perhaps on its way: it knows the message, for all
    or for none."""
    names = [f'persist-open-{n}' for n in range(5)]
    for name in names:
        offline(b, name, 'persist-open', qos=2)
    for turn in range(3):
        c = lasting(b, 'persist-open-publisher')
        packets = [wire.publish(V5, 'persist-open', b'%d %d' % (turn, n), 2, n + 1)
                   for n in range(40)]
        c.send(*packets)
        for n in range(turn):
            c.expect(PUBREC, packet_id=n + 1)
        again(b)
        c = lasting(b, 'persist-open-publisher', present=True)
        c.send(*(bytes([p[0] | 8]) + p[1:] for p in packets))
        for n in range(40):
            c.expect(PUBREC, packet_id=n + 1)
        c.send(*(wire.ack(PUBREL, n + 1) for n in range(40)))
        for n in range(40):
            c.expect(PUBCOMP, packet_id=n + 1)
    for name in names:
        s = lasting(b, name, present=True)
        for turn in range(3):
            for n in range(40):
                m = s.expect(PUBLISH, payload=b'%d %d' % (turn, n))
                s.send(wire.ack(PUBREC, m.packet_id))
                s.wait_for(PUBREL, m.packet_id)
                s.send(wire.ack(PUBCOMP, m.packet_id))
        s.expect_nothing()


# ---- Wills

@test(only='dunlin', each=ENDS)
def the_will_of_who_was_connected_is_published(b, how):
    name = f'persist-will-{how}'
    offline(b, f'{name}-heir', f'{name}/#', qos=2)
    for who, delay_s in (('now', 0), ('later', 1), ('not', 100)):
        lasting(b, f'{name}-{who}', will=Will(f'{name}/{who}', who.encode(), 2, props=[
            ('will_delay_interval', delay_s), ('content_type', 'will')]))
    lasting(b, f'{name}-goodbye', will=Will(f'{name}/goodbye', b'', 2)).disconnect()
    b.connected().publish(f'{name}/first', b'', qos=1)
    pass_time(0.1)  # nobody is told when it is on disk that the client has gone
    again(b, how)
    heir = lasting(b, f'{name}-heir', present=True)
    heir.expect_message(f'{name}/first')
    equal({heir.expect_message(content_type='will').payload for _ in range(2)}, {b'now', b'later'})
    heir.subscribe('persist/none')  # what it acknowledged is written with it
    lasting(b, f'{name}-not', present=True).disconnect()
    heir.expect_nothing()
    again(b, how)
    heir = lasting(b, f'{name}-heir', present=True)
    heir.expect_nothing()


@test(only='dunlin')
def will_delay_counts_on(b):
    offline(b, 'persist-delay-heir', 'persist-delay', qos=1)
    lasting(b, 'persist-delay', will=Will('persist-delay', b'delayed', 1,
                                          props={'will_delay_interval': 1})).drop()
    b.connected().publish('persist-delay', b'first', qos=1)
    pass_time(0.1)  # nobody is told when it is on disk that the client has gone
    end(b, 'SIGKILL')
    pass_time(1.0)
    b.start()
    heir = lasting(b, 'persist-delay-heir', present=True)
    heir.expect_message('persist-delay', b'first')
    heir.expect_message('persist-delay', b'delayed', timeout=0.7 * Launch.slow)


# ---- Retained messages

@test(only='dunlin', each=[(0.0,), (0.02,), (0.1,)])
def a_will_that_was_published_does_not_come_again(b, wait_s):
    """Killed when it is with those who are there: not written yet that all have it, or just so. And
    once more, as what the first process has left behind is still there."""
    name = f'persist-once-{wait_s}'
    offline(b, f'{name}-heir', f'{name}/#', qos=1)
    watcher = b.connected()
    watcher.subscribe(f'{name}/#', qos=0)
    testators = [lasting(b, f'{name}-{n}', will=Will(f'{name}/{n}', b'', 1)) for n in range(8)]
    for t in testators:
        t.drop()
    wills = {watcher.expect_message().topic for _ in testators}
    equal(len(wills), 8)
    pass_time(wait_s)
    again(b)
    heir = lasting(b, f'{name}-heir', present=True)
    equal({heir.expect_message().topic for _ in testators}, wills)
    heir.expect_nothing()
    heir.subscribe('persist/none')  # what it acknowledged is written with it
    for _ in range(2):
        again(b)
        heir = lasting(b, f'{name}-heir', present=True)
        heir.expect_nothing()


@test(only='dunlin')
def the_next_will_does_not_replace_one_that_is_due(b):
    offline(b, 'persist-wills-heir', 'persist-wills', qos=2)
    for n in range(10):  # each takes over from the one before, whose will is due then
        lasting(b, 'persist-wills', will=Will('persist-wills', b'%d' % n, 2))
    again(b)
    heir = lasting(b, 'persist-wills-heir', present=True)
    equal([int(heir.expect_message().payload) for _ in range(10)], list(range(10)))
    heir.expect_nothing()


def retained(broker, topic_filter, count):
    """So many at least, and all that have come by then, by topic."""
    c, got = broker.connected(), {}
    c.subscribe(topic_filter, qos=2)
    while len(got) < count or c.aside:
        m = c.expect_message(retain=True)
        got[m.topic] = m
        if len(got) == count:
            c.ping()
    return got


@test(only='dunlin', each=ENDS)
def retained_messages_are_there(b, how):
    name = f'persist-retained-{how}'
    p = b.connected()
    for n in range(20):
        p.publish(f'{name}/{n:02}', b'first', qos=n % 3, retain=True)
    p.publish(f'{name}/03', b'replaced', qos=1, retain=True, props=PROPERTIES)
    p.publish(f'{name}/04', b'', qos=2, retain=True)
    p.publish(f'{name}/05', b'', qos=1, retain=True)
    p.publish(f'{name}/05', b'again', qos=1, retain=True)
    p.publish(f'{name}/07', b'', qos=0, retain=True)
    p.publish(f'{name}/08', b'', qos=1, retain=True)
    again(b, how)
    want = {f'{name}/{n:02}': b'first' for n in range(20) if n not in (4, 7, 8)}
    want |= {f'{name}/03': b'replaced', f'{name}/05': b'again'}
    got = retained(b, f'{name}/#', len(want))
    if how == 'SIGKILL':  # a deletion that nobody acknowledged may be younger than what is on disk
        got.pop(f'{name}/07', None)
    equal({topic: m.payload for topic, m in got.items()}, want)
    equal(sorted(got[f'{name}/03'].props, key=str), sorted(PROPERTIES, key=str))
    equal(got[f'{name}/02'].qos, 2)


# ---- The directory

@test(only='dunlin')
def any_number_of_shards_keeps_all(b):
    n = fresh(b)
    names = [f'shards-{i}' for i in range(24)]
    for name in names:
        offline(n, name, f'x/{name}', 'x/all', qos=2)
    for turn, shards in enumerate((3, 2, 1, 3)):
        p = n.connected()
        for name in names:
            p.publish(f'x/{name}', b'%d' % turn, qos=1)
            p.publish(f'retained/{name}', b'%d' % turn, qos=1, retain=True)
        p.publish('x/all', b'%d' % turn, qos=2)
        again(n, ('SIGKILL', 'SIGTERM')[turn % 2], {'node.shards': shards})
    got = retained(n, 'retained/#', len(names))
    equal({topic: m.payload for topic, m in got.items()},
          {f'retained/{name}': b'3' for name in names})
    for name in names:
        c = lasting(n, name, present=True)
        for turn in range(4):
            c.expect_message(f'x/{name}', b'%d' % turn)
            c.expect_message('x/all', b'%d' % turn)
        c.expect_nothing()


@test(only='dunlin')
def after_a_clean_end_nothing_is_read_again(b):
    n = fresh(b)
    offline(n, 'a', 'x', qos=1)
    n.connected().publish('x', b'1', qos=1, retain=True)
    revived = again(n, 'SIGTERM')
    equal((revived['entries'], revived['sessions'], revived['queued'], revived['retained']),
          ('0', '1', '1', '1'))
    revived = again(n, 'SIGKILL')
    equal((revived['entries'], revived['sessions'], revived['queued'], revived['retained']),
          ('0', '1', '1', '1'))


@test(only='dunlin')
def a_second_process_is_refused(b):
    done = subprocess.run([Launch.program, '--listen', 'tcp://127.0.0.1:0', '--data', DATA],
                          stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, text=True, check=False,
                          stderr=subprocess.STDOUT, timeout=20 * Launch.slow)
    equal(done.returncode != 0 and 'data_dir_refused' in done.stdout, True, done.stdout)


def spoil(path, find):
    """Changes the bytes, where they stand last."""
    with open(path, 'r+b') as f:
        f.seek(f.read().rindex(find))
        f.write(b'spoilt')


def journal_of_three(b):
    """A broker that was killed, with three messages in its journal, synced one after the other."""
    n = fresh(b)
    offline(n, 'a', 'x', qos=1)
    p = n.connected()
    for body in (b'message-1', b'message-2', b'message-3'):
        p.publish('x', body, qos=1)
    n.kill()
    folder = os.path.join(n.settings['data.dir'], 'journal')
    for name in os.listdir(folder):
        with open(os.path.join(folder, name), 'rb') as f:
            if b'message-3' in f.read():
                return n, os.path.join(folder, name)
    raise Unexpected('the message is not in the journal')


@test(only='dunlin')
def a_torn_end_is_cut_off_and_said(b):
    n, path = journal_of_three(b)
    spoil(path, b'message-3')
    since = n.log_size()
    n.start()
    n.one_event('journal_torn', since)
    c = lasting(n, 'a', present=True)
    c.expect_message('x', b'message-1')
    c.expect_message('x', b'message-2')
    n.connected().publish('x', b'goes on', qos=1)
    c.expect_message('x', b'goes on')
    c.expect_nothing()
    since = n.log_size()
    again(n)
    equal(n.events('journal_torn', since), [])
    lasting(n, 'a', present=True).disconnect()


@test(only='dunlin')
def garbage_behind_the_end_is_no_record(b):
    n, path = journal_of_three(b)
    with open(path, 'r+b') as f:
        data = f.read()
        f.seek(data.rindex(b'message-3') + 64 & ~7)
        f.write(os.urandom(3000))
    n.start()
    c = lasting(n, 'a', present=True)
    for body in (b'message-1', b'message-2', b'message-3'):
        c.expect_message('x', body)
    c.expect_nothing()


def refuses(n):
    """It does not start on what it finds; what it says."""
    since = n.log_size()
    try:
        n.start()
    except Unexpected:
        pass
    equal(n.wait_end() != 0, True, 'it starts, or ends with 0')
    n.process = None
    return n.events('journal_refused', since)


@test(only='dunlin')
def damage_in_the_middle_is_refused(b):
    n, path = journal_of_three(b)
    spoil(path, b'message-1')
    said = refuses(n)
    equal(len(said), 1, 'lines journal_refused')
    equal(said[0]['segment'] != '0', True, str(said))


@test(only='dunlin')
def the_journal_of_another_directory_is_refused(b):
    n, path = journal_of_three(b)
    other = Folder(b).path
    shutil.copytree(os.path.join(n.settings['data.dir'], 'journal'), os.path.join(other, 'journal'))
    n.settings['data.dir'] = other
    equal(len(refuses(n)), 1, 'lines journal_refused')


# ---- Durability

@test(only='dunlin')
def durability_memory_keeps_what_a_clean_end_leaves(b):
    n = fresh(b, data__durability='memory')
    n.one_event('durability_memory')
    offline(n, 'a', 'x', qos=1)
    n.connected().publish('x', b'kept', qos=1)
    equal(again(n, 'SIGTERM')['queued'], '1')
    n.connected().publish('x', b'lost', qos=1)
    equal(again(n, 'SIGKILL')['queued'], '1')
    lasting(n, 'a', present=True).expect_message('x', b'kept')


@test(only='dunlin')
def durability_interval_keeps_what_is_older(b):
    n = fresh(b, data__durability='interval', data__sync_interval_ms=60000)
    equal(n.one_event('durability_interval')['sync_interval_ms'], '60000')
    offline(n, 'a', 'x', qos=1)
    n.connected().publish('x', b'1', qos=1)
    equal(again(n, 'SIGTERM')['queued'], '1')
    n.connected().publish('x', b'lost', qos=1)
    again(n, 'SIGKILL', {'data.sync_interval_ms': 10})
    n.connected().publish('x', b'2', qos=1)
    pass_time(0.3)
    again(n, 'SIGKILL')
    c = lasting(n, 'a', present=True)
    c.expect_message('x', b'1')
    if c.recv().payload == b'lost':  # the first batch of a process does not wait
        c.expect(PUBLISH, payload=b'2')


@test(only='dunlin')
def durability_by_topic_keeps_what_is_older(b):
    n = fresh(b, topics__0__filter='hasty/slow', topics__0__durability='sync',
              topics__1__filter='hasty/#')
    said = n.one_event('topic_durability_interval')
    equal((said['filter'], said['within_ms']), ('hasty/#', '50'))
    offline(n, 'a', '#', qos=1)
    c = n.connected()
    for i in range(100):
        c.publish('hasty/1', b'%d' % i, qos=1)
    pass_time(0.3)
    c.publish('hasty/1', b'perhaps', qos=1)
    c.publish('x', b'100', qos=1)  # and what came before it
    again(n)
    c = lasting(n, 'a', present=True)
    for i in range(100):
        c.expect_message('hasty/1', b'%d' % i)
    c.expect_message('hasty/1', b'perhaps')
    c.expect_message('x', b'100')


# ---- A full disk

class SmallDisk:
    """A file system in memory, which is full soon."""

    def __init__(self, b, size):
        if os.geteuid() != 0:
            raise Skipped('a file system of its own needs root')
        self.path = tempfile.mkdtemp(prefix='persistence-disk-', dir=os.path.abspath(Launch.folder))
        if subprocess.run(['mount', '-t', 'tmpfs', '-o', f'size={size}', 'none', self.path],
                          stderr=subprocess.DEVNULL, check=False).returncode != 0:
            os.rmdir(self.path)
            raise Skipped('no file system can be mounted here')
        b.open.append(self)

    def close(self):
        subprocess.run(['umount', '-l', self.path], check=True)
        os.rmdir(self.path)

    def fill(self):
        """Takes what is left."""
        with open(os.path.join(self.path, 'filling'), 'wb', buffering=0) as f:
            for size in (1 << 20, 4096):
                try:
                    while f.write(bytes(size)) == size:
                        pass
                except OSError as e:
                    if e.errno != errno.ENOSPC:
                        raise

    def make_room(self):
        os.unlink(os.path.join(self.path, 'filling'))


def on_a_small_disk(b):
    """A broker, a publisher whose last message waits for a disk that is full, and its packet id."""
    disk = SmallDisk(b, '96m')
    n = b.another({'data.dir': os.path.join(disk.path, 'data'), 'node.shards': 1,
                   'data.journal_segment_bytes': 1 << 20, 'limits.packet_bytes_max': 1 << 18,
                   'data.checkpoint_interval_s': 1})
    offline(n, 'kept', 'x/kept', 'x/both', qos=2)
    witnesses = [n.connected(name) for name in ('passing', 'publisher')]
    witnesses[0].subscribe('x/both', 'x/passing', qos=2)
    disk.fill()
    stuck = n.connected('stuck')
    return disk, n, stuck, fill_up(n, stuck), witnesses


BODY = bytes(100000)


@test(only='dunlin', timeout=90)
def a_full_disk_refuses_what_is_to_be_kept(b):
    since = 0
    disk, n, stuck, last, (passing, p) = on_a_small_disk(b)
    equal(n.one_event('disk_refuses', since)['shard'], '0')
    p.publish('x/kept', b'', qos=1, expect=(0x97,))
    p.publish('x/kept', b'', qos=2, expect=(0x97,))
    p.publish('x/retained', b'x', qos=1, retain=True, expect=(0x97,))
    p.publish('x/both', b'goes on', qos=0)
    passing.expect_message('x/both', b'goes on', qos=0)
    n.client().connect('new', clean_start=False, props=LASTS, expect=0x97)

    disk.make_room()
    stuck.expect(PUBACK, packet_id=last, reason=0)
    n.one_event('disk_is_well', since)
    p.publish('x/kept', b'%d ' % (last + 1) + BODY, qos=1)
    again(n)
    c = lasting(n, 'kept', present=True)
    for number in range(1, last + 2):
        c.expect_message('x/kept', b'%d ' % number + BODY)
    c.expect_nothing()


@test(only='dunlin', timeout=90)
def a_full_disk_is_nothing_to_those_who_need_none(b):
    disk, n, _stuck, _last, (passing, p) = on_a_small_disk(b)
    for qos in (0, 1, 2):
        p.publish('x/passing', b'goes on', qos=qos)
        passing.expect_message('x/passing', b'goes on', qos=qos)
    c = n.connected('of this connection only')
    c.subscribe('x/passing', qos=1)
    p.publish('x/passing', b'for both', qos=1)
    c.expect_message('x/passing', b'for both')
    passing.expect_message('x/passing', b'for both')
    disk.make_room()  # so that it ends at once


def fill_up(n, p):
    """Publishes until the disk takes no more; the packet id that waits for its answer."""
    for packet_id in range(1, 1000):
        p.send(wire.publish(V5, 'x/kept', b'%d ' % packet_id + BODY, 1, packet_id))
        answered = []

        def is_answered():
            try:
                answered.append(p.recv(0.01))
            except Unexpected:
                return n.events('disk_refuses')
            return True
        wait_until(is_answered, what='an answer, or a line disk_refuses')
        if not answered:
            return packet_id
        equal((answered[0].type, answered[0].packet_id, answered[0].reason), (PUBACK, packet_id, 0))
    raise Unexpected('the disk does not become full')


@test(only='dunlin', timeout=90)
def it_ends_with_a_full_disk(b):
    """What nobody was told is lost, and nothing else."""
    disk, n, _stuck, last, _ = on_a_small_disk(b)
    end(n, 'SIGTERM')
    disk.make_room()
    n.start()
    c = lasting(n, 'kept', present=True)
    for number in range(1, last):
        c.expect_message('x/kept', b'%d ' % number + BODY)
