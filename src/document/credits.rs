//! Money: micro-credits, never floating point.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use super::strict::INTEGER_END;

const MICRO: u64 = 1_000_000;
const DIGITS: usize = 6;

/// An amount in micro-credits, below 2^53 so that every JSON reader agrees on it. People read and write it as a decimal.
///
/// ```
/// use zerostate::document::Credits;
/// let price: Credits = "0.002".parse()?;
/// assert_eq!(price.micro(), 2_000);
/// assert_eq!(price.to_string(), "0.002000");
/// # Ok::<(), zerostate::document::CreditsError>(())
/// ```
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "u64", into = "u64")]
pub struct Credits(u64);

/// Why a text or number is not an amount.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum CreditsError {
    #[error("a decimal with at most six places, like 0.002")]
    Form,
    #[error("an amount below 9007199254.740992")]
    TooLarge,
}

impl Credits {
    pub const ZERO: Self = Self(0);
    /// The largest amount, 2^53 - 1 micro-credits.
    pub const MAX: Self = Self(INTEGER_END - 1);

    /// An amount in micro-credits.
    ///
    /// # Errors
    /// [`CreditsError::TooLarge`] from 2^53 on.
    pub fn from_micro(micro: u64) -> Result<Self, CreditsError> {
        if micro < INTEGER_END { Ok(Self(micro)) } else { Err(CreditsError::TooLarge) }
    }

    /// In micro-credits.
    pub fn micro(self) -> u64 {
        self.0
    }

    /// The sum, if it is an amount.
    pub fn checked_add(self, other: Self) -> Option<Self> {
        Self::from_micro(self.0.checked_add(other.0)?).ok()
    }
}

impl TryFrom<u64> for Credits {
    type Error = CreditsError;

    fn try_from(micro: u64) -> Result<Self, CreditsError> {
        Self::from_micro(micro)
    }
}

impl From<Credits> for u64 {
    fn from(amount: Credits) -> Self {
        amount.0
    }
}

impl FromStr for Credits {
    type Err = CreditsError;

    fn from_str(text: &str) -> Result<Self, CreditsError> {
        let (whole, fraction) = text.split_once('.').unwrap_or((text, "0"));
        let digits = |part: &str| !part.is_empty() && part.bytes().all(|b| b.is_ascii_digit());
        if !digits(whole) || !digits(fraction) || fraction.len() > DIGITS || whole.len() > 20 {
            return Err(CreditsError::Form);
        }
        let whole: u64 = whole.parse().map_err(|_| CreditsError::TooLarge)?;
        let fraction: u64 = format!("{fraction:0<DIGITS$}").parse().map_err(|_| CreditsError::Form)?;
        let micro = whole.checked_mul(MICRO).and_then(|whole| whole.checked_add(fraction));
        Self::from_micro(micro.ok_or(CreditsError::TooLarge)?)
    }
}

impl fmt::Display for Credits {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&format!("{}.{:06}", self.0 / MICRO, self.0 % MICRO))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn decimals_come_back_as_they_went() {
        for (text, micro) in
            [("0", 0), ("0.000001", 1), ("1", 1_000_000), ("0.05", 50_000), ("12.345678", 12_345_678)]
        {
            let amount: Credits = text.parse().unwrap();
            assert_eq!(amount.micro(), micro);
            assert_eq!(amount.to_string().parse::<Credits>().unwrap(), amount);
        }
    }

    #[test]
    fn what_is_not_an_amount_is_refused() {
        for bad in ["", ".", "1.", ".5", "-1", "+1", "1e3", "0.0000001", "1,5", " 1", "٣"] {
            assert_eq!(bad.parse::<Credits>(), Err(CreditsError::Form), "{bad}");
        }
        assert_eq!("9007199254.740992".parse::<Credits>(), Err(CreditsError::TooLarge));
        assert_eq!("9007199254.740991".parse::<Credits>(), Ok(Credits::MAX));
    }
}
