//! A scripted member directory: just enough of an Active Directory (bind, base reads, DirSync with small pages) over TLS,
//! whose people a test changes as it likes.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::{Arc, Mutex};

use portcullis::ldap::codec;
use portcullis::ldap::control::Control;
use portcullis::ldap::entry::{Attribute, Entry};
use portcullis::ldap::limits::Limits;
use portcullis::ldap::message::{BindOutcome, Message, Operation, Outcome, ResultCode, Search};
use portcullis::ldap::typed_control::{DirSync, DirSyncAnswer};
use rustls::{ServerConfig, ServerConnection, StreamOwned};

pub const BASE: &str = "DC=rxs,DC=test";
const SERVICE: &str = "CN=NTDS Settings,DC=rxs,DC=test";
const PAGE: usize = 40;

/// One object. Its name is kept by the tree, as in a real directory.
#[derive(Debug, Clone)]
pub struct Object {
    pub parent: Option<[u8; 16]>,
    pub rdn: String,
    pub deleted: bool,
    pub attributes: BTreeMap<String, Vec<String>>,
    /// When it last changed.
    pub version: u64,
}

#[derive(Debug, Default)]
pub struct World {
    pub objects: BTreeMap<[u8; 16], Object>,
    pub version: u64,
}

impl World {
    /// Puts or changes an object.
    pub fn put(&mut self, guid: [u8; 16], mut object: Object) {
        self.version += 1;
        object.version = self.version;
        self.objects.insert(guid, object);
    }

    /// Changes an object in place.
    pub fn change(&mut self, guid: [u8; 16], change: impl FnOnce(&mut Object)) {
        let mut object = self.objects[&guid].clone();
        change(&mut object);
        self.put(guid, object);
    }

    fn dn(&self, guid: &[u8; 16]) -> String {
        let object = &self.objects[guid];
        match object.parent {
            _ if object.deleted => format!(
                "{}\\0ADEL:{},CN=Deleted Objects,{BASE}",
                object.rdn,
                uuid::Uuid::from_bytes_le(*guid)
            ),
            Some(parent) => format!("{},{}", object.rdn, self.dn(&parent)),
            None => BASE.to_owned(),
        }
    }

    fn entry(&self, guid: &[u8; 16], asked: &[Cow<'_, str>]) -> Entry {
        let object = &self.objects[guid];
        let mut attributes = Vec::new();
        for name in asked.iter().map(|name| name.to_lowercase()) {
            let values: Vec<Vec<u8>> = match name.as_str() {
                "objectguid" => vec![guid.to_vec()],
                "parentguid" => object.parent.iter().map(|guid| guid.to_vec()).collect(),
                "isdeleted" if object.deleted => vec![b"TRUE".to_vec()],
                "name" => vec![object.rdn.split_once('=').unwrap().1.as_bytes().to_vec()],
                // an attribute that was removed comes without values
                _ => object
                    .attributes
                    .get(&name)
                    .into_iter()
                    .flatten()
                    .map(|v| v.clone().into_bytes())
                    .collect(),
            };
            attributes.push(Attribute { description: name, values });
        }
        Entry { dn: self.dn(guid), attributes }
    }
}

/// Starts it on a port of its own; it serves until the test ends.
pub fn serve(world: Arc<Mutex<World>>, tls: Arc<ServerConfig>) -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    std::thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            let (world, tls) = (world.clone(), tls.clone());
            // a client that is killed breaks its connection: that ends the thread, nothing else
            std::thread::spawn(move || {
                let _ = session(stream, &world, tls);
            });
        }
    });
    port
}

fn session(stream: TcpStream, world: &Mutex<World>, tls: Arc<ServerConfig>) -> std::io::Result<()> {
    let mut stream = StreamOwned::new(ServerConnection::new(tls).unwrap(), stream);
    let (limits, mut bytes, mut part) = (Limits::default(), Vec::new(), [0; 16 * 1024]);
    loop {
        while let Some(length) = codec::frame(&bytes, &limits).unwrap() {
            let rest = bytes.split_off(length);
            let message = codec::decode(&bytes, &limits).unwrap();
            let id = message.id;
            let mut out = Vec::new();
            match &message.operation {
                Operation::BindRequest(_) => {
                    let outcome = Outcome::new(ResultCode::SUCCESS, "");
                    answer(
                        id,
                        Operation::BindResponse(BindOutcome { outcome, credentials: None }),
                        Vec::new(),
                        &mut out,
                    );
                }
                Operation::SearchRequest(search) => {
                    self::search(id, search, &message.controls, &world.lock().unwrap(), &mut out);
                }
                Operation::UnbindRequest => return Ok(()),
                other => panic!("sync must only read a member directory, and sent {other:?}"),
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

fn search(id: i32, search: &Search<'_>, controls: &[Control<'_>], world: &World, out: &mut Vec<u8>) {
    let mut entries = Vec::new();
    let mut reply = Vec::new();
    if let Some(control) = controls.iter().find(|control| control.oid == DirSync::OID) {
        let asked = DirSync::read(control.value.as_deref().unwrap()).unwrap();
        let from = asked.cookie.try_into().map_or(0, u64::from_be_bytes);
        let mut changed: Vec<(&[u8; 16], u64)> = world
            .objects
            .iter()
            .map(|(guid, o)| (guid, o.version))
            .filter(|(_, version)| *version > from)
            .collect();
        changed.sort_by_key(|(_, version)| *version);
        let more = changed.len() > PAGE;
        changed.truncate(PAGE);
        let cookie = changed.last().map_or(from, |(_, version)| *version).to_be_bytes().to_vec();
        entries.extend(changed.iter().map(|(guid, _)| world.entry(guid, &search.attributes)));
        reply.push(DirSyncAnswer { more, cookie }.control());
    } else {
        entries.extend(base(search, world));
    }
    for entry in &entries {
        answer(id, Operation::SearchEntry(entry.as_wire()), Vec::new(), out);
    }
    answer(id, Operation::SearchDone(Outcome::new(ResultCode::SUCCESS, "")), reply, out);
}

fn base(search: &Search<'_>, world: &World) -> Option<Entry> {
    let entry = |dn: &str, attributes: &[(&str, &[u8])]| Entry {
        dn: dn.to_owned(),
        attributes: attributes
            .iter()
            .map(|(name, value)| Attribute { description: (*name).to_owned(), values: vec![value.to_vec()] })
            .collect(),
    };
    let dn = search.base.as_ref();
    if let Some(guid) = dn.strip_prefix("<GUID=").and_then(|rest| rest.strip_suffix('>')) {
        let guid = uuid::Uuid::parse_str(guid).unwrap().to_bytes_le();
        return world.objects.contains_key(&guid).then(|| world.entry(&guid, &search.attributes));
    }
    match dn {
        "" => Some(entry(
            "",
            &[
                ("dsServiceName", SERVICE.as_bytes()),
                ("highestCommittedUSN", world.version.to_string().as_bytes()),
                ("isSynchronized", b"TRUE"),
                ("dnsHostName", b"dc1.rxs.test"),
            ],
        )),
        SERVICE => Some(entry(SERVICE, &[("invocationId", &[7; 16])])),
        _ => Some(entry(dn, &[("objectClass", b"top")])),
    }
}
