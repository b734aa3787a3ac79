# shellcheck shell=bash
# Sourced by the scripts beside it: a practice tenant in a process of its own, a configuration for it, and what to ask of
# both. The script has set `rosterd` to the path of the program.

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
work=$(mktemp -d)
program=("$rosterd" --config "$work/rosterd.toml" --config "$work/more.toml")
tenant=
daemon=

[ -x "$rosterd" ] || { echo "there is no program at $rosterd: build it, or name it as the first argument" >&2; exit 64; }
command -v python3 >/dev/null || { echo "python3 is missing: it looks at the tenant from outside" >&2; exit 69; }

cleanup() {
    for process in $daemon $tenant; do
        kill -KILL "$process" 2>/dev/null || true
        wait "$process" 2>/dev/null || true
    done
    if [ -n "${undo:-}" ]; then eval "$undo"; fi
    rm -rf "$work"
}
trap cleanup EXIT

fail() {
    echo "FAILED: $*" >&2
    if [ -s "$work/log" ]; then tail -n 15 "$work/log" >&2; fi
    exit 1
}

# until_so SECONDS WHAT COMMAND...: polls until the command succeeds.
until_so() {
    local end=$((SECONDS + $1)) what=$2
    shift 2
    until "$@" >/dev/null 2>&1; do
        [ "$SECONDS" -lt "$end" ] || fail "it never came to this: $what"
        [ -z "$daemon" ] || kill -0 "$daemon" 2>/dev/null || fail "the daemon has ended before: $what"
        sleep 0.2
    done
}

# start_tenant ARGUMENTS...: sets `base`, and writes what it says of itself to rosterd.toml.
start_tenant() {
    "$rosterd" practice-tenant "$@" >"$work/rosterd.toml" &
    tenant=$!
    until_so 60 "the practice tenant has said its address" grep -q '^base_url' "$work/rosterd.toml"
    until_so 60 "the practice tenant has said its rules" grep -q '^HR_SUPPORT' "$work/rosterd.toml"
    base=$(sed -n 's/^base_url = "\(.*\)"$/\1/p' "$work/rosterd.toml")
    export PRACTICE_CLIENT_ID=practice PRACTICE_CLIENT_SECRET=practice
}

# configure DATABASE OVERLAP: a pass every second, so that the list calls of a quiet second are known. Half of the users
# may change within the hour.
configure() {
    cat >"$work/more.toml" <<TOML
store.url = "sqlite://$1"
audit.path = "$work/audit.jsonl"
admin.listen = "127.0.0.1:0"
[tenants.practice]
schedule = "* * * * * *"
sweep_schedule = "0 0 3 * * *"
overlap = "$2"
guard.max_removals_percent = 100
guard.max_changes_percent = 100
TOML
}

practice() { "$here/practice.py" "$base" "$@"; }

all_right() { [ "$(practice wrong)" -eq 0 ]; }

# run COMMAND...: rosterd with the configuration of this rig.
run() { "${program[@]}" "$@"; }

# start_daemon [env NAME=VALUE...]: sets `daemon`; its log is $work/log.
start_daemon() {
    "$@" "${program[@]}" run >>"$work/log" 2>>"$work/daemon.err" &
    daemon=$!
}

# said MESSAGE: how many lines of the daemon's log have it.
said() { grep -c "\"message\":\"$1\"" "$work/log" || true; }

said_more_than() { [ "$(said "$2")" -gt "$1" ]; }

# stop_daemon CODE: it ends by SIGTERM with this exit code.
stop_daemon() {
    local code=0
    kill -TERM "$daemon"
    wait "$daemon" || code=$?
    daemon=
    [ "$code" -eq "$1" ] || fail "the daemon ended with $code instead of $1"
}
