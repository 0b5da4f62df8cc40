//! The national directory as a server, and what is held against every write that it does: it was intended in a journal, the gate was open,
//! nobody has another's anchor or mail, and nobody is taken out of sight who was not seen to go.

use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use portcullis::ldap::ber;
use portcullis::ldap::control::Control;
use portcullis::ldap::dn::Dn;
use portcullis::ldap::entry::{Attribute, Entry as Shown};
use portcullis::ldap::filter::Filter;
use portcullis::ldap::limits::Limits;
use portcullis::ldap::message::{ChangeKind, Message, Operation, Outcome, ResultCode, Scope, Search};
use portcullis::ldap::typed_control::{self, ASSERTION, POST_READ, PRE_READ, PagedResults};
use portcullis::sync::terms::step::{Action, Step};

use crate::sync_faults::member::Member;
use crate::sync_faults::process::{Fault, Process, Trace};
use crate::sync_faults::tree::{Done, Entry, Kind, Tree, Write, key};
use crate::sync_faults::wire::{Answer, Power, Server, bend};

pub const PEOPLE: &str = "ou=people,dc=national,dc=test";

/// A step that a journal says is intended.
#[derive(Debug)]
pub struct Intent {
    pub seq: u64,
    pub member: String,
    pub step: Step,
    pub applied: bool,
    /// It arrived when nobody waited for it any more: that its run could not know what became of it is no fault of a journal.
    pub late: bool,
}

/// A request that is still on its way.
#[derive(Debug)]
struct OnItsWay {
    process: Arc<Process>,
    write: Write,
    assertion: Option<Filter<'static>>,
}

/// The national directory, and what is known of who may write to it.
#[derive(Debug)]
pub struct National {
    pub tree: Tree,
    pub intents: Vec<Intent>,
    /// What a write looks like, and the intents that look so.
    on_their_way: Vec<OnItsWay>,
    /// Entries that were written late, by their UUIDs.
    written_late: BTreeSet<String>,
    by_look: HashMap<String, Vec<usize>>,
    /// When the run began that published this anchor.
    published: HashMap<String, u64>,
    pub members: BTreeMap<String, Arc<Mutex<Member>>>,
    pub writes: u64,
    trace: Arc<Trace>,
}

impl National {
    pub fn new(members: BTreeMap<String, Arc<Mutex<Member>>>, trace: Arc<Trace>) -> National {
        let mut tree = Tree::with(&[
            ("dc=national,dc=test", &[("objectclass", "organizationalUnit"), ("ou", "national")]),
            (PEOPLE, &[("objectclass", "organizationalUnit"), ("ou", "people")]),
        ]);
        // a creation that is on its way for longer than a run takes makes a second entry otherwise: the anchor's name may be another by then
        tree.unique_anchors = true;
        National {
            tree,
            intents: Vec::new(),
            on_their_way: Vec::new(),
            written_late: BTreeSet::new(),
            by_look: HashMap::new(),
            published: HashMap::new(),
            members,
            writes: 0,
            trace,
        }
    }

    /// A journal was told of an intention.
    pub fn intend(&mut self, member: &str, seq: u64, step: Step) {
        self.by_look.entry(look_of(&step)).or_default().push(self.intents.len());
        self.intents.push(Intent { seq, member: member.to_owned(), step, applied: false, late: false });
    }

    /// Whether this intention was carried out by a write that came late, its own or that of a run before it that intended the same.
    pub fn came_late(&self, member: &str, seq: u64) -> bool {
        let mut own = self.intents.iter().filter(|one| one.member == member && one.seq == seq);
        let look = own.next().map(|one| look_of(&one.step));
        self.intents.iter().any(|one| one.late && one.member == member && Some(look_of(&one.step)) == look)
    }

    /// What was on its way arrives.
    pub fn arrive(&mut self, process: &Process) {
        for one in std::mem::take(&mut self.on_their_way) {
            if one.process.name == process.name {
                self.on_their_way.push(one);
                continue;
            }
            let done = self.apply(&one.process, &one.write, one.assertion.as_ref(), true);
            one.process.say(&format!(
                "has a write arrive late, which comes to {}: {}",
                done.code,
                look(&one.write)
            ));
        }
    }

    fn apply(
        &mut self,
        process: &Process,
        write: &Write,
        assertion: Option<&Filter<'_>>,
        late: bool,
    ) -> Done {
        let done = self.tree.write(write, assertion);
        if done.code != 0 {
            return done;
        }
        self.writes += 1;
        let wrong = |text: String| self.trace.wrong(format!("{}: {text}", process.name));
        let now = self.trace.tick();
        let what = look(write);
        process.say(&format!("writes {}", what.get(..120).unwrap_or(&what)));
        let all = self.by_look.get(&look(write)).cloned().unwrap_or_default();
        let intent = all.into_iter().rev().find(|at| {
            let intent = &self.intents[*at];
            !intent.applied && intent.member == process.member
        });
        match intent {
            Some(at) => {
                self.intents[at].applied = true;
                self.intents[at].late = late;
                self.versions(process, at, &done);
                self.judge(process, at, &done, now, late);
            }
            None => wrong(format!("a write that no journal intends: {write:?}")),
        }
        if process.has_shut_gate() && !late {
            self.trace.wrong(format!("{}: a write after the gate closed: {write:?}", process.name));
        }
        // that nobody else has a value was so when the write was sent: a directory alone could hold that against one that is late, and
        // the next run mends it
        if late {
            self.written_late.extend(done.after.iter().map(|entry| entry.uuid.clone()));
        }
        self.unique(process, &done);
        done
    }

    /// Whether the entry still was what was planned against.
    fn versions(&self, process: &Process, at: usize, done: &Done) {
        let step = &self.intents[at].step;
        let Some(before) = &done.before else { return };
        if step.entry_uuid.as_deref() != Some(&before.uuid) || step.entry_csn.as_deref() != Some(&before.csn)
        {
            self.trace.wrong(format!(
                "{}: {:?} of another version than was planned against: {}",
                process.name, step.action, before.dn
            ));
        }
    }

    /// Whether somebody is taken out of sight who was not seen to go.
    fn judge(&mut self, process: &Process, at: usize, done: &Done, now: u64, late: bool) {
        let step = &self.intents[at].step;
        let anchor = |entry: &Option<Entry>| {
            entry.as_ref().and_then(|entry| entry.first("portcullisanchor").map(str::to_owned))
        };
        let left = |entry: &Option<Entry>| {
            entry.as_ref().is_some_and(|entry| !entry.values("portcullisleftat").is_empty())
        };
        if let (Some(anchor), true) = (anchor(&done.before), step.action.removes()) {
            let (member, guid) = anchor.split_once('/').unwrap();
            let id = uuid::Uuid::parse_str(guid).unwrap().to_bytes_le();
            let since = self.published.get(&anchor).copied().unwrap_or(0);
            let why = self.members[member].lock().unwrap().objects_to_removal(&id, since);
            if let (Some(why), false) = (why, left(&done.before) || late) {
                self.trace.wrong(format!(
                    "{}: {:?} of {anchor} ({}) though nobody saw them go: {why}",
                    process.name, step.action, step.reason
                ));
            }
            if step.action == Action::Delete && !left(&done.before) && step.rule != "not_published" {
                self.trace
                    .wrong(format!("{}: deleted {anchor} who was not marked: {}", process.name, step.rule));
            }
        }
        if let (Some(anchor), false) = (anchor(&done.after), left(&done.after)) {
            let was = self.published.contains_key(&anchor) && !left(&done.before) && done.before.is_some();
            if !was {
                self.published.insert(anchor, process.since.min(now));
            }
        }
    }

    fn unique(&self, process: &Process, done: &Done) {
        let Some(after) = &done.after else { return };
        for name in ["portcullisanchor", "mail"] {
            for value in after.values(name) {
                let having = self
                    .tree
                    .entries
                    .values()
                    .filter(|entry| entry.values(name).iter().any(|one| one.eq_ignore_ascii_case(value)));
                let having: Vec<&Entry> = having.collect();
                let late = having.iter().any(|entry| self.written_late.contains(&entry.uuid));
                if having.len() > 1 && !late {
                    let having: Vec<&str> = having.iter().map(|entry| entry.dn.as_str()).collect();
                    self.trace.wrong(format!("{}: {name} {value} is on {having:?}", process.name));
                }
            }
        }
    }
}

fn sorted(values: &[String]) -> Vec<String> {
    let mut values = values.to_vec();
    values.sort();
    values
}

/// What the step's request looks like.
fn look_of(step: &Step) -> String {
    let mut changes: Vec<(String, Vec<String>)> =
        step.changes.iter().map(|change| (change.attribute.to_lowercase(), sorted(&change.after))).collect();
    changes.sort();
    match step.action {
        Action::Prepare | Action::Create => format!("add {} {changes:?}", step.dn),
        Action::Rename => format!("rename {} {}", step.dn, step.to.as_deref().unwrap_or_default()),
        Action::Delete => format!("delete {}", step.dn),
        _ => format!("modify {} {changes:?}", step.dn),
    }
}

fn look(write: &Write) -> String {
    match write {
        Write::Add { dn, attributes } => {
            let mut all: Vec<(String, Vec<String>)> =
                attributes.iter().map(|(name, values)| (name.to_lowercase(), sorted(values))).collect();
            all.sort();
            format!("add {dn} {all:?}")
        }
        Write::Modify { dn, changes } => {
            let mut all: Vec<(String, Vec<String>)> =
                changes.iter().map(|(_, name, values)| (name.to_lowercase(), sorted(values))).collect();
            all.sort();
            format!("modify {dn} {all:?}")
        }
        Write::Rename { dn, rdn, superior, .. } => {
            format!("rename {dn} {rdn},{}", superior.as_deref().unwrap_or_default())
        }
        Write::Delete { dn } => format!("delete {dn}"),
    }
}

/// Its server.
pub struct Port {
    pub national: Arc<Mutex<National>>,
    pub power: Arc<Power>,
}

impl Server for Port {
    fn answer(&self, process: &Arc<Process>, message: &Message<'_>) -> Answer {
        match &message.operation {
            Operation::SearchRequest(search) => self.search(process, message, search),
            other => match write_of(other) {
                Some(write) => self.write(process, message, &write),
                None => {
                    process.trace.wrong(format!("an operation that sync does not need: {other:?}"));
                    Answer::end()
                }
            },
        }
    }
}

fn texts(values: &[Cow<'_, [u8]>]) -> Vec<String> {
    values.iter().map(|value| String::from_utf8_lossy(value).into_owned()).collect()
}

fn write_of(operation: &Operation<'_>) -> Option<Write> {
    Some(match operation {
        Operation::AddRequest(entry) => Write::Add {
            dn: entry.dn.to_string(),
            attributes: entry
                .attributes
                .iter()
                .map(|one| (one.description.to_string(), texts(&one.values)))
                .collect(),
        },
        Operation::ModifyRequest(modify) => Write::Modify {
            dn: modify.dn.to_string(),
            changes: modify
                .changes
                .iter()
                .map(|change| {
                    let kind = match change.kind {
                        ChangeKind::Add => Kind::Add,
                        ChangeKind::Delete => Kind::Delete,
                        ChangeKind::Replace => Kind::Replace,
                        ChangeKind::Increment => return None,
                    };
                    Some((kind, change.attribute.description.to_string(), texts(&change.attribute.values)))
                })
                .collect::<Option<_>>()?,
        },
        Operation::ModifyDnRequest(rename) => Write::Rename {
            dn: rename.dn.to_string(),
            rdn: rename.new_rdn.to_string(),
            delete_old: rename.delete_old_rdn,
            superior: rename.new_superior.as_ref().map(ToString::to_string),
        },
        Operation::DeleteRequest(dn) => Write::Delete { dn: dn.to_string() },
        _ => return None,
    })
}

fn answered(operation: &Operation<'_>, code: u32) -> Operation<'static> {
    let outcome = Outcome::new(ResultCode(code), "");
    match operation {
        Operation::AddRequest(_) => Operation::AddResponse(outcome),
        Operation::ModifyRequest(_) => Operation::ModifyResponse(outcome),
        Operation::ModifyDnRequest(_) => Operation::ModifyDnResponse(outcome),
        Operation::DeleteRequest(_) => Operation::DeleteResponse(outcome),
        _ => Operation::SearchDone(outcome),
    }
}

/// What a pre-read or post-read control asks for, and its answer.
fn read_back(controls: &[Control<'_>], oid: &'static str, entry: Option<&Entry>) -> Option<Control<'static>> {
    let control = controls.iter().find(|control| control.oid == oid)?;
    let asked: Vec<String> = ber_texts(control.value.as_deref()?);
    let entry = shown(entry?, &asked);
    // an entry on its own is one inside a message, without the message
    let bytes = portcullis::ldap::codec::to_bytes(&Message::new(1, Operation::SearchEntry(entry.as_wire())));
    let mut message = ber::Reader::new(&bytes);
    let mut inside = ber::Reader::new(message.expect(ber::SEQUENCE).ok()?);
    inside.expect(ber::INTEGER).ok()?;
    let body = inside.element().ok()?;
    let mut value = Vec::new();
    let at = ber::open(&mut value, body.tag);
    value.extend_from_slice(body.contents);
    ber::close(&mut value, at);
    Some(Control { oid: Cow::Borrowed(oid), critical: false, value: Some(Cow::Owned(value)) })
}

fn ber_texts(value: &[u8]) -> Vec<String> {
    let mut list = ber::Reader::new(ber::Reader::new(value).expect(ber::SEQUENCE).unwrap());
    let mut all = Vec::new();
    while !list.is_empty() {
        all.push(String::from_utf8_lossy(list.octets().unwrap()).into_owned());
    }
    all
}

fn shown(entry: &Entry, asked: &[String]) -> Shown {
    let mut names: Vec<String> = asked.iter().filter(|name| *name != "*").cloned().collect();
    if asked.iter().any(|name| name == "*") {
        names.extend(entry.attributes.keys().cloned());
    }
    let attributes = names.iter().filter_map(|name| {
        let values = entry.shown(&name.to_lowercase());
        let values: Vec<Vec<u8>> = values.into_iter().map(String::into_bytes).collect();
        (!values.is_empty()).then(|| Attribute { description: name.clone(), values })
    });
    Shown { dn: entry.dn.clone(), attributes: attributes.collect() }
}

impl Port {
    fn write(&self, process: &Arc<Process>, message: &Message<'_>, write: &Write) -> Answer {
        let what = look(write);
        let what = what.split(" [").next().unwrap_or_default().to_owned();
        let mut chance = process.chance(&what);
        let mut answer = Answer::default();
        match process.strikes(&mut chance, &[Fault::CutBefore, Fault::Refuse, Fault::Restart, Fault::Crash]) {
            Some(Fault::CutBefore) => {
                process.say(&format!("is cut off before {what}"));
                return Answer::end();
            }
            Some(Fault::Refuse) => {
                let code = *chance.pick(&[51, 52, 80, 53]).unwrap();
                process.say(&format!("is refused with {code}: {what}"));
                answer.add(message.id, answered(&message.operation, code), Vec::new());
                return answer;
            }
            Some(Fault::Restart) => {
                process.say(&format!("sees the national directory restart at {what}"));
                self.power.restart(chance.below(3));
                return Answer::end();
            }
            Some(_) => {
                process.crash(&format!("before {what}"));
                return Answer::end();
            }
            None => {}
        }
        let limits = Limits::default();
        let assertion = message.controls.iter().find(|control| control.oid == ASSERTION);
        let assertion = assertion.map(|control| {
            typed_control::read_assertion(control.value.as_deref().unwrap(), &limits).unwrap()
        });
        let mut national = self.national.lock().unwrap();
        national.arrive(process);
        if process.strikes(&mut chance, &[Fault::Late]).is_some() {
            process.say(&format!("is cut off while on its way: {what}"));
            let assertion = assertion.map(Filter::into_owned);
            national.on_their_way.push(OnItsWay {
                process: Arc::clone(process),
                write: write.clone(),
                assertion,
            });
            return Answer::end();
        }
        let done = national.apply(process, write, assertion.as_ref(), false);
        drop(national);
        let read = [(PRE_READ, &done.before), (POST_READ, &done.after)];
        let reply = read
            .into_iter()
            .filter_map(|(oid, entry)| read_back(&message.controls, oid, entry.as_ref()))
            .collect();
        answer.add(message.id, answered(&message.operation, done.code), reply);
        bend(process, &what, chance, answer)
    }

    fn search(&self, process: &Arc<Process>, message: &Message<'_>, search: &Search<'_>) -> Answer {
        let mut chance = process.chance("national search");
        let what = format!("a search of {}", if search.base.is_empty() { "the root" } else { &search.base });
        let strike = process.strikes(&mut chance, &[Fault::CutBefore, Fault::Refuse, Fault::Limit]);
        let mut answer = Answer::default();
        match strike {
            Some(Fault::CutBefore) => {
                process.say(&format!("is cut off before {what}"));
                return Answer::end();
            }
            Some(Fault::Refuse) => {
                process.say(&format!("is refused {what}"));
                answer.add(message.id, answered(&message.operation, 51), Vec::new());
                return answer;
            }
            _ => {}
        }
        let national = self.national.lock().unwrap();
        let (code, mut entries) = found(&national.tree, search);
        drop(national);
        let mut reply = Vec::new();
        let paged = message.controls.iter().find(|control| control.oid == PagedResults::OID);
        if let (Some(control), 0) = (paged, code) {
            let asked = PagedResults::read(control.value.as_deref().unwrap()).unwrap();
            // the cookie is the name of the last entry that was shown
            let after = String::from_utf8(asked.cookie).unwrap();
            let mut sorted: Vec<(String, Shown)> =
                entries.into_iter().map(|entry| (key(&entry.dn).unwrap(), entry)).collect();
            sorted.retain(|(name, _)| *name > after);
            let more = sorted.len() > asked.size as usize;
            sorted.truncate(asked.size as usize);
            let cookie =
                sorted.last().filter(|_| more).map(|(name, _)| name.clone().into_bytes()).unwrap_or_default();
            reply.push(PagedResults { size: 0, cookie }.control(false));
            entries = sorted.into_iter().map(|(_, entry)| entry).collect();
        }
        let mut code = code;
        if strike == Some(Fault::Limit) && code == 0 && !search.base.is_empty() {
            entries.truncate(usize::try_from(chance.below(entries.len() as u64 + 1)).unwrap());
            code = *chance.pick(&[3, 4, 11]).unwrap();
            reply.clear();
            process.say(&format!("is shown a part in {what}"));
        }
        for entry in &entries {
            answer.add(message.id, Operation::SearchEntry(entry.as_wire()), Vec::new());
        }
        answer.add(message.id, answered(&message.operation, code), reply);
        let mut answer = bend(process, &what, chance, answer);
        answer.delay = answer.delay.min(Duration::from_millis(10));
        answer
    }
}

fn found(tree: &Tree, search: &Search<'_>) -> (u32, Vec<Shown>) {
    let asked: Vec<String> = search.attributes.iter().map(ToString::to_string).collect();
    if search.base.is_empty() && search.scope == Scope::Base {
        let controls = [ASSERTION, PRE_READ, POST_READ, PagedResults::OID];
        let values = controls.iter().map(|oid| oid.as_bytes().to_vec()).collect();
        let attributes = vec![Attribute { description: "supportedControl".to_owned(), values }];
        return (0, vec![Shown { dn: String::new(), attributes }]);
    }
    let Ok(base) = Dn::parse(&search.base) else { return (34, Vec::new()) };
    if !tree.entries.contains_key(&base.normal()) {
        return (32, Vec::new());
    }
    let (mut all, at) = (Vec::new(), base.normal());
    let below = format!(",{at}");
    for (key, entry) in &tree.entries {
        let inside = match search.scope {
            Scope::Base => *key == at,
            Scope::One => {
                key.strip_suffix(&below).is_some_and(|rdn| Dn::parse(rdn).is_ok_and(|dn| dn.depth() == 1))
            }
            _ => *key == at || key.ends_with(&below),
        };
        if !inside {
            continue;
        }
        match entry.matches(&search.filter) {
            Some(true) => all.push(shown(entry, &asked)),
            Some(false) => {}
            None => return (18, Vec::new()),
        }
    }
    (0, all)
}
