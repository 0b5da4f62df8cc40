//! The configuration file: what is read, and that every fault is told at once, in its place, with what to do.

use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::{Command, Output};

use portcullis::ambient::clock::Clock;
use portcullis::config::fault::{Fault, Weight};
use portcullis::config::file;
use portcullis::secret::reference::SecretReference;
use rcgen::{
    BasicConstraints, CertificateParams, CertificateRevocationListParams, CertifiedIssuer, IsCa, KeyIdMethod,
    KeyPair, KeyUsagePurpose, SerialNumber,
};

use crate::app_stage::{Stage, argument, secret};

const GOOD: &str = "\
version: 1
data_dir: data
policies: policies
listen:
  ldaps: 127.0.50.1:636
  metrics: 127.0.50.1:9390
tls:
  certificate: gateway.pem
  key: /etc/keys/gateway.key
  client_anchors: clients.pem
  crls: [clients.crl]
national:
  address: national.test:636
  anchors: national-ca.pem
  bind_dn: cn=gateway,dc=national,dc=test
  password: {file: national.password}
  suffix: dc=national,dc=test
  people_base: ou=people,dc=national,dc=test
intervals:
  assess_seconds: 30
applications:
  - name: sms
    sha256: 'AA:bb000000000000000000000000000000000000000000000000000000000000'
";

fn told(faults: &[Fault]) -> Vec<String> {
    faults.iter().map(|f| format!("{}:{}: {}; {}", f.line, f.column, f.message, f.hint)).collect()
}

/// `line:column: message; hint` for each fault. None is without a hint.
fn faults(text: &str) -> Vec<String> {
    let (config, faults) = file::parse(text, Path::new("/etc/portcullis"), None);
    assert_eq!(config.is_some(), faults.iter().all(|fault| fault.weight == Weight::Warning));
    for fault in &faults {
        assert!(fault.hint.len() > 4, "without a hint: {fault:?}");
        assert!(fault.line > 0 && fault.column > 0, "without a place: {fault:?}");
    }
    told(&faults)
}

#[test]
fn a_good_file_is_read_with_paths_relative_to_it() {
    let config = file::parse(GOOD, Path::new("/etc/portcullis"), None).0.unwrap();
    assert_eq!(config.data_dir, Path::new("/etc/portcullis/data"));
    assert_eq!(config.tls.key, Path::new("/etc/keys/gateway.key"));
    assert_eq!(config.tls.crls, [Path::new("/etc/portcullis/clients.crl")]);
    assert_eq!((config.national.host.as_str(), config.national.port), ("national.test", 636));
    assert_eq!(config.national.tls_name, "national.test");
    assert_eq!(config.national.password, SecretReference::File("/etc/portcullis/national.password".into()));
    assert_eq!(config.intervals.assess_seconds, 30);
    assert_eq!(config.intervals.sync_seconds, 60);
    assert!(config.applications[0].sha256.starts_with("aabb"));
}

#[test]
fn all_faults_come_at_once_in_the_order_of_the_file() {
    let text = GOOD
        .replace("ldaps: 127.0.50.1:636", "ldpas: 127.0.50.1:636")
        .replace("metrics: 127.0.50.1:9390", "metrics: 9390")
        .replace("client_anchors:", "client_ca:")
        .replace("password: {file: national.password}", "password: hunter2")
        .replace("assess_seconds: 30", "assess_seconds: soon\n  asess_seconds: 4")
        .replace("name: sms", "nmae: sms")
        + "colour: red\n";
    let mut told = faults(&text);
    let last = told.pop().unwrap();
    assert!(last.starts_with("25:1: unknown key `colour`; known here: version, data_dir, "), "{last}");
    assert_eq!(
        told,
        [
            "5:3: unknown key `listen.ldpas`; did you mean `listen.ldaps`?",
            "6:12: `listen.metrics` must be an address and port, not an integer; \
             write an address and a port in quotes, for example '127.0.0.1:636'",
            "10:3: unknown key `tls.client_ca`; it is called `tls.client_anchors`",
            "16:13: `national.password` must be a reference to a secret; \
             write `{ file: /path }` or `{ environment: NAME }`, never the secret itself",
            "20:19: `intervals.assess_seconds` must be a whole number from 5 to 86400, not `soon`; \
             write a whole number without quotes",
            "21:3: unknown key `intervals.asess_seconds`; did you mean `intervals.assess_seconds`?",
            "23:5: unknown key `applications[0].nmae`; did you mean `applications[0].name`?",
        ]
    );
}

/// RFC 8032 section 7.1, the public keys of the first tests.
const ADA: &str = "d75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a";
const BEN: &str = "3d4017c3e843895a92b70aa74d1b7ebc9c982ccf2ec4968cc0cd55f12af4660c";

#[test]
fn officers_who_sign_policies_are_distinct_and_enough() {
    let with = |section: &str| format!("{GOOD}policy_signatures:\n{section}");
    let officers = |a: &str, b: &str| format!("  required: 2\n  officers: [{a}, {b}]\n");
    let (ada, ben) =
        (format!("{{name: Ada, key: '{ADA}'}}"), format!("{{name: Ben, key: {}}}", BEN.to_uppercase()));
    let good = with(&officers(&ada, &ben));
    let config = file::parse(&good, Path::new("/"), None).0.unwrap();
    let required = config.policy_signatures.unwrap();
    assert_eq!((required.signatures, required.officers[0].name.as_str()), (2, "Ada"));
    assert_eq!(portcullis::policy::signature::hex(&required.officers[1].key), BEN);
    assert_eq!(file::parse(GOOD, Path::new("/"), None).0.unwrap().policy_signatures, None);
    for (text, expected) in [
        (
            good.replace("required: 2", "required: 3"),
            "`policy_signatures.required` is 3, and 2 officers are named",
        ),
        (good.replace("required: 2", "required: 0"), "`policy_signatures.required` is 0"),
        (good.replace("  required: 2\n", ""), "`policy_signatures.required` is missing"),
        (
            good.replace("Ben", "ADA"),
            "`policy_signatures.officers[1].name` is the name of another officer, Ada",
        ),
        (
            good.replace(&BEN.to_uppercase(), ADA),
            "`policy_signatures.officers[1].key` is the key of Ada, too",
        ),
        (
            good.replace(ADA, &"0".repeat(64)),
            "`policy_signatures.officers[0].key` is a key for which anybody can sign",
        ),
        (good.replace(ADA, "d75a"), "`policy_signatures.officers[0].key` must be a public key"),
        (good.replace("name: Ben", "nmae: Ben"), "unknown key `policy_signatures.officers[1].nmae`"),
        (good.replace("name: Ada", "name: ' Ada'"), "an officer's name has 1 to 100 characters"),
        (format!("{GOOD}policy_signatures:\n"), "`policy_signatures` must be a section"),
    ] {
        let told = faults(&text);
        assert!(told.iter().any(|fault| fault.contains(expected)), "{expected}: {told:?}");
        assert!(file::parse(&text, Path::new("/"), None).0.is_none(), "{expected}");
    }
}

#[test]
fn each_kind_of_fault_is_told_apart() {
    for (from, to, expected) in [
        ("version: 1", "version: 2", "1:10: `version` 2 is not known; write 1"),
        ("version: 1\n", "", "1:1: `version` is missing; add `version:`"),
        ("policies: policies", "policies: ''", "3:11: `policies` must be the path of a folder, not empty"),
        ("  crls: [clients.crl]", "  crls: clients.crl", "11:9: `tls.crls` must be a list, not a text"),
        (
            "national.test:636",
            "national.test",
            "13:12: `national.address` must be a host and port, not `national.test",
        ),
        (
            "national.test:636",
            "national.test:0",
            "13:12: `national.address` must be a host and port, not `national.test",
        ),
        (
            "suffix: dc=national,dc=test",
            "suffix: national",
            "17:11: `national.suffix` must be a distinguished name",
        ),
        ("ou=people,dc=national", "ou=people,dc=other", "18:16: `national.people_base` must lie below"),
        ("{file: national.password}", "{vault: x}", "16:13: `national.password` must be a reference"),
        (
            "{file: national.password}",
            "{file: }",
            "16:13: `national.password` must be a reference to a secret",
        ),
        (
            "127.0.50.1:9390",
            "127.0.50.1:636",
            "6:12: `listen.metrics` has the address and port of `listen.ldaps`",
        ),
        ("127.0.50.1:636", "127.0.50.1:0", "5:10: `listen.ldaps` must name its port: 0 is none"),
        (
            "national.test:636",
            "'national test:636'",
            "13:12: `national test` is no name that a certificate can",
        ),
        ("  crls: [clients.crl]", "  unlisted: perhaps", "11:13: `tls.unlisted` must be `refuse` or `allow`"),
        (
            "  crls: [clients.crl]",
            "  crl_max_age_hours: 0",
            "11:22: `tls.crl_max_age_hours` must be from 1 to 87600, not 0",
        ),
        (
            "  crls: [clients.crl]",
            "  crl_max_age_hours: day",
            "11:22: `tls.crl_max_age_hours` must be a whole number, not `day`",
        ),
        ("  crls: [clients.crl]", "  crls: []", "11:9: no revocation list is named"),
        ("\n  crls: [clients.crl]", "", "8:3: no revocation list is named"),
        ("name: sms", "name: 7", "22:11: `applications[0].name` must be a text, not an integer"),
        ("sha256: 'AA:bb", "sha256: 'zz", "23:13: `applications[0].sha256` must be a SHA-256 fingerprint"),
        ("version: 1\n", "version: 1\nlog: {filter: 'a=b=c'}\n", "2:15: `log.filter` is no log filter"),
        (
            "data_dir: data",
            "data_dir: data\ndata_dir: data",
            "3:1: the key `data_dir` stands twice in one map",
        ),
        ("listen:\n", "listen: [\n", ":"),
    ] {
        let told = faults(&GOOD.replacen(from, to, 1));
        assert!(
            told.iter().any(|line| line.starts_with(expected) || line.contains(expected)),
            "{from} -> {to}: {told:?}"
        );
    }
    let (_, empty) = file::parse("", Path::new("/"), None);
    assert_eq!(empty[0].message, "`the file` must be a section of keys and values, not nothing");
}

#[test]
fn one_certificate_stands_for_one_application() {
    let again = "  - name: mail
    sha256: 'AABB000000000000000000000000000000000000000000000000000000000000'
";
    let told = faults(&format!("{GOOD}{again}"));
    assert_eq!(
        told,
        ["24:5: `applications[1].sha256` is the certificate of the application on line 22, too; \
          give each application a certificate of its own"]
    );
}

/// Settings that would never work, each by itself.
const NONSENSE: &[&str] = &[
    "intervals.assess_seconds: 0",
    "intervals.assess_seconds: 4",
    "intervals.assess_seconds: 86401",
    "intervals.sync_seconds: 0",
    "intervals.sync_seconds: 100000",
    "intervals.drain_seconds: 3601",
    "front.shards: 257",
    "front.connections_per_address: 0",
    "front.connections: 0",
    "front.in_flight: 0",
    "front.message_bytes_before_bind: 0",
    "front.message_bytes: 0",
    "front.message_bytes: 4096",
    "front.upstream_message_bytes: 0",
    "front.output_pause_bytes: 0",
    "front.output_bytes: 0",
    "front.output_bytes: 8192",
    "front.size_limit: 0",
    "front.fan_out: 0",
    "front.handshake_milliseconds: 0",
    "front.message_milliseconds: 0",
    "front.idle_milliseconds: 0",
    "front.write_stall_milliseconds: 0",
    "front.operation_milliseconds: 0",
    "front.operation_milliseconds: 18446744073709551",
    "front.dial_milliseconds: 0",
    "front.upstream_idle_milliseconds: 0",
    "front.upstream_depth: 0",
    "front.upstreams: 0",
    "front.waiting: 0",
    "front.back_off_milliseconds: 0",
    "front.back_off_max_milliseconds: 100",
    "front.bulk_pause_microseconds: 1000000",
    "front.hold_up_milliseconds: 0",
    "front.audit_chunk_bytes: 0",
    "front.mount_in_flight: 0",
    "front.retries: 4294967295",
    "front.index_seconds: 4294967295",
    "front.upstreams_for_long_results: 18446744073709551615",
    "front.dial_hedge_milliseconds: 0",
    "front.silence_milliseconds: 0",
    "front.probe_idle_milliseconds: 0",
    "front.probe_milliseconds: 18446744073709551615",
    "front.walks_per_upstream: 0",
    "front.walk_upstreams: 100000",
    "front.walk_idle_milliseconds: 0",
    "front.walk_idle_milliseconds: 300000",
    "front.sort_bytes: 4194304",
    "front.ranged_bytes: 4194304",
    "front.shared_bytes: 4194304",
    "front.account_checks: 0",
    "front.account_checks: 18446744073709551615",
    "front.account_checks_per_member: 0",
    "front.account_checks_per_member: 1025",
    "front.account_kept_seconds: 0",
    "front.account_refused_kept_seconds: 86401",
    "front.account_unreachable_seconds: 86401",
    "front.account_check_milliseconds: 0",
    "front.password_bound_seconds: 0",
    "front.password_refusal_milliseconds: 0",
    "front.password_tries_per_name: 0",
    "front.password_tries_per_address: 0",
    "front.password_tries_seconds: 0",
    "assess.probe_seconds: 0",
    "assess.pass_seconds: 0",
    "assess.pass_seconds: 4",
    "assess.controllers: 0",
    "assess.records: 0",
    "assess.parallel: 0",
    "assess.plain_port: 0",
    "assess.kinit: ''",
    "assess.directory.connect_seconds: 0",
    "assess.directory.answer_seconds: 0",
    "assess.directory.page_size: 0",
    "assess.directory.entries: 0",
    "assess.directory.message_bytes: 0",
    "assess.directory.operation_bytes: 1000000",
    "sync.parallel: 0",
    "sync.connections: 0",
    "sync.connections: 17",
    "sync.batch: 0",
    "sync.lease_seconds: 29",
    "sync.complete_seconds: 0",
    "sync.complete_blind_seconds: 0",
    "tables.rows: 0",
    "tables.bytes: 0",
    "tables.cell_chars: 0",
    "sync.page_bytes: 0",
    "sync.approval_seconds: 0",
    "sync.second_officer_at: 0",
    "store.busy_timeout_ms: 0",
    "store.max_size_mib: 4294967295",
];

/// The lines that say `a.b.c: value`, and the column of the value.
fn written(setting: &str) -> (String, usize) {
    let (path, value) = setting.split_once(": ").unwrap();
    let (mut text, mut column) = (String::new(), 0);
    let keys: Vec<&str> = path.split('.').collect();
    for (depth, key) in keys.iter().enumerate() {
        let blanks = "  ".repeat(depth);
        let last = depth + 1 == keys.len();
        text += &format!("{blanks}{key}:{}\n", if last { format!(" {value}") } else { String::new() });
        column = blanks.len() + key.len() + 3;
    }
    (text, column)
}

#[test]
fn settings_that_would_never_work_are_refused_in_their_place() {
    let good = GOOD.split("intervals:").next().unwrap();
    for setting in NONSENSE {
        let (text, column) = written(setting);
        let told = faults(&format!("{good}{text}"));
        let path = setting.split(':').next().unwrap();
        let line = good.lines().count() + text.lines().count();
        let place = format!("{line}:{column}: `{path}` must ");
        assert!(told.iter().any(|told| told.starts_with(&place)), "{setting}: {place} {told:?}");
    }
    // what is wrong beside something that cannot be read is told, too
    let told = faults(&format!("{good}sync:\n  batch: many\n  parallel: 0\n  colour: red\n"));
    assert_eq!(told.len(), 3, "{told:?}");
    assert!(told[1].contains("`sync.parallel` must be from 1 to 1000, not 0"), "{told:?}");
    // and what the program itself would choose makes sense
    for section in ["front", "assess", "sync", "store", "intervals", "log"] {
        assert_eq!(faults(&format!("{good}{section}: {{}}\n")), Vec::<String>::new());
    }
}

#[test]
fn values_of_another_kind_are_told_in_plain_words() {
    let good = GOOD.split("intervals:").next().unwrap();
    for (setting, expected) in [
        ("front.walks: many", "must be a whole number from 0 to 1000000, not `many`; write a whole number"),
        ("front.walks: '7'", "must be a whole number from 0 to 1000000, not `7`; write a whole number"),
        ("front.walks: 1.5", "must be a whole number from 0 to 1000000, not 1.5;"),
        ("front.walks: -1", "must be a whole number from 0 to 1000000, not -1;"),
        ("front.walks: 99999999999999999999999", "must be a whole number from 0 to 1000000, not "),
        ("front.walks: [1]", "must be a whole number from 0 to 1000000, not a list;"),
        ("front.walks:  ", "must be a whole number from 0 to 1000000, not nothing;"),
        ("front.size_limit: 4294967296", "must be a whole number from 1 to 10000000, not 4294967296;"),
        ("front.account_check: perhaps", "must be `true` or `false`, not `perhaps`; write `true` or `false`"),
        ("assess.plain_port: 65536", "must be a whole number from 1 to 65535, not 65536;"),
        ("assess.kinit: 5", "must be a text, not 5; write a text"),
        ("assess.directory: 5", "must be a section of keys and values, not 5; write `key: value`"),
        ("assess.directory.page_size: x", "must be a whole number from 1 to 100000, not `x`;"),
        ("sync.national_attributes: mail", "must be a list, not `mail`; write it in square brackets"),
        ("discovery.resolver: nowhere", "cannot be read: invalid socket address syntax;"),
        ("log.format: xml", "must be `human` or `json`, not `xml`; write one of these words"),
    ] {
        let (text, _) = written(setting);
        let told = faults(&format!("{good}{text}"));
        let path = setting.split(':').next().unwrap();
        let line = good.lines().count() + text.lines().count();
        assert_eq!(told.len(), 1, "{setting}: {told:?}");
        assert!(told[0].starts_with(&format!("{line}:")), "{setting}: {told:?}");
        assert!(told[0].contains(&format!("`{path}` {expected}")), "{setting}: {told:?}");
    }
    // each of several is told, in sections of sections, too, and what is good beside them counts
    let told = faults(&format!(
        "{good}assess:\n  directory: {{page_size: x, entries: y, pagesize: 1}}\n  parallel: 0\n\
         sync: {{national_attributes: [a, 7, []]}}\n"
    ));
    assert_eq!(told.len(), 5, "{told:?}");
    assert!(told[0].contains("`assess.directory.page_size` must be a whole number"), "{told:?}");
    assert!(told[1].contains("`assess.directory.entries` must be a whole number"), "{told:?}");
    assert!(told[2].contains("did you mean `assess.directory.page_size`?"), "{told:?}");
    assert!(told[3].contains("`assess.parallel` must be from 1 to 1000, not 0"), "{told:?}");
    assert!(told[4].contains("`sync.national_attributes[1]` must be a text, not 7"), "{told:?}");
    // not a word of the program's own
    let program = ["usize", "u32", "u64", "u16", "bool,", "invalid type", "string \"", "expected"];
    for line in told {
        assert!(program.iter().all(|word| !line.contains(word)), "{line}");
    }
    // as many as a file holds end soon
    let many: String = (0..3_000).map(|number| format!("  k{number}: 1\n")).collect();
    let began = std::time::Instant::now();
    assert_eq!(faults(&format!("{good}front:\n{many}")).len(), 3_000);
    assert!(began.elapsed().as_secs() < 20, "{:?}", began.elapsed());
}

fn check(stage: &Stage, arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_portcullis"))
        .args(["config", "check", "--config", argument(&stage.path("portcullis.yaml"))])
        .args(arguments)
        .env_remove("PORTCULLIS_CONFIG")
        .output()
        .unwrap()
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8(bytes.to_vec()).unwrap()
}

/// The certificate of an authority that ended yesterday.
fn ended_authority() -> String {
    let mut root = CertificateParams::new(vec![]).unwrap();
    root.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    root.not_after = Clock::system().now() - time::Duration::DAY;
    root.self_signed(&KeyPair::generate().unwrap()).unwrap().pem()
}

/// A revocation list whose next one should have come an hour ago.
fn ended_list() -> String {
    let mut root = CertificateParams::new(vec![]).unwrap();
    root.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    root.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    let root = CertifiedIssuer::self_signed(root, KeyPair::generate().unwrap()).unwrap();
    let now = Clock::system().now();
    let list = CertificateRevocationListParams {
        this_update: now - time::Duration::DAY,
        next_update: now - time::Duration::HOUR,
        crl_number: SerialNumber::from(1),
        issuing_distribution_point: None,
        revoked_certs: Vec::new(),
        key_identifier_method: KeyIdMethod::Sha256,
    };
    list.signed_by(&root).unwrap().pem().unwrap()
}

#[test]
fn all_faults_of_all_named_files_come_in_one_run() {
    let stage = Stage::new("intervals: { assess_seconds: 0 }\n");
    let config = std::fs::read_to_string(stage.path("portcullis.yaml")).unwrap();
    let config = config
        .replace("intervals: { assess_seconds: 3600, sync_seconds: 3600, drain_seconds: 1 }\n", "")
        .replace("anchors: ca.pem\n", "anchors: old.pem\n")
        .replace("client_anchors: ca.pem", "client_anchors: broken.pem")
        .replace("policies: policies", "policies: elsewhere");
    stage.write("portcullis.yaml", &config);
    secret(&stage.path("gateway.key"), "-----BEGIN PRIVATE KEY-----\nno key\n-----END PRIVATE KEY-----\n");
    std::fs::remove_file(stage.path("ca.crl")).unwrap();
    std::fs::remove_file(stage.path("national.password")).unwrap();
    stage.write("old.pem", &ended_authority());
    stage.write(
        "broken.pem",
        "-----BEGIN CERTIFICATE-----\nbm8gY2VydGlmaWNhdGU=\n-----END CERTIFICATE-----\n",
    );
    std::fs::create_dir(stage.path("data")).unwrap();
    secret(&stage.path("data/signing.key"), "not a key");

    let expected = [
        (2, "signing.key is not an Ed25519 key", "put the gateway's key back"),
        (3, "cannot read the policies in", "policy check"),
        (5, "holds no private key in PEM form", "put the private key there in PEM form"),
        (5, "the certificate cannot be read", "write the file anew"),
        (5, "cannot read `", "put the file there"),
        (8, "ended on ", "put the new one in its place"),
        (10, "cannot read ", "write the secret to "),
        (14, "`intervals.assess_seconds` must be from 5 to 86400, not 0", "leave the key out"),
    ];
    let done = check(&stage, &["--json"]);
    assert_eq!(done.status.code(), Some(1));
    let answer: serde_json::Value = serde_json::from_slice(&done.stdout).unwrap();
    let all = answer["faults"].as_array().unwrap();
    for (line, message, hint) in expected {
        let found = all.iter().any(|fault| {
            fault["line"] == line
                && fault["column"].as_u64().unwrap() > 1
                && fault["weight"] == "fault"
                && fault["file"].as_str().unwrap().ends_with("/portcullis.yaml")
                && fault["message"].as_str().unwrap().contains(message)
                && fault["hint"].as_str().unwrap().contains(hint)
        });
        assert!(found, "{line} {message}: {answer:#}");
    }
    assert_eq!(all.len(), expected.len(), "{answer:#}");

    let done = check(&stage, &[]);
    assert_eq!(done.status.code(), Some(1));
    let said = text(&done.stdout);
    assert_eq!(said.lines().count(), expected.len(), "{said}");
    for line in said.lines() {
        assert!(line.contains("/portcullis.yaml:") && line.contains("; "), "{line}");
    }
    // and the gateway does not start with any of it
    let served = Command::new(env!("CARGO_BIN_EXE_portcullis"))
        .args(["serve", "--config", argument(&stage.path("portcullis.yaml"))])
        .output()
        .unwrap();
    assert_eq!(served.status.code(), Some(2));
    assert_eq!(text(&served.stderr).matches("/portcullis.yaml:").count(), expected.len());
}

#[test]
fn what_is_good_has_no_fault() {
    let stage = Stage::new("");
    let done = check(&stage, &["--json"]);
    assert_eq!(done.status.code(), Some(0), "{}", text(&done.stdout));
    let answer: serde_json::Value = serde_json::from_slice(&done.stdout).unwrap();
    assert_eq!(answer["faults"], serde_json::json!([]));
    assert!(text(&check(&stage, &[]).stdout).ends_with(": no fault\n"));
    let nowhere = Command::new(env!("CARGO_BIN_EXE_portcullis"))
        .args(["config", "check", "--config", "/nowhere/portcullis.yaml"])
        .output()
        .unwrap();
    assert_eq!(nowhere.status.code(), Some(1));
    assert!(text(&nowhere.stdout).contains("cannot be read: "), "{}", text(&nowhere.stdout));
}

#[test]
fn a_key_must_be_that_of_the_certificate() {
    let stage = Stage::new("");
    secret(&stage.path("gateway.key"), &KeyPair::generate().unwrap().serialize_pem());
    let said = text(&check(&stage, &[]).stdout);
    assert!(said.contains(":5:") && said.contains("the private key does not fit the certificate"), "{said}");
    assert!(said.contains("openssl pkey -pubout"), "{said}");
    assert_eq!(said.lines().count(), 1, "{said}");
}

#[test]
fn a_certificate_that_is_over_is_a_fault_and_a_list_that_is_over_a_warning() {
    let stage = Stage::new("");
    stage.write("ca.crl", &ended_list());
    let done = check(&stage, &[]);
    let said = text(&done.stdout);
    assert_eq!(done.status.code(), Some(0), "{said}");
    assert!(said.contains(": warning: the revocation list of ") && said.contains("ended on "), "{said}");
    assert!(said.contains("put the new one in its place") && said.contains("see the warnings"), "{said}");
    let (_, warnings) =
        file::check(&stage.path("portcullis.yaml"), Clock::system().now()).expect("it starts with a warning");
    assert_eq!((warnings.faults.len(), warnings.refuse()), (1, false));

    // long after all of them ended
    let late = time::macros::datetime!(9000-01-01 0:00 UTC);
    let faults = file::check(&stage.path("portcullis.yaml"), late).unwrap_err();
    let told = told(&faults.faults).join("\n");
    assert!(told.contains("no client would accept the front door"), "{told}");
    assert!(told.contains("the trust anchor "), "{told}");
}

#[test]
fn every_setting_is_shown_without_a_configuration() {
    let ask = |arguments: &[&str]| {
        let mut command = Command::new(env!("CARGO_BIN_EXE_portcullis"));
        let done =
            command.args(["config", "settings", "--config", "/nowhere"]).args(arguments).output().unwrap();
        assert_eq!(done.status.code(), Some(0));
        text(&done.stdout)
    };
    let table = ask(&[]);
    let line = table.lines().find(|line| line.starts_with("front.index_seconds ")).unwrap();
    for part in [" 900 ", " seconds ", " 0 to 604800 ", "A member's index ", "0: never"] {
        assert!(line.contains(part), "{part}: {line}");
    }
    let all: serde_json::Value = serde_json::from_str(&ask(&["--json"])).unwrap();
    let all = all.as_array().unwrap();
    assert_eq!(all.len() + 1, table.lines().count());
    let sort = all.iter().find(|setting| setting["key"] == "front.sort_bytes").unwrap();
    assert_eq!((sort["default"].as_u64(), sort["unit"].as_str()), (Some(2 << 20), Some("bytes")));
    assert!(sort["meaning"].as_str().unwrap().contains("Must be below `output_bytes`"), "{sort}");
    // what is shown can be written
    let good = GOOD.split("intervals:").next().unwrap();
    for setting in all.iter().filter(|setting| setting["key"] != "discovery.resolver") {
        let (lines, _) = written(&format!("{}: {}", setting["key"].as_str().unwrap(), setting["default"]));
        assert_eq!(faults(&format!("{good}{lines}")), Vec::<String>::new(), "{setting}");
    }
}

#[test]
fn the_example_is_good_and_its_comments_are_the_defaults() {
    let example = include_str!("../../deploy/example/portcullis.yaml");
    assert_eq!(faults(example), Vec::<String>::new());
    let is_setting = |line: &str| line == "# front:" || line.starts_with("#   ") && line.contains("  # ");
    let with: String = example
        .lines()
        .map(|line| if is_setting(line) { line.replacen("# ", "", 1) } else { line.to_owned() } + "\n")
        .collect();
    let read = |text: &str| file::parse(text, Path::new("/etc/portcullis"), None);
    let (config, told) = read(&with);
    assert_eq!(told, []);
    assert_eq!(config, read(example).0);
    assert!(with.contains("\nfront:\n  shards: 0 "), "{with}");
}

fn open_to(path: &Path, mode: u32) {
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(mode)).unwrap();
}

#[test]
fn secrets_that_others_can_read_are_refused_with_the_command_that_mends_it() {
    let stage = Stage::new("");
    let signing = stage.path("data/signing.key");
    std::fs::create_dir(stage.path("data")).unwrap();
    portcullis::secret::signing::Signer::load_or_create(&signing).unwrap();
    assert_eq!(check(&stage, &[]).status.code(), Some(0));
    let files = [stage.path("gateway.key"), stage.path("national.password"), signing];
    for (path, mode) in files.iter().zip([0o644, 0o640, 0o602]) {
        open_to(path, mode);
    }
    let done = check(&stage, &[]);
    let said = text(&done.stdout);
    assert_eq!((done.status.code(), said.lines().count()), (Some(1), 3), "{said}");
    for (path, mode) in files.iter().zip(["0644", "0640", "0602"]) {
        let command = format!("chmod 600 {}", path.display());
        let line = said.lines().find(|line| line.ends_with(&format!("run: {command}"))).expect(&said);
        assert!(line.contains(&format!("(mode {mode})")), "{line}");
        let mended = Command::new("sh").args(["-c", &command]).status().unwrap();
        assert!(mended.success());
    }
    assert_eq!(check(&stage, &[]).status.code(), Some(0));

    if std::os::unix::fs::chown(&files[0], Some(54_321), None).is_err() {
        eprintln!("SKIPPED: only root can give files away");
        return;
    }
    let said = text(&check(&stage, &[]).stdout);
    assert!(said.contains("belongs to user 54321") && said.contains("; run: chown "), "{said}");
}

#[test]
fn the_signing_key_that_the_program_makes_is_its_owners_alone() {
    let stage = Stage::new("");
    let made = Command::new("sh")
        .args(["-c", "umask 0; exec \"$0\" audit verify --config \"$1\"", env!("CARGO_BIN_EXE_portcullis")])
        .arg(stage.path("portcullis.yaml"))
        .output()
        .unwrap();
    let metadata = std::fs::metadata(stage.path("data/signing.key"))
        .unwrap_or_else(|error| panic!("{error}: {}", text(&made.stderr)));
    assert_eq!(metadata.permissions().mode() & 0o7777, 0o600);
}

#[test]
fn what_is_no_file_or_too_large_is_not_read() {
    let said = file::load(Path::new("/dev/zero")).unwrap_err().to_string();
    assert!(said.contains("it is not a regular file"), "{said}");
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("large.yaml");
    std::fs::write(&path, format!("{GOOD}# {}\n", "x".repeat(1 << 20))).unwrap();
    let said = file::load(&path).unwrap_err().to_string();
    assert!(said.contains("it has more than 1048576 bytes"), "{said}");
}

#[test]
fn what_the_parser_refuses_is_told_in_plain_words() {
    let twice = faults("version: 1\nversion: 1\n");
    assert_eq!(twice, ["2:1: the key `version` stands twice in one map; keep one of them"]);
    let many = faults(&format!("a: [{}]\n", "0,".repeat(300_000)));
    assert!(many[0].contains("this is too much for one file: it has "), "{many:?}");
}
