//! Directories that hang, lie, nest, cut short or never end: the deadline holds, facts are failed, nothing panics.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::{Duration, Instant};

use portcullis::ambient::clock::Clock;
use portcullis::assess::collect::collect;
use portcullis::assess::probes::discovery;
use portcullis::assess::settings::Settings;
use portcullis::assess::target::Target;
use portcullis::baseline::compile::Requirements;
use portcullis::baseline::facts::Fact;
use portcullis::directory;
use portcullis::directory::client::Directory;
use portcullis::directory::endpoint::{Endpoint, Transport};
use portcullis::directory::error::DirectoryError;
use portcullis::directory::request::{Credential, Scope, Search};
use portcullis::ldap::filter::Filter;
use portcullis::secret::reference::SecretReference;
use portcullis::secret::text::Secret;
use portcullis::tls::client::client_config;
use portcullis::tls::material::Anchors;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

fn authority() -> rcgen::Certificate {
    let key = rcgen::KeyPair::generate().unwrap();
    let mut parameters = rcgen::CertificateParams::new(Vec::new()).unwrap();
    parameters.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
    parameters.self_signed(&key).unwrap()
}

/// A server that does `answer` with each connection.
async fn server<F, A>(answer: A) -> Endpoint
where
    A: Fn(TcpStream) -> F + Send + 'static,
    F: Future<Output = ()> + Send + 'static,
{
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            tokio::spawn(answer(stream));
        }
    });
    Endpoint { host: "127.0.0.1".to_owned(), port, tls_name: None, transport: Transport::Plain }
}

fn settings() -> directory::settings::Settings {
    directory::settings::Settings { connect_seconds: 1, answer_seconds: 1, ..Default::default() }
}

async fn bind(endpoint: &Endpoint) -> Result<Directory, DirectoryError> {
    let anchors = Anchors::from_der(vec![authority().der().clone()]).unwrap();
    let tls = client_config(&anchors, None).unwrap();
    let credential =
        Credential::Simple { name: "cn=us".to_owned(), password: Secret::new("secret".to_owned()) };
    Directory::connect(endpoint, tls, &credential, &settings()).await
}

/// What a client makes of a server that answers a bind with these bytes and then waits.
async fn after(bytes: Vec<u8>) -> DirectoryError {
    let bytes = Arc::new(bytes);
    let endpoint = server(move |mut stream| {
        let bytes = Arc::clone(&bytes);
        async move {
            let _ = stream.read(&mut [0; 1024]).await;
            let _ = stream.write_all(&bytes).await;
            tokio::time::sleep(Duration::from_secs(30)).await;
        }
    })
    .await;
    let began = Instant::now();
    let error = bind(&endpoint).await.expect_err("a hostile server must not be believed");
    assert!(began.elapsed() < Duration::from_secs(4), "{error}");
    error
}

fn nested(depth: usize) -> Vec<u8> {
    let mut bytes: Vec<u8> = Vec::new();
    for _ in 0..depth {
        let length = u32::try_from(bytes.len()).unwrap().to_be_bytes();
        let mut outer = vec![0x30, 0x84];
        outer.extend(length);
        outer.extend(bytes);
        bytes = outer;
    }
    bytes
}

#[tokio::test(flavor = "multi_thread")]
async fn malformed_answers_are_errors() {
    assert!(matches!(
        after(b"HTTP/1.1 400 Bad Request\r\n\r\n".to_vec()).await,
        DirectoryError::Malformed(_)
    ));
    // a nesting that would overflow the stack of the crate behind the guard, and one that would make it panic
    assert!(matches!(after(nested(8_000)).await, DirectoryError::Malformed(_)));
    assert!(matches!(after(nested(100)).await, DirectoryError::Malformed(_)));
    // four gigabytes announced
    assert!(matches!(after(vec![0x30, 0x84, 0xff, 0xff, 0xff, 0xff]).await, DirectoryError::Malformed(_)));
    // indefinite length
    assert!(matches!(after(vec![0x30, 0x80, 0, 0]).await, DirectoryError::Malformed(_)));
    // a request where an answer was due
    let unbind = vec![0x30, 5, 2, 1, 1, 0x42, 0];
    assert!(matches!(after(unbind).await, DirectoryError::Malformed(_)));
    // the answer to a question nobody asked, and half an answer: silence, in effect
    let other = vec![0x30, 12, 2, 1, 99, 0x61, 7, 10, 1, 0, 4, 0, 4, 0];
    assert!(matches!(after(other).await, DirectoryError::TimedOut { .. }));
    assert!(matches!(after(vec![0x30, 12, 2, 1]).await, DirectoryError::TimedOut { .. }));
    assert!(matches!(after(Vec::new()).await, DirectoryError::TimedOut { .. }));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cut_connection_is_an_error() {
    let endpoint = server(|mut stream| async move {
        let _ = stream.read(&mut [0; 1024]).await;
        let _ = stream.write_all(&[0x30, 12, 2]).await;
    })
    .await;
    assert!(bind(&endpoint).await.is_err());
}

#[tokio::test(flavor = "multi_thread")]
async fn an_endless_search_is_stopped() {
    let endpoint = server(|mut stream| async move {
        let _ = stream.read(&mut [0; 1024]).await;
        let _ = stream.write_all(&[0x30, 12, 2, 1, 1, 0x61, 7, 10, 1, 0, 4, 0, 4, 0]).await;
        let _ = stream.read(&mut [0; 1024]).await;
        // entries of the second message for ever
        let entry = [0x30, 12, 2, 1, 2, 0x64, 7, 4, 3, b'c', b'n', b'=', 0x30, 0];
        let burst = entry.repeat(1_000);
        while stream.write_all(&burst).await.is_ok() {}
    })
    .await;
    let mut directory = bind(&endpoint).await.unwrap();
    let mut search = Search::new("dc=test", Scope::Subtree, Filter::present("objectClass"), &["cn"]);
    search.entries = Some(5_000);
    let mut seen = 0_u64;
    let began = Instant::now();
    let outcome = directory.search(&search, |_| seen += 1).await;
    assert!(began.elapsed() < Duration::from_secs(10));
    assert!(seen <= 5_000);
    // stopped at our limit, or given up because the abandon finds no way out: never complete
    assert!(!outcome.is_ok_and(|done| done.is_complete()));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_controller_that_hangs_or_babbles_gives_failed_facts_in_time() {
    for babbles in [false, true] {
        let endpoint = server(move |mut stream| async move {
            while babbles && stream.write_all(&[0xde, 0xad, 0xbe, 0xef].repeat(64)).await.is_ok() {}
            tokio::time::sleep(Duration::from_secs(60)).await;
        })
        .await;
        let folder = tempfile::tempdir().unwrap();
        let password = folder.path().join("password");
        crate::app_stage::secret(&password, "secret");
        let mut target = Target::new(
            "RXH".parse().unwrap(),
            vec![Endpoint { transport: Transport::Ldaps, ..endpoint.clone() }],
            "DC=hostile,DC=test",
            "us@hostile.test",
            SecretReference::File(password),
            &authority().pem(),
        )
        .unwrap();
        target.kdcs = vec![format!("127.0.0.1:{}", endpoint.port)];
        let settings = Settings {
            directory: settings(),
            probe_seconds: 1,
            plain_port: endpoint.port,
            ..Settings::default()
        };
        let probes = ["tls.versions", "kerberos.etypes", "canary.readable", "rights.write"];
        let requirements = Requirements {
            probes: probes.iter().map(|p| (*p).to_owned()).collect::<BTreeSet<_>>(),
            ..Default::default()
        };
        let began = Instant::now();
        // far less than the times of the probes one after the other
        let allotted = Duration::from_secs(2);
        let evidence = collect(&target, &requirements, &settings, &Clock::system(), allotted).await;
        assert!(began.elapsed() < allotted + Duration::from_secs(1), "{:?}", began.elapsed());
        for name in probes {
            assert!(
                matches!(evidence.facts.get(name), Fact::Failed(_)),
                "{name}: {:?}",
                evidence.facts.get(name)
            );
        }
        let sealed = evidence.sealed();
        assert_eq!(sealed.hash, sealed.content_hash());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn controllers_that_were_not_reached_are_counted() {
    let alive = || server(|_| tokio::time::sleep(Duration::from_secs(60)));
    let (first, last) = (alive().await, alive().await);
    // a port that was free a moment ago answers nobody
    let closed = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let dead = Endpoint { port: closed, ..first.clone() };
    let folder = tempfile::tempdir().unwrap();
    let target = Target::new(
        "RXH".parse().unwrap(),
        vec![first, dead, last],
        "DC=hostile,DC=test",
        "us@hostile.test",
        SecretReference::File(folder.path().join("password")),
        &authority().pem(),
    )
    .unwrap();
    // a controller that is not even asked is not reached
    for (asked, reachable, unreachable) in [(16, 2, 1), (2, 1, 2), (1, 1, 2)] {
        let settings = Settings { controllers: asked, probe_seconds: 1, ..Settings::default() };
        let (found, gathered) = discovery::probe(&target, &settings, &Clock::system()).await;
        assert_eq!(found.reachable.len(), reachable);
        let fact = |name: &str| gathered.facts.get(name);
        assert_eq!(fact("controllers.count"), Fact::integer(3));
        assert_eq!(fact("controllers.reachable"), Fact::integer(i64::try_from(reachable).unwrap()));
        assert_eq!(fact("controllers.unreachable"), Fact::integer(unreachable));
    }
}
