//! Keys and anchors in, client and server settings out; verifies smartcard certificates. Verification cannot be turned off.
