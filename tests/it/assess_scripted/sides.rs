//! What is changed beside the directory: what controllers show, whether they answer, how the key distribution centre answers.

use super::cases::{Case, is_wrong};
use super::certificates::Shown;

/// Certificates and answers of controllers. The second controller is the one that is wrong, so that the first is still read.
pub const CONTROLLERS: &[Case] = &[
    is_wrong("tls-name", "false", |world| world.second = Some(Shown::WrongName)).blinding(4),
    is_wrong("tls-key", "1024", |world| world.second = Some(Shown::ShortKey))
        .and(&["revocation-controllers-listed"])
        .blinding(4),
    is_wrong("tls-signature", "sha1-ecdsa", |world| world.second = Some(Shown::OldSignature))
        .and(&["revocation-controllers-listed", "tls-chain"])
        .blinding(4),
    // nothing can be read without TLS
    is_wrong("tls-available", "[]", |world| world.first = Shown::NoTls).and(&["tls-versions"]).blinding(176),
    is_wrong("all-controllers-answer", "1", |world| world.second = Some(Shown::Nothing)),
    // neither its TLS nor what it holds is known
    is_wrong("all-controllers-answer", "1", |world| world.second = Some(Shown::Silent)).blinding(19),
    is_wrong("controllers-agree", "members of Domain Admins", |world| {
        world.second = Some(Shown::Good);
        let mut apart = world.directory.clone();
        apart.join("CN=nurse-1", "CN=Domain Admins");
        world.apart = Some(apart);
    }),
    is_wrong("smartcard-controllers-certificate", "", |world| world.second = Some(Shown::ServerOnly)),
    is_wrong("ldap-unauthenticated-bind-refused", "true", |world| {
        world.directory.takes_empty_passwords = true;
    }),
];

/// Answers of the key distribution centre.
pub const KERBEROS: &[Case] = &[
    is_wrong("kerberos-no-des", "des-cbc-md5", |world| world.kdc.types.push(3)),
    is_wrong("kerberos-preauth", "false", |world| world.kdc.demands_proof = false)
        // whoever asks for no proof names no ways to prove
        .blinding(1),
    is_wrong("clock-skew", "10m", |world| world.kdc.ahead = 600),
    is_wrong("kerberos-pkinit-advertised", "false", |world| world.kdc.knows_certificates = false),
];
