//! Single cases of the protocol, and a made-up directory that follows its rules, cut off anywhere.

use std::collections::BTreeMap;

use proptest::prelude::*;

use super::*;

fn uuid(number: u8) -> SyncUuid {
    SyncUuid([number; 16])
}

fn state(state: EntryState, number: u8) -> SyncState {
    SyncState { state, uuid: uuid(number), cookie: None }
}

fn names(content: &Content<u32>) -> BTreeMap<u8, u32> {
    content.iter().map(|(uuid, value)| (uuid.0[0], *value)).collect()
}

fn known(cookie: Option<&[u8]>) -> Content<u32> {
    let held = [(uuid(1), 10), (uuid(2), 20), (uuid(3), 30)].into_iter().collect();
    Content::kept(held, cookie.map(<[u8]>::to_vec))
}

const MODE: SyncMode = SyncMode::RefreshAndPersist;

#[test]
fn what_a_present_phase_does_not_mention_is_gone_and_only_at_its_end() {
    let mut content = known(Some(b"c"));
    assert_eq!(content.begin(MODE).cookie.as_deref(), Some(b"c".as_slice()));
    let set = SyncInfo::IdSet { cookie: None, refresh_deletes: false, uuids: vec![uuid(1)] };
    assert_eq!(content.info(set, &mut |_, _| ()), Ok(vec![]));
    content.entry(state(EntryState::Modify, 2), 21, &mut |_, _| ()).unwrap();
    // cut off here: nobody is gone
    let mut cut = content.clone();
    cut.begin(MODE);
    assert_eq!(names(&cut), BTreeMap::from([(1, 10), (2, 21), (3, 30)]));
    assert_eq!(cut.cookie(), Some(b"c".as_slice()));
    let mut gone = Vec::new();
    let end = SyncInfo::RefreshPresent { cookie: Some(b"d".to_vec()), done: true };
    let events = content.info(end, &mut |_, was| gone.push(was)).unwrap();
    assert_eq!(events, [Event::Gone(uuid(3)), Event::Refreshed]);
    assert_eq!((gone, content.cookie()), (vec![30], Some(b"d".as_slice())));
}

#[test]
fn what_a_delete_phase_does_not_mention_stays() {
    let mut content = known(Some(b"c"));
    content.begin(MODE);
    let set =
        SyncInfo::IdSet { cookie: Some(b"d".to_vec()), refresh_deletes: true, uuids: vec![uuid(1), uuid(9)] };
    assert_eq!(content.info(set, &mut |_, _| ()), Ok(vec![Event::Gone(uuid(1))]));
    assert_eq!(content.cookie(), Some(b"c".as_slice()), "it counts when all of it has come");
    let end = SyncInfo::RefreshDelete { cookie: None, done: true };
    assert_eq!(content.info(end, &mut |_, _| ()), Ok(vec![Event::Refreshed]));
    assert_eq!(names(&content), BTreeMap::from([(2, 20), (3, 30)]));
    assert_eq!(content.cookie(), Some(b"d".as_slice()));
}

#[test]
fn without_a_cookie_everything_else_is_gone_whatever_the_end_is_called() {
    for done in [
        SyncInfo::RefreshDelete { cookie: None, done: true },
        SyncInfo::RefreshPresent { cookie: None, done: true },
    ] {
        let mut content = known(None);
        assert_eq!(content.begin(MODE).cookie, None);
        content.entry(state(EntryState::Add, 2), 22, &mut |_, _| ()).unwrap();
        content.info(done, &mut |_, _| ()).unwrap();
        assert_eq!(names(&content), BTreeMap::from([(2, 22)]));
    }
}

#[test]
fn a_search_that_ends_gets_no_cookie_because_its_end_may_lie() {
    let mut content = known(Some(b"c"));
    assert_eq!(content.begin(SyncMode::RefreshOnly).cookie, None);
    content.entry(state(EntryState::Add, 1), 10, &mut |_, _| ()).unwrap();
    let done = SyncDone { cookie: Some(b"d".to_vec()), refresh_deletes: false };
    content.done(Some(done), &mut |_, _| ()).unwrap();
    assert_eq!(names(&content), BTreeMap::from([(1, 10)]));
}

#[test]
fn what_does_not_follow_is_lost() {
    let mut content = known(Some(b"c"));
    content.begin(MODE);
    assert_eq!(content.entry(state(EntryState::Present, 9), 0, &mut |_, _| ()), Err(Lost::Unknown));
    let set = SyncInfo::IdSet { cookie: None, refresh_deletes: false, uuids: vec![uuid(9)] };
    assert_eq!(content.info(set, &mut |_, _| ()), Err(Lost::Unknown));
    assert_eq!(content.clone().done(None, &mut |_, _| ()), Err(Lost::NotEnded));
    content.info(SyncInfo::RefreshDelete { cookie: None, done: true }, &mut |_, _| ()).unwrap();
    let again = SyncInfo::RefreshPresent { cookie: None, done: true };
    assert_eq!(content.info(again, &mut |_, _| ()), Err(Lost::Phase));
    assert_eq!(names(&content).len(), 3);
}

/// A message of the made-up directory.
#[derive(Debug, Clone)]
enum Said {
    Entry(SyncState, u32),
    Info(SyncInfo),
}

/// Entries with the number of the change that last touched them.
#[derive(Debug, Default)]
struct Provider {
    entries: BTreeMap<u8, u32>,
    gone: BTreeMap<u8, u32>,
    now: u32,
}

impl Provider {
    fn change(&mut self, number: u8, remove: bool) {
        self.now += 1;
        if remove && self.entries.remove(&number).is_some() {
            self.gone.insert(number, self.now);
        } else if !remove {
            self.entries.insert(number, self.now);
            self.gone.remove(&number);
        }
    }

    fn cookie(&self) -> Option<Vec<u8>> {
        Some(self.now.to_be_bytes().to_vec())
    }

    fn refresh(&self, cookie: Option<&[u8]>, present: bool) -> Vec<Said> {
        let since = cookie.map(|cookie| u32::from_be_bytes(cookie.try_into().unwrap()));
        let mut said = Vec::new();
        let unchanged = |at: u32| since.is_some_and(|since| at <= since);
        if !present && since.is_some() {
            let uuids = self.gone.iter().filter(|(_, at)| !unchanged(**at)).map(|(n, _)| uuid(*n)).collect();
            said.push(Said::Info(SyncInfo::IdSet { cookie: self.cookie(), refresh_deletes: true, uuids }));
        }
        for (number, at) in &self.entries {
            let one = match unchanged(*at) {
                false => EntryState::Add,
                true if present => EntryState::Present,
                true => continue,
            };
            said.push(Said::Entry(state(one, *number), *at));
        }
        let (cookie, done) = (self.cookie(), true);
        said.push(Said::Info(match present {
            true => SyncInfo::RefreshPresent { cookie, done },
            false => SyncInfo::RefreshDelete { cookie, done },
        }));
        said
    }
}

proptest! {
    #[test]
    fn however_often_it_is_cut_off_the_content_is_that_of_the_directory(
        rounds in proptest::collection::vec(
            (proptest::collection::vec((0_u8..12, any::<bool>()), 0..8), any::<bool>(), proptest::option::of(0_usize..12)),
            1..12,
        ),
    ) {
        let mut provider = Provider::default();
        let mut content = Content::<u32>::kept(HashMap::new(), None);
        for (changes, present, cut) in rounds {
            changes.into_iter().for_each(|(number, remove)| provider.change(number, remove));
            let before = names(&content);
            let asked = content.begin(MODE);
            let said = provider.refresh(asked.cookie.as_deref(), present);
            let whole = cut.is_none_or(|cut| cut >= said.len());
            for message in said.into_iter().take(cut.unwrap_or(usize::MAX)) {
                match message {
                    Said::Entry(state, value) => { content.entry(state, value, &mut |_, _| ()).unwrap(); }
                    Said::Info(info) => { content.info(info, &mut |_, _| ()).unwrap(); }
                }
            }
            prop_assert_eq!(content.is_refreshed(), whole);
            if whole {
                prop_assert_eq!(&names(&content), &provider.entries);
                let cookie = provider.cookie();
                prop_assert_eq!(content.cookie(), cookie.as_deref());
            }
            // an interruption makes nobody vanish who is there
            for number in before.keys().filter(|number| provider.entries.contains_key(number)) {
                prop_assert!(names(&content).contains_key(number));
            }
        }
    }
}
