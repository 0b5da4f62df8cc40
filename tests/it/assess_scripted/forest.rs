//! The forest's part of the domain that passes: root DSE, configuration, schema, public key infrastructure, zones.

use portcullis::assess::probes::descriptor::{Guid, guid, mask};

use super::certificates::material;
use super::descriptor::{AUTHENTICATED, allow, ruled};
use super::directory::{BASE, Entry};
use super::domain::object;

/// The schema's GUID of ms-Mcs-AdmPwd here; each forest has its own.
pub const LAPS: Guid = guid(0x1234_5678, 0x1111, 0x2222, 0x3333_4444_5555_6666);
/// The right to ask for a certificate ([MS-CRTD] section 2.5).
pub const ENROL: Guid = guid(0x0e10_c968, 0x78fb, 0x11d2, 0x90d4_00c0_4f79_dc55);
/// Characters 10 and 20 only mark the length; 28 and 29 have rights checked when objects are created.
pub const HEURISTICS: &str = "00000000010000000002000000011";
pub const SERVER: &str = "1.3.6.1.5.5.7.3.1";
pub const CLIENT: &str = "1.3.6.1.5.5.7.3.2";

pub fn root() -> Entry {
    Entry::new("")
        .with("defaultNamingContext", BASE)
        .with("rootDomainNamingContext", BASE)
        .with("configurationNamingContext", format!("CN=Configuration,{BASE}"))
        .with("serverName", format!("CN=DC1,CN=Servers,CN=Site,CN=Sites,CN=Configuration,{BASE}"))
        .with("schemaNamingContext", format!("CN=Schema,CN=Configuration,{BASE}"))
        .with("dnsHostName", "dc1.scripted.test")
        .with("isSynchronized", "TRUE")
        .with("isGlobalCatalogReady", "TRUE")
        .with_all("supportedSASLMechanisms", &["GSSAPI", "GSS-SPNEGO", "EXTERNAL", "DIGEST-MD5"])
        .with_all("supportedCapabilities", &["1.2.840.113556.1.4.800", "1.2.840.113556.1.4.1670"])
}

pub fn entries() -> Vec<Entry> {
    let below = |place: &str, class: &str| object(&format!("{place},CN=Configuration"), class);
    let features =
        format!("CN=Recycle Bin Feature,CN=Optional Features,CN=Directory Service,CN=Services,{BASE}");
    let mut all = vec![
        object("CN=Configuration", "configuration"),
        below("CN=Partitions", "crossRefContainer")
            .with("msDS-Behavior-Version", "7")
            .with("msDS-EnabledFeature", features),
        below("CN=Schema", "dMD").with("objectVersion", "88"),
        below("CN=ms-Mcs-AdmPwd,CN=Schema", "attributeSchema")
            .with("lDAPDisplayName", "ms-Mcs-AdmPwd")
            .with("schemaIDGUID", LAPS.to_vec()),
        below("CN=Sites", "sitesContainer"),
        below("CN=Site,CN=Sites", "site"),
        below("CN=Servers,CN=Site,CN=Sites", "serversContainer"),
        below("CN=DC1,CN=Servers,CN=Site,CN=Sites", "server"),
        below("CN=NTDS Settings,CN=DC1,CN=Servers,CN=Site,CN=Sites", "nTDSDSA"),
        below("CN=DisplaySpecifiers", "container"),
        below("CN=409,CN=DisplaySpecifiers", "container"),
        // one place to start something from, on the computer itself
        below("CN=user-Display,CN=409,CN=DisplaySpecifiers", "displaySpecifier")
            .with("adminContextMenu", r"9,&Tools,cscript.exe //nologo C:\tools\run.vbs"),
        below("CN=group-Display,CN=409,CN=DisplaySpecifiers", "displaySpecifier"),
        below("CN=Services", "container"),
        below("CN=Directory Service,CN=Windows NT,CN=Services", "nTDSService")
            .with("dSHeuristics", HEURISTICS)
            .with("tombstoneLifetime", "180"),
        below("CN=Group Key Distribution Service,CN=Services", "container"),
        below("CN=Master Root Keys,CN=Group Key Distribution Service,CN=Services", "container"),
        below(
            "CN=Key 1,CN=Master Root Keys,CN=Group Key Distribution Service,CN=Services",
            "msKds-ProvRootKey",
        ),
    ];
    all.extend(authorities());
    all.extend(templates());
    all.extend(zones());
    all
}

fn pki(place: &str, class: &str) -> Entry {
    object(&format!("{place}CN=Public Key Services,CN=Services,CN=Configuration"), class)
}

fn authorities() -> Vec<Entry> {
    let material = material();
    let containers = [
        "",
        "CN=AIA,",
        "CN=Certification Authorities,",
        "CN=Enrollment Services,",
        "CN=OID,",
        "CN=Certificate Templates,",
    ];
    containers
        .iter()
        .map(|place| pki(place, "container"))
        .chain([
            pki("CN=NTAuthCertificates,", "certificationAuthority")
                .with("cACertificate", material.card_issuer.clone()),
            pki("CN=Scripted Root,CN=Certification Authorities,", "certificationAuthority")
                .with("cACertificate", material.root.clone()),
            pki("CN=Issuing,CN=AIA,", "certificationAuthority")
                .with("cACertificate", material.issuing.clone()),
            pki("CN=CA1,CN=Enrollment Services,", "pKIEnrollmentService")
                .with("cACertificate", material.issuing.clone())
                .with("dNSHostName", "ca1.scripted.test")
                .with_all("certificateTemplates", &["KerberosAuthentication", "WebServer", "Workstation"]),
        ])
        .collect()
}

/// A published template for these usages, a year long.
pub fn template(name: &str, usages: &[&str]) -> Entry {
    let year = (-365i64 * 86_400 * 10_000_000).to_le_bytes();
    pki(&format!("CN={name},CN=Certificate Templates,"), "pKICertificateTemplate")
        .with("msPKI-Certificate-Name-Flag", "0")
        .with("msPKI-Enrollment-Flag", "0")
        .with("msPKI-RA-Signature", "0")
        .with("msPKI-Minimal-Key-Size", "2048")
        .with("msPKI-Template-Schema-Version", "2")
        .with("pKIExpirationPeriod", year)
        .with("pKIOverlapPeriod", year)
        .with_all("pKIExtendedKeyUsage", usages)
        .with_all("msPKI-Certificate-Application-Policy", usages)
}

/// Everybody who logs on may enrol by it.
pub fn open(template: Entry) -> Entry {
    let everybody = allow(AUTHENTICATED, mask::CONTROL_ACCESS).about(ENROL);
    template.with("nTSecurityDescriptor", ruled(&[everybody]))
}

fn templates() -> Vec<Entry> {
    vec![
        template("KerberosAuthentication", &[SERVER, CLIENT, "1.3.6.1.5.2.3.5"]),
        // only administrators enrol by it, so that the requester may write the subject
        template("WebServer", &[SERVER]).with("msPKI-Certificate-Name-Flag", "1"),
        open(template("Workstation", &[CLIENT])),
    ]
}

fn zones() -> Vec<Entry> {
    let kept = |place: &str, name: &str| {
        object(&format!("DC={name},CN=MicrosoftDNS,{place}"), "dnsZone").with("dNSProperty", updates(2))
    };
    vec![
        object("CN=MicrosoftDNS,DC=DomainDnsZones", "container"),
        object("CN=MicrosoftDNS,DC=ForestDnsZones", "container"),
        kept("DC=DomainDnsZones", "scripted.test"),
        // the root servers' names are in every domain and take no updates from anybody
        kept("DC=DomainDnsZones", "RootDNSServers").with("dNSProperty", updates(1)),
        kept("DC=ForestDnsZones", "_msdcs.scripted.test"),
    ]
}

/// The property of a zone that says who updates it: 0 nobody, 1 anybody, 2 whoever may ([MS-DNSP] section 2.3.2.1).
pub fn updates(who: u8) -> Vec<u8> {
    let head = [1u32, 0, 0, 1, 2].map(u32::to_le_bytes).concat();
    [&head[..], &[who, 0]].concat()
}
