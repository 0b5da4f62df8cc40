//! A person who waits for a slow directory hears that it goes on; a program that waits hears nothing.

use std::io::Read;
use std::net::TcpListener;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use crate::app_stage::{Stage, argument, secret};

/// A directory that takes connections and never says a word.
fn silent() -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    std::thread::spawn(move || {
        let mut kept = Vec::new();
        for stream in listener.incoming() {
            kept.push(stream);
        }
    });
    port
}

fn check(stage: &Stage, port: u16) -> Vec<String> {
    secret(&stage.path("password"), "secret");
    [
        env!("CARGO_BIN_EXE_portcullis"),
        "check",
        &format!("127.0.0.1:{port}"),
        "--bind-dn",
        "svc@rxa.test",
        "--password-file",
        argument(&stage.path("password")),
        "--policy",
        argument(&stage.path("policies")),
        "--anchors",
        argument(&stage.path("ca.pem")),
    ]
    .map(str::to_owned)
    .to_vec()
}

#[test]
fn a_terminal_hears_that_it_goes_on() {
    if Command::new("script").arg("--version").output().is_err() {
        eprintln!("SKIPPED: no `script` to make a terminal with (apt-get install bsdutils)");
        return;
    }
    let stage = Stage::new("");
    let words = check(&stage, silent());
    // `script` gives the command a terminal for all of its output
    let mut child = Command::new("script")
        .args(["-qfec", &words.join(" "), "/dev/null"])
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let (mut output, mut said) = (child.stdout.take().unwrap(), String::new());
    let began = Instant::now();
    let mut piece = [0; 1024];
    while !said.contains("s passed") {
        let count = output.read(&mut piece).unwrap();
        assert!(count > 0 && began.elapsed() < Duration::from_secs(30), "{said}");
        said.push_str(&String::from_utf8_lossy(&piece[..count]));
    }
    let _ = child.kill();
    let _ = child.wait();
    assert!(said.starts_with("measuring 127.0.0.1:"), "{said}");
    assert!(said.contains("... 5 s passed, still at it"), "{said}");
}

#[test]
fn a_program_hears_nothing_but_the_answer() {
    let stage = Stage::new("");
    let words = check(&stage, silent());
    let done = Command::new(&words[0]).args(&words[1..]).output().unwrap();
    assert_eq!(done.status.code(), Some(2), "nothing could be told");
    assert_eq!(String::from_utf8_lossy(&done.stderr), "");
    let said = String::from_utf8_lossy(&done.stdout);
    assert!(said.contains("tls-versions"));
    assert!(
        said.contains("--mail-domain"),
        "a report says what it could not judge without a registration: {said}"
    );
}
