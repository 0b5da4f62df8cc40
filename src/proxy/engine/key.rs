//! Message ids on upstream connections.

/// Slots of one upstream connection: 2^12.
const SLOT_BITS: u32 = 12;
/// Operations that one upstream connection can carry at once.
pub const SLOTS: usize = 1 << SLOT_BITS;
const GENERATIONS: u32 = 1 << 18;
/// The message id of our own probes: above those of all questions.
pub const PROBE_ID: i32 = (1 << 30) + 1;

/// A slot and how often it was used: the message id of a question. A late answer to an abandoned question carries an
/// older generation and so is recognised without a table.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct UpstreamId {
    pub slot: u16,
    pub generation: u32,
}

impl UpstreamId {
    /// 1 to 2^30; the id 0 belongs to unsolicited notifications.
    pub fn message_id(self) -> i32 {
        let number = (self.generation % GENERATIONS) << SLOT_BITS | u32::from(self.slot);
        i32::try_from(number + 1).unwrap_or(1)
    }

    /// None for 0, negative numbers and numbers that were never given out.
    pub fn from_message_id(id: i32) -> Option<Self> {
        let number = u32::try_from(id).ok()?.checked_sub(1)?;
        let generation = number >> SLOT_BITS;
        let slot = u16::try_from(number & (SLOTS as u32 - 1)).ok()?;
        (generation < GENERATIONS).then_some(UpstreamId { slot, generation })
    }

    /// The same slot, one use later.
    pub fn next(self) -> Self {
        UpstreamId { slot: self.slot, generation: (self.generation + 1) % GENERATIONS }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_id_comes_back() {
        for (slot, generation) in [(0, 0), (1, 7), (4095, GENERATIONS - 1)] {
            let id = UpstreamId { slot, generation };
            assert!(id.message_id() > 0);
            assert_eq!(UpstreamId::from_message_id(id.message_id()), Some(id));
        }
        assert_eq!(UpstreamId { slot: 3, generation: GENERATIONS - 1 }.next().generation, 0);
        assert_eq!(UpstreamId { slot: 4095, generation: GENERATIONS - 1 }.message_id() + 1, PROBE_ID);
    }

    #[test]
    fn foreign_ids_are_nobodys() {
        for id in [0, -1, i32::MIN, i32::MAX, PROBE_ID] {
            assert_eq!(UpstreamId::from_message_id(id), None, "{id}");
        }
    }
}
