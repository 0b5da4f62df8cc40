//! One non-blocking connection, with or without TLS: the only place of the shard that reads and writes sockets.

use std::io::{self, Read, Write};

use mio::net::TcpStream;
use rustls::Connection;

/// At most this much plaintext is inside the TLS layer on its way out, so that the engine sees what waits.
const TLS_CHUNK: usize = 256 * 1024;

/// What one read brought.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Progress {
    /// The whole buffer was filled: more may wait in the socket.
    More,
    /// Fewer bytes came than there was room for: the socket is empty, unless the peer has ended.
    Short,
    /// Nothing was there.
    Drained,
    /// The peer will send nothing more.
    Ended,
}

/// A socket and its TLS state.
pub struct Stream {
    pub socket: TcpStream,
    pub tls: Option<Box<Connection>>,
    /// The socket took less than it was offered; wait for the writable edge.
    pub blocked: bool,
}

impl Stream {
    pub fn new(socket: TcpStream, tls: Option<Connection>) -> Self {
        let mut stream = Stream { socket, tls: None, blocked: false };
        if let Some(tls) = tls {
            stream.protect(tls);
        }
        stream
    }

    /// From now on everything is TLS.
    pub fn protect(&mut self, mut tls: Connection) {
        tls.set_buffer_limit(None);
        self.tls = Some(Box::new(tls));
    }

    /// Whether the TLS handshake still runs.
    pub fn is_handshaking(&self) -> bool {
        self.tls.as_ref().is_some_and(|tls| tls.is_handshaking())
    }

    /// Whether the TLS layer has something to send of its own accord.
    pub fn wants_write(&self) -> bool {
        self.tls.as_ref().is_some_and(|tls| tls.wants_write())
    }

    /// Reads once. `plain` receives decrypted bytes; it is cleared first. `scratch` is the shard's read buffer.
    pub fn read(&mut self, scratch: &mut [u8], plain: &mut Vec<u8>) -> io::Result<Progress> {
        plain.clear();
        let room = scratch.len();
        let count = loop {
            match self.socket.read(scratch) {
                Ok(count) => break count,
                Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
                Err(e) if e.kind() == io::ErrorKind::WouldBlock => return Ok(Progress::Drained),
                Err(e) => return Err(e),
            }
        };
        if count == 0 {
            return Ok(Progress::Ended);
        }
        let came = scratch.get(..count).unwrap_or_default();
        let closed = match self.tls.as_mut() {
            None => {
                plain.extend_from_slice(came);
                false
            }
            Some(tls) => decrypt(tls, came, plain)?,
        };
        Ok(match (closed, count < room) {
            (true, _) => Progress::Ended,
            (false, true) => Progress::Short,
            (false, false) => Progress::More,
        })
    }

    /// Writes what is in `out` and in the TLS layer as far as the socket takes it; `out` loses what was taken.
    /// Returns the number of bytes that left `out`. A TLS record ends at `boundary` if that lies within.
    pub fn write(&mut self, out: &mut Vec<u8>, boundary: usize) -> io::Result<usize> {
        self.blocked = false;
        let mut taken = 0;
        match self.tls.as_mut() {
            None => {
                while taken < out.len() && !self.blocked {
                    match self.socket.write(out.get(taken..).unwrap_or_default()) {
                        Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
                        Ok(count) => taken += count,
                        Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
                        Err(e) if e.kind() == io::ErrorKind::WouldBlock => self.blocked = true,
                        Err(e) => return Err(e),
                    }
                }
            }
            Some(tls) => loop {
                while tls.wants_write() && !self.blocked {
                    match tls.write_tls(&mut self.socket) {
                        Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
                        Ok(_) => {}
                        Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
                        Err(e) if e.kind() == io::ErrorKind::WouldBlock => self.blocked = true,
                        Err(e) => return Err(e),
                    }
                }
                if self.blocked || taken == out.len() || tls.is_handshaking() {
                    break;
                }
                let end = out.len().min(taken + TLS_CHUNK);
                if taken < boundary && boundary < end {
                    tls.writer().write_all(out.get(taken..boundary).unwrap_or_default())?;
                    taken = boundary;
                }
                tls.writer().write_all(out.get(taken..end).unwrap_or_default())?;
                taken = end;
            },
        }
        if taken == out.len() {
            out.clear();
        } else {
            out.drain(..taken);
        }
        Ok(taken)
    }

    /// Says goodbye in TLS; the bytes leave with the next [`Stream::write`].
    pub fn close_notify(&mut self) {
        if let Some(tls) = self.tls.as_mut() {
            tls.send_close_notify();
        }
    }
}

/// Feeds `came` to the TLS layer; true when the peer said goodbye.
fn decrypt(tls: &mut Connection, mut came: &[u8], plain: &mut Vec<u8>) -> io::Result<bool> {
    let mut closed = false;
    while !came.is_empty() {
        if tls.read_tls(&mut came)? == 0 {
            break;
        }
        let state = tls.process_new_packets().map_err(|e| io::Error::new(io::ErrorKind::InvalidData, e))?;
        let want = state.plaintext_bytes_to_read();
        if want > 0 {
            let at = plain.len();
            plain.resize(at + want, 0);
            tls.reader().read_exact(plain.get_mut(at..).unwrap_or_default())?;
        }
        closed |= state.peer_has_closed();
    }
    Ok(closed)
}
