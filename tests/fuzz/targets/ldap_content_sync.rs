//! Any bytes as a value of content synchronisation (RFC 4533): no panic, and what is accepted has one stable form.
#![no_main]

use libfuzzer_sys::fuzz_target;
use portcullis::ldap::content_sync::{SyncDone, SyncInfo, SyncRequest, SyncState};
use portcullis::ldap::limits::Limits;

fuzz_target!(|bytes: &[u8]| {
    let limits = Limits::default();
    if let Ok(info) = SyncInfo::read(bytes, &limits) {
        assert_eq!(SyncInfo::read(&info.to_value(), &limits), Ok(info));
    }
    if let Ok(state) = SyncState::read(bytes) {
        let control = state.control();
        assert_eq!(SyncState::read(control.value.as_deref().unwrap_or_default()), Ok(state));
    }
    if let Ok(done) = SyncDone::read(bytes) {
        let control = done.control();
        assert_eq!(SyncDone::read(control.value.as_deref().unwrap_or_default()), Ok(done));
    }
    if let Ok(request) = SyncRequest::read(bytes) {
        let control = request.control(true);
        assert_eq!(SyncRequest::read(control.value.as_deref().unwrap_or_default()), Ok(request));
    }
});
