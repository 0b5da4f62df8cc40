//! Reads the configuration file.

use std::path::Path;

use crate::config::fault::Faults;
use crate::config::read::{HostPort, Name, OwnDirectory, Reader, Section, Sha256Hex};
use crate::config::settings::{Application, Config, Listen, National, Tls};
use crate::config::source;

/// The version of the format that this program reads.
const VERSION: u32 = 1;

/// Reads the file at `path`, or reports all its faults. Files that it names are not looked at.
pub fn load(path: &Path) -> Result<Config, Faults> {
    read(path, false)
}

/// As [`load`], and every file and secret that it names must be there.
pub fn check(path: &Path) -> Result<Config, Faults> {
    read(path, true)
}

fn read(path: &Path, references: bool) -> Result<Config, Faults> {
    let text = std::fs::read_to_string(path).map_err(|error| Faults::unreadable(path, &error))?;
    let absolute = std::path::absolute(path).map_err(|error| Faults::unreadable(path, &error))?;
    let base = absolute.parent().unwrap_or(Path::new("/"));
    parse(&text, base, references).map_err(|faults| Faults { file: path.to_owned(), faults })
}

/// Reads the text of a file that lies in the directory `base`.
pub fn parse(text: &str, base: &Path, references: bool) -> Result<Config, Vec<crate::config::fault::Fault>> {
    let tree = source::parse(text).map_err(|fault| vec![fault])?;
    let reader = Reader::new(base);
    let config = Section::of(&reader, "", &tree).and_then(|top| whole(&reader, top));
    if references {
        reader.check_references();
    }
    match (config, reader.into_faults()) {
        (Some(config), faults) if faults.is_empty() => Ok(config),
        (_, faults) => Err(faults),
    }
}

fn whole(reader: &Reader, top: Section<'_>) -> Option<Config> {
    let version = top.required::<u32>("version");
    let data_dir = top.required::<OwnDirectory>("data_dir");
    let policies = top.required("policies");
    let listen = top.section("listen").and_then(listen);
    let tls = top.section("tls").and_then(tls);
    let national = top.section("national").and_then(national);
    let store = top.settings("store");
    let intervals = top.settings("intervals");
    let front = top.settings("front");
    let assess = top.settings("assess");
    let sync = top.settings("sync");
    let log = top.settings("log");
    let applications = top
        .items("applications")
        .into_iter()
        .filter_map(|(path, item)| Section::of(reader, &path, item).and_then(application))
        .collect();
    if let Some(version) = version.filter(|version| *version != VERSION) {
        let at = source::Position { line: 1, column: 1 };
        reader.fault(at, format!("`version` {version} is not known"), Some(format!("write {VERSION}")));
    }
    top.finish();
    Some(Config {
        data_dir: data_dir?.0,
        policies: policies?,
        listen: listen?,
        tls: tls?,
        national: national?,
        store,
        intervals,
        front,
        assess,
        sync,
        log,
        applications,
    })
}

fn listen(section: Section<'_>) -> Option<Listen> {
    let (ldaps, metrics) = (section.required("ldaps"), section.required("metrics"));
    let ldap = section.optional("ldap");
    section.finish();
    Some(Listen { ldaps: ldaps?, ldap, metrics: metrics? })
}

fn tls(section: Section<'_>) -> Option<Tls> {
    let certificate = section.required("certificate");
    let key = section.required("key");
    let client_anchors = section.required("client_anchors");
    let crls = section.list("crls");
    let unlisted = section.optional("unlisted").unwrap_or_default();
    section.finish();
    Some(Tls { certificate: certificate?, key: key?, client_anchors: client_anchors?, crls, unlisted })
}

fn national(section: Section<'_>) -> Option<National> {
    let address = section.required::<HostPort>("address");
    let tls_name = section.optional("tls_name");
    let anchors = section.required("anchors");
    let bind_dn = section.required("bind_dn");
    let password = section.required("password");
    let suffix = section.required::<Name>("suffix");
    let people_base = section.required::<Name>("people_base");
    if let (Some(above), Some(below)) = (&suffix, &people_base)
        && !below.name.is_at_or_below(&above.name)
    {
        section.fault(below.at, "`national.people_base` must lie below `national.suffix`");
    }
    section.finish();
    let HostPort(host, port) = address?;
    Some(National {
        tls_name: tls_name.unwrap_or_else(|| host.clone()),
        host,
        port,
        anchors: anchors?,
        bind_dn: bind_dn?,
        password: password?,
        suffix: suffix?.text,
        people_base: people_base?.text,
    })
}

fn application(section: Section<'_>) -> Option<Application> {
    let (name, sha256) = (section.required("name"), section.required::<Sha256Hex>("sha256"));
    let member = section.optional("member");
    section.finish();
    Some(Application { name: name?, sha256: sha256?.0, member })
}
