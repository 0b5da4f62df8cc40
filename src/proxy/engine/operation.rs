//! An operation of a client that waits for directories behind.

use std::sync::Arc;

use crate::ldap::filter::Filter;
use crate::ldap::message::{ResultCode, Scope};
use crate::namespace::projection::{Projection, Selection};
use crate::proxy::engine::answer::Answer;
use crate::proxy::engine::extras::{Beyond, Extras};
use crate::proxy::engine::ranges::Ranges;
use crate::proxy::engine::turns::{Paces, Turn};
use crate::release::permit::Permit;
use crate::release::requester::Operation as Kind;
use crate::release::requester::Requester;

const IN_LINE: &str =
    "too many of your questions to this directory are slow; ask for less at once, or try again later";

/// What is asked, as far as the answers still need it.
#[derive(Debug)]
pub enum Question {
    Search,
    /// The base entry is read and compared here, so that the rules for hidden attributes are those of a search.
    Compare {
        /// The concealed assertion; None when its attribute does not exist for the requester.
        filter: Option<Filter<'static>>,
        /// None until the entry came.
        outcome: Option<ResultCode>,
    },
}

/// How far one directory's part of an operation is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum At {
    /// Its turn has not come: a paged search asks one directory after the other.
    Later,
    /// It waits until its requester has fewer questions at that directory.
    Queued,
    /// It waits for a connection to its mount.
    Waiting,
    /// It is a question on an upstream connection.
    Sent { upstream: usize, slot: u16 },
    /// Answered to the end.
    Done,
    /// Will not be answered.
    Failed,
}

/// One directory's part of an operation.
#[derive(Debug, Clone)]
pub struct Part {
    pub permit: Arc<Permit>,
    pub at: At,
    /// How it ended, once it has.
    pub code: ResultCode,
    /// It counts among the requester's operations in flight.
    pub charged: bool,
}

impl Part {
    /// Whether it waits for an answer.
    pub fn is_open(&self) -> bool {
        matches!(self.at, At::Queued | At::Waiting | At::Sent { .. })
    }

    /// A part that was not asked yet.
    pub fn new(permit: &Arc<Permit>) -> Part {
        Part { permit: Arc::clone(permit), at: At::Waiting, code: ResultCode::SUCCESS, charged: false }
    }
}

/// One operation of one client.
pub struct Operation {
    /// Different for every operation of the shard; legs carry it, so that a reused key is noticed.
    pub serial: u64,
    pub client: usize,
    pub message_id: i32,
    pub requester: Arc<Requester>,
    pub kind: Kind,
    pub question: Question,
    /// Microseconds.
    pub started: u64,
    pub deadline: u64,
    /// Whether the deadline is the client's or the agreement's, not ours.
    pub deadline_is_theirs: bool,
    pub size_limit: u32,
    /// Whether the whole tree is searched: then a directory without an answer is missing from the result.
    pub whole_tree: bool,
    pub parts: Vec<Part>,
    /// Parts that have not ended.
    pub open: usize,
    /// Directories that should have answered and did not.
    pub missing: u32,
    pub entries: u32,
    pub dropped: u32,
    /// The result so far; the first error stays.
    pub code: ResultCode,
    /// The first half of the audit record.
    pub audit: Vec<u8>,
    /// What controls add.
    pub extras: Option<Box<Extras>>,
}

impl Operation {
    /// Notes how part number `part` ended; true when it was the last.
    pub fn settle(&mut self, part: usize, at: At, code: ResultCode) -> bool {
        let Some(part) = self.parts.get_mut(part) else { return false };
        if matches!(part.at, At::Done | At::Failed) {
            return false;
        }
        part.at = at;
        part.code = code;
        self.open = self.open.saturating_sub(1);
        if at == At::Failed {
            self.missing += 1;
        }
        if self.code == ResultCode::SUCCESS {
            self.code = code;
        }
        self.open == 0
    }

    /// Whether it walks through a directory page by page: what is sorted is read as a whole.
    pub fn walks(&self) -> bool {
        self.extras.as_deref().is_some_and(|extras| extras.walk.is_some() && extras.sorting.is_none())
    }

    /// The final answer when our own limit of time is over: whoever has not answered is missing.
    pub fn overdue(&mut self) -> Answer {
        self.missing += u32::try_from(self.open).unwrap_or(u32::MAX);
        if self.whole_tree {
            return self.result();
        }
        // Its turn did not come: that is no fault of the directory.
        if self.parts.iter().any(|part| part.at == At::Queued) {
            return Answer::new(ResultCode::BUSY, IN_LINE);
        }
        Answer::new(ResultCode::UNAVAILABLE, "the directory behind did not answer in time")
    }

    /// The final answer, when no part is open.
    pub fn result(&self) -> Answer {
        if self.missing > 0 {
            return if self.whole_tree {
                let (missing, asked) = (self.missing, self.parts.len());
                Answer::new(
                    ResultCode::UNAVAILABLE,
                    format!("{missing} of {asked} directories did not answer; the result is not complete"),
                )
            } else if self.code == ResultCode::BUSY {
                Answer::new(ResultCode::BUSY, "too many questions to this directory at once; try again later")
            } else {
                Answer::new(
                    ResultCode::UNAVAILABLE,
                    "the directory behind cannot be reached; try again later",
                )
            };
        }
        match &self.question {
            Question::Search => Answer::plain(self.code),
            Question::Compare { outcome, .. } if self.code == ResultCode::SUCCESS => {
                Answer::plain(outcome.unwrap_or(ResultCode::NO_SUCH_OBJECT))
            }
            Question::Compare { .. } => Answer::plain(self.code),
        }
    }
}

/// A question to one directory.
#[derive(Debug)]
pub struct Leg {
    /// Key and serial of the operation, and which of its parts this is.
    pub operation: usize,
    pub serial: u64,
    pub part: usize,
    pub shape: Shape,
    /// The encoded request operation, kept when further pages or another server may have to be asked.
    pub request: Vec<u8>,
    /// Entries of the directory's next page, when the client's pages say so.
    pub page: Option<u32>,
    pub sent: u64,
    /// Entries that came, and those that were passed on.
    pub entries: u32,
    pub released: u32,
    /// An entry did not check.
    pub broken: bool,
    /// Servers that were asked before this one and did not answer.
    pub attempts: u32,
    /// Entries that wait for the rest of their values.
    pub ranges: Ranges,
    /// Others that asked the same.
    pub shared: Option<Box<Shared>>,
    /// The right to be at the directory.
    pub turn: Option<Turn>,
    /// What is to be expected of it.
    pub paces: Paces,
    /// It was not expected to be quick where it is.
    pub is_slow: bool,
    /// It has waited for its turn, which has come.
    pub called: bool,
}

/// Those that wait for the answer to a question of somebody else, which is the same as theirs.
#[derive(Debug, Default)]
pub struct Shared {
    pub followers: Vec<Leg>,
    /// The entries that came, as the directory sent them.
    pub replay: Vec<u8>,
    /// They were too much to keep.
    pub overflowed: bool,
}

impl Shared {
    /// Keeps an entry for those that wait.
    pub fn keep(&mut self, message: &[u8], most: usize) {
        if self.overflowed || self.replay.len() + message.len() > most {
            self.overflowed = true;
            self.replay = Vec::new();
        } else {
            self.replay.extend_from_slice(message);
        }
    }
}

impl Leg {
    /// A question that was not sent yet.
    pub fn new(operation: usize, serial: u64, part: usize, shape: Shape) -> Self {
        Leg {
            operation,
            serial,
            part,
            shape,
            request: Vec::new(),
            page: None,
            sent: 0,
            entries: 0,
            released: 0,
            broken: false,
            attempts: 0,
            ranges: Ranges::default(),
            shared: None,
            turn: None,
            paces: Paces::default(),
            is_slow: false,
            called: false,
        }
    }
}

/// What entries must be to be shown, and how they are shown.
#[derive(Debug)]
pub struct Shape {
    pub projection: Arc<Projection>,
    pub selection: Selection,
    /// The concealed filter, when the directory may answer with more than matches.
    pub recheck: Option<Filter<'static>>,
    /// The entry filter has to be held against each entry: the directory was asked for more than it selects.
    pub check_entries: Option<Filter<'static>>,
    /// What the directory was asked below; entries elsewhere are dropped.
    pub base: String,
    pub scope: Scope,
    /// The base is the mount point itself.
    pub at_mount: bool,
    /// What controls ask beyond that.
    pub beyond: Option<Box<Beyond>>,
}
