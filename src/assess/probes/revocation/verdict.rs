//! What a list that was fetched says of a certificate. Pure.

use rustls_pki_types::CertificateDer;
use time::OffsetDateTime;
use x509_parser::certificate::X509Certificate;
use x509_parser::prelude::FromDer;

use crate::assess::probes::revocation::chain::Link;
use crate::assess::probes::revocation::list::RevocationList;
use crate::baseline::facts::Fact;

/// The facts of a list.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Verdict {
    pub signed: Fact,
    pub remaining: Fact,
    pub age: Fact,
    pub revoked: Fact,
    /// What is wrong with the list, when something is.
    pub problem: Option<String>,
}

impl Verdict {
    /// The list tells nothing, because of `reason`.
    pub fn nothing(signed: Fact, reason: &str) -> Verdict {
        let failed = Fact::Failed(reason.to_owned());
        let (remaining, age, revoked) = (failed.clone(), failed.clone(), failed);
        Verdict { signed, remaining, age, revoked, problem: Some(reason.to_owned()) }
    }
}

/// Holds the list against the certificate. What is not signed by the certificate's issuer says nothing else.
pub fn judge(link: &Link, names: &[String], list: &[u8], now: OffsetDateTime) -> Verdict {
    let unknown = |reason: &str| Verdict::nothing(Fact::Failed(reason.to_owned()), reason);
    let Ok((_, certificate)) = X509Certificate::from_der(&link.certificate) else {
        return unknown("the certificate cannot be read");
    };
    let Some(issuer) = &link.issuer else {
        return unknown("the certificate of its issuer is not known");
    };
    let list = match RevocationList::read(list) {
        Ok(list) => list,
        Err(reason) => return Verdict::nothing(Fact::boolean(false), &reason),
    };
    match is_signed(&list, issuer) {
        Ok(None) => {}
        Ok(Some(problem)) => return Verdict::nothing(Fact::boolean(false), problem),
        Err(reason) => return unknown(&reason),
    }
    let revoked = list.covers(&certificate, names).and_then(|()| list.revokes(&certificate));
    let (revoked, problem) = match revoked {
        Ok(revoked) => (Fact::boolean(revoked), None),
        Err(reason) => (Fact::Failed(reason.clone()), Some(reason)),
    };
    let seconds = |until: OffsetDateTime| (until - now).whole_seconds();
    Verdict {
        signed: Fact::boolean(true),
        remaining: list.next_update.map_or(Fact::Absent, |next| Fact::duration(seconds(next))),
        age: Fact::duration(-seconds(list.this_update)),
        revoked,
        problem,
    }
}

/// None when the issuer signed the list and may; why not otherwise.
fn is_signed(list: &RevocationList<'_>, issuer: &CertificateDer<'_>) -> Result<Option<&'static str>, String> {
    let (_, issuer) = X509Certificate::from_der(issuer).map_err(|error| error.to_string())?;
    if !list.is_signed_by(issuer.public_key())? {
        return Ok(Some("it is not signed by the certificate's issuer"));
    }
    // RFC 5280 section 4.2.1.3
    let usage = issuer.key_usage().map_err(|error| error.to_string())?;
    let may = usage.is_none_or(|usage| usage.value.crl_sign());
    Ok((!may).then_some("the certificate's issuer may not sign lists"))
}

#[cfg(test)]
mod tests {
    use rcgen::{
        BasicConstraints, CertificateParams, CertificateRevocationListParams, CrlDistributionPoint,
        CrlIssuingDistributionPoint, CrlScope, DnType, IsCa, Issuer, KeyIdMethod, KeyPair, KeyUsagePurpose,
        RevokedCertParams, SerialNumber,
    };
    use time::macros::datetime;

    use super::*;
    use crate::assess::probes::revocation::chain::{links, places};

    const NOW: OffsetDateTime = datetime!(2026-11-10 12:00 UTC);
    const PLACE: &str = "http://pki.test/ca.crl";

    type Authority = (Issuer<'static, KeyPair>, CertificateDer<'static>);

    fn authority(name: &str, usages: Vec<KeyUsagePurpose>) -> Authority {
        let key = KeyPair::generate().unwrap();
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        params.distinguished_name.push(DnType::CommonName, name);
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.key_usages = usages;
        let certificate = params.self_signed(&key).unwrap().der().clone();
        (Issuer::new(params, key), certificate)
    }

    fn root() -> Authority {
        authority("Root", vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign])
    }

    fn leaf(issuer: &Authority, serial: u64, uris: &[&str]) -> CertificateDer<'static> {
        let mut params = CertificateParams::new(vec!["dc1.x.test".to_owned()]).unwrap();
        params.serial_number = Some(SerialNumber::from(serial));
        params.distinguished_name.push(DnType::CommonName, "dc1");
        if !uris.is_empty() {
            let uris = uris.iter().map(|uri| (*uri).to_owned()).collect();
            params.crl_distribution_points = vec![CrlDistributionPoint { uris }];
        }
        params.signed_by(&KeyPair::generate().unwrap(), &issuer.0).unwrap().der().clone()
    }

    fn list_with(
        issuer: &Authority,
        revoked: &[u64],
        change: impl Fn(&mut CertificateRevocationListParams),
    ) -> Vec<u8> {
        let revoked = revoked.iter().map(|serial| RevokedCertParams {
            serial_number: SerialNumber::from(*serial),
            revocation_time: datetime!(2026-11-01 00:00 UTC),
            reason_code: None,
            invalidity_date: None,
        });
        let mut params = CertificateRevocationListParams {
            this_update: datetime!(2026-11-10 00:00 UTC),
            next_update: datetime!(2026-11-17 00:00 UTC),
            crl_number: SerialNumber::from(7_u64),
            issuing_distribution_point: None,
            revoked_certs: revoked.collect(),
            key_identifier_method: KeyIdMethod::Sha256,
        };
        change(&mut params);
        params.signed_by(&issuer.0).unwrap().der().to_vec()
    }

    fn list(issuer: &Authority, revoked: &[u64]) -> Vec<u8> {
        list_with(issuer, revoked, |_| {})
    }

    fn link(certificate: CertificateDer<'static>, issuer: &Authority) -> Link {
        links(&certificate, &[], std::slice::from_ref(&issuer.1)).pop().unwrap()
    }

    fn judged(certificate: CertificateDer<'static>, issuer: &Authority, list: &[u8]) -> Verdict {
        judge(&link(certificate, issuer), &[PLACE.to_owned()], list, NOW)
    }

    #[test]
    fn a_list_tells_who_is_revoked() {
        let root = root();
        let verdict = judged(leaf(&root, 5, &[PLACE]), &root, &list(&root, &[4, 6]));
        assert_eq!((&verdict.signed, &verdict.revoked), (&Fact::boolean(true), &Fact::boolean(false)));
        assert_eq!(verdict.remaining, Fact::duration(6 * 86_400 + 43_200));
        assert_eq!((verdict.age, verdict.problem), (Fact::duration(43_200), None));
        assert_eq!(judged(leaf(&root, 5, &[]), &root, &list(&root, &[4, 5, 6])).revoked, Fact::boolean(true));
        assert_eq!(judged(leaf(&root, 5, &[]), &root, &list(&root, &[])).revoked, Fact::boolean(false));
        let old = list_with(&root, &[], |list| list.next_update = datetime!(2026-11-10 11:00 UTC));
        assert_eq!(judged(leaf(&root, 5, &[]), &root, &old).remaining, Fact::duration(-3_600));
    }

    #[test]
    fn a_list_of_somebody_else_says_nothing() {
        let (root, rogue) = (root(), root());
        // of the same name, with another key
        let verdict = judged(leaf(&root, 5, &[]), &root, &list(&rogue, &[]));
        assert_eq!(verdict.signed, Fact::boolean(false));
        assert!(matches!(verdict.revoked, Fact::Failed(_)) && matches!(verdict.remaining, Fact::Failed(_)));
        // the same key and name, in a certificate that may not sign lists
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        params.distinguished_name.push(DnType::CommonName, "Root");
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign];
        let unsigning = params.self_signed(root.0.key()).unwrap().der().clone();
        let link = Link { issuer: Some(unsigning), ..link(leaf(&root, 5, &[]), &root) };
        let verdict = judge(&link, &[], &list(&root, &[]), NOW);
        assert_eq!(verdict.signed, Fact::boolean(false));
        assert!(verdict.problem.is_some_and(|problem| problem.contains("may not sign lists")));
        let unknown = judge(&Link { issuer: None, ..link }, &[], &list(&root, &[]), NOW);
        assert!(matches!(unknown.signed, Fact::Failed(_)));
    }

    #[test]
    fn what_is_no_list_is_told() {
        let root = root();
        let certificate = leaf(&root, 5, &[]);
        let whole = list(&root, &[1, 2, 3]);
        let mut longer = whole.clone();
        longer.push(0);
        let mut changed = whole.clone();
        *changed.last_mut().unwrap() ^= 1;
        for bytes in [
            b"<html>please log on</html>".to_vec(),
            b"-----BEGIN X509 CRL-----".to_vec(),
            Vec::new(),
            longer,
            changed,
        ] {
            let verdict = judged(certificate.clone(), &root, &bytes);
            assert_eq!(verdict.signed, Fact::boolean(false));
            assert!(verdict.problem.is_some() && matches!(verdict.revoked, Fact::Failed(_)));
        }
        for length in 0..whole.len() {
            assert_eq!(
                judged(certificate.clone(), &root, &whole[..length]).signed,
                Fact::boolean(false),
                "{length}"
            );
        }
    }

    #[test]
    fn no_bit_of_a_list_can_be_changed() {
        let root = root();
        let link = link(leaf(&root, 5, &[PLACE]), &root);
        let whole = list(&root, &[1, 5]);
        for place in 0..whole.len() {
            let mut changed = whole.clone();
            changed[place] ^= 1 << (place % 8);
            let verdict = judge(&link, &[PLACE.to_owned()], &changed, NOW);
            // around what is signed there are bits that mean nothing; then it still says what it said
            let same = verdict == judge(&link, &[PLACE.to_owned()], &whole, NOW);
            assert!(same || verdict.signed != Fact::boolean(true), "{place}: {verdict:?}");
            assert!(same || matches!(verdict.revoked, Fact::Failed(_)), "{place}: {verdict:?}");
        }
    }

    #[test]
    fn a_list_for_other_certificates_does_not_clear_this_one() {
        let root = root();
        let scoped = |uri: &str, scope| {
            list_with(&root, &[], |list| {
                let distribution_point = CrlDistributionPoint { uris: vec![uri.to_owned()] };
                let scope: Option<CrlScope> = scope;
                list.issuing_distribution_point =
                    Some(CrlIssuingDistributionPoint { distribution_point, scope });
            })
        };
        let revoked = |bytes: &[u8]| judged(leaf(&root, 5, &[PLACE]), &root, bytes).revoked;
        assert_eq!(revoked(&scoped(PLACE, None)), Fact::boolean(false));
        assert_eq!(revoked(&scoped(PLACE, Some(CrlScope::UserCertsOnly))), Fact::boolean(false));
        assert!(matches!(revoked(&scoped(PLACE, Some(CrlScope::CaCertsOnly))), Fact::Failed(_)));
        assert!(matches!(revoked(&scoped("http://pki.test/other.crl", None)), Fact::Failed(_)));
    }

    #[test]
    fn places_are_read_from_the_certificate() {
        let root = root();
        let of = |uris: &[&str]| {
            let certificate = leaf(&root, 5, uris);
            places(&X509Certificate::from_der(&certificate).unwrap().1).unwrap()
        };
        assert_eq!(of(&[]).named.len(), 0);
        let found = of(&["ldap:///CN=x", "HTTP://a.test/1", "https://a.test/2", "file:///x", PLACE]);
        assert_eq!((found.named.len(), found.web), (5, vec!["HTTP://a.test/1".to_owned(), PLACE.to_owned()]));
        assert_eq!(of(&["http://a/"; 9]).web.len(), 3);
    }

    #[test]
    fn the_way_up_ends_at_an_anchor() {
        let root = root();
        let key = KeyPair::generate().unwrap();
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        params.distinguished_name.push(DnType::CommonName, "Issuing");
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let middle = params.signed_by(&key, &root.0).unwrap().der().clone();
        let issuing: Authority = (Issuer::new(params, key), middle.clone());
        let certificate = leaf(&issuing, 5, &[]);
        let anchors = std::slice::from_ref(&root.1);
        let way = links(&certificate, std::slice::from_ref(&middle), anchors);
        assert_eq!(
            way.iter().map(|l| l.issuer.clone()).collect::<Vec<_>>(),
            [Some(middle.clone()), Some(root.1.clone())]
        );
        // not shown, trusted by itself, and somebody else of that name
        assert_eq!(
            links(&certificate, &[], anchors),
            [Link { certificate: certificate.clone(), issuer: None }]
        );
        assert_eq!(links(&certificate, &[], std::slice::from_ref(&middle)).len(), 1);
        assert!(links(&root.1, &[], &[]).is_empty());
        let rogue = self::root();
        assert_eq!(links(&middle, &[], std::slice::from_ref(&rogue.1))[0].issuer, None);
    }
}
