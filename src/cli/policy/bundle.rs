//! `portcullis policy bundle`, `key`, `sign` and `verify`: a set in one file, and who answers for it.

use std::fs::OpenOptions;
use std::io::{ErrorKind, Write};
use std::path::{Path, PathBuf};

use clap::Args;
use serde::Serialize;
use serde_json::json;

use crate::ambient::text::printable;
use crate::app::in_force::{self, Taken};
use crate::baseline::attestation::fingerprint;
use crate::cli::context::Context;
use crate::cli::failure::{Answer, Failure};
use crate::cli::policy::{folder, look, proven, sound};
use crate::policy::bundle::{self, Bundle};
use crate::policy::folder::{SIGNATURES, is_bundle};
use crate::policy::signature::{self, Signature, Verified, signed_bytes};
use crate::secret::signing::Signer;

/// Pack a set into one file, to be signed and activated. It must have no fault, and every `PolicyTest` must hold. Signatures that lie with
/// it come along.
#[derive(Debug, Args)]
pub struct Arguments {
    /// The folder; the set that counts for the gateway when left out.
    path: Option<PathBuf>,
    /// The file to write, with the ending .json; one that is there already is not overwritten.
    #[arg(long)]
    out: PathBuf,
}

/// Make an officer's key to sign policy sets with, or show the public half of one.
///
/// The file is for its owner alone (mode 600) and belongs to one officer: keep it where only that officer can use it, and not on the
/// gateway. What is printed is the public key, which goes into `policy_signatures` of the gateway's configuration.
#[derive(Debug, Args)]
pub struct Key {
    /// Where the key is to be; a file that is there already is never overwritten.
    file: PathBuf,
    /// Make nothing: print the public half of the key in this file.
    #[arg(long)]
    show: bool,
}

/// Sign a set: a bundle, or a folder, where the signature goes into signatures.json. An earlier signature of the officer is replaced.
///
/// Whoever signs answers for the set: look at `policy diff` and `policy impact` of the very file first. A set with a fault, or whose tests
/// do not hold, is not signed.
#[derive(Debug, Args)]
pub struct Sign {
    /// The bundle or folder.
    path: PathBuf,
    /// The file with the officer's key that `policy key` made.
    #[arg(long)]
    key: PathBuf,
    /// The officer's name, as the gateway's configuration has it.
    #[arg(long)]
    officer: String,
    /// Replace a signature under this name that was made with another key, for example one that was lost.
    #[arg(long)]
    replace: bool,
}

/// Hold a set's signatures against the officers of the configuration. The answer is no when there are too few, and could not tell when the
/// configuration asks for none.
#[derive(Debug, Args)]
pub struct Verify {
    /// The bundle or folder; the set that counts for the gateway when left out.
    path: Option<PathBuf>,
}

/// What a set is, in a few numbers.
#[derive(Debug, Serialize)]
pub struct Counts {
    pub hash: String,
    baselines: usize,
    controls: usize,
    releases: usize,
    sync_scopes: usize,
    tests: usize,
}

impl Counts {
    /// Those of a set.
    pub fn of(taken: &Taken) -> Counts {
        let set = &taken.set;
        Counts {
            hash: set.hash().to_owned(),
            baselines: set.baselines.len(),
            controls: set.controls.len(),
            releases: set.releases.len(),
            sync_scopes: set.scopes.len(),
            tests: set.tests.len(),
        }
    }

    /// One line.
    pub fn text(&self) -> String {
        format!(
            "{} controls in {} baseline(s), {} release agreements, {} sync scope(s), {} tests",
            self.controls, self.baselines, self.releases, self.sync_scopes, self.tests
        )
    }
}

/// Packs a set.
pub fn run(arguments: Arguments, context: &Context) -> Result<Answer, Failure> {
    let out = arguments.out.display();
    if !is_bundle(&arguments.out) {
        return Err(Failure::refused(format!("{out} must end in .json: by that it is known as a bundle")));
    }
    let taken = match proven(look(arguments.path, context)?, context)? {
        Ok(taken) => taken,
        Err(answer) => return Ok(answer),
    };
    let counts = Counts::of(&taken);
    let bundle = packed(taken)?;
    write_new(&arguments.out, &bundle.encode().map_err(Failure::refused)?)?;
    let answer = json!({ "file": arguments.out, "set": counts, "signatures": bundle.signatures.len() });
    context.print(&answer, |_| {
        let signatures = bundle.signatures.len();
        format!("{}\nhash {}\nwritten to {out} with {signatures} signature(s)", counts.text(), counts.hash)
    })?;
    Ok(Answer::Yes)
}

/// The bundle of a set that was read, with the signatures over this very set.
pub fn packed(taken: Taken) -> Result<Bundle, Failure> {
    let (origin, hash) = (taken.origin.to_string(), taken.set.hash().to_owned());
    if let Some(fault) = taken.broken {
        let hint = fault.hint.clone().unwrap_or_default();
        return Err(Failure::could_not(format!("{origin}: {fault}; {hint}")));
    }
    let signatures = taken.signatures.into_iter().filter(|signature| signature.hash == hash).collect();
    Bundle::of(taken.sources, signatures)
        .map_err(|problem| Failure::refused(format!("{origin} cannot be a bundle: {problem}")))
}

/// Makes or shows a key.
pub fn key(arguments: &Key, context: &Context) -> Result<Answer, Failure> {
    let Key { file, show } = arguments;
    let signer = if *show { Signer::load(file) } else { Signer::make(file) }.map_err(Failure::could_not)?;
    let (key, fingerprint) = (signature::hex(signer.public_key()), fingerprint(signer.public_key()));
    context.note(format!("fingerprint {fingerprint}: read it to whoever writes the configuration"));
    context
        .note(format!("in the configuration: policy_signatures.officers: [{{ name: ..., key: \"{key}\" }}]"));
    context
        .print(&json!({ "file": file, "public_key": key, "fingerprint": fingerprint }), |_| key.clone())?;
    Ok(Answer::Yes)
}

/// Signs a set.
pub fn sign(arguments: Sign, context: &Context) -> Result<Answer, Failure> {
    let Sign { path, key, officer, replace: other_key } = arguments;
    bundle::check_officer(&officer).map_err(Failure::refused)?;
    let path = folder(Some(path), context)?;
    if !path.is_dir() && !is_bundle(&path) {
        let path = path.display();
        return Err(Failure::refused(format!("{path} is a single file: sign its folder, or a bundle of it")));
    }
    let signer = Signer::load(&key).map_err(Failure::could_not)?;
    is_registered(&officer, &signer, context)?;
    let taken = in_force::at(path.clone(), None);
    // what signatures are there must be readable, or they would be lost
    let found = crate::policy::folder::read(&path).signatures;
    found.map_err(|fault| {
        Failure::could_not(format!("{}; {}", fault, fault.hint.clone().unwrap_or_default()))
    })?;
    let taken = match proven(taken, context)? {
        Ok(taken) => taken,
        Err(answer) => return Ok(answer),
    };
    let counts = Counts::of(&taken);
    let signature = Signature {
        officer: officer.clone(),
        hash: counts.hash.clone(),
        signature: signature::hex(&signer.sign(&signed_bytes(&counts.hash))),
    };
    let mut bundle = packed(taken)?;
    let theirs =
        bundle.signatures.iter().find(|one| one.officer == officer).filter(|one| !is_by(one, &signer));
    if let Some(theirs) = theirs.filter(|_| !other_key) {
        return Err(Failure::refused(format!(
            "{} signed with another key than this one: sign under your own name, or replace that signature with --replace",
            printable(&theirs.officer)
        )));
    }
    bundle::add(&mut bundle.signatures, signature);
    let (file, bytes) = match is_bundle(&path) {
        true => (path.clone(), bundle.encode()),
        false => (path.join(SIGNATURES), bundle::encode_signatures(&bundle.signatures)),
    };
    replace(&file, &bytes.map_err(Failure::refused)?)?;
    context.note("whoever signs answers for it: `policy diff` and `policy impact` say what it changes");
    let names: Vec<&str> = bundle.signatures.iter().map(|s| s.officer.as_str()).collect();
    let public_key = signature::hex(signer.public_key());
    let answer =
        json!({ "file": file, "set": counts, "officer": officer, "key": public_key, "signed_by": names });
    context.print(&answer, |_| {
        let (officer, names) = (printable(&officer), printable(&names.join(", ")));
        format!(
            "{officer} signed the set with the hash {}\n{}\nin {}; signed by {names}\nkey {public_key}",
            counts.hash,
            counts.text(),
            file.display()
        )
    })?;
    Ok(Answer::Yes)
}

/// Whether a signature was made with this very key.
fn is_by(one: &Signature, signer: &Signer) -> bool {
    let bytes = signature::unhex(&one.signature).unwrap_or_default();
    signature::verify(signer.public_key(), &signed_bytes(&one.hash), &bytes)
}

/// Holds the officer and the key against the configuration, where this machine has one that asks for signatures.
fn is_registered(officer: &str, signer: &Signer, context: &Context) -> Result<(), Failure> {
    let Ok(config) = context.config() else { return Ok(()) };
    let Some(required) = &config.policy_signatures else { return Ok(()) };
    let by_key = required.officers.iter().find(|one| one.key == signer.public_key());
    match required.officers.iter().find(|one| one.name == officer) {
        Some(one) if one.key == signer.public_key() => Ok(()),
        Some(_) => Err(Failure::refused(match by_key {
            Some(other) => {
                format!("this is the key of {}, not of {officer} (`policy_signatures`)", other.name)
            }
            None => format!("{officer} has another key in the configuration (`policy_signatures`)"),
        })),
        None => Err(Failure::refused(format!(
            "{officer} is no officer of this configuration (`policy_signatures`)"
        ))),
    }
}

/// Says what a set's signatures come to.
pub fn verify(arguments: Verify, context: &Context) -> Result<Answer, Failure> {
    let required = context.config()?.policy_signatures.as_ref();
    let mut taken = match arguments.path {
        Some(path) => in_force::at(folder(Some(path), context)?, required),
        None => context.taken()?,
    };
    let verified = taken.verified.clone();
    let unsigned = std::mem::take(&mut taken.unsigned);
    taken.faults.retain(|fault| !unsigned.contains(fault));
    let origin = taken.origin.clone();
    let counts = match sound(taken, context)? {
        Ok(taken) => Counts::of(&taken),
        Err(answer) => return Ok(answer),
    };
    let answer = json!({
        "origin": origin, "set": counts, "signatures": verified.signatures, "hold": verified.hold,
        "required": verified.required, "enough": verified.required.map(|_| verified.is_enough()),
        "faults": unsigned,
    });
    context.print(&answer, |_| {
        let mut out = format!("hash {}\n{}\n", counts.hash, counts.text());
        for fault in unsigned.iter().filter(|_| verified.signatures.is_empty()) {
            out.push_str(&format!("{}\n", fault.message));
        }
        out + &standings(&verified)
    })?;
    Ok(match verified.required {
        None => Answer::Unknown,
        Some(_) if verified.is_enough() => Answer::Yes,
        Some(_) => Answer::No,
    })
}

/// Each signature in a line, and what they come to.
pub fn standings(verified: &Verified) -> String {
    let mut out = String::new();
    for one in &verified.signatures {
        let (officer, why) = (printable(&one.officer), one.why.as_deref().map(printable));
        match why {
            None => out.push_str(&format!("  holds    {officer}\n")),
            Some(why) => out.push_str(&format!("  fails    {officer} {why}\n")),
        }
    }
    match verified.required {
        None => out.push_str("the configuration asks for no signatures (`policy_signatures`)"),
        Some(required) if verified.is_enough() => {
            out.push_str(&format!("enough: {} of {required} required signatures hold", verified.hold));
        }
        Some(required) => {
            out.push_str(&format!("too few: {} of {required} required signatures hold", verified.hold));
        }
    }
    out
}

fn write_new(path: &Path, bytes: &[u8]) -> Result<(), Failure> {
    let made = OpenOptions::new().write(true).create_new(true).open(path);
    made.and_then(|mut file| file.write_all(bytes).and_then(|()| file.sync_all())).map_err(
        |error| match error.kind() {
            ErrorKind::AlreadyExists => Failure::could_not(format!(
                "{} is there already: name another file with --out",
                path.display()
            )),
            _ => Failure::could_not(format!("cannot write {}: {error}", path.display())),
        },
    )
}

/// Under another name first: a gateway may read it at any time, and half a file is none.
fn replace(path: &Path, bytes: &[u8]) -> Result<(), Failure> {
    let mut part = path.as_os_str().to_owned();
    part.push(".part");
    let part = PathBuf::from(part);
    if part.exists() {
        return Err(Failure::could_not(format!(
            "{} is there: somebody else signs right now, or was cut off; remove it if nobody does",
            part.display()
        )));
    }
    write_new(&part, bytes)?;
    std::fs::rename(&part, path).map_err(|error| {
        // what is left of it is of no use to anybody
        let _ = std::fs::remove_file(&part);
        Failure::could_not(format!("cannot write {}: {error}", path.display()))
    })
}
