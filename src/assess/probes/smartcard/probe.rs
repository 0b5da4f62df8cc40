//! Tries the card and the password of the member's monitoring account, and reads what kind of account it is.

use std::path::PathBuf;
use std::sync::Arc;

use rustls::ClientConfig;

use crate::ambient::clock::Clock;
use crate::assess::gathered::{Gathered, Stopwatch};
use crate::assess::probes::discovery::Controllers;
use crate::assess::probes::kinit::Workshop;
use crate::assess::probes::logon::log_on;
use crate::assess::probes::smartcard::account::{self, Account};
use crate::assess::probes::smartcard::verdict::{self, CardLogon};
use crate::assess::settings::Settings;
use crate::assess::target::Target;
use crate::baseline::facts::Fact;
use crate::directory::client::Directory;
use crate::secret::reference::SecretReference;
use crate::secret::text::Secret;
use crate::store::member::Card;
use crate::tls::material::Identity;

const CARD_LOGON: &str = "smartcard.card_logon_works";
const CARD_PROBLEM: &str = "smartcard.card_logon_problem";
const PASSWORD_LOGON: &str = "smartcard.password_logon_works";
const SIMPLE_BIND: &str = "smartcard.simple_bind_works";
const REQUIRES_CARD: &str = "smartcard.account_requires_card";
const ENABLED: &str = "smartcard.account_enabled";
/// What it finds.
pub const NAMES: [&str; 6] = [CARD_LOGON, CARD_PROBLEM, PASSWORD_LOGON, SIMPLE_BIND, REQUIRES_CARD, ENABLED];

/// A key exchange between MIT's client and a Heimdal KDC fails about once in 130 by itself, when a shared secret begins with a
/// zero octet. A card that works does not fail three times by that. A wrong PIN is another outcome, so no card is locked.
const CARD_ATTEMPTS: u32 = 3;

/// What every question is asked with.
struct Means<'a> {
    target: &'a Target,
    card: &'a Card,
    controllers: &'a Controllers,
    tls: &'a Arc<ClientConfig>,
    settings: &'a Settings,
}

/// The facts `smartcard.*`.
pub async fn probe(
    target: &Target,
    controllers: &Controllers,
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
    let means = Means { target, card, controllers, tls, settings };
    let watch = Stopwatch::start(clock);
    // the card first: a logon that succeeds takes back what refused passwords count towards a lockout
    card_logon(&mut gathered, &means).await;
    let account = account(&means, clock).await;
    passwords(&mut gathered, &means, &account.requires_card).await;
    gathered.set(REQUIRES_CARD, account.requires_card);
    gathered.set(ENABLED, account.enabled);
    gathered.provenance.push(watch.provenance(
        "smartcard",
        "PKINIT by MIT kinit, password logon, simple bind, the account's flags",
        &target.kdcs.first().cloned().unwrap_or_default(),
    ));
    gathered
}

async fn account(means: &Means<'_>, clock: &Clock) -> Account {
    match log_on(means.target, means.controllers, means.tls, means.settings).await {
        Ok(mut session) => {
            let found =
                account::look(&mut session, &means.card.principal, &means.target.realm, clock.now()).await;
            let _ = session.directory.unbind().await;
            found
        }
        Err(reason) => Account::unread(&format!("no logon with our own account: {reason}")),
    }
}

async fn card_logon(gathered: &mut Gathered, means: &Means<'_>) {
    let (works, problem) = match tried(means).await {
        CardLogon::Works => (Fact::boolean(true), Fact::Absent),
        CardLogon::Refused(reason) => (Fact::boolean(false), Fact::text(reason)),
        CardLogon::Unreadable(reason) | CardLogon::NotTried(reason) => {
            (Fact::Failed(reason.clone()), Fact::Failed(reason))
        }
    };
    gathered.set(CARD_LOGON, works);
    gathered.set(CARD_PROBLEM, problem);
}

async fn tried(means: &Means<'_>) -> CardLogon {
    let Means { card, settings, .. } = *means;
    let pin = match &card.pin {
        None => None,
        Some(reference) => match read(reference).await {
            Ok(pin) => Some(pin),
            Err(reason) => return CardLogon::NotTried(reason),
        },
    };
    let workshop = match Workshop::for_card(means.target, card.anchors.as_deref()) {
        Ok(workshop) => workshop,
        Err(reason) => return CardLogon::NotTried(reason),
    };
    let identity = Some(card.identity.as_str());
    let mut outcome = CardLogon::NotTried("no logon was tried".to_owned());
    for _ in 0..CARD_ATTEMPTS {
        let logon = workshop
            .log_on(&settings.kinit, &card.principal, identity, pin.as_ref(), settings.child_timeout())
            .await;
        outcome = match logon {
            Ok(logon) => verdict::card(&logon),
            Err(reason) => CardLogon::NotTried(reason),
        };
        if !matches!(outcome, CardLogon::Unreadable(_)) {
            break;
        }
    }
    match outcome {
        CardLogon::Refused(_) if is_mixed_up(&card.identity).await => {
            CardLogon::NotTried("the card's key is not that of its certificate".to_owned())
        }
        outcome => outcome,
    }
}

/// Whether a card that is two files is made of two that do not belong together: a KDC refuses what it signs, and rightly.
async fn is_mixed_up(identity: &str) -> bool {
    let Some((certificate, key)) = identity.strip_prefix("FILE:").and_then(|files| files.split_once(','))
    else {
        return false;
    };
    let (certificate, key) = (PathBuf::from(certificate), PathBuf::from(key));
    let checked = tokio::task::spawn_blocking(move || {
        // what cannot be read here MIT's program could read
        Identity::load(&certificate, &key).is_ok_and(|identity| identity.check().is_err())
    });
    checked.await.unwrap_or(false)
}

async fn passwords(gathered: &mut Gathered, means: &Means<'_>, requires_card: &Fact) {
    let Some(reference) = &means.card.password else {
        let reason = "no password that must be refused is configured for the card's account";
        gathered.set_all(&[PASSWORD_LOGON, SIMPLE_BIND], &Fact::NotCollected(reason.to_owned()));
        return;
    };
    match read(reference).await {
        Ok(password) => {
            gathered.set(PASSWORD_LOGON, password_logon(means, &password, requires_card).await);
            gathered.set(SIMPLE_BIND, simple_bind(means, &password, requires_card).await);
        }
        Err(reason) => gathered.set_all(&[PASSWORD_LOGON, SIMPLE_BIND], &Fact::Failed(reason)),
    }
}

async fn password_logon(means: &Means<'_>, password: &Secret, requires_card: &Fact) -> Fact {
    let Means { target, card, settings, .. } = *means;
    let workshop = match Workshop::for_password(target) {
        Ok(workshop) => workshop,
        Err(reason) => return Fact::Failed(reason),
    };
    let patience = settings.child_timeout();
    match workshop.log_on(&settings.kinit, &card.principal, None, Some(password), patience).await {
        Ok(logon) => verdict::password(&logon, requires_card),
        Err(reason) => Fact::Failed(reason),
    }
}

async fn simple_bind(means: &Means<'_>, password: &Secret, requires_card: &Fact) -> Fact {
    let Some(controller) = means.controllers.reachable.first() else {
        return Fact::Failed("no controller could be reached".to_owned());
    };
    let patience = means.settings.for_probes();
    let mut directory = match Directory::open(controller, Arc::clone(means.tls), &patience).await {
        Ok(directory) => directory,
        Err(error) => return Fact::Failed(error.to_string()),
    };
    match directory.try_bind(&means.card.principal.to_lowercase(), password.expose()).await {
        Ok(outcome) => verdict::simple_bind(outcome.code, &outcome.text, requires_card),
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
