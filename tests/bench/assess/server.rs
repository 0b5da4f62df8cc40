//! Serves a directory over LDAPS, page by page, and keeps a list of the searches that it was asked.

use std::borrow::Cow;
use std::collections::HashMap;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::sync::{Arc, Mutex, PoisonError};

use portcullis::ldap::ber::{self, close, open, put_int, put_octets};
use portcullis::ldap::codec;
use portcullis::ldap::limits::Limits;
use portcullis::ldap::message::{
    Authentication, BindOutcome, Message, Operation, Outcome, ResultCode, Search,
};
use portcullis::ldap::typed_control::PagedResults;
use rustls::{ServerConfig, ServerConnection, StreamOwned};

use super::served::{Served, Values};

const SD_FLAGS: &str = "1.2.840.113556.1.4.801";
const EXTENDED_DN: &str = "1.2.840.113556.1.4.529";
/// Bytes that are written at once.
const PIECE: usize = 64 << 10;

/// A directory that is asked.
pub struct Server<D> {
    directory: D,
    /// Which objects a search finds, so that a later one costs the server no more than writing them.
    found: Mutex<HashMap<String, Arc<Vec<u32>>>>,
    /// One line for each search from its beginning: base, scope, filter, attributes, whether descriptors were asked for.
    log: Mutex<Box<dyn Write + Send>>,
}

impl<D: Served> Server<D> {
    pub fn new(directory: D, log: impl Write + Send + 'static) -> Arc<Self> {
        Arc::new(Server { directory, found: Mutex::default(), log: Mutex::new(Box::new(log)) })
    }

    /// Answers one client until it goes.
    pub fn serve(&self, mut tcp: TcpStream, config: &Arc<ServerConfig>) -> Option<()> {
        tcp.set_nodelay(true).ok()?;
        let mut connection = ServerConnection::new(Arc::clone(config)).ok()?;
        while connection.is_handshaking() {
            connection.complete_io(&mut tcp).ok()?;
        }
        let mut stream = StreamOwned::new(connection, tcp);
        let limits = Limits::default();
        let (mut buffer, mut piece) = (Vec::new(), vec![0; 16 << 10]);
        let mut known = false;
        loop {
            while let Some(length) = codec::frame(&buffer, &limits).ok()? {
                let bytes: Vec<u8> = buffer.drain(..length).collect();
                let message = codec::decode(&bytes, &limits).ok()?;
                self.answer(&message, &mut known, &mut stream)?;
            }
            match stream.read(&mut piece).ok()? {
                0 => return None,
                count => buffer.extend_from_slice(&piece[..count]),
            }
        }
    }

    /// `known` is whether the connection is bound.
    fn answer(&self, message: &Message<'_>, known: &mut bool, out: &mut impl Write) -> Option<()> {
        let answer = match &message.operation {
            Operation::BindRequest(bind) => {
                let code = match &bind.authentication {
                    Authentication::Simple(password) => self.directory.bind(&bind.name, password),
                    _ => ResultCode::AUTH_METHOD_NOT_SUPPORTED,
                };
                *known = code == ResultCode::SUCCESS;
                // as Active Directory says why
                let text = match code {
                    ResultCode::INVALID_CREDENTIALS => {
                        "80090308: LdapErr: DSID-0C0903A9, comment: AcceptSecurityContext error, data 52e, v1db1"
                    }
                    _ => "",
                };
                Operation::BindResponse(BindOutcome { outcome: Outcome::new(code, text), credentials: None })
            }
            Operation::SearchRequest(search) if search.base.is_empty() => {
                return self.root_dse(message.id, search, out);
            }
            Operation::SearchRequest(_) if !*known && !self.directory.answers_anybody() => {
                Operation::SearchDone(Outcome::new(ResultCode::OPERATIONS_ERROR, ""))
            }
            Operation::SearchRequest(search) => return self.search(message, search, out),
            Operation::AbandonRequest(_) => return Some(()),
            Operation::UnbindRequest => return None,
            _ => Operation::ExtendedResponse(Default::default()),
        };
        out.write_all(&codec::to_bytes(&Message::new(message.id, answer))).ok()?;
        out.flush().ok()
    }

    fn root_dse(&self, id: i32, search: &Search<'_>, out: &mut impl Write) -> Option<()> {
        let wanted = |name: &str| search.attributes.iter().any(|one| one.eq_ignore_ascii_case(name));
        let said = self.directory.root().into_iter();
        let mut bytes = Vec::new();
        let said = said.filter(|(name, _)| search.attributes.is_empty() || wanted(name));
        entry(&mut bytes, id, "", said.map(|(name, values)| (name.into(), values)));
        done(&mut bytes, id, ResultCode::SUCCESS, None);
        out.write_all(&bytes).and_then(|()| out.flush()).ok()
    }

    fn search(&self, message: &Message<'_>, search: &Search<'_>, out: &mut impl Write) -> Option<()> {
        let extended = message.controls.iter().any(|control| control.oid == EXTENDED_DN);
        let page = message.controls.iter().find_map(|control| {
            let value = control.value.as_deref().filter(|_| control.oid == PagedResults::OID)?;
            PagedResults::read(value).ok()
        });
        let mut bytes = Vec::with_capacity(PIECE + 4_096);
        let from = page
            .as_ref()
            .and_then(|p| std::str::from_utf8(&p.cookie).ok()?.parse::<usize>().ok())
            .unwrap_or(0);
        let found = self.found(search);
        if from == 0 {
            self.note(message, search, found.len());
        }
        let size = page.as_ref().map_or(found.len(), |p| p.size as usize);
        let mut end = found.len().min(from + size);
        let trouble = self.directory.trouble(search, from);
        if let Some((entries, _)) = trouble {
            end = end.min(from + entries);
        }
        let names: Vec<(&str, String)> = search.attributes.iter().map(|a| (&**a, a.to_lowercase())).collect();
        for at in &found[from.min(end)..end] {
            let at = *at as usize;
            let attributes = names.iter().map(|(wanted, name)| {
                let (shown, values) = self.directory.attribute(at, wanted, name);
                let extended = extended && name.starts_with("member");
                (shown, if extended { self.directory.extended(values) } else { values })
            });
            entry(&mut bytes, message.id, &self.directory.dn(at), attributes);
            if bytes.len() >= PIECE {
                out.write_all(&bytes).ok()?;
                bytes.clear();
            }
        }
        let missing = found.is_empty() && search.scope.number() == 0;
        let code = match trouble {
            Some((_, code)) => code,
            None if missing => ResultCode::NO_SUCH_OBJECT,
            None => ResultCode::SUCCESS,
        };
        let goes_on = code == ResultCode::SUCCESS && end < found.len();
        let cookie = if goes_on { end.to_string() } else { String::new() };
        done(&mut bytes, message.id, code, page.map(|_| cookie.into_bytes()));
        out.write_all(&bytes).and_then(|()| out.flush()).ok()
    }

    fn found(&self, search: &Search<'_>) -> Arc<Vec<u32>> {
        let (base, scope) = (self.directory.place(&search.base), search.scope.number());
        let key = format!("{base} {scope} {}", search.filter);
        if let Some(found) = self.found.lock().unwrap_or_else(PoisonError::into_inner).get(&key) {
            return Arc::clone(found);
        }
        let directory = &self.directory;
        let found: Vec<u32> = (0..directory.len())
            .filter(|at| directory.matches(*at, &search.filter) && directory.is_within(*at, &base, scope))
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

fn entry<'w>(out: &mut Vec<u8>, id: i32, dn: &str, attributes: impl Iterator<Item = (Cow<'w, str>, Values)>) {
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
