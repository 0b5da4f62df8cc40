//! The peer: `ldapsearch`, asking what the assessment asked.

use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Instant;

use crate::measure::Place;
use crate::meter;

/// A search that brings fewer is not asked again by ldapsearch: starting a process for it would cost more than the search.
pub const LARGE: usize = 1_000;

/// A search as the directory wrote it down.
pub struct Asked {
    pub entries: usize,
    pub base: String,
    pub scope: &'static str,
    pub filter: String,
    pub attributes: Vec<String>,
    pub descriptors: bool,
}

/// What the directory was asked last, as far as it brings much.
pub fn asked(folder: &Path) -> Vec<Asked> {
    let text = fs::read_to_string(folder.join("asked")).unwrap();
    let line = |line: &str| {
        let fields: Vec<&str> = line.split('\t').collect();
        Some(Asked {
            entries: fields.first()?.parse().ok()?,
            base: (*fields.get(1)?).to_owned(),
            scope: ["base", "one", "sub"].get(fields.get(2)?.parse::<usize>().ok()?)?,
            filter: (*fields.get(3)?).to_owned(),
            attributes: fields.get(4)?.split(' ').map(str::to_owned).collect(),
            descriptors: *fields.get(5)? == "true",
        })
    };
    text.lines().filter_map(line).filter(|asked| asked.entries >= LARGE).collect()
}

/// Seconds and CPU seconds of ldapsearch asking all of them, one after the other.
pub fn ldapsearch(place: &Place, folder: &Path, searches: &[Asked]) -> (f64, f64) {
    let (began, before) = (Instant::now(), meter::children_cpu_seconds());
    for asked in searches {
        let mut command = Command::new("ldapsearch");
        command.env("LDAPTLS_CACERT", folder.join("ca.pem"));
        command.args([
            "-x",
            "-LLL",
            "-o",
            "ldif-wrap=no",
            "-H",
            &format!("ldaps://{}:{}", place.host, place.port),
        ]);
        command.args(["-D", &place.bind_dn, "-y"]).arg(folder.join("password"));
        command.args(["-b", &asked.base, "-s", asked.scope, "-E", "pr=500/noprompt"]);
        if asked.descriptors {
            // owner, group and DACL
            command.args(["-E", "!1.2.840.113556.1.4.801=::MAMCAQc="]);
        }
        command.arg(&asked.filter).args(&asked.attributes).stdout(Stdio::null());
        let status = command.status().expect("ldapsearch: is the package ldap-utils installed?");
        assert!(status.success(), "ldapsearch: {status}");
    }
    (began.elapsed().as_secs_f64(), meter::children_cpu_seconds() - before)
}
