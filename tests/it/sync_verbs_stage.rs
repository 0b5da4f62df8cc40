//! What the tests of sync by hand share: a scripted member directory, a real slapd and a gateway's directory.

use std::collections::{BTreeMap, BTreeSet};
use std::process::Output;
use std::sync::{Arc, Mutex, MutexGuard};

use portcullis::directory::client::Directory;
use portcullis::directory::endpoint::Endpoint;
use portcullis::directory::request::{Change, Credential, Scope, Search};
use portcullis::ldap::filter::Filter;
use portcullis::secret::text::Secret;
use portcullis::tls::client::client_config;
use portcullis::tls::material::Anchors;
use serde_json::Value;

use crate::sync_national::{ADMIN, NAME, PASSWORD, Pki, Slapd};
use crate::sync_source::{BASE, Object, World, serve};
use crate::sync_stage::{National, Source, Stage};

pub const HEAD: [u8; 16] = [1; 16];
pub const STAFF: [u8; 16] = [2; 16];
pub const OTHER: [u8; 16] = [4; 16];

/// The scope of these tests, with limits for leavers and deletions, and for changes and renames.
pub fn scope(keep: &str, deletes: u64, changes: u64) -> String {
    format!(
        "kind: SyncScope
id: everybody
members: all
publish: {{ bases: [OU=Staff], filter: '(&(objectClass=user)(mail=*)(!(employeeType=test)))' }}
attributes: {{ sn: sn, cn: displayName, mail: mail, title: title, employeeNumber: employeeID, o: {{ constant: A Trust }} }}
leavers: {{ keep: {keep} }}
guards:
  deletes: {{ count: {deletes}, share: 100% }}
  renames: {{ count: {changes}, share: 100% }}
  changes: {{ count: {changes}, share: 100% }}
  disables: {{ count: {deletes}, share: 100% }}
  unit: {{ count: 100000, share: 100% }}
  mails: {{ count: {changes}, share: 100% }}
  shrink: {{ count: 100000, share: 100% }}
  day: {{ count: 100000, share: 100% }}
"
    )
}

pub fn guid(number: u64) -> [u8; 16] {
    let mut guid = [9; 16];
    guid[..8].copy_from_slice(&number.to_be_bytes());
    guid
}

/// The GUID as it is written.
pub fn text(number: u64) -> String {
    uuid::Uuid::from_bytes_le(guid(number)).to_string()
}

pub fn unit(parent: Option<[u8; 16]>, rdn: &str, class: &str) -> Object {
    let attributes = BTreeMap::from([("objectclass".to_owned(), vec!["top".to_owned(), class.to_owned()])]);
    Object { parent, rdn: rdn.to_owned(), deleted: false, attributes, version: 0 }
}

pub fn person(number: u64) -> Object {
    let mut object = unit(Some(STAFF), &format!("CN=Person {number}"), "user");
    for (name, value) in [
        ("samaccountname", format!("n{number:04}")),
        ("sn", format!("Surname{number}")),
        ("displayname", format!("Person {number}")),
        ("mail", format!("m{number}@rxs.nhs.test")),
        ("title", "Nurse".to_owned()),
        ("useraccountcontrol", "512".to_owned()),
    ] {
        object.attributes.insert(name.to_owned(), vec![value]);
    }
    object
}

/// National entries by lower-case name, every attribute.
pub type Entries = BTreeMap<String, BTreeMap<String, BTreeSet<String>>>;

pub struct Trust {
    pub slapd: Slapd,
    pub stage: Stage,
    world: Arc<Mutex<World>>,
}

impl Trust {
    /// None where slapd is not installed.
    pub fn new(test: &str, people: u64, scope: &str, extra: &str) -> Option<Trust> {
        let pki = Pki::new();
        let slapd = Slapd::start(test, &pki)?;
        let world = Arc::new(Mutex::new(World::default()));
        {
            let mut world = world.lock().unwrap();
            world.put(HEAD, unit(None, "DC=rxs", "domainDNS"));
            world.put(STAFF, unit(Some(HEAD), "OU=Staff", "organizationalUnit"));
            world.put(OTHER, unit(Some(HEAD), "OU=Other", "organizationalUnit"));
            (0..people).for_each(|number| world.put(guid(number), person(number)));
        }
        let source = Source {
            host: "127.0.0.1".into(),
            port: serve(world.clone(), pki.server()),
            tls_name: NAME.into(),
            base: BASE.into(),
            bind: "svc@rxs.test".into(),
            password: "secret".into(),
            anchors: pki.ca.clone(),
            canary: None,
            mail_domain: "rxs.nhs.test".into(),
        };
        let national = National {
            host: "127.0.0.1".into(),
            port: slapd.port,
            tls_name: NAME.into(),
            anchors: slapd.folder.path().join("ca.crt"),
            bind: ADMIN.into(),
            password: PASSWORD.into(),
        };
        let stage = Stage::new("RXS", &source, &national, scope, extra);
        Some(Trust { slapd, stage, world })
    }

    pub fn world(&self) -> MutexGuard<'_, World> {
        self.world.lock().unwrap()
    }

    /// Sets one attribute of a person, or removes it.
    pub fn set(&self, number: u64, name: &str, value: Option<&str>) {
        self.world().change(guid(number), |object| {
            object.attributes.remove(name);
            object.attributes.extend(value.map(|value| (name.to_owned(), vec![value.to_owned()])));
        });
    }

    fn ask<T>(&self, work: impl AsyncFnOnce(&mut Directory) -> T) -> T {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let anchors = Anchors::load(&self.slapd.folder.path().join("ca.crt")).unwrap();
            let credential =
                Credential::Simple { name: ADMIN.into(), password: Secret::new(PASSWORD.into()) };
            let endpoint = Endpoint::ldaps("127.0.0.1", self.slapd.port, Some(NAME));
            let tls = client_config(&anchors, None).unwrap();
            let mut directory =
                Directory::connect(&endpoint, tls, &credential, &Default::default()).await.unwrap();
            work(&mut directory).await
        })
    }

    /// Everything below the people.
    pub fn entries(&self) -> Entries {
        self.ask(async |directory| {
            let names = [
                "objectClass",
                "uid",
                "cn",
                "sn",
                "mail",
                "title",
                "o",
                "ou",
                "employeeNumber",
                "carLicense",
                "portcullisAnchor",
                "portcullisMember",
                "portcullisStamp",
                "portcullisLeftAt",
            ];
            let any = Filter::parse("(objectClass=*)").unwrap();
            let search = Search::new("ou=people,dc=national,dc=test", Scope::Subtree, any, &names);
            let (entries, done) = directory.read(&search).await.unwrap();
            assert!(done.is_complete());
            entries
                .into_iter()
                .map(|entry| {
                    let values = entry.attributes.iter().map(|attribute| {
                        let values = attribute.values.iter().map(|v| String::from_utf8(v.clone()).unwrap());
                        (attribute.description.to_lowercase(), values.collect())
                    });
                    (entry.dn.to_lowercase(), values.collect())
                })
                .collect()
        })
    }

    /// The published entry of an account name.
    pub fn entry(&self, name: &str) -> Option<BTreeMap<String, BTreeSet<String>>> {
        self.entries().remove(&dn(name))
    }

    /// Changes an attribute of a national entry, as somebody else would.
    pub fn modify(&self, dn: &str, attribute: &str, values: &[&str]) {
        self.ask(async |directory| {
            let change = Change::Replace {
                attribute: attribute.to_owned(),
                values: values.iter().map(|value| value.as_bytes().to_vec()).collect(),
            };
            let done = directory.modify(dn, &[change], Vec::new()).await.unwrap();
            assert!(done.is_success(), "{done:?}");
        });
    }

    /// Adds a national entry, as somebody else would.
    pub fn add(&self, dn: &str, attributes: &[(&str, &[&str])]) {
        self.ask(async |directory| {
            let attributes: Vec<portcullis::ldap::entry::Attribute> = attributes
                .iter()
                .map(|(name, values)| portcullis::ldap::entry::Attribute {
                    description: (*name).to_owned(),
                    values: values.iter().map(|value| value.as_bytes().to_vec()).collect(),
                })
                .collect();
            let done = directory.add(dn, &attributes, Vec::new()).await.unwrap();
            assert!(done.is_success(), "{done:?}");
        });
    }

    /// Runs `sync ...`, expects this exit code and gives back its JSON.
    pub fn json(&self, code: i32, arguments: &[&str]) -> Value {
        let output = self.stage.sync(arguments);
        assert_eq!(output.status.code(), Some(code), "{arguments:?}: {}", words(&output));
        serde_json::from_slice(&output.stdout).unwrap_or_else(|error| panic!("{error}: {}", words(&output)))
    }

    /// Runs `sync ...`, expects this exit code and gives back what it said on standard error.
    pub fn refused(&self, code: i32, arguments: &[&str]) -> String {
        let output = self.stage.sync(arguments);
        assert_eq!(output.status.code(), Some(code), "{arguments:?}: {}", words(&output));
        String::from_utf8_lossy(&output.stderr).into_owned()
    }

    /// Runs `sync ...` without `--json`, expects this exit code and gives back the text.
    pub fn text(&self, code: i32, arguments: &[&str]) -> String {
        let output = self.stage.plain(arguments);
        assert_eq!(output.status.code(), Some(code), "{arguments:?}: {}", words(&output));
        String::from_utf8_lossy(&output.stdout).into_owned()
    }

    /// Actions of the audit chain, oldest first.
    pub fn audited(&self) -> Vec<String> {
        use portcullis::store::port::Store;
        self.stage.store.audit(0, 1_000).unwrap().into_iter().map(|record| record.audit.action).collect()
    }
}

/// Where an account's entry is.
pub fn dn(name: &str) -> String {
    format!("uid={name},ou=rxs,ou=people,dc=national,dc=test")
}

pub fn words(output: &Output) -> String {
    String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr)
}
