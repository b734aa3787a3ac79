#!/usr/bin/env bash
# Our clock jumps an hour, forwards and backwards, while the daemon is at work: nothing is lost, and no storm starts.
#
#   tests/interop/clock.sh [path of the rosterd program]
#
# Needs libfaketime (Debian: faketime) and python3. Only the daemon's wall clock jumps; the practice tenant's does not, and
# neither does the monotonic clock, which no settime can move.
set -euo pipefail

rosterd=${1:-${ROSTERD:-target/debug/rosterd}}
source "$(dirname "$0")/rig.sh"

# shellcheck disable=SC2012 # the names are the packages'
library=$(ls /usr/lib/*/faketime/libfaketimeMT.so.1 /usr/lib64/faketime/libfaketimeMT.so.1 /usr/lib/faketime/libfaketimeMT.so.1 2>/dev/null | head -n 1) ||
    true
[ -n "$library" ] || { echo "libfaketime is missing" >&2; exit 69; }

start_tenant --users 150
configure "$work/rosterd.db" 2m

# jump OFFSET: from now on the daemon's clock is that far from the true one.
jump() {
    echo "$1" >"$work/faketime.new"
    mv "$work/faketime.new" "$work/faketime"
}

passes_since() { tail -n +"$(($1 + 1))" "$work/log" | grep -c '"message":"pass finished"' || true; }
lines() { wc -l <"$work/log"; }

# The watermark must not lie ahead of the true time, or changes would be passed by.
watermark_is_past() {
    python3 - "$(run status --json)" <<'PYTHON' || fail "the watermark lies in the future"
import datetime, json, sys
watermark = json.loads(sys.argv[1])["tenants"][0]["watermark"]
now = datetime.datetime.now(datetime.timezone.utc)
sys.exit(datetime.datetime.fromisoformat(watermark.replace("Z", "+00:00")) > now)
PYTHON
}

jump +0
start_daemon env LD_PRELOAD="$library" FAKETIME_TIMESTAMP_FILE="$work/faketime" FAKETIME_NO_CACHE=1 NO_FAKE_STAT=1 \
    FAKETIME_DONT_FAKE_MONOTONIC=1 DONT_FAKE_MONOTONIC=1
until_so 60 "all users are right at the start" all_right

# jumped OFFSET: the last line of the log was written at a time that is that far from the true one.
jumped() {
    python3 - "$1" "$(tail -n 1 "$work/log")" <<'PYTHON' || fail "the daemon's clock has not jumped to $1"
import datetime, json, sys
at = datetime.datetime.fromisoformat(json.loads(sys.argv[2])["timestamp"].replace("Z", "+00:00"))
ahead = (at - datetime.datetime.now(datetime.timezone.utc)).total_seconds()
sys.exit(abs(ahead - int(sys.argv[1])) > 120)
PYTHON
}

# write_and_wait FROM: five writes have failed more than once, and wait for their next attempt.
write_and_wait() {
    local failing failures
    failing=$(practice pick 5 "$1" | sed 's/.*/"&": 503/' | paste -sd,)
    practice faults "{\"fail_users\": {$failing}}"
    failures=$(said "attempt failed")
    practice change 5 "$1"
    until_so 60 "writes have failed, and wait" said_more_than $((failures + 12)) "attempt failed"
}

# The clock jumps in the middle of passes, with users who have just changed, and with writes that wait.
first=0
for offset in +3600 +0 -3600 +0; do
    began=$SECONDS
    from=$(lines)
    write_and_wait "$first"
    jump "$offset"
    practice change 20 $((first + 5))
    sleep 2
    practice faults '{}'
    until_so 90 "all users are right after the jump to $offset" all_right
    jumped "$offset"
    watermark_is_past
    first=$((first + 25))
    took=$((SECONDS - began))
    passes=$(passes_since "$from")
    [ "$passes" -le $((2 * took + 5)) ] || fail "$passes passes in $took s after the jump to $offset: a storm"
    [ "$passes" -ge 1 ] || fail "no pass after the jump to $offset"
    echo "clock: jump to $offset: all users right after $took s, $passes passes"
done

errors=$(grep -c '"level":"ERROR"' "$work/log" || true)
[ "$errors" -eq 0 ] || fail "the log has $errors errors"
stop_daemon 0
run sync --full >"$work/end" || fail "a last sweep left something: $(cat "$work/end")"
grep -q ' 0 planned; ' "$work/end" || fail "a last sweep found something: $(cat "$work/end")"
all_right || fail "users are in the wrong teams"
echo "clock: nothing lost, no storm"
