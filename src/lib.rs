//! Portcullis: a directory federation gateway.
//!
//! It stands between the Active Directories of many organisations and one national directory, measures each of them
//! against a declarative security baseline, and lets federated lookups and synchronisation through only while the
//! baseline is met.
//!
//! # What it refuses to do
//!
//! - It never writes to a member directory.
//! - It never lets a request through without a permit made by the one function that decides.
//! - It never treats "could not tell" as "pass", nor "not seen" as "deleted".
//! - It never asks for a password hash, and fails a member whose grant to us would let us.
//! - It never forwards bytes from a client: every request is decoded strictly and encoded anew.
//! - It never answers an incomplete search as if it were complete.
//! - It never prints or logs a secret, nor personal data in metrics.
//!
//! # The house
//!
//! Imports only go down (a module sees the floors below its own), and no two files import each other. `tests/it/floors.rs` reads this table and every
//! `use crate::` line and fails when they disagree.
//!
//! ```text
//! 10  main                                            arguments in, exit code out
//! 9   cli                                             the commands, as a person types them
//! 8   app                                             builds everything once, reloads, drains, stops
//! 7   config                                          one versioned file -> every module's own settings, or all its faults
//! 6   console                                         metrics and health pages over the verbs' reports and handles
//! 5   proxy        assess      sync        enrol      the verbs; they never see one another
//! 4   directory    store       release     namespace  hands, and what shapes a request
//! 3   gate                                            assessments, exceptions, enrolment and time in; grants out
//! 2   baseline                                        evidence in, assessment out
//! 1   ldap         tls         policy                 languages: LDAP, certificates, policy documents
//! 0   ambient      secret      telemetry              ground: clock, chance, bounds of settings, harmless texts, tables; secrets; logging and metrics
//! ```
//!
//! # The life of a search
//!
//! 1. `proxy::shard::driver` reads a client's bytes once per turn and hands them to the engine, which knows neither sockets
//!    nor clocks (`proxy::engine::core`). `ldap::codec::frame` and `decode` make a message of them, or close the connection.
//! 2. The requester was settled at the bind: `proxy::requesters` maps the verified certificate to a person, a connector or an
//!    application, and `proxy::home` asks a person's own directory whether the account still counts, while the bind waits.
//!    Without a requester only the root DSE is answered.
//! 3. `proxy::engine::search` routes the base, or a search from the root by what its filter demands (`namespace::routes`), and
//!    asks `release::decide` for each target: a `Permit` or a `Refusal`. Nothing else can make a permit, and nothing is asked
//!    without one.
//! 4. The filter is concealed (`release::hide::conceal`: what is hidden does not exist), brought to the directory's own names
//!    (`namespace::questions`), joined with the agreement's entry filter (`namespace::entries`), and encoded anew.
//! 5. Each entry that comes back is read to its last byte (`ldap::entry::EntryReader`), stripped and renamed straight into the
//!    client's buffer (`namespace::projection`), and held against the question once more where the directory could have
//!    understood it differently (`namespace::recheck`).
//! 6. `namespace::merge` makes one honest result of several; the turn ends with one write per connection and one audit record per
//!    operation (`store::access`).
//!
//! # The life of an assessment
//!
//! `assess::schedule` (or a command) -> `assess::run` -> the probes of `assess::collect` -> evidence, sealed, signed, kept ->
//! `baseline::evaluate` -> an assessment, kept -> `app::gates` asks the pure `gate::decide` -> `gate::table` is swapped; the
//! shards wake and end what runs over a gate that closed; history, audit and metrics follow.
//!
//! # The life of a policy change
//!
//! A folder, or a bundle that officers signed (`policy::folder`, `policy::bundle`) -> `app::in_force` says which set counts: the activated one,
//! else the folder's, with enough signatures -> `app::policies` holds every member's latest evidence against it -> `gates::decide_by`
//! decides every gate -> the front door takes gates and agreements in one step (`proxy::shard::shared::World`).
//!
//! # The life of a sync run
//!
//! `sync::running::schedule` (or a command) -> lease -> `sync::reading::source` (which controller) -> `sync::reading::read` (DirSync, or
//! `polling` by uSNChanged; a page's effects and its cookie are one transaction) -> `sync::planning::plan`, pure, with a hash ->
//! `sync::people::guards` hold back what could harm until an officer approves that very plan -> `sync::writing::execute` writes on the
//! condition that each entry is what was planned against (`sync::writing::national`), asks the gate before each batch, and keeps a
//! journal around it -> `sync::writing::observe` reads back. Killed anywhere, the next run goes on; asked to end
//! (`sync::terms::interruption`), it ends after the batch under way and gives the lease back.
//!
//! People of an organisation without a directory come from a table: `sync::hand::register::check` tells every fault,
//! `sync::hand::register::run` takes the same lease and stages them as accounts, under GUIDs derived from organisation and local id;
//! from the plan on it is the same run.
//!
//! Beside the runs `sync::watching::observer` watches the national directory, and `sync::running::listening` has members' controllers
//! tell of changes (`listener`): what is not as the journal says, and whatever changed, makes the member's next run come early.

pub mod ambient;
pub mod app;
pub mod assess;
pub mod baseline;
pub mod cli;
pub mod config;
pub mod console;
pub mod directory;
pub mod enrol;
pub mod gate;
pub mod ldap;
pub mod namespace;
pub mod policy;
pub mod proxy;
pub mod release;
pub mod secret;
pub mod store;
pub mod sync;
pub mod telemetry;
pub mod tls;
