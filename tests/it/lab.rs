//! The lab of `deploy/lab`, for tests that need real directories. Without `PORTCULLIS_LAB` they are skipped, and say so.

use std::path::PathBuf;
use std::process::Command;

/// A running lab, as `deploy/lab/lab env` describes it.
pub struct Lab {
    pub directory: PathBuf,
    /// First two octets of its addresses.
    pub net: String,
}

impl Lab {
    /// The lab that the environment names. None means that the test has nothing to run on: return, it has been said.
    pub fn of(test: &str) -> Option<Lab> {
        let Some(directory) = std::env::var_os("PORTCULLIS_LAB").map(PathBuf::from) else {
            eprintln!("SKIPPED {test}: needs a lab (deploy/lab/lab up; eval \"$(deploy/lab/lab env)\")");
            return None;
        };
        let net = std::fs::read_to_string(directory.join("net")).unwrap_or_else(|error| {
            panic!("PORTCULLIS_LAB is set, but no lab is in {}: {error}", directory.display())
        });
        Some(Lab { directory, net: net.trim().to_owned() })
    }

    /// A file of its PKI: `good/gateway.crt`, `rogue/ca.crt`, ...
    pub fn pki(&self, file: &str) -> PathBuf {
        self.directory.join("pki").join(file)
    }

    /// The address of `RXA`, `RXB`, `RXC`, `national` or `gateway`.
    pub fn address(&self, of: &str) -> String {
        let third = match of {
            "RXA" => 10,
            "RXB" => 20,
            "RXC" => 40,
            "national" => 30,
            "gateway" => 50,
            other => panic!("the lab has no {other}"),
        };
        format!("{}.{third}.1", self.net)
    }

    /// Runs `deploy/lab/lab` on it: `worsen RXC tls1.0`, `mend RXC`, ...
    pub fn command(&self, arguments: &[&str]) -> String {
        let script = concat!(env!("CARGO_MANIFEST_DIR"), "/deploy/lab/lab");
        let done = Command::new(script)
            .args(arguments)
            .env("PORTCULLIS_LAB", &self.directory)
            .output()
            .unwrap_or_else(|error| panic!("{script}: {error}"));
        assert!(done.status.success(), "lab {arguments:?}: {}", String::from_utf8_lossy(&done.stderr));
        String::from_utf8_lossy(&done.stdout).into_owned()
    }
}

#[test]
fn every_part_of_the_lab_runs() {
    let Some(lab) = Lab::of("every_part_of_the_lab_runs") else { return };
    let status = lab.command(&["status"]);
    for part in ["RXA", "RXB", "RXC", "national", "lists"] {
        assert!(status.lines().any(|line| line.starts_with(part) && line.contains(" pid ")), "{status}");
    }
    for part in ["RXA", "RXB", "RXC", "national"] {
        std::net::TcpStream::connect((lab.address(part).as_str(), 636)).unwrap();
    }
    assert!(lab.pki("good/gateway.crt").exists());
}
