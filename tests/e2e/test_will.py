# SPDX-License-Identifier: Apache-2.0
"""Wills: when they are published, when not, and with what (3.1.2.5, 3.1.3.2)."""
import time

from harness import equal, pass_time, test
from raw import DISCONNECT, V31, V311, V5, Will, wire

EXPIRY = {'session_expiry_interval': 300}
ALL = [(V31,), (V311,), (V5,)]
SECONDS = 16


def watcher(b, topic, qos=2):
    w = b.connected()
    w.subscribe(topic, qos=qos, retain_as_published=True)
    return w


def no_will_came(b, w, topic):
    """Not yet, at least: an end mark comes first."""
    b.connected().publish(topic, b'end', qos=1)
    w.expect_message(topic, b'end')


@test(each=ALL)
def lost_connection_publishes_it(b, version):
    topic = f'will/lost/{version}'
    w = watcher(b, topic)
    b.connected(f'will-lost-{version}', version, will=Will(topic, b'gone', qos=1)).drop()
    w.expect_message(topic, b'gone', qos=1, retain=False)


@test(each=ALL)
def disconnect_removes_it(b, version):
    topic = f'will/removed/{version}'
    w = watcher(b, topic)
    b.connected(f'will-removed-{version}', version, will=Will(topic, b'gone')).disconnect()
    no_will_came(b, w, topic)


@test
def disconnect_04_publishes_it(b):
    w = watcher(b, 'will/on-demand')
    b.connected(will=Will('will/on-demand', b'gone')).disconnect(0x04)
    w.expect_message('will/on-demand', b'gone')


@test(mosquitto='takes any DISCONNECT but 0x04 for a normal one')
def disconnect_with_a_failure_publishes_it(b):
    w = watcher(b, 'will/failure')
    b.connected(will=Will('will/failure', b'gone')).disconnect(0x80)
    w.expect_message('will/failure', b'gone')


@test(each=[(V311,), (V5,)])
def protocol_error_publishes_it(b, version):
    topic = f'will/error/{version}'
    w = watcher(b, topic)
    c = b.connected(f'will-error-{version}', version, will=Will(topic, b'gone'))
    c.send(b'\x80\x00')  # SUBSCRIBE with the wrong flags
    c.expect_disconnect(0x81)
    w.expect_message(topic, b'gone')


@test(each=[(V311,), (V5,)])
def silence_beyond_the_keep_alive_publishes_it(b, version):
    topic = f'will/silent/{version}'
    w = watcher(b, topic)
    b.connected(f'will-silent-{version}', version, keep_alive=1, will=Will(topic, b'gone'))
    w.expect_message(topic, b'gone')


@test(each=ALL)
def takeover_publishes_it(b, version):
    topic, client_id = f'will/takeover/{version}', f'will-takeover-{version}'
    w = watcher(b, topic)
    b.connected(client_id, version, will=Will(topic, b'gone'))
    b.connected(client_id, version)
    w.expect_message(topic, b'gone')


@test
def takeover_of_a_session_that_goes_on_does_not_publish_a_delayed_one(b):
    w = watcher(b, 'will/carried')
    will = Will('will/carried', b'gone', props={'will_delay_interval': 1})
    old = b.connected('will-carried', clean_start=False, props=EXPIRY, will=will)
    b.connected('will-carried', clean_start=False, props=EXPIRY)
    old.expect_disconnect(0x8E)
    pass_time(1.6)
    no_will_came(b, w, 'will/carried')


@test(mosquitto='waits for the delay, or forgets the will')
def takeover_with_clean_start_publishes_a_delayed_one(b):
    """The session ends, and the will with it, before its delay (3.1.3.2.2)."""
    w = watcher(b, 'will/clean')
    will = Will('will/clean', b'gone', props={'will_delay_interval': 100})
    b.connected('will-clean', clean_start=False, props=EXPIRY, will=will)
    b.connected('will-clean', clean_start=True)
    w.expect_message('will/clean', b'gone')


@test(mosquitto='waits for the delay, or forgets the will')
def clean_start_publishes_one_that_waits(b):
    w = watcher(b, 'will/waiting')
    will = Will('will/waiting', b'gone', props={'will_delay_interval': 100})
    b.connected('will-waiting', clean_start=False, props=EXPIRY, will=will).drop()
    b.connected('will-waiting', clean_start=True)
    w.expect_message('will/waiting', b'gone')


@test
def delayed_will_comes_late(b):
    w = watcher(b, 'will/late')
    c = b.connected('will-late', props=EXPIRY,
                    will=Will('will/late', b'gone', props={'will_delay_interval': 2}))
    c.drop()
    begin = time.monotonic()
    no_will_came(b, w, 'will/late')
    message = w.expect_message('will/late', b'gone')
    late = time.monotonic() - begin
    equal(1.0 < late < 5.0, True, f'two seconds late ({late:.2f})')
    equal(message.prop('user_property'), None)
    equal(message.props, [], 'the delay is not sent on')


@test
def resumption_within_the_delay_cancels_it(b):
    w = watcher(b, 'will/cancelled')
    will = Will('will/cancelled', b'gone', props={'will_delay_interval': 1})
    b.connected('will-cancelled', clean_start=False, props=EXPIRY, will=will).drop()
    b.connected('will-cancelled', clean_start=False, props=EXPIRY)
    pass_time(1.6)
    no_will_came(b, w, 'will/cancelled')


@test
def session_end_before_the_delay_publishes_it(b):
    w = watcher(b, 'will/early')
    will = Will('will/early', b'gone', props={'will_delay_interval': 100})
    b.connected('will-early', props={'session_expiry_interval': 1}, will=will).drop()
    begin = time.monotonic()
    w.expect_message('will/early', b'gone')
    early = time.monotonic() - begin
    equal(early < 5.0, True, f'after one second ({early:.2f})')


@test(mosquitto='waits for the delay, or forgets the will')
def without_a_session_the_delay_does_not_count(b):
    w = watcher(b, 'will/at-once')
    will = Will('will/at-once', b'gone', props={'will_delay_interval': 100})
    b.connected('will-at-once', will=will).drop()
    w.expect_message('will/at-once', b'gone')


@test
def it_comes_once(b):
    """A delayed will that was published is not published again when the session ends."""
    w = watcher(b, 'will/once')
    will = Will('will/once', b'gone', props={'will_delay_interval': 1})
    b.connected('will-once', clean_start=False, props=EXPIRY, will=will).drop()
    w.expect_message('will/once', b'gone')
    b.connected('will-once', clean_start=True).disconnect()
    no_will_came(b, w, 'will/once')


@test
def a_client_without_a_will_has_not_the_former_one(b):
    w = watcher(b, 'will/former')
    b.connected('will-former', clean_start=False, props=EXPIRY,
                will=Will('will/former', b'gone')).disconnect()
    b.connected('will-former', clean_start=False, props=EXPIRY).drop()
    no_will_came(b, w, 'will/former')


@test(each=[(V311,), (V5,)])
def retained_will_is_retained(b, version):
    topic = f'will/retained/{version}'
    w = watcher(b, topic)
    b.connected(f'will-retained-{version}', version,
                will=Will(topic, b'gone', qos=2, retain=True)).drop()
    w.expect_message(topic, b'gone', qos=2, retain=True)
    late = b.connected()
    late.subscribe(topic, qos=2)
    late.expect_message(topic, b'gone', qos=2, retain=True)


@test
def its_properties_are_those_of_the_message(b):
    w = watcher(b, 'will/props')
    pairs = [('user_property', ('k', '2')), ('user_property', ('k', '1'))]
    will = Will('will/props', 'größe'.encode(), qos=1, props=[
        ('payload_format_indicator', 1), ('message_expiry_interval', 50),
        ('content_type', 'text/plain'), ('response_topic', 'will/answer'),
        ('correlation_data', b'\0\xff'), ('will_delay_interval', 0), *pairs])
    b.connected(will=will).drop()
    m = w.expect_message('will/props', 'größe'.encode())
    equal(m.all('user_property'), [('k', '2'), ('k', '1')])
    equal(m.prop('content_type'), 'text/plain')
    equal(m.prop('response_topic'), 'will/answer')
    equal(m.prop('correlation_data'), b'\0\xff')
    equal(m.prop('payload_format_indicator'), 1)
    equal(m.prop('message_expiry_interval') in (49, 50), True,
          f'expiry {m.prop("message_expiry_interval")}')


@test
def empty_will_payload(b):
    w = watcher(b, 'will/empty')
    b.connected(will=Will('will/empty', b'')).drop()
    w.expect_message('will/empty', b'')


@test
def will_of_65535_bytes(b):
    w = watcher(b, 'will/big')
    b.connected(will=Will('will/big', b'w' * 65535, qos=1)).drop()
    w.expect_message('will/big', b'w' * 65535)


@test
def malformed_connect_leaves_no_will(b):
    """CONNECT was never accepted, so there is nothing to publish."""
    w = watcher(b, 'will/never')
    c = b.client()
    c.send(wire.connect(V5, 'will-never', will=Will('will/never', b'gone'), flags=0x07))
    p = c.recv()
    if p is not None:
        equal((p.type != DISCONNECT, p.reason), (True, 0x81))
        c.expect_end()
    no_will_came(b, w, 'will/never')
