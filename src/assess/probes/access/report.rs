//! From what was sighted to facts: who holds what, who owns what, who may enrol.

use std::collections::{BTreeMap, BTreeSet};

use crate::assess::gathered::Gathered;
use crate::assess::probes::access::area::{Area, sid_of};
use crate::assess::probes::access::principal::{Kind, Power, Principal, Principals, is_everybody};
use crate::assess::probes::access::right::{Holding, Reach};
use crate::assess::probes::access::sight::{Seen, Sight, Sightings, first_name};
use crate::assess::probes::access::sweep::incomplete;
use crate::assess::probes::descriptor::sid_bytes;
use crate::assess::probes::logon::Session;
use crate::assess::probes::privileged::{Membership, Privileged};
use crate::assess::settings::Settings;
use crate::baseline::facts::{Collection, Fact, Record};
use crate::baseline::value::Value;
use crate::directory::request::{Scope, Search};
use crate::ldap::filter::Filter;

/// Collections that are made here.
pub const COLLECTIONS: [&str; 3] = ["access_rights", "owners", "privileged_principals"];
/// SIDs that one search asks for.
const BATCH: usize = 50;
/// The right to ask for a certificate.
const ENROL: &str = "enrol";

/// What is told of a right beside the object that it is about.
const HELD: [&str; 8] = [
    "principal",
    "principal_name",
    "principal_kind",
    "principal_privileged",
    "principal_rules",
    "principal_replicates",
    "rights",
    "applies_to",
];

/// What the collector works out for certificate templates.
#[derive(Debug, Clone, Default)]
pub struct Templates {
    /// By DN in lower case: who may enrol and is not privileged, by name.
    enrolled_by: BTreeMap<String, Fact>,
}

impl Templates {
    /// The fact of this name for the template of this DN.
    pub fn fact(&self, name: &str, dn: &str) -> Fact {
        let by = self.enrolled_by.get(&dn.to_lowercase()).cloned().unwrap_or(Fact::Hidden);
        match (name, by) {
            ("open_enrolment", Fact::Known(Value::Set(names))) => Fact::boolean(!names.is_empty()),
            (_, by) => by,
        }
    }
}

/// Gives every collection of [`COLLECTIONS`] as not read, for this reason.
pub fn failed(reason: &str) -> Gathered {
    let mut gathered = Gathered::default();
    for name in COLLECTIONS {
        gathered.facts.collections.insert(name.to_owned(), Collection::failed(reason));
    }
    gathered
}

/// Looks the strangers among the trustees and owners up, so that each has a name and a kind.
pub async fn resolve(
    session: &mut Session,
    settings: &Settings,
    privileged: &Privileged,
    sightings: &Sightings,
) -> Result<Principals, String> {
    let mut principals = Principals::new(privileged.domain.clone(), privileged.root.clone());
    let is = |dn: &str, sid: &str| {
        let groups = privileged.words(dn, Some(sid));
        (if groups.is_empty() { Kind::Ordinary } else { Kind::Privileged }, Power::of(&groups))
    };
    for group in privileged.groups.values() {
        let (kind, power) = is(&group.dn, &group.sid);
        principals.learn(&group.sid, &group.name, kind, power);
    }
    let strangers: BTreeSet<&str> = sids(sightings).filter(|sid| principals.wants(sid)).collect();
    let strangers: Vec<&str> = strangers.into_iter().collect();
    for batch in strangers.chunks(BATCH) {
        let equal = |sid: &&str| sid_bytes(sid).map(|bytes| Filter::equal("objectSid", bytes).into_owned());
        let any = Filter::Or(batch.iter().filter_map(equal).collect()).into_owned();
        let base = session.contexts.domain.clone();
        let search = Search::new(&base, Scope::Subtree, any, &["objectSid", "sAMAccountName"])
            .paged(settings.directory.page_size);
        let (entries, done) = session.directory.read(&search).await.map_err(|error| error.to_string())?;
        if !done.is_complete() {
            return Err(format!("the search for holders of rights ended with result code {}", done.code));
        }
        for entry in &entries {
            if let Some(sid) = sid_of(entry) {
                let name = entry.text("sAMAccountName").unwrap_or_else(|| first_name(&entry.dn));
                let (kind, power) = is(&entry.dn, &sid);
                principals.learn(&sid, name, kind, power);
            }
        }
    }
    Ok(principals)
}

fn sids(sightings: &Sightings) -> impl Iterator<Item = &str> {
    sightings.objects.iter().flat_map(|sight| {
        let (owner, holdings): (Option<&str>, &[Holding]) = match &sight.seen {
            Seen::Read { owner, holdings } => (owner.as_deref(), holdings),
            Seen::Hidden | Seen::Failed(_) => (None, &[]),
        };
        owner.into_iter().chain(holdings.iter().map(|holding| holding.sid.as_str()))
    })
}

/// The collections, and what is worked out for templates.
pub fn report(
    sightings: &Sightings,
    principals: &Principals,
    privileged: &Privileged,
) -> (Gathered, Templates) {
    let mut templates = Templates::default();
    let (mut rights, mut owners) = (Vec::new(), Vec::new());
    for sight in &sightings.objects {
        let area = area(sight, sightings, privileged);
        rights.extend(rights_of(sight, area, principals));
        owners.extend(owner_of(sight, area, principals));
        if area == Area::Template {
            templates.enrolled_by.insert(sight.dn.to_lowercase(), enrolled_by(sight, principals));
        }
    }
    let complete = match incomplete(sightings) {
        None => Fact::boolean(true),
        Some(reason) => Fact::Failed(reason),
    };
    let mut gathered = Gathered::default();
    let mut put = |name: &str, records: Vec<Record>, complete: &Fact| {
        let collection = Collection { records: records.into(), complete: complete.clone() };
        gathered.facts.collections.insert(name.to_owned(), collection);
    };
    put("access_rights", rights, &complete);
    put("owners", owners, &complete);
    put("privileged_principals", ruling(privileged), &Fact::boolean(true));
    (gathered, templates)
}

/// What an object is, now that it is known who is privileged and which policies are linked where.
fn area(sight: &Sight, sightings: &Sightings, privileged: &Privileged) -> Area {
    match sight.area {
        Area::Protected if !privileged.contains(&sight.dn, sight.sid.as_deref()) => Area::Place,
        Area::Protected if sight.group => Area::PrivilegedGroup,
        Area::Protected => Area::PrivilegedAccount,
        Area::Policy if sightings.linked.contains(&sight.dn.to_lowercase()) => Area::ControllerPolicy,
        other => other,
    }
}

fn object(sight: &Sight, area: Area, name: String) -> Record {
    Record::from([
        ("dn".to_owned(), Fact::Known(Value::Dn(sight.dn.clone()))),
        ("name".to_owned(), Fact::text(name)),
        ("object".to_owned(), Fact::text(sight.name.clone())),
        ("area".to_owned(), word(area.as_str())),
    ])
}

fn word(text: &str) -> Fact {
    Fact::Known(Value::Word(text.to_owned()))
}

fn rights_of(sight: &Sight, area: Area, principals: &Principals) -> Vec<Record> {
    let unread = |fact: Fact| {
        let mut record = object(sight, area, sight.name.clone());
        for name in HELD {
            record.insert(name.to_owned(), fact.clone());
        }
        vec![record]
    };
    let holdings = match &sight.seen {
        Seen::Hidden => return unread(Fact::Hidden),
        Seen::Failed(reason) => return unread(Fact::Failed(reason.clone())),
        Seen::Read { holdings, .. } => holdings,
    };
    holdings
        .iter()
        .filter(|holding| !area.is_plain() || is_everybody(&holding.sid))
        .map(|holding| (holding, principals.get(&holding.sid)))
        // they hold everything by what they are
        .filter(|(_, principal)| !matches!(principal.kind, Kind::System | Kind::Administrators))
        .map(|(holding, principal)| held(sight, area, holding, &principal))
        .collect()
}

fn held(sight: &Sight, area: Area, holding: &Holding, principal: &Principal) -> Record {
    let mut record = object(sight, area, format!("{} on {}", principal.name, sight.name));
    let below = holding.reach == Reach::Below;
    record.extend([
        ("principal".to_owned(), Fact::Known(Value::Sid(holding.sid.clone()))),
        ("principal_name".to_owned(), Fact::text(principal.name.clone())),
        ("principal_kind".to_owned(), word(principal.kind.as_str())),
        ("principal_privileged".to_owned(), Fact::boolean(principal.kind.is_privileged())),
        ("principal_rules".to_owned(), Fact::boolean(principal.power.rules)),
        ("principal_replicates".to_owned(), Fact::boolean(principal.power.replicates)),
        ("rights".to_owned(), Fact::set(holding.rights.iter().copied())),
        ("applies_to".to_owned(), word(if below { "below" } else { "object" })),
    ]);
    record
}

fn owner_of(sight: &Sight, area: Area, principals: &Principals) -> Option<Record> {
    let mut record = object(sight, area, sight.name.clone());
    let mut put = |owner: Fact, name: Fact, kind: Fact, privileged: Fact, rules: Fact| {
        record.extend([
            ("owner".to_owned(), owner),
            ("owner_name".to_owned(), name),
            ("owner_kind".to_owned(), kind),
            ("owner_privileged".to_owned(), privileged),
            ("owner_rules".to_owned(), rules),
        ]);
    };
    let mut same = |fact: &Fact| put(fact.clone(), fact.clone(), fact.clone(), fact.clone(), fact.clone());
    match &sight.seen {
        Seen::Hidden => same(&Fact::Hidden),
        Seen::Failed(reason) => same(&Fact::Failed(reason.clone())),
        Seen::Read { owner: None, .. } => same(&Fact::Hidden),
        Seen::Read { owner: Some(sid), .. } if area.is_plain() && !is_everybody(sid) => return None,
        Seen::Read { owner: Some(sid), .. } => {
            let principal = principals.get(sid);
            put(
                Fact::Known(Value::Sid(sid.clone())),
                Fact::text(principal.name),
                word(principal.kind.as_str()),
                Fact::boolean(principal.kind.is_privileged()),
                Fact::boolean(principal.power.rules),
            );
        }
    }
    Some(record)
}

/// Who may enrol and is not privileged.
fn enrolled_by(sight: &Sight, principals: &Principals) -> Fact {
    match &sight.seen {
        Seen::Hidden => Fact::Hidden,
        Seen::Failed(reason) => Fact::Failed(reason.clone()),
        Seen::Read { holdings, .. } => Fact::set(
            holdings
                .iter()
                .filter(|holding| holding.reach == Reach::Here && holding.rights.contains(ENROL))
                .map(|holding| principals.get(&holding.sid))
                .filter(|principal| !principal.kind.is_privileged())
                .map(|principal| principal.name),
        ),
    }
}

/// Members of the groups that rule the domain.
fn ruling(privileged: &Privileged) -> Vec<Record> {
    let record = |membership: &Membership| {
        let dn = membership.who.lower();
        let name = privileged.groups.get(&dn).map_or_else(|| first_name(&dn), |group| &group.name);
        Record::from([
            ("name".to_owned(), Fact::text(name)),
            ("dn".to_owned(), Fact::Known(Value::Dn(dn))),
            ("kind".to_owned(), word(membership.what.as_str())),
            ("groups".to_owned(), Fact::set(membership.groups.iter().copied())),
            ("direct".to_owned(), Fact::boolean(membership.direct)),
        ])
    };
    privileged.members().map(record).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const HELP: &str = "S-1-5-21-1-2-3-1105";

    fn sight(area: Area, seen: Seen) -> Sight {
        let dn = "CN=t,CN=Certificate Templates,DC=x".to_owned();
        Sight { dn, sid: None, name: "t".to_owned(), area, group: false, seen }
    }

    fn read(sid: &str, rights: &[&'static str]) -> Seen {
        let rights = rights.iter().copied().collect();
        let holding = Holding { sid: sid.to_owned(), reach: Reach::Here, rights };
        Seen::Read { owner: Some(HELP.to_owned()), holdings: vec![holding] }
    }

    fn made(sights: Vec<Sight>) -> (Gathered, Templates) {
        let sightings = Sightings { objects: sights, ended: 3, ..Sightings::default() };
        let mut principals = Principals::new("S-1-5-21-1-2-3".to_owned(), None);
        principals.learn(HELP, "help", Kind::Ordinary, Power::default());
        report(&sightings, &principals, &Privileged::default())
    }

    fn first(gathered: &Gathered, collection: &str) -> Record {
        gathered.facts.collections[collection].records.get(0).unwrap().to_record()
    }

    #[test]
    fn a_right_is_told_with_its_holder() {
        let (gathered, _) = made(vec![sight(Area::Domain, read(HELP, &["replicate-changes-all"]))]);
        let rights = &gathered.facts.collections["access_rights"];
        assert_eq!(rights.complete, Fact::boolean(true));
        let record = first(&gathered, "access_rights");
        assert_eq!(record["name"], Fact::text("help on t"));
        assert_eq!(record["principal_privileged"], Fact::boolean(false));
        assert_eq!(record["rights"], Fact::set(["replicate-changes-all"]));
        assert_eq!(first(&gathered, "owners")["owner_name"], Fact::text("help"));
    }

    #[test]
    fn those_who_hold_everything_by_right_are_left_out() {
        let (gathered, _) = made(vec![sight(Area::Domain, read("S-1-5-21-1-2-3-512", &["full-control"]))]);
        assert!(gathered.facts.collections["access_rights"].records.is_empty());
    }

    #[test]
    fn what_is_hidden_stays_unknown() {
        let failed = sight(Area::Template, Seen::Failed("malformed".to_owned()));
        let (gathered, templates) = made(vec![sight(Area::Domain, Seen::Hidden), failed]);
        let records: Vec<Record> =
            gathered.facts.collections["access_rights"].records.iter().map(|r| r.to_record()).collect();
        assert_eq!(records[0]["rights"], Fact::Hidden);
        assert_eq!(records[0]["area"], word("domain"));
        assert!(matches!(records[1]["principal_privileged"], Fact::Failed(_)));
        assert!(matches!(
            templates.fact("open_enrolment", "CN=T,CN=Certificate Templates,DC=x"),
            Fact::Failed(_)
        ));
        assert_eq!(templates.fact("open_enrolment", "CN=other,DC=x"), Fact::Hidden);
        assert_eq!(first(&gathered, "owners")["owner_privileged"], Fact::Hidden);
    }

    #[test]
    fn a_sweep_that_was_given_up_is_not_complete() {
        let sightings = Sightings { ended: 2, ..Sightings::default() };
        let (gathered, _) = report(&sightings, &Principals::default(), &Privileged::default());
        assert!(matches!(gathered.facts.collections["access_rights"].complete, Fact::Failed(_)));
    }

    #[test]
    fn who_may_enrol() {
        let (_, templates) = made(vec![sight(Area::Template, read(HELP, &["enrol"]))]);
        let fact = |name: &str| templates.fact(name, "CN=t,CN=Certificate Templates,DC=x");
        assert_eq!(fact("open_enrolment"), Fact::boolean(true));
        assert_eq!(fact("enrolled_by"), Fact::set(["help"]));
    }
}
