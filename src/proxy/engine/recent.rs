//! Where questions that are on their way to one directory can be found again.

use crate::proxy::engine::key::UpstreamId;

/// Questions of one mount that are remembered, by a digest.
const REMEMBERED: usize = 64;

/// The questions of a mount that are on their way: a guess where to look, which is checked before it is believed.
#[derive(Debug, Default)]
pub struct Recent(Vec<Guess>);

#[derive(Debug, Clone, Copy)]
struct Guess {
    digest: u64,
    upstream: usize,
    id: UpstreamId,
}

impl Recent {
    /// Where the question with this digest may be.
    pub fn find(&self, digest: u64) -> Option<(usize, UpstreamId)> {
        let guess = self.0.get(place(digest))?;
        (guess.digest == digest).then_some((guess.upstream, guess.id))
    }

    /// A question was sent.
    pub fn note(&mut self, digest: u64, upstream: usize, id: UpstreamId) {
        if self.0.is_empty() {
            let nothing = UpstreamId { slot: 0, generation: 0 };
            self.0 = vec![Guess { digest: 0, upstream: usize::MAX, id: nothing }; REMEMBERED];
        }
        if let Some(guess) = self.0.get_mut(place(digest)) {
            *guess = Guess { digest, upstream, id };
        }
    }
}

fn place(digest: u64) -> usize {
    (digest % REMEMBERED as u64) as usize
}

/// Of an encoded request. Two requests may have the same one: it only says where to look.
pub fn digest(request: &[u8]) -> u64 {
    const ODD: u64 = 0x9e37_79b9_7f4a_7c15;
    let words =
        request.chunks(8).map(|chunk| chunk.iter().fold(0, |word, byte| word << 8 | u64::from(*byte)));
    words.fold(request.len() as u64, |sum, word| (sum ^ word).wrapping_mul(ODD).rotate_left(29))
}
