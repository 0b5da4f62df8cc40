//! The messages of RFC 4511 section 4, borrowed from the bytes they were read from or owned, as the maker likes.

use std::borrow::Cow;

use crate::ldap::control::Control;
use crate::ldap::entry::{WireAttribute, WireEntry};
use crate::ldap::filter::{Assertion, Filter};

/// OID of the StartTLS extended operation (RFC 4511 section 4.14).
pub const START_TLS: &str = "1.3.6.1.4.1.1466.20037";
/// OID of the Notice of Disconnection (RFC 4511 section 4.4.1).
pub const NOTICE_OF_DISCONNECTION: &str = "1.3.6.1.4.1.1466.20036";
/// OID of the "Who am I?" extended operation (RFC 4532).
pub const WHO_AM_I: &str = "1.3.6.1.4.1.4203.1.11.3";
/// OID of the Cancel extended operation (RFC 3909).
pub const CANCEL: &str = "1.3.6.1.1.8";
/// OID of the Modify Password extended operation (RFC 3062).
pub const MODIFY_PASSWORD: &str = "1.3.6.1.4.1.4203.1.11.1";

/// One LDAPMessage.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Message<'a> {
    /// 0 to 2^31-1; 0 only for unsolicited notifications. Refusing 0 in a request is the session's part.
    pub id: i32,
    /// What it asks or says.
    pub operation: Operation<'a>,
    /// In the order sent.
    pub controls: Vec<Control<'a>>,
}

impl<'a> Message<'a> {
    /// A message without controls.
    pub fn new(id: i32, operation: Operation<'a>) -> Self {
        Message { id, operation, controls: Vec::new() }
    }
}

/// Every operation of RFC 4511.
#[derive(Debug, Clone, PartialEq, Eq)]
#[allow(missing_docs, reason = "the names are those of RFC 4511 section 4")]
pub enum Operation<'a> {
    BindRequest(Bind<'a>),
    BindResponse(BindOutcome<'a>),
    UnbindRequest,
    SearchRequest(Search<'a>),
    SearchEntry(WireEntry<'a>),
    /// Continuation references: addresses, at least one.
    SearchReference(Vec<Cow<'a, str>>),
    SearchDone(Outcome<'a>),
    ModifyRequest(Modify<'a>),
    ModifyResponse(Outcome<'a>),
    AddRequest(WireEntry<'a>),
    AddResponse(Outcome<'a>),
    /// The name of the entry to delete.
    DeleteRequest(Cow<'a, str>),
    DeleteResponse(Outcome<'a>),
    ModifyDnRequest(ModifyDn<'a>),
    ModifyDnResponse(Outcome<'a>),
    CompareRequest(Compare<'a>),
    CompareResponse(Outcome<'a>),
    /// The id of the message to abandon.
    AbandonRequest(i32),
    ExtendedRequest(Extended<'a>),
    ExtendedResponse(ExtendedOutcome<'a>),
    IntermediateResponse(Intermediate<'a>),
}

/// BindRequest (section 4.2).
#[derive(Clone, PartialEq, Eq)]
pub struct Bind<'a> {
    /// 3; others are for the session to refuse.
    pub version: u8,
    /// Who.
    pub name: Cow<'a, str>,
    /// How.
    pub authentication: Authentication<'a>,
}

impl std::fmt::Debug for Bind<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Bind")
            .field("version", &self.version)
            .field("name", &self.name)
            .finish_non_exhaustive()
    }
}

/// AuthenticationChoice. It has no `Debug`, for it holds secrets.
#[derive(Clone, PartialEq, Eq)]
pub enum Authentication<'a> {
    /// The password; may be empty, which RFC 4513 section 5.1.2 lets us refuse.
    Simple(Cow<'a, [u8]>),
    /// A SASL step.
    Sasl {
        /// For example `EXTERNAL`.
        mechanism: Cow<'a, str>,
        /// The mechanism's own bytes.
        credentials: Option<Cow<'a, [u8]>>,
    },
    /// A choice that RFC 4511 does not have (Sicily: 0x89, 0x8a, 0x8b); answer `authMethodNotSupported`.
    Other {
        /// The tag byte, of the context class.
        tag: u8,
        /// The contents as they were.
        contents: Cow<'a, [u8]>,
    },
}

/// LDAPResult (section 4.1.9).
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Outcome<'a> {
    /// How it went.
    pub code: ResultCode,
    /// The deepest entry that was found, or empty.
    pub matched: Cow<'a, str>,
    /// Text for a person.
    pub diagnostic: Cow<'a, str>,
    /// Addresses to go on at; empty when there are none.
    pub referral: Vec<Cow<'a, str>>,
}

impl<'a> Outcome<'a> {
    /// An outcome with a code and a text only.
    pub fn new(code: ResultCode, diagnostic: impl Into<Cow<'a, str>>) -> Self {
        Outcome { code, diagnostic: diagnostic.into(), ..Outcome::default() }
    }
}

/// BindResponse (section 4.2.2).
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct BindOutcome<'a> {
    /// The result.
    pub outcome: Outcome<'a>,
    /// What the SASL mechanism answers.
    pub credentials: Option<Cow<'a, [u8]>>,
}

/// Scope of a search.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Scope {
    /// The base entry only.
    Base,
    /// Its children, without it.
    One,
    /// It and all below.
    Subtree,
    /// All below, without it (draft-sermersheim-ldap-subordinate-scope).
    Children,
}

impl Scope {
    /// The number on the wire.
    pub fn number(self) -> i32 {
        match self {
            Scope::Base => 0,
            Scope::One => 1,
            Scope::Subtree => 2,
            Scope::Children => 3,
        }
    }
}

/// When aliases are followed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
#[allow(missing_docs, reason = "the names are those of RFC 4511 section 4.5.1.3")]
pub enum Dereference {
    #[default]
    Never,
    InSearching,
    FindingBase,
    Always,
}

impl Dereference {
    /// The number on the wire.
    pub fn number(self) -> i32 {
        match self {
            Dereference::Never => 0,
            Dereference::InSearching => 1,
            Dereference::FindingBase => 2,
            Dereference::Always => 3,
        }
    }
}

/// SearchRequest (section 4.5.1).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Search<'a> {
    /// Where to start, not parsed (Active Directory also takes `<GUID=...>` here).
    pub base: Cow<'a, str>,
    /// How deep.
    pub scope: Scope,
    /// When to follow aliases.
    pub dereference: Dereference,
    /// Entries at most; 0 for no limit by the client.
    pub size_limit: u32,
    /// Seconds at most; 0 for no limit by the client.
    pub time_limit: u32,
    /// Names without values.
    pub types_only: bool,
    /// Which entries.
    pub filter: Filter<'a>,
    /// Which attributes, also `*`, `+`, `1.1`, `@class`; empty means all user attributes.
    pub attributes: Vec<Cow<'a, str>>,
}

/// ModifyRequest (section 4.6).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Modify<'a> {
    /// Which entry.
    pub dn: Cow<'a, str>,
    /// In order.
    pub changes: Vec<Change<'a>>,
}

/// One change of a modify request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Change<'a> {
    /// What to do with the values.
    pub kind: ChangeKind,
    /// The attribute and the values; may have no value.
    pub attribute: WireAttribute<'a>,
}

/// What to do with the values of a change.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum ChangeKind {
    /// Add these values.
    Add,
    /// Remove these values, or all.
    Delete,
    /// Have exactly these values.
    Replace,
    /// Add the number to each value (RFC 4525).
    Increment,
}

impl ChangeKind {
    /// The number on the wire.
    pub fn number(self) -> i32 {
        match self {
            ChangeKind::Add => 0,
            ChangeKind::Delete => 1,
            ChangeKind::Replace => 2,
            ChangeKind::Increment => 3,
        }
    }
}

/// ModifyDNRequest (section 4.9).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ModifyDn<'a> {
    /// Which entry.
    pub dn: Cow<'a, str>,
    /// Its new relative name.
    pub new_rdn: Cow<'a, str>,
    /// Drop the old relative name's values.
    pub delete_old_rdn: bool,
    /// Where to move it.
    pub new_superior: Option<Cow<'a, str>>,
}

/// CompareRequest (section 4.10).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Compare<'a> {
    /// Which entry.
    pub dn: Cow<'a, str>,
    /// Attribute and value.
    pub assertion: Assertion<'a>,
}

/// ExtendedRequest (section 4.12).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Extended<'a> {
    /// The OID of the operation.
    pub name: Cow<'a, str>,
    /// Its own bytes.
    pub value: Option<Cow<'a, [u8]>>,
}

/// ExtendedResponse (section 4.12).
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct ExtendedOutcome<'a> {
    /// The result.
    pub outcome: Outcome<'a>,
    /// The OID of the answer.
    pub name: Option<Cow<'a, str>>,
    /// Its own bytes.
    pub value: Option<Cow<'a, [u8]>>,
}

/// IntermediateResponse (section 4.13).
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Intermediate<'a> {
    /// The OID of the answer.
    pub name: Option<Cow<'a, str>>,
    /// Its own bytes.
    pub value: Option<Cow<'a, [u8]>>,
}

/// A result code: open, so that codes nobody knows here are kept.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Default)]
pub struct ResultCode(pub u32);

macro_rules! result_codes {
    ($($name:ident = $number:literal $text:literal;)*) => {
        #[allow(missing_docs, reason = "the names are those of RFC 4511 appendix A and the IANA registry")]
        impl ResultCode {
            $(pub const $name: ResultCode = ResultCode($number);)*

            /// The name that the RFCs give the code, or `unknown`.
            pub fn name(self) -> &'static str {
                match self.0 {
                    $($number => $text,)*
                    _ => "unknown",
                }
            }
        }
    };
}

result_codes! {
    SUCCESS = 0 "success";
    OPERATIONS_ERROR = 1 "operationsError";
    PROTOCOL_ERROR = 2 "protocolError";
    TIME_LIMIT_EXCEEDED = 3 "timeLimitExceeded";
    SIZE_LIMIT_EXCEEDED = 4 "sizeLimitExceeded";
    COMPARE_FALSE = 5 "compareFalse";
    COMPARE_TRUE = 6 "compareTrue";
    AUTH_METHOD_NOT_SUPPORTED = 7 "authMethodNotSupported";
    STRONGER_AUTH_REQUIRED = 8 "strongerAuthRequired";
    REFERRAL = 10 "referral";
    ADMIN_LIMIT_EXCEEDED = 11 "adminLimitExceeded";
    UNAVAILABLE_CRITICAL_EXTENSION = 12 "unavailableCriticalExtension";
    CONFIDENTIALITY_REQUIRED = 13 "confidentialityRequired";
    SASL_BIND_IN_PROGRESS = 14 "saslBindInProgress";
    NO_SUCH_ATTRIBUTE = 16 "noSuchAttribute";
    UNDEFINED_ATTRIBUTE_TYPE = 17 "undefinedAttributeType";
    INAPPROPRIATE_MATCHING = 18 "inappropriateMatching";
    CONSTRAINT_VIOLATION = 19 "constraintViolation";
    ATTRIBUTE_OR_VALUE_EXISTS = 20 "attributeOrValueExists";
    INVALID_ATTRIBUTE_SYNTAX = 21 "invalidAttributeSyntax";
    NO_SUCH_OBJECT = 32 "noSuchObject";
    ALIAS_PROBLEM = 33 "aliasProblem";
    INVALID_DN_SYNTAX = 34 "invalidDNSyntax";
    ALIAS_DEREFERENCING_PROBLEM = 36 "aliasDereferencingProblem";
    INAPPROPRIATE_AUTHENTICATION = 48 "inappropriateAuthentication";
    INVALID_CREDENTIALS = 49 "invalidCredentials";
    INSUFFICIENT_ACCESS_RIGHTS = 50 "insufficientAccessRights";
    BUSY = 51 "busy";
    UNAVAILABLE = 52 "unavailable";
    UNWILLING_TO_PERFORM = 53 "unwillingToPerform";
    LOOP_DETECT = 54 "loopDetect";
    SORT_CONTROL_MISSING = 60 "sortControlMissing";
    OFFSET_RANGE_ERROR = 61 "offsetRangeError";
    NAMING_VIOLATION = 64 "namingViolation";
    OBJECT_CLASS_VIOLATION = 65 "objectClassViolation";
    NOT_ALLOWED_ON_NON_LEAF = 66 "notAllowedOnNonLeaf";
    NOT_ALLOWED_ON_RDN = 67 "notAllowedOnRDN";
    ENTRY_ALREADY_EXISTS = 68 "entryAlreadyExists";
    OBJECT_CLASS_MODS_PROHIBITED = 69 "objectClassModsProhibited";
    AFFECTS_MULTIPLE_DSAS = 71 "affectsMultipleDSAs";
    OTHER = 80 "other";
    CANCELED = 118 "canceled";
    NO_SUCH_OPERATION = 119 "noSuchOperation";
    TOO_LATE = 120 "tooLate";
    CANNOT_CANCEL = 121 "cannotCancel";
    ASSERTION_FAILED = 122 "assertionFailed";
    AUTHORIZATION_DENIED = 123 "authorizationDenied";
    SYNC_REFRESH_REQUIRED = 4096 "e-syncRefreshRequired";
}

impl std::fmt::Display for ResultCode {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} ({})", self.name(), self.0)
    }
}

impl std::fmt::Debug for ResultCode {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        std::fmt::Display::fmt(self, f)
    }
}
