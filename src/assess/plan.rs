//! Which searches answer all that a baseline needs: reads of the same place are asked as one.

use std::collections::BTreeSet;

use crate::baseline::catalogue::needs;
use crate::baseline::compile::{Read, Requirements};
use crate::policy::documents::SearchScope;

/// One search, and the reads that it serves.
#[derive(Debug, Clone, PartialEq)]
pub struct PlannedSearch {
    /// May hold `{domain}`, `{domain_sid}`, `{configuration}`, `{schema}`, `{root}`, or be `{rootdse}`.
    pub base: String,
    pub scope: SearchScope,
    /// RFC 4515 text.
    pub filter: String,
    /// What the directory is asked for, sorted.
    pub attributes: Vec<String>,
    pub reads: Vec<Read>,
}

/// Merges the reads of `requirements` into few searches: same base, scope and filter are one search.
pub fn plan(requirements: &Requirements) -> Vec<PlannedSearch> {
    let mut searches: Vec<PlannedSearch> = Vec::new();
    for read in &requirements.reads {
        let filter = read.filter.clone().unwrap_or_else(|| "(objectClass=*)".to_owned());
        let same = |s: &&mut PlannedSearch| {
            s.base.eq_ignore_ascii_case(&read.base) && s.scope == read.scope && s.filter == filter
        };
        match searches.iter_mut().find(same) {
            Some(search) => search.reads.push(read.clone()),
            None => searches.push(PlannedSearch {
                base: read.base.clone(),
                scope: read.scope,
                filter,
                attributes: Vec::new(),
                reads: vec![read.clone()],
            }),
        }
    }
    for search in &mut searches {
        let names: BTreeSet<String> = search
            .reads
            .iter()
            .flat_map(|read| {
                let declared = read.attributes.values().map(|attribute| attribute.from.clone());
                let worked_out = read.computed.iter().flat_map(|short| needs(&read.name, short));
                declared.chain(worked_out.map(|name| (*name).to_owned()))
            })
            // offenders are told by name
            .chain(["name".to_owned()])
            .collect();
        search.attributes = names.into_iter().collect();
    }
    searches
}
