# SPDX-License-Identifier: Apache-2.0
"""Sessions: resumption, takeover, expiry, what is kept and what is not (3.1.2.4, 4.1)."""
import signal

from harness import equal, pass_time, test
from raw import CONNACK, PUBACK, PUBLISH, PUBREC, PUBREL, V31, V311, V5, wire

EXPIRY = {'session_expiry_interval': 300}
SECONDS = 8


def kept(version):
    """Arguments of connect() for a session that outlives its connection."""
    return {'clean_start': False, **({'props': EXPIRY} if version == V5 else {})}


# ---- Takeover (3.1.4)

@test
def takeover_ends_the_older_connection_with_8e(b):
    old = b.connected('session-takeover')
    b.connected('session-takeover')
    old.expect_disconnect(0x8E)


@test
def takeover_of_a_v311_connection_just_closes_it(b):
    old = b.connected('session-takeover-311', V311)
    b.connected('session-takeover-311', V311)
    old.expect_end()


@test(each=[(V311, V5), (V5, V311), (V31, V5)])
def takeover_between_versions(b, before, after):
    old = b.connected(f'session-takeover-{before}-{after}', before)
    b.connected(f'session-takeover-{before}-{after}', after)
    old.expect_disconnect(0x8E)


@test
def takeover_keeps_the_session(b):
    old = b.connected('session-taken', clean_start=False, props=EXPIRY)
    old.subscribe('session/taken', qos=2)
    p = b.connected()
    p.publish('session/taken', b'unacknowledged', qos=1)
    first = old.expect_message('session/taken', b'unacknowledged', ack=False, dup=False)

    new = b.client()
    equal(new.connect('session-taken', clean_start=False, props=EXPIRY).session_present, True)
    old.expect_disconnect(0x8E)
    new.expect_message('session/taken', b'unacknowledged', dup=True, packet_id=first.packet_id)
    p.publish('session/taken', b'next', qos=2)
    new.expect_message('session/taken', b'next', dup=False, qos=2)


@test
def takeover_with_clean_start_drops_the_session(b):
    old = b.connected('session-dropped', clean_start=False, props=EXPIRY)
    old.subscribe('session/dropped')
    new = b.client()
    equal(new.connect('session-dropped', clean_start=True).session_present, False)
    old.expect_disconnect(0x8E)
    new.publish('session/dropped', b'nobody', qos=1)
    new.expect_nothing()


@test
def takeover_again_and_again(b):
    """Twenty connections of one client id: only the last lives, with one session."""
    first = b.connected('session-many', clean_start=False, props=EXPIRY)
    first.subscribe('session/many', qos=1)
    clients = [first]
    for _ in range(19):
        c = b.client()
        equal(c.connect('session-many', clean_start=False, props=EXPIRY).session_present, True)
        clients.append(c)
    for c in clients[:-1]:
        c.expect_disconnect(0x8E)
    b.connected().publish('session/many', b'one', qos=1)
    clients[-1].expect_message('session/many', b'one')
    clients[-1].expect_nothing()


# ---- Resumption

@test(each=[(V31,), (V311,), (V5,)])
def session_outlives_its_connection(b, version):
    topic, client_id = f'session/kept/{version}', f'session-kept-{version}'
    first = b.client(version)
    equal(first.connect(client_id, **kept(version)).session_present, False)
    first.subscribe(topic, qos=2)
    first.disconnect()

    p = b.connected()
    for i in range(6):
        p.publish(topic, b'%d' % i, qos=1 + i % 2)
    again = b.client(version)
    again.connect(client_id, **kept(version))
    for i in range(6):
        again.expect_message(topic, b'%d' % i, qos=1 + i % 2, dup=False)
    again.expect_nothing()


@test(each=[(V311,), (V5,)])
def session_present_is_told(b, version):
    client_id = f'session-present-{version}'
    first = b.client(version)
    equal(first.connect(client_id, **kept(version)).session_present, False)
    first.disconnect()
    second = b.client(version)
    equal(second.connect(client_id, **kept(version)).session_present, True)
    second.disconnect()
    third = b.client(version)
    equal(third.connect(client_id, clean_start=True).session_present, False)
    third.disconnect()
    fourth = b.client(version)
    equal(fourth.connect(client_id, **kept(version)).session_present, False)


@test(each=[(V311,), (V5,)])
def clean_session_ends_with_its_connection(b, version):
    client_id = f'session-clean-{version}'
    first = b.connected(client_id, version, clean_start=True)
    first.subscribe('session/clean', qos=1)
    first.disconnect()
    second = b.client(version)
    equal(second.connect(client_id, **kept(version)).session_present, False)
    second.publish('session/clean', b'nobody', qos=1)
    second.expect_nothing()


@test
def clean_start_0_without_expiry_ends_with_its_connection(b):
    first = b.connected('session-no-expiry', clean_start=False)
    first.disconnect()
    equal(b.client().connect('session-no-expiry', clean_start=False).session_present, False)


@test
def unacknowledged_messages_come_again_with_dup_and_their_packet_ids(b):
    c = b.connected('session-dup', clean_start=False, props=EXPIRY)
    c.subscribe('session/dup', qos=2)
    p = b.connected()
    for i in range(8):
        p.publish('session/dup', b'%d' % i, qos=1 + i % 2)
    sent = [c.expect_message('session/dup', b'%d' % i, ack=False, dup=False) for i in range(8)]
    c.send(wire.ack(PUBACK, sent[2].packet_id))
    c.drop()

    again = b.connected('session-dup', clean_start=False, props=EXPIRY)
    for i in (0, 1, 3, 4, 5, 6, 7):
        again.expect_message('session/dup', b'%d' % i, ack=False, dup=True, qos=1 + i % 2,
                             packet_id=sent[i].packet_id)
    again.expect_nothing()


@test
def pubrel_comes_again_instead_of_its_message(b):
    c = b.connected('session-pubrel', clean_start=False, props=EXPIRY)
    c.subscribe('session/pubrel', qos=2)
    p = b.connected()
    p.publish('session/pubrel', b'first', qos=2)
    p.publish('session/pubrel', b'second', qos=2)
    first = c.expect_message('session/pubrel', b'first', ack=False)
    second = c.expect_message('session/pubrel', b'second', ack=False)
    c.send(wire.ack(PUBREC, first.packet_id))
    c.wait_for(PUBREL, first.packet_id)
    c.drop()

    again = b.connected('session-pubrel', clean_start=False, props=EXPIRY)
    again.expect(PUBREL, packet_id=first.packet_id)
    again.send(wire.ack(wire.PUBCOMP, first.packet_id))
    again.expect_message('session/pubrel', b'second', dup=True, packet_id=second.packet_id)
    again.expect_nothing()


@test
def nothing_is_resent_on_a_live_connection(b):
    c = b.connected()
    c.subscribe('session/live', qos=1)
    b.connected().publish('session/live', b'once', qos=1)
    c.expect_message('session/live', b'once', ack=False)
    pass_time(1.2)
    c.expect_nothing()


@test
def qos_2_from_the_client_is_once_across_a_resumption(b):
    s = b.connected()
    s.subscribe('session/exactly', qos=2)
    c = b.connected('session-exactly', clean_start=False, props=EXPIRY)
    c.send(wire.publish(V5, 'session/exactly', b'once', qos=2, packet_id=77))
    c.expect(PUBREC, packet_id=77, reason=0)
    c.drop()

    again = b.connected('session-exactly', clean_start=False, props=EXPIRY)
    again.send(wire.publish(V5, 'session/exactly', b'once', qos=2, packet_id=77, dup=True))
    again.expect(PUBREC, packet_id=77, reason=0)
    again.send(wire.ack(PUBREL, 77))
    again.expect(wire.PUBCOMP, packet_id=77, reason=0)
    again.publish('session/exactly', b'end', qos=2)
    s.expect_message('session/exactly', b'once')
    s.expect_message('session/exactly', b'end')


@test
def subscription_options_and_identifier_outlive_the_connection(b):
    c = b.connected('session-options', clean_start=False, props=EXPIRY)
    c.subscribe('session/options', qos=1, no_local=True, retain_as_published=True,
                props={'subscription_identifier': 9})
    c.disconnect()
    again = b.connected('session-options', clean_start=False, props=EXPIRY)
    again.publish('session/options', b'mine', qos=1)
    b.connected().publish('session/options', b'yours', qos=1, retain=True)
    again.expect_message('session/options', b'yours', retain=True, subscription_identifier=9)


@test
def a_session_goes_from_one_version_to_another(b):
    c = b.connected('session-versions', V311, clean_start=False)
    c.subscribe('session/versions', qos=1)
    c.disconnect()
    b.connected().publish('session/versions', b'hello', qos=1,
                          props={'content_type': 'text/plain'})
    again = b.client(V5)
    equal(again.connect('session-versions', clean_start=False, props=EXPIRY).session_present, True)
    again.expect_message('session/versions', b'hello', content_type='text/plain')


# ---- Session expiry (3.1.2.11.2)

@test
def session_ends_at_its_expiry(b):
    c = b.connected('session-expiry', clean_start=False, props={'session_expiry_interval': 1})
    c.disconnect()
    pass_time(2.5)
    equal(b.client().connect('session-expiry', clean_start=False).session_present, False)


@test
def session_is_there_before_its_expiry(b):
    c = b.connected('session-unexpired', clean_start=False, props={'session_expiry_interval': 3})
    c.disconnect()
    pass_time(1)
    again = b.client()
    equal(again.connect('session-unexpired', clean_start=False).session_present, True)


@test
def session_does_not_expire_while_connected(b):
    c = b.connected('session-held', clean_start=False, props={'session_expiry_interval': 1})
    pass_time(2.2)
    c.ping()
    c.subscribe('session/held')
    c.drop()
    again = b.client()
    equal(again.connect('session-held', clean_start=False).session_present, True)


@test
def disconnect_can_shorten_the_expiry(b):
    c = b.connected('session-shorten', clean_start=False, props=EXPIRY)
    c.disconnect(0, {'session_expiry_interval': 0})
    equal(b.client().connect('session-shorten', clean_start=False).session_present, False)


@test
def disconnect_can_lengthen_the_expiry(b):
    c = b.connected('session-lengthen', clean_start=False, props={'session_expiry_interval': 1})
    c.disconnect(0, {'session_expiry_interval': 300})
    pass_time(2.2)
    equal(b.client().connect('session-lengthen', clean_start=False).session_present, True)


@test
def disconnect_cannot_give_an_expiry_to_a_session_without(b):
    """From 0 to anything else is a protocol error [3.14.2.2.2]."""
    c = b.connected('session-zero', clean_start=False)
    c.send(wire.disconnect(V5, 0, {'session_expiry_interval': 300}))
    c.expect_disconnect(0x82)
    equal(b.client().connect('session-zero', clean_start=False).session_present, False)


@test
def the_new_connect_decides_the_expiry(b):
    b.connected('session-redecide', clean_start=False, props=EXPIRY).disconnect()
    b.connected('session-redecide', clean_start=False).disconnect()
    equal(b.client().connect('session-redecide', clean_start=False).session_present, False)


# ---- Client identifiers (3.1.3.1)

@test
def empty_client_id_gets_one_that_works(b):
    c = b.client()
    given = c.connect('', clean_start=False, props=EXPIRY).prop('assigned_client_identifier')
    equal(bool(given), True, 'an identifier was assigned')
    c.subscribe('session/assigned', qos=1)
    c.disconnect()
    again = b.client()
    connack = again.connect(given, clean_start=False, props=EXPIRY)
    equal((connack.session_present, connack.prop('assigned_client_identifier')), (True, None))


@test
def assigned_client_ids_differ(b):
    given = {b.connected('').client_id for _ in range(50)}
    equal(len(given), 50)


@test
def empty_client_id_in_311_needs_a_clean_session(b):
    c = b.client(V311)
    c.connect('', clean_start=False, expect=2)
    c.expect_end()
    b.client(V311).connect('', clean_start=True)


@test(each=[(V311,), (V5,)])
def client_ids_long_and_strange(b, version):
    for client_id in ('x' * 23, 'x' * 24, 'y' * 1000, 'z' * 65535, 'snow ☃ / # +', '\U0001F600'):
        c = b.client(version)
        c.connect(client_id)
        c.disconnect()


# ---- CONNACK and the first packet

@test
def connack_says_no_more_than_it_may(b):
    """Whatever the broker announces is in its range; what it supports it need not mention."""
    connack = b.client().connect('')
    for name in ('retain_available', 'wildcard_subscription_available',
                 'subscription_identifier_available', 'shared_subscription_available'):
        equal(connack.prop(name, 1), 1, name)
    equal(connack.prop('maximum_qos'), None)
    equal(connack.prop('receive_maximum', 1) > 0, True)
    equal(connack.prop('maximum_packet_size', 1) > 0, True)


@test
def who_takes_no_packet_as_large_as_connack_gets_none(b):
    """Neither CONNACK nor, without one, a DISCONNECT [MQTT-3.1.2-24, MQTT-3.14.0-1]."""
    c = b.client()
    c.send(wire.connect(V5, '', props={'maximum_packet_size': 4}))
    c.expect_end()


@test(only='dunlin')
def response_information_only_for_those_who_ask(b):
    other = b.another({'mqtt.response_information': 'answers/here'})
    asked = other.client().connect('', props={'request_response_information': 1})
    equal(asked.prop('response_information'), 'answers/here')
    for props in ({}, {'request_response_information': 0}):
        equal(other.client().connect('', props=props).prop('response_information'), None)


@test(only='dunlin')
def server_keep_alive_and_expiry_maximum_are_told_when_they_differ(b):
    other = b.another({'limits.keep_alive_max_s': 100, 'limits.session_expiry_max_s': 50})
    connack = other.client().connect('k1', keep_alive=200, props={'session_expiry_interval': 60})
    equal(connack.prop('server_keep_alive'), 100)
    equal(connack.prop('session_expiry_interval'), 50)
    connack = other.client().connect('k2', keep_alive=0)
    equal(connack.prop('server_keep_alive'), 100)
    connack = other.client().connect('k3', keep_alive=99, props={'session_expiry_interval': 49})
    equal(connack.prop('server_keep_alive'), None)
    equal(connack.prop('session_expiry_interval', 49), 49)


@test(each=[(V311,), (V5,)])
def packets_right_behind_connect_are_served(b, version):
    """The client need not wait for CONNACK (3.1.4)."""
    c = b.client(version)
    c.send(wire.connect(version, f'session-eager-{version}'),
           wire.subscribe(version, 1, [('session/eager', 1)]),
           wire.publish(version, 'session/eager', b'early', qos=1, packet_id=2))
    c.expect(CONNACK, reason=0)
    c.wait_for(wire.SUBACK)
    c.wait_for(PUBACK)
    while c.aside[0].type != PUBLISH:
        c.aside.popleft()
    c.expect_message('session/eager', b'early')


@test(only='dunlin')
def one_that_gave_up_takes_nothing_over(b):
    """A CONNECT is read when its client has closed already, and has since connected anew: the
    connection that lives is the one that counts."""
    lives = b.connected('gave-up', props={'session_expiry_interval': 60})
    b.hold()
    gone = b.client()
    gone.send(wire.connect(V5, 'gave-up', clean_start=False))
    gone.close()
    b.signal(signal.SIGCONT)
    b.connected('gave-up-after').ping()
    lives.ping()
    lives.expect_nothing()
