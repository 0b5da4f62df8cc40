//! Randomness from the operating system.

use ring::rand::{SecureRandom, SystemRandom};

/// The system has no randomness to give. Nothing that needs an unguessable value may go on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the operating system gave no random bytes")]
pub struct NoChance;

/// `N` unguessable bytes.
pub fn bytes<const N: usize>() -> Result<[u8; N], NoChance> {
    let mut bytes = [0; N];
    SystemRandom::new().fill(&mut bytes).map_err(|_| NoChance)?;
    Ok(bytes)
}

/// A number below `bound` (below 1 when `bound` is 0), good enough for jitter and sampling.
pub fn below(bound: u64) -> Result<u64, NoChance> {
    Ok(u64::from_le_bytes(bytes()?) % bound.max(1))
}
