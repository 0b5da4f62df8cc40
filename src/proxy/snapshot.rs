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
/// When an endpoint that equals the old one (settings of TLS by pointer) comes with a new snapshot, connections are
/// kept; otherwise they take no new operations and close when the last one ended.
pub struct Endpoint {
    /// Tried in turn; never empty.
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
}

/// TLS to one server.
#[derive(Clone)]
pub struct ServerTls {
    /// The name or address that the server's certificate must have.
    pub name: rustls::pki_types::ServerName<'static>,
    pub config: Arc<ClientConfig>,
}

impl PartialEq for Endpoint {
    fn eq(&self, other: &Self) -> bool {
        let same = |(a, b): (&Server, &Server)| {
            a.address == b.address
                && match (&a.tls, &b.tls) {
                    (Some(a), Some(b)) => a.name == b.name && Arc::ptr_eq(&a.config, &b.config),
                    (None, None) => true,
                    _ => false,
                }
        };
        self.servers.len() == other.servers.len()
            && self.servers.iter().zip(&other.servers).all(same)
            && self.bind_name == other.bind_name
            && self.password.expose() == other.password.expose()
            && self.page_size == other.page_size
    }
}

impl std::fmt::Debug for Endpoint {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_list().entries(self.servers.iter().map(|server| &server.address)).finish()
    }
}
