"""python-ldap: results as they come, pages, order, matched values, assertions, abandon and cancel, and the schema."""
import ldap
import ldap.controls
import ldap.sasl
import ldap.schema
from ldap.controls.libldap import AssertionControl, MatchedValuesControl, SimplePagedResultsControl
from ldap.controls.readentry import PreReadControl
from ldap.controls.sss import SSSRequestControl
from ldap.controls.vlv import VLVRequestControl

from mounts import CA, MOUNTS, PASSWORD, RELEASED, attributes

WHO = "(&{people}({sn}=Ahmed)({ou}=Cardiology))"
MANY = "(&{people}({ou}=Cardiology))"


def connect(side):
    connection = ldap.initialize(side.uri)
    for option, value in ((ldap.OPT_X_TLS_CACERTFILE, CA), (ldap.OPT_X_TLS_REQUIRE_CERT, ldap.OPT_X_TLS_DEMAND)):
        connection.set_option(option, value)
    if not side.bind:
        connection.set_option(ldap.OPT_X_TLS_CERTFILE, side.certificate + ".crt")
        connection.set_option(ldap.OPT_X_TLS_KEYFILE, side.certificate + ".key")
    connection.set_option(ldap.OPT_X_TLS_NEWCTX, 0)
    connection.set_option(ldap.OPT_REFERRALS, 0)
    connection.network_timeout, connection.timeout = 10, 20
    if side.bind:
        connection.simple_bind_s(side.bind, PASSWORD)
    else:
        connection.sasl_interactive_bind_s("", ldap.sasl.external())
    return connection


def entries(found):
    return [(dn, attributes(values.items())) for dn, values in found if dn is not None]


def search(side, controls=(), filter_text=WHO, scope=ldap.SCOPE_SUBTREE, ordered=False):
    """search_ext with controls; `controls` are made for the side."""
    connection = connect(side)
    made = [control(side) for control in controls]
    names = [side.names[name] for name in ("uid", "cn", "sn", "mail")]
    message = connection.search_ext(side.word("{base}"), scope, side.word(filter_text), names, serverctrls=made)
    _, found, _, answered = connection.result3(message, timeout=20)
    return {"result": 0, "entries": entries(found), "controls": sorted(c.controlType for c in answered), "ordered": ordered}


def one_by_one(side):
    """Each entry as it comes."""
    connection = connect(side)
    message, found = connection.search(side.word("{base}"), ldap.SCOPE_SUBTREE, side.word(MANY), [side.names["uid"]]), []
    while True:
        kind, data = connection.result(message, all=0, timeout=20)
        if kind == ldap.RES_SEARCH_RESULT:
            return {"result": 0, "entries": entries(found)}
        found += data


def side_by_side(side):
    """Ten searches on one connection, their results taken in the opposite order."""
    connection = connect(side)
    families = ["Ahmed", "Brown", "Clarke", "Davies", "Evans", "Fraser", "Green", "Hughes", "Iqbal", "Jones"]
    text = "(&{people}({ou}=Cardiology)({sn}=%s))"
    waiting = [connection.search(side.word("{base}"), ldap.SCOPE_SUBTREE, side.word(text % name), [side.names["sn"]]) for name in families]
    found = []
    for message in reversed(waiting):
        found += connection.result(message, timeout=20)[1]
    return {"result": 0, "entries": entries(found)}


def paged(side, size):
    connection, found, pages = connect(side), [], 0
    control = SimplePagedResultsControl(True, size=size, cookie="")
    while True:
        message = connection.search_ext(side.word("{base}"), ldap.SCOPE_SUBTREE, side.word(MANY), [side.names["uid"]], serverctrls=[control])
        _, data, _, answered = connection.result3(message, timeout=20)
        found, pages = found + data, pages + 1
        control.cookie = next(c.cookie for c in answered if c.controlType == control.controlType)
        if not control.cookie:
            return {"result": 0, "entries": entries(found), "value": f"{pages} pages"}


def compare(side, value):
    connection = connect(side)
    first = sorted(dn for dn, _ in connection.search_s(side.word("{base}"), ldap.SCOPE_SUBTREE, side.word(WHO), ["1.1"]) if dn)[0]
    return {"result": 6 if connection.compare_s(first, side.names["sn"], value) else 5}


def called_back(side, how):
    """What is left of a connection after a search of it was called back."""
    connection = connect(side)
    message = connection.search(side.word("{base}"), ldap.SCOPE_SUBTREE, side.word("(&{people})"), [side.names["uid"]])
    said = "done"
    try:
        getattr(connection, how)(message)
    except (ldap.NO_SUCH_OPERATION, ldap.TOO_LATE):
        said = "done"
    except ldap.LDAPError as error:
        said = type(error).__name__
    again = connection.search_s(side.word("{base}"), ldap.SCOPE_SUBTREE, side.word(WHO), [side.names["uid"]])
    return {"result": 0, "entries": entries(again), "value": said}


def who_am_i(side):
    return {"result": 0, "value": "somebody" if connect(side).whoami_s() else "nobody"}


def subschema(side):
    """The schema through python-ldap's own parser: what it says of what is released."""
    connection = connect(side)
    dn = connection.search_subschemasubentry_s()
    schema = ldap.schema.SubSchema(connection.read_subschemasubentry_s(dn), check_uniqueness=2)
    told = []
    for name in RELEASED:
        found = schema.get_inheritedobj(ldap.schema.AttributeType, name, ["syntax"])
        told.append((name, found.oid, found.syntax) if found else (name, None, None))
    return {"result": 0, "value": str(told)}


def write(side, how):
    connection, name = connect(side), side.word("cn=nobody,{base}")
    attempts = {"add": lambda: connection.add_s(name, [("objectClass", [b"device"]), ("cn", [b"nobody"])]),
                "modify": lambda: connection.modify_s(name, [(ldap.MOD_REPLACE, "description", [b"x"])]),
                "delete": lambda: connection.delete_s(name), "rename": lambda: connection.rename_s(name, "cn=nobody else"),
                "password": lambda: connection.passwd_s(name, "old", "new")}
    attempts[how]()
    return {"result": 0}


def guarded(ask, *arguments, **more):
    try:
        return ask(*arguments, **more)
    except ldap.LDAPError as error:
        told = error.args[0] if error.args and isinstance(error.args[0], dict) else {}
        return {"result": told.get("result", type(error).__name__)}


def sort(*keys, critical=True):
    return lambda side: SSSRequestControl(critical, [side.word(key) for key in keys])


QUESTIONS = {
    "search": (search, {}),
    "one level": (search, {"scope": ldap.SCOPE_ONELEVEL}),
    "children": (search, {"scope": ldap.SCOPE_SUBORDINATE}),
    "each entry as it comes": (one_by_one, {}),
    "ten at once": (side_by_side, {}),
    "pages of 5": (paged, {"size": 5}),
    "pages of 1000": (paged, {"size": 1000}),
    "sorted": (search, {"controls": [sort("{uid}")], "filter_text": MANY, "ordered": True}),
    "sorted downwards": (search, {"controls": [sort("-{uid}")], "filter_text": MANY, "ordered": True}),
    "sorted if possible": (search, {"controls": [sort("{uid}", critical=False)], "filter_text": MANY, "ordered": True}),
    "sorted by two keys": (search, {"controls": [sort("{sn}", "-{uid}")], "filter_text": MANY, "ordered": True}),
    "matched values": (search, {"controls": [lambda side: MatchedValuesControl(True, side.word("({mail}=*)"))]}),
    "matched values if possible": (search, {"controls": [lambda side: MatchedValuesControl(False, side.word("({mail}=*)"))]}),
    "assertion": (search, {"controls": [lambda side: AssertionControl(True, side.word("({uid}=*)"))]}),
    "assertion if possible": (search, {"controls": [lambda side: AssertionControl(False, side.word("({uid}=*)"))]}),
    "pre-read": (search, {"controls": [lambda side: PreReadControl(True, ["cn"])]}),
    "virtual list": (search, {"controls": [sort("{uid}"), lambda side: VLVRequestControl(True, 0, 3, 1, 0)], "filter_text": MANY}),
    "compare, true": (compare, {"value": b"ahmed"}),
    "compare, false": (compare, {"value": b"Somebody"}),
    "abandon": (called_back, {"how": "abandon"}),
    "cancel": (called_back, {"how": "cancel_s"}),
    "who am I": (who_am_i, {}),
    "subschema": (subschema, {}),
    **{how: (write, {"how": how}) for how in ("add", "modify", "delete", "rename", "password")},
}


def run(judge):
    for mount in MOUNTS.values():
        for name, (ask, more) in QUESTIONS.items():
            direct, through = guarded(ask, mount.direct, **more), guarded(ask, mount.through, **more)
            judge.hear(f"python-ldap: {mount.name} {name}", mount.federated(direct), mount.folded(through))
