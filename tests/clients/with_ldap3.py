"""Python ldap3 at the front door: SASL EXTERNAL, searches, compare, refusals, paging by the client's own generator."""
import os
import ssl
import sys

import ldap3
from ldap3.core.exceptions import LDAPException, LDAPSocketOpenError

PKI, GATEWAY = os.environ["LAB_PKI"], os.environ["LAB_GATEWAY"]
RXA, RXB = "ou=RXA,o=federation", "ou=RXB,o=federation"
bad = 0


def connect(leaf, **more):
    tls = ldap3.Tls(local_certificate_file=f"{PKI}/{leaf}.crt", local_private_key_file=f"{PKI}/{leaf}.key",
                    ca_certs_file=os.environ["LAB_CA"], validate=ssl.CERT_REQUIRED, valid_names=["gateway.national.test"])
    server = ldap3.Server(GATEWAY, port=636, use_ssl=True, tls=tls, get_info=ldap3.DSA, connect_timeout=10)
    return ldap3.Connection(server, authentication=ldap3.SASL, sasl_mechanism=ldap3.EXTERNAL, sasl_credentials="",
                            auto_bind=True, receive_timeout=20, **more)


def check(what, good, detail=""):
    global bad
    print(f"ok    {what}" if good else f"FAIL  {what}: {detail}")
    bad |= not good


def attempt(what, action):
    """One failing check must not hide the others."""
    try:
        action()
    except (LDAPException, OSError) as error:
        check(what, False, f"{type(error).__name__}: {error}")


def lookups():
    connection = connect("good/sc-rxa-alice")
    check("bind with SASL EXTERNAL", connection.bound)
    check("rootDSE", "o=federation" in connection.server.info.naming_contexts, connection.server.info)
    check("who am I", bool(connection.extend.standard.who_am_i()))
    connection.search(RXA, "(uid=alice)", attributes=["mail", "sn", "cn"])
    check("lookup", len(connection.entries) == 1 and str(connection.entries[0].mail).startswith("alice."), connection.result)
    dn, surname = connection.entries[0].entry_dn, str(connection.entries[0].sn)
    check("the name is the federation's", dn.lower().endswith(RXA.lower()), dn)
    check("compare, true", connection.compare(dn, "sn", surname) is True, connection.result)
    check("compare, false", connection.compare(dn, "sn", "Somebody Else") is False, connection.result)
    connection.search(dn, "(objectClass=*)", search_scope=ldap3.BASE, attributes=["*"])
    seen = {name.lower() for name in connection.entries[0].entry_attributes_as_dict}
    check("hidden attributes do not come", not seen & {"employeenumber", "useraccountcontrol", "samaccountname", "objectsid"}, seen)
    connection.search(RXA, "(&(sn=Ahmed)(givenName=A*))", attributes=["cn"])
    check("a filter of several parts", connection.result["result"] == 0 and len(connection.entries) > 0, connection.result)
    connection.search("o=federation", "(objectClass=*)", search_scope=ldap3.LEVEL, attributes=["ou"])
    check("one level", any(e.entry_dn.lower() == RXA.lower() for e in connection.entries), connection.entries)


def many():
    # the connectors' agreement allows 32 at a time
    connection = connect("good/connector-rxa", client_strategy=ldap3.ASYNC)
    waiting = [connection.search(RXA, f"(mail=*{number}@rxa.nhs.test)", attributes=["mail"]) for number in range(100, 130)]
    found = [connection.get_response(message, timeout=20) for message in waiting]
    check("thirty searches in flight", all(result["result"] == 0 for _, result in found), [r for _, r in found][:2])
    check("each with an answer", all(any(e["type"] == "searchResEntry" for e in entries) for entries, _ in found))
    receiver = connection.strategy.receiver
    connection.unbind()
    # its thread still reads the descriptor, which the next connection would be given
    if receiver is not None:
        receiver.join(10)


def refusals():
    connection = connect("good/sc-rxa-alice")
    connection.search(RXB, "(uid=*)", attributes=["mail"])
    check("a closed member: no such object", connection.result["result"] == 32 and not connection.entries, connection.result)
    connection.add(f"cn=x,{RXA}", "person", {"sn": "x"})
    check("add: unwilling", connection.result["result"] == 53, connection.result)
    connection.modify(f"cn=x,{RXA}", {"sn": [(ldap3.MODIFY_REPLACE, ["y"])]})
    check("modify: unwilling", connection.result["result"] == 53, connection.result)
    connection.delete(f"cn=x,{RXA}")
    check("delete: unwilling", connection.result["result"] == 53, connection.result)
    own = connect("good/connector-rxb")
    own.search(RXB, "(uid=*)", attributes=["mail"])
    check("its own connector is told: insufficient access", own.result["result"] == 50, own.result)


def strangers():
    try:
        connection = connect("rogue/client-mail")
        check("a rogue certificate has no session", not connection.bound)
    except (LDAPSocketOpenError, LDAPException, OSError):
        check("a rogue certificate has no session", True)


for name, part in (("lookups", lookups), ("many at once", many), ("refusals", refusals), ("strangers", strangers)):
    attempt(name, part)
sys.exit(bad)
