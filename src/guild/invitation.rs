//! Invitations as text, to be pasted into a chat: the payload and the signature of their envelope, which is put together again to
//! be verified.

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use serde_json::{Value, json};

use super::GuildError;
use super::wire::Invitation;
use crate::document::{Document as _, Envelope};
use crate::identity::Identity;

/// How an invitation begins, so that people and programs know what it is.
pub const INVITATION: &str = "zsguild1.";
/// The longest there is: a few addresses.
const MAX_TEXT: usize = 4096;

pub(super) fn write(identity: &Identity, invitation: &Invitation) -> Result<String, GuildError> {
    let envelope = Envelope::sign(identity, invitation)?;
    let payload = URL_SAFE_NO_PAD.encode(invitation.encode()?);
    let wire: Value = serde_json::from_slice(envelope.bytes())
        .map_err(|error| GuildError::Invitation(error.to_string()))?;
    let signature = wire.pointer("/signatures/0/sig").and_then(Value::as_str).unwrap_or_default();
    let signature = STANDARD.decode(signature).map_err(|error| GuildError::Invitation(error.to_string()))?;
    Ok(format!("{INVITATION}{payload}.{}", URL_SAFE_NO_PAD.encode(signature)))
}

/// # Errors
/// [`GuildError::Invitation`] for a text that is none, was cut or changed.
pub(super) fn read(text: &str) -> Result<Invitation, GuildError> {
    let bad = |why: &str| GuildError::Invitation(why.to_owned());
    let text = text.trim();
    let body = text.strip_prefix(INVITATION).ok_or_else(|| bad("it does not begin with zsguild1."))?;
    if text.len() > MAX_TEXT {
        return Err(bad("it is too long"));
    }
    let (payload, signature) = body.split_once('.').ok_or_else(|| bad("it is cut off"))?;
    let decode = |part| URL_SAFE_NO_PAD.decode(part).map_err(|_| bad("it is cut off, or has been changed"));
    let (payload, signature) = (decode(payload)?, decode(signature)?);
    let claimed = Invitation::decode(&payload).map_err(|_| bad("it is cut off, or has been changed"))?;
    // Written by hand like every envelope: the order of the fields is part of the spelling.
    let envelope = format!(
        r#"{{"payloadType":"{}","payload":"{}","signatures":[{}]}}"#,
        Invitation::PAYLOAD_TYPE,
        STANDARD.encode(&payload),
        json!({ "keyid": claimed.creator, "sig": STANDARD.encode(signature) }),
    );
    let verified = Envelope::<Invitation>::open(envelope.as_bytes());
    verified.map(|envelope| envelope.document().clone()).map_err(|_| bad("its signature does not hold"))
}
