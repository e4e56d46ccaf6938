# SPDX-License-Identifier: Apache-2.0
"""Whatever the fields hold, each JSON line is JSON and each logfmt line splits into its fields.

Run as: log_json.py PROGRAM, where PROGRAM FORMAT SEED writes 5,000 lines of random fields.
"""
import json
import random
import re
import subprocess
import sys

FIELD = re.compile(r'([a-z0-9_]+)=("(?:[^"\\\x00-\x1f]|\\["\\nrt]|\\u[0-9a-f]{4})*"|[^\s"=\\]+)')


def lines(program, form, seed):
    out = subprocess.run([program, form, str(seed)], stdout=subprocess.PIPE, check=True).stdout
    assert out.endswith(b"\n")
    return out.decode("utf-8").split("\n")[:-1]


def unquote(value):
    return json.loads(value) if value.startswith('"') else value


def logfmt(line):
    fields, at = {}, 0
    while at < len(line):
        match = FIELD.match(line, at)
        assert match, line
        assert match.group(1) not in fields, line
        fields[match.group(1)] = unquote(match.group(2))
        at = match.end()
        assert at == len(line) or line[at] == " ", line
        at += 1
    return fields


def main(program):
    seed = random.randrange(1, 1 << 40)
    print("seed", seed)
    as_json = [json.loads(line) for line in lines(program, "json", seed)]
    as_logfmt = [logfmt(line) for line in lines(program, "logfmt", seed)]
    assert len(as_json) == len(as_logfmt) == 5000
    for one, other in zip(as_json, as_logfmt):
        plain = {k: str(v).lower() if isinstance(v, bool) else str(v) for k, v in one.items()}
        assert plain == other, (plain, other)


if __name__ == "__main__":
    main(sys.argv[1])
