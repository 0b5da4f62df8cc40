//! Whole documents.

use std::collections::BTreeSet;

use serde::ser::{Error as _, SerializeSeq};
use serde::{Serialize, Serializer};
use sha2::{Digest, Sha256};
use time::OffsetDateTime;

use crate::assess::report::closings::Closing;
use crate::assess::report::oscal::identity::{NAMESPACE, markup, moment, objective, token, uuid};
use crate::assess::report::oscal::model::{
    AssessmentResults, BackMatter, Document, DocumentId, ExternalId, Href, Metadata, Objective, Objectives,
    Outcome, Part, Party, Property, Resource, Responsible, Role,
};
use crate::assess::report::oscal::pseudonym::Pseudonyms;
use crate::assess::report::oscal::result::{Told, evidence, outcome, party, property};
use crate::assess::report::oscal::told::Audience;
use crate::baseline::assessment::Assessment;
use crate::policy::signature::hex;
use crate::policy::terms::OdsCode;

/// The version of OSCAL's model that documents follow.
pub const OSCAL_VERSION: &str = "1.1.3";
/// Codes of NHS organisations, as FHIR writes them.
const ODS: &str = "https://fhir.nhs.uk/Id/ods-organization-code";

/// The document of one assessment, for the member itself.
pub fn member(assessment: &Assessment, closings: &[Closing]) -> Document<Vec<Outcome>> {
    let mut frame = Frame::default();
    frame.add(assessment);
    let title =
        format!("{}: security baseline {}, assessment results", assessment.member, assessment.baseline);
    let told = Told { assessment, closings, audience: Audience::Member };
    let results = vec![outcome(&told)];
    frame.document(told.audience, title, assessment.id.clone(), Vec::new(), results)
}

/// The document of one baseline over every member, from the latest assessment of each. Assessments are large: it is made with one
/// of them in memory at a time, so that each is read twice.
#[derive(Debug, Default)]
pub struct National {
    frame: Frame,
    /// Members without any assessment that is kept.
    pub not_assessed: Vec<OdsCode>,
    /// Members whose latest assessment is by another baseline.
    pub other_baseline: Vec<OdsCode>,
}

/// Gives an assessment again, by its id.
pub type Load<'a> = &'a dyn Fn(&str) -> Result<Assessment, String>;

impl National {
    /// One more member's latest assessment. All are by one baseline.
    pub fn add(&mut self, assessment: &Assessment) {
        self.frame.add(assessment);
    }

    /// How many results it will have; OSCAL knows no document without any.
    pub fn results(&self) -> usize {
        self.frame.heads.len()
    }

    /// The document, which reads each assessment again while it is written.
    pub fn document<'a>(&'a self, load: Load<'a>, keyed: &'a Pseudonyms) -> Document<Latest<'a>> {
        let heads = &self.frame.heads;
        let baseline = heads.first().map(|head| head.baseline.as_str()).unwrap_or_default();
        let title = format!("Security baseline {baseline}: assessment results of {} members", heads.len());
        let ids: Vec<&str> = heads.iter().map(|head| head.id.as_str()).collect();
        let version: String = hex(&Sha256::digest(ids.join("\n"))).chars().take(32).collect();
        let mut props = vec![property("members", &heads.len().to_string())];
        props.extend(self.not_assessed.iter().map(|code| property("not-assessed", code.as_str())));
        props.extend(self.other_baseline.iter().map(|code| property("other-baseline", code.as_str())));
        let results = Latest { heads, load, keyed };
        self.frame.document(Audience::Nation(keyed), title, version, props, results)
    }
}

/// The results of a national document.
pub struct Latest<'a> {
    heads: &'a [Head],
    load: Load<'a>,
    keyed: &'a Pseudonyms,
}

impl Serialize for Latest<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut out = serializer.serialize_seq(Some(self.heads.len()))?;
        for head in self.heads {
            let assessment = (self.load)(&head.id).map_err(S::Error::custom)?;
            let audience = Audience::Nation(self.keyed);
            out.serialize_element(&outcome(&Told { assessment: &assessment, closings: &[], audience }))?;
        }
        out.end()
    }
}

/// What a document says around its results.
#[derive(Debug, Default)]
struct Frame {
    heads: Vec<Head>,
    /// Every control that any of the assessments asks, once.
    objectives: Vec<Objective>,
    asked: BTreeSet<String>,
    resources: Vec<Resource>,
    known: BTreeSet<String>,
}

/// What is kept of an assessment.
#[derive(Debug)]
struct Head {
    id: String,
    member: OdsCode,
    baseline: String,
    assessed_at: OffsetDateTime,
    /// Of its policy set.
    policy: String,
}

impl Frame {
    fn add(&mut self, it: &Assessment) {
        for finding in &it.findings {
            if self.asked.insert(finding.control.clone()) {
                let (id, prose) = (objective(&finding.control), markup(&finding.title));
                let part = Part { id, name: "assessment-objective", prose };
                self.objectives.push(Objective { control_id: token(&finding.control), parts: vec![part] });
            }
        }
        let policy = uuid(&["policy", &it.baseline, &it.policy_hash]);
        self.resource(
            &policy,
            &format!("Policy set with baseline {}, revision {}", it.baseline, it.revision),
            "The identifier is the policy set's hash (SHA-256).",
            ("policy-hash", &it.policy_hash),
        );
        self.resource(
            &evidence(it),
            &format!("Evidence of {} collected {}", it.member, moment(it.collected_at)),
            "The identifier is the evidence's own hash: SHA-256 over the document without its hash and signature.",
            ("evidence-hash", &it.evidence_hash),
        );
        self.heads.push(Head {
            id: it.id.clone(),
            member: it.member.clone(),
            baseline: it.baseline.clone(),
            assessed_at: it.assessed_at,
            policy,
        });
    }

    fn resource(&mut self, uuid: &str, title: &str, description: &str, (kind, hash): (&str, &str)) {
        if self.known.insert(uuid.to_owned()) {
            let id = DocumentId { scheme: format!("{NAMESPACE}/{kind}"), identifier: hash.to_owned() };
            self.resources.push(Resource {
                uuid: uuid.to_owned(),
                title: markup(title),
                description: description.to_owned(),
                document_ids: vec![id],
            });
        }
    }

    fn document<R>(
        &self,
        audience: Audience<'_>,
        title: String,
        version: String,
        props: Vec<Property>,
        results: R,
    ) -> Document<R> {
        let newest = self.heads.iter().max_by_key(|head| head.assessed_at);
        let plan = newest.map(|head| head.policy.as_str()).unwrap_or_default();
        Document {
            assessment_results: AssessmentResults {
                uuid: uuid(&[audience.as_str(), "document", &version]),
                metadata: self.metadata(title, version, props),
                import_ap: Href { href: format!("#{plan}") },
                local_definitions: Objectives { objectives_and_methods: self.objectives.clone() },
                results,
                back_matter: BackMatter { resources: self.resources.clone() },
            },
        }
    }

    fn metadata(&self, title: String, version: String, props: Vec<Property>) -> Metadata {
        let newest = self.heads.iter().map(|head| head.assessed_at).max();
        let organisation = |head: &Head| Party {
            uuid: party(&head.member),
            kind: "organization",
            name: head.member.to_string(),
            external_ids: vec![ExternalId { scheme: ODS, id: head.member.to_string() }],
        };
        Metadata {
            title: markup(&title),
            last_modified: newest.map(moment).unwrap_or_default(),
            version,
            oscal_version: OSCAL_VERSION,
            props,
            roles: vec![Role { id: "asset-owner", title: "Owner of an assessed directory" }],
            parties: self.heads.iter().map(organisation).collect(),
            responsible_parties: vec![Responsible {
                role_id: "asset-owner",
                party_uuids: self.heads.iter().map(|head| party(&head.member)).collect(),
            }],
        }
    }
}

#[cfg(test)]
mod tests;
