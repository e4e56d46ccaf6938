# SPDX-License-Identifier: Apache-2.0
# bash: source <(dunlinctl completion bash)
_dunlinctl()
{
    local word=${COMP_WORDS[COMP_CWORD]} before=${COMP_WORDS[COMP_CWORD - 1]} path='' words='' flags='' i
    for ((i = 1; i < COMP_CWORD; i++)); do
        case ${COMP_WORDS[i]} in
        --url | -h | --host | -p | --port | --key-file | --ca | --timeout | --rate | -i | --client-id | --user | --address | --listener | --limit | --reason | --filter | -t | --topic | --publisher | -q | --qos | --size | --for | --until | --because | -m | --message | -f | --file | -D | --property | --client | --seconds | --write | --interval)
            # A colon makes words of its own, as in a URL.
            while [[ ${COMP_WORDS[++i + 1]-} == :* ]]; do ((i++)); done
            ;;
        -*) ;;
        *) path+=" ${COMP_WORDS[i]}" ;;
        esac
    done
    case $before in
    --key-file | --ca | -f | --file | --write)
        mapfile -t COMPREPLY < <(compgen -f -- "$word")
        return
        ;;
    -q)
        mapfile -t COMPREPLY < <(compgen -W '0 1 2' -- "$word")
        return
        ;;
    --qos)
        mapfile -t COMPREPLY < <(compgen -W '0 1 2' -- "$word")
        return
        ;;
    --url | -h | --host | -p | --port | --timeout | --rate | -i | --client-id | --user | --address | --listener | --limit | --reason | --filter | -t | --topic | --publisher | --size | --for | --until | --because | -m | --message | -D | --property | --client | --seconds | --interval) return ;;
    esac
    case $path in
    '') words='node cluster partitions clients sessions subscriptions explain retained bans config log-level publish backup drain recorder trace ready live top completion man' ;;
    ' cluster') words='status drain join leave forget' ;;
    ' clients') words='list show kick' ;;
    ' sessions') words='list show delete' ;;
    ' subscriptions') words='list' ;;
    ' retained') words='list get delete' ;;
    ' bans') words='list add remove' ;;
    ' log-level') words='get set' ;;
    ' backup') words='status start' ;;
    ' drain') words='status start stop' ;;
    ' bans add') words='client user address' ;;
    ' bans remove') words='client user address' ;;
    ' log-level set') words='error warning info debug' ;;
    ' completion') words='bash' ;;
    esac
    case $path in
    ' node'*) flags='--url -h --host -p --port --key-file --ca --timeout --json --help' ;;
    ' cluster status'* | ' cluster') flags='--url -h --host -p --port --key-file --ca --timeout --json --help' ;;
    ' cluster drain'*) flags='--rate --wait --stop --url -h --host -p --port --key-file --ca --timeout --json --help' ;;
    ' cluster join'*) flags='--url -h --host -p --port --key-file --ca --timeout --json --help' ;;
    ' cluster leave'*) flags='--rate --wait --url -h --host -p --port --key-file --ca --timeout --json --help' ;;
    ' cluster forget'*) flags='--url -h --host -p --port --key-file --ca --timeout --json --help' ;;
    ' partitions'*) flags='--url -h --host -p --port --key-file --ca --timeout --json --help' ;;
    ' clients list'* | ' clients') flags='-i --client-id --user --address --listener --limit --url -h --host -p --port --key-file --ca --timeout --json --help' ;;
    ' clients show'*) flags='--url -h --host -p --port --key-file --ca --timeout --json --help' ;;
    ' clients kick'*) flags='--reason --url -h --host -p --port --key-file --ca --timeout --json --help' ;;
    ' sessions list'* | ' sessions') flags='-i --client-id --user --address --listener --limit --connected --away --url -h --host -p --port --key-file --ca --timeout --json --help' ;;
    ' sessions show'*) flags='--url -h --host -p --port --key-file --ca --timeout --json --help' ;;
    ' sessions delete'*) flags='--url -h --host -p --port --key-file --ca --timeout --json --help' ;;
    ' subscriptions list'* | ' subscriptions') flags='-i --client-id --filter -t --topic --limit --url -h --host -p --port --key-file --ca --timeout --json --help' ;;
    ' explain'*) flags='-i --client-id -t --topic --publisher -q --qos -r --retain --size --address --url -h --host -p --port --key-file --ca --timeout --json --help' ;;
    ' retained list'* | ' retained') flags='--filter --limit --url -h --host -p --port --key-file --ca --timeout --json --help' ;;
    ' retained get'*) flags='--payload --url -h --host -p --port --key-file --ca --timeout --json --help' ;;
    ' retained delete'*) flags='--url -h --host -p --port --key-file --ca --timeout --json --help' ;;
    ' bans list'* | ' bans') flags='--limit --url -h --host -p --port --key-file --ca --timeout --json --help' ;;
    ' bans add'*) flags='--for --until --because --url -h --host -p --port --key-file --ca --timeout --json --help' ;;
    ' bans remove'*) flags='--url -h --host -p --port --key-file --ca --timeout --json --help' ;;
    ' config'*) flags='--changed --url -h --host -p --port --key-file --ca --timeout --json --help' ;;
    ' log-level get'* | ' log-level') flags='--url -h --host -p --port --key-file --ca --timeout --json --help' ;;
    ' log-level set'*) flags='--url -h --host -p --port --key-file --ca --timeout --json --help' ;;
    ' publish'*) flags='-t --topic -m --message -f --file -s --stdin-file -l --stdin-line -n --null-message -q --qos -r --retain -D --property --url -h --host -p --port --key-file --ca --timeout --json --help' ;;
    ' backup status'* | ' backup') flags='--url -h --host -p --port --key-file --ca --timeout --json --help' ;;
    ' backup start'*) flags='--wait --url -h --host -p --port --key-file --ca --timeout --json --help' ;;
    ' drain status'* | ' drain') flags='--url -h --host -p --port --key-file --ca --timeout --json --help' ;;
    ' drain start'*) flags='--rate --wait --url -h --host -p --port --key-file --ca --timeout --json --help' ;;
    ' drain stop'*) flags='--url -h --host -p --port --key-file --ca --timeout --json --help' ;;
    ' recorder'*) flags='--url -h --host -p --port --key-file --ca --timeout --json --help' ;;
    ' trace'*) flags='--client -i --client-id --address -t --topic --payload --seconds --write --url -h --host -p --port --key-file --ca --timeout --json --help' ;;
    ' ready'*) flags='--url -h --host -p --port --key-file --ca --timeout --json --help' ;;
    ' live'*) flags='--url -h --host -p --port --key-file --ca --timeout --json --help' ;;
    ' top'*) flags='--once --interval --url -h --host -p --port --key-file --ca --timeout --json --help' ;;
    ' completion'*) flags='--url -h --host -p --port --key-file --ca --timeout --json --help' ;;
    ' man'*) flags='--url -h --host -p --port --key-file --ca --timeout --json --help' ;;
    *) flags='--url -h --host -p --port --key-file --ca --timeout --json --help' ;;
    esac
    [[ $word != -* ]] || words=$flags
    mapfile -t COMPREPLY < <(compgen -W "$words" -- "$word")
}
complete -F _dunlinctl dunlinctl
