//! What keeps our account out is told with its cause, first of all; and which domain was asked.

use portcullis::ambient::clock::Clock;
use portcullis::assess::origin::{Same, obstacle, same_domain};
use portcullis::assess::target::Target;
use portcullis::baseline::evaluate::evaluate;
use portcullis::baseline::facts::{Evidence, Fact};
use portcullis::baseline::value::Value;
use portcullis::secret::reference::SecretReference;

use super::baseline;
use super::directory::BASE;
use super::world::World;

async fn evidence(change: impl FnOnce(&mut Target)) -> Evidence {
    World::hardened().evidence(&baseline(), change).await
}

async fn told(change: impl FnOnce(&mut Target)) -> String {
    let evidence = evidence(change).await;
    // nothing that needs a logon passes
    let assessment = evaluate(&baseline(), &evidence, &[], Clock::system().now());
    assert!(assessment.grants.values().all(|grant| !grant.would_open));
    obstacle(&evidence).unwrap_or_default()
}

#[tokio::test(flavor = "multi_thread")]
async fn what_keeps_us_out_is_told_with_what_to_do() {
    let folder = tempfile::tempdir().unwrap();
    let wrong = folder.path().join("password");
    crate::app_stage::secret(&wrong, "another");
    let said = told(|target| target.password = SecretReference::File(wrong)).await;
    assert!(
        said.contains("result code 49") && said.contains("its password is another: check the password file"),
        "{said}"
    );

    let missing = folder.path().join("nowhere");
    let said = told(|target| target.password = SecretReference::File(missing)).await;
    assert!(said.contains("nowhere") && said.contains("write the secret to "), "{said}");

    let said = told(|target| target.base_dn = "DC=wrong,DC=test".to_owned()).await;
    assert!(said.contains("the base DN `DC=wrong,DC=test` does not exist there"), "{said}");
    assert!(said.to_lowercase().contains(&format!("its own domain is `{}`", BASE.to_lowercase())), "{said}");

    let said = told(|target| target.controllers[0].host = "no-such-host.invalid".to_owned()).await;
    assert!(said.contains("no-such-host.invalid") && said.contains("does not resolve"), "{said}");

    let said = told(|target| target.controllers[0].port = 9).await;
    assert!(said.contains("127.0.0.1:9: ") && said.contains("check host and port"), "{said}");
}

#[tokio::test(flavor = "multi_thread")]
async fn evidence_says_which_domain_it_is_of() {
    let one = evidence(|_| ()).await;
    assert_eq!(obstacle(&one), None);
    assert!(
        matches!(one.facts.get("connection.domain_sid"), Fact::Known(Value::Sid(sid)) if sid.starts_with("S-1-5-21-"))
    );
    let mut renamed = one.clone();
    renamed.facts.set("connection.domain", Fact::Known(Value::Dn("DC=new,DC=test".to_owned())));
    assert_eq!(same_domain(&one, &renamed), Same::Yes, "a domain keeps its SID");
    let mut other = one.clone();
    other.facts.set("connection.domain_sid", Fact::Known(Value::Sid("S-1-5-21-9-9-9".to_owned())));
    assert!(matches!(same_domain(&one, &other), Same::No(_, other) if other.contains("S-1-5-21-9-9-9")));
    renamed.facts.records.get_mut("connection").unwrap().remove("domain_sid");
    assert!(matches!(same_domain(&one, &renamed), Same::No(..)), "by name where no SID was read");
    renamed.facts.set("connection.domain", Fact::Known(Value::Dn("dc=Scripted, DC=test".to_owned())));
    assert_eq!(same_domain(&one, &renamed), Same::Yes);
    renamed.facts.records.remove("connection");
    assert_eq!(same_domain(&one, &renamed), Same::NotTold);
}
