//! Tag bytes of RFC 4511 that are LDAP's own.

/// [APPLICATION 0]
pub const BIND_REQUEST: u8 = 0x60;
/// [APPLICATION 1]
pub const BIND_RESPONSE: u8 = 0x61;
/// [APPLICATION 2], primitive
pub const UNBIND_REQUEST: u8 = 0x42;
/// [APPLICATION 3]
pub const SEARCH_REQUEST: u8 = 0x63;
/// [APPLICATION 4]
pub const SEARCH_ENTRY: u8 = 0x64;
/// [APPLICATION 5]
pub const SEARCH_DONE: u8 = 0x65;
/// [APPLICATION 6]
pub const MODIFY_REQUEST: u8 = 0x66;
/// [APPLICATION 7]
pub const MODIFY_RESPONSE: u8 = 0x67;
/// [APPLICATION 8]
pub const ADD_REQUEST: u8 = 0x68;
/// [APPLICATION 9]
pub const ADD_RESPONSE: u8 = 0x69;
/// [APPLICATION 10], primitive
pub const DELETE_REQUEST: u8 = 0x4a;
/// [APPLICATION 11]
pub const DELETE_RESPONSE: u8 = 0x6b;
/// [APPLICATION 12]
pub const MODIFY_DN_REQUEST: u8 = 0x6c;
/// [APPLICATION 13]
pub const MODIFY_DN_RESPONSE: u8 = 0x6d;
/// [APPLICATION 14]
pub const COMPARE_REQUEST: u8 = 0x6e;
/// [APPLICATION 15]
pub const COMPARE_RESPONSE: u8 = 0x6f;
/// [APPLICATION 16], primitive
pub const ABANDON_REQUEST: u8 = 0x50;
/// [APPLICATION 19]
pub const SEARCH_REFERENCE: u8 = 0x73;
/// [APPLICATION 23]
pub const EXTENDED_REQUEST: u8 = 0x77;
/// [APPLICATION 24]
pub const EXTENDED_RESPONSE: u8 = 0x78;
/// [APPLICATION 25]
pub const INTERMEDIATE_RESPONSE: u8 = 0x79;

/// Simple password of a bind.
pub const SIMPLE: u8 = 0x80;
/// SASL step of a bind.
pub const SASL: u8 = 0xa3;
/// Referral of a result.
pub const REFERRAL: u8 = 0xa3;
/// SASL answer of a bind response.
pub const SASL_CREDENTIALS: u8 = 0x87;
/// Where a renamed entry goes.
pub const NEW_SUPERIOR: u8 = 0x80;
/// Name of an extended request or intermediate response.
pub const REQUEST_NAME: u8 = 0x80;
/// Value of an extended request or intermediate response.
pub const REQUEST_VALUE: u8 = 0x81;
/// Name of an extended response.
pub const RESPONSE_NAME: u8 = 0x8a;
/// Value of an extended response.
pub const RESPONSE_VALUE: u8 = 0x8b;
