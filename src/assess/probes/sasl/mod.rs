//! Kerberos logons over SASL (RFC 4752, RFC 4178) as a relay would make them: without signing, without a token of the channel.
//!
//! MIT's programs get the tickets; the bind is made here, because what it offers and leaves out is what is measured.

pub mod cache;
pub mod cipher;
pub mod probe;
pub mod token;
