//! A member directory's domain controllers as servers: bind, base reads, DirSync in small pages. What they showed is kept: by it is judged
//! whether somebody may be taken for gone.

use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::{Arc, Mutex};

use portcullis::ldap::control::Control;
use portcullis::ldap::entry::{Attribute, Entry};
use portcullis::ldap::message::{Message, Operation, Outcome, ResultCode, Search};
use portcullis::ldap::typed_control::{DirSync, DirSyncAnswer};

use crate::sync_faults::chance::Chance;
use crate::sync_faults::process::{Fault, Process};
use crate::sync_faults::wire::{Answer, Server, bend};
use crate::sync_faults::world::{Controller, Id, Objects, Truth, is_published};

/// The Deleted Objects container of a naming context.
const DELETED: &str = "<WKGUID=18E2EA80684F11D2B9AA00C04F79F805,";

/// A complete pass, as far as it was shown.
#[derive(Debug, Clone, Default)]
struct Pass {
    begun: u64,
    seen: BTreeSet<Id>,
}

#[derive(Debug)]
struct Cookie {
    invocation: Id,
    /// Objects up to here were shown.
    usn: u64,
    /// And of their attributes all that changed up to here: moves on when all of the objects were.
    attributes: u64,
    /// Of the complete pass that it belongs to.
    pass: Option<Pass>,
}

/// What was shown of the member's people.
#[derive(Debug, Default)]
pub struct Shown {
    /// When somebody was last shown as one who is not to be published, and as one who is.
    gone: HashMap<Id, u64>,
    here: HashMap<Id, u64>,
    /// Everything as it was shown last, without the people whom a complete pass did not bring.
    told: Objects,
    /// Complete passes that ended while the canary could be seen: when, and who was not in it.
    passes: Vec<(u64, BTreeSet<Id>)>,
}

impl Shown {
    /// Whoever the complete pass that ended did not bring is gone, and comes back with nothing but a showing of their own.
    fn end_pass(&mut self) {
        if let Some((_, seen)) = self.passes.last() {
            self.told.retain(|id, object| !object.is_person() || seen.contains(id));
        }
    }
}

/// One member, with all of its controllers.
#[derive(Debug)]
pub struct Member {
    pub truth: Truth,
    pub controllers: Vec<Controller>,
    pub shown: Shown,
    cookies: Vec<Cookie>,
    /// Our account may list and read deleted objects.
    pub tells_deletions: bool,
    /// Deleted objects come without a name.
    pub nameless: bool,
    /// Our account's rights are gone on the canary and on some people.
    pub hidden: bool,
    pub page: usize,
    /// Something happened to a controller that no look at it can tell: judged only after a complete pass.
    pub muddied: bool,
    pub life: Chance,
    pub movers: Vec<crate::sync_faults::world::Mover>,
}

impl Member {
    pub fn new(truth: Truth, page: usize, life: Chance) -> Member {
        let host = |number: u8| format!("dc{number}.{}.test", truth.code.to_lowercase());
        let mut controllers = vec![Controller::new(&host(1), 11), Controller::new(&host(2), 12)];
        controllers.iter_mut().for_each(|one| one.hear(&truth, usize::MAX));
        Member {
            truth,
            controllers,
            shown: Shown::default(),
            cookies: Vec::new(),
            tells_deletions: true,
            nameless: false,
            hidden: false,
            page,
            muddied: false,
            life,
            movers: Vec::new(),
        }
    }

    /// Why nobody could know that this person is not to be published any more, if so. `since`: when the run began that published them.
    pub fn objects_to_removal(&self, id: &Id, since: u64) -> Option<String> {
        if self.muddied {
            return None;
        }
        let at = |when: &HashMap<Id, u64>| when.get(id).copied().unwrap_or(0);
        let (gone, here) = (at(&self.shown.gone), at(&self.shown.here));
        let absent = self
            .shown
            .passes
            .iter()
            .filter(|(_, seen)| !seen.contains(id))
            .map(|(at, _)| *at)
            .max()
            .unwrap_or(0);
        let known = gone.max(absent);
        (known <= since || known < here).then(|| {
            format!("published {since}, shown as gone {gone}, absent {absent}, shown as here {here}")
        })
    }

    fn is_hidden(&self, id: &Id) -> bool {
        self.hidden && self.truth.objects[id].is_person() && id[7].is_multiple_of(2)
    }

    fn dn(&self, at: usize, id: &Id) -> String {
        let object = &self.controllers[at].objects[id];
        match object.parent {
            _ if object.deleted => {
                let guid = uuid::Uuid::from_bytes_le(*id);
                format!("{}\\0ADEL:{guid},CN=Deleted Objects,{}", object.rdn, self.truth.base())
            }
            Some(parent) => format!("{},{}", object.rdn, self.dn(at, &parent)),
            None => self.truth.base(),
        }
    }

    /// The attributes that changed after `usn`, or all that there are.
    fn entry(&self, at: usize, id: &Id, asked: &[Cow<'_, str>], usn: Option<u64>) -> Entry {
        let controller = &self.controllers[at];
        let (object, copy) = (&controller.objects[id], &controller.copies[id]);
        let mut attributes = Vec::new();
        for name in asked.iter().map(|name| name.to_lowercase()) {
            let changed = usn.is_none_or(|usn| copy.usns.get(&name).is_some_and(|changed| *changed > usn));
            let values: Vec<Vec<u8>> = match name.as_str() {
                "objectguid" => vec![id.to_vec()],
                "parentguid" => object.parent.iter().map(|id| id.to_vec()).collect(),
                _ if !changed => continue,
                "isdeleted" if object.deleted => vec![b"TRUE".to_vec()],
                "name" => vec![object.rdn.split_once('=').unwrap().1.as_bytes().to_vec()],
                "manager" => {
                    let values = object.values.get("manager").into_iter().flatten();
                    values
                        .map(|guid| format!("<GUID={guid}>;CN=Somebody,{}", self.truth.base()).into_bytes())
                        .collect()
                }
                // an attribute that was removed comes without values
                _ => object.values.get(&name).into_iter().flatten().map(|v| v.clone().into_bytes()).collect(),
            };
            if usn.is_some() || !values.is_empty() {
                attributes.push(Attribute { description: name, values });
            }
        }
        let dn = if object.deleted && self.nameless { String::new() } else { self.dn(at, id) };
        Entry { dn, attributes }
    }

    fn is_shown(&self, at: usize, id: &Id) -> bool {
        let object = &self.controllers[at].objects[id];
        !self.is_hidden(id) && (!object.deleted || self.tells_deletions)
    }

    /// Keeps what was shown of these objects, and of those below them as far as it was shown where they are: whoever was moved or deleted
    /// without our being told goes with the unit that we know them in.
    fn show(&mut self, at: usize, ids: &[Id], now: u64) {
        let objects = &self.controllers[at].objects;
        self.shown.told.extend(ids.iter().map(|id| (*id, objects[id].clone())));
        let (shown, told) = (ids.iter().collect::<BTreeSet<&Id>>(), &self.shown.told);
        for id in told.iter().filter(|(_, object)| object.is_person()).map(|(id, _)| id) {
            let mut up = Some(*id);
            let mut touched = false;
            while let Some(here) = up.filter(|_| !touched) {
                touched = shown.contains(&here);
                up = told.get(&here).and_then(|object| object.parent);
            }
            if touched {
                let to = if is_published(told, id) { &mut self.shown.here } else { &mut self.shown.gone };
                to.insert(*id, now);
            }
        }
    }
}

/// One controller of a member.
pub struct Port {
    pub member: Arc<Mutex<Member>>,
    pub at: usize,
}

impl Server for Port {
    fn answer(&self, process: &Arc<Process>, message: &Message<'_>) -> Answer {
        let id = message.id;
        let search = match &message.operation {
            Operation::SearchRequest(search) => search,
            other => {
                process.trace.wrong(format!("a member directory is only read, and got {other:?}"));
                return Answer::end();
            }
        };
        let place = format!("source {}", self.at);
        let mut chance = process.chance(&place);
        let faults = [Fault::CutBefore, Fault::Refuse];
        match process.strikes(&mut chance, &faults) {
            Some(Fault::CutBefore) => {
                process.say(&format!("is cut off by dc{}", self.at + 1));
                return Answer::end();
            }
            Some(_) => {
                process.say(&format!("is refused by dc{}", self.at + 1));
                let mut answer = Answer::default();
                answer.add(id, Operation::SearchDone(Outcome::new(ResultCode(51), "busy")), Vec::new());
                return answer;
            }
            None => {}
        }
        let mut member = self.member.lock().unwrap();
        let before = member.shown.passes.len();
        let control = message.controls.iter().find(|control| control.oid == DirSync::OID);
        let (what, answer) = match control {
            Some(control) => {
                let asked = DirSync::read(control.value.as_deref().unwrap()).unwrap();
                (
                    format!("a page of dc{}", self.at + 1),
                    self.page(process, &mut member, id, search, &asked, &mut chance),
                )
            }
            None => (format!("a look at {}", search.base), self.base(&mut member, id, search, process)),
        };
        let ended = member.shown.passes.len();
        let answer = bend(process, &what, chance, answer);
        // what did not arrive was not shown
        if answer.end || answer.messages.is_empty() {
            member.shown.passes.truncate(before.min(ended));
        } else if ended > before {
            member.shown.end_pass();
        }
        answer
    }
}

impl Port {
    fn page(
        &self,
        process: &Process,
        member: &mut Member,
        id: i32,
        search: &Search<'_>,
        asked: &DirSync,
        chance: &mut Chance,
    ) -> Answer {
        let strike = process.strikes(chance, &[Fault::Cookie, Fault::Limit, Fault::Meanwhile, Fault::Rights]);
        if strike == Some(Fault::Rights) {
            member.hidden ^= true;
            process.say(&format!("reads while rights change, hidden: {}", member.hidden));
        }
        let mut answer = Answer::default();
        let token =
            <[u8; 8]>::try_from(asked.cookie.as_slice()).ok().map(|bytes| u64::from_be_bytes(bytes) as usize);
        let cookie = token.and_then(|token| member.cookies.get(token));
        let known = cookie.filter(|cookie| cookie.invocation == member.controllers[self.at].invocation);
        if !asked.cookie.is_empty() && (strike == Some(Fault::Cookie) || known.is_none()) {
            process.say("has its cookie refused");
            let code = *chance.pick(&[1, 12, 53]).unwrap();
            answer.add(id, Operation::SearchDone(Outcome::new(ResultCode(code), "")), Vec::new());
            return answer;
        }
        let now = process.trace.tick();
        let (from, changes, pass) = match known {
            Some(cookie) => (cookie.usn, cookie.attributes, cookie.pass.clone()),
            None => (0, 0, Some(Pass { begun: now, seen: BTreeSet::new() })),
        };
        let controller = &member.controllers[self.at];
        let mut changed: Vec<(u64, Id)> = controller
            .copies
            .iter()
            .filter(|(_, copy)| copy.usn > from)
            .map(|(id, copy)| (copy.usn, *id))
            .collect();
        changed.sort_unstable();
        let more = changed.len() > member.page;
        changed.truncate(member.page);
        // what may not be seen is passed over all the same
        let until = changed.last().map_or(from, |(usn, _)| *usn);
        let usns: BTreeSet<Id> = changed.iter().map(|(_, id)| *id).collect();
        let ids: Vec<Id> =
            changed.iter().map(|(_, id)| *id).filter(|id| member.is_shown(self.at, id)).collect();
        let entries: Vec<Entry> =
            ids.iter().map(|id| member.entry(self.at, id, &search.attributes, Some(changes))).collect();
        let mut all: Vec<Entry> = entries;
        let limited = strike == Some(Fault::Limit);
        if limited {
            all.truncate(usize::try_from(chance.below(all.len() as u64 + 1)).unwrap());
        }
        for entry in &all {
            answer.add(id, Operation::SearchEntry(entry.as_wire()), Vec::new());
        }
        if limited {
            process.say("is shown a part of a page");
            let code = *chance.pick(&[3, 4, 11]).unwrap();
            answer.add(id, Operation::SearchDone(Outcome::new(ResultCode(code), "")), Vec::new());
            return answer;
        }
        member.show(self.at, &ids, now);
        let brought: Vec<String> =
            ids.iter().map(|id| member.controllers[self.at].objects[id].rdn.clone()).collect();
        let kind = if pass.is_some() { "everything" } else { "changes" };
        process.say(&format!(
            "reads {kind} of dc{} from {from} to {until}: {}",
            self.at + 1,
            brought.join(", ")
        ));
        let pass = pass.map(|mut pass| {
            let living = usns
                .iter()
                .filter(|id| ids.contains(id) && !member.controllers[self.at].objects[*id].deleted);
            pass.seen.extend(living);
            pass
        });
        if let (Some(pass), false) = (&pass, more || member.hidden) {
            member.shown.passes.push((now, pass.seen.clone()));
            debug_assert!(pass.begun <= now);
        }
        let invocation = member.controllers[self.at].invocation;
        let token = (member.cookies.len() as u64).to_be_bytes().to_vec();
        let attributes = if more { changes } else { until };
        member.cookies.push(Cookie { invocation, usn: until, attributes, pass: pass.filter(|_| more) });
        let reply = vec![DirSyncAnswer { more, cookie: token }.control()];
        answer.add(id, Operation::SearchDone(Outcome::new(ResultCode::SUCCESS, "")), reply);
        if strike == Some(Fault::Meanwhile) {
            process.say("reads while more happens");
            let mut life = member.life.clone();
            let mover = member.truth.happen(&mut life);
            member.life = life;
            member.movers.extend(mover);
            let truth = member.truth.clone();
            member.controllers[self.at].hear(&truth, usize::MAX);
        }
        answer
    }

    fn base(&self, member: &mut Member, id: i32, search: &Search<'_>, process: &Process) -> Answer {
        let mut answer = Answer::default();
        let entry = self.look(member, search, process);
        if let Some(entry) = &entry {
            answer.add(id, Operation::SearchEntry(entry.as_wire()), Vec::new());
        }
        let code = if entry.is_some() { ResultCode::SUCCESS } else { ResultCode(32) };
        answer.add(id, Operation::SearchDone(Outcome::new(code, "")), Vec::<Control<'_>>::new());
        answer
    }

    fn look(&self, member: &mut Member, search: &Search<'_>, process: &Process) -> Option<Entry> {
        let entry = |dn: &str, attributes: BTreeMap<&str, Vec<u8>>| Entry {
            dn: dn.to_owned(),
            attributes: attributes
                .into_iter()
                .map(|(name, value)| Attribute { description: name.to_owned(), values: vec![value] })
                .collect(),
        };
        let controller = &member.controllers[self.at];
        let service = format!("CN=NTDS Settings,CN={},{}", controller.host, member.truth.base());
        let dn = search.base.as_ref();
        if let Some(guid) = dn.strip_prefix("<GUID=").and_then(|rest| rest.strip_suffix('>')) {
            let guid = uuid::Uuid::parse_str(guid).unwrap().to_bytes_le();
            if !controller
                .objects
                .get(&guid)
                .is_some_and(|object| !object.deleted && !member.is_hidden(&guid))
            {
                return None;
            }
            let now = process.trace.tick();
            member.show(self.at, &[guid], now);
            return Some(member.entry(self.at, &guid, &search.attributes, None));
        }
        let class = BTreeMap::from([("objectClass", b"top".to_vec())]);
        match dn {
            "" => Some(entry(
                "",
                BTreeMap::from([
                    ("dsServiceName", service.into_bytes()),
                    ("highestCommittedUSN", controller.usn.to_string().into_bytes()),
                    (
                        "isSynchronized",
                        if controller.synchronized { b"TRUE".to_vec() } else { b"FALSE".to_vec() },
                    ),
                    ("dnsHostName", controller.host.clone().into_bytes()),
                ]),
            )),
            dn if dn == service => Some(entry(
                dn,
                BTreeMap::from([
                    ("invocationId", controller.invocation.to_vec()),
                    ("msDS-isRODC", if controller.read_only { b"TRUE".to_vec() } else { b"FALSE".to_vec() }),
                ]),
            )),
            dn if dn.starts_with(DELETED) => member.tells_deletions.then(|| entry(dn, class)),
            // the canary is the base
            dn => (!member.hidden).then(|| entry(dn, class)),
        }
    }
}
