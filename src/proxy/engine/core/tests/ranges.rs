//! Attributes that a directory cuts into ranges come whole, or the result says that they do not.

use super::directories::OPEN;
use super::*;
use crate::ldap::filter::Assertion;
use crate::ldap::message::{Compare, ResultCode};

/// What a controller sends at once.
const AT_ONCE: usize = 3;

fn member_name(n: usize) -> String {
    format!("CN=M{n},OU=Staff,{LOCAL}")
}

fn group(name: &str) -> String {
    format!("CN={name},OU=Staff,{LOCAL}")
}

fn agreement() -> String {
    OPEN.replace("[uid, cn, sn, mail, description]", "[uid, cn, member, memberOf]")
}

/// A controller with groups, of which each has so many members.
struct Groups {
    sizes: Vec<(&'static str, usize)>,
    /// Questions for the rest, in order.
    asked: Vec<String>,
    /// What is done before the next answer about the rest.
    meanwhile: Vec<Meanwhile>,
}

#[derive(Clone, Copy, PartialEq)]
enum Meanwhile {
    Nothing,
    /// So many of the first members leave.
    Shrink(usize),
    Delete,
    /// The answer is this code.
    Fail(ResultCode),
    /// The range of the answer begins elsewhere.
    Lie,
}

impl Groups {
    fn of(sizes: &[(&'static str, usize)]) -> Groups {
        Groups { sizes: sizes.to_vec(), asked: Vec::new(), meanwhile: Vec::new() }
    }

    /// The group from value `from` on, as Active Directory sends it.
    fn entry(&self, name: &str, from: usize, lie: usize) -> Option<Entry> {
        let size = self.sizes.iter().find(|(known, _)| *known == name)?.1;
        let attribute = |description: String, values: Vec<Vec<u8>>| Attribute { description, values };
        let mut attributes = vec![
            attribute("objectClass".to_owned(), vec![b"group".to_vec()]),
            attribute("cn".to_owned(), vec![name.as_bytes().to_vec()]),
        ];
        let end = (from + AT_ONCE).min(size);
        let values = (from..end).map(|n| member_name(n).into_bytes()).collect();
        if size > AT_ONCE || from > 0 {
            let last = if end == size { "*".to_owned() } else { (end - 1 + lie).to_string() };
            attributes.push(attribute("member".to_owned(), Vec::new()));
            attributes.push(attribute(format!("member;range={}-{last}", from + lie), values));
        } else {
            attributes.push(attribute("member".to_owned(), values));
        }
        Some(Entry { dn: group(name), attributes })
    }

    fn serve(&mut self, rig: &mut Rig, upstream: usize) {
        loop {
            let questions = rig.asked(upstream);
            if questions.is_empty() {
                return;
            }
            for question in questions {
                self.answer(rig, upstream, &question);
            }
        }
    }

    fn answer(&mut self, rig: &mut Rig, upstream: usize, question: &[u8]) {
        let message = codec::decode(question, &Limits::from_directory()).unwrap();
        let (id, Wire::SearchRequest(search)) = (message.id, &message.operation) else { return };
        let from = search.attributes.iter().find_map(|a| a.strip_prefix("member;range=")?.strip_suffix("-*"));
        let Some(from) = from else {
            let names: Vec<_> = self.sizes.iter().map(|(name, _)| *name).collect();
            for name in names {
                rig.tell(upstream, id, Wire::SearchEntry(self.entry(name, 0, 0).unwrap().as_wire()));
            }
            return rig.tell(upstream, id, done());
        };
        assert_eq!((search.scope, search.attributes.len()), (Scope::Base, 1), "only the rest is asked for");
        assert!(message.controls.is_empty());
        self.asked.push(format!("{} {from}", search.base));
        let name = search.base.split(['=', ',']).nth(1).unwrap().to_owned();
        let mut lie = 0;
        let what = if self.meanwhile.is_empty() { Meanwhile::Nothing } else { self.meanwhile.remove(0) };
        match what {
            Meanwhile::Shrink(by) => self.sizes.iter_mut().for_each(|(_, size)| *size -= by),
            Meanwhile::Delete => self.sizes.retain(|(known, _)| *known != name),
            Meanwhile::Fail(code) => return rig.tell(upstream, id, Wire::SearchDone(Outcome::new(code, ""))),
            Meanwhile::Lie => lie = 1,
            Meanwhile::Nothing => {}
        }
        let from: usize = from.parse().unwrap();
        match self.entry(&name, from, lie) {
            Some(entry) if from < self.sizes.iter().find(|(known, _)| *known == name).unwrap().1 => {
                rig.tell(upstream, id, Wire::SearchEntry(entry.as_wire()));
                rig.tell(upstream, id, done());
            }
            Some(_) => rig.tell(upstream, id, done()),
            None => rig.tell(upstream, id, Wire::SearchDone(Outcome::new(ResultCode::NO_SUCH_OBJECT, ""))),
        }
    }
}

fn rig_with(settings: Settings) -> (Rig, usize, usize) {
    let mut rig = Rig::with(&["RXA"], None, &agreement(), settings);
    let client = rig.client();
    rig.search(client, 2, "(cn=none)");
    let upstream = rig.connect();
    rig.answer(upstream);
    rig.heard(client);
    (rig, client, upstream)
}

/// The entries that a client got, with the members of each, and the code.
fn result(rig: &mut Rig, client: usize) -> (Vec<(String, Vec<String>)>, ResultCode) {
    let bytes = rig.engine.client_output(client).map(std::mem::take).unwrap_or_default();
    let taken = bytes.len();
    rig.engine.client_written(client, taken, false);
    let (mut entries, mut code) = (Vec::new(), None);
    for bytes in messages(&bytes) {
        match codec::decode(&bytes, &Limits::from_directory()).unwrap().operation {
            Wire::SearchEntry(entry) => {
                let entry = entry.to_entry();
                assert!(entry.attributes.iter().all(|a| !a.description.contains(';')), "{entry:?}");
                let members = entry.texts("member").map(str::to_owned).collect();
                entries.push((entry.text("cn").unwrap().to_owned(), members));
            }
            Wire::SearchDone(outcome) => code = Some(outcome.code),
            other => panic!("{other:?}"),
        }
    }
    (entries, code.expect("a result"))
}

fn members(range: std::ops::Range<usize>) -> Vec<String> {
    range.map(|n| format!("CN=M{n},OU=Staff,ou=RXA,o=federation")).collect()
}

/// T62: of several entries those that are cut come whole; those that are not wait for nobody.
#[test]
fn ranges_are_read_to_their_end() {
    let (mut rig, client, upstream) = rig_with(Settings::default());
    let mut groups = Groups::of(&[("A", 2), ("B", 8), ("C", 4), ("D", 3)]);
    rig.search(client, 3, "(cn=*)");
    groups.serve(&mut rig, upstream);
    let (mut entries, code) = result(&mut rig, client);
    entries.sort();
    assert_eq!(code, ResultCode::SUCCESS);
    let expected = [("A", 2), ("B", 8), ("C", 4), ("D", 3)];
    assert_eq!(entries, expected.map(|(name, size)| (name.to_owned(), members(0..size))));
    let asked = [format!("{} 3", group("B")), format!("{} 6", group("B")), format!("{} 3", group("C"))];
    assert_eq!(groups.asked, asked);
    assert_eq!(rig.engine.counts(), (1, 0, 1), "nothing is left in flight");
}

/// The filter is held against the whole attribute, and so is an assertion.
#[test]
fn what_is_compared_is_whole() {
    let (mut rig, client, upstream) = rig_with(Settings::default());
    let mut groups = Groups::of(&[("A", 2), ("B", 8)]);
    rig.search(client, 3, "(member=cn=M7,ou=Staff,ou=RXA,o=federation)");
    groups.serve(&mut rig, upstream);
    let (entries, code) = result(&mut rig, client);
    assert_eq!(code, ResultCode::SUCCESS);
    assert!(entries.contains(&("B".to_owned(), members(0..8))), "{entries:?}");

    let mut groups = Groups::of(&[("B", 8)]);
    let value = &b"cn=M7,ou=Staff,ou=RXA,o=federation"[..];
    let dn = "cn=B,ou=Staff,ou=RXA,o=federation".into();
    rig.say(client, 4, Wire::CompareRequest(Compare { dn, assertion: Assertion::new("member", value) }));
    groups.serve(&mut rig, upstream);
    let heard = rig.heard(client);
    assert!(heard.len() == 1 && heard[0].contains("compareTrue"), "{heard:?}");
}

#[test]
fn what_changes_while_it_is_read_is_read_again() {
    for (meanwhile, expected, code) in [
        // It became shorter than what was read: from the beginning.
        (vec![Meanwhile::Nothing, Meanwhile::Shrink(4)], Some(4), ResultCode::SUCCESS),
        // It fits into one piece now.
        (vec![Meanwhile::Shrink(6)], Some(2), ResultCode::SUCCESS),
        (vec![Meanwhile::Lie, Meanwhile::Lie], Some(8), ResultCode::SUCCESS),
        (vec![Meanwhile::Fail(ResultCode::OPERATIONS_ERROR)], Some(8), ResultCode::SUCCESS),
        (vec![Meanwhile::Delete], None, ResultCode::SUCCESS),
        (vec![Meanwhile::Lie; 9], None, ResultCode::UNAVAILABLE),
        (vec![Meanwhile::Fail(ResultCode::BUSY); 9], None, ResultCode::UNAVAILABLE),
    ] {
        let (mut rig, client, upstream) = rig_with(Settings::default());
        let mut groups = Groups::of(&[("B", 8)]);
        groups.meanwhile = meanwhile;
        rig.search(client, 3, "(cn=*)");
        groups.serve(&mut rig, upstream);
        let (entries, ended) = result(&mut rig, client);
        let expected: Vec<_> = expected.map(|n| ("B".to_owned(), members(0..n))).into_iter().collect();
        assert_eq!((entries, ended), (expected, code), "{:?}", groups.asked);
        assert!(groups.asked.len() < 9, "it ends: {:?}", groups.asked);
    }
}

/// What is too much is not shown in part: the attribute is left out, and the result says so.
#[test]
fn ranges_have_limits() {
    let few = Settings { ranged_entries: 1, ..Settings::default() };
    let small = Settings { ranged_bytes: 200, ..Settings::default() };
    for (settings, expected) in [(few, [8, 0]), (small, [0, 0])] {
        let (mut rig, client, upstream) = rig_with(settings);
        let mut groups = Groups::of(&[("B", 8), ("C", 12)]);
        rig.search(client, 3, "(cn=*)");
        groups.serve(&mut rig, upstream);
        let (mut entries, code) = result(&mut rig, client);
        entries.sort();
        assert_eq!(code, ResultCode::ADMIN_LIMIT_EXCEEDED);
        let expected = ["B", "C"].into_iter().zip(expected.map(|n| members(0..n)));
        assert_eq!(entries, expected.map(|(name, all)| (name.to_owned(), all)).collect::<Vec<_>>());
    }
}

/// In pages and in order, of directories that page by themselves.
#[test]
fn ranges_in_pages() {
    let mut rig = Rig::with(&["RXA"], Some(2), &agreement(), Settings::default());
    let client = rig.client();
    rig.search(client, 2, "(cn=*)");
    let upstream = rig.connect();
    let mut groups = Groups::of(&[("A", 5), ("B", 8)]);
    groups.serve(&mut rig, upstream);
    let (entries, code) = result(&mut rig, client);
    assert_eq!(code, ResultCode::SUCCESS);
    let expected = [("A".to_owned(), members(0..5)), ("B".to_owned(), members(0..8))];
    assert_eq!(entries, expected);
}

/// A client that goes away, or an operation that ends, leaves nothing behind.
#[test]
fn nobody_waits_for_the_rest() {
    let (mut rig, client, upstream) = rig_with(Settings::default());
    let groups = Groups::of(&[("B", 8)]);
    rig.search(client, 3, "(cn=*)");
    let question = rig.asked(upstream).remove(0);
    let id = id_of(&question);
    rig.tell(upstream, id, Wire::SearchEntry(groups.entry("B", 0, 0).unwrap().as_wire()));
    rig.tell(upstream, id, done());
    assert_eq!(rig.questions(upstream).len(), 1, "the rest is asked for");
    rig.say(client, 4, Wire::AbandonRequest(3));
    assert_eq!(rig.engine.counts(), (1, 0, 1));
    assert!(short(&rig.asked(upstream)[0]).contains("abandon"));
    rig.search(client, 5, "(cn=*)");
    assert_eq!(rig.answer(upstream), 1);
    assert_eq!(rig.heard(client), ["5 done success (0)"]);
}
