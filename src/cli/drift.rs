//! `portcullis sync drift`: what others did to entries of ours in the national directory.

use std::collections::BTreeSet;

use clap::Args;
use serde_json::{Value, json};

use crate::cli::context::Context;
use crate::cli::failure::{Answer, Failure};
use crate::cli::sync::publisher::{Publisher, job};
use crate::cli::table::table;
use crate::policy::terms::OdsCode;
use crate::sync::running::member::Syncer;
use crate::sync::terms::error::SyncError;
use crate::sync::watching::drifting::{Compared, Found, compare};

/// What is looked at, and how much of it is shown.
#[derive(Debug, Args)]
pub struct Arguments {
    /// Only this member, or organisation whose people are registered by table; otherwise every federated member and all of those.
    pub member: Option<OdsCode>,
    /// Show what was published and what is there instead. These are people's data.
    #[arg(long)]
    pub values: bool,
}

/// Looks with `syncer`; writes nothing.
pub fn run(arguments: &Arguments, context: &Context, syncer: &Syncer) -> Result<Answer, Failure> {
    let mut publishers = match &arguments.member {
        Some(ods) => vec![Publisher::of(context, ods)?],
        None => Publisher::all(context)?,
    };
    if arguments.member.is_none() {
        publishers.retain(|one| match one {
            Publisher::Member(member) => member.state.may_federate(),
            Publisher::Organisation(_) => true,
        });
    }
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let runtime = runtime.map_err(Failure::could_not)?;
    let all = runtime.block_on(look(syncer, &publishers)).map_err(Failure::could_not)?;
    let none = all.iter().all(|one| one.drift.is_empty());
    let shown: Vec<Value> = all.iter().map(|one| shown(one, arguments.values)).collect();
    let by_table: BTreeSet<&OdsCode> =
        publishers.iter().filter(|one| one.registers()).map(Publisher::ods).collect();
    context.print(&shown, |_| told(&all, &by_table, arguments.values))?;
    Ok(if none { Answer::Yes } else { Answer::No })
}

async fn look(syncer: &Syncer, publishers: &[Publisher]) -> Result<Vec<Compared>, SyncError> {
    let mut all = Vec::with_capacity(publishers.len());
    for publisher in publishers {
        let job = job(syncer, publisher.ods()).await?;
        all.push(compare(&job, &syncer.hands.store, &syncer.hands.settings).await?);
    }
    Ok(all)
}

fn shown(compared: &Compared, values: bool) -> Value {
    let mut value = json!(compared);
    let drift = value.get_mut("drift").and_then(Value::as_array_mut);
    for one in drift.into_iter().flatten().filter(|_| !values) {
        let attributes = one.get_mut("attributes").and_then(Value::as_array_mut);
        for attribute in attributes.into_iter().flatten().filter_map(Value::as_object_mut) {
            attribute.remove("published");
            attribute.remove("found");
        }
    }
    value
}

fn told(all: &[Compared], by_table: &BTreeSet<&OdsCode>, values: bool) -> String {
    let mut text = String::new();
    for compared in all {
        let (member, count) = (&compared.member, compared.drift.len());
        if count == 0 {
            text.push_str(&format!("{member}: {} entries, all as published\n", compared.entries));
            continue;
        }
        text.push_str(&format!("{member}: {} entries, {count} not as published\n", compared.entries));
        let rows: Vec<[String; 5]> = compared.drift.iter().map(|one| row(one, values)).collect();
        text.push_str(&table(["what", "entry", "attributes", "by", "at"], &rows));
        if !compared.drift.iter().any(|one| one.drift.kind.is_mended()) {
            continue;
        }
        if by_table.contains(member) {
            text.push_str(&format!(
                "`portcullis register --organisation {member}` shows how this is mended, with `--apply` it mends it. Many at once wait for \
                 an approval.\n"
            ));
        } else {
            text.push_str(&format!(
                "`portcullis sync plan {member}` shows how this is mended, `portcullis sync run {member}` mends it; a gateway does so \
                 by itself with its next run. Many at once wait for an approval.\n"
            ));
        }
    }
    text
}

fn row(one: &Found, values: bool) -> [String; 5] {
    let attributes: Vec<String> = one
        .attributes
        .iter()
        .map(|attribute| match values {
            true => {
                format!("{}: {:?} instead of {:?}", attribute.attribute, attribute.found, attribute.published)
            }
            false => attribute.attribute.clone(),
        })
        .collect();
    let what = match &one.drift.named {
        Some(named) => format!("{} instead of {named}", one.drift.dn),
        None => one.drift.dn.clone(),
    };
    [
        one.drift.kind.as_str().to_owned(),
        what,
        attributes.join(", "),
        one.by.clone().unwrap_or_else(|| "-".to_owned()),
        one.at.clone().unwrap_or_else(|| "-".to_owned()),
    ]
}
