//! Any bytes: a ticket cache is read or refused, and what is in it becomes a token or does not.
#![no_main]

use libfuzzer_sys::fuzz_target;
use portcullis::assess::probes::sasl::cache::ticket_for;
use portcullis::assess::probes::sasl::token::{Offer, token};
use time::OffsetDateTime;

fuzz_target!(|bytes: &[u8]| {
    if let Ok(ticket) = ticket_for(bytes, "ldap", "dc1.x.test") {
        let offer = Offer { signing: true, channel: [0; 16] };
        let _ = token(&ticket, offer, OffsetDateTime::UNIX_EPOCH);
    }
});
