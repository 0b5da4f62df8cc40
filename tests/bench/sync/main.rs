//! What sync takes in time and memory: reading and comparing by size, writing beside OpenLDAP's own clients, and a cycle over many members
//! in which nothing changes. The directories are processes of their own on the same cores; what is measured is a process of its own too.

#![expect(
    clippy::print_stdout,
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    reason = "a program for developers that talks to a terminal"
)]

#[path = "../meter.rs"]
mod meter;
mod national;
mod people;
mod run;
mod source;

use std::fs;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;

use people::Trust;
use portcullis::sync::keeping::job::Mode;
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};
use run::Place;

const HELP: &str = "\
cargo bench --bench sync -- [--only scale|writes|cycle] [--people N,N,..] [--writes N] [--members N] [--rounds N]
                                [--connections N] [--in-flight N]

scale   a first run and a complete pass over everybody published already, by size
writes  creating and changing N entries, and the same with as many of OpenLDAP's clients as requests of ours are in flight
cycle   one run of each of N members in which nothing changes
";
/// People of each member in the cycle.
const FEW: usize = 25;

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).filter(|argument| argument != "--bench").collect();
    let words: Vec<&str> = arguments.iter().map(String::as_str).collect();
    match words.as_slice() {
        ["--serve", pki] => source::serve(server(Path::new(pki))),
        ["--run", folder, rest @ ..] => child(folder, rest),
        _ => bench(&words),
    }
}

fn child(folder: &str, words: &[&str]) {
    let [source, national, connections, in_flight, rest @ ..] = words else { panic!("{words:?}") };
    let place = Place {
        folder: folder.to_owned(),
        source: source.parse().unwrap(),
        national: national.parse().unwrap(),
        connections: connections.parse().unwrap(),
        in_flight: in_flight.parse().unwrap(),
    };
    match rest {
        ["one", base, o, complete, dry_run] => {
            let mode = Mode { dry_run: *dry_run == "true", complete: *complete == "true" };
            run::one(&place, &Trust::named(base).unwrap(), o, mode);
        }
        ["cycle", members] => run::cycle(&place, members.parse().unwrap(), FEW),
        other => panic!("{other:?}"),
    }
}

fn server(pki: &Path) -> Arc<rustls::ServerConfig> {
    use rustls_pki_types::pem::PemObject;
    use rustls_pki_types::{CertificateDer, PrivateKeyDer};
    let chain = vec![CertificateDer::from_pem_file(pki.join("crt")).unwrap()];
    let key = PrivateKeyDer::from_pem_file(pki.join("key")).unwrap();
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let builder = rustls::ServerConfig::builder_with_provider(provider).with_safe_default_protocol_versions();
    Arc::new(builder.unwrap().with_no_client_auth().with_single_cert(chain, key).unwrap())
}

struct Stage {
    folder: tempfile::TempDir,
    source: Child,
    port: u16,
    /// Connections to the national directory.
    connections: usize,
    /// Requests in flight on each of them.
    in_flight: usize,
}

impl Drop for Stage {
    fn drop(&mut self) {
        let _ = self.source.kill();
        let _ = self.source.wait();
    }
}

impl Stage {
    fn new(connections: usize, in_flight: usize) -> Stage {
        let folder = tempfile::tempdir().unwrap();
        let mut parameters = CertificateParams::new(Vec::new()).unwrap();
        parameters.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let ca = CertifiedIssuer::self_signed(parameters, KeyPair::generate().unwrap()).unwrap();
        let key = KeyPair::generate().unwrap();
        let leaf =
            CertificateParams::new(vec!["localhost".to_owned()]).unwrap().signed_by(&key, &ca).unwrap();
        for (name, text) in [("ca.crt", ca.pem()), ("crt", leaf.pem()), ("key", key.serialize_pem())] {
            fs::write(folder.path().join(name), text).unwrap();
        }
        let mut source = Command::new(std::env::current_exe().unwrap())
            .arg("--serve")
            .arg(folder.path())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut port = String::new();
        BufReader::new(source.stdout.take().unwrap()).read_line(&mut port).unwrap();
        Stage { folder, source, port: port.trim().parse().unwrap(), connections, in_flight }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// Forgets everything that was staged.
    fn fresh(&self) {
        let _ = fs::remove_dir_all(self.path("data"));
    }

    /// Runs the measured process and reads its figures.
    fn run(&self, national: &national::Slapd, arguments: &[&str]) -> Vec<f64> {
        let output = Command::new(std::env::current_exe().unwrap())
            .arg("--run")
            .arg(self.folder.path())
            .args(
                [self.port.into(), national.port.into(), self.connections, self.in_flight]
                    .map(|number| number.to_string()),
            )
            .args(arguments)
            .stderr(Stdio::inherit())
            .output()
            .unwrap();
        assert!(output.status.success());
        let text = String::from_utf8(output.stdout).unwrap();
        text.split_whitespace().map(|figure| figure.parse().unwrap()).collect()
    }
}

fn bench(words: &[&str]) {
    let value =
        |name: &str| words.iter().position(|word| *word == name).and_then(|at| words.get(at + 1)).copied();
    let known = ["--only", "--people", "--writes", "--members", "--rounds", "--connections", "--in-flight"];
    if words.len() % 2 == 1 || words.iter().step_by(2).any(|word| !known.contains(word)) {
        return print!("{HELP}");
    }
    let number = |name: &str, usual: usize| value(name).map_or(usual, |text| text.parse().expect(HELP));
    let wanted = |part: &str| value("--only").is_none_or(|only| only == part);
    let stage = Stage::new(number("--connections", 4), number("--in-flight", 1));
    if wanted("scale") {
        let sizes = value("--people").unwrap_or("10000,100000,500000");
        scale(&stage, &sizes.split(',').map(|text| text.parse().expect(HELP)).collect::<Vec<_>>());
    }
    if wanted("writes") {
        writes(&stage, number("--writes", 20_000), number("--rounds", 3));
    }
    if wanted("cycle") {
        cycle(&stage, number("--members", 1_565), number("--rounds", 3));
    }
}

fn scale(stage: &Stage, sizes: &[usize]) {
    println!(
        "everybody is published and nothing changes; CPU us a person, in brackets to the smallest size\n"
    );
    println!("| people | pass | read s | compare s | CPU s | people a CPU second | CPU us a person | MiB |");
    println!("|--:|---|--:|--:|--:|--:|--:|--:|");
    let mut least = None;
    for people in sizes {
        let (trust, parts) = (Trust::new(0, *people), people.div_ceil(10_000));
        let scope = trust.scope("N");
        let slapd = national::Slapd::start(
            stage.path("national"),
            stage.folder.path(),
            (0..parts).map(|part| trust.ldif(&scope, part, parts)),
        );
        stage.fresh();
        for (pass, complete) in [("first", "false"), ("complete", "true"), ("delta", "false")] {
            let figures = stage.run(&slapd, &["one", &trust.base, "N", complete, "false"]);
            let [read, plan, _, _, planned, cpu, kib, published] = figures[..] else { panic!("{figures:?}") };
            assert_eq!((planned, published), (0.0, *people as f64), "everything is as it should be");
            let each = cpu * 1e6 / *people as f64;
            let least = least.get_or_insert(each);
            println!(
                "| {people} | {pass} | {read:.2} | {plan:.2} | {cpu:.2} | {:.0} | {each:.1} ({:.2}) | {:.0} |",
                *people as f64 / cpu,
                each / *least,
                kib / 1024.0
            );
        }
    }
}

fn writes(stage: &Stage, people: usize, rounds: usize) {
    let clients = stage.connections * stage.in_flight;
    println!(
        "\n{people} entries, {} connections with {} requests in flight on each, beside {clients} clients; entries a second, in brackets the CPU \
         us of slapd for each\n",
        stage.connections, stage.in_flight
    );
    println!(
        "| round | ours: add | ldapadd | ratio | ours: modify | ldapmodify | ratio | ours: CPU us a modify, with reading and planning |"
    );
    println!("|--:|--:|--:|--:|--:|--:|--:|--:|");
    let trust = Trust::new(0, people);
    let scope = trust.scope("N");
    let adds: Vec<String> = (0..clients).map(|part| trust.ldif(&scope, part, clients)).collect();
    let unit = |slapd: &national::Slapd| {
        let base = trust.national();
        let ldif = format!("dn: {base}\nobjectClass: organizationalUnit\nou: {}\n\n", trust.ods());
        slapd.client("ldapadd", stage.folder.path(), &[], &[ldif]);
    };
    for round in 1..=rounds {
        let (mut ours, mut theirs) = (Vec::new(), Vec::new());
        for turn in 0..2 {
            let slapd =
                national::Slapd::start(stage.path("national"), stage.folder.path(), std::iter::empty());
            // the one that begins is another in every round
            if (round + turn) % 2 == 0 {
                stage.fresh();
                for (o, done) in [("N", people + 1), ("M", people)] {
                    let before = slapd.cpu_seconds();
                    let figures = stage.run(&slapd, &["one", &trust.base, o, "false", "false"]);
                    let server = (slapd.cpu_seconds() - before) * 1e6 / people as f64;
                    let [_, _, write, steps, _, cpu, ..] = figures[..] else { panic!("{figures:?}") };
                    assert_eq!(steps, done as f64);
                    ours.push((people as f64 / write, server, cpu));
                }
            } else {
                unit(&slapd);
                let rest: Vec<String> = adds
                    .iter()
                    .map(|part| {
                        part.strip_prefix(&format!(
                            "dn: {}\nobjectClass: organizationalUnit\nou: {}\n\n",
                            trust.national(),
                            trust.ods()
                        ))
                        .unwrap_or(part)
                        .to_owned()
                    })
                    .collect();
                let read = ["-e", "postread=entryUUID,entryCSN"];
                let mut client = |program: &str, controls: &[&str], parts: &[String]| {
                    let before = slapd.cpu_seconds();
                    let seconds = slapd.client(program, stage.folder.path(), controls, parts);
                    theirs.push((
                        people as f64 / seconds,
                        (slapd.cpu_seconds() - before) * 1e6 / people as f64,
                    ));
                };
                client("ldapadd", &read, &rest);
                let controls = ["-e", "!assert=(portcullisAnchor=*)", "-e", "postread=entryUUID,entryCSN"];
                let changes: Vec<String> = rest.iter().map(|part| changes(part)).collect();
                client("ldapmodify", &controls, &changes);
            }
        }
        let (
            [(add, add_cpu, _), (modify, modify_cpu, cpu)],
            [(their_add, at_add), (their_modify, at_modify)],
        ) = (&ours[..], &theirs[..])
        else {
            panic!()
        };
        println!(
            "| {round} | {add:.0} ({add_cpu:.0}) | {their_add:.0} ({at_add:.0}) | {:.2} | {modify:.0} ({modify_cpu:.0}) | \
             {their_modify:.0} ({at_modify:.0}) | {:.2} | {:.0} |",
            add / their_add,
            modify / their_modify,
            cpu * 1e6 / people as f64
        );
    }
}

/// For each entry of some LDIF the change that gives it another organisation and stamp.
fn changes(ldif: &str) -> String {
    let dns = ldif.lines().filter(|line| line.starts_with("dn: "));
    dns.map(|dn| {
        format!(
            "{dn}\nchangetype: modify\nreplace: o\no: M\n-\nreplace: portcullisStamp\nportcullisStamp: {}\n\n",
            "0".repeat(64)
        )
    })
    .collect()
}

fn cycle(stage: &Stage, members: usize, rounds: usize) {
    let slapd = national::Slapd::start(stage.path("national"), stage.folder.path(), std::iter::empty());
    stage.fresh();
    let members = members.to_string();
    let figures = stage.run(&slapd, &["cycle", &members]);
    println!(
        "\n{members} members of {FEW} people; their first runs: {:.1} s, {:.0} writes",
        figures[0], figures[2]
    );
    for _ in 0..rounds {
        let figures = stage.run(&slapd, &["cycle", &members]);
        let [wall, cpu, steps, kib] = figures[..] else { panic!("{figures:?}") };
        assert_eq!(steps, 0.0);
        println!(
            "a cycle without changes: {wall:.1} s (below 30), {cpu:.1} CPU seconds, {:.0} MiB",
            kib / 1024.0
        );
    }
}
