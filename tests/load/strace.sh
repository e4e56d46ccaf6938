#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
#
# The system calls of the broker under steady load: strace.sh FOLDER_OF_PROGRAMS [RATE [SECONDS]]
#
# Eight publishers of 64-byte messages, RATE per second together, and two subscribers to all of them.
# strace begins when the load is steady and ends before the load does.
set -euo pipefail

bin=${1:?usage: strace.sh FOLDER_OF_PROGRAMS [RATE [SECONDS]]}
rate=${2:-20000}
seconds=${3:-10}
port=$((20000 + $$ % 10000))
scratch=$(mktemp -d)
broker=
load=()

end()
{
    [[ ${#load[@]} -eq 0 ]] || kill "${load[@]}" 2>/dev/null || :
    [[ -z $broker ]] || kill "$broker" 2>/dev/null || :
    wait
    rm -rf "$scratch"
}
trap end EXIT

"$bin/dunlin" --listen "tcp://127.0.0.1:$port" --log-level warning 2>"$scratch/log" &
broker=$!
until "$bin/flood" "$port" take none 0 0 >/dev/null 2>&1; do
    kill -0 "$broker" 2>/dev/null || {
        cat "$scratch/log" >&2
        exit 1
    }
    sleep 0.1
done

for _ in 1 2; do
    "$bin/flood" "$port" take 'load/#' 0 $((seconds + 4)) &
    load+=($!)
done
for n in 1 2 3 4 5 6 7 8; do
    "$bin/flood" "$port" publish "load/$n" 0 64 $((rate / 8)) $((seconds + 4)) &
    load+=($!)
done
sleep 2 # until the load is steady; what it measures is a rate
timeout --signal=INT "$seconds" strace -f -c -o "$scratch/table" -p "$broker" 2>/dev/null || :
wait "${load[@]}"
load=()
printf '\n%s messages per second in, twice that out, for %s s:\n' "$rate" "$seconds"
cat "$scratch/table"
