//! Cards and lists are made anew in each run, so nothing expires.

use std::path::PathBuf;

use rcgen::{
    BasicConstraints, CertificateParams, CertificateRevocationListParams, CertifiedIssuer, CustomExtension,
    ExtendedKeyUsagePurpose, IsCa, Issuer, KeyIdMethod, KeyPair, KeyUsagePurpose, OtherNameValue,
    RevokedCertParams, SanType, SerialNumber,
};
use rustls::pki_types::{CertificateDer, UnixTime};
use time::{Duration, OffsetDateTime, macros::datetime};

use super::*;
use crate::tls::identity::ClientIdentity;
use crate::tls::revocation::Unlisted;

const NOW: OffsetDateTime = datetime!(2026-11-24 12:00 UTC);
const CARD_LOGON: &[u64] = &[1, 3, 6, 1, 4, 1, 311, 20, 2, 2];
const PRINCIPAL: &[u64] = &[1, 3, 6, 1, 4, 1, 311, 20, 2, 3];

fn at(time: OffsetDateTime) -> UnixTime {
    UnixTime::since_unix_epoch(std::time::Duration::from_secs(time.unix_timestamp() as u64))
}

fn root() -> CertifiedIssuer<'static, KeyPair> {
    let mut params = CertificateParams::new(vec![]).unwrap();
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    params.distinguished_name.push(rcgen::DnType::CommonName, "Test Root");
    CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap()
}

struct Card {
    usages: Vec<ExtendedKeyUsagePurpose>,
    principals: Vec<&'static str>,
    serial: u64,
    until: OffsetDateTime,
    sid: Option<&'static str>,
}

impl Default for Card {
    fn default() -> Self {
        Card {
            usages: vec![ExtendedKeyUsagePurpose::Other(CARD_LOGON.to_vec())],
            principals: vec!["Alice@RXA.trust.test"],
            serial: 7,
            until: NOW + Duration::days(30),
            sid: None,
        }
    }
}

fn issue(card: Card, issuer: &Issuer<'_, KeyPair>) -> CertificateDer<'static> {
    let mut params = CertificateParams::new(vec![]).unwrap();
    params.distinguished_name = rcgen::DistinguishedName::new();
    params.distinguished_name.push(rcgen::DnType::OrganizationName, "Trust, A");
    params.distinguished_name.push(rcgen::DnType::CommonName, "Alice");
    params.extended_key_usages = card.usages;
    params.serial_number = Some(SerialNumber::from(card.serial));
    params.not_before = NOW - Duration::days(1);
    params.not_after = card.until;
    for upn in card.principals {
        params
            .subject_alt_names
            .push(SanType::OtherName((PRINCIPAL.to_vec(), OtherNameValue::Utf8String(upn.to_owned()))));
    }
    if let Some(sid) = card.sid {
        params.custom_extensions.push(security_extension(sid));
    }
    params.signed_by(&KeyPair::generate().unwrap(), issuer).unwrap().der().clone()
}

fn security_extension(sid: &str) -> CustomExtension {
    fn element(tag: u8, contents: &[u8]) -> Vec<u8> {
        let mut out = vec![tag, contents.len() as u8];
        out.extend_from_slice(contents);
        out
    }
    let oid = element(0x06, &[0x2b, 6, 1, 4, 1, 0x82, 0x37, 25, 2, 1]);
    let value = element(0xa0, &element(0x04, sid.as_bytes()));
    let der = element(0x30, &element(0xa0, &[oid, value].concat()));
    CustomExtension::from_oid_content(&[1, 3, 6, 1, 4, 1, 311, 25, 2], der)
}

struct Lists {
    _folder: tempfile::TempDir,
    path: PathBuf,
}

fn list(issuer: &Issuer<'_, KeyPair>, revoked: &[u64], next_update: OffsetDateTime) -> Lists {
    let params = CertificateRevocationListParams {
        this_update: NOW - Duration::days(2),
        next_update,
        crl_number: SerialNumber::from(1),
        issuing_distribution_point: None,
        revoked_certs: revoked
            .iter()
            .map(|serial| RevokedCertParams {
                serial_number: SerialNumber::from(*serial),
                revocation_time: NOW - Duration::days(1),
                reason_code: None,
                invalidity_date: None,
            })
            .collect(),
        key_identifier_method: KeyIdMethod::Sha256,
    };
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("list.crl");
    std::fs::write(&path, params.signed_by(issuer).unwrap().pem().unwrap()).unwrap();
    Lists { _folder: folder, path }
}

fn verifier(root: &CertifiedIssuer<'static, KeyPair>, lists: &[&Lists], unlisted: Unlisted) -> Arc<Verifier> {
    let anchors = Anchors::from_der(vec![root.der().clone()]).unwrap();
    let files: Vec<_> = lists.iter().map(|l| l.path.clone()).collect();
    Verifier::new(&anchors, Revocation::load(&files, unlisted).unwrap()).unwrap()
}

/// A verifier with a fresh, empty list.
fn ready(root: &CertifiedIssuer<'static, KeyPair>) -> Arc<Verifier> {
    verifier(root, &[&list(root, &[], NOW + Duration::days(5))], Unlisted::Refuse)
}

#[test]
fn a_card_with_only_smartcard_logon_is_taken_and_read() {
    let root = root();
    let card = issue(Card { sid: Some("S-1-5-21-1-2-3-1104"), ..Card::default() }, &root);
    assert_eq!(ready(&root).check(&card, &[], at(NOW)).map(|_| ()), Ok(()));
    let who = ClientIdentity::read(&card).unwrap();
    assert_eq!(who.subject, "cn=Alice,o=Trust\\, A");
    assert_eq!(who.upn.as_deref(), Some("alice@rxa.trust.test"));
    assert_eq!(who.sid.as_deref(), Some("S-1-5-21-1-2-3-1104"));
    assert!(who.is_smartcard());
    assert_eq!(who.fingerprint.len(), 64);
}

#[test]
fn two_principal_names_mean_nobody() {
    let card = issue(Card { principals: vec!["a@x.test", "b@x.test"], ..Card::default() }, &root());
    assert_eq!(ClientIdentity::read(&card).unwrap().upn, None);
}

#[test]
fn a_certificate_without_a_usage_or_with_a_foreign_one_is_refused() {
    let root = root();
    let check = |usages| {
        ready(&root).check(&issue(Card { usages, ..Card::default() }, &root), &[], at(NOW)).map(|_| ())
    };
    assert_eq!(check(vec![]), Err(Refused::Purpose));
    assert_eq!(check(vec![ExtendedKeyUsagePurpose::ServerAuth]), Err(Refused::Purpose));
    assert_eq!(check(vec![ExtendedKeyUsagePurpose::ClientAuth]), Ok(()));
}

#[test]
fn validity_issuer_and_revocation_are_checked() {
    let root = root();
    let ok = issue(Card::default(), &root);
    assert!(matches!(
        ready(&root).check(&ok, &[], at(NOW + Duration::days(31))),
        Err(Refused::Path(webpki::Error::CertExpired { .. } | webpki::Error::CrlExpired { .. }))
    ));
    // The other root has the same name, so it is the signature that tells them apart.
    assert!(matches!(
        ready(&self::root()).check(&ok, &[], at(NOW)),
        Err(Refused::Path(webpki::Error::UnknownIssuer | webpki::Error::InvalidSignatureForPublicKey))
    ));
    let revoking = verifier(&root, &[&list(&root, &[7], NOW + Duration::days(5))], Unlisted::Refuse);
    assert_eq!(revoking.check(&ok, &[], at(NOW)), Err(Refused::Path(webpki::Error::CertRevoked)));
}

#[test]
fn an_old_list_refuses_and_a_missing_one_refuses_unless_policy_takes_it() {
    let root = root();
    let ok = issue(Card::default(), &root);
    let old = verifier(&root, &[&list(&root, &[], NOW - Duration::hours(1))], Unlisted::Accept);
    assert!(matches!(old.check(&ok, &[], at(NOW)), Err(Refused::Path(webpki::Error::CrlExpired { .. }))));
    let none = verifier(&root, &[], Unlisted::Refuse);
    assert_eq!(none.check(&ok, &[], at(NOW)), Err(Refused::Path(webpki::Error::UnknownRevocationStatus)));
    assert_eq!(verifier(&root, &[], Unlisted::Accept).check(&ok, &[], at(NOW)).map(|_| ()), Ok(()));
}

#[test]
fn damaged_certificates_are_refused_without_a_panic() {
    let root = root();
    let good = issue(Card { sid: Some("S-1-5-21-1"), ..Card::default() }, &root);
    let check = ready(&root);
    for cut in 0..good.len() {
        let piece = CertificateDer::from(good[..cut].to_vec());
        assert!(check.check(&piece, &[], at(NOW)).is_err());
        assert!(ClientIdentity::read(&piece).is_err());
    }
    for i in 0..good.len() {
        let mut bytes = good.to_vec();
        bytes[i] ^= 0x55;
        let damaged = CertificateDer::from(bytes);
        assert!(check.check(&damaged, &[], at(NOW)).is_err(), "byte {i}");
        let _ = ClientIdentity::read(&damaged);
    }
}
