//! Attributes of directories that hold secrets.

/// Attributes that are never asked for, lower case; beside them, `mslaps-` names with `password` in them.
const SECRETS: &[&str] = &[
    "unicodepwd",
    "userpassword",
    "dbcspwd",
    "ntpwdhistory",
    "lmpwdhistory",
    "supplementalcredentials",
    "ms-mcs-admpwd",
    "msds-managedpassword",
    "msds-managedpasswordid",
    "msds-managedpasswordpreviousid",
    "msds-groupmsamembership-secret",
    "msfve-recoverypassword",
    "trustauthincoming",
    "trustauthoutgoing",
    "currentvalue",
    "priorvalue",
    "initialauthincoming",
    "initialauthoutgoing",
    "msds-executescriptpassword",
    "mskds-rootkeydata",
    "unixuserpassword",
    "peklist",
    "msfve-keypackage",
    "mspkiaccountcredentials",
    "mspkidpapimasterkeys",
];

/// LAPS attributes that tell when and which, never what.
const LAPS_HARMLESS: &[&str] = &["mslaps-passwordexpirationtime", "mslaps-currentpasswordversion"];

/// Whether an attribute of this name holds or can hold a secret; one that is asked for by its number can. Options (`;range=`, `;binary`) do not matter.
pub fn is_secret(name: &str) -> bool {
    let bare = name.split(';').next().unwrap_or(name).trim();
    let one_of = |names: &[&str]| names.iter().any(|known| known.eq_ignore_ascii_case(bare));
    let is_laps = || bare.split_at_checked(7).is_some_and(|(head, _)| head.eq_ignore_ascii_case("mslaps-"));
    let laps = is_laps() && bare.to_ascii_lowercase().contains("password") && !one_of(LAPS_HARMLESS);
    // a number may stand for any of them
    let is_number = bare.bytes().next().is_some_and(|first| first.is_ascii_digit())
        || bare.split_at_checked(4).is_some_and(|(head, _)| head.eq_ignore_ascii_case("oid."));
    laps || is_number || one_of(SECRETS)
}
