//! An assessment for people to read: text, HTML, CSV of offenders. JSON is the assessment itself.

pub mod csv;
pub mod history;
pub mod html;
pub mod text;
