//! `poll_oneoff` of WASI preview 1: waits for one of a guest's timers, or not at all, because its streams are always ready.
//!
//! Layouts are those of the witx: a subscription has 48 bytes, an event 32.

use std::future::poll_fn;
use std::task::Poll;

use wasmtime::{Caller, Extern, Memory};
use wasmtime_wasi::{HostMonotonicClock, HostWallClock};

use super::host::{Clock, ERRNO_BADF, ERRNO_FAULT, ERRNO_INVAL, Host, MAX_RESOURCES};
use super::timers::Timer;

const SUBSCRIPTION_BYTES: usize = 48;
const EVENT_BYTES: usize = 32;
/// `eventtype`, which is also the tag of a subscription.
const CLOCK: u8 = 0;
const FD_READ: u8 = 1;
const FD_WRITE: u8 = 2;
/// `clockid`.
const REALTIME: u32 = 0;
const MONOTONIC: u32 = 1;
/// `subclockflags`: the time is a point and not a span.
const ABSOLUTE: u8 = 1;
const STDIN: u32 = 0;
const STDOUT_AND_STDERR: std::ops::RangeInclusive<u32> = 1..=2;

/// What is waited for.
enum Wait {
    Timer(Timer),
    /// One of the streams.
    Ready,
}

struct Subscription {
    userdata: [u8; 8],
    kind: u8,
    wait: Wait,
}

/// `poll_oneoff(subscriptions, events, count, events_count) -> errno`.
pub(super) async fn poll_oneoff(
    mut caller: Caller<'_, Host>,
    (subscriptions, events, count, events_count): (u32, u32, u32, u32),
) -> wasmtime::Result<i32> {
    Ok(match poll(&mut caller, subscriptions, events, count, events_count).await {
        Ok(()) => 0,
        Err(errno) => errno,
    })
}

async fn poll(
    caller: &mut Caller<'_, Host>,
    subscriptions: u32,
    events: u32,
    count: u32,
    events_count: u32,
) -> Result<(), i32> {
    let memory = caller.get_export("memory").and_then(Extern::into_memory).ok_or(ERRNO_FAULT)?;
    let count = usize::try_from(count).map_err(|_| ERRNO_INVAL)?;
    // Nothing to wait for would be for ever, which preview 1 does not know.
    if count == 0 || count > MAX_RESOURCES {
        return Err(ERRNO_INVAL);
    }
    let host = caller.data();
    let (wanted, _) = at(&memory, caller, subscriptions)?.as_chunks::<SUBSCRIPTION_BYTES>();
    let wanted = wanted.get(..count).ok_or(ERRNO_FAULT)?;
    let wanted = wanted.iter().map(|bytes| subscription(host, bytes)).collect::<Result<Vec<_>, _>>()?;
    let happened = poll_fn(|context| {
        // All of them are asked: each says how long it waits.
        let passed = |subscription: &Subscription| match &subscription.wait {
            Wait::Timer(timer) => timer.poll(context).is_ready(),
            Wait::Ready => true,
        };
        let flags: Vec<bool> = wanted.iter().map(passed).collect();
        if flags.contains(&true) { Poll::Ready(flags) } else { Poll::Pending }
    });
    let happened = happened.await;
    let happened = wanted.iter().zip(happened).filter(|(_, happened)| *happened).map(|(wanted, _)| wanted);
    let happened: Vec<&Subscription> = happened.collect();
    let (places, _) = at_mut(&memory, caller, events)?.as_chunks_mut::<EVENT_BYTES>();
    let places = places.get_mut(..happened.len()).ok_or(ERRNO_FAULT)?;
    let written = u32::try_from(happened.len()).map_err(|_| ERRNO_INVAL)?;
    for (Subscription { userdata, kind, .. }, place) in happened.into_iter().zip(places) {
        let mut event = [0; EVENT_BYTES];
        let (head, tail) = event.split_at_mut(8);
        head.copy_from_slice(userdata);
        // errno (2 bytes) stays 0; then the type; from 16 on how many bytes can be read or written: one at least.
        if let Some(place) = tail.get_mut(2) {
            *place = *kind;
        }
        if let Some(place) = tail.get_mut(8) {
            *place = u8::from(*kind != CLOCK);
        }
        *place = event;
    }
    let place = at_mut(&memory, caller, events_count)?.first_chunk_mut::<4>().ok_or(ERRNO_FAULT)?;
    *place = written.to_le_bytes();
    Ok(())
}

fn subscription(host: &Host, bytes: &[u8; SUBSCRIPTION_BYTES]) -> Result<Subscription, i32> {
    // userdata, 8 bytes; tag, padded to 8; then what the tag says.
    let [userdata, [kind, ..], [a, b, c, d, ..], timeout, _precision, [flags, ..]] = eights(bytes);
    let number = u32::from_le_bytes([a, b, c, d]);
    let wait = match kind {
        CLOCK => {
            let timeout = u64::from_le_bytes(timeout);
            let now = now(host.clock, number).ok_or(ERRNO_INVAL)?;
            let after = if flags & ABSOLUTE == 0 { timeout } else { timeout.saturating_sub(now) };
            Wait::Timer(host.timers.timer(after))
        }
        FD_READ if number == STDIN => Wait::Ready,
        FD_WRITE if STDOUT_AND_STDERR.contains(&number) => Wait::Ready,
        FD_READ | FD_WRITE => return Err(ERRNO_BADF),
        _ => return Err(ERRNO_INVAL),
    };
    Ok(Subscription { userdata, kind, wait })
}

fn eights(bytes: &[u8; SUBSCRIPTION_BYTES]) -> [[u8; 8]; 6] {
    let (eights, _) = bytes.as_chunks::<8>();
    eights.first_chunk().copied().unwrap_or_default()
}

fn now(clock: Clock, id: u32) -> Option<u64> {
    match id {
        REALTIME => u64::try_from(HostWallClock::now(&clock).as_nanos()).ok(),
        MONOTONIC => Some(HostMonotonicClock::now(&clock)),
        _ => None,
    }
}

fn at<'a>(memory: &Memory, caller: &'a Caller<'_, Host>, address: u32) -> Result<&'a [u8], i32> {
    let start = usize::try_from(address).map_err(|_| ERRNO_FAULT)?;
    memory.data(caller).get(start..).ok_or(ERRNO_FAULT)
}

fn at_mut<'a>(memory: &Memory, caller: &'a mut Caller<'_, Host>, address: u32) -> Result<&'a mut [u8], i32> {
    let start = usize::try_from(address).map_err(|_| ERRNO_FAULT)?;
    memory.data_mut(caller).get_mut(start..).ok_or(ERRNO_FAULT)
}
