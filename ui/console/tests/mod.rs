//! The console as a whole: what it shows, what that costs, what its keys do, and what strangers can do to it.

mod budget;
mod keys;
mod pictures;
mod privacy;
mod random;
pub(super) mod stage;
mod strangers;
mod themes;
