//! Paged and sorted searches of several requesters.

use crate::ldap::control::Control;
use crate::ldap::message::{Message, Operation as Wire};
use crate::ldap::typed_control::{PagedResults, Sort, SortKey};
use crate::proxy::engine::core::tests::{Rig, done, id_of, person, search, short, wide};
use crate::proxy::settings::Settings;

fn sort() -> Control<'static> {
    Sort(vec![SortKey { attribute: "cn".to_owned(), rule: None, reverse: false }]).control(true)
}

fn page(cookie: &[u8]) -> Control<'static> {
    PagedResults { size: 1, cookie: cookie.to_vec() }.control(true)
}

/// Answers every question with two people, and with more to come when it was asked for pages.
fn serve(rig: &mut Rig) {
    let endpoint = rig.snapshot.mounts.values().next().unwrap().endpoint.clone();
    for _ in 0..4 {
        for upstream in rig.dialled.clone() {
            if rig.engine.is_dialling(upstream, &endpoint) {
                rig.bind(upstream);
            }
            for message in rig.asked(upstream) {
                if !short(&message).contains(" search ") {
                    continue;
                }
                let id = id_of(&message);
                let paged = message.windows(22).any(|bytes| bytes == b"1.2.840.113556.1.4.319");
                for name in ["ann", "bob"] {
                    rig.tell(upstream, id, Wire::SearchEntry(person(name).as_wire()));
                }
                let controls = if paged { vec![page(b"more")] } else { Vec::new() };
                let last = Message { id, operation: done(), controls };
                rig.engine.upstream_bytes(upstream, &crate::ldap::codec::to_bytes(&last));
            }
        }
        rig.turn(1_000);
    }
}

/// Begins so many paged searches on connections of `fingerprint`, and leaves them; how each was answered.
fn begin(rig: &mut Rig, fingerprint: &str, many: usize, sorted: bool) -> Vec<String> {
    let mut ends = Vec::new();
    for n in 0..many {
        let client = rig.client_as(fingerprint);
        let mut controls = vec![page(b"")];
        controls.extend(sorted.then(sort));
        rig.request(client, 2, Wire::SearchRequest(search(&format!("(cn={fingerprint}{n}*)"))), controls);
        serve(rig);
        ends.extend(rig.heard(client).pop());
    }
    ends
}

fn good(ends: &[String]) -> usize {
    ends.iter().filter(|end| end.ends_with("success (0)")).count()
}

#[test]
fn nobody_holds_all_places_at_a_directory() {
    let mut rig = Rig::with(&["RXA"], Some(500), &wide(), Settings::default());
    let places = Settings::default().walks_per_upstream
        * (Settings::default().upstreams + Settings::default().walk_upstreams);
    let ends = begin(&mut rig, "bb", places + 10, false);
    assert_eq!(good(&ends), places, "as long as nobody else wants them: {:?}", ends.last());
    let ends = begin(&mut rig, "aa", places, false);
    assert_eq!(good(&ends), places / 2, "{:?}", ends.last());
    let ends = begin(&mut rig, "bb", 5, false);
    assert_eq!(good(&ends), 0, "they have as many as others");
}

#[test]
fn nobody_holds_all_sorted_results() {
    let settings = Settings { sorts: 12, sorts_per_requester: 12, ..Settings::default() };
    let mut rig = Rig::with(&["RXA"], None, &wide(), settings);
    assert_eq!(good(&begin(&mut rig, "bb", 20, true)), 12);
    assert_eq!(good(&begin(&mut rig, "aa", 20, true)), 6);
    let settings = Settings { sorts: 12, sorts_per_requester: 5, ..Settings::default() };
    let mut rig = Rig::with(&["RXA"], None, &wide(), settings);
    assert_eq!(good(&begin(&mut rig, "bb", 20, true)), 5);
    assert_eq!(good(&begin(&mut rig, "aa", 20, true)), 5);
}

#[test]
fn nobody_holds_all_paged_searches_of_a_shard() {
    let settings = Settings { walks: 8, ..Settings::default() };
    let mut rig = Rig::with(&["RXA"], Some(500), &wide(), settings);
    assert_eq!(good(&begin(&mut rig, "bb", 10, false)), 8);
    assert_eq!(good(&begin(&mut rig, "aa", 10, false)), 4);
    let settings = Settings { walks: 8, walks_per_requester: 3, ..Settings::default() };
    let mut rig = Rig::with(&["RXA"], Some(500), &wide(), settings);
    assert_eq!(good(&begin(&mut rig, "bb", 10, false)), 3);
}
