//! MIT Kerberos' `kinit` and `kvno` as child processes, with a configuration and a cache of their own.

use std::io::{Read as _, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWriteExt};
use tokio::process::Command;
use tokio::time::timeout;
use zeroize::Zeroizing;

use crate::ambient::chance;
use crate::assess::probes::trace::{Trace, event};
use crate::assess::target::Target;
use crate::secret::text::Secret;

/// What is kept of the errors and the trace of a program.
const SAID_BYTES_MAX: u64 = 64 << 10;
/// Longer messages are cut.
const MESSAGE_MAX: usize = 200;

/// How a logon ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Logon {
    Granted,
    /// There is no ticket. Whether somebody refused it, or it was never asked for, is for the caller to tell.
    Failed(Said),
}

/// What `kinit` said of a logon that failed.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Said {
    /// Its last message.
    pub message: String,
    pub trace: Trace,
}

/// What a logon is made with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Proof {
    Password,
    Card,
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
    /// For a logon with a password in the target's realm.
    pub fn for_password(target: &Target) -> Result<Self, String> {
        Workshop::new(target, None, Proof::Password)
    }

    /// For a logon with a card in the target's realm; `anchors` are what its KDC must chain to, when not the target's.
    pub fn for_card(target: &Target, anchors: Option<&Path>) -> Result<Self, String> {
        Workshop::new(target, anchors, Proof::Card)
    }

    fn new(target: &Target, anchors: Option<&Path>, proof: Proof) -> Result<Self, String> {
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
        write(&workshop.folder.join("krb5.conf"), configuration(target, &anchors, proof)?.as_bytes())
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
        // its messages do not tell a card that cannot be opened from one that is refused; the trace does
        command.env("KRB5_TRACE", "/dev/stderr");
        if let Some(softhsm) = std::env::var_os("SOFTHSM2_CONF") {
            command.env("SOFTHSM2_CONF", softhsm);
        }
        if let Some(identity) = identity {
            command.arg("-X").arg(format!("X509_user_identity={identity}"));
        }
        command.arg("--").arg(principal);
        let ended = timeout(patience, run(command, secret))
            .await
            .map_err(|_| "kinit did not end in time".to_owned())?
            .map_err(|error| format!("`{kinit}` cannot be run: {error}"))?;
        Ok(match ended.success {
            true => Logon::Granted,
            false => Logon::Failed(Said { message: message(&ended.said), trace: Trace::read(&ended.said) }),
        })
    }

    /// Gets a ticket for `service` (a principal with its realm) with the logon that was granted, by MIT's `kvno`.
    pub async fn ticket(&self, kvno: &str, service: &str, patience: Duration) -> Result<(), String> {
        let mut command = self.command(kvno);
        command.arg("--").arg(service);
        let ended = timeout(patience, run(command, None))
            .await
            .map_err(|_| "kvno did not end in time".to_owned())?
            .map_err(|error| format!("`{kvno}` cannot be run: {error}"))?;
        match ended.success {
            true => Ok(()),
            false => Err(format!("no ticket for {service}: {}", message(&ended.said))),
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

/// What a program said last, without its trace and its own name.
fn message(said: &str) -> String {
    let last = said.lines().rev().find(|line| !line.trim().is_empty() && event(line).is_none());
    let text = last.unwrap_or("it said nothing").trim();
    let text = text.strip_prefix("kinit: ").unwrap_or(text);
    let text = text.strip_suffix(" while getting initial credentials").unwrap_or(text);
    text.chars().filter(|c| !c.is_control()).take(MESSAGE_MAX).collect()
}

/// How a program ended, and the beginning of what it said to its standard error.
struct Ended {
    success: bool,
    said: String,
}

async fn run(mut command: Command, secret: Option<&Secret>) -> std::io::Result<Ended> {
    let mut child = command.spawn()?;
    // taken in any case: a child that asks for what we do not have must find the end
    let stdin = child.stdin.take();
    if let (Some(mut stdin), Some(secret)) = (stdin, secret) {
        // a child that has ended already tells why by itself
        let _ = stdin.write_all(secret.expose().as_bytes()).await;
        let _ = stdin.write_all(b"\n").await;
    }
    let (stdout, stderr) = (child.stdout.take(), child.stderr.take());
    let (prompts, said) = tokio::join!(beginning(stdout, 0), beginning(stderr, SAID_BYTES_MAX));
    prompts?;
    let success = child.wait().await?.success();
    Ok(Ended { success, said: String::from_utf8_lossy(&said?).into_owned() })
}

/// So many bytes; the rest is read and dropped, so that the child does not wait for us.
async fn beginning(stream: Option<impl AsyncRead + Unpin>, most: u64) -> std::io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    let Some(stream) = stream else { return Ok(bytes) };
    let mut first = stream.take(most);
    first.read_to_end(&mut bytes).await?;
    tokio::io::copy(&mut first.into_inner(), &mut tokio::io::sink()).await?;
    Ok(bytes)
}

fn configuration(target: &Target, anchors: &Path, proof: Proof) -> Result<String, String> {
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
    if proof == Proof::Card {
        // a card that does not work must not make a password of its PIN
        text.push_str("    disable_encrypted_timestamp = true\n");
    }
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
    use crate::secret::reference::SecretReference;

    #[test]
    fn only_a_logon_with_a_password_may_make_a_key_of_what_is_typed() {
        let root = rcgen::generate_simple_self_signed(Vec::new()).unwrap().cert.pem();
        let secret = SecretReference::File("/nowhere".into());
        let target =
            Target::new("RXA".parse().unwrap(), Vec::new(), "DC=x,DC=test", "a@x.test", secret, &root)
                .unwrap();
        let written = |proof| configuration(&target, Path::new("/anchors.pem"), proof).unwrap();
        assert!(written(Proof::Card).contains("\n    disable_encrypted_timestamp = true\n"));
        assert!(!written(Proof::Password).contains("disable_encrypted_timestamp"));
    }

    #[test]
    fn the_last_message_is_told() {
        let said = "[7] 1.2: Received error from KDC: -1765328360/Preauthentication failed\n\
                    kinit: Password incorrect while getting initial credentials\n[7] 1.3: Destroying\n\n";
        assert_eq!(message(said), "Password incorrect");
        assert_eq!(message("[7] 1.2: nothing else\n"), "it said nothing");
        assert_eq!(message(&format!("kinit: a\u{1b}[2J{}", "x".repeat(500))).len(), MESSAGE_MAX);
    }

    #[tokio::test]
    async fn a_child_that_talks_without_end_is_heard_to_the_bound() {
        let mut command = Command::new("sh");
        command.args(["-c", "head -c 1000000 /dev/zero | tr '\\0' x >&2; head -c 1000000 /dev/zero"]);
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let ended = run(command, None).await.unwrap();
        assert!(ended.success && ended.said.len() == 64 << 10);
    }
}
