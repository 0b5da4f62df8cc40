//! The configuration file: what is read, and that every fault is told at once, in its place, with what to do.

use std::path::Path;

use portcullis::config::file;
use portcullis::secret::reference::SecretReference;

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

/// `line:column: message` for each fault.
fn faults(text: &str) -> Vec<String> {
    match file::parse(text, Path::new("/etc/portcullis"), false) {
        Ok(_) => Vec::new(),
        Err(faults) => faults
            .into_iter()
            .map(|fault| {
                let hint = fault.hint.map(|hint| format!("; {hint}")).unwrap_or_default();
                format!("{}:{}: {}{hint}", fault.line, fault.column, fault.message)
            })
            .collect(),
    }
}

#[test]
fn a_good_file_is_read_with_paths_relative_to_it() {
    let config = file::parse(GOOD, Path::new("/etc/portcullis"), false).unwrap();
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
            "6:12: `listen.metrics` must be an address and port such as 127.0.0.1:636, not an integer: put it in quotes",
            "10:3: unknown key `tls.client_ca`; it is called `tls.client_anchors`",
            "16:13: `national.password` must be a reference to a secret: `{file: /path}` or `{environment: NAME}`, \
             never the secret itself",
            "20:19: `intervals.assess_seconds`: invalid type: string \"soon\", expected u32",
            "21:3: unknown key `intervals.asess_seconds`; did you mean `intervals.assess_seconds`?",
            "23:5: unknown key `applications[0].nmae`; did you mean `applications[0].name`?",
        ]
    );
}

#[test]
fn each_kind_of_fault_is_told_apart() {
    for (from, to, expected) in [
        ("version: 1", "version: 2", "1:1: `version` 2 is not known; write 1"),
        ("version: 1\n", "", "1:1: `version` is missing"),
        ("policies: policies", "policies: ''", "3:11: `policies` must be a path, not empty"),
        ("  crls: [clients.crl]", "  crls: clients.crl", "11:9: `tls.crls` must be a list, not a text"),
        ("national.test:636", "national.test", "13:12: `national.address` must be a host and port such as"),
        ("national.test:636", "national.test:0", "13:12: `national.address` must be a host and port such as"),
        (
            "suffix: dc=national,dc=test",
            "suffix: national",
            "17:11: `national.suffix` must be a distinguished name",
        ),
        ("ou=people,dc=national", "ou=people,dc=other", "18:16: `national.people_base` must lie below"),
        ("{file: national.password}", "{vault: x}", "16:13: `national.password` must be a reference"),
        ("data_dir: data", "data_dir: data\ndata_dir: data", "duplicate"),
        ("listen:\n", "listen: [\n", ":"),
    ] {
        let told = faults(&GOOD.replacen(from, to, 1));
        assert!(
            told.iter().any(|line| line.starts_with(expected) || line.contains(expected)),
            "{from} -> {to}: {told:?}"
        );
    }
    assert_eq!(faults(""), ["1:1: `the file` must be a section of keys and values, not nothing"]);
}

#[test]
fn references_are_looked_at_when_asked_for() {
    let directory = tempfile::tempdir().unwrap();
    for file in ["gateway.pem", "clients.pem", "clients.crl", "national.password"] {
        std::fs::write(directory.path().join(file), "").unwrap();
    }
    std::fs::create_dir(directory.path().join("policies")).unwrap();
    let faults = file::parse(GOOD, directory.path(), true).unwrap_err();
    let told: Vec<String> = faults.iter().map(|f| format!("{}: {}", f.line, f.message)).collect();
    assert_eq!(told.len(), 3, "{told:?}");
    assert!(told[0].starts_with("9: cannot read /etc/keys/gateway.key"), "{told:?}");
    assert!(told[1].starts_with("14: cannot read"), "{told:?}");
    assert!(told[2].starts_with("16: ") && told[2].contains("empty secret"), "{told:?}");
}
