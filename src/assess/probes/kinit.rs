//! MIT Kerberos' `kinit` and `kvno` as child processes, with a configuration and a cache of their own.

use std::io::{Read as _, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use tokio::io::AsyncWriteExt;
use tokio::process::Command;
use tokio::time::timeout;
use zeroize::Zeroizing;

use crate::ambient::chance;
use crate::assess::target::Target;
use crate::secret::text::Secret;

/// How a logon ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Logon {
    Granted,
    /// The KDC, or the card, said no.
    Refused(String),
}

/// A folder of its own, gone with the value: configuration, anchors, ticket cache.
#[derive(Debug)]
pub struct Workshop {
    folder: PathBuf,
}

impl Drop for Workshop {
    fn drop(&mut self) {
        // nothing can be done about a folder that does not go
        let _ = std::fs::remove_dir_all(&self.folder);
    }
}

impl Workshop {
    /// Writes the configuration for the target's realm.
    pub fn new(target: &Target, anchors: Option<&Path>) -> Result<Self, String> {
        let noise = u64::from_le_bytes(chance::bytes().map_err(|error| error.to_string())?);
        let folder = std::env::temp_dir().join(format!("portcullis-kinit-{noise:016x}"));
        let said = |error: std::io::Error| error.to_string();
        std::fs::DirBuilder::new().mode(0o700).create(&folder).map_err(said)?;
        let workshop = Workshop { folder };
        let anchors = match anchors {
            Some(path) => path.to_owned(),
            None => {
                let path = workshop.folder.join("anchors.pem");
                write(&path, target.anchors_pem.as_bytes()).map_err(said)?;
                path
            }
        };
        write(&workshop.folder.join("krb5.conf"), configuration(target, &anchors)?.as_bytes())
            .map_err(said)?;
        Ok(workshop)
    }

    /// Logs on as `principal` with the card `identity` (MIT's `X509_user_identity`), or with a password when there is none.
    pub async fn log_on(
        &self,
        kinit: &str,
        principal: &str,
        identity: Option<&str>,
        secret: Option<&Secret>,
        patience: Duration,
    ) -> Result<Logon, String> {
        let mut command = self.command(kinit);
        if let Some(softhsm) = std::env::var_os("SOFTHSM2_CONF") {
            command.env("SOFTHSM2_CONF", softhsm);
        }
        if let Some(identity) = identity {
            command.arg("-X").arg(format!("X509_user_identity={identity}"));
        }
        command.arg("--").arg(principal);
        let output = timeout(patience, run(command, secret))
            .await
            .map_err(|_| "kinit did not end in time".to_owned())?
            .map_err(|error| format!("`{kinit}` cannot be run: {error}"))?;
        if output.status.success() {
            return Ok(Logon::Granted);
        }
        verdict(&last_line(&output))
    }

    /// Gets a ticket for `service` (a principal with its realm) with the logon that was granted, by MIT's `kvno`.
    pub async fn ticket(&self, kvno: &str, service: &str, patience: Duration) -> Result<(), String> {
        let mut command = self.command(kvno);
        command.arg("--").arg(service);
        let output = timeout(patience, run(command, None))
            .await
            .map_err(|_| "kvno did not end in time".to_owned())?
            .map_err(|error| format!("`{kvno}` cannot be run: {error}"))?;
        match output.status.success() {
            true => Ok(()),
            false => Err(format!("no ticket for {service}: {}", last_line(&output))),
        }
    }

    /// The ticket cache: session keys, in the format of a file.
    pub fn cache(&self, most: u64) -> Result<Zeroizing<Vec<u8>>, String> {
        let said = |error: std::io::Error| format!("the ticket cache cannot be read: {error}");
        let file = std::fs::File::open(self.folder.join("cache")).map_err(said)?;
        let mut bytes = Zeroizing::new(Vec::new());
        file.take(most).read_to_end(&mut bytes).map_err(said)?;
        Ok(bytes)
    }

    /// A program with nothing of our environment but where programs are.
    fn command(&self, program: &str) -> Command {
        let mut command = Command::new(program);
        command
            .env_clear()
            .env("LC_ALL", "C")
            .env("PATH", std::env::var_os("PATH").unwrap_or_default())
            .env("KRB5_CONFIG", self.folder.join("krb5.conf"))
            .env("KRB5CCNAME", format!("FILE:{}", self.folder.join("cache").display()))
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .kill_on_drop(true);
        command
    }
}

/// What a program said last.
fn last_line(output: &std::process::Output) -> String {
    let text = String::from_utf8_lossy(&output.stderr);
    text.lines().rev().find(|line| !line.trim().is_empty()).unwrap_or("it said nothing").to_owned()
}

async fn run(mut command: Command, secret: Option<&Secret>) -> std::io::Result<std::process::Output> {
    let mut child = command.spawn()?;
    // taken in any case: a child that asks for what we do not have must find the end
    let stdin = child.stdin.take();
    if let (Some(mut stdin), Some(secret)) = (stdin, secret) {
        // a child that has ended already tells why by itself
        let _ = stdin.write_all(secret.expose().as_bytes()).await;
        let _ = stdin.write_all(b"\n").await;
    }
    child.wait_with_output().await
}

/// What MIT's messages (krb5_err.et, kinit) mean: a refusal, or a logon that never took place.
fn verdict(message: &str) -> Result<Logon, String> {
    const NOT_TRIED: [&str; 8] = [
        "Cannot contact any KDC",
        "Cannot find KDC",
        "Cannot resolve",
        "not found in Kerberos database",
        "Clock skew too great",
        "configuration file",
        "No such file or directory",
        "Included profile",
    ];
    let message = message.strip_prefix("kinit: ").unwrap_or(message).trim();
    if NOT_TRIED.iter().any(|part| message.contains(part)) {
        return Err(format!("no logon took place: {message}"));
    }
    Ok(Logon::Refused(message.to_owned()))
}

fn configuration(target: &Target, anchors: &Path) -> Result<String, String> {
    let plain = |text: &str| !text.contains(['\n', '\r', '{', '}', '"']);
    let hosts = target.controllers.iter().map(|c| c.certificate_name());
    let anchors = anchors.display().to_string();
    if !plain(&target.realm) || !target.kdcs.iter().all(|kdc| plain(kdc)) || !plain(&anchors) {
        return Err(
            "the realm, a KDC or the anchors' path cannot stand in a Kerberos configuration".to_owned()
        );
    }
    let mut text = format!(
        "[libdefaults]\n  default_realm = {realm}\n  dns_lookup_realm = false\n  dns_lookup_kdc = false\n  \
         dns_canonicalize_hostname = false\n  rdns = false\n[realms]\n  {realm} = {{\n    pkinit_anchors = FILE:{anchors}\n",
        realm = target.realm
    );
    for kdc in &target.kdcs {
        text.push_str(&format!("    kdc = {kdc}\n"));
    }
    for host in hosts.filter(|host| plain(host) && host.parse::<std::net::IpAddr>().is_err()) {
        text.push_str(&format!("    pkinit_kdc_hostname = {host}\n"));
    }
    text.push_str("  }\n");
    Ok(text)
}

fn write(path: &Path, bytes: &[u8]) -> std::io::Result<()> {
    std::fs::OpenOptions::new().write(true).create_new(true).mode(0o600).open(path)?.write_all(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_are_told_apart() {
        let refused = verdict("kinit: Password incorrect while getting initial credentials").unwrap();
        assert!(matches!(refused, Logon::Refused(_)));
        assert!(verdict("kinit: Preauthentication failed while getting initial credentials").is_ok());
        assert!(
            verdict("kinit: Cannot contact any KDC for realm 'RXA' while getting initial credentials")
                .is_err()
        );
        assert!(verdict("kinit: Clock skew too great while getting initial credentials").is_err());
    }
}
