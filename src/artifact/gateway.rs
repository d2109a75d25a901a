//! Trustless gateways: blocks over HTTP, hashed like everybody else's.
//! ([Trustless Gateway](https://specs.ipfs.tech/http-gateways/trustless-gateway/), "raw block")

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use bytes::{Bytes, BytesMut};
use cid::Cid;
use futures::StreamExt as _;
use futures::stream::FuturesUnordered;
use reqwest::header::{ACCEPT, CONTENT_LENGTH};
use reqwest::{Client, Url, redirect};

use super::ArtifactError;
use crate::dag::MAX_BLOCK;
use crate::document::{RAW_BLOCK, Sha256Digest, Untrusted};

const CONNECT_WITHIN: Duration = Duration::from_secs(5);
/// A block of 2 MiB over half a megabit.
const ANSWER_WITHIN: Duration = Duration::from_secs(30);
/// From a path to a subdomain, and to https.
const REDIRECTS: usize = 3;
/// Then the next one is asked as well.
const PATIENCE: Duration = Duration::from_secs(3);
/// A gateway that sent wrong bytes, or nothing, is left alone for so long.
const WRONG_ASIDE: Duration = Duration::from_secs(600);
const SILENT_ASIDE: Duration = Duration::from_secs(60);

pub(super) struct Gateways {
    client: Option<Client>,
    gateways: Vec<Url>,
    /// Until when a gateway is left alone, and why.
    aside: Mutex<HashMap<usize, (Instant, &'static str)>>,
}

impl Gateways {
    pub(super) fn new(gateways: &[String]) -> Result<Self, ArtifactError> {
        let parsed = gateways.iter().map(|text| parse(text)).collect::<Result<Vec<_>, _>>()?;
        // Without a gateway no certificates need be read.
        let client = if parsed.is_empty() { None } else { Some(client()?) };
        Ok(Self { client, gateways: parsed, aside: Mutex::default() })
    }

    /// A block from a gateway that has it, and which one that was; or what each of them said. They are asked in their order, the
    /// next one when the one before says no or is slow to answer.
    pub(super) async fn block(&self, cid: &Cid) -> Result<(Bytes, String), Vec<String>> {
        let mut said = Vec::new();
        let Some(client) = &self.client else { return Err(said) };
        let mut asked = FuturesUnordered::new();
        let mut others = self.gateways.iter().enumerate();
        loop {
            let next = others.next();
            if let Some((number, gateway)) = next {
                let name = gateway.as_str().trim_end_matches('/').to_owned();
                match self.aside(number) {
                    Some(why) => {
                        said.push(format!("{name} {why} a short while ago"));
                        continue;
                    }
                    None => asked.push(self.ask(client, number, gateway, name, cid)),
                }
            }
            let patience = async {
                match next {
                    Some(_) => tokio::time::sleep(PATIENCE).await,
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                answer = asked.next() => match answer {
                    Some(Ok(given)) => return Ok(given),
                    Some(Err(why)) => said.push(why),
                    None if next.is_none() => return Err(said),
                    None => {}
                },
                () = patience => {}
            }
        }
    }

    async fn ask(
        &self,
        client: &Client,
        number: usize,
        gateway: &Url,
        name: String,
        cid: &Cid,
    ) -> Result<(Bytes, String), String> {
        match tokio::time::timeout(ANSWER_WITHIN, ask(client, gateway, cid)).await {
            Ok(Ok(bytes)) if Sha256Digest::from_cid(cid) == Some(Sha256Digest::of(&bytes)) => {
                Ok((bytes, name))
            }
            Ok(Ok(_)) => {
                tracing::warn!(%cid, gateway = name, "a gateway sent wrong bytes");
                self.put_aside(number, "sent wrong bytes", WRONG_ASIDE);
                Err(format!("{name} sent wrong bytes"))
            }
            Ok(Err(why)) => Err(format!("{name}: {why}")),
            Err(_) => {
                self.put_aside(number, "did not answer", SILENT_ASIDE);
                Err(format!("{name} did not answer within {} s", ANSWER_WITHIN.as_secs()))
            }
        }
    }

    fn put_aside(&self, number: usize, why: &'static str, time: Duration) {
        let until = Instant::now() + time;
        self.aside.lock().unwrap_or_else(PoisonError::into_inner).insert(number, (until, why));
    }

    /// Why a gateway is not asked now.
    fn aside(&self, number: usize) -> Option<&'static str> {
        let aside = self.aside.lock().unwrap_or_else(PoisonError::into_inner);
        aside.get(&number).filter(|(until, _)| *until > Instant::now()).map(|(_, why)| *why)
    }
}

fn client() -> Result<Client, ArtifactError> {
    let client = Client::builder()
        .user_agent(concat!("zerostate/", env!("CARGO_PKG_VERSION")))
        .connect_timeout(CONNECT_WITHIN)
        .redirect(redirect::Policy::limited(REDIRECTS))
        .build();
    client.map_err(|error| ArtifactError::Gateway(format!("HTTPS cannot be set up: {error}")))
}

fn parse(text: &str) -> Result<Url, ArtifactError> {
    let shown = Untrusted::new(text);
    let wrong = |why: &str| {
        ArtifactError::Gateway(format!("\"{shown}\" is no gateway: {why}, as in https://example.net"))
    };
    let mut url = Url::parse(text).map_err(|_| wrong("a URL is expected"))?;
    if !matches!(url.scheme(), "http" | "https") || url.host_str().is_none() {
        return Err(wrong("http or https and a host are expected"));
    }
    if url.query().is_some() || url.fragment().is_some() {
        return Err(wrong("nothing may follow its path"));
    }
    if !url.path().ends_with('/') {
        url.set_path(&format!("{}/", url.path()));
    }
    Ok(url)
}

async fn ask(client: &Client, gateway: &Url, cid: &Cid) -> Result<Bytes, String> {
    let said = |error: reqwest::Error| Untrusted::new(&deepest(&error)).to_string();
    let url = gateway.join(&format!("ipfs/{cid}?format=raw")).map_err(|error| error.to_string())?;
    let mut answer = client.get(url).header(ACCEPT, RAW_BLOCK).send().await.map_err(said)?;
    if !answer.status().is_success() {
        return Err(format!("it answers {}", answer.status()));
    }
    let stated =
        answer.headers().get(CONTENT_LENGTH).and_then(|length| length.to_str().ok()?.parse::<usize>().ok());
    if stated.is_some_and(|length| length > MAX_BLOCK) {
        return Err(format!("a block of over {MAX_BLOCK} bytes"));
    }
    let mut block = BytesMut::new();
    while let Some(piece) = answer.chunk().await.map_err(said)? {
        if block.len().saturating_add(piece.len()) > MAX_BLOCK {
            return Err(format!("a block of over {MAX_BLOCK} bytes"));
        }
        block.extend_from_slice(&piece);
    }
    Ok(block.freeze())
}

/// The innermost reason; what is around it says only that there was one.
fn deepest(error: &dyn std::error::Error) -> String {
    let mut deepest = error;
    while let Some(source) = deepest.source() {
        deepest = source;
    }
    deepest.to_string()
}
