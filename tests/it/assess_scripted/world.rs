//! One scripted domain while it is asked: directory, controllers, key distribution centre, card; and an assessment of it.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use portcullis::ambient::clock::Clock;
use portcullis::assess::collect::collect;
use portcullis::assess::settings::{Lists, Settings};
use portcullis::assess::target::Target;
use portcullis::baseline::assessment::Assessment;
use portcullis::baseline::compile::Compiled;
use portcullis::baseline::evaluate::evaluate;
use portcullis::baseline::facts::Evidence;
use portcullis::directory;
use portcullis::directory::endpoint::Endpoint;
use portcullis::secret::reference::SecretReference;
use portcullis::store::member::Card;

use super::certificates::{Shown, material};
use super::directory::{ACCOUNT, BASE, Directory};
use super::domain;
use super::kdc::Kdc;
use super::server::Server;

/// What is assessed.
#[derive(Debug, Clone)]
pub struct World {
    pub directory: Directory,
    pub kdc: Kdc,
    pub first: Shown,
    /// A second controller.
    pub second: Option<Shown>,
    /// Its directory, when it is not the first one's.
    pub apart: Option<Directory>,
    /// The name of the list that the monitoring card names; none when empty.
    pub card_list: &'static str,
    /// What must be readable every time.
    pub canary: &'static str,
    /// The time of the pass.
    pub allotted: Duration,
    /// A program in place of MIT's `kinit`, and a password of the card's account; logons are tried with nothing otherwise.
    pub logons: Option<(PathBuf, PathBuf)>,
}

impl World {
    /// A domain that passes.
    pub fn hardened() -> World {
        World {
            directory: domain::hardened(),
            kdc: Kdc::hardened(),
            first: Shown::Good,
            second: None,
            apart: None,
            card_list: "cards.crl",
            canary: BASE,
            allotted: Duration::from_secs(60),
            logons: None,
        }
    }

    /// Serves it, asks everything that the baseline needs, and judges.
    pub async fn assess(self, baseline: &Compiled) -> Assessment {
        let evidence = self.evidence(baseline, |_| ()).await;
        evaluate(baseline, &evidence, &[], Clock::system().now())
    }

    /// Serves it and asks everything that the baseline needs, of a target that is changed first.
    pub async fn evidence(self, baseline: &Compiled, change: impl FnOnce(&mut Target)) -> Evidence {
        let kdc = self.kdc.run();
        let server = Server::new(self.directory, std::io::sink());
        let other =
            self.apart.map_or_else(|| Arc::clone(&server), |apart| Server::new(apart, std::io::sink()));
        let mut controllers = Vec::new();
        let mut running = Vec::new();
        for (name, shown, server) in
            [("dc1.scripted.test", Some(self.first), &server), ("dc2.scripted.test", self.second, &other)]
        {
            let Some(shown) = shown else { continue };
            let (endpoint, controller) = controller(server, shown, name);
            controllers.push(endpoint);
            running.extend(controller);
        }
        let mut target = target(controllers, kdc.address, self.card_list);
        self.canary.clone_into(&mut target.canary);
        change(&mut target);
        let (mut settings, clock) = (settings(), Clock::system());
        if let Some((kinit, password)) = self.logons {
            settings.kinit = kinit.display().to_string();
            target.card.as_mut().unwrap().password = Some(SecretReference::File(password));
        }
        // unoptimized it is too large for the stack of a test
        Box::pin(collect(&target, baseline.requirements(), &settings, &clock, self.allotted)).await
    }
}

fn target(controllers: Vec<Endpoint>, kdc: SocketAddr, card_list: &str) -> Target {
    let material = material();
    let password = SecretReference::File(material.password());
    let mut target =
        Target::new("RXS".parse().unwrap(), controllers, BASE, ACCOUNT, password, &material.anchors).unwrap();
    let card = material.card(card_list);
    target.kdcs = vec![kdc.to_string()];
    target.card = Some(Card {
        principal: "monitor@SCRIPTED.TEST".to_owned(),
        identity: format!("FILE:{},{}", card.display(), card.display()),
        anchors: None,
        pin: None,
        password: None,
    });
    target.mail_domains = ["scripted.test".to_owned()].into();
    target.upn_suffixes = ["scripted.test".to_owned()].into();
    target.card_issuers = [material.card_issuer_key.clone()].into();
    target
}

fn settings() -> Settings {
    Settings {
        // small pages, so that the smallest domain has several
        directory: directory::settings::Settings {
            connect_seconds: 5,
            answer_seconds: 5,
            page_size: 10,
            ..Default::default()
        },
        // nothing listens there
        plain_port: 1,
        kinit: "/nonexistent/kinit".to_owned(),
        lists: Lists {
            ports: [material().lists].into(),
            networks: ["127.0.0.0/8".to_owned()].into(),
            ..Lists::default()
        },
        ..Settings::default()
    }
}

/// A controller on a free port, and what it runs as.
fn controller(server: &Arc<Server<Directory>>, shown: Shown, name: &str) -> (Endpoint, Option<Running>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let endpoint = Endpoint::ldaps("127.0.0.1", address.port(), Some(name));
    if shown == Shown::Nothing {
        return (endpoint, None);
    }
    let config = material().tls(shown, name).map(Arc::new);
    let running = Running::streams(address);
    let (goes_on, server) = (running.goes_on(), Arc::clone(server));
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            if !goes_on() {
                return;
            }
            let (Ok(stream), server, config) = (stream, Arc::clone(&server), config.clone()) else {
                continue;
            };
            std::thread::spawn(move || match config {
                Some(config) => server.serve(stream, &config),
                None if shown == Shown::Silent => hear_out(stream),
                None => refuse(stream),
            });
        }
    });
    (endpoint, Some(running))
}

/// Answers a handshake with the alert handshake_failure.
fn refuse(mut stream: TcpStream) -> Option<()> {
    let _ = stream.read(&mut [0; 1_024]).ok()?;
    stream.write_all(&[0x15, 3, 3, 0, 2, 2, 40]).ok()
}

/// Reads until the other side has had enough.
fn hear_out(mut stream: TcpStream) -> Option<()> {
    std::io::copy(&mut stream, &mut std::io::sink()).ok().map(|_| ())
}

/// A server that ends when this goes.
pub struct Running {
    pub address: SocketAddr,
    ended: Arc<AtomicBool>,
    wake: fn(SocketAddr),
}

impl Running {
    fn streams(address: SocketAddr) -> Running {
        let wake = |address| drop(TcpStream::connect(address));
        Running { address, ended: Arc::default(), wake }
    }

    pub fn datagrams(address: SocketAddr) -> Running {
        let wake = |address| {
            let _ = UdpSocket::bind("127.0.0.1:0").and_then(|socket| socket.send_to(&[], address));
        };
        Running { address, ended: Arc::default(), wake }
    }

    /// Whether it is still wanted.
    pub fn goes_on(&self) -> impl Fn() -> bool + Send + 'static {
        let ended = Arc::clone(&self.ended);
        move || !ended.load(Ordering::SeqCst)
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.ended.store(true, Ordering::SeqCst);
        (self.wake)(self.address);
    }
}
