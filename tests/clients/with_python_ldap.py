"""python-ldap at the front door: SASL EXTERNAL, searches in three scopes, compare, abandon, refusals."""
import os
import sys

import ldap
import ldap.sasl

PKI, GATEWAY = os.environ["LAB_PKI"], os.environ["LAB_GATEWAY"]
RXA, RXB = "ou=RXA,o=federation", "ou=RXB,o=federation"
bad = 0


def connect(leaf, bind=True):
    connection = ldap.initialize(f"ldaps://{GATEWAY}")
    for option, value in ((ldap.OPT_X_TLS_CACERTFILE, os.environ["LAB_CA"]), (ldap.OPT_X_TLS_CERTFILE, f"{PKI}/{leaf}.crt"),
                          (ldap.OPT_X_TLS_KEYFILE, f"{PKI}/{leaf}.key"), (ldap.OPT_X_TLS_REQUIRE_CERT, ldap.OPT_X_TLS_DEMAND),
                          (ldap.OPT_X_TLS_NEWCTX, 0)):
        connection.set_option(option, value)
    connection.network_timeout, connection.timeout = 10, 20
    if bind:
        connection.sasl_interactive_bind_s("", ldap.sasl.external())
    return connection


def check(what, good, detail=""):
    global bad
    print(f"ok    {what}" if good else f"FAIL  {what}: {detail}")
    bad |= not good


def refused(what, error, action):
    try:
        got = action()
        check(what, False, f"accepted: {got}")
    except error:
        check(what, True)
    except ldap.LDAPError as other:
        check(what, False, repr(other))


def attempt(what, action):
    """One failing check must not hide the others."""
    try:
        action()
    except (ldap.LDAPError, LookupError) as error:
        check(what, False, repr(error))


def lookups():
    connection = connect("good/sc-rxa-alice")
    check("who am I", bool(connection.whoami_s()))
    found = connection.search_s(RXA, ldap.SCOPE_SUBTREE, "(uid=alice)", ["mail", "sn"])
    check("lookup, subtree", len(found) == 1 and found[0][1]["mail"][0].startswith(b"alice."), found)
    dn, attributes = found[0]
    again = connection.search_s(dn, ldap.SCOPE_BASE, "(objectClass=*)", ["sn"])
    check("lookup, base", again[0][1]["sn"] == attributes["sn"], again)
    level = connection.search_s("o=federation", ldap.SCOPE_ONELEVEL, "(objectClass=*)", ["ou"])
    check("one level", any(name.lower() == RXA.lower() for name, _ in level), level)
    check("compare, true", connection.compare_s(dn, "sn", attributes["sn"][0]) is True)
    check("compare, false", connection.compare_s(dn, "sn", b"Somebody Else") is False)
    check("no entry for an unknown name", connection.search_s(RXA, ldap.SCOPE_SUBTREE, "(uid=nobody-at-all)") == [])
    left = connection.search(RXA, ldap.SCOPE_SUBTREE, "(objectClass=person)", ["cn"])
    connection.abandon(left)
    check("alive after an abandon", len(connection.search_s(RXA, ldap.SCOPE_SUBTREE, "(uid=alice)", ["cn"])) == 1)
    connection.unbind_s()


def refusals():
    connection = connect("good/sc-rxa-alice")
    refused("a closed member: no such object", ldap.NO_SUCH_OBJECT, lambda: connection.search_s(RXB, ldap.SCOPE_SUBTREE, "(uid=*)"))
    refused("add: unwilling", ldap.UNWILLING_TO_PERFORM, lambda: connection.add_s(f"cn=x,{RXA}", [("objectClass", [b"person"]), ("sn", [b"x"])]))
    refused("rename: unwilling", ldap.UNWILLING_TO_PERFORM, lambda: connection.rename_s(f"cn=x,{RXA}", "cn=y"))
    refused("a name that is none", (ldap.INVALID_DN_SYNTAX, ldap.NO_SUCH_OBJECT), lambda: connection.search_s("this is no name", ldap.SCOPE_BASE))
    refused("a rogue certificate", ldap.LDAPError, lambda: connect("rogue/client-mail").whoami_s())
    plain = connect("good/client-mail", bind=False)
    refused("an empty password with a name", ldap.LDAPError, lambda: plain.simple_bind_s("cn=alice,o=federation", ""))


for name, part in (("lookups", lookups), ("refusals", refusals)):
    attempt(name, part)
sys.exit(bad)
