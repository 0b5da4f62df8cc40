//! The one integration binary: real flows from outside, as a user would run them. Each file is a module of it.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::string_slice,
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "a test fails by panicking, and its helpers are tests too"
)]
mod app_gates;
mod app_serve;
mod app_stage;
mod assess_card;
mod assess_files;
mod assess_hostile;
mod assess_lab;
mod assess_oscal;
mod assess_progress;
mod assess_report;
mod assess_revocation;
mod assess_scripted;
mod attestation;
mod cli_answers;
mod config_faults;
mod enrol_command;
mod enrol_life;
mod exceptions;
mod floors;
mod front_controller;
mod front_controls;
mod front_cost;
mod front_discovery;
mod front_door;
mod front_faults;
mod front_gateway;
mod front_hostile;
mod front_hostile_cases;
mod front_hostile_links;
mod front_identity;
mod front_neighbours;
mod front_release;
mod front_servers;
mod front_stage;
mod front_start_tls;
mod lab;
mod ldap_corpus;
mod ldap_differential;
mod ldap_properties;
mod ldap_schema;
mod ldap_strategies;
mod one_meaning;
mod policy_activation;
mod policy_faults;
mod policy_format;
mod policy_guide;
mod policy_national;
mod policy_schema;
mod policy_switch;
mod policy_tools;
mod release_explain;
mod store_conformance;
mod store_faults;
mod store_thinning;
mod sync_controllers;
mod sync_crash;
mod sync_dc;
mod sync_failures;
mod sync_faults;
mod sync_interrupt;
mod sync_lab;
mod sync_listening;
mod sync_national;
mod sync_observer;
mod sync_register;
mod sync_register_large;
mod sync_register_rows;
mod sync_register_verbs;
mod sync_servers;
mod sync_source;
mod sync_stage;
mod sync_two;
mod sync_verbs_explain;
mod sync_verbs_pause;
mod sync_verbs_plans;
mod sync_verbs_quarantine;
mod sync_verbs_stage;
mod sync_verbs_undo;
mod two_worlds;
