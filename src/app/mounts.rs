//! What the front door sees: the mounted directories, who may come, and the agreements in force.

use std::collections::HashMap;
use std::sync::Arc;

use rustls::ClientConfig;
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, ServerName};

use crate::app::core::Core;
use crate::app::discover::Question;
use crate::directory::discovery;
use crate::namespace::mapping::Mapping;
use crate::namespace::routes::{Mount, Routes, federated_suffix};
use crate::policy::terms::{Membership, Target};
use crate::proxy::requesters::Requesters;
use crate::proxy::snapshot::{Endpoint, Mounted, Preference, Server, ServerTls, Snapshot};
use crate::release::agreement::Agreements;
use crate::store::error::StoreError;
use crate::store::member::{Controller, Member};
use crate::tls::client::client_config;
use crate::tls::material::Anchors;

/// Active Directory gives at most this many entries at once.
const ACTIVE_DIRECTORY_PAGE: u32 = 1_000;
/// What the key of pseudonyms is derived from. Signatures of one key over one text are always the same, and nobody else
/// can make them.
const PSEUDONYMS: &[u8] = b"portcullis: key of requester pseudonyms, version 1";

/// Builds snapshots, keeping TLS settings from one to the next, so that connections survive.
#[derive(Debug, Default)]
pub struct Builder {
    /// By anchors.
    tls: HashMap<Anchoring, Arc<ClientConfig>>,
}

type Anchoring = Vec<CertificateDer<'static>>;

impl Builder {
    /// The snapshot as configuration and store say now, with these agreements. A directory that cannot be mounted is left out and told.
    pub fn snapshot(
        &mut self,
        core: &Core,
        agreements: Arc<Agreements>,
    ) -> Result<Arc<Snapshot>, StoreError> {
        let members = core.store.members()?;
        let mut mounts = HashMap::new();
        let mut routed = Vec::new();
        let mut add =
            |target: Target, mounted: Result<Mounted, String>, member: Option<&Member>| match mounted {
                Ok(mounted) => {
                    let mut mount = Mount::new(target.clone());
                    if let Some(member) = member {
                        mount.mail_domains.clone_from(&member.mail_domains);
                        mount.upn_suffixes.clone_from(&member.upn_suffixes);
                        mount.indexes = core.indexes.get(&member.ods);
                    }
                    routed.push(mount);
                    mounts.insert(target, mounted);
                }
                Err(reason) => {
                    tracing::error!(directory = target.unit(), reason, "a directory is not mounted")
                }
            };
        add(Target::National, self.national(core), None);
        for member in members.iter().filter(|member| is_mounted(member.state)) {
            add(Target::Member(member.ods.clone()), self.member(core, member), Some(member));
        }
        Ok(Arc::new(Snapshot {
            agreements,
            routes: Arc::new(Routes::new(routed)),
            mounts,
            requesters: Arc::new(requesters(core, &members)),
        }))
    }

    fn national(&mut self, core: &Core) -> Result<Mounted, String> {
        let national = &core.config.national;
        let anchors = Anchors::load(&national.anchors).map_err(|error| error.to_string())?;
        let target = Target::National;
        let mapping = Mapping::standard(&federated_suffix(&target), &national.suffix)
            .map_err(|error| error.to_string())?;
        let tls = self.tls(&anchors, &national.tls_name)?;
        Ok(Mounted {
            mapping: Arc::new(mapping),
            endpoint: Arc::new(Endpoint {
                servers: vec![Server {
                    address: address(&national.host, national.port),
                    tls: Some(tls),
                    preference: Preference::default(),
                }],
                bind_name: national.bind_dn.clone(),
                password: national.password.read().map_err(|error| error.to_string())?,
                page_size: None,
            }),
        })
    }

    fn member(&mut self, core: &Core, member: &Member) -> Result<Mounted, String> {
        let connection = &member.connection;
        let certificates = CertificateDer::pem_slice_iter(connection.anchors.as_bytes())
            .collect::<Result<Vec<_>, _>>()
            .map_err(|error| error.to_string())?;
        let anchors = Anchors::from_der(certificates).map_err(|error| error.to_string())?;
        let target = Target::Member(member.ods.clone());
        let mapping = Mapping::active_directory(&federated_suffix(&target), &connection.base_dn)
            .map_err(|error| error.to_string())?;
        let mut servers = Vec::new();
        for (host, port, name, preference) in controllers(core, member) {
            let tls = Some(self.tls(&anchors, &name)?);
            servers.push(Server { address: address(&host, port), tls, preference });
        }
        if servers.is_empty() {
            tracing::warn!(member = %member.ods, "no controller is known yet: its directory cannot be asked");
        }
        Ok(Mounted {
            mapping: Arc::new(mapping),
            endpoint: Arc::new(Endpoint {
                servers,
                bind_name: connection.bind_dn.clone(),
                password: connection.password.read().map_err(|error| error.to_string())?,
                page_size: Some(ACTIVE_DIRECTORY_PAGE),
            }),
        })
    }

    fn tls(&mut self, anchors: &Anchors, name: &str) -> Result<ServerTls, String> {
        let name = ServerName::try_from(name.to_owned())
            .map_err(|_| format!("`{name}` is no name that a certificate can have"))?;
        let key = anchors.certificates().to_vec();
        let config = match self.tls.get(&key) {
            Some(config) => Arc::clone(config),
            None => {
                let config = client_config(anchors, None).map_err(|error| error.to_string())?;
                self.tls.insert(key, Arc::clone(&config));
                config
            }
        };
        Ok(ServerTls { name, config })
    }
}

/// Host, port, the name of the certificate, and how much it is preferred. Those of a list are all equal: which of them
/// answers best is found out.
fn controllers(core: &Core, member: &Member) -> Vec<(String, u16, String, Preference)> {
    let connection = &member.connection;
    let Some(question) = Question::of(connection) else {
        let listed = connection.controllers.iter();
        let one =
            |c: &Controller| (c.host.clone(), c.port, c.certificate_name().to_owned(), Preference::default());
        return listed.map(one).collect();
    };
    let known = core.discovered.controllers(&question, &core.config.discovery, core.clock.now());
    let one = |c: discovery::Controller| {
        (c.host.clone(), c.port, c.host, Preference { rank: c.rank, weight: c.weight })
    };
    known.unwrap_or_default().into_iter().map(one).collect()
}

/// Whether the member has its place in the tree; whether anybody gets through is for its gate to say.
pub fn is_mounted(state: Membership) -> bool {
    state.may_federate() || state == Membership::Suspended
}

fn requesters(core: &Core, members: &[Member]) -> Requesters {
    let mut requesters = Requesters::new(&core.signer.sign(PSEUDONYMS));
    for member in members.iter().filter(|member| is_mounted(member.state)) {
        for domain in &member.upn_suffixes {
            if !requesters.add_domain(domain, &member.ods) {
                tracing::error!(member = %member.ods, "two members claim one UPN suffix: neither gets it");
            }
        }
        let people = &member.people;
        if !requesters.add_people(&member.ods, people) {
            tracing::error!(member = %member.ods, "a card mapping cannot be read: no card of it is taken");
        }
        if people.card_issuers.is_empty() && !member.upn_suffixes.is_empty() {
            tracing::warn!(
                member = %member.ods,
                "no card issuer is named: every authority of tls.client_anchors can name its people"
            );
        }
        for connector in &member.connectors {
            requesters.add_connector(&connector.sha256, &member.ods);
        }
    }
    for application in &core.config.applications {
        requesters.add_application(&application.sha256, &application.name, application.member.as_ref());
        requesters.require(&application.sha256, application.usage.clone(), application.issuer.clone());
    }
    requesters
}

fn address(host: &str, port: u16) -> String {
    if host.contains(':') { format!("[{host}]:{port}") } else { format!("{host}:{port}") }
}
