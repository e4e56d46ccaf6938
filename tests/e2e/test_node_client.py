# SPDX-License-Identifier: Apache-2.0
"""The npm mqtt client, by the scenarios of node/scenarios.mjs, each in a process of its own; and in a
browser, by node/browser.mjs."""
import itertools
import os

from harness import PORTS, Client, equal, finish, test
from pki import pki
from token_house import Keys, house, key

NODE = os.path.join(os.path.dirname(os.path.abspath(__file__)), 'node')
BOTH = [(4,), (5,)]
SECONDS = 35
SCHEMES = ('mqtts', 'ws', 'wss')
CHROMIUM = '/usr/bin/chromium'
PAGE_PORT = PORTS.take()  # of the page that may connect to the listener `origin`


def LISTENERS():
    tls = {'certificate': pki().chain('server'), 'key': pki().key('server')}
    return {'mqtts': {'url': 'tls://{}', **tls}, 'ws': {'url': 'ws://{}/mqtt'},
            'wss': {'url': 'wss://{}/mqtt', **tls},
            'origin': {'url': 'ws://{}/mqtt', 'origins': f'http://localhost:{PAGE_PORT}'}}


def run(b, scenario, *versions, scheme='mqtt', **more):
    if not os.path.isdir(os.path.join(NODE, 'node_modules')):
        raise AssertionError(f'run `npm ci` in {NODE}; ./dev test does')
    timeout = 2 * Client.timeout
    url = f'mqtt://127.0.0.1:{b.port}' if scheme == 'mqtt' else \
        f'{scheme}://localhost:{b.at[scheme][1]}{"/mqtt" if scheme.startswith("ws") else ""}'
    environment = {**os.environ, 'TIMEOUT_MS': str(int(timeout * 1000)), **more}
    if scheme in ('mqtts', 'wss'):
        environment['CA'] = pki().certificate('root')
    finish(b.run('node', os.path.join(NODE, 'scenarios.mjs'), scenario, url, *map(str, versions),
                 env=environment), timeout + 5)


@test(each=list(itertools.product((3, 4, 5), repeat=2)))
def publish_reaches(b, publisher, subscriber):
    run(b, 'publish_reaches', publisher, subscriber)


@test(each=BOTH)
def retained_is_replayed_and_cleared(b, version):
    run(b, 'retained_is_replayed_and_cleared', version)


@test(each=BOTH)
def vanished_client_leaves_its_will(b, version):
    run(b, 'vanished_client_leaves_its_will', version)


@test(each=BOTH)
def share_gives_each_message_to_one_member(b, version):
    run(b, 'share_gives_each_message_to_one_member', version)


@test(each=BOTH)
def session_resumes_with_what_was_queued(b, version):
    run(b, 'session_resumes_with_what_was_queued', version)


@test
def properties_pass_unaltered(b):
    run(b, 'properties_pass_unaltered', 5)


@test
def subscription_identifiers(b):
    run(b, 'subscription_identifiers', 5)


@test
def message_expiry_counts_down(b):
    run(b, 'message_expiry_counts_down', 5)


@test
def topic_aliases(b):
    run(b, 'topic_aliases', 5)


@test(only='dunlin')
def token_is_renewed(b):
    mine = key('HS256')
    other = house(b, Keys(mine))
    run(other, 'token_is_renewed', 5, TOKEN=mine.token(sub='alice', acl=[{'permission': 'deny', 'topic': '#'}]),
        RENEWAL=mine.token(sub='alice'))
    counters = other.counters('logins_renewed')
    equal((counters['logins_accepted'], counters['logins_renewed']), (1, 1))


# ---- By other transports

@test(only='dunlin', each=[(scheme, version) for scheme in SCHEMES for version in (3, 4, 5)])
def publish_reaches_by(b, scheme, version):
    run(b, 'publish_reaches', version, version, scheme=scheme)


@test(only='dunlin', each=[(scheme, version) for scheme in SCHEMES for version in (4, 5)])
def vanished_client_leaves_its_will_by(b, scheme, version):
    run(b, 'vanished_client_leaves_its_will', version, scheme=scheme)


@test(only='dunlin', each=[(scheme, version) for scheme in SCHEMES for version in (4, 5)])
def session_resumes_with_what_was_queued_by(b, scheme, version):
    run(b, 'session_resumes_with_what_was_queued', version, scheme=scheme)


@test(only='dunlin', each=[(scheme,) for scheme in SCHEMES])
def properties_pass_unaltered_by(b, scheme):
    run(b, 'properties_pass_unaltered', 5, scheme=scheme)


# ---- In a browser

def browse(b, at, *versions, **environment):
    """(exit status, what it said)"""
    if not os.path.exists(CHROMIUM):
        raise AssertionError(f'there is no {CHROMIUM}; ./dev test installs it')
    timeout = 6 * Client.timeout  # its start takes seconds on a busy machine
    url = f'{at if at == "wss" else "ws"}://localhost:{b.at[at][1]}/mqtt'
    process = b.run('node', os.path.join(NODE, 'browser.mjs'), CHROMIUM, url, *map(str, versions),
                    env={**os.environ, 'TIMEOUT_MS': str(int(timeout * 1000)), **environment})
    out, _ = process.communicate(timeout=timeout + 10)
    return process.returncode, out


@test(only='dunlin', timeout=90, each=[('ws',), ('wss',)])
def page_in_a_browser(b, at):
    status, said = browse(b, at, 3, 4, 5)
    equal(status, 0, said)


@test(only='dunlin', timeout=90)
def page_of_a_listed_origin(b):
    status, said = browse(b, 'origin', 5, PAGE_PORT=str(PAGE_PORT))
    equal(status, 0, said)


@test(only='dunlin', timeout=90)
def page_of_another_origin_stays_outside(b):
    since = b.log_size()
    status, said = browse(b, 'origin', 5)
    equal(status != 0, True, said)
    equal('403' in said, True, said)
    b.one_event('websocket_refused', since)
