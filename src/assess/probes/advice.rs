//! What a person can do about a directory that does not let us in.

use crate::directory::error::DirectoryError;

/// The result code of invalid credentials (RFC 4511).
const INVALID_CREDENTIALS: u32 = 49;
/// What Active Directory says behind `data` in the text of a refused bind ([MS-ERREF] section 2.2).
const REFUSALS: [(&str, &str); 8] = [
    ("525", "there is no such account: check the name that binds"),
    ("52e", "its password is another: check the password file"),
    ("530", "it may not log on at this time: check its logon hours"),
    ("531", "it may not log on from this machine: check its workstations"),
    ("532", "its password has expired: set a new one"),
    ("533", "it is disabled: enable it"),
    ("701", "it has expired: extend it"),
    ("775", "it is locked: unlock it, and look for who tries its password"),
];

/// The error, and what to do about it.
pub fn advised(error: &DirectoryError) -> String {
    match advice(error) {
        Some(advice) => format!("{error}; {advice}"),
        None => error.to_string(),
    }
}

fn advice(error: &DirectoryError) -> Option<String> {
    let cause = |words: &[&str], cause: &str| words.iter().any(|word| cause.contains(word));
    match error {
        DirectoryError::BindRefused { code: INVALID_CREDENTIALS, text } => {
            let known =
                REFUSALS.iter().find(|(code, _)| text.to_lowercase().contains(&format!("data {code}")));
            let why = known.map_or("its name or its password is wrong: check both", |(_, why)| why);
            Some(format!("the directory refuses our account: {why}"))
        }
        DirectoryError::Unreachable { cause: text, .. } if cause(&["lookup", "resolve"], text) => {
            Some("its name does not resolve: check the name, and the name servers of this machine".to_owned())
        }
        DirectoryError::Unreachable { .. } | DirectoryError::TimedOut { what: "the TCP connection", .. } => {
            Some("check host and port, and that firewalls let this machine through".to_owned())
        }
        DirectoryError::Tls { cause: text, .. } if cause(&["UnknownIssuer"], text) => {
            Some("check that the trust anchors are those of whoever issued its certificate".to_owned())
        }
        DirectoryError::Tls { cause: text, .. } if cause(&["NotValidForName"], text) => {
            Some("its certificate is for another name: say which it must have".to_owned())
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn causes_come_with_what_to_do() {
        let endpoint = || "ldaps://dc1.rxa.test:636".to_owned();
        let refused = |text: &str| DirectoryError::BindRefused { code: 49, text: text.to_owned() };
        let lost =
            |cause: &str| DirectoryError::Unreachable { endpoint: endpoint(), cause: cause.to_owned() };
        let tls = |cause: &str| DirectoryError::Tls { endpoint: endpoint(), cause: cause.to_owned() };
        for (error, said) in [
            (refused("80090308: AcceptSecurityContext error, data 52e, v4563"), "check the password file"),
            (refused("80090308: LdapErr, data 533, v4563"), "enable it"),
            (refused(""), "its name or its password is wrong"),
            (lost("failed to lookup address information: Name or service not known"), "does not resolve"),
            (lost("Connection refused (os error 111)"), "check host and port"),
            (tls("invalid peer certificate: UnknownIssuer"), "check that the trust anchors"),
        ] {
            let told = advised(&error);
            assert!(told.contains(said), "{told}");
        }
    }
}
