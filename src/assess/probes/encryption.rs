//! What the KDC offers our own account: encryption types one by one, proof before tickets, PKINIT, the time.

use std::collections::BTreeSet;

use crate::ambient::clock::Clock;
use crate::assess::gathered::{Gathered, Stopwatch};
use crate::assess::probes::kerberos::{Answer, ENCRYPTION_TYPES, Question, ask};
use crate::assess::settings::Settings;
use crate::assess::target::Target;
use crate::baseline::facts::Fact;
use crate::baseline::value::Value;

/// What it finds.
pub const NAMES: [&str; 4] =
    ["kerberos.etypes", "kerberos.preauth_required", "kerberos.pkinit_advertised", "kerberos.clock_skew"];

/// The facts `kerberos.*`, asked about `account` (`sAMAccountName`).
pub async fn probe(target: &Target, account: Option<&str>, settings: &Settings, clock: &Clock) -> Gathered {
    let mut gathered = Gathered::default();
    let watch = Stopwatch::start(clock);
    let outcome = match account {
        None => Err("our own account's name is not known, because it cannot be read".to_owned()),
        Some(account) => first_answer(target, account, settings, clock).await,
    };
    match outcome {
        Ok((kdc, answers)) => {
            record(&mut gathered, &answers);
            gathered.provenance.push(watch.provenance(
                "kerberos",
                "AS-REQ without credentials, one per type",
                &kdc,
            ));
        }
        Err(reason) => gathered.set_all(&NAMES, &Fact::Failed(reason)),
    }
    gathered
}

type Answers = Vec<(&'static str, Answer)>;

/// All encryption types at the first KDC that answers.
async fn first_answer(
    target: &Target,
    account: &str,
    settings: &Settings,
    clock: &Clock,
) -> Result<(String, Answers), String> {
    let mut reason = "no KDC is known".to_owned();
    for kdc in &target.kdcs {
        let question = Question { kdc, realm: &target.realm, account, patience: settings.probe_timeout() };
        match all_types(&question, clock).await {
            Ok(answers) => return Ok((kdc.clone(), answers)),
            Err(why) => reason = why,
        }
    }
    Err(reason)
}

async fn all_types(question: &Question<'_>, clock: &Clock) -> Result<Answers, String> {
    let mut answers = Vec::new();
    for (name, number) in ENCRYPTION_TYPES {
        answers.push((name, ask(question, number, clock).await?));
    }
    Ok(answers)
}

fn record(gathered: &mut Gathered, answers: &Answers) {
    let offered: BTreeSet<String> =
        answers.iter().filter(|(_, a)| a.offered).map(|(name, _)| (*name).to_owned()).collect();
    if offered.is_empty() {
        let fact = Fact::Failed("the KDC offers our own account no encryption type at all".to_owned());
        gathered.set_all(&NAMES, &fact);
    } else {
        gathered.set("kerberos.etypes", Fact::Known(Value::Set(offered)));
        let demands = answers.iter().filter_map(|(_, a)| a.preauth_required).all(|demands| demands);
        gathered.set("kerberos.preauth_required", Fact::boolean(demands));
        let pkinit = answers.iter().any(|(_, a)| a.pkinit_advertised);
        // the ways are named where proof is demanded, and nowhere else
        let asked = answers.iter().any(|(_, a)| a.preauth_required == Some(true));
        let silent = "the KDC gave a ticket without asking for proof, so it named no ways to prove";
        let told = if pkinit || asked { Fact::boolean(pkinit) } else { Fact::Failed(silent.to_owned()) };
        gathered.set("kerberos.pkinit_advertised", told);
    }
    let skew = answers.iter().filter_map(|(_, a)| a.skew).map(i64::abs).max();
    gathered.set(
        "kerberos.clock_skew",
        skew.map_or_else(|| Fact::Failed("the KDC did not tell the time".to_owned()), Fact::duration),
    );
}
