//! Keeps members, evidence, assessments, exceptions, sync state, journal and the audit chain.
