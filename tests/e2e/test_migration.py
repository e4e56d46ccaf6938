# SPDX-License-Identifier: Apache-2.0
"""tools/mosquitto-conf: a mosquitto.conf becomes a configuration that the broker takes, and means the
same; what it could not carry over is told."""
import os
import subprocess
import tempfile

from harness import PORTS, Launch, equal, test
from raw import V5, Client
from users import QUICK, QUICK_PASSWORD

ROOT = os.path.join(os.path.dirname(os.path.abspath(__file__)), '..', '..')
TOOL = os.path.join(ROOT, 'tools', 'mosquitto-conf')

THEIRS = '''\
# A house.
per_listener_settings false

listener 8883
certfile /etc/m/a.crt
keyfile /etc/m/a.key
cafile /etc/m/ca.crt
require_certificate true
use_identity_as_username true
tls_version tlsv1.3

listener 9001 127.0.0.1
protocol websockets
max_connections 50

listener 0 /run/m.sock
allow_anonymous true
log_type error
log_type notice
persistent_client_expiration 2w
max_queued_messages 0
max_inflight_messages 20
max_packet_size 65536
max_keepalive 600
retain_available false
persistence true
'''

OURS = '''\
listeners:
  - url: "tls://*:8883"  # stdin:4
    certificate: "/etc/m/a.crt"  # stdin:5
    key: "/etc/m/a.key"  # stdin:6
    client_certificate: "required"  # stdin:8
    user_from: "common_name"  # stdin:9
    tls_min: "1.3"  # stdin:10
    client_ca: "/etc/m/ca.crt"  # stdin:7
  - url: "tls://[::]:8883"  # stdin:4
    certificate: "/etc/m/a.crt"  # stdin:5
    key: "/etc/m/a.key"  # stdin:6
    client_certificate: "required"  # stdin:8
    user_from: "common_name"  # stdin:9
    tls_min: "1.3"  # stdin:10
    client_ca: "/etc/m/ca.crt"  # stdin:7
  - url: "ws://127.0.0.1:9001"  # stdin:12
    connections_max: 50  # stdin:14
  - url: "unix:///run/m.sock"  # stdin:16
allow_anonymous: true  # stdin:17
data:
  dir: "/var/lib/dunlin"  # stdin:26
limits:
  inflight_max: 20  # stdin:22
  keep_alive_max_s: 600  # stdin:24
  packet_bytes_max: 65536  # stdin:23
  receive_maximum: 20  # stdin:22
  retained_messages_max: 0  # stdin:25
  session_expiry_max_s: 1209600  # stdin:20
  session_queue_messages_max: 4294967295  # stdin:21
log:
  level: "info"  # log_type
'''


def convert(text=None, *arguments):
    """(status, what it made, what it left out, its notes)"""
    run = subprocess.run([TOOL, *arguments], input=text, capture_output=True, text=True,
                         check=False, timeout=20 * Launch.slow)
    told = run.stderr.splitlines()
    return (run.returncode, run.stdout, [line for line in told if not line.endswith(' (note)')],
            [line for line in told if line.endswith(' (note)')])


def checked(text):
    from test_process import Conf, dunlin
    status, said = dunlin('--config', Conf(text).path, '--check-config')
    equal(status, 0, f'{said}\n{text}')
    return text


@test(only='dunlin')
def a_whole_file(_b):
    status, made, left_out, _ = convert(THEIRS)
    equal((status, left_out), (0, []))
    equal(made, OURS)
    checked(made)


WHERE = {
    'the port alone': ('port 1884', ['tcp://*:1884', 'tcp://[::]:1884']),
    'the old way': ('bind_address 127.0.0.1\nport 1884', ['tcp://127.0.0.1:1884']),
    'the old way and the new': ('port 1884\nlistener 1885 ::1', ['tcp://*:1884', 'tcp://[::]:1884', 'tcp://[::1]:1885']),
    'one family': ('listener 1884\nsocket_domain ipv6', ['tcp://[::]:1884']),
    'nothing said': ('persistence false', []),
}


@test(only='dunlin', each=[(name,) for name in WHERE])
def where_it_listens(_b, name):
    text, urls = WHERE[name]
    status, made, left_out, _ = convert(text + '\n')
    equal((status, left_out), (0, []))
    equal([line.split('"')[1] for line in made.splitlines() if 'url:' in line], urls)
    checked(made)


LEFT_OUT = [  # what is left out, and what of it is told
    ('listener x', "'x' is not a port"),
    ('listener 0 relative', 'whose path begins with /'),
    ('listener 1884\nport 1885', 'means nothing'),
    ('max_keepalive often', "'often' is not a number"),
    ('max_keepalive', 'has no value'),
    ('allow_anonymous yes', 'is not true or false'),
    ('persistent_client_expiration 7', 'is not a time'),
    ('persistence_location /x\nmount_point a/', 'has no prefix'),
    ('plugin /x.so', 'there are no plugins'),
    ('plugin_opt_x y', 'it is of a plugin'),
    ('log_dest syslog', 'lines go to stderr'),
    ('log_type nonsense', 'is none of'),
    ('connection a\naddress b\ntopic # both', 'it is a bridge'),
    ('address b', 'it belongs to a bridge'),
    ('listener 1884\ncertfile a', 'certfile and keyfile go together'),
    ('listener 1884\nrequire_certificate true', 'client_certificate is for a listener with certfile'),
    ('listener 1884\ncertfile a\nkeyfile b\nuse_identity_as_username true', 'is for listeners with require_certificate'),
    ('listener 1884\nenable_proxy_protocol 2', 'add proxy_from'),
    ('tls_version tlsv1.1', 'is none of tlsv1.2'),
    ('per_listener_settings true', 'those of all listeners'),
    ('max_connectoins 5', 'there is no max_connectoins'),
    ('include_dir /nowhere', '/nowhere is no folder'),
    ('psk_file x', 'no TLS by shared keys'),
]


@test(only='dunlin', full=True, each=[(text.replace('\n', '; '),) for text, _ in LEFT_OUT])
def what_is_left_out_is_told(_b, text):
    """With its line and a reason; the rest is good."""
    text = text.replace('; ', '\n')
    why = dict(LEFT_OUT)[text]
    status, made, left_out, _ = convert(f'max_inflight_messages 7\n{text}\n')
    equal(status, 1)
    equal(any(why in line for line in left_out), True, left_out)
    equal(all(line.startswith('stdin:') for line in left_out), True, left_out)
    equal('inflight_max: 7' in made, True, made)
    if 'proxy' not in text and 'require_certificate' not in text:  # which the operator has to mend
        checked(made)


@test(only='dunlin')
def files_of_a_folder(_b):
    with tempfile.TemporaryDirectory(dir=Launch.folder) as folder:
        for name, text in (('main', f'include_dir {folder}\nmax_keepalive 3\n'), ('B.conf', 'max_keepalive 2\n'),
                           ('a.conf', 'max_keepalive 1\nnonsense\n'), ('c.txt', 'nonsense\n')):
            with open(os.path.join(folder, name), 'w', encoding='utf-8') as f:
                f.write(text)
        status, made, left_out, _ = convert(None, os.path.join(folder, 'main'))
        equal(status, 1)
        equal(made, f'limits:\n  keep_alive_max_s: 3  # {folder}/main:2\n', 'the last one counts')
        equal(left_out, [f'{folder}/a.conf:2: left out: there is no nonsense in a mosquitto.conf that is known here'])
        equal(convert(None, os.path.join(folder, 'nowhere'))[0], 1)


@test(only='dunlin')
def the_broker_does_as_it_says(b):
    """Who got in still does, by Mosquitto's own file of passwords, and nobody else."""
    folder = os.path.abspath(Launch.folder)
    passwords = f'{folder}/migrated-{os.getpid()}'
    with open(passwords, 'w', encoding='utf-8') as f:
        f.write(f'display:{QUICK}\n')
    port = PORTS.take()
    status, made, left_out, _ = convert(f'listener {port} 127.0.0.1\npassword_file {passwords}\n'
                                        'max_packet_size 2000\n')
    equal((status, left_out), (0, []))
    conf = f'{folder}/migrated-{os.getpid()}.yaml'
    with open(conf, 'w', encoding='utf-8') as f:
        f.write(made)
    b.another(arguments=['--config', conf, '--listen', f'tcp://127.0.0.1:{port}'])
    for user, password, reason in (
            ('display', QUICK_PASSWORD.encode(), 0), ('display', b'another', 0x86), (None, None, 0x87)):
        with Client(('127.0.0.1', port), V5) as c:
            connack = c.connect('migrated', expect=reason, username=user, password=password)
            if reason == 0:
                equal(connack.prop('maximum_packet_size'), 2000)
