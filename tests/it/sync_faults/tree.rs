//! A national directory's entries, and what a directory does and refuses: just what sync needs of one, held against a real one in
//! `sync_faults::differential`.

use std::collections::BTreeMap;

use portcullis::ldap::dn::Dn;
use portcullis::ldap::filter::Filter;

pub type Attributes = BTreeMap<String, Vec<String>>;

/// One entry. Attribute names are lower case.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    pub dn: String,
    pub attributes: Attributes,
    pub uuid: String,
    pub csn: String,
}

/// What one change of a modify does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    Add,
    Delete,
    Replace,
}

/// A request that writes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Write {
    Add { dn: String, attributes: Vec<(String, Vec<String>)> },
    Modify { dn: String, changes: Vec<(Kind, String, Vec<String>)> },
    Rename { dn: String, rdn: String, delete_old: bool, superior: Option<String> },
    Delete { dn: String },
}

/// What a write came to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Done {
    pub code: u32,
    pub before: Option<Entry>,
    pub after: Option<Entry>,
}

/// All entries, by the normal form of their names.
#[derive(Debug, Clone, Default)]
pub struct Tree {
    pub entries: BTreeMap<String, Entry>,
    count: u64,
    /// Refuses a second entry with one anchor, as slapd does with its overlay `unique`.
    pub unique_anchors: bool,
}

pub fn key(dn: &str) -> Option<String> {
    Dn::parse(dn).ok().map(|dn| dn.normal())
}

/// Values are compared without their case and with single spaces, as all attributes here are.
fn fold(value: &str) -> String {
    value.split_whitespace().collect::<Vec<_>>().join(" ").to_lowercase()
}

const SINGLE: &[&str] =
    &["portcullismember", "portcullisanchor", "portcullisstamp", "portcullisleftat", "employeenumber"];
const PERSON: &[&str] = &[
    "cn",
    "sn",
    "uid",
    "mail",
    "title",
    "telephonenumber",
    "employeenumber",
    "manager",
    "objectclass",
    "description",
    "userpassword",
    "displayname",
    "ou",
];
const EXTRA: &[&str] = &["portcullismember", "portcullisanchor", "portcullisstamp", "portcullisleftat"];

impl Entry {
    pub fn values(&self, name: &str) -> &[String] {
        self.attributes.get(name).map_or(&[], Vec::as_slice)
    }

    pub fn first(&self, name: &str) -> Option<&str> {
        self.values(name).first().map(String::as_str)
    }

    /// Whether a filter is true of it; none: a filter that this directory does not know.
    pub fn matches(&self, filter: &Filter<'_>) -> Option<bool> {
        Some(match filter {
            Filter::And(parts) => parts
                .iter()
                .map(|part| self.matches(part))
                .collect::<Option<Vec<_>>>()?
                .into_iter()
                .all(|one| one),
            Filter::Or(parts) => parts
                .iter()
                .map(|part| self.matches(part))
                .collect::<Option<Vec<_>>>()?
                .into_iter()
                .any(|one| one),
            Filter::Not(part) => !self.matches(part)?,
            Filter::Present(name) => {
                let name = name.to_lowercase();
                matches!(name.as_str(), "entryuuid" | "entrycsn") || !self.values(&name).is_empty()
            }
            Filter::Equality(item) => {
                let value = fold(std::str::from_utf8(&item.value).ok()?);
                self.shown(&item.attribute.to_lowercase()).iter().any(|one| fold(one) == value)
            }
            _ => return None,
        })
    }

    /// Values as a search sees them, what the server keeps itself included.
    pub fn shown(&self, name: &str) -> Vec<String> {
        match name {
            "entryuuid" => vec![self.uuid.clone()],
            "entrycsn" => vec![self.csn.clone()],
            _ => self.values(name).to_vec(),
        }
    }

    fn has(&self, name: &str, value: &str) -> bool {
        self.values(name).iter().any(|one| fold(one) == fold(value))
    }

    /// The result code for what the schema does not allow.
    fn schema(&self) -> u32 {
        let is = |class: &str| self.has("objectclass", class);
        let missing = |name: &str| self.values(name).is_empty();
        let structural = is("inetOrgPerson") || is("organizationalUnit");
        if missing("objectclass") || !structural {
            return 65;
        }
        if is("inetOrgPerson") && (missing("cn") || missing("sn")) {
            return 65;
        }
        if is("organizationalUnit") && missing("ou") {
            return 65;
        }
        if is("portcullisEntry") && (missing("portcullismember") || missing("portcullisanchor")) {
            return 65;
        }
        for (name, values) in &self.attributes {
            let name = name.as_str();
            let allowed = (is("inetOrgPerson") && PERSON.contains(&name))
                || (is("portcullisEntry") && EXTRA.contains(&name))
                || (is("organizationalUnit") && ["ou", "objectclass", "description"].contains(&name));
            if !allowed {
                return 65;
            }
            if SINGLE.contains(&name) && values.len() > 1 {
                return 19;
            }
        }
        let named = Dn::parse(&self.dn).ok().and_then(|dn| {
            let part = dn.rdn()?.parts().first()?.clone();
            Some((part.attribute.to_lowercase(), dn.rdn()?.text()?.to_owned()))
        });
        match named {
            Some((name, value)) if self.has(&name, &value) => 0,
            _ => 64,
        }
    }
}

fn twice(values: &[String]) -> bool {
    let folded: std::collections::BTreeSet<String> = values.iter().map(|value| fold(value)).collect();
    folded.len() < values.len()
}

impl Tree {
    /// With these entries above everybody.
    pub fn with(units: &[(&str, &[(&str, &str)])]) -> Tree {
        let mut tree = Tree::default();
        for (dn, attributes) in units {
            let mut all = Attributes::new();
            for (name, value) in *attributes {
                all.entry((*name).to_owned()).or_default().push((*value).to_owned());
            }
            let (uuid, csn) = (tree.uuid(), tree.csn());
            tree.entries.insert(key(dn).unwrap(), Entry { dn: (*dn).to_owned(), attributes: all, uuid, csn });
        }
        tree
    }

    fn uuid(&mut self) -> String {
        self.count += 1;
        uuid::Uuid::from_u128(0x1000_0000_0000 + u128::from(self.count)).to_string()
    }

    fn csn(&mut self) -> String {
        self.count += 1;
        format!("20261129000000.{:06}Z#000000#000#000000", self.count)
    }

    fn children(&self, at: &str) -> bool {
        let below = format!(",{at}");
        self.entries.keys().any(|key| key.ends_with(&below))
    }

    fn has_anchor(&self, anchor: &[String], at: &str) -> bool {
        let same = |entry: &Entry| !anchor.is_empty() && entry.values("portcullisanchor") == anchor;
        self.unique_anchors && self.entries.iter().any(|(key, entry)| key != at && same(entry))
    }

    /// Does it, or says why not.
    pub fn write(&mut self, write: &Write, assertion: Option<&Filter<'_>>) -> Done {
        let refuse = |code| Done { code, before: None, after: None };
        let dn = match write {
            Write::Add { dn, .. }
            | Write::Modify { dn, .. }
            | Write::Rename { dn, .. }
            | Write::Delete { dn } => dn,
        };
        let Ok(parsed) = Dn::parse(dn) else { return refuse(34) };
        let at = parsed.normal();
        if let Write::Add { attributes, .. } = write {
            return self.add(dn, &parsed, attributes);
        }
        let Some(before) = self.entries.get(&at).cloned() else { return refuse(32) };
        match assertion.map(|filter| before.matches(filter)) {
            Some(Some(false)) => return refuse(122),
            Some(None) => return refuse(12),
            _ => {}
        }
        let done = |after| Done { code: 0, before: Some(before.clone()), after };
        match write {
            Write::Add { .. } => unreachable!("done above"),
            Write::Delete { .. } if self.children(&at) => refuse(66),
            Write::Delete { .. } => {
                self.entries.remove(&at);
                done(None)
            }
            Write::Modify { changes, .. } => match modified(&before, changes) {
                Err(code) => refuse(code),
                Ok(after) if self.has_anchor(after.values("portcullisanchor"), &at) => refuse(19),
                Ok(mut after) => {
                    after.csn = self.csn();
                    self.entries.insert(at, after.clone());
                    done(Some(after))
                }
            },
            Write::Rename { rdn, delete_old, superior, .. } => {
                let up = match superior {
                    Some(superior) => Dn::parse(superior).ok(),
                    None => parsed.parent(),
                };
                let Some(up) = up else { return refuse(34) };
                if !self.entries.contains_key(&up.normal()) {
                    return refuse(32);
                }
                match self.renamed(&before, &at, rdn, *delete_old, &up) {
                    Err(code) => refuse(code),
                    Ok(after) => done(Some(after)),
                }
            }
        }
    }

    fn add(&mut self, dn: &str, parsed: &Dn, attributes: &[(String, Vec<String>)]) -> Done {
        let refuse = |code| Done { code, before: None, after: None };
        if self.entries.contains_key(&parsed.normal()) {
            return refuse(68);
        }
        if !parsed.parent().is_some_and(|up| self.entries.contains_key(&up.normal())) {
            return refuse(32);
        }
        let mut all = Attributes::new();
        for (name, values) in attributes {
            if twice(values) {
                return refuse(20);
            }
            all.insert(name.to_lowercase(), values.clone());
        }
        let entry = Entry { dn: dn.to_owned(), attributes: all, uuid: self.uuid(), csn: self.csn() };
        match entry.schema() {
            0 if self.has_anchor(entry.values("portcullisanchor"), &parsed.normal()) => refuse(19),
            0 => {
                self.entries.insert(parsed.normal(), entry.clone());
                Done { code: 0, before: None, after: Some(entry) }
            }
            code => refuse(code),
        }
    }

    fn renamed(
        &mut self,
        before: &Entry,
        at: &str,
        rdn: &str,
        delete_old: bool,
        up: &Dn,
    ) -> Result<Entry, u32> {
        let to = format!("{rdn},{up}");
        let parsed = Dn::parse(&to).map_err(|_| 34_u32)?;
        let there = parsed.normal();
        if there != at && self.entries.contains_key(&there) {
            return Err(68);
        }
        if up.normal() == at || up.normal().ends_with(&format!(",{at}")) {
            return Err(53);
        }
        let mut after = Entry { dn: to, ..before.clone() };
        let naming = |dn: &str| {
            let dn = Dn::parse(dn).unwrap();
            let part = dn.rdn().unwrap();
            (part.parts()[0].attribute.to_lowercase(), part.text().unwrap().to_owned())
        };
        let ((old, was), (new, value)) = (naming(&before.dn), naming(&after.dn));
        if delete_old && let Some(values) = after.attributes.get_mut(&old) {
            values.retain(|one| fold(one) != fold(&was));
            if values.is_empty() {
                after.attributes.remove(&old);
            }
        }
        if !after.has(&new, &value) {
            after.attributes.entry(new).or_default().push(value);
        }
        match after.schema() {
            0 => {}
            code => return Err(code),
        }
        after.csn = self.csn();
        self.entries.remove(at);
        self.entries.insert(there, after.clone());
        // what lies below it goes with it
        let old = Dn::parse(&before.dn).map_err(|_| 34_u32)?;
        let below = format!(",{at}");
        let moved: Vec<String> = self.entries.keys().filter(|key| key.ends_with(&below)).cloned().collect();
        for key in moved {
            let mut entry = self.entries.remove(&key).unwrap();
            let to = Dn::parse(&entry.dn).unwrap().strip_suffix(&old).unwrap().join(&parsed);
            entry.dn = to.to_string();
            self.entries.insert(to.normal(), entry);
        }
        Ok(after)
    }
}

fn modified(before: &Entry, changes: &[(Kind, String, Vec<String>)]) -> Result<Entry, u32> {
    let mut after = before.clone();
    for (kind, name, values) in changes {
        let name = name.to_lowercase();
        if *kind != Kind::Delete && twice(values) {
            return Err(20);
        }
        let held = after.attributes.entry(name.clone()).or_default();
        match kind {
            Kind::Add => {
                if values.is_empty() {
                    return Err(2);
                }
                if values.iter().any(|value| held.iter().any(|one| fold(one) == fold(value))) {
                    return Err(20);
                }
                held.extend(values.iter().cloned());
            }
            Kind::Delete if values.is_empty() => {
                if held.is_empty() {
                    return Err(16);
                }
                held.clear();
            }
            Kind::Delete => {
                if !values.iter().all(|value| held.iter().any(|one| fold(one) == fold(value))) {
                    return Err(16);
                }
                held.retain(|one| !values.iter().any(|value| fold(one) == fold(value)));
            }
            Kind::Replace => held.clone_from(values),
        }
        if after.attributes.get(&name).is_some_and(Vec::is_empty) {
            after.attributes.remove(&name);
        }
    }
    match after.schema() {
        0 => Ok(after),
        code => Err(code),
    }
}
