//! Listeners: all up, or a reason why not.

use std::collections::HashMap;
use std::error::Error;
use std::io;
use std::net::{SocketAddr, TcpListener};
use std::time::Duration;

use futures::StreamExt;
use libp2p::multiaddr::Protocol;
use libp2p::swarm::SwarmEvent;
use libp2p::{Multiaddr, Swarm};

use super::NetworkError;
use super::behaviour::Behaviour;
use crate::document::Untrusted;

/// All listeners are up within this time, or the start has failed.
const LISTEN_LIMIT: Duration = Duration::from_secs(10);

/// Starts all listeners and waits until each has an address.
pub(super) async fn bring_up(
    swarm: &mut Swarm<Behaviour>,
    listen: &[Multiaddr],
) -> Result<Vec<Multiaddr>, NetworkError> {
    let failed = |address: &Multiaddr, error: &dyn Error| NetworkError::Listen {
        address: address.to_string(),
        reason: deepest(error),
    };
    let mut waiting = HashMap::new();
    for address in listen {
        probe(address).map_err(|error| failed(address, &error))?;
        let listener = swarm.listen_on(address.clone()).map_err(|error| failed(address, &error))?;
        waiting.insert(listener, address.clone());
    }
    let mut listening = Vec::new();
    let up = async {
        while !waiting.is_empty() {
            match swarm.select_next_some().await {
                SwarmEvent::NewListenAddr { listener_id, address } => {
                    waiting.remove(&listener_id);
                    listening.push(address);
                }
                SwarmEvent::ListenerClosed { listener_id, reason: Err(error), .. }
                | SwarmEvent::ListenerError { listener_id, error } => {
                    if let Some(address) = waiting.get(&listener_id) {
                        return Err(failed(address, &error));
                    }
                }
                other => tracing::trace!(?other, "before all listeners are up"),
            }
        }
        Ok(())
    };
    let outcome = tokio::time::timeout(LISTEN_LIMIT, up).await;
    match (outcome, waiting.into_values().next()) {
        (Ok(Ok(())), _) => Ok(listening),
        (Ok(Err(error)), _) => Err(error),
        (Err(_), address) => Err(NetworkError::Listen {
            address: address.map(|address| address.to_string()).unwrap_or_default(),
            reason: format!("no address after {} s", LISTEN_LIMIT.as_secs()),
        }),
    }
}

/// The innermost cause, which is the one that says something (`Address already in use`).
pub(super) fn deepest(error: &dyn Error) -> String {
    let mut error = error;
    while let Some(source) = error.source() {
        error = source;
    }
    Untrusted::new(&error.to_string()).to_string()
}

/// Whether somebody listens on a TCP address already. libp2p listens with `SO_REUSEPORT`, so of two nodes of one user on
/// one port both would be told that all is well, and each would get half of the connections.
fn probe(address: &Multiaddr) -> io::Result<()> {
    let mut parts = address.iter();
    let ip = match parts.next() {
        Some(Protocol::Ip4(ip)) => ip.into(),
        Some(Protocol::Ip6(ip)) => ip.into(),
        _ => return Ok(()),
    };
    match parts.next() {
        Some(Protocol::Tcp(port)) if port != 0 => TcpListener::bind(SocketAddr::new(ip, port)).map(drop),
        _ => Ok(()),
    }
}
