//! The gateway as a process: it starts, is alone, reloads, keeps the last good policy, drains and stops.

use std::net::SocketAddr;
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

use portcullis::ambient::clock::Clock;
use portcullis::store::port::Store;
use portcullis::store::record::ExceptionRecord;
use portcullis::store::sqlite::store::SqliteStore;

use crate::app_stage::{BASELINE, Stage, argument, get, metric, soon};
use crate::store_conformance::{audit, exception, member};

/// A running gateway; killed if a test fails.
pub struct Gateway {
    child: Child,
    metrics: SocketAddr,
    log: std::path::PathBuf,
}

impl Gateway {
    pub fn start(stage: &Stage) -> Gateway {
        let log = stage.path("log");
        let child = command(stage, &["serve"])
            .stdout(Stdio::null())
            .stderr(std::fs::File::create(&log).unwrap())
            .spawn()
            .unwrap();
        let mut gateway = Gateway { child, metrics: stage.config().listen.metrics, log };
        soon("the gateway lives", 20, || {
            assert!(gateway.child.try_wait().unwrap().is_none(), "it ended: {}", gateway.log());
            get(gateway.metrics, "/livez").is_some_and(|(status, _)| status.contains("200"))
        });
        gateway
    }

    pub fn log(&self) -> String {
        std::fs::read_to_string(&self.log).unwrap_or_default()
    }

    pub fn value(&self, name: &str) -> Option<f64> {
        metric(&get(self.metrics, "/metrics")?.1, name)
    }

    pub fn ready(&self) -> (String, String) {
        get(self.metrics, "/readyz").unwrap()
    }

    fn signal(&self, name: &str) {
        let done = Command::new("kill").arg(name).arg(self.child.id().to_string()).status().unwrap();
        assert!(done.success());
    }

    pub fn stop(mut self) -> (Option<i32>, Duration) {
        let began = Instant::now();
        self.signal("-TERM");
        let status = self.child.wait().unwrap();
        (status.code(), began.elapsed())
    }
}

impl Drop for Gateway {
    fn drop(&mut self) {
        if self.child.try_wait().ok().flatten().is_none() {
            let _ = self.child.kill();
            let _ = self.child.wait();
        }
    }
}

fn command(stage: &Stage, arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_portcullis"));
    command.args(arguments).args(["--config", argument(&stage.path("portcullis.yaml"))]);
    command.env_remove("PORTCULLIS_CONFIG").env("PORTCULLIS_ACTOR", "tester");
    command
}

fn run(stage: &Stage, arguments: &[&str]) -> Output {
    command(stage, arguments).output().unwrap()
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8(bytes.to_vec()).unwrap()
}

#[test]
fn one_gateway_runs_reloads_and_stops() {
    let stage = Stage::new("");
    let gateway = Gateway::start(&stage);
    soon("it is ready", 5, || gateway.ready().0.contains("200"));
    assert_eq!(gateway.value("portcullis_policy_good"), Some(1.0));
    assert!(gateway.value("portcullis_build_info").is_some());

    // a second one is refused and does no harm
    let second = run(&stage, &["serve"]);
    assert_eq!(second.status.code(), Some(2));
    assert!(text(&second.stderr).contains("another gateway runs on this store"), "{}", text(&second.stderr));

    // a fault in the policy: told, and the last good set stays
    stage.write("policies/baseline.yaml", &BASELINE.replace("reopen_after", "reopen_afterwards"));
    soon("the fault is seen", 5, || gateway.value("portcullis_policy_good") == Some(0.0));
    assert!(gateway.ready().0.contains("200"), "the last good set is in force");
    assert!(gateway.log().contains("the last good set stays in force"), "{}", gateway.log());
    assert!(gateway.log().contains("baseline.yaml:"), "the fault has its place: {}", gateway.log());
    stage.write("policies/baseline.yaml", &BASELINE.replace("revision: 1.0.0", "revision: 1.0.1"));
    soon("the mended set is in force", 5, || gateway.value("portcullis_policy_good") == Some(1.0));
    assert_eq!(gateway.value("portcullis_policy_loads_total{outcome=\"done\"}"), Some(2.0));

    // told to reload
    gateway.signal("-HUP");
    soon("it was told", 5, || gateway.log().contains("told to reload"));

    let (code, took) = gateway.stop();
    assert_eq!(code, Some(0));
    assert!(took < Duration::from_secs(4), "{took:?}");
    for arguments in
        [&["audit", "verify"][..], &["store", "check"], &["config", "check"], &["member", "list"]]
    {
        let done = run(&stage, arguments);
        assert_eq!(
            done.status.code(),
            Some(0),
            "{arguments:?}: {}{}",
            text(&done.stdout),
            text(&done.stderr)
        );
    }
    // and again, on what it left
    let again = Gateway::start(&stage);
    assert_eq!(again.stop().0, Some(0));
}

#[test]
fn a_bad_policy_at_start_keeps_every_gate_closed_and_can_be_mended() {
    let stage = Stage::new("");
    stage.write("policies/baseline.yaml", "kind: Baseline\n");
    let gateway = Gateway::start(&stage);
    let (status, why) = gateway.ready();
    assert!(status.contains("503") && why.contains("policy: "), "{status} {why}");
    stage.write("policies/baseline.yaml", BASELINE);
    soon("it is ready", 5, || gateway.ready().0.contains("200"));
    assert_eq!(gateway.stop().0, Some(0));
}

#[test]
fn it_does_not_start_on_a_bad_configuration_and_says_all_of_it() {
    let stage = Stage::new("colour: red\nlogs: {}\n");
    let done = run(&stage, &["serve"]);
    assert_eq!(done.status.code(), Some(2));
    let said = text(&done.stderr);
    assert!(said.contains("unknown key `colour`") && said.contains("unknown key `logs`"), "{said}");
    assert!(!stage.path("data").exists(), "nothing was made");
}

#[test]
fn members_are_enrolled_while_it_runs() {
    let stage = Stage::new("");
    let gateway = Gateway::start(&stage);
    let anchors = stage.path("ca.pem");
    let password = stage.path("national.password");
    let request = [
        "member",
        "request",
        "RXA",
        "--name",
        "Trust A",
        "--controller",
        "127.0.0.1:9",
        "--base-dn",
        "DC=rxa,DC=test",
        "--bind-dn",
        "svc@rxa.test",
        "--password-file",
        argument(&password),
        "--anchors",
        argument(&anchors),
    ];
    assert_eq!(run(&stage, &request).status.code(), Some(0));
    soon("the gateway noticed", 5, || {
        gateway.value("portcullis_membership{member=\"RXA\",state=\"requested\"}") == Some(1.0)
    });
    let twice = run(&stage, &request);
    assert_eq!(twice.status.code(), Some(1), "{}", text(&twice.stderr));
    assert!(text(&twice.stderr).contains("RXA is a member already"));
    let early = run(&stage, &["member", "approve", "RXA"]);
    assert_eq!(early.status.code(), Some(1));
    let shown = run(&stage, &["gate", "show", "RXA", "--json"]);
    assert_eq!(shown.status.code(), Some(1), "its gates are closed");
    // the secret itself is nowhere in what is kept
    for file in ["portcullis.sqlite", "portcullis.sqlite-wal"] {
        let kept = std::fs::read(stage.path("data").join(file)).unwrap_or_default();
        assert!(!kept.windows(12).any(|bytes| bytes == b"not a secret"), "{file}");
    }
    assert_eq!(gateway.stop().0, Some(0));
    let log = std::fs::read_to_string(stage.path("log")).unwrap();
    assert!(log.contains("gateway stopped") && !log.contains("was cancelled"), "{log}");
}

/// Every file below a folder, as one text.
fn all(folder: &std::path::Path) -> String {
    let mut whole = String::new();
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            whole += &all(&path);
        } else {
            whole += &std::fs::read_to_string(&path).unwrap_or_default();
        }
    }
    whole
}

#[test]
fn the_alert_rules_name_metrics_that_exist() {
    let root = std::path::Path::new(env!("CARGO_MANIFEST_DIR"));
    let source = all(&root.join("src"));
    let rules = std::fs::read_to_string(root.join("deploy/prometheus/rules.yml")).unwrap();
    let names = rules.split(|c: char| !c.is_ascii_alphanumeric() && c != '_' && c != ':');
    let names: std::collections::BTreeSet<&str> = names.filter(|n| n.starts_with("portcullis_")).collect();
    assert!(names.len() > 5);
    for name in names {
        assert!(source.contains(&format!("\"{name}\"")), "{name} is a metric of no module");
    }
}

#[test]
fn the_alert_rules_check_and_pass_their_tests() {
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/deploy/prometheus");
    for arguments in [["check", "rules", "rules.yml"], ["test", "rules", "tests.yml"]] {
        match Command::new("promtool").args(arguments).current_dir(folder).output() {
            Ok(done) => assert!(done.status.success(), "{}{}", text(&done.stdout), text(&done.stderr)),
            Err(error) => eprintln!("SKIPPED promtool: {error} (apt-get install prometheus)"),
        }
    }
}

#[test]
fn exceptions_are_counted_and_told_without_naming_anybody() {
    let stage = Stage::new("");
    let config = stage.config();
    let store = SqliteStore::open(&config.data_dir, &config.store).unwrap();
    store.save_member(&member("RXA"), None, &audit("member.request")).unwrap();
    let gateway = Gateway::start(&stage);
    soon("it is ready", 5, || gateway.ready().0.contains("200"));
    let now = Clock::system().now();
    let keep = |id: &str, control: &str, lasts: time::Duration| {
        let record = ExceptionRecord { control: control.into(), ..exception(id, now, now + lasts) };
        store.put_exception(&record, None, &audit("exception.approve")).unwrap();
    };
    keep("brief", "tls-versions", time::Duration::seconds(6));
    let in_force = "portcullis_exceptions_in_force{member=\"RXA\"}";
    let ending = "portcullis_exceptions_ending{member=\"RXA\"}";
    let ends = "portcullis_exception_ends_seconds{control=\"tls-versions\",member=\"RXA\"}";
    soon("it is counted", 4, || gateway.value(in_force) == Some(1.0) && gateway.value(ending) == Some(1.0));
    assert!(gateway.value(ends).is_some_and(|seconds| (0.0..=6.0).contains(&seconds)));
    soon("it is warned of", 4, || gateway.log().contains("an exception ends within a day"));
    soon("its end is told", 10, || gateway.log().contains("an exception ended: the control decides again"));
    assert_eq!(
        (gateway.value(in_force), gateway.value(ending), gateway.value(ends)),
        (Some(0.0), Some(0.0), None)
    );

    let until = (now + time::Duration::days(90)).date().to_string();
    let mut request = vec!["exception", "request", "RXA", "tls-versions", "--owner", "Jo Bloggs", "--reason"];
    request.extend(["late", "--compensating-control", "c", "--until", &until, "--json"]);
    let done = run(&stage, &request);
    let id: serde_json::Value = serde_json::from_slice(&done.stdout).unwrap();
    let requested = "portcullis_exceptions_requested{member=\"RXA\"}";
    soon("the request is counted", 4, || gateway.value(requested) == Some(1.0));
    assert_eq!(gateway.value(in_force), Some(0.0));
    let approve = ["exception", "approve", id["id"].as_str().unwrap(), "--reason", "r", "--actor", "Sam Doe"];
    assert_eq!(run(&stage, &approve).status.code(), Some(0));
    soon("it is in force", 4, || {
        gateway.value(in_force) == Some(1.0) && gateway.value(requested) == Some(0.0)
    });
    assert_eq!(gateway.value(ending), Some(0.0));
    assert!(gateway.value(ends).is_some_and(|seconds| seconds > 80.0 * 86_400.0));
    let (_, metrics) = get(gateway.metrics, "/metrics").unwrap();
    for name in ["Bloggs", "Doe", "tester", "late", "approver"] {
        assert!(!metrics.contains(name), "{name}");
    }
    assert_eq!(gateway.log().matches("an exception ends").count(), 1, "once a day: {}", gateway.log());
}
