//! Random numbers that are the same in every run of a test.

use wasmtime_wasi::random::Deterministic;

/// SplitMix64. For tests only: its numbers can be predicted.
pub(super) struct SplitMix(pub(super) u64);

impl SplitMix {
    pub(super) const GAMMA: u64 = 0x9e37_79b9_7f4a_7c15;

    pub(super) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(Self::GAMMA);
        let z = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// Random bytes for one instance. They repeat after 4 KiB, more than an instance needs.
    pub(super) fn stream(&mut self) -> Deterministic {
        Deterministic::new((0..512).flat_map(|_| self.next().to_le_bytes()).collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_same_seed_gives_the_same_numbers() {
        let numbers = |seed| {
            let mut random = SplitMix(seed);
            [random.next(), random.next()]
        };
        assert_eq!(numbers(1), numbers(1));
        assert_ne!(numbers(1), numbers(2));
    }
}
