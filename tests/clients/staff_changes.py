"""Joiner, change, rename, mover, leaver: made in RXA as its staff feed would, awaited in the national directory."""
import os
import sys
import time

import ldap
import ldap.modlist

from front import connect

NATIONAL = "ou=people," + os.environ["LAB_NATIONAL_SUFFIX"]
STAFF = "OU=Staff," + os.environ["LAB_RXA_BASE"]
MAIL = b"newly.joined90001@rxa.nhs.test"
PATIENCE = float(os.environ.get("LAB_SYNC_SECONDS", "5")) * 2 + 20
bad = 0


def secure(connection):
    connection.set_option(ldap.OPT_X_TLS_CACERTFILE, os.environ["LAB_CA"])
    connection.set_option(ldap.OPT_X_TLS_NEWCTX, 0)
    connection.set_option(ldap.OPT_REFERRALS, 0)
    connection.network_timeout, connection.timeout = 10, 20
    return connection


def member():
    connection = secure(ldap.initialize(f"ldaps://{os.environ['LAB_RXA']}"))
    connection.simple_bind_s("svc-rota@rxa.trust.test", os.environ["LAB_SERVICE_PASSWORD"])
    return connection


def national():
    connection = secure(ldap.initialize(f"ldaps://{os.environ['LAB_NATIONAL']}"))
    connection.simple_bind_s("cn=portcullis,ou=services," + os.environ["LAB_NATIONAL_SUFFIX"], os.environ["LAB_SERVICE_PASSWORD"])
    return connection


def published(connection):
    """The national entry of the joiner as lower-case names to values, or None."""
    found = connection.search_s(NATIONAL, ldap.SCOPE_SUBTREE, "(&(portcullisMember=RXA)(mail=%s))" % MAIL.decode())
    assert len(found) <= 1, found
    return {name.lower(): values for name, values in found[0][1].items()} if found else None


def awaited(what, wanted):
    """wanted(entry or None) becomes true in time."""
    global bad
    connection, began, entry = national(), time.monotonic(), None
    while time.monotonic() - began < PATIENCE:
        entry = published(connection)
        if wanted(entry):
            print(f"ok    {what} ({time.monotonic() - began:.1f} s)", flush=True)
            return
        time.sleep(0.2)
    print(f"FAIL  {what}: after {PATIENCE:.0f} s it is {entry}", flush=True)
    bad = 1


def seen_by_mail():
    """How many entries of the joiner the national mail application is shown."""
    door = connect("client-mail")
    return len(door.search_s("ou=national,o=federation", ldap.SCOPE_SUBTREE, "(mail=%s)" % MAIL.decode(), ["cn"]))


def check(what, good):
    global bad
    print(f"ok    {what}" if good else f"FAIL  {what}", flush=True)
    bad |= not good


def live(entry):
    return entry is not None and "portcullisleftat" not in entry


def main():
    feed = member()
    first, renamed = f"CN=Newly Joined,OU=Support,{STAFF}", f"CN=Newly Married,OU=Support,{STAFF}"
    moved = f"CN=Newly Married,OU=Medicine,{STAFF}"
    for left in (first, renamed, moved):
        try:
            feed.delete_s(left)
        except ldap.NO_SUCH_OBJECT:
            pass
    person = {"objectClass": b"user", "sAMAccountName": b"rxa90001", "userPrincipalName": b"newly.joined@rxa.trust.test",
              "userAccountControl": b"262656", "givenName": b"Newly", "sn": b"Joined", "displayName": b"JOINED, Newly (RXA)", "mail": MAIL,
              "title": b"Biomedical Scientist", "department": b"Pathology", "telephoneNumber": b"+44 113 496 9001", "employeeType": b"staff",
              "employeeNumber": b"29990001", "company": b"RXA NHS Trust"}
    feed.add_s(first, [(name, [value]) for name, value in person.items()])
    awaited("a joiner is published", lambda entry: live(entry) and entry["sn"] == [b"Joined"])
    feed.modify_s(first, [(ldap.MOD_REPLACE, "telephoneNumber", [b"+44 113 496 9002"])])
    awaited("a change is published", lambda entry: live(entry) and entry.get("telephonenumber") == [b"+44 113 496 9002"])
    feed.modify_s(first, [(ldap.MOD_DELETE, "telephoneNumber", None)])
    awaited("a removal is published", lambda entry: live(entry) and "telephonenumber" not in entry)
    feed.modify_s(first, [(ldap.MOD_REPLACE, "sn", [b"Married"]), (ldap.MOD_REPLACE, "displayName", [b"MARRIED, Newly (RXA)"])])
    feed.rename_s(first, "CN=Newly Married")
    awaited("a rename is published", lambda entry: live(entry) and entry["sn"] == [b"Married"])
    feed.rename_s(renamed, "CN=Newly Married", f"OU=Medicine,{STAFF}")
    feed.modify_s(moved, [(ldap.MOD_REPLACE, "department", [b"Cardiology"])])
    awaited("a mover stays published", lambda entry: live(entry) and b"Cardiology" in str(entry).encode())
    check("the front door shows the joiner", seen_by_mail() == 1)
    feed.delete_s(moved)
    awaited("a leaver is not published any more", lambda entry: not live(entry))
    check("the front door shows a leaver no more", seen_by_mail() == 0)
    return bad


sys.exit(main())
