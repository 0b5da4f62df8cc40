//! Reads the configuration file.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, Read};
use std::net::SocketAddr;
use std::path::Path;

use rustls_pki_types::ServerName;
use time::OffsetDateTime;

use crate::config::fault::{Fault, Faults, Weight};
use crate::config::field::{
    AnchorsFile, CertificateFile, DataFolder, HostPort, KeyFile, ListFile, Listener, Name, ObjectIdentifier,
    PolicyFolder, PublicKey, Sha256Hex,
};
use crate::config::read::{Reader, Section};
use crate::config::settings::{Application, CRL_MAX_AGE_HOURS, Config, Listen, National, Tls, Unlisted};
use crate::config::{references, source};
use crate::policy::bundle::check_officer;
use crate::policy::signature::{Officer, Required};

/// The version of the format that this program reads.
const VERSION: u32 = 1;
/// No configuration file is larger.
const FILE_BYTES_MAX: u64 = 1 << 20;

/// Reads the file at `path`, or reports all its faults. Files that it names are not looked at.
pub fn load(path: &Path) -> Result<Config, Faults> {
    read(path, None).map(|(config, _)| config)
}

/// As [`load`], and every file and secret that it names must be there and usable at `now`. The warnings come with it.
pub fn check(path: &Path, now: OffsetDateTime) -> Result<(Config, Faults), Faults> {
    read(path, Some(now))
}

fn read(path: &Path, now: Option<OffsetDateTime>) -> Result<(Config, Faults), Faults> {
    let text = text_of(path).map_err(|error| Faults::unreadable(path, &error))?;
    let absolute = std::path::absolute(path).map_err(|error| Faults::unreadable(path, &error))?;
    let base = absolute.parent().unwrap_or(Path::new("/"));
    let (config, faults) = parse(&text, base, now);
    let faults = Faults { file: path.to_owned(), faults };
    config.map(|config| (config, faults.clone())).ok_or(faults)
}

/// The text of the file; a device or a pipe could go on for ever, or never begin.
fn text_of(path: &Path) -> io::Result<String> {
    if !std::fs::metadata(path)?.is_file() {
        return Err(io::Error::other("it is not a regular file"));
    }
    let mut text = String::new();
    let length = File::open(path)?.take(FILE_BYTES_MAX + 1).read_to_string(&mut text)?;
    if u64::try_from(length).unwrap_or(u64::MAX) > FILE_BYTES_MAX {
        return Err(io::Error::other(format!("it has more than {FILE_BYTES_MAX} bytes")));
    }
    Ok(text)
}

/// Reads the text of a file that lies in the directory `base`, and what it names if `now` is given. There is a configuration
/// when nothing is worse than a warning.
pub fn parse(text: &str, base: &Path, now: Option<OffsetDateTime>) -> (Option<Config>, Vec<Fault>) {
    let tree = match source::parse(text) {
        Ok(tree) => tree,
        Err(fault) => return (None, vec![fault]),
    };
    let reader = Reader::new(base);
    let config = Section::of(&reader, "", &tree).and_then(|top| whole(&reader, top));
    if let Some(now) = now {
        references::check(&reader, now);
    }
    let faults = reader.into_faults();
    let good = faults.iter().all(|fault| fault.weight == Weight::Warning);
    (config.filter(|_| good), faults)
}

fn whole(reader: &Reader, top: Section<'_>) -> Option<Config> {
    let version = top.required::<u32>("version");
    let data_dir = top.required::<DataFolder>("data_dir");
    let policies = top.required::<PolicyFolder>("policies");
    let policy_signatures = top.optional_section("policy_signatures").map(policy_signatures);
    let listen = top.section("listen").and_then(listen);
    let tls = top.section("tls").and_then(tls);
    let national = top.section("national").and_then(national);
    let store = top.settings("store");
    let intervals = top.settings("intervals");
    let discovery = top.settings("discovery");
    let front = top.settings("front");
    let assess = top.settings("assess");
    let sync = top.settings("sync");
    let tables = top.settings("tables");
    let observer = top.settings("observer");
    let log = top.settings("log");
    let applications = applications(reader, &top);
    if let Some(version) = version.filter(|version| *version != VERSION) {
        let message = format!("`version` {version} is not known");
        reader.fault(top.place("version"), message, format!("write {VERSION}"));
    }
    top.finish();
    Some(Config {
        data_dir: data_dir?.0,
        policies: policies?.0,
        // a section that cannot be read must not pass for one that is not there
        policy_signatures: match policy_signatures {
            Some(required) => Some(required?),
            None => None,
        },
        listen: listen?,
        tls: tls?,
        national: national?,
        store,
        intervals,
        discovery,
        front,
        assess,
        sync,
        tables,
        observer,
        log,
        applications,
    })
}

fn listen(section: Section<'_>) -> Option<Listen> {
    let (ldaps, metrics) = (section.required::<Listener>("ldaps"), section.required::<Listener>("metrics"));
    let ldap = section.optional::<Listener>("ldap");
    let doors: Vec<(&str, SocketAddr)> = [("ldaps", ldaps), ("ldap", ldap), ("metrics", metrics)]
        .into_iter()
        .filter_map(|(key, door)| Some((key, door?.0)))
        .collect();
    for (at, (key, address)) in doors.iter().enumerate() {
        if let Some((other, _)) = doors.iter().take(at).find(|(_, other)| other == address) {
            let message = format!("`listen.{key}` has the address and port of `listen.{other}`");
            section.reader().fault(section.place(key), message, "give each a port of its own");
        }
    }
    section.finish();
    Some(Listen { ldaps: ldaps?.0, ldap: ldap.map(|door| door.0), metrics: metrics?.0 })
}

fn tls(section: Section<'_>) -> Option<Tls> {
    let certificate = section.required::<CertificateFile>("certificate");
    let key = section.required::<KeyFile>("key");
    let client_anchors = section.required::<AnchorsFile>("client_anchors");
    let crls = section.list::<ListFile>("crls");
    let unlisted = section.optional("unlisted").unwrap_or_default();
    if section.is_without("crls") && unlisted == Unlisted::Refuse {
        section.reader().warn(
            section.place("crls"),
            "no revocation list is named and issuers without one are refused: so is every client certificate",
            "name the lists in `tls.crls`, or write `unlisted: allow`",
        );
    }
    let crl_max_age_hours = section.optional::<u32>("crl_max_age_hours");
    if let Some(hours) = crl_max_age_hours.filter(|hours| !CRL_MAX_AGE_HOURS.contains(hours)) {
        let (least, most) = (CRL_MAX_AGE_HOURS.start(), CRL_MAX_AGE_HOURS.end());
        let message = format!("`tls.crl_max_age_hours` must be from {least} to {most}, not {hours}");
        let hint = "leave the key out, so that `nextUpdate` alone says how long a list is good";
        section.reader().fault(section.place("crl_max_age_hours"), message, hint);
    }
    let card_policies = section.list::<ObjectIdentifier>("card_policies").into_iter().map(|o| o.0).collect();
    section.finish();
    Some(Tls {
        certificate: certificate?.0,
        key: key?.0,
        client_anchors: client_anchors?.0,
        crls: crls.into_iter().map(|list| list.0).collect(),
        unlisted,
        crl_max_age_hours,
        card_policies,
    })
}

fn policy_signatures(section: Section<'_>) -> Option<Required> {
    let required = section.required::<u32>("required");
    let reader = section.reader();
    let mut officers: Vec<Officer> = Vec::new();
    for (path, item) in section.items("officers") {
        let Some(one) = Section::of(reader, &path, item).and_then(officer) else { continue };
        // two names for one key, or two keys for one name, would let one person count for two
        if let Some(other) = officers.iter().find(|o| o.name.to_lowercase() == one.name.to_lowercase()) {
            let message = format!("`{path}.name` is the name of another officer, {}", other.name);
            reader.fault(item.at, message, "give each officer a name of its own");
        }
        if let Some(other) = officers.iter().find(|other| other.key == one.key) {
            let message = format!("`{path}.key` is the key of {}, too", other.name);
            reader.fault(item.at, message, "have each officer make a key: portcullis policy key FILE");
        }
        officers.push(one);
    }
    let count = u32::try_from(officers.len()).unwrap_or(u32::MAX);
    if let Some(required) = required.filter(|required| !(1..=count).contains(required)) {
        let message = format!("`policy_signatures.required` is {required}, and {count} officers are named");
        let hint = "ask for at least one signature and for no more than there are officers, or leave the whole section out";
        reader.fault(section.place("required"), message, hint);
    }
    section.finish();
    Some(Required { signatures: required?, officers })
}

fn officer(section: Section<'_>) -> Option<Officer> {
    let (name, key) = (section.required::<String>("name"), section.required::<PublicKey>("key"));
    if let Some(problem) = name.as_ref().and_then(|name| check_officer(name).err()) {
        section.reader().fault(section.place("name"), problem, "write the name that the officer signs with");
    }
    section.finish();
    Some(Officer { name: name?, key: key?.0 })
}

fn national(section: Section<'_>) -> Option<National> {
    let address = section.required::<HostPort>("address");
    let tls_name = section.optional::<String>("tls_name");
    let anchors = section.required::<AnchorsFile>("anchors");
    let bind_dn = section.required("bind_dn");
    let password = section.required("password");
    let suffix = section.required::<Name>("suffix");
    let people_base = section.required::<Name>("people_base");
    if let (Some(above), Some(below)) = (&suffix, &people_base)
        && !below.name.is_at_or_below(&above.name)
    {
        let hint = format!("write a name that ends in `{}`", above.text);
        section.reader().fault(below.at, "`national.people_base` must lie below `national.suffix`", hint);
    }
    let (key, name) = match (&tls_name, &address) {
        (Some(name), _) => ("tls_name", Some(name)),
        (None, address) => ("address", address.as_ref().map(|HostPort(host, _)| host)),
    };
    if let Some(name) = name.filter(|name| ServerName::try_from(name.as_str()).is_err()) {
        let message = format!("`{name}` is no name that a certificate can have");
        let hint = "write in `national.tls_name` the name that its certificate has";
        section.reader().fault(section.place(key), message, hint);
    }
    section.finish();
    let HostPort(host, port) = address?;
    Some(National {
        tls_name: tls_name.unwrap_or_else(|| host.clone()),
        host,
        port,
        anchors: anchors?.0,
        bind_dn: bind_dn?,
        password: password?,
        suffix: suffix?.text,
        people_base: people_base?.text,
    })
}

fn applications(reader: &Reader, top: &Section<'_>) -> Vec<Application> {
    let mut out: Vec<Application> = Vec::new();
    let mut seen: BTreeMap<String, u64> = BTreeMap::new();
    for (path, item) in top.items("applications") {
        let Some(application) = Section::of(reader, &path, item).and_then(application) else { continue };
        // one certificate must not stand for two: the last would win unseen
        if let Some(first) = seen.insert(application.sha256.clone(), item.at.line) {
            let message =
                format!("`{path}.sha256` is the certificate of the application on line {first}, too");
            reader.fault(item.at, message, "give each application a certificate of its own");
        }
        out.push(application);
    }
    out
}

fn application(section: Section<'_>) -> Option<Application> {
    let (name, sha256) = (section.required("name"), section.required::<Sha256Hex>("sha256"));
    let member = section.optional("member");
    let usage = section.optional::<ObjectIdentifier>("usage").map(|usage| usage.0);
    let issuer = section.optional::<Sha256Hex>("issuer_key_sha256").map(|issuer| issuer.0);
    section.finish();
    Some(Application { name: name?, sha256: sha256?.0, member, usage, issuer })
}
