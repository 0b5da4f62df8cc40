"""Python ldap3: its strategies, its generator of pages, compare, controls by hand, what it reads of server and schema."""
import ssl

import ldap3
from ldap3.core.exceptions import LDAPException
from ldap3.protocol.microsoft import extended_dn_control, show_deleted_control
from ldap3.protocol.rfc2696 import paged_search_control
from ldap3.utils.conv import escape_filter_chars

from mounts import CA, MOUNTS, PASSWORD, RELEASED, attributes

WHO = "(&{people}({sn}=Ahmed)({ou}=Cardiology))"
MANY = "(&{people}({ou}=Cardiology))"
STRATEGIES = {"SYNC": ldap3.SYNC, "SAFE_SYNC": ldap3.SAFE_SYNC, "RESTARTABLE": ldap3.RESTARTABLE, "SAFE_RESTARTABLE": ldap3.SAFE_RESTARTABLE,
              "ASYNC": ldap3.ASYNC, "SAFE_SYNC again": ldap3.SAFE_SYNC}


def server(side, info=ldap3.NONE):
    own = {} if side.bind else {"local_certificate_file": side.certificate + ".crt", "local_private_key_file": side.certificate + ".key"}
    tls = ldap3.Tls(ca_certs_file=CA, validate=ssl.CERT_REQUIRED, valid_names=[side.tls_name], **own)
    return ldap3.Server(side.address, port=636, use_ssl=True, tls=tls, get_info=info, connect_timeout=10)


def connect(side, info=ldap3.NONE, **more):
    who = {"user": side.bind, "password": PASSWORD} if side.bind else {
        "authentication": ldap3.SASL, "sasl_mechanism": ldap3.EXTERNAL, "sasl_credentials": ""}
    return ldap3.Connection(server(side, info), auto_bind=True, receive_timeout=20, auto_referrals=False, **who, **more)


def answer(result, response, **more):
    entries = [(entry["dn"], attributes(entry["raw_attributes"].items())) for entry in response or []
               if entry["type"] == "searchResEntry"]
    return {"result": result["result"], "entries": entries, "controls": sorted(result.get("controls") or {}), **more}


def search(side, strategy=ldap3.SYNC, filter_text=WHO, base="{base}", names=("uid", "cn", "sn", "mail"), ordered=False, **more):
    with connect(side, client_strategy=strategy) as connection:
        asked = dict(search_base=side.word(base), search_filter=side.word(filter_text),
                     attributes=[side.names.get(name, name) for name in names], **more)
        if strategy in (ldap3.SAFE_SYNC, ldap3.SAFE_RESTARTABLE):
            _, result, response, _ = connection.search(**asked)
        elif strategy == ldap3.ASYNC:
            response, result = connection.get_response(connection.search(**asked), timeout=20)
        else:
            connection.search(**asked)
            result, response = connection.result, connection.response
        return answer(result, response, ordered=ordered)


def paged(side, generator):
    with connect(side) as connection:
        found = connection.extend.standard.paged_search(
            side.word("{base}"), side.word(MANY), attributes=[side.names["uid"]], paged_size=7, generator=generator)
        return {**answer({"result": 0}, list(found)), "controls": []}


def by_hand(side):
    """Pages with the cookie in our own hands, as an application does that keeps it between two requests."""
    with connect(side) as connection:
        entries, cookie, pages = [], None, 0
        while cookie is None or cookie:
            connection.search(side.word("{base}"), side.word(MANY), attributes=[side.names["uid"]],
                              controls=[paged_search_control(True, 10, cookie)])
            entries += connection.response
            cookie = connection.result["controls"]["1.2.840.113556.1.4.319"]["value"]["cookie"]
            pages += 1
        return {**answer(connection.result, entries), "value": f"{pages} pages"}


def compare(side, value):
    with connect(side) as connection:
        connection.search(side.word("{base}"), side.word(WHO), attributes=[side.names["sn"]])
        first = sorted(entry["dn"] for entry in connection.response if entry["type"] == "searchResEntry")[0]
        connection.compare(first, side.names["sn"], value)
        return {"result": connection.result["result"]}


def who_am_i(side):
    with connect(side) as connection:
        said = connection.extend.standard.who_am_i()
        return {"result": connection.result["result"], "value": "somebody" if said else "nobody"}


def controlled(side, control):
    return search(side, controls=[control])


def kept_reader(side):
    """The abstraction layer: a Reader over an object definition that it makes of the schema which it read."""
    with connect(side, ldap3.ALL) as connection:
        wanted = ldap3.ObjectDef(["person"], connection)
        reader = ldap3.Reader(connection, wanted, side.word("{base}"), side.word(WHO), attributes=[side.names["sn"]])
        found = [(entry.entry_dn, attributes([(side.names["sn"], entry.entry_raw_attributes[side.names["sn"]])]))
                 for entry in reader.search_paged(3) if entry is not None]
        return {"result": 0, "entries": found}


def definitions(side):
    """What the schema says of the attributes that are released."""
    with connect(side, ldap3.ALL) as connection:
        schema = connection.server.schema.attribute_types
        told = {name: (schema[name].oid, sorted(name.lower() for name in schema[name].name)) for name in RELEASED if name in schema}
        return {"result": 0, "value": str(sorted(told.items()))}


def guarded(ask, *arguments, **more):
    try:
        return ask(*arguments, **more)
    except (LDAPException, OSError, LookupError) as error:
        return {"result": f"{type(error).__name__}"}


QUESTIONS = {
    **{f"search, {name}": (search, {"strategy": strategy}) for name, strategy in STRATEGIES.items()},
    "all attributes": (search, {"names": ("*",)}),
    "pages, generator": (paged, {"generator": True}),
    "pages, list": (paged, {"generator": False}),
    "pages by hand": (by_hand, {}),
    "size limit": (search, {"size_limit": 1, "filter_text": WHO}),
    "types only": (search, {"types_only": True}),
    "level": (search, {"search_scope": ldap3.LEVEL}),
    "escaped": (search, {"filter_text": "(&{people}({sn}=" + escape_filter_chars("O'Brien") + ")({ou}=Cardiology))"}),
    "dereferencing": (search, {"dereference_aliases": ldap3.DEREF_ALWAYS}),
    "compare, true": (compare, {"value": "AHMED"}),
    "compare, false": (compare, {"value": "Somebody"}),
    "who am I": (who_am_i, {}),
    "reader": (kept_reader, {}),
    "show deleted": (controlled, {"control": show_deleted_control(False)}),
    "show deleted, critical": (controlled, {"control": show_deleted_control(True)}),
    "extended names": (controlled, {"control": extended_dn_control(False)}),
    "extended names, critical": (controlled, {"control": extended_dn_control(True)}),
    "a control of nobody's": (controlled, {"control": ("1.2.3.4.5.6.7", False, None)}),
    "a control of nobody's, critical": (controlled, {"control": ("1.2.3.4.5.6.7", True, None)}),
    "schema": (definitions, {}),
}


def information(judge):
    """get_info=ALL: the library makes sense of the root entry and of the schema."""
    with connect(MOUNTS["RXA"].through, ldap3.ALL) as connection:
        told, schema = connection.server.info, connection.server.schema
        judge.check("ldap3: the root entry names the tree", "o=federation" in told.naming_contexts, told)
        judge.check("ldap3: the root entry tells of controls by name", any("319" in entry[0] for entry in told.supported_controls), told)
        judge.check("ldap3: the root entry has no other schema than ours", str(told.schema_entry) == "['cn=subschema']", told.schema_entry)
        missing = [name for name in RELEASED if name not in schema.attribute_types]
        judge.check("ldap3: the schema knows all that is released", not missing, missing)
        judge.check("ldap3: the schema knows nothing else of people", "sAMAccountName" not in schema.attribute_types
                    and "employeeNumber" not in schema.attribute_types)


def run(judge):
    for mount in MOUNTS.values():
        for name, (ask, more) in QUESTIONS.items():
            direct, through = guarded(ask, mount.direct, **more), guarded(ask, mount.through, **more)
            judge.hear(f"ldap3: {mount.name} {name}", mount.federated(direct), mount.folded(through))
    information(judge)
