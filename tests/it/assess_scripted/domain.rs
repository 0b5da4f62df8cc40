//! The domain that passes: what stands in it. The cases change one thing each.

use portcullis::ambient::clock::Clock;
use portcullis::assess::probes::descriptor::{GET_CHANGES, mask};

use super::descriptor::{AUTHENTICATED, DOMAIN, allow, ruled, sid, sid_value};
use super::directory::{ACCOUNT, BASE, Directory, Entry, Moves};
use super::forest;

/// The group of our account.
pub const GATEWAYS: u32 = 1_601;
/// People beside those who rule: with their cards they outweigh the two accounts that have none.
const PEOPLE: u32 = 24;
/// unicodePwd and nTSecurityDescriptor as replication numbers them.
pub const KEY: u32 = 0x9005a;
const ACCESS: u32 = 0x20119;

/// A FILETIME so many days ago.
pub fn days_ago(days: i64) -> String {
    ((Clock::system().now().unix_timestamp() - days * 86_400 + 11_644_473_600) * 10_000_000).to_string()
}

/// So many seconds as an interval of the directory.
pub fn interval(seconds: i64) -> String {
    (-seconds * 10_000_000).to_string()
}

/// The metadata of replication of an object whose attribute changed so many days ago ([MS-DRSR] section 5.166).
pub fn metadata(attribute: u32, days: i64) -> Vec<u8> {
    let seconds = Clock::system().now().unix_timestamp() - days * 86_400 + 11_644_473_600;
    let head = [1u32, 0, 1, 0].map(u32::to_le_bytes).concat();
    [&head[..], &attribute.to_le_bytes(), &2u32.to_le_bytes(), &seconds.to_le_bytes(), &[0; 32]].concat()
}

/// An object of a class below the domain, with a descriptor that gives nobody anything.
pub fn object(place: &str, class: &str) -> Entry {
    let dn = if place.is_empty() { BASE.to_owned() } else { format!("{place},{BASE}") };
    let name = place.split([',', '=']).nth(1).unwrap_or("scripted").to_owned();
    Entry::new(&dn)
        .with_all("objectClass", &["top", class])
        .with("objectCategory", format!("CN={class},CN=Schema,CN=Configuration,{BASE}"))
        .with("cn", name.clone())
        .with("name", name)
        .with("nTSecurityDescriptor", ruled(&[]))
}

/// A group; one without a RID is built in and has the SID itself.
pub fn group(place: &str, sid: &str, members: &[&str]) -> Entry {
    let mut entry = object(place, "group").with("objectSid", sid_value(sid));
    let name = place.split([',', '=']).nth(1).unwrap_or_default().to_owned();
    entry.set("sAMAccountName", name);
    for member in members {
        entry.add("member", format!("{member},{BASE}"));
    }
    entry
}

/// An account of a person; `controls` is its userAccountControl.
pub fn account(place: &str, rid: u32, controls: u32) -> Entry {
    let name = place.split([',', '=']).nth(1).unwrap_or_default().to_owned();
    object(place, "user")
        .with_all("objectClass", &["top", "person", "organizationalPerson", "user"])
        .with("objectCategory", format!("CN=Person,CN=Schema,CN=Configuration,{BASE}"))
        .with("objectSid", sid_value(&sid(rid)))
        .with("sAMAccountName", name.clone())
        .with("userPrincipalName", format!("{name}@scripted.test"))
        .with("userAccountControl", controls.to_string())
        .with("primaryGroupID", "513")
        .with("whenCreated", "20240105093000.0Z")
        .with("pwdLastSet", days_ago(30))
        .with("lastLogonTimestamp", days_ago(3))
}

/// A computer that runs Windows.
pub fn computer(place: &str, rid: u32, controls: u32, primary: u32) -> Entry {
    let name = place.split([',', '=']).nth(1).unwrap_or_default().to_owned();
    account(place, rid, controls)
        .with_all("objectClass", &["top", "person", "organizationalPerson", "user", "computer"])
        .with("objectCategory", format!("CN=Computer,CN=Schema,CN=Configuration,{BASE}"))
        .with("sAMAccountName", format!("{name}$"))
        .with("dNSHostName", format!("{}.scripted.test", name.to_lowercase()))
        .with("primaryGroupID", primary.to_string())
        .with("operatingSystem", "Windows Server 2022 Standard")
        .with("pwdLastSet", days_ago(20))
        .with("msDS-SupportedEncryptionTypes", "24")
}

/// The whole directory.
pub fn hardened() -> Directory {
    let mut entries = places();
    entries.extend(groups());
    entries.extend(accounts());
    entries.extend(forest::entries());
    let mut directory = Directory {
        entries,
        root: forest::root(),
        takes_empty_passwords: false,
        troubles: Vec::new(),
        range: 1_500,
        gap: 0,
        moves: Moves::default(),
    };
    for administrator in ["CN=Administrator", "CN=adm-1", "CN=adm-2"] {
        directory.join(administrator, "CN=Domain Admins");
        directory.join(administrator, "CN=Protected Users");
    }
    directory.join("CN=Administrator", "CN=Enterprise Admins");
    directory.join("CN=Administrator", "CN=Group Policy Creator Owners");
    directory.join("CN=svc-portcullis", "CN=Gateways");
    directory
}

fn places() -> Vec<Entry> {
    let domain = object("", "domainDNS")
        .with("objectSid", sid_value(DOMAIN))
        .with("ms-DS-MachineAccountQuota", "0")
        .with("minPwdLength", "14")
        .with("pwdHistoryLength", "24")
        .with("pwdProperties", "1")
        .with("lockoutThreshold", "10")
        .with("lockoutDuration", interval(1_800))
        .with("lockOutObservationWindow", interval(1_800))
        .with("maxPwdAge", interval(365 * 86_400))
        .with("msDS-Behavior-Version", "7")
        .with("msDS-ExpirePasswordsOnSmartCardOnlyAccounts", "TRUE")
        .with("gPLink", format!("[LDAP://CN={{31B2}},CN=Policies,CN=System,{BASE};0]"))
        .with("nTSecurityDescriptor", ruled(&[allow(&sid(498), mask::CONTROL_ACCESS).about(GET_CHANGES)]));
    let names = [
        "CN=Users",
        "CN=Builtin",
        "CN=Computers",
        "CN=System",
        "CN=Policies,CN=System",
        "CN=MicrosoftDNS,CN=System",
        "CN=ForeignSecurityPrincipals",
    ];
    let units = ["OU=Domain Controllers", "OU=Tier 0", "OU=Staff", "OU=Ward,OU=Staff", "OU=Services"];
    let containers = names.iter().map(|name| object(name, "container"));
    let units = units.iter().map(|name| object(name, "organizationalUnit"));
    let holder =
        object("CN=AdminSDHolder,CN=System", "container").with("replPropertyMetaData", metadata(ACCESS, 200));
    let policy = object("CN={31B2},CN=Policies,CN=System", "groupPolicyContainer")
        .with("displayName", "Default Domain Policy");
    let desk = object("CN={41C3},CN=Policies,CN=System", "groupPolicyContainer")
        .with("displayName", "Desk")
        .with("nTSecurityDescriptor", ruled(&[allow(&sid(2_001), mask::WRITE_PROPERTY)]));
    let foreign = object("CN=S-1-5-11,CN=ForeignSecurityPrincipals", "foreignSecurityPrincipal")
        .with("objectSid", sid_value(AUTHENTICATED));
    let settings = object("CN=Password Settings Container,CN=System", "msDS-PasswordSettingsContainer")
        .with("nTSecurityDescriptor", ruled(&[allow(&sid(GATEWAYS), mask::READ_PROPERTY).inherited()]));
    containers
        .chain(units)
        .chain([domain, holder, policy, desk, foreign, settings, password_settings(), trust()])
        .collect()
}

fn password_settings() -> Entry {
    object("CN=Tier 0,CN=Password Settings Container,CN=System", "msDS-PasswordSettings")
        .with("msDS-PasswordSettingsPrecedence", "10")
        .with("msDS-MinimumPasswordLength", "20")
        .with("msDS-PasswordHistoryLength", "24")
        .with("msDS-PasswordComplexityEnabled", "TRUE")
        .with("msDS-PasswordReversibleEncryptionEnabled", "FALSE")
        .with("msDS-MaximumPasswordAge", interval(90 * 86_400))
        .with("msDS-LockoutThreshold", "5")
        .with("msDS-LockoutDuration", interval(3_600))
        .with("msDS-PSOAppliesTo", format!("CN=Domain Admins,CN=Users,{BASE}"))
}

/// Both ways with another forest's domain: quarantined, selective authentication, no ticket delegation.
fn trust() -> Entry {
    let changed = Clock::system().now() - time::Duration::days(20);
    let changed =
        format!("{:04}{:02}{:02}120000.0Z", changed.year(), u8::from(changed.month()), changed.day());
    object("CN=partner.test,CN=System", "trustedDomain")
        .with("trustPartner", "partner.test")
        .with("trustDirection", "3")
        .with("trustType", "2")
        .with("trustAttributes", (0x4 | 0x10 | 0x200).to_string())
        .with("msDS-SupportedEncryptionTypes", "24")
        .with("securityIdentifier", sid_value("S-1-5-21-9-9-9"))
        .with("whenChanged", changed)
}

fn groups() -> Vec<Entry> {
    let builtin = |name: &str, rid: u32, members: &[&str]| {
        group(&format!("CN={name},CN=Builtin"), &format!("S-1-5-32-{rid}"), members)
            .with("isCriticalSystemObject", "TRUE")
    };
    let relative = |name: &str, rid: u32| {
        group(&format!("CN={name},CN=Users"), &sid(rid), &[]).with("isCriticalSystemObject", "TRUE")
    };
    let mut all = vec![
        builtin("Administrators", 544, &["CN=Domain Admins,CN=Users", "CN=Enterprise Admins,CN=Users"]),
        builtin("Users", 545, &["CN=Domain Users,CN=Users"]),
        builtin("Account Operators", 548, &[]),
        builtin("Server Operators", 549, &[]),
        builtin("Print Operators", 550, &[]),
        builtin("Backup Operators", 551, &[]),
        builtin("Replicator", 552, &[]),
        builtin("Pre-Windows 2000 Compatible Access", 554, &["CN=S-1-5-11,CN=ForeignSecurityPrincipals"]),
        group("CN=DnsAdmins,CN=Users", &sid(1_101), &[]),
        group("CN=Gateways,OU=Services", &sid(GATEWAYS), &[]),
    ];
    for (name, rid) in [
        ("Domain Admins", 512),
        ("Domain Users", 513),
        ("Domain Guests", 514),
        ("Domain Computers", 515),
        ("Domain Controllers", 516),
        ("Cert Publishers", 517),
        ("Schema Admins", 518),
        ("Enterprise Admins", 519),
        ("Group Policy Creator Owners", 520),
        ("Read-only Domain Controllers", 521),
        ("Protected Users", 525),
        ("Key Admins", 526),
        ("Enterprise Key Admins", 527),
    ] {
        all.push(relative(name, rid));
    }
    for group in &mut all {
        let ruling = ["Admins", "Administrators", "Operators", "Domain Controllers"];
        if ruling.iter().any(|word| group.dn.split(',').next().is_some_and(|name| name.ends_with(word))) {
            group.set("adminCount", "1");
        }
    }
    all
}

fn accounts() -> Vec<Entry> {
    const CARD: u32 = 0x40200;
    const PRIVILEGED: u32 = CARD | 0x10_0000;
    const DISABLED: u32 = 0x202;
    let ruling = |place: &str, rid| account(place, rid, PRIVILEGED).with("adminCount", "1");
    let mut all = vec![
        ruling("CN=Administrator,CN=Users", 500),
        ruling("CN=adm-1,OU=Tier 0", 1_201),
        ruling("CN=adm-2,OU=Tier 0", 1_202),
        account("CN=Guest,CN=Users", 501, DISABLED).with("primaryGroupID", "514"),
        account("CN=krbtgt,CN=Users", 502, DISABLED)
            .with("adminCount", "1")
            .with("pwdLastSet", days_ago(90))
            .with("replPropertyMetaData", metadata(KEY, 90)),
        account("CN=svc-portcullis,OU=Services", 1_600, 0x200)
            .with("userPrincipalName", ACCOUNT)
            .with("tokenGroups", sid_value(&sid(513))),
        account("CN=svc-web,OU=Services", 1_602, 0x200)
            .with("servicePrincipalName", "http/web.scripted.test")
            .with("msDS-SupportedEncryptionTypes", "24"),
        computer("CN=DC1,OU=Domain Controllers", 1_000, 0x8_2000, 516)
            .with("serverReferenceBL", format!("CN=DC1,CN=Servers,CN=Site,CN=Sites,CN=Configuration,{BASE}")),
        computer("CN=CA1,CN=Computers", 1_001, 0x1000, 515),
        computer("CN=WS1,CN=Computers", 1_002, 0x1000, 515),
    ];
    all.iter_mut().find(|entry| entry.dn.starts_with("CN=svc-portcullis")).into_iter().for_each(|entry| {
        entry.add("tokenGroups", sid_value(&sid(GATEWAYS)));
    });
    for n in 1..=PEOPLE {
        let name = format!("nurse-{n}");
        all.push(
            account(&format!("CN={name},OU=Ward,OU=Staff"), 2_000 + n, CARD)
                .with("mail", format!("{name}@scripted.test"))
                .with("givenName", "Olivia")
                .with("sn", format!("Nurse {n}"))
                .with("displayName", format!("Nurse {n}, Olivia"))
                .with("employeeNumber", (100_000 + n).to_string()),
        );
    }
    all
}
