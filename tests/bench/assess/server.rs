//! Serves a generated domain over LDAPS, page by page, and keeps a list of the searches that it was asked.

use std::collections::HashMap;
use std::fs::File;
use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::{Arc, Mutex, PoisonError};

use portcullis::ldap::ber::{self, close, open, put_int, put_octets};
use portcullis::ldap::codec;
use portcullis::ldap::limits::Limits;
use portcullis::ldap::message::{BindOutcome, Message, Operation, Outcome, ResultCode, Search};
use portcullis::ldap::typed_control::PagedResults;
use rustls::{ServerConfig, ServerConnection, StreamOwned};

use crate::domain::Domain;

const SD_FLAGS: &str = "1.2.840.113556.1.4.801";
/// Bytes that are written at once.
const PIECE: usize = 64 << 10;

const ROOT: [(&str, &str); 10] = [
    ("defaultNamingContext", "DC=bench,DC=test"),
    ("rootDomainNamingContext", "DC=bench,DC=test"),
    ("configurationNamingContext", "CN=Configuration,DC=bench,DC=test"),
    ("schemaNamingContext", "CN=Schema,CN=Configuration,DC=bench,DC=test"),
    ("dnsHostName", "dc1.bench.test"),
    ("domainFunctionality", "7"),
    ("forestFunctionality", "7"),
    ("domainControllerFunctionality", "7"),
    ("isSynchronized", "TRUE"),
    ("supportedCapabilities", "1.2.840.113556.1.4.800"),
];

/// A directory that is asked.
pub struct Server {
    domain: Domain,
    /// Which objects a search finds, so that a later one costs the server no more than writing them.
    found: Mutex<HashMap<String, Arc<Vec<u32>>>>,
    /// One line for each search from its beginning: base, scope, filter, attributes, whether descriptors were asked for.
    log: Mutex<File>,
}

impl Server {
    pub fn new(domain: Domain, log: File) -> Arc<Server> {
        Arc::new(Server { domain, found: Mutex::default(), log: Mutex::new(log) })
    }

    /// Serves for ever.
    pub fn run(self: &Arc<Self>, listener: &TcpListener, config: &Arc<ServerConfig>) {
        for stream in listener.incoming() {
            let Ok(stream) = stream else { continue };
            let (server, config) = (Arc::clone(self), Arc::clone(config));
            std::thread::spawn(move || server.serve(stream, &config));
        }
    }

    fn serve(&self, mut tcp: TcpStream, config: &Arc<ServerConfig>) -> Option<()> {
        tcp.set_nodelay(true).ok()?;
        let mut connection = ServerConnection::new(Arc::clone(config)).ok()?;
        while connection.is_handshaking() {
            connection.complete_io(&mut tcp).ok()?;
        }
        let mut stream = StreamOwned::new(connection, tcp);
        let limits = Limits::default();
        let (mut buffer, mut piece) = (Vec::new(), vec![0; 16 << 10]);
        loop {
            while let Some(length) = codec::frame(&buffer, &limits).ok()? {
                let bytes: Vec<u8> = buffer.drain(..length).collect();
                let message = codec::decode(&bytes, &limits).ok()?;
                self.answer(&message, &mut stream)?;
            }
            match stream.read(&mut piece).ok()? {
                0 => return None,
                count => buffer.extend_from_slice(&piece[..count]),
            }
        }
    }

    fn answer(&self, message: &Message<'_>, out: &mut impl Write) -> Option<()> {
        let answer = match &message.operation {
            Operation::BindRequest(bind) => {
                // made-up names are refused as a controller refuses them
                let known = bind.name.eq_ignore_ascii_case("svc-portcullis@bench.test");
                let code = if known { ResultCode::SUCCESS } else { ResultCode::INVALID_CREDENTIALS };
                let outcome = Outcome::new(code, "");
                Operation::BindResponse(BindOutcome { outcome, credentials: None })
            }
            Operation::SearchRequest(search) => return self.search(message, search, out),
            Operation::AbandonRequest(_) => return Some(()),
            Operation::UnbindRequest => return None,
            _ => Operation::ExtendedResponse(Default::default()),
        };
        out.write_all(&codec::to_bytes(&Message::new(message.id, answer))).ok()?;
        out.flush().ok()
    }

    fn search(&self, message: &Message<'_>, search: &Search<'_>, out: &mut impl Write) -> Option<()> {
        let page = message.controls.iter().find_map(|control| {
            let value = control.value.as_deref().filter(|_| control.oid == PagedResults::OID)?;
            PagedResults::read(value).ok()
        });
        let mut bytes = Vec::with_capacity(PIECE + 4_096);
        if search.base.is_empty() {
            entry(
                &mut bytes,
                message.id,
                "",
                ROOT.iter().map(|(name, value)| (*name, vec![value.as_bytes().into()])),
            );
            done(&mut bytes, message.id, ResultCode::SUCCESS, None);
            return out.write_all(&bytes).and_then(|()| out.flush()).ok();
        }
        let from = page
            .as_ref()
            .and_then(|p| std::str::from_utf8(&p.cookie).ok()?.parse::<usize>().ok())
            .unwrap_or(0);
        let found = self.found(search);
        if from == 0 {
            self.note(message, search, found.len());
        }
        let size = page.as_ref().map_or(found.len(), |p| p.size as usize);
        let end = found.len().min(from + size);
        let names: Vec<(&str, String)> = search.attributes.iter().map(|a| (&**a, a.to_lowercase())).collect();
        for at in &found[from.min(end)..end] {
            let object = self.domain.object(*at as usize);
            let attributes = names.iter().map(|(name, lower)| (*name, self.domain.values(object, lower)));
            entry(&mut bytes, message.id, &self.domain.dn(object), attributes);
            if bytes.len() >= PIECE {
                out.write_all(&bytes).ok()?;
                bytes.clear();
            }
        }
        let missing = found.is_empty() && search.scope.number() == 0;
        let code = if missing { ResultCode::NO_SUCH_OBJECT } else { ResultCode::SUCCESS };
        let cookie = if end < found.len() { end.to_string() } else { String::new() };
        done(&mut bytes, message.id, code, page.map(|_| cookie.into_bytes()));
        out.write_all(&bytes).and_then(|()| out.flush()).ok()
    }

    fn found(&self, search: &Search<'_>) -> Arc<Vec<u32>> {
        let (base, scope) = (search.base.to_lowercase(), search.scope.number());
        let key = format!("{base} {scope} {}", search.filter);
        if let Some(found) = self.found.lock().unwrap_or_else(PoisonError::into_inner).get(&key) {
            return Arc::clone(found);
        }
        let found: Vec<u32> = (0..self.domain.len())
            .filter(|at| {
                let object = self.domain.object(*at);
                self.domain.matches(object, &search.filter) && self.domain.is_within(object, &base, scope)
            })
            .map(|at| at as u32)
            .collect();
        let found = Arc::new(found);
        self.found.lock().unwrap_or_else(PoisonError::into_inner).insert(key, Arc::clone(&found));
        found
    }

    fn note(&self, message: &Message<'_>, search: &Search<'_>, entries: usize) {
        let descriptors = message.controls.iter().any(|control| control.oid == SD_FLAGS);
        let attributes: Vec<&str> = search.attributes.iter().map(|a| &**a).collect();
        let line = format!(
            "{entries}\t{}\t{}\t{}\t{}\t{descriptors}\n",
            search.base,
            search.scope.number(),
            search.filter,
            attributes.join(" ")
        );
        let _ = self.log.lock().unwrap_or_else(PoisonError::into_inner).write_all(line.as_bytes());
    }
}

type Values = Vec<std::borrow::Cow<'static, [u8]>>;

fn entry<'a>(out: &mut Vec<u8>, id: i32, dn: &str, attributes: impl Iterator<Item = (&'a str, Values)>) {
    let whole = open(out, ber::SEQUENCE);
    put_int(out, ber::INTEGER, id);
    let found = open(out, 0x64);
    put_octets(out, ber::OCTET_STRING, dn.as_bytes());
    let list = open(out, ber::SEQUENCE);
    for (name, values) in attributes.filter(|(_, values)| !values.is_empty()) {
        let attribute = open(out, ber::SEQUENCE);
        put_octets(out, ber::OCTET_STRING, name.as_bytes());
        let set = open(out, ber::SET);
        for value in &values {
            put_octets(out, ber::OCTET_STRING, value);
        }
        close(out, set);
        close(out, attribute);
    }
    close(out, list);
    close(out, found);
    close(out, whole);
}

fn done(out: &mut Vec<u8>, id: i32, code: ResultCode, cookie: Option<Vec<u8>>) {
    let mut message = Message::new(id, Operation::SearchDone(Outcome::new(code, "")));
    message.controls.extend(cookie.map(|cookie| PagedResults { size: 0, cookie }.control(false)));
    codec::encode(&message, out);
}
