"""Perl's Net::LDAP; `net_ldap.pl` asks, this hands it the questions."""
import json
import os
import subprocess

from mounts import CA, MOUNTS, PASSWORD, RELEASED, attributes

WHO = "(&{people}({sn}=Ahmed)({ou}=Cardiology))"
MANY = "(&{people}({ou}=Cardiology))"
QUESTIONS = {
    "search": {"do": "search"},
    "search after StartTLS": {"do": "start_tls"},
    "all attributes": {"do": "search", "attributes": ["*"]},
    "one level": {"do": "search", "scope": "one"},
    "children": {"do": "search", "scope": "children"},
    "size limit": {"do": "search", "size": 1},
    "types only": {"do": "search", "types": 1},
    "many": {"do": "search", "filter": MANY},
    "pages": {"do": "pages", "filter": MANY, "page": 11},
    "sorted": {"do": "sort", "filter": MANY, "order": "{uid}"},
    "sorted downwards": {"do": "sort", "filter": MANY, "order": "-{uid}"},
    "sorted if possible": {"do": "sort", "filter": MANY, "order": "{uid}", "critical": 0},
    "sorted by two keys": {"do": "sort", "filter": MANY, "order": "{sn} -{uid}"},
    "sorted by nothing that there is": {"do": "sort", "order": "noSuchThing"},
    "matched values": {"do": "values", "values": "(({mail}=*))"},
    "manage DSA IT": {"do": "control", "type": "2.16.840.1.113730.3.4.2", "critical": 0},
    "manage DSA IT, critical": {"do": "control", "type": "2.16.840.1.113730.3.4.2", "critical": 1},
    "domain scope, critical": {"do": "control", "type": "1.2.840.113556.1.4.1339", "critical": 1},
    "subtree deletion": {"do": "control", "type": "1.2.840.113556.1.4.805", "critical": 0},
    "subtree deletion, critical": {"do": "control", "type": "1.2.840.113556.1.4.805", "critical": 1},
    "compare, true": {"do": "compare", "attribute": "{sn}", "value": "Ahmed"},
    "compare, false": {"do": "compare", "attribute": "{sn}", "value": "Somebody"},
    "abandon": {"do": "called_back", "how": "abandon", "filter": "(&{people})", "again": WHO},
    "cancel": {"do": "called_back", "how": "cancel", "filter": "(&{people})", "again": WHO},
    "who am I": {"do": "who_am_i"},
    "schema": {"do": "schema", "attributes": RELEASED},
    "root entry": {"do": "root", "controls": ["1.2.840.113556.1.4.319", "1.2.840.113556.1.4.473"]},
    **{how: {"do": "write", "how": how} for how in ("add", "modify", "delete", "moddn")},
}


def worded(side, value):
    if isinstance(value, list):
        return [side.names.get(one, one) for one in value]
    return side.word(value) if isinstance(value, str) else value


def ask(side):
    """Every question, on one connection."""
    plain = {"base": "{base}", "filter": WHO, "attributes": ["uid", "cn", "sn", "mail"]}
    questions = [{key: worded(side, value) for key, value in {**plain, **question}.items()} for question in QUESTIONS.values()]
    told = {"address": side.address, "ca": CA, "bind": side.bind, "password": PASSWORD, "certificate": side.certificate, "questions": questions}
    here = os.path.join(os.path.dirname(os.path.abspath(__file__)), "net_ldap.pl")
    ran = subprocess.run(["perl", here], input=json.dumps(told), capture_output=True, text=True, timeout=60, check=False)
    answers = [json.loads(line) for line in ran.stdout.split("\n") if line]
    for answer in answers:
        if "entries" in answer:
            answer["entries"] = [(dn, attributes(values.items())) for dn, values in answer["entries"]]
    if len(answers) != len(QUESTIONS):
        raise OSError(f"net_ldap.pl ended after {len(answers)} answers: {ran.stderr.strip()[-300:]}")
    return answers


def run(judge):
    for mount in MOUNTS.values():
        for name, direct, through in zip(QUESTIONS, ask(mount.direct), ask(mount.through)):
            judge.hear(f"net-ldap: {mount.name} {name}", mount.federated(direct), mount.folded(through))
