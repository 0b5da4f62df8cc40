#!/usr/bin/python3
"""Does policies/national/COVERAGE.md say what the running lab shows?

usage: coverage.py [--worsen]        (the gateway runs; --worsen also makes RXC worse in each way that the table names, and mends it)

Measures RXA and RXB by the national baseline and holds every row against what came: `Samba` under passes must pass on RXA, `Samba` under
fails must fail on RXB, and `Samba: X` must fail on RXC while it is worse by X. Prints how many controls were seen to pass and to fail.
"""
import collections
import json
import os
import re
import subprocess
import sys

HERE = os.path.dirname(os.path.abspath(__file__))
LAB = os.path.join(HERE, "..", "..", "deploy", "lab")
TABLE = os.path.join(HERE, "..", "..", "policies", "national", "COVERAGE.md")
faults = []


def rows():
    """Control, severity, where it passes, where it fails."""
    with open(TABLE) as table:
        cells = [[cell.strip() for cell in line.split("|")[1:-1]] for line in table if line.startswith("| `")]
    return [(row[0].strip("`"), row[2], row[3].replace("`", "")) for row in cells if len(row) == 5]


def verdicts(member):
    """What every control says of a member that is measured now."""
    done = subprocess.run([f"{LAB}/gateway", "run", "assess", member, "--json"], capture_output=True, text=True, timeout=120, check=False)
    try:
        return {finding["control"]: finding["verdict"] for finding in json.loads(done.stdout)["findings"]}
    except (ValueError, KeyError):
        sys.exit(f"coverage: {member} was not measured: {done.stderr}")


def hold(found, wanted, verdict, where):
    """How many of the wanted controls have the verdict; those that have another are faults."""
    wrong = sorted(control for control in wanted if found.get(control) != verdict)
    faults.extend(f"{control}: {verdict} on {where}, says the table; it is {found.get(control)}" for control in wrong)
    return len(wanted) - len(wrong)


def worsened(kind, wanted):
    subprocess.run([f"{LAB}/lab", "worsen", "RXC", kind], check=True, timeout=60)
    try:
        found = verdicts("RXC")
    finally:
        subprocess.run([f"{LAB}/lab", "mend", "RXC"], check=True, timeout=60)
    count = hold(found, wanted, "fail", f"RXC, {kind}")
    print(f"RXC, {kind}: {count} of {len(wanted)} fail", flush=True)
    return count


def main():
    table = rows()
    good, weak = verdicts("RXA"), verdicts("RXB")
    passed = hold(good, [control for control, passes, _ in table if passes == "Samba"], "pass", "RXA")
    failed = hold(weak, [control for control, _, fails in table if fails == "Samba"], "fail", "RXB")
    kinds = collections.defaultdict(list)
    for control, _, fails in table:
        if kind := re.fullmatch(r"Samba: (\S+)", fails):
            kinds[kind[1]].append(control)
    more = sum(map(len, kinds.values()))
    told = f"{more} more fail when RXC is worse in {len(kinds)} ways (not tried now)"
    if "--worsen" in sys.argv[1:]:
        told = f"{sum(worsened(kind, wanted) for kind, wanted in sorted(kinds.items()))} of {more} more on RXC, worse in {len(kinds)} ways"
    others = collections.Counter(fails for _, _, fails in table if not fails.startswith("Samba"))
    rest = ", ".join(f"{count} only: {where}" for where, count in sorted(others.items()))
    print(f"{len(table)} controls, seen on Samba: {passed} pass on RXA, {failed} fail on RXB, {told}; fail elsewhere: {rest}")
    count = collections.Counter(good.values())
    print("RXA: " + ", ".join(f"{number} {verdict}" for verdict, number in sorted(count.items())))
    for fault in faults:
        print(f"FAIL  {fault}")
    sys.exit(1 if faults else 0)


main()
