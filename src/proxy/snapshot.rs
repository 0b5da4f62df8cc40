//! What a turn of a shard sees: one value, built by `app` from configuration, store and policy, and swapped whole.

use std::collections::HashMap;
use std::sync::Arc;

use rustls::ClientConfig;

use crate::namespace::mapping::Mapping;
use crate::namespace::routes::Routes;
use crate::policy::terms::Target;
use crate::proxy::requesters::Requesters;
use crate::release::agreement::Agreements;
use crate::secret::text::Secret;

/// Everything but the gates, which move on their own (see `gate::table`).
pub struct Snapshot {
    pub agreements: Arc<Agreements>,
    /// Which directories a search over the whole tree concerns: it names exactly the targets of `mounts`.
    pub routes: Arc<Routes>,
    /// The directories that are mounted at `ou=national` and `ou=<ODS>`. Whether a requester may know of one is for
    /// gates and agreements to say.
    pub mounts: HashMap<Target, Mounted>,
    pub requesters: Arc<Requesters>,
}

/// A directory behind, as it is mounted in the tree.
#[derive(Clone)]
pub struct Mounted {
    pub mapping: Arc<Mapping>,
    pub endpoint: Arc<Endpoint>,
}

/// How to reach a directory behind, and as whom.
///
/// When a new snapshot comes with the same account and a server that equals the old one (settings of TLS by pointer),
/// connections to that server are kept; otherwise they take no new operations and close when the last one ended.
pub struct Endpoint {
    /// In no order: which of them is asked, each shard finds out by itself. Empty while none is known; nobody can be
    /// asked then. At most [`SERVERS`] are used.
    ///
    /// [`SERVERS`]: crate::proxy::engine::balance::SERVERS
    pub servers: Vec<Server>,
    /// The gateway's own account: a DN, or `user@domain` for Active Directory. Empty binds nothing (tests only).
    pub bind_name: String,
    pub password: Secret,
    /// Ask for results in pages of this many entries (RFC 2696): Active Directory gives 1,000 at most otherwise.
    pub page_size: Option<u32>,
}

/// One server of a directory.
#[derive(Clone)]
pub struct Server {
    /// `host:port`; a name is resolved off the shard.
    pub address: String,
    /// None speaks plain LDAP: for tests on loopback only, `app` never builds it.
    pub tls: Option<ServerTls>,
    pub preference: Preference,
}

/// Which servers are asked rather than others (RFC 2782: priority and weight).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Preference {
    /// Servers of a higher rank are asked only while none of a lower one is healthy: 0 is the nearest site.
    pub rank: u16,
    /// Of two servers of one rank that are equally fast the one with twice the weight carries twice the load; 0 counts
    /// as 1.
    pub weight: u16,
}

impl Default for Preference {
    fn default() -> Self {
        Preference { rank: 0, weight: 1 }
    }
}

/// TLS to one server.
#[derive(Clone)]
pub struct ServerTls {
    /// The name or address that the server's certificate must have.
    pub name: rustls::pki_types::ServerName<'static>,
    pub config: Arc<ClientConfig>,
}

impl Server {
    /// Whether a connection to `other` is one to this server as well; how much it is preferred does not matter.
    pub fn is(&self, other: &Server) -> bool {
        self.address == other.address
            && match (&self.tls, &other.tls) {
                (Some(a), Some(b)) => a.name == b.name && Arc::ptr_eq(&a.config, &b.config),
                (None, None) => true,
                _ => false,
            }
    }
}

impl Endpoint {
    /// Whether both are asked in the same way as the same account.
    pub fn has_account_of(&self, other: &Endpoint) -> bool {
        self.bind_name == other.bind_name
            && self.password.expose() == other.password.expose()
            && self.page_size == other.page_size
    }

    /// Where the server number `server` of `old` is in this list, asked as the same account; None when it is not.
    pub fn place_of(&self, old: &Endpoint, server: usize) -> Option<usize> {
        let known = old.servers.get(server).filter(|_| self.has_account_of(old))?;
        self.servers.iter().position(|server| server.is(known))
    }
}

impl std::fmt::Debug for Endpoint {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_list().entries(self.servers.iter().map(|server| &server.address)).finish()
    }
}
