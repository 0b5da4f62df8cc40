//! RXA of a running lab, a real Samba, by turns with `ldapsearch`.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;

use crate::domain::BASE;
use crate::measure::{Measured, Place};
use crate::peer::{Asked, asked, ldapsearch};
use crate::{assess, certificates, median, start};

/// People of the generated domain that is asked what an assessment asks: enough that each large search is large there.
const PEOPLE: usize = 8_000;

/// What `deploy/lab/lab env` printed: lines of `export NAME=VALUE NAME=VALUE`.
fn settings(file: &Path) -> BTreeMap<String, String> {
    let text = fs::read_to_string(file).unwrap();
    let words = text.split_whitespace().filter_map(|word| word.split_once('='));
    // the shell's `printf %q` writes a backslash before what it would understand
    words.map(|(name, value)| (name.to_owned(), value.replace('\\', ""))).collect()
}

/// The searches of an assessment that bring much, as they are asked at `place`.
fn searches(folder: &Path, place: &Place) -> Vec<Asked> {
    let running = start(PEOPLE, folder);
    assess(&Place::generated(running.port), folder).unwrap();
    let mut found = asked(folder);
    for asked in &mut found {
        asked.base = asked.base.replace(BASE, &place.base);
    }
    found
}

/// Assesses it and asks by turns, and prints each turn and the middle.
pub fn compare(file: &Path, rounds: usize) {
    let lab = settings(file);
    let base = lab["LAB_RXA_BASE"].clone();
    let domain = base.replace(",DC=", ".").replace("DC=", "");
    let place =
        Place { host: lab["LAB_RXA"].clone(), port: 636, base, bind_dn: format!("svc-portcullis@{domain}") };
    let generated = tempfile::tempdir().unwrap();
    certificates(generated.path());
    let searches = searches(generated.path(), &place);
    let folder = tempfile::tempdir().unwrap();
    fs::copy(&lab["LAB_CA"], folder.path().join("ca.pem")).unwrap();
    let password = folder.path().join("password");
    fs::write(&password, &lab["LAB_SERVICE_PASSWORD"]).unwrap();
    fs::set_permissions(&password, fs::Permissions::from_mode(0o600)).unwrap();
    println!(
        "| assessment, seconds | of which CPU | ldapsearch, seconds | of which CPU |\n|--:|--:|--:|--:|"
    );
    let (mut ours, mut theirs): (Vec<Measured>, Vec<(f64, f64)>) = (Vec::new(), Vec::new());
    for _ in 0..rounds {
        let (one, other) =
            (assess(&place, folder.path()).unwrap(), ldapsearch(&place, folder.path(), &searches));
        println!("| {:.2} | {:.2} | {:.2} | {:.2} |", one.wall, one.cpu, other.0, other.1);
        ours.push(one);
        theirs.push(other);
    }
    println!("\n{}", ours[0].parts);
    println!("{} searches by ldapsearch", searches.len());
    println!(
        "assessment to ldapsearch: {:.2} times the time (at most {})",
        median(&ours, |m| m.wall) / median(&theirs, |t| t.0),
        crate::TIMES
    );
}
