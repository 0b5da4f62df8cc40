//! Controllers that cut short, deny, dawdle, change or talk nonsense: what they leave open is unknown, with the reason, and
//! never passes.

use std::time::Duration;

use portcullis::baseline::assessment::Verdict;

use super::cases::{AGENT, ANY, Case, fails, is_wrong, publish};
use super::descriptor::{dark, narrow, ruled};
use super::directory::{Fault, Trouble};
use super::domain::{account, object};
use super::world::World;

const USERS: &str = "DC=scripted,DC=test (&(objectClass=user)(!(objectClass=computer)))";
const DESCRIPTORS: &str = "DC=scripted,DC=test (|(objectClass=domainDNS)";

/// A control that cannot be told, with a part of the reason; so many others cannot be told either, and none fails.
pub const fn leaves_open(
    control: &'static str,
    reason: &'static str,
    blinds: usize,
    change: fn(&mut World),
) -> Case {
    Case { expected: Verdict::Unknown, ..is_wrong(control, reason, change).blinding(blinds) }
}

fn trouble(world: &mut World, search: &'static str, later: bool, fault: Fault) {
    world.directory.troubles.push(Trouble { search, later, fault });
}

/// Searches that do not end as they should.
pub const SEARCHES: &[Case] = &[
    leaves_open("evidence-complete", "result code 4", 48, |world| {
        trouble(world, USERS, false, Fault::Ends(7, 4));
    }),
    // the second page never comes
    leaves_open("evidence-complete", "result code 51", 48, |world| {
        trouble(world, USERS, true, Fault::Ends(0, 51));
    }),
    leaves_open("evidence-accounts-visible", "result code 50", 48, |world| {
        trouble(world, USERS, false, Fault::Ends(0, 50));
    }),
    leaves_open("evidence-complete", "did not end within the 1 s of the pass", ANY, |world| {
        world.allotted = Duration::from_secs(1);
        trouble(world, USERS, false, Fault::Slow(Duration::from_secs(3)));
    }),
    leaves_open("access-domain", "result code 4", 21, |world| {
        trouble(world, DESCRIPTORS, false, Fault::Ends(3, 4));
    }),
    leaves_open(
        "privileged-count",
        "a search for privileged accounts ended with result code 1",
        39,
        |world| {
            trouble(world, "(objectClass=group)", true, Fault::Ends(0, 1));
        },
    ),
    leaves_open("templates-no-agents", "result code 50", 0, |world| {
        publish(world, "Agent", &[AGENT], "0");
        trouble(world, "CN=Enrollment Services,", false, Fault::Ends(0, 50));
    }),
];

/// What our account is not shown.
pub const DENIED: &[Case] = &[
    // who knows how many accounts are in it
    leaves_open("evidence-accounts-visible", "may not list what is below `OU=Ward,OU=Staff", 78, |world| {
        world.directory.at("OU=Ward,OU=Staff").set("nTSecurityDescriptor", dark());
    }),
    // no entry denies anything: what is not allowed is not shown
    leaves_open(
        "evidence-accounts-visible",
        "every property of privileged `CN=Domain Admins",
        ANY,
        |world| {
            world.directory.join("CN=nurse-1", "CN=Domain Admins");
            let group = world.directory.at("CN=Domain Admins");
            group.hide(&["member"]);
            group.set("nTSecurityDescriptor", narrow());
        },
    ),
    leaves_open("evidence-accounts-visible", "every property of privileged `CN=adm-1", ANY, |world| {
        let account = world.directory.at("CN=adm-1");
        account.hide(&["servicePrincipalName"]);
        account.set("nTSecurityDescriptor", narrow());
    }),
    leaves_open("templates-no-agents", "the public key infrastructure's `cn=agent", ANY, |world| {
        publish(world, "Agent", &[AGENT], "0");
        let template = world.directory.at("CN=Agent");
        template.hide(&["msPKI-Certificate-Name-Flag"]);
        template.set("nTSecurityDescriptor", narrow());
    }),
    leaves_open("ldap-dsheuristics-anonymous", "of the forest's `CN=Directory Service", ANY, |world| {
        let service = world.directory.at("CN=Directory Service");
        service.hide(&["dSHeuristics"]);
        service.set("nTSecurityDescriptor", narrow());
    }),
    // the schema's word, not a list of access
    leaves_open("smartcard-no-weak-mappings", "the schema hides `altSecurityIdentities`", ANY, |world| {
        let attribute = object("CN=Alt-Security-Identities,CN=Schema,CN=Configuration", "attributeSchema")
            .with("lDAPDisplayName", "altSecurityIdentities")
            .with("searchFlags", "128");
        world.directory.put(attribute);
    }),
    leaves_open("controllers-all-measured", "does not say which controller it is", 0, |world| {
        world.directory.root.hide(&["serverName"]);
    }),
    // which templates it issues by
    leaves_open("templates-no-agents", "the public key infrastructure's `cn=ca1", ANY, |world| {
        publish(world, "Agent", &[AGENT], "0");
        let service = world.directory.at("CN=CA1,CN=Enrollment Services");
        service.hide(&["certificateTemplates"]);
        service.set("nTSecurityDescriptor", narrow());
    }),
    leaves_open(
        "templates-authorities-strong",
        "the public key infrastructure's `cn=ntauthcertificates",
        ANY,
        |world| {
            let store = world.directory.at("CN=NTAuthCertificates");
            store.hide(&["cACertificate"]);
            store.set("nTSecurityDescriptor", narrow());
        },
    ),
    // no link is seen where links may be hidden
    leaves_open("access-controller-policies", "may not read it", ANY, |world| {
        let unit = world.directory.at("OU=Domain Controllers");
        unit.hide(&["gPLink"]);
        unit.set("nTSecurityDescriptor", narrow());
    }),
    leaves_open("access-controller-policies", "may not read it", ANY, |world| {
        let links = "[LDAP://CN={0},CN=Policies,CN=System,DC=scripted,DC=test;0]";
        world.directory.at("OU=Domain Controllers").set("gPLink", links);
    }),
    leaves_open("machine-account-quota-zero", "may not read it", 0, |world| {
        world.directory.at("DC=scripted,DC=test").hide(&["ms-DS-MachineAccountQuota"]);
    }),
    leaves_open("access-admin-holder", "may not read it", 5, |world| {
        world.directory.at("CN=AdminSDHolder").hide(&["nTSecurityDescriptor"]);
    }),
    leaves_open("templates-no-agents", "may not read it", 5, |world| {
        publish(world, "Agent", &[AGENT], "0");
        world.directory.at("CN=Agent").hide(&["nTSecurityDescriptor"]);
    }),
    leaves_open("password-policies-not-weaker", "may not read all of them", 0, |world| {
        world.directory.at("CN=Password Settings Container").set("nTSecurityDescriptor", ruled(&[]));
    }),
    leaves_open("canary-readable", "groups cannot be read", 160, |world| {
        world.directory.at("CN=svc-portcullis").hide(&["tokenGroups"]);
    }),
];

/// Members of groups come in ranges.
pub const RANGES: &[Case] = &[
    // the last of them is seen
    fails("privileged-no-keys", "adm-2", |world| {
        world.directory.range = 1;
        world.directory.at("CN=adm-2").set("msDS-KeyCredentialLink", "B:4:0200:CN=adm-2");
    }),
    leaves_open("ruling-groups-flat", "gap", 31, |world| crowd(world, 6)),
    // the gap is before the last range
    leaves_open("ruling-groups-flat", "gap", 31, |world| crowd(world, 4)),
    leaves_open("privileged-count", "changed while they were read", 31, |world| crowd(world, 3)),
];

/// So many Domain Admins, two at a time, and one is left out between.
fn crowd(world: &mut World, many: u32) {
    let directory = &mut world.directory;
    (directory.range, directory.gap) = (2, 1);
    for n in 3..many {
        let name = format!("CN=adm-{n}");
        directory.put(account(&format!("{name},OU=Tier 0"), 1_200 + n, 0x14_0200).with("adminCount", "1"));
        directory.join(&name, "CN=Domain Admins");
        directory.join(&name, "CN=Protected Users");
    }
}

/// Values that are not what they should be.
pub const NONSENSE: &[Case] = &[
    leaves_open("access-admin-holder", "malformed", 6, |world| {
        world.directory.at("CN=AdminSDHolder").set("nTSecurityDescriptor", &ruled(&[])[..40]);
    }),
    leaves_open("krbtgt-key-really-changed", "not metadata of replication", 0, |world| {
        world.directory.at("CN=krbtgt").set("replPropertyMetaData", [1, 0, 0, 0]);
    }),
    leaves_open("directory-zones-secure", "not a property of a zone", 0, |world| {
        world.directory.at("DC=scripted.test,CN=MicrosoftDNS").set("dNSProperty", [0; 7]);
    }),
    leaves_open("templates-authorities-strong", "no certificate that can be read", 0, |world| {
        world.directory.at("CN=Issuing,CN=AIA").set("cACertificate", [0x30, 0x82, 0xff, 0xff]);
    }),
    leaves_open("lockout-threshold", "not an integer", 0, |world| {
        world.directory.at("DC=scripted,DC=test").set("lockoutThreshold", "many");
    }),
    leaves_open("kerberos-no-des", "no encryption type at all", 3, |world| world.kdc.types.clear()),
];
