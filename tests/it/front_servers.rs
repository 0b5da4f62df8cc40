//! Several servers behind one mount, and one ill directory beside a good one, over real sockets.

use std::sync::Arc;
use std::time::{Duration, Instant};

use portcullis::ldap::message::{Operation, ResultCode, Scope};
use portcullis::proxy::settings::Settings;
use portcullis::proxy::snapshot::{Endpoint, Preference, Server, ServerTls};
use portcullis::secret::text::Secret;
use portcullis::tls::client::client_config;
use portcullis::tls::material::Anchors;

use crate::front_stage::{Client, Directory, Script, Stage, persons, search, silence};
use crate::sync_national::{ADMIN, NAME, PASSWORD, Pki, Slapd};

const PEOPLE: &str = "ou=people,ou=national,o=federation";
const MEMBER: &str = "ou=people,ou=RXA,o=federation";

fn settings() -> Settings {
    Settings {
        shards: 1,
        silence_milliseconds: 300,
        probe_milliseconds: 300,
        back_off_milliseconds: 2_000,
        ..Settings::default()
    }
}

fn people(client: &mut Client) -> ResultCode {
    client.search(PEOPLE, Scope::Subtree, "(sn=person)").code
}

/// One of two controllers binds everybody and then says nothing: all hundred clients are answered, and once it is
/// known, at once.
#[test]
fn a_hung_controller_of_two_costs_a_moment_once() {
    let stage = Stage::with(persons(1), settings());
    let hung = Directory::new(silence());
    stage.mount(&[&stage.directory, &hung], &[&stage.directory]);
    let mut clients: Vec<Client> = (0..100).map(|_| stage.client()).collect();
    let end = Instant::now() + Duration::from_secs(30);
    while stage.counter("portcullis_front_upstream_faults_total", "hung") < 1.0 {
        assert!(Instant::now() < end, "the hung controller was never found");
        let asked: Vec<i32> = clients
            .iter_mut()
            .map(|client| {
                client.send(Operation::SearchRequest(search(PEOPLE, Scope::Subtree, "(sn=person)")))
            })
            .collect();
        for (client, id) in clients.iter_mut().zip(asked) {
            assert_eq!(client.answer(id).code, ResultCode::SUCCESS);
        }
    }
    let began = Instant::now();
    for client in &mut clients {
        assert_eq!(people(client), ResultCode::SUCCESS);
    }
    assert!(began.elapsed() < Duration::from_millis(1_500), "{:?}", began.elapsed());
    assert!(stage.counter("portcullis_front_upstream_retries_total", "national") >= 1.0);
}

/// A controller that drops the connection on every question: nobody notices.
#[test]
fn a_controller_that_dies_is_replaced_by_the_other() {
    let stage = Stage::with(persons(1), settings());
    let dying: Arc<Script> = Arc::new(|_, _| false);
    let dying = Directory::new(dying);
    stage.mount(&[&dying, &stage.directory], &[&stage.directory]);
    let mut client = stage.client();
    for _ in 0..50 {
        assert_eq!(people(&mut client), ResultCode::SUCCESS);
    }
    // And one that is not there at all.
    let mut gone = Directory::new(silence());
    gone.address = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    stage.mount(&[&gone, &stage.directory], &[&stage.directory]);
    for _ in 0..50 {
        assert_eq!(people(&mut client), ResultCode::SUCCESS);
    }
}

/// A member that hangs gets as many questions as it may and then says `busy` at once; the national directory answers as
/// before.
#[test]
fn a_hung_member_is_full_and_nobody_else_notices() {
    let stage = Stage::with(
        persons(1),
        // a requester may have more there than there is room for
        Settings { mount_in_flight: 8, slow_questions_per_requester: 16, shards: 1, ..Settings::default() },
    );
    let hung = Directory::new(silence());
    stage.mount(&[&stage.directory], &[&hung]);
    let mut stuck: Vec<Client> = (0..8).map(|_| stage.client()).collect();
    for client in &mut stuck {
        client.send(Operation::SearchRequest(search(MEMBER, Scope::Subtree, "(sn=person)")));
    }
    let mut client = stage.client();
    let end = Instant::now() + Duration::from_secs(1);
    while hung.heard().len() < 8 {
        assert!(Instant::now() < end, "the questions never arrived");
        std::thread::sleep(Duration::from_millis(5));
    }
    let began = Instant::now();
    for _ in 0..20 {
        let member = client.search(MEMBER, Scope::Subtree, "(sn=person)");
        assert_eq!(member.code, ResultCode::BUSY, "{member:?}");
        assert_eq!(people(&mut client), ResultCode::SUCCESS);
    }
    assert!(began.elapsed() < Duration::from_secs(1), "{:?}", began.elapsed());
}

/// A directory of one server that stood still for so long that it was tried in vain several times answers again soon
/// after it goes on, and until then nobody waits for it for long.
#[test]
fn a_directory_that_stood_still_is_back_within_a_moment() {
    let pki = Pki::new();
    let Some(slapd) = Slapd::start("a_directory_that_stood_still_is_back_within_a_moment", &pki) else {
        return;
    };
    let quick = Settings { dial_milliseconds: 700, ..settings() };
    let stage = Stage::with(persons(1), Settings { back_off_milliseconds: 200, ..quick });
    let anchors = Anchors::load(&slapd.folder.path().join("ca.crt")).unwrap();
    let config = client_config(&anchors, None).unwrap();
    stage.mount_national(Endpoint {
        servers: vec![Server {
            address: format!("127.0.0.1:{}", slapd.port),
            tls: Some(ServerTls { name: NAME.try_into().unwrap(), config }),
            preference: Preference::default(),
        }],
        bind_name: ADMIN.to_owned(),
        password: Secret::new(PASSWORD.to_owned()),
        page_size: None,
    });
    let mut client = stage.client();
    for stopped in [4_000, 4_300, 4_600] {
        assert_eq!(people(&mut client), ResultCode::SUCCESS);
        slapd.signal("STOP");
        let began = Instant::now();
        while began.elapsed() < Duration::from_millis(stopped) {
            // a signal takes a moment to arrive
            let code = people(&mut client);
            assert!(code == ResultCode::UNAVAILABLE || began.elapsed() < Duration::from_secs(1), "{code}");
            std::thread::sleep(Duration::from_millis(20));
        }
        slapd.signal("CONT");
        let began = Instant::now();
        while people(&mut client) != ResultCode::SUCCESS {
            std::thread::sleep(Duration::from_millis(20));
        }
        println!("back after {:?}", began.elapsed());
        assert!(began.elapsed() < Duration::from_millis(2_500), "{:?}", began.elapsed());
    }
}
