//! TCP with Noise and Yamux, QUIC, and names resolved by DNS.

use std::time::Duration;

use libp2p::core::muxing::StreamMuxerBox;
use libp2p::core::transport::Boxed;
use libp2p::core::upgrade::Version;
use libp2p::identity::Keypair;
use libp2p::{PeerId, Transport as _, dns, noise, quic, tcp, yamux};

use super::NetworkError;
use super::gather::Gathering;
use super::meter::Meter;

/// From the first packet to a secured, multiplexed connection.
const HANDSHAKE: Duration = Duration::from_secs(10);
/// Streams of a connection, and with them how far their windows grow: all together may have 1 GiB, of which each is promised 256 KiB.
/// What is left over lets one stream reach 1 MiB and no more, for js-libp2p sends as much in one frame as the window lets it,
/// and a frame of over 1 MiB ends the connection here. Far fewer streams are ever read: each protocol has its own bound.
const MAX_STREAMS: usize = 4096 - 3;

pub(super) type Connections = Boxed<(PeerId, StreamMuxerBox)>;

/// The transport of a node with this key, its streams counted by `meter`.
pub(super) fn build(keypair: &Keypair, meter: &Meter) -> Result<Connections, NetworkError> {
    let streams = secure_streams(keypair)?;
    let resolved = match dns::tokio::Transport::system(streams) {
        Ok(transport) => transport.boxed(),
        Err(error) => {
            tracing::warn!(%error, "no resolver configuration: addresses with names in them cannot be dialled");
            secure_streams(keypair)?
        }
    };
    let meter = meter.clone();
    Ok(resolved.map(move |(peer, muxer), _| (peer, meter.watch(peer, muxer))).boxed())
}

fn secure_streams(keypair: &Keypair) -> Result<Connections, NetworkError> {
    let noise = noise::Config::new(keypair)
        .map_err(|error| NetworkError::Setup { what: "Noise", reason: error.to_string() })?;
    let mut yamux = yamux::Config::default();
    yamux.set_max_num_streams(MAX_STREAMS);
    // Lazy negotiation would save a round trip, but then a dial "succeeds" before the other side has agreed to anything.
    let tcp = tcp::tokio::Transport::new(tcp::Config::default().nodelay(true))
        .upgrade(Version::V1)
        .authenticate(noise)
        .multiplex(Gathering(yamux))
        .timeout(HANDSHAKE)
        .boxed();
    let quic = quic::tokio::Transport::new(quic::Config::new(keypair));
    Ok(quic
        .map(|(peer, connection), _| (peer, StreamMuxerBox::new(connection)))
        .or_transport(tcp)
        .map(|either, _| either.into_inner())
        .boxed())
}
