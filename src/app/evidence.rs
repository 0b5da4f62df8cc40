//! Whether the evidence behind an assessment holds: hash, signature, chain.

use std::collections::{HashMap, VecDeque};

use crate::baseline::facts::Evidence;
use crate::store::error::StoreError;
use crate::store::port::Store;

/// How many answers are remembered: several for each of some thousand members.
const REMEMBERED: usize = 8_192;

/// Evidence that was checked, by hash, with the answer. A document never changes under its hash, so an answer stays.
#[derive(Debug, Default)]
pub struct Verified {
    answers: HashMap<String, bool>,
    order: VecDeque<String>,
}

impl Verified {
    /// Whether the evidence with this hash is there and holds.
    pub fn holds(&mut self, store: &dyn Store, public_key: &[u8], hash: &str) -> Result<bool, StoreError> {
        if let Some(answer) = self.answers.get(hash) {
            return Ok(*answer);
        }
        let answer = match store.evidence(hash)? {
            Some(record) => Evidence::read(record.document.open())
                .and_then(|evidence| evidence.verify(public_key, record.previous.as_deref()))
                .inspect_err(
                    |error| tracing::error!(member = %record.member, hash, %error, "evidence does not hold"),
                )
                .is_ok(),
            None => false,
        };
        self.remember(hash, answer);
        Ok(answer)
    }

    fn remember(&mut self, hash: &str, answer: bool) {
        if self.order.len() >= REMEMBERED
            && let Some(oldest) = self.order.pop_front()
        {
            self.answers.remove(&oldest);
        }
        self.order.push_back(hash.to_owned());
        self.answers.insert(hash.to_owned(), answer);
    }
}
