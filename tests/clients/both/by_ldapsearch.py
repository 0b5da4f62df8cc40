"""OpenLDAP's ldapsearch with every extension that it knows (`ldapsearch -E help` and `-e help`), critical and not."""
import base64
import os
import signal
import subprocess
import time
from concurrent.futures import ThreadPoolExecutor

from mounts import CA, MOUNTS, PASSWORD, attributes

WHO = "(&{people}({sn}=Ahmed)({ou}=Cardiology))"
ASKED = ["uid", "cn", "sn", "mail"]
# search extensions as -E has them; BOTH with and without criticality, the others as the tool takes them
BOTH = [
    "accountUsability", "domainScope", "mv=({mail}=*)", "mv=({sn}=Nobody)", "pr=3/noprompt", "pr=500/noprompt", "sss={sn}/-{uid}",
    "sss={uid}", "sss={uid}:2.5.13.3", "sss=noSuchThing", "subentries", "subentries=true", "subentries=false", "sync=ro",
    "deref=manager:cn", "extendedDn=1", "showDeleted", "serverNotif", "ps=15/1/1", "1.2.3.4.5.6.7.8=:value",
    "1.2.3.4.5.6.7.8",
]
# two at once
TOGETHER = [
    ["sss={uid}", "vlv=0/2/1/0"], ["!sss={uid}", "!vlv=0/2/1/0"], ["!sss={uid}", "!vlv=0/2:a"], ["!sss={uid}", "!pr=3/noprompt"],
    ["!pr=3/noprompt", "!mv=({mail}=*)"],
]
CRITICAL_ONLY = ["dontUseCopy", "dirSync=0/0", "sync=rp"]
# general extensions as -e has them
GENERAL = [
    "assert=({uid}=*)", "assert=({uid}=nobody-at-all)", "bauthzid", "chaining", "chaining=chainingRequired/referralsRequired",
    "manageDSAit", "noop", "postread=cn", "preread=cn", "relax",
]
GENERAL_CRITICAL_ONLY = ["authzid=u:somebody", "authzid=dn:cn=somebody,{base}", "authzid="]
GENERAL_NEVER_CRITICAL = ["ppolicy", "sessiontracking", "sessiontracking=somebody"]
PATIENCE = 4


def environment(side):
    made = {**os.environ, "LDAPTLS_CACERT": CA, "LDAPTLS_REQCERT": "demand"}
    if not side.bind:
        made.update(LDAPTLS_CERT=side.certificate + ".crt", LDAPTLS_KEY=side.certificate + ".key")
    return made


def command(side, options, filter_text=WHO, base="{base}", scope="sub", asked=ASKED):
    who = ["-x", "-D", side.bind, "-w", PASSWORD] if side.bind else ["-Q", "-Y", "EXTERNAL"]
    names = [side.names.get(name, name) for name in asked]
    return ["ldapsearch", *who, "-H", side.uri, "-L", "-o", "ldif-wrap=no", "-o", "nettimeout=10", "-b", side.word(base), "-s", scope,
            *(side.word(option) for option in options), side.word(filter_text), *names]


def parsed(text):
    """The entries of LDIF, and the object identifiers of the controls that it tells of."""
    entries, controls, pairs = [], [], []
    for line in text.split("\n") + [""]:
        name, _, value = line.partition(":")
        if line.startswith("# control: "):
            controls.append(line.split()[2])
        elif line and not line.startswith("#") and name not in ("version", "ref", "search"):
            binary = value.startswith(":")
            pairs.append((name, base64.b64decode(value[1:]).decode("utf-8", "backslashreplace") if binary else value.strip()))
        elif not line and pairs:
            if pairs[0][0] == "dn":
                entries.append((pairs[0][1], attributes((name, [value]) for name, value in pairs[1:])))
            pairs = []
    return entries, controls


def ask(side, options, **question):
    """One run of the tool: its exit status is the result code."""
    asked = command(side, options, **question)
    # of a virtual list the tool asks which window comes next, for ever: nobody tells it, and nobody hangs up
    nobody, open_end = os.pipe()
    try:
        ran = subprocess.run(asked, env=environment(side), stdin=nobody, capture_output=True, timeout=PATIENCE, check=False)
        code, out = ran.returncode, ran.stdout
        if code not in (0, *range(2, 128)):
            code = "the tool says: " + ran.stderr.decode().strip().split("\n")[0]
    except subprocess.TimeoutExpired as late:
        code, out = "no end", late.stdout or b""
    finally:
        os.close(nobody)
        os.close(open_end)
    entries, controls = parsed(out.decode())
    # the answers to a page and to an order are told for each page
    ordered = any(option.lstrip("!").startswith("sss={") for option in options)
    return {"result": code, "entries": entries, "controls": sorted(set(controls)), "ordered": ordered}


def interrupted(side, how):
    """A search that the tool itself abandons or cancels, and what it says then; then the same person once more."""
    started = subprocess.Popen(command(side, ["-e", how], "(&{people})"), env=environment(side),
                               stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
    if not how.startswith("!"):
        time.sleep(0.15)
        started.send_signal(signal.SIGINT)
    try:
        started.communicate(timeout=PATIENCE)
        code = started.returncode
    except subprocess.TimeoutExpired:
        started.kill()
        started.communicate()
        code = "no end"
    # whether the search was over before it was called back is chance
    over = code in (0, 118, 119, 254, 255) or (isinstance(code, int) and code < 0)
    return {"result": "called back or over" if over else code}


def questions():
    """Name and options of every run."""
    for extension in BOTH:
        yield extension, ["-E", extension]
        yield "!" + extension, ["-E", "!" + extension]
    for several in TOGETHER:
        yield " with ".join(several), [part for extension in several for part in ("-E", extension)]
    for extension in CRITICAL_ONLY:
        yield "!" + extension, ["-E", "!" + extension]
    for extension in GENERAL:
        yield extension, ["-e", extension]
        yield "!" + extension, ["-e", "!" + extension]
    for extension in GENERAL_CRITICAL_ONLY:
        yield "!" + extension, ["-e", "!" + extension]
    for extension in GENERAL_NEVER_CRITICAL:
        yield extension, ["-e", extension]
    yield "-M", ["-M"]
    yield "-MM", ["-MM"]


# the same without extensions: scopes, limits, selections, filters of every kind
PLAIN = [
    ("everything that is released", [], {"asked": ["*"]}),
    ("names only", ["-A"], {}),
    ("no attributes", [], {"asked": ["1.1"]}),
    ("one level below the mount", [], {"scope": "one"}),
    ("children", [], {"scope": "children"}),
    ("a size limit that is met", ["-z", "2"], {}),
    ("dereferencing", ["-a", "always"], {}),
    ("a time limit", ["-l", "5"], {}),
    ("nobody", [], {"filter_text": "(&{people}({uid}=nobody-at-all))"}),
    ("a base that is not there", [], {"base": "ou=nowhere,{base}"}),
    ("no name", [], {"base": "no name at all"}),
    ("or, not, presence", [], {"filter_text": "(&{people}({ou}=Cardiology)(|({sn}=Ahmed)({sn}=Khan))(!({givenName}=Amina))({mail}=*))"}),
    ("substrings", [], {"filter_text": "(&{people}({sn}=*hm*d)({mail}=a*))"}),
    ("ordering", [], {"filter_text": "(&{people}({ou}=Cardiology)({sn}<=brown))"}),
    ("approximate", [], {"filter_text": "(&{people}({ou}=Cardiology)({sn}~=Ahmed))"}),
    ("letters beyond ASCII", [], {"filter_text": "(&{people}({sn}=müller)({ou}=Cardiology))"}),
    ("escaped", [], {"filter_text": "(&{people}({sn}=\\4fkafor)({ou}=Cardiology))"}),
    ("an empty and", [], {"filter_text": "(&{people}({sn}=Ahmed)({ou}=Cardiology)(&))"}),
    ("a rule by name", [], {"filter_text": "(&{people}({sn}:caseExactMatch:=Ahmed)({ou}=Cardiology))"}),
]


def run(judge):
    jobs = []
    with ThreadPoolExecutor(12) as pool:
        for mount in MOUNTS.values():
            for name, options, question in [(name, options, {}) for name, options in questions()] + PLAIN:
                sides = [pool.submit(ask, side, options, **question) for side in (mount.direct, mount.through)]
                check = f"ldapsearch: {mount.name} {mount.through.word(name)}"
                jobs.append((mount, check, sides))
        for mount, check, (direct, through) in jobs:
            judge.hear(check, mount.federated(direct.result()), mount.folded(through.result()))
    for mount in MOUNTS.values():
        for how in ("abandon", "!abandon", "cancel", "!cancel", "ignore", "!ignore"):
            judge.hear(f"ldapsearch: {mount.name} {how}", interrupted(mount.direct, how), interrupted(mount.through, how))
