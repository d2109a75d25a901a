//! When an announcement is passed on: a moment after it came, so that those who have it by then have said so (IDONTWANT, [GossipSub
//! v1.2](https://github.com/libp2p/specs/blob/master/pubsub/gossipsub/gossipsub-v1.2.md)), and it is not sent to them again.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use libp2p::PeerId;
use libp2p::gossipsub::{MessageAcceptance, MessageId};

use super::Worker;

/// The moment: some round trips in a local network, and little beside one across the world.
const PAUSE: Duration = Duration::from_millis(20);

/// Announcements that were taken in and are to be passed on, the oldest first.
#[derive(Default)]
pub(super) struct Passing(VecDeque<(Instant, MessageId, PeerId)>);

impl Passing {
    pub(super) fn add(&mut self, message: MessageId, from: PeerId, now: Instant) {
        self.0.push_back((now + PAUSE, message, from));
    }

    /// Ends when something is to be passed on.
    pub(super) async fn due(&self) {
        match self.0.front() {
            Some((at, ..)) => tokio::time::sleep_until((*at).into()).await,
            None => std::future::pending().await,
        }
    }
}

impl Worker {
    pub(super) fn pass_on(&mut self, now: Instant) {
        while let Some((at, ..)) = self.passing.0.front()
            && *at <= now
            && let Some((_, message, from)) = self.passing.0.pop_front()
        {
            let gossip = &mut self.swarm.behaviour_mut().gossip;
            gossip.report_message_validation_result(&message, &from, MessageAcceptance::Accept);
        }
    }
}
