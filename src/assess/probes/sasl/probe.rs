//! Whether a controller takes a Kerberos logon over LDAP that is not signed, and one over TLS that is not bound to the channel:
//! what a relay of somebody else's logon needs ([MS-ADTS] section 5.1.1, KB4520412).
//!
//! The logon is our own account's. A refusal counts only for its own reason; whatever else goes wrong is a failed probe.
//!
//! Whoever stands between us and the plain port can use the one unsigned logon for a session of that account, at that controller:
//! one more reason why the account reads and does nothing else.

use std::sync::Arc;

use rustls::ClientConfig;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::time::timeout;

use crate::ambient::chance;
use crate::ambient::clock::Clock;
use crate::assess::gathered::{Gathered, Stopwatch};
use crate::assess::probes::kinit::{Logon, Workshop};
use crate::assess::probes::ldap::any;
use crate::assess::probes::sasl::cache::{BYTES_MAX, Ticket, ticket_for};
use crate::assess::probes::sasl::token::{Offer, token};
use crate::assess::settings::Settings;
use crate::assess::target::Target;
use crate::baseline::catalogue::BINDING as RANKS;
use crate::baseline::facts::Fact;
use crate::baseline::value::Value;
use crate::directory::client::Directory;
use crate::directory::dial::{Stream, dial};
use crate::directory::endpoint::{Endpoint, Transport};
use crate::directory::error::DirectoryError;
use crate::ldap::codec;
use crate::ldap::limits::Limits;
use crate::ldap::message::{Authentication, Bind, Message, Operation, ResultCode};

const UNSIGNED: &str = "ldap.unsigned_sasl";
const BINDING: &str = "ldap.channel_binding";
/// What it finds.
pub const NAMES: [&str; 2] = [UNSIGNED, BINDING];

/// SEC_E_BAD_BINDINGS, as Active Directory writes it into the text of invalidCredentials.
const BAD_BINDINGS: &str = "80090346";

/// One question, or why it could not be told.
type Told<T> = Result<T, String>;

/// How a controller answers a bind.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Answer {
    Accepted,
    /// strongerAuthRequired: it must be signed, or bound otherwise.
    StrongerDemanded,
    /// It must be bound to this channel.
    BindingDemanded,
    Other(String),
}

/// What every question is asked with.
struct Means<'a> {
    workshop: &'a Workshop,
    tls: &'a Arc<ClientConfig>,
    settings: &'a Settings,
    clock: &'a Clock,
    realm: &'a str,
}

/// The facts over all reachable controllers: the worst of what any of them does. `account` is our own `sAMAccountName`.
pub async fn probe(
    target: &Target,
    account: &str,
    reachable: &[Endpoint],
    tls: &Arc<ClientConfig>,
    settings: &Settings,
    clock: &Clock,
) -> Gathered {
    let mut gathered = Gathered::default();
    let workshop = match logged_on(target, account, settings).await {
        Ok(workshop) => workshop,
        Err(fact) => {
            gathered.set_all(&NAMES, &fact);
            return gathered;
        }
    };
    let means = Means { workshop: &workshop, tls, settings, clock, realm: &target.realm };
    let (mut unsigned, mut bindings) = (Vec::new(), Vec::new());
    for controller in reachable {
        let watch = Stopwatch::start(clock);
        match ticket(&means, controller).await {
            Ok(ticket) => {
                unsigned.push(unsigned_bind(&means, controller, &ticket).await);
                bindings.push(binding(&means, controller, &ticket).await);
            }
            Err(reason) if reason.contains("cannot be run") => {
                gathered.set_all(&NAMES, &not_made(reason));
                return gathered;
            }
            Err(reason) => {
                unsigned.push(Err(reason.clone()));
                bindings.push(Err(reason));
            }
        }
        let place = format!("{}:{}", controller.host, controller.port);
        for (fact, by) in [
            (UNSIGNED, "GSS-SPNEGO binds with a Kerberos ticket, signed and unsigned"),
            (BINDING, "GSS-SPNEGO binds over TLS with a Kerberos ticket, without a channel and with another"),
        ] {
            gathered.provenance.push(watch.provenance(fact, by, &place));
        }
    }
    gathered.set(UNSIGNED, any(unsigned));
    gathered.set(BINDING, worst(bindings));
    gathered
}

/// Our own account's password for a ticket-granting ticket.
async fn logged_on(target: &Target, account: &str, settings: &Settings) -> Result<Workshop, Fact> {
    let reference = target.password.clone();
    let password = tokio::task::spawn_blocking(move || reference.read())
        .await
        .map_err(|error| Fact::Failed(error.to_string()))?
        .map_err(|error| Fact::Failed(error.to_string()))?;
    let workshop = Workshop::for_password(target).map_err(Fact::Failed)?;
    let principal = format!("{}@{}", escaped(account), target.realm);
    match workshop.log_on(&settings.kinit, &principal, None, Some(&password), settings.child_timeout()).await
    {
        Ok(Logon::Granted) => Ok(workshop),
        Ok(Logon::Failed(said)) => {
            Err(Fact::Failed(format!("our own account gets no ticket: {}", said.message)))
        }
        Err(reason) => Err(not_made(reason)),
    }
}

/// A name as one part of a principal, as MIT's programs read it.
fn escaped(name: &str) -> String {
    let mut out = String::with_capacity(name.len());
    for letter in name.chars() {
        if matches!(letter, '\\' | '/' | '@') {
            out.push('\\');
        }
        out.push(letter);
    }
    out
}

/// A program that is missing is our own affair, and no failure of the member's.
fn not_made(reason: String) -> Fact {
    match reason.contains("cannot be run") {
        true => Fact::NotCollected(format!("{reason}; the Debian package krb5-user brings it")),
        false => Fact::Failed(reason),
    }
}

/// A ticket for the LDAP service of the host that the controller says it is: the name on its certificate may be another.
async fn ticket(means: &Means<'_>, controller: &Endpoint) -> Told<Ticket> {
    let said = |error: DirectoryError| error.to_string();
    let patience = means.settings.for_probes();
    let mut directory = Directory::open(controller, Arc::clone(means.tls), &patience).await.map_err(said)?;
    let root = directory.read_root_dse(&["dnsHostName"]).await.map_err(said)?;
    let host = root.text("dnsHostName").ok_or("the controller does not say its host name")?.to_owned();
    if !is_host(&host) {
        return Err("the controller's host name is none".to_owned());
    }
    let service = format!("ldap/{host}@{}", means.realm);
    means.workshop.ticket(&means.settings.kvno, &service, means.settings.child_timeout()).await?;
    ticket_for(&means.workshop.cache(BYTES_MAX)?, "ldap", &host)
}

/// What may stand in a principal's name without meaning more there.
fn is_host(name: &str) -> bool {
    let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | '_');
    !name.is_empty() && name.len() <= 255 && !name.starts_with('-') && name.chars().all(plain)
}

/// True when a bind without signing or sealing is taken on the plain port. It says so only after a signed one was.
async fn unsigned_bind(means: &Means<'_>, controller: &Endpoint, ticket: &Ticket) -> Told<bool> {
    let plain = controller.with(means.settings.plain_port, Transport::Plain);
    let none = [0; 16];
    let signed = match bind(means, &plain, ticket, Offer { signing: true, channel: none }).await {
        Ok(answer) => answer,
        // nothing listens there
        Err(DirectoryError::Unreachable { .. }) => return Ok(false),
        Err(error) => return Err(error.to_string()),
    };
    if signed != Answer::Accepted {
        return Err(format!("a signed Kerberos bind was not accepted: {}", signed.told()));
    }
    let unsigned = bind(means, &plain, ticket, Offer { signing: false, channel: none }).await;
    match unsigned.map_err(|error| error.to_string())? {
        Answer::Accepted => Ok(true),
        Answer::StrongerDemanded => Ok(false),
        other => Err(format!("an unsigned Kerberos bind ended otherwise: {}", other.told())),
    }
}

/// What becomes of a bind over TLS that says nothing of the channel, and of one that names another.
async fn binding(means: &Means<'_>, controller: &Endpoint, ticket: &Ticket) -> Told<&'static str> {
    let said = |error: DirectoryError| error.to_string();
    let silent = Offer { signing: false, channel: [0; 16] };
    match bind(means, controller, ticket, silent).await.map_err(said)? {
        Answer::BindingDemanded => return Ok("enforced"),
        Answer::StrongerDemanded => return Ok("sasl-refused"),
        Answer::Accepted => {}
        Answer::Other(text) => return Err(format!("a Kerberos bind over TLS ended otherwise: {text}")),
    }
    let channel = chance::bytes().map_err(|error| error.to_string())?;
    match bind(means, controller, ticket, Offer { signing: false, channel }).await.map_err(said)? {
        Answer::BindingDemanded => Ok("when-supported"),
        // whatever it was: silence is enough for a relay
        _ => Ok("not-enforced"),
    }
}

async fn bind(
    means: &Means<'_>,
    endpoint: &Endpoint,
    ticket: &Ticket,
    offer: Offer,
) -> Result<Answer, DirectoryError> {
    let token = token(ticket, offer, means.clock.now()).map_err(DirectoryError::Request)?;
    let patience = means.settings.for_probes();
    let mut dialled = dial(endpoint, Arc::clone(means.tls), &patience).await?;
    let after = patience.answer_timeout();
    timeout(after, exchange(&mut dialled.stream, &token))
        .await
        .map_err(|_| DirectoryError::TimedOut { what: "the Kerberos bind", after })?
}

/// One BindRequest (RFC 4511 section 4.2) and its answer.
async fn exchange(stream: &mut (impl Stream + ?Sized), token: &[u8]) -> Result<Answer, DirectoryError> {
    let closed = |error: std::io::Error| DirectoryError::Closed(error.to_string());
    let authentication =
        Authentication::Sasl { mechanism: "GSS-SPNEGO".into(), credentials: Some(token.into()) };
    let bind = Bind { version: 3, name: "".into(), authentication };
    let request = codec::to_bytes(&Message::new(1, Operation::BindRequest(bind)));
    stream.write_all(&request).await.map_err(closed)?;
    let malformed = |what: String| DirectoryError::Malformed(what);
    let limits = Limits::before_bind();
    let mut answer = Vec::new();
    let mut chunk = [0; 2_048];
    let length = loop {
        if let Some(length) = codec::frame(&answer, &limits).map_err(|e| malformed(e.to_string()))? {
            break length;
        }
        match stream.read(&mut chunk).await.map_err(closed)? {
            0 => return Err(DirectoryError::Closed("in the answer to the bind".to_owned())),
            n => answer.extend_from_slice(chunk.get(..n).unwrap_or_default()),
        }
    };
    let whole = answer.get(..length).unwrap_or_default();
    let message = codec::decode(whole, &limits).map_err(|e| malformed(e.to_string()))?;
    match message.operation {
        Operation::BindResponse(response) => {
            Ok(Answer::of(response.outcome.code, &response.outcome.diagnostic))
        }
        _ => Err(malformed("another operation's answer to a bind".to_owned())),
    }
}

impl Answer {
    fn of(code: ResultCode, diagnostic: &str) -> Answer {
        match code {
            ResultCode::SUCCESS => Answer::Accepted,
            ResultCode::STRONGER_AUTH_REQUIRED => Answer::StrongerDemanded,
            ResultCode::INVALID_CREDENTIALS if diagnostic.contains(BAD_BINDINGS) => Answer::BindingDemanded,
            _ => {
                let text: String = diagnostic.chars().filter(|c| !c.is_control()).take(120).collect();
                Answer::Other(format!("{code} ({text})"))
            }
        }
    }

    fn told(&self) -> &str {
        match self {
            Answer::Accepted => "it was accepted",
            Answer::StrongerDemanded => "stronger authentication is required",
            Answer::BindingDemanded => "a binding to the channel is required",
            Answer::Other(text) => text,
        }
    }
}

/// The worst of all controllers; one that could not be told does not hide one that is known to be the worst there is.
fn worst(found: Vec<Told<&'static str>>) -> Fact {
    let rank = |word: &str| RANKS.iter().position(|known| *known == word);
    let known = found.iter().filter_map(|told| told.as_ref().ok()).max_by_key(|word| rank(word)).copied();
    let failed = found.into_iter().find_map(Result::err);
    match (known, failed) {
        (Some(word), _) if RANKS.last() == Some(&word) => Fact::Known(Value::Word(word.to_owned())),
        (_, Some(reason)) => Fact::Failed(reason),
        (Some(word), None) => Fact::Known(Value::Word(word.to_owned())),
        (None, None) => Fact::Failed("no controller could be reached".to_owned()),
    }
}

#[cfg(test)]
mod tests;
