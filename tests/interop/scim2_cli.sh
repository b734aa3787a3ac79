#!/usr/bin/env bash
# Lets scim2-cli, an independent judge, test the practice tenant.
#
#   tests/interop/scim2_cli.sh [path of the rosterd program]
#
# Needs python3 with venv. Prints every check that failed, and fails unless each of them is listed in
# scim2_cli.accepted: one line each, `name of the check<TAB>part of what it says<TAB>reason`.
set -euo pipefail

here=$(cd "$(dirname "$0")" && pwd)
root=$(cd "$here/../.." && pwd)
rosterd=${1:-${ROSTERD:-$root/target/debug/rosterd}}
venv=$root/target/interop/venv
accepted=$here/scim2_cli.accepted

[ -x "$rosterd" ] || { echo "there is no program at $rosterd: build it, or name it as the first argument" >&2; exit 64; }
command -v python3 >/dev/null || { echo "python3 is missing: scim2-cli needs it" >&2; exit 69; }

if [ ! -x "$venv/bin/scim" ] || ! "$venv/bin/pip" show scim2-cli 2>/dev/null | grep -q '^Version: 0\.6\.'; then
    python3 -m venv "$venv"
    "$venv/bin/pip" install --quiet --disable-pip-version-check 'scim2-cli==0.6.*'
fi

work=$(mktemp -d)
tenant=
cleanup() {
    if [ -n "$tenant" ]; then
        kill "$tenant" 2>/dev/null || true
        wait "$tenant" 2>/dev/null || true
    fi
    rm -rf "$work"
}
trap cleanup EXIT

"$rosterd" practice-tenant --users 20 >"$work/snippet" &
tenant=$!
for _ in $(seq 100); do
    base=$(sed -n 's/^base_url = "\(.*\)"$/\1/p' "$work/snippet")
    [ -n "$base" ] && break
    kill -0 "$tenant" 2>/dev/null || { echo "the practice tenant did not start" >&2; exit 1; }
    sleep 0.1
done
[ -n "$base" ] || { echo "the practice tenant did not say its address" >&2; exit 1; }
token_url=$(sed -n 's/^token_url = "\(.*\)"$/\1/p' "$work/snippet")

token=$(python3 - "$token_url" <<'PYTHON'
import json, sys, urllib.request
form = b"grant_type=client_credentials&client_id=practice&client_secret=practice"
print(json.load(urllib.request.urlopen(sys.argv[1], form))["access_token"])
PYTHON
)

# The judge's own exit code says the same less well: it cannot know what is accepted.
SCIM_CLI_HEADERS="Authorization: Bearer $token" "$venv/bin/scim" -u "$base" test >"$work/report" 2>&1 || true

python3 - "$work/report" "$accepted" <<'PYTHON'
import os, re, sys
report = open(sys.argv[1]).read()
rules = []
if os.path.exists(sys.argv[2]):
    lines = [line.rstrip("\n") for line in open(sys.argv[2]) if line.strip() and not line.startswith("#")]
    rules = [line.split("\t", 2) for line in lines]
checks = re.findall(r"^(SUCCESS|ERROR|CRITICAL|SKIPPED) (\S+)\n((?:  .*\n|(?!SUCCESS|ERROR|CRITICAL|SKIPPED).+\n)*)", report, re.M)
if not checks:
    sys.exit("scim2-cli ran no check:\n" + report)
used, failed, passed = set(), 0, 0
for status, name, text in checks:
    if status == "SUCCESS":
        passed += 1
        continue
    rule = next((i for i, r in enumerate(rules) if r[0] == name and r[1] in text), None)
    if rule is None:
        failed += 1
        print(f"{status} {name}\n{text}", end="")
    else:
        used.add(rule)
        print(f"accepted: {name}: {rules[rule][2]}")
for i, rule in enumerate(rules):
    if i not in used:
        failed += 1
        print(f"{rule[0]} is listed as accepted, but it did not fail: take the line out")
print(f"scim2-cli: {passed} passed, {failed} failed")
sys.exit(1 if failed else 0)
PYTHON
