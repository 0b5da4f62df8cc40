//! Assessments, exceptions, enrolment and time in; grants out. Never open on error.
