//! The part of OSCAL's assessment results that we write. Fields bear the names of NIST's JSON schema; lists that are empty are left
//! out, as the schema demands.

use serde::Serialize;

/// The document.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct Document<R> {
    /// All of it.
    pub assessment_results: AssessmentResults<R>,
}

/// Assessment results.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct AssessmentResults<R> {
    /// Of the document.
    pub uuid: String,
    /// Title and version of the document.
    pub metadata: Metadata,
    /// The assessment plan: the policy set, as a resource of the back matter.
    pub import_ap: Href,
    /// What the targets of findings stand for.
    pub local_definitions: Objectives,
    /// One for each assessment.
    pub results: R,
    /// The documents that are referred to.
    pub back_matter: BackMatter,
}

/// What the document is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct Metadata {
    /// For people.
    pub title: String,
    /// When the newest assessment in it was made.
    pub last_modified: String,
    /// Of the document: the assessment's id, or a hash of all ids.
    pub version: String,
    /// Of the model.
    pub oscal_version: &'static str,
    /// Of ours.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub props: Vec<Property>,
    /// Roles that parties have.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub roles: Vec<Role>,
    /// The members.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub parties: Vec<Party>,
    /// Who has which role.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub responsible_parties: Vec<Responsible>,
}

/// A role.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct Role {
    /// Its name.
    pub id: &'static str,
    /// For people.
    pub title: &'static str,
}

/// An organisation.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct Party {
    /// Of the organisation, in every document.
    pub uuid: String,
    /// `organization`.
    #[serde(rename = "type")]
    pub kind: &'static str,
    /// Its ODS code.
    pub name: String,
    /// The code as others know it.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub external_ids: Vec<ExternalId>,
}

/// A code of somebody else's.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct ExternalId {
    /// Whose codes.
    pub scheme: &'static str,
    /// The code.
    pub id: String,
}

/// Who has a role.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct Responsible {
    /// The role.
    pub role_id: &'static str,
    /// Who.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub party_uuids: Vec<String>,
}

/// A reference to a resource.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct Href {
    /// `#` and its UUID.
    pub href: String,
}

/// A named value.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct Property {
    /// Its name, in our namespace.
    pub name: &'static str,
    /// Our namespace.
    pub ns: &'static str,
    /// One line.
    pub value: String,
    /// What it is about, where one name is there several times.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub class: Option<String>,
}

/// What was assessed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct Objectives {
    /// One for each control.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub objectives_and_methods: Vec<Objective>,
}

/// What a control asks.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct Objective {
    /// The control.
    pub control_id: String,
    /// One.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub parts: Vec<Part>,
}

/// The objective itself.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct Part {
    /// What targets name.
    pub id: String,
    /// `assessment-objective`.
    pub name: &'static str,
    /// The control's title.
    pub prose: String,
}

/// One assessment.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct Outcome {
    /// Of the assessment.
    pub uuid: String,
    /// For people.
    pub title: String,
    /// For people.
    pub description: String,
    /// When the evidence was collected.
    pub start: String,
    /// When it was judged.
    pub end: String,
    /// Of ours.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub props: Vec<Property>,
    /// The directory and the program.
    pub local_definitions: Definitions,
    /// Which controls.
    pub reviewed_controls: Reviewed,
    /// One for each control.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub observations: Vec<Observation>,
    /// One for each that is not satisfied.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub risks: Vec<Risk>,
    /// One for each control that applies.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub findings: Vec<Finding>,
}

/// What the assessment speaks of.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct Definitions {
    /// The member's directory.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub components: Vec<Component>,
    /// The program.
    pub assessment_assets: Assets,
}

/// What assessed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct Assets {
    /// The program.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub components: Vec<Component>,
    /// Where it runs.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub assessment_platforms: Vec<Platform>,
}

/// A directory or a program.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct Component {
    /// Of it, in every document.
    pub uuid: String,
    /// `service` or `software`.
    #[serde(rename = "type")]
    pub kind: &'static str,
    /// For people.
    pub title: String,
    /// For people.
    pub description: &'static str,
    /// It works.
    pub status: State,
}

/// A state.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct State {
    /// The word for it.
    pub state: &'static str,
}

/// Where the program runs.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct Platform {
    /// Of the gateway's kind, in every document.
    pub uuid: String,
    /// For people.
    pub title: &'static str,
    /// The program.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub uses_components: Vec<Uses>,
}

/// A component that is used.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct Uses {
    /// Which.
    pub component_uuid: String,
}

/// What was looked at.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct Reviewed {
    /// One.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub control_selections: Vec<Selection>,
}

/// Controls.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct Selection {
    /// What the parts mean.
    pub description: &'static str,
    /// Those that apply.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub include_controls: Vec<Selected>,
    /// Those that do not apply to this directory.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub exclude_controls: Vec<Selected>,
}

/// A control.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct Selected {
    /// Which.
    pub control_id: String,
}

/// Who says so.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct Origin {
    /// The program.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub actors: Vec<Actor>,
}

/// The program.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct Actor {
    /// `tool`.
    #[serde(rename = "type")]
    pub kind: &'static str,
    /// Which.
    pub actor_uuid: String,
}

/// What was seen for one control.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct Observation {
    /// Of it.
    pub uuid: String,
    /// The control's.
    pub title: String,
    /// What was found.
    pub description: String,
    /// Of ours.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub props: Vec<Property>,
    /// `TEST`.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub methods: Vec<&'static str>,
    /// `control-objective`, and `finding` when it is not satisfied.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub types: Vec<&'static str>,
    /// The program.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub origins: Vec<Origin>,
    /// The directory.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub subjects: Vec<Subject>,
    /// The evidence, then what decided and who offends.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub relevant_evidence: Vec<Relevant>,
    /// When the evidence was collected.
    pub collected: String,
}

/// What was looked at.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct Subject {
    /// The component.
    pub subject_uuid: String,
    /// `component`.
    #[serde(rename = "type")]
    pub kind: &'static str,
}

/// Evidence.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct Relevant {
    /// The resource, when it is the document itself.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub href: Option<String>,
    /// What it is or says.
    pub description: String,
    /// Of ours.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub props: Vec<Property>,
    /// Where it comes from.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub remarks: Option<String>,
}

/// What is not satisfied, as somebody's task.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct Risk {
    /// Of it.
    pub uuid: String,
    /// The control's.
    pub title: String,
    /// Why it matters.
    pub description: String,
    /// What follows.
    pub statement: String,
    /// Of ours.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub props: Vec<Property>,
    /// `open`, or `deviation-approved` under an exception.
    pub status: &'static str,
    /// The program.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub origins: Vec<Origin>,
    /// How heavy it is.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub characterizations: Vec<Characterization>,
    /// What is done instead.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub mitigating_factors: Vec<Mitigation>,
    /// When it closes a gate, or when the exception ends.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub deadline: Option<String>,
    /// How to mend it.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub remediations: Vec<Remediation>,
    /// What was seen.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub related_observations: Vec<Observed>,
}

/// How heavy a risk is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct Characterization {
    /// The program.
    pub origin: Origin,
    /// The severity.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub facets: Vec<Facet>,
}

/// One measure.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct Facet {
    /// `severity`.
    pub name: &'static str,
    /// Our namespace.
    pub system: &'static str,
    /// The severity.
    pub value: &'static str,
}

/// What is done instead.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct Mitigation {
    /// Of it.
    pub uuid: String,
    /// What.
    pub description: String,
}

/// How to mend it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct Remediation {
    /// Of it.
    pub uuid: String,
    /// `recommendation`.
    pub lifecycle: &'static str,
    /// For people.
    pub title: String,
    /// Commands and words.
    pub description: String,
}

/// An observation.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct Observed {
    /// Which.
    pub observation_uuid: String,
}

/// A risk.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct Related {
    /// Which.
    pub risk_uuid: String,
}

/// Whether one control is satisfied.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct Finding {
    /// Of it.
    pub uuid: String,
    /// The control's.
    pub title: String,
    /// What decided.
    pub description: String,
    /// Of ours.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub props: Vec<Property>,
    /// The program.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub origins: Vec<Origin>,
    /// The objective and its state.
    pub target: Target,
    /// What was seen.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub related_observations: Vec<Observed>,
    /// What follows.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub related_risks: Vec<Related>,
}

/// An objective and its state.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct Target {
    /// `objective-id`.
    #[serde(rename = "type")]
    pub kind: &'static str,
    /// The objective.
    pub target_id: String,
    /// Its state.
    pub status: Status,
}

/// Satisfied or not.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct Status {
    /// `satisfied` or `not-satisfied`.
    pub state: &'static str,
    /// `pass`, `fail` or `other`.
    pub reason: &'static str,
    /// What `other` is.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub remarks: Option<String>,
}

/// Documents.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct BackMatter {
    /// The policy set and the evidence.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub resources: Vec<Resource>,
}

/// A document.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct Resource {
    /// Of it, in every document.
    pub uuid: String,
    /// For people.
    pub title: String,
    /// What its hash is over.
    pub description: String,
    /// Its hash.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub document_ids: Vec<DocumentId>,
}

/// What a document is called.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct DocumentId {
    /// Our namespace, and the kind.
    pub scheme: String,
    /// The hash.
    pub identifier: String,
}
