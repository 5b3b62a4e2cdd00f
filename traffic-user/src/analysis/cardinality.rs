//! The number of different keys, estimated.

/// Binary logarithm of the number of registers.
const PRECISION: u32 = 14;
const REGISTERS: usize = 1 << PRECISION;
/// Bits of a hash that do not choose the register.
const RANK_BITS: usize = 64 - PRECISION as usize;

/// `HyperLogLog` (Flajolet et al. 2007) with 64-bit hashes and the estimator of Ertl, "New
/// cardinality estimation algorithms for `HyperLogLog` sketches" (2017), which has no bias at any
/// size. 16 KiB.
#[derive(Clone, Debug)]
pub(crate) struct Cardinality {
    registers: Vec<u8>,
}

impl Cardinality {
    /// Standard error of the estimate in percent: 104 % divided by the square root of the number
    /// of registers.
    pub(crate) const STANDARD_ERROR_PERCENT: f64 = 104.0 / 128.0;

    /// Nothing counted.
    pub(crate) fn new() -> Self {
        Self {
            registers: vec![0; REGISTERS],
        }
    }

    /// Counts a key by its hash, of which all bits must be good.
    pub(crate) fn add(&mut self, hash: u64) {
        let index = usize::try_from(hash >> RANK_BITS).expect("14 bits");
        // A stop bit keeps the rank at most RANK_BITS + 1.
        let rest = hash << PRECISION | 1 << (PRECISION - 1);
        let rank = u8::try_from(rest.leading_zeros() + 1).expect("at most 64");
        self.registers[index] = self.registers[index].max(rank);
    }

    /// Number of different keys.
    #[expect(
        clippy::cast_precision_loss,
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "counts of registers are small; an estimate is positive and far below 2^53"
    )]
    pub(crate) fn estimate(&self) -> u64 {
        let mut with_rank = [0.0; RANK_BITS + 2];
        for register in &self.registers {
            with_rank[usize::from(*register)] += 1.0;
        }
        let registers = REGISTERS as f64;
        let mut sum = registers * tau(1.0 - with_rank[RANK_BITS + 1] / registers);
        for count in with_rank[1..=RANK_BITS].iter().rev() {
            sum = 0.5 * (sum + count);
        }
        sum += registers * sigma(with_rank[0] / registers);
        let alpha = 0.5 / std::f64::consts::LN_2;
        (alpha * registers * registers / sum).round() as u64
    }
}

/// Ertl's σ(x) = x + Σ x^(2^k) 2^(k−1).
fn sigma(mut x: f64) -> f64 {
    let (mut factor, mut sum) = (1.0, x);
    loop {
        x *= x;
        let next = sum + x * factor;
        if next <= sum || next.is_infinite() {
            return next;
        }
        (sum, factor) = (next, factor + factor);
    }
}

/// Ertl's τ(x) = (1 − x − Σ (1 − x^(2^−k))² 2^(−k)) / 3.
fn tau(mut x: f64) -> f64 {
    if x <= 0.0 || x >= 1.0 {
        return 0.0;
    }
    let (mut factor, mut sum) = (1.0, 1.0 - x);
    loop {
        x = x.sqrt();
        factor *= 0.5;
        let next = sum - (1.0 - x).powi(2) * factor;
        if next >= sum {
            return sum / 3.0;
        }
        sum = next;
    }
}

#[cfg(test)]
mod tests {
    use std::hash::BuildHasher;

    use foldhash::quality::FixedState;

    use super::*;

    #[test]
    fn nothing_counted_is_zero() {
        assert_eq!(Cardinality::new().estimate(), 0);
    }

    #[test]
    fn estimates_stay_within_four_standard_errors_at_every_size() {
        let state = FixedState::with_seed(1);
        let mut cardinality = Cardinality::new();
        let mut counted = 0;
        for size in [
            1u64, 100, 10_000, 40_000, 57_344, 70_000, 90_000, 200_000, 1_000_000,
        ] {
            while counted < size {
                cardinality.add(state.hash_one(counted));
                counted += 1;
            }
            let allowed = size * 4 * 82 / 10_000 + 1;
            let estimate = cardinality.estimate();
            assert!(estimate.abs_diff(size) <= allowed, "{estimate} for {size}");
        }
    }

    #[test]
    fn keys_count_once() {
        let mut cardinality = Cardinality::new();
        for _ in 0..1000 {
            cardinality.add(0x0123_4567_89ab_cdef);
        }
        assert_eq!(cardinality.estimate(), 1);
    }

    #[test]
    fn extreme_hashes_have_a_register() {
        let mut cardinality = Cardinality::new();
        for index in 0..REGISTERS as u64 {
            cardinality.add(index << RANK_BITS);
        }
        assert!(
            cardinality
                .registers
                .iter()
                .all(|r| usize::from(*r) == RANK_BITS + 1)
        );
        assert!(cardinality.estimate() > 1 << 50);
    }
}
