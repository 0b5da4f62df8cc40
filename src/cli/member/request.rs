//! `portcullis member request`.

use std::path::{Path, PathBuf};

use clap::Args;
use rustls_pki_types::CertificateDer;
use rustls_pki_types::pem::PemObject;
use sha2::{Digest, Sha256};

use crate::cli::context::Context;
use crate::cli::failure::{Answer, Failure};
use crate::cli::input;
use crate::cli::member::answer::{answer, by, refused};
use crate::cli::member::key::warn_shared;
use crate::cli::member::spelling;
use crate::enrol::{attestations, run};
use crate::policy::people::{CardIssuer, CardMapping, Passwords, People};
use crate::policy::terms::{Membership, OdsCode};
use crate::proxy::requesters::SubjectPattern;
use crate::secret::file;
use crate::secret::reference::SecretReference;
use crate::store::audit::hex;
use crate::store::member::{Attested, Card, Connection, ConnectorCertificate, Controller, Member};
use crate::tls::smartcard::key_digest;

/// The largest anchor or certificate file that is read.
const MAX_PEM_BYTES: u64 = 1 << 20;
/// LDAPS.
const PORT: u16 = 636;

/// Everything that is needed to reach the member's directory. Secrets are given by reference.
#[derive(Debug, Args)]
pub struct Request {
    /// Its ODS code, for example RXA.
    pub member: OdsCode,
    /// Its name, for people to read.
    #[arg(long)]
    pub name: String,
    /// A domain controller as HOST[:PORT], or NAME@ADDRESS[:PORT] when its certificate bears another name than is dialled;
    /// the port is 636 when absent. Repeat for each. Without any, those that DNS names for its realm.
    #[arg(long = "controller", value_parser = controller)]
    pub controllers: Vec<Controller>,
    /// The naming context to federate, for example DC=rxa,DC=trust,DC=test.
    #[arg(long, value_parser = spelling::name)]
    pub base_dn: String,
    /// The account to bind as: a DN or a user principal name.
    #[arg(long)]
    pub bind_dn: String,
    /// The file that holds that account's password.
    #[arg(long, required_unless_present = "password_env", conflicts_with = "password_env")]
    pub password_file: Option<PathBuf>,
    /// The environment variable that holds it.
    #[arg(long)]
    pub password_env: Option<String>,
    /// PEM file of the anchors that its controllers' certificates must chain to; its content is kept.
    #[arg(long)]
    pub anchors: PathBuf,
    /// A KDC as HOST[:PORT]; its controllers when absent.
    #[arg(long = "kdc", value_parser = spelling::kdc)]
    pub kdcs: Vec<String>,
    /// Its Kerberos realm; from the base DN when absent.
    #[arg(long)]
    pub realm: Option<String>,
    /// The Active Directory site whose controllers are asked before all others, when DNS names them.
    #[arg(long)]
    pub site: Option<String>,
    /// PEM certificate of a connector of the member at the front door; only its fingerprint is kept.
    #[arg(long = "connector-certificate")]
    pub connectors: Vec<PathBuf>,
    /// A mail domain that it owns.
    #[arg(long = "mail-domain", value_parser = spelling::mail_domain)]
    pub mail_domains: Vec<String>,
    /// A UPN suffix that it owns.
    #[arg(long = "upn-suffix", value_parser = spelling::upn_suffix)]
    pub upn_suffixes: Vec<String>,
    /// The profile of the baseline that it is measured by.
    #[arg(long)]
    pub profile: Option<String>,
    /// A DN below the base DN that must be readable in every pass; the base DN when absent.
    #[arg(long, value_parser = spelling::name)]
    pub canary: Option<String>,
    #[command(flatten)]
    pub card: CardArguments,
    #[command(flatten)]
    pub people: PeopleArguments,
    /// The public key that its attestations are signed with, as `portcullis attestation key` prints it.
    #[arg(long, value_name = "KEY", value_parser = spelling::attestation_key)]
    pub attestation_key: Option<String>,
    /// Why, for the audit.
    #[arg(long, default_value = "requested by command")]
    pub reason: String,
}

/// The card of the member's monitoring account, for the smartcard logon probe.
#[derive(Debug, Args)]
pub struct CardArguments {
    /// The monitoring account as a principal, for example monitor@RXA.TRUST.TEST.
    #[arg(long, requires = "card_identity")]
    pub card_principal: Option<String>,
    /// Its card as MIT Kerberos writes it: FILE:cert.pem,key.pem or PKCS11:module_name=...
    #[arg(long, requires = "card_principal")]
    pub card_identity: Option<String>,
    /// PEM file of the anchors of the KDC's certificate; the controllers' anchors when absent.
    #[arg(long, requires = "card_principal")]
    pub card_anchors: Option<PathBuf>,
    /// The file that holds the card's PIN.
    #[arg(long, requires = "card_principal")]
    pub card_pin_file: Option<PathBuf>,
    /// The file that holds the monitoring account's password, which must be refused.
    #[arg(long, requires = "card_principal")]
    pub card_password_file: Option<PathBuf>,
}

/// How the member's people come to the front door.
#[derive(Debug, Args)]
pub struct PeopleArguments {
    /// What of a card names the account: upn (the default), sid (KB5014754), or subject:PATTERN, a subject in which one
    /// value is *, for example 'subject:cn=*,ou=Staff,o=RXA', whose value is the account's sAMAccountName. Repeat in order
    /// of preference. All but upn need --card-issuer.
    #[arg(long = "card-mapping")]
    pub card_mapping: Vec<CardMapping>,
    /// PEM certificate of an authority that issues the cards of the member's people; only its key's fingerprint is kept.
    /// A card from elsewhere is then nobody's here. Without it every trusted authority can name this member's people.
    #[arg(long = "card-issuer")]
    pub card_issuers: Vec<PathBuf>,
    /// Prove passwords of the member's people at its directory, where a release agreement names passwords; without it no
    /// password is taken.
    #[arg(long)]
    pub forward_passwords: bool,
}

/// Records the request.
pub fn run(request: Request, context: &Context) -> Result<Answer, Failure> {
    let reason = request.reason.clone();
    let member = member(request, context)?;
    secrets(&member)?;
    let store = context.store()?.as_ref();
    let done = run::request(store, member, &by(context, &reason));
    if let Ok(Member { ods, attested: Attested { key: Some(key), .. }, .. }) = &done {
        warn_shared(&attestations::others_with(store, ods, key).map_err(refused)?, ods, context);
    }
    answer(context, done)
}

/// A secret that cannot be read now will not be readable later.
fn secrets(member: &Member) -> Result<(), Failure> {
    let connection = &member.connection;
    let card = connection.card.as_ref();
    let of_card = card.into_iter().flat_map(|card| [&card.pin, &card.password]).flatten();
    let mut faults: Vec<String> = std::iter::once(&connection.password)
        .chain(of_card)
        .filter_map(|secret| secret.read().err().map(|error| error.to_string()))
        .collect();
    if let Some(key) = card.and_then(|card| card_key(&card.identity)) {
        faults.extend(file::read(Path::new(key), MAX_PEM_BYTES).err().map(|error| error.to_string()));
    }
    if faults.is_empty() { Ok(()) } else { Err(Failure::refused(faults.join("\n"))) }
}

/// The private key of a card that is a file: `FILE:cert.pem,key.pem`, or one file for both.
fn card_key(identity: &str) -> Option<&str> {
    let files = identity.strip_prefix("FILE:")?;
    files.split(',').next_back()
}

fn member(request: Request, context: &Context) -> Result<Member, Failure> {
    if let Some(canary) =
        request.canary.as_ref().filter(|canary| !spelling::lies_in(canary, &request.base_dn))
    {
        let base = &request.base_dn;
        return Err(Failure::refused(format_args!(
            "the canary `{canary}` does not lie below the base DN `{base}`"
        )));
    }
    let anchors = read(&request.anchors)?;
    certificates(&request.anchors, &anchors)?;
    let anchors = String::from_utf8(anchors)
        .map_err(|_| Failure::refused(format_args!("{} is not PEM text", request.anchors.display())))?;
    let connectors = request.connectors.iter().map(|path| connector(path)).collect::<Result<_, _>>()?;
    let password = match (request.password_file, request.password_env) {
        (Some(path), _) => SecretReference::File(absolute(&path)?),
        (None, Some(name)) => SecretReference::Environment(name),
        (None, None) => return Err(Failure::refused("give --password-file or --password-env")),
    };
    let now = context.clock.now();
    Ok(Member {
        ods: request.member,
        name: request.name,
        state: Membership::Requested,
        profile: request.profile,
        connection: Connection {
            controllers: request.controllers,
            base_dn: request.base_dn,
            bind_dn: request.bind_dn,
            password,
            anchors,
            kdcs: request.kdcs,
            realm: request.realm.map(|realm| realm.to_uppercase()),
            site: request.site,
            card: card(request.card)?,
            canary: request.canary,
        },
        connectors,
        mail_domains: request.mail_domains.into_iter().collect(),
        upn_suffixes: request.upn_suffixes.into_iter().collect(),
        people: people(request.people)?,
        attested: Attested { key: request.attestation_key, ..Attested::default() },
        requested_at: now,
        state_since: now,
        state_reason: String::new(),
        revision: 0,
    })
}

fn people(people: PeopleArguments) -> Result<People, Failure> {
    let card_issuers: Vec<CardIssuer> =
        people.card_issuers.iter().map(|path| card_issuer(path)).collect::<Result<_, _>>()?;
    for mapping in &people.card_mapping {
        if let CardMapping::Subject(pattern) = mapping {
            SubjectPattern::parse(pattern).map_err(Failure::refused)?;
        }
        if *mapping != CardMapping::Upn && card_issuers.is_empty() {
            return Err(Failure::refused(format_args!(
                "--card-mapping {mapping} needs --card-issuer: any trusted authority could name the account"
            )));
        }
    }
    let passwords = if people.forward_passwords { Passwords::Forward } else { Passwords::Refuse };
    Ok(People { card_mapping: people.card_mapping, card_issuers, passwords })
}

/// The authority whose certificate is in a PEM file.
pub fn card_issuer(path: &Path) -> Result<CardIssuer, Failure> {
    let certificates = certificates(path, &read(path)?)?;
    let not_read = || Failure::refused(format_args!("{} holds no readable certificate", path.display()));
    let der = certificates.first().ok_or_else(not_read)?;
    let (_, certificate) = x509_parser::parse_x509_certificate(der).map_err(|_| not_read())?;
    if !certificate.is_ca() {
        return Err(Failure::refused(format_args!(
            "{} is not the certificate of an authority",
            path.display()
        )));
    }
    Ok(CardIssuer {
        key_sha256: key_digest(certificate.public_key().raw),
        subject: certificate.subject().to_string(),
    })
}

fn card(card: CardArguments) -> Result<Option<Card>, Failure> {
    let (Some(principal), Some(identity)) = (card.card_principal, card.card_identity) else {
        return Ok(None);
    };
    let file = |path: Option<PathBuf>| path.map(|path| absolute(&path)).transpose();
    Ok(Some(Card {
        principal,
        identity: whole_identity(identity)?,
        anchors: file(card.card_anchors)?,
        pin: file(card.card_pin_file)?.map(SecretReference::File),
        password: file(card.card_password_file)?.map(SecretReference::File),
    }))
}

/// The identity with whole paths where it names files.
fn whole_identity(identity: String) -> Result<String, Failure> {
    let Some(files) = identity.strip_prefix("FILE:") else { return Ok(identity) };
    let mut whole = Vec::new();
    for file in files.split(',') {
        if file.is_empty() {
            return Err(Failure::refused("write --card-identity FILE:cert.pem,key.pem"));
        }
        whole.push(absolute(Path::new(file))?.display().to_string());
    }
    Ok(format!("FILE:{}", whole.join(",")))
}

/// Paths are kept whole, because the gateway runs in another directory.
fn absolute(path: &Path) -> Result<PathBuf, Failure> {
    std::path::absolute(path).map_err(Failure::could_not)
}

fn read(path: &Path) -> Result<Vec<u8>, Failure> {
    input::read(path, MAX_PEM_BYTES).map_err(|failure| Failure::refused(failure.message))
}

fn certificates(path: &Path, pem: &[u8]) -> Result<Vec<CertificateDer<'static>>, Failure> {
    let found: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(pem).collect();
    match found {
        Ok(certificates) if !certificates.is_empty() => Ok(certificates),
        Ok(_) => Err(Failure::refused(format_args!("{} holds no PEM certificate", path.display()))),
        Err(error) => Err(Failure::refused(format_args!("{}: {error}", path.display()))),
    }
}

fn connector(path: &Path) -> Result<ConnectorCertificate, Failure> {
    let certificates = certificates(path, &read(path)?)?;
    let not_read = || Failure::refused(format_args!("{} holds no readable certificate", path.display()));
    let der = certificates.first().ok_or_else(not_read)?;
    let (_, certificate) = x509_parser::parse_x509_certificate(der).map_err(|_| not_read())?;
    Ok(ConnectorCertificate {
        sha256: hex(&Sha256::digest(der)),
        subject: certificate.subject().to_string(),
        not_after: certificate.validity().not_after.to_datetime(),
    })
}

/// `HOST`, `HOST:PORT`, `[ADDRESS]:PORT` or any of them after `NAME@`.
fn controller(text: &str) -> Result<Controller, String> {
    let (tls_name, dialled) = match text.split_once('@') {
        Some((name, dialled)) => (Some(name.to_owned()), dialled),
        None => (None, text),
    };
    let (host, port) = match dialled.rsplit_once(':') {
        // an address of IPv6 without brackets has more colons
        Some((host, port)) if !host.contains(':') || host.ends_with(']') => {
            (host, port.parse().map_err(|_| format!("`{port}` is not a port"))?)
        }
        _ => (dialled, PORT),
    };
    let host = host.trim_start_matches('[').trim_end_matches(']');
    if host.is_empty() || port == 0 || tls_name.as_deref() == Some("") {
        return Err("write HOST[:PORT] or NAME@ADDRESS[:PORT]".to_owned());
    }
    Ok(Controller { host: host.to_owned(), port, tls_name })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_controller_is_read_in_each_of_its_spellings() {
        let read = |text| controller(text).map(|c| (c.host, c.port, c.tls_name));
        assert_eq!(read("dc1.rxa.test"), Ok(("dc1.rxa.test".into(), 636, None)));
        assert_eq!(read("127.0.10.1:1636"), Ok(("127.0.10.1".into(), 1636, None)));
        assert_eq!(
            read("dc1.rxa.test@127.0.10.1"),
            Ok(("127.0.10.1".into(), 636, Some("dc1.rxa.test".into())))
        );
        assert_eq!(read("dc1@[::1]:3269"), Ok(("::1".into(), 3269, Some("dc1".into()))));
        assert_eq!(read("::1"), Ok(("::1".into(), 636, None)));
        assert!(read("host:ldaps").is_err());
        assert!(read("@host").is_err());
        assert!(read("").is_err());
    }
}
