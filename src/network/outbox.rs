//! Announcements that nobody listens for yet. GossipSub refuses to publish without a subscriber, so they wait here.

use std::collections::VecDeque;
use std::sync::Arc;

use super::behaviour::Topic;

/// At most 22 MiB of envelopes; who needs older ones gets them by delivery.
const MAX_WAITING: usize = 256;

/// A bounded queue in which the oldest makes room for the newest.
#[derive(Debug, Default)]
pub(super) struct Outbox {
    waiting: VecDeque<(Topic, Arc<[u8]>)>,
}

/// What became of one attempt to publish.
pub(super) enum Attempt {
    /// Sent, or never to be sent: it leaves the outbox.
    Done,
    /// Nobody there yet, or their queues are full: it stays, and so do all behind it on its topic.
    Later,
}

impl Outbox {
    pub(super) fn len(&self) -> usize {
        self.waiting.len()
    }

    /// Keeps an envelope for later; `true` when the oldest had to go for it.
    pub(super) fn keep(&mut self, topic: Topic, envelope: Arc<[u8]>) -> bool {
        if self.waiting.iter().any(|(_, bytes)| *bytes == envelope) {
            return false;
        }
        let full = self.waiting.len() >= MAX_WAITING;
        if full {
            self.waiting.pop_front();
        }
        self.waiting.push_back((topic, envelope));
        full
    }

    /// Tries to publish what waits for `topic`, oldest first, until one has to wait on.
    pub(super) fn flush(&mut self, topic: Topic, mut publish: impl FnMut(&Arc<[u8]>) -> Attempt) {
        let mut blocked = false;
        self.waiting.retain(|(at, envelope)| {
            if blocked || *at != topic {
                return true;
            }
            blocked = matches!(publish(envelope), Attempt::Later);
            blocked
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn envelope(n: usize) -> Arc<[u8]> {
        n.to_string().into_bytes().into()
    }

    #[test]
    fn the_oldest_makes_room_and_nothing_waits_twice() {
        let mut outbox = Outbox::default();
        for n in 0..MAX_WAITING {
            assert!(!outbox.keep(Topic::Receipts, envelope(n)));
        }
        assert!(!outbox.keep(Topic::Receipts, envelope(7)));
        assert!(outbox.keep(Topic::Receipts, envelope(MAX_WAITING)));
        let mut first = None;
        outbox.flush(Topic::Receipts, |bytes| {
            first = Some(bytes.clone());
            Attempt::Later
        });
        assert_eq!((first, outbox.len()), (Some(envelope(1)), MAX_WAITING));
    }

    #[test]
    fn a_flush_sends_its_topic_in_order_and_stops_at_the_first_that_must_wait() {
        let mut outbox = Outbox::default();
        outbox.keep(Topic::Manifests, envelope(100));
        for n in 0..4 {
            outbox.keep(Topic::Receipts, envelope(n));
        }
        let mut sent = Vec::new();
        outbox.flush(Topic::Receipts, |bytes| {
            if sent.len() == 2 {
                return Attempt::Later;
            }
            sent.push(bytes.clone());
            Attempt::Done
        });
        assert_eq!((sent, outbox.len()), (vec![envelope(0), envelope(1)], 3));
    }
}
