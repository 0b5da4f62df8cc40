//! Any document, by its kind.

use crate::policy::documents::{
    Baseline, Control, Exception, FactsDeclaration, PolicyTest, Profile, Release,
};
use crate::policy::fault::Fault;
use crate::policy::fields::Reader;
use crate::policy::read::{agreement, baseline, facts, scope, test};
use crate::policy::scope::SyncScope;
use crate::policy::source::{Content, Node};

/// The kinds of document.
pub const KINDS: &[&str] =
    &["Baseline", "Controls", "Facts", "Profile", "Exception", "Release", "SyncScope", "PolicyTest"];

/// One document.
#[derive(Debug, Clone, PartialEq)]
pub enum Document {
    Baseline(Baseline),
    Controls(Vec<Control>),
    Facts(Vec<FactsDeclaration>),
    Profile(Profile),
    Exception(Exception),
    Release(Release),
    SyncScope(SyncScope),
    PolicyTest(PolicyTest),
}

/// Reads a document; its faults are noted in `reader`. `None` when too little of it could be read.
pub fn document(reader: &mut Reader, node: &Node) -> Option<Document> {
    let Content::Map(entries) = &node.content else {
        let message = format!("a policy document is a map that begins with `kind:`, this is {}", node.kind());
        reader.fault(Fault::new(&node.at, message));
        return None;
    };
    let Some((_, kind)) = entries.iter().find(|(key, _)| key.value == "kind") else {
        let fault = Fault::new(&node.at, "the document does not say its `kind`");
        reader.fault(fault.hint(format!("begin with `kind:` and one of {}", KINDS.join(", "))));
        return None;
    };
    let words: Vec<(&str, usize)> = KINDS.iter().enumerate().map(|(i, k)| (*k, i)).collect();
    let index = reader.word(kind, &words, "kind of document")?;
    match KINDS.get(index).copied()? {
        "Baseline" => Some(Document::Baseline(baseline::baseline(reader, node))),
        "Controls" => Some(Document::Controls(baseline::controls(reader, node))),
        "Facts" => Some(Document::Facts(facts::facts(reader, node))),
        "Profile" => Some(Document::Profile(baseline::profile(reader, node))),
        "Exception" => baseline::exception(reader, node).map(Document::Exception),
        "Release" => agreement::release(reader, node).map(Document::Release),
        "SyncScope" => Some(Document::SyncScope(scope::scope(reader, node))),
        _ => Some(Document::PolicyTest(test::test(reader, node))),
    }
}
