//! Looks at the files, folders and secrets that a configuration names, with the loaders that the gateway itself uses, and
//! tells everything that is wrong with all of them.

use std::path::Path;

use time::OffsetDateTime;

use crate::config::read::{Reader, Reference};
use crate::config::source::Position;
use crate::secret::signing::{Signer, SigningError};
use crate::tls::error::TlsError;
use crate::tls::material::{Anchors, Identity, certificates, private_key};
use crate::tls::revocation::{Revocation, Unlisted};
use crate::tls::validity::{Validity, of_certificates, of_revocation_lists};

/// What is done about a certificate or a list that is over.
const RENEW: &str = "put the new one in its place; the gateway reads it again by itself";

/// Notes in `reader` what is wrong at `now` with everything that was referred to.
pub fn check(reader: &Reader, now: OffsetDateTime) {
    let references = reader.references();
    for (at, reference) in &references {
        match reference {
            Reference::Data(path) => data(reader, *at, path),
            Reference::Policies(path) => policies(reader, *at, path),
            Reference::Certificate(path) => certificate(reader, *at, path, now),
            Reference::Key(path) => {
                note(reader, *at, private_key(path));
            }
            Reference::Anchors(path) => anchors(reader, *at, path, now),
            Reference::RevocationList(path) => revocation_list(reader, *at, path, now),
            Reference::Secret(secret) => {
                if let Err(error) = secret.read() {
                    reader.fault(*at, error.problem(), error.remedy());
                }
            }
        }
    }
    let chain = references.iter().find_map(|(_, reference)| match reference {
        Reference::Certificate(path) => Some(path),
        _ => None,
    });
    let key = references.iter().find_map(|(at, reference)| match reference {
        Reference::Key(path) => Some((*at, path)),
        _ => None,
    });
    if let (Some(chain), Some((at, key))) = (chain, key) {
        // what is wrong with either of them was told above
        if let Ok(identity) = Identity::load(chain, key) {
            note(reader, at, identity.check());
        }
    }
}

fn note<T>(reader: &Reader, at: Position, result: Result<T, TlsError>) -> Option<T> {
    result.map_err(|error| reader.fault(at, error.problem(), error.remedy())).ok()
}

/// The folder is made when it is not there; what lies in it from before must be usable.
fn data(reader: &Reader, at: Position, path: &Path) {
    match std::fs::metadata(path) {
        Ok(found) if !found.is_dir() => {
            let message = format!("{} is not a folder", path.display());
            return reader.fault(at, message, "name the folder that the gateway keeps its data in");
        }
        Ok(_) => {}
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return,
        Err(error) => {
            let message = format!("cannot look into {}: {error}", path.display());
            return reader.fault(at, message, "let the gateway's user read and write there");
        }
    }
    match Signer::load(&path.join(crate::config::settings::SIGNING_KEY)) {
        Ok(_) => {}
        Err(SigningError::File(error)) if error.is_missing() => {}
        Err(SigningError::File(error)) => {
            reader.fault(at, format!("the signing key: {}", error.problem()), error.remedy());
        }
        Err(error) => {
            let hint = "put the gateway's key back: another one breaks the audit chain and all evidence";
            reader.fault(at, error.to_string(), hint);
        }
    }
}

/// Whether there is something to read. What the documents say is for `policy check`: the gateway starts without any, and
/// keeps its gates closed.
fn policies(reader: &Reader, at: Position, path: &Path) {
    let found = std::fs::metadata(path).and_then(|found| {
        if found.is_dir() {
            std::fs::read_dir(path).map(|_| ())
        } else {
            std::fs::File::open(path).map(|_| ())
        }
    });
    if let Err(error) = found {
        let message = format!("cannot read the policies in {}: {error}", path.display());
        let hint = "name the policy folder; `portcullis policy check` tells what is wrong in it";
        reader.fault(at, message, hint);
    }
}

fn certificate(reader: &Reader, at: Position, path: &Path, now: OffsetDateTime) {
    let Some(chain) = note(reader, at, certificates(path)) else { return };
    let Some(all) = note(reader, at, of_certificates(&chain)) else { return };
    for (number, one) in all.iter().enumerate() {
        let Some(fault) = one.fault(now) else { continue };
        let message = format!("the certificate of `{}` in {} {fault}", one.name, path.display());
        if number == 0 {
            reader.fault(at, format!("{message}: no client would accept the front door"), RENEW);
        } else {
            reader.warn(at, format!("{message}: clients may refuse the front door"), RENEW);
        }
    }
}

fn anchors(reader: &Reader, at: Position, path: &Path, now: OffsetDateTime) {
    let Some(anchors) = note(reader, at, Anchors::load(path)) else { return };
    let Some(all) = note(reader, at, of_certificates(anchors.certificates())) else { return };
    let over: Vec<(&Validity, String)> =
        all.iter().filter_map(|one| one.fault(now).map(|fault| (one, fault))).collect();
    let none_left = over.len() == all.len();
    for (one, fault) in over {
        let message = format!("the trust anchor `{}` in {} {fault}", one.name, path.display());
        if none_left {
            reader.fault(at, format!("{message}: nothing that it issued should be trusted"), RENEW);
        } else {
            reader.warn(at, message, "take it out of the file when nobody needs it any more");
        }
    }
}

fn revocation_list(reader: &Reader, at: Position, path: &Path, now: OffsetDateTime) {
    if note(reader, at, Revocation::load(&[path], Unlisted::Refuse)).is_none() {
        return;
    }
    let Some(all) = note(reader, at, of_revocation_lists(path)) else { return };
    for one in all {
        if now > one.until {
            let fault = one.fault(now).unwrap_or_default();
            let message = format!(
                "the revocation list of `{}` in {} {fault}: every certificate of that issuer is refused",
                one.name,
                path.display()
            );
            reader.warn(at, message, RENEW);
        }
    }
}
