//! Which revocation lists `portcullis check` fetches: what the gateway's configuration has under `assess.lists`.

use clap::Args;

use crate::ambient::bounds::Checked;
use crate::assess::settings::Lists;
use crate::cli::failure::Failure;

/// Without any, lists on public addresses are fetched over http on port 80.
#[derive(Debug, Default, Args)]
pub struct ListOptions {
    /// A network whose addresses may be asked for revocation lists beside public ones, as in 10.20.0.0/16; private addresses are
    /// not asked otherwise. Can be given several times.
    #[arg(long = "list-network", value_name = "NETWORK")]
    networks: Vec<String>,
    /// A port that may be asked for revocation lists in place of 80. Can be given several times.
    #[arg(long = "list-port", value_name = "PORT")]
    ports: Vec<u16>,
    /// Seconds for one revocation list.
    #[arg(long = "list-seconds", value_name = "SECONDS")]
    seconds: Option<u32>,
    /// The most bytes of one revocation list.
    #[arg(long = "list-bytes", value_name = "BYTES")]
    bytes: Option<usize>,
    /// Revocation lists of the controllers, and again of the cards, that may be fetched.
    #[arg(long = "list-count", value_name = "COUNT")]
    per_pass: Option<usize>,
}

impl ListOptions {
    /// What is not given is as the gateway has it by default.
    pub fn settings(&self) -> Result<Lists, Failure> {
        let default = Lists::default();
        let lists = Lists {
            seconds: self.seconds.unwrap_or(default.seconds),
            bytes: self.bytes.unwrap_or(default.bytes),
            per_pass: self.per_pass.unwrap_or(default.per_pass),
            ports: if self.ports.is_empty() { default.ports } else { self.ports.iter().copied().collect() },
            networks: self.networks.iter().cloned().collect(),
        };
        match lists.faults().first() {
            None => Ok(lists),
            Some(fault) => Err(Failure::could_not(format!("{} {}", option(&fault.key), fault.message))),
        }
    }
}

fn option(key: &str) -> &str {
    match key {
        "networks" => "--list-network",
        "ports" => "--list-port",
        "seconds" => "--list-seconds",
        "bytes" => "--list-bytes",
        "per_pass" => "--list-count",
        other => other,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn options_are_held_against_the_bounds_of_the_settings() {
        assert_eq!(ListOptions::default().settings().unwrap(), Lists::default());
        let given = ListOptions {
            networks: vec!["10.20.0.0/16".to_owned()],
            ports: vec![8880],
            seconds: Some(9),
            ..ListOptions::default()
        };
        let lists = given.settings().unwrap();
        assert_eq!((lists.seconds, lists.ports.contains(&80), lists.networks.len()), (9, false, 1));
        for (wrong, named) in [
            (ListOptions { networks: vec!["here".to_owned()], ..ListOptions::default() }, "--list-network"),
            (ListOptions { ports: vec![0], ..ListOptions::default() }, "--list-port"),
            (ListOptions { seconds: Some(0), ..ListOptions::default() }, "--list-seconds"),
            (ListOptions { per_pass: Some(5_000), ..ListOptions::default() }, "--list-count"),
        ] {
            let said = wrong.settings().unwrap_err().to_string();
            assert!(said.starts_with(named), "{said}");
        }
    }
}
