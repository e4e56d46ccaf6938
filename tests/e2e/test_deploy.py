# SPDX-License-Identifier: Apache-2.0
"""What is in deploy/, as far as it can be tried without the thing that it is for."""
import base64
import json
import os
import re
import shlex
import shutil
import subprocess
import tempfile

import yaml

from harness import Launch, equal, skip, test
from raw import V5, Client

ROOT = os.path.join(os.path.dirname(os.path.abspath(__file__)), '..', '..')
UNIT = os.path.join(ROOT, 'deploy', 'systemd', 'dunlin.service')
EXPOSURE_MOST = 20  # tenths; 0 is best


def dunlin(*arguments):
    from test_process import dunlin as run  # not at the top: its tests would be ours
    return run(*arguments)


def unit():
    """The unit's settings, the last of each name."""
    with open(UNIT, encoding='utf-8') as f:
        return dict(line.rstrip('\n').split('=', 1) for line in f if re.match(r'\w+=', line))


def defaults():
    status, dump = dunlin('--dump-config')
    equal(status, 0, dump)
    return {key: int(value) for key, value in re.findall(r'^  (\w+): (\d+)\b', dump, re.MULTILINE)}


# ---- systemd

def systemd_analyze(*arguments):
    """With the unit as it is, but for the program and the user, who are not on this machine."""
    if shutil.which('systemd-analyze') is None:
        skip('there is no systemd-analyze')
    with tempfile.TemporaryDirectory(dir=Launch.folder) as folder, open(UNIT, encoding='utf-8') as f:
        path = os.path.join(os.path.abspath(folder), 'dunlin.service')
        text = f.read().replace('/usr/bin/dunlin', os.path.abspath(Launch.program))
        with open(path, 'w', encoding='utf-8') as copy:
            copy.write(re.sub(r'^(User|Group)=dunlin$', r'\1=daemon', text, flags=re.MULTILINE))
        done = subprocess.run(['systemd-analyze', *arguments, path], stdin=subprocess.DEVNULL,
                              stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
                              check=False)
    return done.returncode, done.stdout


@test(only='dunlin')
def systemd_takes_the_unit(_b):
    equal(systemd_analyze('verify', '--man=no'), (0, ''))


@test(only='dunlin')
def the_unit_exposes_little(_b):
    status, said = systemd_analyze('security', '--offline=true', f'--threshold={EXPOSURE_MOST}')
    equal(status, 0, said)


@test(only='dunlin')
def the_command_of_the_unit_is_one(_b):
    """But for the place of the configuration, which is this repository's own."""
    program, *flags = shlex.split(unit()['ExecStart'])
    equal(program, '/usr/bin/dunlin')
    flags[flags.index('--config') + 1] = os.path.join(ROOT, 'docs', 'dunlin.yaml')
    status, said = dunlin(*flags, '--check-config')
    equal(status, 0, said)


@test(only='dunlin')
def the_unit_leaves_time_for_a_drain(_b):
    keys = defaults()
    needed = keys['wait_s'] + keys['longest_s'] + 10
    equal(int(unit()['TimeoutStopSec']) >= needed, True, f'{needed} s')


# ---- containers

@test(only='dunlin')
def the_image_comes_with_a_good_configuration(_b):
    status, said = dunlin('--config', os.path.join(ROOT, 'deploy', 'container', 'dunlin.yaml'), '--check-config')
    equal(status, 0, said)


@test(only='dunlin')
def the_seccomp_profile_permits_what_a_broker_does(_b):
    """io_uring above all; and nothing of what the broker refuses itself, but what starts it."""
    with open(os.path.join(ROOT, 'deploy', 'kubernetes', 'seccomp-dunlin.json'), encoding='utf-8') as f:
        profile = json.load(f)
    equal(profile['defaultAction'], 'SCMP_ACT_ERRNO')
    allowed = {name for rule in profile['syscalls'] if rule['action'] == 'SCMP_ACT_ALLOW' for name in rule['names']}
    equal({'io_uring_setup', 'io_uring_enter', 'io_uring_register', 'seccomp', 'execve'} - allowed, set())
    with open(os.path.join(ROOT, 'broker', 'privileges.c'), encoding='utf-8') as f:
        refused = set(re.findall(r'^    SCMP_SYS\((\w+)\),$', f.read(), re.MULTILINE))
    runtime = {'execve', 'capset', 'setuid', 'setgid', 'setgroups', 'setresuid', 'setresgid'}
    equal(len(refused) > 40, True, refused)
    equal(allowed & refused, runtime | {'io_uring_setup'})  # a ring for each shard, before it confines itself


# ---- kubernetes: what ./dev check kubernetes, which has the API's schemas, does not look at

BASE = os.path.join(ROOT, 'deploy', 'kubernetes', 'base')
SELECTED = {'app.kubernetes.io/name': 'dunlin'}


def manifests():
    """Of the base, by kind and name."""
    found = {}
    for name in os.listdir(BASE):
        with open(os.path.join(BASE, name), encoding='utf-8') as f:
            for o in yaml.safe_load_all(f):
                if isinstance(o, dict) and 'kind' in o and o['kind'] != 'Kustomization':
                    found[o['kind'], o['metadata']['name']] = o
    return found


def pod():
    stateful = manifests()['StatefulSet', 'dunlin']['spec']
    return stateful, stateful['template']['spec'], stateful['template']['spec']['containers'][0]


def configuration(*path):
    with open(os.path.join(ROOT, 'deploy', 'kubernetes', *path), encoding='utf-8') as f:
        return yaml.safe_load(f)


CONFIGURATIONS = [('base/dunlin.yaml',), ('overlays/tls/dunlin.yaml',), ('overlays/cluster/dunlin.yaml',), ('overlays/cluster-tls/dunlin.yaml',)]


@test(only='dunlin', each=CONFIGURATIONS)
def the_broker_takes_the_configuration_of_the_pods(_b, name):
    status, said = dunlin('--config', os.path.join(ROOT, 'deploy', 'kubernetes', name), '--check-config')
    equal(status, 0, said)


@test(only='dunlin', each=CONFIGURATIONS)
def the_grace_period_is_that_of_the_drain(_b, name):
    drain = configuration(name)['drain']
    _, template, container = pod()
    equal(template['terminationGracePeriodSeconds'], drain['wait_s'] + drain['longest_s'] + 10)
    probe = container['readinessProbe']
    noticed = probe['periodSeconds'] * probe['failureThreshold'] + probe['timeoutSeconds']
    equal(drain['wait_s'] >= 2 * noticed, True, 'the kubelet sees it, and has time to tell')


@test(only='dunlin', each=CONFIGURATIONS)
def the_overlay_differs_by_what_it_is_for(_b, name):
    """So that the base's configuration is not changed in one place alone."""
    base, other = configuration('base/dunlin.yaml'), configuration(name)
    extra = [one for one in other['listeners'] if one not in base['listeners']]
    equal([one['url'] for one in extra], ['tls://*:8883'] if name.startswith('overlays/tls') else [])
    cluster = other.pop('cluster', {})
    equal({**other, 'listeners': base['listeners']}, base)
    if cluster:
        first = configuration('overlays/cluster/dunlin.yaml')['cluster']
        tls = {key: value for key, value in cluster.items() if key.startswith('tls')}
        equal({**first, **tls}, cluster)
        equal(tls.get('tls'), 'required' if 'cluster-tls' in name else None)


@test(only='dunlin')
def nodes_of_the_cluster_reach_each_other(_b):
    """The port and the name of the configuration are those of the Service, the pods and the policy; the key and the
    certificates are in Secrets that the pods have."""
    cluster = configuration('overlays/cluster-tls/dunlin.yaml')['cluster']
    stateful, policy, service = (configuration('overlays/cluster', f'{name}.yaml') for name in ('statefulset', 'networkpolicy', 'service'))
    ports = {step['value']['name']: step['value'] for step in stateful if step['path'].endswith('ports/-')}
    equal({name: (p['containerPort'], p.get('protocol', 'TCP')) for name, p in ports.items()},
          {'cluster': (4000, 'TCP'), 'cluster-udp': (4000, 'UDP')})
    equal((cluster['listen'], cluster['seeds']), ('*:4000', f'{manifests()["StatefulSet", "dunlin"]["spec"]["serviceName"]}:4000'))
    equal([(s['value']['name'], s['value']['port'], s['value']['targetPort']) for s in service], [(name, 4000, name) for name in ports])
    for rule in (policy[0]['value'], policy[1]['value'][0]):
        equal([p['port'] for p in rule['ports']], [*ports])
        who, = rule.get('from', rule.get('to'))
        equal(who['podSelector']['matchLabels'], SELECTED)
    equal(cluster['key_file'], '/run/dunlin/secrets/cluster-key')
    spec = configuration('overlays/cluster-tls/statefulset.yaml')['spec']['template']['spec']
    mount, = spec['containers'][0]['volumeMounts']
    secret, = (v['secret']['secretName'] for v in spec['volumes'] if v['name'] == mount['name'])
    equal({os.path.dirname(cluster[key]) for key in cluster if key.startswith('tls_')}, {mount['mountPath']})
    with open(os.path.join(ROOT, 'deploy', 'kubernetes', 'overlays', 'cluster-tls', 'certificate.yaml'), encoding='utf-8') as f:
        nodes, = (o['spec'] for o in yaml.safe_load_all(f) if o['kind'] == 'Certificate' and o['spec']['secretName'] == secret)
    equal({'server auth', 'client auth'} <= {*nodes['usages']}, True)


@test(only='dunlin')
def what_selects_pods_selects_these(_b):
    found = manifests()
    stateful, _, _ = pod()
    equal(stateful['selector']['matchLabels'], SELECTED)
    equal(stateful['template']['metadata']['labels'], SELECTED)
    services = [o['spec'] for (kind, _), o in found.items() if kind == 'Service']
    equal(len(services), 3)
    for spec in services:
        equal(spec['selector'], SELECTED)
    equal(found['PodDisruptionBudget', 'dunlin']['spec']['selector']['matchLabels'], SELECTED)
    equal(found['NetworkPolicy', 'dunlin']['spec']['podSelector']['matchLabels'], SELECTED)
    equal(('Service', stateful['serviceName']) in found, True)
    equal(found['Service', stateful['serviceName']]['spec']['publishNotReadyAddresses'], True)


@test(only='dunlin')
def ports_are_those_of_the_configuration(_b):
    """By the listeners; and whoever names one names one that there is."""
    found = manifests()
    _, _, container = pod()
    ports = {p['name']: p['containerPort'] for p in container['ports']}
    config = configuration('base/dunlin.yaml')
    listening = {int(one['url'].rsplit(':', 1)[1]): one for one in config['listeners']}
    equal({ports['mqtt'], ports['mqtt-proxy']}, {*listening})
    equal('proxy_protocol' in listening[ports['mqtt']], False)
    equal(listening[ports['mqtt-proxy']]['proxy_protocol'], 'required')
    equal(config['admin']['listen'], f'*:{ports["admin"]}')
    named = [p['targetPort'] for (kind, _), o in found.items() if kind == 'Service' for p in o['spec']['ports']]
    named += [container[probe]['httpGet']['port'] for probe in ('startupProbe', 'livenessProbe', 'readinessProbe')]
    named += [p['port'] for rule in found['NetworkPolicy', 'dunlin']['spec']['ingress'] for p in rule['ports']]
    equal({*named}, {*ports})
    public = found['Service', 'dunlin-public']['spec']
    equal((public['type'], [p['targetPort'] for p in public['ports']]), ('LoadBalancer', ['mqtt-proxy']))


@test(only='dunlin')
def files_are_where_the_configuration_has_them(_b):
    stateful, template, container = pod()
    volumes = {v['name'] for v in template['volumes']} | {c['metadata']['name'] for c in stateful['volumeClaimTemplates']}
    mounts = {m['name']: m['mountPath'] for m in container['volumeMounts']}
    equal({*mounts}, volumes)
    config = configuration('base/dunlin.yaml')
    equal(container['args'], ['--config', f'{mounts["config"]}/dunlin.yaml'])
    equal(config['data']['dir'], mounts['data'])
    for path in (config['auth']['password_file'], config['admin']['keys_file']):
        equal(os.path.dirname(path), mounts['secrets'])


@test(only='dunlin')
def the_pod_may_do_little(_b):
    """What the Pod Security Standard `restricted` asks for, and the file system read-only."""
    _, template, container = pod()
    equal(container['securityContext'], {'allowPrivilegeEscalation': False, 'readOnlyRootFilesystem': True,
                                         'capabilities': {'drop': ['ALL']}})
    equal((template['securityContext']['runAsNonRoot'], template['securityContext']['runAsUser']), (True, 10001))
    equal(template['securityContext']['seccompProfile'], {'type': 'Localhost', 'localhostProfile': 'dunlin.json'})
    equal((template['automountServiceAccountToken'], manifests()['ServiceAccount', 'dunlin']['automountServiceAccountToken']),
          (False, False))
    for o in manifests().values():
        equal(o['kind'] in ('Role', 'RoleBinding', 'ClusterRole', 'ClusterRoleBinding', 'Secret'), False, o['kind'])


@test(only='dunlin')
def the_operators_rules_are_those_of_prometheus(_b):
    done = subprocess.run(['/usr/bin/python3', os.path.join(ROOT, 'deploy', 'kubernetes', 'monitoring.py'), '--check'],
                          capture_output=True, text=True, check=False)
    equal((done.returncode, done.stderr), (0, ''))


@test(only='dunlin')
def the_dashboard_is_where_grafanas_sidecar_finds_it(_b):
    made = configuration('monitoring', 'dashboard.yaml')
    equal((made['kind'], made['metadata']['labels']['grafana_dashboard']), ('ConfigMap', '1'))
    with open(os.path.join(ROOT, 'deploy', 'grafana', 'dashboard.json'), encoding='utf-8') as f:
        equal(json.loads(made['data']['dunlin.json']), json.load(f))
    equal('dashboard.yaml' in configuration('monitoring', 'kustomization.yaml')['resources'], True)


@test(only='dunlin')
def secrets_are_made_and_not_kept(b):
    """What the script makes lets that user in by that password, and has neither password nor key in it."""
    folder = os.path.dirname(os.path.abspath(Launch.program))
    done = subprocess.run([os.path.join(ROOT, 'deploy', 'kubernetes', 'secrets.sh'), 'device'], capture_output=True, text=True,
                          check=True, env={**os.environ, 'PATH': f'{folder}:{os.environ["PATH"]}'}, stdin=subprocess.DEVNULL)
    made = yaml.safe_load(done.stdout)
    equal((made['kind'], made['metadata']['name'], {*made['data']}), ('Secret', 'dunlin-secrets', {'users', 'admin-keys', 'cluster-key'}))
    password = re.search(r'^user device, password (\S{32})$', done.stderr, re.MULTILINE)[1]
    key = re.search(r'^dunlin_\w+$', done.stderr, re.MULTILINE)[0]
    plain = {name: base64.b64decode(text).decode() for name, text in made['data'].items()}
    equal(any(secret in text for secret in (password, key) for text in plain.values()), False)
    equal(len(base64.b64decode(plain['cluster-key'])), 32)
    users = os.path.join(os.path.abspath(Launch.folder), f'secrets-{os.getpid()}')
    with open(users, 'w', encoding='utf-8') as f:
        f.write(plain['users'])
    n = b.another({'auth.password_file': users})
    with Client(n.address, V5) as c:
        c.connect('secret', username='device', password=password.encode())
    with Client(n.address, V5) as c:
        c.connect('secret', username='device', password=b'device', expect=0x86)
