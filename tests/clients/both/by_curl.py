"""curl. It speaks LDAP URLs over LDAPS; with a certificate it binds by SASL EXTERNAL when told `--login-options AUTH=EXTERNAL`
and an empty user (`-u :`). StartTLS does not work in the curl 7.88 of Debian 12, whatever the server.

That curl takes one message each time its socket can be read, so at a server that sends entries and result in one TLS record,
as Samba does, it waits for ever. There ldapsearch is asked in its place."""
import base64
import subprocess
from concurrent.futures import ThreadPoolExecutor
from urllib.parse import quote

import by_ldapsearch
from mounts import CA, MOUNTS, PASSWORD, attributes

WHO = "(&{people}({sn}=Ahmed)({ou}=Cardiology))"
# curl's own exit status: what it makes of a result
CURL = {0: 0, 7: "cannot connect", 39: "search failed", 67: "login denied"}
QUESTIONS = {
    "search": {},
    "one person": {"filter_text": "(&{people}({uid}=alice))"},
    "all attributes": {"names": ["*"]},
    "many": {"filter_text": "(&{people}({ou}=Cardiology))"},
    "a base search": {"base": "{base}", "scope": "base", "filter_text": "(objectClass=nothing)"},
    "one level": {"scope": "one"},
    "nobody": {"filter_text": "(&{people}({uid}=nobody-at-all))"},
    "letters beyond ASCII": {"filter_text": "(&{people}({sn}=Müller)({ou}=Cardiology))"},
    "no name": {"base": "no name at all"},
    "StartTLS": {"start_tls": True},
}


def parsed(text):
    """curl writes `DN: name`, then a tab and `attribute: value` a line, with two colons for base64."""
    entries = []
    for line in text.split("\n"):
        name, _, value = line.strip().partition(":")
        if value.startswith(":"):
            value = base64.b64decode(value[1:]).decode("utf-8", "backslashreplace")
        if name == "DN":
            entries.append((value.strip(), []))
        elif name and entries:
            entries[-1][1].append((name, [value.strip()]))
    return [(dn, attributes(pairs)) for dn, pairs in entries]


def ask(side, filter_text=WHO, base="{base}", scope="sub", names=("uid", "cn", "sn", "mail"), start_tls=False):
    who = ["-u", f"{side.bind}:{PASSWORD}"] if side.bind else [
        "-u", ":", "--login-options", "AUTH=EXTERNAL", "--cert", side.certificate + ".crt", "--key", side.certificate + ".key"]
    asked = ",".join(side.names.get(name, name) for name in names)
    scheme, port = ("ldap", 389) if start_tls else ("ldaps", 636)
    address = f"{scheme}://{side.tls_name}/{quote(side.word(base))}?{asked}?{scope}?{quote(side.word(filter_text))}"
    told = ["curl", "-sS", "--max-time", "10", "--cacert", CA, "--resolve", f"{side.tls_name}:{port}:{side.address}", *who,
            *(["--ssl-reqd"] if start_tls else []), address]
    ran = subprocess.run(told, capture_output=True, timeout=20, check=False)
    return {"result": CURL.get(ran.returncode, f"curl {ran.returncode}: {ran.stderr.decode()[:80]}"), "entries": parsed(ran.stdout.decode())}


def instead(mount, **question):
    """The directory's own answer."""
    if not mount.active_directory or question.get("start_tls"):
        return ask(mount.direct, **question)
    answer = by_ldapsearch.ask(mount.direct, [], asked=question.pop("names", by_ldapsearch.ASKED), **question)
    return {"result": "search failed" if answer["result"] else 0, "entries": answer["entries"]}


def run(judge):
    # it waits a second for each step of a connection
    with ThreadPoolExecutor(10) as pool:
        jobs = [(mount, name, pool.submit(instead, mount, **question), pool.submit(ask, mount.through, **question))
                for mount in MOUNTS.values() for name, question in QUESTIONS.items()]
    for mount, name, direct, through in jobs:
        judge.hear(f"curl: {mount.name} {name}", mount.federated(direct.result()), mount.folded(through.result()))
    ran = subprocess.run(["curl", "-sS", "--max-time", "10", "--cacert", CA, "--cert", MOUNTS["RXA"].through.certificate + ".crt", "--key",
                          MOUNTS["RXA"].through.certificate + ".key", "--resolve", f"gateway.national.test:636:{MOUNTS['RXA'].through.address}",
                          "ldaps://gateway.national.test/?namingContexts?base?(objectClass=*)"], capture_output=True, timeout=20, check=False)
    judge.check("curl: the root entry without a bind", b"o=federation" in ran.stdout, ran.stderr)
