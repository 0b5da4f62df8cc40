//! What operators may set about the front door. Every limit has a name, a safe default, and bounds.
//!
//! The doc of a setting is what `portcullis config settings` prints: its first sentence in the table, all of it as JSON.
//! A number that may be 0 says what 0 means.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::ambient::bounds::{Bounds, Checked};

const KIB: usize = 1024;
const MIB: usize = 1024 * KIB;
/// The longest that the front door may be told to wait for anything, in milliseconds: a day.
const DAY: u64 = 86_400_000;
/// The longest that the front door may be told to believe something about a person, in seconds: a day.
const DAY_SECONDS: u64 = 86_400;

/// Settings of the front door. `Default` is safe for production.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Settings {
    /// Threads that serve clients. 0: half the cores, at least 1.
    pub shards: usize,
    /// Connections from one address, counted by each shard.
    pub connections_per_address: u32,
    /// Connections of one shard.
    pub connections: usize,
    /// Operations in flight on one connection; more are answered `busy`.
    pub in_flight: u32,
    /// Bytes of one request before a bind.
    pub message_bytes_before_bind: usize,
    /// Bytes of one request after a bind. Must not be less than `message_bytes_before_bind`.
    pub message_bytes: usize,
    /// Bytes of one message of a directory behind.
    pub upstream_message_bytes: usize,
    /// Output that may wait for one client before what feeds it is paused.
    pub output_pause_bytes: usize,
    /// Output that may wait for one client at all; beyond it its operations end with `adminLimitExceeded`. Must not be less
    /// than `output_pause_bytes`.
    pub output_bytes: usize,
    /// Entries of one search when neither the client nor the agreement says less.
    pub size_limit: u32,
    /// Mounts that one search over the whole tree may ask at once; more is `adminLimitExceeded`.
    pub fan_out: usize,
    /// A member's index (which values it possibly holds) counts for a search over the whole tree when its directory was
    /// read within this many seconds; an older one counts as none, and the member is asked. 0: never.
    pub index_seconds: u32,
    /// From accept to the end of the TLS handshake.
    pub handshake_milliseconds: u64,
    /// From the handshake to the first message, and for a message that has begun to arrive.
    pub message_milliseconds: u64,
    /// Without any operation in flight and without a message.
    pub idle_milliseconds: u64,
    /// Output waits and the client takes none of it.
    pub write_stall_milliseconds: u64,
    /// One operation, from its request to its result, when the agreement does not say less.
    pub operation_milliseconds: u64,
    /// To connect to a directory behind, with TLS and our own bind.
    pub dial_milliseconds: u64,
    /// An upstream connection without operations is closed after this.
    pub upstream_idle_milliseconds: u64,
    /// Operations on one upstream connection before another is opened.
    pub upstream_depth: u32,
    /// Upstream connections per server and shard, besides those that long results have for themselves.
    pub upstreams: usize,
    /// Upstream connections per server and shard that long results may have for themselves. 0: none, they share the others.
    pub upstreams_for_long_results: usize,
    /// Questions without a final answer that one mount and shard may have; more are answered `busy` at once, so that a
    /// slow directory takes no memory of others.
    pub mount_in_flight: u32,
    /// Questions of one requester that one mount and shard may have at once; what is more waits for its turn.
    pub questions_per_requester: u32,
    /// Questions of one requester at once at one mount and shard while its questions are slow there, so that long searches
    /// do not keep a directory from others.
    pub slow_questions_per_requester: u32,
    /// What takes longer is slow; where even the quickest question takes more than a quarter of this, four times that.
    pub slow_milliseconds: u64,
    /// Questions of one requester that may wait for their turn at one mount and shard; more are answered `busy` at once.
    pub waiting_per_requester: usize,
    /// Operations that may wait for a connection of one mount and shard; more are answered `busy` at once.
    pub waiting: usize,
    /// How often a question is asked again of another server of its directory when one did not answer it. 0: never.
    pub retries: u32,
    /// A server that cannot be connected to within this does not keep another one from being dialled. One that has no other
    /// beside it, and could not be connected to the last time, is not waited for longer than this.
    pub dial_hedge_milliseconds: u64,
    /// Questions are open and no byte came for this long: the connection is suspect and is asked for the root entry.
    pub silence_milliseconds: u64,
    /// A connection without questions is asked for the root entry this often, to see that its server lives.
    pub probe_idle_milliseconds: u64,
    /// No byte came for this long after a probe: the connection hangs and is closed.
    pub probe_milliseconds: u64,
    /// The first pause after a fault of a server; it doubles, with jitter, up to `back_off_max_milliseconds`.
    pub back_off_milliseconds: u64,
    /// The longest pause after faults of a server. Must not be less than `back_off_milliseconds`.
    pub back_off_max_milliseconds: u64,
    /// The same while no other server of the directory works: nobody is better off when it is found late that it is back. A
    /// server that refused our account is left alone for as long as any, because each try counts against the account.
    pub back_off_alone_milliseconds: u64,
    /// Entries wait for their final result up to this many bytes, so that both go out in one write. 0: none
    /// waits.
    pub hold_bytes: usize,
    /// A pause before polling while a long result streams in. 0: none.
    pub bulk_pause_microseconds: u64,
    /// A slow reader may hold up others on the same upstream connection for this long before its search ends with
    /// `adminLimitExceeded`.
    pub hold_up_milliseconds: u64,
    /// Paged searches of one client connection that may wait for their next page; one more ends the oldest.
    pub walks_per_connection: usize,
    /// Paged searches of one shard that may run or wait; more are answered `busy`. 0: all are.
    pub walks: usize,
    /// Paged searches of one shard that may be one requester's. Where all are taken, whoever has the most waiting loses
    /// its oldest. 0: paged searches are answered `busy`.
    pub walks_per_requester: usize,
    /// A paged search that waits for longer than this for its next page is forgotten. Must be below
    /// `upstream_idle_milliseconds`: the directory's part of it lives on one connection.
    pub walk_idle_milliseconds: u64,
    /// Entries of one paged search over all its pages; more are `adminLimitExceeded`. The agreement's size limit bounds
    /// each page.
    pub walk_entries: u32,
    /// Bytes that a paged search may hold while it waits: the encoded question and entries that come next, and the directory's
    /// cookie up to as many again. One that is sorted may hold `sort_bytes` instead.
    pub walk_bytes: usize,
    /// Paged searches at once on one connection to an Active Directory, which keeps few results per connection
    /// (MaxResultSetsPerConn). Other directories get one: slapd knows one paged search per connection.
    pub walks_per_upstream: usize,
    /// Connections per mount and shard beyond `upstreams`, opened when paged searches need them; when these are full too,
    /// whoever has the most paged searches there loses its oldest to one of somebody with fewer, or that is answered
    /// `busy`. 0: paged searches have no connections besides the others.
    pub walk_upstreams: usize,
    /// Keys of one sort.
    pub sort_keys: usize,
    /// Entries that are sorted at once; more are not sorted.
    pub sort_entries: usize,
    /// Bytes that are sorted at once; more are not sorted. Must be below `output_bytes`: they leave all at once.
    pub sort_bytes: usize,
    /// Sorted results of one shard that may be gathered or wait for their next page; more are not sorted. 0: none is.
    pub sorts: usize,
    /// Sorted results of one shard that may be one requester's. Where all are taken, whoever has the most waiting loses
    /// its oldest. 0: nothing is sorted.
    pub sorts_per_requester: usize,
    /// Entries of one question that may wait for the rest of an attribute that their directory cut into ranges; a further
    /// one comes without it, and the result is `adminLimitExceeded`. 0: all come without it.
    pub ranged_entries: usize,
    /// Bytes that entries of one question hold together while they wait for the rest of an attribute. Must be below
    /// `output_bytes`.
    pub ranged_bytes: usize,
    /// Questions that may wait for the answer to the same question of the same directory, asked before. 0: each is
    /// asked.
    pub shared_questions: usize,
    /// Bytes of an answer that several questions may get; what is more is asked for each. Must be below `output_bytes`.
    pub shared_bytes: usize,
    /// Audit records leave in chunks of this size, or after 50 milliseconds.
    pub audit_chunk_bytes: usize,
    /// Look the account of a person up at home before a bind is good: there once, enabled and not expired. Without it a
    /// card is good until its authority revokes it, however long its account has been gone.
    pub account_check: bool,
    /// An account that is locked out counts as disabled.
    pub account_lockout_counts: bool,
    /// A good account is believed for this long; whoever is bound is looked up again then, and disconnected when it is no
    /// longer good.
    pub account_kept_seconds: u64,
    /// An account that was refused is not asked for again for this long. 0: it is asked for at every bind.
    pub account_refused_kept_seconds: u64,
    /// Whoever is bound stays so for this long after the kept answer ended while its directory does not answer. A bind is
    /// never good without an answer. 0: it ends at once.
    pub account_unreachable_seconds: u64,
    /// For one question about a person to its directory, with the connection.
    pub account_check_milliseconds: u64,
    /// Questions about persons that may wait or run at once.
    pub account_checks: usize,
    /// Questions about persons that may run at one member at once. Must not be more than `account_checks`.
    pub account_checks_per_member: usize,
    /// Whoever proved a password must bind again after this long.
    pub password_bound_seconds: u64,
    /// No password is refused earlier than this after it came, whatever the reason.
    pub password_refusal_milliseconds: u64,
    /// Failed tries by name, after which its password is not tried any more until `password_tries_seconds` have passed. It
    /// must be below the lockout threshold of every member that lets passwords be proven.
    pub password_tries_per_name: u32,
    /// Failed tries by the address of a client, after which no password from there is tried any more until
    /// `password_tries_seconds` have passed.
    pub password_tries_per_address: u32,
    /// The window in which failed tries count. It should not be less than that of the members' lockout.
    pub password_tries_seconds: u64,
}

/// What holds where nothing is said.
const DEFAULTS: Settings = Settings {
    shards: 0,
    connections_per_address: 256,
    connections: 10_000,
    in_flight: 64,
    message_bytes_before_bind: 8 * 1024,
    message_bytes: 256 * 1024,
    upstream_message_bytes: 8 * 1024 * 1024,
    output_pause_bytes: 64 * 1024,
    output_bytes: 4 * 1024 * 1024,
    size_limit: 2_000,
    fan_out: 64,
    index_seconds: 900,
    handshake_milliseconds: 10_000,
    message_milliseconds: 30_000,
    idle_milliseconds: 900_000,
    write_stall_milliseconds: 30_000,
    operation_milliseconds: 15_000,
    dial_milliseconds: 5_000,
    upstream_idle_milliseconds: 300_000,
    upstream_depth: 64,
    upstreams: 4,
    upstreams_for_long_results: 16,
    mount_in_flight: 1_024,
    questions_per_requester: 256,
    slow_questions_per_requester: 4,
    slow_milliseconds: 50,
    waiting_per_requester: 256,
    waiting: 1_024,
    retries: 2,
    dial_hedge_milliseconds: 300,
    silence_milliseconds: 2_000,
    probe_idle_milliseconds: 30_000,
    probe_milliseconds: 2_000,
    back_off_milliseconds: 200,
    back_off_max_milliseconds: 15_000,
    back_off_alone_milliseconds: 1_000,
    hold_bytes: 16 * 1024,
    bulk_pause_microseconds: 100,
    hold_up_milliseconds: 250,
    walks_per_connection: 8,
    walks: 1_024,
    walks_per_requester: 256,
    walk_idle_milliseconds: 120_000,
    walk_entries: 10_000,
    walk_bytes: 256 * 1024,
    walks_per_upstream: 4,
    walk_upstreams: 8,
    sort_keys: 8,
    sort_entries: 2_000,
    sort_bytes: 2 * 1024 * 1024,
    sorts: 32,
    sorts_per_requester: 16,
    ranged_entries: 64,
    ranged_bytes: 2 * 1024 * 1024,
    shared_questions: 64,
    shared_bytes: 64 * 1024,
    audit_chunk_bytes: 32 * 1024,
    account_check: true,
    account_lockout_counts: false,
    account_kept_seconds: 300,
    account_refused_kept_seconds: 15,
    account_unreachable_seconds: 60,
    account_check_milliseconds: 5_000,
    account_checks: 1_024,
    account_checks_per_member: 8,
    password_bound_seconds: 28_800,
    password_refusal_milliseconds: 1_000,
    password_tries_per_name: 3,
    password_tries_per_address: 20,
    password_tries_seconds: 1_800,
};

impl Default for Settings {
    fn default() -> Self {
        DEFAULTS
    }
}

impl Checked for Settings {
    fn bounds(&self) -> Bounds {
        let bounds = Bounds::default()
            .within("shards", self.shards, 0..=256)
            .within("connections_per_address", self.connections_per_address, 1..=1_000_000)
            .within("connections", self.connections, 1..=1_000_000)
            .within("in_flight", self.in_flight, 1..=10_000)
            .within("message_bytes_before_bind", self.message_bytes_before_bind, KIB..=16 * MIB)
            .within("message_bytes", self.message_bytes, KIB..=256 * MIB)
            .not_below(
                "message_bytes",
                self.message_bytes,
                "message_bytes_before_bind",
                self.message_bytes_before_bind,
            )
            .within("output_pause_bytes", self.output_pause_bytes, 4 * KIB..=1024 * MIB)
            .within("output_bytes", self.output_bytes, 4 * KIB..=1024 * MIB)
            .not_below("output_bytes", self.output_bytes, "output_pause_bytes", self.output_pause_bytes)
            .within("size_limit", self.size_limit, 1..=10_000_000)
            .within("fan_out", self.fan_out, 1..=10_000)
            // an index of more than a week says too little about who is there
            .within("index_seconds", self.index_seconds, 0..=604_800)
            .within("hold_bytes", self.hold_bytes, 0..=16 * MIB)
            .within("audit_chunk_bytes", self.audit_chunk_bytes, KIB..=16 * MIB);
        self.accounts(self.together(self.directories(self.times(bounds))))
    }
}

impl Settings {
    fn times(&self, bounds: Bounds) -> Bounds {
        bounds
            .within("handshake_milliseconds", self.handshake_milliseconds, 100..=DAY)
            .within("message_milliseconds", self.message_milliseconds, 100..=DAY)
            .within("idle_milliseconds", self.idle_milliseconds, 1_000..=DAY)
            .within("write_stall_milliseconds", self.write_stall_milliseconds, 100..=DAY)
            .within("operation_milliseconds", self.operation_milliseconds, 100..=DAY)
            .within("dial_milliseconds", self.dial_milliseconds, 50..=DAY)
            .within("dial_hedge_milliseconds", self.dial_hedge_milliseconds, 10..=DAY)
            .within("upstream_idle_milliseconds", self.upstream_idle_milliseconds, 1_000..=DAY)
            .within("silence_milliseconds", self.silence_milliseconds, 100..=DAY)
            .within("probe_idle_milliseconds", self.probe_idle_milliseconds, 1_000..=DAY)
            .within("probe_milliseconds", self.probe_milliseconds, 100..=DAY)
            .within("back_off_milliseconds", self.back_off_milliseconds, 10..=DAY)
            .within("back_off_max_milliseconds", self.back_off_max_milliseconds, 10..=DAY)
            .within("back_off_alone_milliseconds", self.back_off_alone_milliseconds, 10..=DAY)
            .not_below(
                "back_off_max_milliseconds",
                self.back_off_max_milliseconds,
                "back_off_milliseconds",
                self.back_off_milliseconds,
            )
            .within("bulk_pause_microseconds", self.bulk_pause_microseconds, 0..=100_000)
            .within("slow_milliseconds", self.slow_milliseconds, 1..=DAY)
            .within("hold_up_milliseconds", self.hold_up_milliseconds, 1..=60_000)
    }

    /// What is kept of connections to the directories behind, and of questions to them.
    fn directories(&self, bounds: Bounds) -> Bounds {
        bounds
            .within("upstream_message_bytes", self.upstream_message_bytes, 64 * KIB..=1024 * MIB)
            .within("upstream_depth", self.upstream_depth, 1..=10_000)
            .within("upstreams", self.upstreams, 1..=1_000)
            .within("upstreams_for_long_results", self.upstreams_for_long_results, 0..=1_000)
            .within("mount_in_flight", self.mount_in_flight, 1..=1_000_000)
            .within("questions_per_requester", self.questions_per_requester, 1..=100_000)
            .within("slow_questions_per_requester", self.slow_questions_per_requester, 1..=100_000)
            .not_below(
                "questions_per_requester",
                self.questions_per_requester,
                "slow_questions_per_requester",
                self.slow_questions_per_requester,
            )
            .not_below(
                "mount_in_flight",
                self.mount_in_flight,
                "questions_per_requester",
                self.questions_per_requester,
            )
            .within("waiting_per_requester", self.waiting_per_requester, 1..=1_000_000)
            .not_below("waiting", self.waiting, "waiting_per_requester", self.waiting_per_requester)
            .within("waiting", self.waiting, 1..=1_000_000)
            .within("retries", self.retries, 0..=100)
    }

    /// Results that are more than entries passing through: pages, order, ranges, answers for several.
    fn together(&self, bounds: Bounds) -> Bounds {
        bounds
            .within("walks_per_connection", self.walks_per_connection, 1..=10_000)
            .within("walks", self.walks, 0..=1_000_000)
            .within("walks_per_requester", self.walks_per_requester, 0..=1_000_000)
            .within("walk_idle_milliseconds", self.walk_idle_milliseconds, 1_000..=DAY)
            .below(
                "walk_idle_milliseconds",
                self.walk_idle_milliseconds,
                "upstream_idle_milliseconds",
                self.upstream_idle_milliseconds,
            )
            .within("walk_entries", self.walk_entries, 1..=10_000_000)
            .within("walk_bytes", self.walk_bytes, KIB..=1024 * MIB)
            .within("walks_per_upstream", self.walks_per_upstream, 1..=1_000)
            .within("walk_upstreams", self.walk_upstreams, 0..=1_000)
            .within("sort_keys", self.sort_keys, 1..=64)
            .within("sort_entries", self.sort_entries, 1..=1_000_000)
            .within("sort_bytes", self.sort_bytes, KIB..=1024 * MIB)
            .below("sort_bytes", self.sort_bytes, "output_bytes", self.output_bytes)
            .within("sorts", self.sorts, 0..=100_000)
            .within("sorts_per_requester", self.sorts_per_requester, 0..=100_000)
            .within("ranged_entries", self.ranged_entries, 0..=100_000)
            .within("ranged_bytes", self.ranged_bytes, KIB..=1024 * MIB)
            .below("ranged_bytes", self.ranged_bytes, "output_bytes", self.output_bytes)
            .within("shared_questions", self.shared_questions, 0..=100_000)
            .within("shared_bytes", self.shared_bytes, KIB..=64 * MIB)
            .below("shared_bytes", self.shared_bytes, "output_bytes", self.output_bytes)
    }

    /// What is believed about persons, and how often passwords are tried.
    fn accounts(&self, bounds: Bounds) -> Bounds {
        bounds
            .within("account_kept_seconds", self.account_kept_seconds, 1..=DAY_SECONDS)
            .within("account_refused_kept_seconds", self.account_refused_kept_seconds, 0..=DAY_SECONDS)
            .within("account_unreachable_seconds", self.account_unreachable_seconds, 0..=DAY_SECONDS)
            .within("account_check_milliseconds", self.account_check_milliseconds, 100..=600_000)
            .within("account_checks", self.account_checks, 1..=1_000_000)
            .within("account_checks_per_member", self.account_checks_per_member, 1..=1_000_000)
            .not_above(
                "account_checks_per_member",
                self.account_checks_per_member,
                "account_checks",
                self.account_checks,
            )
            .within("password_bound_seconds", self.password_bound_seconds, 60..=604_800)
            // sooner than this, time would tell a name that is not there from a wrong password
            .within("password_refusal_milliseconds", self.password_refusal_milliseconds, 100..=60_000)
            // Active Directory locks an account out after 999 tries at most
            .within("password_tries_per_name", self.password_tries_per_name, 1..=998)
            .within("password_tries_per_address", self.password_tries_per_address, 1..=1_000_000)
            // Active Directory counts tries for 99,999 minutes at most
            .within("password_tries_seconds", self.password_tries_seconds, 60..=5_999_940)
    }
}
