//! Directories of trusts on one port: bind, the reads that sync makes, and DirSync with pages, of whatever naming context is asked for.

use std::borrow::Cow;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::Arc;

use portcullis::ldap::codec;
use portcullis::ldap::control::Control;
use portcullis::ldap::entry::{Attribute, Entry};
use portcullis::ldap::limits::Limits;
use portcullis::ldap::message::{BindOutcome, Message, Operation, Outcome, ResultCode, Search};
use portcullis::ldap::typed_control::{DirSync, DirSyncAnswer};
use rustls::{ServerConfig, ServerConnection, StreamOwned};

use crate::people::Trust;

/// Objects of a page: about what Active Directory puts into a mebibyte.
const PAGE: usize = 1_000;
const SERVICE: &str = "CN=NTDS Settings,DC=test";

/// Serves until the standard input ends; prints its port.
pub fn serve(tls: Arc<ServerConfig>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    println!("{}", listener.local_addr().unwrap().port());
    std::thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            let tls = tls.clone();
            std::thread::spawn(move || {
                // whoever asks may go at any time
                let _ = session(stream, tls);
            });
        }
    });
    let mut line = String::new();
    while BufReader::new(std::io::stdin()).read_line(&mut line).is_ok_and(|read| read > 0) {}
}

fn session(stream: TcpStream, tls: Arc<ServerConfig>) -> std::io::Result<()> {
    stream.set_nodelay(true)?;
    let mut stream = StreamOwned::new(ServerConnection::new(tls).unwrap(), stream);
    let (limits, mut bytes, mut part) = (Limits::default(), Vec::new(), [0; 16 * 1024]);
    loop {
        while let Some(length) = codec::frame(&bytes, &limits).unwrap() {
            let rest = bytes.split_off(length);
            let message = codec::decode(&bytes, &limits).unwrap();
            let mut out = Vec::new();
            match &message.operation {
                Operation::BindRequest(_) => {
                    let outcome = Outcome::new(ResultCode::SUCCESS, "");
                    let bound = Operation::BindResponse(BindOutcome { outcome, credentials: None });
                    answer(message.id, bound, Vec::new(), &mut out);
                }
                Operation::SearchRequest(search) => {
                    self::search(message.id, search, &message.controls, &mut out);
                }
                Operation::UnbindRequest => return Ok(()),
                other => panic!("sync only reads a member directory, and sent {other:?}"),
            }
            stream.write_all(&out)?;
            stream.flush()?;
            bytes = rest;
        }
        match stream.read(&mut part)? {
            0 => return Ok(()),
            read => bytes.extend_from_slice(&part[..read]),
        }
    }
}

fn answer(id: i32, operation: Operation<'_>, controls: Vec<Control<'_>>, out: &mut Vec<u8>) {
    codec::encode(&Message { id, operation, controls }, out);
}

fn search(id: i32, search: &Search<'_>, controls: &[Control<'_>], out: &mut Vec<u8>) {
    let mut reply = Vec::new();
    if let Some(control) = controls.iter().find(|control| control.oid == DirSync::OID) {
        let trust = Trust::named(&search.base).unwrap();
        let asked = DirSync::read(control.value.as_deref().unwrap()).unwrap();
        let from = asked.cookie.try_into().map_or(0, u64::from_be_bytes);
        let from = usize::try_from(from).unwrap();
        let to = trust.objects().min(from + PAGE);
        for at in from..to {
            let entry = entry(&trust, at, &search.attributes);
            answer(id, Operation::SearchEntry(entry.as_wire()), Vec::new(), out);
        }
        let cookie = (to as u64).to_be_bytes().to_vec();
        reply.push(DirSyncAnswer { more: to < trust.objects(), cookie }.control());
    } else if let Some(entry) = base(search) {
        answer(id, Operation::SearchEntry(entry.as_wire()), Vec::new(), out);
    }
    answer(id, Operation::SearchDone(Outcome::new(ResultCode::SUCCESS, "")), reply, out);
}

fn entry(trust: &Trust, at: usize, asked: &[Cow<'_, str>]) -> Entry {
    let wanted = |name: &str| asked.iter().any(|one| one.eq_ignore_ascii_case(name));
    let attributes = trust.attributes(at).into_iter().filter(|(name, _)| wanted(name));
    let attributes =
        attributes.map(|(name, values)| Attribute { description: name.to_owned(), values }).collect();
    Entry { dn: trust.dn(at), attributes }
}

fn base(search: &Search<'_>) -> Option<Entry> {
    let entry = |dn: &str, attributes: &[(&str, &[u8])]| Entry {
        dn: dn.to_owned(),
        attributes: attributes
            .iter()
            .map(|(name, value)| Attribute { description: (*name).to_owned(), values: vec![value.to_vec()] })
            .collect(),
    };
    match search.base.as_ref() {
        "" => Some(entry(
            "",
            &[
                ("dsServiceName", SERVICE.as_bytes()),
                ("highestCommittedUSN", b"1000"),
                ("isSynchronized", b"TRUE"),
                ("dnsHostName", b"dc1.test"),
            ],
        )),
        SERVICE => Some(entry(SERVICE, &[("invocationId", &[7; 16])])),
        // the container of deleted objects, which an ordinary account may read once it was allowed to
        dn => Some(entry(dn, &[("objectClass", b"top")])),
    }
}
