//! An IPFS node that answers Bitswap as it likes: in a process of its own, as far as the program is concerned.

use std::collections::HashMap;
use std::io;

use cid::Cid;
use futures::{AsyncRead, AsyncReadExt as _, AsyncWriteExt as _, StreamExt as _};
use libp2p::swarm::SwarmEvent;
use libp2p::{Multiaddr, Stream, StreamProtocol, Swarm, identify, noise, tcp, yamux};
use prost::Message as _;
use zerostate::document::RAW_CODEC;

/// What it does when it is asked for a block.
#[derive(Clone)]
pub enum Manner {
    /// Sends another block.
    WrongBytes,
    /// Sends a block of 2 MiB and one byte.
    TooLarge,
    /// Announces a message of 4 MiB and sends what never becomes one.
    Endless,
    /// Sends the first half of a message and ends the stream.
    HalfAMessage(Vec<u8>),
    Rubbish,
    Silent,
    /// Announces a message and sends a byte of it now and then.
    Drip,
    /// A message of a hundred thousand empty blocks, again and again.
    Flood,
    /// Gives these, under whatever name they are here, and says of all others that it has them not.
    Gives(HashMap<Cid, Vec<u8>>),
}

#[derive(Clone, PartialEq, prost::Message)]
struct Asked {
    #[prost(message, optional, tag = "1")]
    wantlist: Option<Wantlist>,
}

#[derive(Clone, PartialEq, prost::Message)]
struct Wantlist {
    #[prost(message, repeated, tag = "1")]
    entries: Vec<Entry>,
}

#[derive(Clone, PartialEq, prost::Message)]
struct Entry {
    #[prost(bytes = "vec", tag = "1")]
    cid: Vec<u8>,
    #[prost(bool, tag = "3")]
    cancel: bool,
    /// 1 asks only whether it is there.
    #[prost(int32, tag = "4")]
    want: i32,
}

#[derive(Clone, PartialEq, prost::Message)]
struct Answer {
    #[prost(message, repeated, tag = "3")]
    blocks: Vec<Block>,
    #[prost(message, repeated, tag = "4")]
    presences: Vec<Presence>,
}

#[derive(Clone, PartialEq, prost::Message)]
struct Block {
    #[prost(bytes = "vec", tag = "1")]
    prefix: Vec<u8>,
    #[prost(bytes = "vec", tag = "2")]
    data: Vec<u8>,
}

#[derive(Clone, PartialEq, prost::Message)]
struct Presence {
    #[prost(bytes = "vec", tag = "1")]
    cid: Vec<u8>,
    /// 0 is "I have it", 1 is "I have it not".
    #[prost(int32, tag = "2")]
    kind: i32,
}

fn block(codec: u64, data: Vec<u8>) -> Block {
    // CIDv1, the codec, sha2-256 of 32 bytes; both codecs of interest are one byte.
    Block { prefix: vec![1, codec as u8, 0x12, 32], data }
}

fn message(blocks: Vec<Block>) -> Vec<u8> {
    Answer { blocks, presences: Vec::new() }.encode_length_delimited_to_vec()
}

/// A running liar; it ends with this value.
pub struct Liar {
    pub address: String,
    pub peer_id: String,
    _runtime: tokio::runtime::Runtime,
}

#[derive(libp2p::swarm::NetworkBehaviour)]
struct Behaviour {
    identify: identify::Behaviour,
    stream: libp2p_stream::Behaviour,
}

const BITSWAP: StreamProtocol = StreamProtocol::new("/ipfs/bitswap/1.2.0");

fn swarm() -> Swarm<Behaviour> {
    libp2p::SwarmBuilder::with_new_identity()
        .with_tokio()
        .with_tcp(tcp::Config::default(), noise::Config::new, yamux::Config::default)
        .unwrap()
        .with_behaviour(|key| Behaviour {
            identify: identify::Behaviour::new(identify::Config::new("/ipfs/0.1.0".into(), key.public())),
            stream: libp2p_stream::Behaviour::new(),
        })
        .unwrap()
        .with_swarm_config(|config| config.with_idle_connection_timeout(super::WITHIN * 10))
        .build()
}

impl Liar {
    pub fn start(manner: Manner) -> Self {
        let runtime =
            tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
        let (told, address) = std::sync::mpsc::channel();
        runtime.spawn(async move {
            let mut swarm = swarm();
            let mut control = swarm.behaviour().stream.new_control();
            let mut streams = control.accept(BITSWAP).unwrap();
            tokio::spawn(async move {
                while let Some((_, stream)) = streams.next().await {
                    tokio::spawn(serve(manner.clone(), stream));
                }
            });
            swarm.listen_on("/ip4/127.0.0.1/tcp/0".parse::<Multiaddr>().unwrap()).unwrap();
            loop {
                if let SwarmEvent::NewListenAddr { address, .. } = swarm.select_next_some().await {
                    told.send((address.to_string(), swarm.local_peer_id().to_string())).unwrap();
                }
            }
        });
        let (address, peer_id) = address.recv_timeout(super::WITHIN).unwrap();
        Self { address: format!("{address}/p2p/{peer_id}"), peer_id, _runtime: runtime }
    }
}

/// A peer that asks for blocks and does not read what it is sent. It ends with this value.
pub struct Glutton {
    _runtime: tokio::runtime::Runtime,
}

impl Glutton {
    pub fn start(address: &str, wanted: &[Cid]) -> Self {
        let runtime =
            tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
        let address: Multiaddr = address.parse().unwrap();
        let entries =
            wanted.iter().map(|cid| Entry { cid: cid.to_bytes(), cancel: false, want: 0 }).collect();
        let asks = Asked { wantlist: Some(Wantlist { entries }) }.encode_length_delimited_to_vec();
        let (told, asked) = std::sync::mpsc::channel();
        runtime.spawn(async move {
            let mut swarm = swarm();
            let mut control = swarm.behaviour().stream.new_control();
            let mut streams = control.accept(BITSWAP).unwrap();
            let Some(libp2p::multiaddr::Protocol::P2p(peer)) = address.iter().last() else { return };
            swarm.dial(address).unwrap();
            tokio::spawn(async move {
                let mut kept = Vec::new();
                let mut mine = loop {
                    match control.open_stream(peer, BITSWAP).await {
                        Ok(stream) => break stream,
                        Err(_) => tokio::task::yield_now().await,
                    }
                };
                mine.write_all(&asks).await.unwrap();
                mine.flush().await.unwrap();
                kept.push(mine);
                while let Some((_, stream)) = streams.next().await {
                    kept.push(stream);
                    told.send(()).ok();
                }
            });
            loop {
                swarm.select_next_some().await;
            }
        });
        asked.recv_timeout(super::WITHIN).unwrap();
        Self { _runtime: runtime }
    }
}

/// Answers on the stream on which it is asked. That the other side has had enough of it is the expected end.
async fn serve(manner: Manner, mut stream: Stream) -> io::Result<()> {
    while let Some(asked) = read(&mut stream).await? {
        let wants: Vec<Entry> =
            asked.wantlist.unwrap_or_default().entries.into_iter().filter(|e| !e.cancel).collect();
        if wants.is_empty() {
            continue;
        }
        match &manner {
            Manner::WrongBytes => {
                stream.write_all(&message(vec![block(RAW_CODEC, b"something else".to_vec())])).await?;
            }
            Manner::TooLarge => {
                stream.write_all(&message(vec![block(RAW_CODEC, vec![7; (2 << 20) + 1])])).await?;
            }
            Manner::Endless => {
                stream.write_all(&[0x80, 0x80, 0x80, 0x02]).await?;
                loop {
                    stream.write_all(&[0; 65_536]).await?;
                }
            }
            Manner::HalfAMessage(content) => {
                let whole = message(vec![block(RAW_CODEC, content.clone())]);
                stream.write_all(&whole[..whole.len() / 2]).await?;
                return stream.close().await;
            }
            Manner::Rubbish => stream.write_all(&[5, 0xff, 0xff, 0xff, 0xff, 0xff]).await?,
            Manner::Silent => {}
            Manner::Drip => {
                stream.write_all(&[0x80, 0x80, 0x40]).await?;
                loop {
                    stream.write_all(&[0x1a]).await?;
                    stream.flush().await?;
                    // This is what makes it slow, not a wait for anything.
                    tokio::time::sleep(std::time::Duration::from_millis(200)).await;
                }
            }
            Manner::Flood => {
                let flood = message(vec![block(RAW_CODEC, Vec::new()); 100_000]);
                loop {
                    stream.write_all(&flood).await?;
                }
            }
            Manner::Gives(blocks) => {
                for want in wants {
                    let cid = Cid::try_from(want.cid.as_slice()).unwrap();
                    let mut answer = Answer::default();
                    match blocks.get(&cid) {
                        Some(data) if want.want == 0 => answer.blocks.push(block(cid.codec(), data.clone())),
                        here => {
                            let kind = i32::from(here.is_none());
                            answer.presences.push(Presence { cid: want.cid, kind });
                        }
                    }
                    stream.write_all(&answer.encode_length_delimited_to_vec()).await?;
                }
            }
        }
        stream.flush().await?;
    }
    Ok(())
}

async fn read(stream: &mut (impl AsyncRead + Unpin)) -> io::Result<Option<Asked>> {
    let (mut length, mut shift, mut byte) = (0, 0, [0]);
    loop {
        if stream.read(&mut byte).await? == 0 {
            return Ok(None);
        }
        length |= usize::from(byte[0] & 0x7f) << shift;
        shift += 7;
        if byte[0] < 0x80 {
            break;
        }
    }
    let mut body = vec![0; length];
    stream.read_exact(&mut body).await?;
    Asked::decode(body.as_slice()).map(Some).map_err(io::Error::other)
}
