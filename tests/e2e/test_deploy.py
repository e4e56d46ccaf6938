# SPDX-License-Identifier: Apache-2.0
"""What is in deploy/, as far as it can be tried without the thing that it is for."""
import json
import os
import re
import shlex
import shutil
import subprocess
import tempfile

from harness import Launch, equal, skip, test

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
    equal(allowed & refused, runtime)
