#!/usr/bin/python3
"""What a domain controller of the running lab was asked while it was assessed, from the controller's own log.

usage: requests_seen.py [PORTCULLIS]        (the gateway must not run: its requests would be counted, too)

Samba writes every LDAP request down at debug level 10: the kind of operation, and of a search each attribute. The level is raised for one
assessment with `portcullis check` by the national baseline, card included, and for a control: a write and a search for a secret by others,
which must be told apart. Exit 0: nothing but binds, searches and StartTLS came, and no attribute that holds a secret was asked for.
"""
import collections
import os
import re
import subprocess
import sys
import tempfile
import time

LAB, PKI, ADDRESS = os.environ["PORTCULLIS_LAB"], os.environ["LAB_PKI"], os.environ["LAB_RXA"]
FOLDER = f"{LAB}/member/rxa"
LOG, CONFIG = f"{FOLDER}/log/stdout", f"{FOLDER}/etc/smb.conf"
ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
ACCOUNT = "svc-portcullis@rxa.trust.test"
# the one extended request that Samba knows is StartTLS (source4/ldap_server, extended_ops); it writes no OID down
HARMLESS = {"BindRequest", "UnbindRequest", "SearchRequest", "AbandonRequest", "ExtendedRequest"}
# MS-ADTS 3.1.1.3.1.1.4 and 3.1.1.4.4, MS-LAPS and its predecessor: whatever is or holds a password or its hash
SECRETS = re.compile(r"^(unicodepwd|dbcspwd|ntpwdhistory|lmpwdhistory|supplementalcredentials|ms-mcs-admpwd|msds-managedpassword(id|previousid)?"
                     r"|mslaps-(encrypted)?(dsrm)?password(history)?|userpassword|unixuserpassword|currentvalue|priorvalue|trustauthincoming"
                     r"|trustauthoutgoing|initialauthincoming|initialauthoutgoing|msfve-recoverypassword|pekl?ist|msds-keycredentiallink-by|\*)$")


def controller():
    """The process whose children serve LDAP for RXA."""
    tasks = subprocess.run(["pgrep", "-f", r"samba: task\[ldapsrv\]"], capture_output=True, text=True, check=False).stdout.split()
    for task in tasks:
        files = (os.path.realpath(f"/proc/{task}/fd/{number}") for number in os.listdir(f"/proc/{task}/fd"))
        if any(file.startswith(FOLDER + "/") for file in files):
            return task
    sys.exit("requests_seen: no LDAP server of RXA runs; bring the lab up with deploy/lab/lab up")


def level(task, words):
    subprocess.run(["smbcontrol", "-s", CONFIG, task, "debug", words], check=True)
    time.sleep(1)


def during(work):
    """Which operations came while `work` was done, and which attributes were asked for."""
    with open(LOG, errors="replace") as log:
        log.seek(0, os.SEEK_END)
        work()
        time.sleep(1)
        lines = log.readlines()
    operations, attributes = collections.Counter(), collections.Counter()
    for line in lines:
        asked = re.match(r"\s*(?:ldapsrv_)?SearchRequest: attrs: \[(.*)\]", line)
        if asked:
            attributes[asked.group(1).lower()] += 1
        kind = re.match(r"\s*(Modify|Add|Del|ModifyDN|Compare)Request dn: |\s*(Unbind|Abandon)Request$|\s*(Extended)$"
                        r"|\s*(?:ldapsrv_)?(Search)Request: scope: ", line)
        if kind:
            operations[next(filter(None, kind.groups())) + "Request"] += 1
        if '"serviceDescription": "LDAP"' in line and '"type": "Authentication"' in line:
            operations["BindRequest"] += 1
    return operations, attributes


def assess(binary):
    with tempfile.TemporaryDirectory() as folder:
        def secret(name, text):
            path = f"{folder}/{name}"
            with open(os.open(path, os.O_WRONLY | os.O_CREAT, 0o600), "w") as file:
                file.write(text)
            return path
        command = [binary, "check", ADDRESS, "--tls-name", "dc1.rxa.trust.test", "--bind-dn", ACCOUNT, "--base-dn", os.environ["LAB_RXA_BASE"],
                   "--password-file", secret("password", os.environ["LAB_SERVICE_PASSWORD"]), "--policy", f"{ROOT}/policies",
                   "--anchors", os.environ["LAB_CA"], "--json", "--card-principal", "card-monitor@RXA.TRUST.TEST",
                   "--card-identity", f"FILE:{PKI}/good/sc-rxa-monitor.crt,{PKI}/good/sc-rxa-monitor.key",
                   "--card-password-file", secret("card", os.environ["LAB_USER_PASSWORD"])]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode not in (0, 1, 2) or '"findings"' not in done.stdout:
        sys.exit(f"requests_seen: the assessment did not end: {done.stderr}")
    passed = done.stdout.count('"verdict":"pass"') + done.stdout.count('"verdict": "pass"')
    print(f"assessed: {passed} controls pass")
    if passed < 100:
        sys.exit(f"requests_seen: too little was read to prove anything: {done.stderr}")


def control():
    """A write that is refused, and a search for a secret, as somebody else might send them."""
    ours = ["-x", "-H", f"ldaps://{ADDRESS}", "-D", ACCOUNT, "-w", os.environ["LAB_SERVICE_PASSWORD"]]
    environment = {**os.environ, "LDAPTLS_CACERT": os.environ["LAB_CA"]}
    base = os.environ["LAB_RXA_BASE"]
    write = f"dn: CN=nobody,{base}\nchangetype: modify\nreplace: description\ndescription: x\n"
    subprocess.run(["ldapmodify", *ours], input=write, text=True, capture_output=True, env=environment, check=False)
    subprocess.run(["ldapsearch", *ours, "-b", base, "-s", "base", "unicodePwd"], capture_output=True, env=environment, check=False)


def main():
    binary = sys.argv[1] if len(sys.argv) > 1 else f"{os.environ.get('CARGO_TARGET_DIR', ROOT + '/target')}/debug/portcullis"
    task = controller()
    level(task, "10")
    try:
        operations, attributes = during(lambda: assess(binary))
        seen, asked = during(control)
    finally:
        level(task, "1 kerberos:3 auth_json_audit:3")
    bad = {kind: count for kind, count in operations.items() if kind not in HARMLESS}
    secrets = sorted(name for name in attributes if SECRETS.match(name))
    told = ", ".join(f"{count} {kind}" for kind, count in sorted(operations.items()))
    print(f"the controller's log: {told}; {len(attributes)} attributes asked for, {len(secrets)} of them secret")
    faults = [f"a request that is no read: {kind}, {count} times" for kind, count in bad.items()]
    faults += [f"an attribute that holds a secret was asked for: {name}" for name in secrets]
    if operations["SearchRequest"] < 20 or operations["BindRequest"] < 1 or len(attributes) < 40:
        faults.append("the log shows too little: it proves nothing")
    if seen["ModifyRequest"] != 1 or "unicodepwd" not in asked:
        faults.append(f"the control was not seen: {dict(seen)}, {sorted(asked)}")
    else:
        print("control: a write and a search for unicodePwd by others are seen in the same log")
    for fault in faults:
        print(f"FAIL  {fault}")
    sys.exit(1 if faults else 0)


main()
