//! Portcullis itself as one of the proxies: the real binary with everything on (TLS on both sides, client certificate,
//! permit, hidden attributes, renaming of the suffix, limits, audit), over the same directory as the others.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::process::Command;

use ring::digest::{SHA256, digest};
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;

use crate::lab::SUFFIX;

/// Writes configuration and policies under `folder` for a gateway on `ldaps` over the directory at `backend`; returns the
/// command that serves them.
pub fn command(
    folder: &Path,
    ldaps: &str,
    metrics: &str,
    backend: &str,
    password: &str,
) -> Result<Command, String> {
    let certificate = CertificateDer::from_pem_file(folder.join("client.pem")).map_err(|e| e.to_string())?;
    let sha256: String = digest(&SHA256, &certificate).as_ref().iter().map(|b| format!("{b:02x}")).collect();
    let config = format!(
        "version: 1
data_dir: {dir}/gateway
policies: {dir}/policies
listen: {{ ldaps: \"{ldaps}\", metrics: \"{metrics}\" }}
tls:
  certificate: {dir}/server.pem
  key: {dir}/server.key
  client_anchors: {dir}/ca.pem
  crls: [{dir}/ca.crl]
national:
  address: \"{backend}\"
  tls_name: 127.0.0.1
  anchors: {dir}/ca.pem
  bind_dn: cn=bench,{SUFFIX}
  password: {{ file: {dir}/password }}
  suffix: {SUFFIX}
  people_base: ou=people,{SUFFIX}
applications:
  - {{ name: bench, sha256: \"{sha256}\" }}
",
        dir = folder.display()
    );
    let write = |name: &str, text: &str| {
        let path = folder.join(name);
        fs::create_dir_all(path.parent().unwrap_or(folder))
            .and_then(|()| fs::write(&path, text))
            // secrets that others can read are refused
            .and_then(|()| fs::set_permissions(&path, fs::Permissions::from_mode(0o600)))
            .map_err(|e| e.to_string())
    };
    write("portcullis.yaml", &config)?;
    write("password", password)?;
    write("policies/bench.yaml", POLICIES)?;
    fs::create_dir_all(folder.join("gateway")).map_err(|e| e.to_string())?;
    let mut command = Command::new(env!("CARGO_BIN_EXE_portcullis"));
    command.arg("--config").arg(folder.join("portcullis.yaml")).arg("serve");
    Ok(command)
}

/// Four attributes of the entries are hidden: they are not in the list.
const POLICIES: &str = "\
kind: Baseline
id: bench
title: Nothing is assessed here
owner: bench@example.test
revision: 2026.1.0
stage: enforce
include: []
grants:
  lookup: { deny_on: critical, unknown: deny }
  sync: { deny_on: critical, unknown: deny }
reopen_after: 1
evidence_valid_for: 24h
---
kind: Release
id: bench
title: The benchmark's own agreement
purpose: To measure.
audience: { category: application, members: all }
targets: { members: all, national: true }
attributes: [uid, cn, sn, givenName, displayName, mail, title, departmentNumber, telephoneNumber, mobile, roomNumber, o, ou, l, st]
limits: { size: 20000, time: 60s, rate: 1000000/s, in_flight: 1000 }
until: 2099-12-31
";
