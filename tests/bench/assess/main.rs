//! What an assessment of a large domain costs: memory beyond what the process had, and time beside `ldapsearch` asking the same.
//!
//! `cargo bench --bench assess -- --help` says how to run it; `tests/bench/README.md` how to read it.

#![expect(
    clippy::print_stdout,
    clippy::print_stderr,
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    reason = "a program for developers that talks to a terminal"
)]

mod domain;
mod impact;
mod lab;
mod measure;
#[path = "../meter.rs"]
mod meter;
mod peer;
mod served;
mod server;

use std::fs::{self, File};
use std::io::{BufRead, BufReader};
use std::net::TcpListener;
use std::path::Path;
use std::process::{Child, Command, ExitCode, Stdio};
use std::sync::Arc;

use rustls::ServerConfig;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};

use crate::domain::Domain;
use crate::measure::{Measured, Place};
use crate::peer::{LARGE, asked, ldapsearch};

const HELP: &str = "\
usage: cargo bench --bench assess -- [--people N] [--rounds R]
       cargo bench --bench assess -- --lab FILE [--rounds R]
       cargo bench --bench assess -- --impact

  --people N   people of the largest domain (default 100000); it has 6 computers for 10 people and 15 groups for 100
  --rounds R   how often the largest one is assessed and asked by ldapsearch (default 3); the median is shown

  --lab FILE   assess RXA of a running lab instead, a real Samba, by turns with ldapsearch; FILE is what `deploy/lab/lab env` prints.
               Make it large before with `deploy/lab/lab grow RXA 8000`

  --impact     record 1,565 members with half a million people, and show what `policy impact` takes over them

Needs ldapsearch (Debian: ldap-utils).";

/// Memory that an assessment may take beyond what the process had.
const MEBIBYTES: f64 = 60.0;
/// Time that it may take, in times of ldapsearch.
const TIMES: f64 = 2.0;

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).filter(|a| a != "--bench").collect();
    let words: Vec<&str> = arguments.iter().map(String::as_str).collect();
    match words.as_slice() {
        ["--serve", people, folder] => serve(people.parse().unwrap(), Path::new(folder)),
        ["--measure", host, port, base, bind_dn, folder] => {
            let (host, base, bind_dn) = ((*host).to_owned(), (*base).to_owned(), (*bind_dn).to_owned());
            measure::run(&Place { host, port: port.parse().unwrap(), base, bind_dn }, Path::new(folder));
        }
        ["--lab", file] => lab::compare(Path::new(file), 3),
        ["--lab", file, "--rounds", rounds] => lab::compare(Path::new(file), rounds.parse().unwrap()),
        ["--impact"] => {
            let folder = tempfile::tempdir().unwrap();
            certificates(folder.path());
            impact::run(folder.path(), 3);
        }
        options => match settings(options) {
            Some((people, rounds)) => compare(people, rounds),
            None => println!("{HELP}"),
        },
    }
    ExitCode::SUCCESS
}

fn settings(options: &[&str]) -> Option<(usize, usize)> {
    let (mut people, mut rounds) = (100_000, 3);
    for pair in options.chunks(2) {
        match pair {
            ["--people", number] => people = number.parse().ok()?,
            ["--rounds", number] => rounds = number.parse().ok().filter(|r| *r > 0)?,
            _ => return None,
        }
    }
    Some((people, rounds))
}

fn domain(people: usize) -> Domain {
    Domain { people, computers: people * 6 / 10, groups: people * 15 / 100 }
}

/// The directory, as a process of its own.
fn serve(people: usize, folder: &Path) {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let chain = vec![CertificateDer::from_pem_file(folder.join("leaf.pem")).unwrap()];
    let key = PrivateKeyDer::from_pem_file(folder.join("leaf.key")).unwrap();
    let config = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(chain, key)
        .unwrap();
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let log = File::options().create(true).append(true).open(folder.join("asked")).unwrap();
    println!("{}", listener.local_addr().unwrap().port());
    let (server, config) = (server::Server::new(domain(people), log), Arc::new(config));
    for stream in listener.incoming() {
        let Ok(stream) = stream else { continue };
        let (server, config) = (Arc::clone(&server), Arc::clone(&config));
        std::thread::spawn(move || server.serve(stream, &config));
    }
}

/// The directory while it runs; dropping it ends it.
struct Running {
    child: Child,
    port: u16,
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn start(people: usize, folder: &Path) -> Running {
    let mut child = itself(&["--serve", &people.to_string(), &folder.display().to_string()])
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut line = String::new();
    BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
    Running { port: line.trim().parse().unwrap(), child }
}

fn itself(arguments: &[&str]) -> Command {
    let mut command = Command::new(std::env::current_exe().unwrap());
    command.args(arguments);
    command
}

fn compare(people: usize, rounds: usize) {
    let folder = tempfile::tempdir().unwrap();
    certificates(folder.path());
    println!(
        "national baseline, everything from the logon to the kept assessment; the directory is another process on the same cores\n"
    );
    println!(
        "| people | computers | groups | MiB beyond the process | seconds | CPU seconds | CPU us an object |"
    );
    println!("|--:|--:|--:|--:|--:|--:|--:|");
    let mut last = None;
    for share in [4, 2, 1] {
        let size = domain(people / share);
        let running = start(size.people, folder.path());
        // the directory finds out once what each search finds
        let times = if share == 1 { rounds } else { 1 };
        let found: Result<Vec<Measured>, String> =
            (0..=times).map(|_| assess(&Place::generated(running.port), folder.path())).skip(1).collect();
        let found = match found {
            Ok(found) => found,
            Err(error) => return eprintln!("the assessment failed: {error}"),
        };
        let (mebibytes, wall, cpu) =
            (median(&found, |m| m.mebibytes), median(&found, |m| m.wall), median(&found, |m| m.cpu));
        println!(
            "| {} | {} | {} | {mebibytes:.1} | {wall:.2} | {cpu:.2} | {:.2} |",
            size.people,
            size.computers,
            size.groups,
            cpu * 1e6 / size.len() as f64
        );
        last = Some((running, found));
    }
    let Some((running, found)) = last else { return };
    println!("\nlargest: {}", found[0].parts);
    against_ldapsearch(&running, folder.path(), &found, rounds);
}

fn against_ldapsearch(running: &Running, folder: &Path, found: &[Measured], rounds: usize) {
    let searches = asked(folder);
    let place = Place::generated(running.port);
    let alone: Vec<(f64, f64)> = (0..rounds).map(|_| ldapsearch(&place, folder, &searches)).collect();
    let entries: usize = searches.iter().map(|s| s.entries).sum();
    let (wall, cpu) = (median(&alone, |a| a.0), median(&alone, |a| a.1));
    println!(
        "\nldapsearch, the {} of these searches that bring {LARGE} entries or more ({entries} entries) to /dev/null: {wall:.2} s, {cpu:.2} CPU seconds",
        searches.len()
    );
    let ours = (median(found, |m| m.wall), median(found, |m| m.cpu));
    let most = found.iter().map(|m| m.mebibytes).fold(0.0, f64::max);
    println!(
        "assessment to ldapsearch: {:.2} times the time (at most {TIMES}), {:.2} times the CPU",
        ours.0 / wall,
        ours.1 / cpu
    );
    println!("memory beyond the process: {most:.1} MiB at the most (below {MEBIBYTES})");
}

fn median<T>(all: &[T], of: impl Fn(&T) -> f64) -> f64 {
    let mut values: Vec<f64> = all.iter().map(of).collect();
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}

/// One assessment in a process of its own.
fn assess(place: &Place, folder: &Path) -> Result<Measured, String> {
    let _ = fs::remove_dir_all(folder.join("data"));
    // only the last assessment's searches are of interest
    if let Ok(log) = File::options().write(true).open(folder.join("asked")) {
        log.set_len(0).unwrap();
    }
    let (port, folder) = (place.port.to_string(), folder.display().to_string());
    let out =
        itself(&["--measure", &place.host, &port, &place.base, &place.bind_dn, &folder]).output().unwrap();
    let text = String::from_utf8_lossy(&out.stdout);
    Measured::parse(&text).ok_or_else(|| format!("{text}{}", String::from_utf8_lossy(&out.stderr)))
}

fn certificates(folder: &Path) {
    let authority = rcgen::KeyPair::generate().unwrap();
    let mut parameters = rcgen::CertificateParams::new(Vec::new()).unwrap();
    parameters.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
    // GnuTLS, which ldapsearch may speak with, wants a name of its own for each
    parameters.distinguished_name.push(rcgen::DnType::CommonName, "Bench Root");
    parameters.key_usages = vec![rcgen::KeyUsagePurpose::KeyCertSign];
    let issuer = rcgen::CertifiedIssuer::self_signed(parameters, authority).unwrap();
    let key = rcgen::KeyPair::generate().unwrap();
    let names = vec!["127.0.0.1".to_owned()];
    let leaf = rcgen::CertificateParams::new(names).unwrap().signed_by(&key, &issuer).unwrap();
    fs::write(folder.join("ca.pem"), issuer.pem()).unwrap();
    fs::write(folder.join("leaf.pem"), leaf.pem()).unwrap();
    fs::write(folder.join("leaf.key"), key.serialize_pem()).unwrap();
    let password = folder.join("password");
    fs::write(&password, "bench-only").unwrap();
    fs::set_permissions(&password, std::os::unix::fs::PermissionsExt::from_mode(0o600)).unwrap();
}
