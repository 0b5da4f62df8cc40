//! T36: a table of certificates that are not what they should be, each refused (or taken) for the reason it names.

use rcgen::{
    BasicConstraints, CertificateParams, CertificateRevocationListParams, CertifiedIssuer, CustomExtension,
    DnType, ExtendedKeyUsagePurpose, GeneralSubtree, IsCa, Issuer, KeyIdMethod, KeyPair, KeyUsagePurpose,
    NameConstraints, OtherNameValue, PublicKeyData, RevokedCertParams, SanType, SerialNumber,
    SignatureAlgorithm,
};
use rustls::pki_types::{CertificateDer, UnixTime};
use time::{Duration, OffsetDateTime, macros::datetime};
use x509_parser::der_parser::asn1_rs::{Oid, ToDer};

use super::*;
use crate::tls::identity::ClientIdentity;
use crate::tls::revocation::Unlisted;

const NOW: OffsetDateTime = datetime!(2026-11-24 12:00 UTC);
const CARD_LOGON: &[u64] = &[1, 3, 6, 1, 4, 1, 311, 20, 2, 2];
const PRINCIPAL: &[u64] = &[1, 3, 6, 1, 4, 1, 311, 20, 2, 3];
/// The policy of national cards here, and another one.
const NATIONAL: &[u64] = &[1, 2, 826, 0, 1, 1];
const OTHER: &[u64] = &[1, 2, 826, 0, 1, 2];
const ANY: &[u64] = &[2, 5, 29, 32, 0];
const POLICIES: &[u64] = &[2, 5, 29, 32];

type Authority = CertifiedIssuer<'static, KeyPair>;

fn at(time: OffsetDateTime) -> UnixTime {
    UnixTime::since_unix_epoch(std::time::Duration::from_secs(time.unix_timestamp() as u64))
}

fn authority_params(name: &str) -> CertificateParams {
    let mut params = CertificateParams::new(vec![]).unwrap();
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    params.distinguished_name = rcgen::DistinguishedName::new();
    params.distinguished_name.push(DnType::CommonName, name);
    params.serial_number = Some(SerialNumber::from(77_u64));
    params
}

fn root(name: &str) -> Authority {
    CertifiedIssuer::self_signed(authority_params(name), KeyPair::generate().unwrap()).unwrap()
}

fn below(issuer: &Authority, change: impl FnOnce(&mut CertificateParams)) -> Authority {
    let mut params = authority_params("Issuing");
    change(&mut params);
    CertifiedIssuer::signed_by(params, KeyPair::generate().unwrap(), issuer).unwrap()
}

fn card_params() -> CertificateParams {
    let mut params = CertificateParams::new(vec![]).unwrap();
    params.distinguished_name = rcgen::DistinguishedName::new();
    params.distinguished_name.push(DnType::CommonName, "Alice");
    params.extended_key_usages = vec![ExtendedKeyUsagePurpose::Other(CARD_LOGON.to_vec())];
    params.serial_number = Some(SerialNumber::from(7_u64));
    params.not_before = NOW - Duration::days(1);
    params.not_after = NOW + Duration::days(30);
    principal(&mut params, "alice@rxa.trust.test");
    params
}

fn principal(params: &mut CertificateParams, name: &str) {
    let value = OtherNameValue::Utf8String(name.to_owned());
    params.subject_alt_names.push(SanType::OtherName((PRINCIPAL.to_vec(), value)));
}

fn card(issuer: &Authority, change: impl FnOnce(&mut CertificateParams)) -> CertificateDer<'static> {
    let mut params = card_params();
    change(&mut params);
    params.signed_by(&KeyPair::generate().unwrap(), issuer).unwrap().der().clone()
}

fn element(tag: u8, contents: &[u8]) -> Vec<u8> {
    let mut out = vec![tag];
    match contents.len() {
        length @ 0..=0x7f => out.push(length as u8),
        length @ 0x80..=0xff => out.extend([0x81, length as u8]),
        length => out.extend([0x82, (length >> 8) as u8, length as u8]),
    }
    out.extend_from_slice(contents);
    out
}

fn oid(arcs: &[u64]) -> Vec<u8> {
    Oid::from(arcs).unwrap().to_der_vec().unwrap()
}

fn extension(arcs: &[u64], critical: bool, der: Vec<u8>) -> CustomExtension {
    let mut extension = CustomExtension::from_oid_content(arcs, der);
    extension.set_criticality(critical);
    extension
}

fn policies(critical: bool, all: &[&[u64]]) -> CustomExtension {
    let each: Vec<u8> = all.iter().flat_map(|policy| element(0x30, &oid(policy))).collect();
    extension(POLICIES, critical, element(0x30, &each))
}

fn list(issuer: &Issuer<'_, KeyPair>, revoked: &[u64], from: OffsetDateTime, to: OffsetDateTime) -> Vec<u8> {
    let revoked_certs = revoked.iter().map(|serial| RevokedCertParams {
        serial_number: SerialNumber::from(*serial),
        revocation_time: from,
        reason_code: None,
        invalidity_date: None,
    });
    let params = CertificateRevocationListParams {
        this_update: from,
        next_update: to,
        crl_number: SerialNumber::from(1_u64),
        issuing_distribution_point: None,
        revoked_certs: revoked_certs.collect(),
        key_identifier_method: KeyIdMethod::Sha256,
    };
    params.signed_by(issuer).unwrap().der().to_vec()
}

fn fresh(issuer: &Authority, revoked: &[u64]) -> Vec<u8> {
    list(issuer, revoked, NOW - Duration::days(1), NOW + Duration::days(5))
}

fn loaded(lists: &[Vec<u8>], unlisted: Unlisted) -> Result<Revocation, TlsError> {
    let folder = tempfile::tempdir().unwrap();
    let mut paths = Vec::new();
    for (n, der) in lists.iter().enumerate() {
        let path = folder.path().join(n.to_string());
        std::fs::write(&path, der).unwrap();
        paths.push(path);
    }
    Revocation::load(&paths, unlisted)
}

fn verifier(root: &Authority, lists: &[Vec<u8>], policies: &[&str]) -> Arc<Verifier> {
    let anchors = Anchors::from_der(vec![root.der().clone()]).unwrap();
    let accepted = AcceptedPolicies::new(policies.iter().map(|p| (*p).to_owned()));
    Verifier::with_policies(&anchors, loaded(lists, Unlisted::Refuse).unwrap(), accepted).unwrap()
}

fn ready(root: &Authority) -> Arc<Verifier> {
    verifier(root, &[fresh(root, &[])], &[])
}

fn outcome(
    verifier: &Verifier,
    leaf: &CertificateDer<'_>,
    above: &[CertificateDer<'_>],
) -> Result<(), Refused> {
    verifier.check(leaf, above, at(NOW)).map(|_| ())
}

fn refused(root: &Authority, change: impl FnOnce(&mut CertificateParams)) -> Refused {
    outcome(&ready(root), &card(root, change), &[]).unwrap_err()
}

#[test]
fn t36_validity_and_usage() {
    let root = root("Root");
    assert_eq!(outcome(&ready(&root), &card(&root, |_| {}), &[]), Ok(()));
    let expired = refused(&root, |c| c.not_after = NOW - Duration::hours(1));
    assert!(matches!(expired, Refused::Path(webpki::Error::CertExpired { .. })), "{expired}");
    let early = refused(&root, |c| c.not_before = NOW + Duration::hours(1));
    assert!(matches!(early, Refused::Path(webpki::Error::CertNotValidYet { .. })), "{early}");
    assert_eq!(
        refused(&root, |c| c.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth]),
        Refused::Purpose
    );
    assert_eq!(refused(&root, |c| c.extended_key_usages = vec![]), Refused::Purpose);
    // "Any purpose" is not the purpose that a card states.
    assert_eq!(
        refused(&root, |c| c.extended_key_usages = vec![ExtendedKeyUsagePurpose::Any]),
        Refused::Purpose
    );
    let authority = refused(&root, |c| c.is_ca = IsCa::Ca(BasicConstraints::Unconstrained));
    assert_eq!(authority, Refused::Path(webpki::Error::CaUsedAsEndEntity));
    let many = vec![root.der().clone(); INTERMEDIATES_MAX + 1];
    assert_eq!(outcome(&ready(&root), &card(&root, |_| {}), &many), Err(Refused::TooMany));
}

#[test]
fn t36_issuers_and_constraints() {
    let (root, stranger) = (root("Root"), self::root("Stranger"));
    let alien = outcome(&ready(&root), &card(&stranger, |_| {}), &[stranger.der().clone()]);
    assert_eq!(alien, Err(Refused::Path(webpki::Error::UnknownIssuer)));
    let lists = |issuing: &Authority| [fresh(&root, &[]), fresh(issuing, &[])];
    let through = |issuing: &Authority, leaf: &CertificateDer<'_>| {
        outcome(&verifier(&root, &lists(issuing), &[]), leaf, &[issuing.der().clone()])
    };
    let issuing = below(&root, |_| {});
    assert_eq!(through(&issuing, &card(&issuing, |_| {})), Ok(()));
    // An end entity's key signs nothing, whatever its name.
    let false_issuer = below(&root, |p| p.is_ca = IsCa::ExplicitNoCa);
    assert_eq!(
        through(&false_issuer, &card(&false_issuer, |_| {})),
        Err(Refused::Path(webpki::Error::EndEntityUsedAsCa))
    );
    let narrow = below(&root, |p| p.is_ca = IsCa::Ca(BasicConstraints::Constrained(0)));
    let deeper = below(&narrow, |p| {
        p.distinguished_name = rcgen::DistinguishedName::new();
        p.distinguished_name.push(DnType::CommonName, "Deeper");
    });
    let all = [fresh(&root, &[]), fresh(&narrow, &[]), fresh(&deeper, &[])];
    let chain = [deeper.der().clone(), narrow.der().clone()];
    assert_eq!(
        outcome(&verifier(&root, &all, &[]), &card(&deeper, |_| {}), &chain),
        Err(Refused::Path(webpki::Error::PathLenConstraintViolated))
    );
    let only = |name: &str| NameConstraints {
        permitted_subtrees: vec![GeneralSubtree::DnsName(name.to_owned())],
        excluded_subtrees: vec![],
    };
    let constrained = below(&root, |p| p.name_constraints = Some(only("rxa.trust.test")));
    let named = |name: &'static str| {
        card(&constrained, move |c| {
            c.subject_alt_names = vec![SanType::DnsName(name.try_into().unwrap())];
        })
    };
    assert_eq!(
        through(&constrained, &named("host.rxb.trust.test")),
        Err(Refused::Path(webpki::Error::NameConstraintViolation))
    );
    assert_eq!(through(&constrained, &named("host.rxa.trust.test")), Ok(()));
}

#[test]
fn t36_revocation_of_every_certificate_on_the_path() {
    let root = root("Root");
    let issuing = below(&root, |_| {});
    let leaf = card(&issuing, |_| {});
    let path = [issuing.der().clone()];
    let with = |lists: &[Vec<u8>]| outcome(&verifier(&root, lists, &[]), &leaf, &path);
    assert_eq!(with(&[fresh(&root, &[]), fresh(&issuing, &[])]), Ok(()));
    let revoked = Err(Refused::Path(webpki::Error::CertRevoked));
    assert_eq!(with(&[fresh(&root, &[]), fresh(&issuing, &[7])]), revoked);
    assert_eq!(with(&[fresh(&root, &[77]), fresh(&issuing, &[])]), revoked);
    // A list of the issuing authority alone leaves the authority itself unproven.
    let unknown = Err(Refused::Path(webpki::Error::UnknownRevocationStatus));
    assert_eq!(with(&[fresh(&issuing, &[])]), unknown);
    assert_eq!(with(&[fresh(&root, &[])]), unknown);
    let stale = list(&issuing, &[], NOW - Duration::days(9), NOW - Duration::seconds(1));
    assert!(matches!(
        with(&[fresh(&root, &[]), stale]),
        Err(Refused::Path(webpki::Error::CrlExpired { .. }))
    ));
    // A list in the issuer's name by somebody else.
    let forger = below(&root, |_| {});
    assert_eq!(
        with(&[fresh(&root, &[]), fresh(&forger, &[])]),
        Err(Refused::Path(webpki::Error::InvalidCrlSignatureForPublicKey))
    );
}

#[test]
fn t36_a_list_has_a_maximum_age_and_must_be_complete() {
    let root = root("Root");
    let leaf = card(&root, |_| {});
    let far = [list(&root, &[], NOW - Duration::hours(47), NOW + Duration::days(900))];
    let aged = |hours| {
        let anchors = Anchors::from_der(vec![root.der().clone()]).unwrap();
        let revocation = loaded(&far, Unlisted::Accept).unwrap().with_max_age(Duration::hours(hours));
        Verifier::new(&anchors, revocation).unwrap()
    };
    assert_eq!(outcome(&aged(47), &leaf, &[]), Err(Refused::OldList));
    let taken = aged(48).check(&leaf, &[], at(NOW)).unwrap();
    assert_eq!(taken.until, NOW + Duration::hours(1), "then it is to be looked at again");
    // The same certificate at that time: the outcome is not remembered beyond its end.
    let verifier = aged(48);
    assert!(verifier.check(&leaf, &[], at(NOW)).is_ok());
    assert_eq!(verifier.check(&leaf, &[], at(taken.until)), Err(Refused::OldList));
    let delta = with_extension(&far[0], &[2, 5, 29, 27]);
    let error = loaded(&[delta], Unlisted::Refuse).unwrap_err().to_string();
    assert!(error.contains("delta"), "{error}");
}

/// A revocation list with one more critical extension (an INTEGER); its signature is not made anew.
fn with_extension(list: &[u8], arcs: &[u64]) -> Vec<u8> {
    let body =
        |der: &[u8]| x509_parser::der_parser::parse_der(der).unwrap().1.header.length().definite().unwrap();
    let start = list.len() - body(list);
    let signed = &list[start..];
    let signed_body = body(signed);
    let header = signed.iter().position(|b| *b == 0x30).unwrap()
        + (if signed[1] < 0x80 { 2 } else { signed[1] as usize - 0x80 + 2 });
    let (fields, rest) = (&signed[header..header + signed_body], &signed[header + signed_body..]);
    // the last element, which ends where the fields end: the same octet may stand in a key identifier, too
    let ends = |at: &usize| fields[*at] == 0xa0 && at + 2 + usize::from(fields[at + 1]) == fields.len();
    let at = (0..fields.len() - 1).find(ends).unwrap();
    let list_of = &fields[at + 2..];
    let header = if list_of[1] < 0x80 { 2 } else { list_of[1] as usize - 0x80 + 2 };
    let value = element(0x04, &[2, 1, 1]);
    let more = element(0x30, &[oid(arcs), vec![1, 1, 0xff], value].concat());
    let extensions = element(0xa0, &element(0x30, &[&list_of[header..], &more].concat()));
    let signed = element(0x30, &[&fields[..at], &extensions].concat());
    element(0x30, &[signed.as_slice(), rest].concat())
}

struct WeakKey(Vec<u8>);

impl PublicKeyData for WeakKey {
    fn der_bytes(&self) -> &[u8] {
        &self.0
    }

    fn algorithm(&self) -> &'static SignatureAlgorithm {
        &rcgen::PKCS_RSA_SHA256
    }
}

#[test]
fn t36_weak_keys_and_signatures() {
    let root = root("Root");
    for (bits, expected) in [(1024, Err(Refused::WeakKey)), (2047, Err(Refused::WeakKey)), (2048, Ok(()))] {
        let mut modulus = vec![0x7f_u8; bits / 8 + usize::from(bits % 8 > 0)];
        if bits % 8 == 0 {
            modulus[0] = 0xff;
            modulus.insert(0, 0);
        }
        let key = element(0x30, &[element(2, &modulus), vec![2, 3, 1, 0, 1]].concat());
        let leaf = card_params().signed_by(&WeakKey(key), &root).unwrap().der().clone();
        assert_eq!(outcome(&ready(&root), &leaf, &[]), expected, "{bits} bits");
    }
    // ecdsa-with-SHA256 becomes ecdsa-with-SHA1 in both places: the algorithm is refused before any signature counts.
    let good = card(&root, |_| {});
    let sha256 = [0x30, 0x0a, 0x06, 0x08, 0x2a, 0x86, 0x48, 0xce, 0x3d, 0x04, 0x03, 0x02];
    let sha1 = [0x30, 0x0a, 0x06, 0x08, 0x2a, 0x86, 0x48, 0xce, 0x3d, 0x04, 0x01, 0x02];
    let mut bytes = good.to_vec();
    let places: Vec<usize> = (0..bytes.len()).filter(|at| bytes[*at..].starts_with(&sha256)).collect();
    assert_eq!(places.len(), 2);
    for place in places {
        bytes[place..place + sha1.len()].copy_from_slice(&sha1);
    }
    assert!(matches!(
        outcome(&ready(&root), &CertificateDer::from(bytes), &[]),
        Err(Refused::Path(webpki::Error::UnsupportedSignatureAlgorithmContext(_)))
    ));
}

#[test]
fn t36_principal_names() {
    let root = root("Root");
    let named = |names: &[&str]| {
        let leaf = card(&root, |c| {
            c.subject_alt_names.clear();
            names.iter().for_each(|name| principal(c, name));
        });
        assert_eq!(outcome(&ready(&root), &leaf, &[]), Ok(()));
        ClientIdentity::read(&leaf).unwrap()
    };
    assert_eq!(named(&["Zoë.O'Neill@RXA.test"]).upn.as_deref(), Some("zoë.o'neill@rxa.test"));
    for names in [
        &["a@x.test", "b@x.test"][..],
        &["alice\0@x.test"],
        &["alice@x.test\0.evil.test"],
        &["ali\u{200b}ce@x.test"],
        &["\u{202e}ecila@x.test"],
        &["alice @x.test"],
        &["alice@\u{ff58}.test"],
        &["alice@x.test@y.test"],
        &["alice"],
        &["@x.test"],
        &[],
    ] {
        let who = named(names);
        assert_eq!((who.upn.as_deref(), who.is_smartcard()), (None, false), "{names:?}");
    }
}

#[test]
fn t36_critical_policies() {
    let root = root("Root");
    let lists = [fresh(&root, &[])];
    let with = |accepted: &[&str], said: CustomExtension| {
        let leaf = card(&root, |c| c.custom_extensions.push(said));
        outcome(&verifier(&root, &lists, accepted), &leaf, &[])
    };
    let national = "1.2.826.0.1.1";
    assert_eq!(with(&[], policies(true, &[NATIONAL])), Ok(()), "any policy will do");
    assert_eq!(with(&[national], policies(true, &[OTHER, NATIONAL])), Ok(()));
    assert_eq!(with(&[national], policies(true, &[OTHER])), Err(Refused::Policy));
    assert_eq!(with(&[national], policies(true, &[ANY])), Ok(()), "RFC 5280 section 6.1.3 (d)");
    // A card must say its policy, critical or not.
    assert_eq!(with(&[national], policies(false, &[NATIONAL])), Ok(()));
    assert_eq!(with(&[national], policies(false, &[OTHER])), Err(Refused::Policy));
    let silent = outcome(&verifier(&root, &lists, &[national]), &card(&root, |_| {}), &[]);
    assert_eq!(silent, Err(Refused::Policy));
    // Another certificate only when it marks them critical.
    let application = |said: CustomExtension| {
        let leaf = card(&root, |c| {
            c.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
            c.custom_extensions.push(said);
        });
        outcome(&verifier(&root, &lists, &[national]), &leaf, &[])
    };
    assert_eq!(application(policies(false, &[OTHER])), Ok(()));
    assert_eq!(application(policies(true, &[OTHER])), Err(Refused::Policy));
    // Qualifiers for people are understood, others not.
    let qualified = |critical, kind: &[u64]| {
        let qualifier = element(0x30, &[oid(kind), element(0x16, b"http://x.test")].concat());
        let policy = element(0x30, &[oid(NATIONAL), element(0x30, &qualifier)].concat());
        extension(POLICIES, critical, element(0x30, &policy))
    };
    assert_eq!(with(&[national], qualified(true, &[1, 3, 6, 1, 5, 5, 7, 2, 1])), Ok(()));
    assert_eq!(with(&[], qualified(true, &[1, 2, 3])), Err(Refused::PolicyQualifier));
    assert_eq!(with(&[], qualified(false, &[1, 2, 3])), Ok(()));
    // Rubbish in it, and every other critical extension that nobody knows.
    assert_eq!(with(&[], extension(POLICIES, true, vec![5, 0])), Err(Refused::Malformed));
    for unknown in [&[1, 2, 3, 4][..], &[2, 5, 29, 33], &[2, 5, 29, 36], &[2, 5, 29, 54]] {
        assert_eq!(
            with(&[], extension(unknown, true, vec![5, 0])),
            Err(Refused::Path(webpki::Error::UnsupportedCriticalExtension)),
            "{unknown:?}"
        );
    }
}

#[test]
fn t36_policies_hold_along_the_whole_path() {
    let root = root("Root");
    let national = "1.2.826.0.1.1";
    let through = |above: Vec<CustomExtension>, leaf: CustomExtension| {
        let issuing = below(&root, |p| p.custom_extensions = above);
        let card = card(&issuing, |c| c.custom_extensions.push(leaf));
        let lists = [fresh(&root, &[]), fresh(&issuing, &[])];
        outcome(&verifier(&root, &lists, &[national]), &card, &[issuing.der().clone()])
    };
    let good = || policies(true, &[NATIONAL]);
    assert_eq!(through(vec![good()], good()), Ok(()));
    assert_eq!(through(vec![policies(true, &[ANY])], good()), Ok(()));
    assert_eq!(through(vec![policies(true, &[OTHER])], good()), Err(Refused::Policy));
    assert_eq!(through(vec![policies(false, &[OTHER])], good()), Err(Refused::Policy));
    assert_eq!(through(vec![], good()), Err(Refused::Policy), "an authority of no policy");
    // Mappings are not followed, so they prove nothing; a strict authority's "any" counts for nothing.
    let mapping = extension(&[2, 5, 29, 33], false, vec![0x30, 0]);
    assert_eq!(through(vec![good(), mapping], good()), Err(Refused::Policy));
    let inhibit = || extension(&[2, 5, 29, 54], false, vec![2, 1, 0]);
    assert_eq!(through(vec![good(), inhibit()], policies(true, &[ANY])), Err(Refused::Policy));
    assert_eq!(through(vec![good()], policies(true, &[ANY])), Ok(()));
}

/// The octet that is turned for webpki must not open a way in: signatures are over what was signed, and the turned form
/// is not taken from outside.
#[test]
fn t36_the_mark_of_criticality_is_part_of_what_is_signed() {
    let root = root("Root");
    let leaf = card(&root, |c| c.custom_extensions.push(policies(true, &[NATIONAL])));
    let plain = ready(&root);
    assert_eq!(outcome(&plain, &leaf, &[]), Ok(()));
    let turned = Shown::new(&leaf).unwrap().der.into_owned();
    assert_ne!(turned, leaf);
    assert_eq!(outcome(&plain, &turned, &[]), Err(Refused::Malformed));
    assert_eq!(outcome(&plain, &turned, std::slice::from_ref(&leaf)), Err(Refused::Malformed));
    assert_eq!(outcome(&plain, &leaf, std::slice::from_ref(&turned)), Err(Refused::Malformed));
    // Every other change of any byte still breaks it.
    for at in 0..leaf.len() {
        let mut bytes = leaf.to_vec();
        bytes[at] ^= 0x01;
        assert!(outcome(&plain, &CertificateDer::from(bytes), &[]).is_err(), "byte {at}");
    }
    // Not critical is another certificate: with its mark added it is not what was signed.
    let uncritical = card(&root, |c| c.custom_extensions.push(policies(false, &[NATIONAL])));
    assert_eq!(outcome(&plain, &uncritical, &[]), Ok(()));
    assert!(!Shown::new(&uncritical).unwrap().is_turned());
}

#[test]
fn t36_the_path_names_its_authorities_by_key() {
    let root = root("Root");
    let (one, two) = (below(&root, |_| {}), below(&root, |_| {}));
    let path = |issuing: &Authority| {
        let verifier = verifier(&root, &[fresh(&root, &[]), fresh(issuing, &[])], &[]);
        let leaf = card(issuing, |_| {});
        verifier.check(&leaf, &[issuing.der().clone()], at(NOW)).unwrap().authorities.clone()
    };
    let (first, second) = (path(&one), path(&two));
    assert_eq!((first.len(), second.len()), (2, 2));
    assert_ne!(first[0], second[0], "two authorities of one name");
    assert_eq!(first[1], second[1]);
    let (_, anchor) = X509Certificate::from_der(root.der()).unwrap();
    assert_eq!(first[1], key_digest(anchor.public_key().raw));
}
