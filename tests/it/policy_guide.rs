//! The guide for officers is typed as it stands: every file that it shows is written, every command is run, and what it says that comes
//! out does come out.

use std::fs;
use std::path::Path;
use std::process::Command;

use portcullis::ambient::clock::Clock;
use portcullis::baseline::facts::{Collection, Evidence, Fact, Record};
use portcullis::store::sqlite::store::SqliteStore;

use crate::app_stage::{Stage, argument};
use crate::assess_report::{Found, evidence, federate, keep};

/// One fenced part of the guide.
#[derive(Debug)]
enum Part {
    /// A file to write.
    File { name: String, text: String },
    /// Lines of a terminal.
    Terminal { lines: Vec<String>, line: usize },
}

fn parts(guide: &str) -> Vec<Part> {
    let mut parts = Vec::new();
    let mut lines = guide.lines().enumerate();
    while let Some((number, line)) = lines.next() {
        let Some(info) = line.strip_prefix("```").filter(|info| !info.is_empty()) else { continue };
        let body: Vec<String> =
            lines.by_ref().map(|(_, line)| line.to_owned()).take_while(|line| line != "```").collect();
        match info.split_once(' ') {
            Some(("yaml", name)) => {
                parts.push(Part::File { name: name.to_owned(), text: body.join("\n") + "\n" });
            }
            None if info == "console" => parts.push(Part::Terminal { lines: body, line: number + 2 }),
            _ => {}
        }
    }
    parts
}

/// What a command must say: lines in this order; `...` stands for any lines, or for the rest of one.
fn meets(said: &str, wanted: &[String]) -> Result<(), String> {
    let mut said = said.lines().map(str::trim_end).filter(|line| !line.is_empty());
    let mut may_skip = false;
    for want in wanted.iter().filter(|line| !line.is_empty()) {
        if want == "..." {
            may_skip = true;
            continue;
        }
        let is = |line: &str| match want.strip_suffix("...") {
            Some(start) => line.starts_with(start),
            None => line == want,
        };
        let found = if may_skip { said.by_ref().any(is) } else { said.next().is_some_and(is) };
        if !found {
            return Err(format!("`{want}` does not come"));
        }
        may_skip = false;
    }
    match said.next() {
        Some(more) if !may_skip => Err(format!("`{more}` comes as well")),
        _ => Ok(()),
    }
}

fn run(stage: &Stage, lines: &[String], at: usize) {
    let mut commands: Vec<(usize, &str, Vec<String>)> = Vec::new();
    for (number, line) in lines.iter().enumerate() {
        match (line.strip_prefix("$ "), commands.last_mut()) {
            (Some(command), _) => commands.push((at + number, command, Vec::new())),
            (None, Some((_, _, wanted))) => wanted.push(line.clone()),
            (None, None) => panic!("line {}: no command before", at + number),
        }
    }
    for (line, command, mut wanted) in commands {
        let code = match wanted.last().and_then(|last| last.strip_prefix("[exit ")) {
            Some(code) => {
                let code: i32 = code.trim_end_matches(']').parse().unwrap();
                wanted.pop();
                code
            }
            None => 0,
        };
        let words = command.strip_prefix("portcullis ").unwrap_or_else(|| panic!("line {line}: {command}"));
        let script = format!("exec \"$0\" {words}");
        let done = Command::new("sh")
            .args(["-c", &script, env!("CARGO_BIN_EXE_portcullis")])
            .current_dir(stage.directory.path())
            .env("PORTCULLIS_CONFIG", argument(&stage.path("portcullis.yaml")))
            .env("PORTCULLIS_ACTOR", "ada")
            .output()
            .unwrap();
        let said =
            format!("{}{}", String::from_utf8_lossy(&done.stdout), String::from_utf8_lossy(&done.stderr));
        assert_eq!(done.status.code(), Some(code), "line {line}: {command}\n{said}");
        if let Err(why) = meets(&said, &wanted) {
            panic!("line {line}: {command}\n{why}; it says\n{said}");
        }
    }
}

/// Evidence of a member with these people, each with or without a card.
fn recorded(code: &str, people: &[(&str, bool)]) -> Evidence {
    let at = Clock::system().now() - time::Duration::minutes(5);
    let found = Found { versions: &["tls1.2", "tls1.3"], name: Fact::boolean(true), without: &[] };
    let mut evidence = evidence(code, at, &found);
    let record = |(name, card): &(&str, bool)| {
        Record::from([
            ("name".to_owned(), Fact::text(*name)),
            ("dn".to_owned(), Fact::text(format!("CN={name},OU=Staff,DC=x"))),
            ("enabled".to_owned(), Fact::boolean(true)),
            ("smartcard_required".to_owned(), Fact::boolean(*card)),
        ])
    };
    let users = Collection { records: people.iter().map(record).collect(), complete: Fact::boolean(true) };
    evidence.facts.collections.insert("users".to_owned(), users);
    evidence
}

#[test]
fn the_guide_can_be_typed_as_it_stands() {
    let stage = Stage::new("");
    keep(&stage, recorded("RXA", &[("nurse", true)]));
    keep(&stage, recorded("RXB", &[("nurse", true), ("porter", false)]));
    let config = stage.config();
    let store = SqliteStore::open(&config.data_dir, &config.store).unwrap();
    ["RXA", "RXB"].iter().for_each(|code| federate(&store, code));
    drop(store);
    let guide = fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("policies/README.md")).unwrap();
    let parts = parts(&guide);
    let (mut files, mut commands) = (0, 0);
    for part in parts {
        match part {
            Part::File { name, text } => {
                let path = stage.path(&name);
                fs::create_dir_all(path.parent().unwrap()).unwrap();
                fs::write(path, text).unwrap();
                files += 1;
            }
            Part::Terminal { lines, line } => {
                run(&stage, &lines, line);
                commands += lines.iter().filter(|line| line.starts_with("$ ")).count();
            }
        }
    }
    assert!(files >= 7 && commands >= 12, "{files} files, {commands} commands");
}
