#!/usr/bin/env bash
# A disk that is full, and one that is read-only: a clear error, no busy loop, and it goes on when space is back.
#
#   tests/interop/disk.sh [path of the rosterd program]
#   tests/interop/disk.sh --possible      whether anything can be mounted here
#
# Needs unshare (util-linux) with leave to mount in a namespace of its own, as root or in a user namespace, and python3.
# Nothing outside of that namespace sees the mounts.
set -euo pipefail

namespace() {
    if unshare --map-root-user --mount true 2>/dev/null; then
        unshare --map-root-user --mount "$@"
    else
        unshare --mount "$@"
    fi
}

if [ "${1:-}" = --possible ]; then
    namespace sh -c 'd=$(mktemp -d); mount -t tmpfs -o size=1m none "$d" && umount "$d"; s=$?; rmdir "$d"; exit $s' 2>/dev/null
    exit
fi
if [ "${1:-}" != --inside ]; then
    namespace "$0" --inside "${1:-${ROSTERD:-target/debug/rosterd}}"
    exit
fi

rosterd=$2
source "$(dirname "$0")/rig.sh"
disk=$work/disk
mkdir "$disk"
mount -t tmpfs -o size=16m none "$disk"
undo="umount --lazy $disk"

start_tenant --users 150
configure "$disk/rosterd.db" 0s

# Room that the write-ahead log already holds would do for many passes: it is given back before the rest is taken.
fill() {
    if [ -e "$disk/rosterd.db" ]; then
        python3 -c 'import sqlite3, sys
base = sqlite3.connect(sys.argv[1], timeout=30)
busy = base.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()[0]
sys.exit(busy)' "$disk/rosterd.db"
    fi
    dd if=/dev/zero of="$disk/filler" bs=4k 2>/dev/null || true
}
free() { rm "$disk/filler"; }

# refused WORDS COMMAND: the command ends with 1 and says these words.
refused() {
    local words=$1 code=0
    shift
    timeout 60 "${program[@]}" "$@" >"$work/out" 2>"$work/err" || code=$?
    [ "$code" -eq 1 ] || fail "$* ended with $code instead of 1: $(cat "$work/err")"
    grep -qi "$words" "$work/err" || fail "$* does not say \"$words\": $(cat "$work/err")"
    grep -q "^rosterd: $disk/\|^rosterd: .*database" "$work/err" || fail "$* does not name the database: $(cat "$work/err")"
    echo "disk: $*: $(grep '^rosterd: ' "$work/err")"
}

# Seconds of processor time that the daemon has used.
used() {
    awk -v tick="$(getconf CLK_TCK)" '{ sub(/.*\) /, ""); print int(($12 + $13) / tick) }' "/proc/$daemon/stat"
}

# --- It fills up while the daemon is at work.
start_daemon
until_so 60 "all users are right at the start" all_right
until_so 60 "the write-ahead log could be given back" fill
turn=0
change_until_it_fails() {
    practice change 40 $((turn++ % 3 * 40))
    grep -q '"level":"ERROR".*"reason":"the database failed: [^"]*disk is full' "$work/log"
}
until_so 60 "the daemon says that the disk is full" change_until_it_fails
lines=$(wc -l <"$work/log")
before=$(used)
sleep 10
lines=$(($(wc -l <"$work/log") - lines))
cpu=$(($(used) - before))
[ "$lines" -le 100 ] || fail "$lines lines in ten seconds on a full disk: a busy loop"
[ "$cpu" -le 5 ] || fail "$cpu s of processor time in ten seconds on a full disk: a busy loop"
free
until_so 60 "all users are right when space is back" all_right
stop_daemon 0
run sync --full >"$work/end" 2>"$work/err" || fail "a last sweep left something: $(cat "$work/end" "$work/err")"
grep -q ' 0 planned; ' "$work/end" || fail "a last sweep found something: $(cat "$work/end")"
echo "disk: full while the daemon ran: $lines lines and $cpu s of processor time in 10 s; all users right when space was back"

# --- It is full from the start, with a database and without.
practice change 40 0
fill
refused "disk is full\|no space" sync
refused "disk is full\|no space" run
configure "$disk/fresh.db" 0s
refused "disk is full\|no space" sync
free
run sync >"$work/end" 2>"$work/err" || fail "a sync with space again ended badly: $(cat "$work/end" "$work/err")"
all_right || fail "users are in the wrong teams"
echo "disk: full at the start: exit code 1 with a clear word; all users right when space was back"

# --- It is read-only.
practice change 40 40
mount -o remount,ro "$disk"
for name in fresh.db missing.db; do
    configure "$disk/$name" 0s
    refused "read-\?only" sync
    refused "read-\?only" run
done
mount -o remount,rw "$disk"
configure "$disk/fresh.db" 0s
run sync >"$work/end" 2>"$work/err" || fail "a sync that may write again ended badly: $(cat "$work/end" "$work/err")"
all_right || fail "users are in the wrong teams"
echo "disk: read-only: exit code 1 with a clear word; all users right when it could be written"
