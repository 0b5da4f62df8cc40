"""Samba's smbtorture, and Samba's own client library by ldbsearch.

smbtorture was written for an Active Directory of its own: it takes the base from a root entry like that one's, binds by
Kerberos, and counts on Windows' error texts. So each of its parts is told apart here, and `refused.md` says which of them
cannot be. At the front door it goes through a relay that has the certificate and binds in its place (relay.py)."""
import os
import re
import subprocess
import tempfile

from by_ldapsearch import parsed
from mounts import CA, GATEWAY, GATEWAY_NAME, MAIL, MOUNTS, PASSWORD
from relay import Relay

TESTS = ["basic", "nested-search", "sort", "schema"]
ADDRESS = os.environ["LAB_NET"] + ".60.1"
# the parts of ldap.basic: how each begins, and what it writes when it fails
PARTS = {
    "root entry": ("Testing RootDSE Search", "search failed"),
    "root entry, empty substring": ("Testing RootDSE Search with objectclass= substring filter", "looking for search result reply failed"),
    "anonymous, then a simple bind": ("Testing multiple binds", "1st bind as anonymous failed|2nd bind as authenticated user should have failed"),
    "SASL bind": ("Testing sasl bind as user", "Failed sasl bind"),
    "base search, empty substring": ("Testing authenticated base Search", "search result done gave error|looking for search result done failed"),
    "compare": ("Testing SASL Compare", r"\(null\)|error in ldap compare request"),
    "error codes of writes": ("Testing the most important error code", "Invalid error message|error in ldap"),
    "referrals": ("Testing referrals", "Partitions list empty|required referral|The first|Out of memory|There shouldn't"),
    "abandon": ("Testing the AbandonRequest", "error in ldap abandon"),
}


class Samba:
    """Settings of Samba's client for one side: where it finds the host, and as whom it goes there."""

    def __init__(self, folder, side, direct):
        self.folder = folder
        self.host = side.tls_name if direct else ADDRESS
        self.environment = {**os.environ, "KRB5CCNAME": os.path.join(folder, "ccache")}
        conf = os.path.join(folder, "smb.conf")
        with open(conf, "w", encoding="utf-8") as text:
            text.write(f"[global]\nrealm = RXA.TRUST.TEST\nworkgroup = RXA\ncache directory = {folder}\nlock directory = {folder}\n"
                       f"tls cafile = {CA}\ntls verify peer = ca_only\n")
        self.options = ["-s", conf]
        if direct:
            hosts = os.path.join(folder, "hosts")
            with open(hosts, "w", encoding="utf-8") as text:
                text.write(f"{side.address} {side.tls_name}\n")
            self.environment.update(LD_PRELOAD="libnss_wrapper.so", NSS_WRAPPER_HOSTS=hosts)
            self.who = ["-U", f"svc-portcullis@RXA.TRUST.TEST%{PASSWORD}", "--use-kerberos=required"]
        else:
            # nobody: the relay binds
            self.who = ["-U", "%"]

    def run(self, *command):
        # smbtorture makes a folder where it is started, and leaves it there when it is killed
        ran = subprocess.run(command, cwd=self.folder, env=self.environment, capture_output=True, timeout=60, check=False)
        return ran.returncode, ran.stdout.decode("utf-8", "replace"), ran.stderr.decode("utf-8", "replace")

    def torture(self, test):
        named = [f"--option=torture:ldap_userdn=CN=svc-portcullis,OU=Service Accounts,{os.environ['LAB_RXA_BASE']}",
                 f"--option=torture:ldap_secret={PASSWORD}"]
        # ldap.basic makes its binds itself, whoever it is
        who = ["-U", "somebody%secret", "--use-kerberos=off"] if test == "basic" and self.who[1] == "%" else self.who
        return self.run("timeout", "5", "smbtorture", *self.options, f"//{self.host}/x", *who, *named, f"ldap.{test}")

    def search(self, side, *options):
        """ldbsearch, which has Samba's controls and Samba's way of paging."""
        names = [side.names[name] for name in ("uid", "cn", "sn", "mail")]
        # direct by LDAPS and address: without Kerberos no name is needed
        who = ["-H", f"ldaps://{side.address}", "--simple-bind-dn=" + side.bind, "--password=" + PASSWORD] if side.bind else [
            "-H", f"ldap://{self.host}", *self.who]
        code, out, _ = self.run("timeout", "20", "ldbsearch", "--configfile=" + self.options[1], *who, "-b", side.base, *options,
                                side.word("(&{people}({ou}=Cardiology))"), *names)
        entries, _ = parsed(re.sub(r"\n ", "", out))
        return {"result": 0 if code == 0 else f"exit {code}", "entries": entries}


def verdict(code, out):
    if code == 124:
        return "no end"
    return "passes" if code == 0 and "success:" in out else "fails"


def parts(out):
    """How each part of ldap.basic went."""
    lines, went = out.split("\n"), {}
    for name, (begins, fails) in PARTS.items():
        at = [number for number, line in enumerate(lines) if line.startswith(begins)]
        if not at:
            went[name] = "not reached"
            continue
        rest = lines[at[0] + 1:]
        end = next((number for number, line in enumerate(rest) if line.startswith(("Testing", "Closing"))), None)
        if end is None:
            went[name] = "aborts"
            continue
        told = "\n".join([lines[at[0]], *rest[:end]])
        went[name] = "fails" if re.search(fails, told) else "passes"
    return went


def run(judge):
    mount = MOUNTS["RXA"]
    Relay(ADDRESS, GATEWAY, GATEWAY_NAME, CA, MAIL)
    with tempfile.TemporaryDirectory() as one, tempfile.TemporaryDirectory() as other:
        direct, through = Samba(one, mount.direct, True), Samba(other, mount.through, False)
        for test in TESTS:
            answers = [side.torture(test)[:2] for side in (direct, through)]
            if test == "basic":
                left, right = (parts(out) for _, out in answers)
                for part in PARTS:
                    judge.hear(f"smbtorture: ldap.basic {part}", {"result": left[part]}, {"result": right[part]})
            judge.hear(f"smbtorture: ldap.{test}", *({"result": verdict(*answer)} for answer in answers))
        for name, options in {"search": [], "sorted": ["--controls=server_sort:1:0:{uid}"], "sorted downwards": ["--controls=server_sort:1:1:{uid}"],
                              "pages of 10": ["--controls=paged_results:1:10"], "show deleted": ["--controls=show_deleted:0"],
                              "show deleted, critical": ["--controls=show_deleted:1"]}.items():
            answers = [samba.search(side, *map(side.word, options)) for samba, side in ((direct, mount.direct), (through, mount.through))]
            for answer in answers:
                answer["ordered"] = "sorted" in name
            judge.hear(f"smbtorture: ldbsearch {name}", mount.federated(answers[0]), mount.folded(answers[1]))
