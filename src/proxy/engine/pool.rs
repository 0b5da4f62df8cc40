//! Output buffers and unfinished requests: taken at need, returned when empty, so that idle connections own nothing.

const KEPT: usize = 64;
const KEPT_BYTES: usize = 128 * 1024;

/// A few empty buffers that have room already.
#[derive(Debug, Default)]
pub struct Pool(Vec<Vec<u8>>);

impl Pool {
    /// Gives `buffer` room if it has none.
    pub fn equip(&mut self, buffer: &mut Vec<u8>) {
        if buffer.capacity() == 0
            && let Some(spare) = self.0.pop()
        {
            *buffer = spare;
        }
    }

    /// Takes the room of an empty `buffer` back.
    pub fn retire(&mut self, buffer: &mut Vec<u8>) {
        if buffer.is_empty() && buffer.capacity() > 0 {
            self.give(std::mem::take(buffer));
        }
    }

    /// Takes a buffer that nobody needs any more.
    pub fn give(&mut self, mut buffer: Vec<u8>) {
        if buffer.capacity() > 0 && buffer.capacity() <= KEPT_BYTES && self.0.len() < KEPT {
            buffer.clear();
            self.0.push(buffer);
        }
    }
}
