#!/usr/bin/env bash
# Lets systemd check the unit, and rosterd the configuration beside it.
#
#   deploy/systemd/verify.sh [path of the rosterd program]
#
# Installs nothing: systemd looks at a copy of the unit that names the given program instead of the
# installed one, and is asked for nothing that needs a running systemd.
set -euo pipefail

here=$(cd "$(dirname "$0")" && pwd)
rosterd=${1:-$here/../../target/debug/rosterd}
unit=$here/rosterd.service
# Exposure by `systemd-analyze security`, times ten: 0 is best. What is left of it is the network.
most_exposed=12

[ -x "$rosterd" ] || { echo "there is no program at $rosterd: build it, or name it as the first argument" >&2; exit 64; }
command -v systemd-analyze >/dev/null || { echo "systemd-analyze is missing" >&2; exit 69; }

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

sed "s|^ExecStart=/usr/local/bin/rosterd |ExecStart=$rosterd |" "$unit" >"$work/rosterd.service"
grep -q "^ExecStart=$rosterd " "$work/rosterd.service" || { echo "$unit does not start /usr/local/bin/rosterd" >&2; exit 1; }

# It says what is wrong and still ends with 0 where it can go on, so silence is what counts.
said=$(systemd-analyze verify --recursive-errors=no "$work/rosterd.service" 2>&1) || { echo "$said"; exit 1; }
if grep -F 'rosterd.service' <<<"$said"; then exit 1; fi

systemd-analyze security --offline=yes --no-pager --threshold="$most_exposed" "$work/rosterd.service" >"$work/security" \
    || { cat "$work/security"; exit 1; }
tail -n 1 "$work/security"

# The credentials that systemd would hand over.
mkdir "$work/credentials"
sed -n 's/^LoadCredential=\([^:]*\):.*/\1/p' "$unit" | while read -r name; do
    echo "not a secret" >"$work/credentials/$name"
done
env -i CREDENTIALS_DIRECTORY="$work/credentials" "$rosterd" --config "$here/rosterd.toml" config check
