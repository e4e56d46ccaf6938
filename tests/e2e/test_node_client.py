# SPDX-License-Identifier: Apache-2.0
"""The npm mqtt client, by the scenarios of node/scenarios.mjs, each in a process of its own."""
import itertools
import os

from harness import Client, finish, test

NODE = os.path.join(os.path.dirname(os.path.abspath(__file__)), 'node')
BOTH = [(4,), (5,)]
SECONDS = 12


def run(b, scenario, *versions):
    if not os.path.isdir(os.path.join(NODE, 'node_modules')):
        raise AssertionError(f'run `npm ci` in {NODE}; ./dev test does')
    timeout = 2 * Client.timeout
    finish(b.run('node', os.path.join(NODE, 'scenarios.mjs'), scenario, str(b.port),
                 *map(str, versions), env={**os.environ, 'TIMEOUT_MS': str(int(timeout * 1000))}),
           timeout + 5)


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
