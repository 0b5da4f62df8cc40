//! `portcullis attestation`: what members state, signed, always with an end.

use std::fs::OpenOptions;
use std::io::{ErrorKind, Write};
use std::path::{Path, PathBuf};

use clap::{Args, Subcommand};
use serde::Serialize;
use serde_json::json;
use time::{Date, OffsetDateTime, Time, UtcOffset};

use crate::baseline::attestation::{Attestation, DOCUMENT_BYTES_MAX, Registered, fingerprint, last_day};
use crate::cli::context::Context;
use crate::cli::failure::{Answer, Failure};
use crate::cli::input;
use crate::cli::member::answer::{by, refused, standing};
use crate::cli::table::{date, moment, table};
use crate::enrol::attestations;
use crate::policy::documents::Statement;
use crate::policy::fault::{Fault, Place};
use crate::policy::set::PolicySet;
use crate::policy::terms::OdsCode;
use crate::secret::signing::Signer;
use crate::store::audit::hex;
use crate::store::member::{KeptAttestation, Member};

/// What `portcullis attestation --help` teaches.
pub const WAY: &str = "\
What members state because nobody can read it from afar: signed with their own key, always with an end.

The policies declare what may be stated (`attest` in `kind: Facts`; `portcullis policy facts` lists it) and for how long. In
every report it is shown as stated, never as measured. The way of an attestation:

The member makes a key once, and reads its public half to an officer, who registers it:

    portcullis attestation key attestations.key
    portcullis member attestation-key RXA 3b6a...

The member signs, offline, on any machine that has the policies:

    portcullis attestation sign --key attestations.key --member RXA --policy policies --subject attested.strong_binding \\
      --by \"Jo Bloggs, Head of IT\" --until 2027-10-31 --out strong-binding.json

The officer adds what the member sends. It counts from the next assessment on, and its signature is checked in each:

    portcullis attestation add strong-binding.json
    portcullis assess RXA";

/// Attestations.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Make a key to sign with, or show the public half of one.
    ///
    /// The file is for its owner alone (mode 600) and must never leave the member: whoever has it can state anything in its name. What is
    /// printed is the public key, which an officer registers with `portcullis member attestation-key`.
    Key {
        /// Where the key is to be; a file that is there already is never overwritten.
        file: PathBuf,
        /// Make nothing: print the public half of the key in this file.
        #[arg(long)]
        show: bool,
    },
    /// Sign a statement. Nothing is sent anywhere: give the file that is written to an officer.
    Sign(Box<Sign>),
    /// Keep a signed attestation for the member that it names; it counts from the member's next assessment on.
    ///
    /// It is refused unless it was signed with the key that is registered for the member, word for word as the policies state it now, not in
    /// the future, and for no longer than they allow. It takes the place of the one before of its subject.
    Add {
        /// What `attestation sign` wrote.
        file: PathBuf,
        /// Why, for the audit.
        #[arg(long, default_value = "added by command")]
        reason: String,
    },
    /// List attestations: in force, ending within 30 days, ended, withdrawn, or why they do not hold; of one member also what it has not
    /// stated yet.
    List {
        /// Only this member's.
        member: Option<OdsCode>,
    },
    /// Take an attestation back. It cannot be added again: what holds once more is signed anew.
    Withdraw {
        member: OdsCode,
        /// Its subject, as `attestation list` shows it.
        subject: String,
        /// Why, for the audit.
        #[arg(long)]
        reason: String,
    },
}

/// A statement to sign.
#[derive(Debug, Args)]
pub struct Sign {
    /// The file with the key that `attestation key` made.
    #[arg(long)]
    key: PathBuf,
    /// The ODS code of the organisation that states it.
    #[arg(long)]
    member: OdsCode,
    /// The policy folder, as the gateway has it: it says what is stated, word for word.
    #[arg(long)]
    policy: PathBuf,
    /// What is stated, by the name of its fact, for example attested.strong_binding.
    #[arg(long)]
    subject: String,
    /// Who states it: name and role.
    #[arg(long)]
    by: String,
    /// The last day that it holds, as YYYY-MM-DD; the policies say how far away at most.
    #[arg(long, value_parser = date)]
    until: Date,
    /// How it was found out, or what else to know; it is signed, too.
    #[arg(long)]
    note: Option<String>,
    /// The file to write; one that is there already is not overwritten.
    #[arg(long)]
    out: PathBuf,
}

/// Runs the command.
pub fn run(command: Command, context: &Context) -> Result<Answer, Failure> {
    match command {
        Command::Key { file, show } => key(&file, show, context),
        Command::Sign(arguments) => sign(*arguments, context),
        Command::Add { file, reason } => add(&file, &reason, context),
        Command::List { member } => list(member.as_ref(), context),
        Command::Withdraw { member, subject, reason } => {
            let store = context.store()?;
            let done = attestations::withdraw(store.as_ref(), &member, &subject, &by(context, &reason));
            told(&done.map_err(refused)?, &subject, context)
        }
    }
}

fn key(file: &Path, show: bool, context: &Context) -> Result<Answer, Failure> {
    let signer = if show { Signer::load(file) } else { Signer::make(file) }.map_err(Failure::could_not)?;
    let fingerprint = fingerprint(signer.public_key());
    let answer = json!({ "file": file, "public_key": hex(signer.public_key()), "fingerprint": fingerprint });
    context.note(format!("fingerprint {fingerprint}: read it to the officer who registers the key"));
    if !show {
        context
            .note("an officer registers this public key: portcullis member attestation-key <ODS code> <key>");
    }
    context.print(&answer, |_| hex(signer.public_key()))?;
    Ok(Answer::Yes)
}

fn sign(arguments: Sign, context: &Context) -> Result<Answer, Failure> {
    let set = policies(&arguments.policy)?;
    let statement = statement(&set, &arguments.subject)?;
    let signer = Signer::load(&arguments.key).map_err(Failure::could_not)?;
    let until = arguments.until.next_day().map(|day| day.with_time(Time::MIDNIGHT).assume_utc());
    let unsigned = Attestation {
        member: arguments.member,
        subject: arguments.subject,
        statement: statement.text.clone(),
        by: arguments.by,
        note: arguments.note,
        signed_at: context.clock.now().to_offset(UtcOffset::UTC),
        until: until.ok_or_else(|| Failure::refused("that day is out of range"))?,
        key: hex(signer.public_key()),
        signature: String::new(),
        unregistered: false,
    };
    if let Some(fault) = unsigned.fault() {
        return Err(Failure::refused(fault));
    }
    unsigned.answers(statement, unsigned.signed_at).map_err(|problem| {
        let (most, day) = (statement.at_most.whole_days(), last_day(unsigned.signed_at + statement.at_most));
        Failure::refused(format!("{problem}; --until is a day from today to {day} ({most} days at most)"))
    })?;
    let signature = signer.sign(&unsigned.signed_bytes());
    let attestation = unsigned.signed(&signature);
    write(&arguments.out, &attestation)?;
    context.print(&attestation, |a| {
        let (member, by, file) = (&a.member, &a.by, arguments.out.display());
        format!(
            "{by} states for {member} until {}:\n  {}\nsigned in {file}: give it to an officer",
            a.last_day(),
            a.statement
        )
    })?;
    Ok(Answer::Yes)
}

fn write(path: &Path, attestation: &Attestation) -> Result<(), Failure> {
    let mut text = serde_json::to_vec_pretty(attestation).map_err(Failure::could_not)?;
    text.push(b'\n');
    let made = OpenOptions::new().write(true).create_new(true).open(path);
    made.and_then(|mut file| file.write_all(&text)).map_err(|error| match error.kind() {
        ErrorKind::AlreadyExists => {
            Failure::could_not(format!("{} is there already: name another file with --out", path.display()))
        }
        _ => Failure::could_not(format!("cannot write {}: {error}", path.display())),
    })
}

/// The attestation in a file.
pub fn read(path: &Path) -> Result<Attestation, Failure> {
    let bytes = input::read(path, DOCUMENT_BYTES_MAX)?;
    Attestation::from_json(&bytes).map_err(|problem| {
        Failure::refused(format!(
            "{}: {problem}; give what `portcullis attestation sign` wrote",
            path.display()
        ))
    })
}

fn add(file: &Path, reason: &str, context: &Context) -> Result<Answer, Failure> {
    let attestation = read(file)?;
    standing(context, &attestation.member)?;
    let set = context.policies()?;
    let statement = statement(&set, &attestation.subject)?;
    let subject = attestation.subject.clone();
    let store = context.store()?;
    let done = attestations::add(store.as_ref(), attestation, statement, &by(context, reason));
    told(&done.map_err(refused)?, &subject, context)
}

/// Prints where one attestation of the member stands now.
fn told(member: &Member, subject: &str, context: &Context) -> Result<Answer, Failure> {
    let ods = &member.ods;
    context.print(&member.attested.kept.get(subject), |kept| match kept {
        Some(KeptAttestation { withdrawn: Some(_), .. }) => format!("{subject} of {ods} is withdrawn"),
        Some(kept) => {
            let last = kept.attestation.last_day();
            format!("{subject} of {ods} is kept until {last}; `portcullis assess {ods}` counts it now")
        }
        None => format!("{subject} of {ods} is not kept"),
    })?;
    Ok(Answer::Yes)
}

/// The policies of a folder, when they have no fault.
fn policies(folder: &Path) -> Result<PolicySet, Failure> {
    PolicySet::load(folder).map_err(|faults| {
        let (n, folder) = (faults.len(), folder.display());
        Failure::could_not(format!("the policies have {n} faults: run `portcullis policy check {folder}`"))
    })
}

/// What is stated under a name, or a refusal that names the nearest.
pub fn statement<'s>(set: &'s PolicySet, subject: &str) -> Result<&'s Statement, Failure> {
    let statements = set.statements();
    statements.get(subject).copied().ok_or_else(|| {
        let message = format!("the policies ask nobody to state `{subject}`");
        let fault = Fault::new(&Place::nowhere(), message);
        let fault = fault.nearest(subject, statements.keys().map(String::as_str));
        let hint = fault.hint.map(|hint| format!("; {hint}")).unwrap_or_default();
        Failure::refused(format!("{}{hint}", fault.message))
    })
}

/// One line of the list.
#[derive(Debug, Serialize)]
struct Line {
    member: OdsCode,
    subject: String,
    /// `in force`, `ends soon`, `ended`, `withdrawn`, `does not hold`, or `not stated`.
    standing: &'static str,
    /// The last day that it holds.
    #[serde(skip_serializing_if = "Option::is_none")]
    last_day: Option<String>,
    /// Who stated it.
    #[serde(skip_serializing_if = "Option::is_none")]
    by: Option<String>,
    /// Why it does not hold, why it was withdrawn, or what is to be stated.
    #[serde(skip_serializing_if = "Option::is_none")]
    told: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    kept: Option<KeptAttestation>,
}

fn list(member: Option<&OdsCode>, context: &Context) -> Result<Answer, Failure> {
    let set = context.policies()?;
    let members = match member {
        Some(ods) => vec![standing(context, ods)?],
        None => context.store()?.members().map_err(Failure::could_not)?,
    };
    let now = context.clock.now();
    let mut lines: Vec<Line> = Vec::new();
    for one in &members {
        lines.extend(one.attested.kept.values().map(|kept| line(one, kept, &set, now)));
        if member.is_some() {
            let open = set.statements();
            let open = open.iter().filter(|(subject, _)| !one.attested.kept.contains_key(*subject));
            lines.extend(open.map(|(subject, statement)| not_stated(one, subject, statement)));
        }
    }
    context.print(&lines, |lines| {
        if lines.is_empty() {
            return "no attestations; the first comes with `portcullis attestation sign` and `attestation add`".to_owned();
        }
        let cell = |text: &Option<String>| text.clone().unwrap_or_default();
        let rows: Vec<[String; 6]> = lines
            .iter()
            .map(|l| {
                let standing = l.standing.to_owned();
                [l.member.to_string(), l.subject.clone(), standing, cell(&l.last_day), cell(&l.by), cell(&l.told)]
            })
            .collect();
        table(["member", "subject", "standing", "last day", "by", ""], &rows)
    })?;
    Ok(Answer::Yes)
}

fn line(member: &Member, kept: &KeptAttestation, set: &PolicySet, now: OffsetDateTime) -> Line {
    let attestation = &kept.attestation;
    let registered = member.attested.key.clone().map_or(Registered::Nothing, Registered::Key);
    let asked = set.statements().get(&attestation.subject).copied();
    let holds = attestation.is_of(&member.ods, &registered).and_then(|()| match asked {
        Some(statement) => attestation.answers(statement, now),
        None => Ok(()),
    });
    let (standing, told) = match (&kept.withdrawn, holds) {
        (Some(withdrawn), _) => {
            ("withdrawn", Some(format!("{}: {}", moment(withdrawn.at), withdrawn.reason)))
        }
        (None, _) if attestation.has_ended(now) => ("ended", None),
        (None, Err(problem)) => ("does not hold", Some(problem.to_string())),
        (None, Ok(())) if asked.is_none() => ("in force", Some("the policies do not ask for it".to_owned())),
        (None, Ok(())) if attestation.ends_soon(now) => ("ends soon", None),
        (None, Ok(())) => ("in force", None),
    };
    Line {
        member: member.ods.clone(),
        subject: attestation.subject.clone(),
        standing,
        last_day: Some(attestation.last_day()),
        by: Some(attestation.by.clone()),
        told,
        kept: Some(kept.clone()),
    }
}

fn not_stated(member: &Member, subject: &str, statement: &Statement) -> Line {
    Line {
        member: member.ods.clone(),
        subject: subject.to_owned(),
        standing: "not stated",
        last_day: None,
        by: None,
        told: Some(statement.text.clone()),
        kept: None,
    }
}
