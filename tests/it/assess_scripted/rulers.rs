//! Who rules the domain, where somebody who administers it would rather not show it: names that hide, members that are no
//! accounts, groups that look powerful or are, computers that say that they are controllers, renames in the middle of a pass.

use portcullis::assess::probes::descriptor::{GET_CHANGES_ALL, mask};
use portcullis::baseline::assessment::Verdict;

use super::cases::{ANY, Case, fails};
use super::descriptor::{allow, owned_by, ruled, sid, sid_value};
use super::directory::{Directory, Entry, Moves};
use super::domain::{account, computer, group, object};
use super::hostile::leaves_open;
use super::world::World;

/// PARTIAL_SECRETS_ACCOUNT and WORKSTATION_TRUST_ACCOUNT ([MS-ADTS] section 2.2.16).
const READ_ONLY: u32 = 0x0400_1000;
/// The search that comes after the groups were read and before the accounts are.
const BETWEEN: &str = "(objectClass=sitesContainer)";

fn holds(directory: &mut Directory, place: &str, who: &str) {
    directory.at(place).set("nTSecurityDescriptor", ruled(&[allow(who, mask::FULL_CONTROL)]));
}

/// A principal that is no account of the domain, where the directory keeps such ones.
fn principal(place: &str, sid: &str) -> Entry {
    object(place, "foreignSecurityPrincipal").with("objectSid", sid_value(sid))
}

fn everybody(world: &mut World, place: &str, sid: &str) {
    world.directory.put(principal(place, sid));
    world.directory.join(place, "CN=Administrators");
}

/// Members that are no accounts of the domain.
pub const MEMBERS: &[Case] = &[
    fails("ruling-no-foreign-members", "everyone", |world| {
        everybody(world, "CN=Everyone,CN=WellKnown Security Principals,CN=Configuration", "S-1-1-0");
    }),
    // moved to where accounts stand
    fails("ruling-no-foreign-members", "s-1-5-2", |world| everybody(world, "CN=S-1-5-2,OU=Staff", "S-1-5-2")),
    fails("ruling-no-foreign-members", "helper", |world| {
        everybody(world, "CN=Helper,OU=Staff", "S-1-5-21-9-9-9-1104");
    }),
    // in another domain of a forest its root's administrators rule, too
    Case {
        expected: Verdict::Pass,
        ..fails("ruling-no-foreign-members", "", |world| {
            below_root(world, "CN=Enterprise Admins,CN=Users", 519);
        })
    },
    fails("ruling-no-foreign-members", "helpers", |world| below_root(world, "CN=Helpers,CN=Users", 1_104)),
];

/// Makes the domain one below the forest's root, of which one rules here.
fn below_root(world: &mut World, place: &str, rid: u32) {
    let directory = &mut world.directory;
    directory.root.set("rootDomainNamingContext", "DC=root,DC=test");
    directory.at("CN=partner.test").set("trustPartner", "root.test");
    directory.remove("CN=Schema Admins");
    let dn = format!("{place},DC=root,DC=test");
    directory.at("CN=Administrators").add("member", dn.clone());
    directory.put(Entry::new(&dn).with("objectSid", sid_value(&format!("S-1-5-21-9-9-9-{rid}"))));
}

/// Rights of groups that rule a part, and of computers that say that they are controllers.
pub const RIGHTS: &[Case] = &[
    fails("access-domain", "Cert Publishers on scripted", |world| {
        holds(&mut world.directory, "DC=scripted,DC=test", &sid(517));
    })
    .and(&["access-no-secret-replication"]),
    fails("access-admin-holder", "Group Policy Creator Owners on AdminSDHolder", |world| {
        holds(&mut world.directory, "CN=AdminSDHolder", &sid(520));
    }),
    fails("access-privileged", "DnsAdmins on adm-1", |world| {
        holds(&mut world.directory, "CN=adm-1", &sid(1_101));
    }),
    fails("access-controllers", "Backup Operators on DC1", |world| {
        holds(&mut world.directory, "CN=DC1,OU=Domain Controllers", "S-1-5-32-551");
    }),
    fails("access-controllers-unit", "Cert Publishers on Domain Controllers", |world| {
        holds(&mut world.directory, "OU=Domain Controllers", &sid(517));
    }),
    fails("access-forest", "Cert Publishers on Sites", |world| {
        holds(&mut world.directory, "CN=Sites", &sid(517));
    }),
    fails("access-controller-policies", "Group Policy Creator Owners on Default Domain Policy", |world| {
        holds(&mut world.directory, "CN={31B2}", &sid(520));
    }),
    fails("access-owners", "DC1", |world| {
        let unit = world.directory.at("CN=DC1,OU=Domain Controllers");
        unit.set("nTSecurityDescriptor", owned_by(&sid(517), &[]));
    }),
    fails("privileged-no-computers", "PC2$", |world| {
        world.directory.put(computer("CN=PC2,CN=Computers", 1_010, READ_ONLY, 521));
        world.directory.join("CN=PC2", "CN=Domain Admins");
    }),
    // a certificate authority's computer belongs to the publishers
    Case {
        expected: Verdict::Pass,
        ..fails("privileged-no-computers", "", |world| {
            world.directory.join("CN=CA1,CN=Computers", "CN=Cert Publishers");
        })
    },
    Case {
        expected: Verdict::Pass,
        ..fails("access-controllers", "", |world| {
            holds(&mut world.directory, "CN=DC1,OU=Domain Controllers", "S-1-5-32-548");
        })
    },
    fails("access-no-secret-replication", "PC2$ on scripted", |world| {
        world.directory.put(computer("CN=PC2,CN=Computers", 1_010, READ_ONLY, 521));
        let replicates = ruled(&[allow(&sid(1_010), mask::CONTROL_ACCESS).about(GET_CHANGES_ALL)]);
        world.directory.at("DC=scripted,DC=test").set("nTSecurityDescriptor", replicates);
    }),
    fails("delegation-computers-constrained", "PC2$", |world| {
        world.directory.put(computer("CN=PC2,CN=Computers", 1_010, READ_ONLY | 0x8_0000, 521));
    }),
];

/// An administrator who is seen all the same.
pub const SEEN: &[Case] = &[
    fails("privileged-no-keys", "eve", |world| {
        let place = "CN=Deleted Objects,OU=Staff";
        world.directory.put(object(place, "container"));
        admitted(world, &format!("CN=eve,{place}"));
    }),
    // in lower case it is another name
    fails("privileged-no-keys", "E\u{130}ve", |world| admitted(world, "CN=E\u{130}ve,OU=Tier 0")),
    // renamed after its group was read
    fails("privileged-no-keys", "adm-1", |world| {
        world.directory.at("CN=adm-1").set("msDS-KeyCredentialLink", "B:4:0200:CN=adm-1");
        world.directory.moves = Moves::at(BETWEEN, &[("CN=adm-1,OU=Tier 0", "CN=nobody,OU=Staff")]);
    }),
];

/// An account with a key among the administrators, and otherwise as it should be.
fn admitted(world: &mut World, place: &str) {
    let directory = &mut world.directory;
    let eve = account(place, 1_204, 0x14_0200).with("adminCount", "1");
    directory.put(eve.with("msDS-KeyCredentialLink", "B:4:0200:CN=eve"));
    directory.join(place, "CN=Domain Admins");
    directory.join(place, "CN=Protected Users");
}

/// Groups and accounts that are kept from us, before the pass or in the middle of it.
pub const HIDDEN: &[Case] = &[
    leaves_open("privileged-count", "cannot be read: schema-admins", ANY, |world| {
        world.directory.remove("CN=Schema Admins");
    }),
    leaves_open("privileged-count", "cannot be read: group-policy-creators", ANY, |world| {
        world.directory.remove("CN=Group Policy Creator Owners");
    }),
    leaves_open("privileged-count", "moved, renamed or hidden", ANY, |world| {
        world.directory.moves = Moves::at(BETWEEN, &[("CN=adm-1,OU=Tier 0", "CN=adm-1,DC=DomainDnsZones")]);
    }),
    // another takes its name
    leaves_open("evidence-complete", "moved, renamed or hidden", ANY, |world| {
        let all = [
            ("CN=adm-1,OU=Tier 0", "CN=adm-1,DC=DomainDnsZones"),
            ("CN=nurse-1,OU=Ward,OU=Staff", "CN=adm-1,OU=Tier 0"),
        ];
        world.directory.moves = Moves::at(BETWEEN, &all);
    })
    // and is judged as well
    .and(&["privileged-no-mail", "privileged-not-delegated", "privileged-protected-by-admin-holder"]),
    leaves_open("privileged-count", "moved or renamed while it was read", ANY, |world| {
        world.directory.put(group("CN=Ward,OU=Staff", &sid(1_301), &[]));
        world.directory.join("CN=Ward,OU=Staff", "CN=Domain Admins");
        world.directory.moves =
            Moves::at("(objectClass=group)", &[("CN=Ward,OU=Staff", "CN=Other,OU=Staff")]);
    }),
];
