# SPDX-License-Identifier: Apache-2.0
"""Nodes with cluster.replicas (docs/cluster.md, "Replicated sessions"): who is a member, and who leads what."""
import tempfile

from api import Api
from cluster import SECONDS, Member, folder, know_each_other
from ctl import TOOL, environment, run
from harness import Launch, equal, test, wait_until

PARTITIONS = 64


class Replica(Member):
    """A node of a cluster whose sessions are replicated, with a directory that outlives its process."""

    def __init__(self, b, number, seeds, data_dir=None, replicas=3, **settings):
        self.data_dir = data_dir or tempfile.mkdtemp(prefix='data-', dir=folder())
        super().__init__(b, number, seeds, of=Api, cluster__replicas=replicas, data__dir=self.data_dir,
                         cluster__zone=f'z{number}', node__shards=2, **settings)
        self.env = environment(f'http://127.0.0.1:{self.asked.port}', self.asked.keys.admin)

    def ctl(self, line):
        status, out, err = run(line, self.env)
        equal((status, err), (0, ''), f'{TOOL} {line}')
        return out.decode()

    def partitions(self):
        return self.asked.get('/cluster/partitions')['items']

    def replication(self):
        return self.asked.get('/cluster')['replication']

    def figure_of(self, name):
        _, _, text = self.asked.raw('GET', '/metrics')
        return next(float(line.split()[1]) for line in text.splitlines() if line.startswith(f'dunlin_{name} '))

    def leads(self):
        return {p['partition'] for p in self.partitions() if p['role'] == 'leads'}


def all_are_led(members):
    led = [m.leads() for m in members]
    return sum(map(len, led)) == PARTITIONS and len(set().union(*led)) == PARTITIONS


def wait_led(members, timeout=SECONDS):
    wait_until(lambda: all_are_led(members), timeout * Launch.slow, 'all partitions to be led')


def formed(b, **settings):
    first = Replica(b, 1, [], **settings)
    members = [first, Replica(b, 2, [first], **settings), Replica(b, 3, [first], **settings)]
    know_each_other(*members)
    wait_led(members)
    return members


@test(only='dunlin', timeout=120)
def three_nodes_form_a_cluster(b):
    """They have numbers, agree on who they are, and each partition has one leader."""
    members = formed(b, cluster__initial_size=3)
    numbers = {m.replication()['number'] for m in members}
    equal(numbers, {1, 2, 3}, 'their numbers')
    for m in members:
        r = m.replication()
        equal((r['replicas'], len(r['members'])), (3, 3), 'what each knows')
        equal({x['zone'] for x in r['members']}, {'z1', 'z2', 'z3'}, 'zones')
        equal({tuple(sorted(p['replicas'])) for p in m.partitions()}, {(1, 2, 3)}, 'replicas')
        equal(m.figure_of('meta_members'), 3, 'dunlin_meta_members')
    leaders = {m.name for m in members}
    for p in members[0].partitions():
        equal(p['leader_name'] in leaders, True, f'leader of {p["partition"]}')
    said = members[0].ctl('partitions')
    equal(said.startswith('64 partitions; this node leads '), True, said)
    equal(len(said.splitlines()), 3 + PARTITIONS, 'lines')
    equal('3 replicas of each kept session; 3 members, this one is ' in members[0].ctl('cluster status'), True, 'cluster status')


@test(only='dunlin', timeout=180)
def it_goes_on_without_one_and_takes_it_back(b):
    """The others lead what it has led; started again it has its number, and follows."""
    members = formed(b)
    number = members[2].replication()['number']
    members[2].kill()
    wait_led(members[:2], 30)
    back = Replica(b, 4, [members[0]], data_dir=members[2].data_dir)
    wait_until(lambda: back.replication()['number'] == number, SECONDS * Launch.slow, 'its number')
    wait_until(lambda: sum(p['role'] in ('follows', 'leads') for p in back.partitions()) == PARTITIONS,
               SECONDS * Launch.slow, 'its partitions')
    wait_led([members[0], members[1], back])


@test(only='dunlin', timeout=180)
def one_that_comes_later_is_a_member_without_partitions(b):
    members = formed(b)
    late = Replica(b, 5, [members[0]])
    wait_until(lambda: late.replication()['number'] == 4, SECONDS * Launch.slow, 'its number')
    wait_until(lambda: len(late.replication()['members']) == 4, SECONDS * Launch.slow, 'what it knows')
    equal({p['role'] for p in late.partitions()}, {'absent'}, 'its partitions')
    wait_led(members)


@test(only='dunlin', timeout=120)
def two_of_three_wait(b):
    """Nobody forms a cluster of fewer; and both say so."""
    first = Replica(b, 1, [])
    second = Replica(b, 2, [first])
    know_each_other(first, second)
    for m in (first, second):
        said = m.waits('cluster_not_formed', timeout=30)
        equal(said['initial_size'], '3', 'initial_size')
        equal(m.replication()['number'], None, 'number')
        equal(m.partitions(), [], 'partitions')
        equal(m.figure_of('meta_waiting'), 1, 'dunlin_meta_waiting')


@test(only='dunlin', timeout=60)
def without_replicas_there_are_no_partitions(b):
    api = Api(b, {})
    equal('cluster.replicas' in api.refused(409, '/cluster/partitions'), True)
