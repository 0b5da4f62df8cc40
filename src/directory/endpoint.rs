//! Where a directory is and how it is spoken to.

use std::fmt;

/// How LDAP travels to the endpoint.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Transport {
    /// TLS from the first byte (port 636).
    Ldaps,
    /// Plain first, then the StartTLS extended operation (RFC 4511 section 4.14) before anything else.
    StartTls,
    /// No TLS at all. For probes only: no credential of a real account ever goes this way.
    Plain,
}

/// One server's address.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Endpoint {
    /// Host name or IP address to dial.
    pub host: String,
    pub port: u16,
    /// The name that its certificate must have; none means `host`.
    pub tls_name: Option<String>,
    pub transport: Transport,
}

impl Endpoint {
    /// An LDAPS endpoint.
    pub fn ldaps(host: &str, port: u16, tls_name: Option<&str>) -> Self {
        Endpoint {
            host: host.to_owned(),
            port,
            tls_name: tls_name.map(str::to_owned),
            transport: Transport::Ldaps,
        }
    }

    /// The same server on another port, spoken to in another way.
    pub fn with(&self, port: u16, transport: Transport) -> Self {
        Endpoint { port, transport, ..self.clone() }
    }

    /// The name that its certificate must have.
    pub fn certificate_name(&self) -> &str {
        self.tls_name.as_deref().unwrap_or(&self.host)
    }

    /// Reads `host:port` (`[::1]:636` for IPv6); without a port, 636.
    pub fn parse(address: &str, tls_name: Option<&str>) -> Option<Self> {
        let (host, port) = match address.strip_prefix('[') {
            Some(rest) => {
                let (host, after) = rest.split_once(']')?;
                (host, after.strip_prefix(':'))
            }
            None => match address.rsplit_once(':') {
                Some((host, _)) if host.contains(':') => (address, None),
                Some((host, port)) => (host, Some(port)),
                None => (address, None),
            },
        };
        let port = port.map_or(Some(636), |text| text.parse().ok())?;
        (!host.is_empty()).then(|| Endpoint::ldaps(host, port, tls_name))
    }
}

impl fmt::Display for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let scheme = match self.transport {
            Transport::Ldaps => "ldaps",
            Transport::StartTls => "ldap+starttls",
            Transport::Plain => "ldap",
        };
        if self.host.contains(':') {
            write!(f, "{scheme}://[{}]:{}", self.host, self.port)
        } else {
            write!(f, "{scheme}://{}:{}", self.host, self.port)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_read() {
        let shown = |text: &str| Endpoint::parse(text, None).map(|e| e.to_string());
        assert_eq!(shown("dc1.rxa.test").as_deref(), Some("ldaps://dc1.rxa.test:636"));
        assert_eq!(shown("127.0.10.1:3269").as_deref(), Some("ldaps://127.0.10.1:3269"));
        assert_eq!(shown("[::1]:636").as_deref(), Some("ldaps://[::1]:636"));
        assert_eq!(shown("fe80::1").as_deref(), Some("ldaps://[fe80::1]:636"));
        assert_eq!(shown("host:seven"), None);
        assert_eq!(shown(""), None);
    }
}
