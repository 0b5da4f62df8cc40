//! What is changed in the domain that passes so that one control fails: everything that is read over LDAP.

use portcullis::assess::probes::descriptor::mask;
use portcullis::baseline::assessment::Verdict;

use super::certificates::material;
use super::descriptor::{allow, owned_by, ruled, sid, sid_value};
use super::directory::{BASE, Entry};
use super::domain::{GATEWAYS, KEY, account, computer, group, interval, metadata, object};
use super::forest::{CLIENT, HEURISTICS, LAPS, SERVER, open, template, updates};
use super::world::World;

/// An agent enrols on behalf of others ([MS-WCCE] section 3.2.2.6.2.1.4.5).
pub const AGENT: &str = "1.3.6.1.4.1.311.20.2.1";
const ANY_PURPOSE: &str = "2.5.29.37.0";

/// However many, as where it depends on how fast this machine is.
pub const ANY: usize = usize::MAX;

/// One control, and what makes it fail or leaves it unknown.
#[derive(Debug, Clone, Copy)]
pub struct Case {
    pub control: &'static str,
    pub expected: Verdict,
    pub told: Told,
    pub change: fn(&mut World),
    /// Other controls that fail with it, and no other does.
    pub others: &'static [&'static str],
    /// How many others become unknown.
    pub blinds: usize,
}

#[derive(Debug, Clone, Copy)]
pub enum Told {
    /// The names of all offenders.
    Offenders(&'static str),
    /// A part of what was found.
    Found(&'static str),
}

/// A control that fails and names these offenders, while all others pass.
pub const fn fails(control: &'static str, offenders: &'static str, change: fn(&mut World)) -> Case {
    let told = Told::Offenders(offenders);
    Case { control, expected: Verdict::Fail, told, change, others: &[], blinds: 0 }
}

/// A control about the domain as a whole that fails, with a part of what was found.
pub const fn is_wrong(control: &'static str, found: &'static str, change: fn(&mut World)) -> Case {
    Case { told: Told::Found(found), ..fails(control, "", change) }
}

impl Case {
    /// These fail as well.
    pub const fn and(self, others: &'static [&'static str]) -> Case {
        Case { others, ..self }
    }

    /// So many others cannot be told any more.
    pub const fn blinding(self, blinds: usize) -> Case {
        Case { blinds, ..self }
    }
}

/// Rights, owners and our own account.
pub const RIGHTS: &[Case] = &[
    fails("access-root-keys", "nurse-1 on Key 1", |world| {
        let reads = ruled(&[allow(&sid(2_001), mask::CONTROL_ACCESS)]);
        world.directory.at("CN=Key 1").set("nTSecurityDescriptor", reads);
    }),
    fails("access-dns", "nurse-1 on MicrosoftDNS", |world| {
        let writes = ruled(&[allow(&sid(2_001), mask::WRITE_PROPERTY)]);
        world.directory.at("CN=MicrosoftDNS,CN=System").set("nTSecurityDescriptor", writes);
    }),
    fails("access-owners", "adm-1", |world| {
        world.directory.at("CN=adm-1").set("nTSecurityDescriptor", owned_by(&sid(2_001), &[]));
    }),
    fails("access-owners-others", "Desk", |world| {
        world.directory.at("CN={41C3}").set("nTSecurityDescriptor", owned_by(&sid(2_001), &[]));
    }),
    fails("access-system", "nurse-1 on Policies", |world| {
        let rules = ruled(&[allow(&sid(2_001), mask::FULL_CONTROL)]);
        world.directory.at("CN=Policies,CN=System").set("nTSecurityDescriptor", rules);
    }),
    fails("access-no-dead-rights", "S-1-5-21-1-2-3-9999 on Sites", |world| {
        let dead = ruled(&[allow(&sid(9_999), mask::CREATE_CHILD)]);
        world.directory.at("CN=Sites").set("nTSecurityDescriptor", dead);
    })
    .and(&["access-forest"]),
    is_wrong("our-account-cannot-write", "true", |world| {
        let writes = ruled(&[allow(&sid(GATEWAYS), mask::WRITE_PROPERTY)]);
        world.directory.at("OU=Ward,OU=Staff").set("nTSecurityDescriptor", writes);
    }),
    is_wrong("our-account-cannot-read-laps", "true", |world| {
        let reads = ruled(&[allow(&sid(GATEWAYS), mask::CONTROL_ACCESS | mask::READ_PROPERTY).about(LAPS)]);
        world.directory.at("CN=Computers").set("nTSecurityDescriptor", reads);
    }),
];

/// Accounts, groups and controllers.
pub const ACCOUNTS: &[Case] = &[
    // whoever is asked says that it is another one
    fails("controllers-all-measured", "DC2$", |world| {
        let twin = computer("CN=DC2,OU=Domain Controllers", 1_010, 0x8_2000, 516)
            .with("serverReferenceBL", format!("CN=DC2,CN=Servers,CN=Site,CN=Sites,CN=Configuration,{BASE}"));
        world.directory.put(twin);
    }),
    fails("accounts-no-clear-password", "nurse-7", |world| {
        world.directory.at("CN=nurse-7").set("unixUserPassword", "not a secret");
    }),
    fails("controllers-no-keys", "DC1$", |world| {
        world.directory.at("CN=DC1").set("msDS-KeyCredentialLink", "B:4:0200:CN=DC1");
    }),
    fails("accounts-no-history-computers", "WS1$", |world| {
        world.directory.at("CN=WS1").set("sIDHistory", sid_value(&sid(512)));
    }),
    fails("accounts-no-history-groups", "Gateways", |world| {
        world.directory.at("CN=Gateways").set("sIDHistory", sid_value("S-1-5-21-9-9-9-519"));
    }),
    fails("privileged-no-foreign-mappings", "adm-1", |world| {
        world.directory.at("CN=adm-1").set("altSecurityIdentities", "Kerberos:eve@EVIL.TEST");
    }),
    fails("evidence-computers-visible", "WS1$", |world| {
        let hidden = ["userAccountControl", "pwdLastSet", "lastLogonTimestamp"];
        world.directory.at("CN=WS1").hide(&hidden);
    })
    // whatever is asked of its flags
    .blinding(3),
    is_wrong("evidence-controllers-visible", "0", |world| {
        world.directory.at("CN=DC1").hide(&["userAccountControl", "primaryGroupID"]);
    })
    .and(&["evidence-computers-visible"])
    .blinding(10),
    is_wrong("evidence-groups-visible", "4", |world| {
        world.directory.remove("CN=Print Operators");
    })
    // who is in it is not known
    .blinding(32),
    fails("identity-upn-unique", "nurse-4, nurse-5", |world| {
        world.directory.at("CN=nurse-4").set("userPrincipalName", "nurse-5@scripted.test");
    })
    // one name logs both on
    .and(&["identity-logon-names-unique"]),
    fails("identity-logon-names-unique", "nurse-4, nurse-5", |world| {
        world.directory.at("CN=nurse-5").set("userPrincipalName", "olivia@scripted.test");
        world.directory.at("CN=nurse-4").set("userPrincipalName", "nurse-5@scripted.test");
    }),
    fails("privileged-no-keys", "adm-1", |world| {
        world.directory.at("CN=adm-1").set("msDS-KeyCredentialLink", "B:4:0200:CN=adm-1");
    }),
    fails("privileged-not-on-read-only-controllers", "adm-2", |world| {
        world.directory.at("CN=adm-2").set("msDS-RevealedDSAs", "CN=RODC1");
    }),
    fails("privileged-key-admins-empty", "Key Admins", |world| {
        world.directory.join("CN=adm-1", "CN=Key Admins");
    }),
    fails("ruling-groups-flat", "adm-3", |world| {
        let directory = &mut world.directory;
        let tier = group("CN=Tier 0,OU=Tier 0", &sid(1_301), &[]).with("adminCount", "1");
        directory.put(tier);
        directory.put(account("CN=adm-3,OU=Tier 0", 1_203, 0x14_0200).with("adminCount", "1"));
        directory.join("CN=Tier 0,OU=Tier 0", "CN=Domain Admins");
        directory.join("CN=adm-3", "CN=Tier 0,OU=Tier 0");
        directory.join("CN=adm-3", "CN=Protected Users");
    }),
    is_wrong("krbtgt-key-really-changed", "400d", |world| {
        world.directory.at("CN=krbtgt").set("replPropertyMetaData", metadata(KEY, 400));
    }),
];

/// Settings of the domain, the forest and the controller that answers.
pub const SETTINGS: &[Case] = &[
    is_wrong("controllers-are-active-directory", "1.2.840.113556.1.4.1851", |world| {
        world.directory.root.set("supportedCapabilities", "1.2.840.113556.1.4.1851");
    }),
    is_wrong("controllers-replicated", "false", |world| world.directory.root.set("isSynchronized", "FALSE")),
    is_wrong("directory-logon-mechanisms", "DIGEST-MD5", |world| {
        world.directory.root.set("supportedSASLMechanisms", "DIGEST-MD5");
    }),
    is_wrong("directory-checks-creation", "0", |world| {
        world.directory.at("CN=Directory Service").set("dSHeuristics", &HEURISTICS[..20]);
    }),
    fails("directory-zones-secure", "scripted.test", |world| {
        world.directory.at("DC=scripted.test,CN=MicrosoftDNS").set("dNSProperty", updates(1));
    }),
    fails("directory-forest-zones-secure", "_msdcs.scripted.test", |world| {
        world.directory.at("DC=_msdcs.scripted.test").set("dNSProperty", updates(1));
    }),
    is_wrong("lockout-duration", "1m", |world| {
        world.directory.at("DC=scripted,DC=test").set("lockoutDuration", interval(60));
    }),
    is_wrong("lockout-window", "1m", |world| {
        world.directory.at("DC=scripted,DC=test").set("lockOutObservationWindow", interval(60));
    }),
    is_wrong("smartcard-passwords-roll", "false", |world| {
        let domain = world.directory.at("DC=scripted,DC=test");
        domain.set("msDS-ExpirePasswordsOnSmartCardOnlyAccounts", "FALSE");
    }),
    fails("password-policies-not-weaker", "Old applications", |world| {
        let weak =
            object("CN=Old applications,CN=Password Settings Container,CN=System", "msDS-PasswordSettings");
        world.directory.put(settings_of(weak).with("msDS-MinimumPasswordLength", "6"));
    }),
    is_wrong("canary-readable", "false", |world| world.canary = "CN=Canary,OU=Staff,DC=scripted,DC=test"),
];

fn settings_of(entry: Entry) -> Entry {
    entry
        .with("msDS-PasswordSettingsPrecedence", "20")
        .with("msDS-PasswordHistoryLength", "24")
        .with("msDS-PasswordComplexityEnabled", "TRUE")
        .with("msDS-PasswordReversibleEncryptionEnabled", "FALSE")
        .with("msDS-LockoutThreshold", "5")
        .with("msDS-PSOAppliesTo", "CN=svc-web,OU=Services,DC=scripted,DC=test")
}

fn trusted(world: &mut World, attribute: &str, value: &str) {
    world.directory.at("CN=partner.test").set(attribute, value);
}

/// Trusts. Attributes of trusts: [MS-ADTS] section 6.1.6.7.9.
pub const TRUSTS: &[Case] = &[
    // selective authentication without quarantine, neither of a forest
    fails("trusts-filter-sids", "partner.test", |world| trusted(world, "trustAttributes", "16")),
    fails("trusts-no-ticket-delegation", "partner.test", |world| {
        trusted(world, "trustAttributes", &(0x4 | 0x10 | 0x800).to_string());
    }),
    fails("trusts-no-downlevel", "partner.test", |world| trusted(world, "trustType", "1")),
    fails("trusts-selective-authentication", "partner.test", |world| trusted(world, "trustAttributes", "4")),
    fails("trusts-aes", "partner.test", |world| trusted(world, "msDS-SupportedEncryptionTypes", "4")),
    fails("trusts-passwords-renewed", "partner.test", |world| {
        trusted(world, "whenChanged", "20200101120000.0Z");
    }),
];

/// Adds a template by which everybody may enrol, and publishes it.
pub fn publish(world: &mut World, name: &str, usages: &[&str], flags: &str) {
    let made = open(template(name, usages)).with("msPKI-Certificate-Name-Flag", flags);
    world.directory.put(made);
    world.directory.at("CN=CA1,CN=Enrollment Services").add("certificateTemplates", name);
}

/// Templates and the certificates of authorities.
pub const TEMPLATES: &[Case] = &[
    fails("templates-no-any-purpose", "Everything", |world| {
        publish(world, "Everything", &[CLIENT, ANY_PURPOSE], "0");
    }),
    fails("templates-no-agents", "Agent", |world| publish(world, "Agent", &[AGENT], "0")),
    fails("templates-no-server-names", "AnyServer", |world| publish(world, "AnyServer", &[SERVER], "1")),
    fails("templates-authorities-strong", "CN=Issuing", |world| {
        world.directory.at("CN=Issuing,CN=AIA").set("cACertificate", material().expired_issuing.clone());
    }),
];

/// The lists of the cards.
pub const CARDS: &[Case] = &[
    fails("revocation-card-issuers-not-revoked", "CN=Card Issuer", |world| {
        let revoked = material().revoked_card_issuer.clone();
        world.directory.at("CN=NTAuthCertificates").set("cACertificate", revoked);
    }),
    fails("revocation-cards-list-fresh", "CN=monitor", |world| world.card_list = "old.crl"),
    fails("revocation-cards-listed", "CN=monitor", |world| world.card_list = ""),
    fails("revocation-cards-list-reachable", "CN=monitor", |world| world.card_list = "missing.crl")
        // what it says is not known
        .blinding(1),
];
