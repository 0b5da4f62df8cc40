//! `PolicyTest`.

use std::collections::BTreeMap;

use crate::policy::documents::{ExpectedVerdict, PolicyTest};
use crate::policy::fault::{Fault, Placed};
use crate::policy::fields::Reader;
use crate::policy::scalar;
use crate::policy::source::{Content, Node};
use crate::policy::terms::Grant;

/// The keys of a `PolicyTest`.
pub const TEST_KEYS: &[&str] =
    &["kind", "name", "baseline", "profile", "like", "evidence", "given", "expect", "now", "excepted"];
/// The words for verdicts.
pub const VERDICTS: &[&str] = &["pass", "fail", "unknown", "not-applicable", "excepted"];

/// A `PolicyTest`.
pub fn test(reader: &mut Reader, node: &Node) -> PolicyTest {
    let fields = reader.fields(node, "a policy test", TEST_KEYS);
    let name = reader.required_text(&fields, "name");
    let at = fields.get("name").map_or_else(|| node.at.clone(), |n| n.at.clone());
    let like = fields.get("like").and_then(|n| reader.placed(n));
    let recorded = fields.get("evidence").and_then(|n| reader.placed(n));
    if let Some(path) = &recorded {
        check_path(reader, path);
    }
    if let (Some(path), Some(_)) = (&recorded, &like) {
        let fault = Fault::new(&path.at, "a test starts from `like` or from `evidence`, not from both");
        reader.fault(fault.hint("keep one of them"));
    }
    let given = if like.is_some() || recorded.is_some() {
        fields.get("given")
    } else {
        reader.required(&fields, "given")
    };
    let given = given.map(|n| reader.map(n, "`given`").to_vec()).unwrap_or_default();
    let (mut verdicts, mut grants) = (Vec::new(), BTreeMap::new());
    if let Some(node) = reader.required(&fields, "expect") {
        for (key, value) in reader.map(node, "`expect`") {
            if key.value == "grants" {
                grants = expected_grants(reader, value);
                if grants.is_empty() && reader.map(value, "`grants`").is_empty() {
                    let fault = Fault::new(&value.at, "`grants` expects nothing");
                    reader.fault(
                        fault.hint("say of a gate that it is open or closed: `grants: { lookup: open }`"),
                    );
                }
            } else if let Some(expected) = expected(reader, value) {
                verdicts.push((key.clone(), expected));
            }
        }
        if reader.map(node, "`expect`").is_empty() {
            reader.fault(Fault::new(&node.at, "the test expects nothing"));
        }
    }
    let now = fields.get("now").and_then(|n| {
        let text = reader.text(n)?;
        reader.keep(&n.at, scalar::instant(&text), "")
    });
    PolicyTest {
        at,
        name,
        baseline: fields.get("baseline").and_then(|n| reader.placed(n)),
        profile: fields.get("profile").and_then(|n| reader.placed(n)),
        like,
        recorded,
        given,
        verdicts,
        grants,
        now,
        excepted: reader.texts(&fields, "excepted"),
    }
}

/// A recorded document lies in the policy folder.
fn check_path(reader: &mut Reader, path: &Placed<String>) {
    let inside = |part: &str| !part.is_empty() && part != "." && part != "..";
    if !path.value.split('/').all(inside) {
        let fault = Fault::new(&path.at, format!("`{}` is no file beside the test or below it", path.value));
        reader.fault(
            fault.hint("keep the recorded evidence in the policy folder: `evidence: recorded/rxa.json`"),
        );
    }
}

fn expected(reader: &mut Reader, node: &Node) -> Option<ExpectedVerdict> {
    let words: Vec<(&str, usize)> = VERDICTS.iter().enumerate().map(|(i, v)| (*v, i)).collect();
    let verdict =
        |reader: &mut Reader, n: &Node| reader.word(n, &words, "verdict").and_then(|i| VERDICTS.get(i));
    if let Content::Scalar { .. } = node.content {
        let verdict = (*verdict(reader, node)?).to_owned();
        return Some(ExpectedVerdict { at: node.at.clone(), verdict, severity: None, offenders: None });
    }
    let fields = reader.fields(node, "an expected verdict", &["verdict", "severity", "offenders"]);
    let found = reader.required(&fields, "verdict").and_then(|n| verdict(reader, n));
    let severity = fields.get("severity").and_then(|n| reader.severity(n));
    let offenders = fields
        .get("offenders")
        .map(|_| reader.texts(&fields, "offenders").into_iter().map(|o| o.value).collect());
    Some(ExpectedVerdict { at: node.at.clone(), verdict: (*found?).to_owned(), severity, offenders })
}

fn expected_grants(reader: &mut Reader, node: &Node) -> BTreeMap<Grant, Placed<bool>> {
    let names: Vec<&str> = Grant::ALL.iter().map(|g| g.as_str()).collect();
    let fields = reader.fields(node, "`grants`", &names);
    let words = [("open", true), ("closed", false)];
    Grant::ALL
        .into_iter()
        .filter_map(|grant| {
            let value = fields.get(grant.as_str())?;
            let open = reader.word(value, &words, "state of a gate here")?;
            Some((grant, Placed::new(open, value.at.clone())))
        })
        .collect()
}
