//! Which of the directory's domain controllers are measured: those that take our connections say themselves which they are.

use std::collections::BTreeSet;
use std::sync::Arc;

use rustls::ClientConfig;
use tokio::task::JoinSet;

use crate::assess::probes::logon::log_on_to;
use crate::assess::settings::Settings;
use crate::assess::target::Target;
use crate::directory::endpoint::Endpoint;

/// The objects of the controllers that answer in their sites, as DNs in lower case ([MS-ADTS] section 3.1.1.3.2.18, serverName). One that
/// does not say it leaves open which it is.
pub async fn servers(
    target: &Target,
    reachable: &[Endpoint],
    tls: &Arc<ClientConfig>,
    settings: &Settings,
) -> Result<BTreeSet<String>, String> {
    let mut asked = JoinSet::new();
    for controller in reachable.iter().cloned() {
        let (target, tls, settings) = (target.clone(), Arc::clone(tls), settings.clone());
        asked.spawn(async move {
            let mut session = log_on_to(&target, &controller, &tls, &settings).await?;
            let root = session.directory.read_root_dse(&["serverName"]).await;
            let _ = session.directory.unbind().await;
            let root = root.map_err(|error| error.to_string())?;
            let name = root.text("serverName").map(str::to_lowercase);
            name.ok_or_else(|| {
                format!("{}:{} does not say which controller it is", controller.host, controller.port)
            })
        });
    }
    asked.join_all().await.into_iter().collect()
}
