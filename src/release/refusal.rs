//! Why a request got no permit, and how much of that the requester is told.

use crate::policy::terms::{OdsCode, Target};

/// RFC 4511 4.1.9: the named object is not there, for this requester.
const NO_SUCH_OBJECT: u32 = 32;
/// RFC 4511 4.1.9: the requester may not do this.
const INSUFFICIENT_ACCESS_RIGHTS: u32 = 50;

/// What stood in the way.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Kind {
    /// The requester's proof has ended.
    Expired,
    /// The `lookup` gate of the requester's own member is closed.
    OwnGateClosed(OdsCode),
    /// The `lookup` gate of the member that was asked about is closed.
    TargetGateClosed(OdsCode),
    /// No release agreement in force covers the request.
    NoAgreement(Target),
}

impl Kind {
    /// It lies with the requester itself, whomever it asks about.
    pub const fn is_own(&self) -> bool {
        matches!(self, Kind::Expired | Kind::OwnGateClosed(_))
    }

    /// A bounded label for metrics and audit records.
    pub const fn as_str(&self) -> &'static str {
        match self {
            Kind::Expired => "expired",
            Kind::OwnGateClosed(_) => "own_gate_closed",
            Kind::TargetGateClosed(_) => "target_gate_closed",
            Kind::NoAgreement(_) => "no_agreement",
        }
    }
}

/// A request that got no permit. `code` and `text` go to the requester; `reasons` go to the audit record only.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refusal {
    pub kind: Kind,
    /// LDAP result code (RFC 4511 4.1.9).
    pub code: u32,
    /// Short public text for the diagnosticMessage; empty where a text would tell what must not be told.
    pub text: String,
    /// Internal: what decided, in full. Never sent.
    pub reasons: Vec<String>,
}

impl Refusal {
    /// The refusal as one constant per class of request: a closed member and a member without an agreement look alike
    /// to strangers, as if it were not there; only the member itself is told.
    pub(crate) fn new(
        kind: Kind,
        own_member: Option<&OdsCode>,
        reference: Option<&str>,
        reasons: Vec<String>,
    ) -> Refusal {
        let reference = reference.map(|r| format!(" (reference {r})")).unwrap_or_default();
        let (code, text) = match &kind {
            Kind::Expired => (
                INSUFFICIENT_ACCESS_RIGHTS,
                "your certificate has expired; bind again with a new one".to_owned(),
            ),
            Kind::OwnGateClosed(member) => (INSUFFICIENT_ACCESS_RIGHTS, closed(member, &reference)),
            Kind::TargetGateClosed(member) if own_member == Some(member) => {
                (INSUFFICIENT_ACCESS_RIGHTS, closed(member, &reference))
            }
            Kind::TargetGateClosed(_) | Kind::NoAgreement(Target::Member(_)) => {
                (NO_SUCH_OBJECT, String::new())
            }
            Kind::NoAgreement(Target::National) => {
                (INSUFFICIENT_ACCESS_RIGHTS, "no release agreement covers this request".to_owned())
            }
        };
        Refusal { kind, code, text, reasons }
    }
}

fn closed(member: &OdsCode, reference: &str) -> String {
    format!("the gate of {member} is closed; its IT team sees why in its assessment{reference}")
}
