//! `portcullis sync quarantine`: everything that is held back.

use std::collections::{BTreeMap, BTreeSet};

use serde::Serialize;
use time::OffsetDateTime;

use crate::assess::report::csv::field;
use crate::cli::context::Context;
use crate::cli::failure::{Answer, Failure};
use crate::cli::sync::publisher::Publisher;
use crate::cli::table::{day, moment, table};
use crate::policy::terms::{OdsCode, Party};
use crate::sync::keeping::shelf::json;
use crate::sync::running::ledger::{Aged, QUARANTINE, REASONS, mends};
use crate::sync::running::report::Report;
use crate::sync::running::run::LAST_REPORT;
use crate::sync::terms::guid::Guid;

/// Organisations without a directory that are told one by one though nothing is held back; `--json` has all.
const TABLES_TOLD: usize = 10;

/// One that is held back.
#[derive(Debug, Serialize)]
struct Held {
    member: OdsCode,
    guid: Guid,
    /// Its local name; none when it is not known any more, or where there is no directory.
    dn: Option<String>,
    /// Where people come from a table, the key of the row.
    #[serde(skip_serializing_if = "Option::is_none")]
    local_id: Option<String>,
    /// The attribute; none: the whole person.
    attribute: Option<String>,
    code: String,
    /// What to do.
    text: String,
    /// Whose it is to mend.
    mends: Option<Party>,
    #[serde(with = "time::serde::rfc3339")]
    since: OffsetDateTime,
    days: i64,
}

/// What is answered.
#[derive(Debug, Serialize)]
struct Answered {
    held: Vec<Held>,
    /// By member and reason.
    counts: BTreeMap<OdsCode, BTreeMap<String, u64>>,
    /// When each member was last looked at; one that never was has nothing to say.
    seen: BTreeMap<OdsCode, Option<String>>,
    /// Those of them whose people come from tables.
    #[serde(skip)]
    by_table: BTreeSet<OdsCode>,
}

/// Lists it.
pub fn go(
    context: &Context,
    member: Option<&OdsCode>,
    reason: Option<&str>,
    csv: bool,
) -> Result<Answer, Failure> {
    if csv && context.json {
        return Err(Failure::could_not("--csv and --json cannot be used together: choose one"));
    }
    if let Some(reason) = reason.filter(|reason| !REASONS.iter().any(|(known, _)| known == reason)) {
        let known: Vec<&str> = REASONS.iter().map(|(known, _)| *known).collect();
        return Err(Failure::could_not(format!(
            "nobody is held back for `{reason}`: use one of {}",
            known.join(", ")
        )));
    }
    let store = context.store()?;
    let publishers = match member {
        Some(ods) => vec![Publisher::of(context, ods)?],
        None => Publisher::all(context)?,
    };
    let now = context.clock.now();
    let by_table = publishers.iter().filter(|one| one.registers()).map(|one| one.ods().clone()).collect();
    let mut answered =
        Answered { held: Vec::new(), counts: BTreeMap::new(), seen: BTreeMap::new(), by_table };
    for publisher in &publishers {
        let ods = publisher.ods();
        let last: Option<Report> = json(store.as_ref(), ods, LAST_REPORT).map_err(Failure::could_not)?;
        answered.seen.insert(ods.clone(), last.map(|last| moment(last.ended_at)));
        let aged: Option<Vec<Aged>> = json(store.as_ref(), ods, QUARANTINE).map_err(Failure::could_not)?;
        for Aged { held, since } in aged.unwrap_or_default() {
            if reason.is_some_and(|reason| reason != held.code) {
                continue;
            }
            let counts = answered.counts.entry(ods.clone()).or_default();
            *counts.entry(held.code.clone()).or_insert(0) += 1;
            answered.held.push(Held {
                member: ods.clone(),
                dn: publisher.dn(store, &held.guid),
                local_id: publisher.local_id(store, &held.guid),
                guid: held.guid,
                attribute: held.attribute,
                mends: mends(&held.code),
                code: held.code,
                text: held.text,
                since,
                days: (now - since).whole_days(),
            });
        }
    }
    answered.held.sort_by_key(|held| (held.member.clone(), held.since, held.guid));
    if csv {
        context.coloured(lines(&answered.held).trim_end())?;
    } else {
        context.print(&answered, text)?;
    }
    Ok(if answered.held.is_empty() { Answer::Yes } else { Answer::No })
}

fn whose(held: &Held) -> &'static str {
    held.mends.map_or("unknown", Party::as_str)
}

fn who(held: &Held) -> String {
    let registered = held.local_id.as_ref().map(|id| format!("local_id {id}"));
    registered.or_else(|| held.dn.clone()).unwrap_or_else(|| held.guid.to_string())
}

fn text(answered: &Answered) -> String {
    let mut out = String::new();
    if !answered.held.is_empty() {
        let rows: Vec<[String; 7]> = answered
            .held
            .iter()
            .map(|held| {
                [
                    held.member.to_string(),
                    held.code.clone(),
                    held.attribute.clone().unwrap_or_else(|| "(person)".to_owned()),
                    format!("{} ({} d)", day(held.since), held.days),
                    whose(held).to_owned(),
                    who(held),
                    held.text.clone(),
                ]
            })
            .collect();
        out.push_str(&table(["member", "reason", "what", "since", "mends", "who", "what to do"], &rows));
        out.push('\n');
    }
    let quiet = |ods: &OdsCode| answered.by_table.contains(ods) && !answered.counts.contains_key(ods);
    let many = answered.by_table.iter().filter(|ods| quiet(ods)).count();
    if many > TABLES_TOLD {
        out.push_str(&format!("{many} organisations that register by table: nothing held back\n"));
    }
    for (member, seen) in answered.seen.iter().filter(|(ods, _)| many <= TABLES_TOLD || !quiet(ods)) {
        let counts = answered.counts.get(member).cloned().unwrap_or_default();
        let total: u64 = counts.values().sum();
        let each: Vec<String> = counts.iter().map(|(code, count)| format!("{count} {code}")).collect();
        let seen = seen.as_ref().map_or("it never ran".to_owned(), |at| format!("as of {at}"));
        let each = if each.is_empty() { String::new() } else { format!(" ({})", each.join(", ")) };
        out.push_str(&format!("{member}: {total} held back{each}, {seen}\n"));
    }
    out
}

fn lines(held: &[Held]) -> String {
    let mut out = String::from("member,reason,what,since,days,mends,guid,dn,what_to_do,local_id\r\n");
    for one in held {
        let fields = [
            one.member.as_str(),
            &one.code,
            one.attribute.as_deref().unwrap_or("person"),
            &moment(one.since),
            &one.days.to_string(),
            whose(one),
            &one.guid.to_string(),
            one.dn.as_deref().unwrap_or_default(),
            &one.text,
            one.local_id.as_deref().unwrap_or_default(),
        ];
        out.push_str(&fields.map(field).join(","));
        out.push_str("\r\n");
    }
    out
}
