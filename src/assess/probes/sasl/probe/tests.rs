use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair};
use rustls_pki_types::PrivateKeyDer;
use tokio::net::TcpListener;
use tokio_rustls::TlsAcceptor;
use zeroize::Zeroizing;

use super::*;
use crate::ldap::message::{BindOutcome, Outcome};
use crate::secret::reference::SecretReference;

/// invalidCredentials as Windows Server says it of a wrong or missing token.
const BINDINGS: (u32, &str) =
    (49, "80090346: LdapErr: DSID-0C0906B8, comment: AcceptSecurityContext error, data 80090346, v4563");
const STRONGER: (u32, &str) = (8, "00002028: LdapErr: DSID-0C090259, comment: The server requires binds");
const ACCEPTED: (u32, &str) = (0, "");

/// A controller that answers one bind after the other like this, over TLS when there is a config.
async fn controller(answers: &[(u32, &str)], tls: Option<Arc<rustls::ServerConfig>>) -> Endpoint {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let answers: Vec<Vec<u8>> = answers
        .iter()
        .map(|(code, text)| {
            let outcome = BindOutcome { outcome: Outcome::new(ResultCode(*code), *text), credentials: None };
            codec::to_bytes(&Message::new(1, Operation::BindResponse(outcome)))
        })
        .collect();
    let transport = if tls.is_some() { Transport::Ldaps } else { Transport::Plain };
    tokio::spawn(async move {
        for answer in answers {
            let (tcp, _) = listener.accept().await.unwrap();
            let mut stream: Box<dyn Stream> = match &tls {
                Some(config) => Box::new(TlsAcceptor::from(Arc::clone(config)).accept(tcp).await.unwrap()),
                None => Box::new(tcp),
            };
            let mut request = vec![0; 4_096];
            let length = stream.read(&mut request).await.unwrap();
            assert!(request[..length].windows(10).any(|bytes| bytes == b"GSS-SPNEGO"));
            stream.write_all(&answer).await.unwrap();
            stream.flush().await.unwrap();
        }
    });
    Endpoint { host: "127.0.0.1".to_owned(), port, tls_name: Some("dc1.x.test".to_owned()), transport }
}

fn ticket() -> Ticket {
    use rasn_kerberos as krb;
    let text = |text: &str| krb::KerberosString::from_bytes(text.as_bytes()).unwrap();
    let ticket = krb::Ticket {
        tkt_vno: 5.into(),
        realm: text("X.TEST"),
        sname: krb::PrincipalName { r#type: 2, string: vec![text("ldap"), text("dc1.x.test")] },
        enc_part: krb::EncryptedData { etype: 18, kvno: Some(1), cipher: vec![1; 300].into() },
    };
    Ticket {
        realm: "X.TEST".to_owned(),
        name: vec!["svc".to_owned()],
        name_type: 1,
        key_type: 18,
        key: Zeroizing::new(vec![7; 32]),
        ticket: rasn::der::encode(&ticket).unwrap(),
        clock_offset: 0,
    }
}

/// What the probe makes of a controller with these answers on its plain port and on its LDAPS port.
async fn found(plain: &[(u32, &str)], ldaps: &[(u32, &str)]) -> (Told<bool>, Told<&'static str>) {
    let (ca_key, key) = (KeyPair::generate().unwrap(), KeyPair::generate().unwrap());
    let mut params = CertificateParams::new(Vec::new()).unwrap();
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let ca = params.self_signed(&ca_key).unwrap();
    let leaf = CertificateParams::new(vec!["dc1.x.test".to_owned()]).unwrap();
    let leaf = leaf.signed_by(&key, &Issuer::new(params, ca_key)).unwrap();
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let server = rustls::ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![leaf.der().clone()], PrivateKeyDer::try_from(key.serialize_der()).unwrap())
        .unwrap();
    let plain = controller(plain, None).await;
    let ldaps = controller(ldaps, Some(Arc::new(server))).await;
    let secret = SecretReference::File("/nowhere".into());
    let target =
        Target::new("RXA".parse().unwrap(), vec![], "DC=x,DC=test", "svc@x.test", secret, &ca.pem()).unwrap();
    let settings = Settings { plain_port: plain.port, probe_seconds: 5, ..Settings::default() };
    let tls = crate::tls::client::client_config(&target.anchors, None).unwrap();
    let workshop = Workshop::for_password(&target).unwrap();
    let clock = Clock::system();
    let means =
        Means { workshop: &workshop, tls: &tls, settings: &settings, clock: &clock, realm: &target.realm };
    let unsigned = unsigned_bind(&means, &ldaps, &ticket()).await;
    (unsigned, binding(&means, &ldaps, &ticket()).await)
}

#[tokio::test]
async fn controllers_are_told_apart() {
    let hardened = found(&[ACCEPTED, STRONGER], &[BINDINGS]).await;
    assert_eq!(hardened, (Ok(false), Ok("enforced")));
    let half = found(&[ACCEPTED, ACCEPTED], &[ACCEPTED, BINDINGS]).await;
    assert_eq!(half, (Ok(true), Ok("when-supported")));
    let open = found(&[ACCEPTED, ACCEPTED], &[ACCEPTED, ACCEPTED]).await;
    assert_eq!(open, (Ok(true), Ok("not-enforced")));
    // a Samba that takes no SASL over TLS
    assert_eq!(found(&[ACCEPTED, STRONGER], &[STRONGER]).await.1, Ok("sasl-refused"));
}

#[tokio::test]
async fn a_bind_that_fails_for_another_reason_is_no_refusal() {
    let clock = (49, "80090308: LdapErr: DSID-0C09056D, comment: AcceptSecurityContext error, data 0, v4563");
    // a ticket that the controller does not take would be refused without signing, too
    let (unsigned, binding) = found(&[clock], &[clock]).await;
    assert!(unsigned.unwrap_err().contains("a signed Kerberos bind was not accepted"));
    assert!(binding.unwrap_err().contains("ended otherwise"));
    let (unsigned, _) = found(&[STRONGER], &[clock]).await;
    assert!(unsigned.is_err());
    let (unsigned, _) = found(&[ACCEPTED, (51, "busy")], &[clock]).await;
    assert!(unsigned.unwrap_err().contains("an unsigned Kerberos bind ended otherwise"));
}

#[test]
fn a_refusal_counts_for_its_own_reason_only() {
    let bindings =
        "80090346: LdapErr: DSID-0C0906B8, comment: AcceptSecurityContext error, data 80090346, v4563";
    for (code, text, expected) in [
        (0, "", Answer::Accepted),
        (8, "00002028: LdapErr: DSID-0C090259, comment: The server requires binds", Answer::StrongerDemanded),
        (49, bindings, Answer::BindingDemanded),
    ] {
        assert_eq!(Answer::of(ResultCode(code), text), expected);
    }
    // a wrong password, a clock, a service that is not known
    for (code, text) in
        [(49, "80090308: LdapErr: data 52e"), (49, "data 80090324"), (7, ""), (14, ""), (53, "")]
    {
        assert!(matches!(Answer::of(ResultCode(code), text), Answer::Other(_)), "{code} {text}");
    }
}

#[test]
fn the_worst_controller_counts() {
    let word = |word: &str| Fact::Known(Value::Word(word.to_owned()));
    let unknown = || Err("silent".to_owned());
    assert_eq!(worst(vec![Ok("enforced"), Ok("when-supported")]), word("when-supported"));
    assert_eq!(worst(vec![Ok("enforced"), Ok("sasl-refused")]), word("sasl-refused"));
    assert_eq!(worst(vec![unknown(), Ok("not-enforced")]), word("not-enforced"));
    assert_eq!(worst(vec![Ok("enforced"), unknown()]), Fact::Failed("silent".to_owned()));
    assert!(matches!(worst(Vec::new()), Fact::Failed(_)));
}

#[test]
fn a_host_name_is_one() {
    assert!(is_host("dc1.rxa.trust.test"));
    for name in ["", "-c", "a/b", "a@B", "a b", "dc1@"] {
        assert!(!is_host(name), "{name}");
    }
}

#[test]
fn a_name_stays_one_part() {
    assert_eq!(escaped("svc-portcullis"), "svc-portcullis");
    assert_eq!(escaped(r"a/b@c\d"), r"a\/b\@c\\d");
}

#[test]
fn a_missing_program_is_not_the_members_fault() {
    let reason = "`kvno` cannot be run: No such file or directory".to_owned();
    assert!(matches!(not_made(reason), Fact::NotCollected(text) if text.contains("krb5-user")));
    assert!(matches!(not_made("no ticket for ldap/x".to_owned()), Fact::Failed(_)));
}
