//! What a run costs, term by term.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::Credits;
use super::manifest::Payment;
use super::strict::INTEGER_END;

const NANOS_PER_SECOND: u128 = 1_000_000_000;
const BYTES_PER_MIB: u128 = 1 << 20;
const FUEL_PER_GFUEL: u128 = 1_000_000_000;

/// The cost of a run: `total = min(time + memory + fuel, max_total)`.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Cost {
    pub time_micro: Credits,
    pub memory_micro: Credits,
    pub fuel_micro: Credits,
    pub total_micro: Credits,
}

impl Cost {
    /// Prices a run. Each term is rounded up once; a term beyond 2^53 - 1 micro-credits counts as that much, which
    /// `max_total` caps anyway.
    pub fn of(prices: &Payment, duration: Duration, peak_memory_bytes: u64, fuel_used: u64) -> Self {
        let time = term(prices.per_second_micro, duration.as_nanos(), NANOS_PER_SECOND);
        let memory = term(prices.per_mib_micro, u128::from(peak_memory_bytes), BYTES_PER_MIB);
        let fuel = term(prices.per_gfuel_micro, u128::from(fuel_used), FUEL_PER_GFUEL);
        let sum = u128::from(time.micro()) + u128::from(memory.micro()) + u128::from(fuel.micro());
        let total = bounded(sum).min(prices.max_total_micro);
        Self { time_micro: time, memory_micro: memory, fuel_micro: fuel, total_micro: total }
    }
}

fn term(price: Credits, amount: u128, unit: u128) -> Credits {
    bounded(u128::from(price.micro()).saturating_mul(amount).div_ceil(unit))
}

fn bounded(micro: u128) -> Credits {
    u64::try_from(micro.min(u128::from(INTEGER_END - 1)))
        .ok()
        .and_then(|m| Credits::from_micro(m).ok())
        .unwrap_or(Credits::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn prices(second: u64, mib: u64, gfuel: u64, max: u64) -> Payment {
        let micro = |m| Credits::from_micro(m).unwrap();
        Payment {
            per_second_micro: micro(second),
            per_mib_micro: micro(mib),
            per_gfuel_micro: micro(gfuel),
            max_total_micro: micro(max),
        }
    }

    #[test]
    fn each_term_is_rounded_up_once_and_the_total_is_capped() {
        let cost = Cost::of(&prices(2_000, 100, 10, 50_000), Duration::from_millis(80), 2 << 20, 1_204_551);
        assert_eq!(
            (cost.time_micro.micro(), cost.memory_micro.micro(), cost.fuel_micro.micro()),
            (160, 200, 1)
        );
        assert_eq!(cost.total_micro.micro(), 361);
        let capped = Cost::of(&prices(2_000, 100, 10, 300), Duration::from_millis(80), 2 << 20, 1_204_551);
        assert_eq!(capped.total_micro.micro(), 300);
    }

    #[test]
    fn the_largest_prices_and_amounts_do_not_overflow() {
        let top = INTEGER_END - 1;
        let cost = Cost::of(&prices(top, top, top, top), Duration::MAX, u64::MAX, u64::MAX);
        assert_eq!(cost.total_micro, Credits::MAX);
    }
}
