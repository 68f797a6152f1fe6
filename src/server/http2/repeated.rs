//! Header blocks that a connection has sent before.

/// Blocks that are kept: a client that mixes a few methods has as many.
const BLOCKS_MAX: usize = 4;
/// The longest block that is kept.
const BLOCK_BYTES_MAX: usize = 1024;

/// Blocks that h2 takes and that left the dynamic table as it was. As long as it stays so, the same
/// bytes stand for the same fields.
#[derive(Default)]
pub(super) struct RepeatedBlocks {
    blocks: Vec<Block>,
    /// Which of them the next one replaces.
    oldest: usize,
}

#[derive(Default)]
struct Block {
    bytes: Vec<u8>,
    list_size: usize,
}

impl RepeatedBlocks {
    /// The size of the header list that these bytes stand for, if they are known.
    pub fn find(&self, bytes: &[u8]) -> Option<usize> {
        let mut blocks = self.blocks.iter();
        let found = blocks.find(|block| block.bytes == bytes && !bytes.is_empty());
        found.map(|block| block.list_size)
    }

    pub fn add(&mut self, bytes: &[u8], list_size: usize) {
        if bytes.len() > BLOCK_BYTES_MAX || bytes.is_empty() {
            return;
        }
        if self.blocks.len() < BLOCKS_MAX {
            self.blocks.push(Block::default());
        }
        let place = self.oldest % BLOCKS_MAX;
        let block = &mut self.blocks[place];
        block.bytes.clear();
        block.bytes.extend_from_slice(bytes);
        block.list_size = list_size;
        self.oldest = place + 1;
    }

    /// Forgets all: the table has changed.
    pub fn clear(&mut self) {
        for block in &mut self.blocks {
            block.bytes.clear();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_blocks_are_known_until_the_table_changes() {
        let mut blocks = RepeatedBlocks::default();
        assert_eq!(blocks.find(b""), None);
        for size in 0..=BLOCKS_MAX {
            blocks.add(&[1, size as u8], size);
        }
        assert_eq!(blocks.find(&[1, 0]), None, "the oldest has made room");
        assert_eq!(blocks.find(&[1, 1]), Some(1));
        assert_eq!(blocks.find(&[1, BLOCKS_MAX as u8]), Some(BLOCKS_MAX));
        blocks.add(&[2; BLOCK_BYTES_MAX + 1], 1);
        assert_eq!(blocks.find(&[2; BLOCK_BYTES_MAX + 1]), None);
        blocks.clear();
        assert_eq!(blocks.find(&[1, 1]), None);
        assert_eq!(blocks.find(b""), None, "no block is empty");
    }
}
