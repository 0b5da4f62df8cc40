//! `portcullis assess` and `portcullis check`: measure a member directory, or judge evidence again.

use std::io::Write as _;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use clap::Args;
use rustls_pki_types::CertificateDer;
use rustls_pki_types::pem::PemObject;
use time::OffsetDateTime;

use crate::ambient::clock::Clock;
use crate::ambient::text::{harmless_json, printable};
use crate::app::gates::denied_since;
use crate::assess::collect::collect;
use crate::assess::error::AssessError;
use crate::assess::judge::{compile, judge, judge_in_full};
use crate::assess::origin::{Same, obstacle, same_domain};
use crate::assess::report::closings::{Gates, Rules};
use crate::assess::report::oscal::document as oscal;
use crate::assess::report::page::{Page, Source};
use crate::assess::report::{csv, html, text, words};
use crate::assess::run::{Assessor, sign};
use crate::assess::settings::Settings;
use crate::assess::target::Target;
use crate::baseline::assessment::{Assessment, Verdict};
use crate::baseline::attestation::{Attestation, Held, Registered};
use crate::baseline::facts::Evidence;
use crate::cli::attestation;
use crate::cli::context::Context;
use crate::cli::evidence::Reading;
use crate::cli::failure::{Answer, Failure};
use crate::cli::input;
use crate::cli::lists::ListOptions;
use crate::cli::progress::told;
use crate::cli::registered::RegisteredOptions;
use crate::directory::endpoint::Endpoint;
use crate::enrol::run::{self, By};
use crate::policy::set::PolicySet;
use crate::policy::terms::{OdsCode, Party};
use crate::secret::reference::SecretReference;
use crate::secret::signing::Signer;
use crate::store::error::StoreError;
use crate::store::member::Card;
use crate::store::port::Store;
use crate::store::record::ExceptionRecord;

/// How many assessments back "since when" looks.
const HISTORY: u32 = 1000;
/// Of the file with trust anchors.
const ANCHORS_BYTES_MAX: u64 = 1 << 20;

/// Measure a member's directory now and judge it, or judge recorded evidence again.
#[derive(Debug, Args)]
pub struct Assess {
    /// The member to measure.
    #[arg(required_unless_present = "evidence", conflicts_with = "evidence")]
    member: Option<OdsCode>,
    /// Judge this evidence document instead (`-`: standard input); nothing is asked of any directory and nothing is kept. Its hash is
    /// checked; its signature only with --verify: without it, whoever gave the document may have written it.
    #[arg(long, requires = "policy")]
    evidence: Option<PathBuf>,
    /// The policy folder to judge by, with --evidence.
    #[arg(long)]
    policy: Option<PathBuf>,
    /// The profile to judge by, with --evidence.
    #[arg(long, requires = "evidence")]
    profile: Option<String>,
    /// An older evidence document of the same member and domain: it is judged by the same policy, and the report says what changed since.
    /// A member's own report is compared with its latest kept assessment without this.
    #[arg(long, value_name = "FILE", requires = "evidence")]
    before: Option<PathBuf>,
    #[command(flatten)]
    reading: Reading,
    #[command(flatten)]
    output: Output,
}

/// Measure a directory from here without a store or a gateway: would it be admitted? Nothing leaves this machine.
#[derive(Debug, Args)]
pub struct Check {
    /// A domain controller, as HOST or HOST:PORT.
    host: String,
    /// The name that its certificate must have, when it is not HOST.
    #[arg(long)]
    tls_name: Option<String>,
    /// The account to read with: a DN or a user principal name.
    #[arg(long)]
    bind_dn: String,
    /// The file with that account's password.
    #[arg(long)]
    password_file: PathBuf,
    /// The domain's DN; without it, from the account's principal name.
    #[arg(long)]
    base_dn: Option<String>,
    /// The policy folder.
    #[arg(long)]
    policy: PathBuf,
    /// The profile to judge by.
    #[arg(long)]
    profile: Option<String>,
    /// PEM file of the certificates that the controller's certificate must chain to.
    #[arg(long)]
    anchors: PathBuf,
    /// The code of the organisation, for the report.
    #[arg(long, default_value = "CHECK")]
    member: OdsCode,
    /// The monitoring account's principal, to try its smartcard.
    #[arg(long, requires = "card_identity")]
    card_principal: Option<String>,
    /// Its card as MIT Kerberos writes it: FILE:cert.pem,key.pem or PKCS11:...
    #[arg(long, requires = "card_principal")]
    card_identity: Option<String>,
    /// The file with the card's PIN.
    #[arg(long, requires = "card_identity")]
    card_pin_file: Option<PathBuf>,
    /// The file with a password of the monitoring account, which must be refused.
    #[arg(long, requires = "card_identity")]
    card_password_file: Option<PathBuf>,
    /// An attestation of --member, as `attestation sign` wrote it. Its key is not held against a registration, and the report says so.
    #[arg(long = "attestation", value_name = "FILE", requires = "member")]
    attestations: Vec<PathBuf>,
    #[command(flatten)]
    registered: RegisteredOptions,
    #[command(flatten)]
    lists: ListOptions,
    /// Keep the evidence document in this file.
    #[arg(long, value_name = "FILE")]
    evidence: Option<PathBuf>,
    /// The evidence document of an earlier check of the same domain: it is judged by the same policy, and the report says what changed since.
    #[arg(long, value_name = "FILE")]
    before: Option<PathBuf>,
    #[command(flatten)]
    output: Output,
}

/// How the report comes out.
#[derive(Debug, Default, Args)]
struct Output {
    /// Write an HTML report to this file, too.
    #[arg(long, value_name = "FILE")]
    html: Option<PathBuf>,
    /// Write OSCAL assessment results (NIST, 1.1.3, JSON) to this file, too. They name offenders: they are for the member.
    #[arg(long, value_name = "FILE")]
    oscal: Option<PathBuf>,
    /// Print the offenders as CSV; not with --json.
    #[arg(long)]
    csv: bool,
}

impl Output {
    /// One form only goes to standard output. `--json` stands before the command, too, where clap does not hold them against each other.
    fn check(&self, context: &Context) -> Result<(), Failure> {
        if self.csv && context.json {
            return Err(Failure::could_not("--csv and --json cannot be used together: choose one"));
        }
        Ok(())
    }
}

/// What a report is made of.
struct Judged {
    set: Arc<PolicySet>,
    evidence: Evidence,
    source: Source,
    /// Exceptions that were granted by command.
    granted: Vec<ExceptionRecord>,
    assessment: Assessment,
    /// Older ones, newest first.
    before: Vec<Assessment>,
    rules: Rules,
    /// None where no store says where the gates stand.
    gates: Option<Gates>,
    /// Options of `check` that were not given.
    unregistered: Vec<&'static str>,
}

/// `portcullis member check`: the same as `portcullis assess MEMBER`.
pub fn assess_member(member: OdsCode, context: &Context) -> Result<Answer, Failure> {
    show(&measure(&member, context)?, &Output::default(), context)
}

/// `portcullis assess`.
pub fn assess(command: Assess, context: &Context) -> Result<Answer, Failure> {
    command.output.check(context)?;
    let judged = match (&command.member, &command.evidence, &command.policy) {
        (_, Some(evidence), Some(policy)) => {
            let (evidence, source) = command.reading.document(evidence, context)?;
            if source == Source::Unchecked {
                context.note(words::source(&source));
            }
            // judged as of its own time, so that the same document gives the same bytes whenever it is asked
            let at = evidence.collected_at;
            let (set, profile) = (Arc::new(load(policy)?), command.profile.as_deref());
            let before =
                command.before.as_deref().map(|path| older(&evidence, path, &command.reading, context));
            judged(set, profile, (evidence, source), before.transpose()?, at)?
        }
        (Some(member), _, _) => measure(member, context)?,
        _ => return Err(Failure::could_not("name a member, or --evidence FILE with --policy FOLDER")),
    };
    show(&judged, &command.output, context)
}

/// Judges evidence at a time, and the evidence before it at its own.
fn judged(
    set: Arc<PolicySet>,
    profile: Option<&str>,
    (evidence, source): (Evidence, Source),
    before: Option<Evidence>,
    at: OffsetDateTime,
) -> Result<Judged, Failure> {
    let compiled = compile(&set, profile, &evidence.member).map_err(failure)?;
    let earlier = |before: Evidence| judge(&set, profile, &before, &[], before.collected_at).map_err(failure);
    let before = before.map(earlier).transpose()?;
    Ok(Judged {
        assessment: judge(&set, profile, &evidence, &[], at).map_err(failure)?,
        set,
        evidence,
        source,
        granted: Vec::new(),
        before: before.into_iter().collect(),
        rules: Rules::of(&compiled),
        gates: None,
        unregistered: Vec::new(),
    })
}

/// Evidence that is older than `evidence` and of the same member and domain: `check` calls every member alike.
fn older(
    evidence: &Evidence,
    path: &Path,
    reading: &Reading,
    context: &Context,
) -> Result<Evidence, Failure> {
    let (before, _) = reading.document(path, context)?;
    let path = path.display();
    if before.member != evidence.member {
        let (of, not) = (&before.member, &evidence.member);
        return Err(Failure::could_not(format!("{path} is evidence of {of}, not of {not}")));
    }
    if before.collected_at > evidence.collected_at {
        return Err(Failure::could_not(format!("{path} is newer than what it is to be compared with")));
    }
    match same_domain(evidence, &before) {
        Same::Yes => {}
        Same::No(now, then) => {
            return Err(Failure::could_not(format!(
                "{path} is evidence of the domain {then}, not of {now}: compare evidence of one domain"
            )));
        }
        Same::NotTold => context.note(format!(
            "{path} or what it is compared with does not say which domain it is of: make sure that it is the same"
        )),
    }
    Ok(before)
}

/// `portcullis check`.
pub fn check(command: Check, context: &Context) -> Result<Answer, Failure> {
    command.output.check(context)?;
    let set = Arc::new(load(&command.policy)?);
    let anchors = anchors(&command.anchors)?;
    let endpoint = Endpoint::parse(&command.host, command.tls_name.as_deref())
        .ok_or_else(|| Failure::could_not(format!("`{}` is not HOST or HOST:PORT", command.host)))?;
    let base = command
        .base_dn
        .clone()
        .or_else(|| base_of(&command.bind_dn))
        .ok_or_else(|| Failure::could_not("give the domain's DN with --base-dn"))?;
    let password = SecretReference::File(command.password_file.clone());
    let mut target =
        Target::new(command.member.clone(), vec![endpoint], &base, &command.bind_dn, password, &anchors)
            .map_err(failure)?;
    target.card = card(&command);
    command.registered.apply(&mut target)?;
    // what can be told now is not told after a whole pass
    target.password.read().map_err(Failure::could_not)?;
    target.stated = stated(&command, &set)?;
    let profile = command.profile.as_deref();
    let compiled = compile(&set, profile, &command.member).map_err(failure)?;
    let settings = Settings { lists: command.lists.settings()?, ..Settings::default() };
    let allotted = settings.pass_timeout();
    let collected = collect(&target, compiled.requirements(), &settings, &context.clock, allotted);
    let what = format!("measuring {}; it ends after {} s at most", command.host, allotted.as_secs());
    let evidence = runtime()?.block_on(told(context, &what, collected));
    let evidence = sign(evidence, &Signer::ephemeral().map_err(Failure::could_not)?);
    if let Some(path) = &command.evidence {
        let file = create(path).and_then(|file| evidence.write(file));
        file.map_err(|error| Failure::could_not(format!("cannot write {}: {error}", path.display())))?;
    }
    let reading = Reading::default();
    let before = command.before.as_deref().map(|path| older(&evidence, path, &reading, context));
    let (now, evidence) = (context.clock.now(), (evidence, Source::Measured));
    let mut judged = judged(set, profile, evidence, before.transpose()?, now)?;
    judged.unregistered = command.registered.not_given();
    if command.card_principal.is_none() {
        judged.unregistered.push("--card-principal with --card-identity");
    }
    show(&judged, &command.output, context)
}

/// PEM text with a certificate in it.
fn anchors(path: &Path) -> Result<String, Failure> {
    let text = String::from_utf8(input::read(path, ANCHORS_BYTES_MAX)?).unwrap_or_default();
    let mut found = CertificateDer::pem_slice_iter(text.as_bytes());
    if matches!(found.next(), Some(Ok(_))) {
        return Ok(text);
    }
    let path = path.display();
    Err(Failure::could_not(format!(
        "{path} holds no certificate in PEM (-----BEGIN CERTIFICATE-----), so nothing could be trusted by it; a certificate in DER becomes \
         PEM with: openssl x509 -inform der -in {path}"
    )))
}

fn card(command: &Check) -> Option<Card> {
    let file = |path: &Option<PathBuf>| path.clone().map(SecretReference::File);
    Some(Card {
        principal: command.card_principal.clone()?,
        identity: command.card_identity.clone()?,
        anchors: None,
        pin: file(&command.card_pin_file),
        password: file(&command.card_password_file),
    })
}

/// What the files of --attestation state; what is not the member's or not asked is refused before anything is measured.
fn stated(command: &Check, set: &PolicySet) -> Result<Held, Failure> {
    let mut attestations: Vec<Attestation> = Vec::new();
    for path in &command.attestations {
        let one = attestation::read(path)?;
        attestation::statement(set, &one.subject)?;
        let path = path.display();
        if one.member != command.member {
            let (of, not) = (&one.member, &command.member);
            return Err(Failure::refused(format!("{path} is of {of}, not of {not}: name it with --member")));
        }
        if attestations.iter().any(|other| other.subject == one.subject) {
            return Err(Failure::refused(format!("{path} states {} a second time", one.subject)));
        }
        attestations.push(one);
    }
    Ok(Held { attestations, registered: Registered::Unchecked })
}

/// Measures a member of the store; its assessments before this one come with it, and where its gates stood.
fn measure(member: &OdsCode, context: &Context) -> Result<Judged, Failure> {
    let config = context.config()?;
    let store = context.store()?;
    let set = Arc::new(context.policies()?);
    let gates = gates(store.as_ref(), member).map_err(Failure::could_not)?;
    let signer = Signer::load_or_create(&config.signing_key()).map_err(Failure::could_not)?;
    let before: Vec<Assessment> = store
        .recent_assessments(member, HISTORY)
        .map_err(Failure::could_not)?
        .iter()
        .filter_map(|record| serde_json::from_slice(&record.document).ok())
        .collect();
    let in_force = Arc::clone(&set);
    let assessor = Assessor {
        store: Arc::clone(store),
        policies: Arc::new(move || Some(Arc::clone(&in_force))),
        signer: Arc::new(signer),
        settings: config.assess.clone(),
        clock: Clock::clone(&context.clock),
        actor: context.actor.clone(),
        metrics: None,
        on_assessed: None,
    };
    let seconds = config.assess.pass_timeout().as_secs();
    let what = format!("measuring {member}; it ends after {seconds} s at most");
    let assessed = runtime()?.block_on(told(context, &what, assessor.assess(member))).map_err(failure)?;
    let by = By { actor: &context.actor, reason: "its directory was measured", now: context.clock.now() };
    run::measured(store.as_ref(), member, &by).map_err(Failure::could_not)?;
    let (evidence, assessment) = (assessed.evidence, assessed.assessment);
    let compiled = compile(&set, assessment.profile.as_deref(), member).map_err(failure)?;
    let granted = store.exceptions(Some(member)).map_err(Failure::could_not)?;
    let rules = Rules::of(&compiled);
    let source = Source::Measured;
    let (gates, unregistered) = (Some(gates), Vec::new());
    Ok(Judged { set, evidence, source, granted, assessment, before, rules, gates, unregistered })
}

/// Where the member's gates stand, and since when what denies them does.
pub fn gates(store: &dyn Store, member: &OdsCode) -> Result<Gates, StoreError> {
    let records = store.gates()?.into_iter().filter(|gate| gate.member == *member);
    Ok(Gates {
        passes: records.map(|gate| (gate.grant, gate.state != "closed")).collect(),
        denied_since: denied_since(store, member)?,
    })
}

fn show(judged: &Judged, output: &Output, context: &Context) -> Result<Answer, Failure> {
    let assessment = &judged.assessment;
    let (source, obstacle) = (judged.source.clone(), obstacle(&judged.evidence));
    let could_read = obstacle.is_none();
    if let Some(obstacle) = obstacle.as_ref().filter(|_| output.csv || context.json) {
        context.note(format!("{}: {}", words::OBSTACLE, printable(obstacle)));
    }
    let mut page =
        Page::new(assessment, source, obstacle, &judged.before, &judged.rules, judged.gates.as_ref());
    page.unregistered.clone_from(&judged.unregistered);
    if let Some(path) = &output.html {
        write(path, html::render(&page).as_bytes())?;
    }
    if let Some(path) = &output.oscal {
        let document = oscal::member(assessment, &page.closings);
        let json = serde_json::to_string_pretty(&document).map_err(Failure::could_not)?;
        write(path, harmless_json(&json).as_bytes())?;
    }
    if output.csv {
        let (profile, at) = (assessment.profile.as_deref(), assessment.assessed_at);
        let all = judge_in_full(&judged.set, profile, &judged.evidence, &judged.granted, at);
        context.coloured(csv::render(&all.map_err(failure)?).trim_end())?;
    } else if context.is_terminal() {
        context.print_coloured(&page, |page| text::render(page, true))?;
    } else {
        context.print(&page, |page| text::render(page, false))?;
    }
    // what was found without a logon is not what the directory was to be judged by
    Ok(if could_read { answer(assessment) } else { Answer::Unknown })
}

/// Yes when every grant would open; could not tell when nothing but unknown verdicts deny.
fn answer(assessment: &Assessment) -> Answer {
    let mut denials = assessment.grants.values().flat_map(|grant| &grant.denials).peekable();
    if assessment.grants.is_empty() {
        return Answer::Unknown;
    }
    if assessment.grants.values().all(|grant| grant.would_open) {
        return Answer::Yes;
    }
    let only_unknown = denials.peek().is_some() && denials.all(|denial| denial.verdict == Verdict::Unknown);
    if only_unknown { Answer::Unknown } else { Answer::No }
}

fn load(folder: &Path) -> Result<PolicySet, Failure> {
    PolicySet::load(folder).map_err(|faults| {
        let shown: Vec<String> = faults.iter().map(ToString::to_string).collect();
        Failure::could_not(format!("the policy does not check:\n{}", shown.join("\n")))
    })
}

/// Reports and evidence name people and what is wrong with their accounts: for their owner alone.
fn create(path: &Path) -> std::io::Result<std::fs::File> {
    std::fs::OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(path)
}

fn write(path: &Path, bytes: &[u8]) -> Result<(), Failure> {
    create(path)
        .and_then(|mut file| file.write_all(bytes))
        .map_err(|error| Failure::could_not(format!("cannot write {}: {error}", path.display())))
}

/// `svc@rxa.trust.test` to `DC=rxa,DC=trust,DC=test`; a DN to its domain components.
fn base_of(bind_dn: &str) -> Option<String> {
    if let Some((_, domain)) = bind_dn.split_once('@') {
        let parts: Vec<String> = domain.split('.').map(|label| format!("DC={label}")).collect();
        return Some(parts.join(","));
    }
    let components: Vec<&str> = bind_dn
        .split(',')
        .map(str::trim)
        .filter(|part| part.get(..3).is_some_and(|name| name.eq_ignore_ascii_case("dc=")))
        .collect();
    (!components.is_empty()).then(|| components.join(","))
}

fn runtime() -> Result<tokio::runtime::Runtime, Failure> {
    tokio::runtime::Builder::new_multi_thread().enable_all().build().map_err(Failure::could_not)
}

fn failure(error: AssessError) -> Failure {
    match error.party() {
        Party::Requester => Failure::refused(error),
        _ => Failure::could_not(error),
    }
}
