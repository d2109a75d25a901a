//! Bytes per second, out of counters that only grow.

use std::collections::HashMap;

use jiff::Timestamp;
use zerostate::api::Snapshot;

/// A rate is taken over at least so long, or every single packet would make it jump.
const WINDOW_MS: i64 = 2_000;

/// The rates of the node and of each peer.
#[derive(Debug, Default)]
pub struct Rates {
    node: Meter,
    /// Of the peers, in their order in the snapshots; mostly the next one has the same in the same places, which `version` tells.
    meters: Vec<Meter>,
    places: HashMap<String, usize>,
    version: u64,
}

/// In and out, in bytes per second.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Rate {
    pub bytes_in: u64,
    pub bytes_out: u64,
}

#[derive(Debug, Clone, Copy, Default)]
struct Meter {
    since: Option<(Timestamp, u64, u64)>,
    rate: Rate,
}

impl Meter {
    fn is_due(&self, now: Timestamp) -> bool {
        self.since.is_none_or(|(since, ..)| {
            i64::try_from(now.duration_since(since).as_millis()).is_ok_and(|ms| ms >= WINDOW_MS)
        })
    }

    fn read(&mut self, now: Timestamp, bytes_in: u64, bytes_out: u64) {
        let Some((since, before_in, before_out)) = self.since else {
            self.since = Some((now, bytes_in, bytes_out));
            return;
        };
        let Ok(ms @ WINDOW_MS..) = i64::try_from(now.duration_since(since).as_millis()) else { return };
        let per_second = |after: u64, before: u64| {
            after.saturating_sub(before).saturating_mul(1_000) / u64::try_from(ms).unwrap_or(1).max(1)
        };
        self.rate =
            Rate { bytes_in: per_second(bytes_in, before_in), bytes_out: per_second(bytes_out, before_out) };
        self.since = Some((now, bytes_in, bytes_out));
    }
}

impl Rates {
    /// Reads the counters of a snapshot. Called with every snapshot and every second, so that a rate falls when nothing comes; there
    /// is something to do once in a window. With another `version`, its peers are others than before.
    pub fn read(&mut self, snapshot: &Snapshot, version: u64, now: Timestamp) {
        if !self.node.is_due(now) {
            return;
        }
        self.node.read(now, snapshot.node.bytes_in, snapshot.node.bytes_out);
        if self.version != version {
            let known = |id: &String| self.places.get(id).and_then(|at| self.meters.get(*at)).copied();
            self.meters =
                snapshot.peers.iter().map(|peer| known(&peer.peer_id).unwrap_or_default()).collect();
            self.places = snapshot.peers.iter().map(|peer| peer.peer_id.clone()).zip(0..).collect();
            self.version = version;
        }
        for (meter, peer) in self.meters.iter_mut().zip(&snapshot.peers) {
            meter.read(now, peer.bytes_in, peer.bytes_out);
        }
    }

    /// Nothing was read for a while: what came meanwhile is not of the next window.
    pub fn begin_anew(&mut self) {
        self.meters.iter_mut().chain([&mut self.node]).for_each(|meter| meter.since = None);
    }

    /// The node's rates.
    pub fn node(&self) -> Rate {
        self.node.rate
    }

    /// A peer's rates.
    pub fn peer(&self, peer_id: &str) -> Rate {
        let meter = self.places.get(peer_id).and_then(|at| self.meters.get(*at));
        meter.map(|meter| meter.rate).unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;

    #[test]
    fn a_rate_is_taken_over_the_window_and_falls_to_nothing() {
        let at = |ms| Timestamp::from_millisecond(ms).unwrap();
        let mut meter = Meter::default();
        meter.read(at(0), 0, 0);
        meter.read(at(500), 900, 0);
        assert_eq!(meter.rate, Rate::default());
        meter.read(at(2_000), 4_000, 2_000);
        assert_eq!(meter.rate, Rate { bytes_in: 2_000, bytes_out: 1_000 });
        meter.read(at(4_000), 4_000, 2_000);
        assert_eq!(meter.rate, Rate::default());
    }

    #[test]
    fn every_peer_has_its_own_rate_whoever_comes_and_goes() {
        use crate::console::samples;
        let (mut rates, mut snapshot) = (Rates::default(), samples::busy());
        let at = |seconds| samples::now().checked_add(jiff::SignedDuration::from_secs(seconds)).unwrap();
        rates.read(&snapshot, 1, at(0));
        let (second, third) = (snapshot.peers[1].peer_id.clone(), snapshot.peers[2].peer_id.clone());
        snapshot.peers.remove(0);
        Arc::make_mut(&mut snapshot.peers[0]).bytes_in += 4_000;
        Arc::make_mut(&mut snapshot.peers[1]).bytes_out += 2_000;
        snapshot.node.bytes_in += 10_000;
        rates.read(&snapshot, 2, at(2));
        assert_eq!(rates.peer(&second), Rate { bytes_in: 2_000, bytes_out: 0 });
        assert_eq!(rates.peer(&third), Rate { bytes_in: 0, bytes_out: 1_000 });
        assert_eq!(rates.node().bytes_in, 5_000);
        // Held still for a while: what came meanwhile is not of the next window.
        rates.begin_anew();
        Arc::make_mut(&mut snapshot.peers[0]).bytes_in += 1 << 30;
        rates.read(&snapshot, 2, at(60));
        rates.read(&snapshot, 2, at(62));
        assert_eq!(rates.peer(&second), Rate::default());
    }
}
