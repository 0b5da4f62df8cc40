"""What else is wrong in a weak domain: one example for each thing that a baseline looks for and that Samba can hold.

Used by domain.py. Nothing here changes how anybody logs on.
"""
import ldb
from samba.dcerpc import security
from samba.ndr import ndr_pack

NORMAL, WORKSTATION, CONTROLLER, NO_PREAUTH, DES_ONLY, ANY_DELEGATION = 0x200, 0x1000, 0x2000, 0x400000, 0x200000, 0x80000
REVERSIBLE, NEVER_EXPIRES, NO_PASSWORD_NEEDED, PROTOCOL_TRANSITION = 0x80, 0x10000, 0x20, 0x1000000
# as it was written in 2012
OLD = 130000000000000000


def expose(domain, options, bypass):
    kerberos(domain, options)
    groups(domain, bypass)
    histories(domain, bypass)
    controllers(domain, bypass)
    certificates(domain, options)
    people(domain, bypass)
    computers(domain, bypass)
    administrators(domain, bypass)


def computer(domain, name, **more):
    dn = f"CN={name},CN=Computers,{domain.base}"
    domain.add(dn, objectClass="computer", sAMAccountName=f"{name}$", userAccountControl=str(WORKSTATION), **more)
    return dn


def kerberos(domain, options):
    dc = f"dc1.{domain.dns}"
    for name, types in (("svc-web", None), ("svc-rc4", "4")):
        domain.user(name, f"CN=Users,{domain.base}", password=options.user_password, servicePrincipalName=f"http/{name}.{domain.dns}",
                    **{"msDS-SupportedEncryptionTypes": types, "msDS-AllowedToDelegateTo": f"cifs/{dc}"})
    computer(domain, "PC-RC4", **{"msDS-SupportedEncryptionTypes": "4", "msDS-AllowedToDelegateTo": f"ldap/{dc}"})
    domain.set(computer(domain, "PC-DES"), userAccountControl=WORKSTATION | DES_ONLY)
    anyone = ndr_pack(security.descriptor.from_sddl("O:BAD:(A;;GA;;;AU)", security.dom_sid(domain.db.get_domain_sid())))
    domain.set(f"CN=svc-web,CN=Users,{domain.base}", userAccountControl=NORMAL | PROTOCOL_TRANSITION | REVERSIBLE)
    for dn in (f"CN=DC1,OU=Domain Controllers,{domain.base}", f"CN=krbtgt,CN=Users,{domain.base}", computer(domain, "PC-RBCD")):
        domain.set(dn, msDS_AllowedToActOnBehalfOfOtherIdentity=anyone)


def groups(domain, bypass):
    base = domain.base
    helpdesk, backup = f"CN=it-helpdesk,OU=IT,{base}", f"CN=it-backup,OU=IT,{base}"
    domain.set(helpdesk, userAccountControl=NORMAL | NEVER_EXPIRES | NO_PREAUTH,
               servicePrincipalName=f"http/helpdesk.{domain.dns}", mail=f"helpdesk@{domain.member}.nhs.test", scriptPath="logon.cmd")
    domain.set(helpdesk, bypass, pwdLastSet=OLD)
    domain.set(backup, primaryGroupID=512)
    domain.join(f"CN=Enterprise Admins,CN=Users,{base}", helpdesk)
    domain.join(f"CN=Backup Operators,CN=Builtin,{base}", backup)
    domain.join(f"CN=Domain Admins,CN=Users,{base}", computer(domain, "SRV-BACKUP"))
    domain.add(f"CN=DnsAdmins,CN=Users,{base}", objectClass="group", sAMAccountName="DnsAdmins", member=helpdesk)
    domain.db.modify_ldif(f"dn: CN=Administrators,CN=Builtin,{base}\nchangetype: modify\nadd: member\nmember: <SID=S-1-5-21-9-9-9-1104>\n")
    anonymous = f"CN=Pre-Windows 2000 Compatible Access,CN=Builtin,{base}"
    domain.db.modify_ldif(f"dn: {anonymous}\nchangetype: modify\nadd: member\nmember: <SID=S-1-5-7>\n")
    domain.join(f"CN=Group Policy Creator Owners,CN=Users,{base}", helpdesk)
    odd = computer(domain, "PC-USERS")
    domain.join(f"CN=Domain Users,CN=Users,{base}", odd)
    domain.set(odd, primaryGroupID=513)


def histories(domain, bypass):
    base, own = domain.base, domain.db.get_domain_sid()
    for account, history in (("roast", "S-1-5-21-9-9-9-512"), ("deleg", f"{own}-1999")):
        domain.set(f"CN={account},CN=Users,{base}", bypass, sIDHistory=ndr_pack(security.dom_sid(history)))
    domain.set(f"CN=desonly,CN=Users,{base}", unixUserPassword="plain", altSecurityIdentities=["X509:<S>CN=alice", "X509:<SKI>0a"])
    domain.set(f"CN=roast,CN=Users,{base}", altSecurityIdentities="X509:<SKI>0a")


def controllers(domain, bypass):
    domain.set(f"CN=DC1,OU=Domain Controllers,{domain.base}", bypass, pwdLastSet=OLD,
               operatingSystem="Windows Server 2008 R2 Standard", operatingSystemVersion="6.1 (7601)")
    # besides anonymous requests, to the address book too: no protection for operator groups, names given twice
    domain.set(domain.heuristics, dSHeuristics="000000210100000f00021", tombstoneLifetime=60)
    # a controller by its flags that stands in no site
    domain.set(computer(domain, "DC9"), bypass, userAccountControl=CONTROLLER | ANY_DELEGATION)
    page = f"CN=user-Display,CN=409,CN=DisplaySpecifiers,{domain.configuration}"
    domain.db.modify(ldb.Message.from_dict(domain.db, {"dn": page, "adminContextMenu": ["9,&Tools,\\\\files\\tools\\run.vbs"]},
                                           ldb.FLAG_MOD_ADD))


def certificates(domain, options):
    keys, rogue = domain.keys, domain.der("x509", f"{options.pki}/../rogue/ca.crt")
    ended = domain.der("x509", f"{options.pki}/dc-{domain.member}-expired.crt")
    for name, certificate in (("Rogue Root", rogue), ("Old Root", ended)):
        domain.add(f"CN={name},CN=Certification Authorities,{keys}", objectClass="certificationAuthority", cACertificate=certificate,
                   authorityRevocationList=b"\x00", certificateRevocationList=b"\x00")
    domain.add(f"CN=ESC9,CN=Certificate Templates,{keys}", objectClass="pKICertificateTemplate", **{
        "msPKI-Certificate-Name-Flag": "0", "msPKI-Enrollment-Flag": str(0x80000), "msPKI-RA-Signature": "0",
        "pKIExtendedKeyUsage": "1.3.6.1.5.5.7.3.2", "msPKI-Minimal-Key-Size": "2048"})
    domain.add(f"CN=Lab Issuing CA,CN=Enrollment Services,{keys}", objectClass="pKIEnrollmentService", cACertificate=rogue,
               dNSHostName=f"ca.{domain.dns}", certificateTemplates=["ESC1", "ESC9"])
    group = domain.add(f"CN=Assured,CN=Users,{domain.base}", objectClass="group", sAMAccountName="Assured", groupType="-2147483640")
    domain.add(f"CN=1.1,CN=OID,{keys}", objectClass="msPKI-Enterprise-Oid", **{
        "msPKI-Cert-Template-OID": "1.3.6.1.4.1.311.21.8.1.1", "msDS-OIDToGroupLink": group})


def people(domain, bypass):
    """Two of one address and staff number, a foreign domain and suffix, no name, silent for years; some more than is tolerated. (Samba refuses a principal name
    that is another account's, so that stays to the scripted tests.)"""
    place = domain.ou("Shared")
    for number in range(12):
        dn = domain.add(f"CN=shared-{number},{place}", objectClass="user", sAMAccountName=f"shared-{number}", userAccountControl=str(NORMAL | NO_PASSWORD_NEEDED),
                        mail="shared@elsewhere.example", employeeNumber="1", userPrincipalName=f"shared-{number}@elsewhere.local")
        domain.set(dn, bypass, lastLogonTimestamp=OLD)
    for number in range(6):
        dn = domain.add(f"CN=none-{number},{place}", objectClass="user", sAMAccountName=f"none-{number}", userAccountControl=str(NORMAL | NO_PASSWORD_NEEDED),
                        mail=f"none-{number}@{domain.member}.nhs.test")
        domain.set(dn, bypass, lastLogonTimestamp=OLD)


def computers(domain, bypass):
    domain.set(computer(domain, "PC-ANY"), userAccountControl=WORKSTATION | ANY_DELEGATION, altSecurityIdentities="X509:<S>CN=pc-any")
    domain.set(computer(domain, "PC-OLD", operatingSystem="Windows 7 Professional"), bypass, lastLogonTimestamp=domain.now())
    for name in ("PC-SILENT", "AZUREADSSOACC"):
        domain.set(computer(domain, name), bypass, lastLogonTimestamp=OLD, pwdLastSet=OLD)


def administrators(domain, bypass):
    """More than anybody watches, two of them silent."""
    group, place = f"CN=Domain Admins,CN=Users,{domain.base}", domain.ou("Administrators")
    crowd = [domain.user(f"root-{number}", place, NORMAL | NO_PASSWORD_NEEDED) for number in range(52)]
    for dn in crowd[:2]:
        domain.set(dn, bypass, lastLogonTimestamp=OLD)
    domain.join(group, *crowd)


def promote(domain):
    """Somebody of the staff, who is published with all others."""
    found = domain.db.search(f"OU=Staff,{domain.base}", ldb.SCOPE_SUBTREE, f"(sAMAccountName={domain.member}00005)", attrs=["cn"])
    domain.join(f"CN=Domain Admins,CN=Users,{domain.base}", *(str(entry.dn) for entry in found))
