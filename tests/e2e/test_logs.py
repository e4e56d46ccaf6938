# SPDX-License-Identifier: Apache-2.0
"""Lines of the log that an operator acts on name whom, where and why."""
from harness import equal, test, wait_until


# ---- Whom, where, and why

def lines_of(b, name, since, **fields):
    return wait_until(lambda: [e for e in b.events(name, since) if fields.items() <= e.items()],
                      what=f'a line {name} with {fields}')


def peer_of(client):
    return '{}:{}'.format(*client.sock.getsockname())


@test(only='dunlin')
def who_takes_over_from_whom(b):
    since = b.log_size()
    former = b.connected('two-of-it')
    later = b.connected('two-of-it')
    line, = lines_of(b, 'session_taken_over', since, client_id='two-of-it')
    equal((line['peer'], line['by']), (peer_of(former), peer_of(later)))


@test(only='dunlin')
def which_filter_was_one_too_many(b):
    other = b.another({'limits.subscriptions_per_session_max': 1})
    other.connected('meter-7').subscribe('a/#', 'b/#', expect=(0, 0x97))
    line = other.one_event('subscribe_refused')
    equal([line[key] for key in ('client_id', 'filter', 'reason')],
          ['meter-7', 'b/#', 'subscriptions_per_session_max'])


@test(only='dunlin')
def which_listener_is_full_and_where_nothing_was_said(b):
    """Up to a hundred more than it may have are let in, to be told so; the others are closed at once."""
    url = 'tcp://{}'
    other = b.another({'limits.connect_timeout_s': 1}, listeners={'few': {'url': url, 'connections_max': 1}})
    url = url.format('{}:{}'.format(*other.at['few']))
    silent = [other.dial('few') for _ in range(110)]
    for event, reason in ('connection_refused', 'connections_max'), ('connect_timed_out', None):
        line = lines_of(other, event, 0)[0]
        equal((line['listener'], line.get('reason')), (url, reason), event)
    equal(len(silent), 110)


@test(only='dunlin')
def what_to_do_when_there_are_no_descriptors(b):
    other = b.another(descriptors=100)
    silent = [other.dial() for _ in range(120)]
    line = lines_of(other, 'accept_failed', 0)[0]
    equal((line['listener'], 'LimitNOFILE=' in line['remedy']), ('tcp://{}:{}'.format(*other.address), True), line)
    equal(len(silent), 120)
