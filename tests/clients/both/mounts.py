"""What is asked on both sides: the same question in a directory's own words and in those of the front door, and answers
brought to one form (src/namespace/README.md has the mapping).

A question is text with {braces}: {uid} and the like are attributes, {people} whom the agreement shows, {base} the mount."""
import os
from dataclasses import dataclass

# federated name: name in Active Directory (src/namespace/mapping.rs)
RENAMED = {"uid": "sAMAccountName", "o": "company", "ou": "department"}
# what the agreement of the national mail application releases (policies/national/releases/clinical-directory.yaml)
RELEASED = ["uid", "cn", "givenName", "sn", "displayName", "o", "ou", "mail"]
CLASSES = {"user": "inetOrgPerson"}
LISTED = "(mail=*)(!(employeeType=not-listed))"
PKI, CA, PASSWORD = os.environ["LAB_PKI"], os.environ["LAB_CA"], os.environ["LAB_SERVICE_PASSWORD"]
GATEWAY, GATEWAY_NAME = os.environ["LAB_GATEWAY"], "gateway.national.test"
MAIL = f"{PKI}/good/client-mail"


@dataclass(frozen=True)
class Side:
    """One way to a directory. Without a name to bind as it is SASL EXTERNAL with the certificate."""
    address: str
    tls_name: str
    base: str
    names: dict
    people: str
    bind: str = ""
    certificate: str = MAIL

    @property
    def uri(self):
        return f"ldaps://{self.address}"

    def word(self, text):
        """The question in this side's words."""
        return text.format(people=self.people, base=self.base, **self.names)


@dataclass(frozen=True)
class Mount:
    name: str
    direct: Side
    through: Side
    active_directory: bool

    def dn(self, dn):
        """A direct name as the front door writes it, folded."""
        dn, base = dn.lower(), self.direct.base.lower()
        assert dn == base or dn.endswith("," + base), f"{dn} is not below {base}"
        return dn[:len(dn) - len(base)] + self.through.base.lower()

    def federated(self, answer):
        """An answer of the directory itself as it has to come through: names carried over, only what is released."""
        if "entries" not in answer:
            return answer
        back = {self.direct.names[name].lower(): name.lower() for name in RELEASED}
        entries = []
        for dn, attributes in answer["entries"]:
            seen = {back[name]: values for name, values in attributes.items() if name in back}
            if "objectclass" in attributes:
                seen["objectclass"] = sorted(CLASSES.get(value, value) for value in attributes["objectclass"])
            entries.append((self.dn(dn), seen))
        return {**answer, "entries": entries}

    def folded(self, answer):
        """An answer of the front door, as it came: whatever was not released would show."""
        if "entries" not in answer:
            return answer
        return {**answer, "entries": [(dn.lower(), attributes) for dn, attributes in answer["entries"]]}


def _through(ods):
    names = {name: name for name in RELEASED}
    return Side(GATEWAY, GATEWAY_NAME, f"ou={ods},o=federation", names, "(objectClass=inetOrgPerson)")


def _mounts():
    standard = {name: name for name in RELEASED}
    suffix = os.environ["LAB_NATIONAL_SUFFIX"]
    national = Side(os.environ["LAB_NATIONAL"], "directory.national.test", suffix, standard,
                    f"(objectClass=inetOrgPerson){LISTED}", f"cn=portcullis,ou=services,{suffix}")
    member = Side(os.environ["LAB_RXA"], "dc1.rxa.trust.test", os.environ["LAB_RXA_BASE"], {**standard, **RENAMED},
                  f"(objectCategory=person)(objectClass=user){LISTED}", "svc-portcullis@rxa.trust.test")
    return {"RXA": Mount("RXA", member, _through("RXA"), True), "national": Mount("national", national, _through("national"), False)}


MOUNTS = _mounts()


def attributes(pairs):
    """Names folded, values in order and as text: how every asker hands entries on."""
    seen = {}
    for name, values in pairs:
        texts = [value.decode("utf-8", "backslashreplace") if isinstance(value, bytes) else str(value) for value in values or []]
        seen.setdefault(name.lower(), []).extend(texts)
    return {name: sorted(values) for name, values in seen.items()}
