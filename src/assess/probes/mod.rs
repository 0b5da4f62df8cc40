//! What finds facts. Each probe is bounded in time; a controller that fails it gives facts that say so. None judges.

pub mod access;
pub mod advice;
pub mod authorities;
pub mod canary;
pub mod certificate;
pub mod confidential;
pub mod derived;
pub mod descriptor;
pub mod directory;
pub mod discovery;
pub mod encryption;
pub mod hello;
pub mod kerberos;
pub mod kinit;
pub mod ldap;
pub mod logon;
pub mod privileged;
pub mod revocation;
pub mod rights;
pub mod sasl;
pub mod seen;
pub mod siblings;
pub mod smartcard;
pub mod tls;
pub mod trace;
pub mod unseen;
