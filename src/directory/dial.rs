//! Opens a connection: TCP, then TLS, recording what was negotiated.

use std::sync::Arc;

use rustls::ClientConfig;
use rustls_pki_types::{CertificateDer, ServerName};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_rustls::TlsConnector;

use crate::directory::endpoint::{Endpoint, Transport};
use crate::directory::error::DirectoryError;
use crate::directory::settings::Settings;
use crate::ldap::codec;
use crate::ldap::limits::Limits;
use crate::ldap::message::{Operation, ResultCode};

/// StartTLS with message id 1, RFC 4511 section 4.14.1.
const START_TLS: &[u8] = b"\x30\x1d\x02\x01\x01\x77\x18\x80\x161.3.6.1.4.1.1466.20037";

/// Any byte stream.
pub trait Stream: AsyncRead + AsyncWrite + Send + Unpin {}
impl<T: AsyncRead + AsyncWrite + Send + Unpin> Stream for T {}

/// What the other side showed of itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Peer {
    /// `tls1.2` or `tls1.3`.
    pub version: String,
    /// As IANA writes it, for example `TLS13_AES_256_GCM_SHA384`.
    pub suite: String,
    /// As sent, leaf first.
    pub chain: Vec<CertificateDer<'static>>,
}

/// An open connection.
pub struct Dialled {
    pub stream: Box<dyn Stream>,
    /// None without TLS.
    pub peer: Option<Peer>,
}

/// Opens a connection to `endpoint`. `tls` is not used for [`Transport::Plain`].
pub async fn dial(
    endpoint: &Endpoint,
    tls: Arc<ClientConfig>,
    settings: &Settings,
) -> Result<Dialled, DirectoryError> {
    let mut tcp = connect(endpoint, settings).await?;
    match endpoint.transport {
        Transport::Plain => return Ok(Dialled { stream: Box::new(tcp), peer: None }),
        Transport::Ldaps => {}
        Transport::StartTls => start_tls(&mut tcp, settings).await?,
    }
    let fail = |cause: String| DirectoryError::Tls { endpoint: endpoint.to_string(), cause };
    let name = ServerName::try_from(endpoint.certificate_name().to_owned())
        .map_err(|_| fail(format!("`{}` is no name a certificate can have", endpoint.certificate_name())))?;
    let after = settings.connect_timeout();
    let stream = timeout(after, TlsConnector::from(tls).connect(name, tcp))
        .await
        .map_err(|_| DirectoryError::TimedOut { what: "the TLS handshake", after })?
        .map_err(|error| fail(error.to_string()))?;
    let (_, session) = stream.get_ref();
    let peer = Peer {
        version: session.protocol_version().map_or_else(String::new, version_name),
        suite: session
            .negotiated_cipher_suite()
            .map_or_else(String::new, |suite| format!("{:?}", suite.suite())),
        chain: session.peer_certificates().unwrap_or_default().to_vec(),
    };
    Ok(Dialled { stream: Box::new(stream), peer: Some(peer) })
}

/// Opens TCP only.
pub async fn connect(endpoint: &Endpoint, settings: &Settings) -> Result<TcpStream, DirectoryError> {
    let after = settings.connect_timeout();
    let tcp = timeout(after, TcpStream::connect((endpoint.host.as_str(), endpoint.port)))
        .await
        .map_err(|_| DirectoryError::TimedOut { what: "the TCP connection", after })?
        .map_err(|error| DirectoryError::Unreachable {
            endpoint: endpoint.to_string(),
            cause: error.to_string(),
        })?;
    // a small request must not wait for the acknowledgement of the one before
    let _ = tcp.set_nodelay(true);
    Ok(tcp)
}

/// Asks for TLS on a plain connection; when this is `Ok`, the next byte is TLS.
pub async fn start_tls(tcp: &mut TcpStream, settings: &Settings) -> Result<(), DirectoryError> {
    let after = settings.answer_timeout();
    timeout(after, ask_for_tls(tcp))
        .await
        .map_err(|_| DirectoryError::TimedOut { what: "the StartTLS request", after })?
}

async fn ask_for_tls(tcp: &mut TcpStream) -> Result<(), DirectoryError> {
    let closed = |error: std::io::Error| DirectoryError::Closed(error.to_string());
    let malformed = |what: String| DirectoryError::Malformed(what);
    tcp.write_all(START_TLS).await.map_err(closed)?;
    let limits = Limits::before_bind();
    let mut answer = Vec::new();
    loop {
        if let Some(length) = codec::frame(&answer, &limits).map_err(|e| malformed(e.to_string()))? {
            // bytes after the answer were not sent under TLS: whoever put them there is not to be trusted
            if answer.len() != length {
                return Err(malformed("bytes after the StartTLS answer".to_owned()));
            }
            break;
        }
        let mut chunk = [0; 512];
        match tcp.read(&mut chunk).await.map_err(closed)? {
            0 => return Err(DirectoryError::Closed("in the answer to StartTLS".to_owned())),
            n => answer.extend_from_slice(chunk.get(..n).unwrap_or_default()),
        }
    }
    let message = codec::decode(&answer, &limits).map_err(|e| malformed(e.to_string()))?;
    match message.operation {
        Operation::ExtendedResponse(response) if response.outcome.code == ResultCode::SUCCESS => Ok(()),
        Operation::ExtendedResponse(response) => {
            Err(malformed(format!("StartTLS was refused with result code {}", response.outcome.code)))
        }
        _ => Err(malformed("another operation's answer to StartTLS".to_owned())),
    }
}

fn version_name(version: rustls::ProtocolVersion) -> String {
    match version {
        rustls::ProtocolVersion::TLSv1_2 => "tls1.2".to_owned(),
        rustls::ProtocolVersion::TLSv1_3 => "tls1.3".to_owned(),
        other => format!("{other:?}").to_ascii_lowercase(),
    }
}
