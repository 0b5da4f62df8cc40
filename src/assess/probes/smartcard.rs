//! That a card really logs on, and that a password really does not, for the member's monitoring account. The bit
//! "smart card is required" proves neither.

use std::sync::Arc;

use rustls::ClientConfig;

use crate::ambient::clock::Clock;
use crate::assess::gathered::{Gathered, Stopwatch};
use crate::assess::probes::kinit::{Logon, Workshop};
use crate::assess::settings::Settings;
use crate::assess::target::Target;
use crate::baseline::facts::Fact;
use crate::directory::client::Directory;
use crate::directory::endpoint::Endpoint;
use crate::secret::reference::SecretReference;
use crate::secret::text::Secret;
use crate::store::member::Card;

const CARD_LOGON: &str = "smartcard.card_logon_works";
const CARD_PROBLEM: &str = "smartcard.card_logon_problem";
const PASSWORD_LOGON: &str = "smartcard.password_logon_works";
const SIMPLE_BIND: &str = "smartcard.simple_bind_works";
/// What it finds.
pub const NAMES: [&str; 4] = [CARD_LOGON, CARD_PROBLEM, PASSWORD_LOGON, SIMPLE_BIND];

/// The facts `smartcard.*`.
pub async fn probe(
    target: &Target,
    reachable: &[Endpoint],
    tls: &Arc<ClientConfig>,
    settings: &Settings,
    clock: &Clock,
) -> Gathered {
    let mut gathered = Gathered::default();
    let Some(card) = &target.card else {
        let fact = Fact::NotCollected("the member has no monitoring card configured".to_owned());
        gathered.set_all(&NAMES, &fact);
        return gathered;
    };
    let watch = Stopwatch::start(clock);
    card_logon(&mut gathered, target, card, settings).await;
    match &card.password {
        None => {
            let fact = Fact::NotCollected(
                "no password that must be refused is configured for the card's account".to_owned(),
            );
            gathered.set_all(&[PASSWORD_LOGON, SIMPLE_BIND], &fact);
        }
        Some(reference) => match read(reference).await {
            Ok(password) => {
                password_logon(&mut gathered, target, card, &password, reachable, tls, settings).await
            }
            Err(reason) => gathered.set_all(&[PASSWORD_LOGON, SIMPLE_BIND], &Fact::Failed(reason)),
        },
    }
    gathered.provenance.push(watch.provenance(
        "smartcard",
        "PKINIT by MIT kinit, password logon, simple bind",
        &kdcs(target),
    ));
    gathered
}

/// MIT's `kinit` gave the card up and asked for a password, which it does not get.
const FELL_BACK: &str = "Cannot read password";
/// A key exchange between MIT's client and a Heimdal KDC fails about once in 130 by itself, when a shared secret begins with a
/// zero octet. A card that works is not refused three times by that. A wrong PIN is another message, so no card is locked.
const CARD_ATTEMPTS: u32 = 3;

fn kdcs(target: &Target) -> String {
    target.kdcs.first().cloned().unwrap_or_default()
}

async fn card_logon(gathered: &mut Gathered, target: &Target, card: &Card, settings: &Settings) {
    let pin = match &card.pin {
        None => Ok(None),
        Some(reference) => read(reference).await.map(Some),
    };
    let outcome = match (pin, Workshop::new(target, card.anchors.as_deref())) {
        (Ok(pin), Ok(workshop)) => {
            let mut outcome = Err("no logon was tried".to_owned());
            for _ in 0..CARD_ATTEMPTS {
                let identity = Some(card.identity.as_str());
                outcome = workshop
                    .log_on(
                        &settings.kinit,
                        &card.principal,
                        identity,
                        pin.as_ref(),
                        settings.child_timeout(),
                    )
                    .await;
                if !matches!(&outcome, Ok(Logon::Refused(message)) if message.contains(FELL_BACK)) {
                    break;
                }
            }
            outcome
        }
        (Err(reason), _) | (_, Err(reason)) => Err(reason),
    };
    let (works, problem) = match outcome {
        Ok(Logon::Granted) => (Fact::boolean(true), Fact::Absent),
        Ok(Logon::Refused(message)) => (Fact::boolean(false), Fact::text(message)),
        Err(reason) => (Fact::Failed(reason.clone()), Fact::text(reason)),
    };
    gathered.set(CARD_LOGON, works);
    gathered.set(CARD_PROBLEM, problem);
}

async fn password_logon(
    gathered: &mut Gathered,
    target: &Target,
    card: &Card,
    password: &Secret,
    reachable: &[Endpoint],
    tls: &Arc<ClientConfig>,
    settings: &Settings,
) {
    let kerberos = match Workshop::new(target, None) {
        Ok(workshop) => {
            workshop
                .log_on(&settings.kinit, &card.principal, None, Some(password), settings.child_timeout())
                .await
        }
        Err(reason) => Err(reason),
    };
    gathered.set(
        PASSWORD_LOGON,
        match kerberos {
            Ok(logon) => Fact::boolean(logon == Logon::Granted),
            Err(reason) => Fact::Failed(reason),
        },
    );
    gathered.set(SIMPLE_BIND, simple_bind(card, password, reachable, tls, settings).await);
}

async fn simple_bind(
    card: &Card,
    password: &Secret,
    reachable: &[Endpoint],
    tls: &Arc<ClientConfig>,
    settings: &Settings,
) -> Fact {
    let Some(controller) = reachable.first() else {
        return Fact::Failed("no controller could be reached".to_owned());
    };
    let mut directory = match Directory::open(controller, Arc::clone(tls), &settings.for_probes()).await {
        Ok(directory) => directory,
        Err(error) => return Fact::Failed(error.to_string()),
    };
    match directory.try_bind(&card.principal.to_lowercase(), password.expose()).await {
        // invalidCredentials, strongerAuthRequired, inappropriateAuthentication, unwillingToPerform
        Ok(outcome) if matches!(outcome.code, 8 | 48 | 49 | 53) => Fact::boolean(false),
        Ok(outcome) if outcome.code == 0 => Fact::boolean(true),
        Ok(outcome) => Fact::Failed(format!("the bind ended with result code {}", outcome.code)),
        Err(error) => Fact::Failed(error.to_string()),
    }
}

async fn read(reference: &SecretReference) -> Result<Secret, String> {
    let reference = reference.clone();
    tokio::task::spawn_blocking(move || reference.read())
        .await
        .map_err(|error| error.to_string())?
        .map_err(|error| error.to_string())
}
