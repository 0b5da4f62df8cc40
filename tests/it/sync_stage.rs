//! A gateway's own directory for sync tests: configuration, policies, a store with one federated member whose gates are
//! open; and the real program run on it.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};

use portcullis::policy::terms::{Grant, Membership, OdsCode};
use portcullis::secret::reference::SecretReference;
use portcullis::store::audit::NewAudit;
use portcullis::store::member::{Connection, Controller, Member};
use portcullis::store::packed::Packed;
use portcullis::store::port::Store;
use portcullis::store::record::{EvidenceRecord, GateRecord};
use portcullis::store::settings::Settings;
use portcullis::store::sqlite::store::SqliteStore;
use time::OffsetDateTime;

use portcullis::ambient::clock::Clock;

const BASELINE: &str = "\
kind: Baseline
id: test
title: A baseline that nothing is held against
owner: tests@national.example
revision: 1.0.0
stage: enforce
parameters: {}
include: [controls.yaml]
grants:
  lookup: { deny_on: critical, unknown: deny }
  sync: { deny_on: [critical, high], unknown: deny }
reopen_after: 1
evidence_valid_for: 24h
";

const CONTROLS: &str = "\
kind: Controls
controls:
  - id: tls-versions
    title: TLS 1.2 and later only
    severity: critical
    level: 1
    require: { tls.versions: { at_least: tls1.2 } }
    why: Older ones can be broken.
    fix: Switch them off.
    references: { attack: [T1600] }
";

/// Where the member's people come from.
pub struct Source {
    pub host: String,
    pub port: u16,
    pub tls_name: String,
    pub base: String,
    pub bind: String,
    pub password: String,
    pub anchors: String,
    pub canary: Option<String>,
    pub mail_domain: String,
}

/// Where they go.
pub struct National {
    pub host: String,
    pub port: u16,
    pub tls_name: String,
    pub anchors: PathBuf,
    pub bind: String,
    pub password: String,
}

pub struct Stage {
    pub folder: tempfile::TempDir,
    pub store: SqliteStore,
    pub ods: OdsCode,
}

impl Stage {
    /// `extra` are more lines of the configuration; `scope` is the policy document.
    pub fn new(ods: &str, source: &Source, national: &National, scope: &str, extra: &str) -> Stage {
        let folder = tempfile::tempdir().unwrap();
        let file = |name: &str, text: &str| {
            let path = folder.path().join(name);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            crate::app_stage::secret(&path, text);
            path
        };
        file("policies/sync.yaml", scope);
        file("policies/baseline.yaml", BASELINE);
        file("policies/controls.yaml", CONTROLS);
        file("national-password", &national.password);
        let source_password = file("source-password", &source.password);
        // the front door is not opened by these commands; a gateway seems to run
        let gateway = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let metrics = gateway.local_addr().unwrap();
        crate::app_stage::answering(gateway, crate::app_stage::READY);
        let config = format!(
            "version: 1\ndata_dir: data\npolicies: policies\n\
             listen: {{ ldaps: '127.0.0.1:1', metrics: '{metrics}' }}\n\
             tls: {{ certificate: none, key: none, client_anchors: none, crls: [none] }}\n\
             national:\n  address: {}:{}\n  tls_name: {}\n  anchors: {}\n  bind_dn: '{}'\n  \
             password: {{ file: national-password }}\n  suffix: 'dc=national,dc=test'\n  \
             people_base: 'ou=people,dc=national,dc=test'\n{extra}",
            national.host,
            national.port,
            national.tls_name,
            national.anchors.display(),
            national.bind
        );
        file("portcullis.yaml", &config);
        let store = SqliteStore::open(&folder.path().join("data"), &Settings::default()).unwrap();
        let ods: OdsCode = ods.parse().unwrap();
        let stage = Stage { folder, store, ods: ods.clone() };
        stage.federate(ods, source, source_password);
        stage
    }

    /// One more member, with its gate open.
    pub fn join(&self, ods: &str, source: &Source) {
        let password = self.path(&format!("source-password-{ods}"));
        crate::app_stage::secret(&password, &source.password);
        self.federate(ods.parse().unwrap(), source, password);
    }

    fn federate(&self, ods: OdsCode, source: &Source, password: PathBuf) {
        let now = Clock::system().now();
        self.store.save_member(&member(&ods, source, password, now), None, &audit(&ods, now)).unwrap();
        // the commands trust an open gate only while its evidence is young
        let evidence = EvidenceRecord {
            member: ods.clone(),
            hash: format!("evidence of {ods}"),
            previous: None,
            collected_at: now,
            document: Packed::of(b"{}").unwrap(),
        };
        self.store.put_evidence(&evidence).unwrap();
        self.gate_of(&ods, "open");
    }

    /// Moves the sync gate.
    pub fn gate(&self, state: &str) {
        self.gate_of(&self.ods, state);
    }

    fn gate_of(&self, ods: &OdsCode, state: &str) {
        let at = Clock::system().now();
        let gate = GateRecord {
            member: ods.clone(),
            grant: Grant::Sync,
            at,
            state: state.to_owned(),
            until: None,
            reasons: vec!["test".to_owned()],
            assessment: None,
        };
        self.store.record_gate(&gate, &audit(ods, at)).unwrap();
    }

    /// Ends every lease now, as time would: a run that was killed keeps its own.
    pub fn end_lease(&self) {
        let store = rusqlite::Connection::open(self.path("data/portcullis.sqlite")).unwrap();
        store.busy_timeout(std::time::Duration::from_secs(10)).unwrap();
        store.execute("UPDATE leases SET ends_at = 0", []).unwrap();
    }

    fn command(&self, arguments: &[&str]) -> Command {
        let mut command = self.bare(&["sync"]);
        command.args(arguments);
        command
    }

    /// `portcullis ...` with JSON as the answer.
    pub fn portcullis(&self, arguments: &[&str]) -> Command {
        let mut command = self.bare(&["--json"]);
        command.args(arguments);
        command
    }

    /// `portcullis ...`, with a person's answer.
    fn bare(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_portcullis"));
        command.arg("--config").arg(self.path("portcullis.yaml")).args(["--actor", "officer"]);
        command.args(arguments).env_remove("PORTCULLIS_CONFIG");
        command
    }

    /// Runs `portcullis sync ...` to its end, for people.
    pub fn plain(&self, arguments: &[&str]) -> Output {
        self.command(arguments).output().unwrap()
    }

    pub fn path(&self, name: &str) -> PathBuf {
        Path::new(self.folder.path()).join(name)
    }

    /// Starts `portcullis sync ...`, to be killed.
    pub fn start(&self, arguments: &[&str]) -> Child {
        self.command(arguments).arg("--json").stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap()
    }

    /// Starts it, to be waited for.
    pub fn spawn(&self, arguments: &[&str]) -> Child {
        self.command(arguments).arg("--json").stdout(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap()
    }

    /// Runs `portcullis sync ...` to its end.
    pub fn sync(&self, arguments: &[&str]) -> Output {
        self.command(arguments).arg("--json").output().unwrap()
    }

    /// Runs it, whatever the exit code, and reads its JSON.
    pub fn report(&self, arguments: &[&str]) -> serde_json::Value {
        let output = self.sync(arguments);
        serde_json::from_slice(&output.stdout).unwrap_or_else(|error| {
            panic!("{error}: {:?} {}", output.status, String::from_utf8_lossy(&output.stderr))
        })
    }
}

fn audit(ods: &OdsCode, at: OffsetDateTime) -> NewAudit {
    NewAudit {
        at,
        actor: "test".to_owned(),
        action: "test.prepare".to_owned(),
        member: Some(ods.clone()),
        detail: serde_json::Value::Null,
    }
}

fn member(ods: &OdsCode, source: &Source, password: PathBuf, now: OffsetDateTime) -> Member {
    Member {
        ods: ods.clone(),
        name: "A trust".to_owned(),
        state: Membership::Federated,
        profile: None,
        connection: Connection {
            controllers: vec![Controller {
                host: source.host.clone(),
                port: source.port,
                tls_name: Some(source.tls_name.clone()),
            }],
            base_dn: source.base.clone(),
            bind_dn: source.bind.clone(),
            password: SecretReference::File(password),
            anchors: source.anchors.clone(),
            kdcs: Vec::new(),
            site: None,
            realm: None,
            card: None,
            canary: source.canary.clone(),
        },
        connectors: Vec::new(),
        mail_domains: BTreeSet::from([source.mail_domain.clone()]),
        upn_suffixes: BTreeSet::new(),
        people: Default::default(),
        attested: Default::default(),
        requested_at: now,
        state_since: now,
        state_reason: "test".to_owned(),
        revision: 0,
    }
}
