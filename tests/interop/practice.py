#!/usr/bin/env python3
"""A practice tenant, seen and steered from outside with nothing but the standard library.

    practice.py BASE wrong            how many users are not in the teams that their roles ask for
    practice.py BASE pick N FROM      the ids of N active users, from the FROM-th on
    practice.py BASE change N FROM    gives them another role
    practice.py BASE faults JSON      what goes wrong from now on
    practice.py BASE calls METHOD_AND_ROUTE   how often it was called so far

It knows the rules of the practice tenant by itself, because it judges the program that reads them.
"""
import json
import sys
import urllib.parse
import urllib.request

RULES = {
    "HR_ENGINEER": ["team-engineering"],
    "HR_FINANCE": ["team-finance"],
    "HR_SALES": ["team-sales"],
    "HR_SUPPORT": ["team-service-desk", "team-support"],
}
MANAGED = {team for teams in RULES.values() for team in teams}

base, command, *arguments = sys.argv[1:]
parts = urllib.parse.urlsplit(base)
origin = f"{parts.scheme}://{parts.netloc}"


def call(url, body=None, headers=None):
    request = urllib.request.Request(url, body, headers or {})
    with urllib.request.urlopen(request, timeout=60) as answer:
        text = answer.read()
    return json.loads(text) if text else None


def token():
    form = b"grant_type=client_credentials&client_id=practice&client_secret=practice"
    return call(f"{origin}/oauth/token", form)["access_token"]


def users():
    headers = {"Authorization": f"Bearer {token()}"}
    found, total = {}, 1
    while len(found) < total:
        page = call(f"{base}/Users?startIndex={len(found) + 1}&count=100", None, headers)
        total = page["totalResults"]
        found.update((user["id"], user) for user in page.get("Resources", []))
    return found


def values(user, key):
    return {element["value"] for element in user.get(key, [])}


def wanted(user):
    teams = values(user, "teams") - MANAGED
    for role in values(user, "roles") if user.get("active", True) else []:
        teams.update(RULES.get(role, []))
    return teams


if command == "wrong":
    print(sum(values(user, "teams") != wanted(user) for user in users().values()))
elif command in ("pick", "change"):
    many, first = map(int, arguments)
    active = [user for _, user in sorted(users().items()) if user.get("active", True)]
    for user in active[first : first + many]:
        if command == "pick":
            print(user["id"])
        else:
            other = next(role for role in RULES if role not in values(user, "roles"))
            call(f"{origin}/practice/users/{user['id']}/roles", json.dumps([other]).encode())
elif command == "faults":
    call(f"{origin}/practice/faults", arguments[0].encode())
elif command == "calls":
    print(call(f"{origin}/practice/stats")["requests"].get(arguments[0], 0))
else:
    sys.exit(f"no command {command!r}")
