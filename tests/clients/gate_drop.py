"""A gate drops while a client is asking: how soon, and what becomes of a search in flight."""
import datetime
import json
import os
import subprocess
import sys
import time

import ldap

from front import connect

HERE = os.path.dirname(os.path.abspath(__file__))
LAB = os.path.join(HERE, "..", "..", "deploy", "lab")
REQUESTER = "connector-rxa"
INTERVAL = float(os.environ["LAB_ASSESS_SECONDS"])
RXC = "ou=RXC,o=federation"
bad = 0


def lab(*arguments):
    subprocess.run([f"{LAB}/lab", *arguments], check=True, timeout=60)


def portcullis(*arguments):
    return subprocess.run([f"{LAB}/gateway", "run", *arguments], capture_output=True, text=True, timeout=60)


def check(what, good, detail=""):
    global bad
    print(f"ok    {what}" if good else f"FAIL  {what}: {detail}", flush=True)
    bad |= not good


def until(wanted, limit):
    """Seconds until a lookup in RXC is answered as wanted, or None."""
    connection, began = connect(REQUESTER), time.monotonic()
    while time.monotonic() - began < limit:
        try:
            is_open = bool(connection.search_s(RXC, ldap.SCOPE_SUBTREE, "(uid=alice)", ["cn"]))
        except (ldap.NO_SUCH_OBJECT, ldap.INSUFFICIENT_ACCESS):
            is_open = False
        except (ldap.UNAVAILABLE, ldap.TIMELIMIT_EXCEEDED):
            time.sleep(0.05)
            continue
        if is_open == wanted:
            return time.monotonic() - began
        time.sleep(0.05)
    return None


def worsened():
    lab("worsen", "RXC", "privileged-without-smartcard")
    took = until(False, INTERVAL + 20)
    check(f"closed within an assessment interval and a second (took {took and round(took, 2)} s)", took is not None and took <= INTERVAL + 1, took)
    lab("mend", "RXC")
    took = until(True, 120)
    check(f"open again when mended (took {took and round(took, 2)} s)", took is not None)


def hung():
    """RXC's controller takes connections and says nothing: not known is not met."""
    lab("worsen", "RXC", "hang")
    took = until(False, INTERVAL + 20)
    check(f"a hanging controller: closed within an interval and a second (took {took and round(took, 2)} s)", took is not None and took <= INTERVAL + 1, took)
    lab("mend", "RXC")
    took = until(True, 120)
    check(f"open again when it answers (took {took and round(took, 2)} s)", took is not None)


def closed_record():
    """The record of the gate's closing; a gate closes first and is recorded after."""
    began = time.monotonic()
    while time.monotonic() - began < 10:
        history = json.loads(portcullis("--json", "gate", "history", "RXC", "--grant", "lookup", "--limit", "1").stdout)
        if history and history[0]["state"] == "closed":
            return history[0]
        time.sleep(0.05)
    raise LookupError("the closing was not recorded")


def in_flight():
    """RXC's controller stops answering, so the search hangs; then an officer suspends RXC."""
    connection = connect(REQUESTER)
    connection.search_s(RXC, ldap.SCOPE_SUBTREE, "(uid=alice)", ["cn"])
    lab("worsen", "RXC", "hang")
    try:
        message = connection.search(RXC, ldap.SCOPE_SUBTREE, "(objectClass=person)", ["cn"])
        time.sleep(0.3)
        portcullis("member", "suspend", "RXC", "--reason", "a search in flight must end")
        ended = None
        try:
            connection.result(message, timeout=5)
            ended = "success"
        except ldap.LDAPError as error:
            ended = type(error).__name__
        at = datetime.datetime.now(datetime.timezone.utc)
        record = closed_record()
        decided = datetime.datetime.fromisoformat(record["at"][:26].rstrip("Z") + "+00:00")
        passed = (at - decided).total_seconds()
        check(f"a search in flight ends within 100 ms of the decision ({passed * 1000:.0f} ms, {ended})", ended != "success" and -0.05 <= passed <= 0.1, record)
    finally:
        lab("mend", "RXC")
        portcullis("member", "resume", "RXC")
    check("open again when resumed", until(True, 120) is not None)


for part in (worsened, hung, in_flight):
    try:
        if until(True, 120) is None:
            raise LookupError("its gate is not open to begin with")
        part()
    except (ldap.LDAPError, subprocess.SubprocessError, ValueError, LookupError) as error:
        check(part.__name__, False, repr(error))
sys.exit(bad)
