//! A generated Active Directory domain: what stands where, and with which attributes.

use portcullis::ldap::message::ResultCode;

use crate::served::{Served, Values};

pub const BASE: &str = "DC=bench,DC=test";

const CONFIGURATION: &str = "CN=Configuration,DC=bench,DC=test";
const PERSON: &str = "CN=Person,CN=Schema,CN=Configuration,DC=bench,DC=test";
const COMPUTER: &str = "CN=Computer,CN=Schema,CN=Configuration,DC=bench,DC=test";
const GROUP: &str = "CN=Group,CN=Schema,CN=Configuration,DC=bench,DC=test";
/// Groups that each person is a member of.
const GROUPS_EACH: usize = 6;
/// 2026-11-01 as FILETIME, in units of 100 ns since 1601.
const LATELY: u64 = 134_066_016_000_000_000;
const DAY: u64 = 864_000_000_000;

/// An object by its kind and number.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Object {
    /// One of [`FIXED`].
    Fixed(usize),
    Unit(usize),
    Group(usize),
    Computer(usize),
    Person(usize),
}

/// An object that every domain has: DN below the domain, last class, RID (0: none), further attributes.
type Fixed = (&'static str, &'static str, u32, &'static [(&'static str, &'static str)]);

const FIXED: [Fixed; 28] = [
    ("", "domainDNS", 0, &[("ms-DS-MachineAccountQuota", "0"), ("minPwdLength", "14"), ("gPLink", "")]),
    ("CN=Users,", "container", 0, &[]),
    ("CN=System,", "container", 0, &[]),
    ("CN=AdminSDHolder,CN=System,", "container", 0, &[]),
    ("OU=Domain Controllers,", "organizationalUnit", 0, &[]),
    (
        "CN=krbtgt,CN=Users,",
        "user",
        502,
        &[
            ("sAMAccountName", "krbtgt"),
            ("userAccountControl", "514"),
            ("adminCount", "1"),
            ("pwdLastSet", "134066016000000000"),
        ],
    ),
    (
        "CN=Administrator,CN=Users,",
        "user",
        500,
        &[("sAMAccountName", "Administrator"), ("userAccountControl", "1311232"), ("adminCount", "1")],
    ),
    (
        "CN=svc-portcullis,CN=Users,",
        "user",
        1_100,
        &[
            ("sAMAccountName", "svc-portcullis"),
            ("userAccountControl", "512"),
            ("userPrincipalName", "svc-portcullis@bench.test"),
        ],
    ),
    (
        "CN=DC1,OU=Domain Controllers,",
        "computer",
        1_000,
        &[
            ("sAMAccountName", "DC1$"),
            ("userAccountControl", "532480"),
            ("dNSHostName", "dc1.bench.test"),
            ("operatingSystem", "Windows Server 2022 Standard"),
            ("primaryGroupID", "516"),
            ("msDS-SupportedEncryptionTypes", "24"),
        ],
    ),
    (
        "CN=Domain Admins,CN=Users,",
        "group",
        512,
        &[
            ("sAMAccountName", "Domain Admins"),
            ("adminCount", "1"),
            ("isCriticalSystemObject", "TRUE"),
            ("member", "CN=Administrator,CN=Users,DC=bench,DC=test"),
        ],
    ),
    (
        "CN=Domain Controllers,CN=Users,",
        "group",
        516,
        &[("sAMAccountName", "Domain Controllers"), ("adminCount", "1")],
    ),
    ("CN=Schema Admins,CN=Users,", "group", 518, &[("sAMAccountName", "Schema Admins"), ("adminCount", "1")]),
    (
        "CN=Enterprise Admins,CN=Users,",
        "group",
        519,
        &[("sAMAccountName", "Enterprise Admins"), ("adminCount", "1")],
    ),
    ("CN=Cert Publishers,CN=Users,", "group", 517, &[("sAMAccountName", "Cert Publishers")]),
    (
        "CN=Group Policy Creator Owners,CN=Users,",
        "group",
        520,
        &[("sAMAccountName", "Group Policy Creator Owners")],
    ),
    (
        "CN=Read-only Domain Controllers,CN=Users,",
        "group",
        521,
        &[("sAMAccountName", "Read-only Domain Controllers"), ("adminCount", "1")],
    ),
    (
        "CN=Account Operators,CN=Builtin,",
        "group",
        548,
        &[("sAMAccountName", "Account Operators"), ("isCriticalSystemObject", "TRUE")],
    ),
    (
        "CN=Server Operators,CN=Builtin,",
        "group",
        549,
        &[("sAMAccountName", "Server Operators"), ("isCriticalSystemObject", "TRUE")],
    ),
    (
        "CN=Print Operators,CN=Builtin,",
        "group",
        550,
        &[("sAMAccountName", "Print Operators"), ("isCriticalSystemObject", "TRUE")],
    ),
    (
        "CN=Backup Operators,CN=Builtin,",
        "group",
        551,
        &[("sAMAccountName", "Backup Operators"), ("isCriticalSystemObject", "TRUE")],
    ),
    (
        "CN=Replicator,CN=Builtin,",
        "group",
        552,
        &[("sAMAccountName", "Replicator"), ("isCriticalSystemObject", "TRUE")],
    ),
    (
        "CN=Administrators,CN=Builtin,",
        "group",
        544,
        &[
            ("sAMAccountName", "Administrators"),
            ("adminCount", "1"),
            ("isCriticalSystemObject", "TRUE"),
            ("member", "CN=Domain Admins,CN=Users,DC=bench,DC=test"),
        ],
    ),
    ("CN=Builtin,", "builtinDomain", 0, &[]),
    ("CN=Configuration,", "configuration", 0, &[]),
    ("CN=Schema,CN=Configuration,", "dMD", 0, &[("objectVersion", "88")]),
    ("CN=Sites,CN=Configuration,", "sitesContainer", 0, &[]),
    ("CN=Public Key Services,CN=Services,CN=Configuration,", "container", 0, &[]),
    (
        "CN=Directory Service,CN=Windows NT,CN=Services,CN=Configuration,",
        "nTDSService",
        0,
        &[("tombstoneLifetime", "180")],
    ),
];

/// What the root DSE says.
const ROOT: [(&str, &str); 10] = [
    ("defaultNamingContext", "DC=bench,DC=test"),
    ("rootDomainNamingContext", "DC=bench,DC=test"),
    ("configurationNamingContext", "CN=Configuration,DC=bench,DC=test"),
    ("schemaNamingContext", "CN=Schema,CN=Configuration,DC=bench,DC=test"),
    ("dnsHostName", "dc1.bench.test"),
    ("domainFunctionality", "7"),
    ("forestFunctionality", "7"),
    ("domainControllerFunctionality", "7"),
    ("isSynchronized", "TRUE"),
    ("supportedCapabilities", "1.2.840.113556.1.4.800"),
];

/// How many of each there are.
#[derive(Debug, Clone, Copy)]
pub struct Domain {
    pub people: usize,
    pub computers: usize,
    pub groups: usize,
}

impl Domain {
    /// Units: one for every 250 people.
    fn units(&self) -> usize {
        self.people / 250 + 1
    }

    pub fn len(&self) -> usize {
        FIXED.len() + self.units() + self.groups + self.computers + self.people
    }

    /// The object of a number below [`Domain::len`].
    fn object(&self, mut at: usize) -> Object {
        for (count, make) in [
            (FIXED.len(), Object::Fixed as fn(usize) -> Object),
            (self.units(), Object::Unit),
            (self.groups, Object::Group),
            (self.computers, Object::Computer),
        ] {
            match at.checked_sub(count) {
                None => return make(at),
                Some(rest) => at = rest,
            }
        }
        Object::Person(at)
    }

    fn dn_of(&self, object: Object) -> String {
        match object {
            Object::Fixed(n) => format!("{}{BASE}", FIXED[n].0),
            Object::Unit(n) => format!("OU=Ward {n},OU=People,{BASE}"),
            Object::Group(n) => format!("CN=GG-Ward-Share-{n:05},OU=Groups,{BASE}"),
            Object::Computer(n) => format!("CN=WS{n:06},OU=Workstations {},{BASE}", n % 50),
            Object::Person(n) => {
                format!("CN={} {} {n},OU=Ward {},OU=People,{BASE}", given(n), surname(n), n % self.units())
            }
        }
    }

    /// The values of an attribute, by its name in lower case.
    fn values_of(&self, object: Object, name: &str) -> Values {
        if name == "ntsecuritydescriptor" {
            return vec![descriptor().into()];
        }
        match object {
            Object::Fixed(n) => fixed(n, name),
            Object::Unit(n) => match name {
                "objectclass" => texts(&["top", "organizationalUnit"]),
                "name" | "ou" => one(format!("Ward {n}")),
                _ => Vec::new(),
            },
            Object::Group(n) => match name {
                "objectclass" => texts(&["top", "group"]),
                "objectcategory" => texts(&[GROUP]),
                "samaccountname" | "name" | "cn" => one(format!("GG-Ward-Share-{n:05}")),
                "objectsid" => vec![sid(20_000 + n).into()],
                "grouptype" => texts(&["-2147483646"]),
                _ => Vec::new(),
            },
            Object::Computer(n) => computer(n, name),
            Object::Person(n) => self.person(n, name),
        }
    }

    fn person(&self, n: usize, name: &str) -> Values {
        let address = || format!("{}.{}{n}@bench.test", given(n), surname(n)).to_lowercase();
        match name {
            "objectclass" => texts(&["top", "person", "organizationalPerson", "user"]),
            "objectcategory" => texts(&[PERSON]),
            "cn" | "name" => one(format!("{} {} {n}", given(n), surname(n))),
            "samaccountname" => one(format!("{}{n}", surname(n)).to_lowercase()),
            "objectsid" => vec![sid(200_000 + n).into()],
            "useraccountcontrol" => one(if n.is_multiple_of(40) { "514" } else { "262656" }.to_owned()),
            "pwdlastset" => one((LATELY - (n as u64 % 300) * DAY - n as u64 * 10_000_019).to_string()),
            "lastlogontimestamp" => one((LATELY - (n as u64 % 60) * DAY - n as u64 * 10_000_079).to_string()),
            "whencreated" => one(format!(
                "20{:02}{:02}{:02}{:02}{:02}00.0Z",
                10 + n % 16,
                1 + n % 12,
                1 + n % 28,
                n % 24,
                n % 60
            )),
            "userprincipalname" | "mail" => one(address()),
            "proxyaddresses" => one(format!("SMTP:{}", address())),
            "givenname" => one(given(n).to_owned()),
            "sn" => one(surname(n).to_owned()),
            "displayname" => one(format!("{}, {}", surname(n), given(n))),
            "employeenumber" => one(format!("{:08}", n * 7_919)),
            "primarygroupid" => one("513".to_owned()),
            "memberof" => (0..GROUPS_EACH)
                .map(|k| self.dn_of(Object::Group((n * 7 + k * 131) % self.groups)).into_bytes().into())
                .collect(),
            _ => Vec::new(),
        }
    }
}

impl Served for Domain {
    fn len(&self) -> usize {
        Domain::len(self)
    }

    fn dn(&self, at: usize) -> String {
        self.dn_of(self.object(at))
    }

    fn values(&self, at: usize, name: &str) -> Values {
        self.values_of(self.object(at), name)
    }

    fn contexts(&self) -> Vec<String> {
        vec![BASE.to_lowercase(), CONFIGURATION.to_lowercase()]
    }

    fn root(&self) -> Vec<(String, Values)> {
        ROOT.iter().map(|(name, value)| ((*name).to_owned(), texts(&[value]))).collect()
    }

    /// Made-up names are refused as a controller refuses them.
    fn bind(&self, name: &str, _password: &[u8]) -> ResultCode {
        match name.eq_ignore_ascii_case("svc-portcullis@bench.test") {
            true => ResultCode::SUCCESS,
            false => ResultCode::INVALID_CREDENTIALS,
        }
    }

    fn answers_anybody(&self) -> bool {
        true
    }
}

fn fixed(n: usize, name: &str) -> Values {
    let (dn, class, rid, more) = FIXED[n];
    let found = more.iter().find(|(known, _)| known.eq_ignore_ascii_case(name));
    match (name, found) {
        (_, Some((_, value))) => texts(&[value]),
        ("objectclass", _) if class == "computer" => {
            texts(&["top", "person", "organizationalPerson", "user", "computer"])
        }
        ("objectclass", _) => texts(&["top", class]),
        ("objectcategory", _) => texts(match class {
            "user" => &[PERSON],
            "computer" => &[COMPUTER],
            "group" => &[GROUP],
            _ => &["CN=Container,CN=Schema,CN=Configuration,DC=bench,DC=test"],
        }),
        ("name" | "cn", _) => one(dn.split([',', '=']).nth(1).unwrap_or("bench").to_owned()),
        ("objectsid", _) if dn.ends_with("CN=Builtin,") && rid > 0 => {
            vec![[&[1, 2, 0, 0, 0, 0, 0, 5, 32, 0, 0, 0][..], &rid.to_le_bytes()].concat().into()]
        }
        ("objectsid", _) if dn.is_empty() => vec![domain_sid(None).into()],
        ("objectsid", _) if rid > 0 => vec![sid(rid as usize).into()],
        ("tokengroups", _) => vec![sid(513).into()],
        _ => Vec::new(),
    }
}

fn computer(n: usize, name: &str) -> Values {
    match name {
        "objectclass" => texts(&["top", "person", "organizationalPerson", "user", "computer"]),
        "objectcategory" => texts(&[COMPUTER]),
        "cn" | "name" => one(format!("WS{n:06}")),
        "samaccountname" => one(format!("WS{n:06}$")),
        "objectsid" => vec![sid(40_000 + n).into()],
        "useraccountcontrol" => one("4096".to_owned()),
        "pwdlastset" => one((LATELY - (n as u64 % 30) * DAY - n as u64 * 10_000_019).to_string()),
        "lastlogontimestamp" => one((LATELY - (n as u64 % 20) * DAY - n as u64 * 10_000_079).to_string()),
        "operatingsystem" => {
            texts(&[if n.is_multiple_of(10) { "Windows 10 Enterprise" } else { "Windows 11 Enterprise" }])
        }
        "dnshostname" => one(format!("ws{n:06}.bench.test")),
        "primarygroupid" => one("515".to_owned()),
        "msds-supportedencryptiontypes" => one("28".to_owned()),
        _ => Vec::new(),
    }
}

fn given(n: usize) -> &'static str {
    ["Olivia", "Jack", "Amelia", "Harry", "Isla", "Oscar", "Priya", "Mohammed", "Grace", "Tomasz"][n % 10]
}

fn surname(n: usize) -> &'static str {
    ["Smith", "Jones", "Taylor", "Khan", "Williams", "Evans", "Patel", "Nowak", "Okafor", "Walker", "Hughes"]
        [n % 11]
}

fn one(text: String) -> Values {
    vec![text.into_bytes().into()]
}

fn texts(values: &[&'static str]) -> Values {
    values.iter().map(|value| value.as_bytes().into()).collect()
}

fn domain_sid(rid: Option<u32>) -> Vec<u8> {
    let parts = [21, 1_111, 2_222, 3_333].into_iter().chain(rid);
    let parts: Vec<u8> = parts.flat_map(u32::to_le_bytes).collect();
    [&[1, (parts.len() / 4) as u8, 0, 0, 0, 0, 0, 5][..], &parts].concat()
}

fn sid(rid: usize) -> Vec<u8> {
    domain_sid(Some(rid as u32))
}

/// A self-relative security descriptor with as many entries as a unit of a domain has ([MS-DTYP] section 2.4.6).
fn descriptor() -> Vec<u8> {
    const READ: u32 = 0x0002_0094;
    const FULL: u32 = 0x000f_01ff;
    let mut entries = Vec::new();
    let plain = |mask: u32, who: &[u8]| {
        let size = (8 + who.len()) as u16;
        [&[0, 0][..], &size.to_le_bytes(), &mask.to_le_bytes(), who].concat()
    };
    let system = [1, 1, 0, 0, 0, 0, 0, 5, 18, 0, 0, 0];
    let authenticated = [1, 1, 0, 0, 0, 0, 0, 5, 11, 0, 0, 0];
    entries.push(plain(FULL, &sid(512)));
    entries.push(plain(FULL, &system));
    entries.push(plain(READ, &authenticated));
    // rights on single properties, for Administrators
    for property in 0..16u8 {
        let who = sid(512);
        let size = (12 + 16 + who.len()) as u16;
        let head = [&[5, 0][..], &size.to_le_bytes(), &0x20u32.to_le_bytes(), &1u32.to_le_bytes()].concat();
        entries.push([&head[..], &[property; 16], &who].concat());
    }
    let body = entries.concat();
    let acl = [
        &[4, 0][..],
        &((8 + body.len()) as u16).to_le_bytes(),
        &(entries.len() as u16).to_le_bytes(),
        &[0, 0],
        &body,
    ]
    .concat();
    let owner = sid(512);
    let offsets = [20, 20 + owner.len(), 0, 20 + 2 * owner.len()];
    let offsets: Vec<u8> = offsets.iter().flat_map(|at| (*at as u32).to_le_bytes()).collect();
    [&[1, 0][..], &0x8004u16.to_le_bytes(), &offsets, &owner, &owner, &acl].concat()
}
