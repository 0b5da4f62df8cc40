//! The values that a configuration is made of.

use std::net::SocketAddr;
use std::path::PathBuf;

use crate::config::read::{Field, Reader, Reference};
use crate::config::source::{Node, Placed, Position};
use crate::ldap::dn::Dn;
use crate::policy::signature::{is_weak, unhex};
use crate::policy::terms::OdsCode;
use crate::secret::reference::SecretReference;

fn text<'a>(value: &'a Placed, wanted: &str) -> Result<&'a str, String> {
    match &value.node {
        Node::Text(text) if !text.trim().is_empty() => Ok(text),
        Node::Text(_) | Node::Null => Err(format!("must be {wanted}, not empty")),
        other => Err(format!("must be {wanted}, not {}", other.kind())),
    }
}

impl Field for String {
    const HINT: &'static str = "write a text, in quotes when it looks like a number";

    fn read(_: &Reader, value: &Placed) -> Result<Self, String> {
        text(value, "a text").map(str::to_owned)
    }
}

impl Field for u32 {
    const HINT: &'static str = "write a whole number without quotes";

    fn read(_: &Reader, value: &Placed) -> Result<Self, String> {
        match value.node {
            Node::Integer(number) => {
                u32::try_from(number).map_err(|_| format!("must be from 0 to {}, not {number}", u32::MAX))
            }
            ref other => Err(format!("must be a whole number, not {}", other.shown())),
        }
    }
}

/// Paths, each of a kind of its own, because each kind is looked at in its own way.
macro_rules! paths {
    ($($(#[$doc:meta])* $name:ident, $reference:ident, $wanted:literal;)*) => { $(
        $(#[$doc])*
        #[derive(Debug)]
        pub struct $name(pub PathBuf);

        impl Field for $name {
            const HINT: &'static str = "write a path, absolute or relative to this file's folder";

            fn read(reader: &Reader, value: &Placed) -> Result<Self, String> {
                let path = reader.path(text(value, $wanted)?);
                reader.refer(value.at, Reference::$reference(path.clone()));
                Ok($name(path))
            }
        }
    )* };
}

paths! {
    /// A directory that is made when it is not there.
    DataFolder, Data, "the path of a folder";
    /// A folder of policy documents.
    PolicyFolder, Policies, "the path of a folder";
    /// A PEM chain.
    CertificateFile, Certificate, "the path of a file";
    /// A PEM private key.
    KeyFile, Key, "the path of a file";
    /// PEM certificates that are trusted to issue.
    AnchorsFile, Anchors, "the path of a file";
    /// Certificate revocation lists.
    ListFile, RevocationList, "the path of a file";
}

/// An address and port to listen on.
#[derive(Debug, Clone, Copy)]
pub struct Listener(pub SocketAddr);

impl Field for Listener {
    const HINT: &'static str = "write an address and a port in quotes, for example '127.0.0.1:636'";

    fn read(_: &Reader, value: &Placed) -> Result<Self, String> {
        let text = text(value, "an address and port")?;
        match text.parse::<SocketAddr>() {
            Ok(address) if address.port() == 0 => Err("must name its port: 0 is none".to_owned()),
            Ok(address) => Ok(Listener(address)),
            Err(_) => Err(format!("must be an address and port, not `{text}`")),
        }
    }
}

/// A host and a port.
#[derive(Debug)]
pub struct HostPort(pub String, pub u16);

impl Field for HostPort {
    const HINT: &'static str = "write a host and a port, for example ldap.example.test:636";

    fn read(_: &Reader, value: &Placed) -> Result<Self, String> {
        let text = text(value, "a host and port")?;
        let wrong = || format!("must be a host and port, not `{text}`");
        let (host, port) = text.rsplit_once(':').ok_or_else(wrong)?;
        let host = host.trim_start_matches('[').trim_end_matches(']');
        match port.parse() {
            Ok(port) if port != 0 && !host.is_empty() => Ok(HostPort(host.to_owned(), port)),
            _ => Err(wrong()),
        }
    }
}

/// A distinguished name as it was written, read, and where it stands.
#[derive(Debug)]
pub struct Name {
    pub text: String,
    pub name: Dn,
    pub at: Position,
}

impl Field for Name {
    const HINT: &'static str = "write a distinguished name, for example dc=example,dc=test";

    fn read(_: &Reader, value: &Placed) -> Result<Self, String> {
        let text = text(value, "a distinguished name")?;
        let name = Dn::parse(text).map_err(|error| format!("must be a distinguished name: {error}"))?;
        Ok(Name { text: text.to_owned(), name, at: value.at })
    }
}

/// An object identifier as dotted numbers.
#[derive(Debug)]
pub struct ObjectIdentifier(pub String);

impl Field for ObjectIdentifier {
    const HINT: &'static str = "write dotted numbers in quotes, for example '1.2.826.0.1'";

    fn read(_: &Reader, value: &Placed) -> Result<Self, String> {
        let text = text(value, "an object identifier")?;
        let mut arcs = text.split('.').map(|arc| (arc, arc.parse::<u128>()));
        let canonical = arcs.all(|(arc, number)| number.is_ok_and(|number| number.to_string() == arc));
        if canonical && text.split('.').count() > 2 {
            Ok(ObjectIdentifier(text.to_owned()))
        } else {
            Err(format!("must be an object identifier, not `{text}`"))
        }
    }
}

impl Field for OdsCode {
    const HINT: &'static str = "write 3 to 8 letters and digits, for example RXA";

    fn read(_: &Reader, value: &Placed) -> Result<Self, String> {
        text(value, "an ODS code")?.parse().map_err(|error| format!("is wrong: {error}"))
    }
}

impl Field for SecretReference {
    const HINT: &'static str = "write `{ file: /path }` or `{ environment: NAME }`, never the secret itself";

    fn read(reader: &Reader, value: &Placed) -> Result<Self, String> {
        let wanted = || "must be a reference to a secret".to_owned();
        let Node::Map(entries) = &value.node else { return Err(wanted()) };
        let secret = match entries.as_slice() {
            [(key, place)] if key.text == "file" => {
                SecretReference::File(reader.path(text(place, "a reference to a secret with its path")?))
            }
            [(key, name)] if key.text == "environment" => SecretReference::Environment(
                text(name, "a reference to a secret with the variable's name")?.to_owned(),
            ),
            _ => return Err(wanted()),
        };
        reader.refer(value.at, Reference::Secret(secret.clone()));
        Ok(secret)
    }
}

/// A SHA-256 fingerprint, with or without colons.
#[derive(Debug)]
pub struct Sha256Hex(pub String);

impl Field for Sha256Hex {
    const HINT: &'static str =
        "write the 64 hexadecimal digits of `openssl x509 -in FILE -outform DER | sha256sum`, in quotes";

    fn read(_: &Reader, value: &Placed) -> Result<Self, String> {
        let text: String =
            text(value, "a SHA-256 fingerprint")?.chars().filter(|c| *c != ':').collect::<String>();
        if text.len() == 64 && text.bytes().all(|b| b.is_ascii_hexdigit()) {
            Ok(Sha256Hex(text.to_ascii_lowercase()))
        } else {
            Err("must be a SHA-256 fingerprint".to_owned())
        }
    }
}

/// A public key for signatures (Ed25519).
#[derive(Debug)]
pub struct PublicKey(pub Vec<u8>);

impl Field for PublicKey {
    const HINT: &'static str =
        "write the 64 hexadecimal digits that `portcullis policy key` prints for the officer, in quotes";

    fn read(_: &Reader, value: &Placed) -> Result<Self, String> {
        let key = unhex(text(value, "a public key")?).filter(|key| key.len() == 32);
        match key {
            Some(key) if is_weak(&key) => Err("is a key for which anybody can sign".to_owned()),
            Some(key) => Ok(PublicKey(key)),
            None => Err("must be a public key".to_owned()),
        }
    }
}
