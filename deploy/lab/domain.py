"""Fill one provisioned Samba domain, or change one thing of it while it runs, straight through its database.

  domain.py SMB.CONF fill hardened|weak --people N --ip A --service-password P --user-password P --pki DIR
  domain.py SMB.CONF on|off WHAT --pki DIR          (the "directory" lines of member.sh)
  domain.py SMB.CONF grow PEOPLE                    (a large domain: 6 computers for 10 people, 15 groups for 100)

One process for everything: samba-tool would start a Python for each of some thirty settings.
"""
import argparse
import subprocess
import sys
import time

import ldb
from samba.auth import system_session
from samba.dcerpc import security
from samba.ndr import ndr_pack, ndr_unpack
from samba.param import LoadParm
from samba.samdb import SamDB

import exposed
import people

NORMAL, DISABLED, NO_PASSWORD_NEEDED, NEVER_EXPIRES = 0x200, 0x2, 0x20, 0x10000
SMARTCARD_REQUIRED, NOT_DELEGATED, NO_PREAUTH, DES_ONLY, ANY_DELEGATION = 0x40000, 0x100000, 0x400000, 0x200000, 0x80000
PRIVILEGED = NORMAL | SMARTCARD_REQUIRED | NOT_DELEGATED
REPLICATION = ["1131f6aa-9c07-11d1-f79f-00c04fc2dcd2", "1131f6ad-9c07-11d1-f79f-00c04fc2dcd2"]
# Samba's own: write password-related attributes as given
BYPASS = ["relax:0", "local_oid:1.3.6.1.4.1.7165.4.3.12:0"]
RECYCLE_BIN = "766ddcd8-acd0-445e-f3b9-a7f9b6744f2a"


def days(count):
    """A duration as AD writes it: negative, in 100 ns."""
    return str(-count * 864_000_000_000)


def minutes(count):
    return str(-count * 600_000_000)


class Domain:
    def __init__(self, conf):
        self.settings = LoadParm()
        self.settings.load(conf)
        url = self.settings.get("private dir") + "/sam.ldb"
        self.db = SamDB(url=url, lp=self.settings, session_info=system_session(self.settings), flags=ldb.FLG_NOSYNC)
        self.base = str(self.db.domain_dn())
        self.dns = self.db.domain_dns_name()
        self.member = self.dns.split(".")[0]
        self.configuration = "CN=Configuration," + self.base
        self.keys = "CN=Public Key Services,CN=Services," + self.configuration
        self.heuristics = "CN=Directory Service,CN=Windows NT,CN=Services," + self.configuration

    def add(self, dn, controls=(), **attributes):
        self.db.add({"dn": dn, **{k: v for k, v in attributes.items() if v is not None}}, controls=list(controls))
        return dn

    def set(self, dn, controls=(), **attributes):
        change = ldb.Message(ldb.Dn(self.db, dn))
        for name, value in attributes.items():
            name = name.replace("_", "-")
            values = [] if value is None else value if isinstance(value, list) else [value]
            change[name] = ldb.MessageElement([str(v) if not isinstance(v, bytes) else v for v in values], ldb.FLAG_MOD_REPLACE, name)
        self.db.modify(change, controls=list(controls))

    def user(self, account, where, flags=NORMAL, password=None, **more):
        return self.add(
            f"CN={account},{where}", objectClass="user", sAMAccountName=account, userPrincipalName=f"{account}@{self.dns}",
            userAccountControl=str(flags), unicodePwd=f'"{password}"'.encode("utf-16-le") if password else None, **more)

    def ou(self, name, where=None):
        return self.add(f"OU={name},{where or self.base}", objectClass="organizationalUnit")

    def join(self, group, *members):
        change = ldb.Message(ldb.Dn(self.db, group))
        change["member"] = ldb.MessageElement(list(members), ldb.FLAG_MOD_ADD, "member")
        self.db.modify(change)

    def leave(self, group, *members):
        change = ldb.Message(ldb.Dn(self.db, group))
        change["member"] = ldb.MessageElement(list(members), ldb.FLAG_MOD_DELETE, "member")
        self.db.modify(change)

    def sid(self, dn):
        return str(ndr_unpack(security.dom_sid, self.db.search(dn, ldb.SCOPE_BASE, attrs=["objectSid"])[0]["objectSid"][0]))

    def aces(self, dn, add=(), remove=()):
        """Access control entries, as SDDL; one that is there already is not added twice."""
        hidden = "CN=Deleted Objects" in dn
        controls = ["show_deleted:1"] if hidden else []
        found = self.db.search(dn, ldb.SCOPE_BASE, attrs=["nTSecurityDescriptor"], controls=controls + ["sd_flags:1:15"])
        domain = security.dom_sid(self.db.get_domain_sid())
        sddl = ndr_unpack(security.descriptor, found[0]["nTSecurityDescriptor"][0]).as_sddl(domain)
        for ace in list(add) + list(remove):
            sddl = sddl.replace(ace, "")
        first = sddl.index("(", sddl.index("D:"))
        sddl = sddl[:first] + "".join(add) + sddl[first:]
        change = ldb.Message(ldb.Dn(self.db, dn))
        new = ndr_pack(security.descriptor.from_sddl(sddl, domain))
        change["sd"] = ldb.MessageElement(new, ldb.FLAG_MOD_REPLACE, "nTSecurityDescriptor")
        self.db.modify(change, controls=controls + ["sd_flags:1:4"])

    @staticmethod
    def now():
        """As a FILETIME."""
        return int((time.time() + 11_644_473_600) * 10_000_000)

    def der(self, kind, path):
        return subprocess.run(["openssl", kind, "-in", path, "-outform", "DER"], check=True, capture_output=True).stdout


def fill(domain, options):
    hardened = options.profile == "hardened"
    domain.db.transaction_start()
    common(domain, options, hardened)
    (harden if hardened else weaken)(domain, options)
    staff(domain, options, hardened)
    if not hardened:
        exposed.promote(domain)
    domain.db.transaction_commit()
    if hardened:
        # its own transaction: the module looks the functional level up in what is committed
        change = ldb.Message(ldb.Dn(domain.db, ""))
        value = f"CN=Partitions,{domain.configuration}:{RECYCLE_BIN}"
        change["enable"] = ldb.MessageElement([value], ldb.FLAG_MOD_ADD, "enableOptionalFeature")
        domain.db.modify(change)
    grant_deleted(domain, True)


def common(domain, options, hardened):
    base, conf = domain.base, domain.configuration
    # samba-tool refuses to raise above 2008 R2; these three values are what the rootDSE reports
    settings = f"CN=NTDS Settings,CN=DC1,CN=Servers,CN=Default-First-Site-Name,CN=Sites,{conf}"
    for dn in (settings, base, f"CN=Partitions,{conf}"):
        domain.set(dn, msDS_Behavior_Version=7 if hardened else 4)
    # GSSAPI by address, without a hosts file, and by name, which Samba adds itself where it has DNS
    controller = f"CN=DC1,OU=Domain Controllers,{base}"
    names = [bytes(v) for v in domain.db.search(controller, ldb.SCOPE_BASE, attrs=["servicePrincipalName"])[0]["servicePrincipalName"]]
    domain.set(controller, servicePrincipalName=names + [f"ldap/{host}".encode() for host in (options.ip, f"dc1.{domain.dns}")],
               operatingSystem="Windows Server 2022 Standard", operatingSystemVersion="10.0 (20348)")
    services = domain.ou("Service Accounts")
    account = domain.user("svc-portcullis", services, password=options.service_password, description="Portcullis, read only",
                          msDS_SupportedEncryptionTypes=None)
    domain.set(account, msDS_SupportedEncryptionTypes=24)
    # the hospital's own joiner-mover-leaver feed, for whoever wants to change staff over LDAP
    rota = domain.user("svc-rota", services, password=options.service_password, description="Staff records feed")
    domain.set(rota, msDS_SupportedEncryptionTypes=24)
    # password settings are for administrators' eyes unless somebody says otherwise
    if hardened:
        domain.aces(f"CN=Password Settings Container,CN=System,{base}", add=[f"(A;CI;RPLCRC;;;{domain.sid(account)})"])
    people_place = domain.ou("Staff")
    domain.aces(people_place, add=[f"(A;CI;GA;;;{domain.sid(rota)})"])
    portcullis = domain.ou("Portcullis")
    domain.add(f"CN=Canary,{portcullis}", objectClass="contact", displayName="Portcullis canary", description="Must stay readable")
    domain.user("card-monitor", portcullis, NORMAL | (SMARTCARD_REQUIRED if hardened else 0),
                None if hardened else options.user_password, description="Card logon probe")


def policy(domain, **values):
    domain.set(domain.base, **values)


def harden(domain, options):
    base = domain.base
    policy(domain, ms_DS_MachineAccountQuota=0, minPwdLength=14, pwdHistoryLength=24, pwdProperties=1, minPwdAge=0, maxPwdAge=days(365),
           lockoutThreshold=10, lockoutDuration=minutes(15), lockOutObservationWindow=minutes(15))
    domain.set(f"CN=krbtgt,CN=Users,{base}", msDS_SupportedEncryptionTypes=24)
    domain.set(f"CN=DC1,OU=Domain Controllers,{base}", msDS_SupportedEncryptionTypes=24)
    domain.set(f"CN=Administrator,CN=Users,{base}", userAccountControl=PRIVILEGED)
    # as after every change of the schema
    domain.leave(f"CN=Schema Admins,CN=Users,{base}", f"CN=Administrator,CN=Users,{base}")
    # Samba makes it for its DNS service, with a service name and no word on encryption types
    domain.set(f"CN=dns-dc1,CN=Users,{base}", msDS_SupportedEncryptionTypes=24)
    # no other controller logs it on
    domain.set(f"CN=DC1,OU=Domain Controllers,{base}", BYPASS, lastLogonTimestamp=domain.now())
    admins = domain.ou("Tier 0")
    for number in range(1, 4):
        # Samba has no process that marks who AdminSDHolder protects
        dn = domain.user(f"adm-{number}", admins, PRIVILEGED, displayName=f"Domain administrator {number}", adminCount="1")
        domain.join(f"CN=Domain Admins,CN=Users,{base}", dn)
        domain.join(f"CN=Protected Users,CN=Users,{base}", dn)
    domain.join(f"CN=Protected Users,CN=Users,{base}", f"CN=Administrator,CN=Users,{base}")
    domain.add(f"CN=tier0,CN=Password Settings Container,CN=System,{base}", objectClass="msDS-PasswordSettings", **{
        "msDS-PasswordSettingsPrecedence": "1", "msDS-PasswordReversibleEncryptionEnabled": "FALSE",
        "msDS-PasswordHistoryLength": "24", "msDS-PasswordComplexityEnabled": "TRUE", "msDS-MinimumPasswordLength": "16",
        "msDS-MinimumPasswordAge": "0", "msDS-MaximumPasswordAge": days(365), "msDS-LockoutThreshold": "5",
        "msDS-LockoutObservationWindow": minutes(30), "msDS-LockoutDuration": minutes(30),
        "msDS-PSOAppliesTo": f"CN=Domain Admins,CN=Users,{base}"})
    root, empty = domain.der("x509", f"{options.pki}/ca.crt"), b"\x00"
    for dn, revoked in ((f"CN=NTAuthCertificates,{domain.keys}", empty),
                        (f"CN=Lab Root CA,CN=Certification Authorities,{domain.keys}", domain.der("crl", f"{options.pki}/ca.crl"))):
        domain.add(dn, objectClass="certificationAuthority", cACertificate=root, authorityRevocationList=empty,
                   certificateRevocationList=revoked)
    domain.user("carol", f"CN=Users,{base}", password=options.user_password, displayName="Carol, password by exception")


def weaken(domain, options):
    base = domain.base
    policy(domain, ms_DS_MachineAccountQuota=10, minPwdLength=6, pwdHistoryLength=0, pwdProperties=16, minPwdAge=0, maxPwdAge=0,
           lockoutThreshold=0)
    domain.set(domain.heuristics, dSHeuristics="0000002")
    domain.set(f"CN=Guest,CN=Users,{base}", userAccountControl=66080)
    domain.set(f"CN=Administrator,CN=Users,{base}", userAccountControl=NORMAL | NEVER_EXPIRES)
    domain.set(f"CN=krbtgt,CN=Users,{base}", userAccountControl=NORMAL | DISABLED | NO_PREAUTH)
    domain.set(f"CN=krbtgt,CN=Users,{base}", BYPASS, pwdLastSet=130000000000000000)
    domain.add(f"CN=ESC1,CN=Certificate Templates,{domain.keys}", objectClass="pKICertificateTemplate", **{
        "msPKI-Certificate-Name-Flag": "1", "msPKI-Enrollment-Flag": "0", "msPKI-RA-Signature": "0",
        "pKIExtendedKeyUsage": "1.3.6.1.4.1.311.20.2.2", "msPKI-Minimal-Key-Size": "1024"})
    domain.add(f"CN=Old CA,CN=Enrollment Services,{domain.keys}", objectClass="pKIEnrollmentService", certificateTemplates="ESC1",
               dNSHostName=f"ca.{domain.dns}", cACertificate=domain.der("x509", f"{options.pki}/ca.crt"))
    for account, flags in (("roast", NORMAL | NO_PREAUTH), ("deleg", NORMAL | ANY_DELEGATION), ("desonly", NORMAL | DES_ONLY)):
        dn = domain.user(account, f"CN=Users,{base}", password=options.user_password)
        domain.set(dn, userAccountControl=flags)
    overreach(domain)
    admins = domain.ou("IT")
    for name in ("it-helpdesk", "it-backup"):
        dn = domain.user(name, admins, NORMAL | NEVER_EXPIRES, options.user_password)
        domain.join(f"CN=Domain Admins,CN=Users,{base}", dn)
    exposed.expose(domain, options, BYPASS)


def overreach(domain):
    """Rights that nobody ordinary should have: over the domain, its controllers, policies, keys and administrators."""
    base, keys = domain.base, domain.keys
    who = domain.sid(domain.user("svc-legacy", f"CN=Users,{base}", password=None))
    domain.aces(base, add=[f"(OA;;CR;{right};;{who})" for right in REPLICATION] + [f"(A;;WD;;;{who})"])
    domain.aces(f"CN=AdminSDHolder,CN=System,{base}", add=[f"(A;;WO;;;{who})"])
    # write member; reset password; write msDS-AllowedToActOnBehalfOfOtherIdentity; link policies
    domain.aces(f"CN=Domain Admins,CN=Users,{base}", add=[f"(OA;;WP;bf9679c0-0de6-11d0-a285-00aa003049e2;;{who})"])
    domain.aces(f"CN=Administrator,CN=Users,{base}", add=[f"(OA;;CR;00299570-246d-11d0-a768-00aa006e0529;;{who})"])
    domain.aces(f"CN=DC1,OU=Domain Controllers,{base}", add=[f"(OA;;WP;3f78c3e5-f79a-46bd-a0b8-9d18116ddc79;;{who})"])
    domain.aces(f"OU=Domain Controllers,{base}", add=[f"(OA;;WP;f30e3bbe-9ff0-11d1-b603-0000f80367c1;;{who})"])
    # the policy of the domain, of all guests (our own account is none); the one of the controllers, of one account
    domain.aces(f"CN={{31B2F340-016D-11D2-945F-00C04FB984F9}},CN=Policies,CN=System,{base}", add=["(A;;WP;;;DG)"])
    domain.aces(f"CN={{6AC1786C-016F-11D2-945F-00C04FB984F9}},CN=Policies,CN=System,{base}", add=[f"(A;;WP;;;{who})"])
    domain.aces(f"CN=Sites,{domain.configuration}", add=[f"(A;;WD;;;{who})"])
    domain.aces(keys, add=[f"(A;;CC;;;{who})"])
    domain.aces(f"CN=ESC1,CN=Certificate Templates,{keys}", add=[f"(A;;WP;;;{who})", "(OA;;CR;0e10c968-78fb-11d2-90d4-00c04f79dc55;;AU)"])


def staff(domain, options, hardened):
    place, member = f"OU=Staff,{domain.base}", domain.member
    for division in people.DIVISIONS:
        domain.ou(division, place)
    groups, teams, heads = domain.ou("Groups"), {}, {}
    card = SMARTCARD_REQUIRED if hardened else 0
    for number, who in people.everyone(options.people, member):
        named = {0: "alice", 1: "bob"}.get(number)
        if named:
            who.update(account=named, upn=f"{named}@{domain.dns}", given=named.title(), cn=f"{named.title()} {who['family']}",
                       display=f"{who['family'].upper()}, {named.title()} ({member.upper()})",
                       mail=f"{named}.{people.plain(who['family'])}@{member}.nhs.test")
        # without cards a few have a password, so that there is something to log on with
        password = options.user_password if named and not hardened else None
        flags = NORMAL | card | (0 if hardened or password else NO_PASSWORD_NEEDED) | (0 if who["enabled"] else DISABLED)
        dn = f"CN={who['cn']},OU={who['division']},{place}"
        heads.setdefault(number, dn)
        domain.add(
            dn, objectClass="user", sAMAccountName=who["account"], userPrincipalName=who["upn"], userAccountControl=str(flags),
            givenName=who["given"], sn=who["family"], displayName=who["display"], mail=who["mail"], title=who["title"],
            telephoneNumber=who["phone"], mobile=who["mobile"], department=who["department"], employeeNumber=who["number"],
            company=f"{member.upper()} NHS Trust", physicalDeliveryOfficeName=who["room"],
            manager=None if who["manager"] is None else heads[who["manager"]],
            employeeType="staff" if who["listed"] else "not-listed",
            unicodePwd=f'"{password}"'.encode("utf-16-le") if password else None)
        teams.setdefault(who["department"], []).append(dn)
    for name, members in teams.items():
        domain.add(f"CN={name} Team,{groups}", objectClass="group", sAMAccountName=f"{name} Team", groupType="-2147483646", member=members)


def crowd(domain, people_count):
    """The objects of a large domain, parents first: people, computers, then groups with six memberships for each person."""
    crowd = domain.ou("Crowd")
    wards = [domain.ou(f"Ward {n}", crowd) for n in range(people_count // 250 + 1)]
    machines = [domain.ou(f"Workstations {n}", crowd) for n in range(50)]
    shares, groups = domain.ou("Shares", crowd), max(people_count * 15 // 100, 1)
    members = [[] for _ in range(groups)]
    for number in range(people_count):
        who = people.person(number, domain.member)
        dn = f"CN={who['cn']} Crowd,{wards[number % len(wards)]}"
        for share in range(6):
            members[(number * 7 + share * 131) % groups].append(dn)
        yield dn, {
            "objectClass": "user", "sAMAccountName": f"crowd{number:06d}", "userPrincipalName": f"crowd{number:06d}@{domain.dns}",
            "userAccountControl": str(NORMAL | SMARTCARD_REQUIRED | (DISABLED if number % 40 == 0 else 0)),
            "givenName": who["given"], "sn": who["family"], "displayName": who["display"], "mail": f"crowd.{who['mail']}",
            "proxyAddresses": f"SMTP:crowd.{who['mail']}", "employeeNumber": f"C{number}"}
    for number in range(people_count * 6 // 10):
        yield f"CN=WS{number:06d},{machines[number % 50]}", {
            "objectClass": "computer", "sAMAccountName": f"WS{number:06d}$", "userAccountControl": "4096",
            "dNSHostName": f"ws{number:06d}.{domain.dns}", "operatingSystem": "Windows 11 Enterprise",
            "msDS-SupportedEncryptionTypes": "24"}
    for number in range(groups):
        name = f"GG-Ward-Share-{number:05d}"
        yield f"CN={name},{shares}", {
            "objectClass": "group", "sAMAccountName": name, "groupType": "-2147483646", "member": members[number] or None}


def grow(domain, people_count):
    """Told as it goes; what was committed stays when it is interrupted."""
    began, batch = time.time(), 5_000
    domain.db.transaction_start()
    for count, (dn, attributes) in enumerate(crowd(domain, people_count), 1):
        domain.add(dn, **attributes)
        if count % batch == 0:
            domain.db.transaction_commit()
            print(f"{count} objects, {time.time() - began:.0f} s", flush=True)
            domain.db.transaction_start()
    domain.db.transaction_commit()
    print(f"{domain.base}: {count} objects more in {time.time() - began:.0f} s")


def grant_deleted(domain, on):
    """List and Read on the Deleted Objects container: with it DirSync delivers deletions to an ordinary account."""
    ace = f"(A;CI;RPLC;;;{domain.sid('CN=svc-portcullis,OU=Service Accounts,' + domain.base)})"
    domain.aces(f"CN=Deleted Objects,{domain.base}", add=[ace] if on else [], remove=[] if on else [ace])


def grant_replication(domain, on):
    sid = domain.sid("CN=svc-portcullis,OU=Service Accounts," + domain.base)
    aces = [f"(OA;;CR;{right};;{sid})" for right in REPLICATION]
    domain.aces(domain.base, add=aces if on else [], remove=[] if on else aces)


def hide_account(domain, on):
    """Our account may not read one account's state (the property set User Account Restrictions): it is left out silently."""
    ace = f"(OD;;RP;4c164200-20c0-11d0-a768-00aa006e0529;;{domain.sid('CN=svc-portcullis,OU=Service Accounts,' + domain.base)})"
    domain.aces(f"CN=svc-rota,OU=Service Accounts,{domain.base}", add=[ace] if on else [], remove=[] if on else [ace])


def foreign_authority(domain, on, pki):
    """Somebody else's authority, and one that has run out, in place of the one that issues the cards."""
    foreign = [domain.der("x509", f"{pki}/../rogue/ca.crt"), domain.der("x509", f"{pki}/dc-{domain.member}-expired.crt")]
    domain.set(f"CN=NTAuthCertificates,{domain.keys}", cACertificate=foreign if on else domain.der("x509", f"{pki}/ca.crt"))


def scratch_account(domain, on, name, flags):
    dn = f"CN={name},OU=Service Accounts,{domain.base}"
    if on:
        domain.user(name, f"OU=Service Accounts,{domain.base}")
        domain.set(dn, userAccountControl=flags)
    else:
        domain.db.delete(dn)


def change(domain, on, what, pki):
    base = domain.base
    users = f"CN=Users,{base}"
    actions = {
        "privileged-without-smartcard": lambda: domain.set(
            f"CN=adm-1,OU=Tier 0,{base}", userAccountControl=NORMAL | NOT_DELEGATED | (0 if on else SMARTCARD_REQUIRED)),
        "machine-quota": lambda: policy(domain, ms_DS_MachineAccountQuota=10 if on else 0),
        "short-passwords": lambda: policy(domain, minPwdLength=6 if on else 14),
        "no-lockout": lambda: policy(domain, lockoutThreshold=0 if on else 10),
        "no-preauthentication": lambda: scratch_account(domain, on, "svc-scanner", NORMAL | NO_PREAUTH),
        "unconstrained-delegation": lambda: scratch_account(domain, on, "svc-report", NORMAL | ANY_DELEGATION),
        "anonymous-read": lambda: domain.set(domain.heuristics, dSHeuristics="0000002" if on else None),
        "guest": lambda: domain.set(f"CN=Guest,{users}", userAccountControl=66080 if on else 66082),
        "old-krbtgt": lambda: domain.set(f"CN=krbtgt,{users}", BYPASS, pwdLastSet=130000000000000000 if on else domain.now()),
        "replication-right": lambda: grant_replication(domain, on),
        "no-deleted-objects": lambda: grant_deleted(domain, not on),
        "hidden-account": lambda: hide_account(domain, on),
        "foreign-authority": lambda: foreign_authority(domain, on, pki),
    }
    actions[what]()


def main():
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments.add_argument("conf")
    verbs = arguments.add_subparsers(dest="verb", required=True)
    filling = verbs.add_parser("fill")
    filling.add_argument("profile", choices=["hardened", "weak"])
    filling.add_argument("--people", type=int, required=True)
    for name in ("--ip", "--service-password", "--user-password", "--pki"):
        filling.add_argument(name, required=True)
    for name in ("on", "off"):
        changing = verbs.add_parser(name)
        changing.add_argument("what")
        changing.add_argument("--pki", required=True)
    growing = verbs.add_parser("grow")
    growing.add_argument("people", type=int)
    options = arguments.parse_args()
    domain = Domain(options.conf)
    if options.verb == "fill":
        fill(domain, options)
    elif options.verb == "grow":
        grow(domain, options.people)
    else:
        change(domain, options.verb == "on", options.what, options.pki)


if __name__ == "__main__":
    sys.exit(main())
