//! Certificates of open connections, held against every new list, and against time.

use std::sync::Arc;

use crate::ldap::message::ResultCode;
use crate::proxy::engine::answer::Answer;
use crate::proxy::engine::core::Engine;
use crate::proxy::engine::proof::Proof;
use crate::tls::smartcard::{Refused, Verifier};

/// Certificates that one turn checks: each costs a few signatures, and requests wait meanwhile.
const CHECKS_PER_TURN: usize = 16;

impl Engine {
    /// Takes the verifier of this turn. After a new one every certificate is checked again, some in each turn and those
    /// first that a list names, so that the revoked ones go at once however many connections there are.
    pub fn trust(&mut self, verifier: &Arc<Verifier>) {
        if self.verifier.as_ref().is_some_and(|known| Arc::ptr_eq(known, verifier)) {
            return self.check_some();
        }
        let is_first = self.verifier.replace(Arc::clone(verifier)).is_none();
        if is_first {
            return;
        }
        let proven = self.clients.iter().filter_map(|(key, client)| Some((key, client.proof.as_deref()?)));
        let (first, later): (Vec<_>, Vec<_>) = proven.partition(|(_, proof)| verifier.mentions(&proof.chain));
        let first: Vec<usize> = first.into_iter().map(|(key, _)| key).collect();
        self.unchecked = later.into_iter().map(|(key, _)| key).collect();
        for key in first {
            self.check_proof(key);
        }
        self.check_some();
    }

    /// Whether certificates wait to be checked: the next turn must come soon.
    pub(super) fn has_unchecked(&self) -> bool {
        !self.unchecked.is_empty()
    }

    fn check_some(&mut self) {
        for _ in 0..CHECKS_PER_TURN {
            let Some(key) = self.unchecked.pop() else { return };
            self.check_proof(key);
        }
    }

    /// Time passed: certificates and lists end.
    pub(super) fn scan_proofs(&mut self) {
        let wall = self.wall;
        let over = |proof: &Proof| proof.until <= wall;
        let over: Vec<usize> = self
            .clients
            .iter()
            .filter(|(_, client)| client.is_open() && client.proof.as_deref().is_some_and(over))
            .map(|(key, _)| key)
            .collect();
        for key in over {
            self.check_proof(key);
        }
    }

    /// Checks a client's certificate as of now; if it is no longer good, or stands for somebody else, the connection ends.
    fn check_proof(&mut self, key: usize) {
        let Some(client) = self.clients.get(key).filter(|client| client.is_open()) else { return };
        let Some(proof) = client.proof.as_deref() else { return };
        let checked = match &self.verifier {
            Some(verifier) => Proof::check(proof.chain.clone(), verifier, self.wall),
            None => Err(Refused::Malformed),
        };
        match checked {
            Ok(checked) => {
                if let Some(client) = self.clients.get_mut(key) {
                    client.proof = Some(Box::new(checked));
                }
                if !self.is_still_who_it_was(key) {
                    self.disconnect_stranger(key);
                }
            }
            Err(reason) => {
                tracing::info!(%reason, "a client is disconnected: its certificate is no longer good");
                let why = Answer::new(
                    ResultCode::STRONGER_AUTH_REQUIRED,
                    "your certificate is no longer good; connect again with another",
                );
                self.disconnect(key, &why, "certificate");
            }
        }
    }
}
