use time::macros::datetime;

use super::*;
use crate::namespace::index::Probe;
use crate::store::record::{StagedObject, StagedPage};
use crate::store::settings::Settings;
use crate::store::sqlite::store::SqliteStore;

const NOW: time::OffsetDateTime = datetime!(2026-11-24 12:00 UTC);

struct Bench {
    _folder: tempfile::TempDir,
    store: SqliteStore,
    member: OdsCode,
    indexes: Indexes,
    populations: Vec<Population>,
}

fn population(key: &str, entries: &str, reserve: Option<Reserve>) -> Population {
    Population { key: key.into(), entries: Some(Filter::parse(entries).unwrap()), reserve }
}

impl Bench {
    fn new() -> Bench {
        let folder = tempfile::tempdir().unwrap();
        let store = SqliteStore::open(folder.path(), &Settings::default()).unwrap();
        let populations = vec![population("all", "(objectClass=inetOrgPerson)", None)];
        let member = "RXA".parse().unwrap();
        Bench { _folder: folder, store, member, indexes: Indexes::default(), populations }
    }

    fn keep(&self, objects: &[(u8, &str)], values: &[(&str, Option<&str>)]) {
        let lease =
            self.store.acquire_lease("sync/RXA", "test", NOW, Duration::from_secs(60)).unwrap().unwrap();
        let put = objects.iter().map(|(number, document)| {
            let guid = format!("{number:032x}");
            let document = document.replace("GUID", &uuid::Uuid::parse_str(&guid).unwrap().to_string());
            StagedObject { guid: [*number; 16], parent: None, pass: 1, document: document.into_bytes() }
        });
        let values =
            values.iter().map(|(key, value)| ((*key).to_owned(), value.map(|v| v.as_bytes().to_vec())));
        let page = StagedPage { put: put.collect(), forget: Vec::new(), values: values.collect() };
        self.store.apply_page(&self.member, &lease, NOW, &page).unwrap();
    }

    fn refresh(&self) -> bool {
        let mapping = Mapping::active_directory("ou=RXA,o=federation", "DC=rxa,DC=test").unwrap();
        let one = Indexable { member: self.member.clone(), mapping };
        self.indexes.refresh(&self.store, &[one], &self.populations, &|| false)
    }

    fn may_hold(&self, attribute: Indexed, value: &str) -> bool {
        self.may_hold_of("all", attribute, value)
    }

    fn may_hold_of(&self, population: &str, attribute: Indexed, value: &str) -> bool {
        let indexes = self.indexes.get(&self.member);
        let (_, index) = indexes.iter().find(|(of, _)| **of == *population).expect("there is no index");
        index.may_hold(&Probe::equal(attribute, value.as_bytes()).unwrap())
    }

    fn read_at(&self) -> Option<i64> {
        self.indexes.get(&self.member).first().map(|(_, index)| index.read_at())
    }
}

const ANN: &str = r#"{"guid":"GUID","parent":null,"rdn":"CN=Ann","attributes":{"objectclass":["top","user"],"name":["Ann"],"sn":["Smith"],"mail":["ann@rxa.test"]}}"#;
const ASKED: &str = r#"["cn","sn","mail","samaccountname","name","objectclass","employeetype"]"#;

#[test]
fn an_index_is_as_old_as_what_was_read() {
    let bench = Bench::new();
    assert!(!bench.refresh() && bench.read_at().is_none());
    // while a first pass is under way not everything is there
    bench.keep(&[(1, ANN)], &[(shelf::ASKED, Some(ASKED)), (shelf::READ_AT, Some("100"))]);
    assert!(!bench.refresh());
    bench.keep(&[], &[(shelf::COMPLETE_AT, Some("100")), (shelf::CHANGED, Some("1"))]);
    assert!(bench.refresh());
    assert!(bench.may_hold(Indexed::Sn, "smith") && !bench.may_hold(Indexed::Sn, "jones"));
    assert!(bench.may_hold(Indexed::Cn, "ann") && !bench.may_hold(Indexed::Cn, "bob"));
    assert!(bench.may_hold(Indexed::GivenName, "bob"), "what sync does not read is not known");
    assert_eq!(bench.read_at(), Some(100));
    assert!(!bench.refresh(), "nothing was read since");
    // read again without a change: younger, not built anew
    bench.keep(&[], &[(shelf::READ_AT, Some("160"))]);
    assert!(bench.refresh());
    assert_eq!(bench.read_at(), Some(160));
    // changed: for a while the index keeps its age
    let bob = ANN.replace("Ann", "Bob").replace("Smith", "Jones");
    bench.keep(&[(2, &bob)], &[(shelf::READ_AT, Some("220")), (shelf::CHANGED, Some("2"))]);
    assert!(!bench.refresh());
    assert_eq!(bench.read_at(), Some(160));
}

#[test]
fn what_is_not_whole_makes_no_index() {
    let bench = Bench::new();
    let values = [
        (shelf::ASKED, Some(ASKED)),
        (shelf::READ_AT, Some("100")),
        (shelf::COMPLETE_AT, Some("100")),
        (shelf::CHANGED, Some("1")),
    ];
    bench.keep(&[(1, ANN)], &values);
    assert!(bench.refresh());
    bench.keep(&[], &[(shelf::COMPLETING, Some("2"))]);
    assert!(bench.refresh() && bench.read_at().is_none());
    let partial = ANN.replace("\"rdn\"", "\"partial\":true,\"rdn\"");
    bench.keep(&[(2, &partial)], &[(shelf::COMPLETING, None)]);
    assert!(!bench.refresh() && bench.read_at().is_none());
    // a member that left has none
    bench.keep(&[(2, ANN)], &[]);
    assert!(bench.refresh() && bench.read_at().is_some());
    bench.indexes.refresh(&bench.store, &[], &bench.populations, &|| false);
    assert!(bench.read_at().is_none());
}

/// How many members a search asks can be noticed: who does not exist for a population leaves no trace in its index.
#[test]
fn people_who_do_not_exist_for_a_population_are_not_in_its_index() {
    let mut bench = Bench::new();
    let contact = Reserve {
        attribute: "employeeType".to_owned(),
        values: vec!["no-contact".to_owned()],
        contact: vec!["mail".to_owned()],
    };
    let listed = "(&(objectClass=inetOrgPerson)(!(employeeType=not-listed)))";
    bench.populations.push(population("listed", listed, Some(contact)));
    bench.populations.push(population("unknown", "(!(notListed=TRUE))", None));
    let with = |level: &str| ANN.replace("\"sn\"", &format!("\"employeetype\":[\"{level}\"],\"sn\""));
    let hidden = with("Not-Listed").replace("Smith", "Hidden").replace("ann@", "hidden@");
    let reserved = with("No-Contact").replace("Smith", "Quiet").replace("ann@", "quiet@");
    let values = [
        (shelf::ASKED, Some(ASKED)),
        (shelf::READ_AT, Some("100")),
        (shelf::COMPLETE_AT, Some("100")),
        (shelf::CHANGED, Some("1")),
    ];
    bench.keep(&[(1, ANN), (2, &hidden), (3, &reserved)], &values);
    assert!(bench.refresh());
    for (population, surname, mail, holds) in [
        ("all", "hidden", "hidden@rxa.test", (true, true)),
        ("listed", "hidden", "hidden@rxa.test", (false, false)),
        ("all", "quiet", "quiet@rxa.test", (true, true)),
        ("listed", "quiet", "quiet@rxa.test", (true, false)),
        ("listed", "smith", "ann@rxa.test", (true, true)),
    ] {
        let held = (
            bench.may_hold_of(population, Indexed::Sn, surname),
            bench.may_hold_of(population, Indexed::Mail, mail),
        );
        assert_eq!(held, holds, "{surname} among {population}");
    }
    // sync does not read what says who belongs to it
    assert!(bench.indexes.get(&bench.member).iter().all(|(of, _)| **of != *"unknown"));
    // another policy: other populations, built at once
    bench.populations.pop();
    assert!(bench.refresh() && !bench.refresh());
}
